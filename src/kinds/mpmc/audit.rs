//! The audit of MPMC: the slots, in the order in which they are claimed and taken.

use core::mem::offset_of;

use super::OfElements;
use super::layout::FACTS;
use crate::kinds::audit::{Audit, Audited};
use crate::ring::mpmc::{self, SlotState, SlotWord};
use crate::storage::layout::Control;
use crate::storage::report::{hex, place, read};
use crate::storage::{Cells, KindCode};

impl Audit for OfElements {
    fn unused(&self, channel: &mut Audited<'_>) {
        channel.has_no_roles();
    }

    fn audit(&self, channel: &mut Audited<'_>) {
        audit(channel, FACTS.code, |_, _, _| {});
    }
}

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

/// Checks all slots, and the hints. `each` checks what is behind a slot's word.
pub(in crate::kinds) fn audit(
    channel: &mut Audited<'_>,
    kind: KindCode,
    mut each: impl FnMut(&mut Audited<'_>, u64, SlotWord),
) {
    let plan = channel.plan;
    let cells = Cells::new(channel.memory, kind, channel.offset, &plan, channel.longest);
    let (Some(cells), Some(control)) = (cells, channel.control()) else { return };
    let (tail, head) = (read(&control.sending.tail), read(&control.receiving.head));
    let capacity = plan.capacity as u64;
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
    for index in 0..used {
        let Some(state) = slot(channel, index) else {
            order.whole = false;
            continue;
        };
        order.note(channel, index, state);
        each(channel, index, state);
    }
    order.judge(channel, control, (head, tail), used);
}

pub(in crate::kinds) fn slot_at(channel: &Audited<'_>, index: u64) -> usize {
    let plan = channel.plan;
    channel.offset + plan.slots + plan.stride * index as usize
}

fn of_slot(channel: &Audited<'_>, index: u64) -> String {
    place(format!("{}, slot {index}", channel.whose), slot_at(channel, index))
}

/// Whether a participant may own something in the channel.
pub(in crate::kinds) fn may_own(channel: &Audited<'_>, owner: u64) -> bool {
    channel.person(owner).is_some_and(|person| {
        person.may_hold() && channel.endpoints(owner as u16) >> 32 == person.incarnation()
    })
}

/// Checks a slot's word by itself; `None` if it has no phase.
fn slot(channel: &mut Audited<'_>, index: u64) -> Option<SlotWord> {
    let state = SlotWord(channel.word(slot_at(channel, index)));
    let Some(phase) = state.state() else {
        let expected = "a phase of FREE, WRITING, FULL, READING or ORPHAN";
        channel.report.fault("slot word", of_slot(channel, index), hex(state.0), expected);
        return None;
    };
    let owner = u64::from(state.owner());
    let owned = matches!(phase, SlotState::Writing | SlotState::Reading);
    if owned && !may_own(channel, owner) {
        let found = format!("{phase:?} of participant {owner}");
        let expected = "an owner that lives, or is to be swept, and has an endpoint here";
        channel.report.fault("slot word", of_slot(channel, index), found, expected);
    } else if !owned && owner != 0 {
        let found = format!("{phase:?} of participant {owner}");
        channel.report.fault("slot word", of_slot(channel, index), found, "owner 0");
    }
    // A receiver may give a message back as failed more often than the channel delivers
    // again after deaths, and a sender may send one that had as many elsewhere. So the
    // attempts of a message have no other bound than their bits. WRITING has the ticket of a
    // joint send there.
    if state.attempts() > 0 && phase == SlotState::Free {
        let found = format!("{phase:?} with {} attempts", state.attempts());
        channel.report.fault("slot word", of_slot(channel, index), found, "no attempts");
    }
    Some(state)
}

impl Order {
    fn note(&mut self, channel: &mut Audited<'_>, index: u64, state: SlotWord) {
        let Some(phase) = state.state() else { return };
        let capacity = u128::from(channel.plan.capacity as u64);
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
            channel.report.fault("slot word", of_slot(channel, index), found, expected);
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
        channel: &mut Audited<'_>,
        control: &Control,
        (head, tail): (u64, u64),
        used: u64,
    ) {
        let (orphans, scanned) = (read(&control.orphans.left), read(&control.orphans.scanned));
        let at = offset_of!(Control, orphans.scanned);
        if orphans.wrapping_sub(scanned).cast_signed() < 0 {
            channel.fault("scanned", at, scanned, format!("{orphans} at most, as *orphans*"));
        } else if let Some(index) = self.orphan
            && orphans == scanned
            && !channel.unswept
        {
            let expected = format!("less than {orphans}: slot {index} has an orphan");
            channel.fault("scanned", at, scanned, expected);
        }
        // Behind the used ones are only slots that were never claimed.
        if self.whole && used < channel.plan.capacity as u64 && self.first > 1 {
            let found = "FREE of lap 0: never claimed";
            let expected = format!("claimed {} times at least", self.first - 1);
            channel.report.fault("slot word", of_slot(channel, used), found, expected);
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
            channel.report.fault("slot word", of_slot(channel, self.waits.1), found, expected);
            return;
        }
        if u128::from(tail) > self.claimed {
            let expected = format!("{} at most: so many are claimed", self.claimed);
            channel.fault("tail", offset_of!(Control, sending.tail), tail, expected);
        }
        if u128::from(head) > self.waits.0 {
            let expected = format!("{} at most: that one is not taken", self.waits.0);
            channel.fault("head", offset_of!(Control, receiving.head), head, expected);
        }
    }
}
