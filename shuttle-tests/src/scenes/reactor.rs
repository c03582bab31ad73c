//! Tasks of one process that wait by one thread, as in `src/channel/reactor.rs`: they ask while
//! it goes round, while it sleeps and while it is about to, and give up what they have asked.

use std::rc::Rc;

use crate::checker::thread::{self, JoinHandle};
use crate::checker::{Condvar, Mutex, atomic::Ordering, fence};
use crate::death::Fate;
use crate::explore::{any, fails, holds, some_death};
use crate::mutant;
use crate::ring::kernel::Kernel;
use crate::ring::set::SetMap;
use crate::ring::wait::set::{self, Mark, Prospect, Slept};
use crate::world::{Ask, Peer, Side, Told, World};

/// So many steps of a life are candidates for its last one.
const STEPS: usize = 150;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    Round,
    Asleep { struck: bool },
}

struct State {
    /// What each task waits for.
    asks: [Option<Ask>; 2],
    phase: Phase,
    stop: bool,
}

/// `Core`.
struct Reactor {
    peer: Peer,
    mark: Mark,
    state: Mutex<State>,
    changed: Condvar,
    told: Condvar,
}

impl Reactor {
    fn of(peer: Peer) -> Rc<Self> {
        let state = Mutex::new(State { asks: [None; 2], phase: Phase::Round, stop: false });
        let (mark, changed, told) = (Mark::default(), Condvar::new(), Condvar::new());
        Rc::new(Self { peer, mark, state, changed, told })
    }

    /// `Core::run`, with one spot.
    fn run(&self) {
        let (peer, kernel) = (&self.peer, &self.peer.process);
        let place = peer.place(&self.mark);
        let (mut values, mut ops, mut stays) = (Vec::new(), Vec::new(), false);
        loop {
            let mut state = self.state.lock().unwrap();
            let idle =
                |state: &State| !state.stop && state.asks == [None; 2] && !self.mark.is_counted();
            while idle(&state) {
                state.phase = Phase::Idle;
                state = self.changed.wait(state).unwrap();
            }
            state.phase = Phase::Round;
            let early = state.asks;
            drop(state);
            peer.listen_to(&mut values);
            let mut state = self.state.lock().unwrap();
            if state.stop {
                return place.let_go();
            }
            let blind = mutant::has("asks are read before the values");
            let mut asks = if blind { early } else { state.asks };
            let changed = place.hear(kernel, &values);
            if asks == [None; 2] {
                // The mutant goes round and round over a token that nobody takes.
                let blind = mutant::has("only a change is for others");
                stays &= !if blind { changed } else { place.is_due(changed) };
            } else if place.is_due(changed) && place.announce(kernel) {
                kernel.heavy_fence();
            } else {
                fence(Ordering::SeqCst);
            }
            let mut found = Prospect::Nothing;
            for (n, ask) in asks.iter_mut().enumerate() {
                let one = ask.map_or(Prospect::Nothing, |ask| peer.prospect(ask));
                if one != Prospect::Nothing {
                    (*ask, state.asks[n], stays) = (None, None, true);
                    found = if found == Prospect::Over { found } else { one };
                    self.told.notify_all();
                }
            }
            if asks == [None; 2] && !stays {
                place.let_go();
            }
            place.answer(kernel, found).unwrap();
            if asks != [None; 2] && !self.mark.is_counted() {
                continue;
            }
            if !self.mark.is_counted() {
                continue;
            }
            state.phase = Phase::Asleep { struck: false };
            drop(state);
            ops.clear();
            place.compare(&mut ops);
            let wake_all = values[usize::from(SetMap::WAKE_ALL)];
            let slept = set::rest(kernel, &mut ops, wake_all, None);
            assert!(!matches!(slept, Slept::Refused(_)), "{slept:?}");
        }
    }

