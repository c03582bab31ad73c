//! Changing the state of a segment for all participants, and having them look.

use crate::error::Fault;
use crate::ring::event;
use crate::ring::kernel::Kernel;
use crate::segment::participant::{Participant, Unleased};
use crate::storage::Side;
use crate::sync::Ordering;

impl Participant {
    /// Changes what everybody obeys, by `change`, and has everybody look, also
    /// if this process is killed over it: it holds a credit on each semaphore
    /// meanwhile, and its sweep is a change for each channel. It holds the
    /// lease, too, so that there is no channel without.
    ///
    /// A handle that has not become an endpoint by the end of this finds the state
    /// that this leaves.
    pub(crate) fn announce(&self, change: impl FnOnce()) -> Result<(), Unleased> {
        self.leased(|_| {
            self.with_all_credits(|| {
                change();
                self.call()
            })
        })?
        .map_err(Unleased::Fault)?;
        // With the fence of whoever becomes an endpoint: see `enlist`. What is
        // being sent is asked of the sender's own process: see `gate`.
        self.mapped.semaphores.heavy_fence();
        Ok(())
    }

    /// Has everybody who uses a channel look at the gate and for commands, and
    /// everybody who listens.
    pub(crate) fn call(&self) -> Result<(), Fault> {
        let mut told = Ok(());
        let semaphores = &self.mapped.semaphores;
        self.mapped.memory.header().calls.fetch_add(1, Ordering::Release);
        for block in self.mapped.blocks() {
            self.mapped.control(&block).changes.fetch_add(1, Ordering::Release);
            for side in [Side::Receiver, Side::Sender] {
                let event = self.mapped.event(&block, side);
                told = told.and(event::rouse(semaphores, event, || false));
            }
            told = told.and(self.mapped.tell_slot_waiters(&block));
        }
        self.unless_gone(told).and(self.strike())
    }
}
