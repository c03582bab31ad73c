//! The end of a life: in the journal once, with what was held, whoever
//! records it, and whoever dies over that.

use std::rc::Rc;

use loom::sync::atomic::Ordering::{Acquire, Relaxed};

use super::journal::{FIRST, Journal, Scene, member, spawn, word};
use crate::death::{End, Fate};
use crate::explore::{completely, fails, fails_for_some_end, holds, holds_for_every_end};
use crate::mutant::{self, Mutant};
use crate::ring::death_record::{self, How};
use crate::ring::journal::{self, Read, Records};
use crate::ring::mpmc::{self, Cursor, Dead};
use crate::ring::recovery::{Counting, Repairing};
use crate::ring::table::{Member, MemberState, Table};

const ATTEMPTS: u8 = 3;

const fn held_by(dead: Member) -> Dead {
    Dead { owner: dead.id, attempts: ATTEMPTS, committed: 0 }
}
/// The content of a record of a participant that left.
const LEFT: u64 = 9;

impl Scene {
    /// `Mapped::sweep` of one who is dead, by another one.
    fn sweep(&self, by: u16, id: u16) {
        if self.sweep_life(by, member(id)) {
            self.free(id);
        }
    }

    fn sweep_life(&self, by: u16, dead: Member) -> bool {
        if !dead.is_dead(self) {
            return false;
        }
        let still_dead = || dead.is_dead(self);
        journal::recover(&Journal(self), dead.id, |index, at| self.whole(index, at), still_dead);
        let late = mutant::has("the record comes after the sweep");
        if !late {
            self.record(by, dead);
        }
        let _ = mpmc::recover(&self.ring, held_by(dead), &Repairing(still_dead), |_, _| {});
        if late {
            self.record(by, dead);
        }
        true
    }

    fn record(&self, by: u16, dead: Member) {
        let end = &self.ends[usize::from(dead.id)];
        let fields = || {
            let held = mpmc::recover(&self.ring, held_by(dead), &Counting, |_, _| {}).unwrap();
            [u64::from(dead.id), held.orphans + held.tombstones]
        };
        if mutant::has("everybody records it") {
            return journal::append(&Journal(self), by, fields());
        }
        death_record::record(&Journal(self), end, (dead, How::Died), by, fields);
    }

    /// `Journal::whole`.
    fn whole(&self, index: u64, position: u64) -> bool {
        if mutant::has("what is not named is published") {
            return true;
        }
        let id = Journal(self).field(index, 0).load(Relaxed) as usize;
        let named = self.ends.get(id).is_some_and(|end| death_record::names(end, position));
        named && !mutant::has("what is named is void")
    }

    /// Everything that the journal says.
    fn told(&self) -> Vec<[u64; 2]> {
        let (mut told, mut at) = (Vec::new(), 0);
        loop {
            match journal::read(&Journal(self), &mut at) {
                Read::Record(fields) => told.push(fields),
                Read::Missed(missed) => panic!("{missed} are missed"),
                Read::Pending(_) => panic!("nobody closes {at}"),
                Read::End => return told,
            }
        }
    }

    fn deaths(&self, id: u16) -> u64 {
        death_record::deaths(self.ends[usize::from(id)].load(Acquire))
    }
}

/// Somebody has died over a message.
fn dead_over_a_message(participants: usize) -> Rc<Scene> {
    let scene = Scene::new(4, participants);
    let at = core::cell::Cell::new(Cursor::at(0, 1));
    scene.ring.push(&at, 1, 7).unwrap();
    let at = core::cell::Cell::new(Cursor::at(0, 1));
    let _ = mpmc::take(&scene.ring, &at, 0).unwrap();
    scene.mark(0);
    scene
}

/// Two sweep the same.
pub(super) fn two_sweep() {
    let scene = dead_over_a_message(3);
    let other = spawn(&scene, |scene| scene.sweep(1, 0));
    scene.sweep(2, 0);
    // One of the two was first: by now the record is there.
    assert_eq!(scene.told_of(0), [[0, 1]], "not recorded once, with what it held");
    other.join().unwrap();
    assert_eq!(scene.told(), [[0, 1]], "not recorded once, with what it held");
    assert_eq!(scene.deaths(0), 1);
    scene.settled();
}

impl Scene {
    /// The journal's word on one participant, which may not have one on others yet.
    fn told_of(&self, id: u64) -> Vec<[u64; 2]> {
        let (mut told, mut at) = (Vec::new(), 0);
        loop {
            match journal::read(&Journal(self), &mut at) {
                Read::Record(fields) if fields[0] == id => told.push(fields),
                Read::Pending(_) => at += 1,
                Read::End => return told,
                _ => {}
            }
        }
    }
}

