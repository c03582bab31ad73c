//! How a client sleeps until its call has ended, and what wakes it.
//!
//! A lost wake shows as loom's *deadlock*: the main thread is the client.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use loom::sync::atomic::Ordering::{Acquire, Release};

use super::{Ended, FIRST, Scene};
use crate::death::{self, End, Fate};
use crate::explore::{LOST, completely, fails, fails_for_some_end, holds, holds_for_every_end};
use crate::kernel::{Deadline, Process, System};
use crate::mutant::{self, Mutant};
use crate::ring::calls::{self as ring, Call, CallWord, LetGo, Look, Outcome};
use crate::ring::credit;
use crate::ring::kernel::{Kernel, Op, Refusal};
use crate::ring::recovery::Repairing;
use crate::ring::set::SetMap;
use crate::ring::table::{self, Member, Scratch};
use crate::ring::wait::set::{Kept, Members, Place, Prospect, Vigil, Watched};
use crate::ring::wait::{Cause, Heard, NotNow, Operation, Waited};
use crate::ring::wake_all;
use crate::world::GENERATION;

/// The client; the others are servers.
const CLIENT: u16 = 0;

/// One process of a segment with call slots.
struct Peer {
    scene: Rc<Scene>,
    process: Process,
    map: SetMap,
    me: u16,
    scratch: RefCell<Scratch>,
}

/// So many processes, the first of which is the client.
fn peers<const N: usize>(slots: usize) -> [Peer; N] {
    let map = SetMap { participants: N as u16, channels: 1, own_bells: true };
    let system = Rc::new(System::new(map.count(), N));
    let scene = Scene::new(slots, N);
    let peers = core::array::from_fn(|id| Peer {
        scene: Rc::clone(&scene),
        process: Process { system: Rc::clone(&system), id },
        map,
        me: id as u16,
        scratch: RefCell::new(Scratch::new(map)),
    });
    peers[0].process.semop(&SetMap::brand(GENERATION), None).unwrap();
    for peer in &peers {
        let liveness = map.liveness(peer.me);
        peer.process.semop(&[Op::add(liveness, 1).undo()], None).unwrap();
        if !mutant::has("no credit") {
            credit::arm(&peer.process, SetMap::WAKE_ALL).unwrap();
        }
    }
    peers
}

impl Peer {
    /// The semaphore that wakes the client.
    fn bell(&self) -> u16 {
        self.map.own_bell(CLIENT).unwrap()
    }

    /// `Mapped::scan`: looks for the dead, and says what the wake-all semaphore was and what
    /// the client's was.
    fn listen(&self) -> Heard {
        let bury = |dead: Member, _: &[u16]| {
            let _ = ring::recover(&*self.scene, dead.id, &Repairing(|| dead.is_dead(&*self.scene)));
            Ok(())
        };
        let mut scratch = self.scratch.borrow_mut();
        let witness = self.map.liveness(self.me);
        table::scan(&self.process, &*self.scene, GENERATION, witness, &mut scratch, bury).unwrap();
        let wake_all = Some(scratch.heard(SetMap::WAKE_ALL));
        Heard { own: scratch.heard(self.bell()), wake_all }
    }

    /// Whether a server lives that has a handle.
    fn served(&self) -> bool {
        let open = self.scene.closed.load(Acquire) == 0;
        open && (1..self.map.participants).any(|id| {
            let member = Member { id, incarnation: FIRST };
            member.is_live(&*self.scene)
        })
    }

    /// Waits until the call has ended, no server is left, or the time is up.
    fn wait(&self, request: u64, call: Call, until: Option<Deadline>) -> Ended {
        let at = self.scene.at(self.me);
        let stale = Cell::new(None);
        let doze = || match stale.take() {
            Some((_, dozes)) => dozes,
            None => ring::doze(&*self.scene, &call) || mutant::has("it sleeps all the same"),
        };
        let mut op = UntilOver { peer: self, call: &call, stale: &stale };
        match ring::wait(&self.process, self.bell(), until, doze, &mut op) {
            Ok(Waited::Done(())) => at.hear(request, call).expect("it has ended"),
            _ => at.end(request, call),
        }
    }

    /// Serves one call, if one is open.
    fn serve(&self) {
        if let Some(LetGo::Over(Some(client))) = self.scene.at(self.me).serve() {
            assert_eq!(client, CLIENT);
            if !mutant::has("not struck") {
                ring::wake(&self.process, self.bell()).unwrap();
            }
        }
    }

    fn spawn(
        self,
        fate: Option<Fate>,
        life: impl FnOnce(&Self) + 'static,
    ) -> loom::thread::JoinHandle<bool> {
        loom::thread::spawn(move || death::mortal(&self.process, fate, || life(&self)).is_none())
    }
}

/// What a client waits for. The model has no words of a channel: who is there, it asks the
/// table each time.
struct UntilOver<'a> {
    peer: &'a Peer,
    call: &'a Call,
    /// What a client has seen that looks first and listens afterwards, and whether it dozes.
    stale: &'a Cell<Option<(Look, bool)>>,
}

