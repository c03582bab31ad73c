//! Calls: each is served once, each client gets its own answer, and a slot is never in two
//! hands, whoever gives up, is killed or is stopped.
//!
//! Here is no kernel: a death is known to whoever reads the table's word, which the dying
//! thread itself changes once it has ended. How a client sleeps is in [`sleep`].

mod sleep;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use loom::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use crate::death::{self, End, Fate};
use crate::explore::{completely, fails, fails_for_some_end, holds, holds_for_every_end};
use crate::mutant::{self, Mutant};
use crate::ring::calls::{
    self as ring, Call, CallWord, GivenUp, InHand, LetGo, Look, Outcome, Phase, Words,
};
use crate::ring::recovery::Repairing;
use crate::ring::set::SetMap;
use crate::ring::table::{Member, MemberState, MemberWord, Table};
use crate::sync::AtomicU64;

const FIRST: u64 = 1;
/// What a server adds to a request.
const ANSWER: u64 = 100;

/// Call slots, the table's words, and what the model itself knows.
pub(super) struct Scene {
    slots: Vec<AtomicU64>,
    shown: AtomicU64,
    requests: Vec<loom::cell::Cell<u64>>,
    answers: Vec<loom::cell::Cell<u64>>,
    words: Vec<AtomicU64>,
    /// Whether the servers have closed their handles.
    closed: AtomicU64,
    /// The requests that servers have begun to serve.
    served: RefCell<Vec<u64>>,
}

impl Table for Scene {
    fn map(&self) -> SetMap {
        SetMap { participants: self.words.len() as u16, channels: 1, own_bells: true }
    }

    fn word(&self, id: u16) -> &AtomicU64 {
        &self.words[usize::from(id)]
    }
}

impl Words for Scene {
    fn slots(&self) -> u64 {
        self.slots.len() as u64
    }

    fn slot(&self, index: u64) -> &AtomicU64 {
        &self.slots[index as usize]
    }

    fn shown(&self, _: u64) -> &AtomicU64 {
        &self.shown
    }
}

const fn word(state: MemberState, incarnation: u64) -> u64 {
    MemberWord { state, incarnation }.word()
}

/// How a call has ended for its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Answered,
    Failed,
    Refused,
    Unserved,
    /// Given up while a server has it.
    Left,
}

/// One who calls or serves.
struct At<'a> {
    scene: &'a Scene,
    me: u16,
    hint: Cell<u64>,
}

impl Scene {
    fn new(slots: usize, participants: usize) -> Rc<Self> {
        let cells = || (0..slots).map(|_| loom::cell::Cell::new(0)).collect();
        let live = word(MemberState::Live, FIRST);
        Rc::new(Self {
            slots: (0..slots).map(|_| AtomicU64::new(0)).collect(),
            shown: AtomicU64::new(0),
            requests: cells(),
            answers: cells(),
            words: (0..participants).map(|_| AtomicU64::new(live)).collect(),
            closed: AtomicU64::new(0),
            served: RefCell::default(),
        })
    }

