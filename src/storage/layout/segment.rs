//! The parts of a segment before its channels: the header, the participants, the
//! journal, the directory.

#![allow(unsafe_code)]

use super::{CHANNEL_NAME_BYTES, LINE, NAME_BYTES, SCHEMA_BYTES};
use crate::ring::watch::PARTS;
use crate::storage::shared::shared;
use crate::sync::AtomicU64;

/// Bits of [`Header::flags`].
pub(crate) mod flags {
    /// Notifiers fence fully instead of relying on `membarrier`.
    pub(crate) const SYMMETRIC: u64 = 1;
    /// The last participant to leave removes the segment.
    pub(crate) const TRANSIENT: u64 = 2;
    /// Reached by id only, and marked for removal from the start.
    pub(crate) const ANONYMOUS: u64 = 4;
    /// Its set has a bell of its own for each participant, and who notifies strikes those of
    /// watchers.
    pub(crate) const OWN_BELLS: u64 = 8;
    /// All that this build knows. A segment with another one is of a later build,
    /// which has a use for it that a participant has to know.
    pub(crate) const KNOWN: u64 = SYMMETRIC | TRANSIENT | ANONYMOUS | OWN_BELLS;
}

/// Bits of [`Header::gate`].
pub(crate) mod gate {
    /// Removed: every call returns `Closed`.
    pub(crate) const CLOSED: u64 = 1;
    /// Senders wait.
    pub(crate) const PAUSED: u64 = 1 << 1;
    /// Senders are refused.
    pub(crate) const DRAINING: u64 = 1 << 2;
    /// And have all been: when a channel is empty, its receivers are told that
    /// nobody sends any more.
    pub(crate) const DRAINED: u64 = 1 << 3;
    /// Every call returns `Shutdown`.
    pub(crate) const SHUTDOWN: u64 = 1 << 4;
    /// One in the count of how often it has been opened again, which fills the
    /// rest of the word: what was said of senders before is not true after.
    pub(crate) const REOPENED: u64 = 1 << 32;
}

shared! {
    /// A string within words: its length, then its bytes.
    pub(crate) struct Text [const WORDS: usize] {
        pub(crate) len: AtomicU64,
        pub(crate) bytes: [AtomicU64; WORDS],
    }
}

shared! {
    /// The first 512 bytes.
    #[repr(align(128))]
    // More fields than 12: the format has as many.
    pub(crate) struct Header {
        pub(crate) nonce: AtomicU64,
        pub(crate) magic: AtomicU64,
        pub(crate) version: AtomicU64,
        pub(crate) size: AtomicU64,
        pub(crate) generation: AtomicU64,
        pub(crate) set: AtomicU64,
        pub(crate) flags: AtomicU64,
        pub(crate) participants: AtomicU64,
        pub(crate) channels: AtomicU64,
        /// Which kinds of channels beyond the first four the segment has had, a
        /// bit for each: whoever sweeps must know them.
        pub(crate) kinds: AtomicU64,
        pub(crate) reserved_a: [AtomicU64; 6],
        pub(crate) name: Text<{ NAME_BYTES / 8 }>,
        pub(crate) gate: AtomicU64,
        /// Grows when there are commands to look for.
        pub(crate) calls: AtomicU64,
        /// 1 + the id of the message queue for commands; 0 if there is none.
        pub(crate) queue: AtomicU64,
        pub(crate) reserved_b: [AtomicU64; 29],
    }
}

shared! {
    /// What a participant says of itself. Decisions are based on `end` and `kinds`
    /// only.
    #[repr(align(128))]
    pub(crate) struct Info {
        pub(crate) pid: AtomicU64,
        pub(crate) start_time: AtomicU64,
        pub(crate) pid_namespace: AtomicU64,
        pub(crate) uid: AtomicU64,
        /// How its life ended: which record says so, and how many have died here.
        pub(crate) end: AtomicU64,
        /// Which kinds of channels beyond the first four it can sweep.
        pub(crate) kinds: AtomicU64,
        /// Which channels have called it, as a watcher: see `ring/watch.rs`.
        pub(crate) called: [AtomicU64; PARTS],
        pub(crate) reserved: [AtomicU64; 1],
        /// Which of its joint sends it has committed, and not retired: a bit for each ticket.
        pub(crate) committed: AtomicU64,
    }
}

/// Bit of [`Header::kinds`]: there have been joint sends. Of [`Info::kinds`]: it can sweep
/// whoever dies over one.
pub(crate) const JOINT_SENDS: u64 = 1 << 63;

/// How many records the journal has: a power of two.
pub(crate) const RECORDS: usize = 128;
/// How many fields a record has.
pub(crate) const RECORD_FIELDS: usize = 14;

shared! {
    /// A record of the journal.
    #[repr(align(128))]
    pub(crate) struct JournalRecord {
        pub(crate) word: AtomicU64,
        /// In the order of the format: see `journal`.
        pub(crate) fields: [AtomicU64; RECORD_FIELDS],
        pub(crate) reserved: [AtomicU64; 1],
    }
}

shared! {
    /// A channel in the directory.
    #[repr(align(128))]
    // More fields than 12: the format has as many.
    pub(crate) struct DirectoryEntry {
        /// 0, or [`READY`] from when everything else stands.
        pub(crate) state: AtomicU64,
        pub(crate) kind: AtomicU64,
        pub(crate) element_size: AtomicU64,
        pub(crate) element_align: AtomicU64,
        pub(crate) fingerprint: AtomicU64,
        pub(crate) capacity: AtomicU64,
        /// Where the channel's block begins, from the start of the segment.
        pub(crate) offset: AtomicU64,
        /// How often a message may be taken again after its reader died.
        pub(crate) attempts: AtomicU64,
        pub(crate) flags: AtomicU64,
        /// Broadcast: how many publishers, and how many reliable subscribers, at most.
        pub(crate) publishers: AtomicU64,
        pub(crate) reliable: AtomicU64,
        /// Calls: of a reply, what the words above are of a request.
        pub(crate) reply_size: AtomicU64,
        pub(crate) reply_align: AtomicU64,
        pub(crate) reply_fingerprint: AtomicU64,
        pub(crate) reserved_a: [AtomicU64; 2],
        pub(crate) name: Text<{ CHANNEL_NAME_BYTES / 8 }>,
        pub(crate) schema: Text<{ SCHEMA_BYTES / 8 }>,
        pub(crate) reserved_b: [AtomicU64; 6],
    }
}

/// [`DirectoryEntry::state`] of a channel that can be opened.
pub(crate) const READY: u64 = 1;
/// Bit of [`DirectoryEntry::flags`]: the channel outlives its peers, and nobody is
/// ever told `Disconnected`.
pub(crate) const LASTING: u64 = 1;

const _: () = {
    assert!(size_of::<Header>() == 4 * LINE);
    assert!(size_of::<Info>() == LINE);
    assert!(size_of::<JournalRecord>() == LINE && RECORDS.is_power_of_two());
    assert!(size_of::<DirectoryEntry>() == 4 * LINE);
    // The padding is explicit: nothing depends on how a compiler rounds.
    assert!(size_of::<DirectoryEntry>() == 8 * (16 + 9 + 33 + 6));
};
