//! The kinds of channels. All that is particular to one stands in its folder:
//! how its messages lie in memory (`storage`), and how its ring is used (`mod`).
//!
//! A kind is one of rings, and of what messages are made of: elements of one
//! size, or bytes of any length.

pub(crate) mod mpmc;
pub(crate) mod mpmc_bytes;
pub(crate) mod spsc;
pub(crate) mod spsc_bytes;

use crate::storage::{Cells, RingKind};

/// What a segment asks of a channel without knowing what its messages are.
pub(crate) trait AnyKind {
    /// How many messages there are, now or a moment ago. Of records, which are not
    /// counted: how many of the longest messages would take as much room.
    fn len(&self, cells: &Cells) -> u64;

    /// Whether a reader has a message in hand that [`len`](Self::len) does not
    /// count.
    fn in_hand(&self, cells: &Cells) -> bool;
}

/// The table of kinds.
pub(crate) const fn of(kind: RingKind) -> &'static dyn AnyKind {
    match kind {
        RingKind::Spsc => &spsc::Elements,
        RingKind::Mpmc => &mpmc::Elements,
        RingKind::SpscBytes => &spsc_bytes::Records,
        RingKind::MpmcBytes => &mpmc_bytes::Blocks,
    }
}

impl Cells {
    /// How many messages there are: see [`AnyKind::len`].
    pub(crate) fn len(&self) -> u64 {
        of(self.kind()).len(self)
    }

    /// Whether a message that may come back is in a reader's hands: see
    /// [`AnyKind::in_hand`].
    pub(crate) fn in_hand(&self) -> bool {
        of(self.kind()).in_hand(self)
    }
}
