//! `docs/format.md` against the bytes: this test reads every row of its tables of fields where
//! the document says, in segments that the library has created.
//!
//! The layout is private to the crate, so the test looks from outside, as a client would:
//! it attaches the memory for reading, and knows the places from the document alone. It
//! fails for a row that it does not check, and for a check without a row.

#![allow(unsafe_code)]

mod worked;

use crate::common;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use tombolo::sys::msg::Queue;
use tombolo::sys::sem::{Op, Set};
use tombolo::sys::shm::{AttachOptions, Attachment, Shm};
use tombolo::sys::{Key, proc};
use tombolo::{OpenError, Segment};

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
    /// What is how large.
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
        let used = 8 + participants + 2 * channels;
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
}

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
        let (element, stride, units) = match kind {
            Kind::Spsc => (0, up(size, alignment), capacity),
            Kind::Mpmc if alignment <= 8 => (8, up(8 + size, 8), capacity),
            Kind::Mpmc => (alignment, up(alignment + size, alignment), capacity),
            Kind::SpscBytes => (8, 8, (capacity + 1) * (1 + up(size, 8) / 8)),
            Kind::MpmcBytes => (0, 16, capacity),
        };
        let slots = up(1_024 + 64 * participants, 128);
        let words = up(slots + stride * units, 128);
        let (blocks, apart, end) = match kind {
            Kind::MpmcBytes => {
                let blocks = up(words + 8 * capacity, 128);
                let apart = up(size.max(1), 128);
                (blocks, apart, up(blocks + apart * capacity, 128))
            }
            _ => (words, 0, words),
        };
        Block { slots, element, stride, units, words, blocks, apart, end }
    }
}

