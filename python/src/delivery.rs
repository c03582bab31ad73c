//! A message that is read where it is in shared memory.

use std::ffi::c_int;
use std::sync::Arc;

use pyo3::exceptions::PyException;
use pyo3::ffi;
use pyo3::prelude::*;
use tombolo::AnyOwnedDelivery;

use crate::buffer::{self, Place};
use crate::channel::Layout;
use crate::codec::Codec;
use crate::held::Held;

/// A message in hand: see ``Receiver.take``. It is a read-only buffer. As the subject of
/// ``with``, it is acknowledged when the body ends, and given back if that raises. One that is
/// simply lost is given back as well.
#[pyclass(frozen, weakref, module = "tombolo._native")]
pub(crate) struct Delivery {
    held: Held<AnyOwnedDelivery>,
    layout: Option<Arc<Layout>>,
    decode: Codec,
}

impl Delivery {
    pub(crate) fn new(
        delivery: AnyOwnedDelivery,
        layout: Option<Arc<Layout>>,
        decode: Codec,
    ) -> Self {
        Self { held: Held::new(delivery, "delivery"), layout, decode }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.held.fail(AnyOwnedDelivery::give_back);
    }
}

#[pymethods]
impl Delivery {
    /// How many bytes the message has.
    fn __len__(&self) -> PyResult<usize> {
        self.held.with(|delivery| delivery.len())
    }

    /// A copy of the message, as a value.
    #[getter]
    fn value<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let bytes = self.held.with(|delivery| delivery.to_vec())?;
        self.decode.decoded(py, &bytes)
    }

    /// How many receivers have died over this message, or given it back after a failure.
    #[getter]
    fn attempts(&self) -> PyResult<u8> {
        self.held.with(|delivery| delivery.attempts())
    }

    /// Acknowledges the message. Raises ``BufferError`` if a view of it is alive.
    fn release(&self, py: Python<'_>) -> PyResult<()> {
        let delivery = self.held.take()?;
        py.detach(|| delivery.release());
        Ok(())
    }

    /// Leaves the message for another receiver, or for the next take of this one. If it failed,
    /// ``counted`` makes it one of its attempts. Raises ``BufferError`` if a view of it is
    /// alive.
    #[pyo3(signature = (*, counted = false))]
    fn give_back(&self, py: Python<'_>, counted: bool) -> PyResult<()> {
        let delivery = self.held.take()?;
        py.detach(|| match counted {
            true => delivery.give_back_counted(),
            false => delivery.give_back(),
        });
        Ok(())
    }

    /// Whether it is acknowledged or given back.
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
        let _ = traceback;
        if !kind.is_none() {
            // Ctrl-C and the end of the interpreter are no failure of the message's.
            let counts = value.is_instance_of::<PyException>();
            self.held.fail(match counts {
                true => AnyOwnedDelivery::give_back_counted,
                false => AnyOwnedDelivery::give_back,
            });
        } else if !self.held.is_ended() {
            self.release(py)?;
        }
        Ok(())
    }

    #[allow(unsafe_code)]
    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        let delivery = slf.get();
        let held = &delivery.held;
        let (first, length) = held.view(|guard| (guard.as_ptr().cast_mut(), guard.len()))?;
        let place = Place { first, length, readonly: true, layout: delivery.layout.as_deref() };
        // SAFETY: the view is the interpreter's. The delivery is not ended while it is counted,
        // and keeps the segment in memory.
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
