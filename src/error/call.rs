//! Why a call was not replied to.

use super::{Fault, SendError, SendTimeoutError, debug_as_display};
use crate::storage::Side;

/// Why [`call`](crate::Client::call) returned no reply.
///
/// A call that ends with [`ServerDied`](Self::ServerDied), [`Refused`](Self::Refused) or a
/// fault may have been served in part. After [`NoServer`](Self::NoServer), a server
/// that came at the last moment may have served it.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The server that had taken the call has died over it.
    /// [`Segment::deaths`](crate::Segment::deaths) tells of its death.
    #[error("the server that had taken the call has died")]
    ServerDied,
    /// No server has taken the call, and the last one has gone.
    #[error("the last server has gone, and none had taken the call")]
    NoServer,
    /// The server has let the call go without a reply.
    #[error("the server has refused the call")]
    Refused,
    /// The bytes of the reply are not a value of the type.
    #[error("the reply's bytes are not a valid {type_name}")]
    Invalid {
        /// The type.
        type_name: &'static str,
    },
    /// The request is longer than any that the service takes.
    #[error("the request has {length} bytes, and this service's longest has {longest}")]
    TooLong {
        /// Its length.
        length: usize,
        /// The longest that is possible.
        longest: usize,
    },
    /// The request is shorter than those of the service, which are elements.
    #[error("the request has {length} bytes, and this service's requests have {size}")]
    TooShort {
        /// Its length.
        length: usize,
        /// The size of an element.
        size: usize,
    },
    /// The handle cannot go on. With [`Fault::Unwoken`], the call was made, its server
    /// could not be woken, and the call is given up.
    #[error(transparent)]
    Fault(Fault),
}

/// Why [`call_timeout`](crate::Client::call_timeout) returned no reply: as [`CallError`], or
/// the time was up.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallTimeoutError {
    /// There was no reply until the time-out. The call is given up; a server may have served
    /// it, or may still do so.
    #[error("there was no reply until the time-out")]
    TimedOut,
    /// As [`CallError::ServerDied`].
    #[error("the server that had taken the call has died")]
    ServerDied,
    /// As [`CallError::NoServer`].
    #[error("the last server has gone, and none had taken the call")]
    NoServer,
    /// As [`CallError::Refused`].
    #[error("the server has refused the call")]
    Refused,
    /// As [`CallError::Invalid`].
    #[error("the reply's bytes are not a valid {type_name}")]
    Invalid {
        /// The type.
        type_name: &'static str,
    },
    /// As [`CallError::TooLong`].
    #[error("the request has {length} bytes, and this service's longest has {longest}")]
    TooLong {
        /// Its length.
        length: usize,
        /// The longest that is possible.
        longest: usize,
    },
    /// As [`CallError::TooShort`].
    #[error("the request has {length} bytes, and this service's requests have {size}")]
    TooShort {
        /// Its length.
        length: usize,
        /// The size of an element.
        size: usize,
    },
    /// As [`CallError::Fault`].
    #[error(transparent)]
    Fault(Fault),
}

