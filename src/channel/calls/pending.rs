//! Waiting for a reply.

use core::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytemuck::CheckedBitPattern;

use super::payload::CallPayload;
use super::site::Site;
use crate::channel::waiting::Vain;
use crate::error::{CallError, Done, Fault};
use crate::ring::calls::{self, Call, GivenUp, Look};
use crate::ring::kernel::{Kernel, Refusal};
use crate::ring::wait::{Cause, Found, Heard, NotNow, Operation, Polled, Waited, poll};
use crate::segment::{OperatingState, Side};
use crate::sync::Ordering;
use crate::wait::{Interruptible, Spin};

/// A call that was made: see [`Client::start`](crate::Client::start).
///
/// It may outlive its client and move to another thread. A client may have many at once;
/// servers may reply to them in any order.
///
/// Dropping it gives the call up: the server that has it may ask
/// ([`ServerCall::is_wanted`](crate::ServerCall::is_wanted)), and a reply goes nowhere. If no
/// server has it, none gets it.
pub struct PendingCall<Q: CallPayload, R: CallPayload> {
    site: Arc<Site<Q, R>>,
    /// Until it has ended.
    call: Option<Call>,
    /// The changes that it knows of.
    seen: u64,
    vain: Vain,
    spin: Spin,
}

/// How a call has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    Answered,
    Failed,
    Refused,
}

/// The wait for the end of a call, as the waiting session sees it. What it listens to is the
/// participant's own bell, and the wake-all semaphore.
struct UntilOver<'a, Q, R> {
    site: &'a Site<Q, R>,
    call: &'a Call,
    seen: &'a mut u64,
}

impl<Q: CallPayload, R: CallPayload> Operation for UntilOver<'_, Q, R> {
    type Done = Over;
    type Fault = Fault;

    #[inline]
    fn attempt(&mut self, informed: bool) -> Result<Over, NotNow> {
        match calls::look(self.site.slots(), self.call) {
            Look::Answered => Ok(Over::Answered),
            Look::Failed(_) => Ok(Over::Failed),
            Look::Refused(_) => Ok(Over::Refused),
            Look::Lost(word) => Err(NotNow::Word(word)),
            // Acquire: what was changed is seen by who finds out.
            Look::Open | Look::Taken(_)
                if !informed && self.site.changes().load(Ordering::Acquire) != *self.seen =>
            {
                Err(NotNow::Changed)
            }
            Look::Open | Look::Taken(_) => Err(NotNow::Nothing),
        }
    }

    fn find_out(&mut self) -> Result<Found, Fault> {
        // Acquire: as above.
        let now = self.site.changes().load(Ordering::Acquire);
        let participant = &self.site.participant;
        if let Some(fault) = participant.barred() {
            return Err(fault);
        }
        participant.serve();
        // A pause and a drain let what is under way come to its end.
        if participant.mapped().state() == OperatingState::Shutdown {
            return Err(Fault::Shutdown);
        }
        let open = || calls::look(self.site.slots(), self.call) == Look::Open;
        if self.site.has_lost_its_servers() && open() {
            return Ok(Found::PeersGone);
        }
        *self.seen = now;
        Ok(Found::Open)
    }

    fn may_wait(&self) -> Result<(), Fault> {
        self.site.participant.is_counted_alive()
    }

    fn more(&self) -> bool {
        false
    }

    fn scan(&mut self, sem: u16, must: bool) -> Result<Heard, Fault> {
        self.site.participant.scan_for_sleeper(sem, must)
    }

    fn owes(&mut self, _: Refusal) {}

    #[cold]
    fn fault(&self, cause: Cause) -> Fault {
        match cause {
            Cause::Attempt(NotNow::Word(word)) => self.site.lost(word),
            Cause::Attempt(NotNow::PeersGone) => Fault::Disconnected { side: Side::Receiver },
            // It meets no other.
            Cause::Attempt(_) => Fault::Closed,
            Cause::Sleep(refusal) => self.site.participant.mapped().refused(refusal),
        }
    }
}

