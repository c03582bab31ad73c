//! The journal: every reader meets every record whole, once and in order, or
//! is told that it missed it; whoever dies over it, and whoever is slow.
//!
//! There is no kernel here, as in the models of the blocks.

use std::cell::RefCell;
use std::rc::Rc;

use loom::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use crate::death::{self, End, Fate};
use crate::explore::{completely, fails, holds, holds_for_every_end};
use crate::mutant::{self, Mutant};
use crate::ring::journal::{self, Read, Records};
use crate::ring::set::SetMap;
use crate::ring::table::{INCARNATION_SHIFT, Member, MemberState, MemberWord, Table};
use crate::sync::AtomicU64;
use crate::world::Ring;

pub(super) const FIRST: u64 = 1;
/// Phases of a record.
const WRITING: u64 = 1;
const DONE: u64 = 2;
const VOID: u64 = 3;

/// A journal, who writes it, and a channel to die over.
pub(super) struct Scene {
    records: Vec<AtomicU64>,
    fields: Vec<[AtomicU64; 2]>,
    words: Vec<AtomicU64>,
    pub(super) ends: Vec<AtomicU64>,
    pub(super) ring: Ring,
    /// The published records: the model's own knowledge.
    pub(super) said: RefCell<Vec<u64>>,
}

impl Table for Scene {
    fn map(&self) -> SetMap {
        SetMap { participants: self.words.len() as u16, channels: 1, own_bells: false }
    }

    fn word(&self, id: u16) -> &AtomicU64 {
        &self.words[usize::from(id)]
    }
}

/// The records of a scene.
pub(super) struct Journal<'a>(pub(super) &'a Scene);

impl Records<2> for Journal<'_> {
    fn count(&self) -> u64 {
        self.0.records.len() as u64
    }

    fn word(&self, index: u64) -> &AtomicU64 {
        &self.0.records[index as usize]
    }

    fn field(&self, index: u64, n: usize) -> &AtomicU64 {
        &self.0.fields[index as usize][n]
    }
}

pub(super) const fn word(state: MemberState, incarnation: u64) -> u64 {
    MemberWord { state, incarnation }.word()
}

pub(super) const fn member(id: u16) -> Member {
    Member { id, incarnation: FIRST }
}

impl Scene {
    pub(super) fn new(records: usize, participants: usize) -> Rc<Self> {
        let words = |count: usize, word: u64| (0..count).map(|_| AtomicU64::new(word)).collect();
        Rc::new(Self {
            records: words(records, 0),
            fields: (0..records).map(|_| [AtomicU64::new(0), AtomicU64::new(0)]).collect(),
            words: words(participants, word(MemberState::Live, FIRST)),
            ends: words(participants, FIRST << INCARNATION_SHIFT),
            ring: Ring::new(1),
            said: RefCell::default(),
        })
    }

    pub(super) fn append(&self, id: u16, what: u64) {
        let journal = Journal(self);
        if let Some(draft) = journal::claim(&journal, id) {
            journal::fill(&journal, &draft, [what; 2]);
            journal::publish(&journal, draft);
            self.said.borrow_mut().push(what);
        }
    }

    /// Reads on, up to what is not there yet: what it got and what it missed.
    pub(super) fn follow(&self, at: &mut u64) -> (Vec<u64>, u64) {
        let (mut got, mut missed) = (Vec::new(), 0);
        loop {
            let from = *at;
            match journal::read(&Journal(self), at) {
                Read::Record([one, other]) => {
                    assert_eq!(one, other, "torn");
                    got.push(one);
                }
                Read::Missed(positions) => {
                    assert_eq!(*at, from + positions);
                    missed += positions;
                }
                Read::Pending(_) | Read::End => return (got, missed),
            }
        }
    }

    /// The part of a look for a participant that the kernel says has ended.
    pub(super) fn mark(&self, id: u16) {
        let (live, dead) = (word(MemberState::Live, FIRST), word(MemberState::Dead, FIRST));
        self.word(id).compare_exchange(live, dead, AcqRel, Acquire).unwrap();
    }

