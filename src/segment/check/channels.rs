//! The directory, and of each channel what all kinds have: its control words,
//! its rows, its semaphores.

use std::collections::HashMap;

use core::mem::offset_of;

use super::reading::Reading;
use crate::kinds::audit::{Audited, Person};
use crate::kinds::block::Block;
use crate::kinds::table::RingKind;
use crate::ring::event;
use crate::ring::mpmc::MAX_ATTEMPTS;
use crate::ring::table::MemberState;
use crate::ring::watch::{Topic, WATCHED};
use crate::segment::name::{Name, fingerprint};
use crate::storage::KindCode;
use crate::storage::layout::{
    CHANNEL_NAME_BYTES, Control, DirectoryEntry, LASTING, LINE, MAX_CAPACITY, MAX_LENGTH, READY,
    Row,
};
use crate::storage::report::{hex, place, read, reserved, text};
use crate::sync::AtomicU64;

/// The schema of bytes.
const BYTES: &str = "bytes";
const CALLS_OF_BYTES: &str = "bytes -> bytes";
const COUNT: u64 = u32::MAX as u64;
/// The topics that a row can have.
const TOPICS: u64 = Topic::Items as u64 | Topic::Space as u64 | Topic::Slots as u64;

/// A channel under audit.
struct Channel {
    block: Block,
    /// What faults call it.
    whose: String,
    /// Whether a dead participant of it is still to be swept.
    unswept: bool,
}

impl Channel {
    /// Where a control word is.
    fn at(&self, offset: usize) -> String {
        place(&self.whose, self.block.offset + offset)
    }

    /// The channel as its kind audits it.
    fn audited<'a>(&self, reading: &'a mut Reading<'_>) -> Audited<'a> {
        Audited {
            memory: &reading.mapped.memory,
            offset: self.block.offset,
            plan: self.block.plan,
            longest: self.block.longest,
            whose: self.whose.clone(),
            unswept: self.unswept,
            people: &reading.people,
            report: &mut reading.report,
        }
    }
}

pub(super) fn check(reading: &mut Reading<'_>) {
    let mut names = HashMap::new();
    let mut found = Vec::new();
    for index in 0..reading.mapped.plan.map.channels {
        let Some((name, block)) = entry(reading, index) else {
            continue;
        };
        let at = reading.mapped.plan.directory + size_of::<DirectoryEntry>() * usize::from(index);
        if let Some(other) = names.insert(name.clone(), index) {
            let found = format!("{name}, the name of channel #{other}");
            let here =
                place(format!("channel #{index}"), at + offset_of!(DirectoryEntry, name) + 8);
            reading.report.fault("channel name", here, found, "a name of its own");
        }
        found.push((name, block));
    }
    // In the order of their entries, in which the blocks lie.
    let mut end = 0;
    for (name, block) in found {
        let offset = block.offset;
        if offset < end {
            // The library passes over it. Audited, so many entries could make one block
            // be read as often.
            let at = reading.mapped.plan.directory
                + size_of::<DirectoryEntry>() * usize::from(block.index);
            let here = place(format!("channel {name}"), at + offset_of!(DirectoryEntry, offset));
            let expected = format!("{end} or more, where the block before it ends");
            reading.report.fault("offset", here, offset, expected);
            continue;
        }
        end = offset + block.plan.length;
        let whose = format!("channel {name}");
        let unswept = reading.unswept_in(&block);
        let channel = Channel { block, whose, unswept };
        control(reading, &channel);
        rows(reading, &channel);
        semaphores(reading, &channel);
        block.kind.any().audit(&mut channel.audited(reading));
    }
}

