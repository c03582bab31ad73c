//! Wake-ups that the kernel has refused.
//!
//! A process may lose the right to operate on the semaphores, or the kernel may be short of
//! memory. Then what the process does wakes nobody. The handle remembers which side it owes
//! a wake-up, and takes the slow path until it has given it: the next call, of any form,
//! tries again first, and does nothing else if the kernel refuses again. Trying again asks
//! whether anybody still sleeps there. One token stands for any number of changes, so one
//! wake-up for each side is enough.
//!
//! A set that is gone has woken all sleepers: then nothing is owed.

use core::cell::{Cell, RefCell};

use crate::error::Unwoken;
use crate::ring::event::Memo;
use crate::segment::Side;
use crate::sys;

/// The sleepers that a handle wakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whom {
    Senders,
    Receivers,
    /// Those who wait for a slot.
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

    pub(super) const fn side(self) -> Side {
        match self {
            Self::Receivers => Side::Receiver,
            Self::Senders | Self::SlotWaiters => Side::Sender,
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// The wakes that one handle has given, and those that it owes.
#[derive(Debug, Default)]
pub(super) struct Wakes {
    /// What it has rung the other side for.
    pub(super) memo: Cell<Memo>,
    owed: Cell<u8>,
    /// What the caller is told of that.
    told: RefCell<Option<Box<Unwoken>>>,
}

impl Wakes {
    /// Those of a clone of the handle.
    pub(super) fn another(&self) -> Self {
        Self { memo: Cell::default(), owed: self.owed.clone(), told: self.told.clone() }
    }

    /// This wake was refused.
    pub(super) fn owe(&self, whom: Whom, unwoken: Box<Unwoken>) {
        self.owed.set(self.owed.get() | whom.bit());
        *self.told.borrow_mut() = Some(unwoken);
    }

    #[inline]
    pub(super) fn owes(&self) -> bool {
        self.owed.get() != 0
    }

    /// What the caller is told.
    #[cold]
    pub(super) fn debt(&self) -> Result<(), Box<Unwoken>> {
        self.told.borrow().clone().map_or(Ok(()), Err)
    }

    /// Has `give` give each wake that is owed; it says why one is refused again.
    pub(super) fn make_good(
        &self,
        give: impl Fn(Whom) -> Option<sys::Error>,
    ) -> Result<(), Box<Unwoken>> {
        for whom in Whom::ALL.into_iter().filter(|whom| self.owed.get() & whom.bit() != 0) {
            if let Some(now) = give(whom) {
                // As it is refused now.
                if let Some(told) = &mut *self.told.borrow_mut() {
                    told.source = now;
                }
                return self.debt();
            }
            self.owed.set(self.owed.get() & !whom.bit());
        }
        Ok(())
    }
}
