//! The judge of a broadcast storm: the conclusions that the subscribers' notes allow.
//!
//! One subscriber is the *witness*: it joined before anything was published, it is reliable,
//! and nobody kills it. What it has received is the sequence. Then:
//!
//! - **The sequence**: each producer's life is in it from its first message on, in order,
//!   each message once. Each message whose sending has returned is in it.
//! - **Everybody else** has at each position what the sequence has there. A subscriber's
//!   position is where it joined, and goes on by one for each message that it got, and by as
//!   many as it was told it had missed: so what it was told is exact. Now and then it says
//!   itself where it is. It joined no later than at the first message whose sending began
//!   after that.
//! - **A reliable one** is told of nothing missed.
//! - **A publisher** that has the sequence number of its last message has the right one.

use std::collections::{HashMap, VecDeque};

use super::life::Life;
use super::{Findings, Id, Note};

/// So much of the sequence is kept. A note of what is before it came too late
/// to be judged.
const KEPT: usize = 1 << 20;
/// Whose notes are the sequence.
const WITNESS: u16 = 0;

/// A subscriber that is there.
#[derive(Clone, Copy, Debug)]
struct Subscriber {
    reliable: bool,
    /// Of the next message.
    position: u64,
}

/// A subscriber that has joined ahead of the witness.
#[derive(Debug)]
struct Join {
    seat: u16,
    position: u64,
    at: u64,
}

#[derive(Debug)]
pub(super) struct Board {
    /// The end of the sequence so far, and the position behind it.
    sequence: VecDeque<Id>,
    next: u64,
    /// What others have at positions to which the witness has not come.
    claims: HashMap<u64, (String, Id)>,
    joins: Vec<Join>,
    subscribers: Vec<Option<Subscriber>>,
}

/// What the judge knows beside the board.
pub(super) struct Field<'a> {
    pub(super) producers: &'a mut [Vec<Life>],
    pub(super) findings: &'a mut Findings,
}

impl Board {
    pub(super) fn new(subscribers: u16) -> Self {
        Self {
            sequence: VecDeque::new(),
            next: 0,
            claims: HashMap::new(),
            joins: Vec::new(),
            subscribers: vec![None; usize::from(subscribers)],
        }
    }

    /// Hears what a subscriber has noted.
    pub(super) fn hear(&mut self, seat: u16, at: u64, note: Note, field: &mut Field<'_>) {
        let Some(there) = self.subscribers.get_mut(usize::from(seat)) else {
            return;
        };
        if let Note::Joined { position, reliable } = note {
            *there = Some(Subscriber { reliable, position });
            if position > self.next {
                self.joins.push(Join { seat, position, at });
            }
            if seat == WITNESS && position != 0 {
                let what = || format!("the witness begins at {position}");
                field.findings.wrong(|findings| &mut findings.lost, position, what);
            }
        }
        let Some(subscriber) = there else {
            return;
        };
        let position = subscriber.position;
        let findings = &mut *field.findings;
        match note {
            Note::Torn => {
                subscriber.position += 1;
                let what = || format!("subscriber {seat} received a torn message at {position}");
                findings.wrong(|findings| &mut findings.torn, 1, what);
            }
            Note::Missed { count } => {
                subscriber.position += count;
                if subscriber.reliable {
                    let what =
                        || format!("reliable subscriber {seat} missed {count} at {position}");
                    findings.wrong(|findings| &mut findings.lost, count, what);
                }
            }
            Note::Skipped { count } => subscriber.position += count,
            Note::At { position: said } if said != position => {
                subscriber.position = said;
                let what =
                    || format!("subscriber {seat} is at {said}, and should be at {position}");
                findings.wrong(|findings| &mut findings.reordered, 1, what);
            }
            Note::Got(id) => {
                subscriber.position += 1;
                if seat == WITNESS {
                    self.go_on(id, field);
                } else {
                    self.claim(&format!("subscriber {seat}"), position, id, findings);
                }
            }
            _ => {}
        }
    }

    /// The witness has received the next message.
    fn go_on(&mut self, id: Id, field: &mut Field<'_>) {
        let position = self.next;
        self.next += 1;
        if self.sequence.len() == KEPT {
            self.sequence.pop_front();
        }
        self.sequence.push_back(id);
        let Field { producers, findings } = field;
        findings.messages += 1;
        if let Some((who, other)) = self.claims.remove(&position)
            && other != id
        {
            findings.wrong(
                |findings| &mut findings.reordered,
                1,
                || format!("{who} has {other} at {position}, where the witness has {id}"),
            );
        }
        let lives = producers.get_mut(usize::from(id.producer)).map_or(&mut [][..], |lives| lives);
        let before = lives.len().min(id.life as usize);
        let superseded = lives.get(before + 1..).unwrap_or_default().iter().any(Life::is_known);
        let Some(life) = lives.get_mut(before).filter(|life| id.number < life.begun) else {
            let what = || format!("{id} was received at {position}, and never sent");
            return findings.wrong(|findings| &mut findings.torn, 1, what);
        };
        self.joins.retain(|join| join.position > position);
        for join in self.joins.iter().filter(|join| life.begun_at(id.number) > join.at) {
            findings.wrong(
                |findings| &mut findings.lost,
                1,
                || format!("{id} at {position} was sent after subscriber {} had joined", join.seat),
            );
        }
        if life.settled.contains(id.number) {
            let what = || format!("{id} came again, at {position}");
            return findings.wrong(|findings| &mut findings.duplicated, 1, what);
        }
        if !life.publish(id.number) || superseded {
            let what = || format!("{id} came at {position}, after a later one");
            findings.wrong(|findings| &mut findings.reordered, 1, what);
        }
    }

    /// Somebody has this message at this position.
    pub(super) fn claim(&mut self, who: &str, position: u64, id: Id, findings: &mut Findings) {
        if position >= self.next {
            let (first, known) =
                self.claims.entry(position).or_insert_with(|| (who.to_owned(), id));
            if *known != id {
                findings.wrong(
                    |findings| &mut findings.reordered,
                    1,
                    || format!("{who} has {id} at {position}, where {first} has {known}"),
                );
            }
            return;
        }
        let back = (self.next - position) as usize;
        let known = self.sequence.len().checked_sub(back).and_then(|at| self.sequence.get(at));
        if let Some(known) = known
            && *known != id
        {
            findings.wrong(
                |findings| &mut findings.reordered,
                1,
                || format!("{who} has {id} at {position}, where the witness has {known}"),
            );
        }
    }

    /// A subscriber has gone.
    pub(super) fn leave(&mut self, seat: u16) {
        if let Some(there) = self.subscribers.get_mut(usize::from(seat)) {
            *there = None;
        }
    }

    /// The witness has received everything.
    pub(super) fn conclude(self, findings: &mut Findings) {
        for (position, (who, id)) in self.claims {
            findings.wrong(
                |findings| &mut findings.lost,
                1,
                || format!("{who} has {id} at {position}, to which the witness has not come"),
            );
        }
    }
}
