//! Elements side by side.

#![allow(unsafe_code)]

use core::marker::PhantomData;

use bytemuck::{CheckedBitPattern, NoUninit};

use crate::storage::{Cells, CopyOut, Elements, RingKind, Shape, View, append};

/// Elements side by side.
#[derive(Debug)]
pub struct Packed<T>(Cells, PhantomData<fn(T) -> T>);

impl<T> Packed<T> {
    /// The elements as `T`s, if they are that large and apart.
    pub(crate) fn of(cells: &Cells) -> Option<Self> {
        let shape = const { Shape::new(RingKind::Spsc, size_of::<T>(), align_of::<T>()) };
        cells.are(RingKind::Spsc, shape).then(|| Self(cells.clone(), PhantomData))
    }

    /// The elements from `index` on, `count` of them, at least one, or as many
    /// as there are before the ring's end; the first ones where the index is
    /// beyond it, which no ring does.
    #[inline]
    pub(crate) fn at(&self, index: u64, count: usize) -> Elements<'_, T> {
        let capacity = self.0.capacity();
        debug_assert!(index + count as u64 <= capacity);
        let index = if index < capacity { index } else { 0 };
        let count = (count as u64).max(1).min(capacity - index) as usize;
        // SAFETY: the index is below the capacity, and `of` checked that
        // the stride is that of `T`.
        let first = unsafe { self.0.slots().cast::<T>().add(index as usize) };
        // SAFETY: so many are inside the ring, side by side from the start of a
        // line on; the memory is attached as long as the cells are there.
        unsafe { Elements::new(first, count) }
    }

    /// The element at `index`; the first one instead of one beyond the ring.
    #[inline]
    pub(crate) fn one(&self, index: u64) -> Elements<'_, T> {
        debug_assert!(index < self.0.capacity());
        let index = if index < self.0.capacity() { index as usize } else { 0 };
        // SAFETY: the index is below the capacity, and `of` checked that
        // the stride is that of `T`.
        let first = unsafe { self.0.slots().cast::<T>().add(index) };
        // SAFETY: inside the ring and aligned (`of`); the memory is attached
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
        append(self.at(index, count as usize), into) as u64
    }
}

impl<T> View for Packed<T> {
    #[inline]
    fn cells(&self) -> &Cells {
        &self.0
    }
}
