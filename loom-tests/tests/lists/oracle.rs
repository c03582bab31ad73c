//! The owner-tagged slot ring against a list of what each position is: long
//! sequences of whole operations by one thread, with deaths, at capacities
//! and laps that the models cannot afford.

use std::cell::Cell;

use crate::effort;
use crate::ring::mpmc::{self, Claim, Cursor, Dead, Refused, Taken};
use crate::ring::recovery::Repairing;
use crate::slots::Slots;

const LAPS: u64 = 1 << 44;
const ATTEMPTS: u8 = 3;

const fn dead(owner: u16) -> Dead {
    Dead { owner, attempts: ATTEMPTS, committed: 0 }
}
const STEPS: usize = 200;
const FIRST_CONSUMER: u16 = 10;

/// xorshift: the same sequences everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % n
    }
}

/// The state of a position.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Is {
    Writing,
    Full,
    Reading(u64),
    Orphan(u64),
    Gone,
}

struct Producer {
    cursor: Cell<Cursor>,
    held: Vec<(usize, Claim)>,
}

struct Consumer {
    cursor: Cell<Cursor>,
    held: Vec<(usize, Taken)>,
}

struct Run {
    random: Random,
    ring: Slots,
    capacity: usize,
    positions: Vec<Is>,
    producers: Vec<Producer>,
    consumers: Vec<Consumer>,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        for _ in 0..5 {
            random.below(2);
        }
        let capacity = [1, 2, 3, 4, 5, 7, 16, 17, 20][random.below(9)];
        let lap = [0, 0, 3, LAPS - 1, LAPS - 2][random.below(5)];
        let ring = Slots::from_lap(capacity, lap);
        let producers = (0..=random.below(3))
            .map(|_| Producer { cursor: Cell::new(Cursor::producer(&ring)), held: Vec::new() })
            .collect();
        let consumers = (0..=random.below(3))
            .map(|_| Consumer { cursor: Cell::new(Cursor::consumer(&ring)), held: Vec::new() })
            .collect();
        Self { random, ring, capacity, positions: Vec::new(), producers, consumers }
    }

    /// The position that the next claim has to wait for.
    fn before_next(&self) -> Is {
        let next = self.positions.len();
        next.checked_sub(self.capacity).map_or(Is::Gone, |at| self.positions[at])
    }

    fn first(&self) -> Option<usize> {
        self.positions.iter().position(|is| matches!(is, Is::Full | Is::Writing))
    }

    fn orphaned(&self) -> bool {
        self.positions.iter().any(|is| matches!(is, Is::Orphan(_)))
    }

    fn claim(&mut self, who: usize) {
        let before = self.before_next();
        let at = self.positions.len();
        let producer = &mut self.producers[who];
        if producer.held.len() >= 3 {
            return;
        }
        match (before, mpmc::claim(&self.ring, &producer.cursor, who as u16 + 1)) {
            (Is::Gone, Ok(claim)) => {
                assert_eq!(claim.index, (at % self.capacity) as u64);
                self.positions.push(Is::Writing);
                producer.held.push((at, claim));
            }
            (Is::Full, Err(Refused::None))
            | (Is::Writing | Is::Reading(_) | Is::Orphan(_), Err(Refused::Pending(_))) => {}
            (before, answer) => panic!("a claim after {before:?}: {answer:?}"),
        }
    }

    fn take(&mut self, who: usize) {
        let (orphaned, first) = (self.orphaned(), self.first());
        let capacity = self.capacity;
        let consumer = &mut self.consumers[who];
        let owner = FIRST_CONSUMER + who as u16;
        match mpmc::take(&self.ring, &consumer.cursor, owner) {
            Ok(taken) => {
                let at = if orphaned {
                    let same = |at: &usize| {
                        self.positions[*at] == Is::Orphan(taken.attempts)
                            && (at % capacity) as u64 == taken.index
                    };
                    (0..self.positions.len()).find(same)
                } else {
                    first.filter(|&at| {
                        self.positions[at] == Is::Full
                            && (at % capacity) as u64 == taken.index
                            && taken.attempts == 0
                    })
                };
                let at = at.unwrap_or_else(|| panic!("took {taken:?}, the first is {first:?}"));
                self.positions[at] = Is::Reading(taken.attempts);
                consumer.held.push((at, taken));
            }
            Err(answer) => {
                let first = first.map(|at| self.positions[at]);
                let right = match answer {
                    Refused::None => first.is_none(),
                    Refused::Pending(_) => first == Some(Is::Writing),
                    _ => false,
                };
                assert!(right && !orphaned, "{answer:?}, the first is {first:?}");
            }
        }
    }

    fn producer_dies(&mut self, who: usize) {
        let done = mpmc::recover(&self.ring, dead(who as u16 + 1), &Repairing(|| true), |_, _| {})
            .unwrap();
        assert_eq!(done.tombstones, self.producers[who].held.len() as u64);
        for (at, _) in self.producers[who].held.drain(..) {
            self.positions[at] = Is::Gone;
        }
        self.producers[who].cursor.set(Cursor::producer(&self.ring));
    }

    fn consumer_dies(&mut self, who: usize) {
        mpmc::recover(
            &self.ring,
            dead(FIRST_CONSUMER + who as u16),
            &Repairing(|| true),
            |_, _| {},
        )
        .unwrap();
        for (at, taken) in self.consumers[who].held.drain(..) {
            let again = taken.attempts < u64::from(ATTEMPTS);
            self.positions[at] = if again { Is::Orphan(taken.attempts + 1) } else { Is::Gone };
        }
        self.consumers[who].cursor.set(Cursor::consumer(&self.ring));
    }

    fn step(&mut self) {
        let choice = self.random.below(20);
        let producer = self.random.below(self.producers.len());
        let consumer = self.random.below(self.consumers.len());
        let pick = self.random.below(3);
        let writes = &mut self.producers[producer].held;
        let reads = &mut self.consumers[consumer].held;
        match choice {
            0..=6 => self.claim(producer),
            7..=9 if !writes.is_empty() => {
                let (at, claim) = writes.remove(pick % writes.len());
                mpmc::publish(&self.ring, claim);
                self.positions[at] = Is::Full;
            }
            10 if !writes.is_empty() => {
                let (at, claim) = writes.remove(pick % writes.len());
                mpmc::abort(&self.ring, claim);
                self.positions[at] = Is::Gone;
            }
            11 => self.producer_dies(producer),
            12..=15 => self.take(consumer),
            16..=17 if !reads.is_empty() => {
                let (at, taken) = reads.remove(pick % reads.len());
                mpmc::release(&self.ring, taken);
                self.positions[at] = Is::Gone;
            }
            18 if !reads.is_empty() && pick == 0 => {
                let (at, taken) = reads.remove(0);
                self.positions[at] = Is::Orphan(taken.attempts);
                mpmc::give_back(&self.ring, taken);
            }
            19 if pick != 0 => self.consumer_dies(consumer),
            _ => {}
        }
    }

    /// The hints' and the questions' answers about the whole.
    fn check(&self) {
        let first = self.first();
        let takeable = first.is_some_and(|at| self.positions[at] == Is::Full) || self.orphaned();
        for consumer in &self.consumers {
            assert!(!takeable || mpmc::available(&self.ring, consumer.cursor.get()));
        }
        for producer in &self.producers {
            let room = mpmc::room(&self.ring, producer.cursor.get());
            assert!(self.before_next() != Is::Gone || room);
        }
        let end = self.positions.len();
        let len = mpmc::len(&self.ring);
        let orphans = self.positions.iter().filter(|is| matches!(is, Is::Orphan(_))).count();
        assert_eq!(len, (end - first.unwrap_or(end) + orphans) as u64, "len");
        let in_hand = |is: &Is| matches!(is, Is::Reading(_) | Is::Orphan(_));
        assert_eq!(mpmc::in_flight(&self.ring), self.positions.iter().any(in_hand));
    }
}

#[test]
fn the_ring_is_the_list() {
    for seed in effort::seeds(1_000, 20_000) {
        let mut run = Run::new(seed);
        for _ in 0..STEPS {
            run.step();
            run.check();
        }
    }
}
