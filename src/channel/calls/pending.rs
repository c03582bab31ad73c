//! A call that is under way, in the hands of its client.

use core::cell::{Cell, OnceCell, RefCell};
use core::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytemuck::CheckedBitPattern;

use super::payload::CallPayload;
use super::site::Site;
use super::until_over::{Over, UntilOver, ended};
use crate::channel::cancel::{Canceller, Shared};
use crate::channel::ready::Readiness;
use crate::channel::waiting::Vain;
use crate::error::{CallError, Done, Fault};
use crate::kinds::payload::AnyMessage;
use crate::ring::calls::{self, Call, GivenUp};
use crate::ring::wait::poll;
use crate::ring::wait::set::Prospect;
use crate::segment::{Participant, Side};
use crate::wait::{Spin, WaitStrategy};

/// A call that was made: see [`Client::start`](crate::Client::start).
///
/// It may outlive its client and move to another thread. A client may have many at once;
/// servers may reply to them in any order.
///
/// Dropping it gives the call up: the server that has it may ask
/// ([`ServerCall::is_wanted`](crate::ServerCall::is_wanted)), and a reply goes nowhere. If no
/// server has it, none gets it.
///
/// With the feature `async` it can be awaited.
pub struct PendingCall<Q: CallPayload, R: CallPayload> {
    /// Made when it is asked for.
    readiness: OnceCell<Readiness>,
    site: Arc<Site<Q, R>>,
    /// Until it has ended.
    call: RefCell<Option<Call>>,
    /// The changes that it knows of.
    seen: Cell<u64>,
    vain: Vain,
    spin: Spin,
    /// Made when it is asked for.
    cancel: OnceCell<Arc<Shared>>,
}

