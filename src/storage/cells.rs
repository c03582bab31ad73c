//! A channel's block: its words as the rings want them, its elements and
//! messages as [stretches](super::region) that are copied in and out.
//!
//! Every index, length and count is brought inside where it is used: most
//! come from the segment, and a peer may write anything there.

#![allow(unsafe_code)]

use core::ptr::NonNull;
use std::sync::Arc;

use super::layout::{BlockPlan, Control, RingKind, Shape};
use super::memory::Memory;
use crate::ring::{in_flight, mpmc, spsc};
use crate::sync::{AtomicU64, Ordering};

/// Where a channel is and what it is: copied out of the directory and
/// checked, so that nobody can change it any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) index: u16,
    pub(crate) kind: RingKind,
    pub(crate) offset: usize,
    pub(crate) plan: BlockPlan,
    /// The most bytes of a message.
    pub(crate) longest: usize,
    pub(crate) attempts: u8,
    pub(crate) lasting: bool,
}

/// The words and elements of one block. Keeps the memory attached.
#[derive(Clone, Debug)]
pub struct Cells {
    control: NonNull<Control>,
    slots: NonNull<u8>,
    /// From 1 up, and `capacity * stride` bytes are inside the segment.
    capacity: u64,
    stride: usize,
    cell: usize,
    kind: RingKind,
    /// MPMC bytes: `blocks` words, and as many times `apart` bytes, are
    /// inside the segment. Otherwise there are none.
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
    /// `None` if the block is not inside the segment.
    pub(crate) fn new(memory: &Arc<Memory>, block: &Block) -> Option<Self> {
        let plan = block.plan;
        let control = NonNull::from(memory.at::<Control>(block.offset)?);
        let range = |offset: usize, each: usize, count: usize| {
            memory.range(block.offset.checked_add(offset)?, each.checked_mul(count)?)
        };
        let blocks = if block.kind == RingKind::MpmcBytes { plan.messages } else { 0 };
        (plan.capacity > 0).then_some(Self {
            control,
            slots: range(plan.slots, plan.stride, plan.capacity)?,
            capacity: plan.capacity as u64,
            stride: plan.stride,
            cell: plan.cell,
            kind: block.kind,
            words: range(plan.words, 8, blocks)?,
            bytes: range(plan.bytes, plan.apart, blocks)?,
            blocks: blocks as u64,
            apart: plan.apart,
            longest: block.longest,
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
    pub(crate) fn are(&self, kind: RingKind, shape: Option<Shape>) -> bool {
        self.kind == kind && shape == Some(self.shape())
    }

    pub(crate) const fn shape(&self) -> Shape {
        Shape { cell: self.cell, stride: self.stride }
    }

    pub(crate) const fn kind(&self) -> RingKind {
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
        let tail = control.tail.load(Ordering::Relaxed);
        tail.wrapping_add(control.head.load(Ordering::Relaxed))
    }
}

/// A view of cells, typed or not: what the rings find their words by.
pub trait View {
    fn cells(&self) -> &Cells;
}

impl View for Cells {
    #[inline]
    fn cells(&self) -> &Cells {
        self
    }
}

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
// not begin with words, as elements side by side, every index is the first word of the
// control words, which is aligned and inside.
unsafe impl Slotted for Cells {
    #[inline]
    fn start_of(&self, index: u64) -> NonNull<u8> {
        if self.stride > 0 && self.stride.is_multiple_of(8) {
            self.start(index)
        } else {
            self.control.cast()
        }
    }
}

impl<V: View> spsc::Indices for V {
    #[inline]
    fn capacity(&self) -> u64 {
        self.cells().capacity
    }

    #[inline]
    fn head(&self) -> &AtomicU64 {
        &self.cells().control().head
    }

    #[inline]
    fn tail(&self) -> &AtomicU64 {
        &self.cells().control().tail
    }
}

impl<V: View> in_flight::InFlight for V {
    #[inline]
    fn marks(&self) -> usize {
        in_flight::IN_FLIGHT
    }

    #[inline]
    fn mark(&self, n: usize) -> &AtomicU64 {
        let [first, ..] = &self.cells().control().in_flight;
        self.cells().control().in_flight.get(n).unwrap_or(first)
    }

    #[inline]
    fn taker(&self) -> &AtomicU64 {
        &self.cells().control().taker
    }

    fn messages(&self, cells: u64) -> u64 {
        // Records are taken one by one.
        if self.cells().kind == RingKind::SpscBytes { 1 } else { cells }
    }
}

impl<V: Slotted> mpmc::Words for V {
    #[inline]
    fn capacity(&self) -> u64 {
        self.cells().capacity
    }

    #[inline]
    fn slot(&self, index: u64) -> &AtomicU64 {
        // SAFETY: that is what `Slotted` promises; the cells are borrowed.
        unsafe { self.start_of(index).cast::<AtomicU64>().as_ref() }
    }

    #[inline]
    fn tail(&self) -> &AtomicU64 {
        &self.cells().control().tail
    }

    #[inline]
    fn head(&self) -> &AtomicU64 {
        &self.cells().control().head
    }

    #[inline]
    fn orphans(&self) -> &AtomicU64 {
        &self.cells().control().orphans
    }

    #[inline]
    fn scanned(&self) -> &AtomicU64 {
        &self.cells().control().scanned
    }
}
