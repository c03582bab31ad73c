//! Where the words of an MPMC ring are.

#![allow(unsafe_code)]

use core::ptr::NonNull;

use crate::ring::mpmc;
use crate::storage::{Cells, View};
use crate::sync::AtomicU64;

/// A view of slots that begin with a word.
///
/// # Safety
/// `start_of` gives addresses of such words: aligned to 8, and inside memory that
/// stays attached as long as the view, whatever the index is.
pub(crate) unsafe trait Slotted: View {
    #[inline]
    fn start_of(&self, index: u64) -> NonNull<u8> {
        self.cells().start(index)
    }
}

// SAFETY: slots begin at a line. If their stride is a multiple of 8 and not 0, each is
// aligned to 8 and has room for a word; `start` brings the index inside. Where slots do
// not begin with words, as elements side by side, every index is one of the control
// words.
unsafe impl Slotted for Cells {
    #[inline]
    fn start_of(&self, index: u64) -> NonNull<u8> {
        let stride = self.shape().stride;
        if stride > 0 && stride.is_multiple_of(8) {
            self.start(index)
        } else {
            NonNull::from(&self.control().sending.tail).cast()
        }
    }
}

impl<V: Slotted> mpmc::Words for V {
    #[inline]
    fn capacity(&self) -> u64 {
        self.cells().capacity()
    }

    #[inline]
    fn slot(&self, index: u64) -> &AtomicU64 {
        // SAFETY: that is what `Slotted` promises; the cells are borrowed.
        unsafe { self.start_of(index).cast::<AtomicU64>().as_ref() }
    }

    #[inline]
    fn tail(&self) -> &AtomicU64 {
        &self.cells().control().sending.tail
    }

    #[inline]
    fn head(&self) -> &AtomicU64 {
        &self.cells().control().receiving.head
    }

    #[inline]
    fn orphans(&self) -> &AtomicU64 {
        &self.cells().control().orphans.left
    }

    #[inline]
    fn scanned(&self) -> &AtomicU64 {
        &self.cells().control().orphans.scanned
    }
}
