//! The slots of MPMC, in the order in which they are claimed and taken, and
//! the message blocks of MPMC bytes.

use core::mem::offset_of;

use super::channels::Channel;
use super::reading::{Reading, hex, place};
use crate::ring::mpmc::{self, SlotState, SlotWord};
use crate::storage::layout::{Control, RingKind};
use crate::sync::Ordering;

const HELD: u64 = 1 << 13;
const OWNER: u64 = HELD - 1;

/// What the slots say of the order, in positions. Positions have 75 bits in
/// words that lie.
struct Order {
    /// How many positions have been claimed, by the slots so far.
    claimed: u128,
    /// How often the first slot has been claimed, and the last one read.
    first: u64,
    last: u64,
    /// All before this one have been taken; where that is said.
    taken: (u128, u64),
    /// This one has not been; where that is said.
    waits: (u128, u64),
    orphan: Option<u64>,
    /// Whether every slot could be counted.
    whole: bool,
}

pub(super) fn check(reading: &mut Reading<'_>, channel: &Channel) {
    let block = &channel.block;
    let mapped = reading.mapped;
    let Some(cells) = block.cells(mapped) else { return };
    let control = mapped.control(block);
    let read = |word: &crate::sync::AtomicU64| word.load(Ordering::Acquire);
    let (tail, head) = (read(&control.tail), read(&control.head));
    let capacity = block.plan.capacity as u64;
    // To look at slots that nobody has used would give memory to each.
    let used = mpmc::used(&cells).max(tail.max(head).min(capacity));
    let mut order = Order {
        claimed: 0,
        first: 0,
        last: 0,
        taken: (0, 0),
        waits: (u128::MAX, 0),
        orphan: None,
        whole: true,
    };
    let mut named =
        vec![0_u64; if is_bytes(channel) { block.plan.messages.div_ceil(64) } else { 0 }];
    for index in 0..used {
        let Some(state) = slot(reading, channel, index) else {
            order.whole = false;
            continue;
        };
        order.note(reading, channel, index, state);
        if is_bytes(channel) && in_channel(state.state()) {
            label(reading, channel, index, state, &mut named);
        }
    }
    order.judge(reading, channel, (head, tail), used);
    if is_bytes(channel) {
        message_blocks(reading, channel, &named);
    }
}

const fn is_bytes(channel: &Channel) -> bool {
    matches!(channel.block.kind, RingKind::MpmcBytes)
}

/// Whether a slot has a message that the channel answers for.
const fn in_channel(phase: Option<SlotState>) -> bool {
    matches!(phase, Some(SlotState::Full | SlotState::Reading | SlotState::Orphan))
}

fn slot_at(channel: &Channel, index: u64) -> usize {
    let plan = channel.block.plan;
    channel.block.offset + plan.slots + plan.stride * index as usize
}

fn of_slot(channel: &Channel, index: u64) -> String {
    place(format!("{}, slot {index}", channel.whose), slot_at(channel, index))
}

/// Whether a participant may own something in the channel.
fn may_own(reading: &Reading<'_>, channel: &Channel, owner: u64) -> bool {
    reading.person(owner).is_some_and(|person| {
        let row = reading.mapped.row(&channel.block, owner as u16);
        person.may_hold() && row.endpoints.load(Ordering::Acquire) >> 32 == person.incarnation()
    })
}

/// Checks a slot's word by itself; `None` if it has no phase.
fn slot(reading: &mut Reading<'_>, channel: &Channel, index: u64) -> Option<SlotWord> {
    let state = SlotWord(reading.word(slot_at(channel, index)));
    let at = || of_slot(channel, index);
    let Some(phase) = state.state() else {
        let expected = "a phase of FREE, WRITING, FULL, READING or ORPHAN";
        reading.report.fault("slot word", at(), hex(state.0), expected);
        return None;
    };
    let owner = u64::from(state.owner());
    let owned = matches!(phase, SlotState::Writing | SlotState::Reading);
    if owned && !may_own(reading, channel, owner) {
        let found = format!("{phase:?} of participant {owner}");
        let expected = "an owner that lives, or is to be swept, and has an endpoint here";
        reading.report.fault("slot word", at(), found, expected);
    } else if !owned && owner != 0 {
        let found = format!("{phase:?} of participant {owner}");
        reading.report.fault("slot word", at(), found, "owner 0");
    }
    // A receiver may give a message back as failed more often than the channel delivers
    // again after deaths. So the attempts of one that was taken have no other bound than
    // their bits.
    let was_taken = matches!(phase, SlotState::Reading | SlotState::Orphan);
    if state.attempts() > 0 && !was_taken {
        let found = format!("{phase:?} with {} attempts", state.attempts());
        reading.report.fault("slot word", at(), found, "no attempts");
    }
    Some(state)
}

impl Order {
    fn note(&mut self, reading: &mut Reading<'_>, channel: &Channel, index: u64, state: SlotWord) {
        let Some(phase) = state.state() else { return };
        let capacity = u128::from(channel.block.plan.capacity as u64);
        let position = |lap: u64| u128::from(lap) * capacity + u128::from(index);
        let lap = state.lap();
        let claimed = lap + u64::from(phase != SlotState::Free);
        if index == 0 {
            (self.first, self.last) = (claimed, claimed);
        }
        if claimed > self.last || claimed < self.first.saturating_sub(1) {
            let found = format!("{phase:?} of lap {lap}: claimed {claimed} times");
            let most = self.last;
            let expected = match self.first.saturating_sub(1) {
                least if least < most => format!("claimed {least} or {most} times"),
                _ => format!("claimed {most} times"),
            };
            let expected = format!("{expected}, as the slots before it");
            reading.report.fault("slot word", of_slot(channel, index), found, expected);
            self.whole = false;
            return;
        }
        self.last = claimed;
        self.claimed += u128::from(claimed);
        // The last lap of which it is certain that it was taken here.
        let sure = match phase {
            SlotState::Free => lap.checked_sub(2),
            SlotState::Writing | SlotState::Full => lap.checked_sub(1),
            SlotState::Reading | SlotState::Orphan => Some(lap),
        };
        let taken = sure.map_or(0, |lap| position(lap) + 1);
        if taken > self.taken.0 {
            self.taken = (taken, index);
        }
        if matches!(phase, SlotState::Writing | SlotState::Full) && position(lap) < self.waits.0 {
            self.waits = (position(lap), index);
        }
        if phase == SlotState::Orphan {
            self.orphan.get_or_insert(index);
        }
    }

