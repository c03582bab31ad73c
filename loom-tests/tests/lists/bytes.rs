//! Records and blocks against plain lists: long sequences of whole operations
//! by one thread, at lengths and capacities that the models cannot afford;
//! and against words that none of us writes.

use std::cell::Cell;
use std::collections::VecDeque;

use crate::effort;
use crate::ring::backoff::{Backoff, Costs};
use crate::ring::blocks::{self, Blocks};
use crate::ring::mpmc::{self, Cursor, Dead, SlotState, SlotWord, Taken, Words};
use crate::ring::records::{self, Broken, Units};
use crate::ring::recovery::Repairing;
use crate::ring::spsc::{Consumer, Indices, Producer};
use crate::slots::{HasSlots, Slots};
use crate::sync::{AtomicU64, Ordering::Relaxed, spun};

/// xorshift: the same sequences everywhere.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        for _ in 0..5 {
            random.next();
        }
        random
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 11) % n
    }
}

pub(crate) fn words(count: u64, word: u64) -> Vec<AtomicU64> {
    (0..count).map(|_| AtomicU64::new(word)).collect()
}

struct RecordRing {
    head: AtomicU64,
    tail: AtomicU64,
    units: Vec<AtomicU64>,
    bytes: Vec<Cell<u8>>,
    longest: u64,
}

impl Indices for RecordRing {
    fn capacity(&self) -> u64 {
        self.units.len() as u64
    }
    fn head(&self) -> &AtomicU64 {
        &self.head
    }
    fn tail(&self) -> &AtomicU64 {
        &self.tail
    }
}

impl Units for RecordRing {
    fn unit(&self, index: u64) -> &AtomicU64 {
        &self.units[index as usize]
    }
    fn longest(&self) -> u64 {
        self.longest
    }
}

impl RecordRing {
    /// As `BlockPlan` has it: a record more than was asked for.
    fn new(messages: u64, longest: u64, start: u64) -> Self {
        let capacity = (messages + 1) * records::units(longest);
        Self {
            head: AtomicU64::new(start),
            tail: AtomicU64::new(start),
            units: words(capacity, 0),
            bytes: (0..8 * capacity).map(|_| Cell::new(0)).collect(),
            longest,
        }
    }

    /// Which panics where the bytes are not in the ring.
    fn bytes(&self, start: u64, length: u64) -> &[Cell<u8>] {
        &self.bytes[8 * start as usize..(8 * start + length) as usize]
    }
}

/// A message that was sent: its number and length, and its units with padding.
type Sent = VecDeque<(u8, u64, u64)>;

struct Stream {
    ring: RecordRing,
    producer: Producer,
    consumer: Consumer,
    queue: Sent,
    tail: u64,
    number: u8,
}

impl Stream {
    fn new(messages: u64, longest: u64, start: u64) -> Self {
        let ring = RecordRing::new(messages, longest, start);
        let producer = Producer::attach(&ring).unwrap();
        let consumer = Consumer::attach(&ring).unwrap();
        Self { ring, producer, consumer, queue: VecDeque::new(), tail: start, number: 0 }
    }

    /// Reserves, and commits unless it is aborted; whether there was room.
    fn push(&mut self, room: u64, length: Option<u64>) -> bool {
        let (ring, capacity) = (&self.ring, self.ring.capacity());
        let to_end = capacity - self.tail % capacity;
        let needed = 1 + room.div_ceil(8);
        let padding = if needed > to_end { to_end } else { 0 };
        let used: u64 = self.queue.iter().map(|(_, _, units)| units).sum();
        let fits = used + padding + needed < capacity;
        let reserved = records::reserve(ring, &self.producer, room).unwrap();
        assert_eq!(reserved.is_some(), fits, "{room} at {}", self.tail);
        let Some(reserved) = reserved else { return false };
        assert_eq!(reserved.length(), room);
        self.number = self.number.wrapping_add(1);
        ring.bytes(reserved.bytes(), room).iter().for_each(|byte| byte.set(self.number));
        if let Some(length) = length {
            records::commit(ring, &self.producer, reserved, length);
            let units = padding + 1 + length.div_ceil(8);
            self.queue.push_back((self.number, length, units));
            self.tail += units;
        }
        true
    }

