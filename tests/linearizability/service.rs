//! The specification of calls, and its check.
//!
//! | step | events |
//! |---|---|
//! | ask | the call is *made*: it is open, and has one of the slots |
//! | hear | a call that has been replied to, has failed or was refused is *over*, and its slot free |
//! | give up | an open call or one that is over is gone; one that a server has is *abandoned* |
//! | serve | an open call is *taken* |
//! | reply, refuse | a call that is taken is replied to, or refused; an abandoned one is gone |
//! | give back | a call that is taken is open; an abandoned one is gone |
//!
//! Each happens at one instant. A server gets each open call at most once before it is open
//! again, and a client hears of its own call only. A reply is **wanted** exactly if the call was
//! not abandoned.
//!
//! There is no order between the slots, and they are looked at one after the other. So **full** may
//! be answered if, in the course of the step, as many calls as there are slots have been under
//! way or about to be made. **Empty** may be answered if no call was open all the time. A client
//! may hear **nothing** at an instant at which its call is open or taken.
//!
//! **Death.** A killed process has done some first part of its step. Later, at the latest when a
//! sweep has returned, its open call and one that is over are gone, and one that a server has is
//! abandoned. A call that the dead process had taken is open for another server, if its client
//! has allowed so many deaths, and has failed if not.

use crate::check::{Judgement, Life, explore};
use crate::history::{Answer, Asked, Event, History, Letting};

#[derive(Clone, Debug)]
pub(crate) struct Spec {
    /// How many slots there are.
    pub(crate) capacity: usize,
}

