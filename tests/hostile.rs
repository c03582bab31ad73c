//! A peer that writes anything anywhere: whoever else is in the segment gets
//! data or an error, in time, and goes on.
//!
//! The victims are processes of their own, so that a crash is seen as one.

#![allow(unsafe_code)]

mod common;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tombolo::sys::{proc, shm::Shm};
use tombolo::{Kind, Options, Receiver, Segment, Sender};

use common::{Brief, MAGIC, Name, Peer, Words, clear, key_of, word};

/// No call that does not wait may take longer, on the busiest machine.
const A_CALL: Duration = Duration::from_secs(3);
/// What a victim has for all of its rounds.
const ALL: Duration = Duration::from_secs(30);

fn small() -> Options {
    Segment::options().size(12_000).participants(4).channels(4)
}

/// Runs a victim with a seed of its own, which a failure names.
fn survives(role: &str, rounds: u32) {
    let name = Name::new();
    let seed = proc::random_u64().unwrap();
    let mut victim = Peer::start(role, &[&name, &seed, &rounds]);
    victim.tell("go");
    let said = victim.said_within(ALL).unwrap_or_else(|| panic!("seed {seed}: it hangs"));
    assert_eq!(said, "survived", "seed {seed}");
    assert_eq!(victim.join(), 0, "seed {seed}");
}

#[test]
fn words_overwritten_during_an_exchange_harm_nobody() {
    // 60 mutations each.
    survives("exchange", 350);
}

#[test]
fn a_header_of_garbage_is_refused_or_harmless() {
    survives("open garbage", 3_000);
}

#[test]
fn a_directory_of_garbage_is_refused_or_harmless() {
    survives("list garbage", 3_000);
}

#[test]
fn an_id_of_garbage_is_refused_or_harmless() {
    survives("open garbage by id", 1_500);
}

/// Marsaglia's xorshift: the same numbers for the same seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

/// Writes something over one word.
fn mutate(words: &Words, random: &mut Random) {
    // Most often where something is: zero words are most of a segment.
    let mut index = random.below(words.len());
    for _ in 0..6 {
        if words.get(index) != 0 {
            break;
        }
        index = random.below(words.len());
    }
    let old = words.get(index);
    let new = match random.below(8) {
        0 => random.next(),
        1 => u64::MAX,
        2 => 0,
        3 => words.get(random.below(words.len())),
        4 => old.wrapping_add(random.next() % 5).wrapping_sub(2),
        5 => random.next() >> random.below(64),
        _ => old ^ 1 << random.below(64),
    };
    words.put(index, new);
}

/// Runs a call, and says so if it takes too long.
fn timed<R>(what: &str, call: impl FnOnce() -> R) -> R {
    let began = Instant::now();
    let result = call();
    assert!(began.elapsed() < A_CALL, "{what} took {:?}", began.elapsed());
    result
}

/// Everything that can be done with two ends without waiting for long. What
/// comes of it does not matter, only that something does.
fn use_ends<K: Kind>(tx: &Sender<u64, K>, rx: &Receiver<u64, K>, random: &mut Random) {
    let moment = Duration::from_micros(20);
    let mut got = Vec::new();
    match random.below(12) {
        0..3 => drop(timed("try_send", || tx.try_send(1))),
        3..6 => drop(timed("try_recv", || rx.try_recv())),
        6 => drop(timed("try_send_batch", || tx.try_send_batch(&[1; 9]))),
        7 => drop(timed("send_timeout", || tx.send_timeout(2, moment))),
        8 => drop(timed("recv_timeout", || rx.recv_timeout(moment))),
        // Does not wait, by all that can be known.
        9 if !rx.is_empty() && rx.try_recv().is_ok() => {
            tx.try_send_batch(&[3; 9]).ok();
        }
        10 => got.push(timed("len", || tx.len() + rx.len()) as u64),
        _ => got.push(u64::from(timed("is_full", || rx.is_full() || tx.is_empty()))),
    }
}

