//! A channel's block: its words as the rings want them, its elements and
//! messages as [stretches](super::region) that are copied in and out.
//!
//! Every index, length and count is brought inside where it is used: most
//! come from the segment, and a peer may write anything there.

#![allow(unsafe_code)]

use core::ptr::NonNull;
use std::sync::Arc;

use super::layout::{BlockPlan, Control, Shape};
use super::memory::Memory;
use crate::sync::Ordering;

/// The number of a kind of channel, as the directory has it. `kinds/table.rs` lists the
/// kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KindCode(pub(crate) u64);

/// The words and elements of one block. Keeps the memory attached.
#[derive(Clone, Debug)]
pub struct Cells {
    control: NonNull<Control>,
    slots: NonNull<u8>,
    /// From 1 up, and `capacity * stride` bytes are inside the segment.
    capacity: u64,
    stride: usize,
    cell: usize,
    kind: KindCode,
    /// `blocks` words, and as many times `apart` bytes, are inside the segment.
    words: NonNull<u8>,
    bytes: NonNull<u8>,
    blocks: u64,
    apart: usize,
    /// The most bytes of a message.
    longest: usize,
    #[expect(dead_code, reason = "keeps the memory attached")]
    memory: Arc<Memory>,
}

// SAFETY: the pointers are into memory that stays attached as long as the
// cells are there. Nothing here refers to more of it than a word, which is an
// atomic, and the copies are made of atomic accesses too; a thread makes no
// difference to either.
unsafe impl Send for Cells {}

impl Cells {
    /// The cells of a block of this kind at `offset`; `None` if it is not inside the
    /// segment. No message has more bytes than `longest`.
    pub(crate) fn new(
        memory: &Arc<Memory>,
        kind: KindCode,
        offset: usize,
        plan: &BlockPlan,
        longest: usize,
    ) -> Option<Self> {
        let control = NonNull::from(memory.at::<Control>(offset)?);
        let range = |at: usize, each: usize, count: usize| {
            memory.range(offset.checked_add(at)?, each.checked_mul(count)?)
        };
        (plan.capacity > 0).then_some(Self {
            control,
            slots: range(plan.slots, plan.stride, plan.capacity)?,
            capacity: plan.capacity as u64,
            stride: plan.stride,
            cell: plan.cell,
            kind,
            words: range(plan.words, 8, plan.blocks)?,
            bytes: range(plan.bytes, plan.apart, plan.blocks)?,
            blocks: plan.blocks as u64,
            apart: plan.apart,
            longest,
            memory: Arc::clone(memory),
        })
    }

    #[inline]
    pub(crate) fn control(&self) -> &Control {
        // SAFETY: `new` got it from a reference into the memory, which
        // `self.memory` keeps attached.
        unsafe { self.control.as_ref() }
    }

    /// The start of a slot. An index that is out of range, which no ring
    /// makes, is brought into it rather than trusted.
    #[inline]
    pub(crate) fn start(&self, index: u64) -> NonNull<u8> {
        let index = if index < self.capacity { index as usize } else { 0 };
        // SAFETY: the index is below the capacity, and `new` checked that
        // that many strides are inside the memory.
        unsafe { self.slots.add(index * self.stride) }
    }

    /// Where the slots begin: at a line.
    #[inline]
    pub(crate) const fn slots(&self) -> NonNull<u8> {
        self.slots
    }

    /// How many slots there are: from 1 up.
    #[inline]
    pub(crate) const fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Whether the slots are of this kind, and shaped so.
    pub(crate) fn are(&self, kind: KindCode, shape: Option<Shape>) -> bool {
        self.kind == kind && shape == Some(self.shape())
    }

    pub(crate) const fn shape(&self) -> Shape {
        Shape { cell: self.cell, stride: self.stride }
    }

    pub(crate) const fn kind(&self) -> KindCode {
        self.kind
    }

    /// Where in a slot the element is.
    pub(crate) const fn cell(&self) -> usize {
        self.cell
    }

    /// The most bytes of a message.
    pub(crate) const fn longest(&self) -> usize {
        self.longest
    }

    /// How many message blocks there are, each of [`apart`](Self::apart) bytes.
    pub(crate) const fn blocks(&self) -> u64 {
        self.blocks
    }

    /// The words of the message blocks.
    pub(crate) const fn words(&self) -> NonNull<u8> {
        self.words
    }

    /// The bytes of the message blocks.
    pub(crate) const fn bytes(&self) -> NonNull<u8> {
        self.bytes
    }

    /// How many bytes it is from one message block to the next.
    pub(crate) const fn apart(&self) -> usize {
        self.apart
    }

    /// Cells that have been filled, and cells that have been freed, since the
    /// beginning, together; roughly.
    pub(crate) fn moved(&self) -> u64 {
        let control = self.control();
        let tail = control.sending.tail.load(Ordering::Relaxed);
        tail.wrapping_add(control.receiving.head.load(Ordering::Relaxed))
    }
}

/// A view of cells, typed or not: what the rings of the kinds find their words by.
pub trait View {
    fn cells(&self) -> &Cells;
}

impl View for Cells {
    #[inline]
    fn cells(&self) -> &Cells {
        self
    }
}
