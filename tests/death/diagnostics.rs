//! The reports of deaths: which process died, when, what it held, and what became of it.
//! The processes are real, and really killed.

use crate::common;

use std::collections::BTreeMap;
use std::thread;

use tombolo::sys::proc;
use tombolo::{Death, Segment};

use common::{Brief, Name, Peer, Words, effort, wait_until};

fn segment() -> (Name, Segment) {
    segment_of(8)
}

/// One in which a sweep takes long: others come to it meanwhile.
fn large_segment() -> (Name, Segment) {
    segment_of(100_000)
}

fn segment_of(jobs: usize) -> (Name, Segment) {
    let name = Name::new();
    let segment = Segment::options().size(1 << 22).participants(16).create(&name).unwrap();
    segment.channel::<u64>("idle").capacity(2).sender().unwrap();
    segment.channel::<u64>("jobs").capacity(jobs).sender().unwrap();
    segment.channel::<u64>("once").capacity(8).redeliver(0).sender().unwrap();
    segment.channel::<u64>("pair").capacity(8).spsc().sender().unwrap();
    segment.bytes("texts").capacity(8, 200).sender().unwrap();
    (name, segment)
}

/// A process that holds something, which it has taken up by now.
fn holder(name: &Name, what: &str) -> Peer {
    let peer = Peer::start("holder", &[name, &what]);
    peer.expect("holding");
    peer
}

fn pid(peer: &Peer) -> u32 {
    peer.pid().unsigned_abs()
}

/// Kills it, and waits until somebody has noticed.
#[track_caller]
fn bury(segment: &Segment, peer: Peer) {
    let total = segment.deaths().total;
    peer.kill();
    peer.finish();
    wait_until(|| segment.sweep().unwrap() || segment.deaths().total > total);
}

/// Unsent, redelivered, dropped, and buffers.
fn counts(death: &Death) -> [u64; 4] {
    [death.unsent, death.redelivered, death.dropped, death.buffers]
}

#[test]
fn each_death_says_who_it_was_what_it_held_and_what_was_done() {
    let (name, segment) = segment();
    let cases = [
        ("nothing", [0, 0, 0, 0], (0, 0), None),
        ("claim", [1, 0, 0, 0], (1, 0), Some("jobs")),
        ("delivery", [0, 1, 0, 0], (0, 1), Some("jobs")),
        ("last delivery", [0, 0, 1, 0], (0, 1), Some("once")),
        ("text grant", [0, 0, 0, 1], (1, 0), Some("texts")),
        ("text delivery", [0, 1, 0, 0], (0, 1), Some("texts")),
        ("spsc delivery", [0, 1, 0, 0], (0, 1), Some("pair")),
        ("much", [2, 2, 1, 1], (4, 4), Some("jobs")),
    ];
    for (n, (what, held, ends, channel)) in (1..).zip(cases) {
        for channel in ["jobs", "once"] {
            let channel = segment.channel::<u64>(channel);
            while let Ok(_old) = channel.receiver().unwrap().try_recv() {}
            channel.sender().unwrap().send_batch(&[1, 2, 3]).unwrap();
        }
        let _ = segment.channel::<u64>("pair").spsc().sender().unwrap().try_send(1);
        segment.bytes("texts").sender().unwrap().send(b"text").unwrap();
        let peer = holder(&name, what);
        let (before, pid) = (proc::monotonic(), pid(&peer));
        let started = proc::start_time(pid).unwrap();
        bury(&segment, peer);
        let deaths = segment.deaths();
        assert_eq!((deaths.total, deaths.recent.len()), (n, n as usize), "{what}");
        let death = deaths.recent.last().unwrap();
        assert_eq!((death.pid, death.uid), (pid, proc::uid()), "{what}");
        assert_eq!(death.start_time, started, "{what}");
        assert_eq!(Some(death.pid_namespace), proc::pid_namespace(), "{what}");
        assert!((before..=proc::monotonic()).contains(&death.found_ns), "{what}");
        assert!(death.ago.as_nanos() <= u128::from(proc::monotonic() - before));
        assert_eq!(counts(death), held, "{what}: {death}");
        assert_eq!((death.senders, death.receivers), ends, "{what}");
        assert_eq!(death.channel.as_deref(), channel, "{what}");
        assert!(death.to_string().starts_with(&format!("process {pid} died ")), "{death}");
        // The answers equal the channels' counts.
        let said = |what: fn(&Death) -> u64| deaths.recent.iter().map(what).sum::<u64>();
        let done = |what: fn(&tombolo::ChannelInfo) -> u64| {
            segment.channels().iter().map(what).sum::<u64>()
        };
        assert_eq!(said(|death| death.unsent), done(|channel| channel.unsent));
        assert_eq!(said(|death| death.redelivered), done(|channel| channel.redelivered));
        assert_eq!(said(|death| death.dropped), done(|channel| channel.dropped));
        if what == "text delivery" {
            let mut into = Vec::new();
            segment.bytes("texts").receiver().unwrap().recv(&mut into).unwrap();
            assert_eq!(into, b"text");
        }
    }
}

