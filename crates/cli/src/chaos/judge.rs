//! The judge: the conclusions that the notes allow.
//!
//! The judge reads every note of every worker, in the order of their times, and
//! every death: when the signal was sent, and when the process was reaped. It
//! concludes for each message:
//!
//! - **Sent**: its `Sent` was noted, or a later message of the same life was
//!   received, because one producer's messages are published in order.
//! - **Finished**: a consumer noted it as received whole (`Got`), or as
//!   acknowledged (`Released`). It must never come again.
//! - **Held by a dead consumer**: `Took` was noted and no `Releasing`. It must
//!   come again, unless its attempts are used up. After `Releasing` it may or
//!   may not come again.
//! - **Never noted**: only a dead consumer can have had it, in the very call in
//!   which it was killed (its [`Window`]). A call that takes and acknowledges can
//!   lose as many messages as it asked for. A call that only takes cannot lose
//!   any: its messages must come again, as often as the attempts allow. The window
//!   must be open when the message can have been taken: not before the message was
//!   about to be sent, and not after a later one of the same producer was
//!   received, because there is only one queue. Each window explains at most as
//!   many messages as its call asked for, so the judge matches messages to
//!   windows. A message without a window is lost.
//!
//! A second delivery is correct if the previous receiver was killed before it. The
//! time of a death is that of the signal, which is before any effect of it, so a
//! living process never excuses anything.
//!
//! Order means the order of the first deliveries that one life of a consumer sees
//! of one life of a producer. A receiver that does not learn the attempts may have
//! received a message that another one took and did not live to note; this needs a
//! window too.
//!
//! In a broadcast storm, the subscribers' notes are the [`board`]'s to judge. In a storm of
//! calls, all notes are the [`desk`]'s.

mod board;
#[cfg(test)]
mod board_tests;
mod desk;
#[cfg(test)]
mod desk_tests;
mod life;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use super::ledger::{Id, Note};
use super::windows::{Claim, Window, match_up};
use board::{Board, Field};
use desk::Desk;
use life::{Life, Receipt};

/// The worker that a note is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seat {
    Producer(u16),
    Consumer(u16),
    /// Takes no part in what is judged.
    Side,
}

/// How a life ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Killed { signal_at: u64, reaped_at: u64 },
    ByItself,
}

/// The verdict so far, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    /// Different messages received.
    pub(crate) messages: u64,
    pub(crate) held_by_dead: u64,
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    pub(crate) torn: u64,
    pub(crate) reordered: u64,
    /// The first of what is wrong, in words.
    pub(crate) evidence: Vec<String>,
}

impl Findings {
    /// Keeps what shows that something is wrong, if there is not enough yet.
    fn show(&mut self, what: impl FnOnce() -> String) {
        if self.evidence.len() < 10 {
            self.evidence.push(what());
        }
    }

    /// Something is wrong: so many are entered under this count.
    fn wrong(
        &mut self,
        count: impl FnOnce(&mut Self) -> &mut u64,
        by: u64,
        what: impl FnOnce() -> String,
    ) {
        *count(self) += by;
        self.show(what);
    }
}

/// A consumer's life that is going on.
#[derive(Debug, Default)]
struct Consumer {
    /// The call that it is in: since when, how many messages may still come, and
    /// whether the call acknowledges them.
    asking: Option<(u64, u64, bool)>,
    held: Vec<Id>,
    /// The last first delivery of each producer's life, and when it was noted.
    seen: HashMap<(u16, u32), (u64, u64)>,
}

/// Messages of a dead consumer that another one has to take again.
#[derive(Debug)]
enum Left {
    Message(Id),
    /// All that it may have had in the window of this index.
    In(usize),
}

/// A dead consumer is swept at the latest when its successor has joined. Orphans
/// are delivered first: a consumer that asks after that and receives something
/// else shows that there was no orphan any more.
#[derive(Debug)]
struct Orphan {
    seat: u16,
    what: Left,
    swept_at: Option<u64>,
}

