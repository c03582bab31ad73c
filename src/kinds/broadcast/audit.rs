//! The audit of broadcast: the slots and the limit, the entries, and that each buffer is in
//! one place.

use core::mem::offset_of;

use super::layout::{LENGTH, OF_BYTES, OF_ELEMENTS};
use super::words::Board;
use super::{OfBytes, OfElements};
use crate::kinds::audit::{Audit, Audited};
use crate::ring::broadcast::{self, PublisherView, ReliableView, Words};
use crate::ring::table::Member;
use crate::storage::layout::{Control, LINE};
use crate::storage::report::{hex, place, read};
use crate::storage::{Cells, KindCode, View};

impl Audit for OfElements {
    fn unused(&self, channel: &mut Audited<'_>) {
        unused(channel);
    }

    fn audit(&self, channel: &mut Audited<'_>) {
        audit(channel, OF_ELEMENTS.code);
    }
}

impl Audit for OfBytes {
    fn unused(&self, channel: &mut Audited<'_>) {
        unused(channel);
    }

    fn audit(&self, channel: &mut Audited<'_>) {
        audit(channel, OF_BYTES.code);
    }
}

/// Checks that the words of SPSC and MPMC are not used.
fn unused(channel: &mut Audited<'_>) {
    let Some(control) = channel.control() else { return };
    let (receiving, orphans) = (&control.receiving, &control.orphans);
    channel.has_no_roles();
    channel.unused(&[
        ("orphans", &orphans.left, offset_of!(Control, orphans.left)),
        ("scanned", &orphans.scanned, offset_of!(Control, orphans.scanned)),
        ("head", &receiving.head, offset_of!(Control, receiving.head)),
    ]);
}

/// A channel's ring under audit.
struct Ring {
    board: Board,
    limit: u64,
    /// The first position that is not published.
    end: u64,
    /// Where each buffer has been found: a bit for each.
    found: Vec<u64>,
}

fn audit(channel: &mut Audited<'_>, kind: KindCode) {
    let plan = channel.plan;
    let cells = Cells::new(channel.memory, kind, channel.offset, &plan, channel.longest);
    let Some(board) = cells.as_ref().and_then(Board::of) else { return };
    let limit = read(board.limit());
    let step = board.shape().step;
    let end = board.published();
    if !(end..=end.saturating_add(step)).contains(&limit) {
        let expected = format!("{end} to {}: so many are published", end.saturating_add(step));
        channel.fault("limit", offset_of!(Control, sending.tail), limit, expected);
        return;
    }
    let found = vec![0; (board.shape().buffers() as usize).div_ceil(64)];
    let mut ring = Ring { board, limit, end, found };
    ring.slots(channel);
    ring.used(channel);
    for n in 0..ring.board.shape().publishers {
        ring.publisher(channel, n);
    }
    for n in 0..ring.board.shape().reliable {
        ring.reliable(channel, n);
    }
}

fn slot_at(channel: &Audited<'_>, index: u64) -> usize {
    channel.offset + channel.plan.slots + channel.plan.stride * index as usize
}

/// Where an entry is, of all that have one.
fn entry_at(channel: &Audited<'_>, entry: u64) -> usize {
    channel.offset + channel.plan.words + LINE * entry as usize
}

impl Ring {
    /// Checks how often each slot has been published, and of bytes how long the message is.
    fn slots(&mut self, channel: &mut Audited<'_>) {
        let slots = self.board.shape().slots;
        for index in 0..slots {
            if index > self.limit {
                // Never used. To look at it would give memory to it.
                let at = slot_at(channel, index);
                self.note(channel, index, || place("an unused slot", at));
                continue;
            }
            let at = slot_at(channel, index);
            let whose = format!("{}, slot {index}", channel.whose);
            let slot = broadcast::view_of_slot(&self.board, index);
            let turn = self.end.saturating_sub(index).div_ceil(slots);
            if slot.turn != turn {
                let found = format!("published {} times", slot.turn);
                let expected = format!("{turn} times: the first unpublished one is {}", self.end);
                channel.report.fault("slot word", place(&whose, at), found, expected);
            }
            self.note(channel, slot.buffer, || place(&whose, at));
            if turn > 0 && !slot.gap {
                self.length(channel, slot.buffer, &whose);
            }
        }
    }

