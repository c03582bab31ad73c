//! SPSC: positions, roles, hands; and the records of SPSC bytes.

use core::mem::offset_of;

use super::channels::Channel;
use super::reading::{Reading, hex, life, place};
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
        hands(reading, channel, tail);
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

/// A hand ends where something was, once, in the channel.
fn hands(reading: &mut Reading<'_>, channel: &Channel, tail: u64) {
    let control = reading.mapped.control(&channel.block);
    let first = offset_of!(Control, hands);
    let all = (0..).zip(&control.hands).map(|(n, hand)| (n, hand, first + 8 * n));
    let last = (15, &control.last_hand, offset_of!(Control, last_hand));
    for (n, hand, at) in all.chain([last]) {
        let hand = read(hand);
        if tail.wrapping_sub(hand).cast_signed() < 0 {
            let at = place(format!("{}, hand {n}", channel.whose), channel.block.offset + at);
            reading.report.fault("hand", at, hand, format!("{tail} at most, the tail"));
        }
    }
}

/// Whether a life, of so many bits, is the present one of a slot or a former.
fn has_been(incarnation: u64, life: u64, bits: u32) -> bool {
    let ago = incarnation.wrapping_add(1).wrapping_sub(life);
    (ago << (64 - bits)).cast_signed() >= 0
}

fn role(
    reading: &mut Reading<'_>,
    channel: &Channel,
    (what, word, at, shift): (&str, u64, usize, u32),
) {
    let (id, of) = (word & 0xFFFF, word >> 16);
    if word != 0 {
        let Some(person) = reading.person(id) else {
            let expected = format!("a participant below {}, or 0", reading.people.len());
            reading.report.fault(what, channel.at(at), hex(word), expected);
            return;
        };
        if !has_been(person.incarnation(), of, 48) {
            let expected = format!("{} at most", person.incarnation().wrapping_add(1));
            let found = format!("participant {id}, life {of}");
            reading.report.fault(what, channel.at(at), found, expected);
        }
    }
    // Its holder, and nobody else, has an endpoint.
    let block = &channel.block;
    for (other, person) in reading.present().collect::<Vec<_>>() {
        let row = read(&reading.mapped.row(block, other).endpoints);
        let count = if row >> 32 == life(person) { row >> shift & 0xFFFF } else { 0 };
        let holds = word != 0
            && id == u64::from(other)
            && of == person.incarnation().wrapping_add(1) << 16 >> 16;
        let right = u64::from(holds);
        if person.is_alive() && count != right {
            let found = format!("{what} of participant {other}: {holds}, with {count} endpoints");
            let expected = "one endpoint of the side for who has the role, none else";
            reading.report.fault(what, channel.at(at), found, expected);
        }
    }
}

fn taker(reading: &mut Reading<'_>, channel: &Channel, word: u64, consumer: u64) {
    let at = channel.at(offset_of!(Control, taker));
    let (id, of) = (word & 0xFFFF, word >> 20);
    if word != 0 {
        let Some(person) = reading.person(id) else {
            let expected = format!("a participant below {}, or 0", reading.people.len());
            reading.report.fault("taker", at, hex(word), expected);
            return;
        };
        if !has_been(person.incarnation(), of, 44) {
            let expected = format!("{} at most", person.incarnation().wrapping_add(1));
            reading.report.fault("taker", at, format!("participant {id}, life {of}"), expected);
            return;
        }
    }
    let holder = reading.person(consumer & 0xFFFF).filter(|person| {
        consumer != 0
            && person.is_alive()
            && consumer >> 16 == person.incarnation().wrapping_add(1) << 16 >> 16
    });
    if let Some(holder) = holder {
        let life = holder.incarnation().wrapping_add(1) << 20 >> 20;
        if (id, of) != (consumer & 0xFFFF, life) {
            let expected = format!("participant {}, who is the consumer", consumer & 0xFFFF);
            reading.report.fault("taker", at, format!("participant {id}, life {of}"), expected);
        }
    }
}

/// Walks from packet to packet: no more of them than units.
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
            return reading.report.fault("packet header", at, hex(header), expected);
        };
        passed += size;
    }
}
