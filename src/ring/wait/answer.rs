//! The answers: why an attempt came to nothing, what the operation needs, and
//! how another can tell whether that has come.

use super::super::calls::Sight;
use super::super::cursor::Cursor;
use super::super::spsc::Torn;

/// Why one attempt came to nothing. Small, because it is on the hot path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotNow {
    /// The channel is full, or empty.
    Nothing,
    /// Another's unfinished operation is in the way.
    Pending,
    /// It takes more than the fast path to tell.
    Unsure,
    /// There is no slot to queue a block in that is held, or was held until just now.
    NoSlot,
    /// There is a slot, and no block to write into.
    NoBlock,
    /// Something has changed since this handle last looked.
    Changed,
    /// The other side has gone, and for a receiver nothing is left.
    PeersGone,
    /// The operation is done, but the kernel has refused to wake a peer.
    Unwoken,
    /// Broadcast: this subscriber has missed so many messages, and goes on behind them.
    Lagged(u64),
    /// The two indices of an SPSC ring contradict each other.
    Torn(Torn),
    /// No slot continues the order of the others.
    Disorder,
    /// A slot's word is not one that a peer writes.
    Word(u64),
}

impl NotNow {
    /// What is corrupt, in words; `None` if nothing is.
    pub(crate) fn corruption(self) -> Option<String> {
        match self {
            Self::Nothing
            | Self::Pending
            | Self::Unsure
            | Self::NoSlot
            | Self::NoBlock
            | Self::Changed
            | Self::PeersGone
            | Self::Unwoken
            | Self::Lagged(_) => None,
            Self::Torn(torn) => {
                Some(format!("its head is at {} and its tail at {}", torn.head, torn.tail))
            }
            Self::Disorder => Some("no slot continues the order of the others".to_owned()),
            Self::Word(word) => Some(format!("a slot's word is {word:#018x}")),
        }
    }
}

impl From<Torn> for NotNow {
    fn from(torn: Torn) -> Self {
        Self::Torn(torn)
    }
}

/// What an operation that is not done yet needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Room, or a message.
    Progress,
    /// The same, and another's unfinished operation stands before it.
    Pending,
    /// A block to write into, where there is a slot.
    Block,
    /// The segment is paused: that it goes on.
    Resumption,
}

impl Need {
    /// Whether what brings it is for all who need it at once, and may be for others too:
    /// one token could go to a waiter that lacks something else.
    pub(crate) const fn is_for_all(self) -> bool {
        matches!(self, Self::Block | Self::Resumption)
    }
}

/// What an operation has come to that does not sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Polled<R> {
    Done(R),
    Needs(Need),
}

impl<R> Polled<R> {
    /// What was done, if it was.
    pub(crate) fn done(self) -> Option<R> {
        match self {
            Self::Done(done) => Some(done),
            Self::Needs(_) => None,
        }
    }
}

/// The very thing that an attempt lacked, as it saw it: what somebody else can
/// look for in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// SPSC: any message.
    Anything,
    /// SPSC: room beyond this position.
    Room(u64),
    /// MPMC: a message, at this position or behind it.
    Message(Cursor),
    /// MPMC: a free slot at this position or behind it.
    Slot(Cursor),
    /// MPMC bytes: a free block.
    Block,
    /// Broadcast: a message at this position.
    Published(Cursor),
    /// Broadcast: that a message may be published at this position.
    Limit(u64),
    /// Calls: a request that no server has.
    Request,
    /// Calls: a slot for a call.
    CallSlot,
    /// Calls: that this call ends. To look for that announces a sleep over it.
    Reply(Sight),
    /// Only that something changes: the segment is paused.
    Change,
}
