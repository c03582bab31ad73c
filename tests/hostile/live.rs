//! Two processes with several threads each exchange messages on every kind of ring, while
//! a third overwrites anything in the segment.
//!
//! This happens in rounds, because a segment that was overwritten for long has nothing
//! left to go wrong. Each round has threads that never wait, threads that wait for ever,
//! and one that opens, lists, looks and sweeps. Then the segment is removed, which ends
//! the waiting threads, and a new one with the same name is created.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use tombolo::sys::shm::Shm;
use tombolo::{Observer, OpenError, Segment};

use crate::case::small;
use crate::common::{Brief, Name, Owned, Peer, Words, effort, own_tables, segment, tables};
use crate::ends::{A_CALL, End, PROMPT, RINGS, Site, WAITING, receiver, sender, timed};
use crate::fields::Fields;
use crate::guard;
use crate::input::{Input, mutate};
use crate::replay::Random;

/// Longer than one segment is attacked.
const A_ROUND_TAKES: Duration = Duration::from_secs(60);
/// Mutations of one segment.
const A_ROUND: u64 = 300;
/// How long an attack waits for the others to do something.
const PACE: Duration = Duration::from_micros(300);

/// The words of the three processes and the test for each other, outside of the
/// segment that is under attack.
struct Ledger(Words);

impl Ledger {
    /// Which segment is being attacked, from 1.
    const ROUND: usize = 0;
    /// Up to which one the attack is over.
    const OVER: usize = 1;
    const STOP: usize = 2;
    const MUTATIONS: usize = 3;
    const CALLS: usize = 4;
    const RECEIVED: usize = 5;
    /// By process: for which round it is there, and with which it is done.
    const READY: usize = 6;
    const DONE: usize = 8;
    /// By thread: how many calls it has begun and ended, those that may wait
    /// left out.
    const THREADS: usize = 16;
    const SIZE: usize = 8 * (Self::THREADS + 2 * ROLES);

    fn of(id: i32) -> Self {
        Self(Words::of(Shm::from_id(id)))
    }

    fn get(&self, word: usize) -> u64 {
        self.0.get(word)
    }

    /// How many calls have been begun and ended.
    fn calls(&self) -> u64 {
        (0..2 * ROLES).map(|thread| self.get(Self::THREADS + thread)).sum()
    }

    /// Waits until a word is at least this; says whether it is.
    fn wait(&self, word: usize, value: u64) -> bool {
        let until = Instant::now() + 2 * A_CALL;
        while self.get(word) < value && Instant::now() < until {
            thread::park_timeout(Duration::from_micros(50));
        }
        self.get(word) >= value
    }
}

#[test]
fn two_processes_go_on_while_a_third_writes_over_everything() {
    let own = own_tables();
    let (rounds, seed) = (effort::rounds(20, 200), effort::seed());
    let name = Name::new();
    let shared: Owned<Shm> = segment(Ledger::SIZE);
    let ledger = Ledger::of(shared.id());
    let start = |role: &str, n: u64| {
        Peer::start(role, &[&name, &shared.id(), &(seed.wrapping_mul(n + 1)), &n, &rounds])
    };
    let peers = [start("attack", 2), start("exchange", 0), start("exchange", 1)];

    let (mut round, mut since) = (0, Instant::now());
    let mut seen = vec![(0, Instant::now()); 2 * ROLES];
    while ledger.get(Ledger::STOP) == 0 {
        if ledger.get(Ledger::ROUND) != round {
            (round, since) = (ledger.get(Ledger::ROUND), Instant::now());
        }
        assert!(since.elapsed() < A_ROUND_TAKES, "it does not come to its end");
        thread::park_timeout(Duration::from_millis(20));
        let there = peers.iter().all(Peer::silent);
        assert!(there || ledger.get(Ledger::STOP) != 0, "one of them has ended: seed {seed}");
        for (thread, seen) in seen.iter_mut().enumerate() {
            let calls = ledger.get(Ledger::THREADS + thread);
            if calls != seen.0 || calls.is_multiple_of(2) {
                *seen = (calls, Instant::now());
            }
            assert!(seen.1.elapsed() < 2 * A_CALL, "thread {thread} is in a call: seed {seed}");
        }
    }
    for peer in peers {
        assert_eq!(peer.join(), 0, "seed {seed}");
    }
    let [mutations, calls, received] =
        [Ledger::MUTATIONS, Ledger::CALLS, Ledger::RECEIVED].map(|word| ledger.get(word));
    let rounds = ledger.get(Ledger::ROUND);
    println!(
        "{mutations} mutations of {rounds} segments; {calls} calls, {received} messages received"
    );
    assert!(mutations >= A_ROUND && received > rounds, "hardly anything has happened");
    assert_eq!(name.objects(), (0, 0), "something was left behind");
    drop((ledger, shared));
    if own {
        assert_eq!(tables(), (0, 0), "something was left behind");
    }
}

