//! Waiting for any of many: a set is woken for each of its members, whoever dies, and keeps no
//! wake-up from others, whatever becomes of it.
//!
//! A lost wake shows as loom's *deadlock*: the main thread waits.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::checker;
use crate::death::{self, End, Fate};
use crate::explore::{
    LOST, completely, fails, fails_for_some_end, holds, holds_despite, holds_for_every_end,
};
use crate::kernel::{Deadline, Process, System};
use crate::mutant::{self, Mutant};
use crate::operation::Plain;
use crate::ring::credit;
use crate::ring::event::{self, Event, Life, Memo, Wakes};
use crate::ring::kernel::{Kernel, Op, Refusal};
use crate::ring::set::SetMap;
use crate::ring::wait::set::{Kept, Mark, Members, Place, Prospect, Vigil, Watched};
use crate::ring::wait::{Heard, NotNow, Queue, Registration, Seat};
use crate::ring::wake_all;
use crate::sync::{AtomicU64, Ordering};

const LIFE: u64 = 1;
/// The table's word for a life that goes on.
const LIVE: u64 = LIFE << 32 | 1;
/// A queue, whose semaphore has a token, and a channel with a bell.
const QUEUE: usize = 0;
const BELL: usize = 1;
const MEMBERS: usize = 2;

/// One side of a channel.
struct Line {
    sem: u16,
    /// How many messages there are.
    there: AtomicU64,
    waiting: AtomicU64,
    struck: AtomicU64,
    records: Vec<AtomicU64>,
}

struct Scene {
    system: Rc<System>,
    map: SetMap,
    lines: [Line; MEMBERS],
    /// The participants that a sweep has found dead.
    dead: Vec<AtomicU64>,
    /// The table's word for everybody here.
    life: AtomicU64,
}

struct Peer {
    scene: Rc<Scene>,
    process: Process,
    id: u16,
    memos: [Cell<Memo>; MEMBERS],
    registration: Registration<Deadline>,
    kept: RefCell<Kept<Deadline>>,
    marks: [Mark; MEMBERS],
}

fn peers<const N: usize>() -> [Peer; N] {
    let map = SetMap { participants: N as u16, channels: MEMBERS as u16, own_bells: false };
    let system = Rc::new(System::new(map.count(), N));
    let words = |word: u64| (0..N).map(|_| AtomicU64::new(word)).collect();
    let line = |channel: usize| Line {
        sem: map.items(channel as u16),
        there: AtomicU64::new(0),
        waiting: AtomicU64::new(0),
        struck: AtomicU64::new(0),
        records: words(event::record(LIFE)),
    };
    let scene = Rc::new(Scene {
        system: Rc::clone(&system),
        map,
        lines: [line(QUEUE), line(BELL)],
        dead: words(0),
        life: AtomicU64::new(LIVE),
    });
    let peers: [Peer; N] = core::array::from_fn(|id| Peer {
        scene: Rc::clone(&scene),
        process: Process { system: Rc::clone(&system), id },
        id: id as u16,
        memos: Default::default(),
        registration: Registration::new(None),
        kept: RefCell::new(Kept::new(None)),
        marks: Default::default(),
    });
    for peer in &peers {
        for sem in [SetMap::WAKE_ALL, map.items(QUEUE as u16), map.items(BELL as u16)] {
            credit::arm(&peer.process, sem).unwrap();
        }
        peer.process.semop(&[Op::add(map.liveness(peer.id), 1).undo()], None).unwrap();
    }
    peers
}

impl Peer {
    fn line(&self, at: usize) -> &Line {
        &self.scene.lines[at]
    }