#[derive(Debug)]
pub(crate) struct Judge {
    /// How often a message comes again at most; `None` for any number.
    attempts: Option<u8>,
    producers: Vec<Vec<Life>>,
    consumers: Vec<Consumer>,
    windows: Vec<Window>,
    /// Messages that came out of order and were not marked as repeated.
    late: Vec<(Id, Claim)>,
    /// Messages that have to come again, and that no note shows to be taken again.
    orphans: Vec<Orphan>,
    /// Of a broadcast storm.
    board: Option<Board>,
    /// Of a storm of calls.
    desk: Option<Desk>,
    findings: Findings,
}

impl Judge {
    pub(crate) fn new(attempts: Option<u8>, producers: u16, consumers: u16) -> Self {
        Self {
            attempts,
            producers: (0..producers).map(|_| Vec::new()).collect(),
            consumers: (0..consumers).map(|_| Consumer::default()).collect(),
            windows: Vec::new(),
            late: Vec::new(),
            orphans: Vec::new(),
            board: None,
            desk: None,
            findings: Findings::default(),
        }
    }

    /// The judge of a broadcast storm.
    pub(crate) fn of_broadcast(producers: u16, subscribers: u16) -> Self {
        let board = Some(Board::new(subscribers));
        Self { board, ..Self::new(None, producers, subscribers) }
    }

    /// The judge of a storm of calls.
    pub(crate) fn of_calls(clients: u16, servers: u16) -> Self {
        Self { desk: Some(Desk::new(clients, servers)), ..Self::new(None, clients, servers) }
    }

    /// Different messages received so far; or calls that were replied to.
    pub(crate) const fn messages(&self) -> u64 {
        self.findings.messages
    }

    /// Hears what a worker in its `life` has noted.
    pub(crate) fn hear(&mut self, seat: Seat, life: u32, at: u64, note: Note) {
        if let Some(desk) = &mut self.desk {
            return desk.hear(seat, life, (at, note), &mut self.findings);
        }
        match seat {
            Seat::Producer(seat) => self.hear_producer(seat, life, at, note),
            Seat::Consumer(seat) => match &mut self.board {
                Some(board) => {
                    let Self { producers, findings, .. } = self;
                    board.hear(seat, at, note, &mut Field { producers, findings });
                }
                None => self.hear_consumer(seat, at, note),
            },
            Seat::Side => {}
        }
    }

    fn hear_producer(&mut self, seat: u16, life: u32, at: u64, note: Note) {
        let Some(lives) = self.producers.get_mut(usize::from(seat)) else {
            return;
        };
        let life = life as usize;
        if lives.len() <= life {
            lives.resize_with(life + 1, Life::default);
        }
        match (lives.get_mut(life), note) {
            (Some(life), Note::Sending { upto }) => life.begin(upto, at),
            (Some(life), Note::Sent { upto }) => life.returned = life.returned.max(upto),
            (Some(sender), Note::At { position }) => {
                let number = sender.returned.saturating_sub(1);
                let id = Id { producer: seat, life: life as u32, number };
                if let Some(board) = &mut self.board {
                    board.claim(&format!("producer {seat}"), position, id, &mut self.findings);
                }
            }
            _ => {}
        }
    }

    fn hear_consumer(&mut self, seat: u16, at: u64, note: Note) {
        let Some(consumer) = self.consumers.get_mut(usize::from(seat)) else {
            return;
        };
        let asked_at = consumer.asking.map_or(0, |(at, _, _)| at);
        match note {
            Note::Up => {
                let its = |orphan: &&mut Orphan| orphan.seat == seat && orphan.swept_at.is_none();
                self.orphans.iter_mut().filter(its).for_each(|orphan| orphan.swept_at = Some(at));
            }
            Note::Asking { most, whole } => consumer.asking = Some((at, most, whole)),
            Note::Done => consumer.asking = None,
            Note::Torn => {
                self.findings.torn += 1;
                self.findings.show(|| format!("consumer {seat} received a torn message"));
            }
            Note::Got(id) => {
                if let Some((_, left, _)) = &mut consumer.asking {
                    *left = left.saturating_sub(1);
                }
                self.take(Receipt { seat, asked_at, at, attempts: None }, id);
                self.finish(seat, id);
            }
            Note::Took(id, attempts) => {
                consumer.asking = None;
                consumer.held.push(id);
                let attempts = self.attempts.map(|_| attempts);
                self.take(Receipt { seat, asked_at, at, attempts }, id);
            }
            Note::Releasing(id) => {
                let life = self.life(id);
                if let Some(take) = life.and_then(|life| life.current(seat, id.number)) {
                    take.releasing = true;
                }
            }
            Note::Released(id) => {
                consumer.held.retain(|&held| held != id);
                self.finish(seat, id);
            }
            _ => {}
        }
    }

