//! What a segment asks of a channel without knowing what its messages are.

use super::audit::Audit;
use super::passed::Passed;
use super::peek::Peek;
use super::recover::Recover;
use crate::storage::layout::{Measures, Parts};
use crate::storage::{Cells, KindCode};

/// What is always the same of a kind.
pub(crate) struct Facts {
    pub(crate) code: KindCode,
    /// Its name, for people.
    pub(crate) name: &'static str,
    /// Whether a channel has one sender and one receiver.
    pub(crate) single: bool,
    /// Whether its messages are bytes of any length.
    pub(crate) bytes: bool,
    /// Whether each receiver gets every message.
    pub(crate) broadcast: bool,
    /// Whether its messages are requests that are replied to.
    pub(crate) calls: bool,
}

/// A kind of ring, with what its messages are made of.
pub(crate) trait AnyKind: Recover + Audit {
    /// What a channel needs in its block. `None` if it cannot be addressed.
    fn parts(&self, of: &Measures) -> Option<Parts>;

    /// How many messages there are, now or a moment ago. Of records, which are not
    /// counted: how many of the longest messages would take as much room. Of broadcast: how
    /// many the slowest reliable subscriber has not read.
    fn len(&self, cells: &Cells) -> u64;

    /// How much has gone in since the channel was made.
    fn passed(&self, cells: &Cells) -> Passed;

    /// From where on to where there are messages to [look](Self::peek) at: positions. A kind
    /// whose messages cannot be looked at has none.
    fn there(&self, _: &Cells) -> (u64, u64) {
        (0, 0)
    }

    /// What is at a position, copied; so many bytes of it at most.
    fn peek(&self, _: &Cells, _position: u64, _most: usize) -> Peek {
        Peek::Nothing
    }

    /// Whether a reader has a message in hand that [`len`](Self::len) does not
    /// count.
    fn in_flight(&self, cells: &Cells) -> bool;
}
