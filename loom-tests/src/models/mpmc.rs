//! The owner-tagged slot ring: no message is lost, doubled or out of order,
//! and no slot stays with the dead.
//!
//! There is no kernel here: a death is known to whoever reads the table's
//! word, which the dying thread itself changes once it has ended.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use loom::sync::atomic::Ordering::{AcqRel, Acquire};

use crate::death::{self, End, Fate};
use crate::explore::{completely, fails, holds, holds_for_every_end};
use crate::mutant::{self, Mutant};
use crate::ring::mpmc::{self, Claim, Cursor, Dead, Recovered, Refused, Words};
use crate::ring::recovery::Repairing;
use crate::ring::set::SetMap;
use crate::ring::table::{Member, MemberState, MemberWord, Table};
use crate::sync::AtomicU64;
use crate::world::{Ring, settled};

const FIRST: u64 = 1;
/// The last lap before they start again.
const LAST_LAP: u64 = (1 << 44) - 1;

/// A ring, the table's words, and what the model itself knows.
pub(super) struct Scene {
    pub(super) ring: Ring,
    words: Vec<AtomicU64>,
    published: RefCell<Vec<u64>>,
    consumed: RefCell<Vec<u64>>,
    dropped: Cell<u64>,
}

impl Table for Scene {
    fn map(&self) -> SetMap {
        SetMap { participants: self.words.len() as u16, channels: 1, own_bells: false }
    }

    fn word(&self, id: u16) -> &AtomicU64 {
        &self.words[usize::from(id)]
    }
}

const fn word(state: MemberState, incarnation: u64) -> u64 {
    MemberWord { state, incarnation }.word()
}

/// One who is at the ring.
struct At<'a> {
    scene: &'a Scene,
    owner: u16,
    cursor: Cell<Cursor>,
}

impl Scene {
    fn new(ring: Ring, participants: usize) -> Rc<Self> {
        let live = word(MemberState::Live, FIRST);
        Rc::new(Self {
            ring,
            words: (0..participants).map(|_| AtomicU64::new(live)).collect(),
            published: RefCell::default(),
            consumed: RefCell::default(),
            dropped: Cell::new(0),
        })
    }

    fn sender(&self, owner: u16) -> At<'_> {
        At { scene: self, owner, cursor: Cell::new(Cursor::producer(&self.ring)) }
    }

    fn receiver(&self, owner: u16) -> At<'_> {
        At { scene: self, owner, cursor: Cell::new(Cursor::consumer(&self.ring)) }
    }

    /// The part of a look for a participant that the kernel says has ended.
    fn mark(&self, id: u16) {
        let (live, dead) = (word(MemberState::Live, FIRST), word(MemberState::Dead, FIRST));
        self.word(id).compare_exchange(live, dead, AcqRel, Acquire).unwrap();
    }

    /// Sweeps `id` if it is dead, and gives its slot of the table free.
    fn sweep(&self, id: u16, attempts: u8) -> Option<Recovered> {
        let dead = Member { id, incarnation: FIRST };
        if !dead.is_dead(self) {
            return None;
        }
        let still_dead = || mutant::has("whoever was dead still is") || dead.is_dead(self);
        let done = mpmc::recover(
            &self.ring,
            Dead { owner: id, attempts, committed: 0 },
            &Repairing(still_dead),
            |_, _| {},
        )
        .ok()?;
        self.dropped.set(self.dropped.get() + done.dropped);
        let (dead, free) = (word(MemberState::Dead, FIRST), word(MemberState::Free, FIRST));
        let _ = self.word(id).compare_exchange(dead, free, AcqRel, Acquire);
        Some(done)
    }

    /// One life, and once it has ended, however it did, its sweep.
    fn live(&self, id: u16, fate: Fate, attempts: u8, life: impl FnOnce()) {
        if death::mortal_with(|| {}, Some(fate), life).is_none() {
            self.mark(id);
            self.sweep(id, attempts);
        }
    }

    /// When everybody has gone: takes what is left, and then the ring does
    /// what a new one does.
    fn settle(&self, owner: u16) {
        let (sender, receiver) = (self.sender(owner), self.receiver(owner));
        while receiver.pop() {}
        assert_eq!(receiver.refused(), Refused::None);
        assert_eq!(mpmc::len(&self.ring), 0);
        assert!(!mpmc::in_flight(&self.ring), "a slot stays with the dead");
        let (consumed, published) = (self.consumed.take(), self.published.take());
        let sorted = |mut messages: Vec<u64>| {
            messages.sort_unstable();
            messages
        };
        assert_eq!(sorted(consumed).len() as u64 + self.dropped.get(), published.len() as u64);
        let capacity = self.ring.capacity();
        (0..capacity).for_each(|message| assert!(sender.push(message)));
        assert!(!sender.push(capacity));
        assert_eq!(mpmc::len(&self.ring), capacity);
        (0..capacity).for_each(|_| assert!(receiver.pop()));
        assert_eq!(*self.consumed.borrow(), (0..capacity).collect::<Vec<_>>());
    }
}

