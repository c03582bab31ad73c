//! The broadcast ring: every subscriber reads every message whole and in order, or is told
//! exactly how many it missed. No publisher is in another one's way, and each buffer is in
//! one place.
//!
//! There is no kernel here: a death is known to whoever reads the table's word, which the
//! dying thread itself changes once it has ended.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;

use loom::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use crate::death::{self, End, Fate};
use crate::explore::{completely, holds, holds_for_every_end};
use crate::mutant::{self, Mutant};
use crate::ring::broadcast::{
    self as ring, Look, Publisher, PublisherEntry, Refused, ReliableEntry, Shape, Words,
};
use crate::ring::cursor::Cursor;
use crate::ring::set::SetMap;
use crate::ring::table::{Member, MemberState, MemberWord, Table};
use crate::sync::AtomicU64;

const FIRST: u64 = 1;
/// More than any model publishes.
const FAR: u64 = 100;

/// A ring, the table's words, and what the model itself knows.
pub(super) struct Scene {
    shape: Shape,
    slots: Vec<AtomicU64>,
    publishers: Vec<[AtomicU64; 5]>,
    reliable: Vec<[AtomicU64; 2]>,
    limit: AtomicU64,
    publishers_used: AtomicU64,
    reliable_used: AtomicU64,
    /// Two words each, so that a torn message shows.
    buffers: Vec<[AtomicU64; 2]>,
    /// The same as plain memory, where the protocol orders each access.
    cells: Vec<loom::cell::Cell<u64>>,
    words: Vec<AtomicU64>,
    /// What was published, by position.
    published: RefCell<Vec<(u64, u64)>>,
}

impl Table for Scene {
    fn map(&self) -> SetMap {
        SetMap { participants: self.words.len() as u16, channels: 1 }
    }

    fn word(&self, id: u16) -> &AtomicU64 {
        &self.words[usize::from(id)]
    }
}

impl Words for Scene {
    fn shape(&self) -> Shape {
        self.shape
    }

    fn slot(&self, index: u64) -> &AtomicU64 {
        &self.slots[index as usize]
    }

    fn publisher(&self, n: u64) -> PublisherEntry<'_> {
        let [holder, word, helped, at, over] = &self.publishers[n as usize];
        PublisherEntry { holder, word, helped, at, over }
    }

    fn reliable(&self, n: u64) -> ReliableEntry<'_> {
        let [holder, position] = &self.reliable[n as usize];
        ReliableEntry { holder, position }
    }

    fn limit(&self) -> &AtomicU64 {
        &self.limit
    }

    fn publishers_used(&self) -> &AtomicU64 {
        &self.publishers_used
    }

    fn reliable_used(&self) -> &AtomicU64 {
        &self.reliable_used
    }
}

const fn word(state: MemberState) -> u64 {
    MemberWord { state, incarnation: FIRST }.word()
}

const fn member(id: u16) -> Member {
    Member { id, incarnation: FIRST }
}

/// An array of words that are zero, as in a new segment.
fn zeros<const N: usize>() -> [AtomicU64; N] {
    core::array::from_fn(|_| AtomicU64::new(0))
}

impl Scene {
    fn new(shape: Shape, participants: usize) -> Rc<Self> {
        let count = |n: u64| 0..n as usize;
        Rc::new(Self {
            shape,
            slots: count(shape.slots).map(|_| AtomicU64::new(0)).collect(),
            publishers: count(shape.publishers).map(|_| zeros()).collect(),
            reliable: count(shape.reliable).map(|_| zeros()).collect(),
            limit: AtomicU64::new(0),
            publishers_used: AtomicU64::new(0),
            reliable_used: AtomicU64::new(0),
            buffers: count(shape.buffers()).map(|_| zeros()).collect(),
            cells: count(shape.buffers()).map(|_| loom::cell::Cell::new(0)).collect(),
            words: (0..participants).map(|_| AtomicU64::new(word(MemberState::Live))).collect(),
            published: RefCell::default(),
        })
    }

    /// What a look and a sweep do for one that the kernel says has ended.
    fn bury(&self, id: u16) {
        let states = [MemberState::Live, MemberState::Dead, MemberState::Free].map(word);
        for (from, to) in [(states[0], states[1]), (states[1], states[2])] {
            self.word(id).compare_exchange(from, to, AcqRel, Acquire).unwrap();
        }
    }

    fn publisher(&self, id: u16) -> Publisher {
        let number = ring::claim(self, self, member(id)).expect("an entry is vacant");
        Publisher::attach(self, number)
    }

