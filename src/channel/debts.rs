//! Wakes that the kernel has refused.
//!
//! A process may lose the right to operate on the semaphores, or be short of
//! memory. Then what it does wakes nobody. The handle remembers which side it owes
//! a wake, and takes the long way until it has given it: the next call, whichever it
//! is, first tries again, and does nothing else if that is refused again.
//! Trying again asks whether anybody still sleeps there. One token stands for any
//! number of changes, so one wake for each side is enough.
//!
//! A set that is gone has woken everybody: nothing is owed then.

use core::cell::{Cell, RefCell};

use super::endpoint::Endpoint;
use crate::error::{Done, Fault, Unwoken};
use crate::ring::event::{self, Memo};
use crate::ring::kernel::Refusal;
use crate::ring::slot_waiters;
use crate::segment::Side;

/// The sleepers that are owed a wake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whom {
    Senders,
    Receivers,
    /// Those who wait for a place.
    SlotWaiters,
}

impl Whom {
    const ALL: [Self; 3] = [Self::Senders, Self::Receivers, Self::SlotWaiters];

    pub(super) const fn on(side: Side) -> Self {
        match side {
            Side::Sender => Self::Senders,
            Side::Receiver => Self::Receivers,
        }
    }

    const fn side(self) -> Side {
        match self {
            Self::Receivers => Side::Receiver,
            Self::Senders | Self::SlotWaiters => Side::Sender,
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// What a handle owes.
#[derive(Clone, Debug, Default)]
pub(super) struct Debts {
    whom: Cell<u8>,
    /// What the caller is told.
    told: RefCell<Option<Box<Unwoken>>>,
}

impl Endpoint {
    /// Keeps that this wake was refused, and has the next call find out.
    #[cold]
    pub(super) fn owe(&self, whom: Whom, done: Done, refusal: Refusal) {
        if let Fault::System(source) = self.participant().mapped().refused(refusal) {
            self.debts.whom.set(self.debts.whom.get() | whom.bit());
            let unwoken = Unwoken::new(done, &self.name, whom.side(), source);
            *self.debts.told.borrow_mut() = Some(unwoken);
            self.spoil();
        }
    }

    /// Whether a wake was refused, for what was done just now.
    #[inline]
    pub(super) fn owes(&self) -> bool {
        self.debts.whom.get() != 0
    }

    /// Tells the caller of that, who has been served all the same.
    #[inline]
    pub(super) fn unwoken(&self) -> Result<(), Box<Unwoken>> {
        if self.owes() { self.debt() } else { Ok(()) }
    }

    #[cold]
    fn debt(&self) -> Result<(), Box<Unwoken>> {
        self.debts.told.borrow().clone().map_or(Ok(()), Err)
    }

    /// Gives the wakes that are owed.
    pub(super) fn make_good(&self) -> Result<(), Fault> {
        // The thread behind the descriptor has kept a token.
        if let Some(refusal) = self.readiness.get().and_then(|readiness| readiness.take_owed()) {
            self.owe(Whom::on(self.side), Done::GivenUp, refusal);
        }
        if !self.owes() {
            return Ok(());
        }
        let semaphores = &self.participant().mapped().semaphores;
        for whom in Whom::ALL.into_iter().filter(|whom| self.debts.whom.get() & whom.bit() != 0) {
            let woken = match whom {
                Whom::SlotWaiters => {
                    slot_waiters::freed(semaphores, &self.cells().control().slots_waiting)
                }
                _ => event::notify(semaphores, self.event(whom.side()), &mut Memo::default()),
            };
            if let Err(refusal) = woken
                && let Fault::System(now) = self.participant().mapped().refused(refusal)
            {
                // As it is refused now.
                if let Some(told) = &mut *self.debts.told.borrow_mut() {
                    told.source = now;
                }
                return Ok(self.debt()?);
            }
            self.debts.whom.set(self.debts.whom.get() & !whom.bit());
        }
        Ok(())
    }
}
