//! The document's worked example: a whole segment after a short history, word
//! for word, as `tests/format/worked.txt` has it.
//!
//! The text for each word comes from the document: its name from the tables with the
//! column *offset*, the meaning of its bits from those with the column *bits*. To create
//! the file anew: `TOMBOLO_WORKED_EXAMPLE=write cargo test --test format worked`.

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write as _;
use std::fs;

use tombolo::sys::proc;
use tombolo::sys::sem::Set;
use tombolo::{Segment, Sender};

use super::{Block, Document, Kind, Memory, Parts, check, digits, key};
use crate::common::{Brief, Name, Peer};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/format/worked.txt");
const PARTICIPANTS: usize = 3;
const CHANNELS: usize = 4;

const HEAD: &str = "\
# A whole segment, word for word: the worked example of docs/format.md.
#
# offset  bytes                    what it is
#
# Words that are not listed are zero. Numbers that differ from run to run are
# replaced: nonce, generation, set, name, process ids, times, pid namespaces and
# user ids. 1000 is this process, participant 0; 1001 is the one that is killed.
";

/// Process 1000 creates the segment, sends and receives; process 1001 joins and
/// is killed with messages in its hands; it is swept; somebody joins and leaves.
/// Process 1000 still has a sender of `jobs`.
fn history(name: &str) -> (Segment, Sender<u64>) {
    let options = Segment::options().size(8_192).participants(PARTICIPANTS as u16);
    let segment = options.channels(CHANNELS as u16).create(name).unwrap();
    {
        let ticks = segment.channel::<u64>("ticks").capacity(4).spsc();
        let (tx, rx) = (ticks.sender().unwrap(), ticks.receiver().unwrap());
        (0x11..0x17).for_each(|n| {
            tx.send(n).unwrap();
            // Two stay.
            if n < 0x15 {
                rx.recv().unwrap();
            }
        });
    }
    let jobs = segment.channel::<u64>("jobs").capacity(4).redeliver(8);
    let tx = jobs.sender().unwrap();
    (0x21..0x24).for_each(|n| tx.send(n).unwrap());
    assert_eq!(jobs.receiver().unwrap().recv().unwrap(), 0x21);
    {
        // 9 units: 2, 3 and 3, then one of padding and 2.
        let log = segment.bytes("log").capacity(2, 12).spsc();
        let (tx, rx) = (log.sender().unwrap(), log.receiver().unwrap());
        for (message, taken) in
            [("hello", true), ("twelve bytes", true), ("and 12 more.", false), ("again", false)]
        {
            tx.send(message.as_bytes()).unwrap();
            if taken {
                rx.recv(&mut Vec::new()).unwrap();
            }
        }
    }
    let mail = segment.bytes("mail").capacity(2, 120).redeliver(0);
    let letters = mail.sender().unwrap();
    letters.send(&[b'a'; 113]).unwrap();
    letters.send(b"second").unwrap();
    drop(letters);
    let victim = Peer::start("worked", &[&name]);
    victim.expect("holding");
    victim.kill();
    victim.finish();
    assert!(segment.sweep().unwrap());
    drop(Segment::open(name).unwrap());
    (segment, tx)
}

/// The one that is killed: it has taken 0x22 of `jobs` and the long one of `mail`, which
/// is not delivered again, and is writing the fourth of `jobs`.
#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    let segment = Segment::open(brief.text(0)).unwrap();
    let jobs = segment.channel::<u64>("jobs");
    let (mut tx, mut rx) = (jobs.sender().unwrap(), jobs.receiver().unwrap());
    let mut mail = segment.bytes("mail").receiver().unwrap();
    let _held = (rx.take().unwrap(), tx.reserve().unwrap(), mail.take().unwrap());
    brief.say("holding");
    brief.hear();
}

/// Where each word is, and what it is called.
#[derive(Default)]
struct Places(BTreeMap<usize, Place>);

struct Place {
    /// Of what it is a field, as the document calls that; a heading.
    of: String,
    field: String,
    /// The heading of the table of its bits, if it has parts.
    bits: Option<&'static str>,
}

/// The words that have parts, by the field.
const PARTS: [(&str, &str); 15] = [
    ("gate", "Gate word"),
    ("end", "End word"),
    ("event", "Event word"),
    ("items waiting", "Waiting word"),
    ("space waiting", "Waiting word"),
    ("slots waiting", "Waiting word"),
    ("producer", "Holder word"),
    ("consumer", "Holder word"),
    ("taker", "Holder word"),
    ("endpoints", "Endpoints word"),
    ("items record", "Waiters record"),
    ("space record", "Waiters record"),
    ("slots record", "Waiters record"),
    ("label", "Label"),
    ("participant word", "Participant word"),
];