/// The third process: makes the segments and writes over them.
fn attack(brief: &Brief) {
    let (name, ledger) = (brief.text(0), Ledger::of(brief.number(1)));
    let mut random = Random(brief.number::<u64>(2) | 1 << 63);
    let mut made = 0;
    for round in 1..=brief.number::<u64>(4) {
        let segment = small().create(name).unwrap();
        let words = Words::behind(&segment);
        // The channels, and that a segment of this name works.
        for ring in RINGS {
            let mut ends = (sender(&segment, ring).unwrap(), receiver(&segment, ring).unwrap());
            let site = Site { segment: &segment, patience: None };
            ends.0.operate(0, site, &mut Input(&[]), &mut |_| ());
            assert_eq!(ends.1.operate(0, site, &mut Input(&[]), &mut |_| ()), 1, "{ring}");
        }
        let fields = Fields::of(&words);
        ledger.0.put(Ledger::ROUND, round);
        for process in 0..2 {
            assert!(ledger.wait(Ledger::READY + process, round), "{process} is not there");
        }
        let before = ledger.calls();
        let until = Instant::now() + A_CALL;
        while ledger.calls() < before + 2 * ROLES as u64 && Instant::now() < until {
            thread::park_timeout(Duration::from_micros(50));
        }
        made += write_over(&words, &fields, &ledger, &mut random);
        ledger.0.put(Ledger::MUTATIONS, made);
        segment.remove().unwrap();
        // A process that finds nothing of this name in overwritten memory may
        // have made another one.
        let again = Segment::remove_named(name);
        assert!(matches!(again, Ok(()) | Err(OpenError::NotFound { .. })), "{again:?}");
        ledger.0.put(Ledger::OVER, round);
        for process in 0..2 {
            assert!(ledger.wait(Ledger::DONE + process, round), "{process} goes on waiting");
        }
    }
    ledger.0.put(Ledger::STOP, 1);
}

/// Attacks one segment; says by how many mutations.
fn write_over(words: &Words, fields: &Fields, ledger: &Ledger, random: &mut Random) -> u64 {
    // Seldom or often; and one field again and again, or any.
    let (pause, stubborn) = (1 + random.below(16), random.below(4) == 0);
    let mut input: Vec<u8> = Vec::new();
    for n in 0..A_ROUND as usize {
        let until = Instant::now() + PACE;
        let before = ledger.calls();
        while n.is_multiple_of(pause) && ledger.calls() < before + 4 && Instant::now() < until {
            std::hint::spin_loop();
        }
        let fresh: Vec<u8> = (0..16).map(|_| random.next() as u8).collect();
        let keep = if stubborn && n % 60 > 0 { 3 } else { 0 };
        input = [&input[..keep.min(input.len())], &fresh].concat();
        mutate(words, fields, &mut Input(&input));
    }
    A_ROUND
}

/// Threads of each of the two processes.
const ROLES: usize = 6;

/// One of the two that exchange messages.
fn exchange(brief: &Brief) {
    let (name, ledger) = (brief.text(0), Ledger::of(brief.number(1)));
    let mut random = Random(brief.number::<u64>(2) | 1 << 63);
    let process: usize = brief.number(3);
    for round in 1.. {
        while ledger.get(Ledger::ROUND) < round {
            if ledger.get(Ledger::STOP) != 0 {
                assert!(guard::ATTACHED.load(Ordering::Relaxed) > 1, "nothing was guarded");
                return;
            }
            thread::park_timeout(Duration::from_micros(50));
        }
        // The other one may be holding the lease.
        let segment = small().timeout(A_CALL).open(name).unwrap();
        let ends = ends(&segment, process, round % 2 == 0);
        // Or one that looks around here has an end that the other needs.
        ledger.0.put(Ledger::READY + process, round);
        assert!(ledger.wait(Ledger::READY + 1 - process, round), "the other is not there");
        thread::scope(|scope| {
            for (role, mut ends) in ends.into_iter().enumerate() {
                let mut random = Random(random.next() | 1);
                let (segment, ledger) = (&segment, &ledger);
                let thread = Thread { ledger, round, word: process * ROLES + role };
                scope.spawn(move || match role {
                    0..3 => thread.try_things(&mut ends, segment, &mut random),
                    3 | 4 => thread.wait(&mut ends, segment, &mut random),
                    _ => thread.look_around(name, segment, &mut random),
                });
            }
        });
        timed("leaving", || drop(segment));
        ledger.0.put(Ledger::DONE + process, round);
    }
}

