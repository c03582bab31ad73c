//! Checks whether a queue could have a history: the search of Wing and Gong, with Lowe's
//! memory of tried states.
//!
//! The search goes through the history in the order of time, and keeps the possible
//! states of the queue. A call's events are applied only when they must be: before a call
//! returns, in any order that the specification allows. A state at a point of the history
//! is tried only once.

use std::collections::HashSet;
use std::hash::Hash;

use crate::history::{Answer, Asked, Event, History, Op};
use crate::queue::{Place, Queue, has_blocks};
use crate::step::Step;

/// So many states of one history are looked at, and no more.
const MOST_STATES: usize = 2_000_000;

/// The result of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// It is a queue's; after so many states.
    Right(usize),
    /// No queue does this; the first event that none gets past.
    Wrong(Event),
    /// Too many states.
    Undecided,
}

/// A call under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Under {
    pub(crate) op: usize,
    /// So many of its messages are through.
    pub(crate) count: usize,
    /// One more is claimed or taken.
    pub(crate) half: bool,
    /// Its refusal has been seen to be right.
    pub(crate) seen: bool,
    /// The messages that it must not pass over.
    pub(crate) overdue: Vec<u64>,
    /// The fewest blocks that may have been free at once since it began.
    pub(crate) blocks: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Life {
    Alive,
    Doomed,
    Dead,
    /// And everything that it held has been put right.
    Buried,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Process {
    pub(crate) life: Life,
    pub(crate) under: Option<Under>,
    /// It has a block that is in no place yet.
    pub(crate) grant: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    /// The next event.
    pub(crate) at: usize,
    pub(crate) queue: Queue,
    pub(crate) processes: Vec<Process>,
}

pub(crate) struct Search<'a> {
    pub(crate) history: &'a History,
    pub(crate) events: Vec<Event>,
}

pub(crate) fn check(history: &History) -> Judgement {
    let search = Search { history, events: history.events() };
    let process = Process { life: Life::Alive, under: None, grant: false };
    let start = State {
        at: 0,
        queue: Queue::new(history.spec),
        processes: vec![process; history.processes()],
    };
    explore(start, &search.events, |state| state.at, |state, open| search.successors(state, open))
}

/// Searches the states that follow from the first for one that is past all events. `at`
/// tells which event comes next in a state.
pub(crate) fn explore<S: Eq + Hash>(
    start: S,
    events: &[Event],
    at: impl Fn(&S) -> usize,
    successors: impl Fn(&S, &mut Vec<S>),
) -> Judgement {
    let mut tried = HashSet::new();
    let mut open = vec![start];
    let mut furthest = 0;
    while let Some(state) = open.pop() {
        if at(&state) == events.len() {
            return Judgement::Right(tried.len());
        }
        if tried.len() > MOST_STATES {
            return Judgement::Undecided;
        }
        furthest = furthest.max(at(&state));
        if tried.contains(&state) {
            continue;
        }
        successors(&state, &mut open);
        tried.insert(state);
    }
    Judgement::Wrong(events[furthest])
}