    /// Publishes one message, unless a reliable subscriber is too far behind.
    fn publish(&self, at: &Publisher, message: u64) -> Result<u64, Refused> {
        let mut tries = (0..).map(|_| {
            at.ready(self, self)?;
            self.write(at.spare(), message);
            at.publish(self, self)
        });
        // Others move on meanwhile: in a ring as small as this, faster than one can follow.
        let position = tries.find(|tried| *tried != Err(Refused::Contended)).unwrap()?;
        self.published.borrow_mut().push((position, message));
        Ok(position)
    }

    fn write(&self, buffer: u64, message: u64) {
        self.buffers[buffer as usize].iter().for_each(|half| half.store(message, Relaxed));
    }

    /// Reads the next message, as a lossy subscriber does.
    fn read(&self, at: &Cell<Cursor>, got: &mut Vec<Got>) -> bool {
        loop {
            match ring::look(self, at.get()) {
                Look::Nothing => return false,
                Look::Corrupt(word) => panic!("corrupt: {word:x}"),
                Look::Missed => got.push(Got::Missed(ring::skip(self, at).expect("a true limit"))),
                Look::Found(found) => {
                    let [first, second] =
                        [0, 1].map(|n| self.buffers[found.buffer as usize][n].load(Relaxed));
                    if !mutant::has("does not look again") && !ring::unchanged(self, found) {
                        continue;
                    }
                    assert_eq!(first, second, "torn");
                    let position = at.get().position();
                    got.push(Got::Message(position, first));
                    ring::pass(self, at);
                    return true;
                }
            }
        }
    }

    /// Each position was published once, and what a subscriber got is what is there.
    fn check(&self, first: u64, got: &[Got]) {
        let published = self.published.borrow();
        let mut next = first;
        for got in got {
            match *got {
                Got::Missed(n) => next += n,
                Got::Message(position, message) => {
                    assert_eq!(position, next, "out of order");
                    let known = published.iter().find(|(at, _)| *at == position);
                    if let Some((_, known)) = known {
                        assert_eq!(message, *known, "another message");
                    }
                    next += 1;
                }
            }
        }
    }

    /// When everybody has gone: the positions have no gap, and each buffer is in one place.
    fn settle(&self, dead: usize) {
        let end = ring::first_unpublished(self).position();
        let positions: BTreeSet<_> = self.published.borrow().iter().map(|(at, _)| *at).collect();
        assert_eq!(positions.len(), self.published.borrow().len(), "a position twice");
        assert!(positions.iter().all(|&at| at < end), "published beyond the end");
        assert!(end as usize <= positions.len() + dead, "a gap");
        // Whoever takes up an entry completes what is incomplete there.
        let spares: Vec<_> =
            (0..self.shape.publishers).map(|n| Publisher::attach(self, n).spare()).collect();
        let mut at: BTreeSet<_> = spares.iter().copied().collect();
        for index in 0..self.shape.slots {
            let slot = self.slots[index as usize].load(Relaxed);
            at.insert(self.shape.buffer(index, slot));
        }
        assert_eq!(at.len() as u64, self.shape.buffers(), "a buffer is in two places");
    }
}

#[derive(Clone, Copy, Debug)]
enum Got {
    Message(u64, u64),
    Missed(u64),
}

/// A ring of so many slots, without reliable subscribers.
fn lossy(slots: u64, step: u64, publishers: u64) -> Shape {
    Shape::exact(FAR, step, slots, publishers, 0)
}

/// Publishers with so many messages each, and one subscriber from the beginning.
fn stream(shape: Shape, messages: &[u64]) {
    let scene = Scene::new(shape, messages.len() + 1);
    let publishing: Vec<_> = (1..)
        .zip(messages)
        .map(|(id, &messages)| {
            let scene = Rc::clone(&scene);
            loom::thread::spawn(move || {
                let at = scene.publisher(id);
                for n in 0..messages {
                    scene.publish(&at, u64::from(id) * 10 + n).unwrap();
                }
            })
        })
        .collect();
    let (at, mut got) = (Cell::new(Cursor::at(0, shape.slots)), Vec::new());
    for _ in 0..messages.iter().sum() {
        scene.read(&at, &mut got);
    }
    publishing.into_iter().for_each(|thread| thread.join().unwrap());
    while scene.read(&at, &mut got) {}
    scene.check(0, &got);
    scene.settle(0);
    let all: u64 = messages.iter().sum();
    let counted: u64 = got.iter().map(|got| if let Got::Missed(n) = got { *n } else { 1 }).sum();
    assert_eq!(counted, all, "got and missed are not all");
}

