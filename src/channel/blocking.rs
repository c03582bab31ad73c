//! Going on after an attempt that came to nothing: without waiting, or until it
//! is done.
//!
//! What is done is decided in [`ring::wait`](crate::ring::wait). Here stand the
//! drivers of a thread that blocks: one that only polls, and one that polls,
//! spins and sleeps.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Instant;

use super::cancel::{Bed, Canceller, Shared, Waits};
use super::debts::Whom;
use super::endpoint::Endpoint;
use super::queues;
use super::reactor::{Ask, At};
use super::ready::Readiness;
use crate::error::{Done, Fault};
use crate::ring::kernel::{Kernel, Refusal};
use crate::ring::wait::{
    Cause, Found, Heard, Need, NotNow, Operation, Polled, Registration, Seat, Session, Waited,
    Want, poll, resolve,
};
use crate::segment::Side;
use crate::sync::Ordering;
use crate::wait::Interruptible;

/// What a receiver's operation asks of its ring.
pub(crate) struct Prospects<A, H, W> {
    /// Whether another receiver could go on.
    pub(crate) available: A,
    /// Whether a message is in a reader's hands and may come back.
    pub(crate) in_flight: H,
    /// What has just refused a try.
    pub(crate) want: W,
}

/// An attempt of one handle, as the waiting session sees it.
pub(super) struct Try<'a, A, M, H> {
    pub(super) end: &'a Endpoint,
    pub(super) attempt: A,
    pub(super) more: M,
    pub(super) in_flight: H,
}

impl<R, A, M, H> Operation for Try<'_, A, M, H>
where
    A: FnMut() -> Result<R, NotNow>,
    M: Fn() -> bool,
    H: Fn() -> bool,
{
    type Done = R;
    type Fault = Fault;

    fn attempt(&mut self, informed: bool) -> Result<R, NotNow> {
        if informed { self.end.informed(&mut self.attempt) } else { (self.attempt)() }
    }

    fn find_out(&mut self) -> Result<Found, Fault> {
        self.end.find_out()
    }

    fn receives(&self) -> bool {
        self.end.side == Side::Receiver
    }

    fn in_flight(&self) -> bool {
        (self.in_flight)()
    }

    fn may_wait(&self) -> Result<(), Fault> {
        self.end.may_wait()
    }

    fn bereft(&self) -> Option<Fault> {
        self.end.bereft()
    }

    fn more(&self) -> bool {
        (self.more)()
    }

    fn scan(&mut self, sem: u16, must: bool) -> Result<Heard, Fault> {
        self.end.participant().scan_for_sleeper(sem, must)
    }

    fn owes(&mut self, refusal: Refusal) {
        self.end.owe(Whom::on(self.end.side), Done::GivenUp, refusal);
    }

    #[cold]
    fn fault(&self, cause: Cause) -> Fault {
        let end = self.end;
        match cause {
            Cause::Attempt(NotNow::PeersGone) => Fault::Disconnected { side: end.side.other() },
            Cause::Attempt(why) => match (why.corruption(), end.unwoken()) {
                (Some(what), _) => end.corrupt(&what),
                (None, Err(unwoken)) => unwoken.into(),
                // Each other one is something to wait for, or to find out about.
                (None, Ok(())) => Fault::Closed,
            },
            Cause::Sleep(refusal) => end.participant().mapped().refused(refusal),
        }
    }
}

