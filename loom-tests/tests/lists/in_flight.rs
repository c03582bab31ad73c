//! The messages that consumers of an SPSC ring have in flight, against a plain count of the
//! deaths over each message: long sequences of whole operations by one thread.

use std::collections::VecDeque;

use crate::effort;
use crate::ring::in_flight::{self, IN_FLIGHT, InFlight, Reader};
use crate::ring::mpmc::{MAX_ATTEMPTS, Recovered};
use crate::ring::recovery::{Counting, Repairing};
use crate::ring::spsc::{Indices, Producer};
use crate::ring::table::Member;
use crate::sync::{AtomicU64, Ordering::Relaxed};

/// xorshift: the same sequences everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n
    }
}

struct Ring {
    capacity: u64,
    head: AtomicU64,
    tail: AtomicU64,
    marks: [AtomicU64; IN_FLIGHT],
    taker: AtomicU64,
}

impl Indices for Ring {
    fn capacity(&self) -> u64 {
        self.capacity
    }
    fn head(&self) -> &AtomicU64 {
        &self.head
    }
    fn tail(&self) -> &AtomicU64 {
        &self.tail
    }
}

impl InFlight for Ring {
    fn marks(&self) -> usize {
        IN_FLIGHT
    }
    fn mark(&self, n: usize) -> &AtomicU64 {
        &self.marks[n]
    }
    fn taker(&self) -> &AtomicU64 {
        &self.taker
    }
    fn messages(&self, cells: u64) -> u64 {
        cells
    }
}

impl Ring {
    fn new(capacity: u64) -> Self {
        let word = || AtomicU64::new(0);
        let marks = core::array::from_fn(|_| word());
        Self { capacity, head: word(), tail: word(), marks, taker: word() }
    }
}

fn recover(ring: &Ring, dead: Member, attempts: u8) -> Recovered {
    in_flight::recover(ring, dead, attempts, &Repairing(|| true)).unwrap()
}

/// A channel, and how many have died over each message that is in it.
struct Line {
    ring: Ring,
    attempts: u8,
    producer: Producer,
    reader: Reader,
    member: Member,
    deaths: VecDeque<u64>,
    /// The messages that the reader holds.
    held: u64,
}

impl Line {
    fn new(capacity: u64, attempts: u8) -> Self {
        let ring = Ring::new(capacity);
        let producer = Producer::attach(&ring).unwrap();
        let member = Member { id: 3, incarnation: 1 };
        let (reader, dropped) = Reader::attach(&ring, member, attempts).unwrap();
        assert!(!dropped);
        Self { ring, attempts, producer, reader, member, deaths: VecDeque::new(), held: 0 }
    }

    fn send(&mut self, most: u64) {
        let room = self.producer.room(&self.ring, most).unwrap();
        assert_eq!(room, most.min(self.ring.capacity - self.deaths.len() as u64));
        if room > 0 {
            self.producer.publish(&self.ring, room);
            self.deaths.extend((0..room).map(|_| 0));
        }
    }

    fn take(&mut self, most: u64) {
        let filled = self.reader.filled(&self.ring, most).unwrap();
        assert_eq!(filled, most.min(self.deaths.len() as u64));
        let Some(&first) = self.deaths.front() else { return };
        let alike = self.reader.alike(&self.ring, filled);
        let same = self.deaths.iter().take(filled as usize).take_while(|&&n| n == first);
        assert_eq!(alike, same.count() as u64, "{:?}", self.deaths);
        self.reader.hold(&self.ring, alike);
        // Its own mark is not one of the dead's.
        assert_eq!(u64::from(self.reader.attempts(&self.ring)), first);
        self.held = alike;
    }

    /// Acknowledges the first of what is in flight, and gives the rest back.
    fn release(&mut self, count: u64) {
        if count < self.held {
            self.reader.hold(&self.ring, count);
        }
        self.reader.release(&self.ring, count);
        self.deaths.drain(..count as usize);
        self.held = 0;
    }

