//! Why nothing was sent to several channels together.

use core::fmt;
use std::sync::Arc;

use super::SendError;

/// Why a call of [`SendAll`](crate::SendAll) has sent nothing to any channel, and which channel
/// was in the way.
///
/// `E` is the error of the same form of sending one message: [`SendError`],
/// [`TrySendError`](super::TrySendError) or [`SendTimeoutError`](super::SendTimeoutError). Its
/// messages are all those that were given by value. With its variant `Unwoken`, all messages are
/// in their channels.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("of several channels together, {channel}: {reason}")]
#[non_exhaustive]
pub struct SendAllError<E = SendError> {
    /// Which of the senders it was, from 0 on.
    pub position: usize,
    channel: Arc<str>,
    /// Why.
    pub reason: E,
}

impl<E> SendAllError<E> {
    pub(crate) const fn new(position: usize, channel: Arc<str>, reason: E) -> Self {
        Self { position, channel, reason }
    }

    /// The name of the channel that was in the way.
    pub fn channel(&self) -> &str {
        &self.channel
    }
}

impl<E: fmt::Display> fmt::Debug for SendAllError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SendAllError: {self}")
    }
}
