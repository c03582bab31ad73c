//! A job in hand: a message that comes again unless it is acknowledged.

use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::sync::{MutexExt, PyOnceLock};

use super::Ends;
use super::message::{Received, Taken};
use crate::errors::raise;

/// A job that this process has in hand. If the process dies, or lets go of the job without
/// `done()`, another one gets it.
#[pyclass(frozen, weakref, module = "tombolo._native")]
pub(crate) struct Job {
    taken: Mutex<Option<Taken>>,
    ends: Arc<Ends>,
    value: PyOnceLock<Py<PyAny>>,
    /// How many workers have failed over it.
    #[pyo3(get)]
    attempts: u8,
}

impl Job {
    pub(super) fn new(taken: Taken, ends: Arc<Ends>) -> Self {
        let attempts = taken.attempts();
        Self { taken: Mutex::new(Some(taken)), ends, value: PyOnceLock::new(), attempts }
    }

    /// The message, which nobody else takes out then. A thread that waits for the lock gives the
    /// interpreter up meanwhile: the copy for `value` is made under it.
    fn end(&self, py: Python<'_>) -> Option<Taken> {
        self.taken.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[pymethods]
impl Job {
    /// The object that was put.
    #[getter]
    fn value(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let value = self.value.get_or_try_init(py, || {
            let received =
                match &*self.taken.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner) {
                    Some(taken) => Received::of(py, taken)?,
                    None => return Err(raise("HandleClosed", "the job is not in hand".into())),
                };
            received.object(py)
        });
        value.map(|value| value.clone_ref(py))
    }

    /// Acknowledges the job: it is done, and nobody else gets it. Says whether it was in hand.
    fn done(&self, py: Python<'_>) -> PyResult<bool> {
        let Some(taken) = self.end(py) else { return Ok(false) };
        // Before the job goes: whoever dies in between leaves a job without a token, which costs
        // the next worker a moment. The other way round, nobody would ever take the token.
        if let Some(tokens) = &self.ends.tokens {
            tokens.settle(py)?;
        }
        taken.release();
        Ok(true)
    }

    /// Gives the job back, for another worker. Says whether it was in hand.
    fn give_back(&self, py: Python<'_>) -> bool {
        self.end(py).map(Taken::give_back_counted).is_some()
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        let taken = self.taken.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = taken.take() {
            taken.give_back_counted();
        }
    }
}
