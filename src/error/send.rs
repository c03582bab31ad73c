//! Why a message was not sent.

use core::fmt;

use super::{Fault, Unwoken};
use crate::storage::Side;

/// Why [`send`](crate::Sender::send) failed, with the message if it was not
/// sent.
///
/// Where no message comes back by value, `T` is `()`: for bytes, batches and
/// messages that are written in place.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError<T = ()> {
    /// The last receiver has gone.
    #[error("{}", GONE)]
    Disconnected(T),
    /// The message is longer than the channel's longest. Only channels of bytes
    /// have such messages.
    #[error("the message has {length} bytes, and this channel's longest has {longest}")]
    TooLong {
        /// The message.
        message: T,
        /// Its length.
        length: usize,
        /// The longest that is possible.
        longest: usize,
    },
    /// The message is shorter than an element, or than what is to be sent. Only an
    /// [`AnySender`](crate::AnySender) has such messages.
    #[error("the message has {length} bytes, and must have {size}")]
    TooShort {
        /// The message.
        message: T,
        /// Its length.
        length: usize,
        /// The size of an element.
        size: usize,
    },
    /// The handle cannot go on.
    #[error("{fault}")]
    Fault {
        /// The message.
        message: T,
        /// Why.
        fault: Fault,
    },
    /// The message is in the channel, but the kernel has refused to wake a
    /// receiver that sleeps.
    #[error(transparent)]
    Unwoken(#[from] Box<Unwoken>),
}

/// Why [`try_send`](crate::Sender::try_send) failed, with the message if it was
/// not sent.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrySendError<T = ()> {
    /// The channel is full. A slot counts as occupied from when a sender
    /// claims it until its receiver has finished reading.
    #[error("the channel is full")]
    Full(T),
    /// The segment is [paused](crate::Commander::pause).
    #[error("the segment is paused; `tombolo ctl NAME resume` lets senders go on")]
    Paused(T),
    /// The last receiver has gone.
    #[error("{}", GONE)]
    Disconnected(T),
    /// As [`SendError::TooLong`].
    #[error("the message has {length} bytes, and this channel's longest has {longest}")]
    TooLong {
        /// The message.
        message: T,
        /// Its length.
        length: usize,
        /// The longest that is possible.
        longest: usize,
    },
    /// As [`SendError::TooShort`].
    #[error("the message has {length} bytes, and must have {size}")]
    TooShort {
        /// The message.
        message: T,
        /// Its length.
        length: usize,
        /// The size of an element.
        size: usize,
    },
    /// The handle cannot go on.
    #[error("{fault}")]
    Fault {
        /// The message.
        message: T,
        /// Why.
        fault: Fault,
    },
    /// As [`SendError::Unwoken`]: the message is in the channel.
    #[error(transparent)]
    Unwoken(#[from] Box<Unwoken>),
}

/// Why [`send_timeout`](crate::Sender::send_timeout) failed, with the message if
/// it was not sent.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendTimeoutError<T = ()> {
    /// The channel stayed full, or the segment paused, until the time-out.
    #[error("the channel stayed full, or paused, until the time-out")]
    Timeout(T),
    /// The last receiver has gone.
    #[error("{}", GONE)]
    Disconnected(T),
    /// As [`SendError::TooLong`].
    #[error("the message has {length} bytes, and this channel's longest has {longest}")]
    TooLong {
        /// The message.
        message: T,
        /// Its length.
        length: usize,
        /// The longest that is possible.
        longest: usize,
    },
    /// As [`SendError::TooShort`].
    #[error("the message has {length} bytes, and must have {size}")]
    TooShort {
        /// The message.
        message: T,
        /// Its length.
        length: usize,
        /// The size of an element.
        size: usize,
    },
    /// The handle cannot go on.
    #[error("{fault}")]
    Fault {
        /// The message.
        message: T,
        /// Why.
        fault: Fault,
    },
    /// As [`SendError::Unwoken`]: the message is in the channel.
    #[error(transparent)]
    Unwoken(#[from] Box<Unwoken>),
}

/// A batch of which only the first part was sent, and why not the rest.
///
/// `E` is the error of the same form of sending one message: [`SendError`] or
/// [`SendTimeoutError`].
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("after {sent} messages: {reason}")]
#[non_exhaustive]
pub struct SendBatchError<E = SendError> {
    /// How many messages, from the first on, are in the channel.
    pub sent: usize,
    /// Why not the others; with [`SendError::Unwoken`] it may be that all are.
    pub reason: E,
}

