//! Elements side by side.

#![allow(unsafe_code)]

use core::marker::PhantomData;

use super::layout::{FACTS, shape};
use super::words::Positions;
use crate::kinds::element::{Element, shape_of};
use crate::kinds::payload::Form;
use crate::ring::spsc::{Consumer, Pace, Producer, Torn};
use crate::storage::{Cells, Shape, View, fetch};

/// Elements side by side.
#[derive(Debug)]
pub struct Packed<E>(Cells, PhantomData<fn(E) -> E>);

/// So many bytes ahead of its use, an element is fetched.
const AHEAD: usize = 4 * fetch::LINE;
/// So many bytes of elements that share lines are fetched together.
const GROUP: usize = 4 * fetch::LINE;
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
    /// Whether an element has lines of its own, or more is not known.
    const BY_ITSELF: bool = Self::APART == 0 || Self::APART >= fetch::LINE;
    /// How many elements ahead of its use one is fetched.
    const AHEAD: u64 = if Self::APART == 0 { 0 } else { AHEAD.div_ceil(Self::APART) as u64 };
    /// How elements that share lines are fetched.
    const PACE: Option<Pace> = if Self::BY_ITSELF {
        None
    } else {
        Some(Pace { every: 1 << (GROUP / Self::APART).ilog2(), ahead: Self::AHEAD })
    };

    /// Fetches the lines of so many bytes from an element on.
    #[inline(always)]
    fn fetch_lines(&self, index: u64, bytes: usize, line: impl Fn(*const u8)) {
        // Only the address counts, and a wrong one does no harm.
        let first = self.0.slots().as_ptr().wrapping_add(index as usize * Self::APART);
        for n in 0..bytes.div_ceil(fetch::LINE).min(MOST) {
            line(first.wrapping_add(n * fetch::LINE));
        }
    }

    /// The index of the next element to write, if there is room. While it is used, those that
    /// are used a little later are fetched, if they may be used yet: otherwise the other side
    /// would have to fetch them back.
    #[inline(always)]
    pub(super) fn next_to_write(&self, at: &Producer) -> Result<Option<u64>, Torn> {
        let next = at.next(self, Self::PACE, |index| self.fetch_group(index, fetch::to_write))?;
        self.fetch_one(|cells| at.ahead(self, cells), fetch::to_write);
        Ok(next)
    }

    /// The same to read. If it came just now, its line is as new as the ring's index: one
    /// who knows of none fetches both at once.
    #[inline(always)]
    pub(super) fn next_to_read(&self, at: &Consumer) -> Result<Option<u64>, Torn> {
        if at.knows_of_none() {
            self.fetch_lines(at.index(), Self::APART.min(fetch::LINE), fetch::to_read);
        }
        let next = at.next(self, Self::PACE, |index| self.fetch_group(index, fetch::to_read))?;
        self.fetch_one(|cells| at.ahead(self, cells), fetch::to_read);
        Ok(next)
    }

    #[inline(always)]
    fn fetch_group(&self, index: u64, line: impl Fn(*const u8)) {
        self.fetch_lines(index, GROUP, line);
    }

    /// Fetches the element that is so many `ahead`. The first ones of a lap are left out, so
    /// that nothing need be computed for them.
    #[inline(always)]
    fn fetch_one(&self, ahead: impl FnOnce(u64) -> Option<u64>, line: impl Fn(*const u8)) {
        if Self::APART == 0 || !Self::BY_ITSELF {
            return;
        }
        if let Some(index) = ahead(Self::AHEAD) {
            self.fetch_lines(index, Self::APART, line);
        }
    }

    /// Fetches the elements that are about to be written, the first lines of them.
    #[inline(always)]
    pub(super) fn fetch_all_to_write(&self, index: u64, count: usize) {
        self.fetch_lines(index, Self::APART * count, fetch::to_write);
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

    /// The element at an index that [`next_to_write`](Self::next_to_write) or
    /// [`next_to_read`](Self::next_to_read) gave.
    #[inline(always)]
    pub(super) fn one(&self, index: u64) -> <E as Form>::Place<'_> {
        debug_assert!(index < self.0.capacity());
        // SAFETY: the index is below the capacity: the side that gave it has all that it
        // depends on in memory of its own. `of` checked the stride.
        let first = unsafe { self.0.slots().add(index as usize * self.stride()) };
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
