//! Records in the ring of two: no message is lost, doubled, torn or out of
//! order, whatever its length and wherever the ring ends.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::death::{self, End, Fate};
use crate::explore::{completely, fails, holds, holds_for_every_end};
use crate::mutant::{self, Mutant, Site};
use crate::ring::records::{self, Record, Units};
use crate::ring::spsc::{Consumer, Indices, Producer};
use crate::sync::{AtomicU64, Ordering};

struct Ring {
    head: AtomicU64,
    tail: AtomicU64,
    headers: Vec<AtomicU64>,
    bytes: Vec<loom::cell::Cell<u64>>,
    longest: u64,
    /// The lengths of what was sent; messages are numbers from 1.
    published: RefCell<Vec<u64>>,
    consumed: Cell<usize>,
}

impl Indices for Ring {
    fn capacity(&self) -> u64 {
        self.headers.len() as u64
    }

    fn head(&self) -> &AtomicU64 {
        &self.head
    }

    fn tail(&self) -> &AtomicU64 {
        &self.tail
    }
}

impl Units for Ring {
    fn unit(&self, index: u64) -> &AtomicU64 {
        &self.headers[index as usize]
    }

    fn longest(&self) -> u64 {
        self.longest
    }
}

impl Ring {
    /// As `BlockPlan` makes it for one message of up to `longest` bytes: a
    /// record more than that.
    fn new(longest: u64, start: u64) -> Rc<Self> {
        let capacity = 2 * records::units(longest);
        Rc::new(Self {
            head: AtomicU64::new(start),
            tail: AtomicU64::new(start),
            headers: (0..capacity).map(|_| AtomicU64::new(0)).collect(),
            bytes: (0..capacity).map(|_| loom::cell::Cell::new(0)).collect(),
            longest,
            published: RefCell::default(),
            consumed: Cell::new(0),
        })
    }

    /// The units of a message's bytes.
    fn bytes(&self, start: u64, length: u64) -> impl Iterator<Item = &loom::cell::Cell<u64>> {
        (start..start + records::units(length) - 1).map(|unit| &self.bytes[unit as usize])
    }

    /// Reserves `room`, commits `length` of it.
    fn push(&self, at: &Producer, room: u64, length: u64) -> bool {
        let Some(reserved) = records::reserve(self, at, room).unwrap() else { return false };
        let number = self.published.borrow().len() as u64 + 1;
        self.bytes(reserved.bytes(), room).for_each(|unit| unit.set(number));
        records::commit(self, at, reserved, length);
        self.published.borrow_mut().push(length);
        true
    }

    fn look(&self, at: &Consumer) -> Option<Record> {
        let record = records::next(self, at).unwrap()?;
        let number = self.consumed.get() + 1;
        let published = self.published.borrow().get(number - 1).copied();
        assert_eq!(Some(record.length), published, "the length of {number}");
        let whole = |unit: &loom::cell::Cell<u64>| unit.get() == number as u64;
        assert!(self.bytes(record.bytes, record.length).all(whole), "{number} is torn");
        Some(record)
    }

    fn pop(&self, at: &Consumer) -> bool {
        let Some(record) = self.look(at) else { return false };
        records::release(self, at, record);
        self.consumed.set(self.consumed.get() + 1);
        true
    }

    fn settle(&self) {
        let at = Consumer::attach(self).unwrap();
        while self.pop(&at) {}
        assert_eq!(self.consumed.get(), self.published.borrow().len());
        // All room is there: for the longest, from wherever it is.
        assert!(self.push(&Producer::attach(self).unwrap(), self.longest, self.longest));
        assert!(self.pop(&at));
    }
}

/// Messages of these lengths, by one thread to another.
fn lengths(longest: u64, start: u64, lengths: &'static [u64]) {
    let ring = Ring::new(longest, start);
    let sending = Rc::clone(&ring);
    let sending = loom::thread::spawn(move || {
        let at = Producer::attach(&*sending).unwrap();
        for &length in lengths {
            while !sending.push(&at, length, length) {
                loom::thread::yield_now();
            }
        }
    });
    let at = Consumer::attach(&*ring).unwrap();
    for _ in lengths {
        while !ring.pop(&at) {
            loom::thread::yield_now();
        }
    }
    sending.join().unwrap();
    ring.settle();
}