    /// `Core::strike`.
    fn strike(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock().unwrap();
        change(&mut state);
        match &mut state.phase {
            Phase::Idle => self.changed.notify_all(),
            Phase::Round | Phase::Asleep { struck: true } => {}
            Phase::Asleep { struck } => {
                *struck = true;
                drop(state);
                if !mutant::has("no strike") {
                    self.peer.call_own();
                }
            }
        }
    }

    /// `Interest::ask`; whether it is worth trying again at once.
    fn ask(&self, task: usize, ask: Ask) -> bool {
        let mut state = self.state.lock().unwrap();
        let asleep = matches!(state.phase, Phase::Asleep { .. });
        if asleep && self.mark.is_counted() {
            let blind = mutant::has("not looked at what it sleeps over");
            if !blind && self.peer.prospect(ask) != Prospect::Nothing {
                return true;
            }
            state.asks[task] = Some(ask);
            return false;
        }
        drop(state);
        self.strike(|state| state.asks[task] = Some(ask));
        false
    }

    /// One task: receives until nobody sends any more, and now and then gives a wait up.
    fn task(&self, task: usize, handle: &Peer) -> Vec<u64> {
        let mut all = Vec::new();
        loop {
            match handle.try_receive() {
                Some(Ok(message)) => all.push(message),
                Some(Err(told)) => {
                    assert_eq!(told, Told::Disconnected);
                    return all;
                }
                None if self.ask(task, handle.asks()) => {}
                None if any(8) == 0 => self.state.lock().unwrap().asks[task] = None,
                None => {
                    let mut state = self.state.lock().unwrap();
                    while state.asks[task].is_some() {
                        state = self.told.wait(state).unwrap();
                    }
                }
            }
        }
    }
}

fn sends(peer: Peer, fate: Option<Fate>, from: u64, count: u64) -> JoinHandle<Option<()>> {
    peer.spawn(fate, move |peer| {
        (from..from + count).for_each(|message| _ = peer.send(message));
        peer.withdraw();
    })
}

/// The tasks of a process, beside another process that blocks. Each has a handle of its own; the
/// reactor has one that receives nothing.
fn tasks(fate: Option<Fate>) {
    use Side::{Receiver, Sender};
    let sides = [Receiver, Receiver, Receiver, Receiver, Sender, Sender];
    let (world, [own, first, second, other, one, two]) = World::between(2, sides);
    let reactor = Reactor::of(own);
    let thread = Rc::clone(&reactor);
    let thread = thread::spawn(move || thread.run());
    let task = |n: usize, handle: Peer| {
        let reactor = Rc::clone(&reactor);
        thread::spawn(move || reactor.task(n, &handle))
    };
    let tasks = [task(0, first), task(1, second)];
    let (one, two) = (sends(one, fate, 0, 3), sends(two, None, 3, 3));
    let other = other.spawn(None, Peer::drain);
    let died = one.join().unwrap().is_none();
    two.join().unwrap();
    let mut all = other.join().unwrap().unwrap();
    for task in tasks {
        all.extend(task.join().unwrap());
    }
    reactor.strike(|state| state.stop = true);
    thread.join().unwrap();
    world.at_rest();
    all.sort_unstable();
    assert!(all.iter().filter(|message| **message >= 3).eq(&[3, 4, 5]), "{all:?}");
    assert!(died || all.len() == 6, "{all:?}");
}

fn nobody_dies() {
    tasks(None);
}

fn a_sender_dies() {
    tasks(some_death(STEPS));
}

#[test]
fn no_task_is_forgotten_whoever_asks_when() {
    holds("reactor, two tasks", nobody_dies);
    holds("reactor, a sender dies", a_sender_dies);
    for (mutant, how) in [
        ("no strike", "deadlock"),
        ("asks are read before the values", "deadlock"),
        ("not looked at what it sleeps over", "deadlock"),
        ("only a change is for others", "max_steps"),
    ] {
        fails("reactor, two tasks", mutant, how, nobody_dies);
    }
}
