//! The wake-all semaphore: whoever listens hears of everything, whoever dies or is stopped.
//!
//! A lost wake shows as loom's *deadlock*: the main thread listens.

use std::rc::Rc;

use super::journal::Scene;
use crate::death::{self, End, Fate};
use crate::explore::{LOST, completely, fails, fails_for_some_end, holds, holds_for_every_end};
use crate::kernel::{Process, System};
use crate::mutant::{self, Mutant};
use crate::ring::kernel::{Kernel, Op};
use crate::ring::set::SetMap;
use crate::ring::{credit, wake_all};

/// The participant that writes; all others listen.
const WRITER: u16 = 0;
/// From here on the count is wound back.
const HIGH: u16 = 1 << 13;

struct Hall {
    scene: Rc<Scene>,
    system: Rc<System>,
    map: SetMap,
}

#[derive(Clone)]
struct Guest {
    hall: Rc<Hall>,
    process: Process,
}

/// All of them have joined.
fn hall<const N: usize>() -> [Guest; N] {
    let map = SetMap { participants: N as u16, channels: 1, own_bells: false };
    let system = Rc::new(System::new(map.count(), N));
    let hall = Rc::new(Hall { scene: Scene::new(4, N), system: Rc::clone(&system), map });
    let guests: [Guest; N] = core::array::from_fn(|id| Guest {
        hall: Rc::clone(&hall),
        process: Process { system: Rc::clone(&system), id },
    });
    for (id, guest) in (0..).zip(&guests) {
        if !mutant::has("no credit") {
            credit::arm(&guest.process, SetMap::WAKE_ALL).unwrap();
        }
        guest.process.semop(&[Op::add(map.liveness(id), 1).undo()], None).unwrap();
    }
    guests
}

impl Guest {
    /// Writes a record and strikes, as one that joins.
    fn tell(&self, what: u64) {
        if mutant::has("struck before it is written") {
            wake_all::strike(&self.process).unwrap();
        }
        self.hall.scene.append(WRITER, what);
        if !mutant::has("struck before it is written") && !mutant::has("not struck") {
            wake_all::strike(&self.process).unwrap();
        }
    }

    /// `Mapped::look`, of the writer alone: the count, and whether it is dead.
    fn look(&self) -> (u16, bool) {
        let mut values = vec![0; usize::from(self.hall.map.count())];
        self.process.values(&mut values).unwrap();
        let heard = values[usize::from(SetMap::WAKE_ALL)];
        wake_all::wind(&self.process, heard).unwrap();
        (heard, values[usize::from(self.hall.map.liveness(WRITER))] == 0)
    }

    /// `Events::recv`, until so much has been heard or the writer is dead.
    fn listen(&self, most: usize) -> Vec<u64> {
        let mut at = 0;
        let mut all = self.hall.scene.follow(&mut at).0;
        while all.len() < most {
            let (heard, dead) = self.look();
            if dead {
                self.hall.scene.bury(WRITER);
            }
            let more = self.hall.scene.follow(&mut at).0;
            if dead {
                return [all, more].concat();
            }
            if more.is_empty() {
                wake_all::park(&self.process, heard, None).unwrap();
            }
            all.extend(more);
        }
        all
    }

    fn spawn(
        self,
        fate: Option<Fate>,
        life: impl FnOnce(&Self) + 'static,
    ) -> loom::thread::JoinHandle<()> {
        loom::thread::spawn(move || {
            let _ = death::mortal(&self.process, fate, || life(&self));
        })
    }
}

/// One writes, one listens.
fn one_listens() {
    let [writer, main] = hall();
    let writing = writer.spawn(None, |writer| (1..=2).for_each(|what| writer.tell(what)));
    assert_eq!(main.listen(2), [1, 2]);
    writing.join().unwrap();
}

#[test]
fn what_is_struck_for_is_heard() {
    holds("wake-all semaphore, one listens", Some(3), one_listens);
    completely(|| holds("wake-all semaphore, one listens", Some(2), one_listens));
    for mutant in ["struck before it is written", "not struck"] {
        fails("wake-all semaphore, one listens", Mutant::Model(mutant), LOST, Some(2), one_listens);
    }
}

/// The writer dies somewhere, or when it has done.
fn writer_dies(fate: Fate) {
    let [writer, main] = hall();
    let scene = Rc::clone(&main.hall.scene);
    let writing = writer.spawn(Some(fate), |writer| (1..=2).for_each(|what| writer.tell(what)));
    let heard = main.listen(usize::MAX);
    writing.join().unwrap();
    assert_eq!(heard, scene.said.take(), "what was written");
}

#[test]
fn a_death_strikes_by_itself_and_for_what_was_written() {
    completely(|| {
        let name = "wake-all semaphore, the writer dies";
        holds_for_every_end(name, Some(2), End::Killed, writer_dies);
        for mutant in [Mutant::Model("no credit"), Mutant::NoUndo] {
            fails_for_some_end(name, mutant, LOST, Some(2), End::Killed, writer_dies);
        }
    });
}

/// Another one listens, and is stopped or killed somewhere.
fn other_ends(fate: Fate) {
    let [writer, main, other] = hall();
    let other = other.spawn(Some(fate), |other| drop(other.listen(2)));
    let writing = writer.spawn(None, |writer| (1..=2).for_each(|what| writer.tell(what)));
    assert_eq!(main.listen(2), [1, 2]);
    writing.join().unwrap();
    other.join().unwrap();
}

#[test]
fn a_listener_keeps_nothing_from_another() {
    let name = "wake-all semaphore, another listener";
    holds_for_every_end(name, Some(1), End::Stopped, other_ends);
    holds_for_every_end(name, Some(1), End::Killed, other_ends);
}

/// The count is high, and wound back by both who listen.
fn count_is_wound_back() {
    let [writer, main, other] = hall();
    main.hall.system.preset(SetMap::WAKE_ALL, HIGH);
    let other = other.spawn(None, |other| assert_eq!(other.listen(1), [1]));
    let writing = writer.spawn(None, |writer| writer.tell(1));
    assert_eq!(main.listen(1), [1]);
    writing.join().unwrap();
    other.join().unwrap();
}

#[test]
fn nobody_sleeps_through_the_winding() {
    holds("wake-all semaphore, the count is wound back", Some(2), count_is_wound_back);
}