    /// Checks the length of a message of bytes.
    fn length(&self, channel: &mut Audited<'_>, buffer: u64, whose: &str) {
        if self.board.cells().kind() != OF_BYTES.code {
            return;
        }
        let at = channel.offset + channel.plan.bytes + channel.plan.apart * buffer as usize;
        let length = channel.word(at);
        if length > channel.longest as u64 {
            let expected = format!("{} bytes at most", channel.longest);
            let whose = format!("{whose}, buffer {buffer}, before its {LENGTH}th byte");
            channel.report.fault("length", place(whose, at), length, expected);
        }
    }

    /// Notes where a buffer is; it is nowhere else.
    fn note(&mut self, channel: &mut Audited<'_>, buffer: u64, at: impl Fn() -> String) {
        let Some(word) = self.found.get_mut(buffer as usize / 64) else { return };
        let bit = 1 << (buffer % 64);
        if *word & bit != 0 {
            let found = format!("buffer {buffer}, which is in another place too");
            channel.report.fault("buffer", at(), found, "a buffer that is in no other place");
        }
        *word |= bit;
    }

    /// Checks how many entries have been in use.
    fn used(&self, channel: &mut Audited<'_>) {
        let shape = self.board.shape();
        let (publishers, reliable) = broadcast::entries_used(&self.board);
        let at = offset_of!(Control, receiving.publishers_used);
        if publishers > shape.publishers {
            let expected = format!("{} at most", shape.publishers);
            channel.fault("publishers used", at, publishers, expected);
        }
        let at = offset_of!(Control, receiving.reliable_used);
        if reliable > shape.reliable {
            let expected = format!("{} at most", shape.reliable);
            channel.fault("reliable used", at, reliable, expected);
        }
    }

    fn publisher(&mut self, channel: &mut Audited<'_>, n: u64) {
        let shape = self.board.shape();
        let at = entry_at(channel, n);
        let whose = format!("{}, publisher's entry {n}", channel.whose);
        let here = || place(&whose, at);
        let entry = broadcast::view_of_publisher(&self.board, n);
        let PublisherView { holder, buffer, incomplete, ahead, least_ahead, .. } = entry;
        self.note(channel, buffer, here);
        let in_use = n < broadcast::entries_used(&self.board).0;
        holds(channel, (holder, in_use), &whose, at);
        if !(least_ahead..=1).contains(&ahead) {
            let found = format!("{ahead} turns ahead of the word");
            channel.report.fault(
                "helped",
                here(),
                found,
                "1 at most, and less than a quarter behind",
            );
        }
        if entry.over >= shape.buffers() {
            let expected = format!("a buffer below {}", shape.buffers());
            channel.report.fault("over", here(), entry.over, expected);
        }
        if entry.at > self.end {
            channel.report.fault("at", here(), entry.at, format!("{} at most", self.end));
        }
        if incomplete {
            channel.report.remark(format!(
                "{whose} does not say yet that its last message is published; others complete it"
            ));
        }
    }

    fn reliable(&self, channel: &mut Audited<'_>, n: u64) {
        let shape = self.board.shape();
        let at = entry_at(channel, shape.publishers + n);
        let whose = format!("{}, reliable subscriber's entry {n}", channel.whose);
        let ReliableView { holder, joining, position } =
            broadcast::view_of_reliable(&self.board, n);
        holds(channel, (holder, n < broadcast::entries_used(&self.board).1), &whose, at);
        let alive = holder.is_some_and(|holder| {
            channel.person(holder.id.into()).is_some_and(|person| {
                person.is_alive() && person.incarnation() == holder.incarnation
            })
        });
        let least = self.limit.saturating_sub(shape.slots);
        if alive && !joining && !(least..=self.end).contains(&position) {
            let expected = format!("{least} to {}", self.end);
            channel.report.fault("position", place(&whose, at + 8), position, expected);
        }
    }
}

/// Checks the holder of an entry; whether the entry is one of those that have been in use.
fn holds(
    channel: &mut Audited<'_>,
    (holder, in_use): (Option<Member>, bool),
    whose: &str,
    at: usize,
) {
    let Some(holder) = holder else { return };
    let word = channel.word(at);
    let there = channel.person(holder.id.into());
    let was = there.is_some_and(|person| {
        (person.incarnation().wrapping_sub(holder.incarnation) as u32).cast_signed() >= 0
    });
    if !was {
        let expected = "0, or a participant's life that is or was";
        channel.report.fault("holder", place(whose, at), hex(word), expected);
    } else if !in_use {
        let expected = "0: no entry so far on has been in use";
        channel.report.fault("holder", place(whose, at), hex(word), expected);
    }
}