    /// All slots together, and the hints.
    fn judge(
        mut self,
        reading: &mut Reading<'_>,
        channel: &Channel,
        (head, tail): (u64, u64),
        used: u64,
    ) {
        let control = reading.mapped.control(&channel.block);
        let orphans = control.orphans.load(Ordering::Acquire);
        let scanned = control.scanned.load(Ordering::Acquire);
        let report = &mut reading.report;
        let at = channel.at(offset_of!(Control, scanned));
        if orphans.wrapping_sub(scanned).cast_signed() < 0 {
            report.fault("scanned", at, scanned, format!("{orphans} at most, as *orphans*"));
        } else if let Some(index) = self.orphan
            && orphans == scanned
            && !channel.unswept
        {
            let expected = format!("less than {orphans}: slot {index} has an orphan");
            report.fault("scanned", at, scanned, expected);
        }
        // Behind the used ones are only slots that were never claimed.
        if self.whole && used < channel.block.plan.capacity as u64 && self.first > 1 {
            let found = "FREE of lap 0: never claimed";
            let expected = format!("claimed {} times at least", self.first - 1);
            report.fault("slot word", of_slot(channel, used), found, expected);
            self.whole = false;
        }
        if !self.whole {
            return;
        }
        if self.waits.0 > self.claimed {
            self.waits = (self.claimed, 0);
        } else if self.taken.0 > self.waits.0 {
            let found = format!("position {} not taken", self.waits.0);
            let expected = format!("taken, as slot {} shows that later ones are", self.taken.1);
            report.fault("slot word", of_slot(channel, self.waits.1), found, expected);
            return;
        }
        if u128::from(tail) > self.claimed {
            let expected = format!("{} at most: so many are claimed", self.claimed);
            report.fault("tail", channel.at(offset_of!(Control, tail)), tail, expected);
        }
        if u128::from(head) > self.waits.0 {
            let expected = format!("{} at most: that one is not taken", self.waits.0);
            report.fault("head", channel.at(offset_of!(Control, head)), head, expected);
        }
    }
}

fn block_at(channel: &Channel, index: u64) -> usize {
    channel.block.offset + channel.block.plan.words + 8 * index as usize
}

fn label(
    reading: &mut Reading<'_>,
    channel: &Channel,
    index: u64,
    state: SlotWord,
    named: &mut [u64],
) {
    let at = slot_at(channel, index) + channel.block.plan.cell;
    let label = reading.word(at);
    let here = || place(format!("{}, slot {index}", channel.whose), at);
    let (block, length) = (label & u64::from(u32::MAX), label >> 32);
    let (blocks, longest) = (channel.block.plan.messages as u64, channel.block.longest as u64);
    if block >= blocks || length > longest {
        let found = format!("{length} bytes in message block {block}");
        let expected = format!("{longest} bytes at most, and a block below {blocks}");
        reading.report.fault("label", here(), found, expected);
        return;
    }
    let Some(word) = named.get_mut(block as usize / 64) else { return };
    let bit = 1 << (block % 64);
    if *word & bit != 0 {
        let found = format!("message block {block}, which another slot names");
        reading.report.fault("label", here(), found, "a message block that no other slot names");
    }
    *word |= bit;
    let word = reading.word(block_at(channel, block));
    let at = || of_block(channel, block);
    if word & HELD == 0 {
        let expected = format!("held, as slot {index} names it");
        reading.report.fault("message block word", at(), "free", expected);
    } else if state.state() == Some(SlotState::Reading)
        && word & OWNER != u64::from(state.owner())
        && reading.person(state.owner().into()).is_some_and(|person| person.is_alive())
    {
        let found = format!("held by participant {}", word & OWNER);
        let expected = format!("held by {}, who reads slot {index}", state.owner());
        reading.report.fault("message block word", at(), found, expected);
    }
}

fn of_block(channel: &Channel, index: u64) -> String {
    place(format!("{}, message block {index}", channel.whose), block_at(channel, index))
}

fn message_blocks(reading: &mut Reading<'_>, channel: &Channel, named: &[u64]) {
    for index in 0..channel.block.plan.messages as u64 {
        let word = reading.word(block_at(channel, index));
        let owner = word & OWNER;
        let is_named = named.get(index as usize / 64).is_some_and(|n| n >> (index % 64) & 1 == 1);
        if word & HELD == 0 {
            if owner != 0 {
                let found = format!("free, of participant {owner}");
                reading.report.fault(
                    "message block word",
                    of_block(channel, index),
                    found,
                    "owner 0",
                );
            }
        } else if owner >= reading.people.len() as u64
            || !is_named && !may_own(reading, channel, owner)
        {
            let found = format!("held by participant {owner}");
            let expected = "a holder that lives, or is to be swept, or a slot that names it";
            reading.report.fault("message block word", of_block(channel, index), found, expected);
        }
    }
}
