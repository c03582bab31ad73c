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

mod channel;
mod plan;
mod segment;

pub(crate) use channel::{Control, Row};
pub(crate) use plan::{
    BlockPlan, Blocks, MAX_CAPACITY, MAX_CHANNELS, MAX_LENGTH, MAX_SEATS, Measures, Parts, Plan,
    Reply, ReplyPlace, Seats, Shape, capacity_allowed, plausible, shape_allowed, up,
};
pub(crate) use segment::{
    DirectoryEntry, Header, Info, JOINT_SENDS, JournalRecord, LASTING, READY, RECORD_FIELDS,
    RECORDS, Text, flags, gate,
};

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

#[cfg(test)]
mod tests {
    use core::ops::Range;

    use memoffset::span_of;

    use super::channel::{
        Joined, Orphans, ReceivingSide, RecoveredCounts, SendingSide, Struck, Waiting,
    };
    use super::*;
    use crate::ring::set::SetMap;

    /// A field of a part.
    const fn within(part: &Range<usize>, field: Range<usize>) -> Range<usize> {
        part.start + field.start..part.start + field.end
    }

    #[test]
    fn every_byte_range_of_the_format_is_where_it_is_documented() {
        let waiting = span_of!(Control, waiting);
        let orphans = span_of!(Control, orphans);
        let struck = span_of!(Control, struck);
        let joined = span_of!(Control, joined);
        let recovered = span_of!(Control, recovered);
        let sending = span_of!(Control, sending);
        let receiving = span_of!(Control, receiving);
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
            ("Info.called", span_of!(Info, called), 48..112),
            ("Info.committed", span_of!(Info, committed), 120..128),
            ("JournalRecord.word", span_of!(JournalRecord, word), 0..8),
            ("JournalRecord.fields", span_of!(JournalRecord, fields), 8..120),
            ("DirectoryEntry.state", span_of!(DirectoryEntry, state), 0..8),
            ("DirectoryEntry.kind", span_of!(DirectoryEntry, kind), 8..16),
            ("DirectoryEntry.element_size", span_of!(DirectoryEntry, element_size), 16..24),
            ("DirectoryEntry.element_align", span_of!(DirectoryEntry, element_align), 24..32),
            ("DirectoryEntry.fingerprint", span_of!(DirectoryEntry, fingerprint), 32..40),
            ("DirectoryEntry.capacity", span_of!(DirectoryEntry, capacity), 40..48),
            ("DirectoryEntry.offset", span_of!(DirectoryEntry, offset), 48..56),
            ("DirectoryEntry.attempts", span_of!(DirectoryEntry, attempts), 56..64),
            ("DirectoryEntry.flags", span_of!(DirectoryEntry, flags), 64..72),
            ("DirectoryEntry.publishers", span_of!(DirectoryEntry, publishers), 72..80),
            ("DirectoryEntry.reliable", span_of!(DirectoryEntry, reliable), 80..88),
            ("DirectoryEntry.reply_size", span_of!(DirectoryEntry, reply_size), 88..96),
            ("DirectoryEntry.reply_align", span_of!(DirectoryEntry, reply_align), 96..104),
            (
                "DirectoryEntry.reply_fingerprint",
                span_of!(DirectoryEntry, reply_fingerprint),
                104..112,
            ),
            ("DirectoryEntry.name", span_of!(DirectoryEntry, name), 128..200),
            ("DirectoryEntry.schema", span_of!(DirectoryEntry, schema), 200..464),
            ("Control.changes", span_of!(Control, changes), 0..8),
            ("Control.items_waiting", within(&waiting, span_of!(Waiting, items)), 8..16),
            ("Control.space_waiting", within(&waiting, span_of!(Waiting, space)), 16..24),
            ("Control.slots_waiting", within(&waiting, span_of!(Waiting, slots)), 24..32),
            ("Control.orphans", within(&orphans, span_of!(Orphans, left)), 32..40),
            ("Control.scanned", within(&orphans, span_of!(Orphans, scanned)), 40..48),
            ("Control.items_struck", within(&struck, span_of!(Struck, items)), 48..56),
            ("Control.space_struck", within(&struck, span_of!(Struck, space)), 56..64),
            ("Control.watchers", span_of!(Control, watchers), 64..72),
            ("Control.senders_joined", within(&joined, span_of!(Joined, senders)), 128..136),
            ("Control.receivers_joined", within(&joined, span_of!(Joined, receivers)), 136..144),
            (
                "Control.tombstones",
                within(&recovered, span_of!(RecoveredCounts, tombstones)),
                144..152,
            ),
            ("Control.orphaned", within(&recovered, span_of!(RecoveredCounts, orphaned)), 152..160),
            ("Control.dropped", within(&recovered, span_of!(RecoveredCounts, dropped)), 160..168),
            ("Control.tail", within(&sending, span_of!(SendingSide, tail)), 256..264),
            ("Control.producer", within(&sending, span_of!(SendingSide, producer)), 264..272),
            ("Control.pledge", within(&sending, span_of!(SendingSide, pledge)), 272..280),
            ("Control.head", within(&receiving, span_of!(ReceivingSide, head)), 384..392),
            ("Control.consumer", within(&receiving, span_of!(ReceivingSide, consumer)), 392..400),
            ("Control.taker", within(&receiving, span_of!(ReceivingSide, taker)), 400..408),
            ("Control.in_flight", within(&receiving, span_of!(ReceivingSide, in_flight)), 408..536),
            (
                "Control.publishers_used",
                within(&receiving, span_of!(ReceivingSide, publishers_used)),
                640..648,
            ),
            (
                "Control.reliable_used",
                within(&receiving, span_of!(ReceivingSide, reliable_used)),
                648..656,
            ),
            ("Row.endpoints", span_of!(Row, endpoints), 0..8),
            ("Row.items_record", span_of!(Row, items_record), 8..16),
            ("Row.space_record", span_of!(Row, space_record), 16..24),
            ("Row.slots_record", span_of!(Row, slots_record), 24..32),
            ("Row.watches", span_of!(Row, watches), 32..40),
        ];
        for (field, is, documented) in ranges {
            assert_eq!(is, documented, "{field}");
        }
    }

    #[test]
    fn the_parts_of_a_segment_follow_one_another_without_overlap() {
        for (participants, channels) in [(1, 1), (64, 16), (8_192, 4_096)] {
            let plan = Plan::new(SetMap { participants, channels, own_bells: true });
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
}
