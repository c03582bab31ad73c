//! `docs/format.md` against the bytes: this test reads every row of its tables of fields where
//! the document says, in segments that the library has created.
//!
//! The layout is private to the crate, so the test looks from outside, as a client would:
//! it attaches the memory for reading, and knows the places from the document alone. It
//! fails for a row that it does not check, and for a check without a row.

#![allow(unsafe_code)]

mod stage;
mod worked;

use crate::common;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use tombolo::sys::msg::Queue;
use tombolo::sys::sem::{Op, Set};
use tombolo::sys::shm::{AttachOptions, Attachment, Shm};
use tombolo::sys::{Key, proc};
use tombolo::{OpenError, Segment, WaitSet};

use common::{
    Brief, MAGIC, Name, Peer, SIGNATURE, Words, key_of, parked, thread_parked, tid, wait_until,
    word,
};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/format.md");

// The document's tables.

type Row = (String, String);

/// The document, and which of its rows have been checked.
#[derive(Debug, Default)]
struct Document {
    /// The sizes of everything.
    sizes: BTreeMap<String, usize>,
    /// Bytes of a field, by what it is in and its name.
    bytes: BTreeMap<Row, Vec<Range<usize>>>,
    /// Bits of a field, both ends included.
    bits: BTreeMap<Row, (u32, u32)>,
    /// Numbers of semaphores, by name, as they are written.
    semaphores: BTreeMap<String, String>,
    numbers: BTreeMap<String, String>,
    checked: BTreeSet<Row>,
}

impl Document {
    fn read() -> Document {
        let mut document = Document::default();
        let (mut of, mut table) = (String::new(), Vec::new());
        for line in fs::read_to_string(FILE).unwrap().lines() {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            if !line.starts_with('|') {
                table.clear();
                if let (true, [.., name, _]) = (line.ends_with(':'), &*split(line, "**")) {
                    of = (*name).to_owned();
                    if let Some(size) = line.strip_suffix(" bytes:").and_then(last_number) {
                        document.sizes.insert(of.clone(), size);
                    }
                }
            } else if table.is_empty() {
                table = cells.iter().map(|cell| (*cell).to_owned()).collect();
            } else if !cells[0].starts_with("---") {
                let table: Vec<&str> = table.iter().map(String::as_str).collect();
                document.row(&of, &table, &cells);
            }
        }
        document
    }

    fn row(&mut self, of: &str, table: &[&str], cells: &[&str]) {
        let row = |field: &str| (of.to_owned(), field.to_owned());
        let twice = match (table, cells) {
            (["offset", "size", "field", ..], [offset, size, field, ..]) => {
                let (offset, size): (usize, usize) = (number(offset), number(size));
                let ranges = self.bytes.entry(row(field)).or_default();
                ranges.push(offset..offset + size);
                *field != "reserved" && ranges.len() > 1
            }
            (["bits", "field", ..], [bits, field, ..]) => {
                let ends: Vec<u32> = bits.split('–').map(number).collect();
                let (low, high) = (ends[0], *ends.last().unwrap());
                self.bits.insert(row(field), (low, high)).is_some()
            }
            (["number", "name", ..], [number, name, ..]) => {
                *name != "reserved"
                    && self.semaphores.insert((*name).into(), (*number).into()).is_some()
            }
            (["what", "number"], [what, number]) => {
                self.numbers.insert((*what).into(), (*number).into()).is_some()
            }
            _ => false,
        };
        assert!(!twice, "{of}: {cells:?} is there twice");
    }

    fn field(&self, of: &str, field: &str) -> Range<usize> {
        let found = self.bytes.get(&(of.to_owned(), field.to_owned()));
        found.unwrap_or_else(|| panic!("the document has no {of}, {field}"))[0].clone()
    }

    /// A field's value, at `base` of the memory.
    fn get(&self, memory: &Memory, of: &str, base: usize, field: &str) -> u64 {
        let range = self.field(of, field);
        assert_eq!(range.len(), 8, "{of}, {field}");
        memory.word(base + range.start)
    }