impl At<'_> {
    fn push(&self, message: u64) -> bool {
        let pushed = self.scene.ring.push(&self.cursor, self.owner, message).is_ok();
        if pushed {
            self.scene.published.borrow_mut().push(message);
        }
        pushed
    }

    fn pop(&self) -> bool {
        match self.scene.ring.pop(&self.cursor, self.owner) {
            Ok(message) => {
                let mut consumed = self.scene.consumed.borrow_mut();
                assert!(!consumed.contains(&message), "{message} comes twice");
                consumed.push(message);
                true
            }
            Err(_) => false,
        }
    }

    fn refused(&self) -> Refused {
        mpmc::take(&self.scene.ring, &self.cursor, self.owner).unwrap_err()
    }

    fn claim(&self) -> Claim {
        settled(|| mpmc::claim(&self.scene.ring, &self.cursor, self.owner)).unwrap()
    }
}

/// A tombstone behind an untaken message, seen by a consumer a lap behind.
#[test]
fn a_tombstone_takes_no_cursor_past_a_message() {
    loom::model(|| {
        let ring = Ring::new(3);
        let p = Cell::new(Cursor::producer(&ring));
        let (a, b) = (Cell::new(Cursor::consumer(&ring)), Cell::new(Cursor::consumer(&ring)));
        let send = || mpmc::publish(&ring, mpmc::claim(&ring, &p, 1).unwrap());
        (0..3).for_each(|_| send());
        mpmc::release(&ring, mpmc::take(&ring, &a, 2).unwrap());
        (0..2).for_each(|_| mpmc::release(&ring, mpmc::take(&ring, &b, 3).unwrap()));
        // The next lap: index 0 is full, index 1 a tombstone; a stands at 1.
        send();
        mpmc::abort(&ring, mpmc::claim(&ring, &p, 1).unwrap());
        assert_eq!(mpmc::len(&ring), 2);
        let taken = mpmc::take(&ring, &a, 2).expect("the message that was published");
        assert_eq!(taken.index, 0);
        mpmc::release(&ring, taken);
        assert_eq!(mpmc::take(&ring, &a, 2).unwrap_err(), Refused::None);
    });
}

/// A producer dies somewhere, while another one sends, helps to sweep, and
/// the consumer receives.
pub(super) fn producer_dies(fate: Fate) {
    let scene = Scene::new(Ring::new(2), 3);
    let dying = Rc::clone(&scene);
    let dying = loom::thread::spawn(move || {
        dying.live(0, fate, 3, || {
            let at = dying.sender(0);
            let _ = at.push(1) && at.push(2);
        });
    });
    let other = Rc::clone(&scene);
    let other = loom::thread::spawn(move || {
        other.sender(1).push(11);
        other.sweep(0, 3);
    });
    let receiver = scene.receiver(2);
    while receiver.pop() {}
    dying.join().unwrap();
    other.join().unwrap();
    scene.settle(2);
}

#[test]
fn what_a_dead_producer_was_writing_is_never_seen() {
    completely(|| {
        holds_for_every_end("mpmc, a producer dies", Some(1), End::Killed, producer_dies);
    });
}

/// A consumer dies somewhere; two sweep it, and one of them receives.
pub(super) fn consumer_dies(fate: Fate) {
    let scene = Scene::new(Ring::new(2), 3);
    let sender = scene.sender(1);
    let _ = sender.push(1) && sender.push(2);
    let dying = Rc::clone(&scene);
    let dying = loom::thread::spawn(move || {
        dying.live(0, fate, 1, || {
            dying.receiver(0).pop();
        });
    });
    let other = Rc::clone(&scene);
    let other = loom::thread::spawn(move || {
        other.sweep(0, 1);
    });
    scene.receiver(2).pop();
    dying.join().unwrap();
    other.join().unwrap();
    // Two sweeps of one death count it once: one attempt, not the last one.
    assert_eq!(scene.dropped.get(), 0);
    scene.settle(2);
}