    fn life(&mut self, id: Id) -> Option<&mut Life> {
        self.producers.get_mut(usize::from(id.producer))?.get_mut(id.life as usize)
    }

    fn take(&mut self, receipt: Receipt, id: Id) {
        let most = self.attempts;
        let Receipt { seat, asked_at, at, attempts } = receipt;
        let Some(life) = self.life(id).filter(|life| id.number < life.begun) else {
            self.findings.torn += 1;
            self.findings.show(|| format!("{id} was received by consumer {seat} and never sent"));
            return;
        };
        if life.settled.contains(id.number) {
            self.findings.duplicated += 1;
            self.findings.show(|| format!("{id} came again to consumer {seat} when all was done"));
            return;
        }
        let (first, history) = life.take(id.number, receipt, most);
        if let Some(history) = history {
            self.findings.duplicated += 1;
            self.findings.show(|| format!("{id} came again: {history}"));
        }
        if first {
            self.findings.messages += 1;
            if attempts.is_none_or(|attempts| attempts == 0) {
                self.check_order(receipt, id);
            }
            if attempts == Some(0) || most.is_none() {
                self.forget_orphans(asked_at, at);
            }
            self.pass(at, id);
        }
    }

    /// A first delivery: whether it came after a later one.
    fn check_order(&mut self, receipt: Receipt, id: Id) {
        let Receipt { seat, at, attempts, .. } = receipt;
        let Some(consumer) = self.consumers.get_mut(usize::from(seat)) else {
            return;
        };
        let last = consumer.seen.entry((id.producer, id.life)).or_insert((id.number, at));
        if last.0 <= id.number {
            *last = (id.number, at);
            return;
        }
        let passed_at = last.1;
        let redelivers = self.attempts != Some(0);
        if attempts.is_none() && redelivers {
            let from = self.life(id).map_or(0, |life| life.begun_at(id.number));
            self.late.push((id, Claim::Late { from, to: passed_at, before: at }));
        } else {
            self.findings.reordered += 1;
            let (number, _) = *last;
            self.findings.show(|| format!("{id} came to consumer {seat} after {number}"));
        }
    }

    /// A first delivery of what is no orphan: there was none.
    fn forget_orphans(&mut self, asked_at: u64, at: u64) {
        let (gone, left) = std::mem::take(&mut self.orphans)
            .into_iter()
            .partition(|orphan| orphan.swept_at.is_some_and(|swept_at| swept_at < asked_at));
        self.orphans = left;
        for orphan in gone {
            match orphan.what {
                Left::Message(id) => {
                    if let Some(life) = self.life(id) {
                        life.retaken(id.number, at);
                    }
                }
                Left::In(window) => {
                    if let Some(window) = self.windows.get_mut(window) {
                        window.retaken_by = at;
                    }
                }
            }
        }
    }

    /// A first delivery: what it shows of those before it.
    fn pass(&mut self, at: u64, id: Id) {
        let Some(lives) = self.producers.get_mut(usize::from(id.producer)) else {
            return;
        };
        let life = lives.len().min(id.life as usize);
        let (earlier, rest) = lives.split_at_mut(life);
        if let Some(life) = rest.first_mut() {
            life.pass(id.number, at);
        }
        for life in earlier.iter_mut().rev().take_while(|life| life.succeeded.is_none()) {
            life.succeeded = Some(at);
        }
    }

    /// This consumer has acknowledged the message.
    fn finish(&mut self, seat: u16, id: Id) {
        self.resolve(seat, id, u64::MAX);
        if let Some(life) = self.life(id) {
            life.finish(id.number);
        }
    }