pub(super) fn one_publishes() {
    stream(lossy(1, 1, 1), &[3]);
}

pub(super) fn one_of_two_publishes() {
    stream(lossy(1, 1, 2), &[3]);
}

pub(super) fn two_publish() {
    stream(lossy(1, 1, 2), &[2, 1]);
}

/// Two publishers in turn need each other's raise.
pub(super) fn two_raise() {
    stream(lossy(2, 1, 2), &[2, 2]);
}

#[test]
fn one_publishes_and_one_reads() {
    completely(|| {
        holds("one publishes, one slot", Some(3), one_publishes);
        holds("one of two publishes, one slot", Some(3), one_of_two_publishes);
        holds("one publishes, two slots", Some(3), || stream(lossy(2, 1, 1), &[4]));
        holds("one of two publishes, two slots", Some(2), || stream(lossy(2, 2, 2), &[4]));
    });
}

#[test]
fn two_publish_and_one_reads() {
    completely(|| {
        holds("two publish, one slot", Some(1), two_publish);
        holds("two publish, two slots", Some(1), || stream(lossy(2, 1, 2), &[2, 1]));
        holds("two publish, steps of two", Some(1), || stream(lossy(2, 2, 2), &[2, 1]));
    });
}

/// One publisher ends before some step of its life of `mine` messages; another one goes on
/// meanwhile, and a successor follows in its entry.
pub(super) fn another_goes_on(fate: Fate, shape: Shape, mine: u64, others: u64) {
    let scene = Scene::new(shape, 4);
    let other = {
        let scene = Rc::clone(&scene);
        loom::thread::spawn(move || {
            let at = scene.publisher(1);
            for n in 0..others {
                scene.publish(&at, 20 + n).unwrap();
            }
        })
    };
    let life = || {
        let at = scene.publisher(2);
        for n in 0..mine {
            scene.publish(&at, 30 + n).unwrap();
        }
    };
    let ended = death::mortal_with(|| {}, Some(fate), life).is_none();
    if ended && fate.end == End::Killed {
        scene.bury(2);
        let at = scene.publisher(3);
        scene.publish(&at, 40).unwrap();
    }
    other.join().unwrap();
    let (at, mut got) = (Cell::new(Cursor::at(0, shape.slots)), Vec::new());
    while scene.read(&at, &mut got) {}
    scene.check(0, &got);
    assert_eq!(at.get(), ring::first_unpublished(&*scene), "not all was read");
    scene.settle(ended.into());
}

pub(super) fn killed(fate: Fate) {
    another_goes_on(fate, lossy(1, 1, 2), 1, 1);
}

pub(super) fn killed_in_its_second(fate: Fate) {
    another_goes_on(fate, lossy(2, 1, 2), 2, 1);
}

#[test]
fn a_killed_publisher_is_in_nobodys_way() {
    completely(|| {
        holds_for_every_end("killed, one slot", Some(1), End::Killed, killed);
        holds_for_every_end("killed, two slots", Some(1), End::Killed, killed_in_its_second);
    });
}

#[test]
fn a_stopped_publisher_is_in_nobodys_way() {
    completely(|| {
        holds_for_every_end("stopped, one slot", Some(1), End::Stopped, |fate| {
            another_goes_on(fate, lossy(1, 1, 2), 1, 3);
        });
        holds_for_every_end("stopped, two slots", Some(1), End::Stopped, |fate| {
            another_goes_on(fate, lossy(2, 1, 2), 1, 3);
        });
    });
}

/// The only publisher is killed, and its successor publishes while one reads.
pub(super) fn a_successor_is_read(fate: Fate) {
    let scene = Scene::new(lossy(1, 1, 1), 3);
    let publishing = {
        let scene = Rc::clone(&scene);
        loom::thread::spawn(move || {
            let life = || {
                let at = scene.publisher(1);
                (10..12).for_each(|message| {
                    scene.publish(&at, message).unwrap();
                });
            };
            let ended = death::mortal_with(|| {}, Some(fate), life).is_none();
            scene.bury(1);
            let at = scene.publisher(2);
            (20..22).for_each(|message| {
                scene.publish(&at, message).unwrap();
            });
            ended
        })
    };
    let (at, mut got) = (Cell::new(Cursor::at(0, 1)), Vec::new());
    for _ in 0..3 {
        scene.read(&at, &mut got);
    }
    let ended = publishing.join().unwrap();
    while scene.read(&at, &mut got) {}
    scene.check(0, &got);
    assert_eq!(at.get(), ring::first_unpublished(&*scene), "not all was read");
    scene.settle(ended.into());
}