#[test]
fn a_death_is_recorded_once_with_what_was_held() {
    completely(|| {
        let name = "death record, two sweep";
        holds(name, Some(2), two_sweep);
        for mutant in ["the record comes after the sweep", "everybody records it"] {
            fails(name, Mutant::Model(mutant), "not recorded once", Some(2), two_sweep);
        }
    });
}

/// One sweeper dies somewhere; another one goes on.
pub(super) fn sweeper_dies(fate: Fate) {
    let scene = dead_over_a_message(3);
    let dying = spawn(&scene, move |scene| scene.live(1, fate, || scene.sweep(1, 0)));
    scene.sweep(2, 0);
    dying.join().unwrap();
    scene.sweep(2, 1);
    let (one, other) = (scene.told_of(0), scene.told_of(1));
    assert_eq!(one, [[0, 1]], "not recorded once, with what it held");
    assert_eq!(other.len() as u64, scene.deaths(1));
    assert_eq!((scene.told().len(), scene.deaths(0)), (1 + other.len(), 1));
    scene.settled();
}

/// One sweeper dies somewhere, and is swept by who then goes on; another one
/// reads.
fn one_reads(fate: Fate, order: [u16; 2]) {
    let scene = dead_over_a_message(3);
    let reading = spawn(&scene, |scene| {
        let told = scene.told_of(0);
        assert!(told.is_empty() || told == [[0, 1]], "{told:?}");
    });
    scene.live(1, fate, || scene.sweep(1, 0));
    order.into_iter().for_each(|id| scene.sweep(2, id));
    assert_eq!(scene.told_of(0), [[0, 1]], "not recorded once, with what it held");
    assert_eq!(scene.told().len(), 1 + scene.told_of(1).len());
    scene.settled();
    reading.join().unwrap();
}

pub(super) fn sweeper_is_swept_first(fate: Fate) {
    one_reads(fate, [1, 0]);
}

pub(super) fn sweeper_is_swept_last(fate: Fate) {
    one_reads(fate, [0, 1]);
}

#[test]
fn a_sweeper_may_die_over_it_anywhere() {
    completely(|| {
        const KILLED: End = End::Killed;
        let name = "death record, a sweeper dies";
        holds_for_every_end(name, Some(1), KILLED, sweeper_dies);
        let name = "death record, a sweeper is swept last";
        holds_for_every_end(name, Some(2), KILLED, sweeper_is_swept_last);
        let name = "death record, a sweeper is swept first";
        holds_for_every_end(name, Some(2), KILLED, sweeper_is_swept_first);
        for mutant in ["what is not named is published", "what is named is void"] {
            let mutant = Mutant::Model(mutant);
            fails_for_some_end(name, mutant, "", Some(1), KILLED, sweeper_is_swept_first);
        }
    });
}

/// One sweeper is slow; the slot has its next life, which dies as well.
pub(super) fn next_life_dies() {
    let scene = dead_over_a_message(3);
    let slow = spawn(&scene, |scene| scene.sweep(1, 0));
    scene.sweep(2, 0);
    let next = Member { id: 0, incarnation: FIRST + 1 };
    death_record::begin(&scene.ends[0], next);
    if scene.revive(0) {
        scene
            .word(0)
            .store(word(MemberState::Dead, FIRST + 1), loom::sync::atomic::Ordering::Release);
        scene.sweep_life(2, next);
        assert_eq!(scene.told_of(0), [[0, 1], [0, 0]], "not each recorded once");
    }
    slow.join().unwrap();
    assert_eq!(scene.told_of(0), [[0, 1], [0, 0]], "not each recorded once");
    assert_eq!(scene.deaths(0), 2);
    scene.settled();
}

#[test]
fn each_life_of_a_slot_ends_once() {
    completely(|| {
        holds("death record, the next life dies", Some(2), next_life_dies);
    });
}

/// One leaves, and dies somewhere.
fn leaver_dies(fate: Fate) {
    let scene = Scene::new(4, 2);
    let leaving = spawn(&scene, move |scene| {
        scene.live(0, fate, || {
            let fields = || [0, LEFT];
            let end = &scene.ends[0];
            death_record::record(&Journal(scene), end, (member(0), How::Left), 0, fields);
            let (live, free) = (word(MemberState::Live, FIRST), word(MemberState::Free, FIRST));
            let _ = scene.word(0).compare_exchange(live, free, Acquire, Relaxed);
        });
    });
    scene.sweep(1, 0);
    journal::append(&Journal(&scene), 1, [1, 0]);
    leaving.join().unwrap();
    scene.sweep(1, 0);
    let told = scene.told_of(0);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(scene.deaths(0), u64::from(told != [[0, LEFT]]));
    scene.settled();
}

#[test]
fn who_dies_leaving_has_left_or_died() {
    completely(|| {
        holds_for_every_end("death record, a leaver dies", Some(2), End::Killed, leaver_dies);
    });
}