/// Waits until a call has ended, or the deadline passes (`None`).
pub(super) fn wait<Q: CallPayload, R: CallPayload>(
    site: &Site<Q, R>,
    call: &Call,
    seen: &mut u64,
    spin: &Spin,
    until: Option<Instant>,
) -> Result<Option<Over>, Fault> {
    let stamp = || calls::stamp(site.slots(), call.index);
    let kernel = Interruptible::new(site.semaphores(), false);
    let mut op = UntilOver { site, call, seen };
    if let Polled::Done(over) = poll(&mut op)? {
        return Ok(Some(over));
    }
    loop {
        let spun = spin.until(until, stamp, 1, || match poll(&mut op) {
            Ok(Polled::Needs(_)) => None,
            Ok(Polled::Done(over)) => Some(Ok(over)),
            Err(fault) => Some(Err(fault)),
        });
        if let Some(ended) = spun {
            return ended.map(Some);
        }
        if !spin.never_sleeps() {
            break;
        }
        // A sleeper is told of these; one that spins asks.
        site.participant.scan()?;
        if kernel.watch.ends_at(|| kernel.now()) {
            return Err(Fault::Interrupted);
        }
        if until.is_some_and(|until| until <= kernel.now()) {
            return Ok(None);
        }
    }
    site.participant.desk.sleeps.fetch_add(1, Ordering::Relaxed);
    // The service was opened, so there is one.
    let own = site.participant.own_bell().ok_or(Fault::Closed)?;
    let doze = || calls::doze(site.slots(), call);
    let waited = calls::wait(&kernel, own, until, doze, &mut op);
    spin.slept();
    Ok(match waited? {
        Waited::Done(over) => Some(over),
        Waited::TimedOut | Waited::Needs(_) => None,
    })
}

/// Takes the reply of a call that has ended so, and lets the call go.
pub(super) fn end<Q: CallPayload, R: CallPayload + CheckedBitPattern>(
    site: &Site<Q, R>,
    call: Call,
    over: Over,
) -> Result<R::Owned, CallError> {
    let mut out = R::out();
    if over == Over::Answered {
        R::read(site.sheets.reply(call.index), &mut out);
    }
    if !finish(site, call) {
        // The copy may be of another call's reply.
        return Err(site.lost(0).into());
    }
    match over {
        Over::Answered => R::owned(out)
            .ok_or_else(|| CallError::Invalid { type_name: core::any::type_name::<R>() }),
        Over::Failed => Err(CallError::ServerDied),
        Over::Refused => Err(CallError::Refused),
    }
}

/// Lets a call go that has ended. Whether it was still its client's.
fn finish<Q: CallPayload, R: CallPayload>(site: &Site<Q, R>, call: Call) -> bool {
    let own = calls::finish(site.slots(), call);
    // The next client that has to wait finds the slot, if this one cannot be woken.
    let _ = site.notify(Side::Sender, Done::Taken);
    own
}

/// Gives a call up, however it has ended.
pub(super) fn abandon<Q: CallPayload, R: CallPayload>(site: &Site<Q, R>, call: Call) {
    if let Some(call) = give_up(site, call) {
        finish(site, call);
    }
}

/// Gives a call up. Returns it if it has ended.
pub(super) fn give_up<Q: CallPayload, R: CallPayload>(
    site: &Site<Q, R>,
    call: Call,
) -> Option<Call> {
    match calls::give_up(site.slots(), &call) {
        GivenUp::Over => return Some(call),
        GivenUp::Unserved => {
            let _ = site.notify(Side::Sender, Done::GivenUp);
        }
        GivenUp::Served | GivenUp::Lost(_) => {}
    }
    None
}

impl<Q: CallPayload, R: CallPayload> PendingCall<Q, R> {
    pub(super) fn new(site: &Arc<Site<Q, R>>, call: Call, seen: u64, spin: Spin) -> Self {
        Self { site: Arc::clone(site), call: Some(call), seen, vain: Vain::default(), spin }
    }

    /// Waits until the call has ended, or the deadline passes.
    fn over_by(&mut self, until: Option<Instant>) -> Result<Option<Over>, Fault> {
        let Some(call) = &self.call else { return Ok(None) };
        self.site.not_in_child()?;
        wait(&self.site, call, &mut self.seen, &self.spin, until)
    }

    /// Gives it up. Returns it if it has ended.
    fn leave(&mut self) -> Option<Call> {
        let call = self.call.take()?;
        if self.site.in_child() { None } else { give_up(&self.site, call) }
    }
}

