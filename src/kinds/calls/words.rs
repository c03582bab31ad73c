//! Where the words of call slots are.

#![allow(unsafe_code)]

use core::ptr::{self, NonNull};

use super::layout::{OF_BYTES, OF_ELEMENTS};
use crate::ring::calls::{GROUP, Words};
use crate::storage::layout::LINE;
use crate::storage::{Cells, View, fetch};
use crate::sync::AtomicU64;

/// The slots of a channel of calls.
#[derive(Clone, Debug)]
pub struct Slots(Cells);

impl Slots {
    /// `None` if the channel is of another kind.
    pub(crate) fn of(cells: &Cells) -> Option<Self> {
        let kind = cells.kind();
        (kind == OF_ELEMENTS.code || kind == OF_BYTES.code).then(|| Self(cells.clone()))
    }

    /// Whether requests and replies are bytes of any length.
    pub(super) fn are_bytes(&self) -> bool {
        self.0.kind() == OF_BYTES.code
    }

    /// The start of a slot.
    #[inline(always)]
    pub(super) fn start(&self, index: u64) -> NonNull<u8> {
        debug_assert!(index < self.0.capacity());
        self.0.start(index)
    }

    /// A word of a slot's head.
    #[inline(always)]
    pub(super) fn word(&self, index: u64, word: usize) -> &AtomicU64 {
        // SAFETY: a slot of these kinds is a line or more, and the head has three words at most.
        let word = unsafe { self.start(index).add(8 * word.min(2)) };
        // SAFETY: aligned to 8 as the slots are to a line, inside the segment; what is not a
        // word is only ever accessed by atomic copies.
        unsafe { word.cast::<AtomicU64>().as_ref() }
    }
}

impl View for Slots {
    #[inline(always)]
    fn cells(&self) -> &Cells {
        &self.0
    }
}

impl Words for Slots {
    #[inline(always)]
    fn slots(&self) -> u64 {
        self.0.capacity()
    }

    #[inline(always)]
    fn slot(&self, index: u64) -> &AtomicU64 {
        self.word(index, 0)
    }

    #[inline(always)]
    fn shown(&self, group: u64) -> &AtomicU64 {
        let groups = self.0.capacity().div_ceil(GROUP);
        let group = if group < groups { group as usize } else { 0 };
        // SAFETY: there are so many lines of words: `layout` has planned them.
        let word = unsafe { self.0.words().add(LINE * group) };
        // SAFETY: aligned to a line, inside the segment, only ever a word.
        unsafe { word.cast::<AtomicU64>().as_ref() }
    }

    #[inline(always)]
    fn fetch_slot(&self, index: u64) {
        fetch::to_write(self.start(index).as_ptr());
    }

    #[inline(always)]
    fn fetch_shown(&self, group: u64) {
        fetch::to_write(ptr::from_ref(self.shown(group)).cast());
    }
}