    fn event(&self, at: usize) -> Event<'_> {
        let Line { waiting, struck, sem, .. } = self.line(at);
        let wakes = if at == BELL { Wakes::All { struck } } else { Wakes::One };
        Event { waiting, sem: *sem, wakes, watch: None }
    }

    /// Publishes one message and tells those who wait.
    fn tell(&self, at: usize) {
        // As the swap of a slot that has the message beside it.
        self.line(at).there.fetch_add(1, Ordering::Release);
        let mut memo = self.memos[at].get();
        event::notify(&self.process, self.event(at), &mut memo).unwrap();
        self.memos[at].set(memo);
    }

    fn there(&self, at: usize) -> bool {
        self.line(at).there.load(Ordering::Acquire) > 0
    }

    /// Takes a message of the queue, if there is one.
    fn take(&self) -> bool {
        let one_less = |there: u64| there.checked_sub(1);
        let there = &self.line(QUEUE).there;
        there.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_less).is_ok()
    }

    fn is_dead(&self, id: usize) -> bool {
        self.scene.dead[id].load(Ordering::Acquire) != 0
    }

    /// `Participant::listen_to_all`, and what a sweep does for these lines.
    fn listen(&self, values: &mut Vec<u16>) {
        let Scene { map, dead, lines, .. } = &*self.scene;
        values.clear();
        values.resize(usize::from(map.count()), 0);
        self.process.values(values).unwrap();
        for id in 0..map.participants {
            let buried = &dead[usize::from(id)];
            if values[usize::from(map.liveness(id))] == 0 && buried.load(Ordering::Acquire) == 0 {
                buried.store(1, Ordering::Release);
                for (at, line) in lines.iter().enumerate() {
                    let alive = |id: &usize| dead[*id].load(Ordering::Acquire) == 0;
                    let record = |id: usize| line.records[id].load(Ordering::Acquire);
                    let recorded = |id| event::recorded(record(id), LIFE);
                    let living = || (0..dead.len()).filter(alive).map(recorded).sum();
                    event::settle(&line.waiting, living);
                    let value = values[usize::from(line.sem)];
                    event::tell_of_death(&self.process, self.event(at), value).unwrap();
                }
            }
        }
    }

    fn life(&self) -> Life<'_> {
        Life::new(&self.scene.life, LIFE)
    }

    /// Waits for any member of which this says something.
    fn watch(
        &self,
        until: Option<Deadline>,
        so: impl Fn(usize) -> Prospect,
    ) -> Option<[Prospect; MEMBERS]> {
        let mut watching = Watching { peer: self, so, found: [Prospect::Nothing; MEMBERS] };
        let mut kept = self.kept.borrow_mut();
        match Vigil::new(&self.process, &mut kept, until).block(&mut watching) {
            Ok(Watched::Ready) => Some(watching.found),
            Ok(Watched::TimedOut) => None,
            Err(refusal) => panic!("the set is still there: {refusal:?}"),
        }
    }

    /// Waits until there is something somewhere.
    fn watch_all(&self, until: Option<Deadline>) -> Option<[Prospect; MEMBERS]> {
        self.watch(until, |at| if self.there(at) { Prospect::Ready } else { Prospect::Nothing })
    }

    /// A set that takes one message of the queue.
    fn watch_and_take(&self) {
        while !self.take() {
            self.watch_all(None);
        }
        self.let_go();
    }

    /// Waits for a message of the queue, as an ordinary receiver.
    fn receive(&self) {
        let line = self.line(QUEUE);
        let attempt = || if self.take() { Ok(()) } else { Err(NotNow::Nothing) };
        let more = || self.there(QUEUE);
        let mut values = Vec::new();
        let look = |sem: u16| {
            self.listen(&mut values);
            Heard { own: values[usize::from(sem)], wake_all: None }
        };
        let seat = Seat {
            queue: Queue::Side(self.event(QUEUE)),
            record: &line.records[usize::from(self.id)],
            life: self.life(),
            registration: &self.registration,
        };
        Plain { attempt, more, look, owed: None }.wait(&self.process, seat);
    }

    fn place(&self, at: usize) -> Place<'_> {
        Place {
            queue: Queue::Side(self.event(at)),
            record: &self.line(at).records[usize::from(self.id)],
            life: self.life(),
            mark: &self.marks[at],
            watch: None,
        }
    }

    fn let_go(&self) {
        self.kept.borrow_mut().let_go((0..MEMBERS).map(|at| self.place(at)));
    }

    fn at_rest(&self) {
        for line in &self.scene.lines {
            assert_eq!(line.waiting.load(Ordering::Acquire) as u32, 0, "somebody is counted");
        }
    }

    fn spawn(
        self,
        fate: Option<Fate>,
        life: impl FnOnce(&Self) + 'static,
    ) -> checker::thread::JoinHandle<()> {
        checker::thread::spawn(move || {
            let _ = death::mortal(&self.process, fate, || life(&self));
        })
    }
}

struct Watching<'a, S> {
    peer: &'a Peer,
    so: S,
    found: [Prospect; MEMBERS],
}