/// What [`Fault::Disconnected`] says of receivers.
const GONE: Fault = Fault::Disconnected { side: Side::Receiver };

impl<T> TrySendError<T> {
    /// Whether there was no room.
    pub const fn is_full(&self) -> bool {
        matches!(self, Self::Full(_))
    }

    /// Whether the segment was paused.
    pub const fn is_paused(&self) -> bool {
        matches!(self, Self::Paused(_))
    }
}

impl<T> SendTimeoutError<T> {
    /// Whether the time ran out.
    pub const fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout(_))
    }
}

impl<E> SendBatchError<E> {
    pub(crate) fn after(sent: usize, reason: impl Into<E>) -> Self {
        Self { sent, reason: reason.into() }
    }
}

impl From<SendBatchError> for SendBatchError<SendTimeoutError> {
    fn from(error: SendBatchError) -> Self {
        Self::after(error.sent, error.reason)
    }
}

impl<E: fmt::Display> fmt::Debug for SendBatchError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SendBatchError: {self}")
    }
}

/// `$own` are the variants that only this one has.
macro_rules! in_common {
    ($($name:ident { $($own:ident)* })*) => {$(
        impl<T> $name<T> {
            /// What a message that was not sent becomes. Out of line: a large message is
            /// on the stack no more often than it has to be.
            #[cold]
            #[inline(never)]
            pub(crate) fn unsent(message: T, fault: Fault) -> Self {
                match fault {
                    Fault::Disconnected { .. } => Self::Disconnected(message),
                    fault => Self::Fault { message, fault },
                }
            }

            /// The message; `None` if it is in the channel.
            pub fn into_inner(self) -> Option<T> {
                match self {
                    $(Self::$own(message) => Some(message),)*
                    Self::Disconnected(message)
                    | Self::TooLong { message, .. }
                    | Self::TooShort { message, .. }
                    | Self::Fault { message, .. } => Some(message),
                    Self::Unwoken(_) => None,
                }
            }

            /// Whether the last receiver has gone.
            pub const fn is_disconnected(&self) -> bool {
                matches!(self, Self::Disconnected(_))
            }

            /// Whether the message is longer than any that the channel takes.
            pub const fn is_too_long(&self) -> bool {
                matches!(self, Self::TooLong { .. })
            }

            /// Whether the message is shorter than it must be.
            pub const fn is_too_short(&self) -> bool {
                matches!(self, Self::TooShort { .. })
            }

            /// Whether the message is in the channel all the same.
            pub const fn is_sent(&self) -> bool {
                matches!(self, Self::Unwoken(_))
            }

            /// Why the handle cannot go on, [`Fault::Disconnected`] and
            /// [`Fault::Unwoken`] included; `None` if it can.
            pub fn into_fault(self) -> Option<Fault> {
                match self {
                    Self::Disconnected(_) => Some(GONE),
                    Self::Fault { fault, .. } => Some(fault),
                    Self::Unwoken(unwoken) => Some(unwoken.into()),
                    _ => None,
                }
            }
        }

        /// Of a message that was not sent.
        impl From<Fault> for $name {
            fn from(fault: Fault) -> Self {
                Self::unsent((), fault)
            }
        }

        /// The kind, and all that is displayed; never the message.
        impl<T> fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let kind = match self {
                    $(Self::$own(_) => stringify!($own),)*
                    Self::Disconnected(_) => "Disconnected",
                    Self::TooLong { .. } => "TooLong",
                    Self::TooShort { .. } => "TooShort",
                    Self::Fault { fault, .. } => return fmt::Debug::fmt(fault, f),
                    Self::Unwoken(unwoken) => return fmt::Debug::fmt(unwoken, f),
                };
                write!(f, "{kind}: {self}")
            }
        }
    )*};
}

in_common! {
    SendError {}
    TrySendError { Full Paused }
    SendTimeoutError { Timeout }
}

macro_rules! from_send_error {
    ($($name:ident)*) => {$(
        impl<T> From<SendError<T>> for $name<T> {
            fn from(error: SendError<T>) -> Self {
                match error {
                    SendError::Disconnected(message) => Self::Disconnected(message),
                    SendError::TooLong { message, length, longest } => {
                        Self::TooLong { message, length, longest }
                    }
                    SendError::TooShort { message, length, size } => {
                        Self::TooShort { message, length, size }
                    }
                    SendError::Fault { message, fault } => Self::Fault { message, fault },
                    SendError::Unwoken(unwoken) => Self::Unwoken(unwoken),
                }
            }
        }
    )*};
}

from_send_error! { TrySendError SendTimeoutError }