impl<Q: CallPayload, R: CallPayload + CheckedBitPattern> PendingCall<Q, R> {
    /// Waits for the reply, without a timeout.
    ///
    /// # Errors
    /// [`CallError::ServerDied`] at once when the server that has the call dies, unless it is
    /// [to be repeated](crate::Client::set_repeats); [`CallError::NoServer`];
    /// [`CallError::Refused`]; [`CallError::Invalid`]; or the fault that ends the use of the
    /// service.
    pub fn wait(mut self) -> Result<R::Owned, CallError> {
        let over = self.over_by(None);
        // A call without a deadline has ended.
        self.conclude(over).unwrap_or(Err(CallError::Fault(Fault::Closed)))
    }

    /// Waits for the reply, at most this long. `None` if there is none by then: the call
    /// goes on, and can be waited for again. Also `None` once the call has ended and this or
    /// another method has said how.
    ///
    /// # Errors
    /// As for [`wait`](Self::wait). Then the call has ended.
    pub fn wait_timeout(&mut self, timeout: Duration) -> Option<Result<R::Owned, CallError>> {
        // A timeout beyond what the clock can represent never expires.
        let over = self.over_by(Instant::now().checked_add(timeout));
        self.conclude(over)
    }

    /// Waits for the reply until `deadline`, as [`wait_timeout`](Self::wait_timeout).
    ///
    /// # Errors
    /// As there.
    pub fn wait_deadline(&mut self, deadline: Instant) -> Option<Result<R::Owned, CallError>> {
        let over = self.over_by(Some(deadline));
        self.conclude(over)
    }

    /// Looks for the reply, without waiting; `None` as for [`wait_timeout`](Self::wait_timeout).
    /// It learns of a killed server at the latest with the 256th look in vain.
    ///
    /// # Errors
    /// As for [`wait`](Self::wait). Then the call has ended.
    pub fn try_wait(&mut self) -> Option<Result<R::Owned, CallError>> {
        let call = self.call.as_ref()?;
        let stamp = || Some(calls::stamp(self.site.slots(), call.index));
        let look = |seen: &mut u64| match poll(&mut UntilOver { site: &self.site, call, seen }) {
            Ok(Polled::Done(over)) => Ok(Some(over)),
            Ok(Polled::Needs(_)) => Ok(None),
            Err(fault) => Err(fault),
        };
        let mut over = self.site.not_in_child().and_then(|()| look(&mut self.seen));
        if matches!(over, Ok(None)) && !self.vain.goes_on(stamp) {
            self.vain.looks();
            over = self.site.participant.scan().and_then(|_| look(&mut self.seen));
        }
        self.conclude(over)
    }

    /// Ends this call's use, if the call has ended.
    fn conclude(
        &mut self,
        over: Result<Option<Over>, Fault>,
    ) -> Option<Result<R::Owned, CallError>> {
        match over {
            Ok(None) => None,
            Ok(Some(over)) => Some(end(&self.site, self.call.take()?, over)),
            // It may have ended since; then it is not lost.
            Err(fault) => Some(match self.leave() {
                Some(call) => reply_at_last(&self.site, call, fault),
                None => Err(fault.into()),
            }),
        }
    }
}

/// What has become of a call that had ended when it was given up, because of this fault.
pub(super) fn reply_at_last<Q: CallPayload, R: CallPayload + CheckedBitPattern>(
    site: &Site<Q, R>,
    call: Call,
    fault: Fault,
) -> Result<R::Owned, CallError> {
    match ended(site, &call) {
        Some(over) => end(site, call, over),
        None => Err(fault.into()),
    }
}

/// How a call has ended, if it has.
pub(super) fn ended<Q: CallPayload, R: CallPayload>(
    site: &Site<Q, R>,
    call: &Call,
) -> Option<Over> {
    match calls::look(site.slots(), call) {
        Look::Answered => Some(Over::Answered),
        Look::Failed(_) => Some(Over::Failed),
        Look::Refused(_) => Some(Over::Refused),
        Look::Open | Look::Taken(_) | Look::Lost(_) => None,
    }
}

impl<Q: CallPayload, R: CallPayload> Drop for PendingCall<Q, R> {
    fn drop(&mut self) {
        if let Some(call) = self.call.take()
            && !self.site.in_child()
        {
            abandon(&self.site, call);
        }
    }
}

impl<Q: CallPayload, R: CallPayload> fmt::Debug for PendingCall<Q, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingCall")
            .field("service", &self.site.name)
            .field("has_ended", &self.call.is_none())
            .finish_non_exhaustive()
    }
}
