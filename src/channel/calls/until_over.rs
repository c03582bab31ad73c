//! Waiting until a call is over, however it ends.

use core::cell::Cell;
use std::time::Instant;

use super::company::{Company, Lead, Part, Told, Watch};
use super::payload::CallPayload;
use super::site::Site;
use crate::channel::cancel::{Bed, Shared, Waits};
use crate::channel::reactor::Ask;
#[cfg(feature = "async")]
use crate::channel::reactor::At;
use crate::error::Fault;
use crate::ring::calls::{self, Call, Look};
use crate::ring::kernel::{Kernel, Refusal};
use crate::ring::wait::set::Prospect;
use crate::ring::wait::{Cause, Found, Heard, NotNow, Operation, Polled, Waited, Want, poll};
use crate::segment::{OperatingState, Side};
use crate::storage::View;
use crate::sync::Ordering;
use crate::wait::{Interruptible, Spin};

/// How a call has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::channel) enum Over {
    Answered,
    Failed,
    Refused,
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

/// The wait for the end of a call, as the waiting session sees it. What it listens to is the
/// participant's own bell, and the wake-all semaphore.
pub(in crate::channel) struct UntilOver<'a, Q, R> {
    pub(super) site: &'a Site<Q, R>,
    pub(super) call: &'a Call,
    /// The changes that its client knows of.
    pub(super) seen: &'a Cell<u64>,
    /// What it shares with its cancellers.
    pub(super) cancel: Option<&'a Shared>,
    /// Whom it tells what it has heard.
    pub(super) leads: Option<&'a Company>,
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
                if !informed && self.site.changes().load(Ordering::Acquire) != self.seen.get() =>
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
        self.not_cancelled()?;
        // A pause and a drain let what is under way come to its end.
        if participant.mapped().state() == OperatingState::Shutdown {
            return Err(Fault::Shutdown);
        }
        let open = || calls::look(self.site.slots(), self.call) == Look::Open;
        if self.site.has_lost_its_servers() && open() {
            return Ok(Found::PeersGone);
        }
        self.seen.set(now);
        Ok(Found::Open)
    }

    fn may_wait(&self) -> Result<(), Fault> {
        self.not_cancelled()?;
        self.site.participant.is_counted_alive()
    }

    fn more(&self) -> bool {
        false
    }

    fn scan(&mut self, sem: u16, must: bool) -> Result<Heard, Fault> {
        let heard = self.site.participant.scan_for_sleeper(sem, must)?;
        if let Some(company) = self.leads {
            company.tell();
        }
        Ok(heard)
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

impl<'a, Q: CallPayload, R: CallPayload> UntilOver<'a, Q, R> {
    fn not_cancelled(&self) -> Result<(), Fault> {
        let cancelled = self.cancel.is_some_and(Shared::is_cancelled);
        if cancelled { Err(Fault::Cancelled) } else { Ok(()) }
    }

    /// Waits until the call is over, or the deadline passes (`None`).
    pub(super) fn wait(
        &mut self,
        spin: &Spin,
        until: Option<Instant>,
    ) -> Result<Option<Over>, Fault> {
        let (site, call) = (self.site, self.call);
        let stamp = || calls::stamp(site.slots(), call.index);
        let kernel = Interruptible::new(site.semaphores(), false);
        if let Polled::Done(over) = poll(self)? {
            return Ok(Some(over));
        }
        let _waiting = Waits::new(self.cancel, Bed::OwnBell);
        loop {
            let spun = spin.until(until, stamp, 1, || match poll(self) {
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
        let waited = self.go_to_sleep(&kernel, until);
        spin.slept();
        Ok(match waited? {
            Waited::Done(over) => Some(over),
            Waited::TimedOut | Waited::Needs(_) => None,
        })
    }

    /// Waits asleep, as one of this process's threads.
    fn go_to_sleep(
        &mut self,
        kernel: &Interruptible<'_>,
        until: Option<Instant>,
    ) -> Result<Waited<Over>, Fault> {
        let site = self.site;
        if kernel.watch.asks() {
            // A signal ends only a sleep in the kernel.
            return self.sleep_in_kernel(kernel, until);
        }
        loop {
            let place = match site.company.join(|| self.watch()) {
                Part::Leads(lead) => return self.lead(lead, kernel, until),
                Part::Follows(place) => place,
            };
            // Only now: whoever leads looks at this call from here on.
            if let Polled::Done(over) = poll(self)? {
                return Ok(Waited::Done(over));
            }
            let now = || kernel.now();
            let told = if self.dozes() { place.wait(until, now) } else { Told::Due };
            match told {
                Told::Leads => return self.lead(place.lead(), kernel, until),
                Told::Due | Told::Nothing => {}
            }
            drop(place);
            if let Polled::Done(over) = poll(self)? {
                return Ok(Waited::Done(over));
            }
            if told == Told::Nothing {
                return Ok(Waited::TimedOut);
            }
        }
    }

    /// Sleeps over the bell of this process, for all of its threads.
    fn lead(
        &mut self,
        lead: Lead<'_>,
        kernel: &Interruptible<'_>,
        until: Option<Instant>,
    ) -> Result<Waited<Over>, Fault> {
        self.leads = Some(&self.site.company);
        let waited = self.sleep_in_kernel(kernel, until);
        self.leads = None;
        drop(lead);
        waited
    }

    fn sleep_in_kernel(
        &mut self,
        kernel: &Interruptible<'_>,
        until: Option<Instant>,
    ) -> Result<Waited<Over>, Fault> {
        let (site, call) = (self.site, self.call);
        // The service was opened, so there is one.
        let own = site.participant.own_bell().ok_or(Fault::Closed)?;
        let doze = || calls::doze(site.slots(), call);
        calls::wait(kernel, own, until, doze, self)
    }

    fn dozes(&self) -> bool {
        calls::doze(self.site.slots(), self.call)
    }

    fn watch(&self) -> Watch {
        let (cells, call) = (self.site.slots().cells().clone(), self.call.sight());
        Watch { cells, call, seen: self.seen.get() }
    }

    /// Where others wait in this thread's place.
    #[cfg(feature = "async")]
    pub(in crate::channel) fn at(&self) -> At<'a> {
        self.site.at()
    }

    /// What they wait for.
    pub(in crate::channel) fn ask(&self) -> Ask {
        let want = Want::Reply(self.call.sight());
        Ask { want, changes: self.seen.get(), alone: false, peer: None }
    }

    /// What a look at the call would come to, for one who is to sleep if that is nothing, or
    /// not yet.
    pub(super) fn prospect(&mut self, sleeps: bool) -> Prospect {
        match poll(self) {
            Ok(Polled::Done(_)) => Prospect::Ready,
            Err(_) => Prospect::Over,
            Ok(Polled::Needs(_)) if sleeps && !self.dozes() => Prospect::Ready,
            Ok(Polled::Needs(_)) => Prospect::Nothing,
        }
    }
}