#[test]
fn what_a_dead_consumer_was_reading_comes_once_more() {
    completely(|| {
        holds_for_every_end("mpmc, a consumer dies", Some(2), End::Killed, consumer_dies);
    });
}

/// A message over which one has died already, and of which another one may
/// be the last.
pub(super) fn second_consumer_dies(fate: Fate) {
    let scene = Scene::new(Ring::new(1), 3);
    scene.sender(2).push(1);
    let _ = mpmc::take(&scene.ring, &scene.receiver(0).cursor, 0).unwrap();
    scene.mark(0);
    let dying = Rc::clone(&scene);
    let dying = loom::thread::spawn(move || {
        dying.sweep(0, 1);
        dying.live(1, fate, 1, || {
            dying.receiver(1).pop();
        });
    });
    let other = Rc::clone(&scene);
    let other = loom::thread::spawn(move || {
        other.sweep(0, 1);
        other.sweep(1, 1);
    });
    let at = scene.receiver(2);
    if let Ok(taken) = mpmc::take(&scene.ring, &at.cursor, 2) {
        assert_eq!(taken.attempts, 1);
        scene.consumed.borrow_mut().push(1);
        mpmc::release(&scene.ring, taken);
    }
    dying.join().unwrap();
    other.join().unwrap();
    scene.settle(2);
}

#[test]
fn a_message_is_dropped_after_its_last_attempt_and_once() {
    completely(|| {
        let name = "mpmc, a second consumer dies";
        holds_for_every_end(name, Some(1), End::Killed, second_consumer_dies);
    });
}

/// Somebody died writing. One sweeper is slow; another one is done with it,
/// and the id has a next life, which writes.
pub(super) fn id_is_used_again() {
    let scene = Scene::new(Ring::new(1), 2);
    let _ = scene.sender(0).claim();
    scene.mark(0);
    let slow = Rc::clone(&scene);
    let slow = loom::thread::spawn(move || slow.sweep(0, 3).map_or(0, |done| done.tombstones));
    let first = scene.sweep(0, 3).map_or(0, |done| done.tombstones);
    // Under the lease, and only on a free slot.
    let (free, live) = (word(MemberState::Free, FIRST), word(MemberState::Live, FIRST + 1));
    let next = scene.word(0).compare_exchange(free, live, AcqRel, Acquire).is_ok();
    if next {
        assert!(scene.sender(0).push(1));
    }
    let second = slow.join().unwrap();
    assert_eq!(first + second, 1, "the next life was robbed of its slot");
    scene.settle(1);
}

/// The same with somebody who died reading.
pub(super) fn readers_id_is_used_again() {
    let scene = Scene::new(Ring::new(2), 2);
    let sender = scene.sender(1);
    let _ = sender.push(1) && sender.push(2);
    let _ = mpmc::take(&scene.ring, &scene.receiver(0).cursor, 0).unwrap();
    scene.mark(0);
    let slow = Rc::clone(&scene);
    let slow = loom::thread::spawn(move || slow.sweep(0, 3).map_or(0, |done| done.orphans));
    let first = scene.sweep(0, 3).map_or(0, |done| done.orphans);
    let (free, live) = (word(MemberState::Free, FIRST), word(MemberState::Live, FIRST + 1));
    if scene.word(0).compare_exchange(free, live, AcqRel, Acquire).is_ok() {
        let receiver = scene.receiver(0);
        let _ = receiver.pop() && receiver.pop();
    }
    let second = slow.join().unwrap();
    assert_eq!(first + second, 1, "the next life was robbed of its message");
    scene.settle(1);
}

#[test]
fn a_slow_sweep_does_not_rob_the_next_life() {
    completely(|| {
        const ROBBED: &str = "robbed";
        holds("mpmc, an id is used again", Some(3), id_is_used_again);
        holds("mpmc, a reader's id is used again", Some(3), readers_id_is_used_again);
        let still = Mutant::Model("whoever was dead still is");
        fails("mpmc, an id is used again", still, ROBBED, Some(2), id_is_used_again);
        fails(
            "mpmc, a reader's id is used again",
            still,
            ROBBED,
            Some(2),
            readers_id_is_used_again,
        );
    });
}

