//! The broadcast ring: every subscriber reads every message whole and in order, or is told
//! exactly how many it missed. No publisher is in another one's way, and each buffer is in
//! one place.

use std::cell::Cell;
use std::rc::Rc;

use crate::broadcast::{GAP, Scene, lossy};
use crate::death::{self, End, Fate};
use crate::explore::{completely, fails, fails_for_some_end, holds, holds_for_every_end};
use crate::mutant::Mutant;
use crate::ring::broadcast::{self as ring, Publisher, Shape};
use crate::ring::cursor::Cursor;

/// In a thread of its own.
fn spawn<R: 'static>(
    scene: &Rc<Scene>,
    life: impl FnOnce(&Scene) -> R + 'static,
) -> loom::thread::JoinHandle<R> {
    let scene = Rc::clone(scene);
    loom::thread::spawn(move || life(&scene))
}

fn publish_all(scene: &Scene, at: &Publisher, messages: impl IntoIterator<Item = u64>) {
    messages.into_iter().for_each(|message| {
        scene.publish(at, message).unwrap();
    });
}

/// Reads to the end, and finds nothing wrong with the whole.
fn read_on(scene: &Scene, first: u64, at: &Cell<Cursor>, got: &mut Vec<crate::broadcast::Got>) {
    while scene.read(at, got) {}
    scene.check(first, got);
}

/// Publishers with so many messages each, and one subscriber from the beginning.
fn stream(shape: Shape, messages: &[u64]) {
    let scene = Scene::new(shape, messages.len() + 1);
    let publishing: Vec<_> = (1..)
        .zip(messages)
        .map(|(id, &messages)| {
            spawn(&scene, move |scene| {
                let (at, first) = (scene.publisher(id), u64::from(id) * 10);
                publish_all(scene, &at, first..first + messages);
            })
        })
        .collect();
    let (at, mut got) = (Cell::new(Cursor::at(0, shape.slots)), Vec::new());
    for _ in 0..messages.iter().sum() {
        scene.read(&at, &mut got);
    }
    publishing.into_iter().for_each(|thread| thread.join().unwrap());
    read_on(&scene, 0, &at, &mut got);
    assert_eq!(scene.first_unpublished(), messages.iter().sum());
    scene.settle(0);
}

pub(super) fn one_publishes() {
    stream(lossy(1, 1, 1), &[3]);
}

/// A message, and what is missing behind it.
fn one_tells_a_gap() {
    let scene = Scene::new(lossy(1, 1, 1), 2);
    let publishing = spawn(&scene, move |scene| {
        publish_all(scene, &scene.publisher(1), [10, GAP, 11]);
    });
    let (at, mut got) = (Cell::new(Cursor::at(0, 1)), Vec::new());
    for _ in 0..3 {
        scene.read(&at, &mut got);
    }
    publishing.join().unwrap();
    read_on(&scene, 0, &at, &mut got);
    scene.settle(0);
}

pub(super) fn one_publishes_four() {
    stream(lossy(1, 1, 1), &[4]);
}

/// Without a raise, which has a fence of its own, between each two of them.
pub(super) fn one_publishes_in_twos() {
    stream(lossy(2, 2, 1), &[4]);
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
        holds("one publishes four", Some(2), one_publishes_four);
        holds("one tells a gap", Some(3), one_tells_a_gap);
        holds("one publishes in twos", Some(2), one_publishes_in_twos);
        holds("one of two publishes, one slot", Some(3), one_of_two_publishes);
        holds("one publishes, two slots", Some(3), || stream(lossy(2, 1, 1), &[4]));
        holds("one of two publishes, two slots", Some(2), || stream(lossy(2, 2, 2), &[4]));
        let mutant = Mutant::Model("does not look again");
        fails("one publishes, one slot", mutant, "", Some(3), one_publishes);
    });
}

