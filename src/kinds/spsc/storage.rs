//! Elements side by side.

#![allow(unsafe_code)]

use core::marker::PhantomData;
use core::ptr::NonNull;

use super::layout::{FACTS, shape};
use super::words::Positions;
use crate::kinds::element::{Element, shape_of};
use crate::kinds::payload::Form;
use crate::ring::spsc::{Consumer, Producer};
use crate::storage::{Cells, Shape, View, fetch};

/// Elements side by side.
#[derive(Debug)]
pub struct Packed<E>(Cells, PhantomData<fn(E) -> E>);

/// So many bytes ahead of its use, an element is fetched.
const AHEAD: usize = 4 * fetch::LINE;
/// Of one element or batch, so many lines at most.
const MOST: usize = 16;

impl<E: Element> Packed<E> {
    /// The shape of the slots, where the payload has one size.
    const SHAPE: Option<Shape> = match E::SIZE {
        Some(size) => shape(size, E::ALIGN),
        None => None,
    };
    /// Bytes from one element to the next; 0 where only the channel knows.
    const APART: usize = match Self::SHAPE {
        Some(shape) => shape.stride,
        None => 0,
    };
    /// How many elements ahead of its use one is fetched.
    const AHEAD: u64 = if Self::APART == 0 { 0 } else { AHEAD.div_ceil(Self::APART) as u64 };
    /// How many elements a line is fetched for.
    const SHARING: u64 = match Self::APART {
        0 => 1,
        apart if fetch::LINE.is_multiple_of(apart) => (fetch::LINE / apart) as u64,
        _ => 1,
    };

    /// While the element at `index` is used, fetches the one which is used a little later,
    /// and whose index is `ahead` of so many elements; `None` if that may not be used yet,
    /// because then the other side would have to fetch it back. The first ones of a lap are
    /// left out, so that nothing need be computed for them.
    #[inline(always)]
    fn fetch(&self, index: u64, ahead: impl FnOnce(u64) -> Option<u64>, line: impl Fn(*const u8)) {
        if Self::AHEAD == 0 || !index.is_multiple_of(Self::SHARING) {
            return;
        }
        if let Some(index) = ahead(Self::AHEAD) {
            self.fetch_lines(index, Self::APART, line);
        }
    }

    /// Fetches the lines of so many bytes from an element on.
    #[inline(always)]
    fn fetch_lines(&self, index: u64, bytes: usize, line: impl Fn(*const u8)) {
        // Only the address counts, and a wrong one does no harm.
        let first = self.0.slots().as_ptr().wrapping_add(index as usize * Self::APART);
        for n in 0..bytes.div_ceil(fetch::LINE).min(MOST) {
            line(first.wrapping_add(n * fetch::LINE));
        }
    }

    #[inline(always)]
    pub(super) fn fetch_to_write(&self, at: &Producer) {
        self.fetch(at.index(), |cells| at.ahead(self, cells), fetch::to_write);
    }

    /// Fetches the elements that are about to be written, the first lines of them.
    #[inline(always)]
    pub(super) fn fetch_all_to_write(&self, index: u64, count: usize) {
        self.fetch_lines(index, Self::APART * count, fetch::to_write);
    }

    /// Fetches the next element.
    #[inline(always)]
    pub(super) fn fetch_next_to_read(&self, at: &Consumer) {
        self.fetch_lines(at.index(), Self::APART.min(fetch::LINE), fetch::to_read);
    }

    #[inline(always)]
    pub(super) fn fetch_to_read(&self, at: &Consumer) {
        self.fetch(at.index(), |cells| at.ahead(self, cells), fetch::to_read);
    }

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
        // SAFETY: inside the ring and aligned (`of`).
        unsafe { E::place(&self.0, self.start(index), 1) }
    }

    /// Where that one begins.
    #[inline(always)]
    fn start(&self, index: u64) -> NonNull<u8> {
        debug_assert!(index < self.0.capacity());
        let index = if index < self.0.capacity() { index as usize } else { 0 };
        // SAFETY: the index is below the capacity, and `of` checked the stride.
        unsafe { self.0.slots().add(index * self.stride()) }
    }
}

impl<E> View for Packed<E> {
    #[inline]
    fn cells(&self) -> &Cells {
        &self.0
    }
}

impl<E> Positions for Packed<E> {}
