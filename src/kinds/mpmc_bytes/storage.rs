//! Slots that name blocks, and the blocks.

#![allow(unsafe_code)]

use super::layout::FACTS;
use crate::kinds::mpmc::words::Slotted;
use crate::ring::{blocks, mpmc};
use crate::storage::{ByteSpan, Cells, View};
use crate::sync::{AtomicU64, Ordering};

/// Slots of an MPMC ring that name blocks.
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
        // SAFETY: a slot of this kind is two words, and inside (`start`).
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
        (block < self.0.blocks() && length <= self.0.longest() as u64).then_some((block, length))
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

    /// Which blocks are named by a slot with a message in it.
    pub(crate) fn all_named(&self) -> Vec<bool> {
        let mut named = vec![false; self.0.blocks() as usize];
        for slot in 0..mpmc::used(self) {
            let state = mpmc::SlotWord(mpmc::Words::slot(self, slot).load(Ordering::Acquire));
            if matches!(
                state.state(),
                Some(mpmc::SlotState::Full | mpmc::SlotState::Reading | mpmc::SlotState::Orphan)
            ) && let Some((block, _)) = self.named(slot)
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

// SAFETY: a slot of this kind is two words.
unsafe impl Slotted for BlockSlots {}
