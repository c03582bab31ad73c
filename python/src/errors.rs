//! From the library's errors to the exceptions of `tombolo._errors`, with their text.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;
use tombolo::{ChannelError, Fault, OpenError};

static MODULE: PyOnceLock<Py<PyModule>> = PyOnceLock::new();

/// The exception of this name. Without one, whatever kept it from being made.
pub(crate) fn raise(name: &str, text: String) -> PyErr {
    Python::attach(|py| match class(py, name) {
        Ok(class) => PyErr::from_type(class, (text,)),
        Err(error) => error,
    })
}

fn class<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyType>> {
    let import = || py.import("tombolo._errors").map(Bound::unbind);
    let found = MODULE.get_or_try_init(py, import)?.bind(py).getattr(name)?;
    Ok(found.cast_into::<PyType>()?)
}

/// An error of the library as an exception.
pub(crate) trait IntoPy {
    fn into_py(self) -> PyErr;
}

/// What the library returned, or raises.
pub(crate) trait OrRaise<T> {
    fn or_raise(self) -> PyResult<T>;
}

impl<T, E: IntoPy> OrRaise<T> for Result<T, E> {
    fn or_raise(self) -> PyResult<T> {
        self.map_err(IntoPy::into_py)
    }
}

impl IntoPy for OpenError {
    fn into_py(self) -> PyErr {
        let name = match self {
            Self::NotFound { .. } => "NotFound",
            Self::Exists { .. } => "Exists",
            Self::Stranger { .. } => "Stranger",
            Self::BadName(_) | Self::BadOption { .. } => "BadOption",
            Self::System(_) => "SystemError",
            _ => "OpenError",
        };
        raise(name, self.to_string())
    }
}

impl IntoPy for ChannelError {
    fn into_py(self) -> PyErr {
        let name = match self {
            Self::NotFound { .. } => "NoChannel",
            Self::Mismatch { .. } => "Mismatch",
            Self::BadName(_) | Self::BadCapacity { .. } => "BadOption",
            Self::RoleTaken { .. } => "RoleTaken",
            _ => "ChannelError",
        };
        raise(name, self.to_string())
    }
}

impl IntoPy for Fault {
    fn into_py(self) -> PyErr {
        let name = match self {
            Self::Disconnected { .. } => "Disconnected",
            Self::Closed => "Removed",
            Self::Drained => "Drained",
            Self::Shutdown => "Shutdown",
            Self::Forked => "Forked",
            Self::Corrupt { .. } => "Corrupt",
            Self::PeerGone { .. } => "PeerGone",
            Self::Cancelled => "Cancelled",
            Self::Unwoken(_) => "Unwoken",
            Self::System(_) => "SystemError",
            _ => "Error",
        };
        raise(name, self.to_string())
    }
}
