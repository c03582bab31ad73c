//! Whether a history is one of a queue: the search of Wing and Gong, with
//! Lowe's memory of what has been tried.
//!
//! It goes through what happened in the order of time, and keeps what the
//! queue may be like. A call's events are done only when they must be: before
//! something returns, in any order that the specification allows. A state at
//! a place in the history that has been tried once is not tried again.

use std::collections::HashSet;

use crate::common::queues::Nothing;
use crate::history::{Answer, Asked, Event, History, Op};
use crate::queue::{Next, Place, Queue, has_blocks};

/// So many states of one history are looked at, and no more.
const MOST_STATES: usize = 2_000_000;

/// What a check came to.
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
struct Under {
    op: usize,
    /// So many of its messages are through.
    count: usize,
    /// One more is claimed or taken.
    half: bool,
    /// What it was refused has been seen to be so.
    seen: bool,
    /// What it must not pass over.
    overdue: Vec<u64>,
    /// The fewest blocks that may have been free at once since it began.
    blocks: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Life {
    Alive,
    Doomed,
    Dead,
    /// And everything that it held has been put right.
    Buried,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Process {
    life: Life,
    under: Option<Under>,
    /// It has a block that is in no place yet.
    grant: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    /// The next event.
    at: usize,
    queue: Queue,
    processes: Vec<Process>,
}

struct Search<'a> {
    history: &'a History,
    events: Vec<Event>,
}

pub(crate) fn check(history: &History) -> Judgement {
    let search = Search { history, events: history.events() };
    let process = Process { life: Life::Alive, under: None, grant: false };
    let start = State {
        at: 0,
        queue: Queue::new(history.spec),
        processes: vec![process; history.processes()],
    };
    let mut tried = HashSet::new();
    let mut open = vec![start];
    let mut furthest = 0;
    while let Some(state) = open.pop() {
        if state.at == search.events.len() {
            return Judgement::Right(tried.len());
        }
        if tried.len() > MOST_STATES {
            return Judgement::Undecided;
        }
        furthest = furthest.max(state.at);
        if tried.contains(&state) {
            continue;
        }
        search.successors(&state, &mut open);
        tried.insert(state);
    }
    Judgement::Wrong(search.events[furthest])
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

/// What one call may do next.
struct Step<'a> {
    search: &'a Search<'a>,
    state: &'a State,
    who: usize,
    under: &'a Under,
}

impl Step<'_> {
    fn single(&self) -> bool {
        self.search.history.spec.ring.single()
    }

    fn next(&self, change: impl FnOnce(&mut Under)) -> State {
        let mut next = self.state.clone();
        next.processes[self.who].under.as_mut().into_iter().for_each(change_once(change));
        next
    }

    fn through(&self) -> State {
        self.next(|under| {
            under.count += 1;
            under.half = false;
        })
    }

    fn send(&self, ids: &[u64], answer: Option<&Answer>, open: &mut Vec<State>) {
        let count = match answer {
            Some(Answer::Sent(count)) => *count,
            Some(_) => return,
            None => ids.len(),
        };
        if self.under.half {
            return self.publish(ids[self.under.count], open);
        }
        if self.under.count < count {
            self.claim(ids[self.under.count], open);
        }
        if answer.is_some() && count < ids.len() && !self.under.seen {
            let spec = self.search.history.spec;
            let rest = count - self.under.count;
            let blocks = rest == 0 && self.under.blocks == 0;
            if blocks || self.state.queue.has_room_for(spec, rest) {
                open.push(self.next(|under| under.seen = true));
            }
        }
    }

    /// A place for this message, and in an SPSC queue the message in it.
    fn claim(&self, id: u64, open: &mut Vec<State>) {
        let single = self.single();
        let mut next = if single { self.through() } else { self.next(|under| under.half = true) };
        let place = if single { Place::Full(id) } else { Place::Writing(self.who) };
        let spec = self.search.history.spec;
        let others = self.state.processes.iter().enumerate();
        let granted = others.filter(|(n, other)| *n != self.who && other.grant).count();
        if has_blocks(spec) && self.state.queue.used() + granted >= spec.capacity {
            return;
        }
        if next.queue.claim(spec, place) {
            open.push(next);
        }
    }

    fn publish(&self, id: u64, open: &mut Vec<State>) {
        let mut next = self.through();
        if let Some(place) = next.queue.written_by(self.who) {
            *place = Place::Full(id);
            open.push(next);
        }
    }

    fn receive(&self, most: usize, answer: Option<&Answer>, open: &mut Vec<State>) {
        if self.under.half {
            let mut next = self.through();
            if let Some(place) = next.queue.read_by(self.who) {
                *place = Place::Free;
                open.push(next);
            }
            return;
        }
        let ids: Option<&[u64]> = match answer {
            Some(Answer::Got(ids)) => Some(ids),
            Some(_) => Some(&[]),
            None => None,
        };
        if ids.map_or(most, <[u64]>::len) > self.under.count {
            self.take_one(ids.map(|ids| ids[self.under.count]), true, open);
        }
        self.fall_short(most, answer, open);
    }

