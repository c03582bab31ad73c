//! SPSC of bytes: one sender and one receiver; records of any length side by
//! side in one ring.
//!
//! Each record is contiguous, and the ring's end is padded where one does not
//! fit. A second mapping behind the first would save the padding, and double
//! the pages.

mod storage;

use super::AnyKind;
use crate::ring::{records, spsc};
use crate::storage::Cells;

pub(crate) use storage::RecordRing;

/// The kind, to the segment.
pub(crate) struct Records;

impl AnyKind for Records {
    fn len(&self, cells: &Cells) -> u64 {
        let longest = records::units(cells.longest() as u64);
        // Padding is not of a message.
        spsc::len(cells).div_ceil(longest).min((cells.capacity() / longest).saturating_sub(1))
    }

    fn in_hand(&self, _: &Cells) -> bool {
        false
    }
}