impl Search<'_> {
    fn successors(&self, state: &State, open: &mut Vec<State>) {
        if let Some(mut next) = self.pass(state) {
            next.at += 1;
            self.settle(&mut next);
            open.push(next);
            return;
        }
        let before = open.len();
        for who in 0..state.processes.len() {
            self.steps(state, who, open);
        }
        open[before..].iter_mut().for_each(|next| self.settle(next));
    }

    /// The state after the next event, if that can be now.
    fn pass(&self, state: &State) -> Option<State> {
        let mut next = state.clone();
        match self.events[state.at] {
            Event::Call(op) => {
                let who = self.history.ops[op].who;
                let blocks = self.free_blocks(state, who);
                let overdue = state.queue.overdue();
                let under = Under { op, count: 0, half: false, seen: false, overdue, blocks };
                next.processes[who].under = Some(under);
            }
            Event::Doom(who) => next.processes[who].life = Life::Doomed,
            Event::Death(who) => {
                if !matches!(state.processes[who].life, Life::Dead | Life::Buried) {
                    return None;
                }
            }
            Event::Return(op) => {
                let Op { who, asked, end, .. } = &self.history.ops[op];
                let (_, answer) = end.as_ref()?;
                let under = state.processes[*who].under.as_ref()?;
                if !self.is_complete(under, asked, answer, state) {
                    return None;
                }
                if *asked == Asked::GiveBack {
                    next.queue.announce(|id| under.overdue == [id]);
                }
                if *asked == Asked::Sweep {
                    next.queue.announce(|_| true);
                    for process in &mut next.processes {
                        if process.life == Life::Dead {
                            process.life = Life::Buried;
                        }
                    }
                }
                next.processes[*who].under = None;
            }
        }
        Some(next)
    }

    fn is_complete(&self, under: &Under, asked: &Asked, answer: &Answer, state: &State) -> bool {
        let all = |count: usize, asked: usize| {
            !under.half && under.count == count && (count == asked || under.seen)
        };
        match (asked, answer) {
            (_, Answer::Failed) => false,
            (Asked::Send(ids), Answer::Sent(count)) => all(*count, ids.len()),
            (Asked::Reserve, Answer::Sent(count)) => all(*count, 1),
            (Asked::Recv(most), Answer::Got(ids)) => all(ids.len(), *most),
            (Asked::Take, Answer::Taken(..)) => under.count == 1,
            (Asked::Recv(_) | Asked::Take, Answer::Nothing(_)) => under.seen,
            (Asked::Commit(_) | Asked::Abort | Asked::Release | Asked::GiveBack, Answer::Done) => {
                under.count == 1
            }
            (Asked::Sweep, Answer::Done) => {
                let dead = |who: usize| state.processes[who].life == Life::Dead;
                let held = |place: &Place| matches!(place, Place::Writing(who) | Place::Reading { who, .. } if dead(*who));
                let granted = state.processes.iter().any(|p| p.life == Life::Dead && p.grant);
                !granted && !state.queue.0.iter().any(held)
            }
            _ => panic!("{asked:?} does not come to {answer:?}"),
        }
    }

    /// The fewest blocks that may be free to another than `who`.
    fn free_blocks(&self, state: &State, who: usize) -> usize {
        if !has_blocks(self.history.spec) {
            return usize::MAX;
        }
        let others = state.processes.iter().enumerate().filter(|(other, _)| *other != who);
        let theirs = others.map(|(_, other)| {
            let under = other.under.as_ref().map(|under| &self.history.ops[under.op].asked);
            let passing = match under {
                Some(Asked::Send(_) | Asked::Reserve | Asked::Commit(_)) => 2,
                Some(Asked::Recv(_) | Asked::Release) => 1,
                _ => 0,
            };
            let unswept = if other.life == Life::Dead { 2 } else { 0 };
            usize::from(other.grant) + passing + unswept
        });
        let used = state.queue.used() + theirs.sum::<usize>();
        self.history.spec.capacity.saturating_sub(used)
    }

    /// Brings up to date what calls under way have seen.
    fn settle(&self, state: &mut State) {
        if !has_blocks(self.history.spec) {
            return;
        }
        for who in 0..state.processes.len() {
            if state.processes[who].under.is_some() {
                let free = self.free_blocks(state, who);
                let under = state.processes[who].under.as_mut();
                under.into_iter().for_each(|under| under.blocks = under.blocks.min(free));
            }
        }
    }

    /// Everything that may happen next of what one process is at.
    fn steps(&self, state: &State, who: usize, open: &mut Vec<State>) {
        let process = &state.processes[who];
        match process.life {
            Life::Doomed => {
                let mut next = state.clone();
                next.processes[who].life = Life::Dead;
                next.processes[who].under = None;
                open.push(next);
            }
            Life::Dead | Life::Buried => return self.sweep(state, who, open),
            Life::Alive => {}
        }
        let Some(under) = &process.under else { return };
        let op = &self.history.ops[under.op];
        let step = Step { search: self, state, who, under };
        let answer = op.end.as_ref().map(|(_, answer)| answer);
        match &op.asked {
            Asked::Send(ids) => step.send(ids, answer, open),
            Asked::Recv(most) => step.receive(*most, answer, open),
            Asked::Take => step.take(answer, open),
            Asked::Reserve => step.reserve(answer, open),
            Asked::Commit(id) => step.commit(*id, open),
            Asked::Abort => step.abort(open),
            Asked::Release => step.release(open),
            Asked::GiveBack => step.give_back(open),
            Asked::Sweep => {}
            Asked::Join(_) | Asked::Count => unreachable!("a queue has no subscribers"),
            Asked::Ask(..) | Asked::Hear | Asked::GiveUp | Asked::Serve | Asked::Let(_) => {
                unreachable!("a queue has no calls")
            }
        }
    }

    fn sweep(&self, state: &State, who: usize, open: &mut Vec<State>) {
        for at in 0..state.queue.0.len() {
            let place = state.queue.0[at];
            let owner = match place {
                Place::Writing(owner) | Place::Reading { who: owner, .. } => owner,
                _ => continue,
            };
            if owner == who {
                let mut next = state.clone();
                next.queue.0[at] = Queue::swept(place, self.history.spec.times);
                open.push(next);
            }
        }
        if state.processes[who].grant {
            let mut next = state.clone();
            next.processes[who].grant = false;
            open.push(next);
        }
    }
}