    fn pop(&mut self, release: bool) -> bool {
        let record = records::next(&self.ring, &self.consumer).unwrap();
        let (Some(record), Some(&(number, length, _))) = (record, self.queue.front()) else {
            assert!(record.is_none() && self.queue.is_empty(), "{record:?} is not what was sent");
            return false;
        };
        assert_eq!(record.length, length);
        let bytes = self.ring.bytes(record.bytes, length);
        assert!(bytes.iter().all(|byte| byte.get() == number), "torn");
        if release {
            records::release(&self.ring, &self.consumer, record);
            self.queue.pop_front();
        }
        true
    }
}

/// Every length, from every place, past the end twice.
#[test]
fn records_of_every_length_at_every_place() {
    for (messages, longest) in (1..4).flat_map(|n| (0..=33).map(move |longest| (n, longest))) {
        let capacity = (messages + 1) * records::units(longest);
        for (start, length) in
            (0..capacity).flat_map(|start| (0..=longest).map(move |length| (start, length)))
        {
            let mut stream = Stream::new(messages, longest, start);
            while stream.tail < start + 3 * capacity {
                while stream.push(length, Some(length)) {}
                let many = stream.queue.len() as u64;
                assert!(many >= messages, "less than was asked for");
                let units = records::units;
                // Those as long as the longest, to a unit.
                let exact = units(length) == units(longest);
                assert!(many == messages || !exact, "{many} of {messages} of the longest");
                assert!(stream.pop(true));
            }
            while stream.pop(true) {}
        }
    }
}

#[test]
fn records_are_the_list() {
    for seed in effort::seeds(500, 10_000) {
        let mut random = Random::new(seed);
        let (messages, longest) = (1 + random.below(4), random.below(60));
        let start = random.below(1_000);
        let mut stream = Stream::new(messages, longest, start);
        for _ in 0..200 {
            let room = random.below(longest + 1);
            match random.below(10) {
                0..=3 => drop(stream.push(room, Some(room))),
                4 => drop(stream.push(room, Some(random.below(room + 1)))),
                5 => drop(stream.push(room, None)),
                6 => drop(stream.pop(false)),
                7..=8 => drop(stream.pop(true)),
                // Somebody died; an successor goes on.
                _ if random.below(2) == 0 => {
                    stream.producer = Producer::attach(&stream.ring).unwrap();
                }
                _ => stream.consumer = Consumer::attach(&stream.ring).unwrap(),
            }
        }
        while stream.pop(true) {}
        assert!(stream.push(longest, Some(longest)), "the longest fits into an empty ring");
    }
}

const COSTS: Costs = Costs { transfer: 100, longest: 1_000 };

/// A look that finds one message needs no delay before the next look, of however many
/// units the message is.
#[test]
fn one_record_at_a_time_is_not_kept_back_from() {
    for length in [0, 8, 24, 100] {
        let ring = RecordRing::new(8, length, 0);
        let mut producer = Producer::attach(&ring).unwrap();
        producer.with_backoff(Backoff::new(COSTS, ring.capacity()));
        let mut consumer = Consumer::attach(&ring).unwrap();
        consumer.with_backoff(Backoff::new(COSTS, ring.capacity()));
        let before = spun();
        for _ in 0..100 {
            let reserved = records::reserve(&ring, &producer, length).unwrap().unwrap();
            records::commit(&ring, &producer, reserved, length);
            let record = records::next(&ring, &consumer).unwrap().unwrap();
            records::release(&ring, &consumer, record);
        }
        let pauses = spun() - before;
        assert!(pauses < 500, "{length} bytes: {pauses} pauses");
    }
}