impl<S: Fn(usize) -> Prospect> Members for Watching<'_, S> {
    type Fault = Refusal;

    fn count(&self) -> usize {
        MEMBERS
    }

    fn place(&self, at: usize) -> Option<Place<'_>> {
        Some(self.peer.place(at))
    }

    fn look(&mut self, at: usize) -> Prospect {
        self.found[at] = (self.so)(at);
        // It ends the wait all the same.
        if mutant::has("the set keeps its token") { Prospect::Nothing } else { self.found[at] }
    }

    fn is_called(&mut self) -> bool {
        let found = |at| (self.so)(at) != Prospect::Nothing;
        let late = mutant::has("the set keeps its token") && (0..MEMBERS).any(found);
        if late {
            self.found = core::array::from_fn(&self.so);
        }
        late
    }

    fn listen(&mut self, values: &mut Vec<u16>) -> Result<(), Refusal> {
        self.peer.listen(values);
        if mutant::has("a token is taken before the announcement") {
            let Line { sem, .. } = self.peer.line(QUEUE);
            let token = &mut values[usize::from(*sem)];
            let take = [Op::take(*sem, *token as i16).no_wait()];
            if *token > 0 && self.peer.process.semop(&take, None).is_ok() {
                *token = 0;
            }
        }
        Ok(())
    }

    fn owes(&mut self, _: usize, refusal: Refusal) {
        panic!("nothing is refused here: {refusal:?}");
    }

    fn fault(&self, refusal: Refusal) -> Refusal {
        refusal
    }
}

/// One tells here, one there; one waits for both.
fn either() {
    let [one, two, main] = peers();
    let telling = [(one, QUEUE), (two, BELL)]
        .map(|(teller, at)| teller.spawn(None, move |teller| teller.tell(at)));
    let missing = Cell::new([true; MEMBERS]);
    while missing.get() != [false; MEMBERS] {
        let new = |at: usize| missing.get()[at] && main.there(at);
        let so = |at| if new(at) { Prospect::Ready } else { Prospect::Nothing };
        let found = main.watch(None, so).unwrap();
        let still = |at: usize| missing.get()[at] && found[at] == Prospect::Nothing;
        missing.set(core::array::from_fn(still));
    }
    telling.into_iter().for_each(|teller| teller.join().unwrap());
    main.let_go();
    main.at_rest();
}

#[test]
fn a_message_for_any_member_wakes_the_set() {
    let name = "wait set, either";
    holds(name, Some(2), either);
    completely(|| holds(name, Some(1), either));
    for mutant in [Mutant::NoLightFence, Mutant::NoHeavyFence] {
        fails(name, mutant, LOST, Some(2), either);
    }
    fails(name, Mutant::Model("one member is not compared"), LOST, Some(2), either);
}

/// The same, and time goes on afterwards.
fn in_time() {
    let [teller, main] = peers();
    main.scene.system.will_settle();
    let telling = teller.spawn(None, |teller| {
        teller.tell(QUEUE);
        teller.scene.system.settle();
    });
    main.watch_all(None).unwrap();
    telling.join().unwrap();
    main.let_go();
    main.at_rest();
}

#[test]
fn a_set_looks_twice_whom_the_fence_leaves_out() {
    let name = "wait set, in time";
    holds(name, Some(2), in_time);
    for mutant in [Mutant::NoLightFence, Mutant::NoHeavyFence] {
        holds_despite(name, mutant, Some(2), in_time);
    }
    fails(name, Mutant::NoSecondLook, LOST, Some(2), in_time);
}

/// One set waits twice, and stays counted in between; another word each time.
fn one_stays(at: usize) {
    let [teller, main] = peers();
    main.scene.system.returns();
    let telling = teller.spawn(None, move |teller| {
        teller.tell(at);
        teller.tell(at);
    });
    for seen in 0..2 {
        let new = || main.line(at).there.load(Ordering::Acquire) > seen;
        let so = |which| if which == at && new() { Prospect::Ready } else { Prospect::Nothing };
        main.watch(None, so).unwrap();
    }
    telling.join().unwrap();
    main.let_go();
    main.at_rest();
}

#[test]
fn a_set_that_stays_counted_is_woken() {
    for at in [QUEUE, BELL] {
        holds("wait set, one stays", Some(2), move || one_stays(at));
    }
}

/// A member in vain has had its token, and is told of the next message all the same.
pub(super) fn woken_in_vain() {
    let [teller, main] = peers();
    let telling = teller.spawn(None, |teller| {
        teller.tell(QUEUE);
        teller.tell(QUEUE);
    });
    let so = |at: usize| match main.line(at).there.load(Ordering::Acquire) {
        2.. => Prospect::Ready,
        _ => Prospect::Nothing,
    };
    main.watch(None, so).unwrap();
    telling.join().unwrap();
    main.let_go();
    main.at_rest();
}

#[test]
fn a_set_that_was_woken_in_vain_is_woken_again() {
    let name = "wait set, woken in vain";
    completely(|| {
        holds(name, Some(2), woken_in_vain);
        for mutant in ["not announced again", "no fence after the next version"] {
            fails(name, Mutant::Model(mutant), LOST, Some(2), woken_in_vain);
        }
    });
}

