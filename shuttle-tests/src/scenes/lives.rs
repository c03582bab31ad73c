//! Deaths, sweeps and next lives of the same ids, at a ring alone: a death
//! is known to whoever reads the table's word.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::checker::thread;
use crate::death;
use crate::explore::{any, fails, holds, some_death};
use crate::mutant;
use crate::ring::mpmc::{self, Cursor, Dead, Words};
use crate::ring::recovery::Repairing;
use crate::ring::table::{MemberState, MemberWord};
use crate::sync::{AtomicU64, Ordering::SeqCst};
use crate::world::Ring;

const ATTEMPTS: u8 = 15;
const LIVES: u64 = 3;

struct Scene {
    ring: Ring,
    words: Vec<AtomicU64>,
    published: RefCell<Vec<u64>>,
    consumed: RefCell<Vec<u64>>,
    /// Messages of which nobody lived to say what became of them.
    unsaid: Cell<usize>,
}

const fn word(state: MemberState, incarnation: u64) -> u64 {
    MemberWord { state, incarnation }.word()
}

impl Scene {
    fn new(capacity: usize, ids: usize) -> Rc<Self> {
        Rc::new(Self {
            ring: Ring::new(capacity),
            words: (0..ids).map(|_| AtomicU64::new(word(MemberState::Live, 1))).collect(),
            published: RefCell::default(),
            consumed: RefCell::default(),
            unsaid: Cell::new(0),
        })
    }

    /// Sweeps whatever id is dead, and gives it free.
    fn sweep(&self) {
        for (id, at) in self.words.iter().enumerate() {
            let seen = at.load(SeqCst);
            let Some(MemberWord { state: MemberState::Dead, incarnation }) = MemberWord::read(seen)
            else {
                continue;
            };
            let still_dead = || mutant::has("whoever was dead still is") || at.load(SeqCst) == seen;
            let done = mpmc::recover(
                &self.ring,
                Dead { owner: id as u16, attempts: ATTEMPTS, committed: 0 },
                &Repairing(still_dead),
                |_, _| {},
            );
            if done.is_ok() {
                let free = word(MemberState::Free, incarnation);
                let _ = at.compare_exchange(seen, free, SeqCst, SeqCst);
            }
        }
    }

    /// A few lives of one id, each of which ends somewhere; the next one
    /// begins when somebody has swept the last.
    fn live(&self, id: u16, life: impl Fn(u64)) {
        for incarnation in 1..=LIVES {
            if death::mortal_with(|| {}, some_death(25), || life(incarnation)).is_some() {
                return;
            }
            self.unsaid.set(self.unsaid.get() + 1);
            let at = &self.words[usize::from(id)];
            at.store(word(MemberState::Dead, incarnation), SeqCst);
            while at.load(SeqCst) == word(MemberState::Dead, incarnation) {
                if any(2) == 0 {
                    self.sweep();
                }
                thread::yield_now();
            }
            at.store(word(MemberState::Live, incarnation + 1), SeqCst);
        }
    }

    fn push(&self, cursor: &Cell<Cursor>, id: u16, message: u64) -> bool {
        let pushed = self.ring.push(cursor, id, message).is_ok();
        if pushed {
            self.published.borrow_mut().push(message);
        }
        pushed
    }

    fn pop(&self, cursor: &Cell<Cursor>, id: u16) -> bool {
        let Ok(message) = self.ring.pop(cursor, id) else { return false };
        let mut consumed = self.consumed.borrow_mut();
        assert!(!consumed.contains(&message), "{message} comes twice");
        consumed.push(message);
        true
    }
}

/// Three that write, three that read, all of them mortal, and two that do
/// nothing but sweep.
fn lives() {
    let capacity = 2 + any(3);
    let scene = Scene::new(capacity, 7);
    let mut threads = Vec::new();
    for id in 0..6_u16 {
        let scene = Rc::clone(&scene);
        threads.push(thread::spawn(move || {
            scene.live(id, |incarnation| {
                if id < 3 {
                    let cursor = Cell::new(Cursor::producer(&scene.ring));
                    for n in 0..3 {
                        scene.push(&cursor, id, u64::from(id) << 32 | incarnation << 16 | n);
                    }
                } else {
                    let cursor = Cell::new(Cursor::consumer(&scene.ring));
                    for _ in 0..3 {
                        scene.pop(&cursor, id);
                    }
                }
            });
        }));
    }
    for _ in 0..2 {
        let scene = Rc::clone(&scene);
        threads.push(thread::spawn(move || (0..4).for_each(|_| scene.sweep())));
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    scene.sweep();
    let cursor = Cell::new(Cursor::consumer(&scene.ring));
    while scene.pop(&cursor, 6) {}
    assert_eq!(mpmc::len(&scene.ring), 0);
    assert!(!mpmc::in_flight(&scene.ring), "a slot stays with the dead");
    let (consumed, published) = (scene.consumed.take(), scene.published.take());
    let lost = published.iter().filter(|message| !consumed.contains(message)).count();
    assert!(lost <= scene.unsaid.get(), "{lost} messages lost");
    // And it is as good as new.
    let cursor = Cell::new(Cursor::producer(&scene.ring));
    (0..scene.ring.capacity())
        .for_each(|n| assert!(scene.push(&cursor, 6, 1 << 63 | n), "a slot less"));
    assert!(!scene.push(&cursor, 6, 0));
}

#[test]
fn no_sweep_robs_a_next_life() {
    holds("ring, lives and sweeps", lives);
    fails("ring, lives and sweeps", "whoever was dead still is", "", lives);
}
