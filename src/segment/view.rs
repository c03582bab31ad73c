//! A channel's block: its words as the rings want them, its elements as
//! bytes that are copied in and out.

#![allow(unsafe_code)]

use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

use bytemuck::{CheckedBitPattern, NoUninit};

use super::layout::{BlockPlan, Control, RingKind, Shape};
use super::mapped::Mapped;
use super::memory::Memory;
use crate::ring::{mpmc, spsc};
use crate::sync::AtomicU64;

/// Where a channel is and what it is: copied out of the directory and
/// checked, so that nobody can change it any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) index: u16,
    pub(crate) kind: RingKind,
    pub(crate) offset: usize,
    pub(crate) plan: BlockPlan,
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

    /// The slots, if they have owners.
    pub(crate) fn mpmc<'a>(&self, mapped: &'a Mapped) -> Option<Cells<'a>> {
        (self.kind == RingKind::Mpmc).then(|| Cells::new(&mapped.memory, self)).flatten()
    }
}

/// The words and elements of one block.
#[derive(Clone, Copy, Debug)]
pub struct Cells<'a> {
    control: NonNull<Control>,
    slots: NonNull<u8>,
    /// From 1 up, and `capacity * stride` bytes are inside the segment.
    capacity: u64,
    stride: usize,
    cell: usize,
    memory: PhantomData<&'a Memory>,
}

// SAFETY: the pointers are into shared memory that is reached through atomics
// and copies only; a thread makes no difference to them.
unsafe impl Send for Cells<'_> {}

impl<'a> Cells<'a> {
    /// `None` if the block is not inside the segment.
    pub(crate) fn new(memory: &'a Memory, block: &Block) -> Option<Self> {
        let plan = block.plan;
        let control = NonNull::from(memory.at::<Control>(block.offset)?);
        let start = block.offset.checked_add(plan.slots)?;
        let slots = memory.range(start, plan.stride.checked_mul(plan.capacity)?)?;
        (plan.capacity > 0).then_some(Self {
            control,
            slots,
            capacity: plan.capacity as u64,
            stride: plan.stride,
            cell: plan.cell,
            memory: PhantomData,
        })
    }

    /// The same, for as long as the caller keeps the memory attached.
    ///
    /// # Safety
    /// The result is not used after the memory is detached.
    pub(crate) const unsafe fn unbound(self) -> Cells<'static> {
        Cells {
            control: self.control,
            slots: self.slots,
            capacity: self.capacity,
            stride: self.stride,
            cell: self.cell,
            memory: PhantomData,
        }
    }

    #[inline]
    pub(crate) fn control(&self) -> &Control {
        // SAFETY: `new` got it from a reference into the memory, which is
        // still attached.
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
    pub(crate) fn packed<T>(self) -> Option<Packed<'a, T>> {
        let shape = const { Shape::new(RingKind::Spsc, size_of::<T>(), align_of::<T>()) };
        (shape == Some(Shape { cell: self.cell, stride: self.stride }))
            .then_some(Packed(self, PhantomData))
    }

    /// The slots as words with `T`s, if they are that large and apart.
    pub(crate) fn tagged<T>(self) -> Option<Tagged<'a, T>> {
        let shape = const { Shape::new(RingKind::Mpmc, size_of::<T>(), align_of::<T>()) };
        (shape == Some(Shape { cell: self.cell, stride: self.stride }))
            .then_some(Tagged(self, PhantomData))
    }

    /// How many messages there are, now or a moment ago.
    pub(crate) fn len(&self, kind: RingKind) -> u64 {
        match kind {
            RingKind::Spsc => spsc::len(self),
            RingKind::Mpmc => mpmc::len(self),
        }
    }
}

/// Elements side by side.
#[derive(Debug)]
pub struct Packed<'a, T>(Cells<'a>, PhantomData<fn(T) -> T>);

impl<T> Packed<'_, T> {
    /// The element at `index`, with `count - 1` more behind it; the first
    /// ones instead where that leaves the ring, which no ring does.
    #[inline]
    fn at(&self, index: u64, count: usize) -> NonNull<T> {
        debug_assert!(index + count as u64 <= self.0.capacity);
        let fits = index < self.0.capacity && count as u64 <= self.0.capacity - index;
        let index = if fits { index as usize } else { 0 };
        // SAFETY: the index is below the capacity, and `packed` checked that
        // the stride is that of `T`.
        unsafe { self.0.slots.cast::<T>().add(index) }
    }

    /// Copies an element in. Only the producer may.
    #[inline]
    pub(crate) fn write(&self, index: u64, element: &T)
    where
        T: NoUninit,
    {
        // SAFETY: inside the ring and aligned (`packed`), and nobody else
        // who keeps to the protocol writes there.
        unsafe { self.at(index, 1).write(*element) };
    }

    /// Copies an element out, whatever it is: a peer may be writing it.
    #[inline]
    pub(crate) fn read(&self, index: u64) -> Option<T>
    where
        T: CheckedBitPattern,
    {
        // SAFETY: inside the ring and aligned (`packed`); any bytes are a
        // value of `T::Bits`, which has the layout of `T`.
        checked(unsafe { copy_once(self.at(index, 1).cast::<T::Bits>()) })
    }

    /// Copies elements in, side by side from `index` on.
    #[inline]
    pub(crate) fn write_slice(&self, index: u64, elements: &[T])
    where
        T: NoUninit,
    {
        if elements.len() as u64 > self.0.capacity {
            return;
        }
        let target = self.at(index, elements.len()).as_ptr();
        // SAFETY: the target is as long (`at`), and cannot overlap the
        // source, which is this process's own.
        unsafe { target.copy_from_nonoverlapping(elements.as_ptr(), elements.len()) };
    }

    /// Copies elements out, side by side from `index` on, to the end of
    /// `into`, up to the first that is not valid; says how many were.
    #[inline]
    pub(crate) fn read_slice(&self, index: u64, count: u64, into: &mut Vec<T>) -> u64
    where
        T: CheckedBitPattern,
    {
        into.reserve(count as usize);
        for n in 0..count {
            match self.read(index + n) {
                Some(element) => into.push(element),
                None => return n,
            }
        }
        count
    }
}