/// Two look for an orphan while one appears.
pub(super) fn orphan_appears() {
    let scene = Scene::new(Ring::new(2), 3);
    let sender = scene.sender(2);
    let _ = sender.push(1) && sender.push(2);
    // Nothing is left but what is in the hands of one who has died; and
    // there may be an orphan, for all that is known.
    let dead = mpmc::take(&scene.ring, &scene.receiver(0).cursor, 0).unwrap();
    assert!(scene.receiver(1).pop());
    let _ = mpmc::recover(
        &scene.ring,
        Dead { owner: 1, attempts: 3, committed: 0 },
        &Repairing(|| true),
        |_, _| {},
    );
    let _ = dead;
    scene.mark(0);
    let looking = Rc::clone(&scene);
    let looking = loom::thread::spawn(move || looking.receiver(1).pop());
    let sweeping = Rc::clone(&scene);
    let sweeping = loom::thread::spawn(move || sweeping.sweep(0, 3));
    scene.receiver(2).pop();
    looking.join().unwrap();
    sweeping.join().unwrap();
    scene.settle(2);
}

#[test]
fn no_orphan_is_overlooked_for_good() {
    completely(|| {
        holds("mpmc, an orphan appears", Some(2), orphan_appears);
        let vouches = Mutant::Model("a scan vouches for more than it saw");
        fails("mpmc, an orphan appears", vouches, "", Some(2), orphan_appears);
    });
}

/// One gives a message back, another one looks for it.
pub(super) fn message_is_given_back() {
    let scene = Scene::new(Ring::new(1), 2);
    scene.sender(0).push(1);
    let giving = Rc::clone(&scene);
    let giving = loom::thread::spawn(move || {
        if let Ok(taken) = mpmc::take(&giving.ring, &giving.receiver(0).cursor, 0) {
            assert_eq!(giving.ring.cell(taken.index).get(), 1);
            mpmc::give_back(&giving.ring, taken);
        }
    });
    scene.receiver(1).pop();
    giving.join().unwrap();
    scene.settle(1);
}

#[test]
fn what_is_given_back_comes_again() {
    completely(|| {
        holds("mpmc, a message is given back", Some(3), message_is_given_back);
    });
}

/// A message whose reader dies, or gives it back, goes from its producer to
/// another reader; and its slot, from there to a producer.
pub(super) fn read_twice(give_back: bool) {
    let scene = Scene::new(Ring::new(2), 3);
    let sending = Rc::clone(&scene);
    let sending = loom::thread::spawn(move || sending.sender(1).push(1));
    let dying = Rc::clone(&scene);
    let dying = loom::thread::spawn(move || {
        let Ok(taken) = mpmc::take(&dying.ring, &dying.receiver(0).cursor, 0) else { return };
        assert_ne!(dying.ring.cell(taken.index).get(), 0);
        if give_back {
            mpmc::give_back(&dying.ring, taken);
        } else {
            dying.mark(0);
            dying.sweep(0, 3);
        }
    });
    let at = scene.receiver(2);
    if at.pop() {
        let sender = scene.sender(2);
        let _ = sender.push(2) && sender.push(3);
    }
    sending.join().unwrap();
    dying.join().unwrap();
    scene.settle(2);
}

pub(super) fn given_back_and_read() {
    read_twice(true);
}

pub(super) fn orphaned_and_read() {
    read_twice(false);
}

/// The same by one, while another one is looking for an orphan already.
pub(super) fn looked_for() {
    let scene = Scene::new(Ring::new(1), 2);
    let _ = mpmc::recover(
        &scene.ring,
        Dead { owner: 1, attempts: 3, committed: 0 },
        &Repairing(|| true),
        |_, _| {},
    );
    let giving = Rc::clone(&scene);
    let giving = loom::thread::spawn(move || {
        giving.sender(0).push(1);
        if let Ok(taken) = mpmc::take(&giving.ring, &giving.receiver(0).cursor, 0) {
            mpmc::give_back(&giving.ring, taken);
        }
    });
    scene.receiver(1).pop();
    giving.join().unwrap();
    scene.settle(1);
}

/// A dead owner's message is not in the way of the slot's next owner.
pub(super) fn tombstone_is_claimed() {
    let scene = Scene::new(Ring::new(1), 2);
    let dying = Rc::clone(&scene);
    let dying = loom::thread::spawn(move || {
        if let Ok(claim) = mpmc::claim(&dying.ring, &dying.sender(0).cursor, 0) {
            dying.ring.cell(claim.index).set(1);
            dying.mark(0);
            dying.sweep(0, 3);
        }
    });
    scene.sender(1).push(2);
    dying.join().unwrap();
    scene.settle(1);
}