#[test]
fn deaths_are_told_in_their_order_with_those_who_left_between_unmentioned() {
    let (name, segment) = segment();
    let mut pids = Vec::new();
    for n in 0..10 {
        let mut peer = holder(&name, "nothing");
        if n % 3 == 2 {
            peer.tell("leave");
            assert_eq!(peer.join(), 0);
        } else {
            pids.push(pid(&peer));
            bury(&segment, peer);
        }
        drop(Segment::open(&name).unwrap());
    }
    let deaths = segment.deaths();
    assert_eq!(deaths.recent.iter().map(|death| death.pid).collect::<Vec<_>>(), pids);
    assert!(deaths.recent.is_sorted_by_key(|death| death.found_ns));
    assert_eq!(deaths.total, pids.len() as u64);
    // A process outside of the segment is told the same.
    let listed = Segment::list().unwrap().into_iter().find(|info| info.name == *name).unwrap();
    assert_eq!(listed.deaths.total, deaths.total);
    assert_eq!(listed.deaths.recent.iter().map(|death| death.pid).collect::<Vec<_>>(), pids);
}

/// All of one's waiters wake at once, and each of them sweeps.
#[test]
fn a_death_that_many_find_at_once_counts_once() {
    let (name, segment) = large_segment();
    let waiters: Vec<Peer> =
        (0..6).map(|n| Peer::start("waiter", &[&name, &(n % 2 == 0)])).collect();
    for waiter in &waiters {
        waiter.wait_until_parked();
    }
    let mut pids = Vec::new();
    for round in 1..=20 {
        let peer = holder(&name, "claim");
        pids.push(pid(&peer));
        let sweeping = thread::spawn({
            let segment = segment.clone();
            move || wait_until(|| segment.sweep().unwrap() || segment.deaths().total >= round)
        });
        peer.kill();
        peer.finish();
        wait_until(|| segment.participants().len() == 1 + waiters.len());
        sweeping.join().unwrap();
        assert_eq!(segment.deaths().total, round);
    }
    let deaths = segment.deaths();
    let told: Vec<u32> = deaths.recent.iter().map(|death| death.pid).collect();
    assert_eq!(told, pids);
    assert!(deaths.recent.iter().all(|death| counts(death) == [1, 0, 0, 0]), "{deaths:?}");
    assert!(waiters.iter().all(Peer::silent));
}

