//! A joint send: all of its messages arrive or none, whichever step is its sender's last.
//!
//! As in the models of [`mpmc`](super::mpmc), a death is known to whoever reads the table's
//! word.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use loom::sync::atomic::Ordering::{AcqRel, Acquire};

use crate::checker;
use crate::death::{self, End, Fate};
use crate::explore::{completely, fails, fails_for_some_end, holds, holds_for_every_end};
use crate::mutant::{self, Mutant};
use crate::ring::joint::{self, Part, Pledges, Ticket};
use crate::ring::mpmc::{self, Claim, Cursor, Dead, Refused};
use crate::ring::recovery::{Finished, Repairing};
use crate::ring::role;
use crate::ring::set::SetMap;
use crate::ring::spsc::{Consumer, Indices, Producer};
use crate::ring::table::{Member, MemberState, MemberWord, Table};
use crate::sync::AtomicU64;
use crate::world::{Ring, settled};

const FIRST: u64 = 1;
const PUBLISHED_EARLY: &str = "published as it is written";
const HALF: &str = "some and not all";

/// An SPSC ring.
struct Single {
    head: AtomicU64,
    tail: AtomicU64,
    producer: AtomicU64,
    pledge: AtomicU64,
    cells: Vec<checker::Cell<u64>>,
}

impl Indices for Single {
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

impl Pledges for Single {
    fn pledge(&self) -> &AtomicU64 {
        &self.pledge
    }
}

/// Two MPMC rings and an SPSC ring, the table's words, and what each participant has
/// committed.
struct Scene {
    rings: [Ring; 2],
    single: Single,
    words: Vec<AtomicU64>,
    committed: Vec<AtomicU64>,
    /// By ring, the SPSC ring last.
    got: RefCell<[Vec<u64>; 3]>,
}

impl Table for Scene {
    fn map(&self) -> SetMap {
        SetMap { participants: self.words.len() as u16, channels: 3, own_bells: false }
    }

    fn word(&self, id: u16) -> &AtomicU64 {
        &self.words[usize::from(id)]
    }
}

const fn word(state: MemberState, incarnation: u64) -> u64 {
    MemberWord { state, incarnation }.word()
}

const fn member(id: u16, incarnation: u64) -> Member {
    Member { id, incarnation }
}

/// A message for a slot.
struct Slot<'a> {
    ring: &'a Ring,
    owner: u16,
    message: u64,
    cursor: Cell<Cursor>,
    claim: Cell<Option<Claim>>,
}

impl Part for Slot<'_> {
    type Refused = Refused;

    fn claim(&self, ticket: Ticket) -> Result<(), Refused> {
        let claim = || mpmc::claim_jointly(self.ring, &self.cursor, self.owner, ticket);
        self.claim.set(Some(settled(claim)?));
        Ok(())
    }

    fn abort(&self) {
        mpmc::abort(self.ring, self.claim.take().unwrap());
    }

    fn write(&self) {
        let claim = self.claim.get().unwrap();
        self.ring.cell(claim.index).set(self.message);
        if mutant::has(PUBLISHED_EARLY) {
            mpmc::publish(self.ring, claim);
        }
    }

    fn publish(&self) {
        let claim = self.claim.take().unwrap();
        if !mutant::has(PUBLISHED_EARLY) {
            mpmc::publish(self.ring, claim);
        }
    }
}

/// A message for the next cell.
struct Next<'a> {
    single: &'a Single,
    at: Producer,
    message: u64,
}

impl Part for Next<'_> {
    type Refused = Refused;

    fn claim(&self, ticket: Ticket) -> Result<(), Refused> {
        if self.at.room(self.single, 1).unwrap() == 0 {
            return Err(Refused::None);
        }
        self.single.cells[self.at.index() as usize].set(self.message);
        joint::pledge(self.single, &self.at, 1, ticket);
        Ok(())
    }

    fn abort(&self) {
        joint::unpledge(self.single);
    }

    fn write(&self) {}

    fn publish(&self) {
        self.at.publish(self.single, 1);
        joint::unpledge(self.single);
    }
}

