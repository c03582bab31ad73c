//! The signal that asked this process to end.

use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::Signal;

use crate::failure::Failure;
use crate::signals::Signals;

/// Holds signals back, and remembers the first one.
pub(crate) struct Ending {
    signals: Signals,
    caught: Cell<Option<Signal>>,
}

impl Ending {
    /// To be called before there are threads.
    pub(crate) fn new() -> Result<Self, Failure> {
        let signals = Signals::hold();
        let signals = signals.map_err(|error| Failure::broken("cannot wait for signals", error))?;
        Ok(Self { signals, caught: Cell::new(None) })
    }

    /// Whether one has come.
    pub(crate) fn has_come(&self) -> bool {
        if self.caught.get().is_none() {
            self.caught.set(self.signals.caught());
        }
        self.caught.get().is_some()
    }

    /// Ends as the signal asks, if one has come.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let _ = self.has_come();
        self.caught.get().map_or(Ok(()), |signal| Err(Failure::Signalled(signal)))
    }
}

impl AsFd for Ending {
    /// Readable when one has come and was not noticed yet.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.signals.as_fd()
    }
}
