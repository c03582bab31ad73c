//! The bytes of a segment: where everything is, for every build the same.
//!
//! Every field is a little-endian 64-bit word and an atomic, because another
//! process may be writing it; whatever is read from here is copied once and
//! checked before it is used. Lines are 128 bytes: two cache lines, which
//! x86-64 prefetches as a pair and large Arm cores use as one.
//!
//! ```text
//!      0  Header        who this is, its name, the gate
//!    512  words         one word for each participant
//!         infos         who each participant says it is
//!         journal       who came, went and died, one JournalRecord after the other
//!         directory     a DirectoryEntry for each channel
//!         heap          a block for each channel:
//!                         Control, a Row for each participant, the slots
//! ```

#![allow(unsafe_code)]

use super::shared::Shared;
use crate::ring::in_flight::IN_FLIGHT;
use crate::ring::records::{UNIT, units};
use crate::ring::set::SetMap;
use crate::sync::AtomicU64;

#[cfg(not(target_endian = "little"))]
compile_error!("the segment format is little-endian, and so must the machine be");

/// The layout that this build reads and writes.
pub(crate) const VERSION: u64 = 2;
/// Segments of ours have this many bytes beyond a multiple of [`PAGE`], so
/// that one can be told from anybody else's without attaching it.
pub(crate) const SIGNATURE: usize = 1_803;
/// What sizes are rounded to, on machines with larger pages too.
pub(crate) const PAGE: usize = 4_096;
/// What does not share a cache line with anything else is this far apart.
pub(crate) const LINE: usize = 128;

pub(crate) const NAME_BYTES: usize = 120;
pub(crate) const CHANNEL_NAME_BYTES: usize = 64;
pub(crate) const SCHEMA_BYTES: usize = 256;

