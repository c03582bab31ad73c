//! Messages in flight: whoever dies at whatever step, what it had
//! comes again marked, or not at all, and is counted once.

use std::cell::Cell;
use std::rc::Rc;

use loom::sync::atomic::Ordering::{AcqRel, Acquire};

use crate::death::{self, End, Fate};
use crate::explore::{completely, fails_for_some_end, holds_for_every_end};
use crate::mutant::{self, Mutant};
use crate::ring::in_flight::{self, InFlight, Reader};
use crate::ring::recovery::Repairing;
use crate::ring::role;
use crate::ring::set::SetMap;
use crate::ring::spsc::{Indices, Producer};
use crate::ring::table::{Member, MemberState, MemberWord, Table};
use crate::sync::AtomicU64;

const FIRST: u64 = 1;
const CAPACITY: u64 = 2;

/// Positions are the messages; nobody reads anything else.
struct Ring {
    head: AtomicU64,
    tail: AtomicU64,
    marks: Vec<AtomicU64>,
    taker: AtomicU64,
    consumer: AtomicU64,
    words: Vec<AtomicU64>,
    attempts: u8,
    /// How many have certainly died over each message, and how many may have:
    /// in the very call that took it or let it go.
    died: [Cell<(u64, u64)>; 3],
    /// The counts of the sweeps.
    orphans: Cell<u64>,
    dropped: Cell<u64>,
}

