//! What a segment asks of a channel without knowing what its messages are.

use super::recover::Recover;
use crate::storage::Cells;

/// A kind of ring, with what its messages are made of.
pub(crate) trait AnyKind: Recover {
    /// How many messages there are, now or a moment ago. Of records, which are not
    /// counted: how many of the longest messages would take as much room.
    fn len(&self, cells: &Cells) -> u64;

    /// Whether a reader has a message in hand that [`len`](Self::len) does not
    /// count.
    fn in_flight(&self, cells: &Cells) -> bool;
}
