//! A wait that ends with another participant.

use std::rc::Rc;

use super::{LIFE, LIVE, seat};
use crate::death::{self, End, Fate};
use crate::explore::{LOST, fails_for_some_end, holds_for_every_end};
use crate::kernel::{Process, System};
use crate::mutant::{self, Mutant};
use crate::operation::Plain;
use crate::ring::event;
use crate::ring::kernel::{Kernel, Op};
use crate::ring::set::SetMap;
use crate::ring::wait::{Heard, NotNow, Registration};
use crate::ring::{credit, wake_all};
use crate::sync::{AtomicU64, Ordering};

/// A wait until another participant has gone, one that is no end of the
/// channel and has no credit on its semaphore: nobody posts a token.
struct Bound {
    system: Rc<System>,
    map: SetMap,
    /// The bystander's word in the table: 0 as long as it lives.
    gone: AtomicU64,
    waiting: AtomicU64,
    record: AtomicU64,
    life: AtomicU64,
}

const BYSTANDER: u16 = 0;

impl Bound {
    fn new() -> Rc<Self> {
        let map = SetMap { participants: 2, channels: 1, own_bells: false };
        let system = Rc::new(System::new(map.count(), 2));
        let bystander = Process { system: Rc::clone(&system), id: BYSTANDER.into() };
        bystander.semop(&[Op::add(map.liveness(BYSTANDER), 1).undo()], None).unwrap();
        if !mutant::has("no credit") {
            credit::arm(&bystander, SetMap::WAKE_ALL).unwrap();
        }
        let words = [0, 0, event::record(LIFE), LIVE].map(AtomicU64::new);
        let [gone, waiting, record, life] = words;
        Rc::new(Self { system, map, gone, waiting, record, life })
    }

    /// `table::leave`.
    fn leave(&self, process: &Process) {
        self.gone.store(1, Ordering::Release);
        let lower = Op::take(self.map.liveness(BYSTANDER), 1).undo().no_wait();
        process.semop(&[lower, wake_all::LEAVE], None).unwrap();
    }

    /// `Participant::listen`.
    fn listen(&self, process: &Process) -> u16 {
        let mut values = vec![0; usize::from(self.map.count())];
        process.values(&mut values).unwrap();
        if values[usize::from(self.map.liveness(BYSTANDER))] == 0 {
            self.gone.store(1, Ordering::Release);
        }
        values[usize::from(SetMap::WAKE_ALL)]
    }

    /// `Endpoint::wait` of a handle that is bound, `heard` before.
    fn wait(&self, process: &Process, heard: Option<u16>) {
        let registration = Registration::new(heard);
        registration.be_strict(!mutant::has("not strict"));
        let gone = || self.gone.load(Ordering::Acquire) != 0;
        let attempt = || if gone() { Ok(()) } else { Err(NotNow::Nothing) };
        let (more, look) = (|| true, |_| Heard { own: 0, wake_all: Some(self.listen(process)) });
        let mut waiter = Plain { attempt, more, look, owed: None };
        let items = self.map.items(0);
        let mine = (&self.record, &self.life);
        waiter.wait(process, seat(&self.waiting, items, mine, &registration));
    }
}

fn bystander_ends(fate: Fate, heard: Option<u16>) {
    let bound = Bound::new();
    let [theirs, main] = [0, 1].map(|id| Process { system: Rc::clone(&bound.system), id });
    let scene = Rc::clone(&bound);
    let bystander = loom::thread::spawn(move || {
        let _ = death::mortal(&theirs, Some(fate), || scene.leave(&theirs));
    });
    bound.wait(&main, heard);
    bystander.join().unwrap();
    assert_eq!(bound.waiting.load(Ordering::Acquire) & u64::from(u32::MAX), 0);
}

/// It has looked before, or has not.
fn bystander_ends_heard(fate: Fate) {
    bystander_ends(fate, Some(0));
}

fn bystander_ends_unheard(fate: Fate) {
    bystander_ends(fate, None);
}

#[test]
fn who_is_bound_to_a_bystander_is_woken_by_its_end() {
    let name = "event, bound to a bystander";
    for model in [bystander_ends_heard, bystander_ends_unheard] {
        holds_for_every_end(name, Some(3), End::Killed, model);
        for mutant in ["not strict", "the wake-all semaphore is not compared", "no credit"] {
            fails_for_some_end(name, Mutant::Model(mutant), LOST, Some(2), End::Killed, model);
        }
    }
}