#[test]
fn more_deaths_than_are_remembered_are_counted_and_the_last_remembered() {
    effort::say_how_to_repeat();
    let all = effort::rounds(160, 1_000) as usize;
    const AT_ONCE: usize = 8;
    let (name, segment) = segment();
    let mut crowds = BTreeMap::new();
    for crowd in 0..all / AT_ONCE {
        let peers: Vec<Peer> = (0..AT_ONCE).map(|_| Peer::start("mayfly", &[&name])).collect();
        crowds.extend(peers.iter().map(|peer| (pid(peer), crowd)));
        peers.into_iter().for_each(|peer| assert_eq!(peer.join(), -9));
    }
    segment.sweep().unwrap();
    let deaths = segment.deaths();
    assert_eq!((deaths.total, segment.participants().len()), (all as u64, 1));
    // Each came, and died: half of the records, but for who came together.
    assert!((50..=78).contains(&deaths.recent.len()), "{}", deaths.recent.len());
    let told: Vec<usize> = deaths.recent.iter().map(|death| crowds[&death.pid]).collect();
    assert!(told.is_sorted() && told.last() == Some(&(all / AT_ONCE - 1)), "{told:?}");
    let mut pids: Vec<u32> = deaths.recent.iter().map(|death| death.pid).collect();
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), told.len());
}

/// Sweepers are killed while they sweep, and swept, again and again: nobody
/// is counted twice, and nobody forgotten.
#[test]
fn sweepers_that_are_killed_over_it_are_recorded_like_everybody() {
    let (name, segment) = large_segment();
    let mut killed = Vec::new();
    for round in 0..30 {
        let victims: Vec<Peer> = (0..2).map(|_| holder(&name, "claim")).collect();
        let mut sweeper = Peer::start("sweeper", &[&name]);
        sweeper.expect("ready");
        sweeper.tell("sweep");
        for victim in victims {
            killed.push((pid(&victim), 1));
            victim.kill();
            victim.finish();
        }
        for _ in 0..round * 800 {
            std::hint::spin_loop();
        }
        killed.push((pid(&sweeper), 0));
        sweeper.kill();
        sweeper.finish();
        wait_until(|| {
            segment.sweep().unwrap();
            segment.participants().len() == 1
        });
        let deaths = segment.deaths();
        assert_eq!(deaths.total, killed.len() as u64, "round {round}");
        let told = deaths.recent.iter().map(|death| (death.pid, death.unsent));
        let told: BTreeMap<u32, u64> = told.collect();
        for (pid, unsent) in &killed[killed.len() - 3..] {
            assert_eq!(told.get(pid), Some(unsent), "round {round}: {deaths:?}");
        }
    }
}

#[test]
fn who_has_just_left_has_not_died() {
    let (name, segment) = segment();
    for _ in 0..50 {
        drop(Segment::open(&name).unwrap());
    }
    let deaths = segment.deaths();
    assert_eq!((deaths.total, deaths.recent.len()), (0, 0));
}

/// The journal, as the format has it.
struct Journal(Words);

const RECORDS: u64 = 128;
const WRITING: u64 = 1;
const DONE: u64 = 2;
const VOID: u64 = 3;
const STUCK: u64 = 4;
const LEASEHOLDER: u64 = 8_192;

impl Journal {
    fn of(segment: &Segment) -> Journal {
        Journal(Words::behind(segment))
    }

    fn infos(&self) -> usize {
        (64 + self.0.get(7) as usize).next_multiple_of(16)
    }

    /// Where a participant's end is recorded.
    fn end(&self, participant: usize) -> usize {
        self.infos() + 16 * participant + 4
    }

    /// Where the record of a position is.
    fn place(&self, position: u64) -> usize {
        let journal = (self.infos() + 16 * self.0.get(7) as usize).next_multiple_of(16);
        journal + 16 * (position % RECORDS) as usize
    }

    /// Phase, owner and position of a record.
    fn record(&self, position: u64) -> (u64, u64, u64) {
        let word = self.0.get(self.place(position));
        (word >> 14 & 7, word & 0x3FFF, word >> 17)
    }

    fn next(&self) -> u64 {
        (0..RECORDS).map(|n| self.record(n)).filter(|record| record.0 != 0).count() as u64
    }

    fn put(&self, position: u64, phase: u64, owner: u64) {
        self.0.put(self.place(position), position << 17 | phase << 14 | owner);
    }
}