/// Why a server could not [reply](crate::ServerCall::reply).
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplyError {
    /// The reply is longer than any that the service takes. The call is refused.
    #[error("the reply has {length} bytes, and this service's longest has {longest}")]
    TooLong {
        /// Its length.
        length: usize,
        /// The longest that is possible.
        longest: usize,
    },
    /// The reply is shorter than those of the service, which are elements. The call is refused.
    #[error("the reply has {length} bytes, and this service's replies have {size}")]
    TooShort {
        /// Its length.
        length: usize,
        /// The size of an element.
        size: usize,
    },
    /// There is no reply; or with [`Fault::Unwoken`], it is there, and its client could not
    /// be woken.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// What [`Fault::Disconnected`] says of servers.
const GONE: Fault = Fault::Disconnected { side: Side::Receiver };

impl CallTimeoutError {
    /// Whether the time ran out.
    pub const fn is_timed_out(&self) -> bool {
        matches!(self, Self::TimedOut)
    }

    /// The error of a call that had no deadline, and so no time-out.
    #[cold]
    pub(crate) fn without_deadline(self) -> CallError {
        match self {
            Self::TimedOut => CallError::Fault(Fault::Closed),
            Self::ServerDied => CallError::ServerDied,
            Self::NoServer => CallError::NoServer,
            Self::Refused => CallError::Refused,
            Self::Invalid { type_name } => CallError::Invalid { type_name },
            Self::TooLong { length, longest } => CallError::TooLong { length, longest },
            Self::TooShort { length, size } => CallError::TooShort { length, size },
            Self::Fault(fault) => CallError::Fault(fault),
        }
    }
}

macro_rules! in_common {
    ($($name:ident)*) => {$(
        impl $name {
            /// Whether the server that had taken the call has died.
            pub const fn is_server_died(&self) -> bool {
                matches!(self, Self::ServerDied)
            }

            /// Whether the last server has gone.
            pub const fn is_no_server(&self) -> bool {
                matches!(self, Self::NoServer)
            }

            /// Whether the server has refused the call.
            pub const fn is_refused(&self) -> bool {
                matches!(self, Self::Refused)
            }

            /// Why the handle cannot go on, [`Fault::Disconnected`] included; `None` if
            /// it can.
            pub fn into_fault(self) -> Option<Fault> {
                match self {
                    Self::NoServer => Some(GONE),
                    Self::Fault(fault) => Some(fault),
                    _ => None,
                }
            }
        }

        impl From<Fault> for $name {
            fn from(fault: Fault) -> Self {
                match fault {
                    Fault::Disconnected { .. } => Self::NoServer,
                    fault => Self::Fault(fault),
                }
            }
        }

        /// Of a call that was not made.
        impl<T> From<SendError<T>> for $name {
            fn from(error: SendError<T>) -> Self {
                match error {
                    SendError::TooLong { length, longest, .. } => Self::TooLong { length, longest },
                    SendError::TooShort { length, size, .. } => Self::TooShort { length, size },
                    SendError::Disconnected(_) => Self::NoServer,
                    SendError::Fault { fault, .. } => Self::from(fault),
                    SendError::Unwoken(unwoken) => Self::Fault(unwoken.into()),
                }
            }
        }
    )*};
}

in_common! { CallError CallTimeoutError }

impl<T> From<SendTimeoutError<T>> for CallTimeoutError {
    fn from(error: SendTimeoutError<T>) -> Self {
        match error {
            SendTimeoutError::Timeout(_) => Self::TimedOut,
            SendTimeoutError::TooLong { length, longest, .. } => Self::TooLong { length, longest },
            SendTimeoutError::TooShort { length, size, .. } => Self::TooShort { length, size },
            SendTimeoutError::Disconnected(_) => Self::NoServer,
            SendTimeoutError::Fault { fault, .. } => Self::from(fault),
            SendTimeoutError::Unwoken(unwoken) => Self::Fault(unwoken.into()),
        }
    }
}

impl From<CallError> for CallTimeoutError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::ServerDied => Self::ServerDied,
            CallError::NoServer => Self::NoServer,
            CallError::Refused => Self::Refused,
            CallError::Invalid { type_name } => Self::Invalid { type_name },
            CallError::TooLong { length, longest } => Self::TooLong { length, longest },
            CallError::TooShort { length, size } => Self::TooShort { length, size },
            CallError::Fault(fault) => Self::Fault(fault),
        }
    }
}

debug_as_display! {
    CallError { ServerDied NoServer Refused Invalid TooLong TooShort; Fault }
    CallTimeoutError { TimedOut ServerDied NoServer Refused Invalid TooLong TooShort; Fault }
    ReplyError { TooLong TooShort; Fault }
}