    fn at(&self, me: u16) -> At<'_> {
        At { scene: self, me, hint: Cell::new(0) }
    }

    /// The part of a look for a participant that the kernel says has ended.
    fn mark(&self, id: u16) {
        let (live, dead) = (word(MemberState::Live, FIRST), word(MemberState::Dead, FIRST));
        self.word(id).compare_exchange(live, dead, AcqRel, Acquire).unwrap();
    }

    /// Sweeps `id` if it is dead, and frees its slot of the table.
    fn sweep(&self, id: u16) -> bool {
        let dead = Member { id, incarnation: FIRST };
        if !dead.is_dead(self) {
            return false;
        }
        let still_dead = || mutant::has("whoever was dead still is") || dead.is_dead(self);
        if ring::recover(self, id, &Repairing(still_dead)).is_err() {
            return false;
        }
        let (dead, free) = (word(MemberState::Dead, FIRST), word(MemberState::Free, FIRST));
        let _ = self.word(id).compare_exchange(dead, free, AcqRel, Acquire);
        true
    }

    /// One life. Once it has ended, however it did, everybody may know. Says whether it ended
    /// before its time.
    fn live(&self, id: u16, fate: Fate, life: impl FnOnce()) -> bool {
        let lived = death::mortal_with(|| {}, Some(fate), life).is_some();
        if fate.end == End::Killed {
            self.mark(id);
        }
        !lived
    }

    fn seen(&self, index: u64) -> CallWord {
        CallWord::read(self.slot(index).load(Relaxed))
    }

    /// No call is served twice.
    fn once(&self) {
        let mut served = self.served.borrow().clone();
        served.sort_unstable();
        assert!(served.windows(2).all(|two| two[0] != two[1]), "served twice: {served:?}");
    }

    /// When everybody has gone: but for those in `kept`, the slots do what new ones do.
    fn settle(&self, kept: u64) {
        assert_eq!(ring::count(self, Phase::Free), self.slots() - kept, "a slot is kept");
        assert_eq!(ring::room(self), self.slots() > kept);
        self.served.borrow_mut().clear();
        let at = self.at(self.words.len() as u16);
        let calls: Vec<_> =
            (kept..self.slots()).map(|request| (request, at.call(request, 0).unwrap())).collect();
        assert!(at.call(9, 0).is_none());
        assert_eq!(ring::available(self), !calls.is_empty());
        let in_hand: Vec<_> = calls.iter().map(|_| at.take().unwrap()).collect();
        assert!(!ring::available(self) && at.take().is_none());
        in_hand.into_iter().rev().for_each(|call| assert_eq!(at.answer(call), LetGo::Over(None)));
        for (request, call) in calls {
            assert_eq!(at.hear(request, call).ok(), Some(Ended::Answered));
        }
        assert_eq!(ring::count(self, Phase::Free), self.slots() - kept);
    }
}

impl At<'_> {
    /// Calls, if a slot is free.
    fn call(&self, request: u64, again: u8) -> Option<Call> {
        let draft = ring::claim(self.scene, &self.hint, self.me)?;
        self.scene.requests[draft.index as usize].set(request);
        Some(ring::open(self.scene, draft, again).expect("nobody took it away"))
    }

    /// Looks for the answer, and finishes the call if it has ended.
    fn hear(&self, request: u64, call: Call) -> Result<Ended, Call> {
        let ended = match ring::look(self.scene, &call) {
            Look::Open | Look::Taken(_) => return Err(call),
            Look::Answered => {
                let answer = self.scene.answers[call.index as usize].get();
                assert_eq!(answer, request + ANSWER, "another call's answer");
                Ended::Answered
            }
            Look::Failed(_) => Ended::Failed,
            Look::Refused(_) => Ended::Refused,
            Look::Lost(word) => panic!("lost: {:?}", CallWord::read(word)),
        };
        ring::finish(self.scene, call);
        Ok(ended)
    }

    /// The same, and gives the call up if it has not ended.
    fn end(&self, request: u64, call: Call) -> Ended {
        let call = match self.hear(request, call) {
            Ok(ended) => return ended,
            Err(call) => call,
        };
        match ring::give_up(self.scene, &call) {
            GivenUp::Unserved => Ended::Unserved,
            GivenUp::Served => {
                if mutant::has("a slot is free once its client has gone") {
                    let seen = self.scene.seen(call.index);
                    let free = CallWord { turn: seen.turn + 1, ..CallWord::read(0) }.word();
                    let slot = self.scene.slot(call.index);
                    let _ = slot.compare_exchange(seen.word(), free, AcqRel, Acquire);
                }
                Ended::Left
            }
            GivenUp::Over => self.hear(request, call).expect("it has ended"),
            GivenUp::Lost(word) => panic!("lost: {:?}", CallWord::read(word)),
        }
    }

    /// Calls, looks once and gives up.
    fn ask(&self, request: u64, again: u8) -> Option<Ended> {
        self.call(request, again).map(|call| self.end(request, call))
    }

    fn take(&self) -> Option<InHand> {
        let call = ring::take(self.scene, &self.hint, self.me)?;
        let request = self.scene.requests[call.index as usize].get();
        self.scene.served.borrow_mut().push(request);
        Some(call)
    }

    fn answer(&self, call: InHand) -> LetGo {
        let index = call.index as usize;
        let request = self.scene.requests[index].get();
        self.scene.answers[index].set(request + ANSWER);
        ring::let_go(self.scene, call, Outcome::Answered)
    }

    /// Serves one call, if one is open.
    fn serve(&self) -> Option<LetGo> {
        let let_go = self.take().map(|call| self.answer(call));
        if let Some(LetGo::Lost(word)) = let_go {
            panic!("lost: {:?}", CallWord::read(word));
        }
        let_go
    }
}

