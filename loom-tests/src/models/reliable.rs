//! Reliable subscribers of the broadcast ring: from its position on, each misses nothing and
//! reads plain memory; and only one that is alive and has a position is waited for.

mod room;

use std::cell::Cell;
use std::rc::Rc;

use crate::broadcast::{Got, Scene, member};
use crate::death::{self, End, Fate};
use crate::explore::{completely, fails, fails_for_some_end, holds, holds_for_every_end};
use crate::mutant::Mutant;
use crate::ring::broadcast::{self as ring, Publisher, Refused, Reliable, Shape};
use crate::ring::cursor::Cursor;

/// A ring in which a publisher is at most one message ahead.
const fn tight(publishers: u64, reliable: u64) -> Shape {
    Shape::exact(1, 1, 3, publishers, reliable)
}

/// In a thread of its own.
fn spawn<R: 'static>(
    scene: &Rc<Scene>,
    life: impl FnOnce(&Scene) -> R + 'static,
) -> loom::thread::JoinHandle<R> {
    let scene = Rc::clone(scene);
    loom::thread::spawn(move || life(&scene))
}

/// Tries to publish each of the messages; says how many were refused.
fn try_each(
    scene: &Scene,
    at: &Publisher,
    messages: impl IntoIterator<Item = u64>,
) -> Vec<Refused> {
    messages.into_iter().filter_map(|message| scene.publish_cell(at, message).err()).collect()
}

/// Publishers that give up where a subscriber is too far behind.
fn publish(scene: &Rc<Scene>, messages: &[u64]) -> Vec<loom::thread::JoinHandle<()>> {
    let publishing = |(id, &messages): (u16, &u64)| {
        spawn(scene, move |scene| {
            let (at, first) = (scene.publisher(id), u64::from(id) * 10);
            let refused = (first..first + messages)
                .find_map(|message| scene.publish_cell(&at, message).err());
            assert!(matches!(refused, None | Some(Refused::Blocked(_))), "{refused:?}");
        })
    };
    (1..).zip(messages).map(publishing).collect()
}

/// Joins while others publish, reads two, and the rest when they have ended; and then leaves.
fn reads(scene: &Scene, id: u16, back: u64, until: impl FnOnce()) {
    let (reliable, at) = scene.join(id, back);
    let (first, mut got) = (at.get().position(), Vec::new());
    for _ in 0..2 {
        scene.read_cell(&reliable, &at, &mut got);
    }
    until();
    while scene.read_cell(&reliable, &at, &mut got) {}
    scene.check(first, &got);
    scene.check_join(first, back, 0);
    ring::leave(scene, &reliable, member(id));
}

fn joins(shape: Shape, messages: &[u64], back: u64) {
    let scene = Scene::new(shape, messages.len() + 1);
    let publishing = publish(&scene, messages);
    reads(&scene, 0, back, || publishing.into_iter().for_each(|thread| thread.join().unwrap()));
    scene.settle(0);
}

pub(super) fn one_joins() {
    joins(tight(1, 1), &[4], 5);
}

pub(super) fn one_joins_two() {
    joins(tight(2, 1), &[2, 2], 5);
}

/// One joins a ring in which something was published before.
fn joins_late(shape: Shape, back: u64) {
    const BEFORE: u64 = 3;
    let scene = Scene::new(shape, 2);
    let publisher = scene.publisher(1);
    assert_eq!(try_each(&scene, &publisher, 0..BEFORE), []);
    let publishing = spawn(&scene, move |scene| {
        try_each(scene, &publisher, BEFORE..BEFORE + 2);
    });
    let (reliable, at) = scene.join(0, back);
    let (first, mut got) = (at.get().position(), Vec::new());
    scene.read_cell(&reliable, &at, &mut got);
    publishing.join().unwrap();
    while scene.read_cell(&reliable, &at, &mut got) {}
    scene.check(first, &got);
    scene.check_join(first, back, BEFORE);
    scene.settle(0);
}

pub(super) fn one_joins_late() {
    joins_late(tight(1, 1), 1);
}

#[test]
fn a_reliable_subscriber_misses_nothing() {
    completely(|| {
        holds("one joins", Some(2), one_joins);
        holds("one joins from the newest", Some(2), || joins(tight(1, 1), &[4], 0));
        for mutant in [
            "reliable ones are not asked",
            "no margin for a raise on its way",
            "a joiner does not look again",
        ] {
            fails("one joins", Mutant::Model(mutant), "", Some(2), one_joins);
        }
    });
    // Complete orders of three threads take far too long.
    holds("one joins two publishers", Some(1), one_joins_two);
}

#[test]
fn a_reliable_subscriber_begins_where_it_says() {
    completely(|| {
        holds("one joins late", Some(2), one_joins_late);
        holds("one joins late from the newest", Some(2), || joins_late(tight(1, 1), 0));
        holds("one joins late, two of four", Some(2), || {
            joins_late(Shape::exact(2, 1, 4, 1, 1), 2);
        });
        let mutant = Mutant::Model("a joiner gives up too much");
        fails("one joins late", mutant, "", Some(2), one_joins_late);
    });
}