/// One publishes after another one has got further ahead than a step.
pub(super) fn one_falls_behind() {
    let scene = Scene::new(lossy(2, 1, 2), 3);
    let (ahead, behind) = (scene.publisher(1), scene.publisher(2));
    let publishing = spawn(&scene, move |scene| publish_all(scene, &ahead, 10..13));
    publish_all(&scene, &behind, [20]);
    publishing.join().unwrap();
    scene.settle(0);
}

#[test]
fn two_publish_and_one_reads() {
    completely(|| {
        holds("two publish, one slot", Some(1), two_publish);
        holds("two publish, two slots", Some(1), || stream(lossy(2, 1, 2), &[2, 1]));
        holds("two publish, steps of two", Some(1), || stream(lossy(2, 2, 2), &[2, 1]));
        holds("one falls behind", Some(1), one_falls_behind);
        let mutant = Mutant::Model("begins beyond the limit");
        fails("two publish, one slot", mutant, "", Some(1), two_publish);
    });
}

/// Where a subscriber begins that comes late.
#[derive(Clone, Copy)]
enum From {
    Oldest,
    Next,
    /// With the last one, if it is still there.
    Last,
}

/// One comes while a publisher goes on.
fn comes_late(shape: Shape, from: From) {
    const BEFORE: u64 = 2;
    let scene = Scene::new(shape, 2);
    let publisher = scene.publisher(1);
    publish_all(&scene, &publisher, 10..10 + BEFORE);
    let publishing = spawn(&scene, move |scene| publish_all(scene, &publisher, 20..22));
    let next = || scene.first_unpublished();
    let first = match from {
        From::Oldest => ring::oldest(&*scene),
        From::Next => next(),
        From::Last => next().saturating_sub(1).max(ring::oldest(&*scene)),
    };
    let (at, mut got) = (Cell::new(Cursor::at(first, shape.slots)), Vec::new());
    scene.read(&at, &mut got);
    publishing.join().unwrap();
    read_on(&scene, first, &at, &mut got);
    let end = next();
    match from {
        From::Oldest => assert!((BEFORE - shape.slots..=end - shape.slots).contains(&first)),
        From::Next => assert!((BEFORE..=end).contains(&first)),
        From::Last => assert!((BEFORE - 1..end).contains(&first)),
    }
    scene.settle(0);
}

pub(super) fn comes_for_the_next() {
    comes_late(lossy(1, 1, 1), From::Next);
}

pub(super) fn comes_for_the_oldest() {
    comes_late(lossy(1, 1, 1), From::Oldest);
}

#[test]
fn who_comes_late_begins_where_it_says() {
    completely(|| {
        holds("comes for the oldest, one slot", Some(3), comes_for_the_oldest);
        holds("comes for the next, one slot", Some(3), comes_for_the_next);
        holds("comes for the last, one slot", Some(3), || comes_late(lossy(1, 1, 1), From::Last));
        holds("comes for the oldest, two slots", Some(3), || {
            comes_late(lossy(2, 1, 1), From::Oldest);
        });
        holds("comes for the next, two slots", Some(3), || comes_late(lossy(2, 1, 1), From::Next));
        holds("comes for the last, two slots", Some(3), || comes_late(lossy(2, 1, 1), From::Last));
    });
}

/// One publisher ends before some step of its life of `mine` messages; another one goes on
/// meanwhile, and a successor follows in its entry.
fn another_goes_on(fate: Fate, shape: Shape, mine: u64, others: u64) {
    let scene = Scene::new(shape, 4);
    let (mortal, other) = (scene.publisher(2), scene.publisher(1));
    let going_on = spawn(&scene, move |scene| publish_all(scene, &other, 20..20 + others));
    let life = || publish_all(&scene, &mortal, 30..30 + mine);
    let ended = death::mortal_with(|| {}, Some(fate), life).is_none();
    going_on.join().unwrap();
    if ended && fate.end == End::Killed {
        scene.bury(2);
        let at = scene.publisher(3);
        scene.publish(&at, 40).unwrap();
    }
    let (at, mut got) = (Cell::new(Cursor::at(0, shape.slots)), Vec::new());
    read_on(&scene, 0, &at, &mut got);
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
        for mutant in ["no intents", "the entry before the slot"] {
            let mutant = Mutant::Model(mutant);
            fails_for_some_end("killed, one slot", mutant, "", Some(1), End::Killed, killed);
        }
    });
}

