//! A call that a server has taken.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use tombolo::AnyServerCall;

use crate::codec::Codec;
use crate::errors::{OrRaise, closed, raise};

/// A call in hand: see ``Server.recv``. As the subject of ``with``, it is refused when the body
/// ends without a reply. One that is simply lost is refused as well.
#[pyclass(frozen, weakref, module = "tombolo._native")]
pub(crate) struct Call {
    call: Mutex<Option<AnyServerCall>>,
    request: PyOnceLock<Py<PyAny>>,
    decode: Codec,
    encode: Codec,
}

impl Call {
    pub(crate) fn new(call: AnyServerCall, decode: Codec, encode: Codec) -> Self {
        Self { call: Mutex::new(Some(call)), request: PyOnceLock::new(), decode, encode }
    }

    fn lock(&self) -> MutexGuard<'_, Option<AnyServerCall>> {
        self.call.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn taken(&self) -> PyResult<AnyServerCall> {
        // No lock is held while the interpreter is called: it may run anything.
        let call = self.lock().take();
        call.ok_or_else(|| closed("call"))
    }
}

#[pymethods]
impl Call {
    /// What is asked: a copy, which stays when the call is replied to.
    #[getter]
    fn request<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let request = self.request.get_or_try_init(py, || {
            let copied = self.lock().as_ref().map(|call| call.request());
            let bytes = copied
                .ok_or_else(|| closed("call"))?
                .map_err(|error| raise("InvalidMessage", error.to_string()))?;
            self.decode.decoded(py, &bytes).map(Bound::unbind)
        });
        Ok(request?.bind(py).clone())
    }

    /// Replies; returns whether the client still waits for that. A reply that the service does
    /// not take raises ``WrongSize``, and the call is refused.
    fn reply(&self, reply: &Bound<'_, PyAny>) -> PyResult<bool> {
        let reply = self.encode.encoded(reply)?;
        self.taken()?.reply(reply.bytes()).or_raise()
    }

    /// Refuses the call: its client gets ``Refused``. Does nothing if the call has ended.
    fn refuse(&self) {
        let call = self.lock().take();
        drop(call);
    }

    /// Leaves the call for another server, or for this one to take again.
    fn give_back(&self) -> PyResult<()> {
        self.taken()?.give_back().or_raise()
    }

    /// Whether the client still waits for a reply. If it does not, there is no use in working on.
    #[getter]
    fn is_wanted(&self) -> bool {
        self.lock().as_ref().is_some_and(AnyServerCall::is_wanted)
    }

    /// Whether it is replied to, refused or given back.
    #[getter]
    fn closed(&self) -> bool {
        self.lock().is_none()
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, _exception: &Bound<'_, PyAny>) {
        self.refuse();
    }
}