/// Two join at once.
fn two_join(shape: Shape) {
    let scene = Scene::new(shape, 3);
    let publisher = scene.publisher(1);
    let publishing = spawn(&scene, move |scene| drop(try_each(scene, &publisher, 10..13)));
    let other = spawn(&scene, |scene| {
        let (reliable, at) = scene.join(2, 1);
        let (first, mut got) = (at.get().position(), Vec::new());
        scene.read_cell(&reliable, &at, &mut got);
        (reliable, at, first, got)
    });
    let (reliable, at) = scene.join(0, 2);
    let (first, mut got) = (at.get().position(), Vec::new());
    scene.read_cell(&reliable, &at, &mut got);
    publishing.join().unwrap();
    for (reliable, at, first, mut got) in [(reliable, at, first, got), other.join().unwrap()] {
        while scene.read_cell(&reliable, &at, &mut got) {}
        scene.check(first, &got);
    }
    scene.settle(0);
}

/// The same one leaves and joins again, while another one publishes.
pub(super) fn one_joins_again() {
    let scene = Scene::new(tight(1, 1), 2);
    let publisher = scene.publisher(1);
    let publishing = spawn(&scene, move |scene| drop(try_each(scene, &publisher, 10..13)));
    let (reliable, _) = scene.join(0, 1);
    ring::leave(&*scene, &reliable, member(0));
    reads(&scene, 0, 1, || publishing.join().unwrap());
    scene.settle(0);
}

#[test]
fn who_joins_at_once_or_again_misses_nothing() {
    completely(|| {
        holds("one joins again", Some(2), one_joins_again);
        holds("two join", Some(1), || two_join(tight(1, 2)));
        holds("two join, two of four", Some(1), || two_join(Shape::exact(2, 1, 4, 1, 2)));
    });
}

/// One slot, and one who reads its message: whoever publishes next writes on what was read.
fn smallest(publishers: u64) -> (Rc<Scene>, Publisher, (Reliable, Cell<Cursor>)) {
    let scene = Scene::new(Shape::exact(1, 1, 1, publishers, 1), 3);
    let (reading, publisher) = (scene.join(0, 0), scene.publisher(1));
    scene.publish_cell(&publisher, 10).unwrap();
    (scene, publisher, reading)
}

/// Publishes one and writes another, if it may.
fn writes_over(scene: &Scene, publisher: &Publisher) {
    if scene.publish_cell(publisher, 11).is_ok() {
        scene.write_cell(publisher, 12);
    }
}

/// One reads, and it is overwritten.
pub(super) fn one_reads() {
    let (scene, publisher, (reliable, at)) = smallest(1);
    let publishing = spawn(&scene, move |scene| writes_over(scene, &publisher));
    assert!(scene.read_cell(&reliable, &at, &mut Vec::new()));
    publishing.join().unwrap();
    scene.settle(0);
}

/// One joins after whole laps that it has not seen.
fn one_joins_far_on() {
    let scene = Scene::new(Shape::exact(1, 1, 2, 1, 1), 2);
    let publisher = scene.publisher(1);
    let publishing = spawn(&scene, move |scene| drop(try_each(scene, &publisher, 10..14)));
    let (_, at) = scene.join(0, 0);
    scene.cell(at.get());
    publishing.join().unwrap();
    scene.settle(0);
}

/// One reads, another one sees that and raises the limit, and a third one writes.
pub(super) fn one_raises_for_another() {
    let (scene, publisher, (reliable, at)) = smallest(2);
    let other = scene.publisher(2);
    let raising = spawn(&scene, move |scene| {
        let _ = other.ready(scene, scene);
    });
    let publishing = spawn(&scene, move |scene| writes_over(scene, &publisher));
    assert!(scene.read_cell(&reliable, &at, &mut Vec::new()));
    raising.join().unwrap();
    publishing.join().unwrap();
    scene.settle(0);
}

/// One leaves over what it has read, and it is overwritten.
pub(super) fn one_leaves() {
    let (scene, publisher, (reliable, at)) = smallest(1);
    let publishing = spawn(&scene, move |scene| writes_over(scene, &publisher));
    assert_eq!(scene.cell(at.get()), Some(10));
    ring::leave(&*scene, &reliable, member(0));
    publishing.join().unwrap();
    scene.settle(0);
}

/// One leaves, and another one takes its entry: who publishes then sees what the first one did.
pub(super) fn one_leaves_one_joins() {
    let (scene, publisher, (reliable, at)) = smallest(1);
    let publishing = spawn(&scene, move |scene| writes_over(scene, &publisher));
    let joining = spawn(&scene, |scene| {
        ring::join(scene, scene, member(2), 0);
    });
    assert_eq!(scene.cell(at.get()), Some(10));
    ring::leave(&*scene, &reliable, member(0));
    joining.join().unwrap();
    publishing.join().unwrap();
    scene.settle(0);
}

