//! The participants' table, with their semaphores, and the journal.

use core::mem::offset_of;

use super::reading::Reading;
use crate::kinds::audit::Person;
use crate::ring::joint::TICKETS;
use crate::ring::journal::LEASEHOLDER;
use crate::ring::table::MemberState;
use crate::storage::layout::{Info, JournalRecord, RECORDS};
use crate::storage::report::{hex, place, read, reserved};

const ENDED: u64 = 1;
/// A bit for each ticket, from number 1 on.
const TICKET_BITS: u64 = ((1 << TICKETS) - 1) << 1;

pub(super) fn check(reading: &mut Reading<'_>) {
    let people = reading.people.clone();
    let end = journal(reading);
    for (id, person) in (0..).zip(people) {
        slot(reading, id, person);
        info(reading, id, person, end);
    }
    let unswept = reading.people.iter().filter(|person| person.is_unswept()).count();
    if unswept > 0 {
        let (is, it) = if unswept == 1 { (" has", "it") } else { ("s have", "them") };
        let died = format!("{unswept} participant{is} died and not been swept");
        reading.report.remark(format!("{died}: whoever looks next sweeps {it}"));
    }
}

fn slot(reading: &mut Reading<'_>, id: u16, person: Person) {
    let whose = format!("participant {id}");
    let at = reading.mapped.plan.words + 8 * usize::from(id);
    let Some(state) = person.state() else {
        let expected = "a phase of FREE, LIVE or DEAD";
        reading.report.fault("participant word", place(whose, at), hex(person.word), expected);
        return;
    };
    let sem = reading.mapped.plan.map.liveness(id);
    let (most, why) = match state {
        MemberState::Live => (1, "1, or 0 after a death"),
        MemberState::Free => (0, "0, as the slot is free"),
        MemberState::Dead => (0, "0, as its participant is dead"),
    };
    if let Some(value) = person.liveness.filter(|&value| value > most) {
        reading.report.fault("LIVE", format!("{whose}, semaphore {sem}"), value, why);
    }
}

/// `journal` is the position behind the newest record.
fn info(reading: &mut Reading<'_>, id: u16, person: Person, journal: u64) {
    let mapped = reading.mapped;
    let info = mapped.info(id);
    let whose = format!("participant {id}");
    let base = mapped.plan.infos + size_of::<Info>() * usize::from(id);
    let report = &mut reading.report;
    reserved(report, &whose, &info.reserved, base + offset_of!(Info, reserved));
    let committed = read(&info.committed);
    if committed & !TICKET_BITS != 0 {
        let at = place(&whose, base + offset_of!(Info, committed));
        report.fault("committed", at, hex(committed), "bits 1 to 15 at most");
    }
    let n = person.incarnation();
    let Some(state) = person.state() else { return };
    let pid = read(&info.pid);
    if person.is_alive() && (pid == 0 || u32::try_from(pid).is_err()) {
        let at = place(&whose, base + offset_of!(Info, pid));
        report.fault("pid", at, pid, "a process id");
    }
    let end = read(&info.end);
    let at = place(&whose, base + offset_of!(Info, end));
    let (which, deaths) = ((end >> 32) as u32, end >> 1 & u64::from(u32::MAX >> 1));
    // One that is still to be swept may have its death recorded.
    let most = n.saturating_sub(u64::from(person.is_alive()));
    if deaths > most {
        report.fault("end", &at, format!("{deaths} deaths"), format!("{most} at most"));
    }
    if end & ENDED != 0 {
        // How far it is behind the newest, modulo 2^32.
        if (journal as u32).wrapping_sub(which).wrapping_sub(1) >> 31 != 0 {
            let expected = format!("a record before position {journal}");
            report.fault("end", &at, format!("ended by record {which}"), expected);
        }
        if person.is_alive() {
            report.fault("end", &at, format!("ended by record {which}"), "not ended: it lives");
        }
        return;
    }
    let right = match state {
        MemberState::Live | MemberState::Dead => which == n as u32,
        // One that died while it joined has begun the life that is still to come.
        MemberState::Free => which == n as u32 || which == (n as u32).checked_add(1).unwrap_or(1),
    };
    if !right {
        let expected = format!("incarnation {}", n as u32);
        report.fault("end", &at, format!("incarnation {which}"), expected);
    }
}

const fn position(word: u64) -> u64 {
    word >> 17
}

