//! A channel's block: its words as the rings want them, its elements and
//! messages as [stretches](super::region) that are copied in and out.
//!
//! Every index, length and count is brought inside where it is used: most
//! come from the segment, and a peer may write anything there.

#![allow(unsafe_code)]

use core::marker::PhantomData;
use core::ptr::NonNull;
use std::sync::Arc;

use bytemuck::{CheckedBitPattern, NoUninit};

use super::copy_out::{self, CopyOut};
use super::layout::{BlockPlan, Control, RingKind, Shape};
use super::mapped::Mapped;
use super::memory::Memory;
use super::region::{Bytes, Elements};
use crate::ring::{blocks, in_flight, mpmc, records, spsc};
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

impl Block {
    pub(crate) fn items(&self, mapped: &Mapped) -> u16 {
        mapped.plan.map.items(self.index)
    }

    pub(crate) fn space(&self, mapped: &Mapped) -> u16 {
        mapped.plan.map.space(self.index)
    }

    /// The cells.
    pub(crate) fn cells(&self, mapped: &Mapped) -> Option<Cells> {
        Cells::new(&mapped.memory, self)
    }
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
    fn start(&self, index: u64) -> NonNull<u8> {
        let index = if index < self.capacity { index as usize } else { 0 };
        // SAFETY: the index is below the capacity, and `new` checked that
        // that many strides are inside the memory.
        unsafe { self.slots.add(index * self.stride) }
    }

    /// The elements as `T`s, if they are that large and apart.
    pub(crate) fn packed<T>(&self) -> Option<Packed<T>> {
        let shape = const { Shape::new(RingKind::Spsc, size_of::<T>(), align_of::<T>()) };
        (shape == Some(Shape { cell: self.cell, stride: self.stride }))
            .then(|| Packed(self.clone(), PhantomData))
    }

    /// The slots as words with `T`s, if they are that large and apart.
    pub(crate) fn tagged<T>(&self) -> Option<Tagged<T>> {
        let shape = const { Shape::new(RingKind::Mpmc, size_of::<T>(), align_of::<T>()) };
        (shape == Some(Shape { cell: self.cell, stride: self.stride }))
            .then(|| Tagged(self.clone(), PhantomData))
    }

    /// The ring as records, if it is of those.
    pub(crate) fn record_ring(&self) -> Option<RecordRing> {
        (self.kind == RingKind::SpscBytes).then(|| RecordRing(self.clone()))
    }

    /// The ring as slots that name blocks, if it is of those.
    pub(crate) fn block_slots(&self) -> Option<BlockSlots> {
        (self.kind == RingKind::MpmcBytes).then(|| BlockSlots(self.clone()))
    }

    /// How many messages there are, now or a moment ago. For records, which
    /// nobody counts, how many of the longest their room is worth.
    pub(crate) fn len(&self) -> u64 {
        match self.kind {
            RingKind::Spsc => spsc::len(self),
            RingKind::SpscBytes => {
                let longest = records::units(self.longest as u64);
                // Padding is not of a message.
                spsc::len(self).div_ceil(longest).min((self.capacity / longest).saturating_sub(1))
            }
            RingKind::Mpmc | RingKind::MpmcBytes => mpmc::len(self),
        }
    }

    /// Cells that have been filled, and cells that have been freed, since the
    /// beginning, together; roughly.
    pub(crate) fn moved(&self) -> u64 {
        let control = self.control();
        let tail = control.tail.load(Ordering::Relaxed);
        tail.wrapping_add(control.head.load(Ordering::Relaxed))
    }

    pub(crate) const fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Whether a message is in a reader's hands that does not count as being
    /// in the channel.
    pub(crate) fn in_hand(&self) -> bool {
        !self.kind.is_single() && mpmc::in_flight(self)
    }
}

/// Records of an SPSC ring.
#[derive(Debug)]
pub struct RecordRing(Cells);

impl RecordRing {
    /// The bytes of a record from unit `start` on.
    pub(crate) fn bytes(&self, start: u64, length: u64) -> Bytes<'_> {
        let (start, length) = within(start, length, self.0.capacity);
        // SAFETY: `within` keeps the range inside the ring.
        let first = unsafe { self.0.slots.add(start * records::UNIT) };
        // SAFETY: inside the ring, which is whole units, and aligned to one;
        // the memory is attached as long as the cells are there.
        unsafe { Bytes::new(first, length) }
    }
}

