//! A channel's block: its words as the rings want them, its elements and
//! messages as [stretches](super::region) that are copied in and out.
//!
//! Every index, length and count is brought inside where it is used: most
//! come from the segment, and a peer may write anything there.

#![allow(unsafe_code)]

use core::ptr::NonNull;
use std::sync::Arc;

use super::layout::{BlockPlan, Control, Plan, ReplyPlace, Seats, Shape};
use super::memory::Memory;
use crate::ring::set::SetMap;
use crate::ring::table::Table;
use crate::sync::{AtomicU64, Ordering};

/// The number of a kind of channel, as the directory has it. `kinds/table.rs` lists the
/// kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KindCode(pub(crate) u64);

/// The words and elements of one block. Keeps the memory attached.
#[derive(Clone, Debug)]
pub struct Cells {
    control: NonNull<Control>,
    /// `plan.capacity * plan.stride` bytes are inside the segment.
    slots: NonNull<u8>,
    /// The words before the message blocks, and `plan.blocks * plan.apart` bytes, are inside
    /// the segment.
    words: NonNull<u8>,
    bytes: NonNull<u8>,
    /// The capacity is from 1 up.
    plan: BlockPlan,
    kind: KindCode,
    /// The most bytes of a message.
    longest: usize,
    memory: Arc<Memory>,
}

// SAFETY: the pointers are into memory that stays attached as long as the
// cells are there. Nothing here refers to more of it than a word, which is an
// atomic, and the copies are made of atomic accesses too; a thread makes no
// difference to either.
unsafe impl Send for Cells {}
// SAFETY: as above; a copy of them in another thread can do the same.
unsafe impl Sync for Cells {}

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
            words: range(plan.words, 1, plan.bytes.checked_sub(plan.words)?)?,
            bytes: range(plan.bytes, plan.apart, plan.blocks)?,
            plan: *plan,
            kind,
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
        let index = if index < self.capacity() { index as usize } else { 0 };
        // SAFETY: the index is below the capacity, and `new` checked that
        // that many strides are inside the memory.
        unsafe { self.slots.add(index * self.plan.stride) }
    }

    /// Where the slots begin: at a line.
    #[inline]
    pub(crate) const fn slots(&self) -> NonNull<u8> {
        self.slots
    }

    /// How many slots there are: from 1 up.
    #[inline]
    pub(crate) const fn capacity(&self) -> u64 {
        self.plan.capacity as u64
    }

    /// How many messages were asked for.
    pub(crate) const fn messages(&self) -> u64 {
        self.plan.messages as u64
    }

    /// How many publishers and reliable subscribers have words of their own in a broadcast channel.
    pub(crate) const fn seats(&self) -> Seats {
        self.plan.seats
    }

    /// Where in the slot of a call the reply is, and the most bytes that it has.
    pub(crate) const fn reply(&self) -> ReplyPlace {
        self.plan.reply
    }

    /// Whether the slots are of this kind, and shaped so.
    pub(crate) fn are(&self, kind: KindCode, shape: Option<Shape>) -> bool {
        self.kind == kind && shape == Some(self.shape())
    }

    pub(crate) const fn shape(&self) -> Shape {
        Shape { cell: self.plan.cell, stride: self.plan.stride }
    }

    pub(crate) const fn kind(&self) -> KindCode {
        self.kind
    }

    /// Where in a slot the element is.
    pub(crate) const fn cell(&self) -> usize {
        self.plan.cell
    }

    /// The most bytes of a message.
    pub(crate) const fn longest(&self) -> usize {
        self.longest
    }

    /// How many message blocks there are, each of [`apart`](Self::apart) bytes.
    pub(crate) const fn blocks(&self) -> u64 {
        self.plan.blocks as u64
    }

    /// The words before the message blocks.
    pub(crate) const fn words(&self) -> NonNull<u8> {
        self.words
    }

    /// The bytes of the message blocks.
    pub(crate) const fn bytes(&self) -> NonNull<u8> {
        self.bytes
    }

    /// How many bytes it is from one message block to the next.
    pub(crate) const fn apart(&self) -> usize {
        self.plan.apart
    }

    /// Gives the memory of a message block back to the kernel, except for its first bytes.
    #[cold]
    pub(crate) fn give_back(&self, block: u64, keep: usize) {
        let apart = self.plan.apart;
        if block < self.blocks() && keep < apart {
            // SAFETY: the block is below their number, and the offset below its size.
            let first = unsafe { self.bytes.add(block as usize * apart + keep) };
            self.memory.give_back(first, apart - keep);
        }
    }

    /// Cells that have been filled, and cells that have been freed, since the
    /// beginning, together; roughly.
    pub(crate) fn moved(&self) -> u64 {
        let control = self.control();
        let tail = control.sending.tail.load(Ordering::Relaxed);
        tail.wrapping_add(control.receiving.head.load(Ordering::Relaxed))
    }

    /// Whether this is a forked child of the process that joined.
    pub(crate) fn in_child(&self) -> bool {
        self.memory.in_child()
    }
}

/// The participants' table, as far as it says who lives.
impl Table for Cells {
    /// The channels' semaphores are of no concern here.
    fn map(&self) -> SetMap {
        SetMap { participants: self.plan.participants, channels: 0, own_bells: false }
    }

    fn word(&self, id: u16) -> &AtomicU64 {
        // The table was inside when the segment was joined; the other word is never LIVE.
        let word = self.memory.at(Plan::WORDS + 8 * usize::from(id));
        word.unwrap_or(&self.control().sending.reserved[0])
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