/// The position behind the newest: of the highest that has the one before it
/// in its place, so that a single wrong word does not make all others wrong.
fn end(words: &[u64]) -> u64 {
    let mut claimed: Vec<u64> =
        words.iter().filter(|&&word| word != 0).map(|&word| position(word)).collect();
    claimed.sort_unstable_by(|a, b| b.cmp(a));
    let follows = |&&newest: &&u64| {
        newest.checked_sub(1).is_none_or(|before| {
            let word = words.get(before as usize % RECORDS);
            word.is_some_and(|&word| word != 0 && position(word) == before)
        })
    };
    claimed.iter().find(follows).or(claimed.first()).map_or(0, |newest| newest + 1)
}

/// Checks all records; the position behind the newest.
fn journal(reading: &mut Reading<'_>) -> u64 {
    let base = reading.mapped.plan.journal;
    let at = |index: usize| base + size_of::<JournalRecord>() * index;
    let words: Vec<u64> = (0..RECORDS).map(|index| reading.word(at(index))).collect();
    let end = end(&words);
    for (index, &word) in words.iter().enumerate() {
        let whose = format!("record {index}");
        // The last position before the end that belongs in this record.
        let count = RECORDS as u64;
        let behind = (end + count - 1 - index as u64) % count + 1;
        let expected = end.checked_sub(behind);
        let found = (word != 0).then(|| position(word));
        if found != expected {
            let say = |position: Option<u64>| match position {
                Some(position) => format!("position {position}"),
                None => "never claimed".to_owned(),
            };
            let found = say(found);
            reading.report.fault("record word", place(&whose, at(index)), found, say(expected));
        }
        if word != 0 {
            record(reading, &whose, at(index), word);
        }
        let spare = at(index) + offset_of!(JournalRecord, reserved);
        reading.zero("reserved", &whose, spare, 1, "0");
    }
    end
}

fn record(reading: &mut Reading<'_>, whose: &str, at: usize, word: u64) {
    let (owner, phase) = (word & 0x3FFF, word >> 14 & 7);
    let here = place(whose, at);
    match phase {
        1 | 4 if owner == u64::from(LEASEHOLDER) => {
            reading
                .report
                .remark(format!("{whose} was not finished: it is closed by who joins next"));
        }
        1 | 4 if !reading.person(owner).is_some_and(|person| person.may_hold()) => {
            let expected = "an owner that lives, or is to be swept";
            reading.report.fault("record word", here, format!("owner {owner}"), expected);
        }
        1 | 4 => {}
        2 | 3 if owner != 0 => {
            reading.report.fault("record word", here, format!("owner {owner}"), "owner 0");
        }
        2 => fields(reading, whose, at),
        3 => {}
        _ => {
            let expected = "WRITING, DONE, VOID or STUCK";
            reading.report.fault("record word", here, format!("phase {phase}"), expected);
        }
    }
}

fn fields(reading: &mut Reading<'_>, whose: &str, at: usize) {
    let field = |n: usize| at + offset_of!(JournalRecord, fields) + 8 * n;
    let (event, incarnation) = (reading.word(field(0)), reading.word(field(1)));
    let (kind, id, channel) = (event & 0xFFFF, event >> 16 & 0xFFFF, event >> 32);
    let here = place(whose, field(0));
    if !(1..=3).contains(&kind) {
        let expected = "1 joined, 2 left or 3 died";
        reading.report.fault("event", here, format!("kind {kind}"), expected);
        return;
    }
    let Some(person) = reading.person(id) else {
        let most = reading.people.len();
        let expected = format!("less than {most}");
        reading.report.fault("event", here, format!("participant {id}"), expected);
        return;
    };
    let channels = u64::from(reading.mapped.plan.map.channels);
    if channel > channels || kind != 3 && channel != 0 {
        let most = if kind == 3 { channels } else { 0 };
        let expected = format!("{most} at most");
        reading.report.fault("event", here, format!("channel {channel}"), expected);
    }
    let lives = person.incarnation();
    if !(1..=lives).contains(&incarnation) {
        let expected = format!("1 to {lives}, the lives that slot {id} has had");
        reading.report.fault("incarnation", place(whose, field(1)), incarnation, expected);
    }
    if kind != 3 {
        reading.zero("record", whose, field(7), 7, "0: nobody has died");
    }
}
