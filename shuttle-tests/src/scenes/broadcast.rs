//! A broadcast ring with many publishers, who die, and subscribers of both kinds.

use std::cell::Cell;
use std::rc::Rc;

use crate::broadcast::{Scene, lossy, member};
use crate::checker::thread::{self, JoinHandle};
use crate::death;
use crate::explore::{any, fails, holds, some_death};
use crate::ring::broadcast::{self as ring, Refused, Shape};
use crate::ring::cursor::Cursor;

fn spawn<R: 'static>(scene: &Rc<Scene>, life: impl FnOnce(&Scene) -> R + 'static) -> JoinHandle<R> {
    let scene = Rc::clone(scene);
    thread::spawn(move || life(&scene))
}

/// Three publish, may die, and have a successor each; a lossy subscriber reads meanwhile.
fn three_die() {
    let (slots, publishers) = (2 + any(3) as u64, 3);
    let scene = Scene::new(lossy(slots, 1 + any(2) as u64, publishers), 2 * publishers as usize);
    let publishing: Vec<_> = (0..publishers as u16)
        .map(|id| {
            spawn(&scene, move |scene| {
                let publish = |id: u16| {
                    let at = scene.publisher(id);
                    let first = u64::from(id) * 10;
                    (first..first + 4).for_each(|message| {
                        scene.publish(&at, message).unwrap();
                    });
                };
                let died = death::mortal_with(|| {}, some_death(100), || publish(id)).is_none();
                if died {
                    scene.bury(id);
                    publish(id + 3);
                }
                died
            })
        })
        .collect();
    let (at, mut got) = (Cell::new(Cursor::at(0, slots)), Vec::new());
    for _ in 0..8 {
        scene.read(&at, &mut got);
    }
    let died = publishing.into_iter().map(|thread| usize::from(thread.join().unwrap())).sum();
    while scene.read(&at, &mut got) {}
    scene.check(0, &got);
    scene.settle(died);
}

#[test]
fn dying_publishers_leave_no_gap_and_each_buffer_in_one_place() {
    let name = "broadcast, three die";
    holds(name, three_die);
    for mutant in [
        "nobody helps",
        "help is thrown away",
        "a takeover does not look at help",
        "no intents",
        "the entry before the slot",
        "does not look again",
    ] {
        fails(name, mutant, "", three_die);
    }
}

/// Two publish for two that join meanwhile, of which one may die.
fn two_wait_for_two() {
    let reach = 1 + any(3) as u64;
    let scene = Scene::new(Shape::exact(reach, 1, reach + 2, 2, 2), 4);
    let publishing: Vec<_> = (0..2_u16)
        .map(|id| {
            spawn(&scene, move |scene| {
                let at = scene.publisher(id);
                for message in 0..6 {
                    let message = u64::from(id) * 10 + message;
                    let mut tries = (0..10).map(|_| scene.publish_cell(&at, message));
                    let tried = tries.find(|tried| !matches!(tried, Err(Refused::Blocked(_))));
                    assert!(!matches!(tried, Some(Err(_))), "{tried:?}");
                }
            })
        })
        .collect();
    let reading: Vec<_> = (2..4_u16)
        .map(|id| {
            spawn(&scene, move |scene| {
                let life = || {
                    let (reliable, at) = scene.join(id, any(3) as u64);
                    let (first, mut got) = (at.get().position(), Vec::new());
                    for _ in 0..10 {
                        scene.read_cell(&reliable, &at, &mut got);
                    }
                    (reliable, at, first, got)
                };
                let fate = if id == 2 { some_death(100) } else { None };
                let lived = death::mortal_with(|| {}, fate, life);
                if lived.is_none() {
                    scene.bury(id);
                }
                lived.map(|lived| (id, lived))
            })
        })
        .collect();
    publishing.into_iter().for_each(|thread| thread.join().unwrap());
    for (id, (reliable, at, first, mut got)) in
        reading.into_iter().filter_map(|thread| thread.join().unwrap())
    {
        while scene.read_cell(&reliable, &at, &mut got) {}
        scene.check(first, &got);
        ring::leave(&*scene, &reliable, member(id));
    }
    scene.settle(0);
}

#[test]
fn who_is_waited_for_misses_nothing() {
    let name = "broadcast, two wait for two";
    holds(name, two_wait_for_two);
    fails(name, "reliable ones are not asked", "overrun", two_wait_for_two);
}