/// Checks an entry; what it describes, if it can be used.
fn entry(reading: &mut Reading<'_>, index: u16) -> Option<(String, Block)> {
    let mapped = reading.mapped;
    let base = mapped.plan.directory + size_of::<DirectoryEntry>() * usize::from(index);
    let entry = mapped.memory.at::<DirectoryEntry>(base)?;
    let whose = format!("channel #{index}");
    let report = &mut reading.report;
    let state = read(&entry.state);
    if state != READY {
        if state != 0 {
            report.fault("state", place(&whose, base), state, "0 free or 1 READY");
        }
        // An entry whose maker died may have anything in it.
        return None;
    }
    let before = report.faults.len();
    let mut expect = |what: &str, offset: usize, found: u64, right: bool, expected: &str| {
        if !right {
            report.fault(what, place(&whose, base + offset), found, expected);
        }
    };
    let code = read(&entry.kind);
    let kind = RingKind::read(KindCode(code));
    let is_bytes = kind.is_some_and(RingKind::is_bytes);
    expect("kind", offset_of!(DirectoryEntry, kind), code, kind.is_some(), "1 to 8");
    let (size, align) = (read(&entry.element_size), read(&entry.element_align));
    let fits = !is_bytes || size <= MAX_LENGTH as u64;
    expect("element size", offset_of!(DirectoryEntry, element_size), size, fits, "2^30 at most");
    let fits = align.is_power_of_two() && align <= if is_bytes { 1 } else { LINE as u64 };
    let expected = "a power of two up to 128; 1 of bytes";
    expect("element alignment", offset_of!(DirectoryEntry, element_align), align, fits, expected);
    let capacity = read(&entry.capacity);
    let fits = (1..=MAX_CAPACITY as u64).contains(&capacity);
    expect("capacity", offset_of!(DirectoryEntry, capacity), capacity, fits, "1 to 2^31");
    let attempts = read(&entry.attempts);
    let fits = attempts <= u64::from(MAX_ATTEMPTS);
    expect("attempts", offset_of!(DirectoryEntry, attempts), attempts, fits, "0 to 15");
    let flags = read(&entry.flags);
    expect(
        "flags",
        offset_of!(DirectoryEntry, flags),
        flags,
        flags & !LASTING == 0,
        "LASTING (1) or 0",
    );
    let name_at = base + offset_of!(DirectoryEntry, name);
    let name = text(report, ("channel name", &whose, name_at), &entry.name);
    if let Some(name) = &name
        && Name::new(name, CHANNEL_NAME_BYTES).is_err()
    {
        let found = format!("{name:?}");
        report.fault("channel name", place(&whose, name_at + 8), found, "an allowed name");
    }
    let schema_at = base + offset_of!(DirectoryEntry, schema);
    if let Some(schema) = text(report, ("schema", &whose, schema_at), &entry.schema) {
        let (found, right) = (read(&entry.fingerprint), fingerprint(&schema, size, align));
        if found != right {
            let here = place(&whose, base + offset_of!(DirectoryEntry, fingerprint));
            let expected = format!("{}, that of {schema}, {size}, {align}", hex(right));
            report.fault("fingerprint", here, hex(found), expected);
        }
        let bytes = if kind.is_some_and(RingKind::is_calls) { CALLS_OF_BYTES } else { BYTES };
        if is_bytes && schema != bytes {
            report.fault("schema", place(&whose, schema_at + 8), schema, bytes);
        }
    }
    if !kind.is_some_and(RingKind::is_calls) {
        let reply = [
            ("reply size", &entry.reply_size, offset_of!(DirectoryEntry, reply_size)),
            ("reply alignment", &entry.reply_align, offset_of!(DirectoryEntry, reply_align)),
            (
                "reply fingerprint",
                &entry.reply_fingerprint,
                offset_of!(DirectoryEntry, reply_fingerprint),
            ),
        ];
        for (what, word, at) in reply {
            let found = read(word);
            if found != 0 {
                report.fault(what, place(&whose, base + at), hex(found), "0: it is no service");
            }
        }
    }
    reserved(report, &whose, &entry.reserved_a, base + offset_of!(DirectoryEntry, reserved_a));
    reserved(report, &whose, &entry.reserved_b, base + offset_of!(DirectoryEntry, reserved_b));
    let other = report.faults.len() > before;
    match mapped.directory().read(index)? {
        Ok(described) => Some((described.name, described.block)),
        Err(what) => {
            if !other {
                let here = place(&whose, base + offset_of!(DirectoryEntry, offset));
                let expected = "a block within the heap, at a multiple of 128";
                reading.report.fault("offset", here, what, expected);
            }
            None
        }
    }
}

