//! How a sender and a receiver go about an operation: try, find out what has
//! changed, try again, wait. What is tried is the caller's.

use std::time::Instant;

use super::endpoint::Endpoint;
use crate::error::{Done, Fault, Unwoken};
use crate::ring::wait::{Need, NotNow, Polled, Want};
use crate::segment::Side;

/// What a receiver's flow asks of its ring.
pub(crate) struct Prospects<A, H, W> {
    /// Whether another receiver could go on.
    pub(crate) available: A,
    /// Whether a message is in a reader's hands and may come back.
    pub(crate) in_flight: H,
    /// What has just refused a try.
    pub(crate) want: W,
}

impl Endpoint {
    /// Does `attempt`, if nothing has changed.
    #[inline]
    pub(crate) fn guarded<R>(
        &self,
        attempt: impl FnOnce() -> Result<R, NotNow>,
    ) -> Result<R, NotNow> {
        if !self.quiet() && !self.informed.get() {
            return Err(NotNow::Changed);
        }
        attempt().inspect(|_| self.let_go())
    }

    /// Does `attempt` right after it was found out what has changed, whether
    /// or not something has since: as if it had changed a moment later. Or one
    /// who changes things without end would never let anybody get to it.
    fn informed<R>(&self, attempt: impl FnOnce() -> R) -> R {
        self.informed.set(true);
        let result = attempt();
        self.informed.set(false);
        result
    }

    /// Does a sender's `attempt`, if nothing has changed. If it succeeds, this
    /// handle is sending until it [leaves](Self::leave).
    #[inline]
    pub(crate) fn begin<R>(
        &self,
        attempt: impl FnOnce() -> Result<R, NotNow>,
    ) -> Result<R, NotNow> {
        if !self.enter() {
            return Err(NotNow::Changed);
        }
        let done = attempt().inspect_err(|_| self.leave())?;
        self.let_go();
        Ok(done)
    }

    /// Publishes by `attempt`, if nothing has changed, and tells a receiver.
    #[inline]
    pub(crate) fn publish<R>(
        &self,
        attempt: impl FnOnce() -> Result<R, NotNow>,
    ) -> Result<R, NotNow> {
        let fast = self.enter_fast();
        if !fast && !self.enter() {
            return Err(NotNow::Changed);
        }
        let done = attempt().inspect_err(|_| self.leave())?;
        self.leave();
        if !fast || !self.nobody_waits(Side::Receiver) {
            self.published_by_fence();
        }
        Ok(done)
    }

    /// Apart from the above, so that it is small where it is used.
    #[cold]
    #[inline(never)]
    fn published_by_fence(&self) {
        self.let_go();
        self.notify(Side::Receiver, Done::Sent);
    }

    /// Tells a receiver of what was sent, where that may take more than to see
    /// that none waits.
    #[cold]
    #[inline(never)]
    pub(crate) fn told(&self) -> Result<(), Box<Unwoken>> {
        self.notify(Side::Receiver, Done::Sent);
        self.unwoken()
    }

    /// Consumes by `attempt`, if nothing has changed, and tells a sender.
    #[inline]
    pub(crate) fn consume<R>(
        &self,
        attempt: impl FnOnce() -> Result<R, NotNow>,
    ) -> Result<R, NotNow> {
        let done = self.guarded(attempt)?;
        self.acknowledge();
        Ok(done)
    }

    /// Tells whoever waits for a message to have been consumed: senders, and
    /// where no sender is left also receivers, who learn only from that that
    /// nothing more will come.
    #[inline(always)]
    pub(crate) fn acknowledge(&self) {
        // Mostly, nobody waits and nothing has changed. That is seen by the fence
        // which costs nothing, and counts if that was the one to use.
        if !self.nobody_waits(Side::Sender) || !self.quiet_fast() {
            self.acknowledge_by_fence();
        }
    }

    /// Apart from the above, so that it is small where it is used.
    #[cold]
    #[inline(never)]
    fn acknowledge_by_fence(&self) {
        self.notify(Side::Sender, Done::Taken);
        // The last sender may have gone since this handle looked; the fence
        // in between makes one of us see the other. Never quiet while no
        // sender is left.
        if !self.quiet() {
            self.notify(Side::Receiver, Done::Taken);
        }
    }

    /// The same after [`quiet_fast`](Self::quiet_and_swift).
    #[inline(always)]
    pub(crate) fn acknowledge_fast(&self) {
        self.notify_fast(Side::Sender, Done::Taken);
        // As above.
        if !self.quiet_fast() {
            self.notify(Side::Receiver, Done::Taken);
        }
    }

    /// Repeats a sender's `attempt` until it is done, or needs something.
    fn insist<R>(
        &self,
        mut stuck: NotNow,
        mut attempt: impl FnMut() -> Result<R, NotNow>,
    ) -> Result<Polled<R>, Fault> {
        loop {
            match self.resolve(stuck)? {
                None => {}
                Some(need) => match self.bereft() {
                    None => return Ok(Polled::Needs(need)),
                    // It may have made room before it went.
                    Some(fault) => {
                        return self.informed(&mut attempt).map(Polled::Done).map_err(|_| fault);
                    }
                },
            }
            match self.informed(&mut attempt) {
                Ok(done) => return Ok(Polled::Done(done)),
                Err(why) => stuck = why,
            }
        }
    }

