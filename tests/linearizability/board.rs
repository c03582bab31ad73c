//! The specification of a broadcast channel with lag, and its check.
//!
//! | call | events |
//! |---|---|
//! | send | each of its messages is *published*: it has the next sequence number |
//! | receive | each of its messages is *read*: the subscriber's position goes on by one |
//! | join | the place that the subscriber had is given up; it has one at the last so many |
//! | leave | its place is given up |
//!
//! A channel of capacity *N* retains at least the last *N* messages, and at most *R*, the number
//! of its slots (docs/format.md). A subscriber whose next
//! message is retained gets it. One whose next message is not among the last *N* may be told
//! that it has **lagged** by exactly so many that it then is at a message that is retained.
//! A reliable subscriber is never told so: a message is published only when it is less than
//! *N* behind. One that has just joined may have publishers go on until it is *R* behind: they
//! were given these sequence numbers before it was there. It loses nothing by that. **Full** may be answered at an instant at which some reliable subscriber is as
//! far behind as that, **empty** at one at which the subscriber has read everything.
//!
//! **Death.** A killed process has done some first part of its call. From the kill on,
//! publishers may pass its subscriber, and at first they need not.

use std::collections::BTreeSet;

use crate::check::{Judgement, Life, explore};
use crate::history::{Answer, Asked, Event, History};

#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(crate) capacity: u64,
    /// The processes that are reliable subscribers, and those that are others, from the first on.
    pub(crate) reliable: BTreeSet<usize>,
    pub(crate) lossy: BTreeSet<usize>,
    /// The messages that were retained before, and the sequence number of the first.
    pub(crate) before: Vec<u64>,
    pub(crate) first: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Under {
    op: usize,
    count: usize,
    /// That there was no more, or that it has lagged, has been seen to be right.
    seen: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Process {
    life: Life,
    under: Option<Under>,
    position: Option<u64>,
    /// Publishers did not ask for it when they were given the sequence numbers before this.
    granted: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    at: usize,
    published: Vec<u64>,
    processes: Vec<Process>,
}

struct Search<'a> {
    history: &'a History<Spec>,
    events: Vec<Event>,
}

pub(crate) fn check(history: &History<Spec>) -> Judgement {
    let search = Search { history, events: history.events() };
    let spec = &history.spec;
    let tail = spec.first + spec.before.len() as u64;
    let process = |who| {
        let reads = spec.reliable.contains(&who) || spec.lossy.contains(&who);
        Process { life: Life::Alive, under: None, position: reads.then_some(tail), granted: 0 }
    };
    // A subscriber may have made no call.
    let last = spec.reliable.iter().chain(&spec.lossy).max().map_or(0, |last| last + 1);
    let processes = (0..history.processes().max(last)).map(process).collect();
    let start = State { at: 0, published: spec.before.clone(), processes };
    explore(start, &search.events, |state| state.at, |state, open| search.successors(state, open))
}

