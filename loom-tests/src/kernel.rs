//! One System V semaphore set, and the processes that share it.
//!
//! As in Linux: a call does all of its operations or none; who must sleep
//! queues, and is *granted* its operations, first come first served, by
//! whoever makes them possible, before it runs again; what a process changed
//! with undo is taken back at one instant when it ends, clamped to the range.

use std::cell::Cell;
use std::rc::Rc;

use crate::checker::{Condvar, Mutex, atomic::Ordering, fence};

use crate::death;
use crate::mutant::{self, Mutant};
use crate::ring::kernel::{Kernel, LightFence, Op, Refusal};
use crate::ring::set::SetMap;
use crate::sync::NO_FENCE_BEFORE_IT_ASKS;

/// The highest value of a semaphore.
const MOST: i32 = 32_767;

/// A point in the model's time, which only [`System::tick`] moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Deadline(pub(crate) u8);

/// When everybody has seen what everybody has stored: see [`System::settle`].
const SOON: Deadline = Deadline(u8::MAX - 1);

/// The set.
pub(crate) struct System {
    state: Mutex<State>,
    /// One for each process.
    semaphores: Vec<Condvar>,
    /// Somebody has gone to sleep.
    slept: Condvar,
    /// Whether it will be soon, some time.
    passes: Cell<bool>,
    /// Whether whoever waits again is taken to come at once.
    returns: Cell<bool>,
}

struct State {
    values: Vec<i32>,
    /// By process and semaphore: what its end adds.
    undo: Vec<Vec<i32>>,
    killed: Vec<bool>,
    queue: Vec<Sleeper>,
    tickets: u64,
    time: Deadline,
    removed: bool,
}

struct Sleeper {
    ticket: u64,
    process: usize,
    ops: Vec<Op>,
    until: Option<Deadline>,
    outcome: Option<Result<(), Refusal>>,
}

impl State {
    /// Does all of `ops` at once, or none; `None` for having to sleep.
    fn perform(&mut self, process: usize, ops: &[Op]) -> Option<Result<(), Refusal>> {
        let (values, undo) = (self.values.clone(), self.undo[process].clone());
        let outcome = self.perform_each(process, ops);
        if outcome != Some(Ok(())) {
            self.values = values;
            self.undo[process] = undo;
        }
        outcome
    }

    fn perform_each(&mut self, process: usize, ops: &[Op]) -> Option<Result<(), Refusal>> {
        for op in ops {
            let sem = usize::from(op.sem);
            let (value, delta) = (self.values[sem], i32::from(op.delta));
            if delta == 0 && mutant::has("nobody waits for zero") {
                continue;
            }
            let after = value + delta;
            if after < 0 || delta == 0 && value != 0 {
                return op.no_wait.then_some(Err(Refusal::WouldBlock));
            }
            if after > MOST {
                return Some(Err(Refusal::Range));
            }
            if op.undo && delta != 0 && !mutant::is(|m| matches!(m, Mutant::NoUndo)) {
                let undo = &mut self.undo[process][sem];
                if !(-MOST - 1..=MOST).contains(&(*undo - delta)) {
                    return Some(Err(Refusal::Range));
                }
                *undo -= delta;
            }
            self.values[sem] = after;
        }
        Some(Ok(()))
    }

    /// Grants what has become possible; says whom to wake.
    fn grant(&mut self) -> Vec<usize> {
        let mut woken = Vec::new();
        let mut again = true;
        while again {
            again = false;
            for at in 0..self.queue.len() {
                if self.queue[at].outcome.is_some() {
                    continue;
                }
                let (process, ops) = (self.queue[at].process, self.queue[at].ops.clone());
                let outcome = if self.removed {
                    Some(Err(Refusal::Removed))
                } else {
                    self.perform(process, &ops)
                };
                if outcome.is_some() {
                    self.queue[at].outcome = outcome;
                    woken.push(process);
                    again = true;
                    break;
                }
            }
        }
        woken
    }
}

impl System {
    pub(crate) fn new(semaphores: u16, processes: usize) -> Self {
        let semaphores = usize::from(semaphores);
        Self {
            state: Mutex::new(State {
                values: vec![0; semaphores],
                undo: vec![vec![0; semaphores]; processes],
                killed: vec![false; processes],
                queue: Vec::new(),
                tickets: 0,
                time: Deadline(0),
                removed: false,
            }),
            semaphores: (0..processes).map(|_| Condvar::new()).collect(),
            slept: Condvar::new(),
            passes: Cell::new(false),
            returns: Cell::new(false),
        }
    }

    fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.state.lock().unwrap();
        let result = change(&mut state);
        for process in state.grant() {
            self.semaphores[process].notify_all();
        }
        result
    }

    /// Time goes on: who slept until now sleeps no more.
    pub(crate) fn tick(&self) {
        self.until(|now| Deadline(now.0 + 1));
    }

    /// In this model [`settle`](Self::settle) will be called.
    pub(crate) fn will_settle(&self) {
        self.passes.set(true);
    }

    /// In this model, who has been woken stays counted.
    pub(crate) fn returns(&self) {
        self.returns.set(true);
    }

    /// So much time goes on that what the calling thread has stored is seen:
    /// it is soon, now and for all sleeps to come.
    pub(crate) fn settle(&self) {
        self.until(|_| SOON);
    }

    fn until(&self, then: impl FnOnce(Deadline) -> Deadline) {
        let mut state = self.state.lock().unwrap();
        state.time = then(state.time);
        let now = state.time;
        for sleeper in &mut state.queue {
            if sleeper.outcome.is_none() && sleeper.until.is_some_and(|until| until <= now) {
                sleeper.outcome = Some(Err(Refusal::TimedOut));
                self.semaphores[sleeper.process].notify_all();
            }
        }
    }

    /// Waits until so many are asleep.
    pub(crate) fn until_asleep(&self, count: usize) {
        let mut state = self.state.lock().unwrap();
        while state.queue.len() < count {
            state = self.slept.wait(state).unwrap();
        }
    }

    /// Removes the set.
    pub(crate) fn remove(&self) {
        self.change(|state| state.removed = true);
    }

    pub(crate) fn removed(&self) -> bool {
        self.state.lock().unwrap().removed
    }

    pub(crate) fn value(&self, sem: u16) -> u16 {
        self.state.lock().unwrap().values[usize::from(sem)] as u16
    }

    /// Sets a value before anything begins.
    pub(crate) fn preset(&self, sem: u16, value: u16) {
        self.state.lock().unwrap().values[usize::from(sem)] = i32::from(value);
    }

    /// Kills a process that is asleep now or will be; the sleeper ends.
    pub(crate) fn kill(&self, process: usize) {
        self.state.lock().unwrap().killed[process] = true;
        self.semaphores[process].notify_all();
    }
}

