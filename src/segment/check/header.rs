//! The header and the semaphore set, against each other and against what the
//! kernel says of the objects.

use core::mem::offset_of;

use crate::kinds::table::RingKind;
use crate::ring::creation::MAGIC;
use crate::ring::set::SetMap;
use crate::segment::name::{Name, is_anonymous};
use crate::segment::queue::is_marked;
use crate::storage::Memory;
use crate::storage::layout::{Header, JOINT_SENDS, NAME_BYTES, Plan, VERSION, flags, gate};
use crate::storage::report::{Report, hex, place, read, reserved, text};
use crate::sync::Ordering;
use crate::sys::Key;
use crate::sys::msg::Queue;
use crate::sys::sem::Set;
use crate::sys::shm::Stat;

const OF: &str = "header";
/// What a lease that is held is called.
pub(super) const LEASE: &str = "LEASE";

/// Beyond this it is never left: all that there can be strike twice.
const BELL_END: u16 = i16::MAX as u16;

/// Checks both; the set's values, if they can be had.
pub(super) fn check(report: &mut Report, memory: &Memory, stat: &Stat) -> Option<Vec<u16>> {
    let header = memory.header();
    let mut expect = |what: &str, at: usize, found: u64, right: bool, expected: &str| {
        if !right {
            report.fault(what, place(OF, at), hex(found), expected);
        }
    };
    let (nonce, magic) = (read(&header.nonce), read(&header.magic));
    let odd = nonce % 2 == 1;
    expect("nonce", offset_of!(Header, nonce), nonce, odd, "an odd number");
    let whole = magic == MAGIC;
    expect("magic", offset_of!(Header, magic), magic, whole, "the bytes `tombolo\\0`");
    let version = read(&header.version);
    let known = version == VERSION;
    expect("version", offset_of!(Header, version), version, known, "2");
    let generation = read(&header.generation);
    let fits = generation >> SetMap::GENERATION_BITS == 0;
    expect("generation", offset_of!(Header, generation), generation, fits, "56 bits");
    let bits = read(&header.flags);
    let anonymous = bits & flags::ANONYMOUS != 0;
    let possible = bits & !flags::KNOWN == 0 && (!anonymous || bits & flags::TRANSIENT != 0);
    let expected = "bits 0 to 3, and ANONYMOUS only with TRANSIENT";
    expect("flags", offset_of!(Header, flags), bits, possible, expected);
    let kinds = read(&header.kinds);
    expect(
        "kinds",
        offset_of!(Header, kinds),
        kinds,
        kinds & !(RingKind::LATER | JOINT_SENDS) == 0,
        "bits 5 to 8, and 63, at most",
    );
    let gate = read(&header.gate);
    let closes = gate & gate::CLOSED != 0;
    expect("gate", offset_of!(Header, gate), gate, state_is_possible(gate), "a possible state");
    let size = read(&header.size);
    if size != stat.size as u64 {
        let at = place(OF, offset_of!(Header, size));
        report.fault("size", at, size, format!("{}, the object's size", stat.size));
    }
    let (p, c) = (read(&header.participants), read(&header.channels));
    let map = header.shape();
    match map.map(Plan::new) {
        None => report.fault(
            "shape",
            place(OF, offset_of!(Header, participants)),
            format!("{p} participants and {c} channels"),
            "1 to 8192 and 1 to 4096",
        ),
        Some(plan) if plan.heap > memory.len() => report.fault(
            "shape",
            place(OF, offset_of!(Header, participants)),
            format!("{p} participants and {c} channels, whose tables end at {}", plan.heap),
            format!("an end within {} bytes", memory.len()),
        ),
        Some(_) => {}
    }
    name(report, header, stat, anonymous);
    for (words, at) in [
        (&header.reserved_a[..], offset_of!(Header, reserved_a)),
        (&header.reserved_b[..], offset_of!(Header, reserved_b)),
    ] {
        reserved(report, OF, words, at);
    }
    let set = set(report, header, map, stat, generation);
    if closes && set.is_some() {
        let at = place(OF, offset_of!(Header, gate));
        report.fault("gate", at, "closed", "open, as the semaphore set is there");
    }
    if let Some((id, _)) = &set {
        queue(report, header, *id);
    }
    set.map(|(_, values)| values)
}

fn state_is_possible(gate: u64) -> bool {
    let has = |bit: u64| gate & bit != 0;
    let known = gate::CLOSED | gate::PAUSED | gate::DRAINING | gate::DRAINED | gate::SHUTDOWN;
    let alone = |bit: u64| gate & known & !gate::CLOSED == bit;
    gate & u64::from(u32::MAX) & !known == 0
        && (!has(gate::PAUSED) || alone(gate::PAUSED))
        && (!has(gate::DRAINED) || has(gate::DRAINING))
}