/// A client calls twice, and gives up what is not answered when it looks; a server serves.
pub(super) fn one_and_one() {
    let scene = Scene::new(1, 2);
    let serving = Rc::clone(&scene);
    let serving = loom::thread::spawn(move || {
        let at = serving.at(1);
        at.serve();
        at.serve();
    });
    let at = scene.at(0);
    for request in 1..3 {
        at.ask(request, 0);
    }
    serving.join().unwrap();
    scene.once();
    scene.settle(0);
}

/// The second call is another client's: nothing but the slot connects it with the first.
pub(super) fn one_after_another() {
    let scene = Scene::new(1, 3);
    let asking = Rc::clone(&scene);
    let asking = loom::thread::spawn(move || asking.at(0).ask(1, 0));
    let serving = Rc::clone(&scene);
    let serving = loom::thread::spawn(move || serving.at(1).serve());
    scene.at(2).ask(2, 0);
    asking.join().unwrap();
    serving.join().unwrap();
    scene.once();
    scene.settle(0);
}

/// The same with a slot for each, and a server for both.
pub(super) fn two_clients() {
    let scene = Scene::new(2, 3);
    let asking = Rc::clone(&scene);
    let asking = loom::thread::spawn(move || asking.at(0).ask(1, 0).expect("a slot for each"));
    let serving = Rc::clone(&scene);
    let serving = loom::thread::spawn(move || {
        let at = serving.at(1);
        at.serve();
        at.serve();
    });
    scene.at(2).ask(2, 0).expect("a slot for each");
    asking.join().unwrap();
    serving.join().unwrap();
    scene.once();
    scene.settle(0);
}

#[test]
fn every_client_gets_its_own_answer() {
    completely(|| {
        holds("calls, one and one", Some(2), one_and_one);
        holds("calls, one after another", Some(2), one_after_another);
        holds("calls, two clients", Some(1), two_clients);
        let free = Mutant::Model("a slot is free once its client has gone");
        fails("calls, one after another", free, "", Some(2), one_after_another);
    });
}

/// One client with two calls at once, and two servers. One of them takes both, if it can, and
/// answers the later one first.
pub(super) fn two_servers() {
    let scene = Scene::new(2, 3);
    let at = scene.at(0);
    let calls = [1, 2].map(|request| (request, at.call(request, 0).unwrap()));
    let serving = Rc::clone(&scene);
    let serving = loom::thread::spawn(move || serving.at(1).serve().is_some());
    let other = Rc::clone(&scene);
    let other = loom::thread::spawn(move || {
        let at = other.at(2);
        let (first, second) = (at.take(), at.take());
        let mut answered = 0;
        for call in [second, first].into_iter().flatten() {
            at.answer(call);
            answered += 1;
        }
        answered
    });
    let served = usize::from(serving.join().unwrap()) + other.join().unwrap();
    assert_eq!(served, 2, "an open call was not seen");
    for (request, call) in calls {
        assert_eq!(at.hear(request, call).ok(), Some(Ended::Answered));
    }
    scene.once();
    scene.settle(0);
}

/// A server gives a call back and another one takes it; it refuses the next one.
pub(super) fn given_back() {
    let scene = Scene::new(1, 3);
    let at = scene.at(0);
    let call = at.call(1, 0).unwrap();
    let serving = Rc::clone(&scene);
    let serving = loom::thread::spawn(move || {
        let at = serving.at(1);
        let call = ring::take(&*serving, &at.hint, 1)?;
        Some(ring::let_go(&*serving, call, Outcome::GivenBack))
    });
    let other = Rc::clone(&scene);
    let other = loom::thread::spawn(move || {
        let call = other.at(2).take()?;
        Some(ring::let_go(&*other, call, Outcome::Refused))
    });
    let ended = at.hear(1, call);
    let back = serving.join().unwrap();
    let refused = other.join().unwrap();
    assert!(back.is_some() || refused.is_some(), "an open call was not seen");
    match (ended, refused) {
        (Ok(Ended::Refused), Some(LetGo::Over(None))) => {}
        (Err(call), Some(LetGo::Over(None))) => {
            assert_eq!(at.hear(1, call).ok(), Some(Ended::Refused));
        }
        (Err(call), None) => {
            // It was in the first one's hands when the other one looked.
            assert!(scene.at(2).serve().is_some(), "what is given back is not seen");
            assert_eq!(at.hear(1, call).ok(), Some(Ended::Answered));
        }
        other => panic!("{other:?}"),
    }
    scene.once();
    scene.settle(0);
}

