//! From values to bytes and back, by what Python has for a type; without that, messages are
//! bytes.

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::buffer::Incoming;

/// A function of Python's, or none.
pub(crate) struct Codec(Option<Py<PyAny>>);

impl Codec {
    pub(crate) const fn new(convert: Option<Py<PyAny>>) -> Self {
        Self(convert)
    }

    pub(crate) fn another(&self, py: Python<'_>) -> Self {
        Self(self.0.as_ref().map(|convert| convert.clone_ref(py)))
    }

    /// The bytes of a value.
    pub(crate) fn encoded<'py>(&self, message: &Bound<'py, PyAny>) -> PyResult<Incoming<'py>> {
        match &self.0 {
            Some(encode) => Incoming::of(&encode.bind(message.py()).call1((message,))?),
            None => Incoming::of(message),
        }
    }

    /// The value of bytes.
    pub(crate) fn decoded<'py>(
        &self,
        py: Python<'py>,
        bytes: &[u8],
    ) -> PyResult<Bound<'py, PyAny>> {
        let bytes = PyBytes::new(py, bytes).into_any();
        match &self.0 {
            Some(decode) => decode.bind(py).call1((bytes,)),
            None => Ok(bytes),
        }
    }
}