#[test]
fn a_slot_is_handed_on_with_what_is_in_it() {
    completely(|| {
        holds("mpmc, given back and read", Some(1), given_back_and_read);
        holds("mpmc, orphaned and read", Some(1), orphaned_and_read);
        holds("mpmc, looked for already", Some(2), looked_for);
        holds("mpmc, a tombstone is claimed", Some(3), tombstone_is_claimed);
    });
}

/// Producers that send as long as there is room, consumers that receive as
/// long as there is something; the ring begins with one message of theirs.
pub(super) fn crowd<const P: usize, const C: usize>(
    capacity: usize,
    lap: u64,
    sends: u64,
    receives: usize,
) {
    let scene = Scene::new(Ring::from_lap(capacity, lap), P + C);
    scene.sender(P as u16).push(0);
    let senders: Vec<_> = (1..=P as u64)
        .map(|id| {
            let scene = Rc::clone(&scene);
            loom::thread::spawn(move || {
                let at = scene.sender(id as u16 - 1);
                let _ = (0..sends).all(|n| at.push(10 * id + n));
            })
        })
        .collect();
    let receiving = move |scene: Rc<Scene>, id: usize| {
        let at = scene.receiver(id as u16);
        let mut last = [None; 10];
        for _ in 0..receives {
            let Ok(message) = scene.ring.pop(&at.cursor, at.owner) else { break };
            let last = &mut last[message as usize / 10];
            assert!(*last < Some(message), "{message} after {last:?}");
            *last = Some(message);
            scene.consumed.borrow_mut().push(message);
        }
    };
    let others: Vec<_> = (1..C)
        .map(|id| {
            let scene = Rc::clone(&scene);
            loom::thread::spawn(move || receiving(scene, P + id))
        })
        .collect();
    receiving(Rc::clone(&scene), P);
    for thread in senders.into_iter().chain(others) {
        thread.join().unwrap();
    }
    let receiver = scene.receiver(P as u16);
    while receiver.pop() {}
    let mut consumed = scene.consumed.borrow().clone();
    let mut published = scene.published.borrow().clone();
    consumed.sort_unstable();
    published.sort_unstable();
    assert_eq!(consumed, published);
    scene.settle(P as u16);
}

pub(super) fn one_and_one() {
    crowd::<1, 1>(2, 0, 2, 3);
}

#[test]
fn every_message_comes_once_and_in_its_producers_order() {
    completely(|| {
        holds("mpmc, 1 producer, 1 consumer", Some(2), one_and_one);
        holds("mpmc, 2 producers, 1 consumer", Some(1), || crowd::<2, 1>(2, 0, 1, 2));
        holds("mpmc, 1 producer, 2 consumers", Some(1), || crowd::<1, 2>(2, 0, 2, 1));
    });
    // More of it, in the orders that loom takes to be different.
    holds("mpmc, 2 producers, 1 consumer", Some(1), || crowd::<2, 1>(2, 0, 2, 3));
    holds("mpmc, 1 producer, 2 consumers", Some(1), || crowd::<1, 2>(2, 0, 3, 2));
    holds("mpmc, 2 producers, 2 consumers", Some(1), || crowd::<2, 2>(2, 0, 1, 1));
}

#[test]
fn laps_begin_again() {
    completely(|| {
        holds("mpmc, the last lap", Some(1), || crowd::<2, 1>(1, LAST_LAP, 1, 2));
    });
}

/// Asked while others are at it.
pub(super) fn how_many() {
    let scene = Scene::new(Ring::from_lap(2, LAST_LAP), 2);
    scene.sender(0).push(1);
    let sending = Rc::clone(&scene);
    let sending = loom::thread::spawn(move || {
        let at = sending.sender(0);
        let _ = at.push(2) && at.push(3);
    });
    let (before, then) = (mpmc::len(&scene.ring), mpmc::len(&scene.ring));
    assert!(1 <= before && before <= then && then <= 2, "{before}, then {then}");
    scene.receiver(1).pop();
    assert!(mpmc::len(&scene.ring) <= 2);
    sending.join().unwrap();
    scene.settle(1);
}

#[test]
fn the_length_is_what_it_was_a_moment_ago() {
    completely(|| {
        holds("mpmc, len", Some(2), how_many);
    });
}