    /// Goes on after a sender's first attempt, without waiting.
    #[cold]
    pub(crate) fn try_to_send<R>(
        &self,
        mut stuck: NotNow,
        mut attempt: impl FnMut() -> Result<R, NotNow>,
        want: impl Fn() -> Want,
    ) -> Result<Polled<R>, Fault> {
        loop {
            match self.insist(stuck, &mut attempt)? {
                Polled::Needs(need) if !self.in_vain()? => {
                    let paused = need == Need::Resumption;
                    self.await_readiness(|| if paused { Want::Change } else { want() })?;
                    return Ok(Polled::Needs(need));
                }
                Polled::Needs(_) => stuck = NotNow::Changed,
                done => return Ok(done),
            }
        }
    }

    /// Goes on after a sender's first attempt, until the deadline (`None`):
    /// sleeps over what is wanting, which may come to be another.
    #[cold]
    pub(crate) fn wait_to_send<R>(
        &self,
        stuck: NotNow,
        until: Option<Instant>,
        mut attempt: impl FnMut() -> Result<R, NotNow>,
        room: impl Fn() -> bool,
    ) -> Result<Option<R>, Fault> {
        self.not_cancelled()?;
        let mut need = match self.insist(stuck, &mut attempt)? {
            Polled::Done(done) => return Ok(Some(done)),
            Polled::Needs(need) => need,
        };
        loop {
            let for_slot = need == Need::Slot;
            let here = || {
                let tried = self.not_cancelled().and_then(|()| {
                    attempt().map_or_else(
                        |stuck| self.insist(stuck, &mut attempt),
                        |done| Ok(Polled::Done(done)),
                    )
                });
                match tried {
                    Ok(Polled::Needs(need)) if (need == Need::Slot) == for_slot => None,
                    done => Some(done),
                }
            };
            let done = if for_slot {
                self.wait_for_place(until, here)
            } else {
                self.wait(until, here, &room)
            };
            match done.transpose()? {
                None => return Ok(None),
                Some(Polled::Done(done)) => return Ok(Some(done)),
                Some(Polled::Needs(other)) => need = other,
            }
        }
    }

    /// Repeats a receiver's attempt until it gives something, or finds the
    /// channel empty. Empty for good is a fault: no sender lives, one more try
    /// since that was found out has come to nothing, and no message is in the
    /// hands of a reader who may yet let it go.
    fn insist_on<R>(
        &self,
        mut stuck: NotNow,
        attempt: &mut impl FnMut() -> Result<R, NotNow>,
        in_flight: &impl Fn() -> bool,
    ) -> Result<Polled<R>, Fault> {
        loop {
            if matches!(stuck, NotNow::PeersGone) && in_flight() {
                return Ok(Polled::Needs(Need::Progress));
            }
            if let Some(need) = self.resolve(stuck)? {
                let Some(fault) = self.bereft() else { return Ok(Polled::Needs(need)) };
                // What it had sent before it went comes first.
                return match self.informed(&mut *attempt) {
                    Ok(got) => Ok(Polled::Done(got)),
                    Err(NotNow::Nothing | NotNow::PeersGone) => Err(fault),
                    // Somebody else's is on its way.
                    Err(NotNow::Pending) => Ok(Polled::Needs(Need::Pending)),
                    Err(stuck) => Err(self.corrupt(&stuck.corruption().unwrap_or_default())),
                };
            }
            let alone = self.alone();
            match self.informed(&mut *attempt) {
                Ok(got) => return Ok(Polled::Done(got)),
                Err(NotNow::Nothing) if alone => stuck = NotNow::PeersGone,
                Err(why) => stuck = why,
            }
        }
    }

    /// Goes on after a receiver's first attempt, without waiting.
    #[cold]
    pub(crate) fn try_to_receive<R>(
        &self,
        mut stuck: NotNow,
        mut attempt: impl FnMut() -> Result<R, NotNow>,
        prospects: &Prospects<impl Fn() -> bool, impl Fn() -> bool, impl Fn() -> Want>,
    ) -> Result<Polled<R>, Fault> {
        loop {
            match self.insist_on(stuck, &mut attempt, &prospects.in_flight)? {
                Polled::Needs(need) if !self.in_vain()? => {
                    self.await_readiness(&prospects.want)?;
                    return Ok(Polled::Needs(need));
                }
                Polled::Needs(_) => stuck = NotNow::Changed,
                got => return Ok(got),
            }
        }
    }

    /// Goes on after a receiver's first attempt, until the deadline (`None`).
    #[cold]
    pub(crate) fn wait_to_receive<R>(
        &self,
        stuck: NotNow,
        until: Option<Instant>,
        mut attempt: impl FnMut() -> Result<R, NotNow>,
        prospects: &Prospects<impl Fn() -> bool, impl Fn() -> bool, impl Fn() -> Want>,
    ) -> Result<Option<R>, Fault> {
        self.not_cancelled()?;
        if let Polled::Done(got) = self.insist_on(stuck, &mut attempt, &prospects.in_flight)? {
            return Ok(Some(got));
        }
        let attempt = || match self.not_cancelled().map(|()| attempt()) {
            Err(fault) => Some(Err(fault)),
            Ok(Ok(got)) => Some(Ok(got)),
            Ok(Err(stuck)) => match self.insist_on(stuck, &mut attempt, &prospects.in_flight) {
                Ok(Polled::Done(got)) => Some(Ok(got)),
                Ok(Polled::Needs(_)) => None,
                Err(fault) => Some(Err(fault)),
            },
        };
        self.wait(until, attempt, || (prospects.available)()).transpose()
    }
}