/// Two laps of 6 units, with padding of one in the first.
pub(super) fn two_laps() {
    lengths(16, 0, &[16, 8, 16, 16]);
}

#[test]
fn records_come_whole_and_in_order() {
    completely(|| {
        holds("records, two laps", Some(2), two_laps);
        holds("records, of one unit", Some(2), || lengths(0, 0, &[0, 0, 0, 0]));
        // 4 units: padding is half of the ring's, or none of it.
        holds("records, to the end", Some(2), || lengths(8, 2, &[8, 8, 0, 8]));
        const ROOM: &[Site] = &[Site {
            file: "spsc",
            function: "tell",
            line: "ring.tail",
            order: Ordering::Release,
            weak: Ordering::Relaxed,
        }];
        fails("records, two laps", Mutant::Weak(ROOM), "", Some(2), two_laps);
    });
}

/// Room that is not used, or not all of it.
fn less_than_reserved() {
    let ring = Ring::new(16, 4);
    let sending = Rc::clone(&ring);
    let sending = loom::thread::spawn(move || {
        let at = Producer::attach(&*sending).unwrap();
        // Aborted: its padding is there, and nobody's.
        let aborted = records::reserve(&*sending, &at, 16).unwrap();
        if let Some(aborted) = aborted.filter(|_| mutant::has("what is aborted is published")) {
            records::commit(&*sending, &at, aborted, 0);
        }
        let _ = sending.push(&at, 8, 5) && sending.push(&at, 16, 7) && sending.push(&at, 16, 0);
    });
    let at = Consumer::attach(&*ring).unwrap();
    let _ = ring.pop(&at) && ring.pop(&at);
    sending.join().unwrap();
    ring.settle();
}

#[test]
fn what_is_not_committed_is_not_there() {
    completely(|| {
        holds("records, less than reserved", Some(3), less_than_reserved);
        let aborted = Mutant::Model("what is aborted is published");
        fails("records, less than reserved", aborted, "", Some(3), less_than_reserved);
    });
}

/// A producer dies somewhere, its successor goes on; a consumer looks on.
fn producer_dies(fate: Fate) {
    let ring = Ring::new(16, 2);
    let sending = Rc::clone(&ring);
    let sending = loom::thread::spawn(move || {
        let _ = death::mortal_with(
            || {},
            Some(fate),
            || {
                let at = Producer::attach(&*sending).unwrap();
                let _ = sending.push(&at, 8, 8) && sending.push(&at, 16, 16);
            },
        );
        let successor = Producer::attach(&*sending).unwrap();
        let _ = sending.push(&successor, 8, 8) && sending.push(&successor, 16, 16);
    });
    let at = Consumer::attach(&*ring).unwrap();
    let _ = ring.pop(&at) && ring.pop(&at);
    sending.join().unwrap();
    ring.settle();
}

/// A consumer dies somewhere; what it had not released comes to its successor.
fn consumer_dies(fate: Fate) {
    let ring = Ring::new(16, 4);
    let producer = Producer::attach(&*ring).unwrap();
    assert!(ring.push(&producer, 0, 0) && ring.push(&producer, 16, 16));
    let receiving = Rc::clone(&ring);
    let receiving = loom::thread::spawn(move || {
        let _ = death::mortal_with(
            || {},
            Some(fate),
            || {
                let at = Consumer::attach(&*receiving).unwrap();
                let _ = receiving.look(&at);
                while receiving.pop(&at) {}
            },
        );
        let successor = Consumer::attach(&*receiving).unwrap();
        receiving.pop(&successor);
    });
    let _ = ring.push(&producer, 8, 8) && ring.push(&producer, 16, 16);
    receiving.join().unwrap();
    ring.settle();
}

#[test]
fn heirs_begin_where_the_dead_ended() {
    completely(|| {
        const KILLED: End = End::Killed;
        holds_for_every_end("records, a producer dies", Some(2), KILLED, producer_dies);
        holds_for_every_end("records, a consumer dies", Some(2), KILLED, consumer_dies);
    });
}