impl Endpoint {
    fn seat<'a>(
        &'a self,
        need: Need,
        registration: &'a Registration<Instant>,
    ) -> Seat<'a, Instant> {
        queues::seat(self.participant(), self.block(), self.side, need, registration)
    }

    /// Whether this handle is counted among those who wait.
    pub(super) fn is_counted(&self) -> bool {
        self.wait.registration.is_counted()
    }

    /// This handle has got something, or nothing, without sleeping: it is not
    /// to be counted as if it slept. While it is, nothing goes the fast way.
    #[inline]
    pub(crate) fn let_go(&self) {
        if self.is_counted() && !self.wait.parking.get() && !self.in_child() {
            self.seat(Need::Progress, &self.wait.registration).let_go();
            self.set_fast();
        }
    }

    /// Whether a try that was refused like this needs no more than to be
    /// counted, and its caller told.
    #[inline]
    pub(crate) fn fail_fast(&self, why: NotNow) -> bool {
        self.let_go();
        matches!(why, NotNow::Nothing)
            && self.wait.readiness.get().is_none()
            && self.bound().is_none()
            && self.wait.vain.goes_on(|| Some(self.cells().moved()))
    }

    /// Counts a try that came to nothing; now and then, looks for the dead.
    /// Whether it is worth trying again at once.
    pub(super) fn in_vain(&self) -> Result<bool, Fault> {
        let unbound = self.bound().is_none();
        if self.wait.vain.goes_on(|| unbound.then(|| self.cells().moved())) {
            return Ok(false);
        }
        self.wait.vain.looks();
        self.participant().scan()
    }

    /// Polls until the operation is done or needs something that no look for
    /// the dead brings.
    fn try_on<O: Operation<Fault = Fault>>(
        &self,
        op: &mut O,
        mut why: NotNow,
        want: impl Fn() -> Want,
    ) -> Result<Polled<O::Done>, Fault> {
        loop {
            match resolve(op, why)? {
                Polled::Needs(need) if !self.in_vain()? => {
                    let paused = need == Need::Resumption;
                    self.await_readiness(|| if paused { Want::Change } else { want() })?;
                    return Ok(Polled::Needs(need));
                }
                Polled::Needs(_) => why = NotNow::Changed,
                done => return Ok(done),
            }
        }
    }

    /// Waits until the operation is done, or the deadline passes (`None`). What
    /// it needs may come to be something else meanwhile.
    fn wait_on<O: Operation<Fault = Fault>>(
        &self,
        op: &mut O,
        why: NotNow,
        until: Option<Instant>,
    ) -> Result<Option<O::Done>, Fault> {
        op.may_wait()?;
        let mut need = match resolve(op, why)? {
            Polled::Done(done) => return Ok(Some(done)),
            Polled::Needs(need) => need,
        };
        loop {
            match self.wait_for(need, op, until)? {
                Waited::Done(done) => return Ok(Some(done)),
                Waited::TimedOut => return Ok(None),
                Waited::Needs(other) => need = other,
            }
        }
    }

    /// Spins for a while, then sleeps.
    fn wait_for<O: Operation<Fault = Fault>>(
        &self,
        need: Need,
        op: &mut O,
        until: Option<Instant>,
    ) -> Result<Waited<O::Done>, Fault> {
        // No handle stays counted among those that are all woken at once, nor among the
        // others while it is one of them.
        let for_all = Registration::new(None);
        for_all.be_strict(true);
        let registration = if need.is_for_all() {
            self.let_go();
            &for_all
        } else {
            &self.wait.registration
        };
        let seat = self.seat(need, registration);
        let _waiting = self.going_to_wait(need);
        let much = (self.cells().capacity() / 4).max(2);
        let kernel = Interruptible::new(self.semaphores(), false);
        loop {
            let spun = self.wait.spin.until(
                until,
                || self.cells().moved(),
                much,
                || match poll(op) {
                    Ok(Polled::Needs(need)) if seat.queue.serves(need) => None,
                    ended => Some(ended),
                },
            );
            if let Some(ended) = spun {
                return ended.map(Waited::from);
            }
            if !self.wait.spin.never_sleeps() {
                break;
            }
            // A sleeper is told of these; one that spins asks.
            op.may_wait()?;
            self.participant().scan()?;
            if kernel.watch.ends_at(|| kernel.now()) {
                return Err(Fault::Interrupted);
            }
            if until.is_some_and(|until| until <= kernel.now()) {
                return Ok(Waited::TimedOut);
            }
        }
        self.participant().desk.sleeps.fetch_add(1, Ordering::Relaxed);
        self.wait.parking.set(true);
        let mut session = Session::new(&kernel, seat, until);
        // An attempt may run code of the program's: the check of the messages of a batch.
        let waited = catch_unwind(AssertUnwindSafe(|| session.block(op)));
        self.wait.parking.set(false);
        self.wait.spin.slept();
        if waited.is_err() {
            session.deregister(op);
        }
        self.set_fast();
        waited.unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Goes on after a sender's first attempt, without waiting.
    #[cold]
    pub(crate) fn try_to_send<R>(
        &self,
        why: NotNow,
        attempt: impl FnMut() -> Result<R, NotNow>,
        want: impl Fn() -> Want,
    ) -> Result<Polled<R>, Fault> {
        let mut op = Try { end: self, attempt, more: || false, in_flight: || false };
        self.try_on(&mut op, why, want)
    }

    /// Goes on after a sender's first attempt, until the deadline (`None`).
    #[cold]
    pub(crate) fn wait_to_send<R>(
        &self,
        why: NotNow,
        until: Option<Instant>,
        attempt: impl FnMut() -> Result<R, NotNow>,
        room: impl Fn() -> bool,
    ) -> Result<Option<R>, Fault> {
        let mut op = Try { end: self, attempt, more: room, in_flight: || false };
        self.wait_on(&mut op, why, until)
    }

    /// Goes on after a receiver's first attempt, without waiting.
    #[cold]
    pub(crate) fn try_to_receive<R>(
        &self,
        why: NotNow,
        attempt: impl FnMut() -> Result<R, NotNow>,
        prospects: &Prospects<impl Fn() -> bool, impl Fn() -> bool, impl Fn() -> Want>,
    ) -> Result<Polled<R>, Fault> {
        let Prospects { available, in_flight, want } = prospects;
        let mut op = Try { end: self, attempt, more: available, in_flight };
        self.try_on(&mut op, why, want)
    }

    /// Goes on after a receiver's first attempt, until the deadline (`None`).
    #[cold]
    pub(crate) fn wait_to_receive<R>(
        &self,
        why: NotNow,
        until: Option<Instant>,
        attempt: impl FnMut() -> Result<R, NotNow>,
        prospects: &Prospects<impl Fn() -> bool, impl Fn() -> bool, impl Fn() -> Want>,
    ) -> Result<Option<R>, Fault> {
        let Prospects { available, in_flight, .. } = prospects;
        let mut op = Try { end: self, attempt, more: available, in_flight };
        self.wait_on(&mut op, why, until)
    }

    /// The pollable descriptor.
    pub(crate) fn readiness(&self) -> Result<&Readiness, Fault> {
        if let Some(fault) = self.participant().barred() {
            return Err(fault);
        }
        if let Some(made) = self.wait.readiness.get() {
            return Ok(made);
        }
        let made = Readiness::new(&self.at()).map_err(Fault::System)?;
        Ok(self.wait.readiness.get_or_init(|| made))
    }

    /// Where others wait in this handle's place.
    pub(super) fn at(&self) -> At<'_> {
        let (participant, block, cells) = (self.participant(), self.block(), self.cells());
        At { participant, block, side: Some(self.side), cells }
    }

    /// What has refused a try, for one who waits for it in this handle's place.
    pub(super) fn ask(&self, want: Want) -> Ask {
        let (changes, alone) = (self.changes.looked(), self.changes.peers_gone());
        Ask { want, changes, alone, peer: self.bound() }
    }

    /// Has the descriptor wait for what refused a try, if there is one.
    fn await_readiness(&self, want: impl FnOnce() -> Want) -> Result<(), Fault> {
        let Some(readiness) = self.wait.readiness.get() else { return Ok(()) };
        match readiness.arm(self.ask(want())) {
            Ok(()) => Ok(()),
            Err(fault) => self.participant().scan().and(Err(fault)),
        }
    }

    pub(super) fn canceller(&self) -> Canceller {
        let made = || Shared::new(self.participant(), *self.block(), self.side, self.name());
        Canceller::new(Arc::clone(self.wait.cancel.get_or_init(|| Arc::new(made()))))
    }

    /// Whether this handle may wait: it is not cancelled, and no process has found this
    /// one dead, after which it would be counted for nothing.
    fn may_wait(&self) -> Result<(), Fault> {
        self.not_cancelled()?;
        self.participant().is_counted_alive()
    }

    /// Whether this handle is cancelled.
    pub(super) fn not_cancelled(&self) -> Result<(), Fault> {
        let cancelled = self.cancellation().is_some_and(Shared::is_cancelled);
        if cancelled { Err(Fault::Cancelled) } else { Ok(()) }
    }

    /// What this handle shares with its cancellers, if there are any.
    pub(super) fn cancellation(&self) -> Option<&Shared> {
        self.wait.cancel.get().map(|shared| &**shared)
    }

    /// Says that this handle is going to wait, until the result is dropped.
    fn going_to_wait(&self, need: Need) -> Waits<'_> {
        Waits::new(self.cancellation(), Bed::Queue(need))
    }
}