    /// This consumer was alive with the message until then: no other should have
    /// got it in between.
    fn resolve(&mut self, seat: u16, id: Id, until: u64) {
        let early = self.life(id).map(|life| life.resolve(id.number, seat, until));
        for take in early.unwrap_or_default() {
            self.findings.duplicated += 1;
            self.findings.show(|| {
                format!("{id} was taken from consumer {seat}, alive until {until}: {take}")
            });
        }
    }

    /// Hears how a life ended, after everything that it noted.
    pub(crate) fn end(&mut self, seat: Seat, life: u32, end: End) {
        if let Some(desk) = &mut self.desk {
            return desk.end(seat, life, end, &mut self.findings);
        }
        match (seat, end) {
            (Seat::Producer(seat), End::Killed { .. }) => {
                let life = self.life(Id { producer: seat, life, number: 0 });
                let sending = life.map_or(0, |life| life.begun - life.returned);
                self.findings.held_by_dead += sending;
            }
            (Seat::Consumer(seat), _) if self.board.is_some() => {
                self.board.iter_mut().for_each(|board| board.leave(seat));
            }
            (Seat::Consumer(seat), End::Killed { signal_at, reaped_at }) => {
                let Some(consumer) = self.consumers.get_mut(usize::from(seat)) else {
                    return;
                };
                let Consumer { asking, held, .. } = std::mem::take(consumer);
                if let Some((start, most @ 1.., whole)) = asking {
                    let swallows = whole || self.attempts == Some(0);
                    let what = Left::In(self.windows.len());
                    self.orphans.push(Orphan { seat, what, swept_at: None });
                    let retaken_by = u64::MAX;
                    let window = Window { start, signal_at, reaped_at, most, swallows, retaken_by };
                    self.windows.push(window);
                }
                for id in held {
                    self.orphan(seat, id, signal_at);
                }
            }
            (Seat::Consumer(seat), End::ByItself) => {
                if let Some(consumer) = self.consumers.get_mut(usize::from(seat)) {
                    let Consumer { held, .. } = std::mem::take(consumer);
                    held.into_iter().for_each(|id| self.finish(seat, id));
                }
            }
            (Seat::Producer(_), End::ByItself) | (Seat::Side, _) => {}
        }
    }

    /// A consumer was killed with this message in its hands.
    fn orphan(&mut self, seat: u16, id: Id, signal_at: u64) {
        let most = self.attempts;
        if let Some(life) = self.life(id) {
            life.leave(id.number, seat, most);
        }
        self.findings.held_by_dead += 1;
        self.resolve(seat, id, signal_at);
        if let Some(life) = self.life(id) {
            life.settle(id.number);
        }
        self.orphans.retain(|orphan| !matches!(orphan.what, Left::Message(old) if old == id));
        self.orphans.push(Orphan { seat, what: Left::Message(id), swept_at: None });
    }

    /// The verdict, when all have ended.
    pub(crate) fn conclude(mut self) -> Findings {
        let mut claims = Vec::new();
        for (producer, lives) in (0..).zip(&self.producers) {
            for (life, of) in (0..).zip(lives) {
                let of_message = |(number, claim)| (Id { producer, life, number }, claim);
                claims.extend(of.missing(self.attempts).map(of_message));
            }
        }
        claims.append(&mut self.late);
        let explained =
            match_up(&claims.iter().map(|&(_, claim)| claim).collect::<Vec<_>>(), &self.windows);
        for ((id, claim), explained) in claims.into_iter().zip(explained) {
            let findings = &mut self.findings;
            match (claim, explained) {
                (Claim::Gone { .. }, true) => findings.held_by_dead += 1,
                (Claim::Late { .. }, true) => {}
                (Claim::Gone { .. }, false) => {
                    findings.lost += 1;
                    findings.show(|| format!("{id} was lost: {claim:?}"));
                }
                (Claim::Late { .. }, false) => {
                    findings.reordered += 1;
                    findings.show(|| format!("{id} came late: {claim:?}"));
                }
            }
        }
        if let Some(board) = self.board {
            board.conclude(&mut self.findings);
        }
        if let Some(desk) = self.desk {
            desk.conclude(&mut self.findings);
        }
        self.findings
    }
}