fn exchange(name: &str, seed: u64, rounds: u32) {
    let mut random = Random(seed | 1);
    let (mut passed, mut refused) = (0, 0);
    for _ in 0..rounds {
        clear(name);
        let segment = small().timeout(Duration::from_millis(20)).create(name).unwrap();
        let words = Words::behind(&segment);
        let done = AtomicBool::new(false);
        let calls = AtomicU64::new(0);
        thread::scope(|scope| {
            let many = segment.channel::<u64>("many").capacity(7);
            let one = segment.channel::<u64>("one").spsc().capacity(5);
            for _ in 0..2 {
                let (tx, rx) = (many.sender().unwrap(), many.receiver().unwrap());
                let mut random = Random(random.next() | 1);
                let (done, calls) = (&done, &calls);
                scope.spawn(move || {
                    while !done.load(Ordering::Relaxed) {
                        use_ends(&tx, &rx, &mut random);
                        calls.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            let (tx, rx) = (one.sender().unwrap(), one.receiver().unwrap());
            for n in 0..60 {
                // Between the others' calls, and in them.
                let before = calls.load(Ordering::Relaxed);
                while n % 3 == 0 && calls.load(Ordering::Relaxed) < before + 4 {
                    std::hint::spin_loop();
                }
                mutate(&words, &mut random);
                use_ends(&tx, &rx, &mut random);
                match random.below(24) {
                    0 => drop(timed("sweep", || segment.sweep())),
                    1 => drop(timed("channels", || segment.channels())),
                    2 => {
                        drop(timed("participants", || segment.participants()));
                        drop(timed("deaths", || segment.deaths()));
                    }
                    3 => drop(timed("sender", || many.sender())),
                    4 => drop(timed("receiver", || one.receiver())),
                    5 => match timed("open", || small().timeout(A_CALL / 2).open(name)) {
                        Ok(_) => passed += 1,
                        Err(_) => refused += 1,
                    },
                    6 => {
                        let new = segment.channel::<char>("new").capacity(3);
                        if let (Ok(tx), Ok(rx)) = (new.sender(), new.receiver()) {
                            let _ = tx.try_send('x');
                            let _ = timed("try_recv", || rx.try_recv());
                        }
                    }
                    _ => {}
                }
            }
            done.store(true, Ordering::Relaxed);
        });
        timed("leaving", || drop(segment));
    }
    // It was neither all in vain nor harmless.
    assert!(passed > 0 && refused > 0, "{passed} passed and {refused} were refused");
}

/// Puts garbage over a part of a good segment, and tries to use it.
fn garbage(name: &str, seed: u64, rounds: u32, role: &str) {
    let mut random = Random(seed | 1);
    clear(name);
    let make = || {
        let segment = small().create(name).unwrap();
        let channel = segment.channel::<u64>("many").capacity(7);
        let (tx, _rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        tx.send(1).unwrap();
        drop(segment.channel::<u64>("one").spsc().capacity(5).sender().unwrap());
        Words::behind(&segment).copy()
    };
    let mut good = make();
    let (mut opened, mut refused) = (0, 0);
    for _ in 0..rounds {
        let Ok(shm) = Shm::open(key_of(name, 0)) else {
            // It was taken for debris and cleared away.
            refused += 1;
            clear(name);
            good = make();
            continue;
        };
        let words = Words::of(shm);
        for (index, &value) in good.iter().enumerate() {
            words.put(index, value);
        }
        let (from, to) = match role {
            // The tables, the journal, the directory; or the blocks too.
            "list garbage" => match random.below(8) {
                0..3 => (64, 112),
                3 => (112, 2_160),
                4..6 => (2_160, 2_416),
                _ => (64, words.len()),
            },
            _ => (0, 64),
        };
        // A little of it, or all.
        if random.below(2) == 0 {
            for _ in 0..1 + random.below(4) {
                let index = from + random.below(to - from);
                let value = random.next() >> random.below(64);
                words.put(
                    index,
                    if random.below(2) == 0 { value } else { words.get(index) ^ value },
                );
            }
        } else {
            let shift = random.below(64);
            (from..to).for_each(|index| words.put(index, random.next() >> shift));
        }
        // Otherwise most of it is no segment at all.
        if random.below(4) > 0 {
            for index in [word::MAGIC, word::VERSION, word::SET, 4] {
                words.put(index, good[index]);
            }
            assert_eq!(words.get(word::MAGIC), MAGIC);
        }
        let options = small().timeout(A_CALL / 2);
        let segment = timed("open", || match role {
            "open garbage by id" => options.open_id(shm.id()),
            _ => options.open(name),
        });
        match segment {
            Err(_) => refused += 1,
            Ok(segment) => {
                opened += 1;
                let listed = timed("channels", || segment.channels());
                assert!(listed.len() <= 4_096);
                let _ = timed("participants", || segment.participants());
                assert!(timed("deaths", || segment.deaths()).recent.len() <= 256);
                let many = segment.channel::<u64>("many");
                match (timed("sender", || many.sender()), many.receiver()) {
                    (Ok(tx), Ok(rx)) => (0..30).for_each(|_| use_ends(&tx, &rx, &mut random)),
                    _ => refused += 1,
                }
                let one = segment.channel::<u64>("one").spsc().capacity(5);
                match (timed("sender", || one.sender()), one.receiver()) {
                    (Ok(tx), Ok(rx)) => (0..30).for_each(|_| use_ends(&tx, &rx, &mut random)),
                    _ => refused += 1,
                }
                timed("leaving", || drop(segment));
            }
        }
    }
    assert!(opened > 10 && refused > 10, "{opened} opened and {refused} were refused");
}

#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    let (name, seed, rounds) = (brief.text(0), brief.number(1), brief.number(2));
    brief.hear();
    match &*brief.role {
        "exchange" => exchange(name, seed, rounds),
        role => garbage(name, seed, rounds, role),
    }
    clear(name);
    brief.say("survived");
}