impl Scene {
    fn new(capacity: usize, participants: usize) -> Rc<Self> {
        let live = word(MemberState::Live, FIRST);
        Rc::new(Self {
            rings: [Ring::new(capacity), Ring::new(capacity)],
            single: Single {
                head: AtomicU64::new(0),
                tail: AtomicU64::new(0),
                producer: AtomicU64::new(0),
                pledge: AtomicU64::new(0),
                cells: (0..capacity).map(|_| checker::Cell::new(0)).collect(),
            },
            words: (0..participants).map(|_| AtomicU64::new(live)).collect(),
            committed: (0..participants).map(|_| AtomicU64::new(0)).collect(),
            got: RefCell::default(),
        })
    }

    fn slot(&self, ring: usize, owner: u16, message: u64) -> Slot<'_> {
        let ring = &self.rings[ring];
        let cursor = Cell::new(Cursor::producer(ring));
        Slot { ring, owner, message, cursor, claim: Cell::new(None) }
    }

    /// Takes up the producer's role, as `kinds/spsc` does.
    fn producer(&self, me: Member) -> Option<Producer> {
        role::claim(&self.single.producer, self, me).ok()?;
        let producer = Producer::attach(&self.single).unwrap();
        if !mutant::has("a successor keeps its predecessor's pledge") {
            joint::unpledge(&self.single);
        }
        Some(producer)
    }

    fn send<P: Part<Refused = Refused> + ?Sized>(&self, owner: u16, parts: &[&P]) -> bool {
        let nowhere = AtomicU64::new(0);
        let committed = match mutant::has("nobody else sees the commit") {
            true => &nowhere,
            false => &self.committed[usize::from(owner)],
        };
        joint::send(parts, committed, Ticket::nth(0)).is_ok()
    }

    /// Sends to both MPMC rings.
    fn send_to_both(&self, owner: u16, message: u64) -> bool {
        let (first, second) = (self.slot(0, owner, message), self.slot(1, owner, message));
        self.send(owner, &[&first, &second])
    }

    fn pop(&self, ring: usize, owner: u16) -> bool {
        let cursor = Cell::new(Cursor::consumer(&self.rings[ring]));
        let Ok(message) = self.rings[ring].pop(&cursor, owner) else { return false };
        self.note(ring, message);
        true
    }

    fn note(&self, ring: usize, message: u64) {
        assert_ne!(message, 0, "never written");
        let got = &mut self.got.borrow_mut()[ring];
        assert!(!got.contains(&message), "{message} comes twice");
        got.push(message);
    }

    fn pop_single(&self, at: &Consumer) -> bool {
        if at.filled(&self.single, 1).unwrap() == 0 {
            return false;
        }
        self.note(2, self.single.cells[at.index() as usize].get());
        at.release(&self.single, 1);
        true
    }

    /// The part of a look for a participant that the kernel says has ended.
    fn mark(&self, id: u16) {
        let (live, dead) = (word(MemberState::Live, FIRST), word(MemberState::Dead, FIRST));
        self.word(id).compare_exchange(live, dead, AcqRel, Acquire).unwrap();
    }

    /// Sweeps `id` if it is dead, and gives its slot of the table free. How much was
    /// completed.
    fn sweep(&self, id: u16) -> u64 {
        let dead = member(id, FIRST);
        if !dead.is_dead(self) {
            return 0;
        }
        let still_dead = || mutant::has("whoever was dead still is") || dead.is_dead(self);
        let committed = match () {
            () if mutant::has("a sweep forgets what is committed") => 0,
            () if mutant::has("a sweep completes whatever was begun") => u64::MAX,
            () => joint::committed_by_dead(&self.committed[usize::from(id)]),
        };
        let swept = || -> Result<u64, Finished> {
            let mut completed = 0;
            for ring in &self.rings {
                let held = Dead { owner: id, attempts: 3, committed };
                let repairing = Repairing(still_dead);
                completed += mpmc::recover(ring, held, &repairing, |_, _| {})?.completed;
            }
            if role::holder(self.single.producer.load(Acquire)) == Some(dead) {
                let repairing = Repairing(still_dead);
                completed += joint::recover_producer(&self.single, committed, &repairing)?;
            }
            Ok(completed)
        };
        let Ok(completed) = swept() else { return 0 };
        let (dead, free) = (word(MemberState::Dead, FIRST), word(MemberState::Free, FIRST));
        let _ = self.word(id).compare_exchange(dead, free, AcqRel, Acquire);
        completed
    }

    /// One life, and once it has ended, however it did, its sweep.
    fn live(&self, id: u16, fate: Fate, life: impl FnOnce()) {
        if death::mortal_with(|| {}, Some(fate), life).is_none() {
            self.mark(id);
            self.sweep(id);
        }
    }

    /// When everybody has gone: takes what is left, and compares.
    fn settle(&self, owner: u16, rings: [usize; 2]) {
        for ring in [0, 1] {
            while self.pop(ring, owner) {}
            assert_eq!(mpmc::len(&self.rings[ring]), 0);
        }
        let consumer = Consumer::attach(&self.single).unwrap();
        while self.pop_single(&consumer) {}
        let got = self.got.borrow();
        let sorted = |ring: usize| {
            let mut got = got[ring].clone();
            got.sort_unstable();
            got
        };
        let [first, second] = rings.map(sorted);
        assert_eq!(first, second, "{HALF}");
    }
}

