//! From the library's errors to the exceptions of `tombolo._errors`, with their text.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;
use tombolo::{
    CallError, CallTimeoutError, ChannelError, Fault, OpenError, RecvError, RecvTimeoutError,
    ReplyError, SendBatchError, SendError, SendTimeoutError, TryRecvError, TrySendError,
    WaitSetError,
};

use crate::signals;

static MODULE: PyOnceLock<Py<PyModule>> = PyOnceLock::new();

/// The exception of this name; or, if it cannot be made, what kept it from that.
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

/// That a handle, or what it held, is gone.
pub(crate) fn closed(what: &str) -> PyErr {
    raise("HandleClosed", format!("this {what} is closed"))
}

/// That an argument cannot be used.
pub(crate) fn bad_option(text: impl Into<String>) -> PyErr {
    raise("BadOption", text.into())
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
            Self::Fault(fault) => return fault.into_py(),
            _ => "ChannelError",
        };
        raise(name, self.to_string())
    }
}

impl IntoPy for Fault {
    fn into_py(self) -> PyErr {
        let name = match self {
            // The handler's own exception.
            Self::Interrupted => match signals::raised() {
                Some(error) => return error,
                None => "Cancelled",
            },
            Self::Disconnected { .. } => "Disconnected",
            Self::Closed => "Removed",
            Self::Drained => "Drained",
            Self::Shutdown => "Shutdown",
            Self::Forked => "Forked",
            Self::Corrupt { .. } => "Corrupt",
            Self::PeerGone { .. } => "PeerGone",
            Self::Cancelled => "Cancelled",
            Self::Unwoken(_) => "Unwoken",
            Self::InUse { .. } => "InUse",
            Self::System(_) => "SystemError",
            _ => "Error",
        };
        raise(name, self.to_string())
    }
}

/// The variants that have a class of their own; the others are a fault.
macro_rules! classes {
    ($($error:ident$(<$message:ident>)? { $($variant:pat => $name:literal),* $(,)? })*) => {$(
        impl$(<$message>)? IntoPy for $error$(<$message>)? {
            fn into_py(self) -> PyErr {
                use $error::*;
                let text = self.to_string();
                let name = match self {
                    $($variant => $name,)*
                    Fault(fault) => return fault.into_py(),
                    _ => "Error",
                };
                raise(name, text)
            }
        }
    )*};
}

classes! {
    CallError {
        ServerDied => "ServerDied", NoServer => "NoServer", Refused => "Refused",
        TooLong { .. } | TooShort { .. } => "WrongSize", Invalid { .. } => "InvalidMessage",
    }
    CallTimeoutError {
        TimedOut => "CallTimeout",
        ServerDied => "ServerDied", NoServer => "NoServer", Refused => "Refused",
        TooLong { .. } | TooShort { .. } => "WrongSize", Invalid { .. } => "InvalidMessage",
    }
    ReplyError { TooLong { .. } | TooShort { .. } => "WrongSize" }
    WaitSetError {}
}

macro_rules! classes_of_receiving {
    ($($error:ident { $($variant:ident => $name:literal),* })*) => {$(
        impl IntoPy for $error {
            fn into_py(self) -> PyErr {
                let text = self.to_string();
                let name = match self {
                    $(Self::$variant => $name,)*
                    Self::Disconnected => "Disconnected",
                    Self::Invalid { .. } => "InvalidMessage",
                    Self::Lagged(missed) => return lagged(text, missed),
                    Self::Fault(fault) => return fault.into_py(),
                    _ => "Error",
                };
                raise(name, text)
            }
        }
    )*};
}

classes_of_receiving! {
    RecvError {}
    TryRecvError { Empty => "Empty", Pending => "Empty" }
    RecvTimeoutError { Timeout => "RecvTimeout" }
}

macro_rules! classes_of_sending {
    ($($error:ident { $($variant:ident => $name:literal),* })*) => {$(
        impl IntoPy for $error {
            fn into_py(self) -> PyErr {
                let text = self.to_string();
                let name = match self {
                    $(Self::$variant(()) => $name,)*
                    Self::Disconnected(()) => "Disconnected",
                    Self::TooLong { .. } | Self::TooShort { .. } => "WrongSize",
                    Self::Fault { fault, .. } => return fault.into_py(),
                    Self::Unwoken(_) => "Unwoken",
                    _ => "Error",
                };
                raise(name, text)
            }
        }
    )*};
}

classes_of_sending! {
    SendError {}
    TrySendError { Full => "Full", Paused => "Full" }
    SendTimeoutError { Timeout => "SendTimeout" }
}

fn lagged(text: String, missed: u64) -> PyErr {
    let error = raise("Lagged", text);
    let noted = Python::attach(|py| error.value(py).setattr("missed", missed));
    noted.err().unwrap_or(error)
}

impl<E: IntoPy> IntoPy for SendBatchError<E> {
    fn into_py(self) -> PyErr {
        let sent = self.sent;
        let error = self.reason.into_py();
        let noted = Python::attach(|py| error.value(py).setattr("sent", sent));
        noted.err().unwrap_or(error)
    }
}