/// The ends of each thread. The SPSC rings lead from either process to the
/// other, now between those that wait, now between those that do not.
fn ends(segment: &Segment, process: usize, waiting: bool) -> [Vec<Box<dyn End>>; ROLES] {
    let both = |ring| [sender(segment, ring).unwrap(), receiver(segment, ring).unwrap()];
    let single = if process == 0 {
        [sender(segment, "one").unwrap(), receiver(segment, "one.bytes").unwrap()]
    } else {
        [receiver(segment, "one").unwrap(), sender(segment, "one.bytes").unwrap()]
    };
    let mut ends = [
        both("many").into(),
        both("many.bytes").into(),
        both("chars").into(),
        both("many").into(),
        both("many.bytes").into(),
        Vec::new(),
    ];
    let [first, second] = single;
    let [a, b] = if waiting { [3, 4] } else { [0, 1] };
    ends[a].push(first);
    ends[b].push(second);
    ends
}

/// One thread in one round.
struct Thread<'a> {
    ledger: &'a Ledger,
    round: u64,
    word: usize,
}

impl Thread<'_> {
    fn goes_on(&self) -> bool {
        self.ledger.get(Ledger::OVER) < self.round
    }

    /// Runs a call that does not wait, under the eyes of the test.
    fn watched<R>(&self, call: impl FnOnce() -> R) -> R {
        self.ledger.0.add(Ledger::THREADS + self.word, 1);
        let result = call();
        self.ledger.0.add(Ledger::THREADS + self.word, 1);
        result
    }

    fn count(&self, calls: u64, received: u64) {
        self.ledger.0.add(Ledger::CALLS, calls);
        self.ledger.0.add(Ledger::RECEIVED, received);
    }

    fn try_things(&self, ends: &mut [Box<dyn End>], segment: &Segment, random: &mut Random) {
        let site = Site { segment, patience: None };
        let (mut calls, mut received) = (0, 0);
        while self.goes_on() {
            let end = &mut ends[random.below(ends.len())];
            let what = random.below(PROMPT.into()) as u8;
            let bytes = random.next().to_le_bytes();
            let got = || end.operate(what, site, &mut Input(&bytes), &mut |_| ());
            received += self.watched(got) as u64;
            calls += 1;
        }
        self.count(calls, received);
    }

    /// Waits for as long as it takes.
    fn wait(&self, ends: &mut [Box<dyn End>], segment: &Segment, random: &mut Random) {
        let site = Site { segment, patience: None };
        let (mut calls, mut received) = (0, 0);
        while self.goes_on() {
            let end = &mut ends[random.below(ends.len())];
            let what = PROMPT + random.below(WAITING.into()) as u8;
            let bytes = random.next().to_le_bytes();
            received += end.operate(what, site, &mut Input(&bytes), &mut |_| ()) as u64;
            calls += 1;
        }
        self.count(calls, received);
    }

    fn look_around(&self, name: &str, segment: &Segment, random: &mut Random) {
        let mut calls = 0;
        while self.goes_on() {
            self.watched(|| match random.below(9) {
                0 => drop(timed("sweep", || segment.sweep())),
                1 => drop(timed("channels", || segment.channels())),
                2 => drop(timed("participants", || segment.participants())),
                3 => drop(timed("deaths", || segment.deaths())),
                4 => drop(timed("list", Segment::list)),
                5 => drop(timed("orphans", Segment::orphans)),
                6 => drop(timed("open", || small().open(name))),
                7 => drop(timed("look", || Observer::of_id(segment.id()).look())),
                _ => drop(timed("open_id", || small().open_id(segment.id()))),
            });
            let ring = RINGS[random.below(RINGS.len())];
            drop(self.watched(|| timed("sender", || sender(segment, ring))));
            calls += 2;
        }
        self.count(calls, 0);
    }
}

#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    match &*brief.role {
        "attack" => attack(&brief),
        "exchange" => exchange(&brief),
        role => panic!("{role}"),
    }
}