    pub(super) fn live(&self, id: u16, fate: Fate, life: impl FnOnce()) {
        if death::mortal_with(|| {}, Some(fate), life).is_none() {
            self.mark(id);
        }
    }

    /// Whether `id` is dead and this was the end of its sweep.
    pub(super) fn free(&self, id: u16) -> bool {
        let (dead, free) = (word(MemberState::Dead, FIRST), word(MemberState::Free, FIRST));
        self.word(id).compare_exchange(dead, free, AcqRel, Acquire).is_ok()
    }

    /// The next life of `id`, if its last one has been swept.
    pub(super) fn revive(&self, id: u16) -> bool {
        let (free, live) = (word(MemberState::Free, FIRST), word(MemberState::Live, FIRST + 1));
        self.word(id).compare_exchange(free, live, AcqRel, Acquire).is_ok()
    }

    /// `Mapped::close_records`; none of these records is of an end.
    fn close(&self, id: u16) {
        let dead = member(id);
        let still_dead = || mutant::has("whose a record was still is") || dead.is_dead(self);
        if dead.is_dead(self) {
            journal::recover(&Journal(self), id, |_, _| false, still_dead);
            self.free(id);
        }
    }

    /// The part of a look for a dead participant, once.
    pub(super) fn bury(&self, id: u16) {
        self.mark(id);
        self.close(id);
    }

    /// When everybody has gone: each record is done or void.
    pub(super) fn settled(&self) {
        for (index, word) in self.records.iter().enumerate() {
            let word = word.load(Acquire);
            assert!(word == 0 || matches!(word >> 14 & 7, DONE | VOID), "{index} is {word:x}");
        }
    }
}

pub(super) fn spawn(
    scene: &Rc<Scene>,
    what: impl FnOnce(&Scene) + 'static,
) -> loom::thread::JoinHandle<()> {
    let scene = Rc::clone(scene);
    loom::thread::spawn(move || what(&scene))
}

/// One who knows that a record is written publishes it, and so late that the
/// ring has come round to it: what is being written there now stays unseen.
fn publisher_is_late() {
    let scene = Scene::new(1, 1);
    let journal = Journal(&scene);
    let first = journal::claim(&journal, 0).unwrap();
    journal::fill(&journal, &first, [1; 2]);
    let position = first.position();
    let late = spawn(&scene, move |scene| journal::finish(&Journal(scene), position as u32));
    journal::publish(&journal, first);
    let second = journal::claim(&journal, 0).unwrap();
    assert_eq!(scene.follow(&mut second.position()), (vec![], 0));
    late.join().unwrap();
    assert_eq!(scene.follow(&mut second.position()), (vec![], 0));
    journal::fill(&journal, &second, [2; 2]);
    journal::publish(&journal, second);
    assert_eq!(scene.follow(&mut 0), (vec![2], 1));
}

#[test]
fn who_publishes_late_publishes_no_other_record() {
    holds("journal, a publisher is late", None, publisher_is_late);
}

/// One writes, the ring coming round and round; another one reads.
pub(super) fn one_writes_one_reads() {
    let scene = Scene::new(1, 1);
    let writing = spawn(&scene, |scene| (1..=3).for_each(|what| scene.append(0, what)));
    let mut at = 0;
    let (mut got, mut missed) = scene.follow(&mut at);
    writing.join().unwrap();
    let (more, skipped) = scene.follow(&mut at);
    got.extend(more);
    missed += skipped;
    assert!(got.is_sorted_by(|a, b| a < b), "out of order, or twice: {got:?}");
    assert_eq!(got.len() as u64 + missed, 3, "{got:?}");
    assert_eq!(got.last(), Some(&3));
}

/// Two write, in more records than they need; another one reads.
fn two_write() {
    let scene = Scene::new(4, 2);
    let writing = spawn(&scene, |scene| (1..=2).for_each(|what| scene.append(0, what)));
    let other = spawn(&scene, |scene| scene.append(1, 11));
    let mut at = 0;
    let (mut got, _) = scene.follow(&mut at);
    writing.join().unwrap();
    other.join().unwrap();
    let (more, missed) = scene.follow(&mut at);
    got.extend(more);
    assert_eq!(missed, 0);
    assert!([[1, 2, 11], [1, 11, 2], [11, 1, 2]].iter().any(|all| *all == *got), "{got:?}");
    scene.settled();
}

