//! What one handle keeps for its waits.

use core::cell::{Cell, OnceCell};
use std::sync::Arc;
use std::time::Instant;

use super::cancel;
use super::ready::Readiness;
use crate::ring::wait::Registration;
use crate::segment::Peer;
use crate::wait::Spin;

/// One handle's.
pub(super) struct Waiting {
    pub(super) spin: Spin,
    pub(super) registration: Registration<Instant>,
    /// Whether a session is under way, which decides about the registration.
    pub(super) parking: Cell<bool>,
    /// How many tries in a row have come to nothing.
    pub(super) fruitless: Cell<u32>,
    /// Until whose end it waits, at most.
    peer: Cell<Option<Peer>>,
    /// Made when it is asked for.
    pub(super) cancel: OnceCell<Arc<cancel::Shared>>,
    /// Made when it is asked for. Dropped first.
    pub(super) readiness: OnceCell<Readiness>,
}

impl Waiting {
    /// Of a handle that has looked for the dead when the wake-all semaphore was
    /// this.
    pub(super) fn new(heard: Option<u16>) -> Self {
        Self::with(Spin::new(), heard)
    }

    fn with(spin: Spin, heard: Option<u16>) -> Self {
        Self {
            spin,
            registration: Registration::new(heard),
            parking: Cell::new(false),
            fruitless: Cell::new(0),
            peer: Cell::new(None),
            cancel: OnceCell::new(),
            readiness: OnceCell::new(),
        }
    }

    /// Of a clone of the handle, which has not looked for the dead.
    pub(super) fn another(&self) -> Self {
        let other = Self::with(self.spin.another(), None);
        other.bind(self.peer());
        other
    }

    /// Has the waits end with that participant, too; or with nobody any more.
    pub(super) fn bind(&self, peer: Option<Peer>) {
        self.peer.set(peer);
        self.registration.be_strict(peer.is_some());
    }

    pub(super) const fn peer(&self) -> Option<Peer> {
        self.peer.get()
    }
}