/// A range of bytes in a ring of units, brought inside if it is not.
fn within(start: u64, length: u64, capacity: u64) -> (usize, usize) {
    let start = start.min(capacity);
    let room = (capacity - start).saturating_mul(records::UNIT as u64);
    (start as usize, length.min(room) as usize)
}

impl records::Units for RecordRing {
    #[inline]
    fn unit(&self, index: u64) -> &AtomicU64 {
        let (index, _) = within(index, 0, self.0.capacity - 1);
        // SAFETY: `within` keeps the index below the capacity.
        let unit = unsafe { self.0.slots.add(index * records::UNIT) };
        // SAFETY: aligned to 8, inside the segment, and headers are only ever
        // reached as words.
        unsafe { unit.cast::<AtomicU64>().as_ref() }
    }

    fn longest(&self) -> u64 {
        self.0.longest as u64
    }
}

/// Slots of an MPMC ring that name blocks.
#[derive(Debug)]
pub struct BlockSlots(Cells);

impl BlockSlots {
    /// The word in a slot that says which block, and how long.
    fn label(&self, slot: u64) -> &AtomicU64 {
        // SAFETY: a slot of this kind is two words, and inside (`start`).
        let label = unsafe { self.0.start(slot).add(self.0.cell) };
        // SAFETY: aligned to 8, inside the segment, only ever a word.
        unsafe { label.cast::<AtomicU64>().as_ref() }
    }

    /// Writes down which block a slot names.
    pub(crate) fn name(&self, slot: u64, block: u64, length: u64) {
        self.label(slot).store(length << 32 | block, Ordering::Relaxed);
    }

    /// Which block a slot names, and the length of its message; `None` if
    /// that cannot be.
    pub(crate) fn named(&self, slot: u64) -> Option<(u64, u64)> {
        let label = self.label(slot).load(Ordering::Relaxed);
        let (block, length) = (label & u64::from(u32::MAX), label >> 32);
        (block < self.0.blocks && length <= self.0.longest as u64).then_some((block, length))
    }

    /// The bytes of a block.
    pub(crate) fn bytes(&self, block: u64, length: u64) -> Bytes<'_> {
        let block = if block < self.0.blocks { block as usize } else { 0 };
        let length = (length as usize).min(self.0.apart);
        // SAFETY: the block is below their number, just made sure.
        let first = unsafe { self.0.bytes.add(block * self.0.apart) };
        // SAFETY: inside the block, which is whole lines, and at the start of
        // one; the memory is attached as long as the cells are there.
        unsafe { Bytes::new(first, length) }
    }

    /// Which blocks are named by a slot with a message in it.
    pub(crate) fn all_named(&self) -> Vec<bool> {
        let mut named = vec![false; self.0.blocks as usize];
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
    fn count(&self) -> u64 {
        self.0.blocks
    }

    fn block(&self, index: u64) -> &AtomicU64 {
        let index = if index < self.0.blocks { index as usize } else { 0 };
        // SAFETY: there are that many words.
        let word = unsafe { self.0.words.add(8 * index) };
        // SAFETY: aligned to 8, inside the segment, only ever a word.
        unsafe { word.cast::<AtomicU64>().as_ref() }
    }
}

/// Elements side by side.
#[derive(Debug)]
pub struct Packed<T>(Cells, PhantomData<fn(T) -> T>);

