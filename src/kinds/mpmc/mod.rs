//! MPMC: any number of senders and receivers; elements of one size, each behind
//! the word of its slot.

mod storage;

use super::AnyKind;
use crate::ring::mpmc;
use crate::storage::Cells;

pub(crate) use storage::Tagged;

/// The kind, to the segment.
pub(crate) struct Elements;

impl AnyKind for Elements {
    fn len(&self, cells: &Cells) -> u64 {
        mpmc::len(cells)
    }

    fn in_hand(&self, cells: &Cells) -> bool {
        mpmc::in_hand(cells)
    }
}
