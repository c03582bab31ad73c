//! The words in which this process's senders say that they are sending: see [`gate`].

use std::sync::Arc;

use crossbeam_utils::CachePadded;

use super::participant::{Participant, lock};
use crate::ring::gate;
use crate::sync::AtomicU64;

/// Not 0 while a handle sends.
pub(crate) type Busy = CachePadded<AtomicU64>;

/// The words of as many senders as there have been at one time. A new sender gets that of
/// one that has gone, which costs less than memory of its own.
#[derive(Debug, Default)]
pub(super) struct Sending {
    all: Vec<Arc<Busy>>,
    vacant: Vec<Arc<Busy>>,
}

impl Participant {
    /// A word for a new sender.
    pub(crate) fn enter_busy(&self) -> Arc<Busy> {
        let mut sending = lock(&self.sending);
        sending.vacant.pop().unwrap_or_else(|| {
            let busy = Arc::<Busy>::default();
            sending.all.push(Arc::clone(&busy));
            busy
        })
    }

    /// The sender whose word it is has gone.
    pub(crate) fn leave_busy(&self, gone: &Arc<Busy>) {
        // In a forked child another thread may have had the lock.
        if !self.guard.in_child() {
            // It may have forgotten a grant.
            gate::leave(gone);
            lock(&self.sending).vacant.push(Arc::clone(gone));
        }
    }

    /// Whether no sender of this process sends, nor will before it has seen
    /// the gate as the caller has.
    pub(crate) fn idle(&self) -> bool {
        // The process that changed the gate may not have come to say so.
        self.mapped.change_all();
        let sending = lock(&self.sending);
        gate::idle(&self.mapped.semaphores, sending.all.iter().map(|busy| &***busy))
    }
}
