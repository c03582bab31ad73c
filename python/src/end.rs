//! What both ends of a channel have in common: handles for all threads of the process, opened
//! again in a process that was forked.

use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use pyo3::prelude::*;
use tombolo::{Fault, Shareable, Shared};

use crate::ending::stop_if_daemon;
use crate::errors::{OrRaise, closed};
use crate::forks;
use crate::segment::seconds;

/// The handles of an end, until it is closed.
pub(crate) struct End<H: Shareable> {
    state: Mutex<State<H>>,
    /// What it is to the program.
    what: &'static str,
}

enum State<H: Shareable> {
    /// To be opened when it is first used.
    Later,
    /// Opened by the process that so many forks lie behind.
    Open(Shared<H>, u32),
    Closed,
}

impl<H: Shareable> End<H> {
    /// One that is opened when it is first used.
    pub(crate) const fn later(what: &'static str) -> Self {
        Self { state: Mutex::new(State::Later), what }
    }

    pub(crate) fn new(shared: Shared<H>, what: &'static str) -> Self {
        Self { state: Mutex::new(State::Open(shared, forks::count())), what }
    }

    fn lock(&self) -> MutexGuard<'_, State<H>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_closed(&self) -> bool {
        matches!(*self.lock(), State::Closed)
    }

    /// Its handles; in a process that was forked, those that `open` opens.
    pub(crate) fn shared(&self, open: impl FnOnce() -> PyResult<Shared<H>>) -> PyResult<Shared<H>> {
        match &*self.lock() {
            State::Open(shared, forks) if *forks == forks::count() => return Ok(shared.clone()),
            State::Closed => return Err(closed(self.what)),
            _ => {}
        }
        let opened = open()?;
        *self.lock() = State::Open(opened.clone(), forks::count());
        Ok(opened)
    }

    /// Closes it; if `cancels`, ends the waits of other threads before. More calls do nothing.
    pub(crate) fn close(&self, py: Python<'_>, cancels: bool) -> PyResult<()> {
        let before = mem::replace(&mut *self.lock(), State::Closed);
        let State::Open(shared, forks) = before else { return Ok(()) };
        if forks != forks::count() {
            // They are the parent's.
            return Ok(());
        }
        py.detach(|| {
            if cancels {
                shared.cancel()?;
            }
            shared.close()
        })
        .or_else(|fault| if fault == Fault::Closed { Ok(()) } else { Err(fault) })
        .or_raise()
    }

    /// What a call that ended with this error raises: if it was closed meanwhile, that.
    pub(crate) fn raised(&self, error: PyErr) -> PyErr {
        stop_if_daemon();
        if self.is_closed() { closed(self.what) } else { error }
    }
}

/// When a wait of so many seconds ends; `None` if it does not.
pub(crate) fn deadline(timeout: Option<f64>) -> Option<Instant> {
    timeout.and_then(|timeout| Instant::now().checked_add(seconds(timeout)))
}