/// Bits are cleared while others are set, and a client calls again: no open call is hidden.
pub(super) fn one_is_hidden() {
    let scene = Scene::new(2, 3);
    let at = scene.at(0);
    let [first, second] = [1, 2].map(|request| at.call(request, 0).unwrap());
    let serving = Rc::clone(&scene);
    let serving = loom::thread::spawn(move || {
        let at = serving.at(1);
        (0..3).for_each(|_| {
            at.serve();
        });
    });
    let mut calls = vec![(2, second)];
    match at.hear(1, first) {
        Ok(ended) => {
            assert_eq!(ended, Ended::Answered);
            calls.push((3, at.call(3, 0).unwrap()));
        }
        Err(first) => calls.push((1, first)),
    }
    serving.join().unwrap();
    let other = scene.at(2);
    while other.serve().is_some() {}
    for (request, call) in calls {
        let ended = at.hear(request, call).ok();
        assert_eq!(ended, Some(Ended::Answered), "an open call was not seen");
    }
    scene.once();
    scene.settle(0);
}

#[test]
fn every_call_is_served_once() {
    completely(|| {
        holds("calls, one is hidden", Some(2), one_is_hidden);
        holds("calls, two servers", Some(2), two_servers);
        holds("calls, given back", Some(2), given_back);
    });
}

/// A client dies somewhere, while a server serves and another one sweeps.
pub(super) fn client_dies(fate: Fate) {
    let scene = Scene::new(1, 3);
    let dying = Rc::clone(&scene);
    let dying = loom::thread::spawn(move || {
        dying.live(0, fate, || {
            let at = dying.at(0);
            if let Some(call) = at.call(1, 1) {
                ring::doze(&*dying, &call);
                at.end(1, call);
            }
        });
        dying.sweep(0);
    });
    let sweeping = Rc::clone(&scene);
    let sweeping = loom::thread::spawn(move || sweeping.sweep(0));
    let at = scene.at(1);
    let in_hand = at.take();
    let again = scene.at(2).ask(2, 0);
    if let Some(call) = in_hand {
        assert!(again.is_none(), "a slot in two hands");
        assert!(!matches!(at.answer(call), LetGo::Lost(_) | LetGo::Open(_)));
    }
    dying.join().unwrap();
    sweeping.join().unwrap();
    scene.once();
    scene.settle(0);
}

#[test]
fn a_dead_client_costs_its_server_nothing() {
    completely(|| {
        holds_for_every_end("calls, the client dies", Some(1), End::Killed, client_dies);
    });
}

/// Participant 1 serves in a thread, may die over it, and is swept. The thread says whether it
/// has died.
fn serves_and_dies(scene: &Rc<Scene>, fate: Fate) -> loom::thread::JoinHandle<bool> {
    let scene = Rc::clone(scene);
    loom::thread::spawn(move || {
        let ended = scene.live(1, fate, || {
            scene.at(1).serve();
        });
        scene.sweep(1);
        ended
    })
}

/// A server dies somewhere in its call and is swept, and its client goes to sleep meanwhile.
pub(super) fn server_dies(fate: Fate) {
    let scene = Scene::new(1, 2);
    let at = scene.at(0);
    let call = at.call(1, 0).unwrap();
    let dying = serves_and_dies(&scene, fate);
    ring::doze(&*scene, &call);
    // It may have ended without anybody having swept it.
    scene.sweep(1);
    let ended = dying.join().unwrap();
    let served = !scene.served.borrow().is_empty();
    match at.end(1, call) {
        Ended::Answered => assert!(served),
        Ended::Failed => assert!(ended),
        Ended::Unserved => assert!(ended && !served, "nobody says that the server is dead"),
        other => panic!("{other:?}"),
    }
    scene.settle(0);
}

/// The same where the call may be repeated, and another server serves.
pub(super) fn server_dies_and_another_serves(fate: Fate) {
    let scene = Scene::new(1, 3);
    let at = scene.at(0);
    let call = at.call(1, 1).unwrap();
    let dying = serves_and_dies(&scene, fate);
    let sweeping = Rc::clone(&scene);
    let sweeping = loom::thread::spawn(move || sweeping.sweep(1));
    let other = scene.at(2);
    other.serve();
    dying.join().unwrap();
    sweeping.join().unwrap();
    // Two sweeps of one death are one death.
    other.serve();
    assert_eq!(at.hear(1, call).ok(), Some(Ended::Answered));
    assert!(scene.served.borrow().len() <= 2);
    scene.settle(0);
}