    /// Holds fields against what they must be. One counts as checked once it
    /// has been there with a value that is not zero.
    #[track_caller]
    fn fields(&mut self, memory: &Memory, of: &str, base: usize, values: &[(&str, u64)]) {
        for &(field, value) in values {
            assert_eq!(self.get(memory, of, base, field), value, "{of}, {field}");
            if value != 0 {
                self.check(of, field);
            }
        }
    }

    #[track_caller]
    fn text(&mut self, memory: &Memory, of: &str, base: usize, field: &str, text: &str) {
        let range = self.field(of, field);
        let mut padded = text.as_bytes().to_vec();
        padded.resize(range.len(), 0);
        assert_eq!(memory.bytes(base + range.start, range.len()), padded, "{of}, {field}");
        self.fields(memory, of, base, &[(&format!("{field} length"), text.len() as u64)]);
        self.check(of, field);
    }

    /// That what is reserved is zero.
    #[track_caller]
    fn reserved(&mut self, memory: &Memory, of: &str, base: usize) {
        for range in &self.bytes[&(of.to_owned(), "reserved".to_owned())] {
            let bytes = memory.bytes(base + range.start, range.len());
            assert!(bytes.iter().all(|&byte| byte == 0), "{of}, reserved {range:?}");
        }
        self.check(of, "reserved");
    }

    /// Holds all fields of a word against what they must be.
    #[track_caller]
    fn word(&mut self, of: &str, word: u64, values: &[(&str, u64)]) {
        let documented = self.bits.keys().filter(|(in_, _)| in_ == of).count();
        assert_eq!(documented, values.len(), "{of}: fields");
        for &(field, value) in values {
            assert_eq!(self.bits_of(of, word, field), value, "{of} {word:#x}, {field}");
            if value != 0 {
                self.check(of, field);
            }
        }
    }

    fn bits_of(&self, of: &str, word: u64, field: &str) -> u64 {
        let (low, high) = self.bits[&(of.to_owned(), field.to_owned())];
        word << (63 - high) >> (63 - high) >> low
    }

    /// A word of these fields.
    fn pack(&self, of: &str, values: &[(&str, u64)]) -> u64 {
        values
            .iter()
            .map(|(field, value)| value << self.bits[&(of.into(), (*field).into())].0)
            .sum()
    }

    fn check(&mut self, of: &str, field: &str) {
        self.checked.insert((of.to_owned(), field.to_owned()));
    }

    /// The number of a semaphore: `8 + P + 2c + 1` with what is known.
    fn semaphore(&mut self, name: &str, known: &[(&str, usize)]) -> u16 {
        let written = self.semaphores.get(name).unwrap_or_else(|| panic!("no semaphore {name}"));
        let written = written.split(" … ").next().unwrap();
        let term = |term: &str| {
            let name = term.trim_start_matches(|c: char| c.is_ascii_digit());
            let factor = &term[..term.len() - name.len()];
            let factor = if factor.is_empty() { 1 } else { number::<usize>(factor) };
            let value = known.iter().find(|(known, _)| *known == name).map(|(_, value)| value);
            factor * if name.is_empty() { 1 } else { *value.unwrap() }
        };
        let sum: usize = written.split(" + ").map(term).sum();
        self.check("semaphores", name);
        u16::try_from(sum).unwrap()
    }
}

fn split<'a>(line: &'a str, by: &str) -> Vec<&'a str> {
    line.split(by).collect()
}

fn last_number(text: &str) -> Option<usize> {
    text.rsplit(' ').next()?.replace(',', "").parse().ok()
}

#[track_caller]
fn number<N: std::str::FromStr>(text: &str) -> N {
    text.replace(',', "").parse().unwrap_or_else(|_| panic!("{text:?} is no number"))
}

// The memory, as it is.

/// A segment, attached for reading.
struct Memory(Attachment);

impl Memory {
    fn of(segment: &Segment) -> Memory {
        let options = AttachOptions { read_only: true, ..AttachOptions::default() };
        Memory(Shm::from_id(segment.id()).attach_with(options).unwrap())
    }

    #[track_caller]
    fn word(&self, at: usize) -> u64 {
        assert!(at.is_multiple_of(8) && at + 8 <= self.0.len(), "{at}");
        // SAFETY: in bounds, just checked.
        let word = unsafe { self.0.as_ptr().add(at).cast::<AtomicU64>() };
        // SAFETY: aligned, as the attachment is to a page; mapped as long as
        // `self`, and only ever loaded from here.
        unsafe { &*word }.load(Ordering::SeqCst)
    }

