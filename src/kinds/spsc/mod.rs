//! SPSC: one sender and one receiver; elements of one size, side by side.

mod storage;

use super::AnyKind;
use crate::ring::spsc;
use crate::storage::Cells;

pub(crate) use storage::Packed;

/// The kind, to the segment.
pub(crate) struct Elements;

impl AnyKind for Elements {
    fn len(&self, cells: &Cells) -> u64 {
        spsc::len(cells)
    }

    fn in_hand(&self, _: &Cells) -> bool {
        false
    }
}
