//! Publishers that sleep are struck for if there is room: the question that a reader asks behind
//! its fence.
//!
//! There is no kernel here: to sleep is to be refused behind the announcement, and a stroke is a
//! word. `bell::seats` has the wait around it.

use std::cell::Cell;
use std::rc::Rc;

use super::{spawn, tight};
use crate::broadcast::Scene;
use crate::explore::{completely, fails, holds};
use crate::mutant::{self, Mutant};
use crate::ring::broadcast::{self as ring, Reliable, Shape};
use crate::ring::cursor::Cursor;
use crate::sync::{AtomicU64, Ordering, fence};

const SLEEPS: &str = "a publisher sleeps over room";

/// What a publisher that sleeps and its readers know of each other.
struct Bell {
    announced: AtomicU64,
    struck: AtomicU64,
}

impl Bell {
    fn new() -> Rc<Self> {
        Rc::new(Self { announced: AtomicU64::new(0), struck: AtomicU64::new(0) })
    }

    fn announce(&self) {
        self.announced.store(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// What a reader does that has read on.
    fn tell(&self, scene: &Scene) {
        if !mutant::has("asks without a fence") {
            fence(Ordering::SeqCst);
        }
        if self.announced.load(Ordering::Relaxed) != 0 && ring::has_room(scene, scene) {
            self.struck.store(1, Ordering::Relaxed);
        }
    }

    fn was_struck(&self) -> bool {
        self.struck.load(Ordering::Relaxed) != 0
    }
}

/// Reads so many, and tells once.
fn reads_on(scene: &Scene, bell: &Bell, (reliable, at): &(Reliable, Cell<Cursor>), count: u64) {
    for _ in 0..count {
        assert!(scene.read_cell(reliable, at, &mut Vec::new()));
    }
    bell.tell(scene);
}

/// Two readers move on at once, for both of which a publisher waits: one of them finds room.
fn two_make_room() {
    let (scene, bell) = (Scene::new(tight(1, 2), 3), Bell::new());
    let publisher = scene.publisher(1);
    let readers = [scene.join(0, 0), scene.join(2, 0)];
    scene.publish_cell(&publisher, 10).unwrap();
    let reading = readers.map(|reader| {
        let bell = Rc::clone(&bell);
        spawn(&scene, move |scene| reads_on(scene, &bell, &reader, 1))
    });
    bell.announce();
    let sleeps = scene.publish_cell(&publisher, 11).is_err();
    reading.into_iter().for_each(|thread| thread.join().unwrap());
    assert!(!sleeps || bell.was_struck(), "{SLEEPS}");
    scene.settle(0);
}

/// A publisher sleeps. A reader moves on; before it asks, another publisher may raise the limit
/// as far as that allows, and leave a position below it.
fn one_leaves_a_position() {
    let (scene, bell) = (Scene::new(Shape::exact(2, 2, 6, 2, 1), 3), Bell::new());
    let (sleeper, other) = (scene.publisher(1), scene.publisher(2));
    let reader = scene.join(0, 0);
    for message in 10..12 {
        scene.publish_cell(&sleeper, message).unwrap();
    }
    bell.announce();
    assert!(scene.publish_cell(&sleeper, 12).is_err());
    let publishing = spawn(&scene, move |scene| {
        let _ = scene.publish_cell(&other, 20);
    });
    reads_on(&scene, &bell, &reader, 2);
    publishing.join().unwrap();
    let has_room = scene.publish_cell(&sleeper, 12).is_ok();
    assert!(!has_room || bell.was_struck(), "{SLEEPS}");
    scene.settle(0);
}

#[test]
fn no_publisher_sleeps_over_room() {
    completely(|| {
        holds("two make room", Some(2), two_make_room);
        holds("one leaves a position", Some(3), one_leaves_a_position);
        for mutant in ["asks without a fence", "asks for more room than one needs"] {
            let mutant = Mutant::Model(mutant);
            fails("two make room", mutant, SLEEPS, Some(2), two_make_room);
        }
        let mutant = Mutant::Model("does not look for a position that is left");
        fails("one leaves a position", mutant, SLEEPS, Some(3), one_leaves_a_position);
    });
}
