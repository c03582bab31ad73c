//! The serving end of a service.

use pyo3::prelude::*;
use tombolo::{AnyServer, AnyServerCall, RecvTimeoutError, Shared};

use crate::call::Call;
use crate::channel::Channel;
use crate::codec::Codec;
use crate::end::{End, deadline};
use crate::errors::{IntoPy, OrRaise};
use crate::signals::waiting;

/// The serving end of a service: see ``Service.server``.
#[pyclass(frozen, subclass, weakref, module = "tombolo._native")]
pub(crate) struct Server {
    end: End<AnyServer>,
    channel: Py<Channel>,
    decode: Codec,
    encode: Codec,
}

fn opened(py: Python<'_>, channel: &Py<Channel>) -> PyResult<Shared<AnyServer>> {
    channel.get().with(py, |channel| Ok(channel.server().or_raise()?.into_shared()))
}

impl Server {
    pub(crate) fn shared(&self, py: Python<'_>) -> PyResult<Shared<AnyServer>> {
        self.end.shared(|| opened(py, &self.channel))
    }

    fn in_hand(&self, py: Python<'_>, call: AnyServerCall) -> Call {
        Call::new(call, self.decode.another(py), self.encode.another(py))
    }

    /// The error of a call of this end.
    fn failed(&self, error: impl IntoPy) -> PyErr {
        self.end.raised(error.into_py())
    }

    /// A call that `end` takes, without waiting.
    pub(crate) fn taken_now(&self, py: Python<'_>, end: &AnyServer) -> PyResult<Call> {
        match end.try_recv() {
            Ok(call) => Ok(self.in_hand(py, call)),
            Err(error) => Err(self.failed(error)),
        }
    }
}

#[pymethods]
impl Server {
    #[new]
    #[pyo3(signature = (channel, decode = None, encode = None))]
    fn new(
        py: Python<'_>,
        channel: Py<Channel>,
        decode: Option<Py<PyAny>>,
        encode: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let end = End::new(opened(py, &channel)?, "server");
        Ok(Self { end, channel, decode: Codec::new(decode), encode: Codec::new(encode) })
    }

    /// The service that it belongs to.
    #[getter]
    fn channel(&self, py: Python<'_>) -> Py<Channel> {
        self.channel.clone_ref(py)
    }

    /// Takes a call, waiting for it: at most ``timeout`` seconds, if that is given. Several may be
    /// in hand, and be replied to in any order.
    #[pyo3(signature = (timeout = None))]
    fn recv(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Call> {
        let until = deadline(timeout);
        let shared = self.shared(py)?;
        let end = shared.lend().or_raise()?;
        let call = waiting(py, move || match until {
            Some(until) => end.recv_deadline(until),
            None => end.recv().map_err(RecvTimeoutError::from),
        });
        Ok(self.in_hand(py, call.map_err(|error| self.failed(error))?))
    }

    /// Takes a call without waiting; raises ``Empty`` if there is none.
    fn try_recv(&self, py: Python<'_>) -> PyResult<Call> {
        let shared = self.shared(py)?;
        let end = shared.lend().or_raise()?;
        self.taken_now(py, &end)
    }

    /// How many calls wait for a server, now or a moment ago.
    fn qsize(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.shared(py)?.lend().or_raise()?.len())
    }

    /// How many calls there can be at once.
    #[getter]
    fn capacity(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.shared(py)?.lend().or_raise()?.capacity())
    }

    /// Ends the calls of other threads that wait, and later ones, with ``Cancelled``; until
    /// ``reset``.
    fn cancel(&self, py: Python<'_>) -> PyResult<()> {
        let shared = self.shared(py)?;
        py.detach(|| shared.cancel()).or_raise()
    }

    /// Lets the end wait again.
    fn reset(&self, py: Python<'_>) -> PyResult<()> {
        self.shared(py)?.reset();
        Ok(())
    }

    /// Whether it is closed.
    #[getter]
    fn closed(&self) -> bool {
        self.end.is_closed()
    }

    /// Gives the end up; calls that are in hand can still be replied to. More calls of this do
    /// nothing.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.end.close(py, true)
    }

    /// Closes it at the end of the process: other threads go on waiting until that is gone.
    fn let_go(&self, py: Python<'_>) -> PyResult<()> {
        self.end.close(py, false)
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    /// The next call; the iteration ends when the last client has gone.
    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Call>> {
        let shared = self.shared(py)?;
        let end = shared.lend().or_raise()?;
        match waiting(py, move || end.recv()) {
            Ok(call) => Ok(Some(self.in_hand(py, call))),
            Err(error) if error.is_disconnected() => Ok(None),
            Err(error) => Err(self.failed(error)),
        }
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyAny>) -> PyResult<()> {
        self.end.close(py, true)
    }
}