/// The reply to a request.
pub(crate) const fn reply(id: u64) -> u64 {
    3 * id + 1
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Open,
    Taken(usize),
    Abandoned(usize),
    Answered,
    Failed,
    Refused,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Call {
    id: u64,
    client: usize,
    again: u8,
    phase: Phase,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Under {
    op: usize,
    /// Its event has happened, or its refusal has been seen to be right.
    done: bool,
    /// Of one that asks: how many calls have been under way in its course.
    met: usize,
    /// Of one that serves: the calls that have been open since it began.
    overdue: Vec<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Process {
    life: Life,
    under: Option<Under>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    at: usize,
    /// By their ids.
    calls: Vec<Call>,
    processes: Vec<Process>,
}

struct Search<'a> {
    history: &'a History<Spec>,
    events: Vec<Event>,
}

pub(crate) fn check(history: &History<Spec>) -> Judgement {
    let search = Search { history, events: history.events() };
    let process = Process { life: Life::Alive, under: None };
    let processes = vec![process; history.processes()];
    let start = State { at: 0, calls: Vec::new(), processes };
    explore(start, &search.events, |state| state.at, |state, open| search.successors(state, open))
}

impl State {
    /// Changes the phase of the call at this place; `None`: it is gone.
    fn put(&mut self, at: usize, phase: Option<Phase>) {
        let id = self.calls[at].id;
        match phase {
            Some(phase) => self.calls[at].phase = phase,
            None => _ = self.calls.remove(at),
        }
        for under in self.processes.iter_mut().filter_map(|process| process.under.as_mut()) {
            under.overdue.retain(|overdue| *overdue != id);
        }
    }

    /// Where the call of this client is that it has not given up.
    fn call_of(&self, client: usize) -> Option<usize> {
        let is_its =
            |call: &Call| call.client == client && !matches!(call.phase, Phase::Abandoned(_));
        self.calls.iter().position(is_its)
    }

    /// Where the call is that this server has.
    fn in_hand(&self, server: usize) -> Option<usize> {
        let has = |call: &Call| matches!(call.phase, Phase::Taken(by) | Phase::Abandoned(by) if by == server);
        self.calls.iter().position(has)
    }

    fn give_up(&mut self, at: usize) {
        let phase = match self.calls[at].phase {
            Phase::Taken(server) => Some(Phase::Abandoned(server)),
            _ => None,
        };
        self.put(at, phase);
    }

    /// A server lets a call go; whether that was wanted.
    fn let_go(&mut self, at: usize, phase: Phase) -> bool {
        let wanted = matches!(self.calls[at].phase, Phase::Taken(_));
        self.put(at, wanted.then_some(phase));
        wanted
    }

    fn bury(&mut self, who: usize) {
        if let Some(at) = self.call_of(who) {
            self.give_up(at);
        }
        if let Some(at) = self.in_hand(who) {
            let call = &mut self.calls[at];
            let phase = match call.again.checked_sub(1) {
                Some(again) => {
                    call.again = again;
                    Phase::Open
                }
                None => Phase::Failed,
            };
            self.let_go(at, phase);
        }
        self.processes[who] = Process { life: Life::Buried, under: None };
    }
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
            let mut next = state.clone();
            match state.processes[who].life {
                Life::Doomed => next.processes[who].life = Life::Dead,
                Life::Dead => next.bury(who),
                _ => continue,
            }
            open.push(next);
        }
    }

    fn asks(&self, process: &Process) -> bool {
        let asked = |under: &Under| {
            !under.done && matches!(self.history.ops[under.op].asked, Asked::Ask(..))
        };
        process.under.as_ref().is_some_and(asked)
    }

    fn pass(&self, state: &State) -> Option<State> {
        let mut next = state.clone();
        match self.events[state.at] {
            Event::Call(op) => {
                let Self { history, .. } = self;
                let who = history.ops[op].who;
                if matches!(history.ops[op].asked, Asked::Ask(..)) {
                    let others = next.processes.iter_mut().filter_map(|one| one.under.as_mut());
                    others.for_each(|under| under.met += 1);
                }
                let asking = state.processes.iter().filter(|one| self.asks(one)).count();
                let met = state.calls.len() + asking;
                let is_open = |call: &&Call| call.phase == Phase::Open;
                let overdue = state.calls.iter().filter(is_open).map(|call| call.id).collect();
                next.processes[who].under = Some(Under { op, done: false, met, overdue });
            }
            Event::Doom(who) => next.processes[who].life = Life::Doomed,
            Event::Death(who) => {
                matches!(state.processes[who].life, Life::Dead | Life::Buried).then_some(())?;
            }
            Event::Return(op) => {
                let op = &self.history.ops[op];
                let under = state.processes[op.who].under.as_ref()?;
                let swept = op.asked == Asked::Sweep
                    && state
                        .processes
                        .iter()
                        .all(|one| matches!(one.life, Life::Alive | Life::Buried));
                (under.done || swept).then_some(())?;
                next.processes[op.who].under = None;
            }
        }
        Some(next)
    }

    fn steps(&self, state: &State, who: usize, open: &mut Vec<State>) {
        let process = &state.processes[who];
        let alive = matches!(process.life, Life::Alive | Life::Doomed);
        let Some(under) = process.under.as_ref().filter(|under| alive && !under.done) else {
            return;
        };
        let op = &self.history.ops[under.op];
        let answer = op.end.as_ref().map(|(_, answer)| answer);
        let mut done = |change: &dyn Fn(&mut State) -> bool| {
            let mut next = state.clone();
            if change(&mut next) {
                next.processes[who].under.iter_mut().for_each(|under| under.done = true);
                open.push(next);
            }
        };
        let capacity = self.history.spec.capacity;
        match (&op.asked, answer) {
            (&Asked::Ask(id, again), Some(Answer::Sent(1)) | None) => done(&|next| {
                let room = next.calls.len() < capacity;
                if room {
                    next.calls.push(Call { id, client: who, again, phase: Phase::Open });
                    next.calls.sort_unstable_by_key(|call| call.id);
                }
                room
            }),
            (Asked::Ask(..), Some(Answer::Sent(0))) => done(&|_| under.met >= capacity),
            (Asked::Hear, _) => {
                let Some(at) = state.call_of(who) else { return };
                let Call { id, phase, .. } = state.calls[at];
                let over = match phase {
                    Phase::Answered => Some(Answer::Got(vec![reply(id)])),
                    Phase::Failed => Some(Answer::Died),
                    Phase::Refused => Some(Answer::Refused),
                    _ => None,
                };
                match (over, answer) {
                    (Some(over), answer) if answer.is_none_or(|answer| *answer == over) => {
                        done(&|next| {
                            next.put(at, None);
                            true
                        });
                    }
                    (None, Some(Answer::Nothing(_))) => done(&|_| true),
                    _ => {}
                }
            }
            (Asked::GiveUp, _) => {
                let Some(at) = state.call_of(who) else { return };
                done(&|next| {
                    next.give_up(at);
                    true
                });
            }
            (Asked::Serve, Some(Answer::Nothing(_))) => done(&|_| under.overdue.is_empty()),
            (Asked::Serve, answer) => {
                for (at, call) in state.calls.iter().enumerate() {
                    let right = answer.is_none_or(|answer| *answer == Answer::Taken(call.id, 0));
                    if call.phase == Phase::Open && right {
                        done(&|next| {
                            next.put(at, Some(Phase::Taken(who)));
                            true
                        });
                    }
                }
            }
            (&Asked::Let(way), answer) => {
                let Some(at) = state.in_hand(who) else { return };
                let phase = match way {
                    Letting::Reply => Phase::Answered,
                    Letting::GiveBack => Phase::Open,
                    Letting::Refuse => Phase::Refused,
                };
                done(&|next| {
                    let wanted = next.let_go(at, phase);
                    match answer {
                        Some(Answer::Sent(said)) => wanted == (*said == 1),
                        Some(Answer::Done) | None => true,
                        Some(_) => false,
                    }
                });
            }
            // One that leaves lets go of all that it has.
            (Asked::Release, _) => done(&|next| {
                if let Some(at) = next.call_of(who) {
                    next.give_up(at);
                }
                if let Some(at) = next.in_hand(who) {
                    next.let_go(at, Phase::Refused);
                }
                true
            }),
            (Asked::Count, Some(Answer::At(count))) => {
                done(&|next| next.calls.len() as u64 == *count);
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

    const CLIENT: usize = 0;
    const OTHER: usize = 1;
    const SERVER: usize = 2;
    const SECOND: usize = 3;

    type Step = (usize, Asked, Answer);

    /// Steps one after the other, in a service with so many slots.
    fn judge_of(capacity: usize, steps: &[Step], kills: &[Kill]) -> bool {
        let op = |(n, (who, asked, answer)): (usize, &Step)| {
            let call = 10 * n as u64;
            Op { who: *who, call, end: Some((call + 5, answer.clone())), asked: asked.clone() }
        };
        let ops = steps.iter().enumerate().map(op).collect();
        let history = History { spec: Spec { capacity }, ops, kills: kills.to_vec() };
        matches!(check(&history), Judgement::Right(_))
    }

    fn judge(steps: &[Step]) -> bool {
        judge_of(2, steps, &[])
    }

    fn ask(who: usize, id: u64) -> Step {
        (who, Asked::Ask(id, 0), Answer::Sent(1))
    }

    fn serve(who: usize, id: u64) -> Step {
        (who, Asked::Serve, Answer::Taken(id, 0))
    }

    fn hear(who: usize, answer: Answer) -> Step {
        (who, Asked::Hear, answer)
    }

    fn replied(who: usize, id: u64) -> Step {
        hear(who, Answer::Got(vec![reply(id)]))
    }

    fn replies(who: usize, wanted: usize) -> Step {
        (who, Asked::Let(Letting::Reply), Answer::Sent(wanted))
    }

    fn lets(who: usize, way: Letting) -> Step {
        (who, Asked::Let(way), Answer::Done)
    }

    fn give_up(who: usize) -> Step {
        (who, Asked::GiveUp, Answer::Done)
    }

    const NOTHING: Answer = Answer::Nothing(Nothing::Empty);

    #[test]
    fn a_call_has_its_own_reply_and_only_when_there_is_one() {
        let before = [ask(CLIENT, 1), ask(OTHER, 2), serve(SERVER, 1)];
        let then = |steps: &[Step]| judge(&[&before, steps].concat());
        assert!(then(&[replies(SERVER, 1), replied(CLIENT, 1), hear(OTHER, NOTHING)]));
        assert!(!then(&[replied(CLIENT, 1)]), "too early");
        assert!(!then(&[replies(SERVER, 1), replied(CLIENT, 2)]), "another's reply");
        assert!(!then(&[replies(SERVER, 1), replied(OTHER, 1)]), "another's reply");
        assert!(!then(&[replies(SERVER, 1), hear(CLIENT, NOTHING)]), "it is there");
        assert!(!then(&[replies(SERVER, 1), replied(CLIENT, 1), replied(CLIENT, 1)]), "twice");
        assert!(then(&[lets(SERVER, Letting::Refuse), hear(CLIENT, Answer::Refused)]));
        assert!(!then(&[hear(CLIENT, Answer::Refused)]) && !then(&[hear(CLIENT, Answer::Died)]));
    }

    #[test]
    fn a_call_is_served_once_unless_it_is_open_again() {
        let before = [ask(CLIENT, 1), serve(SERVER, 1)];
        let then = |steps: &[Step]| judge(&[&before, steps].concat());
        assert!(!then(&[serve(SECOND, 1)]), "twice");
        assert!(then(&[lets(SERVER, Letting::GiveBack), serve(SECOND, 1)]));
        assert!(!then(&[replies(SERVER, 1), serve(SECOND, 1)]), "when it was over");
        assert!(!judge(&[serve(SERVER, 1)]), "it was not made");
        assert!(!judge(&[ask(CLIENT, 1), give_up(CLIENT), serve(SERVER, 1)]), "it was given up");
    }

    #[test]
    fn a_reply_is_wanted_exactly_by_a_client_that_waits() {
        let before = [ask(CLIENT, 1), serve(SERVER, 1)];
        let then = |steps: &[Step]| judge(&[&before, steps].concat());
        assert!(!then(&[replies(SERVER, 0)]));
        assert!(then(&[give_up(CLIENT), replies(SERVER, 0)]));
        assert!(!then(&[give_up(CLIENT), replies(SERVER, 1)]));
    }

    #[test]
    fn slots_and_open_calls_are_found() {
        let full = (OTHER, Asked::Ask(3, 0), Answer::Sent(0));
        let empty = (SERVER, Asked::Serve, NOTHING);
        let [one, two] = [ask(CLIENT, 1), ask(SECOND, 2)];
        assert!(judge(&[one.clone(), two.clone(), full.clone()]));
        assert!(!judge(&[one.clone(), full.clone()]), "there is a slot");
        assert!(!judge(&[one.clone(), two.clone(), ask(OTHER, 3)]), "there is none");
        // One that a server has is not free.
        let taken = [one.clone(), two, serve(SERVER, 1), give_up(CLIENT)];
        assert!(judge(&[&taken[..], &[full]].concat()));
        assert!(!judge(&[&taken[..], &[ask(OTHER, 3)]].concat()));
        assert!(judge(&[&taken[..], &[replies(SERVER, 0), ask(OTHER, 3)]].concat()));
        assert!(judge(std::slice::from_ref(&empty)) && !judge(&[one, empty]), "one is open");
    }

    #[test]
    fn a_call_fails_by_its_servers_death_and_is_repeated_as_often_as_it_may() {
        let kill = [Kill { who: SERVER, sent: 16, dead: 17 }];
        let asks = |again| (CLIENT, Asked::Ask(1, again), Answer::Sent(1));
        let after = |again, steps: &[Step]| {
            judge_of(2, &[&[asks(again), serve(SERVER, 1)], steps].concat(), &kill)
        };
        let died = [hear(CLIENT, Answer::Died)];
        let served = [serve(SECOND, 1), replies(SECOND, 1), replied(CLIENT, 1)];
        assert!(after(0, &died) && !after(1, &died));
        assert!(after(1, &served) && !after(0, &served));
        // Not at once.
        assert!(after(0, &[&[hear(CLIENT, NOTHING)], &died[..]].concat()));
        let count = |n| (OTHER, Asked::Count, Answer::At(n));
        let swept = (OTHER, Asked::Sweep, Answer::Done);
        let left = [give_up(CLIENT), swept.clone(), count(0)];
        assert!(after(0, &left) && after(1, &left));
        assert!(!after(0, &[give_up(CLIENT), swept, count(1)]), "a slot is lost");
    }
}