impl<T> Packed<T> {
    /// The elements from `index` on, `count` of them, at least one, or as many
    /// as there are before the ring's end; the first ones where the index is
    /// beyond it, which no ring does.
    #[inline]
    pub(crate) fn at(&self, index: u64, count: usize) -> Elements<'_, T> {
        let capacity = self.0.capacity;
        debug_assert!(index + count as u64 <= capacity);
        let index = if index < capacity { index } else { 0 };
        let count = (count as u64).max(1).min(capacity - index) as usize;
        // SAFETY: the index is below the capacity, and `packed` checked that
        // the stride is that of `T`.
        let first = unsafe { self.0.slots.cast::<T>().add(index as usize) };
        // SAFETY: so many are inside the ring, side by side from the start of a
        // line on; the memory is attached as long as the cells are there.
        unsafe { Elements::new(first, count) }
    }

    /// The element at `index`; the first one instead of one beyond the ring.
    #[inline]
    pub(crate) fn one(&self, index: u64) -> Elements<'_, T> {
        debug_assert!(index < self.0.capacity);
        let index = if index < self.0.capacity { index as usize } else { 0 };
        // SAFETY: the index is below the capacity, and `packed` checked that
        // the stride is that of `T`.
        let first = unsafe { self.0.slots.cast::<T>().add(index) };
        // SAFETY: inside the ring and aligned (`packed`); the memory is attached
        // as long as the cells are there.
        unsafe { Elements::new(first, 1) }
    }

    /// Copies an element in. Only the producer may.
    #[inline]
    pub(crate) fn write(&self, index: u64, element: &T)
    where
        T: NoUninit,
    {
        self.one(index).write(0, core::slice::from_ref(element));
    }

    /// Copies an element out, whatever it is: a peer may be writing it.
    #[inline]
    pub(crate) fn read(&self, index: u64, into: &mut CopyOut<T>)
    where
        T: CheckedBitPattern,
    {
        into.land(self.one(index));
    }

    /// Copies elements in, side by side from `index` on.
    #[inline]
    pub(crate) fn write_slice(&self, index: u64, elements: &[T])
    where
        T: NoUninit,
    {
        if !elements.is_empty() {
            self.at(index, elements.len()).write(0, elements);
        }
    }

    /// Copies elements out, side by side from `index` on, to the end of
    /// `into`, up to the first that is not valid; says how many were.
    #[inline]
    pub(crate) fn read_slice(&self, index: u64, count: u64, into: &mut Vec<T>) -> u64
    where
        T: CheckedBitPattern,
    {
        if count == 0 {
            return 0;
        }
        copy_out::append(self.at(index, count as usize), into) as u64
    }
}

/// Slots with a word before the element.
#[derive(Debug)]
pub struct Tagged<T>(Cells, PhantomData<fn(T) -> T>);

impl<T> Tagged<T> {
    const SHAPE: Shape = match Shape::new(RingKind::Mpmc, size_of::<T>(), align_of::<T>()) {
        Some(shape) => shape,
        None => panic!("a type is smaller than the address space"),
    };

    /// The start of a slot. An index out of range, which no ring makes, is
    /// brought into it rather than trusted.
    #[inline]
    fn start(&self, index: u64) -> NonNull<u8> {
        debug_assert!(index < self.0.capacity);
        let index = if index < self.0.capacity { index as usize } else { 0 };
        // SAFETY: the index is below the capacity, and `tagged` checked that
        // the stride is this one.
        unsafe { self.0.slots.add(index * Self::SHAPE.stride) }
    }

    /// The element of a slot.
    #[inline]
    pub(crate) fn element(&self, index: u64) -> Elements<'_, T> {
        // SAFETY: within the slot.
        let first = unsafe { self.start(index).add(Self::SHAPE.cell) };
        // SAFETY: inside the slot and aligned (`tagged`); the memory is
        // attached as long as the cells are there.
        unsafe { Elements::new(first.cast(), 1) }
    }

    /// Copies an element in. Only the slot's owner may.
    #[inline]
    pub(crate) fn write(&self, index: u64, element: &T)
    where
        T: NoUninit,
    {
        self.element(index).write(0, core::slice::from_ref(element));
    }

    /// Copies an element out, whatever it is: a peer may be writing it.
    #[inline]
    pub(crate) fn read(&self, index: u64, into: &mut CopyOut<T>)
    where
        T: CheckedBitPattern,
    {
        into.land(self.element(index));
    }
}

/// A view of cells, typed or not.
trait View {
    fn cells(&self) -> &Cells;
}

impl View for Cells {
    #[inline]
    fn cells(&self) -> &Cells {
        self
    }
}

impl View for RecordRing {
    #[inline]
    fn cells(&self) -> &Cells {
        &self.0
    }
}

impl View for BlockSlots {
    #[inline]
    fn cells(&self) -> &Cells {
        &self.0
    }
}

impl<T> View for Packed<T> {
    #[inline]
    fn cells(&self) -> &Cells {
        &self.0
    }
}

impl<T> View for Tagged<T> {
    #[inline]
    fn cells(&self) -> &Cells {
        &self.0
    }
}

/// A view of slots that begin with a word.
trait Slotted: View {
    #[inline]
    fn start_of(&self, index: u64) -> NonNull<u8> {
        self.cells().start(index)
    }
}

impl Slotted for Cells {}
impl Slotted for BlockSlots {}

impl<T> Slotted for Tagged<T> {
    #[inline]
    fn start_of(&self, index: u64) -> NonNull<u8> {
        self.start(index)
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
        let control = self.cells().control();
        control.hands.get(n).unwrap_or(&control.last_hand)
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
        // SAFETY: a slot begins with its word, aligned to 8, and the memory
        // is attached as long as the cells are borrowed.
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
