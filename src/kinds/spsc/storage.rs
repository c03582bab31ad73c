//! Elements side by side.

#![allow(unsafe_code)]

use core::marker::PhantomData;

use super::layout::{FACTS, shape};
use super::words::Positions;
use crate::kinds::element::{Element, shape_of};
use crate::kinds::payload::Form;
use crate::storage::{Cells, Shape, View};

/// Elements side by side.
#[derive(Debug)]
pub struct Packed<E>(Cells, PhantomData<fn(E) -> E>);

impl<E: Element> Packed<E> {
    /// The shape of the slots, where the payload has one size.
    const SHAPE: Option<Shape> = match E::SIZE {
        Some(size) => shape(size, E::ALIGN),
        None => None,
    };

    /// The ring as elements of this payload, if they are that large and apart.
    pub(crate) fn of(cells: &Cells) -> Option<Self> {
        let shape = shape_of::<E>(Self::SHAPE, cells);
        cells.are(FACTS.code, shape).then(|| Self(cells.clone(), PhantomData))
    }

    /// Bytes from one element to the next.
    #[inline(always)]
    fn stride(&self) -> usize {
        shape_of::<E>(Self::SHAPE, &self.0).map_or(0, |shape| shape.stride)
    }

    /// The elements from `index` on, `count` of them, at least one, or as many
    /// as there are before the ring's end; the first ones where the index is
    /// beyond it, which no ring does.
    #[inline(always)]
    pub(crate) fn at(&self, index: u64, count: usize) -> <E as Form>::Place<'_> {
        let capacity = self.0.capacity();
        debug_assert!(index + count as u64 <= capacity);
        let index = if index < capacity { index } else { 0 };
        let count = (count as u64).max(1).min(capacity - index) as usize;
        // SAFETY: the index is below the capacity, and `of` checked the stride.
        let first = unsafe { self.0.slots().add(index as usize * self.stride()) };
        // SAFETY: so many are inside the ring, side by side from the start of a line on.
        unsafe { E::place(&self.0, first, count) }
    }

    /// The element at `index`; the first one instead of one beyond the ring.
    #[inline(always)]
    pub(crate) fn one(&self, index: u64) -> <E as Form>::Place<'_> {
        debug_assert!(index < self.0.capacity());
        let index = if index < self.0.capacity() { index as usize } else { 0 };
        // SAFETY: the index is below the capacity, and `of` checked the stride.
        let first = unsafe { self.0.slots().add(index * self.stride()) };
        // SAFETY: inside the ring and aligned (`of`).
        unsafe { E::place(&self.0, first, 1) }
    }
}

impl<E> View for Packed<E> {
    #[inline]
    fn cells(&self) -> &Cells {
        &self.0
    }
}

impl<E> Positions for Packed<E> {}
