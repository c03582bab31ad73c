//! Slots with a word before the element.

#![allow(unsafe_code)]

use core::marker::PhantomData;
use core::ptr::NonNull;

use bytemuck::{CheckedBitPattern, NoUninit};

use crate::storage::{Cells, CopyOut, Elements, RingKind, Shape, Slotted, View};

/// Slots with a word before the element.
#[derive(Debug)]
pub struct Tagged<T>(Cells, PhantomData<fn(T) -> T>);

impl<T> Tagged<T> {
    const SHAPE: Shape = match Shape::new(RingKind::Mpmc, size_of::<T>(), align_of::<T>()) {
        Some(shape) => shape,
        None => panic!("a type is smaller than the address space"),
    };

    /// The slots as words with `T`s, if they are that large and apart.
    pub(crate) fn of(cells: &Cells) -> Option<Self> {
        cells.are(RingKind::Mpmc, Some(Self::SHAPE)).then(|| Self(cells.clone(), PhantomData))
    }

    /// The start of a slot. An index out of range, which no ring makes, is
    /// brought into it rather than trusted.
    #[inline]
    fn start(&self, index: u64) -> NonNull<u8> {
        debug_assert!(index < self.0.capacity());
        let index = if index < self.0.capacity() { index as usize } else { 0 };
        // SAFETY: the index is below the capacity, and `of` checked that
        // the stride is this one.
        unsafe { self.0.slots().add(index * Self::SHAPE.stride) }
    }

    /// The element of a slot.
    #[inline]
    pub(crate) fn element(&self, index: u64) -> Elements<'_, T> {
        // SAFETY: within the slot.
        let first = unsafe { self.start(index).add(Self::SHAPE.cell) };
        // SAFETY: inside the slot and aligned (`of`); the memory is
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

impl<T> View for Tagged<T> {
    #[inline]
    fn cells(&self) -> &Cells {
        &self.0
    }
}

// SAFETY: `of` checked that the slots begin with a word.
unsafe impl<T> Slotted for Tagged<T> {
    #[inline]
    fn start_of(&self, index: u64) -> NonNull<u8> {
        self.start(index)
    }
}