/// A set beside an ordinary receiver, and a message for each.
fn beside_a_receiver() {
    let [teller, main, other] = peers();
    let other = other.spawn(None, Peer::watch_and_take);
    let telling = teller.spawn(None, |teller| {
        teller.tell(QUEUE);
        teller.tell(QUEUE);
    });
    main.receive();
    telling.join().unwrap();
    other.join().unwrap();
    main.at_rest();
}

#[test]
fn a_set_and_a_receiver_are_both_woken() {
    holds("wait set, beside a receiver", Some(2), beside_a_receiver);
}

/// Two sets, and a message for each.
fn two_sets() {
    let [teller, main, other] = peers();
    let other = other.spawn(None, Peer::watch_and_take);
    let telling = teller.spawn(None, |teller| {
        teller.tell(QUEUE);
        teller.tell(QUEUE);
    });
    main.watch_and_take();
    telling.join().unwrap();
    other.join().unwrap();
    main.at_rest();
}

#[test]
fn two_sets_are_both_woken() {
    holds("wait set, two sets", Some(1), two_sets);
}

/// One message, of which a set learns that leaves it where it is.
fn a_set_that_takes_nothing() {
    let [teller, main, other] = peers();
    let telling = teller.spawn(None, move |teller| {
        teller.tell(QUEUE);
        teller.scene.system.tick();
    });
    let other = other.spawn(None, |other| {
        other.watch_all(Some(Deadline(1)));
        other.let_go();
    });
    main.receive();
    telling.join().unwrap();
    other.join().unwrap();
    main.at_rest();
}

#[test]
fn a_set_keeps_no_wake_from_others() {
    let name = "wait set, takes nothing";
    holds(name, Some(2), a_set_that_takes_nothing);
    let mutant = Mutant::Model("the set keeps its token");
    fails(name, mutant, LOST, Some(2), a_set_that_takes_nothing);
}

/// The teller dies somewhere: its death or its message ends the wait.
fn a_teller_dies(at: usize, fate: Fate) {
    let [teller, main] = peers();
    let telling = teller.spawn(Some(fate), move |teller| teller.tell(at));
    let so = |which: usize| {
        if which == at && main.there(at) {
            Prospect::Ready
        } else if main.is_dead(0) {
            Prospect::Over
        } else {
            Prospect::Nothing
        }
    };
    main.watch(None, so).unwrap();
    telling.join().unwrap();
    main.let_go();
    main.at_rest();
}

#[test]
fn a_death_ends_the_wait() {
    let name = "wait set, a teller dies";
    let queue = |fate| a_teller_dies(QUEUE, fate);
    holds_for_every_end(name, Some(2), End::Killed, queue);
    holds_for_every_end(name, Some(2), End::Killed, |fate| a_teller_dies(BELL, fate));
    fails_for_some_end(name, Mutant::NoUndo, LOST, Some(2), End::Killed, queue);
}

/// The set dies somewhere, and a message is for another.
fn a_set_dies(fate: Fate) {
    let [teller, main, other] = peers();
    let other = other.spawn(Some(fate), |other| {
        other.watch_all(None);
        other.let_go();
    });
    let telling = teller.spawn(None, |teller| teller.tell(QUEUE));
    main.receive();
    telling.join().unwrap();
    // It may have slept when the message was gone.
    main.tell(QUEUE);
    other.join().unwrap();
}

#[test]
fn a_set_that_dies_keeps_no_wake_from_others() {
    holds_for_every_end("wait set, a set dies", Some(1), End::Killed, a_set_dies);
}

/// The set is stopped somewhere, and a message is for another: if not the first, then the next.
fn a_set_is_stopped(fate: Fate) {
    let [teller, main, other] = peers();
    let telling = teller.spawn(None, move |teller| {
        teller.tell(QUEUE);
        let other = other.spawn(Some(fate), |other| {
            other.watch_all(Some(Deadline(1)));
            other.let_go();
        });
        teller.scene.system.tick();
        other.join().unwrap();
        teller.tell(QUEUE);
    });
    main.receive();
    telling.join().unwrap();
}

#[test]
fn a_set_that_is_stopped_keeps_a_wake_until_the_next_one_at_most() {
    let name = "wait set, a set is stopped";
    holds_for_every_end(name, Some(2), End::Stopped, a_set_is_stopped);
    let mutant = Mutant::Model("a token is taken before the announcement");
    completely(|| {
        fails_for_some_end(name, mutant, LOST, Some(2), End::Stopped, a_set_is_stopped);
    });
}