#[test]
fn a_stopped_publisher_is_in_nobodys_way() {
    completely(|| {
        holds_for_every_end("stopped, one slot", Some(1), End::Stopped, |fate| {
            another_goes_on(fate, lossy(1, 1, 2), 1, 2);
        });
        holds_for_every_end("stopped, two slots", Some(1), End::Stopped, |fate| {
            another_goes_on(fate, lossy(2, 1, 2), 1, 2);
        });
    });
}

/// One ends before some step of its second message, or gap, while another one only raises the
/// limit, or publishes so many. Its successor follows.
fn helped_meanwhile(fate: Fate, second: u64, others: u64) {
    let scene = Scene::new(lossy(1, 1, 2), 4);
    let (mortal, other) = (scene.publisher(2), scene.publisher(1));
    scene.publish(&mortal, 30).unwrap();
    let helping = spawn(&scene, move |scene| {
        if others == 0 {
            let _ = other.ready(scene, scene);
        }
        publish_all(scene, &other, 20..20 + others);
    });
    let life = || scene.publish(&mortal, second).unwrap();
    let ended = death::mortal_with(|| {}, Some(fate), life).is_none();
    helping.join().unwrap();
    if ended {
        scene.bury(2);
    } else {
        scene.close(mortal, 2);
    }
    scene.settle(ended.into());
}

pub(super) fn helped(fate: Fate) {
    helped_meanwhile(fate, 31, 0);
}

fn helped_with_a_gap(fate: Fate) {
    helped_meanwhile(fate, GAP, 0);
}

pub(super) fn helped_and_passed(fate: Fate) {
    helped_meanwhile(fate, 31, 1);
}

/// One is helped with its second message while it already tries to publish its third one, over
/// which it ends.
fn helped_late(fate: Fate) {
    let scene = Scene::new(lossy(1, 1, 2), 4);
    let (mortal, other) = (scene.publisher(2), scene.publisher(1));
    scene.publish(&mortal, 30).unwrap();
    let helping = spawn(&scene, move |scene| {
        let _ = other.ready(scene, scene);
    });
    scene.publish(&mortal, 31).unwrap();
    mortal.ready(&*scene, &*scene).unwrap();
    let life = || scene.publish_again(&mortal, 32).unwrap();
    let ended = death::mortal_with(|| {}, Some(fate), life).is_none();
    helping.join().unwrap();
    scene.settle(ended.into());
}

/// One helps and is stopped over it for more than half of all turns.
fn helped_far_too_late() {
    let scene = Scene::new(lossy(1, 1, 2), 4);
    let (ages, other) = (scene.publisher(2), scene.publisher(1));
    scene.publish(&ages, 30).unwrap();
    let helping = spawn(&scene, move |scene| {
        let _ = other.ready(scene, scene);
    });
    publish_all(&scene, &ages, 31..33);
    scene.age(ages.number());
    helping.join().unwrap();
    scene.settle(0);
}

#[test]
fn what_is_incomplete_is_completed_once() {
    completely(|| {
        holds_for_every_end("helped", Some(2), End::Killed, helped);
        holds_for_every_end("helped late", Some(1), End::Killed, helped_late);
        holds("helped far too late", Some(2), helped_far_too_late);
        holds_for_every_end("helped and passed", Some(2), End::Killed, helped_and_passed);
        for mutant in ["help does not look at the slot", "a takeover does not help"] {
            let mutant = Mutant::Model(mutant);
            fails_for_some_end("helped", mutant, "", Some(2), End::Killed, helped);
        }
        let (name, gap) = ("helped with a gap", helped_with_a_gap);
        holds_for_every_end(name, Some(2), End::Killed, gap);
        let mutant = Mutant::Model("help does not know gaps");
        fails_for_some_end(name, mutant, "", Some(2), End::Killed, gap);
        let mutant = Mutant::Model("help wins a tie");
        fails_for_some_end("helped late", mutant, "", Some(2), End::Killed, helped_late);
        for mutant in ["nobody helps", "help is thrown away", "a takeover does not look at help"] {
            let (name, mutant) = ("helped and passed", Mutant::Model(mutant));
            fails_for_some_end(name, mutant, "", Some(2), End::Killed, helped_and_passed);
        }
    });
}

