//! A place in shared memory where a message is written.

use std::ffi::c_int;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use pyo3::ffi;
use pyo3::prelude::*;
use tombolo::AnyOwnedGrant;

use crate::buffer::{self, Incoming, Place};
use crate::channel::Layout;
use crate::errors::OrRaise;
use crate::held::Held;
use crate::signals::waiting;

/// A place for one message: see ``Sender.reserve``. It is a buffer that can be written. As the
/// subject of ``with``, it is sent when the body ends, and given up if that raises.
#[pyclass(frozen, weakref, module = "tombolo._native")]
pub(crate) struct Grant {
    held: Held<AnyOwnedGrant>,
    layout: Option<Arc<Layout>>,
    /// How many bytes are sent, of messages of any length.
    length: AtomicUsize,
}

impl Grant {
    pub(crate) fn new(grant: AnyOwnedGrant, layout: Option<Arc<Layout>>) -> Self {
        let length = AtomicUsize::new(grant.len());
        Self { held: Held::new(grant, "grant"), layout, length }
    }
}

#[pymethods]
impl Grant {
    /// How many bytes there is room for.
    fn __len__(&self) -> PyResult<usize> {
        self.held.with(|grant| grant.len())
    }

    /// Copies bytes to the beginning; returns how many there was room for. Of messages of any
    /// length, these are what is sent.
    fn write(&self, message: &Bound<'_, PyAny>) -> PyResult<usize> {
        let message = Incoming::of(message)?;
        let count = self.held.with(|grant| grant.write(message.bytes()))?;
        self.length.store(count, Ordering::Relaxed);
        Ok(count)
    }

    /// How many bytes are sent when the body of ``with`` ends, of messages of any length: all
    /// that there is room for, if nothing else is said.
    #[getter]
    fn length(&self) -> usize {
        self.length.load(Ordering::Relaxed)
    }

    #[setter]
    fn set_length(&self, length: usize) {
        self.length.store(length, Ordering::Relaxed);
    }

    /// Sends the message: of any length, its first ``length`` bytes. Raises ``BufferError`` if a
    /// view of it is alive.
    #[pyo3(signature = (length = None))]
    fn commit(&self, py: Python<'_>, length: Option<usize>) -> PyResult<()> {
        let grant = self.held.take()?;
        let length = length.unwrap_or_else(|| self.length());
        waiting(py, || grant.commit(length)).or_raise()
    }

    /// Gives the place up. Raises ``BufferError`` if a view of it is alive.
    fn abort(&self, py: Python<'_>) -> PyResult<()> {
        let grant = self.held.take()?;
        py.detach(|| grant.abort());
        Ok(())
    }

    /// Whether it is sent or given up.
    #[getter]
    fn closed(&self) -> bool {
        self.held.is_ended()
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    #[pyo3(signature = (kind, value, traceback))]
    fn __exit__(
        &self,
        py: Python<'_>,
        kind: &Bound<'_, PyAny>,
        value: &Bound<'_, PyAny>,
        traceback: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let _ = (value, traceback);
        if !kind.is_none() {
            self.held.fail(AnyOwnedGrant::abort);
        } else if !self.held.is_ended() {
            self.commit(py, None)?;
        }
        Ok(())
    }

    #[allow(unsafe_code)]
    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        let grant = slf.get();
        let held = &grant.held;
        let (first, length) = held.view(|guard| (guard.as_mut_ptr(), guard.len()))?;
        let place = Place { first, length, readonly: false, layout: grant.layout.as_deref() };
        // SAFETY: the view is the interpreter's. The grant is not ended while it is counted, and
        // keeps the segment in memory.
        unsafe { buffer::export(slf.clone().into_any(), &place, view, flags) }
            .inspect_err(|_| held.release_view())
    }

    #[allow(unsafe_code)]
    unsafe fn __releasebuffer__(&self, view: *mut ffi::Py_buffer) {
        // SAFETY: the view is the interpreter's, and was filled above.
        unsafe { buffer::release(view) };
        self.held.release_view();
    }
}