/// Bits of [`Header::flags`].
pub(crate) mod flags {
    /// Notifiers fence fully instead of relying on `membarrier`.
    pub(crate) const SYMMETRIC: u64 = 1;
    /// The last participant to leave removes the segment.
    pub(crate) const TRANSIENT: u64 = 2;
    /// Reached by id only, and marked for removal from the start.
    pub(crate) const ANONYMOUS: u64 = 4;
    /// All that this build knows. A segment with another one is of a later build,
    /// which has a use for it that a participant has to know.
    pub(crate) const KNOWN: u64 = SYMMETRIC | TRANSIENT | ANONYMOUS;
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

/// A struct that may be shared: with the layout of C, and each of its fields
/// [`Shared`] itself, or it does not compile.
macro_rules! shared {
    (
        $(#[$about:meta])*
        pub(crate) struct $name:ident $([const $count:ident: usize])? {
            $($(#[$says:meta])* pub(crate) $field:ident: $kind:ty,)*
        }
    ) => {
        $(#[$about])*
        #[repr(C)]
        pub(crate) struct $name $(<const $count: usize>)? {
            $($(#[$says])* pub(crate) $field: $kind,)*
        }

        // SAFETY: it is made of its fields, which are shared themselves, and
        // of padding, which nobody looks at.
        unsafe impl $(<const $count: usize>)? Shared for $name $(<$count>)?
        where
            $($kind: Shared,)*
        {
        }
    };
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
        pub(crate) reserved: [AtomicU64; 10],
    }
}

/// How many records the journal has: a power of two.
pub(crate) const RECORDS: usize = 128;
/// How many fields a record has.
pub(crate) const RECORD_FIELDS: usize = 13;

shared! {
    /// A record of the journal.
    #[repr(align(128))]
    pub(crate) struct JournalRecord {
        pub(crate) word: AtomicU64,
        /// In the order of the format: see `journal`.
        pub(crate) fields: [AtomicU64; RECORD_FIELDS],
        pub(crate) reserved: [AtomicU64; 2],
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
        pub(crate) reserved_a: [AtomicU64; 7],
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

shared! {
    /// What a channel's block begins with.
    #[repr(align(128))]
    // More fields than 12: the format has as many.
    pub(crate) struct Control {
        /// The line that every operation reads and hardly any writes. `changes`
        /// grows with everything that changes who is there, or whether the gate is
        /// open.
        pub(crate) changes: AtomicU64,
        pub(crate) items_waiting: AtomicU64,
        pub(crate) space_waiting: AtomicU64,
        pub(crate) slots_waiting: AtomicU64,
        /// MPMC: grows with everything that may have left an orphan, and up to
        /// which value none is left.
        pub(crate) orphans: AtomicU64,
        pub(crate) scanned: AtomicU64,
        pub(crate) reserved_a: [AtomicU64; 10],
        /// How many endpoints there have ever been.
        pub(crate) senders_joined: AtomicU64,
        pub(crate) receivers_joined: AtomicU64,
        /// What was done for the dead.
        pub(crate) tombstones: AtomicU64,
        pub(crate) orphaned: AtomicU64,
        pub(crate) dropped: AtomicU64,
        pub(crate) reserved_b: [AtomicU64; 11],
        /// From here on all words are the kind's. The sending side: in SPSC the
        /// producer's position, in MPMC a lower bound of it.
        pub(crate) tail: AtomicU64,
        /// SPSC: who is the producer.
        pub(crate) producer: AtomicU64,
        pub(crate) reserved_c: [AtomicU64; 14],
        /// The receiving side: in SPSC the consumer's position, in MPMC a lower
        /// bound of it.
        pub(crate) head: AtomicU64,
        /// SPSC: who is the consumer, and who has last used which mark.
        pub(crate) consumer: AtomicU64,
        pub(crate) taker: AtomicU64,
        /// SPSC: the in-flight marks: where what consumers have taken ends.
        pub(crate) in_flight: [AtomicU64; IN_FLIGHT],
        pub(crate) reserved_d: [AtomicU64; 61],
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
        pub(crate) reserved: [AtomicU64; 4],
    }
}

const _: () = {
    assert!(size_of::<Header>() == 4 * LINE);
    assert!(size_of::<Info>() == LINE);
    assert!(size_of::<JournalRecord>() == LINE && RECORDS.is_power_of_two());
    assert!(size_of::<DirectoryEntry>() == 4 * LINE);
    assert!(size_of::<Control>() == 8 * LINE);
    assert!(size_of::<Row>() == LINE / 2);
    // The padding is explicit: nothing depends on how a compiler rounds.
    assert!(size_of::<DirectoryEntry>() == 8 * (16 + 9 + 33 + 6));
    assert!(size_of::<Control>() == 8 * (16 + 16 + 16 + 3 + IN_FLIGHT + 61));
};

const fn up(n: usize, to: usize) -> Option<usize> {
    n.checked_next_multiple_of(to)
}

/// Where the parts of a segment are: all of it follows from two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) map: SetMap,
    pub(crate) words: usize,
    pub(crate) infos: usize,
    pub(crate) journal: usize,
    pub(crate) directory: usize,
    pub(crate) heap: usize,
}

impl Plan {
    pub(crate) const fn new(map: SetMap) -> Self {
        // Both numbers have 16 bits, so none of this can overflow.
        let words = size_of::<Header>();
        let infos = (words + 8 * map.participants as usize).next_multiple_of(LINE);
        let journal =
            (infos + size_of::<Info>() * map.participants as usize).next_multiple_of(LINE);
        let directory = journal + size_of::<JournalRecord>() * RECORDS;
        let end = directory + size_of::<DirectoryEntry>() * map.channels as usize;
        Self { map, words, infos, journal, directory, heap: end.next_multiple_of(PAGE) }
    }

    /// The whole segment's size with room for `heap` bytes of channels.
    pub(crate) fn size(&self, heap: usize) -> Option<usize> {
        up(self.heap.checked_add(heap)?, PAGE)?.checked_add(SIGNATURE)
    }
}

/// Whether a segment of this size could be one of ours.
pub(crate) const fn plausible(size: usize) -> bool {
    size % PAGE == SIGNATURE && size > size_of::<Header>()
}

/// The kind of a channel, and what it carries.
///
/// As a text, it is `SPSC`, `MPMC`, `SPSC bytes` or `MPMC bytes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RingKind {
    /// One sender and one receiver; elements of one size.
    Spsc,
    /// Any number of each; elements of one size.
    Mpmc,
    /// One sender and one receiver; bytes of any length.
    SpscBytes,
    /// Any number of each; bytes of any length.
    MpmcBytes,
}

impl RingKind {
    const ALL: [Self; 4] = [Self::Spsc, Self::Mpmc, Self::SpscBytes, Self::MpmcBytes];

    pub(crate) const fn code(self) -> u64 {
        match self {
            Self::Spsc => 1,
            Self::Mpmc => 2,
            Self::SpscBytes => 3,
            Self::MpmcBytes => 4,
        }
    }

    pub(crate) fn read(code: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// Whether the channel has one sender and one receiver.
    pub(crate) const fn is_single(self) -> bool {
        matches!(self, Self::Spsc | Self::SpscBytes)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Spsc => "SPSC",
            Self::Mpmc => "MPMC",
            Self::SpscBytes => "SPSC bytes",
            Self::MpmcBytes => "MPMC bytes",
        }
    }
}

impl core::fmt::Display for RingKind {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(self.name())
    }
}

/// A slot: where its element is, and how far it is to the next slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub(crate) cell: usize,
    pub(crate) stride: usize,
}

impl Shape {
    pub(crate) const fn new(kind: RingKind, size: usize, align: usize) -> Option<Self> {
        let (cell, size, unit) = match kind {
            // Elements side by side.
            RingKind::Spsc => (0, size, align),
            // A word, then the element.
            RingKind::Mpmc if align > 8 => (align, size, align),
            RingKind::Mpmc => (8, size, 8),
            // Units that records are made of.
            RingKind::SpscBytes => (0, UNIT, UNIT),
            // A word, then which block and how long.
            RingKind::MpmcBytes => (8, 8, 8),
        };
        let Some(end) = cell.checked_add(size) else {
            return None;
        };
        match up(end, unit) {
            Some(stride) => Some(Self { cell, stride }),
            None => None,
        }
    }
}

/// Where the parts of a channel's block are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockPlan {
    /// How many messages were asked for.
    pub(crate) messages: usize,
    /// How many slots there are: as many as messages, or the units of a ring
    /// of records.
    pub(crate) capacity: usize,
    /// Offsets from the start of the block.
    pub(crate) rows: usize,
    pub(crate) slots: usize,
    /// Bytes from one slot to the next.
    pub(crate) stride: usize,
    /// Where in a slot the element is.
    pub(crate) cell: usize,
    /// MPMC bytes: where the words of the message blocks are, where their
    /// bytes are, and how far apart. Otherwise the end, and 0.
    pub(crate) words: usize,
    pub(crate) bytes: usize,
    pub(crate) apart: usize,
    pub(crate) length: usize,
}

/// Capacities are at most this.
pub(crate) const MAX_CAPACITY: usize = 1 << 31;
/// No message of bytes is longer.
pub(crate) const MAX_LENGTH: usize = 1 << 30;

impl BlockPlan {
    /// `None` if it cannot be addressed at all. For bytes, `size` is the
    /// longest message.
    pub(crate) fn new(
        kind: RingKind,
        messages: usize,
        size: usize,
        align: usize,
        participants: u16,
    ) -> Option<Self> {
        if messages == 0 || messages > MAX_CAPACITY || !align.is_power_of_two() || align > LINE {
            return None;
        }
        let Shape { cell, stride } = Shape::new(kind, size, align)?;
        let capacity = match kind {
            // One more than asked for, because the last record before the
            // ring's end may be padding. Of that one a unit is never used.
            RingKind::SpscBytes if size > MAX_LENGTH => return None,
            RingKind::SpscBytes => {
                messages.checked_add(1)?.checked_mul(usize::try_from(units(size as u64)).ok()?)?
            }
            _ => messages,
        };
        let rows = size_of::<Control>();
        let slots = up(rows + size_of::<Row>() * usize::from(participants), LINE)?;
        let words = up(slots.checked_add(stride.checked_mul(capacity)?)?, LINE)?;
        let (bytes, apart) = match kind {
            RingKind::MpmcBytes if size > MAX_LENGTH => return None,
            RingKind::MpmcBytes => {
                (up(words.checked_add(8 * messages)?, LINE)?, up(size.max(1), LINE)?)
            }
            _ => (words, 0),
        };
        let length = up(bytes.checked_add(apart.checked_mul(messages)?)?, LINE)?;
        Some(Self { messages, capacity, rows, slots, stride, cell, words, bytes, apart, length })
    }
}

#[cfg(test)]
mod tests {
    use memoffset::span_of;

    use super::*;

    #[test]
    fn every_byte_range_of_the_format_is_where_it_is_documented() {
        let ranges = [
            ("Header.nonce", span_of!(Header, nonce), 0..8),
            ("Header.magic", span_of!(Header, magic), 8..16),
            ("Header.version", span_of!(Header, version), 16..24),
            ("Header.size", span_of!(Header, size), 24..32),
            ("Header.generation", span_of!(Header, generation), 32..40),
            ("Header.set", span_of!(Header, set), 40..48),
            ("Header.flags", span_of!(Header, flags), 48..56),
            ("Header.participants", span_of!(Header, participants), 56..64),
            ("Header.channels", span_of!(Header, channels), 64..72),
            ("Header.kinds", span_of!(Header, kinds), 72..80),
            ("Header.name", span_of!(Header, name), 128..256),
            ("Header.gate", span_of!(Header, gate), 256..264),
            ("Info.pid", span_of!(Info, pid), 0..8),
            ("Info.start_time", span_of!(Info, start_time), 8..16),
            ("Info.pid_namespace", span_of!(Info, pid_namespace), 16..24),
            ("Info.uid", span_of!(Info, uid), 24..32),
            ("Info.end", span_of!(Info, end), 32..40),
            ("Info.kinds", span_of!(Info, kinds), 40..48),
            ("Record.word", span_of!(JournalRecord, word), 0..8),
            ("Record.fields", span_of!(JournalRecord, fields), 8..112),
            ("Entry.state", span_of!(DirectoryEntry, state), 0..8),
            ("Entry.kind", span_of!(DirectoryEntry, kind), 8..16),
            ("Entry.element_size", span_of!(DirectoryEntry, element_size), 16..24),
            ("Entry.element_align", span_of!(DirectoryEntry, element_align), 24..32),
            ("Entry.fingerprint", span_of!(DirectoryEntry, fingerprint), 32..40),
            ("Entry.capacity", span_of!(DirectoryEntry, capacity), 40..48),
            ("Entry.offset", span_of!(DirectoryEntry, offset), 48..56),
            ("Entry.attempts", span_of!(DirectoryEntry, attempts), 56..64),
            ("Entry.flags", span_of!(DirectoryEntry, flags), 64..72),
            ("Entry.name", span_of!(DirectoryEntry, name), 128..200),
            ("Entry.schema", span_of!(DirectoryEntry, schema), 200..464),
            ("Control.changes", span_of!(Control, changes), 0..8),
            ("Control.items_waiting", span_of!(Control, items_waiting), 8..16),
            ("Control.space_waiting", span_of!(Control, space_waiting), 16..24),
            ("Control.slots_waiting", span_of!(Control, slots_waiting), 24..32),
            ("Control.orphans", span_of!(Control, orphans), 32..40),
            ("Control.scanned", span_of!(Control, scanned), 40..48),
            ("Control.senders_joined", span_of!(Control, senders_joined), 128..136),
            ("Control.receivers_joined", span_of!(Control, receivers_joined), 136..144),
            ("Control.tombstones", span_of!(Control, tombstones), 144..152),
            ("Control.orphaned", span_of!(Control, orphaned), 152..160),
            ("Control.dropped", span_of!(Control, dropped), 160..168),
            ("Control.tail", span_of!(Control, tail), 256..264),
            ("Control.producer", span_of!(Control, producer), 264..272),
            ("Control.head", span_of!(Control, head), 384..392),
            ("Control.consumer", span_of!(Control, consumer), 392..400),
            ("Control.taker", span_of!(Control, taker), 400..408),
            ("Control.in_flight", span_of!(Control, in_flight), 408..536),
            ("Row.endpoints", span_of!(Row, endpoints), 0..8),
            ("Row.items_record", span_of!(Row, items_record), 8..16),
            ("Row.space_record", span_of!(Row, space_record), 16..24),
            ("Row.slots_record", span_of!(Row, slots_record), 24..32),
        ];
        for (field, is, documented) in ranges {
            assert_eq!(is, documented, "{field}");
        }
    }

    #[test]
    fn the_parts_of_a_segment_follow_one_another_without_overlap() {
        for (participants, channels) in [(1, 1), (64, 16), (8_192, 4_096)] {
            let plan = Plan::new(SetMap { participants, channels });
            let (participants, channels) = (usize::from(participants), usize::from(channels));
            assert_eq!(plan.words, 512);
            assert!(plan.infos >= plan.words + 8 * participants && plan.infos.is_multiple_of(LINE));
            assert!(plan.journal >= plan.infos + 128 * participants);
            assert_eq!((plan.journal % LINE, plan.directory), (0, plan.journal + 128 * 128));
            assert!(plan.heap >= plan.directory + 512 * channels && plan.heap.is_multiple_of(PAGE));
            let size = plan.size(1).unwrap();
            assert!(plausible(size) && size > plan.heap);
        }
    }

    #[test]
    fn a_block_that_cannot_be_addressed_is_refused() {
        let block =
            |capacity, size, align| BlockPlan::new(RingKind::Mpmc, capacity, size, align, 64);
        assert!(block(0, 8, 8).is_none());
        assert!(block(MAX_CAPACITY + 1, 8, 8).is_none());
        assert!(block(1, usize::MAX, 8).is_none());
        assert!(block(MAX_CAPACITY, usize::MAX / 4, 8).is_none());
        assert!(block(1, 8, 3).is_none());
        assert!(block(1, 8, 256).is_none());
        assert_eq!(block(3, 8, 8).map(|plan| (plan.cell, plan.stride)), Some((8, 16)));
        assert_eq!(block(3, 100, 64).map(|plan| (plan.cell, plan.stride)), Some((64, 192)));
    }
}
