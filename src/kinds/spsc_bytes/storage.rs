//! A ring of bytes, as records of whole units.

#![allow(unsafe_code)]

use super::layout::FACTS;
use crate::kinds::spsc::words::Positions;
use crate::ring::records;
use crate::storage::{ByteSpan, Cells, View};
use crate::sync::AtomicU64;

/// Records of an SPSC ring.
#[derive(Debug)]
pub struct RecordRing(Cells);

impl RecordRing {
    /// The ring as records, if it is of those.
    pub(crate) fn of(cells: &Cells) -> Option<Self> {
        (cells.kind() == FACTS.code).then(|| Self(cells.clone()))
    }

    /// The bytes of a record from unit `start` on.
    #[inline(always)]
    pub(crate) fn bytes(&self, start: u64, length: u64) -> ByteSpan<'_> {
        let (start, length) = within(start, length, self.0.capacity());
        // SAFETY: `within` keeps the range inside the ring.
        let first = unsafe { self.0.slots().add(start * records::UNIT) };
        // SAFETY: inside the ring, which is whole units, and aligned to one;
        // the memory is attached as long as the cells are there.
        unsafe { ByteSpan::new(first, length) }
    }
}

/// A range of bytes in a ring of units, brought inside if it is not.
#[inline(always)]
fn within(start: u64, length: u64, capacity: u64) -> (usize, usize) {
    let start = start.min(capacity);
    let room = (capacity - start).saturating_mul(records::UNIT as u64);
    (start as usize, length.min(room) as usize)
}

impl records::Units for RecordRing {
    #[inline]
    fn unit(&self, index: u64) -> &AtomicU64 {
        let (index, _) = within(index, 0, self.0.capacity() - 1);
        // SAFETY: `within` keeps the index below the capacity.
        let unit = unsafe { self.0.slots().add(index * records::UNIT) };
        // SAFETY: aligned to 8, inside the segment, and headers are only ever
        // reached as words.
        unsafe { unit.cast::<AtomicU64>().as_ref() }
    }

    #[inline]
    fn longest(&self) -> u64 {
        self.0.longest() as u64
    }
}

impl View for RecordRing {
    #[inline]
    fn cells(&self) -> &Cells {
        &self.0
    }
}

impl Positions for RecordRing {
    const ONE_BY_ONE: bool = true;
}
