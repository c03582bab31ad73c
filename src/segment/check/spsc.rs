//! SPSC: positions, roles, in-flight marks; and the records of SPSC bytes.

use core::mem::offset_of;

use super::channels::Channel;
use super::reading::{Reading, hex, place};
use crate::ring::in_flight::IN_FLIGHT;
use crate::ring::records::units;
use crate::storage::layout::{Control, RingKind};
use crate::sync::{AtomicU64, Ordering};

fn read(word: &AtomicU64) -> u64 {
    word.load(Ordering::Acquire)
}

pub(super) fn check(reading: &mut Reading<'_>, channel: &Channel) {
    let mapped = reading.mapped;
    let control = mapped.control(&channel.block);
    let (head, tail) = (read(&control.head), read(&control.tail));
    let slots = channel.block.plan.capacity as u64;
    let filled = tail.wrapping_sub(head);
    if filled > slots {
        let found = format!("{tail}, with head {head}");
        let expected = format!("head to head + {slots}");
        reading.report.fault("tail", channel.at(offset_of!(Control, tail)), found, expected);
    } else {
        marks(reading, channel, tail);
        if channel.block.kind == RingKind::SpscBytes {
            record_ring(reading, channel, head, filled);
        }
    }
    let producer = offset_of!(Control, producer);
    let consumer = offset_of!(Control, consumer);
    role(reading, channel, ("producer", read(&control.producer), producer, 16));
    role(reading, channel, ("consumer", read(&control.consumer), consumer, 0));
    taker(reading, channel, read(&control.taker), read(&control.consumer));
}

/// A mark is where something ended that was once in the channel.
fn marks(reading: &mut Reading<'_>, channel: &Channel, tail: u64) {
    let control = reading.mapped.control(&channel.block);
    let first = channel.block.offset + offset_of!(Control, in_flight);
    for (n, mark) in (0..).zip(&control.in_flight) {
        let mark = read(mark);
        if tail.wrapping_sub(mark).cast_signed() < 0 {
            let at = place(format!("{}, mark {n}", channel.whose), first + 8 * n);
            reading.report.fault("in-flight mark", at, mark, format!("{tail} at most, the tail"));
        }
    }
}

/// Whether a life is the present one of a slot, or a former one.
const fn has_been(incarnation: u64, life: u64) -> bool {
    life != 0 && (incarnation.wrapping_sub(life) as u32).cast_signed() >= 0
}

/// A word that names a participant and its life, if that participant can be; the
/// fault is reported.
fn holder(reading: &mut Reading<'_>, channel: &Channel, what: &str, at: usize, word: u64) -> bool {
    let (id, of) = (word & 0xFFFF, word >> 32);
    let Some(person) = reading.person(id) else {
        let expected = format!("a participant below {}, or 0", reading.people.len());
        reading.report.fault(what, channel.at(at), hex(word), expected);
        return false;
    };
    if !has_been(person.incarnation(), of) {
        let expected = format!("1 to {}", person.incarnation());
        let found = format!("participant {id}, incarnation {of}");
        reading.report.fault(what, channel.at(at), found, expected);
        return false;
    }
    true
}

/// Only the taker has a mark.
fn no_mark(reading: &mut Reading<'_>, channel: &Channel, what: &str, at: usize, word: u64) {
    let mark = word >> 16 & 0xFFFF;
    if mark != 0 {
        reading.report.fault(what, channel.at(at), format!("mark {mark}"), 0);
    }
}

fn role(
    reading: &mut Reading<'_>,
    channel: &Channel,
    (what, word, at, shift): (&str, u64, usize, u32),
) {
    let (id, of) = (word & 0xFFFF, word >> 32);
    if word != 0 {
        let _ = holder(reading, channel, what, at, word);
        no_mark(reading, channel, what, at, word);
    }
    // Its holder, and nobody else, has an endpoint.
    let block = &channel.block;
    for (other, person) in reading.present().collect::<Vec<_>>() {
        let row = read(&reading.mapped.row(block, other).endpoints);
        let count = if row >> 32 == person.incarnation() { row >> shift & 0xFFFF } else { 0 };
        let holds = word != 0 && id == u64::from(other) && of == person.incarnation();
        let right = u64::from(holds);
        if person.is_alive() && count != right {
            let found = format!("{what} of participant {other}: {holds}, with {count} endpoints");
            let expected = "one endpoint of the side for who has the role, none else";
            reading.report.fault(what, channel.at(at), found, expected);
        }
    }
}

fn taker(reading: &mut Reading<'_>, channel: &Channel, word: u64, consumer: u64) {
    let at = offset_of!(Control, taker);
    if word != 0 && !holder(reading, channel, "taker", at, word) {
        return;
    }
    let (id, mark, of) = (word & 0xFFFF, word >> 16 & 0xFFFF, word >> 32);
    if mark >= IN_FLIGHT as u64 {
        let expected = format!("less than {IN_FLIGHT}");
        reading.report.fault("taker", channel.at(at), format!("mark {mark}"), expected);
    }
    let lives = reading.person(consumer & 0xFFFF).is_some_and(|person| {
        consumer != 0 && person.is_alive() && consumer >> 32 == person.incarnation()
    });
    if lives && (id, of) != (consumer & 0xFFFF, consumer >> 32) {
        let expected = format!("participant {}, who is the consumer", consumer & 0xFFFF);
        let found = format!("participant {id}, incarnation {of}");
        reading.report.fault("taker", channel.at(at), found, expected);
    }
}

/// Walks from record to record: no more of them than units.
fn record_ring(reading: &mut Reading<'_>, channel: &Channel, head: u64, filled: u64) {
    let plan = channel.block.plan;
    let slots = plan.capacity as u64;
    let mut passed = 0;
    while passed < filled {
        let unit = head.wrapping_add(passed) % slots;
        let at = channel.block.offset + plan.slots + plan.stride * unit as usize;
        let header = reading.word(at);
        let (what, length) = (header >> 32, header & u64::from(u32::MAX));
        let (left, to_end) = (filled - passed, slots - unit);
        let size = match what {
            1 if length <= channel.block.longest as u64 => Some(units(length)),
            2 if length == to_end && to_end < left => Some(to_end),
            _ => None,
        };
        let Some(size) = size.filter(|&size| size <= left.min(to_end)) else {
            let at = place(format!("{}, unit {unit}", channel.whose), at);
            let expected = format!(
                "a message of up to {} bytes, or padding of {to_end} units with more behind it, \
                 within {left} units",
                channel.block.longest
            );
            return reading.report.fault("record header", at, hex(header), expected);
        };
        passed += size;
    }
}
