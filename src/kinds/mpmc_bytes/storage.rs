//! Slots with short messages, or that name blocks; and the blocks.

#![allow(unsafe_code)]

use core::ptr::NonNull;

use super::layout::{FACTS, HEAD, SHORT};
use crate::kinds::mpmc::words::Slotted;
use crate::ring::{blocks, mpmc};
use crate::storage::{ByteSpan, Cells, View};
use crate::sync::{AtomicU64, Ordering};

/// In place of a block's number: the message is in the slot.
pub(super) const HERE: u64 = u32::MAX as u64;

/// Where a short message is written before it is queued: memory of its handle.
#[derive(Debug, Default)]
pub struct Draft([AtomicU64; SHORT / 8]);

impl Draft {
    /// Its first bytes.
    #[inline(always)]
    pub(super) fn bytes(&self, length: usize) -> ByteSpan<'_> {
        // SAFETY: so many words are there; all accesses are atomic.
        unsafe { ByteSpan::new(NonNull::from(&self.0).cast(), length.min(SHORT)) }
    }

    /// Has `read` do something with its first bytes.
    #[inline(always)]
    pub(super) fn read(&self, length: usize, read: impl FnOnce(&[u8])) {
        // SAFETY: only the handle writes there, by a grant, which is being committed.
        read(unsafe { self.bytes(length).as_slice() });
    }
}

/// Slots of an MPMC ring with messages, or that name blocks.
#[derive(Debug)]
pub struct BlockSlots(Cells);

impl BlockSlots {
    /// The ring as slots that name blocks, if it is of those.
    pub(crate) fn of(cells: &Cells) -> Option<Self> {
        (cells.kind() == FACTS.code).then(|| Self(cells.clone()))
    }

    /// The word in a slot that says which block, and how long.
    #[inline(always)]
    fn label(&self, slot: u64) -> &AtomicU64 {
        // SAFETY: a slot of this kind begins with two words, and is inside (`start`).
        let label = unsafe { self.0.start(slot).add(self.0.cell()) };
        // SAFETY: aligned to 8, inside the segment, only ever a word.
        unsafe { label.cast::<AtomicU64>().as_ref() }
    }

    /// Writes down which block a slot names.
    #[inline(always)]
    pub(crate) fn name(&self, slot: u64, block: u64, length: u64) {
        self.label(slot).store(length << 32 | block, Ordering::Relaxed);
    }

    /// Which block a slot names, and the length of its message; `None` if
    /// that cannot be.
    #[inline(always)]
    pub(crate) fn named(&self, slot: u64) -> Option<(u64, u64)> {
        let label = self.label(slot).load(Ordering::Relaxed);
        let (block, length) = (label & u64::from(u32::MAX), label >> 32);
        let most = match block {
            HERE => self.room(),
            block if block < self.0.blocks() => self.0.longest() as u64,
            _ => return None,
        };
        (length <= most).then_some((block, length))
    }

    /// The block that a slot names, if it names one.
    pub(crate) fn block_of(&self, slot: u64) -> Option<u64> {
        self.named(slot).map(|(block, _)| block).filter(|&block| block != HERE)
    }

    /// How many bytes a slot has room for.
    #[inline(always)]
    pub(crate) fn room(&self) -> u64 {
        self.0.shape().stride.saturating_sub(HEAD) as u64
    }

    /// The bytes in a slot.
    #[inline(always)]
    pub(crate) fn in_slot(&self, slot: u64, length: u64) -> ByteSpan<'_> {
        // SAFETY: a slot of this kind begins with so many bytes, and is inside (`start`).
        let first = unsafe { self.0.start(slot).add(HEAD) };
        // SAFETY: as many as the rest of the slot has, which is whole words, at most; the
        // memory is attached as long as the cells are there.
        unsafe { ByteSpan::new(first, length.min(self.room()) as usize) }
    }

    /// The bytes of a block.
    #[inline(always)]
    pub(crate) fn bytes(&self, block: u64, length: u64) -> ByteSpan<'_> {
        let block = if block < self.0.blocks() { block as usize } else { 0 };
        let length = (length as usize).min(self.0.apart());
        // SAFETY: the block is below their number, just made sure.
        let first = unsafe { self.0.bytes().add(block * self.0.apart()) };
        // SAFETY: inside the block, which is whole lines, and at the start of
        // one; the memory is attached as long as the cells are there.
        unsafe { ByteSpan::new(first, length) }
    }

    /// Which blocks are named by a slot with a message in it, or by one that a sweep of this
    /// dead owner is to publish.
    pub(crate) fn all_named(&self, dead: mpmc::Dead) -> Vec<bool> {
        let mut named = vec![false; self.0.blocks() as usize];
        for slot in 0..mpmc::used(self) {
            let state = mpmc::SlotWord(mpmc::Words::slot(self, slot).load(Ordering::Acquire));
            let has_a_message = matches!(
                state.state(),
                Some(mpmc::SlotState::Full | mpmc::SlotState::Reading | mpmc::SlotState::Orphan)
            );
            if (has_a_message || dead.has_committed(state))
                && let Some(block) = self.block_of(slot)
                && let Some(named) = named.get_mut(block as usize)
            {
                *named = true;
            }
        }
        named
    }
}

impl blocks::Blocks for BlockSlots {
    #[inline]
    fn count(&self) -> u64 {
        self.0.blocks()
    }

    #[inline]
    fn block(&self, index: u64) -> &AtomicU64 {
        let index = if index < self.0.blocks() { index as usize } else { 0 };
        // SAFETY: there are that many words.
        let word = unsafe { self.0.words().add(8 * index) };
        // SAFETY: aligned to 8, inside the segment, only ever a word.
        unsafe { word.cast::<AtomicU64>().as_ref() }
    }
}

impl View for BlockSlots {
    #[inline]
    fn cells(&self) -> &Cells {
        &self.0
    }
}

// SAFETY: a slot of this kind begins with two words, and is whole words.
unsafe impl Slotted for BlockSlots {}
