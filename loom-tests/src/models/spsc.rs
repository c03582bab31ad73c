//! The ring of two: nothing is lost, doubled, torn or out of order, and a
//! role goes from the dead to exactly one successor.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use loom::sync::atomic::Ordering::{AcqRel, Acquire};

use crate::death::{self, End, Fate};
use crate::explore::{completely, holds, holds_for_every_end};
use crate::ring::role;
use crate::ring::set::SetMap;
use crate::ring::spsc::{self, Consumer, Indices, Pace, Producer, Span};
use crate::ring::table::{Member, MemberState, MemberWord, Table};
use crate::sync::AtomicU64;

const FIRST: u64 = 1;
/// Checkpoints at every second cell.
const PACE: Option<Pace> = Some(Pace { every: 2, ahead: 1 });

struct Ring {
    head: AtomicU64,
    tail: AtomicU64,
    /// Each message twice over, so that a torn one shows.
    cells: Vec<[loom::cell::Cell<u64>; 2]>,
    producer: AtomicU64,
    consumer: AtomicU64,
    words: Vec<AtomicU64>,
    published: Cell<u64>,
    consumed: RefCell<Vec<u64>>,
}

impl Indices for Ring {
    fn capacity(&self) -> u64 {
        self.cells.len() as u64
    }

    fn head(&self) -> &AtomicU64 {
        &self.head
    }

    fn tail(&self) -> &AtomicU64 {
        &self.tail
    }
}

impl Table for Ring {
    fn map(&self) -> SetMap {
        SetMap { participants: self.words.len() as u16, channels: 1, own_bells: false }
    }

    fn word(&self, id: u16) -> &AtomicU64 {
        &self.words[usize::from(id)]
    }
}

const fn member(id: u16) -> Member {
    Member { id, incarnation: FIRST }
}

const fn word(state: MemberState, incarnation: u64) -> u64 {
    MemberWord { state, incarnation }.word()
}

impl Ring {
    fn new(capacity: usize, start: u64, participants: usize) -> Rc<Self> {
        Rc::new(Self {
            head: AtomicU64::new(start),
            tail: AtomicU64::new(start),
            cells: (0..capacity)
                .map(|_| core::array::from_fn(|_| loom::cell::Cell::new(0)))
                .collect(),
            producer: AtomicU64::new(0),
            consumer: AtomicU64::new(0),
            words: (0..participants)
                .map(|_| AtomicU64::new(word(MemberState::Live, FIRST)))
                .collect(),
            published: Cell::new(0),
            consumed: RefCell::default(),
        })
    }

    /// A look finds it dead, and the sweep is complete.
    fn bury(&self, id: u16) {
        let [live, dead] = [MemberState::Live, MemberState::Dead].map(|state| word(state, FIRST));
        let free = word(MemberState::Free, FIRST);
        for (from, to) in [(live, dead), (dead, free)] {
            self.word(id).compare_exchange(from, to, AcqRel, Acquire).unwrap();
        }
    }

    fn indices(span: Span) -> impl Iterator<Item = usize> {
        let Span { index, first, second } = span;
        (index..index + first).chain(0..second).map(|index| index as usize)
    }

    /// Sends up to `want` messages at once: the next numbers.
    fn push(&self, at: &mut Producer, want: u64) -> u64 {
        if want == 1 {
            let Some(index) = at.next(self, PACE, |_| {}).unwrap() else { return 0 };
            let number = self.published.get() + 1;
            self.cells[index as usize].iter().for_each(|half| half.set(number));
            at.publish_next(self);
            self.published.set(number);
            return 1;
        }
        let room = at.room(self, want).unwrap();
        for (n, index) in (1..).zip(Self::indices(at.span(self, room))) {
            self.cells[index].iter().for_each(|half| half.set(self.published.get() + n));
        }
        if room != 0 {
            at.publish(self, room);
            self.published.set(self.published.get() + room);
        }
        room
    }

    fn pop(&self, at: &mut Consumer, want: u64) -> u64 {
        let next = if want == 1 { at.next(self, PACE, |_| {}).unwrap() } else { None };
        let filled = if want == 1 { next.map_or(0, |_| 1) } else { at.filled(self, want).unwrap() };
        let read = |index: usize| {
            let [first, second] = &self.cells[index];
            assert_eq!(first.get(), second.get(), "torn");
            first.get()
        };
        let read: Vec<_> = Self::indices(at.span(self, filled)).map(read).collect();
        match filled {
            0 => {}
            1 if want == 1 => at.release_next(self),
            _ => at.release(self, filled),
        }
        self.consumed.borrow_mut().extend(read);
        filled
    }

    /// Messages come as they were sent, in order.
    fn settle(&self) {
        let mut at = Consumer::attach(self).unwrap();
        let left = self.published.get() - self.consumed.borrow().len() as u64;
        assert_eq!(spsc::len(self), left);
        while self.pop(&mut at, 1) != 0 {}
        let all: Vec<_> = (1..=self.published.get()).collect();
        assert_eq!(*self.consumed.borrow(), all);
    }
}