impl Search<'_> {
    fn successors(&self, state: &State, open: &mut Vec<State>) {
        if let Some(mut next) = self.pass(state) {
            next.at += 1;
            open.push(next);
            return;
        }
        for who in 0..state.processes.len() {
            self.steps(state, who, open);
        }
        // It may be dead from the kill on.
        for (who, process) in state.processes.iter().enumerate() {
            if process.life == Life::Doomed {
                let mut next = state.clone();
                next.processes[who].life = Life::Dead;
                open.push(next);
            }
        }
    }

    fn pass(&self, state: &State) -> Option<State> {
        let mut next = state.clone();
        match self.events[state.at] {
            Event::Call(op) => {
                let who = self.history.ops[op].who;
                next.processes[who].under = Some(Under { op, count: 0, seen: false });
            }
            Event::Doom(who) => next.processes[who].life = Life::Doomed,
            Event::Death(who) => (state.processes[who].life == Life::Dead).then_some(())?,
            Event::Return(op) => {
                let op = &self.history.ops[op];
                let under = state.processes[op.who].under.as_ref()?;
                let (_, answer) = op.end.as_ref()?;
                Self::is_complete(under, &op.asked, answer).then_some(())?;
                next.processes[op.who].under = None;
            }
        }
        Some(next)
    }

    fn is_complete(under: &Under, asked: &Asked, answer: &Answer) -> bool {
        let all =
            |count: usize, asked: usize| under.count == count && (count == asked || under.seen);
        match (asked, answer) {
            (Asked::Send(ids), Answer::Sent(count)) => all(*count, ids.len()),
            (Asked::Recv(most), Answer::Got(ids)) => all(ids.len(), *most),
            (Asked::Recv(_), Answer::Nothing(_) | Answer::Lagged(_)) | (Asked::Count, _) => {
                under.seen
            }
            (Asked::Join(_), Answer::At(_)) => under.count == 2,
            (Asked::Release, Answer::Done) => under.count == 1,
            _ => false,
        }
    }

    fn steps(&self, state: &State, who: usize, open: &mut Vec<State>) {
        let process = &state.processes[who];
        let Some(under) = process.under.as_ref().filter(|_| process.life != Life::Dead) else {
            return;
        };
        let op = &self.history.ops[under.op];
        let answer = op.end.as_ref().map(|(_, answer)| answer);
        let spec = &self.history.spec;
        let tail = spec.first + state.published.len() as u64;
        let is_behind = |other: usize| {
            let position = state.processes[other].position;
            position.is_some_and(|position| position + spec.capacity <= tail)
        };
        let mut push = |change: &dyn Fn(&mut State, &mut Under)| {
            let mut next = state.clone();
            let mut under = under.clone();
            change(&mut next, &mut under);
            next.processes[who].under = Some(under);
            open.push(next);
        };
        let position = process.position.unwrap_or(tail);
        let retained = spec.capacity + 2 * spec.capacity.min(8).max(spec.capacity / 8);
        let may_be_gone = !spec.reliable.contains(&who) && position + spec.capacity < tail;
        let ended = position == tail || may_be_gone;
        match (&op.asked, answer) {
            (Asked::Send(ids), _) => {
                let most = if let Some(Answer::Sent(count)) = answer { *count } else { ids.len() };
                let room = spec.reliable.iter().all(|other| {
                    let Process { life, granted, .. } = &state.processes[*other];
                    *life != Life::Alive || tail < *granted || !is_behind(*other)
                });
                if under.count < most && room {
                    push(&|next, under| {
                        next.published.push(ids[under.count]);
                        under.count += 1;
                    });
                }
                let full = spec.reliable.iter().any(|other| is_behind(*other));
                if under.count == most && most < ids.len() && !under.seen && full {
                    push(&|_, under| under.seen = true);
                }
            }
            (Asked::Recv(most), Some(Answer::Got(_)) | None) => {
                let wanted = answer.map(|answer| match answer {
                    Answer::Got(ids) => ids.get(under.count).copied(),
                    _ => None,
                });
                let there = position < tail && position + retained >= tail;
                let id = position.checked_sub(spec.first).map(|at| at as usize);
                let id = id.and_then(|at| state.published.get(at)).copied();
                let right = wanted.is_none_or(|wanted| wanted.is_some() && wanted == id);
                if there && right && under.count < *most {
                    push(&|next, under| {
                        next.processes[who].position = Some(position + 1);
                        under.count += 1;
                    });
                }
                if wanted == Some(None) && ended && !under.seen {
                    push(&|_, under| under.seen = true);
                }
            }
            (Asked::Recv(_), Some(Answer::Nothing(_))) if position == tail && !under.seen => {
                push(&|_, under| under.seen = true);
            }
            (Asked::Recv(_), Some(Answer::Lagged(count))) if may_be_gone && !under.seen => {
                let to = position + count;
                if *count > 0 && to + spec.capacity <= tail && to + retained >= tail {
                    push(&|next, under| {
                        next.processes[who].position = Some(to);
                        under.seen = true;
                    });
                }
            }
            (Asked::Join(_) | Asked::Release, _) if under.count == 0 => push(&|next, under| {
                next.processes[who].position = None;
                under.count = 1;
            }),
            (Asked::Join(last), _) if under.count == 1 => {
                let at = tail - tail.min(*last);
                if answer.is_none_or(|answer| *answer == Answer::At(at)) {
                    push(&|next, under| {
                        next.processes[who].position = Some(at);
                        next.processes[who].granted = at + retained;
                        under.count = 2;
                    });
                }
            }
            (Asked::Count, Some(Answer::At(count))) if *count == tail && !under.seen => {
                push(&|_, under| under.seen = true);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod invented {
    use super::*;
    use crate::common::ends::Nothing;
    use crate::history::{Kill, Op};

    const PUBLISHER: usize = 0;
    const LOSSY: usize = 1;
    const RELIABLE: usize = 2;

    /// Calls one after the other, on a channel for two messages.
    fn judge(calls: &[(usize, Asked, Answer)], kills: &[Kill]) -> bool {
        let op = |(n, (who, asked, answer)): (usize, &(usize, Asked, Answer))| {
            let call = 10 * n as u64;
            Op { who: *who, call, end: Some((call + 5, answer.clone())), asked: asked.clone() }
        };
        let spec = Spec {
            capacity: 2,
            lossy: [LOSSY].into(),
            reliable: [RELIABLE].into(),
            before: Vec::new(),
            first: 0,
        };
        let ops = calls.iter().enumerate().map(op).collect();
        matches!(check(&History { spec, ops, kills: kills.to_vec() }), Judgement::Right(_))
    }

    fn send(id: u64, sent: usize) -> (usize, Asked, Answer) {
        (PUBLISHER, Asked::Send(vec![id]), Answer::Sent(sent))
    }

    fn read(who: usize, answer: Answer) -> (usize, Asked, Answer) {
        (who, Asked::Recv(1), answer)
    }

    fn got(who: usize, id: u64) -> (usize, Asked, Answer) {
        read(who, Answer::Got(vec![id]))
    }

    #[test]
    fn what_a_broadcast_channel_may_and_may_not_answer() {
        let full = [send(1, 1), send(2, 1), send(3, 0)];
        assert!(judge(&full, &[]));
        assert!(!judge(&[send(1, 1), send(2, 0)], &[]), "full, with room");
        assert!(!judge(&[send(1, 1), send(2, 1), send(3, 1)], &[]), "a reliable one was passed");
        let kill = Kill { who: RELIABLE, sent: 1, dead: 2 };
        assert!(judge(&[send(1, 1), send(2, 1), send(3, 1)], &[kill]), "a dead one is passed");
        for (who, id, right) in [(LOSSY, 1, true), (LOSSY, 2, false), (RELIABLE, 3, false)] {
            assert_eq!(judge(&[send(1, 1), send(2, 1), got(who, id)], &[]), right, "{who} {id}");
        }
        let again = [send(1, 1), got(LOSSY, 1), got(LOSSY, 1)];
        assert!(!judge(&again, &[]), "twice");
        let empty = |who| judge(&[send(1, 1), read(who, Answer::Nothing(Nothing::Empty))], &[]);
        assert!(!empty(LOSSY) && !empty(RELIABLE), "empty, with a message");
    }

    #[test]
    fn a_subscriber_lags_by_what_it_has_missed_and_no_reliable_one_does() {
        let release = (RELIABLE, Asked::Release, Answer::Done);
        let lagged = |sent: u64, count, then| {
            let mut calls = vec![release.clone()];
            calls.extend((0..sent).map(|id| send(id, 1)));
            calls.push(read(LOSSY, Answer::Lagged(count)));
            calls.push(got(LOSSY, then));
            judge(&calls, &[])
        };
        // Of nine, the last two are there, and those before them down to the sixth last may be.
        assert!(lagged(9, 3, 3) && lagged(9, 7, 7));
        assert!(!lagged(9, 2, 2), "gone");
        assert!(!lagged(9, 8, 8), "more than it had to miss");
        assert!(!lagged(9, 4, 3) && !lagged(9, 4, 5), "a wrong count");
        assert!(!lagged(2, 1, 1), "nothing was gone");
        let reliable = read(RELIABLE, Answer::Lagged(1));
        assert!(!judge(&[send(0, 1), send(1, 1), reliable], &[]));
    }

    #[test]
    fn who_joins_is_where_it_asked_to_be() {
        let join = |last, at| {
            let joined = (LOSSY, Asked::Join(last), Answer::At(at));
            judge(&[send(1, 1), send(2, 1), joined], &[])
        };
        assert!(join(0, 2) && join(1, 1) && join(2, 0));
        assert!(!join(0, 1) && !join(1, 2) && !join(2, 1));
        let count = |count| judge(&[send(1, 1), (3, Asked::Count, Answer::At(count))], &[]);
        assert!(count(1) && !count(0) && !count(2), "what was sent is there, and nothing else");
    }
}
