//! The broadcast ring, played by one thread: turns and laps that wrap, publishers that were
//! swept and go on, and words that nobody who keeps to the algorithm writes.

use std::cell::Cell;
use std::collections::BTreeSet;

use crate::bytes::{Random, words};
use crate::effort;
use crate::ring::broadcast::{
    self as ring, Look, Publisher, PublisherEntry, Refused, ReliableEntry, Shape, Words,
};
use crate::ring::cursor::Cursor;
use crate::ring::set::SetMap;
use crate::ring::table::{Member, MemberState, MemberWord, Table};
use crate::sync::{AtomicU64, Ordering::Relaxed};

const PARTICIPANTS: u16 = 4;

struct Board {
    shape: Shape,
    slots: Vec<AtomicU64>,
    /// Holder, word, helped, at, over of each.
    publishers: Vec<AtomicU64>,
    /// Holder and position of each.
    reliable: Vec<AtomicU64>,
    /// The limit, and how many entries have been used.
    counts: [AtomicU64; 3],
    buffers: Vec<Cell<u64>>,
    table: Vec<AtomicU64>,
}

impl Table for Board {
    fn map(&self) -> SetMap {
        SetMap { participants: PARTICIPANTS, channels: 1, own_bells: false }
    }
    fn word(&self, id: u16) -> &AtomicU64 {
        &self.table[usize::from(id)]
    }
}

impl Words for Board {
    fn shape(&self) -> Shape {
        self.shape
    }
    fn slot(&self, index: u64) -> &AtomicU64 {
        &self.slots[index as usize]
    }
    fn publisher(&self, n: u64) -> PublisherEntry<'_> {
        let [holder, word, helped, at, over] = &self.publishers[5 * n as usize..][..5] else {
            unreachable!();
        };
        PublisherEntry { holder, word, helped, at, over }
    }
    fn reliable(&self, n: u64) -> ReliableEntry<'_> {
        let [holder, position] = &self.reliable[2 * n as usize..][..2] else { unreachable!() };
        ReliableEntry { holder, position }
    }
    fn limit(&self) -> &AtomicU64 {
        &self.counts[0]
    }
    fn publishers_used(&self) -> &AtomicU64 {
        &self.counts[1]
    }
    fn reliable_used(&self) -> &AtomicU64 {
        &self.counts[2]
    }
}

const fn member(id: u16) -> Member {
    Member { id, incarnation: 1 }
}

fn live(state: MemberState) -> u64 {
    MemberWord { state, incarnation: 1 }.word()
}

/// How many bits of a word name the buffer.
fn bits(shape: Shape) -> u32 {
    1 + u64::BITS - (shape.buffers() - 1).leading_zeros()
}

impl Board {
    /// As if so many laps had been published, and so many messages through each entry.
    fn new(shape: Shape, lap: u64, turn: u64) -> Self {
        let board = Self {
            shape,
            slots: words(shape.slots, lap << bits(shape)),
            publishers: words(5 * shape.publishers, 0),
            reliable: words(2 * shape.reliable, 0),
            counts: [lap * shape.slots, 0, 0].map(AtomicU64::new),
            buffers: (0..shape.buffers()).map(|_| Cell::new(0)).collect(),
            table: words(u64::from(PARTICIPANTS), live(MemberState::Live)),
        };
        for n in 0..shape.publishers {
            let entry = board.publisher(n);
            entry.word.store(turn << bits(shape), Relaxed);
            entry.helped.store(turn << bits(shape), Relaxed);
            // Not the evidence of anything: that slot is a lap further on.
            entry.at.store((lap * shape.slots).saturating_sub(2 * shape.slots), Relaxed);
        }
        board
    }

    fn attach(&self, id: u16) -> Option<Publisher> {
        let number = ring::claim(self, self, member(id))?;
        Some(Publisher::attach(self, number))
    }

