//! A descriptor that tells an event loop when a handle can go on.
//!
//! The [`reactor`](super::reactor) waits for the handle, and sets the descriptor:
//!
//! ```text
//!  the handle                                          the reactor
//!
//!  a try finds nothing: clears the       ── asks ──▶  announces, looks, sleeps, looks
//!  descriptor, says what the try lacked                   │ there, or changed
//!  event loop: readable ◀───────────────── sets it ───────┘
//!  tries until it finds nothing
//! ```

use core::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;

use super::reactor::{Ask, At, Interest, Tell};
use crate::error::Fault;
use crate::ring::kernel::Refusal;
use crate::sys;
use crate::sys::event_fd::EventFd;

/// A pollable descriptor of a sender or a receiver: see
/// [`Receiver::readiness`](crate::Receiver::readiness).
///
/// It is an [eventfd](https://man7.org/linux/man-pages/man2/eventfd.2.html), for `poll`, `epoll`
/// and what is built on them. It is set as long as it is readable. The handle clears it; a
/// program may read it (eight bytes), after a call of the handle has found nothing and before the
/// next one. The descriptor belongs to the handle, and is closed with it;
/// [`BorrowedFd::try_clone_to_owned`] gives one that can be kept apart.
pub struct Readiness {
    fd: Arc<EventFd>,
    interest: Interest,
}

impl Readiness {
    /// The descriptor of a handle, readable: only a try finds out whether
    /// there is nothing.
    pub(super) fn new(at: &At<'_>) -> sys::Result<Self> {
        let fd = Arc::new(EventFd::new()?);
        fd.set();
        let tell = || Tell::Descriptor(Arc::clone(&fd));
        let interest = Interest::new(at, tell)?;
        Ok(Self { fd, interest })
    }

    /// Clears the descriptor until this is there; says why nobody can wait there
    /// any more.
    pub(super) fn arm(&self, ask: Ask) -> Result<(), Fault> {
        self.interest.ask(ask, None).map(drop)
    }

    /// Why a token that was to be passed on could not be, if so. It is the
    /// handle's from here on.
    pub(super) fn take_owed(&self) -> Option<Refusal> {
        self.interest.take_owed()
    }

    /// Makes the descriptor readable, so that the handle asks anew.
    pub(super) fn restart(&self) {
        self.interest.tell();
    }

    /// Gives up what it takes of the channel.
    pub(super) fn end(self) -> Result<(), Fault> {
        self.interest.end()
    }
}

impl AsFd for Readiness {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Readiness {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readiness").field("fd", &self.as_raw_fd()).finish_non_exhaustive()
    }
}
