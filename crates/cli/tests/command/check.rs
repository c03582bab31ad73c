//! `tombolo check`, and `Segment::check` behind it: a segment at rest is sound after
//! any history, and a wrong word is named.

use crate::command;
use crate::common;

use std::thread;
use std::time::Duration;

use serde_json::Value;
use tombolo::sys::sem::{Op, Set};
use tombolo::{Audit, Segment};

use command::{assert_refused, run, text};
use common::{Brief, Name, Peer, Words, key_of, thread_parked, tid, wait_until, word};

const PARTICIPANTS: usize = 5;

fn small(name: &str) -> Segment {
    let options = Segment::options().size(1 << 16).participants(PARTICIPANTS as u16);
    options.channels(6).create(name).unwrap()
}

fn audit(name: &str) -> Audit {
    Segment::check(name).unwrap()
}

#[track_caller]
fn sound(name: &str) {
    let audit = audit(name);
    assert!(audit.is_sound() && audit.more == 0, "{:#?}", audit.faults);
}

/// One channel of each kind, a message in each, and the words of the segment.
struct Stage {
    name: Name,
    segment: Segment,
    words: Words,
}

/// The channels, in the order of the directory.
const SPSC: usize = 0;
const MPMC: usize = 1;
const PACKETS: usize = 2;
const PARCELS: usize = 3;

impl Stage {
    fn new() -> Stage {
        let name = Name::new();
        let segment = small(&name);
        let words = Words::behind(&segment);
        let stage = Stage { name, segment, words };
        let spsc = stage.segment.channel::<u64>("spsc").capacity(4).spsc();
        let (tx, rx) = (spsc.sender().unwrap(), spsc.receiver().unwrap());
        (0..7).for_each(|n| {
            tx.send(n).unwrap();
            assert_eq!(rx.recv().unwrap(), n);
        });
        tx.send(7).unwrap();
        let mpmc = stage.segment.channel::<u64>("mpmc").capacity(4);
        let (tx, rx) = (mpmc.sender().unwrap(), mpmc.receiver().unwrap());
        (0..21).for_each(|n| {
            tx.send(n).unwrap();
            assert_eq!(rx.recv().unwrap(), n);
        });
        (21..23).for_each(|n| tx.send(n).unwrap());
        let packets = stage.segment.bytes("packets").capacity(4, 40).spsc();
        let (tx, rx) = (packets.sender().unwrap(), packets.receiver().unwrap());
        (0..9).for_each(|n: usize| {
            tx.send(&[7; 40][n..]).unwrap();
            rx.recv(&mut Vec::new()).unwrap();
        });
        (0..3).for_each(|n: usize| tx.send(&[7; 40][n..]).unwrap());
        // Longer than a slot has room for, so that each has a block.
        let parcels = stage.segment.bytes("parcels").capacity(4, 140);
        let (tx, rx) = (parcels.sender().unwrap(), parcels.receiver().unwrap());
        (0..9).for_each(|n: usize| {
            tx.send(&[7; 140][n..]).unwrap();
            rx.recv(&mut Vec::new()).unwrap();
        });
        (0..2).for_each(|n: usize| tx.send(&[7; 140][n..]).unwrap());
        stage
    }

    const fn infos() -> usize {
        (512 + 8 * PARTICIPANTS).next_multiple_of(128)
    }

    const fn journal() -> usize {
        (Self::infos() + 128 * PARTICIPANTS).next_multiple_of(128)
    }

    /// Where an entry of the directory is.
    const fn entry(channel: usize) -> usize {
        Self::journal() + 128 * 128 + 512 * channel
    }

    /// Where a channel's block is.
    fn block(&self, channel: usize) -> usize {
        self.words.get((Self::entry(channel) + 48) / 8) as usize
    }

    fn row(&self, channel: usize, participant: usize) -> usize {
        self.block(channel) + 1_024 + 64 * participant
    }

    fn slots(&self, channel: usize) -> usize {
        self.block(channel) + (1_024 + 64 * PARTICIPANTS).next_multiple_of(128)
    }