/// One dies somewhere over a joint send, while another one sweeps, and a third one receives.
pub(super) fn sender_dies(fate: Fate) {
    let scene = Scene::new(2, 3);
    let sent = Rc::new(Cell::new(false));
    let (dying, done) = (Rc::clone(&scene), Rc::clone(&sent));
    let dying = loom::thread::spawn(move || {
        dying.live(0, fate, || done.set(dying.send_to_both(0, 1)));
    });
    let other = Rc::clone(&scene);
    let other = loom::thread::spawn(move || {
        other.sweep(0);
    });
    scene.pop(1, 2);
    dying.join().unwrap();
    other.join().unwrap();
    scene.settle(2, [0, 1]);
    assert!(!sent.get() || !scene.got.borrow()[0].is_empty(), "what was sent is lost");
}

/// The same to an MPMC and an SPSC ring, where a successor of the producer goes on.
pub(super) fn producer_dies(fate: Fate) {
    let scene = Scene::new(2, 3);
    let dying = Rc::clone(&scene);
    let dying = loom::thread::spawn(move || {
        dying.live(0, fate, || {
            let Some(at) = dying.producer(member(0, FIRST)) else { return };
            let slot = dying.slot(0, 0, 1);
            let next = Next { single: &dying.single, at, message: 1 };
            let parts: [&dyn Part<Refused = Refused>; 2] = [&slot, &next];
            dying.send(0, &parts);
        });
    });
    let consumer = Consumer::attach(&scene.single).unwrap();
    scene.sweep(0);
    scene.pop_single(&consumer);
    dying.join().unwrap();
    if let Some(at) = scene.producer(member(1, FIRST)) {
        let slot = scene.slot(0, 1, 2);
        let next = Next { single: &scene.single, at, message: 2 };
        let parts: [&dyn Part<Refused = Refused>; 2] = [&slot, &next];
        assert!(scene.send(1, &parts));
    }
    scene.settle(2, [0, 2]);
}

#[test]
fn whoever_dies_over_a_joint_send_has_sent_all_or_nothing() {
    completely(|| {
        holds_for_every_end("joint, a sender dies", Some(1), End::Killed, sender_dies);
        holds_for_every_end("joint, a producer dies", Some(1), End::Killed, producer_dies);
        for wrong in [
            PUBLISHED_EARLY,
            "nobody else sees the commit",
            "a sweep forgets what is committed",
            "a sweep completes whatever was begun",
        ] {
            let name = "joint, a sender dies";
            let mutant = Mutant::Model(wrong);
            fails_for_some_end(name, mutant, "", Some(1), End::Killed, sender_dies);
        }
    });
}