impl Indices for Ring {
    fn capacity(&self) -> u64 {
        CAPACITY
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
        self.marks.len()
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

/// A receiver's dealings with the next messages.
#[derive(Clone, Copy)]
enum Doing {
    Nothing,
    /// Taking them, or letting them go.
    Moving(u64, u64),
    Holding(u64, u64),
}

impl Ring {
    fn new(attempts: u8) -> Rc<Self> {
        let ring = Rc::new(Self {
            head: AtomicU64::new(0),
            tail: AtomicU64::new(0),
            marks: (0..3).map(|_| AtomicU64::new(0)).collect(),
            taker: AtomicU64::new(0),
            consumer: AtomicU64::new(0),
            words: (0..3).map(|_| AtomicU64::new(word(MemberState::Live, FIRST))).collect(),
            attempts,
            died: Default::default(),
            orphans: Cell::new(0),
            dropped: Cell::new(0),
        });
        Producer::attach(&*ring).unwrap().publish(&*ring, CAPACITY);
        ring
    }

    /// A life, in which it says what it is doing, and its death.
    fn live(&self, id: u16, fate: Option<Fate>, life: impl FnOnce(&Cell<Doing>)) {
        let doing = Cell::new(Doing::Nothing);
        if death::mortal_with(|| {}, fate, || life(&doing)).is_some() {
            return;
        }
        self.die(id, doing.get());
    }

    fn die(&self, id: u16, doing: Doing) {
        let (certainly, from, to) = match doing {
            Doing::Nothing => (0, 0, 0),
            Doing::Moving(from, to) => (0, from, to),
            Doing::Holding(from, to) => (1, from, to),
        };
        for position in from..to {
            let died = &self.died[position as usize];
            died.set((died.get().0 + certainly, died.get().1 + 1));
        }
        let (live, dead) = (word(MemberState::Live, FIRST), word(MemberState::Dead, FIRST));
        self.word(id).compare_exchange(live, dead, AcqRel, Acquire).unwrap();
    }

    /// Sweeps whoever is dead.
    fn sweep(&self) {
        for dead in (0..2).map(member) {
            if !dead.is_dead(self) {
                continue;
            }
            let done =
                in_flight::recover(self, dead, self.attempts, &Repairing(|| dead.is_dead(self)))
                    .unwrap_or_default();
            self.orphans.set(self.orphans.get() + done.orphans);
            self.dropped.set(self.dropped.get() + done.dropped);
            let (dead_word, free) =
                (word(MemberState::Dead, FIRST), word(MemberState::Free, FIRST));
            let _ = self.word(dead.id).compare_exchange(dead_word, free, AcqRel, Acquire);
        }
    }

    /// Takes the role up, if it is to be had.
    fn reader(&self, id: u16) -> Option<Reader> {
        if !mutant::has("the role is taken from the dead at once") {
            self.sweep();
            role::claim(&self.consumer, self, member(id)).ok()?;
        }
        Some(Reader::attach(self, member(id), self.attempts).unwrap().0)
    }

    /// Takes `count`, and acknowledges the first `keep` of them.
    fn take(&self, at: &Reader, count: u64, keep: u64, doing: &Cell<Doing>) {
        let count = at.filled(self, count).unwrap();
        if count == 0 {
            return;
        }
        self.is_marked(at);
        let count = at.alike(self, count);
        let (from, to) = (at.position(), at.position() + count);
        doing.set(Doing::Moving(from, to));
        at.hold(self, count);
        doing.set(Doing::Holding(from, to));
        // Somebody else may move here.
        self.word(2).load(Acquire);
        doing.set(Doing::Moving(from, to));
        let keep = keep.min(count);
        if keep < count && !mutant::has("what is given back stays marked") {
            at.hold(self, keep);
        }
        if keep > 0 {
            at.release(self, keep);
        }
        doing.set(Doing::Nothing);
    }

    /// The next message comes with as many attempts as have died over it.
    fn is_marked(&self, at: &Reader) {
        let (certainly, maybe) = self.died[at.position() as usize].get();
        let attempts = u64::from(at.attempts(self));
        assert!((certainly..=maybe).contains(&attempts), "{certainly} to {maybe}, not {attempts}");
    }

    /// Somebody comes when all is over: what is gone was dropped rightly, or
    /// acknowledged, and every drop was counted once.
    fn settle(&self, acknowledged: u64) {
        let at = self.reader(2).expect("the role stays with the dead");
        let attempts = u64::from(self.attempts);
        let sum = |of: fn((u64, u64)) -> u64| self.died.iter().map(|died| of(died.get())).sum();
        let (certainly, maybe): (u64, u64) = (sum(|died| died.0), sum(|died| died.1));
        let counted = self.orphans.get() + self.dropped.get();
        assert!((certainly..=maybe).contains(&counted), "{counted} of {certainly} to {maybe}");
        let tail = self.tail.load(Acquire);
        for position in 0..tail {
            let (certainly, maybe) = self.died[position as usize].get();
            let gone = position < at.position();
            assert!(gone || certainly <= attempts, "{position} was not dropped");
            let rightly = position < acknowledged || maybe > attempts;
            assert!(!gone || rightly, "{position} was lost");
        }
        if at.position() < tail {
            self.is_marked(&at);
        }
    }
}

/// A consumer dies somewhere, swept by two; one of them succeeds it.
fn consumer_dies(attempts: u8, fate: Fate) {
    let ring = Ring::new(attempts);
    let acknowledged = Rc::new(Cell::new(0));
    let (dying, done) = (Rc::clone(&ring), Rc::clone(&acknowledged));
    let dying = loom::thread::spawn(move || {
        dying.live(0, Some(fate), |doing| {
            let Some(at) = dying.reader(0) else { return };
            dying.take(&at, 2, 0, doing);
            done.set(1);
            dying.take(&at, 2, 1, doing);
            dying.take(&at, 1, 0, doing);
            role::release(&dying.consumer, member(0));
        });
    });
    let successor = Rc::clone(&ring);
    let successor = loom::thread::spawn(move || {
        successor.live(1, None, |doing| {
            if let Some(at) = successor.reader(1) {
                successor.take(&at, 1, 0, doing);
                role::release(&successor.consumer, member(1));
            }
        });
    });
    ring.sweep();
    dying.join().unwrap();
    successor.join().unwrap();
    ring.settle(acknowledged.get());
}

/// One has died over the first message; its successor dies somewhere, in taking
/// the role up or over what it takes, and is swept by two.
fn successor_dies(attempts: u8, fate: Fate) {
    let ring = Ring::new(attempts);
    ring.reader(0).unwrap().hold(&*ring, 1);
    ring.die(0, Doing::Holding(0, 1));
    let acknowledged = Rc::new(Cell::new(0));
    let (successor, done) = (Rc::clone(&ring), Rc::clone(&acknowledged));
    let successor = loom::thread::spawn(move || {
        successor.live(1, Some(fate), |doing| {
            let Some(at) = successor.reader(1) else { return };
            successor.take(&at, 2, 0, doing);
            done.set(at.position() + 1);
            successor.take(&at, 1, 1, doing);
            role::release(&successor.consumer, member(1));
        });
    });
    ring.sweep();
    successor.join().unwrap();
    ring.settle(acknowledged.get());
}

#[test]
fn what_the_dead_held_comes_again_marked_or_not_at_all() {
    completely(|| {
        for attempts in [0, 1] {
            holds_for_every_end(
                &format!("in flight, a consumer dies, {attempts} attempts"),
                Some(2),
                End::Killed,
                move |fate| consumer_dies(attempts, fate),
            );
            holds_for_every_end(
                &format!("in flight, a successor dies, {attempts} attempts"),
                Some(2),
                End::Killed,
                move |fate| successor_dies(attempts, fate),
            );
        }
    });
}

#[test]
fn a_role_is_taken_over_only_when_its_holder_is_swept() {
    completely(|| {
        fails_for_some_end(
            "in flight, a successor does not wait for the sweep",
            Mutant::Model("the role is taken from the dead at once"),
            " of ",
            Some(2),
            End::Killed,
            |fate| successor_dies(1, fate),
        );
    });
}

#[test]
fn what_is_given_back_is_not_marked() {
    completely(|| {
        fails_for_some_end(
            "in flight, given back and kept",
            Mutant::Model("what is given back stays marked"),
            "",
            Some(2),
            End::Killed,
            |fate| consumer_dies(0, fate),
        );
    });
}