    fn set(&self) -> Set {
        Set::open(key_of(&self.name, 0)).unwrap()
    }

    /// Makes a word another, audits, and puts it right: the fault is named.
    #[track_caller]
    fn wrong(&self, what: &str, at: usize, value: u64) {
        let right = self.words.get(at / 8);
        assert_ne!(right, value, "{what} at {at} is what it was");
        self.words.put(at / 8, value);
        let audit = audit(&self.name);
        self.words.put(at / 8, right);
        let named = |fault: &&tombolo::Finding| fault.what == what;
        let fault = audit.faults.iter().find(named);
        let fault = fault.unwrap_or_else(|| panic!("{what} at {at}: {:#?}", audit.faults));
        let place = format!("byte {at}");
        assert!(fault.place.ends_with(&place), "{what} at {at}: {fault}");
        assert!(fault.found != fault.expected, "{fault}");
    }
}

#[test]
fn a_segment_is_sound_whatever_has_happened_in_it() {
    let stage = Stage::new();
    sound(&stage.name);
    let segment = &stage.segment;
    // With ends of all sorts, in several participants, and messages in hand.
    let other = Segment::open(&stage.name).unwrap();
    let (tx, mut rx) = (
        segment.channel::<u64>("mpmc").sender().unwrap(),
        other.channel::<u64>("mpmc").receiver().unwrap(),
    );
    let mut bytes = other.bytes("parcels").receiver().unwrap();
    let mut spsc = other.channel::<u64>("spsc").spsc().receiver().unwrap();
    let mut packets = segment.bytes("packets").spsc().receiver().unwrap();
    let mut room = segment.bytes("parcels").sender().unwrap();
    let (one, two, three) = (rx.take().unwrap(), bytes.take().unwrap(), spsc.take().unwrap());
    let more = (packets.take().unwrap(), room.reserve(3).unwrap());
    sound(&stage.name);
    drop(more);
    one.give_back();
    two.give_back();
    three.give_back();
    sound(&stage.name);
    // A thread that sleeps.
    let waits = segment.channel::<u64>("waits").capacity(1);
    let (waker, sleeper) = (waits.sender().unwrap(), waits.receiver().unwrap());
    let (tell, told) = std::sync::mpsc::channel();
    let thread = thread::spawn(move || {
        tell.send(tid()).unwrap();
        sleeper.recv().unwrap()
    });
    let tid = told.recv().unwrap();
    wait_until(|| thread_parked(tid));
    sound(&stage.name);
    waker.send(1).unwrap();
    thread.join().unwrap();
    let commander = segment.commander().unwrap();
    commander.pause(Duration::from_millis(1)).unwrap();
    commander.resume(Duration::from_millis(1)).unwrap();
    sound(&stage.name);
    drop((tx, rx, bytes, spsc, packets, room, waker, other));
    sound(&stage.name);
}

#[test]
fn a_segment_in_use_shows_nothing_that_is_wrong_for_a_moment() {
    let stage = Stage::new();
    let until = std::time::Instant::now() + Duration::from_millis(700);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let segment = Segment::open(&stage.name).unwrap();
                let (mpmc, bytes) = (segment.channel::<u64>("mpmc"), segment.bytes("parcels"));
                while std::time::Instant::now() < until {
                    let (tx, rx) = (mpmc.sender().unwrap(), mpmc.receiver().unwrap());
                    let (tx2, rx2) = (bytes.sender().unwrap(), bytes.receiver().unwrap());
                    for n in 0..1_000 {
                        let _ = (tx.try_send(n), tx2.try_send(&[n as u8; 40][..n as usize % 40]));
                        let _ = (rx.try_recv(), rx2.try_recv(&mut Vec::new()));
                    }
                }
            });
        }
        scope.spawn(|| {
            let spsc = stage.segment.bytes("packets").spsc();
            let (tx, rx) = (spsc.sender().unwrap(), spsc.receiver().unwrap());
            let sleeper = scope.spawn(move || while rx.recv(&mut Vec::new()).is_ok() {});
            let mut n = 0;
            while std::time::Instant::now() < until {
                n += 1;
                tx.send(&[7; 40][..n % 40]).unwrap();
            }
            drop(tx);
            sleeper.join().unwrap();
        });
        let mut audits = 0;
        while std::time::Instant::now() < until {
            sound(&stage.name);
            audits += 1;
        }
        assert!(audits > 3);
    });
    sound(&stage.name);
}

