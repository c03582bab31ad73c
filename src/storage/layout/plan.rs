//! Where the parts of a segment and of a channel's block are.

use super::{
    Control, DirectoryEntry, Header, Info, JournalRecord, LINE, PAGE, RECORDS, Row, SIGNATURE,
    flags,
};
use crate::ring::mpmc::MAX_OWNERS;
use crate::ring::set::SetMap;
use crate::sync::Ordering;

/// As many channels as fit a set beside the participants.
pub(crate) const MAX_CHANNELS: u16 = 4_096;

/// Whether a segment can be of this shape.
pub(crate) const fn shape_allowed(participants: u16, channels: u16) -> bool {
    participants >= 1 && participants <= MAX_OWNERS && channels >= 1 && channels <= MAX_CHANNELS
}

/// Rounds up, unless that overflows.
pub(crate) const fn up(n: usize, to: usize) -> Option<usize> {
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
    /// Where the participants' words are.
    pub(crate) const WORDS: usize = size_of::<Header>();

    pub(crate) const fn new(map: SetMap) -> Self {
        // Both numbers have 16 bits, so none of this can overflow.
        let words = Self::WORDS;
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

impl Header {
    /// How large the tables are, if what the header says is possible.
    pub(crate) fn shape(&self) -> Option<SetMap> {
        let participants = u16::try_from(self.participants.load(Ordering::Relaxed)).ok()?;
        let channels = u16::try_from(self.channels.load(Ordering::Relaxed)).ok()?;
        let own_bells = self.flags.load(Ordering::Relaxed) & flags::OWN_BELLS != 0;
        let map = SetMap { participants, channels, own_bells };
        shape_allowed(participants, channels).then_some(map)
    }
}

/// Whether a segment of this size could be one of ours.
pub(crate) const fn plausible(size: usize) -> bool {
    size % PAGE == SIGNATURE && size > size_of::<Header>()
}

/// A slot: where its element is, and how far it is to the next slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub(crate) cell: usize,
    pub(crate) stride: usize,
}

impl Shape {
    /// An element of `size` bytes at `cell` in its slot. Slots are whole units of `unit`
    /// bytes.
    pub(crate) const fn new(cell: usize, size: usize, unit: usize) -> Option<Self> {
        let Some(end) = cell.checked_add(size) else {
            return None;
        };
        match up(end, unit) {
            Some(stride) => Some(Self { cell, stride }),
            None => None,
        }
    }
}

/// What a channel's kind needs in its block, behind the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parts {
    /// How many slots there are, and of which shape.
    pub(crate) slots: usize,
    pub(crate) shape: Shape,
    /// What is behind the slots; `None` where messages are in the slots.
    pub(crate) blocks: Option<Blocks>,
    /// Where a slot has the reply of a call.
    pub(crate) reply: ReplyPlace,
}

/// Blocks of bytes for messages that are not in the slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Blocks {
    /// Bytes of words before the blocks.
    pub(crate) words: usize,
    pub(crate) count: usize,
    /// From one block to the next.
    pub(crate) apart: usize,
}

impl Blocks {
    const NONE: Self = Self { words: 0, count: 0, apart: 0 };
}

/// How many of those ends a broadcast channel has of which each needs words of its own.
/// None in a channel of another kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seats {
    pub(crate) publishers: u16,
    pub(crate) reliable: u16,
}

impl Seats {
    /// What a broadcast channel has if nothing is said.
    pub(crate) const USUAL: Self = Self { publishers: 8, reliable: 16 };
}

/// What the replies of calls are like. All zero in a channel of another kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reply {
    /// Of bytes, of the longest.
    pub(crate) size: usize,
    pub(crate) align: usize,
}

/// Where in the slot of a call the reply is, and the most bytes that it has. All zero in a
/// channel of another kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReplyPlace {
    pub(crate) at: usize,
    pub(crate) size: usize,
}

/// Most publishers, and most reliable subscribers.
pub(crate) const MAX_SEATS: u16 = 1_024;

/// What a channel is to be for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Measures {
    pub(crate) messages: usize,
    /// Of bytes, the longest message.
    pub(crate) size: usize,
    pub(crate) align: usize,
    pub(crate) seats: Seats,
    pub(crate) reply: Reply,
}

/// Where the parts of a channel's block are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
// More fields than 12: a block has as many parts.
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
    /// How many message blocks there are.
    pub(crate) blocks: usize,
    /// Where the words before the message blocks are, where their bytes are, and how far
    /// apart. Where there are no blocks: the end, and 0.
    pub(crate) words: usize,
    pub(crate) bytes: usize,
    pub(crate) apart: usize,
    pub(crate) length: usize,
    pub(crate) seats: Seats,
    pub(crate) reply: ReplyPlace,
    /// How many rows there are.
    pub(crate) participants: u16,
}

/// Capacities are at most this.
pub(crate) const MAX_CAPACITY: usize = 1 << 31;
/// No message of bytes is longer.
pub(crate) const MAX_LENGTH: usize = 1 << 30;

/// Whether a channel can have so many messages, so aligned.
pub(crate) const fn capacity_allowed(messages: usize, align: usize) -> bool {
    messages >= 1 && messages <= MAX_CAPACITY && align.is_power_of_two() && align <= LINE
}

impl BlockPlan {
    /// `None` if it cannot be addressed at all.
    pub(crate) fn new(of: &Measures, parts: &Parts, participants: u16) -> Option<Self> {
        let Measures { messages, seats, .. } = *of;
        let Parts { slots: capacity, shape: Shape { cell, stride }, blocks, reply } = *parts;
        let rows = size_of::<Control>();
        let slots = up(rows + size_of::<Row>() * usize::from(participants), LINE)?;
        let words = up(slots.checked_add(stride.checked_mul(capacity)?)?, LINE)?;
        let Blocks { words: length, count: blocks, apart } = blocks.unwrap_or(Blocks::NONE);
        let bytes = up(words.checked_add(length)?, LINE)?;
        let length = up(bytes.checked_add(apart.checked_mul(blocks)?)?, LINE)?;
        Some(Self {
            messages,
            capacity,
            rows,
            slots,
            stride,
            cell,
            blocks,
            words,
            bytes,
            apart,
            length,
            seats,
            reply,
            participants,
        })
    }
}