    fn bytes(&self, at: usize, length: usize) -> Vec<u8> {
        let words =
            (at / 8..(at + length).div_ceil(8)).flat_map(|n| self.word(8 * n).to_le_bytes());
        words.skip(at % 8).take(length).collect()
    }
}

// The document's formulas.

fn up(n: usize, m: usize) -> usize {
    n.div_ceil(m) * m
}

fn fnv(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(0xCBF2_9CE4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    })
}

fn key(name: &str, probe: u8) -> Key {
    let hash = fnv(b"tombolo:".iter().chain(name.as_bytes()).chain(&[probe]).copied());
    Key::new(i32::try_from(((hash >> 32 ^ hash) & 0x7FFF_FFFF).max(1)).unwrap())
}

fn fingerprint(schema: &str, size: u64, alignment: u64) -> u64 {
    let numbers = size.to_le_bytes().into_iter().chain(alignment.to_le_bytes());
    fnv(schema.bytes().chain([0]).chain(numbers))
}

fn digits(generation: u64) -> [u64; 4] {
    [0, 1, 2, 3].map(|k| 1 + (generation >> (14 * k) & 0x3FFF))
}

fn check(generation: u64) -> u64 {
    1 + (generation.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 50)
}

/// Where the parts of a segment are.
struct Parts {
    infos: usize,
    journal: usize,
    directory: usize,
    heap: usize,
    participants: usize,
    semaphores: usize,
}

impl Parts {
    fn new(participants: usize, channels: usize) -> Parts {
        let infos = up(512 + 8 * participants, 128);
        let journal = up(infos + 128 * participants, 128);
        let directory = journal + 128 * 128;
        let heap = up(directory + 512 * channels, 4096);
        let used = 8 + 2 * participants + 2 * channels;
        let semaphores = used + (29 - used % 16) % 16;
        Parts { infos, journal, directory, heap, participants, semaphores }
    }

    fn size(&self, bytes: usize) -> usize {
        up(self.heap + bytes, 4096) + 1803
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Spsc = 1,
    Mpmc,
    SpscBytes,
    MpmcBytes,
    Broadcast,
    BroadcastBytes,
    Calls,
    CallsBytes,
}

/// How many publishers and reliable subscribers a broadcast channel has by default.
const SEATS: (usize, usize) = (8, 16);

/// Where the parts of a block are, from its start.
struct Block {
    slots: usize,
    element: usize,
    stride: usize,
    units: usize,
    words: usize,
    blocks: usize,
    apart: usize,
    end: usize,
}

impl Block {
    fn new(
        kind: Kind,
        capacity: usize,
        size: usize,
        alignment: usize,
        participants: usize,
    ) -> Block {
        Self::replied_to(kind, capacity, (size, alignment), (0, 1), participants)
    }