impl Places {
    fn put(&mut self, at: usize, of: &str, field: &str, bits: Option<&'static str>) {
        let bits =
            bits.or_else(|| PARTS.iter().find(|(of, _)| *of == field).map(|(_, bits)| *bits));
        self.0.insert(at, Place { of: of.to_owned(), field: field.to_owned(), bits });
    }

    /// All fields of a table of the document, from `base` on.
    fn table(&mut self, document: &Document, table: &str, base: usize, of: &str) {
        for ((in_, field), ranges) in &document.bytes {
            if in_ != table {
                continue;
            }
            for at in ranges.iter().flat_map(|range| range.clone().step_by(8)) {
                let bits = (table == "Journal record" && field == "word").then_some("Journal word");
                self.put(base + at, of, field, bits);
            }
        }
    }
}

/// The numbers that differ from run to run, as the file shows them.
fn normal(field: &str, record: u64, value: u64) -> u64 {
    match field {
        _ if value == 0 && !matches!(field, "uid" | "set") => 0,
        "nonce" => 0x0123_4567_89AB_CDEF,
        "generation" => GENERATION,
        "set" => 7,
        "pid" if value == u64::from(proc::pid()) => 1_000,
        "pid" => 1_001,
        "start time" if Some(value) == proc::start_time(proc::pid()) => 2_000,
        "start time" => 2_001,
        "pid namespace" => 4_026_531_836,
        "uid" => 1_000,
        "time" => 1_000_000_000 * (record + 1),
        _ => value,
    }
}

/// That of section 16.
const GENERATION: u64 = 0x01_2345_6789_ABCD;

const RINGS: [(&str, Kind, usize, usize, usize); CHANNELS] = [
    ("ticks", Kind::Spsc, 4, 8, 8),
    ("jobs", Kind::Mpmc, 4, 8, 8),
    ("log", Kind::SpscBytes, 2, 12, 1),
    ("mail", Kind::MpmcBytes, 2, 120, 1),
];

fn places(document: &Document, memory: &Memory, parts: &Parts) -> Places {
    let mut places = Places::default();
    places.table(document, "Header", 0, "Header");
    for i in 0..PARTICIPANTS {
        places.put(512 + 8 * i, "Participants' words", "participant word", None);
        places.table(document, "Info", parts.infos + 128 * i, &format!("Info of participant {i}"));
    }
    for r in 0..128 {
        places.table(
            document,
            "Journal record",
            parts.journal + 128 * r,
            &format!("Journal, record {r}"),
        );
    }
    let mut base = parts.heap;
    for (c, (name, kind, capacity, size, alignment)) in RINGS.into_iter().enumerate() {
        places.table(
            document,
            "Entry",
            parts.directory + 512 * c,
            &format!("Directory, entry {c}"),
        );
        let block = Block::new(kind, capacity, size, alignment, PARTICIPANTS);
        let of = |part: &str| format!("Block of {name}, {part}");
        places.table(document, "Control", base, &of("control"));
        for i in 0..PARTICIPANTS {
            let row = of(&format!("row of participant {i}"));
            places.table(document, "Row", base + 1_024 + 64 * i, &row);
        }
        let slots = base + block.slots;
        for n in 0..block.units {
            let at = slots + block.stride * n;
            match kind {
                Kind::Spsc => places.put(at, &of("slots"), "element", None),
                Kind::SpscBytes => places.put(at, &of("units"), "bytes", None),
                Kind::Mpmc => {
                    places.put(at, &of("slots"), "word", Some("Slot word"));
                    places.put(at + block.element, &of("slots"), "element", None);
                }
                Kind::MpmcBytes => {
                    places.put(at, &of("slots"), "word", Some("Slot word"));
                    places.put(at + 8, &of("slots"), "label", None);
                    for byte in (block.element..block.stride).step_by(8) {
                        places.put(at + byte, &of("slots"), "bytes", None);
                    }
                    let word = base + block.words + 8 * n;
                    places.put(
                        word,
                        &of("message blocks' words"),
                        "word",
                        Some("Message block word"),
                    );
                    for byte in (0..block.apart).step_by(8) {
                        let at = base + block.blocks + block.apart * n + byte;
                        places.put(at, &of(&format!("message block {n}")), "bytes", None);
                    }
                }
                _ => unreachable!("none is in the example"),
            }
        }
        if kind == Kind::SpscBytes {
            // The headers of what is in the ring.
            let units = block.units as u64;
            let (mut at, tail) = (memory.word(base + 384), memory.word(base + 256));
            while at < tail {
                let unit = slots + 8 * (at % units) as usize;
                places.put(unit, &of("units"), "header", Some("Record header"));
                let header = memory.word(unit);
                let length = header & 0xFFFF_FFFF;
                at += if header >> 32 == 2 { length } else { 1 + length.div_ceil(8) };
            }
        }
        base += block.end;
    }
    places
}