    fn publish(&self, at: &Publisher, message: u64) -> Result<u64, Refused> {
        at.ready(self, self)?;
        self.buffers[at.spare() as usize].set(message);
        at.publish(self, self)
    }

    fn publish_gap(&self, at: &Publisher, missing: u64) -> Result<u64, Refused> {
        at.ready(self, self)?;
        self.buffers[at.spare() as usize].set(missing);
        at.publish_gap(self, self)
    }

    fn is(&self, id: u16, state: MemberState) {
        self.table[usize::from(id)].store(live(state), Relaxed);
    }

    /// Each buffer is in one place.
    fn whole(&self) {
        let spares = (0..self.shape.publishers).map(|n| Publisher::attach(self, n).spare());
        let slots = (0..).zip(&self.slots);
        let slots = slots.map(|(index, slot)| self.shape.buffer(index, slot.load(Relaxed)));
        let places: BTreeSet<u64> = spares.chain(slots).collect();
        assert_eq!(places.len() as u64, self.shape.buffers(), "a buffer is in two places");
    }
}

/// Publishers come and go, some of them over a publication, of a message or of a gap; one reads all,
/// wherever the laps and the turns begin.
#[test]
fn broadcasts_are_the_list_wherever_turns_begin() {
    for seed in effort::seeds(200, 4_000) {
        let mut random = Random::new(seed);
        let reach = 1 + random.below(12);
        let shape = Shape::new(reach, 1 + random.below(3), 0);
        let all = 1 << (u64::BITS - bits(shape));
        let begin = |random: &mut Random| {
            let base = [0, all / 4, all / 2, all / 4 * 3, all][random.below(5) as usize];
            u64::saturating_sub(base, random.below(6)) % all
        };
        // Positions do not wrap.
        let lap = begin(&mut random).min(u64::MAX / shape.slots - 1_000);
        let board = Board::new(shape, lap, begin(&mut random));
        let reader = Cell::new(Cursor::at(lap * shape.slots, shape.slots));
        let mut publishers: Vec<_> =
            (0..shape.publishers).map(|_| board.attach(0).expect("an entry for each")).collect();
        for message in 1..200 {
            let who = random.below(publishers.len() as u64) as usize;
            let entry = board.publisher(publishers[who].number());
            let (before, position) = (entry.word.load(Relaxed), reader.get().position());
            let gap = random.below(4) == 0;
            let published = if gap {
                board.publish_gap(&publishers[who], message)
            } else {
                board.publish(&publishers[who], message)
            };
            assert_eq!(published, Ok(position));
            if random.below(8) == 0 {
                // It died before it said so, and another one goes on first, or not.
                entry.word.store(before, Relaxed);
                let number = publishers[who].number();
                if random.below(2) == 0 {
                    let other = random.below(publishers.len() as u64) as usize;
                    let _ = publishers[other].ready(&board, &board);
                }
                publishers[who] = Publisher::attach(&board, number);
            }
            let found = match ring::look(&board, reader.get()) {
                Look::Found(found) if !gap => found,
                Look::Gap(found) if gap => found,
                other => panic!("{other:?} at {position}"),
            };
            assert_eq!(board.buffers[found.buffer as usize].get(), message);
            assert!(ring::unchanged(&board, found));
            ring::pass(&board, &reader);
            assert_eq!(ring::first_unpublished(&board), reader.get());
        }
        board.whole();
    }
}

/// However many messages a publisher's entry has published without any help, its successor
/// begins with its own buffer.
#[test]
fn an_entry_that_nobody_helped_for_long_keeps_its_buffer() {
    for publishers in [1, 3] {
        let shape = Shape::new(4, publishers, 0);
        let board = Board::new(shape, 0, 0);
        let fifth = (1 << (u64::BITS - bits(shape))) / 5;
        let publisher = board.attach(0).unwrap();
        let (number, word) = (publisher.number(), board.publisher(publisher.number()).word);
        for _ in 0..40 {
            word.fetch_add(fifth << bits(shape), Relaxed);
            let spare = shape.buffer(shape.slots + number, word.load(Relaxed));
            let successor = Publisher::attach(&board, number);
            assert_eq!(successor.spare(), spare);
            for message in 0..2 * shape.slots {
                board.publish(&successor, message).unwrap();
            }
        }
        board.whole();
    }
}

