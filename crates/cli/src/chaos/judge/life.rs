//! The fate of the messages of one life of a producer.

use std::collections::{BTreeMap, HashMap};

use crate::chaos::marks::Marks;
use crate::chaos::windows::Claim;

/// Times of sending closer together than this are one.
pub(crate) const COARSE_NS: u64 = 1_000_000;

/// A consumer receives a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Receipt {
    pub(crate) seat: u16,
    /// When the consumer had asked for it, and when it noted that it has it.
    pub(crate) asked_at: u64,
    pub(crate) at: u64,
    /// How often receivers had died over it; `None` if it was not said.
    pub(crate) attempts: Option<u8>,
}

/// One time that a message was in a consumer's hands.
#[derive(Debug)]
pub(crate) struct Take {
    seat: u16,
    at: u64,
    /// `None` if it was not said.
    attempts: Option<u8>,
    pub(crate) releasing: bool,
    /// Until when the consumer was alive with it; for ever, if it acknowledged it.
    until: Option<u64>,
    /// It has been counted as a duplicate.
    illicit: bool,
}

/// A message that was taken and is not settled.
#[derive(Debug, Default)]
struct Open {
    takes: Vec<Take>,
    finished: bool,
    /// It need not come again.
    excused: bool,
    /// When somebody had certainly taken it again.
    retaken_by: Option<u64>,
}

/// One life of a producer.
#[derive(Debug, Default)]
pub(crate) struct Life {
    /// Before which numbers sending has begun, and has returned.
    pub(crate) begun: u64,
    pub(crate) returned: u64,
    /// Times, and the number before which sending had begun by then.
    begins: Vec<(u64, u64)>,
    pub(crate) settled: Marks,
    open: HashMap<u64, Open>,
    /// The number behind the last one received.
    reached: u64,
    /// Messages that have not come though a later one has, and since when.
    passed_over: BTreeMap<u64, u64>,
    /// When a message of a later life was first received.
    pub(crate) succeeded: Option<u64>,
}

impl Life {
    /// Sending of the messages before `upto` begins.
    pub(crate) fn begin(&mut self, upto: u64, at: u64) {
        self.begun = self.begun.max(upto);
        let last = self.begins.last().map(|&(_, at)| at);
        if last.is_none_or(|last| at - last >= COARSE_NS) {
            self.begins.push((upto, at));
        }
    }

    /// A time before this message was sent.
    pub(crate) fn begun_at(&self, number: u64) -> u64 {
        let later = self.begins.partition_point(|&(upto, _)| upto <= number);
        // Those in between two entries had begun after the first of them.
        let entry = if self.begins.get(later).is_some_and(|&(upto, _)| upto == number + 1) {
            later
        } else {
            later.saturating_sub(1)
        };
        self.begins.get(entry).map_or(0, |&(_, at)| at)
    }

    /// A consumer takes a message. Returns whether it is the first to do so; and
    /// if it should not have got the message, the takes before it.
    pub(crate) fn take(
        &mut self,
        number: u64,
        receipt: Receipt,
        most: Option<u8>,
    ) -> (bool, Option<String>) {
        let Receipt { seat, at, attempts, .. } = receipt;
        let open = self.open.entry(number).or_default();
        let before = open.takes.len();
        let too_often = match (most, attempts) {
            (Some(most), Some(attempts)) => attempts > most || usize::from(attempts) < before,
            (Some(most), None) => before > usize::from(most),
            (None, _) => false,
        };
        let too_early = open.takes.iter().any(|take| take.until.is_some_and(|until| until > at));
        let illicit = too_often || too_early;
        open.takes.push(Take { seat, at, attempts, releasing: false, until: None, illicit });
        (before == 0, illicit.then(|| format!("{:?}", open.takes)))
    }

    /// The take of this consumer that is not over.
    pub(crate) fn current(&mut self, seat: u16, number: u64) -> Option<&mut Take> {
        let takes = &mut self.open.get_mut(&number)?.takes;
        takes.iter_mut().rev().find(|take| take.seat == seat && take.until.is_none())
    }

    /// A consumer was alive with the message until then. Returns the takes in
    /// between that have not been reported yet.
    pub(crate) fn resolve(&mut self, number: u64, seat: u16, until: u64) -> Vec<String> {
        let Some(take) = self.current(seat, number) else {
            return Vec::new();
        };
        take.until = Some(until);
        let taken = take.at;
        let mut early = Vec::new();
        for take in self.open.get_mut(&number).into_iter().flat_map(|open| &mut open.takes) {
            if !take.illicit && take.at > taken && take.at < until {
                take.illicit = true;
                early.push(format!("{take:?}"));
            }
        }
        early
    }

    /// A consumer was killed with the message in its hands.
    pub(crate) fn leave(&mut self, number: u64, seat: u16, most: Option<u8>) {
        let excused = self.current(seat, number).is_some_and(|take| {
            // It may have been acknowledged; or that was the last attempt.
            take.releasing || most.is_some_and(|most| take.attempts >= Some(most))
        });
        if let Some(open) = self.open.get_mut(&number) {
            open.excused |= excused;
            open.retaken_by = None;
        }
    }

    /// By then somebody has certainly taken the message again.
    pub(crate) fn retaken(&mut self, number: u64, by: u64) {
        if let Some(open) = self.open.get_mut(&number) {
            open.retaken_by = Some(by);
        }
    }

    /// The message was acknowledged.
    pub(crate) fn finish(&mut self, number: u64) {
        if let Some(open) = self.open.get_mut(&number) {
            open.finished = true;
        }
        self.settle(number);
    }

    /// Forgets a message of which all is known.
    pub(crate) fn settle(&mut self, number: u64) {
        if let Some(open) = self.open.get(&number)
            && open.finished
            && open.takes.iter().all(|take| take.until.is_some())
        {
            self.open.remove(&number);
            self.settled.insert(number);
        }
    }

    /// A message is received for the first time: what that shows of those
    /// before it.
    pub(crate) fn pass(&mut self, number: u64, at: u64) {
        if number >= self.reached {
            self.passed_over.extend((self.reached..number).map(|number| (number, at)));
            self.reached = number + 1;
        } else {
            self.passed_over.remove(&number);
        }
    }

    /// Whether any has been received.
    pub(crate) const fn is_known(&self) -> bool {
        self.reached > 0
    }

    /// A message is received by all who are to have it. Returns whether none after it was.
    pub(crate) fn publish(&mut self, number: u64) -> bool {
        let in_order = number >= self.reached;
        self.reached = self.reached.max(number + 1);
        self.settled.insert(number);
        in_order
    }

    /// The messages that were sent and not finished, each to be explained by a death.
    pub(crate) fn missing(&self, most: Option<u8>) -> impl Iterator<Item = (u64, Claim)> + '_ {
        let missing = self.settled.missing(self.returned.max(self.reached));
        missing.filter_map(move |number| Some((number, self.claim(number, most)?)))
    }

    fn claim(&self, number: u64, most: Option<u8>) -> Option<Claim> {
        let (from, to, deaths_left) = match self.open.get(&number) {
            None => {
                let to = self.passed_over.get(&number).copied().or(self.succeeded);
                (self.begun_at(number), to, most.map(|most| most + 1))
            }
            Some(open) if open.finished || open.excused => return None,
            Some(open) => {
                let last = open.takes.last()?;
                let left = most.zip(last.attempts).map(|(most, before)| most - before.min(most));
                (last.at, open.retaken_by, left)
            }
        };
        Some(Claim::Gone { from, to: to.unwrap_or(u64::MAX), deaths_left })
    }
}
