//! The audit of SPSC: positions, roles, in-flight marks.

use core::mem::offset_of;

use super::OfElements;
use crate::kinds::audit::{Audit, Audited};
use crate::ring::in_flight::IN_FLIGHT;
use crate::storage::layout::Control;
use crate::storage::report::{hex, place, read};

impl Audit for OfElements {
    fn unused(&self, channel: &mut Audited<'_>) {
        unused(channel);
    }

    fn audit(&self, channel: &mut Audited<'_>) {
        audit(channel, |_, _, _| {});
    }
}

/// Checks that the words of MPMC are not used.
pub(in crate::kinds) fn unused(channel: &mut Audited<'_>) {
    let Some(control) = channel.control() else { return };
    channel.unused(&[
        ("orphans", &control.orphans.left, offset_of!(Control, orphans.left)),
        ("scanned", &control.orphans.scanned, offset_of!(Control, orphans.scanned)),
        ("tombstones", &control.recovered.tombstones, offset_of!(Control, recovered.tombstones)),
    ]);
}

/// Checks the positions, the roles and the marks. `filled` checks what is in the cells:
/// the head, and how many are filled from there on.
pub(in crate::kinds) fn audit(
    channel: &mut Audited<'_>,
    filled: impl FnOnce(&mut Audited<'_>, u64, u64),
) {
    let Some(control) = channel.control() else { return };
    let (head, tail) = (read(&control.receiving.head), read(&control.sending.tail));
    let slots = channel.plan.capacity as u64;
    let count = tail.wrapping_sub(head);
    if count > slots {
        let found = format!("{tail}, with head {head}");
        let expected = format!("head to head + {slots}");
        channel.fault("tail", offset_of!(Control, sending.tail), found, expected);
    } else {
        marks(channel, control, tail);
        filled(channel, head, count);
    }
    let (producer, consumer) = (read(&control.sending.producer), read(&control.receiving.consumer));
    role(channel, ("producer", producer, offset_of!(Control, sending.producer), 16));
    role(channel, ("consumer", consumer, offset_of!(Control, receiving.consumer), 0));
    taker(channel, read(&control.receiving.taker), consumer);
}

/// A mark is where something ended that was once in the channel.
fn marks(channel: &mut Audited<'_>, control: &Control, tail: u64) {
    let first = channel.offset + offset_of!(Control, receiving.in_flight);
    for (n, mark) in (0..).zip(&control.receiving.in_flight) {
        let mark = read(mark);
        if tail.wrapping_sub(mark).cast_signed() < 0 {
            let at = place(format!("{}, mark {n}", channel.whose), first + 8 * n);
            channel.report.fault("in-flight mark", at, mark, format!("{tail} at most, the tail"));
        }
    }
}

/// Whether a life is the present one of a slot, or a former one.
const fn has_been(incarnation: u64, life: u64) -> bool {
    life != 0 && (incarnation.wrapping_sub(life) as u32).cast_signed() >= 0
}

/// A word that names a participant and its life, if that participant can be; the
/// fault is reported.
fn holder(channel: &mut Audited<'_>, what: &str, at: usize, word: u64) -> bool {
    let (id, of) = (word & 0xFFFF, word >> 32);
    let Some(person) = channel.person(id) else {
        let expected = format!("a participant below {}, or 0", channel.people.len());
        channel.fault(what, at, hex(word), expected);
        return false;
    };
    if !has_been(person.incarnation(), of) {
        let expected = format!("1 to {}", person.incarnation());
        let found = format!("participant {id}, incarnation {of}");
        channel.fault(what, at, found, expected);
        return false;
    }
    true
}

/// Only the taker has a mark.
fn no_mark(channel: &mut Audited<'_>, what: &str, at: usize, word: u64) {
    let mark = word >> 16 & 0xFFFF;
    if mark != 0 {
        channel.fault(what, at, format!("mark {mark}"), 0);
    }
}

fn role(channel: &mut Audited<'_>, (what, word, at, shift): (&str, u64, usize, u32)) {
    let (id, of) = (word & 0xFFFF, word >> 32);
    if word != 0 {
        let _ = holder(channel, what, at, word);
        no_mark(channel, what, at, word);
    }
    // Its holder, and nobody else, has an endpoint.
    for (other, person) in channel.present() {
        let row = channel.endpoints(other);
        let count = if row >> 32 == person.incarnation() { row >> shift & 0xFFFF } else { 0 };
        let holds = word != 0 && id == u64::from(other) && of == person.incarnation();
        let right = u64::from(holds);
        if person.is_alive() && count != right {
            let found = format!("{what} of participant {other}: {holds}, with {count} endpoints");
            let expected = "one endpoint of the side for who has the role, none else";
            channel.fault(what, at, found, expected);
        }
    }
}

fn taker(channel: &mut Audited<'_>, word: u64, consumer: u64) {
    let at = offset_of!(Control, receiving.taker);
    if word != 0 && !holder(channel, "taker", at, word) {
        return;
    }
    let (id, mark, of) = (word & 0xFFFF, word >> 16 & 0xFFFF, word >> 32);
    if mark >= IN_FLIGHT as u64 {
        let expected = format!("less than {IN_FLIGHT}");
        channel.fault("taker", at, format!("mark {mark}"), expected);
    }
    let lives = channel.person(consumer & 0xFFFF).is_some_and(|person| {
        consumer != 0 && person.is_alive() && consumer >> 32 == person.incarnation()
    });
    if lives && (id, of) != (consumer & 0xFFFF, consumer >> 32) {
        let expected = format!("participant {}, who is the consumer", consumer & 0xFFFF);
        let found = format!("participant {id}, incarnation {of}");
        channel.fault("taker", at, found, expected);
    }
}