    /// What the answer says was not there is not there.
    fn fall_short(&self, most: usize, answer: Option<&Answer>, open: &mut Vec<State>) {
        let queue = &self.state.queue;
        let so = match answer {
            Some(Answer::Got(ids)) => {
                ids.len() < most && queue.available() == ids.len() - self.under.count
            }
            Some(Answer::Nothing(nothing)) => match (nothing, queue.next()) {
                (Nothing::Empty | Nothing::TimedOut, Next::Nothing) => true,
                (Nothing::Pending | Nothing::TimedOut, Next::Unpublished) => true,
                _ => false,
            },
            _ => false,
        };
        if so && !self.under.seen && self.under.overdue.is_empty() {
            open.push(self.next(|under| under.seen = true));
        }
    }

    /// Takes a message, this one if it is known which; `letting_go` if it is
    /// let go in the same call.
    fn take_one(&self, id: Option<u64>, letting_go: bool, open: &mut Vec<State>) {
        self.take_where(|found, _| id.is_none_or(|id| id == found), letting_go, open);
    }

    fn take_where(&self, which: impl Fn(u64, u8) -> bool, letting_go: bool, open: &mut Vec<State>) {
        let queue = &self.state.queue;
        let single = self.single();
        for (at, place) in queue.0.iter().enumerate() {
            let (id, deaths) = match *place {
                Place::Orphan { id, deaths, .. } => (id, deaths),
                Place::Full(id)
                    if queue.next() == Next::Message(at, id) && self.under.overdue.is_empty() =>
                {
                    (id, 0)
                }
                _ => continue,
            };
            if !which(id, deaths) {
                continue;
            }
            let mut next = if single || !letting_go {
                self.through()
            } else {
                self.next(|under| under.half = true)
            };
            if !single {
                next.queue.0[at] = Place::Reading { who: self.who, id, deaths };
            } else if letting_go {
                next.queue.0.remove(at);
            }
            for process in &mut next.processes {
                let under = process.under.as_mut();
                under.into_iter().for_each(|under| under.overdue.retain(|late| *late != id));
            }
            open.push(next);
        }
    }

    fn take(&self, answer: Option<&Answer>, open: &mut Vec<State>) {
        if self.under.count == 1 {
            return;
        }
        let single = self.single();
        match answer {
            Some(Answer::Taken(id, after)) => {
                let which = |found, deaths| found == *id && (single || deaths == *after);
                self.take_where(which, false, open);
            }
            None => self.take_one(None, false, open),
            Some(_) => self.fall_short(1, answer, open),
        }
    }

    fn reserve(&self, answer: Option<&Answer>, open: &mut Vec<State>) {
        let spec = self.search.history.spec;
        let queue = &self.state.queue;
        if answer == Some(&Answer::Sent(0)) {
            let full =
                if has_blocks(spec) { self.under.blocks == 0 } else { queue.has_room_for(spec, 0) };
            if full {
                open.push(self.next(|under| under.seen = true));
            }
            return;
        }
        if self.under.count == 1 {
            return;
        }
        let mut next = self.through();
        let room = if has_blocks(spec) {
            let granted = self.state.processes.iter().filter(|other| other.grant).count();
            next.processes[self.who].grant = true;
            queue.used() + granted < spec.capacity
        } else if self.single() {
            // It is there, and stays so until it is committed.
            next.queue.clone().claim(spec, Place::Free)
        } else {
            next.queue.claim(spec, Place::Writing(self.who))
        };
        if room {
            open.push(next);
        }
    }

    fn commit(&self, id: u64, open: &mut Vec<State>) {
        if self.under.count == 1 {
            return;
        }
        if self.single() || has_blocks(self.search.history.spec) && !self.under.half {
            let before = open.len();
            self.claim(id, open);
            // The block is the place's from now on.
            open[before..].iter_mut().for_each(|next| next.processes[self.who].grant = false);
        } else {
            self.publish(id, open);
        }
    }

    fn abort(&self, open: &mut Vec<State>) {
        if self.under.count == 1 {
            return;
        }
        let mut next = self.through();
        next.processes[self.who].grant = false;
        if let Some(place) = next.queue.written_by(self.who) {
            *place = Place::Free;
        }
        open.push(next);
    }

    fn release(&self, open: &mut Vec<State>) {
        if self.under.count == 1 {
            return;
        }
        let mut next = self.through();
        if self.single() {
            next.queue.0.remove(0);
        } else if let Some(place) = next.queue.read_by(self.who) {
            *place = Place::Free;
        }
        open.push(next);
    }

    fn give_back(&self, open: &mut Vec<State>) {
        if self.under.count == 1 {
            return;
        }
        let mut next = self.through();
        let place = next.queue.read_by(self.who);
        let given = place.and_then(|place| match *place {
            Place::Reading { id, deaths, .. } => {
                *place = Place::Orphan { id, deaths, sure: false };
                Some(id)
            }
            _ => None,
        });
        // Which one it is must be found when it returns.
        let under = next.processes[self.who].under.as_mut();
        under.into_iter().for_each(|under| under.overdue = given.into_iter().collect());
        open.push(next);
    }
}

fn change_once(change: impl FnOnce(&mut Under)) -> impl FnMut(&mut Under) {
    let mut change = Some(change);
    move |under| change.take().into_iter().for_each(|change| change(under))
}