/// A message is inside the ring, with any content of headers and positions.
#[test]
fn hostile_records_are_broken() {
    let (mut broken, mut torn, mut taken) = (0, 0, 0);
    for seed in effort::seeds(1_000, 20_000) {
        let mut random = Random::new(seed);
        let (messages, longest) = (1 + random.below(3), random.below(40));
        let ring = RecordRing::new(messages, longest, random.below(1_000));
        let capacity = ring.capacity();
        let producer = Producer::attach(&ring).unwrap();
        let consumer = Consumer::attach(&ring).unwrap();
        for _ in 0..60 {
            let lie = match random.below(6) {
                0 => random.next(),
                1 => random.below(4) << 32 | random.below(2 * capacity),
                2 => 1 << 32 | random.below(2 * longest + 2),
                3 => 2 << 32 | random.below(capacity + 2),
                4 => 1 << 32 | (u64::from(u32::MAX) - random.below(3)),
                _ => 1 << 32 | longest,
            };
            ring.units[random.below(capacity) as usize].store(lie, Relaxed);
            let index = if random.below(2) == 0 { &ring.head } else { &ring.tail };
            match random.below(8) {
                0 => index.store(random.next(), Relaxed),
                1 => drop(index.fetch_add(random.below(2 * capacity), Relaxed)),
                _ => ring.tail.store(ring.head.load(Relaxed).wrapping_add(capacity), Relaxed),
            }
            if random.below(2) == 0 {
                let room = random.below(longest + 1);
                if let Ok(Some(reserved)) = records::reserve(&ring, &producer, room) {
                    ring.bytes(reserved.bytes(), reserved.length());
                    records::commit(&ring, &producer, reserved, random.next());
                }
            }
            match records::next(&ring, &consumer) {
                Ok(Some(record)) => {
                    assert!(record.length <= longest);
                    ring.bytes(record.bytes, record.length);
                    records::release(&ring, &consumer, record);
                    taken += 1;
                }
                Ok(None) => {}
                Err(Broken::Header(_)) => broken += 1,
                Err(Broken::Torn(_)) => torn += 1,
            }
        }
    }
    assert!(broken > 1_000 && torn > 1_000 && taken > 1_000, "{broken}, {torn}, {taken}");
}

/// A ring of slots that name blocks.
struct BlockSlots {
    slots: Slots,
    labels: Vec<Cell<u64>>,
    blocks: Vec<AtomicU64>,
}

impl HasSlots for BlockSlots {
    fn slots(&self) -> &Slots {
        &self.slots
    }
}

impl Blocks for BlockSlots {
    fn count(&self) -> u64 {
        self.blocks.len() as u64
    }
    fn block(&self, index: u64) -> &AtomicU64 {
        &self.blocks[index as usize]
    }
}

/// The state of a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Is {
    Free,
    Writing,
    /// Named by a slot, and who had it in hand last.
    Queued,
    Reading,
}

/// One who sends and receives.
struct Peer {
    cursors: [Cell<Cursor>; 2],
    hint: u64,
    writes: Vec<u64>,
    reads: Vec<(Taken, u64)>,
}