fn dump(segment: &Segment, name: &str) -> String {
    let (document, memory) = (Document::read(), Memory::of(segment));
    let parts = Parts::new(PARTICIPANTS, CHANNELS);
    assert_eq!(segment.size(), parts.size(8_192));
    let places = places(&document, &memory, &parts);
    let mut text = HEAD.to_owned();
    let mut heading = String::new();
    for at in (0..segment.size() / 8 * 8).step_by(8) {
        let mut word = memory.word(at);
        if (128..256).contains(&at) {
            let mut market = [0; 128];
            market[0] = 6;
            market[8..14].copy_from_slice(b"market");
            word = u64::from_le_bytes(market[at - 128..at - 120].try_into().unwrap());
        }
        let Some(place) = places.0.get(&at) else {
            assert_eq!(word, 0, "what is at {at}?");
            continue;
        };
        let record = (at.saturating_sub(parts.journal) / 128) as u64;
        // A user id may be 0: it is shown wherever a process is. So may a set's number.
        let shown_if_zero = match &*place.field {
            "uid" => memory.word(at / 128 * 128) != 0,
            "set" => true,
            _ => false,
        };
        if word != 0 || shown_if_zero {
            word = normal(&place.field, record, word);
        }
        if word == 0 {
            continue;
        }
        if heading != place.of {
            heading.clone_from(&place.of);
            writeln!(text, "\n# {heading}").unwrap();
        }
        let bytes = word.to_le_bytes().map(|byte| format!("{byte:02x}")).join(" ");
        let said = said(&document, place, word);
        writeln!(text, "{at:06}  {bytes}  {}: {said}", place.field).unwrap();
    }
    semaphores(&mut text, name);
    text
}

/// The meaning of a word.
fn said(document: &Document, place: &Place, word: u64) -> String {
    if let Some(bits) = place.bits {
        let mut fields: Vec<_> = document.bits.iter().filter(|((of, _), _)| of == bits).collect();
        fields.sort_by_key(|(_, ends)| *ends);
        let fields = fields
            .into_iter()
            .rev()
            .map(|((_, field), _)| format!("{field} {}", document.bits_of(bits, word, field)));
        return fields.collect::<Vec<_>>().join(", ");
    }
    let bytes = word.to_le_bytes();
    let length = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    let texts = ["magic", "name", "schema", "bytes"];
    match str::from_utf8(&bytes[..length]) {
        Ok(text) if texts.contains(&&*place.field) => format!("{text:?}"),
        _ if word > u64::from(u32::MAX) => format!("{word:#018x}"),
        _ => word.to_string(),
    }
}

fn semaphores(text: &mut String, name: &str) {
    let set = Set::open(key(name, 0)).unwrap();
    let mut values = vec![0; set.stat().unwrap().count];
    set.values(&mut values).unwrap();
    for (value, digit) in values[2..6].iter_mut().zip(digits(GENERATION)) {
        *value = digit as u16;
    }
    values[6] = check(GENERATION) as u16;
    writeln!(text, "\n# The {} semaphores; those that are not listed are 0", values.len()).unwrap();
    for (number, value) in values.into_iter().enumerate().filter(|(_, value)| *value != 0) {
        let (live, semaphores) = (8..8 + PARTICIPANTS, 8 + PARTICIPANTS);
        let what = match number {
            0 => "LEASE".to_owned(),
            1 => "BUILT".to_owned(),
            2..6 => "GENERATION".to_owned(),
            6 => "CHECK".to_owned(),
            7 => "WAKE_ALL".to_owned(),
            _ if live.contains(&number) => format!("LIVE({})", number - 8),
            _ if (number - semaphores).is_multiple_of(2) => {
                format!("ITEMS({})", (number - semaphores) / 2)
            }
            _ => format!("SPACE({})", (number - semaphores) / 2),
        };
        writeln!(text, "{number:06}  {what}: {value}").unwrap();
    }
}

#[test]
fn the_worked_example_is_what_the_library_makes() {
    let name = Name::new();
    let (segment, jobs) = history(&name);
    let made = dump(&segment, &name);
    if env::var("TOMBOLO_WORKED_EXAMPLE").is_ok_and(|what| what == "write") {
        fs::write(FILE, &made).unwrap();
    }
    let kept = fs::read_to_string(FILE).unwrap();
    for (kept, made) in kept.lines().zip(made.lines()) {
        assert_eq!(made, kept, "see the head of tests/format/fields/worked.rs if that is meant");
    }
    assert_eq!(made.lines().count(), kept.lines().count());
    // And it is sound.
    let audit = Segment::check(&name).unwrap();
    assert!(audit.is_sound(), "{:#?}", audit.faults);
    drop(jobs);
}