impl Operation for UntilOver<'_> {
    type Done = ();
    type Fault = ();

    fn attempt(&mut self, _: bool) -> Result<(), NotNow> {
        let scene = &*self.peer.scene;
        let seen = self.stale.get().map_or_else(|| ring::look(scene, self.call), |(seen, _)| seen);
        match seen {
            // The servers first, and then the call, as the library: one may have taken it meanwhile.
            Look::Open if !self.peer.served() && ring::look(scene, self.call) == Look::Open => {
                Err(NotNow::PeersGone)
            }
            Look::Open | Look::Taken(_) => Err(NotNow::Nothing),
            Look::Answered | Look::Failed(_) | Look::Refused(_) => Ok(()),
            Look::Lost(word) => panic!("lost: {:?}", CallWord::read(word)),
        }
    }

    fn more(&self) -> bool {
        false
    }

    fn scan(&mut self, sem: u16, must: bool) -> Result<Heard, ()> {
        assert!(must && sem == self.peer.bell());
        if mutant::has("it listens after its last look") {
            let scene = &*self.peer.scene;
            let seen = ring::look(scene, self.call);
            self.stale.set(Some((seen, ring::doze(scene, self.call))));
        }
        Ok(self.peer.listen())
    }

    fn owes(&mut self, _: Refusal) {
        unreachable!("nothing is passed on");
    }

    fn fault(&self, _: Cause) {}
}

/// One serves, one waits.
fn one_waits() {
    let [client, server] = peers(1);
    let call = client.scene.at(CLIENT).call(1, 0).unwrap();
    let serving = server.spawn(None, Peer::serve);
    assert_eq!(client.wait(1, call, None), Ended::Answered);
    serving.join().unwrap();
    client.scene.settle(0);
}

#[test]
fn who_waits_for_an_answer_is_woken() {
    completely(|| {
        let name = "calls, one waits";
        holds(name, Some(3), one_waits);
        let own = ["not struck", "it listens after its last look", "it sleeps all the same"];
        for mutant in own.map(Mutant::Model) {
            fails(name, mutant, LOST, Some(3), one_waits);
        }
    });
}

/// Two threads of one process wait for a call each, over one semaphore.
fn two_wait() {
    let [client, server] = peers(2);
    let calls = [1, 2].map(|request| client.scene.at(CLIENT).call(request, 0).unwrap());
    let serving = server.spawn(None, |server| {
        server.serve();
        server.serve();
    });
    let [first, second] = calls;
    let other = Peer {
        scene: Rc::clone(&client.scene),
        process: client.process.clone(),
        map: client.map,
        me: client.me,
        scratch: RefCell::new(Scratch::new(client.map)),
    };
    let waiting = loom::thread::spawn(move || other.wait(2, second, None));
    assert_eq!(client.wait(1, first, None), Ended::Answered);
    assert_eq!(waiting.join().unwrap(), Ended::Answered);
    serving.join().unwrap();
    client.scene.settle(0);
}

#[test]
fn every_thread_of_a_client_is_woken() {
    holds("calls, two wait", Some(2), two_wait);
    fails("calls, two wait", Mutant::Model("not struck"), LOST, Some(2), two_wait);
}

/// A set that waits for one call. That is a member that is counted nowhere.
struct Watching<'a> {
    peer: &'a Peer,
    call: &'a Call,
}

impl Members for Watching<'_> {
    type Fault = Refusal;

    fn count(&self) -> usize {
        1
    }

    fn place(&self, _: usize) -> Option<Place<'_>> {
        None
    }

    fn look(&mut self, _: usize) -> Prospect {
        let scene = &*self.peer.scene;
        match ring::look(scene, self.call) {
            Look::Open if !self.peer.served() => Prospect::Over,
            Look::Open | Look::Taken(_) => {
                let dozes =
                    mutant::has("its look announces nothing") || ring::doze(scene, self.call);
                if dozes { Prospect::Nothing } else { Prospect::Ready }
            }
            Look::Answered | Look::Failed(_) | Look::Refused(_) => Prospect::Ready,
            Look::Lost(word) => panic!("lost: {:?}", CallWord::read(word)),
        }
    }

    fn is_called(&mut self) -> bool {
        false
    }

    fn listen(&mut self, values: &mut Vec<u16>) -> Result<(), Refusal> {
        self.peer.listen();
        self.peer.scratch.borrow().copy_into(values);
        Ok(())
    }

    fn owes(&mut self, _: usize, _: Refusal) {
        unreachable!("nothing is passed on");
    }

    fn fault(&self, refusal: Refusal) -> Refusal {
        refusal
    }
}

