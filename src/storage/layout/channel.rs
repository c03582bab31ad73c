//! What a channel's block begins with: its control block, and a row for each
//! participant.

#![allow(unsafe_code)]

use super::LINE;
use crate::ring::in_flight::IN_FLIGHT;
use crate::storage::Side;
use crate::storage::shared::shared;
use crate::sync::AtomicU64;

shared! {
    /// The first 1,024 bytes of a channel's block.
    #[repr(align(128))]
    pub(crate) struct Control {
        /// The line that every operation reads and hardly any writes. `changes`
        /// grows with everything that changes who is there, or whether the gate is
        /// open.
        pub(crate) changes: AtomicU64,
        pub(crate) waiting: Waiting,
        pub(crate) orphans: Orphans,
        pub(crate) struck: Struck,
        /// Which participants may watch the channel: see `ring/watch.rs`.
        pub(crate) watchers: AtomicU64,
        pub(crate) reserved_a: [AtomicU64; 7],
        pub(crate) joined: Joined,
        pub(crate) recovered: RecoveredCounts,
        pub(crate) reserved_b: [AtomicU64; 11],
        /// From here on all words are the kind's, a part for each side.
        pub(crate) sending: SendingSide,
        pub(crate) receiving: ReceivingSide,
    }
}

shared! {
    /// How many threads wait, for each thing that one can wait for.
    pub(crate) struct Waiting {
        pub(crate) items: AtomicU64,
        pub(crate) space: AtomicU64,
        /// MPMC bytes: for a slot to queue a block in.
        pub(crate) slots: AtomicU64,
    }
}

shared! {
    /// MPMC: whether there may be messages whose reader died.
    pub(crate) struct Orphans {
        /// Grows with everything that may have left one.
        pub(crate) left: AtomicU64,
        /// The value of `left` up to which there is none any more.
        pub(crate) scanned: AtomicU64,
    }
}

shared! {
    /// Of kinds whose sides are woken by a bell: the version of each side's `waiting` for which
    /// its bell was last struck.
    pub(crate) struct Struck {
        pub(crate) items: AtomicU64,
        pub(crate) space: AtomicU64,
    }
}

shared! {
    /// How many endpoints of each side there have ever been.
    pub(crate) struct Joined {
        pub(crate) senders: AtomicU64,
        pub(crate) receivers: AtomicU64,
    }
}

shared! {
    /// What was done for the dead.
    pub(crate) struct RecoveredCounts {
        pub(crate) tombstones: AtomicU64,
        pub(crate) orphaned: AtomicU64,
        pub(crate) dropped: AtomicU64,
    }
}

shared! {
    /// The words of the sending side.
    pub(crate) struct SendingSide {
        /// In SPSC the producer's position, in MPMC a lower bound of it. Broadcast: the limit.
        pub(crate) tail: AtomicU64,
        /// SPSC: who is the producer, and up to where its joint send is going to publish.
        pub(crate) producer: AtomicU64,
        pub(crate) pledge: AtomicU64,
        pub(crate) reserved: [AtomicU64; 13],
    }
}

shared! {
    /// The words of the receiving side.
    pub(crate) struct ReceivingSide {
        /// In SPSC the consumer's position, in MPMC a lower bound of it.
        pub(crate) head: AtomicU64,
        /// SPSC: who is the consumer, and who has last used which mark.
        pub(crate) consumer: AtomicU64,
        pub(crate) taker: AtomicU64,
        /// SPSC: the in-flight marks: where what consumers have taken ends.
        pub(crate) in_flight: [AtomicU64; IN_FLIGHT],
        pub(crate) reserved: [AtomicU64; 13],
        /// Broadcast: how many of the publishers' and of the reliable subscribers' entries
        /// have ever been in use.
        pub(crate) publishers_used: AtomicU64,
        pub(crate) reliable_used: AtomicU64,
        pub(crate) reserved_b: [AtomicU64; 46],
    }
}

impl Control {
    /// How many endpoints of one side there have ever been.
    pub(crate) const fn joined(&self, side: Side) -> &AtomicU64 {
        match side {
            Side::Sender => &self.joined.senders,
            Side::Receiver => &self.joined.receivers,
        }
    }

    /// How many of one side wait for the other.
    #[inline(always)]
    pub(crate) const fn waiting(&self, side: Side) -> &AtomicU64 {
        match side {
            Side::Sender => &self.waiting.space,
            Side::Receiver => &self.waiting.items,
        }
    }

    /// The version of [`waiting`](Self::waiting) for which a bell was last struck.
    pub(crate) const fn struck(&self, side: Side) -> &AtomicU64 {
        match side {
            Side::Sender => &self.struck.space,
            Side::Receiver => &self.struck.items,
        }
    }

    /// SPSC: who has the role of one side.
    pub(crate) const fn role(&self, side: Side) -> &AtomicU64 {
        match side {
            Side::Sender => &self.sending.producer,
            Side::Receiver => &self.receiving.consumer,
        }
    }
}

shared! {
    /// What a channel knows of one participant.
    #[repr(align(64))]
    pub(crate) struct Row {
        /// `incarnation:32 | senders:16 | receivers:16`.
        pub(crate) endpoints: AtomicU64,
        /// `incarnation:32 | waiting threads:32`, for each direction, and for those
        /// that wait for a slot.
        pub(crate) items_record: AtomicU64,
        pub(crate) space_record: AtomicU64,
        pub(crate) slots_record: AtomicU64,
        /// `incarnation:32 | topics`: what it watches.
        pub(crate) watches: AtomicU64,
        pub(crate) reserved: [AtomicU64; 3],
    }
}

const _: () = {
    assert!(size_of::<Control>() == 8 * LINE);
    assert!(size_of::<Row>() == LINE / 2);
    // The padding is explicit: nothing depends on how a compiler rounds.
    assert!(size_of::<Control>() == 8 * (16 + 16 + 16 + 3 + IN_FLIGHT + 61));
};
