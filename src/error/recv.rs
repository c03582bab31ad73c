//! Why nothing was received.

use super::{Fault, debug_as_display};
use crate::storage::Side;

/// Why [`recv`](crate::Receiver::recv) received nothing.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecvError {
    /// The channel is empty, and the last sender has gone.
    #[error("{}", GONE)]
    Disconnected,
    /// The bytes of the message taken are not a value of the type. The
    /// message is gone; the next may be fine.
    #[error("a message was received whose bytes are not a valid {type_name}")]
    Invalid {
        /// The type.
        type_name: &'static str,
    },
    /// A broadcast channel's subscriber has missed so many messages: publishers have
    /// written over them. It goes on at the oldest one that is retained, and publishers write
    /// over that one next: receive again at once. Or a publisher has told that so many are
    /// missing here ([`try_send_gap`](crate::Publisher::try_send_gap)).
    #[error(
        "{} messages were missed: publishers were faster than this subscriber, or say that these \
         were lost before",
        .0
    )]
    Lagged(u64),
    /// The handle cannot go on.
    #[error(transparent)]
    Fault(Fault),
}

/// Why [`try_recv`](crate::Receiver::try_recv) received nothing.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TryRecvError {
    /// The channel is empty.
    #[error("the channel is empty")]
    Empty,
    /// The next message is being written; what is behind it has to wait.
    #[error("the next message is still being written")]
    Pending,
    /// The channel is empty, and the last sender has gone.
    #[error("{}", GONE)]
    Disconnected,
    /// As [`RecvError::Invalid`].
    #[error("a message was received whose bytes are not a valid {type_name}")]
    Invalid {
        /// The type.
        type_name: &'static str,
    },
    /// A broadcast channel's subscriber has missed so many messages: publishers have
    /// written over them. It goes on at the oldest one that is retained, and publishers write
    /// over that one next: receive again at once. Or a publisher has told that so many are
    /// missing here ([`try_send_gap`](crate::Publisher::try_send_gap)).
    #[error(
        "{} messages were missed: publishers were faster than this subscriber, or say that these \
         were lost before",
        .0
    )]
    Lagged(u64),
    /// The handle cannot go on.
    #[error(transparent)]
    Fault(Fault),
}

/// Why [`recv_timeout`](crate::Receiver::recv_timeout) received nothing.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecvTimeoutError {
    /// Nothing came until the time-out.
    #[error("nothing was received until the time-out")]
    Timeout,
    /// The channel is empty, and the last sender has gone.
    #[error("{}", GONE)]
    Disconnected,
    /// As [`RecvError::Invalid`].
    #[error("a message was received whose bytes are not a valid {type_name}")]
    Invalid {
        /// The type.
        type_name: &'static str,
    },
    /// A broadcast channel's subscriber has missed so many messages: publishers have
    /// written over them. It goes on at the oldest one that is retained, and publishers write
    /// over that one next: receive again at once. Or a publisher has told that so many are
    /// missing here ([`try_send_gap`](crate::Publisher::try_send_gap)).
    #[error(
        "{} messages were missed: publishers were faster than this subscriber, or say that these \
         were lost before",
        .0
    )]
    Lagged(u64),
    /// The handle cannot go on.
    #[error(transparent)]
    Fault(Fault),
}

/// The bytes of a message that was taken are not a value of its type: see
/// [`Delivery::get`](crate::Delivery::get).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message was received whose bytes are not a valid {type_name}")]
#[non_exhaustive]
pub struct InvalidMessage {
    /// The type.
    pub type_name: &'static str,
}

/// What [`Fault::Disconnected`] says of senders.
const GONE: Fault = Fault::Disconnected { side: Side::Sender };

impl TryRecvError {
    /// Whether there was no message.
    pub const fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    /// Whether the next message was still being written.
    pub const fn is_pending(&self) -> bool {
        matches!(self, Self::Pending)
    }
}

impl RecvTimeoutError {
    /// Whether the time ran out.
    pub const fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout)
    }

    /// The error of a call that had no deadline, and so no time-out.
    #[cold]
    pub(crate) fn without_deadline(self) -> RecvError {
        match self {
            Self::Timeout => RecvError::Fault(Fault::Closed),
            Self::Disconnected => RecvError::Disconnected,
            Self::Invalid { type_name } => RecvError::Invalid { type_name },
            Self::Lagged(missed) => RecvError::Lagged(missed),
            Self::Fault(fault) => RecvError::Fault(fault),
        }
    }
}

macro_rules! in_common {
    ($($name:ident)*) => {$(
        impl $name {
            /// Whether the channel is empty and the last sender has gone.
            pub const fn is_disconnected(&self) -> bool {
                matches!(self, Self::Disconnected)
            }

            /// Whether a message was received that is not a value of the type.
            pub const fn is_invalid(&self) -> bool {
                matches!(self, Self::Invalid { .. })
            }

            /// How many messages a broadcast channel's subscriber has missed.
            pub const fn lagged(&self) -> Option<u64> {
                match self {
                    Self::Lagged(missed) => Some(*missed),
                    _ => None,
                }
            }

            /// Why the handle cannot go on, [`Fault::Disconnected`] included; `None` if
            /// it can.
            pub fn into_fault(self) -> Option<Fault> {
                match self {
                    Self::Disconnected => Some(GONE),
                    Self::Fault(fault) => Some(fault),
                    _ => None,
                }
            }
        }

        impl From<InvalidMessage> for $name {
            fn from(InvalidMessage { type_name }: InvalidMessage) -> Self {
                Self::Invalid { type_name }
            }
        }

        impl From<Fault> for $name {
            fn from(fault: Fault) -> Self {
                match fault {
                    Fault::Disconnected { .. } => Self::Disconnected,
                    fault => Self::Fault(fault),
                }
            }
        }
    )*};
}

in_common! { RecvError TryRecvError RecvTimeoutError }

macro_rules! from_recv_error {
    ($($name:ident)*) => {$(
        impl From<RecvError> for $name {
            fn from(error: RecvError) -> Self {
                match error {
                    RecvError::Disconnected => Self::Disconnected,
                    RecvError::Invalid { type_name } => Self::Invalid { type_name },
                    RecvError::Lagged(missed) => Self::Lagged(missed),
                    RecvError::Fault(fault) => Self::Fault(fault),
                }
            }
        }
    )*};
}

from_recv_error! { TryRecvError RecvTimeoutError }

debug_as_display! {
    RecvError { Disconnected Invalid Lagged; Fault }
    TryRecvError { Empty Pending Disconnected Invalid Lagged; Fault }
    RecvTimeoutError { Timeout Disconnected Invalid Lagged; Fault }
}