/// Two write, and whoever is slow is overtaken.
pub(super) fn two_write_one_record() {
    let scene = Scene::new(1, 2);
    let writing = spawn(&scene, |scene| scene.append(0, 1));
    scene.append(1, 11);
    scene.append(1, 12);
    scene.follow(&mut 0);
    writing.join().unwrap();
    scene.settled();
    // The next one is not stuck, however far the slow one got.
    scene.append(1, 13);
    let (got, _) = scene.follow(&mut 0);
    assert_eq!(got, [13], "the record is lost for good");
}

/// One that came after another appears behind it.
fn one_after_the_other() {
    let scene = Scene::new(4, 2);
    let writing = spawn(&scene, |scene| {
        scene.append(0, 1);
        scene.free(0);
    });
    let (got, _) = scene.follow(&mut 0);
    let came = got.contains(&1);
    scene.append(1, 11);
    writing.join().unwrap();
    let (got, _) = scene.follow(&mut 0);
    assert!(!came || got == [1, 11], "{got:?}");
}

#[test]
fn records_are_read_whole_once_and_in_order() {
    completely(|| {
        holds("journal, one writes, one reads", Some(2), one_writes_one_reads);
        holds("journal, two write", Some(1), two_write);
        holds("journal, two write one record", Some(2), two_write_one_record);
        holds("journal, one after the other", Some(2), one_after_the_other);
    });
}

/// One dies while it writes, and another one closes what it left.
fn writer_dies(fate: Fate, records: usize) {
    let scene = Scene::new(records, 2);
    let dying = spawn(&scene, move |scene| {
        scene.live(0, fate, || (1..=2).for_each(|what| scene.append(0, what)));
    });
    scene.close(0);
    scene.append(1, 11);
    dying.join().unwrap();
    scene.close(0);
    scene.settled();
    let (got, missed) = scene.follow(&mut 0);
    let said = scene.said.take();
    assert!(missed > 0 || said.iter().all(|what| got.contains(what)), "{got:?} of {said:?}");
    scene.append(1, 12);
    let (got, _) = scene.follow(&mut 0);
    assert_eq!(got.last(), Some(&12));
}

fn writer_dies_in_a_small_one(fate: Fate) {
    writer_dies(fate, 1);
}

fn writer_dies_in_a_large_one(fate: Fate) {
    writer_dies(fate, 4);
}

#[test]
fn what_a_dead_writer_began_is_closed() {
    completely(|| {
        let name = "journal, a writer of one record dies";
        holds_for_every_end(name, Some(2), End::Killed, writer_dies_in_a_small_one);
        let name = "journal, a writer dies";
        holds_for_every_end(name, Some(1), End::Killed, writer_dies_in_a_large_one);
    });
}

/// One died over a record; one sweeper is slow, another one is done, and the
/// next life of the id writes.
pub(super) fn id_is_used_again() {
    let scene = Scene::new(1, 2);
    let _ = journal::claim(&Journal(&scene), 0).unwrap();
    scene.mark(0);
    let slow = spawn(&scene, |scene| scene.close(0));
    scene.close(0);
    if scene.revive(0) {
        let journal = Journal(&scene);
        let draft = journal::claim(&journal, 0).unwrap();
        journal::fill(&journal, &draft, [5; 2]);
        let word = scene.records[0].load(Relaxed);
        assert_eq!(word >> 14 & 7, WRITING, "the next life was robbed of its record");
        journal::publish(&journal, draft);
        let (got, _) = scene.follow(&mut 0);
        assert_eq!(got, [5], "the next life was robbed of its record");
    }
    slow.join().unwrap();
    scene.settled();
}

#[test]
fn a_slow_sweep_does_not_rob_the_next_life() {
    completely(|| {
        let name = "journal, an id is used again";
        holds(name, Some(2), id_is_used_again);
        let still = Mutant::Model("whose a record was still is");
        fails(name, still, "robbed", Some(2), id_is_used_again);
    });
}