fn control(reading: &mut Reading<'_>, channel: &Channel) {
    let mapped = reading.mapped;
    let control = mapped.control(&channel.block);
    let base = channel.block.offset;
    let report = &mut reading.report;
    for (words, at) in [
        (&control.reserved_a[..], offset_of!(Control, reserved_a)),
        (&control.reserved_b[..], offset_of!(Control, reserved_b)),
        (&control.sending.reserved[..], offset_of!(Control, sending.reserved)),
        (&control.receiving.reserved[..], offset_of!(Control, receiving.reserved)),
        (&control.receiving.reserved_b[..], offset_of!(Control, receiving.reserved_b)),
    ] {
        reserved(report, &channel.whose, words, base + at);
    }
    channel.block.kind.any().unused(&mut channel.audited(reading));
    for (side, word, at, shift) in [
        ("senders joined", &control.joined.senders, offset_of!(Control, joined.senders), 16),
        ("receivers joined", &control.joined.receivers, offset_of!(Control, joined.receivers), 0),
    ] {
        let joined = read(word);
        let there: u64 = reading
            .present()
            .map(|(id, person)| (read(&mapped.row(&channel.block, id).endpoints), person))
            .filter(|&(row, person)| row >> 32 == person.incarnation())
            .map(|(row, _)| row >> shift & 0xFFFF)
            .sum();
        if joined < there {
            let expected = format!("{there} at least: so many are there");
            reading.report.fault(side, channel.at(at), joined, expected);
        }
    }
    waiting(reading, channel);
    struck(reading, channel);
}

/// The waiting words against the records.
fn waiting(reading: &mut Reading<'_>, channel: &Channel) {
    type Of = fn(&Row) -> &AtomicU64;
    let mapped = reading.mapped;
    let control = mapped.control(&channel.block);
    let words: [(&str, &AtomicU64, usize, Of); 3] = [
        ("items waiting", &control.waiting.items, offset_of!(Control, waiting.items), |row| {
            &row.items_record
        }),
        ("space waiting", &control.waiting.space, offset_of!(Control, waiting.space), |row| {
            &row.space_record
        }),
        ("slots waiting", &control.waiting.slots, offset_of!(Control, waiting.slots), |row| {
            &row.slots_record
        }),
    ];
    for (what, word, at, record) in words {
        let now = read(word);
        let count = now & (WATCHED - 1);
        if now & WATCHED != 0 && !mapped.plan.map.own_bells {
            let expected = "nobody watches where participants have no bells";
            reading.report.fault(what, channel.at(at), "watched", expected);
        }
        let recorded: u64 = reading
            .present()
            .filter(|(_, person)| person.state() == Some(MemberState::Live))
            .map(|(id, person)| {
                let record = read(record(mapped.row(&channel.block, id)));
                event::recorded(record, person.incarnation())
            })
            .sum();
        let most = u64::from(mapped.plan.map.participants) * u64::from(u16::MAX);
        if count < recorded && !channel.unswept {
            let expected = format!("{recorded} at least, by the records");
            reading.report.fault(what, channel.at(at), count, expected);
        } else if count > most {
            let expected = format!("{recorded}, by the records");
            reading.report.fault(what, channel.at(at), count, expected);
        } else if count > recorded && !channel.unswept {
            reading.report.remark(format!(
                "{what} of {} is {count} and {recorded} wait: each message costs a needless call",
                channel.whose
            ));
        }
    }
}

/// For which announcements the bells were struck, if the channel has bells.
fn struck(reading: &mut Reading<'_>, channel: &Channel) {
    let control = reading.mapped.control(&channel.block);
    let words = [
        ("items struck", &control.struck.items, offset_of!(Control, struck.items)),
        ("space struck", &control.struck.space, offset_of!(Control, struck.space)),
    ];
    for ((what, word, at), waiting) in
        words.into_iter().zip([&control.waiting.items, &control.waiting.space])
    {
        let struck = read(word);
        let most = if channel.block.kind.is_broadcast() { read(waiting) >> 32 } else { 0 };
        if struck > most {
            let expected = format!("{most} at most, the version of *waiting*");
            let expected = if most == 0 { "0".to_owned() } else { expected };
            reading.report.fault(what, channel.at(at), struck, expected);
        }
    }
}

