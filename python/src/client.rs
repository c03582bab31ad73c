//! The calling end of a service.

use pyo3::prelude::*;
use tombolo::{AnyClient, AnyPendingCall, CallTimeoutError, Lent, SendTimeoutError, Shared};

use crate::channel::Channel;
use crate::codec::Codec;
use crate::end::{End, deadline};
use crate::errors::{IntoPy, OrRaise};
use crate::pending::PendingCall;
use crate::signals::waiting;

/// The calling end of a service: see ``Service.client``.
#[pyclass(frozen, subclass, weakref, module = "tombolo._native")]
pub(crate) struct Client {
    end: End<AnyClient>,
    channel: Py<Channel>,
    encode: Codec,
    decode: Codec,
    repeats: u8,
}

fn opened(py: Python<'_>, channel: &Py<Channel>) -> PyResult<Shared<AnyClient>> {
    channel.get().with(py, |channel| Ok(channel.client().or_raise()?.into_shared()))
}

impl Client {
    pub(crate) fn shared(&self, py: Python<'_>) -> PyResult<Shared<AnyClient>> {
        self.end.shared(|| opened(py, &self.channel))
    }

    fn lent<'a>(&self, shared: &'a Shared<AnyClient>) -> PyResult<Lent<'a, AnyClient>> {
        let end = shared.lend().or_raise()?;
        // Each handle of the pool has its own.
        end.set_repeats(self.repeats);
        Ok(end)
    }

    /// A call that `end` makes, without waiting.
    pub(crate) fn started(
        &self,
        end: &AnyClient,
        request: &Bound<'_, PyAny>,
    ) -> PyResult<PendingCall> {
        let bytes = self.encode.encoded(request)?;
        // Each handle of the pool has its own.
        end.set_repeats(self.repeats);
        let made = end.try_start(bytes.bytes());
        Ok(self.pending(request.py(), made.map_err(|error| self.failed(error))?))
    }

    fn pending(&self, py: Python<'_>, made: AnyPendingCall) -> PendingCall {
        PendingCall::new(made, self.decode.another(py))
    }

    /// The error of a call of this end.
    fn failed(&self, error: impl IntoPy) -> PyErr {
        self.end.raised(error.into_py())
    }
}

#[pymethods]
impl Client {
    #[new]
    #[pyo3(signature = (channel, encode = None, decode = None, *, repeats = 0))]
    fn new(
        py: Python<'_>,
        channel: Py<Channel>,
        encode: Option<Py<PyAny>>,
        decode: Option<Py<PyAny>>,
        repeats: u8,
    ) -> PyResult<Self> {
        let end = End::new(opened(py, &channel)?, "client");
        Ok(Self { end, channel, encode: Codec::new(encode), decode: Codec::new(decode), repeats })
    }

    /// The service that it belongs to.
    #[getter]
    fn channel(&self, py: Python<'_>) -> Py<Channel> {
        self.channel.clone_ref(py)
    }

    /// How many servers may die over a call before it fails: each call may be served so often
    /// again.
    #[getter]
    const fn repeats(&self) -> u8 {
        self.repeats
    }

    /// Makes a call, and waits for its reply: at most ``timeout`` seconds, if that is given. Then
    /// it raises ``CallTimeout``, and the call is given up.
    #[pyo3(signature = (request, timeout = None))]
    fn call<'py>(
        &self,
        py: Python<'py>,
        request: &Bound<'py, PyAny>,
        timeout: Option<f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let request = self.encode.encoded(request)?;
        let bytes = request.bytes();
        let shared = self.shared(py)?;
        let end = self.lent(&shared)?;
        let until = deadline(timeout);
        let reply = waiting(py, move || match until {
            Some(until) => end.call_deadline(bytes, until),
            None => end.call(bytes).map_err(CallTimeoutError::from),
        });
        self.decode.decoded(py, &reply.map_err(|error| self.failed(error))?)
    }

    /// Makes a call, and returns while it is under way. Waits for a place among the calls, at most
    /// ``timeout`` seconds, if that is given.
    #[pyo3(signature = (request, timeout = None))]
    fn start(
        &self,
        py: Python<'_>,
        request: &Bound<'_, PyAny>,
        timeout: Option<f64>,
    ) -> PyResult<PendingCall> {
        let request = self.encode.encoded(request)?;
        let bytes = request.bytes();
        let shared = self.shared(py)?;
        let end = self.lent(&shared)?;
        let until = deadline(timeout);
        let made = waiting(py, move || match until {
            Some(until) => end.start_deadline(bytes, until),
            None => end.start(bytes).map_err(SendTimeoutError::from),
        });
        Ok(self.pending(py, made.map_err(|error| self.failed(error))?))
    }

    /// The same without waiting; raises ``Full`` if there is no place.
    fn try_start(&self, py: Python<'_>, request: &Bound<'_, PyAny>) -> PyResult<PendingCall> {
        let shared = self.shared(py)?;
        let end = self.lent(&shared)?;
        self.started(&end, request)
    }

    /// How many calls wait for a server, of all clients, now or a moment ago.
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

    /// Gives the end up; calls that are under way go on. More calls of this do nothing.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.end.close(py, true)
    }

    /// Closes it at the end of the process: other threads go on waiting until that is gone.
    fn let_go(&self, py: Python<'_>) -> PyResult<()> {
        self.end.close(py, false)
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyAny>) -> PyResult<()> {
        self.end.close(py, true)
    }
}
