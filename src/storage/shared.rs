//! Types that may be shared with other processes.

#![allow(unsafe_code)]

use crate::sync::AtomicU64;

/// Types to which a process may have references in a segment. Any bytes are a
/// valid value, zeros too, and remain one however other processes change them.
///
/// Atomics implement it, arrays of such types, and by the macro of
/// [`layout`](super::layout) structs all of whose fields are such types.
///
/// # Safety
/// The type consists of atomics only.
pub(crate) unsafe trait Shared {}

// SAFETY: it is an atomic.
unsafe impl Shared for AtomicU64 {}

// SAFETY: an array of them consists of atomics only.
unsafe impl<T: Shared, const COUNT: usize> Shared for [T; COUNT] {}

/// A struct that may be shared: with the layout of C, and each of its fields
/// [`Shared`] itself, or it does not compile.
macro_rules! shared {
    (
        $(#[$about:meta])*
        pub(crate) struct $name:ident $([const $count:ident: usize])? {
            $($(#[$says:meta])* pub(crate) $field:ident: $kind:ty,)*
        }
    ) => {
        $(#[$about])*
        #[repr(C)]
        pub(crate) struct $name $(<const $count: usize>)? {
            $($(#[$says])* pub(crate) $field: $kind,)*
        }

        // SAFETY: it is made of its fields, which are shared themselves, and
        // of padding, which nobody looks at.
        unsafe impl $(<const $count: usize>)? $crate::storage::shared::Shared for $name $(<$count>)?
        where
            $($kind: $crate::storage::shared::Shared,)*
        {
        }
    };
}

pub(super) use shared;