/// What a living participant watches, `of` so many ends.
fn watches(reading: &mut Reading<'_>, channel: &Channel, (id, incarnation): (u16, u64), of: u64) {
    let mapped = reading.mapped;
    let block = &channel.block;
    let word = read(&mapped.row(block, id).watches);
    let base = block.offset + block.plan.rows + size_of::<Row>() * usize::from(id);
    let whose = format!("{}, participant {id}", channel.whose);
    let mut fault = |expected: &str| {
        let at = place(&whose, base + offset_of!(Row, watches));
        reading.report.fault("watches", at, hex(word), expected);
    };
    let topics = word & COUNT;
    if word != 0 && word >> 32 != incarnation {
        fault("0, or the life that it is of");
    } else if topics & !TOPICS != 0 {
        fault("items, space and slots at most");
    } else if topics & Topic::Items as u64 != 0 && of & 0xFFFF == 0
        || topics & !(Topic::Items as u64) != 0 && of >> 16 & 0xFFFF == 0
    {
        fault("only what it has an end for");
    } else if topics != 0 && read(&mapped.control(block).watchers) >> (id % 64) & 1 == 0 {
        fault("nothing: the channel has not its bit in *watchers*");
    }
}

fn rows(reading: &mut Reading<'_>, channel: &Channel) {
    let people = reading.people.clone();
    for (id, person) in (0..).zip(people) {
        row(reading, channel, id, person);
    }
}

fn row(reading: &mut Reading<'_>, channel: &Channel, id: u16, person: Person) {
    let block = &channel.block;
    let row = reading.mapped.row(block, id);
    let base = block.offset + block.plan.rows + size_of::<Row>() * usize::from(id);
    let word = read(&row.endpoints);
    let whose = format!("{}, participant {id}", channel.whose);
    let here = |at: usize| place(&whose, base + at);
    let at = || here(offset_of!(Row, endpoints));
    let n = person.incarnation();
    let of = word >> 32;
    let report = &mut reading.report;
    reserved(report, &whose, &row.reserved, base + offset_of!(Row, reserved));
    if of == 0 {
        if word != 0 {
            report.fault("endpoints", at(), hex(word), "0, or the life that it is of");
        }
        return;
    }
    // How many lives ago: a life that is still to come has no row.
    let ago = n.wrapping_sub(of) as u32;
    if person.state().is_some() && ago >> 31 != 0 {
        report.fault("endpoints", at(), format!("incarnation {of}"), format!("{n} at most"));
        return;
    }
    if ago != 0 || !person.is_alive() {
        return;
    }
    watches(reading, channel, (id, n), word);
    let report = &mut reading.report;
    let records = [
        ("items record", &row.items_record, offset_of!(Row, items_record), word & 0xFFFF),
        ("space record", &row.space_record, offset_of!(Row, space_record), word >> 16 & 0xFFFF),
        ("slots record", &row.slots_record, offset_of!(Row, slots_record), word >> 16 & 0xFFFF),
    ];
    for (what, record, at, endpoints) in records {
        let record = read(record);
        let (of, threads) = (record >> 32, record & COUNT);
        if of != n {
            report.fault(what, here(at), format!("incarnation {of}"), n);
        } else if threads > 0 && endpoints == 0 {
            report.fault(
                what,
                here(at),
                format!("{threads} threads"),
                "0: it has no such endpoint",
            );
        }
    }
}

fn semaphores(reading: &mut Reading<'_>, channel: &Channel) {
    let map = reading.mapped.plan.map;
    let index = channel.block.index;
    if channel.block.kind.is_broadcast() {
        // They count.
        return;
    }
    for (what, sem) in [("ITEMS", map.items(index)), ("SPACE", map.space(index))] {
        let Some(value) = reading.value(sem) else { continue };
        if value > 1 && !channel.unswept {
            let at = format!("{}, semaphore {sem}", channel.whose);
            reading.report.fault(what, at, value, "0 or 1");
        }
    }
}