    /// With replies of this size and alignment.
    fn replied_to(
        kind: Kind,
        capacity: usize,
        (size, alignment): (usize, usize),
        reply: (usize, usize),
        participants: usize,
    ) -> Block {
        let (element, stride, units) = match kind {
            Kind::Calls | Kind::CallsBytes => {
                let head = if kind == Kind::Calls { 8 } else { 24 };
                let request = up(head, alignment.max(8));
                (request, up(up(request + size, reply.1.max(8)) + reply.0, 128), capacity)
            }
            Kind::Spsc => (0, up(size, alignment), capacity),
            Kind::Mpmc if alignment <= 8 => (8, up(8 + size, 8), capacity),
            Kind::Mpmc => (alignment, up(alignment + size, alignment), capacity),
            Kind::SpscBytes => (8, 8, (capacity + 1) * (1 + up(size, 8) / 8)),
            Kind::MpmcBytes => (16, 16 + up(size.min(112), 8), capacity),
            Kind::Broadcast | Kind::BroadcastBytes => {
                (0, 8, capacity + 2 * (capacity / 8).max(capacity.min(8)))
            }
        };
        let slots = up(1_024 + 64 * participants, 128);
        let words = up(slots + stride * units, 128);
        let (blocks, apart, end) = match kind {
            Kind::MpmcBytes => {
                let blocks = up(words + 8 * capacity, 128);
                let apart = up(size.max(1), 128);
                (blocks, apart, up(blocks + apart * capacity, 128))
            }
            Kind::Broadcast | Kind::BroadcastBytes => {
                let (publishers, reliable) = SEATS;
                let buffers = words + 128 * (publishers + reliable);
                let apart = match kind {
                    Kind::Broadcast => up(size, alignment.max(8)),
                    _ => up(8 + size, 8),
                };
                (buffers, apart, up(buffers + apart * (units + publishers), 128))
            }
            Kind::Calls | Kind::CallsBytes => (words, 0, words + 128 * capacity.div_ceil(64)),
            _ => (words, 0, words),
        };
        Block { slots, element, stride, units, words, blocks, apart, end }
    }
}

#[test]
fn every_field_has_its_place_and_none_overlap() {
    let document = Document::read();
    assert_eq!(document.sizes.len(), 10, "{:?}", document.sizes);
    for (of, &size) in &document.sizes {
        let mut ranges: Vec<_> =
            document.bytes.iter().filter(|((in_, _), _)| in_ == of).flat_map(|(_, r)| r).collect();
        ranges.sort_by_key(|range| range.start);
        let mut end = 0;
        for range in ranges {
            assert_eq!((range.start, range.start % 8, range.len() % 8), (end, 0, 0), "{of}");
            end = range.end;
        }
        assert_eq!(end, size, "{of}");
    }
    let words: BTreeSet<&String> = document.bits.keys().map(|(of, _)| of).collect();
    assert_eq!(words.len(), 16, "{words:?}");
    for of in words {
        let mut bits: Vec<_> =
            document.bits.iter().filter(|((in_, _), _)| in_ == of).map(|(_, bits)| bits).collect();
        bits.sort();
        let mut next = 0;
        for &&(low, high) in &bits {
            assert!(low == next && high >= low, "{of}: {bits:?}");
            next = high + 1;
        }
        assert_eq!(next, 64, "{of}");
    }
}

#[test]
fn the_numbers_to_test_against_are_right() {
    let document = Document::read();
    let (parts, keys) = (Parts::new(64, 16), (0..8).map(|n| key("market", n).raw()));
    let keys = keys.fold(String::new(), |mut keys, key| {
        write!(keys, "{}`{key:08X}`", if keys.is_empty() { "" } else { " " }).unwrap();
        keys
    });
    let generation = 0x01_2345_6789_ABCD;
    let [a, b, c, d] = digits(generation);
    let commas = |n: usize| {
        let digits = n.to_string();
        let grouped = digits.as_bytes().rchunks(3).rev();
        grouped.map(|three| str::from_utf8(three).unwrap()).collect::<Vec<_>>().join(",")
    };
    let list =
        |numbers: &[usize]| numbers.iter().map(|&n| commas(n)).collect::<Vec<_>>().join(", ");
    let hex = |n: u64| format!("`{n:016X}`");
    let block = |kind, capacity, size, alignment| Block::new(kind, capacity, size, alignment, 64);
    let (three, wide) = (block(Kind::Mpmc, 5, 3, 1), block(Kind::Mpmc, 5, 32, 16));
    let (records, blocks) = (block(Kind::SpscBytes, 5, 100, 1), block(Kind::MpmcBytes, 5, 100, 1));
    let pack = |of, values: &[(&str, u64)]| hex(document.pack(of, values));
    let right = [
        ("keys of `market`, probes 0 … 7", keys),
        ("fingerprint of (`u64`, 8, 8)", hex(fingerprint("u64", 8, 8))),
        ("fingerprint of (`bytes`, 100, 1)", hex(fingerprint("bytes", 100, 1))),
        (
            "generation `0123456789ABCD`",
            format!("digits {a}, {b}, {c}, {d}; check {}", check(generation)),
        ),
        (
            "P = 64, C = 16: infos, journal, directory, heap",
            list(&[parts.infos, parts.journal, parts.directory, parts.heap]),
        ),
        ("… semaphores, with OWN_BELLS", list(&[parts.semaphores])),
        ("… size with 64 MiB", list(&[parts.size(64 << 20)])),
        (
            "… ITEMS(0), SPACE(0), ITEMS(1), OWN(0)",
            list(&[8 + 64, 8 + 64 + 1, 8 + 64 + 2, 8 + 64 + 32]),
        ),
        ("… slots of a block", format!("at {}", commas(three.slots))),
        ("MPMC, 3 bytes at alignment 1: element, stride", list(&[three.element, three.stride])),
        ("MPMC, 32 bytes at alignment 16: element, stride", list(&[wide.element, wide.stride])),
        (
            "SPSC bytes, 5 of 100 bytes: units; end of the block, P = 64",
            format!("{}; {}", records.units, commas(records.end)),
        ),
        (
            "MPMC bytes, 5 of 100 bytes, P = 64: words, message blocks, end",
            list(&[blocks.words, blocks.blocks, blocks.end]),
        ),
        (
            "slot word (lap 2, attempts 1, READING, owner 5)",
            pack("Slot word", &[("lap", 2), ("attempts", 1), ("phase", 3), ("owner", 5)]),
        ),
        (
            "record headers: message of 100 bytes; padding of 3 units",
            format!(
                "{}; {}",
                pack("Record header", &[("length", 100), ("what", 1)]),
                pack("Record header", &[("length", 3), ("what", 2)])
            ),
        ),
        ("label of 100 bytes in message block 3", pack("Label", &[("block", 3), ("length", 100)])),
        (
            "message block word (version 2, held, owner 5)",
            pack("Message block word", &[("version", 2), ("held", 1), ("owner", 5)]),
        ),
        (
            "journal word (position 300, WRITING, owner 5)",
            pack("Journal word", &[("position", 300), ("phase", 1), ("owner", 5)]),
        ),
        (
            "end word (3 deaths, ended, position 300)",
            pack("End word", &[("deaths", 3), ("ended", 1), ("which", 300)]),
        ),
    ];
    let right: BTreeMap<String, String> =
        right.into_iter().map(|(what, number)| (what.to_owned(), number)).collect();
    assert_eq!(document.numbers, right);
}

// And some of it once more, by hand, without the document.

const KEYS: [i32; 3] = [0x5091_74CE, 0x5091_771D, 0x7261_9316];

#[test]
fn a_name_hashes_to_the_same_keys_for_ever() {
    // Computed by hand, in another language.
    assert_eq!(key_of("market", 0).raw(), KEYS[0]);
    assert_eq!(key_of("market", 1).raw(), KEYS[1]);
    assert_eq!(key_of("team/market:2", 7).raw(), KEYS[2]);
    let name = Name::new();
    let segment = Segment::create(&name).unwrap();
    assert_eq!(name.shm(0).unwrap().id(), segment.id());
}

#[test]
fn sizes_carry_a_signature() {
    for (bytes, participants, channels) in [(0, 1, 1), (20_000, 4, 2), (1 << 20, 300, 40)] {
        let name = Name::new();
        let options = Segment::options().size(bytes).participants(participants).channels(channels);
        let segment = options.create(&name).unwrap();
        assert_eq!(segment.size() % 4_096, SIGNATURE);
        let count = name.set(0).unwrap().stat().unwrap().count;
        assert_eq!(count % 16, 13);
        let used = 8 + 2 * (usize::from(participants) + usize::from(channels));
        assert!((used..used + 16).contains(&count), "{count} for {used}");
    }
}

#[test]
fn the_header_says_who_it_is() {
    let name = Name::new();
    let segment = Segment::options().participants(5).channels(3).create(&name).unwrap();
    let words = Words::behind(&segment);
    assert_eq!(words.get(word::MAGIC), MAGIC);
    assert_eq!(words.get(word::VERSION), 2);
    assert_eq!(words.get(3), segment.size() as u64);
    assert_ne!(words.get(word::NONCE), 0);
    let set = name.set(0).unwrap();
    assert_eq!(words.get(word::SET), u64::from(set.id().unsigned_abs()));
    assert_eq!((words.get(word::PARTICIPANTS), words.get(word::CHANNELS)), (5, 3));
    // The name: its length, then its bytes, from byte 128 on.
    assert_eq!(words.get(16), name.len() as u64);
    let bytes: Vec<u8> = (17..32).flat_map(|n| words.get(n).to_le_bytes()).collect();
    assert_eq!(&bytes[..name.len()], name.as_bytes());
    assert!(bytes[name.len()..].iter().all(|&byte| byte == 0));
}

#[test]
fn the_set_spells_the_generation_and_counts_the_living() {
    let name = Name::new();
    let segment = Segment::options().participants(5).channels(1).create(&name).unwrap();
    let generation = Words::behind(&segment).get(4);
    let set = name.set(0).unwrap();
    let value = |index| u64::from(set.value(index).unwrap());
    // Lease, and the mark of a set that was finished.
    assert_eq!((value(0), value(1)), (0, 1));
    for digit in 0..4 {
        assert_eq!(value(2 + digit), 1 + (generation >> (14 * digit) & 0x3FFF));
    }
    assert_eq!(value(6), 1 + (generation.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 50));
    assert_eq!(value(7), 1);
    assert_eq!((value(8), value(9)), (1, 0));
    let second = Segment::open(&name).unwrap();
    assert_eq!(value(7), 2);
    assert_eq!((value(8), value(9)), (1, 1));
    assert_eq!(set.last_pid(9).unwrap().unsigned_abs(), proc::pid());
    drop(segment);
    assert_eq!((value(7), value(8), value(9)), (3, 0, 1));
    drop(second);
    assert_eq!((value(7), value(8), value(9)), (4, 0, 0));
    // A channel's wake semaphores: all that leave it, leave a token at most.
    let segment = Segment::open(&name).unwrap();
    for _ in 0..50 {
        drop(segment.channel::<u64>("c").capacity(1).sender().unwrap());
        assert!(value(13) <= 1 && value(14) <= 1, "{} {}", value(13), value(14));
    }
}

#[test]
fn a_participant_says_who_it_is() {
    let name = Name::new();
    let segment = Segment::options().participants(5).channels(1).create(&name).unwrap();
    let words = Words::behind(&segment);
    // One word for each participant from byte 512 on: LIVE, in its first life.
    assert_eq!((words.get(64), words.get(65)), (1 << 32 | 1, 0));
    // Its name, on the next line of 128 bytes.
    let pid = u64::from(proc::pid());
    let said = [words.get(80), words.get(81), words.get(82), words.get(83)];
    let start = proc::start_time(proc::pid()).unwrap();
    let namespace = proc::pid_namespace().unwrap();
    assert_eq!(said, [pid, start, namespace, u64::from(proc::uid())]);
    drop(segment);
    // Free, after its first.
    assert_eq!(words.get(64), 1 << 32);
}

#[test]
fn elements_lie_side_by_side_or_behind_their_words() {
    let segment = Segment::options().size(8_192).participants(2).channels(2).anonymous().unwrap();
    let words = Words::behind(&segment);
    let one = segment.channel::<u64>("one").spsc().capacity(3);
    let many = segment.channel::<u64>("many").capacity(3);
    let (tx, tx2) = (one.sender().unwrap(), many.sender().unwrap());
    let place = |value: u64| {
        let found: Vec<usize> = (0..words.len()).filter(|&n| words.get(n) == value).collect();
        assert_eq!(found.len(), 1);
        found[0]
    };
    for n in 0..3 {
        tx.send(0xAAAA_0000_AAAA_0000 + n).unwrap();
        tx2.send(0xBBBB_0000_BBBB_0000 + n).unwrap();
    }
    let spsc: Vec<usize> = (0..3).map(|n| place(0xAAAA_0000_AAAA_0000 + n)).collect();
    let mpmc: Vec<usize> = (0..3).map(|n| place(0xBBBB_0000_BBBB_0000 + n)).collect();
    assert_eq!(spsc, [spsc[0], spsc[0] + 1, spsc[0] + 2]);
    assert_eq!(mpmc, [mpmc[0], mpmc[0] + 2, mpmc[0] + 4]);
    assert_eq!((spsc[0] % 16, mpmc[0] % 16), (0, 1));
    // Before each: FULL, in lap 0, owned by nobody.
    for at in mpmc {
        assert_eq!(words.get(at - 1), 2 << 13);
    }
}
