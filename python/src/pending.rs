//! A call that is under way, in the hands of its client.

use std::mem;
use std::os::fd::AsRawFd as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::intern;
use pyo3::prelude::*;
use tombolo::{AnyPendingCall, CallError, CallTimeoutError, TryRecvError};

use crate::codec::Codec;
use crate::end::deadline;
use crate::errors::{IntoPy, OrRaise, closed, raise};
use crate::signals::waiting;

/// A call that was made: see ``Client.start``. It can be awaited. One that is simply lost is
/// given up.
#[pyclass(frozen, weakref, module = "tombolo._native")]
pub(crate) struct PendingCall {
    state: Mutex<State>,
    decode: Codec,
}

enum State {
    Idle(AnyPendingCall),
    /// A thread waits for it.
    Waits,
    Over,
}

impl PendingCall {
    pub(crate) fn new(call: AnyPendingCall, decode: Codec) -> Self {
        Self { state: Mutex::new(State::Idle(call)), decode }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, state: State) {
        // What was there is dropped without the lock.
        let before = mem::replace(&mut *self.lock(), state);
        drop(before);
    }

    /// Takes the call out, for one that waits. No lock is held while the interpreter is called.
    fn taken(&self) -> PyResult<AnyPendingCall> {
        let mut state = self.lock();
        let before = mem::replace(&mut *state, State::Waits);
        match before {
            State::Idle(call) => Ok(call),
            State::Waits => {
                drop(state);
                Err(raise("InUse", "another thread waits for this call".into()))
            }
            State::Over => {
                *state = State::Over;
                drop(state);
                Err(closed("call"))
            }
        }
    }

    /// What has come of it; `None` if it goes on.
    fn concluded<'py>(
        &self,
        py: Python<'py>,
        call: AnyPendingCall,
        got: Option<Result<Vec<u8>, CallError>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.set(if call.has_ended() { State::Over } else { State::Idle(call) });
        match got {
            None => Ok(None),
            Some(Ok(reply)) => self.decode.decoded(py, &reply).map(Some),
            Some(Err(error)) => Err(error.into_py()),
        }
    }
}

#[pymethods]
impl PendingCall {
    /// Waits for the reply: at most ``timeout`` seconds, if that is given. Then it raises
    /// ``CallTimeout``, and the call goes on.
    #[pyo3(signature = (timeout = None))]
    fn wait<'py>(&self, py: Python<'py>, timeout: Option<f64>) -> PyResult<Bound<'py, PyAny>> {
        let call = self.taken()?;
        let until = deadline(timeout);
        let (call, got) = waiting(py, move || {
            let got = match until {
                Some(until) => call.wait_deadline(until),
                None => call.wait_timeout(Duration::MAX),
            };
            (call, got)
        });
        self.concluded(py, call, got)?.ok_or_else(|| CallTimeoutError::TimedOut.into_py())
    }

    /// Looks for the reply, without waiting; raises ``Empty`` if there is none yet.
    fn try_wait<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let call = self.taken()?;
        let got = call.try_wait();
        self.concluded(py, call, got)?.ok_or_else(|| TryRecvError::Empty.into_py())
    }

    /// A descriptor for event loops, readable when ``try_wait`` may come to something.
    fn fileno(&self) -> PyResult<i32> {
        let found = match &*self.lock() {
            State::Idle(call) => Some(call.readiness().map(|readiness| readiness.as_raw_fd())),
            _ => None,
        };
        found.ok_or_else(|| closed("call"))?.or_raise()
    }

    /// Gives the call up, unless it has ended: a reply goes nowhere.
    fn give_up(&self) -> PyResult<()> {
        let call = match self.taken() {
            Ok(call) => call,
            Err(_) if self.closed() => return Ok(()),
            Err(error) => return Err(error),
        };
        self.set(State::Over);
        drop(call);
        Ok(())
    }

    /// Whether it has ended, and a call of this has said how; or it is given up.
    #[getter]
    fn closed(&self) -> bool {
        matches!(*self.lock(), State::Over)
    }

    fn __await__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, PyAny>> {
        let py = slf.py();
        let reply = py.import(intern!(py, "tombolo._aio"))?.getattr(intern!(py, "reply"))?;
        reply.call1((slf,))?.call_method0(intern!(py, "__await__"))
    }
}