/// Two send to both rings, which have room for one.
pub(super) fn two_send() {
    let scene = Scene::new(1, 3);
    let other = Rc::clone(&scene);
    let other = loom::thread::spawn(move || {
        if !mutant::has("claimed in any order") {
            return other.send_to_both(0, 1);
        }
        let (first, second) = (other.slot(0, 0, 1), other.slot(1, 0, 1));
        other.send(0, &[&second, &first])
    });
    let mine = scene.send_to_both(1, 2);
    let others = other.join().unwrap();
    assert!(mine || others, "neither was sent");
    scene.settle(2, [0, 1]);
    assert_eq!(scene.got.borrow()[0].len(), usize::from(mine) + usize::from(others));
}

#[test]
fn of_two_joint_sends_one_gets_all_places() {
    completely(|| {
        holds("joint, two send", Some(2), two_send);
        let any_order = Mutant::Model("claimed in any order");
        fails("joint, two send", any_order, "neither", Some(2), two_send);
    });
}

/// One dies over several joint sends at once, of which it has committed one.
pub(super) fn two_tickets(fate: Fate) {
    let scene = Scene::new(2, 2);
    let dying = Rc::clone(&scene);
    let dying = loom::thread::spawn(move || {
        dying.live(0, fate, || {
            // Another thread of the process is stopped before it commits.
            let begun = dying.slot(0, 0, 9);
            let number = if mutant::has("one ticket for all") { 0 } else { 1 };
            begun.claim(Ticket::nth(number)).unwrap();
            dying.send_to_both(0, 1);
        });
    });
    scene.sweep(0);
    dying.join().unwrap();
    if member(0, FIRST).is_live(&*scene) {
        scene.mark(0);
        scene.sweep(0);
    }
    scene.settle(1, [0, 1]);
}

#[test]
fn a_ticket_stands_for_its_own_places_only() {
    completely(|| {
        holds_for_every_end("joint, two tickets", Some(1), End::Killed, two_tickets);
        let one = Mutant::Model("one ticket for all");
        fails_for_some_end("joint, two tickets", one, "", Some(1), End::Killed, two_tickets);
    });
}

/// Somebody died when it had committed. One sweeper is slow; another one is done with it, and
/// the id has a next life, which sends jointly too.
pub(super) fn id_is_used_again() {
    let scene = Scene::new(1, 2);
    let (first, second) = (scene.slot(0, 0, 1), scene.slot(1, 0, 1));
    for part in [&first, &second] {
        part.claim(Ticket::nth(0)).unwrap();
        part.write();
    }
    scene.committed[0].fetch_or(2, Acquire);
    scene.mark(0);
    let slow = Rc::clone(&scene);
    let slow = loom::thread::spawn(move || slow.sweep(0));
    let swept = scene.sweep(0);
    let (free, live) = (word(MemberState::Free, FIRST), word(MemberState::Live, FIRST + 1));
    if scene.word(0).compare_exchange(free, live, AcqRel, Acquire).is_ok() {
        joint::begin(&scene.committed[0]);
        assert!(scene.pop(0, 1) && scene.pop(1, 1));
        assert!(scene.send_to_both(0, 2));
    }
    // A sweep that finds that the other one is done does not say what it has completed.
    assert!(swept + slow.join().unwrap() <= 2, "completed twice");
    scene.settle(1, [0, 1]);
}