/// Slots with a word before the element.
#[derive(Debug)]
pub struct Tagged<'a, T>(Cells<'a>, PhantomData<fn(T) -> T>);

impl<T> Tagged<'_, T> {
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

    #[inline]
    fn element(&self, index: u64) -> NonNull<T> {
        // SAFETY: within the slot.
        unsafe { self.start(index).add(Self::SHAPE.cell) }.cast()
    }

    /// Copies an element in. Only the slot's owner may.
    #[inline]
    pub(crate) fn write(&self, index: u64, element: &T)
    where
        T: NoUninit,
    {
        // SAFETY: inside the slot and aligned (`tagged`), and nobody else
        // who keeps to the protocol writes there.
        unsafe { self.element(index).write(*element) };
    }

    /// Copies an element out, whatever it is: a peer may be writing it.
    #[inline]
    pub(crate) fn read(&self, index: u64) -> Option<T>
    where
        T: CheckedBitPattern,
    {
        // SAFETY: inside the slot and aligned (`tagged`); any bytes are a
        // value of `T::Bits`, which has the layout of `T`.
        checked(unsafe { copy_once(self.element(index).cast::<T::Bits>()) })
    }
}

impl<T> mpmc::Words for Tagged<'_, T> {
    #[inline]
    fn capacity(&self) -> u64 {
        self.0.capacity
    }

    #[inline]
    fn slot(&self, index: u64) -> &AtomicU64 {
        // SAFETY: a slot begins with its word, aligned to 8, and the memory
        // is attached as long as the cells are borrowed.
        unsafe { self.start(index).cast::<AtomicU64>().as_ref() }
    }

    #[inline]
    fn tail(&self) -> &AtomicU64 {
        &self.0.control().tail
    }

    #[inline]
    fn head(&self) -> &AtomicU64 {
        &self.0.control().head
    }

    #[inline]
    fn orphans(&self) -> &AtomicU64 {
        &self.0.control().orphans
    }

    #[inline]
    fn scanned(&self) -> &AtomicU64 {
        &self.0.control().scanned
    }
}

impl mpmc::Words for Cells<'_> {
    #[inline]
    fn capacity(&self) -> u64 {
        self.capacity
    }

    #[inline]
    fn slot(&self, index: u64) -> &AtomicU64 {
        // SAFETY: a slot of this kind begins with its word, aligned to 8.
        unsafe { self.start(index).cast::<AtomicU64>().as_ref() }
    }

    #[inline]
    fn tail(&self) -> &AtomicU64 {
        &self.control().tail
    }

    #[inline]
    fn head(&self) -> &AtomicU64 {
        &self.control().head
    }

    #[inline]
    fn orphans(&self) -> &AtomicU64 {
        &self.control().orphans
    }

    #[inline]
    fn scanned(&self) -> &AtomicU64 {
        &self.control().scanned
    }
}

impl spsc::Indices for Cells<'_> {
    #[inline]
    fn capacity(&self) -> u64 {
        self.capacity
    }

    #[inline]
    fn head(&self) -> &AtomicU64 {
        &self.control().head
    }

    #[inline]
    fn tail(&self) -> &AtomicU64 {
        &self.control().tail
    }
}

impl<T> spsc::Indices for Packed<'_, T> {
    #[inline]
    fn capacity(&self) -> u64 {
        self.0.capacity
    }

    #[inline]
    fn head(&self) -> &AtomicU64 {
        &self.0.control().head
    }

    #[inline]
    fn tail(&self) -> &AtomicU64 {
        &self.0.control().tail
    }
}

/// A copy that is made once: what is checked is what is used.
///
/// # Safety
/// `source` is readable and aligned; any bytes are a `B`.
#[inline]
unsafe fn copy_once<B: Copy>(source: NonNull<B>) -> B {
    if size_of::<B>() <= 16 {
        // SAFETY: by the caller.
        return unsafe { source.read_volatile() };
    }
    let mut copy = MaybeUninit::<B>::uninit();
    // SAFETY: by the caller; the copy is this thread's own.
    unsafe { copy.as_mut_ptr().copy_from_nonoverlapping(source.as_ptr(), 1) };
    // Keeps the compiler from reading the source again in the copy's place.
    core::hint::black_box(&mut copy);
    // SAFETY: all of it has just been written.
    unsafe { copy.assume_init() }
}

#[inline]
fn checked<T: CheckedBitPattern>(bits: T::Bits) -> Option<T> {
    if !T::is_valid_bit_pattern(&bits) {
        return None;
    }
    // SAFETY: `T::Bits` has the layout of `T`, and these bits are a valid
    // `T`, just checked: that is what `CheckedBitPattern` promises.
    Some(unsafe { core::mem::transmute_copy::<T::Bits, T>(&bits) })
}