/// Its client gives up meanwhile.
pub(super) fn server_dies_over_a_call_given_up(fate: Fate) {
    let scene = Scene::new(1, 3);
    let at = scene.at(0);
    let call = at.call(1, 1).unwrap();
    let dying = serves_and_dies(&scene, fate);
    at.end(1, call);
    scene.at(2).ask(2, 0);
    dying.join().unwrap();
    scene.sweep(1);
    scene.settle(0);
}

/// The sweeper of a dead server dies too.
pub(super) fn sweeper_dies(fate: Fate) {
    let scene = Scene::new(2, 4);
    let at = scene.at(0);
    let calls = [1, 2].map(|request| (request, at.call(request, 1).unwrap()));
    let _ = scene.at(1).take().unwrap();
    scene.mark(1);
    let dying = Rc::clone(&scene);
    let dying = loom::thread::spawn(move || {
        dying.live(2, fate, || {
            dying.sweep(1);
        });
    });
    scene.sweep(1);
    dying.join().unwrap();
    scene.sweep(1);
    scene.sweep(2);
    let other = scene.at(3);
    while other.serve().is_some() {}
    for (request, call) in calls {
        let ended = at.hear(request, call).ok();
        assert_eq!(ended, Some(Ended::Answered), "an open call was not seen");
    }
    scene.settle(0);
}

/// A server dies somewhere while it gives a call back.
pub(super) fn giver_dies(fate: Fate) {
    let scene = Scene::new(2, 3);
    let at = scene.at(0);
    let calls = [1, 2].map(|request| (request, at.call(request, 1).unwrap()));
    let dying = Rc::clone(&scene);
    let dying = loom::thread::spawn(move || {
        dying.live(1, fate, || {
            let call = ring::take(&*dying, &Cell::new(0), 1).unwrap();
            ring::let_go(&*dying, call, Outcome::GivenBack);
        });
        dying.sweep(1);
    });
    let other = scene.at(2);
    other.serve();
    dying.join().unwrap();
    while other.serve().is_some() {}
    for (request, call) in calls {
        let ended = at.hear(request, call).ok();
        assert_eq!(ended, Some(Ended::Answered), "an open call was not seen");
    }
    scene.settle(0);
}

/// Client and server of a call die; two sweep both.
pub(super) fn both_die(fate: Fate) {
    let scene = Scene::new(1, 3);
    let calling = scene.at(0);
    let _ = calling.call(1, 1).unwrap();
    scene.mark(0);
    let dying = Rc::clone(&scene);
    let dying = loom::thread::spawn(move || {
        dying.live(1, fate, || {
            dying.at(1).serve();
        });
        dying.sweep(1);
        dying.sweep(0);
    });
    scene.sweep(0);
    scene.sweep(1);
    dying.join().unwrap();
    scene.settle(0);
}

#[test]
fn a_call_over_which_its_server_dies_fails_or_is_repeated() {
    completely(|| {
        let killed = End::Killed;
        holds_for_every_end("calls, the server dies", Some(2), killed, server_dies);
        let name = "calls, another server";
        holds_for_every_end(name, Some(1), killed, server_dies_and_another_serves);
        let name = "calls, given up";
        holds_for_every_end(name, Some(1), killed, server_dies_over_a_call_given_up);
        holds_for_every_end("calls, both die", Some(1), killed, both_die);
        holds_for_every_end("calls, the sweeper dies", Some(1), killed, sweeper_dies);
        holds_for_every_end("calls, the giver dies", Some(1), killed, giver_dies);
    });
}

/// A client is stopped somewhere. Another one and a server go on.
pub(super) fn client_is_stopped(fate: Fate) {
    let scene = Scene::new(2, 3);
    let stopped = Rc::clone(&scene);
    let stopped = loom::thread::spawn(move || {
        stopped.live(0, fate, || {
            stopped.at(0).ask(1, 0);
        })
    });
    let at = scene.at(1);
    let call = at.call(2, 0).expect("a slot for each");
    let server = scene.at(2);
    server.serve();
    server.serve();
    assert_eq!(at.hear(2, call).ok(), Some(Ended::Answered), "a stopped client is in the way");
    let stopped = stopped.join().unwrap();
    server.serve();
    let kept = scene.slots() - ring::count(&*scene, Phase::Free);
    assert!(kept <= u64::from(stopped), "a slot is kept");
    scene.once();
    if kept == 0 {
        scene.settle(0);
    }
}