fn name(report: &mut Report, header: &Header, stat: &Stat, anonymous: bool) {
    let at = offset_of!(Header, name);
    let Some(said) = text(report, ("name", OF, at), &header.name) else {
        return;
    };
    let name = Name::new(&said, NAME_BYTES);
    match name {
        Err(_) if anonymous && said.is_empty() => {}
        Err(_) => report.fault("name", place(OF, at + 8), format!("{said:?}"), "an allowed name"),
        Ok(_) if anonymous => {
            report.fault("name", place(OF, at + 8), said, "none, as it is anonymous");
        }
        Ok(name) if stat.key != Key::PRIVATE && !name.has_key(stat.key) => {
            let expected = format!("a name with the key {:#010x}", stat.key.raw());
            report.fault("name", place(OF, at + 8), said, expected);
        }
        Ok(_) => {}
    }
}

/// The set, and its values; `None` if they cannot be had.
fn set(
    report: &mut Report,
    header: &Header,
    map: Option<SetMap>,
    stat: &Stat,
    generation: u64,
) -> Option<(Set, Vec<u16>)> {
    let word = read(&header.set);
    let at = || place(OF, offset_of!(Header, set));
    let set = i32::try_from(word).ok().map(Set::from_id);
    let Some((set, of)) = set.and_then(|set| Some((set, set.stat_any().ok()?))) else {
        report.fault("set", at(), word, "the id of a semaphore set that is there");
        return None;
    };
    if stat.key != Key::PRIVATE && of.key != stat.key {
        let found = format!("set {word}, whose key is {:#010x}", of.key.raw());
        report.fault("set", at(), found, format!("a set on {:#010x}", stat.key.raw()));
    }
    if header.flags.load(Ordering::Relaxed) & flags::ANONYMOUS != 0 && !is_anonymous(of.key) {
        let found = format!("set {word}, whose key is {:#010x}", of.key.raw());
        report.fault("set", at(), found, "a set on a key of anonymous segments, 0xb0b1….");
    }
    if let Some(count) = map.map(|map| usize::from(map.count()))
        && of.count != count
    {
        report.fault("set", at(), format!("{} semaphores", of.count), format!("{count}"));
    }
    let mut values = vec![0; of.count];
    if let Err(error) = set.values(&mut values) {
        report.remark(format!("the semaphores could not be read: {error}"));
        return None;
    }
    semaphores(report, &values, map, generation, set);
    Some((set, values))
}

fn semaphores(report: &mut Report, values: &[u16], map: Option<SetMap>, generation: u64, set: Set) {
    let value = |sem: u16| values.get(usize::from(sem)).copied().unwrap_or(0);
    let at = |sem: u16| format!("semaphore {sem}");
    let lease = value(SetMap::LEASE);
    if lease != 0 {
        let pid = set.last_pid(SetMap::LEASE).unwrap_or(0);
        let found = format!("{lease}, last changed by process {pid}");
        let expected = "0: nobody creates, joins, leaves or opens a channel";
        report.fault(LEASE, at(SetMap::LEASE), found, expected);
    }
    if value(SetMap::BUILT) != 1 {
        report.fault("BUILT", at(SetMap::BUILT), value(SetMap::BUILT), 1);
    }
    let digits = SetMap::BUILT + 1;
    if SetMap::generation(values) != Some(generation) {
        let spelled: Vec<String> =
            (digits..SetMap::WAKE_ALL).map(|sem| value(sem).to_string()).collect();
        let expected = format!("the digits and the check of {generation:#x}");
        report.fault("GENERATION", at(digits), spelled.join(" "), expected);
    }
    if value(SetMap::WAKE_ALL) >= BELL_END {
        report.fault(
            "WAKE_ALL",
            at(SetMap::WAKE_ALL),
            value(SetMap::WAKE_ALL),
            "less: it is wound back",
        );
    }
    let Some(map) = map else { return };
    for participant in 0..map.participants {
        let own = map.own_bell(participant).filter(|&own| value(own) >= BELL_END);
        if let Some(own) = own {
            report.fault("OWN", at(own), value(own), "less: it is wound back");
        }
    }
    let spare = map.used()..map.count();
    for sem in spare.filter(|&sem| value(sem) != 0) {
        report.fault("reserved", at(sem), value(sem), 0);
    }
}

fn queue(report: &mut Report, header: &Header, set: Set) {
    let word = read(&header.queue);
    let Some(id) = word.checked_sub(1) else {
        return;
    };
    let at = || place(OF, offset_of!(Header, queue));
    let Ok(id) = i32::try_from(id) else {
        return report.fault("queue", at(), word, "1 + the id of a message queue, or 0");
    };
    let (Ok(queue), Ok(set)) = (Queue::from_id(id).stat_any(), set.stat_any()) else {
        return report
            .remark(format!("message queue {id} is gone: the next command makes another"));
    };
    if !is_marked(&queue) || queue.key != set.key {
        let found = format!("queue {id}, of mode {:04o}, on {:#010x}", queue.mode, queue.key.raw());
        let expected = format!("one with the mark 0601, on {:#010x}", set.key.raw());
        report.fault("queue", at(), found, expected);
    }
}
