//! What `task_done` and `join` count: a token for each job that has been put and is not done.
//!
//! ```text
//!  put ── job and token, both or none ──▶ jobs │ tokens
//!  get:  takes the job in place, takes a token and holds it, lets the job go
//!  task_done: lets the token go, and rings
//!  join: until no token is there or held
//! ```
//!
//! Tokens are never delivered again. So when a worker is killed between `get` and
//! `task_done`, the token that it holds goes with it, and nobody waits for it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use tombolo::{
    ChannelError, Mpmc, OwnedDelivery, Receiver, RecvTimeoutError, Segment, Sender, Shared,
    TryRecvError,
};

use crate::errors::{IntoPy, OrRaise};
use crate::signals::waiting;

/// So many jobs are counted; more are forgotten.
pub(super) const MOST: usize = 1 << 16;
/// So many tokens a process holds. One that never says `task_done` lets the oldest go: it counts
/// then until somebody says `task_done` for it.
const MOST_HELD: usize = 64;
/// For how long a job's token may be on its way. It is sent with its job; if a worker dies over
/// one, there is none.
const ON_ITS_WAY: Duration = Duration::from_secs(1);

pub(super) struct Tokens {
    pub(super) sender: Shared<Sender<u8>>,
    receiver: Shared<Receiver<u8>>,
    bell: (Shared<Sender<u8>>, Shared<Receiver<u8>>),
    held: Mutex<VecDeque<OwnedDelivery<u8, Mpmc>>>,
    /// Jobs in hand without a token.
    bare: AtomicUsize,
}

impl Tokens {
    pub(super) fn open(segment: &Segment) -> Result<Self, ChannelError> {
        let tokens = segment.channel::<u8>("tokens").capacity(MOST).redeliver(0).lasting();
        let bell = segment.channel::<u8>("bell").capacity(1).lasting();
        Ok(Self {
            sender: tokens.sender()?.into_shared(),
            receiver: tokens.receiver()?.into_shared(),
            bell: (bell.sender()?.into_shared(), bell.receiver()?.into_shared()),
            held: Mutex::default(),
            bare: AtomicUsize::new(0),
        })
    }

    fn held(&self) -> MutexGuard<'_, VecDeque<OwnedDelivery<u8, Mpmc>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the token of a job that is in hand, if it has one.
    fn take(&self, py: Python<'_>) -> PyResult<Option<OwnedDelivery<u8, Mpmc>>> {
        match self.receiver.try_take() {
            Ok(token) => return Ok(Some(token)),
            Err(TryRecvError::Empty | TryRecvError::Pending) => {}
            Err(error) => return Err(error.into_py()),
        }
        match waiting(py, || self.receiver.take_timeout(ON_ITS_WAY)) {
            Ok(token) => Ok(Some(token)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(error) => Err(error.into_py()),
        }
    }

    /// Takes the token of a job, and holds it.
    pub(super) fn hold(&self, py: Python<'_>) -> PyResult<()> {
        match self.take(py)? {
            Some(token) => {
                let mut held = self.held();
                held.push_back(token);
                if held.len() > MOST_HELD
                    && let Some(oldest) = held.pop_front()
                {
                    oldest.give_back();
                }
            }
            None => {
                self.bare.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// Takes a job's token out: the job is done.
    pub(super) fn settle(&self, py: Python<'_>) -> PyResult<()> {
        if let Some(token) = self.take(py)? {
            token.release();
        }
        self.ring()
    }

    /// Makes room: forgets the oldest.
    pub(super) fn forget(&self) {
        if let Ok(token) = self.receiver.try_take() {
            token.release();
        }
    }

    /// Tells one that waits.
    pub(super) fn ring(&self) -> PyResult<()> {
        // Somebody has rung, if it is full.
        let _ = self.bell.0.lend().or_raise()?.try_send(0);
        Ok(())
    }

    pub(super) fn task_done(&self) -> PyResult<()> {
        let oldest = self.held().pop_front();
        match oldest {
            Some(token) => token.release(),
            // Another thread or process has the job.
            None => match self.receiver.try_take() {
                Ok(token) => token.release(),
                Err(TryRecvError::Empty | TryRecvError::Pending) => {
                    let less = |bare: usize| bare.checked_sub(1);
                    if self.bare.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_err() {
                        return Err(PyValueError::new_err("task_done() called too many times"));
                    }
                }
                Err(error) => return Err(error.into_py()),
            },
        }
        self.ring()
    }

    /// Whether a job is not done.
    pub(super) fn unfinished(&self) -> PyResult<bool> {
        Ok(self.receiver.lend().or_raise()?.is_outstanding())
    }

    /// Waits until somebody rings, at most this long.
    pub(super) fn wait(&self, py: Python<'_>, most: Duration) -> PyResult<()> {
        let bell = self.bell.1.lend().or_raise()?;
        match waiting(py, move || bell.recv_timeout(most)) {
            Ok(_) | Err(RecvTimeoutError::Timeout) => Ok(()),
            Err(error) => Err(error.into_py()),
        }
    }
}
