//! A ring of bytes, as records of whole units.

#![allow(unsafe_code)]

use super::layout::FACTS;
use crate::kinds::spsc::words::Positions;
use crate::ring::records::{self, Record};
use crate::ring::spsc::{Consumer, Producer};
use crate::storage::{ByteSpan, Cells, View, fetch};
use crate::sync::AtomicU64;

/// So many units are in a line.
const SHARING: u64 = (fetch::LINE / records::UNIT) as u64;
/// So many units ahead of its use, a line is fetched.
const AHEAD: u64 = 4 * SHARING;
/// For one message, the lines of so many units. While these are copied, the processor sees
/// by itself where that goes on.
const MOST: u64 = 16 * SHARING;

/// Records of an SPSC ring.
#[derive(Debug)]
pub struct RecordRing(Cells);

impl RecordRing {
    /// The ring as records, if it is of those.
    pub(crate) fn of(cells: &Cells) -> Option<Self> {
        (cells.kind() == FACTS.code).then(|| Self(cells.clone()))
    }

    /// While so many units from `index` on are used, fetches as many lines that are used a
    /// little later, if `ahead` says that they may be used by then.
    #[inline(always)]
    fn fetch(
        &self,
        index: u64,
        units: u64,
        ahead: impl Fn(u64) -> Option<u64>,
        line: impl Fn(*const u8),
    ) {
        // How far it is to the next line.
        let mut unit = index.wrapping_neg() % SHARING;
        while unit < units.min(MOST) {
            let Some(index) = ahead(AHEAD + unit) else { return };
            let (index, _) = within(index, 0, self.0.capacity() - 1);
            // Only an address: what is there is not touched.
            line(self.0.slots().as_ptr().wrapping_add(index * records::UNIT));
            unit += SHARING;
        }
    }

    /// While a message of these bytes is written.
    #[inline(always)]
    pub(super) fn fetch_to_write(&self, at: &Producer, length: u64) {
        let units = records::units(length);
        self.fetch(at.index(), units, |units| at.ahead(self, units), fetch::to_write);
    }

    /// While this message is read.
    #[inline(always)]
    pub(super) fn fetch_to_read(&self, at: &Consumer, record: &Record) {
        self.fetch(at.index(), record.units, |units| at.ahead(self, units), fetch::to_read);
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
    // So many bytes are inside the segment.
    let room = (capacity - start).wrapping_mul(records::UNIT as u64);
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