/// One is killed over its second message, and its successor takes its entry up, while
/// another one raises the limit.
pub(super) fn helped_while_taken_over(fate: Fate) {
    let scene = Scene::new(lossy(1, 1, 2), 4);
    let (mortal, other) = (scene.publisher(2), scene.publisher(1));
    scene.publish(&mortal, 30).unwrap();
    let helping = spawn(&scene, move |scene| {
        let _ = other.ready(scene, scene);
    });
    mortal.ready(&*scene, &*scene).unwrap();
    let life = || scene.publish_again(&mortal, 31).unwrap();
    let ended = death::mortal_with(|| {}, Some(fate), life).is_none();
    if ended {
        scene.bury(2);
    } else {
        scene.close(mortal, 2);
    }
    scene.publisher(3);
    helping.join().unwrap();
    scene.settle(ended.into());
}

/// One publishes and is killed before some step; another one, which has had room for long,
/// publishes behind it without ever having looked for room there.
pub(super) fn passed_without_looking(fate: Fate) {
    let scene = Scene::new(lossy(3, 2, 2), 4);
    let (mortal, other) = (scene.publisher(2), scene.publisher(1));
    publish_all(&scene, &other, 10..12);
    other.ready(&*scene, &*scene).unwrap();
    let going_on = spawn(&scene, move |scene| publish_all(scene, &other, 20..23));
    let life = || scene.publish(&mortal, 30).unwrap();
    let ended = death::mortal_with(|| {}, Some(fate), life).is_none();
    going_on.join().unwrap();
    scene.settle(ended.into());
}

#[test]
fn whoever_follows_sees_what_is_incomplete() {
    completely(|| {
        let (name, model) = ("helped while taken over", helped_while_taken_over);
        holds_for_every_end(name, Some(2), End::Killed, model);
        let (name, model) = ("passed without looking", passed_without_looking);
        holds_for_every_end(name, Some(2), End::Killed, model);
    });
}

/// The only publisher is killed over one of so many messages, and its successor publishes while
/// one reads.
fn succeeds(fate: Fate, shape: Shape, before: u64, messages: u64) {
    let scene = Scene::new(shape, 3);
    let publisher = scene.publisher(1);
    publish_all(&scene, &publisher, 0..before);
    let publishing = spawn(&scene, move |scene| {
        let life = || publish_all(scene, &publisher, 10..10 + messages);
        let ended = death::mortal_with(|| {}, Some(fate), life).is_none();
        scene.bury(1);
        let at = scene.publisher(2);
        publish_all(scene, &at, 20..20 + messages);
        ended
    });
    let (at, mut got) = (Cell::new(Cursor::at(0, shape.slots)), Vec::new());
    for _ in 0..messages {
        scene.read(&at, &mut got);
    }
    let ended = publishing.join().unwrap();
    read_on(&scene, 0, &at, &mut got);
    scene.settle(ended.into());
}

fn a_successor_is_read(fate: Fate) {
    succeeds(fate, lossy(1, 1, 1), 0, 2);
}

/// It needs not raise the limit, which has a fence of its own.
pub(super) fn a_successor_has_room(fate: Fate) {
    succeeds(fate, lossy(2, 2, 1), 2, 1);
}

#[test]
fn a_successor_publishes_whole_messages() {
    completely(|| {
        holds_for_every_end("a successor is read", Some(2), End::Killed, a_successor_is_read);
        holds_for_every_end("a successor has room", Some(3), End::Killed, a_successor_has_room);
    });
}