#[test]
fn a_record_that_was_begun_under_the_lease_is_closed_under_the_next() {
    let (name, segment) = segment();
    let journal = Journal::of(&segment);
    let at = journal.next();
    journal.put(at, WRITING, LEASEHOLDER);
    // Nobody knows whose it is until they hold the lease.
    segment.sweep().unwrap();
    assert_eq!(journal.record(at), (WRITING, LEASEHOLDER, at));
    drop(Segment::open(&name).unwrap());
    assert_eq!(journal.record(at), (VOID, 0, at));
    assert_eq!(journal.record(at + 1), (DONE, 0, at + 1));
    bury(&segment, holder(&name, "nothing"));
    assert_eq!((segment.deaths().total, segment.deaths().recent.len()), (1, 1));
}

#[test]
fn a_record_that_a_dead_participant_was_writing_is_void_and_its_death_told() {
    let (name, segment) = segment();
    let journal = Journal::of(&segment);
    let peer = holder(&name, "claim");
    let at = journal.next();
    // Slot 1, as the first to come after this process.
    journal.put(at, WRITING, 1);
    let pid = pid(&peer);
    assert_eq!(segment.deaths().recent.len(), 0);
    bury(&segment, peer);
    assert_eq!(journal.record(at), (VOID, 0, at));
    let deaths = segment.deaths();
    assert_eq!((deaths.total, deaths.recent.len()), (1, 1));
    assert_eq!((deaths.recent[0].pid, counts(&deaths.recent[0])), (pid, [1, 0, 0, 0]));
}

/// As if whoever found the death had died between deciding which record it is
/// and publishing that, with the lease or as a participant.
#[test]
fn a_death_whose_recorder_died_over_it_is_told_by_the_next() {
    for recorder in [LEASEHOLDER, 9] {
        let (name, segment) = segment();
        let journal = Journal::of(&segment);
        let peer = holder(&name, "claim");
        let at = journal.next();
        let place = journal.place(at);
        // Slot 1, died; its pid; one tombstone.
        for (field, value) in [(1, 1 << 16 | 3), (4, 4_711), (10, 1)] {
            journal.0.put(place + field, value);
        }
        journal.put(at, WRITING, recorder);
        journal.0.put(journal.end(1), at << 32 | 1 << 1 | 1);
        assert_eq!((segment.deaths().total, segment.deaths().recent.len()), (1, 0));
        peer.kill();
        peer.finish();
        wait_until(|| segment.sweep().unwrap());
        assert_eq!(journal.record(at), (DONE, 0, at));
        let deaths = segment.deaths();
        assert_eq!((deaths.total, deaths.recent.len()), (1, 1));
        assert_eq!((deaths.recent[0].pid, deaths.recent[0].unsent), (4_711, 1));
        // The slot's next life has an end of its own.
        bury(&segment, holder(&name, "nothing"));
        assert_eq!((segment.deaths().total, segment.deaths().recent.len()), (2, 2));
    }
}

/// As if this process were stopped in the middle of a record.
#[test]
fn the_journal_goes_on_round_a_record_whose_writer_is_slow() {
    let (name, segment) = segment();
    let journal = Journal::of(&segment);
    let at = journal.next();
    let place = journal.place(at);
    journal.put(at, WRITING, 0);
    let fields = || (1..16).map(|n| journal.0.get(place + n)).collect::<Vec<_>>();
    let before = fields();
    for _ in 0..RECORDS * 2 {
        drop(Segment::open(&name).unwrap());
    }
    let (phase, owner, position) = journal.record(at);
    assert_eq!((phase, owner, position % RECORDS), (STUCK, 0, at % RECORDS));
    assert!(position > at + 2 * RECORDS, "{position}");
    assert_eq!(fields(), before, "somebody has written into it");
    let peer = holder(&name, "claim");
    let pid = pid(&peer);
    bury(&segment, peer);
    let deaths = segment.deaths();
    assert_eq!((deaths.total, deaths.recent.len()), (1, 1));
    assert_eq!(deaths.recent[0].pid, pid);
}