struct Run {
    random: Random,
    ring: BlockSlots,
    attempts: u8,
    blocks: Vec<Is>,
    peers: Vec<Peer>,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let capacity = 1 + random.below(5);
        let ring = BlockSlots {
            slots: Slots::from_lap(capacity as usize, 0),
            labels: (0..capacity).map(|_| Cell::new(0)).collect(),
            // Any version, up to the last one.
            blocks: words(capacity, if random.below(2) == 0 { 0 } else { u64::MAX << 14 }),
        };
        let peers = (0..=random.below(3)).map(|_| Self::peer(&ring)).collect();
        let attempts = random.below(3) as u8;
        Self { random, ring, attempts, blocks: vec![Is::Free; capacity as usize], peers }
    }

    fn peer(ring: &BlockSlots) -> Peer {
        let cursors = [Cursor::producer(ring), Cursor::consumer(ring)].map(Cell::new);
        Peer { cursors, hint: 0, writes: Vec::new(), reads: Vec::new() }
    }

    fn step(&mut self) {
        let who = self.random.below(self.peers.len() as u64) as usize;
        let (ring, owner, peer) = (&self.ring, who as u16 + 1, &mut self.peers[who]);
        let choice = self.random.below(16);
        let pick = self.random.below(3) as usize;
        match choice {
            0..=4 => match blocks::allocate(ring, &mut peer.hint, owner) {
                Some(block) => {
                    let was = core::mem::replace(&mut self.blocks[block as usize], Is::Writing);
                    assert_eq!(was, Is::Free);
                    peer.writes.push(block);
                }
                None => assert!(!self.blocks.contains(&Is::Free), "one is free"),
            },
            5 if !peer.writes.is_empty() => {
                let block = peer.writes.remove(pick % peer.writes.len());
                blocks::free(ring, block);
                self.blocks[block as usize] = Is::Free;
            }
            6..=8 if !peer.writes.is_empty() => {
                if let Ok(claim) = mpmc::claim(ring, &peer.cursors[0], owner) {
                    let block = peer.writes.remove(pick % peer.writes.len());
                    ring.labels[claim.index as usize].set(block);
                    mpmc::publish(ring, claim);
                    self.blocks[block as usize] = Is::Queued;
                }
            }
            9..=11 => match mpmc::take(ring, &peer.cursors[1], owner) {
                Ok(taken) => {
                    let block = ring.labels[taken.index as usize].get();
                    let was = core::mem::replace(&mut self.blocks[block as usize], Is::Reading);
                    assert_eq!(was, Is::Queued);
                    // It may die before it makes the block its own.
                    if pick == 0 {
                        peer.reads.push((taken, block));
                        self.dies(who);
                    } else {
                        assert!(blocks::adopt(ring, block, owner));
                        peer.reads.push((taken, block));
                    }
                }
                Err(_) => assert!(!self.blocks.contains(&Is::Queued), "one is queued"),
            },
            12..=13 if !peer.reads.is_empty() => {
                let (taken, block) = peer.reads.remove(pick % peer.reads.len());
                mpmc::release(ring, taken);
                // Nor does it always get so far.
                if pick == 0 {
                    self.blocks[block as usize] = Is::Writing;
                    peer.writes.push(block);
                    self.dies(who);
                } else {
                    blocks::free(ring, block);
                    self.blocks[block as usize] = Is::Free;
                }
            }
            14 if !peer.reads.is_empty() => {
                let (taken, block) = peer.reads.remove(0);
                mpmc::give_back(ring, taken);
                self.blocks[block as usize] = Is::Queued;
            }
            15 if pick == 0 => {
                // Its claim is gone, with all that it had written there.
                if let Some(&block) = peer.writes.first()
                    && let Ok(claim) = mpmc::claim(ring, &peer.cursors[0], owner)
                {
                    ring.labels[claim.index as usize].set(block);
                }
                self.dies(who);
            }
            _ => {}
        }
    }

    /// As `Mapped::recover`, twice over.
    fn dies(&mut self, who: usize) {
        let (ring, dead) = (&self.ring, who as u16 + 1);
        let named = |slot: u64| ring.labels[slot as usize].get();
        let mut freed = 0;
        for _ in 0..2 {
            let let_go = |slot: u64, state: SlotWord| {
                let still_read = || ring.slot(slot).load(Relaxed) == state.0;
                blocks::assign_to_dead(ring, named(slot), dead, still_read);
            };
            mpmc::recover(
                ring,
                Dead { owner: dead, attempts: self.attempts, committed: 0 },
                &Repairing(|| true),
                let_go,
            )
            .unwrap();
            let is_named = |block: u64| {
                (0..ring.capacity()).any(|slot| {
                    let phase = SlotWord(ring.slot(slot).load(Relaxed)).state();
                    matches!(phase, Some(SlotState::Full | SlotState::Reading | SlotState::Orphan))
                        && named(slot) == block
                })
            };
            freed += blocks::recover(ring, dead, is_named, &Repairing(|| true));
        }
        let peer = core::mem::replace(&mut self.peers[who], Self::peer(ring));
        let before = self.blocks.iter().filter(|is| **is == Is::Free).count() as u64;
        for block in peer.writes {
            self.blocks[block as usize] = Is::Free;
        }
        for (taken, block) in peer.reads {
            let again = taken.attempts < u64::from(self.attempts);
            self.blocks[block as usize] = if again { Is::Queued } else { Is::Free };
        }
        let after = self.blocks.iter().filter(|is| **is == Is::Free).count() as u64;
        assert_eq!(freed, after - before, "what a sweep frees");
    }

    fn check(&self) {
        for (block, is) in self.blocks.iter().enumerate() {
            let held = self.ring.blocks[block].load(Relaxed) >> 13 & 1 == 1;
            assert_eq!(held, *is != Is::Free, "block {block} is {is:?}");
        }
    }
}

/// A ring of which the other side's position is now here, now there.
struct Restless {
    ring: RecordRing,
    others: [AtomicU64; 2],
    reads: Cell<usize>,
    head: bool,
}