    /// Receives without keeping anything.
    fn receive(&mut self) {
        if self.reader.filled(&self.ring, 1).unwrap() > 0 {
            self.reader.release(&self.ring, 1);
            self.deaths.pop_front();
        }
    }

    /// The reader dies or leaves, and a successor comes.
    fn succeed(&mut self, died: bool) {
        let held = if died { core::mem::take(&mut self.held) } else { 0 };
        let before = self.deaths.front().copied().unwrap_or(0);
        self.deaths.iter_mut().take(held as usize).for_each(|deaths| *deaths += 1);
        let mut told = Recovered::default();
        if before < u64::from(self.attempts) {
            told.orphans = held;
        } else {
            told.dropped = held;
        }
        let (ring, attempts) = (&self.ring, self.attempts);
        let stranger = Member { id: 4, ..self.member };
        assert_eq!(recover(ring, stranger, attempts), Recovered::default());
        if died {
            assert_eq!(in_flight::recover(ring, self.member, attempts, &Counting).unwrap(), told);
            assert_eq!(recover(ring, self.member, attempts), told);
        }
        assert_eq!(in_flight::recover(ring, self.member, attempts, &Counting).unwrap().orphans, 0);
        self.member.incarnation += 1;
        let (reader, dropped) = Reader::attach(ring, self.member, attempts).unwrap();
        self.reader = reader;
        assert_eq!(dropped, told.dropped > 0);
        self.deaths.drain(..told.dropped as usize);
        assert!(self.deaths.iter().all(|&deaths| deaths <= u64::from(attempts)));
        assert_eq!(self.ring.head.load(Relaxed), self.reader.position());
    }
}

#[test]
fn every_message_counts_those_who_died_over_it() {
    let mut most = 0;
    for seed in effort::seeds(1_000, 20_000) {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let attempts = [0, 1, 2, 8, MAX_ATTEMPTS][random.below(5) as usize];
        let capacity = 1 + random.below(20);
        let mut line = Line::new(capacity, attempts);
        for _ in 0..100 {
            match random.below(16) {
                0..=2 => line.send(1 + random.below(capacity)),
                3 => line.receive(),
                4..=5 => line.succeed(false),
                // Attached, and nothing taken.
                6 => line.succeed(true),
                what => {
                    line.take(1 + random.below(capacity));
                    match what {
                        7..=8 => line.release(random.below(line.held + 1)),
                        9 => line.release(line.held),
                        _ => line.succeed(true),
                    }
                }
            }
            most = most.max(line.deaths.iter().copied().max().unwrap_or(0));
        }
    }
    assert_eq!(most, u64::from(MAX_ATTEMPTS), "the limit was never come to");
}

/// With any content of the marks, nobody gets beyond the filled slots.
#[test]
fn lying_marks_do_no_harm() {
    let mut dropped = 0;
    for seed in effort::seeds(1_000, 20_000) {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let capacity = 1 + random.below(20);
        let mut line = Line::new(capacity, random.below(16) as u8);
        for _ in 0..20 {
            line.send(random.below(capacity + 1));
            for mark in &line.ring.marks {
                let near = line.reader.position().wrapping_add(random.below(2 * capacity));
                mark.store(
                    if random.below(9) == 0 { random.below(u64::MAX) } else { near },
                    Relaxed,
                );
            }
            let (reader, some) = Reader::attach(&line.ring, line.member, line.attempts).unwrap();
            let before = line.reader.position();
            let gone = reader.position() - before;
            assert!(gone <= line.deaths.len() as u64 && some == (gone > 0));
            line.deaths.drain(..gone as usize);
            line.reader = reader;
            dropped += gone;
            let filled = line.reader.filled(&line.ring, capacity).unwrap();
            assert_eq!(filled, line.deaths.len() as u64);
            if filled > 0 {
                assert!((1..=filled).contains(&line.reader.alike(&line.ring, filled)));
            }
            assert!(usize::from(line.reader.attempts(&line.ring)) < IN_FLIGHT);
        }
    }
    assert!(dropped > 0);
}