/// The same where it was the producer of the SPSC ring, whose next one is another's.
pub(super) fn role_has_a_successor() {
    let scene = Scene::new(2, 3);
    let at = scene.producer(member(0, FIRST)).unwrap();
    let next = Next { single: &scene.single, at, message: 1 };
    next.claim(Ticket::nth(0)).unwrap();
    scene.committed[0].fetch_or(2, Acquire);
    scene.mark(0);
    let slow = Rc::clone(&scene);
    let slow = loom::thread::spawn(move || slow.sweep(0));
    let swept = scene.sweep(0);
    if let Some(at) = scene.producer(member(1, FIRST)) {
        // As long as it has not committed, nobody publishes for it.
        let next = Next { single: &scene.single, at, message: 2 };
        next.claim(Ticket::nth(0)).unwrap();
        let tail = scene.single.tail().load(Acquire);
        assert_eq!(tail, next.at.position(), "published for another one");
        next.publish();
    }
    assert_eq!(swept + slow.join().unwrap(), 1, "completed twice");
    let consumer = Consumer::attach(&scene.single).unwrap();
    while scene.pop_single(&consumer) {}
    assert_eq!(scene.got.borrow()[2], [1, 2]);
}

/// A producer dies when it has pledged and not committed. Its successor commits what has
/// nothing to do with the ring, by the same ticket, and dies.
pub(super) fn pledge_is_left() {
    let scene = Scene::new(2, 3);
    let at = scene.producer(member(0, FIRST)).unwrap();
    let next = Next { single: &scene.single, at, message: 1 };
    next.claim(Ticket::nth(0)).unwrap();
    scene.mark(0);
    let sweeping = Rc::clone(&scene);
    let sweeping = loom::thread::spawn(move || sweeping.sweep(0));
    scene.sweep(0);
    sweeping.join().unwrap();
    assert!(scene.producer(member(1, FIRST)).is_some());
    scene.committed[1].fetch_or(2, Acquire);
    scene.mark(1);
    assert_eq!(scene.sweep(1), 0, "what nobody has committed is published");
}

/// The same, while another thread of the successor sends jointly to other rings; and the
/// successor dies before it has taken the pledge back.
pub(super) fn pledge_is_found(fate: Fate) {
    let scene = Scene::new(2, 3);
    let at = scene.producer(member(0, FIRST)).unwrap();
    Next { single: &scene.single, at, message: 1 }.claim(Ticket::nth(0)).unwrap();
    scene.mark(0);
    scene.sweep(0);
    let ticket = Rc::new(AtomicU64::new(0));
    let take = |word: &AtomicU64| word.compare_exchange(0, 1, Acquire, Acquire).is_ok();
    let sending = (Rc::clone(&scene), Rc::clone(&ticket));
    let sending = loom::thread::spawn(move || {
        let (scene, ticket) = sending;
        // It is killed over that, with all threads of its process: the ticket stays taken.
        if take(&ticket) {
            scene.committed[1].fetch_or(2, Acquire);
        }
    });
    let attaching = Rc::clone(&scene);
    let attaching = loom::thread::spawn(move || {
        let takes_up = || {
            if take(&ticket) || mutant::has("a role is taken while something is committed") {
                attaching.producer(member(1, FIRST));
            }
        };
        death::mortal_with(|| {}, Some(fate), takes_up);
    });
    sending.join().unwrap();
    attaching.join().unwrap();
    scene.mark(1);
    assert_eq!(scene.sweep(1), 0, "what nobody has committed is published");
}

#[test]
fn a_successor_that_dies_completes_nothing_of_its_predecessors() {
    let name = "joint, a pledge is found";
    holds_for_every_end(name, Some(2), End::Killed, pledge_is_found);
    let taken = Mutant::Model("a role is taken while something is committed");
    fails_for_some_end(name, taken, "", Some(2), End::Killed, pledge_is_found);
}

#[test]
fn a_slow_sweep_completes_nothing_of_the_next_life() {
    completely(|| {
        holds("joint, an id is used again", Some(2), id_is_used_again);
        holds("joint, a role has a successor", Some(2), role_has_a_successor);
        holds("joint, a pledge is left", Some(2), pledge_is_left);
        let still = Mutant::Model("whoever was dead still is");
        fails("joint, an id is used again", still, "", Some(2), id_is_used_again);
        fails("joint, a role has a successor", still, "", Some(2), role_has_a_successor);
        let kept = Mutant::Model("a successor keeps its predecessor's pledge");
        fails("joint, a pledge is left", kept, "", Some(2), pledge_is_left);
    });
}
