//! Copying elements out of the segment, where a peer may be writing them: what
//! is checked is the copy, and the copy is what is used.

#![allow(unsafe_code)]

use core::fmt;
use core::mem::MaybeUninit;

use bytemuck::CheckedBitPattern;

use super::copy;
use super::region::Elements;

/// Where one element lands.
///
/// It stays in one place from when it is copied until it is handed on whole:
/// moved about in the results of several functions it would be cut to pieces
/// by the compiler, and put together again at a cost above that of the copy.
///
/// Its bits are checked when it is handed on. The check is code of the program's, which
/// may panic, so it comes after all that is to be done about the source.
pub struct CopyOut<T> {
    element: MaybeUninit<T>,
    /// Bits have been copied to there.
    landed: bool,
}

impl<T> fmt::Debug for CopyOut<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CopyOut").field("landed", &self.landed).finish_non_exhaustive()
    }
}

impl<T: CheckedBitPattern> CopyOut<T> {
    #[inline]
    pub(crate) const fn new() -> Self {
        Self { element: MaybeUninit::uninit(), landed: false }
    }

    /// Copies the first of these elements to here.
    #[inline]
    pub(crate) fn land(&mut self, source: Elements<'_, T>) {
        let bits = self.element.as_mut_ptr().cast::<T::Bits>();
        // SAFETY: it is there (`Elements::new`); the room is this thread's own,
        // and `T::Bits` has the layout of `T`.
        unsafe { copy::load(source.first().cast(), bits, 1) };
        self.landed = true;
    }

    /// Whether what has been copied is a `T`.
    #[inline]
    fn is_valid(&self) -> bool {
        // SAFETY: they were written, where it is asked, and any bytes are a `T::Bits`,
        // which has the layout of `T`.
        self.landed && T::is_valid_bit_pattern(unsafe { &*self.element.as_ptr().cast() })
    }

    /// Hands the element on, or does otherwise, if what has been copied is no
    /// `T`.
    #[inline]
    pub(crate) fn hand_on<R>(self, on: impl FnOnce(T) -> R, otherwise: impl FnOnce() -> R) -> R {
        if self.is_valid() {
            // SAFETY: the bits are a valid `T`: that is what
            // `CheckedBitPattern` promises of those that it has found to be.
            on(unsafe { self.element.assume_init() })
        } else {
            otherwise()
        }
    }
}

/// Copies these elements to the end of `into`, up to the first that is no `T`. Those before
/// it are there, too, if the check of a later one panics.
#[inline]
pub(crate) fn append<T: CheckedBitPattern>(source: Elements<'_, T>, into: &mut Vec<T>) {
    let count = source.len();
    into.reserve(count);
    let room = into.spare_capacity_mut().as_mut_ptr().cast::<T::Bits>();
    // SAFETY: so many are there (`Elements::new`), the room was reserved just
    // now, and `T::Bits` has the layout of `T`.
    unsafe { copy::load(source.first().cast(), room, count) };
    // SAFETY: so many have just been written, and any bytes are a `T::Bits`.
    let copied = unsafe { core::slice::from_raw_parts(room, count) };
    let mut valid = Valid { count: 0, into };
    for bits in copied {
        if !T::is_valid_bit_pattern(bits) {
            break;
        }
        valid.count += 1;
    }
}

/// So many elements behind the end are valid. They become part of the vector when this is
/// dropped, also by a panic.
struct Valid<'a, T> {
    count: usize,
    into: &'a mut Vec<T>,
}

impl<T> Drop for Valid<'_, T> {
    fn drop(&mut self) {
        let len = self.into.len() + self.count;
        // SAFETY: so many have been copied to there, and were found to be valid.
        unsafe { self.into.set_len(len) };
    }
}