#[test]
fn every_field_has_its_place_and_none_overlap() {
    let document = Document::read();
    assert_eq!(document.sizes.len(), 7, "{:?}", document.sizes);
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
    assert_eq!(words.len(), 13, "{words:?}");
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
        ("… semaphores", list(&[parts.semaphores])),
        ("… size with 64 MiB", list(&[parts.size(64 << 20)])),
        ("… ITEMS(0), SPACE(0), ITEMS(1)", list(&[8 + 64, 8 + 64 + 1, 8 + 64 + 2])),
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

const PARTICIPANTS: usize = 6;
const CHANNELS: usize = 7;
const BYTES: usize = 1 << 20;

/// A segment in which as many fields as possible are not zero: this process
/// is participant 1, in that slot's second life.
struct Stage {
    document: Document,
    memory: Memory,
    parts: Parts,
    name: Name,
    /// Participant 1.
    segment: Segment,
    /// Participants 0 and 2.
    _others: (Segment, Segment),
    blocks: Vec<(usize, Block)>,
}

#[test]
fn every_documented_field_is_found_where_it_says() {
    let mut stage = Stage::set();
    stage.header();
    stage.semaphores();
    stage.participants();
    stage.directory();
    stage.spsc();
    stage.mpmc();
    stage.packets();
    stage.parcels();
    stage.waiting();
    stage.deaths();
    let document = stage.remove();
    let rows: BTreeSet<Row> = document.bytes.keys().chain(document.bits.keys()).cloned().collect();
    let names = document.semaphores.keys().map(|name| ("semaphores".to_owned(), name.clone()));
    let rows: BTreeSet<Row> = rows.into_iter().chain(names).collect();
    let unchecked: Vec<&Row> = rows.difference(&document.checked).collect();
    assert!(unchecked.is_empty(), "nothing checks {unchecked:?}");
    let unknown: Vec<&Row> = document.checked.difference(&rows).collect();
    assert!(unknown.is_empty(), "the document has no {unknown:?}");
}

const READY: u64 = 1;
const LIVE: u64 = 1;
/// Phases of a slot.
const FREE: u64 = 0;
const WRITING: u64 = 1;
const FULL: u64 = 2;
const READING: u64 = 3;
const ORPHAN: u64 = 4;

type Wide = [u128; 2];

impl Stage {
    fn set() -> Stage {
        let name = Name::new();
        let options = Segment::options().size(BYTES);
        let options = options.participants(PARTICIPANTS as u16).channels(CHANNELS as u16);
        let zero = options.create(&name).unwrap();
        drop(Segment::open(&name).unwrap());
        let segment = Segment::open(&name).unwrap();
        let two = Segment::open(&name).unwrap();
        let (document, memory) = (Document::read(), Memory::of(&segment));
        let parts = Parts::new(PARTICIPANTS, CHANNELS);
        Stage { document, memory, parts, name, segment, _others: (zero, two), blocks: Vec::new() }
    }

    fn set_of_semaphores(&self) -> Set {
        Set::open(key(&self.name, 0)).unwrap()
    }

    fn header(&mut self) {
        let (document, memory) = (&mut self.document, &self.memory);
        // The key is in the kernel's own table.
        let table = fs::read_to_string("/proc/sysvipc/shm").unwrap();
        let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
        let row = rows.into_iter().find(|row| number::<i32>(row[1]) == self.segment.id()).unwrap();
        assert_eq!(number::<i32>(row[0]), key(&self.name, 0).raw());
        let size = self.parts.size(BYTES);
        assert_eq!((number::<usize>(row[3]), self.segment.size()), (size, size));
        assert_eq!((size % 4096, size > 512), (1803, true));

        let set = Set::open(key(&self.name, 0)).unwrap();
        let nonce = document.get(memory, "Header", 0, "nonce");
        assert_eq!(nonce % 2, 1);
        document.check("Header", "nonce");
        let generation = document.get(memory, "Header", 0, "generation");
        assert!(generation != 0 && generation < 1 << 56);
        document.check("Header", "generation");
        let values = [
            ("magic", u64::from_le_bytes(*b"tombolo\0")),
            ("magic", 0x006F_6C6F_626D_6F74),
            ("version", 2),
            ("size", size as u64),
            ("set", u64::try_from(set.id()).unwrap()),
            ("flags", 0),
            ("participants", PARTICIPANTS as u64),
            ("channels", CHANNELS as u64),
            ("kinds", 0),
            ("gate", 0),
        ];
        document.fields(memory, "Header", 0, &values);
        document.text(memory, "Header", 0, "name", &self.name);
        document.reserved(memory, "Header", 0);

        // Flags: 1 SYMMETRIC, 2 TRANSIENT, 4 ANONYMOUS.
        let options = Segment::options().size(1);
        for (options, flags) in [
            (options.clone().symmetric_fences(true), 1),
            (options.clone().transient(true), 2),
            (options.clone().symmetric_fences(true).transient(true), 3),
        ] {
            let name = Name::new();
            let segment = options.create(&name).unwrap();
            document.fields(&Memory::of(&segment), "Header", 0, &[("flags", flags)]);
        }
        let anonymous = Memory::of(&options.anonymous().unwrap());
        document.fields(&anonymous, "Header", 0, &[("flags", 6), ("name length", 0)]);
    }

    fn semaphores(&mut self) {
        let set = self.set_of_semaphores();
        let mut values = vec![0; set.stat().unwrap().count];
        assert_eq!((values.len(), values.len() % 16), (self.parts.semaphores, 13));
        // A channel that was opened and left leaves its tokens.
        for n in 0..2 {
            let segment = &self.segment;
            drop(segment.channel::<u64>(&format!("{n}")).capacity(1).sender().unwrap());
        }
        let document = &mut self.document;
        let lease = document.semaphore("LEASE", &[]);
        // Never waits, unless the document is wrong about which one it is.
        set.perform(&[Op::zero(lease).no_wait(), Op::add(lease, 1).undo()]).unwrap();
        let soon = Segment::options().timeout(std::time::Duration::from_millis(1));
        assert!(matches!(soon.open(&self.name), Err(OpenError::Busy { .. })));
        set.values(&mut values).unwrap();
        set.perform(&[Op::take(lease, 1).undo()]).unwrap();

        let mut expected = vec![0_u64; values.len()];
        let mut expect = |semaphore: u16, value: u64| expected[usize::from(semaphore)] = value;
        let generation = document.get(&self.memory, "Header", 0, "generation");
        expect(lease, 1);
        expect(document.semaphore("BUILT", &[]), 1);
        let first = document.semaphore("GENERATION", &[]);
        for (semaphore, digit) in (first..).zip(digits(generation)) {
            expect(semaphore, digit);
        }
        assert_eq!(document.semaphores["GENERATION"], format!("{first} … {}", first + 3));
        expect(document.semaphore("CHECK", &[]), check(generation));
        for i in 0..3 {
            expect(document.semaphore("LIVE(i)", &[("i", i)]), 1);
        }
        for c in 0..2 {
            let known = [("P", PARTICIPANTS), ("c", c)];
            expect(document.semaphore("ITEMS(c)", &known), 1);
            expect(document.semaphore("SPACE(c)", &known), 1);
        }
        // One for each joining and leaving; nobody has died.
        let events = self.segment.events().remembered();
        let events = std::iter::from_fn(|| events.try_recv().unwrap()).count();
        expect(document.semaphore("WAKE_ALL", &[]), events as u64);
        let values: Vec<u64> = values.into_iter().map(u64::from).collect();
        assert_eq!(values, expected);
    }

    fn participants(&mut self) {
        let (document, memory) = (&mut self.document, &self.memory);
        for (i, incarnation) in [(0, 1), (1, 2), (2, 1)] {
            let word = memory.word(512 + 8 * i);
            document.word(
                "Participant word",
                word,
                &[("phase", LIVE), ("incarnation", incarnation)],
            );
            let base = self.parts.infos + 128 * i;
            let pid = proc::pid();
            let values = [
                ("pid", u64::from(pid)),
                ("start time", proc::start_time(pid).unwrap()),
                ("pid namespace", proc::pid_namespace().unwrap()),
                ("uid", u64::from(proc::uid())),
                ("kinds", 0),
            ];
            document.fields(memory, "Info", base, &values);
            document.reserved(memory, "Info", base);
        }
        // Which is 0 for root.
        document.check("Info", "uid");
        // There is no such kind yet.
        document.check("Info", "kinds");
        document.check("Header", "kinds");
        document.check("Journal record", "uid");
        assert_eq!(memory.word(512 + 8 * 3), 0);
    }

    /// Two channels there are already; four more, one of each kind.
    fn directory(&mut self) {
        let segment = &self.segment;
        let numbers = segment.channel::<u64>("numbers").capacity(5).redeliver(15);
        drop(numbers.spsc().sender().unwrap());
        let wide = segment.channel::<Wide>("wide").capacity(3).redeliver(5).lasting();
        drop(wide.sender().unwrap());
        drop(segment.bytes("packets").capacity(5, 100).spsc().sender().unwrap());
        drop(segment.bytes("parcels").capacity(5, 100).redeliver(0).sender().unwrap());
        let entries = [
            ("0", Kind::Mpmc, 1, ("u64", 8, 8), 8, 0),
            ("1", Kind::Mpmc, 1, ("u64", 8, 8), 8, 0),
            ("numbers", Kind::Spsc, 5, ("u64", 8, 8), 15, 0),
            ("wide", Kind::Mpmc, 3, ("u128", 32, 16), 5, 1),
            ("packets", Kind::SpscBytes, 5, ("bytes", 100, 1), 8, 0),
            ("parcels", Kind::MpmcBytes, 5, ("bytes", 100, 1), 0, 0),
        ];
        let mut offset = self.parts.heap;
        for (c, (name, kind, capacity, (schema, size, alignment), attempts, flags)) in
            entries.into_iter().enumerate()
        {
            let base = self.parts.directory + 512 * c;
            let values = [
                ("state", READY),
                ("kind", kind as u64),
                ("element size", size),
                ("element alignment", alignment),
                ("fingerprint", fingerprint(schema, size, alignment)),
                ("capacity", capacity),
                ("offset", offset as u64),
                ("attempts", attempts),
                ("flags", flags),
            ];
            let (document, memory) = (&mut self.document, &self.memory);
            document.fields(memory, "Entry", base, &values);
            document.text(memory, "Entry", base, "name", name);
            document.text(memory, "Entry", base, "schema", schema);
            document.reserved(memory, "Entry", base);
            let [capacity, size, alignment] = [capacity, size, alignment].map(|n| n as usize);
            let block = Block::new(kind, capacity, size, alignment, self.parts.participants);
            let end = offset + block.end;
            self.blocks.push((offset, block));
            offset = end;
        }
    }

    fn control(&self, c: usize, field: &str) -> u64 {
        self.document.get(&self.memory, "Control", self.blocks[c].0, field)
    }

    #[track_caller]
    fn controls(&mut self, c: usize, values: &[(&str, u64)]) {
        let base = self.blocks[c].0;
        self.document.fields(&self.memory, "Control", base, values);
        self.document.reserved(&self.memory, "Control", base);
    }

    /// The word of a slot.
    fn slot(&self, c: usize, n: usize) -> u64 {
        let (base, block) = &self.blocks[c];
        self.memory.word(base + block.slots + block.stride * n)
    }

    #[track_caller]
    fn slot_is(&mut self, c: usize, n: usize, lap: u64, attempts: u64, phase: u64, owner: u64) {
        let word = self.slot(c, n);
        let values = [("lap", lap), ("attempts", attempts), ("phase", phase), ("owner", owner)];
        self.document.word("Slot word", word, &values);
    }

    fn spsc(&mut self) {
        const C: usize = 2;
        let changes = self.control(C, "changes");
        let segment = self.segment.clone();
        let channel = segment.channel::<u64>("numbers").spsc();
        let (tx, mut rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        for n in 0..7 {
            tx.send(0x1000 + n).unwrap();
            if n < 4 {
                assert_eq!(rx.recv().unwrap(), 0x1000 + n);
            }
        }
        let values = [
            ("tail", 7),
            ("head", 4),
            ("changes", changes + 2),
            ("senders joined", 2),
            ("receivers joined", 1),
        ];
        self.controls(C, &values);
        let (base, block) = &self.blocks[C];
        for n in 4..7 {
            let at = base + block.slots + block.stride * (n as usize % 5);
            assert_eq!(self.memory.word(at), 0x1000 + n);
        }
        // Participant 1, second life.
        let row = base + 1_024 + 64;
        for role in ["producer", "consumer"] {
            let word = self.document.get(&self.memory, "Control", *base, role);
            let values = [("participant", 1), ("mark", 0), ("incarnation", 2)];
            self.document.word("Holder word", word, &values);
            self.document.check("Control", role);
        }
        let endpoints = self.document.get(&self.memory, "Row", row, "endpoints");
        let counts = [("senders", 1), ("receivers", 1), ("incarnation", 2)];
        self.document.word("Endpoints word", endpoints, &counts);
        // Positions 4 to 6 by the first mark, the first given back.
        let marks = base + self.document.field("Control", "in-flight marks").start;
        let slice = rx.take_slice(9).unwrap();
        assert_eq!((slice.read(0).unwrap(), self.memory.word(marks)), (0x1004, 5));
        drop(slice);
        assert_eq!((rx.take_slice(9).unwrap().len(), self.memory.word(marks)), (2, 7));
        let word = self.document.get(&self.memory, "Control", *base, "taker");
        let values = [("participant", 1), ("mark", 0), ("incarnation", 2)];
        self.document.word("Holder word", word, &values);
        self.document.check("Control", "in-flight marks");
        self.document.check("Control", "taker");
        drop(rx);
        let endpoints = self.document.get(&self.memory, "Row", row, "endpoints");
        let counts = [("senders", 1), ("receivers", 0), ("incarnation", 2)];
        self.document.word("Endpoints word", endpoints, &counts);
        self.document.check("Row", "endpoints");
        self.controls(C, &[("consumer", 0), ("changes", changes + 3)]);
        drop(tx);
        self.controls(C, &[("producer", 0), ("changes", changes + 4), ("tail", 7)]);
        // A delivery that is forgotten stays with its reader's mark.
        channel.sender().unwrap().send(1).unwrap();
        for attempts in 0..16 {
            let mut rx = channel.receiver().unwrap();
            let delivery = rx.take().unwrap();
            assert_eq!(delivery.attempts(), attempts);
            std::mem::forget(delivery);
        }
        self.controls(C, &[("head", 7)]);
        let last = self.blocks[C].0 + self.document.field("Control", "in-flight marks").end - 8;
        assert_eq!(self.memory.word(last), 8);
        let word = self.control(C, "taker");
        let values = [("participant", 1), ("mark", 15), ("incarnation", 2)];
        self.document.word("Holder word", word, &values);
    }

    fn mpmc(&mut self) {
        const C: usize = 3;
        let channel = self.segment.channel::<Wide>("wide");
        let (mut tx, mut rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let _more = (channel.receiver().unwrap(), channel.receiver().unwrap());
        let message = |n: u128| [n, n << 64 | 0xABCD];
        // Position 18 is slot 0 of lap 6; the bounds follow every 16.
        for n in 0..18 {
            tx.send(message(n)).unwrap();
            assert_eq!(rx.recv().unwrap(), message(n));
        }
        let values = [("tail", 16), ("head", 16), ("senders joined", 2), ("receivers joined", 3)];
        self.controls(C, &values);
        self.slot_is(C, 0, 6, 0, FREE, 0);
        let mut grant = tx.reserve().unwrap();
        self.slot_is(C, 0, 6, 0, WRITING, 1);
        grant.write(&message(18));
        grant.commit().unwrap();
        self.slot_is(C, 0, 6, 0, FULL, 0);
        let (base, block) = &self.blocks[C];
        let cell = base + block.slots + block.element;
        let bytes = message(18).map(u128::to_le_bytes).concat();
        assert_eq!(self.memory.bytes(cell, 32), bytes);
        let delivery = rx.take().unwrap();
        self.slot_is(C, 0, 6, 0, READING, 1);
        self.controls(C, &[("orphans", 0), ("scanned", 0)]);
        delivery.give_back();
        self.slot_is(C, 0, 6, 0, ORPHAN, 0);
        self.controls(C, &[("orphans", 1), ("scanned", 0)]);
        assert_eq!(rx.recv().unwrap(), message(18));
        assert!(rx.try_recv().is_err());
        self.controls(C, &[("orphans", 1), ("scanned", 1)]);
        self.slot_is(C, 0, 7, 0, FREE, 0);
    }

    fn packets(&mut self) {
        const C: usize = 4;
        let channel = self.segment.bytes("packets").spsc();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let (base, block) = &self.blocks[C];
        let (slots, units) = (base + block.slots, block.units);
        assert_eq!(units, 84);
        let message = |n: u8, length: usize| (0..length).map(|k| n ^ k as u8).collect::<Vec<_>>();
        let mut into = Vec::new();
        for n in 0..5 {
            // 14 units each.
            tx.send(&message(n, 100)).unwrap();
            rx.recv(&mut into).unwrap();
            assert_eq!(into, message(n, 100));
        }
        // 2 of 14 that are left, then one that does not fit.
        tx.send(&message(6, 5)).unwrap();
        tx.send(&message(7, 97)).unwrap();
        let header = |document: &mut Document, unit: usize, what, length| {
            let header = self.memory.word(slots + 8 * unit);
            document.word("Record header", header, &[("what", what), ("length", length)]);
        };
        header(&mut self.document, 56, 1, 100);
        header(&mut self.document, 70, 1, 5);
        header(&mut self.document, 72, 2, 12);
        header(&mut self.document, 0, 1, 97);
        assert_eq!(self.memory.bytes(slots + 8 * 71, 5), message(6, 5));
        assert_eq!(self.memory.bytes(slots + 8, 97), message(7, 97));
        self.controls(C, &[("head", 70), ("tail", 84 + 14)]);
        rx.recv(&mut into).unwrap();
        self.controls(C, &[("head", 72)]);
        rx.recv(&mut into).unwrap();
        self.controls(C, &[("head", 84 + 14)]);
    }

    #[track_caller]
    fn message_block_is(&mut self, k: usize, version: u64, held: u64, owner: u64) {
        let (base, block) = &self.blocks[5];
        let word = self.memory.word(base + block.words + 8 * k);
        let values = [("version", version), ("held", held), ("owner", owner)];
        self.document.word("Message block word", word, &values);
    }

    fn parcels(&mut self) {
        const C: usize = 5;
        let channel = self.segment.bytes("parcels");
        let (mut tx, mut rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        tx.send(b"first").unwrap();
        tx.send(b"second, and longer").unwrap();
        self.message_block_is(0, 1, 1, 1);
        self.message_block_is(2, 0, 0, 0);
        let (base, block) = &self.blocks[C];
        for (n, message) in [b"first".as_slice(), b"second, and longer"].into_iter().enumerate() {
            let slot = base + block.slots + block.stride * n;
            let word = self.document.get(&self.memory, "Bytes slot", slot, "word");
            self.document.word(
                "Slot word",
                word,
                &[("lap", 0), ("attempts", 0), ("phase", FULL), ("owner", 0)],
            );
            let label = self.document.get(&self.memory, "Bytes slot", slot, "label");
            let named = [("block", n as u64), ("length", message.len() as u64)];
            self.document.word("Label", label, &named);
            let bytes = base + block.blocks + block.apart * n;
            assert_eq!(self.memory.bytes(bytes, message.len()), message);
        }
        self.document.check("Bytes slot", "word");
        self.document.check("Bytes slot", "label");
        let delivery = rx.take().unwrap();
        self.message_block_is(0, 2, 1, 1);
        self.slot_is(C, 0, 0, 0, READING, 1);
        drop(delivery);
        self.message_block_is(0, 2, 0, 0);
        self.slot_is(C, 0, 1, 0, FREE, 0);
        let grant = tx.reserve(7).unwrap();
        self.message_block_is(2, 1, 1, 1);
        self.slot_is(C, 2, 0, 0, FREE, 0);
        drop(grant);
        self.message_block_is(2, 1, 0, 0);
        assert_eq!(rx.recv(&mut Vec::new()).unwrap(), 18);
    }

    /// A thread that waits for items, and one that waits for space.
    fn waiting(&mut self) {
        let document = |stage: &mut Stage, c: usize, word: &str, record: &str, count: u64| {
            let base = stage.blocks[c].0;
            let waiting = stage.document.get(&stage.memory, "Control", base, word);
            let version = stage.document.bits_of("Waiting word", waiting, "version");
            let values = [("count", count), ("version", version)];
            stage.document.word("Waiting word", waiting, &values);
            stage.document.check("Control", word);
            let row = base + 1_024 + 64;
            let word = stage.document.get(&stage.memory, "Row", row, record);
            let values = [("threads", count), ("incarnation", 2)];
            stage.document.word("Waiters record", word, &values);
            stage.document.check("Row", record);
            stage.document.reserved(&stage.memory, "Row", row);
            version
        };
        let segment = self.segment.clone();
        let channel = segment.channel::<u64>("1");
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let parked = |call: Box<dyn FnOnce() + Send>| {
            let (tell, told) = std::sync::mpsc::channel();
            let thread = thread::spawn(move || {
                tell.send(tid()).unwrap();
                call();
            });
            let tid = told.recv().unwrap();
            wait_until(|| thread_parked(tid));
            thread
        };
        let thread = parked(Box::new(move || assert_eq!(rx.recv().unwrap(), 5)));
        let before = document(self, 1, "items waiting", "items record", 1);
        tx.send(5).unwrap();
        thread.join().unwrap();
        let after = document(self, 1, "items waiting", "items record", 0);
        assert_eq!(after, before + 1);
        let rx = channel.receiver().unwrap();
        tx.send(6).unwrap();
        let thread = parked(Box::new(move || tx.send(7).unwrap()));
        document(self, 1, "space waiting", "space record", 1);
        assert_eq!(rx.recv().unwrap(), 6);
        thread.join().unwrap();
        document(self, 1, "space waiting", "space record", 0);
        assert_eq!(rx.recv().unwrap(), 7);
        // A commit, the oldest message being in a reader's hands.
        let bytes = segment.bytes("parcels");
        let (mut tx, mut slow) = (bytes.sender().unwrap(), bytes.receiver().unwrap());
        let rx = bytes.receiver().unwrap();
        (0..tx.capacity()).for_each(|_| tx.send(b"old").unwrap());
        let held = slow.take().unwrap();
        (1..tx.capacity()).for_each(|_| assert_eq!(rx.recv(&mut Vec::new()).unwrap(), 3));
        let thread = parked(Box::new(move || tx.reserve(3).unwrap().commit(3).unwrap()));
        document(self, 5, "slots waiting", "slots record", 1);
        held.release();
        thread.join().unwrap();
        document(self, 5, "slots waiting", "slots record", 0);
        rx.recv(&mut Vec::new()).unwrap();
    }

    /// A process that is killed over claims and messages of two channels.
    fn deaths(&mut self) {
        const WIDE: usize = 3;
        const PARCELS: usize = 5;
        let wide = self.segment.channel::<Wide>("wide");
        let parcels = self.segment.bytes("parcels");
        let (wide_tx, parcels_tx) = (wide.sender().unwrap(), parcels.sender().unwrap());
        let wide_rx = wide.receiver().unwrap();
        // Positions 19 and 20: slots 1 and 2 of lap 6.
        wide_tx.send([1, 2]).unwrap();
        wide_tx.send([3, 4]).unwrap();
        parcels_tx.send(b"gone").unwrap();
        let child = Peer::start("victim", &[&self.name]);
        child.expect("holding");
        self.slot_is(WIDE, 1, 6, 0, READING, 3);
        self.slot_is(WIDE, 2, 6, 0, READING, 3);
        self.slot_is(WIDE, 0, 7, 0, WRITING, 3);
        assert!(!parked(child.pid()));
        let pid = child.pid().unsigned_abs();
        let start = proc::start_time(pid).unwrap();
        let before = proc::monotonic();
        child.kill();
        child.finish();
        assert!(self.segment.sweep().unwrap());
        let last = self.parts.journal + 128 * 6;
        let time = self.document.get(&self.memory, "Journal record", last, "time");
        assert!((before..=proc::monotonic()).contains(&time), "{before}, {time}");
        self.document.check("Journal record", "time");
        self.slot_is(WIDE, 1, 6, 1, ORPHAN, 0);
        self.slot_is(WIDE, 0, 8, 0, FREE, 0);
        let values = [("tombstones", 1), ("orphaned", 2), ("dropped", 0)];
        self.controls(WIDE, &values);
        self.controls(PARCELS, &[("tombstones", 0), ("orphaned", 0), ("dropped", 1)]);
        let word = self.memory.word(512 + 8 * 3);
        self.document.word("Participant word", word, &[("phase", 0), ("incarnation", 1)]);
        self.journal(u64::from(pid), start);
        assert_eq!((wide_rx.recv().unwrap(), wide_rx.recv().unwrap()), ([1, 2], [3, 4]));
    }

    /// Three joined, one of them twice; participant 3 has joined and died.
    fn journal(&mut self, pid: u64, start: u64) {
        const JOINED: u64 = 1;
        const LEFT: u64 = 2;
        const DIED: u64 = 3;
        const DONE: u64 = 2;
        let (own, own_start) = (u64::from(proc::pid()), proc::start_time(proc::pid()).unwrap());
        let records = [
            (JOINED, 0, 1),
            (JOINED, 1, 1),
            (LEFT, 1, 1),
            (JOINED, 1, 2),
            (JOINED, 2, 1),
            (JOINED, 3, 1),
            (DIED, 3, 1),
        ];
        let (document, memory) = (&mut self.document, &self.memory);
        for (position, (kind, participant, incarnation)) in (0..).zip(records) {
            let base = self.parts.journal + 128 * position as usize;
            let word = document.get(memory, "Journal record", base, "word");
            let values = [("position", position), ("phase", DONE), ("owner", 0)];
            document.word("Journal word", word, &values);
            let event = document.get(memory, "Journal record", base, "event");
            // Nothing was held in the first three channels.
            let channel = if kind == DIED { 4 } else { 0 };
            let values = [("kind", kind), ("participant", participant), ("channel", channel)];
            document.word("Event word", event, &values);
            let (pid, start) = if participant == 3 { (pid, start) } else { (own, own_start) };
            let died = u64::from(kind == DIED);
            let values = [
                ("incarnation", incarnation),
                ("pid", pid),
                ("start time", start),
                ("pid namespace", proc::pid_namespace().unwrap()),
                ("uid", u64::from(proc::uid())),
                ("senders", 2 * died),
                ("receivers", 3 * died),
                ("tombstones", died),
                ("orphaned", 2 * died),
                ("dropped", died),
                ("blocks", died),
            ];
            document.fields(memory, "Journal record", base, &values);
            document.reserved(memory, "Journal record", base);
        }
        assert_eq!(memory.word(self.parts.journal + 128 * records.len()), 0);
        document.check("Journal record", "word");
        document.check("Journal record", "event");
        // The owner while it is written is nobody's business here.
        document.check("Journal word", "owner");
        for (i, which, ended, deaths) in [(0, 1, 0, 0), (1, 2, 0, 0), (3, 6, 1, 1)] {
            let end = document.get(memory, "Info", self.parts.infos + 128 * i, "end");
            let values = [("which", which), ("ended", ended), ("deaths", deaths)];
            document.word("End word", end, &values);
        }
        document.check("Info", "end");
    }

    fn remove(mut self) -> Document {
        let commander = self.segment.commander().unwrap();
        let queue = Queue::open(key(&self.name, 0)).unwrap();
        let id = u64::try_from(queue.id()).unwrap();
        self.document.fields(&self.memory, "Header", 0, &[("queue", id + 1)]);
        let stat = queue.stat().unwrap();
        assert_eq!(stat.mode, 0o601);
        // Nobody answers; everybody is called, and called again.
        let soon = std::time::Duration::from_millis(1);
        let state = |document: &mut Document, memory: &Memory, is: &[&str]| {
            let gate = document.get(memory, "Header", 0, "gate");
            let bits =
                ["closed", "paused", "draining", "drained", "shutdown", "reserved", "opened"];
            let expected = bits.map(|bit| (bit, u64::from(is.contains(&bit))));
            document.word("Gate word", gate, &expected);
        };
        let calls = |document: &Document| document.get(&self.memory, "Header", 0, "calls");
        let before = calls(&self.document);
        commander.pause(soon).unwrap();
        state(&mut self.document, &self.memory, &["paused"]);
        assert!(calls(&self.document) > before);
        self.document.check("Header", "calls");
        commander.drain(soon).unwrap();
        state(&mut self.document, &self.memory, &["draining", "drained"]);
        commander.shutdown(soon).unwrap();
        state(&mut self.document, &self.memory, &["shutdown"]);
        commander.resume(soon).unwrap();
        state(&mut self.document, &self.memory, &["opened"]);
        self.segment.remove().unwrap();
        state(&mut self.document, &self.memory, &["closed", "opened"]);
        self.document.check("Gate word", "reserved");
        self.document.check("Header", "gate");
        assert!(queue.stat().is_err());
        self.document
    }
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
        let used = 8 + usize::from(participants) + 2 * usize::from(channels);
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
    // Who it is, on the next line of 128 bytes.
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

#[test]
#[ignore = "a role, not a test"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    let segment = Segment::open(brief.text(0)).unwrap();
    let wide = segment.channel::<Wide>("wide");
    let (mut tx, mut one) = (wide.sender().unwrap(), wide.receiver().unwrap());
    let (mut two, mut bytes) =
        (wide.receiver().unwrap(), segment.bytes("parcels").receiver().unwrap());
    let _held = (one.take().unwrap(), two.take().unwrap(), bytes.take().unwrap());
    let _grant = tx.reserve().unwrap();
    let mut writing = segment.bytes("parcels").sender().unwrap();
    let _room = writing.reserve(9).unwrap();
    brief.say("holding");
    brief.hear();
}