#[test]
fn the_dead_are_no_damage_before_they_are_swept_and_after() {
    let stage = Stage::new();
    let peer = Peer::start("hold", &[&stage.name]);
    peer.expect("holding");
    sound(&stage.name);
    peer.kill();
    peer.finish();
    let found = audit(&stage.name);
    assert!(found.is_sound(), "{:#?}", found.faults);
    assert!(found.remarks.iter().any(|remark| remark.contains("1 participant has died")));
    let output = run(&["check", &stage.name]);
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(0), ""));
    assert!(text(&output.stderr).contains("1 participant has died"));
    assert!(stage.segment.sweep().unwrap());
    let found = audit(&stage.name);
    assert!(found.is_sound() && found.remarks.is_empty(), "{found:#?}");
    // Nobody is left at all.
    let Stage { name, segment, words } = stage;
    drop(segment);
    sound(&name);
    drop(words);
    let output = run(&["check", &name, "--quiet"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!((text(&output.stdout), text(&output.stderr)), (String::new(), String::new()));
}

#[test]
fn a_wrong_word_of_the_tables_is_named() {
    let stage = Stage::new();
    let header = [
        ("nonce", 0, 2),
        ("magic", 8, 1),
        ("version", 16, 1),
        ("size", 24, 4_096),
        ("generation", 32, 1 << 60),
        ("set", 40, 1 << 40),
        ("flags", 48, 8 | 16),
        ("flags", 48, 8 | 4),
        ("shape", 56, 0),
        ("shape", 56, 8_192),
        ("shape", 56, u64::MAX),
        ("kinds", 72, 1 << 20),
        ("reserved", 80, 1),
        ("name", 128, 121),
        ("name", 136, u64::from_le_bytes(*b"anothers")),
        ("gate", 256, 3 << 5),
        ("gate", 256, 1),
        ("gate", 256, 1 << 3),
        ("queue", 272, u64::MAX),
        ("reserved", 504, 1),
        ("participant word", 512, 3),
        ("participant word", 512 + 16, 7),
        ("reserved", Stage::infos() + 112, 9),
        ("pid", Stage::infos(), 0),
        ("end", Stage::infos() + 32, 5 << 32),
        ("end", Stage::infos() + 32, 1 << 32 | 1 << 1),
        ("end", Stage::infos() + 32, 1),
        ("end", Stage::infos() + 128 + 32, 500 << 32 | 1),
        ("record word", Stage::journal(), 500 << 17 | 2 << 14),
        ("record word", Stage::journal(), 5 << 14),
        ("record word", Stage::journal(), 1 << 14 | 4),
        ("record word", Stage::journal(), 2 << 14 | 4),
        ("record word", Stage::journal() + 128 * 9, 9 << 17 | 2 << 14),
        ("event", Stage::journal() + 8, 4),
        ("event", Stage::journal() + 8, 99 << 16 | 1),
        ("event", Stage::journal() + 8, 1 << 32 | 1),
        ("incarnation", Stage::journal() + 16, 7),
        ("incarnation", Stage::journal() + 16, 0),
        ("record", Stage::journal() + 64, 1),
        ("record", Stage::journal() + 112, 1),
        ("reserved", Stage::journal() + 120, 1),
    ];
    for (what, at, value) in header {
        stage.wrong(what, at, value);
    }
    let entry = Stage::entry(MPMC);
    let fields = [
        ("state", 0, 2),
        ("kind", 8, 99),
        ("element alignment", 24, 3),
        ("fingerprint", 32, 1),
        ("capacity", 40, 0),
        ("offset", 48, 1 << 40),
        ("offset", 48, 8),
        ("attempts", 56, 16),
        ("flags", 64, 2),
        ("reply size", 88, 1),
        ("reply fingerprint", 104, 1),
        ("reserved", 112, 1),
        ("channel name", 128, 65),
        ("channel name", 136, u64::from_le_bytes(*b"mp c\0\0\0\0")),
        ("channel name", 136, u64::from_le_bytes(*b"spsc\0\0\0\0")),
        ("schema", 200, 257),
        ("reserved", 464, 1),
    ];
    for (what, at, value) in fields {
        stage.wrong(what, entry + at, value);
    }
    stage.wrong("element size", Stage::entry(PACKETS) + 16, 1 << 31);
    stage.wrong("schema", Stage::entry(PACKETS) + 208, u64::from_le_bytes(*b"bites\0\0\0"));
    sound(&stage.name);
    // Blocks that overlap.
    let at = (Stage::entry(PACKETS) + 48) / 8;
    let right = stage.words.add(at, 0);
    stage.words.put(at, stage.block(MPMC) as u64);
    let found = audit(&stage.name);
    assert!(found.faults.iter().any(|fault| fault.what == "offset"), "{:#?}", found.faults);
    stage.words.put(at, right);
    sound(&stage.name);
}

#[test]
fn a_wrong_word_of_a_channel_is_named() {
    let stage = Stage::new();
    // Participant 0 has a sender of each.
    let segment = &stage.segment;
    let _mpmc = segment.channel::<u64>("mpmc").sender().unwrap();
    let _spsc = segment.channel::<u64>("spsc").spsc().sender().unwrap();
    let _takes = segment.channel::<u64>("spsc").spsc().receiver().unwrap();
    let _packets = segment.bytes("packets").spsc().sender().unwrap();
    let _parcels = segment.bytes("parcels").sender().unwrap();
    sound(&stage.name);
    for c in [SPSC, MPMC, PACKETS, PARCELS] {
        let (base, row) = (stage.block(c), stage.row(c, 0));
        let endpoints = stage.words.get(row / 8);
        for (what, at, value) in [
            ("items waiting", base + 8, u64::MAX),
            ("space waiting", base + 16, u64::MAX),
            ("slots waiting", base + 24, u64::MAX),
            ("reserved", base + 72, 1),
            ("reserved", base + 120, 1),
            ("senders joined", base + 128, 0),
            ("reserved", base + 168, 1),
            ("reserved", base + 248, 1),
            ("reserved", base + 280, 1),
            ("reserved", base + 536, 1),
            ("reserved", base + 1_016, 1),
            ("endpoints", row, endpoints + (1 << 32)),
            ("endpoints", row + 64, 1 << 32),
            ("items record", row + 8, 2 << 32),
            ("slots record", row + 24, 2 << 32),
            ("reserved", row + 40, 1),
            ("reserved", row + 56, 1),
        ] {
            stage.wrong(what, at, value);
        }
        // Somebody waits whom nobody is going to wake.
        let record = (row + 16) / 8;
        let right = stage.words.add(record, 1);
        let found = audit(&stage.name);
        assert_eq!(found.faults.len(), 1, "{:#?}", found.faults);
        assert_eq!(found.faults[0].what, "space waiting");
        stage.words.put(record, right);
    }
    for c in [SPSC, PACKETS] {
        let base = stage.block(c);
        let tail = stage.words.get((base + 256) / 8);
        for (what, at, value) in [
            ("tail", base + 256, tail + 99),
            ("tail", base + 256, 0),
            ("in-flight mark", base + 408, tail + 1),
            ("in-flight mark", base + 528, tail + 1),
            ("orphans", base + 32, 1),
            ("producer", base + 264, 99),
            ("producer", base + 264, 0),
            ("producer", base + 264, 7 << 32),
            ("producer", base + 264, 1 << 32 | 3 << 16),
            ("tombstones", base + 144, 1),
            ("taker", base + 400, 99),
            ("taker", base + 400, 1 << 32 | 16 << 16),
        ] {
            stage.wrong(what, at, value);
        }
    }
    stage.wrong("taker", stage.block(SPSC) + 400, 0);
    let head = stage.words.get((stage.block(PACKETS) + 384) / 8) as usize;
    let first = stage.slots(PACKETS) + 8 * (head % 30);
    for header in [0, 1 << 32 | 41, 2 << 32 | 29, 3 << 32] {
        stage.wrong("record header", first, header);
    }
    for c in [MPMC, PARCELS] {
        let base = stage.block(c);
        for (what, at, value) in [
            ("pledge", base + 272, 1),
            ("tail", base + 256, 1 << 40),
            ("head", base + 384, 22),
            ("scanned", base + 40, 1),
            ("producer", base + 264, 1),
            ("consumer", base + 392, 1),
            ("taker", base + 400, 1),
            ("reserved", base + 408, 1),
        ] {
            stage.wrong(what, at, value);
        }
    }
    // Positions 21 and 22 of 4 slots are full; 23 is free.
    let slot = |n: usize| stage.slots(MPMC) + 16 * n;
    let (full, free) = (2 << 13, 0);
    for (what, at, value) in [
        ("slot word", slot(1), 5 << 20 | 5 << 13),
        ("slot word", slot(1), 5 << 20 | full | 1),
        ("slot word", slot(3), 5 << 20 | 1 << 16 | free),
        ("slot word", slot(1), 5 << 20 | 1 << 13 | 4),
        ("slot word", slot(1), 5 << 20 | 3 << 13 | 4),
        ("slot word", slot(1), 9 << 20 | full),
        ("slot word", slot(3), 3 << 20 | free),
        ("slot word", slot(3), 7 << 20 | free),
        ("slot word", slot(1), u64::MAX << 20 | full),
    ] {
        stage.wrong(what, at, value);
    }
    // One that is taken, behind one that is not.
    let second = stage.words.get(slot(2) / 8);
    stage.words.put(slot(2) / 8, 5 << 20 | 4 << 13);
    let found = audit(&stage.name);
    let whats: Vec<&str> = found.faults.iter().map(|fault| fault.what.as_str()).collect();
    assert_eq!(whats, ["scanned", "slot word"], "{:#?}", found.faults);
    stage.words.put(slot(2) / 8, second);
    // Two messages of 9 and 10; parcels 0 and 1, or others.
    let slot = |n: usize| stage.slots(PARCELS) + 128 * n;
    let of = |n: usize| stage.words.get((slot(n) + 8) / 8) & 0xFFFF_FFFF;
    stage.wrong("label", slot(1) + 8, 140 << 32 | 9);
    stage.wrong("label", slot(1) + 8, 141 << 32);
    stage.wrong("label", slot(1) + 8, 113 << 32 | 0xFFFF_FFFF);
    stage.wrong("label", slot(2) + 8, 130 << 32 | of(1));
    let parcel = |k: u64| slot(4).next_multiple_of(128) + 8 * k as usize;
    let held = stage.words.get(parcel(of(1)) / 8);
    stage.wrong("message block word", parcel(of(1)), held & !(1 << 13));
    stage.wrong("message block word", parcel(of(1)), held | 99);
    let spare = (0..4).find(|&k| k != of(1) && k != of(2)).unwrap();
    stage.wrong("message block word", parcel(spare), 1 << 14 | 3);
    stage.wrong("message block word", parcel(spare), 1 << 14 | 1 << 13 | 3);
    sound(&stage.name);
}

#[test]
fn a_wrong_semaphore_is_named() {
    let stage = Stage::new();
    let set = stage.set();
    let (items, spare) = (8 + PARTICIPANTS as u16 + 2 * MPMC as u16, set.stat().unwrap().count - 1);
    for (what, sem, by) in [
        ("LEASE", 0, 1),
        ("BUILT", 1, 1),
        ("GENERATION", 3, 1),
        ("GENERATION", 6, 1),
        ("WAKE_ALL", 7, 32_767 - set.value(7).unwrap()),
        ("LIVE", 8, 1),
        ("LIVE", 9, 1),
        ("ITEMS", items, 2),
        ("SPACE", items + 1, 2),
        ("reserved", spare as u16, 1),
    ] {
        set.perform(&[Op::add(sem, by)]).unwrap();
        let found = audit(&stage.name);
        set.perform(&[Op::take(sem, by)]).unwrap();
        let faults = &found.faults;
        let named = faults.iter().any(|fault| {
            let first = if what == "GENERATION" { 2 } else { sem };
            fault.what == what && fault.place.ends_with(&format!("semaphore {first}"))
        });
        assert!(named, "{what}: {faults:#?}");
    }
    sound(&stage.name);
    // Without its set.
    set.remove().unwrap();
    let found = audit(&stage.name);
    assert_eq!(found.faults.len(), 1, "{:#?}", found.faults);
    assert_eq!(found.faults[0].what, "set");
}

#[test]
fn the_command_tells_a_fault_a_line_and_exits_with_1() {
    let stage = Stage::new();
    let id = format!("@{}", stage.segment.id());
    for name in [&*stage.name, &id] {
        let output = run(&["check", name]);
        assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(0), ""));
        assert_eq!(text(&output.stderr), format!("tombolo: {name}: sound\n"));
    }
    stage.words.put(word::VERSION, 9);
    stage.words.put(10, 1);
    let output = run(&["check", &stage.name]);
    let lines = "version, header, byte 16: found 0x0000000000000009, expected 2\n\
                 reserved, header, byte 80: found 0x0000000000000001, expected 0\n";
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(1), lines));
    let output = run(&["check", &id, "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let objects: Vec<Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(objects.len(), 2);
    assert_eq!(objects[1]["what"], "reserved");
    assert_eq!(objects[1]["where"], "header, byte 80");
    assert_eq!(objects[1]["found"], "0x0000000000000001");
    assert_eq!(objects[1]["expected"], "0");
    assert_eq!(objects[1].as_object().unwrap().len(), 4);
    let missing = Name::new();
    assert_refused(&["check", &missing], "there is no segment");
    assert_refused(&["check", "no good"], "not allowed");
    assert_refused(&["check", "@2147483647"], "there is no segment");
}

#[test]
fn whatever_is_in_a_segment_the_audit_ends_and_writes_nothing() {
    let stage = Stage::new();
    let words = stage.words.copy();
    let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for _ in 0..60 {
        for _ in 0..1 + random() % 40 {
            let at = random() as usize % words.len();
            let value = random();
            stage
                .words
                .put(at, [value, value % 64, 1 << (value % 64), !0][value as usize / 64 % 4]);
        }
        let before = stage.words.copy();
        let found = Segment::check_id(stage.segment.id());
        assert!(found.is_ok_and(|found| found.faults.len() <= 1_000));
        assert!(stage.words.copy() == before, "the audit has written");
        words.iter().enumerate().for_each(|(at, &word)| stage.words.put(at, word));
    }
    sound(&stage.name);
    // And while it is read.
    let stop = std::sync::atomic::AtomicBool::new(false);
    let mut seed = random();
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                seed = seed.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
                let at = (seed >> 33) as usize % words.len();
                stage.words.put(at, if seed >> 32 & 1 == 0 { seed } else { words[at] });
            }
        });
        let audits = (0..15).map(|_| Segment::check_id(stage.segment.id()));
        let refused = audits.filter(Result::is_err).count();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(refused, 0);
    });
}

#[test]
#[ignore = "a role, not a test"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    assert_eq!(brief.role, "hold");
    let segment = Segment::open(brief.text(0)).unwrap();
    let mut mpmc = (
        segment.channel::<u64>("mpmc").sender().unwrap(),
        segment.channel::<u64>("mpmc").receiver().unwrap(),
    );
    let mut parcels =
        (segment.bytes("parcels").sender().unwrap(), segment.bytes("parcels").receiver().unwrap());
    let mut spsc = segment.channel::<u64>("spsc").spsc().receiver().unwrap();
    let mut packets = segment.bytes("packets").spsc().receiver().unwrap();
    let _held = (
        mpmc.0.reserve().unwrap(),
        mpmc.1.take().unwrap(),
        parcels.0.reserve(130).unwrap(),
        parcels.1.take().unwrap(),
        spsc.take().unwrap(),
        packets.take().unwrap(),
    );
    brief.say("holding");
    brief.hear();
}