impl Peer {
    /// Waits by a set until the call is over.
    fn watch(&self, request: u64, call: Call) -> Ended {
        let mut kept = Kept::new(Some(self.bell()));
        let mut watching = Watching { peer: self, call: &call };
        let watched = Vigil::new(&self.process, &mut kept, None).block(&mut watching);
        assert_eq!(watched, Ok(Watched::Ready));
        let at = self.scene.at(self.me);
        match ring::look(&*self.scene, &call) {
            Look::Open | Look::Taken(_) => at.end(request, call),
            _ => at.hear(request, call).expect("it has ended"),
        }
    }
}

/// One serves, and a set waits.
fn a_set_waits() {
    let [client, server] = peers(1);
    let call = client.scene.at(CLIENT).call(1, 0).unwrap();
    let serving = server.spawn(None, Peer::serve);
    assert_eq!(client.watch(1, call), Ended::Answered);
    serving.join().unwrap();
    client.scene.settle(0);
}

#[test]
fn a_set_that_waits_for_a_call_is_woken() {
    let name = "calls, a set waits";
    holds(name, Some(2), a_set_waits);
    for mutant in ["not struck", "its look announces nothing"].map(Mutant::Model) {
        fails(name, mutant, LOST, Some(2), a_set_waits);
    }
}

/// The server dies somewhere: before it has the call, over it, or between answering and waking.
fn its_server_dies(fate: Fate, wait: impl FnOnce(&Peer, Call) -> Ended) {
    let [client, server] = peers(1);
    let call = client.scene.at(CLIENT).call(1, 0).unwrap();
    let serving = server.spawn(Some(fate), Peer::serve);
    let ended = wait(&client, call);
    let killed = serving.join().unwrap();
    match ended {
        Ended::Answered => {}
        Ended::Failed | Ended::Unserved => assert!(killed),
        other => panic!("{other:?}"),
    }
    client.listen();
    client.scene.settle(0);
}

/// While a set waits.
fn a_set_waits_and_its_server_dies(fate: Fate) {
    its_server_dies(fate, |client, call| client.watch(1, call));
}

#[test]
fn a_servers_death_ends_the_wait_of_a_set() {
    completely(|| {
        let name = "calls, a set waits and its server dies";
        holds_for_every_end(name, Some(2), End::Killed, a_set_waits_and_its_server_dies);
    });
}

/// The last server closes its handle, and then gives the call back that it has.
fn the_last_gives_back() {
    let [client, server] = peers(1);
    let call = client.scene.at(CLIENT).call(1, 0).unwrap();
    let serving = server.spawn(None, |server| {
        let call = server.scene.at(server.me).take().unwrap();
        server.scene.closed.store(1, Release);
        wake_all::strike(&server.process).unwrap();
        let LetGo::Open(client) = ring::let_go(&*server.scene, call, Outcome::GivenBack) else {
            panic!("it is nobody else's");
        };
        assert_eq!(client, CLIENT);
        let asleep = server.scene.seen(0).asleep;
        if !mutant::has("not struck") && (asleep || !mutant::has("struck if it sleeps")) {
            ring::wake(&server.process, server.bell()).unwrap();
        }
    });
    assert_eq!(client.wait(1, call, None), Ended::Unserved);
    serving.join().unwrap();
    client.scene.settle(0);
}

#[test]
fn who_waits_hears_of_a_call_that_nobody_has_any_more() {
    let name = "calls, given back by the last server";
    holds(name, Some(3), the_last_gives_back);
    for mutant in ["not struck", "struck if it sleeps"].map(Mutant::Model) {
        fails(name, mutant, LOST, Some(3), the_last_gives_back);
    }
}

/// While a thread waits.
fn server_dies(fate: Fate) {
    its_server_dies(fate, |client, call| client.wait(1, call, None));
}

#[test]
fn a_servers_death_ends_the_wait() {
    completely(|| {
        let name = "calls, one waits and its server dies";
        holds_for_every_end(name, Some(2), End::Killed, server_dies);
        let compared = "the wake-all semaphore is not compared";
        for mutant in [Mutant::Model("no credit"), Mutant::NoUndo, Mutant::Model(compared)] {
            fails_for_some_end(name, mutant, LOST, Some(2), End::Killed, server_dies);
        }
    });
}

/// The server is stopped somewhere, and the time is up.
fn server_is_stopped(fate: Fate) {
    let [client, server] = peers(1);
    let call = client.scene.at(CLIENT).call(1, 0).unwrap();
    let system = Rc::clone(&client.process.system);
    let serving = server.spawn(Some(fate), Peer::serve);
    let ticking = loom::thread::spawn(move || {
        let stopped = serving.join().unwrap();
        system.tick();
        stopped
    });
    let ended = client.wait(1, call, Some(Deadline(1)));
    let stopped = ticking.join().unwrap();
    assert!(ended == Ended::Answered || stopped, "{ended:?}");
    assert!(!matches!(ended, Ended::Failed | Ended::Refused));
    client.scene.settle(u64::from(ended == Ended::Left));
}

#[test]
fn a_stopped_server_does_not_hold_the_deadline_up() {
    completely(|| {
        let name = "calls, one waits and its server is stopped";
        holds_for_every_end(name, Some(2), End::Stopped, server_is_stopped);
    });
}
