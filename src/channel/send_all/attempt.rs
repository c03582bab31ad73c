//! Trying to send to all, and going on where one channel has no room: without waiting, or
//! until it is done.
//!
//! Nothing is held between two attempts. So a send that waits does so as a sender of the one
//! channel that was in the way, by that handle's own session; each of its attempts is for
//! all. If another channel is in the way by then, the session ends, and that handle's begins.

use std::sync::Arc;
use std::time::Instant;

use super::leg::Leg;
use crate::error::{Done, Fault, Unwoken};
use crate::ring::joint;
use crate::ring::wait::{Need, NotNow, Polled};
use crate::segment::Side;

/// How often another channel may be in the way within a call that does not wait. Channels
/// change now and then; only a hostile process changes them without end.
const ROUNDS: u32 = 1_000;

/// Why nothing was sent; or, of what was sent, what else is to be told.
pub(super) enum Why {
    /// The channel takes none of that length.
    Length {
        length: usize,
        longest: usize,
    },
    Needs(Need),
    TimedOut,
    Fault(Fault),
    Unwoken(Box<Unwoken>),
}

/// The channel that was in the way, and why.
pub(super) struct Refused {
    pub(super) position: usize,
    pub(super) channel: Arc<str>,
    pub(super) why: Why,
}

/// The leg that was in the way of an attempt.
type Obstacle = (usize, NotNow);

/// The legs, in the order of their channels.
pub(super) struct Joint<'a> {
    legs: &'a [&'a dyn Leg],
    /// Which ticket it takes if that is free.
    preferred: usize,
}

/// Handles that are sending, until this is dropped.
struct Entered<'a>(&'a [&'a dyn Leg]);

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(|leg| leg.end().leave());
    }
}

impl<'a> Joint<'a> {
    pub(super) fn new<'b: 'a>(legs: &'a mut [&'b dyn Leg], preferred: usize) -> Self {
        legs.sort_unstable_by_key(|leg| leg.end().block().index);
        Self { legs, preferred }
    }

    fn each(&self, step: impl Fn(&dyn Leg) -> Result<(), NotNow>) -> Result<(), Obstacle> {
        let mut legs = self.legs.iter().enumerate();
        legs.try_for_each(|(n, leg)| step(*leg).map_err(|why| (n, why)))
    }

    fn enter(&self) -> Result<Entered<'a>, Obstacle> {
        let open = self.legs.iter().take_while(|leg| leg.end().enter()).count();
        let entered = Entered(self.legs.get(..open).unwrap_or_default());
        if open < self.legs.len() { Err((open, NotNow::Changed)) } else { Ok(entered) }
    }

    /// Sends to all, or to none.
    fn attempt(&self) -> Result<(), Obstacle> {
        let Some(first) = self.legs.first() else { return Ok(()) };
        let entered = self.enter()?;
        self.each(|leg| leg.look())?;
        let participant = first.end().participant();
        let sent = self.each(|leg| leg.draft()).and_then(|()| {
            let held = participant.tickets.take(self.preferred);
            joint::send(self.legs, participant.committed(), held.ticket)
        });
        if sent.is_err() {
            self.legs.iter().for_each(|leg| leg.discard());
        }
        drop(entered);
        sent?;
        for leg in self.legs {
            leg.end().let_go();
            leg.end().notify(Side::Receiver, Done::Sent);
        }
        Ok(())
    }

    /// The same for the session of one leg: goes on only as long as that is in the way.
    fn attempt_at(&self, n: usize) -> Result<Option<Obstacle>, NotNow> {
        match self.attempt() {
            Ok(()) => Ok(None),
            Err((other, why)) if other == n => Err(why),
            Err(other) => Ok(Some(other)),
        }
    }

    fn refused(&self, n: usize, why: Why) -> Refused {
        let leg = self.legs.get(n);
        let channel = leg.map_or_else(|| "".into(), |leg| Arc::clone(leg.end().name()));
        Refused { position: leg.map_or(0, |leg| leg.position()), channel, why }
    }

    fn all_fit(&self) -> Result<(), Refused> {
        let mut legs = self.legs.iter().enumerate();
        match legs.find_map(|(n, leg)| leg.misfit().map(|misfit| (n, misfit))) {
            None => Ok(()),
            Some((n, (length, longest))) => Err(self.refused(n, Why::Length { length, longest })),
        }
    }

    /// It is in the channels; a receiver that sleeps may not have been woken.
    fn told(&self) -> Result<(), Refused> {
        let mut legs = self.legs.iter().enumerate();
        legs.try_for_each(|(n, leg)| {
            leg.end().unwoken().map_err(|unwoken| self.refused(n, Why::Unwoken(unwoken)))
        })
    }

    /// Sends without waiting; or waits until that time, if it waits.
    pub(super) fn send(&self, wait: Option<Option<Instant>>) -> Result<(), Refused> {
        self.all_fit()?;
        if let Err(obstacle) = self.attempt() {
            match wait {
                None => self.try_on(obstacle)?,
                Some(until) => self.wait_on(obstacle, until)?,
            }
        }
        self.told()
    }

    #[cold]
    fn try_on(&self, (mut n, mut why): Obstacle) -> Result<(), Refused> {
        for _ in 0..ROUNDS {
            let Some(leg) = self.legs.get(n) else { return Ok(()) };
            let end = leg.end();
            if end.fail_fast(why) {
                return Err(self.refused(n, Why::Needs(Need::Progress)));
            }
            let tried = end.try_to_send(why, || self.attempt_at(n), || leg.wanted());
            match tried.map_err(|fault| self.refused(n, Why::Fault(fault)))? {
                Polled::Done(None) => return Ok(()),
                Polled::Done(Some(obstacle)) => (n, why) = obstacle,
                Polled::Needs(need) => return Err(self.refused(n, Why::Needs(need))),
            }
        }
        Err(self.refused(n, Why::Needs(Need::Progress)))
    }

    #[cold]
    fn wait_on(&self, (mut n, mut why): Obstacle, until: Option<Instant>) -> Result<(), Refused> {
        loop {
            let Some(leg) = self.legs.get(n) else { return Ok(()) };
            let attempt = || self.attempt_at(n);
            let waited = leg.end().wait_to_send(why, until, attempt, || leg.may_reserve());
            match waited.map_err(|fault| self.refused(n, Why::Fault(fault)))? {
                Some(None) => return Ok(()),
                Some(Some(obstacle)) => (n, why) = obstacle,
                None => return Err(self.refused(n, Why::TimedOut)),
            }
        }
    }
}