impl Restless {
    fn new(mine: u64, others: [u64; 2], head: bool) -> Self {
        let ring = RecordRing::new(3, 24, mine);
        let length = records::units(24);
        ring.units.iter().step_by(length as usize).for_each(|unit| {
            // Messages of the longest kind, one beside the other.
            unit.store(1 << 32 | 24, Relaxed);
        });
        Self { ring, others: others.map(AtomicU64::new), reads: Cell::new(0), head }
    }

    fn other(&self) -> &AtomicU64 {
        self.reads.set(self.reads.get() + 1);
        &self.others[self.reads.get() % 2]
    }
}

impl Indices for Restless {
    fn capacity(&self) -> u64 {
        self.ring.capacity()
    }
    fn head(&self) -> &AtomicU64 {
        if self.head { self.other() } else { &self.ring.head }
    }
    fn tail(&self) -> &AtomicU64 {
        if self.head { &self.ring.tail } else { self.other() }
    }
}

impl Units for Restless {
    fn unit(&self, index: u64) -> &AtomicU64 {
        self.ring.unit(index)
    }
    fn longest(&self) -> u64 {
        self.ring.longest
    }
}

/// The room granted to a batch is not taken away from under it: found by an
/// attack on a segment in use.
#[test]
fn an_index_that_goes_back_takes_no_room_away() {
    let capacity = RecordRing::new(3, 24, 0).capacity();
    for (start, first) in (0..capacity).flat_map(|start| [(start, 0), (start, 1)]) {
        // Full and empty by turns.
        let mut heads = [start, start.wrapping_sub(capacity)];
        heads.rotate_left(first);
        let ring = Restless::new(start, heads, true);
        let Ok(producer) = Producer::attach(&ring) else { panic!("{start}") };
        let mut ahead = 0;
        for _ in 0..20 {
            if let Ok(Some(room)) = records::reserve_behind(&ring, &producer, ahead, 24) {
                let _ = ring.ring.bytes(room.bytes(), 24);
                ahead += records::seal(&ring, room, 24);
            }
            assert!(ahead <= capacity, "{ahead} units of {capacity} from {start}");
        }
        producer.publish(&ring, ahead);
        assert!(!producer.room(&ring, capacity + 1).is_ok_and(|room| room > capacity));

        let start = start / records::units(24) * records::units(24);
        let mut tails = [start, start + capacity];
        tails.rotate_left(first);
        let ring = Restless::new(start, tails, false);
        let Ok(consumer) = Consumer::attach(&ring) else { panic!("{start}") };
        let mut ahead = 0;
        for _ in 0..20 {
            if let Ok(Some(record)) = records::next_behind(&ring, &consumer, ahead) {
                let _ = ring.ring.bytes(record.bytes, record.length);
                ahead += record.units;
            }
            assert!(ahead <= capacity, "{ahead} units of {capacity} from {start}");
        }
        consumer.release(&ring, ahead);
        assert!(!consumer.filled(&ring, capacity + 1).is_ok_and(|filled| filled > capacity));
    }
}

#[test]
fn blocks_are_the_list() {
    for seed in effort::seeds(1_000, 20_000) {
        let mut run = Run::new(seed);
        for _ in 0..200 {
            run.step();
            run.check();
        }
    }
}

/// With any content of the words: no block that is not there, and no end missing.
#[test]
fn hostile_blocks_stay_in_range() {
    for seed in effort::seeds(250, 5_000) {
        let mut random = Random::new(seed);
        let run = Run::new(seed);
        let ring = &run.ring;
        for _ in 0..50 {
            let index = random.below(ring.count());
            let lie = if random.below(2) == 0 { random.next() } else { random.below(1 << 16) };
            ring.block(index).store(lie, Relaxed);
            let mut hint = random.next();
            let owner = random.below(1 << 13) as u16;
            match random.below(5) {
                0 => {
                    if let Some(block) = blocks::allocate(ring, &mut hint, owner) {
                        assert!(block < ring.count() && hint <= ring.count());
                        assert!(blocks::adopt(ring, block, owner));
                    }
                }
                1 => assert_eq!(blocks::adopt(ring, index, owner), lie >> 13 & 1 == 1),
                2 => blocks::free(ring, index),
                3 => blocks::assign_to_dead(ring, index, owner, || random.below(2) == 0),
                _ => assert!(
                    blocks::recover(ring, owner, |_| false, &Repairing(|| true)) <= ring.count()
                ),
            }
        }
    }
}
