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
