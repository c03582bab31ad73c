//! Copying elements out of the segment, where a peer may be writing them: what
//! is checked is the copy, and the copy is what is used.

#![allow(unsafe_code)]

use core::fmt;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

use bytemuck::CheckedBitPattern;

/// Where one element lands.
///
/// It stays in one place from when it is copied until it is handed on whole:
/// moved about in the results of several functions it would be cut to pieces
/// by the compiler, and put together again at a cost above that of the copy.
pub struct Landing<T> {
    element: MaybeUninit<T>,
    /// What is there is a `T`.
    valid: bool,
}

impl<T> fmt::Debug for Landing<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Landing").field("valid", &self.valid).finish_non_exhaustive()
    }
}

impl<T: CheckedBitPattern> Landing<T> {
    #[inline]
    pub(crate) const fn new() -> Self {
        Self { element: MaybeUninit::uninit(), valid: false }
    }

    /// Copies an element to here.
    ///
    /// # Safety
    /// `source` is readable and aligned for a `T`.
    #[inline]
    pub(super) unsafe fn land(&mut self, source: NonNull<T>) {
        let bits = self.element.as_mut_ptr().cast::<T::Bits>();
        if size_of::<T>() <= 16 {
            // SAFETY: `source` by the caller; any bytes are a `T::Bits`, which
            // has the layout of `T`.
            let copy = unsafe { source.cast::<T::Bits>().read_volatile() };
            // SAFETY: there is room for one.
            unsafe { bits.write(copy) };
        } else {
            // SAFETY: as above; the room is this thread's own.
            unsafe { bits.copy_from_nonoverlapping(source.cast().as_ptr(), 1) };
            // Keeps the compiler from reading the source again in the copy's
            // place.
            core::hint::black_box(&mut *self);
        }
        // SAFETY: just written.
        self.valid = T::is_valid_bit_pattern(unsafe { &*bits });
    }

    /// Hands the element on, or does otherwise, if what has been copied is no
    /// `T`.
    #[inline]
    pub(crate) fn hand_on<R>(self, on: impl FnOnce(T) -> R, otherwise: impl FnOnce() -> R) -> R {
        if self.valid {
            // SAFETY: the bits are a valid `T`: that is what
            // `CheckedBitPattern` promises of those that it has found to be.
            on(unsafe { self.element.assume_init() })
        } else {
            otherwise()
        }
    }
}

/// Copies `count` elements to the end of `into`, up to the first that is no
/// `T`; says how many were.
///
/// # Safety
/// `source` is readable and aligned for so many.
#[inline]
pub(super) unsafe fn append<T: CheckedBitPattern>(
    source: NonNull<T>,
    count: usize,
    into: &mut Vec<T>,
) -> usize {
    into.reserve(count);
    let room = into.spare_capacity_mut().as_mut_ptr().cast::<T::Bits>();
    // SAFETY: `source` by the caller, the room was reserved just now; any bytes
    // are a `T::Bits`, which has the layout of `T`.
    unsafe { room.copy_from_nonoverlapping(source.cast().as_ptr(), count) };
    // As above.
    core::hint::black_box(&mut *into);
    // SAFETY: so many have just been written.
    let copied = unsafe { core::slice::from_raw_parts(room, count) };
    let valid = copied.iter().take_while(|bits| T::is_valid_bit_pattern(bits)).count();
    let len = into.len() + valid;
    // SAFETY: so many are there, and valid, just checked.
    unsafe { into.set_len(len) };
    valid
}