/// One process, as the kernel knows it.
#[derive(Clone)]
pub(crate) struct Process {
    pub(crate) system: Rc<System>,
    pub(crate) id: usize,
}

impl Process {
    /// The kernel's part for a process that has ended.
    pub(crate) fn end(&self) {
        self.system.change(|state| {
            let id = self.id;
            state.queue.retain(|sleeper| sleeper.process != id);
            for sem in 0..state.values.len() {
                let undo = core::mem::take(&mut state.undo[id][sem]);
                state.values[sem] = (state.values[sem] + undo).clamp(0, MOST);
            }
            death::note(|| format!("has ended, now {:?}", &state.values[8..]));
        });
    }
}

impl LightFence for Process {
    fn light_fence(&self) {
        let gone = mutant::is(|m| matches!(m, Mutant::NoLightFence | Mutant::NoSkipFence))
            || mutant::has(NO_FENCE_BEFORE_IT_ASKS);
        if !gone {
            fence(Ordering::SeqCst);
        }
    }
}

impl Kernel for Process {
    type Deadline = Deadline;

    fn semop(&self, ops: &[Op], until: Option<Deadline>) -> Result<(), Refusal> {
        death::step();
        let compares = |op: &Op| op.sem == SetMap::WAKE_ALL && !op.undo;
        // A wait set's call ends with that semaphore, and its first member is compared first.
        let last = ops.last().is_some_and(compares);
        let first = |op: &Op| last && op.sem == ops[0].sem && !compares(op);
        let blunt: Vec<Op>;
        let ops =
            if ops.iter().any(compares) && mutant::has("the wake-all semaphore is not compared") {
                blunt = ops.iter().copied().filter(|op| !compares(op)).collect();
                &blunt
            } else if ops.len() > 1
                && ops.iter().all(|op| op.delta > 0)
                && mutant::has("one bell for all")
            {
                &ops[..1]
            } else if ops.iter().any(first) && mutant::has("one member is not compared") {
                blunt = ops.iter().copied().filter(|op| !first(op)).collect();
                &blunt
            } else {
                ops
            };
        let mut state = self.system.state.lock().unwrap();
        if state.removed {
            return Err(Refusal::Removed);
        }
        if let Some(outcome) = state.perform(self.id, ops) {
            death::note(|| format!("semop {ops:?} {outcome:?}, now {:?}", &state.values[8..]));
            for process in state.grant() {
                self.system.semaphores[process].notify_all();
            }
            return outcome;
        }
        if until.is_some_and(|until| until <= state.time) {
            return Err(Refusal::TimedOut);
        }
        let ticket = state.tickets;
        state.tickets += 1;
        let (process, ops) = (self.id, ops.to_vec());
        death::note(|| format!("sleeps {ops:?}, {:?}", &state.values[8..]));
        state.queue.push(Sleeper { ticket, process, ops, until, outcome: None });
        self.system.slept.notify_all();
        loop {
            if state.killed[self.id] {
                drop(state);
                death::die();
            }
            let at = state.queue.iter().position(|sleeper| sleeper.ticket == ticket);
            let at = at.expect("only its sleeper takes it out");
            if let Some(outcome) = state.queue[at].outcome {
                state.queue.remove(at);
                death::note(|| format!("wakes {outcome:?}, now {:?}", &state.values[8..]));
                return outcome;
            }
            state = self.system.semaphores[self.id].wait(state).unwrap();
        }
    }

    fn values(&self, into: &mut [u16]) -> Result<(), Refusal> {
        death::step();
        let state = self.system.state.lock().unwrap();
        if state.removed {
            return Err(Refusal::Removed);
        }
        for (into, value) in into.iter_mut().zip(&state.values) {
            *into = *value as u16;
        }
        death::note(|| format!("sees {:?}", &state.values[8..]));
        Ok(())
    }

    fn heavy_fence(&self) {
        if !mutant::is(|mutant| matches!(mutant, Mutant::NoHeavyFence | Mutant::NoSecondLook)) {
            fence(Ordering::SeqCst);
        }
    }

    fn soon(&self) -> Option<Deadline> {
        let passes = self.system.passes.get();
        (passes && !mutant::is(|mutant| matches!(mutant, Mutant::NoSecondLook))).then_some(SOON)
    }

    fn now(&self) -> Deadline {
        self.system.state.lock().unwrap().time
    }

    fn at_once(&self) -> Option<Deadline> {
        self.system.returns.get().then_some(Deadline(u8::MAX))
    }

    fn own_fence(&self) {
        self.heavy_fence();
    }
}