#[test]
fn what_was_read_is_overwritten_afterwards() {
    completely(|| {
        holds("one joins far on", Some(2), one_joins_far_on);
        holds("one reads", Some(3), one_reads);
        holds("one raises for another", Some(1), one_raises_for_another);
        holds("one leaves", Some(3), one_leaves);
        holds("one leaves, one joins", Some(1), one_leaves_one_joins);
    });
}

/// What was refused is published without being written anew.
fn refused_and_published() {
    let scene = Scene::new(tight(2, 1), 3);
    let (reliable, at) = scene.join(0, 0);
    let publishing: Vec<_> = [1, 2]
        .map(|id| {
            spawn(&scene, move |scene| {
                let publisher = scene.publisher(id);
                for message in [10, 20].map(|message| message + u64::from(id)) {
                    scene.write_cell(&publisher, message);
                    let spare = publisher.spare();
                    let mut tries = (0..4).map(|_| scene.publish_again(&publisher, message));
                    if tries.all(|tried| tried.is_err()) {
                        assert_eq!(publisher.spare(), spare);
                        break;
                    }
                }
            })
        })
        .into();
    let mut got = Vec::new();
    for _ in 0..3 {
        scene.read_cell(&reliable, &at, &mut got);
    }
    publishing.into_iter().for_each(|thread| thread.join().unwrap());
    while scene.read_cell(&reliable, &at, &mut got) {}
    scene.check(0, &got);
    scene.settle(0);
}

#[test]
fn what_was_refused_is_still_there() {
    completely(|| holds("refused and published", Some(1), refused_and_published));
}

/// One ends before some step: publishers go on once that is known.
pub(super) fn a_reliable_one_dies(fate: Fate) {
    let scene = Scene::new(tight(1, 1), 2);
    let publisher = scene.publisher(1);
    scene.publish_cell(&publisher, 10).unwrap();
    let reading = spawn(&scene, move |scene| {
        let life = || {
            let (reliable, at) = scene.join(0, 1);
            scene.read_cell(&reliable, &at, &mut Vec::new());
            scene.cell(at.get());
            ring::leave(scene, &reliable, member(0));
        };
        death::mortal_with(|| {}, Some(fate), life);
        scene.bury(0);
    });
    let refused = try_each(&scene, &publisher, 11..15);
    assert!(refused.iter().all(|why| *why == Refused::Blocked(member(0))), "{refused:?}");
    reading.join().unwrap();
    assert_eq!(try_each(&scene, &publisher, 20..22), [], "nobody counts any more");
    scene.settle(0);
}

/// One that joins is stopped or killed before some step, and no death is known yet: nobody
/// waits for it before it has a position.
fn a_joiner_ends(fate: Fate) {
    const BEFORE: u64 = 2;
    let scene = Scene::new(tight(1, 1), 2);
    let publisher = scene.publisher(1);
    assert_eq!(try_each(&scene, &publisher, 0..BEFORE), []);
    let publishing = spawn(&scene, move |scene| {
        let refused = try_each(scene, &publisher, BEFORE..BEFORE + 2);
        assert!(refused.iter().all(|why| *why == Refused::Blocked(member(0))), "{refused:?}");
        refused.len()
    });
    let joined = Cell::new(false);
    let life = || {
        scene.join(0, 0);
        joined.set(true);
    };
    death::mortal_with(|| {}, Some(fate), life);
    let refused = publishing.join().unwrap();
    let (counts, position) = scene.reliable_words(0);
    assert!(refused == 0 || counts, "blocked by one that joins");
    assert!(refused == 0 || position >= BEFORE, "blocked by one without a position");
    assert!(counts || !joined.get(), "it has joined and does not count");
    scene.settle(0);
}

#[test]
fn only_who_lives_and_has_joined_is_waited_for() {
    completely(|| {
        let (name, end) = ("a reliable one dies", End::Killed);
        holds_for_every_end(name, Some(2), end, a_reliable_one_dies);
        let mutant = Mutant::Model("the dead are waited for");
        fails_for_some_end(name, mutant, "nobody counts", Some(1), end, a_reliable_one_dies);
        for end in [End::Killed, End::Stopped] {
            holds_for_every_end("a joiner ends", Some(2), end, a_joiner_ends);
        }
        let end = End::Stopped;
        for (mutant, how) in [
            ("who joins counts", "blocked by one that joins"),
            ("it counts before it has a position", "without a position"),
        ] {
            let mutant = Mutant::Model(mutant);
            fails_for_some_end("a joiner ends", mutant, how, Some(2), end, a_joiner_ends);
        }
    });
}