#[test]
fn a_successor_publishes_whole_messages() {
    completely(|| {
        holds_for_every_end("a successor is read", Some(2), End::Killed, a_successor_is_read);
    });
}

/// A reliable subscriber joins while others publish: from its position on it misses nothing,
/// and reads plain memory.
pub(super) fn joins(shape: Shape, messages: &[u64], back: u64) {
    let scene = Scene::new(shape, messages.len() + 1);
    let publishing: Vec<_> = (1..)
        .zip(messages)
        .map(|(id, &messages)| {
            let scene = Rc::clone(&scene);
            loom::thread::spawn(move || {
                let at = scene.publisher(id);
                for n in 0..messages {
                    if at.ready(&*scene, &*scene).is_err() {
                        break;
                    }
                    let message = u64::from(id) * 10 + n;
                    scene.cells[at.spare() as usize].set(message);
                    match at.publish(&*scene, &*scene) {
                        Ok(position) => scene.published.borrow_mut().push((position, message)),
                        Err(Refused::Blocked(_)) => break,
                        Err(why) => panic!("{why:?}"),
                    }
                }
            })
        })
        .collect();
    let (reliable, first) = ring::join(&*scene, &*scene, member(0), back).unwrap();
    let (at, mut got) = (Cell::new(Cursor::at(first, shape.slots)), Vec::new());
    let read = |got: &mut Vec<Got>| match ring::look(&*scene, at.get()) {
        Look::Nothing => false,
        Look::Found(found) => {
            let message = scene.cells[found.buffer as usize].get();
            assert!(ring::unchanged(&*scene, found), "overrun");
            let position = at.get().position();
            got.push(Got::Message(position, message));
            ring::pass(&*scene, &at);
            reliable.read_up_to(&*scene, position + 1);
            true
        }
        other => panic!("overrun: {other:?}"),
    };
    for _ in 0..2 {
        read(&mut got);
    }
    publishing.into_iter().for_each(|thread| thread.join().unwrap());
    while read(&mut got) {}
    scene.check(first, &got);
    assert_eq!(at.get(), ring::first_unpublished(&*scene), "not all was read");
    ring::leave(&*scene, &reliable, member(0));
    scene.settle(0);
}

pub(super) fn one_joins() {
    joins(Shape::exact(1, 1, 3, 1, 1), &[4], 5);
}

pub(super) fn one_joins_two() {
    joins(Shape::exact(1, 1, 3, 2, 1), &[2, 2], 5);
}

#[test]
fn a_reliable_subscriber_misses_nothing() {
    completely(|| {
        holds("one joins", Some(2), one_joins);
        holds("one joins two publishers", Some(1), one_joins_two);
        holds("one joins from the newest", Some(2), || {
            joins(Shape::exact(1, 1, 3, 1, 1), &[4], 0);
        });
    });
}

/// A reliable subscriber dies before some step: publishers go on once that is known.
pub(super) fn a_reliable_one_dies(fate: Fate) {
    let scene = Scene::new(Shape::exact(1, 1, 3, 1, 1), 2);
    let reading = {
        let scene = Rc::clone(&scene);
        loom::thread::spawn(move || {
            let life = || {
                let (reliable, first) = ring::join(&*scene, &*scene, member(0), 1).unwrap();
                if let Look::Found(_) = ring::look(&*scene, Cursor::at(first, 3)) {
                    reliable.read_up_to(&*scene, first + 1);
                }
                ring::leave(&*scene, &reliable, member(0));
            };
            death::mortal_with(|| {}, Some(fate), life);
            scene.bury(0);
        })
    };
    let at = scene.publisher(1);
    let mut sent = 0;
    for n in 0..3 {
        sent += u64::from(scene.publish(&at, n).is_ok());
    }
    reading.join().unwrap();
    while sent < 5 {
        scene.publish(&at, sent).expect("nobody counts any more");
        sent += 1;
    }
    scene.settle(0);
}

#[test]
fn a_dead_reliable_subscriber_holds_nobody_up() {
    completely(|| {
        holds_for_every_end("a reliable one dies", Some(2), End::Killed, a_reliable_one_dies);
    });
}