/// One that was swept although it goes on, and whose entry another one has: it is refused as
/// soon as it finds that others have published.
#[test]
fn who_was_swept_and_goes_on_is_refused() {
    for publishers in [1, 2] {
        let board = Board::new(Shape::new(4, publishers, 0), 0, 0);
        let zombie = board.attach(1).unwrap();
        board.publish(&zombie, 10).unwrap();
        board.is(1, MemberState::Free);
        let successor = board.attach(2).unwrap();
        assert_eq!(successor.number(), zombie.number());
        assert_eq!(board.publish(&successor, 20), Ok(1));
        let refused = board.publish(&zombie, 11);
        assert!(matches!(refused, Err(Refused::Corrupt(_))), "{refused:?}");
        for message in 2..50 {
            assert_eq!(board.publish(&successor, message), Ok(message));
        }
        board.whole();
    }
}

/// With any content of the words: no panic, no number beyond its bound, and an end to each call.
#[test]
fn hostile_broadcast_words_are_refused() {
    let (mut published, mut corrupt) = (0, 0);
    for seed in effort::seeds(200, 4_000) {
        let mut random = Random::new(seed);
        let (reach, publishers, reliable) =
            [(1, 1, 1), (1, 3, 2), (9, 2, 2), (3, 100, 2), (64, 2, 0)][random.below(5) as usize];
        let shape = Shape::new(reach, publishers, reliable);
        let board = Board::new(shape, 0, 0);
        let publisher = board.attach(1).unwrap();
        let reader = Cell::new(Cursor::at(0, shape.slots));
        for _ in 0..100 {
            let lie = match random.below(6) {
                0 => 0,
                1 => u64::MAX,
                2 => 1 << 63,
                3 => random.below(8) << bits(shape) | random.below(shape.buffers() + 1),
                4 => random.below(4 * shape.slots),
                _ => random.next(),
            };
            let all = [&board.slots, &board.publishers, &board.reliable, &board.table];
            let words: Vec<&AtomicU64> = match random.below(6) {
                n @ 0..4 => all[n as usize].iter().collect(),
                _ => board.counts.iter().collect(),
            };
            if !words.is_empty() && random.below(2) == 0 {
                words[random.below(words.len() as u64) as usize].store(lie, Relaxed);
            }
            match board.publish(&publisher, 1) {
                Ok(_) => published += 1,
                Err(Refused::Corrupt(_)) => corrupt += 1,
                Err(_) => {}
            }
            assert!(publisher.spare() < shape.buffers());
            let other = Publisher::attach(&board, random.below(publishers));
            assert!(other.spare() < shape.buffers());
            let _ = board.publish(&other, 2);
            match ring::look(&board, reader.get()) {
                Look::Found(found) => {
                    assert!(found.buffer < shape.buffers());
                    ring::unchanged(&board, found);
                    ring::pass(&board, &reader);
                }
                Look::Missed => drop(ring::skip(&board, &reader)),
                // Of a hostile word.
                Look::Gap(_) => ring::pass(&board, &reader),
                Look::Nothing => {}
                Look::Corrupt(_) => reader.set(ring::first_unpublished(&board)),
            }
            ring::oldest(&board);
            if let Some((seat, at)) = ring::join(&board, &board, member(0), random.below(100)) {
                ring::look(&board, Cursor::at(at, shape.slots));
                seat.read_up_to(&board, at.wrapping_add(1));
                ring::leave(&board, &seat, member(0));
            }
        }
    }
    assert!(published > 1_000 && corrupt > 1_000, "{published}, {corrupt}");
}
