//! MPMC of bytes: any number of senders and receivers; a message is written
//! into a block of its own and then takes its place in the order.
//!
//! So nobody waits for a slow writer. The blocks take `capacity × longest`
//! bytes, however short the messages are.

mod storage;

use super::AnyKind;
use crate::ring::mpmc;
use crate::storage::Cells;

pub(crate) use storage::BlockSlots;

/// The kind, to the segment.
pub(crate) struct Blocks;

impl AnyKind for Blocks {
    fn len(&self, cells: &Cells) -> u64 {
        mpmc::len(cells)
    }

    fn in_hand(&self, cells: &Cells) -> bool {
        mpmc::in_hand(cells)
    }
}
