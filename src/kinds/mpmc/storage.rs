//! Slots with a word before the element.

#![allow(unsafe_code)]

use core::marker::PhantomData;
use core::ptr::NonNull;

use super::layout::{self, FACTS};
use super::words::Slotted;
use crate::kinds::element::{Element, shape_of};
use crate::kinds::payload::Form;
use crate::storage::{Cells, Shape, View};

/// Slots with a word before the element.
#[derive(Debug)]
pub struct Tagged<E>(Cells, PhantomData<fn(E) -> E>);

impl<E: Element> Tagged<E> {
    /// The shape of the slots, where the payload has one size.
    const SHAPE: Option<Shape> = match E::SIZE {
        Some(size) => layout::shape(size, E::ALIGN),
        None => None,
    };

    /// The slots as words with elements of this payload, if they are that large and
    /// apart.
    pub(crate) fn of(cells: &Cells) -> Option<Self> {
        let shape = shape_of::<E>(Self::SHAPE, cells);
        cells.are(FACTS.code, shape).then(|| Self(cells.clone(), PhantomData))
    }

    #[inline(always)]
    fn shape(&self) -> Shape {
        shape_of::<E>(Self::SHAPE, &self.0).unwrap_or(Shape { cell: 0, stride: 0 })
    }

    /// The start of a slot. An index out of range, which no ring makes, is
    /// brought into it rather than trusted.
    #[inline(always)]
    fn start(&self, index: u64) -> NonNull<u8> {
        debug_assert!(index < self.0.capacity());
        let index = if index < self.0.capacity() { index as usize } else { 0 };
        // SAFETY: the index is below the capacity, and `of` checked the stride.
        unsafe { self.0.slots().add(index * self.shape().stride) }
    }

    /// The element of a slot.
    #[inline(always)]
    pub(crate) fn element(&self, index: u64) -> <E as Form>::Place<'_> {
        // SAFETY: within the slot.
        let first = unsafe { self.start(index).add(self.shape().cell) };
        // SAFETY: inside the slot and aligned (`of`).
        unsafe { E::place(&self.0, first, 1) }
    }
}

impl<E> View for Tagged<E> {
    #[inline]
    fn cells(&self) -> &Cells {
        &self.0
    }
}

// SAFETY: `of` checked that the slots begin with a word.
unsafe impl<E: Element> Slotted for Tagged<E> {
    #[inline]
    fn start_of(&self, index: u64) -> NonNull<u8> {
        self.start(index)
    }
}
