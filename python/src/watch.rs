//! An end that an event loop waits for: a descriptor that is readable when a call of the end
//! would come to something.
//!
//! A try that finds nothing has the descriptor watch for what it lacked. So a watch has a handle
//! of its own, and all of its tries are that handle's.

use std::os::fd::AsRawFd as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use tombolo::{
    AnyClient, AnyReceiver, AnySender, AnyServer, LentOwned, Shareable, TryRecvError, TrySendError,
};

use crate::call::Call;
use crate::client::Client;
use crate::errors::{IntoPy, OrRaise, closed};
use crate::pending::PendingCall;
use crate::receiver::Receiver;
use crate::sender::Sender;
use crate::server::Server;

/// A handle, until it goes back to its end.
struct Watched<H: Shareable>(Mutex<Option<LentOwned<H>>>);

impl<H: Shareable> Watched<H> {
    fn new(handle: LentOwned<H>) -> Self {
        Self(Mutex::new(Some(handle)))
    }

    fn lock(&self) -> MutexGuard<'_, Option<LentOwned<H>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<R>(&self, act: impl FnOnce(&mut H) -> PyResult<R>) -> PyResult<R> {
        let mut handle = self.lock();
        act(handle.as_mut().ok_or_else(|| closed("watch"))?)
    }

    fn close(&self) {
        // Given back without the lock.
        let handle = self.lock().take();
        drop(handle);
    }
}

/// Waits for messages of a receiver.
#[pyclass(frozen, module = "tombolo._native")]
pub(crate) struct RecvWatch {
    receiver: Py<Receiver>,
    handle: Watched<AnyReceiver>,
}

#[pymethods]
impl RecvWatch {
    #[new]
    fn new(py: Python<'_>, receiver: Py<Receiver>) -> PyResult<Self> {
        let handle = Watched::new(receiver.get().shared(py)?.lend_owned().or_raise()?);
        Ok(Self { receiver, handle })
    }

    /// The descriptor.
    fn fileno(&self) -> PyResult<i32> {
        self.handle.with(|end| Ok(end.readiness().or_raise()?.as_raw_fd()))
    }

    /// Receives without waiting. If it raises ``Empty``, the descriptor says when to try again.
    fn try_recv<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let receiver = self.receiver.get();
        let mut into = Vec::new();
        match self.handle.with(|end| receiver.received_now(end, &mut into))? {
            true => receiver.decoded(py, &into),
            false => Err(TryRecvError::Empty.into_py()),
        }
    }

    /// Whether there is nothing to take, and the descriptor says when there is.
    fn finds_nothing(&self) -> PyResult<bool> {
        let receiver = self.receiver.get();
        self.handle.with(|end| {
            loop {
                match end.try_take() {
                    Ok(delivery) => {
                        delivery.give_back();
                        return Ok(false);
                    }
                    Err(TryRecvError::Empty | TryRecvError::Pending) => return Ok(true),
                    Err(error) if receiver.goes_on(error.lagged()) => {}
                    Err(error) => return Err(receiver.failed(error)),
                }
            }
        })
    }

    /// Gives the handle back.
    fn close(&self) {
        self.handle.close();
    }
}

/// Waits for room for a sender.
#[pyclass(frozen, module = "tombolo._native")]
pub(crate) struct SendWatch {
    sender: Py<Sender>,
    handle: Watched<AnySender>,
}

#[pymethods]
impl SendWatch {
    #[new]
    fn new(py: Python<'_>, sender: Py<Sender>) -> PyResult<Self> {
        let handle = Watched::new(sender.get().shared(py)?.lend_owned().or_raise()?);
        Ok(Self { sender, handle })
    }

    /// The descriptor.
    fn fileno(&self) -> PyResult<i32> {
        self.handle.with(|end| Ok(end.readiness().or_raise()?.as_raw_fd()))
    }

    /// Sends without waiting. If it raises ``Full``, the descriptor says when to try again.
    fn try_send(&self, message: &Bound<'_, PyAny>) -> PyResult<()> {
        let message = self.sender.get().encoded(message)?;
        self.handle.with(|end| end.try_send(message.bytes()).map_err(IntoPy::into_py))
    }

    /// Whether there is no room for a message of that length, and the descriptor says when
    /// there is.
    fn finds_no_room(&self, length: Option<usize>) -> PyResult<bool> {
        self.handle.with(|end| {
            let length = length.unwrap_or_else(|| end.element_size());
            match end.try_reserve(length) {
                Ok(grant) => {
                    grant.abort();
                    Ok(false)
                }
                Err(TrySendError::Full(()) | TrySendError::Paused(())) => Ok(true),
                Err(error) => Err(error.into_py()),
            }
        })
    }

    /// Gives the handle back.
    fn close(&self) {
        self.handle.close();
    }
}

/// Waits for a place among the calls, for a client.
#[pyclass(frozen, module = "tombolo._native")]
pub(crate) struct CallWatch {
    client: Py<Client>,
    handle: Watched<AnyClient>,
}

#[pymethods]
impl CallWatch {
    #[new]
    fn new(py: Python<'_>, client: Py<Client>) -> PyResult<Self> {
        let handle = Watched::new(client.get().shared(py)?.lend_owned().or_raise()?);
        Ok(Self { client, handle })
    }

    /// The descriptor.
    fn fileno(&self) -> PyResult<i32> {
        self.handle.with(|end| Ok(end.readiness().or_raise()?.as_raw_fd()))
    }

    /// Makes a call without waiting. If it raises ``Full``, the descriptor says when to try again.
    fn try_start(&self, request: &Bound<'_, PyAny>) -> PyResult<PendingCall> {
        self.handle.with(|end| self.client.get().started(end, request))
    }

    /// Gives the handle back.
    fn close(&self) {
        self.handle.close();
    }
}

/// Waits for calls, for a server.
#[pyclass(frozen, module = "tombolo._native")]
pub(crate) struct ServeWatch {
    server: Py<Server>,
    handle: Watched<AnyServer>,
}

#[pymethods]
impl ServeWatch {
    #[new]
    fn new(py: Python<'_>, server: Py<Server>) -> PyResult<Self> {
        let handle = Watched::new(server.get().shared(py)?.lend_owned().or_raise()?);
        Ok(Self { server, handle })
    }

    /// The descriptor.
    fn fileno(&self) -> PyResult<i32> {
        self.handle.with(|end| Ok(end.readiness().or_raise()?.as_raw_fd()))
    }

    /// Takes a call without waiting. If it raises ``Empty``, the descriptor says when to try
    /// again.
    fn try_recv(&self, py: Python<'_>) -> PyResult<Call> {
        self.handle.with(|end| self.server.get().taken_now(py, end))
    }

    /// Gives the handle back.
    fn close(&self) {
        self.handle.close();
    }
}
