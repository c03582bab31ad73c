//! Doing an operation where nothing is in the way, and telling the other side.

use super::changes::{count, is_still};
use super::debts::Whom;
use super::endpoint::Endpoint;
use crate::error::{Done, Unwoken};
use crate::ring::event;
use crate::ring::wait::NotNow;
use crate::segment::Side;
use crate::storage::layout::Control;

impl Endpoint {
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
            self.tell_receivers();
        }
    }

    /// Tells all receivers that a message has been consumed of which others may have
    /// waited for the end: a single token could go to one that expects other senders.
    #[cold]
    #[inline(never)]
    fn tell_receivers(&self) {
        // A handle that is not quiet for a reason of its own tells nobody.
        if count(self.cells()) == self.changes.looked() && !self.changes.peers_gone() {
            return;
        }
        let roused = event::rouse(self.semaphores(), self.event(Side::Receiver), || false);
        if let Err(refusal) = roused {
            self.owe(Whom::Receivers, Done::Taken, refusal);
        }
    }

    /// The same where nothing had changed since that count.
    #[inline(always)]
    pub(crate) fn acknowledge_fast(&self, control: &Control, seen: u64) {
        self.notify_fast(control.waiting(Side::Sender), Side::Sender, Done::Taken);
        // As above.
        if !is_still(control, seen) {
            self.tell_receivers();
        }
    }
}