#[test]
fn a_journal_of_garbage_keeps_nobody_from_anything() {
    let (name, segment) = segment();
    let journal = Journal::of(&segment);
    let patterns = [u64::MAX, u64::MAX >> 1, 0x5555_5555_5555_5555, 1 << 63, 7 << 14 | 1, 8 << 14];
    for (total, pattern) in (1..).zip(patterns) {
        for at in 0..RECORDS {
            let place = journal.place(at);
            (place..place + 16)
                .for_each(|word| journal.0.put(word, pattern.rotate_left(at as u32)));
        }
        assert!(segment.deaths().recent.len() <= 256);
        let peer = holder(&name, "claim");
        bury(&segment, peer);
        let deaths = segment.deaths();
        assert!(deaths.total <= total && deaths.recent.len() <= 256, "{deaths:?}");
        assert_eq!(segment.participants().len(), 1);
        // And what it held has been put right.
        let unsent: u64 = segment.channels().iter().map(|channel| channel.unsent).sum();
        assert_eq!(unsent, total);
    }
}

fn hold(brief: &Brief) {
    let segment = Segment::open(brief.text(0)).unwrap();
    let jobs = segment.channel::<u64>("jobs");
    let once = segment.channel::<u64>("once");
    let pair = segment.channel::<u64>("pair").spsc();
    let texts = segment.bytes("texts");
    let hold = || {
        brief.say("holding");
        brief.hear();
    };
    match brief.text(1) {
        "claim" => {
            let mut tx = jobs.sender().unwrap();
            let _grant = tx.reserve().unwrap();
            hold();
        }
        "delivery" => {
            let mut rx = jobs.receiver().unwrap();
            let _delivery = rx.take().unwrap();
            hold();
        }
        "last delivery" => {
            let mut rx = once.receiver().unwrap();
            let _delivery = rx.take().unwrap();
            hold();
        }
        "text grant" => {
            let mut tx = texts.sender().unwrap();
            // Too long for a slot, so it has a message block.
            let _grant = tx.reserve(150).unwrap();
            hold();
        }
        "text delivery" => {
            let mut rx = texts.receiver().unwrap();
            let _delivery = rx.take().unwrap();
            hold();
        }
        "spsc delivery" => {
            let mut rx = pair.receiver().unwrap();
            let _delivery = rx.take().unwrap();
            hold();
        }
        "much" => {
            let (mut one, mut two) = (jobs.sender().unwrap(), jobs.sender().unwrap());
            let (mut three, mut four) = (jobs.receiver().unwrap(), jobs.receiver().unwrap());
            let (mut last, mut text) = (once.receiver().unwrap(), texts.sender().unwrap());
            let _pair = (pair.sender().unwrap(), pair.receiver().unwrap());
            let _grants = (one.reserve().unwrap(), two.reserve().unwrap());
            let _deliveries = (three.take().unwrap(), four.take().unwrap());
            let (_last, _text) = (last.take().unwrap(), text.reserve(150).unwrap());
            hold();
        }
        _ => hold(),
    }
}

#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    match &*brief.role {
        "holder" => hold(&brief),
        "waiter" => {
            let segment = Segment::open(brief.text(0)).unwrap();
            let jobs = segment.channel::<u64>("jobs");
            if brief.text(1) == "true" {
                let _sender = jobs.sender().unwrap();
                let _ = jobs.receiver().unwrap().recv();
            } else {
                let _receiver = jobs.receiver().unwrap();
                let _ = jobs.receiver().unwrap().recv();
            }
            brief.say("woken");
        }
        "sweeper" => {
            let segment = Segment::open(brief.text(0)).unwrap();
            brief.say("ready");
            brief.hear();
            loop {
                segment.sweep().unwrap();
            }
        }
        "mayfly" => {
            std::mem::forget(Segment::open(brief.text(0)).unwrap());
            nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap();
        }
        role => panic!("{role}"),
    }
}