/// Two laps, `batch` messages at a time.
fn laps(capacity: usize, start: u64, batch: u64) {
    let ring = Ring::new(capacity, start, 2);
    let messages = 2 * capacity as u64;
    let sending = Rc::clone(&ring);
    let sending = loom::thread::spawn(move || {
        let mut at = Producer::attach(&*sending).unwrap();
        while sending.published.get() < messages {
            if sending.push(&mut at, batch.min(messages - sending.published.get())) == 0 {
                loom::thread::yield_now();
            }
        }
    });
    let mut at = Consumer::attach(&*ring).unwrap();
    let mut received = 0;
    while received < messages {
        let now = ring.pop(&mut at, batch);
        if now == 0 {
            loom::thread::yield_now();
        }
        received += now;
    }
    sending.join().unwrap();
    ring.settle();
}

pub(super) fn two_laps() {
    laps(2, 0, 1);
}

#[test]
fn two_laps_in_order() {
    completely(|| {
        holds("spsc, two laps", Some(2), two_laps);
        holds("spsc, two laps in batches", Some(2), || laps(3, 0, 2));
        holds("spsc, the last positions", Some(2), || laps(2, u64::MAX - 1, 1));
    });
}

/// A producer dies or leaves somewhere, and two want its role.
pub(super) fn producer_dies(fate: Fate) {
    let ring = Ring::new(2, 0, 4);
    role::claim(&ring.producer, &*ring, member(0)).unwrap();
    let dying = Rc::clone(&ring);
    let dying = loom::thread::spawn(move || {
        let life = || {
            let mut at = Producer::attach(&*dying).unwrap();
            dying.push(&mut at, 1);
            dying.push(&mut at, 1);
            role::release(&dying.producer, member(0));
        };
        if death::mortal_with(|| {}, Some(fate), life).is_none() {
            dying.bury(0);
        }
    });
    let successor = |id: u16| {
        let ring = Rc::clone(&ring);
        move || {
            let claimed = role::claim(&ring.producer, &*ring, member(id)).is_ok();
            if claimed {
                let mut at = Producer::attach(&*ring).unwrap();
                ring.push(&mut at, 1);
            }
            claimed
        }
    };
    let other = loom::thread::spawn(successor(1));
    let first = successor(2)();
    let mut at = Consumer::attach(&*ring).unwrap();
    ring.pop(&mut at, 2);
    dying.join().unwrap();
    let second = other.join().unwrap();
    assert!(!(first && second), "two have the role");
    if !first && !second {
        assert!(successor(2)(), "the role stays with the dead");
    }
    ring.settle();
}

#[test]
fn a_dead_producers_role_goes_to_one_heir() {
    completely(|| {
        holds_for_every_end("spsc, a producer dies", Some(2), End::Killed, producer_dies);
    });
}

/// A consumer dies or leaves somewhere: its successor begins with what it had not
/// released.
pub(super) fn consumer_dies(fate: Fate) {
    let ring = Ring::new(2, 0, 3);
    let mut producer = Producer::attach(&*ring).unwrap();
    ring.push(&mut producer, 2);
    role::claim(&ring.consumer, &*ring, member(0)).unwrap();
    let dying = Rc::clone(&ring);
    let dying = loom::thread::spawn(move || {
        let life = || {
            let mut at = Consumer::attach(&*dying).unwrap();
            dying.pop(&mut at, 1);
            role::release(&dying.consumer, member(0));
        };
        if death::mortal_with(|| {}, Some(fate), life).is_none() {
            dying.bury(0);
        }
    });
    let successor = Rc::clone(&ring);
    let successor = loom::thread::spawn(move || {
        if role::claim(&successor.consumer, &*successor, member(1)).is_ok() {
            let mut at = Consumer::attach(&*successor).unwrap();
            successor.pop(&mut at, 1);
        }
    });
    ring.push(&mut producer, 1);
    dying.join().unwrap();
    successor.join().unwrap();
    ring.settle();
}

#[test]
fn a_dead_consumers_heir_begins_where_it_ended() {
    completely(|| {
        holds_for_every_end("spsc, a consumer dies", Some(3), End::Killed, consumer_dies);
    });
}

/// Asked while another one sends and receives one message at a time.
pub(super) fn how_many() {
    let ring = Ring::new(3, 0, 2);
    let busy = Rc::clone(&ring);
    let busy = loom::thread::spawn(move || {
        let mut producer = Producer::attach(&*busy).unwrap();
        let mut consumer = Consumer::attach(&*busy).unwrap();
        for _ in 0..2 {
            busy.push(&mut producer, 1);
            busy.pop(&mut consumer, 1);
        }
    });
    for _ in 0..2 {
        // Between its two readings both may go on, but not the other way.
        assert!(spsc::len(&*ring) <= 2, "more than was ever sent");
    }
    busy.join().unwrap();
    ring.settle();
}

#[test]
fn the_length_is_never_below_nothing() {
    completely(|| {
        holds("spsc, len", Some(3), how_many);
    });
}
