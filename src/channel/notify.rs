//! Waking the peers.

use super::debts::Whom;
use super::endpoint::Endpoint;
use crate::error::{Done, Fault, Unwoken};
use crate::ring::event::{self, Event, Memo};
use crate::ring::kernel::{LightFence, Refusal};
use crate::segment::Side;
use crate::sync::AtomicU64;
use crate::wait::Asymmetric;

impl Endpoint {
    pub(super) fn event(&self, side: Side) -> Event<'_> {
        self.participant().mapped().event(self.block(), side)
    }

    /// Counts those who wait on a side.
    #[inline(always)]
    pub(super) fn waiting(&self, side: Side) -> &AtomicU64 {
        self.cells().control().waiting(side)
    }

    /// Whether nobody waits on `side`, if the light fence costs nothing.
    #[inline(always)]
    pub(super) fn nobody_waits(&self, side: Side) -> bool {
        event::waited_for(&Asymmetric, self.waiting(side)).is_none()
    }

    /// Tells one that waits on `side` that there is something for it, because
    /// this was `done`. What is refused is kept.
    #[inline]
    pub(crate) fn notify(&self, side: Side, done: Done) {
        self.notify_over(self.semaphores(), self.waiting(side), side, done);
    }

    /// The same where `waiting` counts them, after [`enter_fast`](Self::enter_fast), or
    /// [`quiet_fast`](Self::quiet_fast). `false` if it is refused.
    #[inline(always)]
    pub(crate) fn notify_fast(&self, waiting: &AtomicU64, side: Side, done: Done) -> bool {
        self.notify_over(&Asymmetric, waiting, side, done)
    }

    #[inline(always)]
    fn notify_over(
        &self,
        fence: &impl LightFence,
        waiting: &AtomicU64,
        side: Side,
        done: Done,
    ) -> bool {
        match event::waited_for(fence, waiting) {
            None => true,
            Some(word) => self.ring(side, word, done),
        }
    }

    #[cold]
    fn ring(&self, side: Side, word: u64, done: Done) -> bool {
        let memo = &self.wakes.memo;
        let mut rung_for = if side == self.side { Memo::default() } else { memo.get() };
        let meant = || side == Side::Receiver || self.cells().frees_senders();
        let rung = event::ring(self.semaphores(), self.event(side), word, &mut rung_for, meant);
        if side != self.side {
            memo.set(rung_for);
        }
        if let Err(refusal) = rung {
            self.owe(Whom::on(side), done, refusal);
        }
        !self.owes()
    }

    /// Tells all who wait for a slot, or for a block without taking it, that
    /// one has become free.
    #[inline]
    pub(crate) fn notify_slot_waiters(&self, done: Done) {
        // Mostly, nobody waits.
        let waiting = &self.cells().control().waiting.slots;
        if event::waited_for(self.semaphores(), waiting).is_none() {
            return;
        }
        if let Err(refusal) = self.participant().mapped().tell_slot_waiters(self.block()) {
            self.owe(Whom::SlotWaiters, done, refusal);
        }
    }

    /// Keeps that this wake was refused, and has the next call find out.
    #[cold]
    pub(super) fn owe(&self, whom: Whom, done: Done, refusal: Refusal) {
        if let Fault::System(source) = self.participant().mapped().refused(refusal) {
            self.wakes.owe(whom, Unwoken::new(done, self.name(), whom.side(), source));
            self.spoil();
        }
    }

    /// Whether a wake was refused, for what was done just now.
    #[inline]
    pub(super) fn owes(&self) -> bool {
        self.wakes.owes()
    }

    /// Tells the caller of that, who has been served all the same.
    #[inline]
    pub(super) fn unwoken(&self) -> Result<(), Box<Unwoken>> {
        if self.owes() { self.wakes.debt() } else { Ok(()) }
    }

    /// Gives the wakes that are owed.
    pub(super) fn make_good(&self) -> Result<(), Fault> {
        let readiness = self.wait.readiness.get();
        // The reactor has kept a token.
        if let Some(refusal) = readiness.and_then(|readiness| readiness.take_owed()) {
            self.owe(Whom::on(self.side), Done::GivenUp, refusal);
        }
        if !self.owes() {
            return Ok(());
        }
        let semaphores = self.semaphores();
        let told = self.wakes.make_good(|whom| {
            let woken = match whom {
                Whom::SlotWaiters => self.participant().mapped().tell_slot_waiters(self.block()),
                _ => event::notify(semaphores, self.event(whom.side()), &mut Memo::default()),
            };
            match self.participant().mapped().refused(woken.err()?) {
                Fault::System(now) => Some(now),
                _ => None,
            }
        });
        Ok(told?)
    }
}