/// A server is stopped somewhere. Its client gives up, and gets its next answer from another.
pub(super) fn server_is_stopped(fate: Fate) {
    let scene = Scene::new(2, 3);
    let at = scene.at(0);
    let call = at.call(1, 0).unwrap();
    let stopped = Rc::clone(&scene);
    let stopped = loom::thread::spawn(move || {
        stopped.live(1, fate, || {
            stopped.at(1).serve();
        })
    });
    at.end(1, call);
    let other = scene.at(2);
    let call = at.call(2, 0).expect("a slot beside that of the first call");
    let served = other.serve().is_some();
    let stopped = stopped.join().unwrap();
    match at.hear(2, call) {
        Ok(ended) => assert_eq!(ended, Ended::Answered),
        Err(call) => {
            assert!(stopped && !served, "a stopped server is in the way");
            assert_eq!(at.end(2, call), Ended::Left);
        }
    }
    let call = at.call(3, 0);
    if let Some(call) = call {
        assert!(other.serve().is_some(), "a stopped server is in the way");
        assert_eq!(at.hear(3, call).ok(), Some(Ended::Answered));
    }
    let kept = scene.slots() - ring::count(&*scene, Phase::Free);
    assert!(kept <= u64::from(stopped), "a slot is kept");
    scene.once();
    if kept == 0 {
        scene.settle(0);
    }
}

#[test]
fn whoever_is_stopped_keeps_its_own_call_only() {
    completely(|| {
        holds_for_every_end("calls, a stopped client", Some(1), End::Stopped, client_is_stopped);
        holds_for_every_end("calls, a stopped server", Some(1), End::Stopped, server_is_stopped);
    });
}

/// A server died over a call. One sweeper is slow; another one is done with it, and the id has
/// a next life, which serves the call.
pub(super) fn servers_id_is_used_again() {
    let scene = Scene::new(1, 2);
    let at = scene.at(1);
    let call = at.call(1, 2).unwrap();
    let _ = ring::take(&*scene, &Cell::new(0), 0).unwrap();
    scene.mark(0);
    let slow = Rc::clone(&scene);
    let slow = loom::thread::spawn(move || slow.sweep(0));
    scene.sweep(0);
    let (free, live) = (word(MemberState::Free, FIRST), word(MemberState::Live, FIRST + 1));
    if scene.word(0).compare_exchange(free, live, AcqRel, Acquire).is_ok() {
        let call = scene.at(0).take().expect("the call was opened again");
        assert_eq!(scene.at(0).answer(call), LetGo::Over(None), "{ROBBED}");
    }
    slow.join().unwrap();
    at.end(1, call);
    scene.settle(0);
}

/// The same with a client, whose next life calls.
pub(super) fn clients_id_is_used_again() {
    let scene = Scene::new(1, 2);
    let _ = scene.at(0).call(1, 0).unwrap();
    scene.mark(0);
    let slow = Rc::clone(&scene);
    let slow = loom::thread::spawn(move || slow.sweep(0));
    scene.sweep(0);
    let (free, live) = (word(MemberState::Free, FIRST), word(MemberState::Live, FIRST + 1));
    if scene.word(0).compare_exchange(free, live, AcqRel, Acquire).is_ok() {
        let draft = ring::claim(&*scene, &Cell::new(0), 0).expect("the slot was freed");
        let call = ring::open(&*scene, draft, 0).expect(ROBBED);
        assert_eq!(ring::look(&*scene, &call), Look::Open, "{ROBBED}");
        assert_eq!(ring::give_up(&*scene, &call), GivenUp::Unserved, "{ROBBED}");
    }
    slow.join().unwrap();
    scene.settle(0);
}

const ROBBED: &str = "the next life was robbed of its call";

#[test]
fn a_slow_sweep_does_not_rob_the_next_life_of_its_call() {
    completely(|| {
        let still = Mutant::Model("whoever was dead still is");
        for (name, model) in [
            ("calls, a server's id is used again", servers_id_is_used_again as fn()),
            ("calls, a client's id is used again", clients_id_is_used_again),
        ] {
            holds(name, Some(3), model);
            fails(name, still, "robbed", Some(2), model);
        }
    });
}
