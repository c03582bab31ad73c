//! Why a handle cannot go on: what all operations have in common.

use super::debug_as_display;
use crate::storage::{Peer, Side};
use crate::sys;

/// Why a handle cannot go on, whichever operation was asked for.
///
/// The error of each operation converts from it. A disconnection becomes that error's
/// own variant: no error that the library returns contains [`Fault::Disconnected`].
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The last living peer on the other side has gone.
    /// [`Segment::deaths`](crate::Segment::deaths) tells whether it died.
    #[error("the channel is disconnected: its last {side} has gone")]
    Disconnected {
        /// The side that has gone.
        side: Side,
    },
    /// The segment, or its semaphore set, has been removed.
    #[error("the segment has been removed")]
    Closed,
    /// The segment is being [drained](crate::Commander::drain), or has been: it
    /// takes no new messages.
    #[error(
        "the segment is drained: it takes no new messages; `tombolo ctl NAME resume` opens it again"
    )]
    Drained,
    /// The segment has been [shut down](crate::Commander::shutdown).
    #[error("the segment has been shut down; `tombolo ctl NAME resume` opens it again")]
    Shutdown,
    /// The handle belongs to the process that this one was forked from.
    #[error("this handle belongs to the parent process; open the segment again after fork")]
    Forked,
    /// Another process has written over the channel.
    #[error("the channel is corrupt: {what}; another process has written over it")]
    Corrupt {
        /// The word, and its value.
        what: String,
    },
    /// The participant to which this handle's waits are
    /// [bound](crate::Receiver::bind_to_peer) has left or died, and the operation
    /// would have to wait.
    #[error("{peer} has left or died, and this handle waits no longer than that")]
    PeerGone {
        /// The participant.
        peer: Peer,
    },
    /// This handle's [`Canceller`](crate::Canceller) has ended its waits.
    #[error("the wait was cancelled; `Canceller::reset` lets the handle wait again")]
    Cancelled,
    /// The check of [`interrupt_waits`](crate::interrupt_waits) has ended the wait, after a
    /// signal for example.
    #[error("the wait was interrupted, as this thread has asked for; call again to go on waiting")]
    Interrupted,
    /// This end of a [`Shared`](crate::Shared) handle does one thing at a time, and is in
    /// use: another thread is in a call of it, or a message or a place of it is held.
    #[error(
        "the {side} of channel {channel} is in use in this process, and does one thing at a \
         time; release what it holds, or let the call of the other thread end"
    )]
    InUse {
        /// The channel's name.
        channel: String,
        /// Which end it is.
        side: Side,
    },
    /// All handles of a [`Shared`](crate::Shared) are in use, and another one cannot be had.
    #[error("all handles are in use, and another one cannot be had: {why}")]
    NoHandle {
        /// The limit or refusal, as [`ChannelError`](crate::ChannelError) says it.
        why: String,
    },
    /// An earlier operation of this handle was done, but the kernel refuses to wake
    /// a peer that sleeps. The operation that returns this has done nothing; the
    /// exceptions are `close`, `leave` and `cancel`, which are done.
    #[error(transparent)]
    Unwoken(#[from] Box<Unwoken>),
    /// This process no longer counts as a participant: it has left the IPC
    /// namespace in which it attached.
    #[error("this process is no longer a participant; has it left its IPC namespace?")]
    NotMember,
    /// The kernel refused.
    #[error(transparent)]
    System(#[from] sys::Error),
}

impl Fault {
    /// The same fault; a refusal of the kernel's names this segment.
    pub(crate) fn of_segment(self, name: &str) -> Self {
        match self {
            Self::System(error) => Self::System(error.about(&format!("segment {name}"))),
            fault => fault,
        }
    }
}

/// A peer that sleeps and that the kernel refuses to wake, because this process
/// has lost the right to operate on the segment's semaphores, or has no memory.
///
/// A send that returns [`SendError::Unwoken`](crate::SendError::Unwoken) has sent its
/// message. A receive returns its message, and the handle remembers. The next call of
/// the handle, whichever it is, first tries again to wake the peer. If the kernel
/// refuses again, the call fails with [`Fault::Unwoken`] and has done nothing.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} {channel}, but {side}s sleep there and could not be woken: {source}; open the segment \
     with the rights that this process keeps, or hand it over before giving them up", done.words()
)]
#[non_exhaustive]
pub struct Unwoken {
    /// The operation that was done.
    pub done: Done,
    /// The channel.
    pub channel: String,
    /// The side that sleeps.
    pub side: Side,
    /// The kernel's refusal, which names the semaphore set.
    pub source: sys::Error,
}

impl Unwoken {
    pub(crate) fn new(done: Done, channel: &str, side: Side, source: sys::Error) -> Box<Self> {
        Box::new(Self { done, channel: channel.to_owned(), side, source })
    }
}

/// The operation for which a peer was to be woken: see [`Unwoken`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Done {
    /// Messages are in the channel.
    Sent,
    /// Messages were taken.
    Taken,
    /// A grant, a delivery, or a wake that another handle needs was given up.
    GivenUp,
    /// The handle is closed.
    Closed,
    /// The handle's waits are [cancelled](crate::Canceller::cancel).
    Cancelled,
}

impl Done {
    const fn words(self) -> &'static str {
        match self {
            Self::Sent => "the message is in channel",
            Self::Taken => "the message was taken from channel",
            Self::GivenUp => "what was held was given back to channel",
            Self::Closed => "the handle is closed that was an end of channel",
            Self::Cancelled => "the wait is cancelled in channel",
        }
    }
}

debug_as_display! {
    Fault {
        Disconnected Closed Drained Shutdown Forked Corrupt NotMember PeerGone Cancelled
        Interrupted InUse NoHandle;
        System Unwoken
    }
    Unwoken
}