/// A call of an [`AnyClient`](crate::AnyClient).
pub type AnyPendingCall = PendingCall<AnyMessage, AnyMessage>;

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
        Self {
            readiness: OnceCell::new(),
            site: Arc::clone(site),
            call: RefCell::new(Some(call)),
            seen: Cell::new(seen),
            vain: Vain::default(),
            spin,
            cancel: OnceCell::new(),
        }
    }

    /// Does something with the call, unless it has ended.
    pub(in crate::channel) fn with<T>(
        &self,
        work: impl FnOnce(&mut UntilOver<'_, Q, R>) -> Result<Option<T>, Fault>,
    ) -> Result<Option<T>, Fault> {
        let call = self.call.borrow();
        let Some(call) = &*call else { return Ok(None) };
        self.site.not_in_child()?;
        let cancel = self.cancel.get().map(|shared| &**shared);
        work(&mut UntilOver { site: &self.site, call, seen: &self.seen, cancel, leads: None })
    }

    /// Waits until the call has ended, or the deadline passes.
    fn over_by(&self, until: Option<Instant>) -> Result<Option<Over>, Fault> {
        self.with(|op| op.wait(&self.spin, until))
    }

    /// Gives it up. Returns it if it has ended.
    fn leave(&self) -> Option<Call> {
        let call = self.call.take()?;
        if self.site.in_child() { None } else { give_up(&self.site, call) }
    }

    /// Whether it has ended and this or another method has said how.
    pub fn has_ended(&self) -> bool {
        self.call.borrow().is_none()
    }

    /// A descriptor for event loops that is readable once the call may have ended, until
    /// [`try_wait`](Self::try_wait) has found that it has not: see
    /// [`Receiver::readiness`](crate::Receiver::readiness).
    ///
    /// # Errors
    /// As there.
    pub fn readiness(&self) -> Result<&Readiness, Fault> {
        if let Some(fault) = self.site.participant.barred() {
            return Err(fault);
        }
        if let Some(made) = self.readiness.get() {
            return Ok(made);
        }
        let made = Readiness::new(&self.site.at()).map_err(Fault::System)?;
        Ok(self.readiness.get_or_init(|| made))
    }

    /// Ends the wait for this call from another thread: see
    /// [`Receiver::canceller`](crate::Receiver::canceller). The call is given up, unless it has
    /// ended.
    pub fn canceller(&self) -> Canceller {
        let Site { participant, block, name, .. } = &*self.site;
        let made = || Arc::new(Shared::new(participant, *block, Side::Sender, name));
        Canceller::new(Arc::clone(self.cancel.get_or_init(made)))
    }

    /// How this call is waited for: see
    /// [`Receiver::set_wait_strategy`](crate::Receiver::set_wait_strategy).
    pub fn set_wait_strategy(&self, strategy: WaitStrategy) {
        self.spin.set_strategy(strategy);
    }

    /// How this call is waited for.
    pub fn wait_strategy(&self) -> WaitStrategy {
        self.spin.strategy()
    }

    pub(in crate::channel) fn participant(&self) -> &Arc<Participant> {
        &self.site.participant
    }

    pub(in crate::channel) fn name(&self) -> &str {
        &self.site.name
    }

    /// A number that is another once something has happened to the call.
    pub(in crate::channel) fn moved(&self) -> u64 {
        self.call.borrow().as_ref().map_or(0, |call| calls::stamp(self.site.slots(), call.index))
    }

    /// What [`try_wait`](Self::try_wait) would come to; for one who `sleeps` if that is nothing,
    /// or not yet.
    pub(in crate::channel) fn prospect(&self, sleeps: bool) -> Prospect {
        let found = self.with(|op| Ok(Some(op.prospect(sleeps))));
        found.map_or(Prospect::Over, |found| found.unwrap_or(Prospect::Nothing))
    }

    /// Counts a look in vain; now and then, looks for the dead. Whether it is worth looking
    /// again at once.
    pub(in crate::channel) fn in_vain(&self) -> Result<bool, Fault> {
        let stamp = || Some(self.moved());
        if self.vain.goes_on(stamp) {
            return Ok(false);
        }
        self.vain.looks();
        self.site.participant.scan()
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
    pub fn wait(self) -> Result<R::Owned, CallError> {
        let over = self.over_by(None);
        if let Err(Fault::Interrupted) = over {
            // Nobody can wait for it again.
            return self.end_with(Fault::Interrupted);
        }
        // A call without a deadline has ended.
        self.conclude(over).unwrap_or(Err(CallError::Fault(Fault::Closed)))
    }

    /// Waits for the reply, at most this long. `None` if there is none by then: the call
    /// goes on, and can be waited for again. Also `None` once the call has ended and this or
    /// another method has said how.
    ///
    /// # Errors
    /// As for [`wait`](Self::wait). Then the call has ended; but for [`Fault::Interrupted`], which
    /// ends this wait alone.
    pub fn wait_timeout(&self, timeout: Duration) -> Option<Result<R::Owned, CallError>> {
        // A timeout beyond what the clock can represent never expires.
        let over = self.over_by(Instant::now().checked_add(timeout));
        self.conclude(over)
    }

    /// Waits for the reply until `deadline`, as [`wait_timeout`](Self::wait_timeout).
    ///
    /// # Errors
    /// As there.
    pub fn wait_deadline(&self, deadline: Instant) -> Option<Result<R::Owned, CallError>> {
        let over = self.over_by(Some(deadline));
        self.conclude(over)
    }

    /// Looks for the reply, without waiting; `None` as for [`wait_timeout`](Self::wait_timeout).
    /// It learns of a killed server at the latest with the 256th look in vain.
    ///
    /// # Errors
    /// As for [`wait`](Self::wait). Then the call has ended.
    pub fn try_wait(&self) -> Option<Result<R::Owned, CallError>> {
        let over = self.with(|op| {
            let mut over = poll(op)?.done();
            if over.is_none() && self.in_vain()? {
                over = poll(op)?.done();
            }
            if let (None, Some(readiness)) = (over, self.readiness.get()) {
                readiness.arm(op.ask())?;
            }
            Ok(over)
        });
        self.conclude(over)
    }

    /// Ends this call's use, if the call has ended.
    pub(in crate::channel) fn conclude(
        &self,
        over: Result<Option<Over>, Fault>,
    ) -> Option<Result<R::Owned, CallError>> {
        match over {
            Ok(None) => None,
            Ok(Some(over)) => Some(end(&self.site, self.call.take()?, over)),
            Err(Fault::Interrupted) => Some(Err(Fault::Interrupted.into())),
            Err(fault) => Some(self.end_with(fault)),
        }
    }

    /// Gives the call up because of a fault. It may have ended since; then it is not lost.
    fn end_with(&self, fault: Fault) -> Result<R::Owned, CallError> {
        match self.leave() {
            Some(call) => reply_at_last(&self.site, call, fault),
            None => Err(fault.into()),
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
            .field("has_ended", &self.has_ended())
            .finish_non_exhaustive()
    }
}
