//! Where the words of a broadcast ring are.

#![allow(unsafe_code)]

use core::ptr::NonNull;

use super::layout::{LENGTH, OF_BYTES, OF_ELEMENTS, shape};
use crate::ring::broadcast::{self, PublisherEntry, ReliableEntry, Shape, Words};
use crate::ring::table::Member;
use crate::storage::layout::LINE;
use crate::storage::{Cells, View, copy, fetch};
use crate::sync::AtomicU64;

/// So many bytes ahead of their use, lines are fetched.
const AHEAD: usize = 4 * fetch::LINE;
/// Of buffers, so many lines at once at most.
const MOST: usize = 16;
/// So many slots share a line.
const SLOTS: u64 = (fetch::LINE / 8) as u64;

/// The words of a broadcast channel, and where its buffers are.
#[derive(Clone, Debug)]
pub struct Board {
    cells: Cells,
    /// That of the cells' plan.
    shape: Shape,
}

impl Board {
    /// `None` if the channel is of another kind.
    pub(crate) fn of(cells: &Cells) -> Option<Self> {
        let kind = cells.kind();
        (kind == OF_ELEMENTS.code || kind == OF_BYTES.code)
            .then(|| Self { cells: cells.clone(), shape: shape(cells.messages(), cells.seats()) })
    }

    /// The first position that is not published, a moment ago.
    pub(crate) fn published(&self) -> u64 {
        broadcast::first_unpublished(self).position()
    }

    /// How far the slowest reliable subscriber is behind, a capacity at most, and which
    /// participant's it is.
    pub(crate) fn slowest(&self) -> Option<(u64, Member)> {
        let (behind, member) = broadcast::slowest(self, &self.cells, self.published());
        Some((behind.min(self.shape.reach), member?))
    }

    /// Word `word` of entry `entry`, of all that have one: the publishers', then the reliable
    /// subscribers'.
    #[inline(always)]
    fn word(&self, entry: u64, word: usize) -> &AtomicU64 {
        let entries = self.shape.publishers + self.shape.reliable;
        let entry = if entry < entries { entry as usize } else { 0 };
        // SAFETY: there are so many lines of words: `layout` has planned them.
        let line = unsafe { self.cells.words().add(LINE * entry) };
        // SAFETY: a line has more words than an entry.
        let word = unsafe { line.add(8 * word) };
        // SAFETY: aligned to 8, inside the segment, only ever a word.
        unsafe { word.cast::<AtomicU64>().as_ref() }
    }

    /// Fetches the lines that a publisher is to write a little later, while it publishes its
    /// spare buffer in this slot. Buffers are found only in slots. But a publisher that is
    /// alone gets them side by side, in the order of the slots, lap after lap. For others it
    /// is a guess, and a wrong one only costs time.
    #[inline(always)]
    pub(super) fn fetch_ahead(&self, slot: u64, spare: u64) {
        if slot.is_multiple_of(SLOTS) {
            self.fetch_group(slot, spare);
        }
    }

    /// Fetches the lines of as many slots as share one, and of so many buffers.
    #[inline(never)]
    fn fetch_group(&self, slot: u64, spare: u64) {
        // Only the addresses count, and a wrong one does no harm.
        let slot = (slot as usize).wrapping_mul(8).wrapping_add(AHEAD);
        fetch::to_write(self.cells.slots().as_ptr().wrapping_add(slot));
        let apart = self.cells.apart();
        let group = apart.saturating_mul(SLOTS as usize);
        let first = (spare as usize).wrapping_mul(apart).wrapping_add(group.max(AHEAD));
        for n in 0..group.div_ceil(fetch::LINE).min(MOST) {
            let at = first.wrapping_add(n * fetch::LINE);
            fetch::to_write(self.cells.bytes().as_ptr().wrapping_add(at));
        }
    }

    /// How many messages are missing, as a gap's buffer says.
    pub(super) fn missing(&self, buffer: u64) -> u64 {
        // SAFETY: the distance is that of the cells.
        let first = unsafe { self.buffer(buffer, self.cells.apart()) };
        // SAFETY: a buffer has at least a word, and is aligned to it.
        unsafe { copy::load_number(first, self.size()) }
    }

    /// Has the spare buffer of a gap say how many messages are missing.
    pub(super) fn set_missing(&self, buffer: u64, missing: u64) {
        // SAFETY: the distance is that of the cells.
        let first = unsafe { self.buffer(buffer, self.cells.apart()) };
        // SAFETY: as in `missing`.
        unsafe { copy::store_number(first, self.size(), missing) }
    }

    /// Of what lies at the beginning of a buffer: an element, or the length of a message.
    fn size(&self) -> usize {
        if self.cells.kind() == OF_BYTES.code { LENGTH } else { self.cells.longest() }
    }

    /// Where a buffer begins that is `apart` bytes from the next one.
    ///
    /// # Safety
    /// `apart` is that of the cells.
    #[inline(always)]
    pub(super) unsafe fn buffer(&self, buffer: u64, apart: usize) -> NonNull<u8> {
        debug_assert!(buffer < self.shape.buffers());
        let buffer = if buffer < self.cells.blocks() { buffer as usize } else { 0 };
        // SAFETY: below their number, and so far apart by the caller.
        unsafe { self.cells.bytes().add(buffer * apart) }
    }
}

impl View for Board {
    #[inline(always)]
    fn cells(&self) -> &Cells {
        &self.cells
    }
}

impl Words for Board {
    #[inline(always)]
    fn shape(&self) -> Shape {
        self.shape
    }

    #[inline(always)]
    fn slot(&self, index: u64) -> &AtomicU64 {
        debug_assert!(index < self.shape.slots);
        let index = if index < self.cells.capacity() { index as usize } else { 0 };
        // SAFETY: the index is below their number, and a slot of these kinds is a word.
        let word = unsafe { self.cells.slots().add(8 * index) };
        // SAFETY: aligned to 8, inside the segment, only ever a word.
        unsafe { word.cast::<AtomicU64>().as_ref() }
    }

    #[inline(always)]
    fn publisher(&self, n: u64) -> PublisherEntry<'_> {
        PublisherEntry {
            holder: self.word(n, 0),
            word: self.word(n, 1),
            helped: self.word(n, 2),
            at: self.word(n, 3),
            over: self.word(n, 4),
        }
    }

    #[inline(always)]
    fn reliable(&self, n: u64) -> ReliableEntry<'_> {
        let entry = self.shape.publishers.wrapping_add(n);
        ReliableEntry { holder: self.word(entry, 0), position: self.word(entry, 1) }
    }

    #[inline(always)]
    fn limit(&self) -> &AtomicU64 {
        &self.cells.control().sending.tail
    }

    fn publishers_used(&self) -> &AtomicU64 {
        &self.cells.control().receiving.publishers_used
    }

    fn reliable_used(&self) -> &AtomicU64 {
        &self.cells.control().receiving.reliable_used
    }
}
