//! One message to each of several channels, or to none.
//!
//! | what | where |
//! |---|---|
//! | the handle, and its calls | here |
//! | which senders there may be, with which messages | [`senders`] |
//! | one sender's part | [`leg`] |
//! | trying, and waiting | [`attempt`] |
//! | why it is all or nothing, whoever dies | [`ring::joint`](crate::ring::joint) |

mod attempt;
mod leg;
mod senders;

use core::fmt;
use std::time::{Duration, Instant};

use attempt::{Joint, Refused, Why};
pub(super) use leg::{Leg, One};
pub(super) use senders::sealed;
pub use senders::{SendEnd, Senders};

use crate::error::{
    ChannelError, ChannelProperty, Fault, SendAllError, SendError, SendTimeoutError, TrySendError,
};
use crate::kinds::table::RingKind;
use crate::ring::wait::Need;

/// Sends one message to each of several channels, or to none of them: a transaction over
/// queues.
///
/// The senders are a tuple, an array or a `Vec` of [`Sender`](crate::Sender)s or
/// [`AnySender`](crate::AnySender)s, or of references to them. Their channels are of one segment, SPSC or MPMC, of any payloads, and each stands
/// there once.
///
/// ```
/// use tombolo::{Segment, SendAll};
///
/// let segment = Segment::anonymous()?;
/// let orders = segment.channel::<u64>("orders").capacity(1);
/// let audit = segment.bytes("audit").capacity(8, 80).spsc();
/// let (orders_tx, audit_tx) = (orders.sender()?, audit.sender()?);
/// let both = SendAll::new((&orders_tx, &audit_tx))?;
/// both.send((7, b"order 7"))?;
///
/// // There is no room for the second order. So its entry is not sent either.
/// let error = both.try_send((8, b"order 8")).unwrap_err();
/// assert_eq!(error.channel(), "orders");
/// assert!(error.reason.is_full());
/// assert_eq!(error.reason.into_inner(), Some((8, ())));
/// assert_eq!(audit_tx.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// **All or nothing.** If a channel has no room, no message is sent. If this process is killed,
/// at any instruction, then either all of the messages arrive or none does: the survivor that
/// sweeps it [completes](crate::Death::completed) what was committed, and frees the places of
/// what was not. Each message counts as any other from then on: a receiver may die over it.
///
/// **Not isolated.** The messages appear one after the other. A receiver may have one before
/// another receiver can have the next one, for a moment, and as long as this process is stopped
/// in the middle. Two of these handles may send in one order to one channel and in the other
/// order to another one.
///
/// **Waiting.** Nothing is held while a call waits: it waits for room in one channel that is
/// full, and then tries all of them again. So no two can wait for each other. A call needs room
/// in all channels at the same moment, and others that send to one of them may be faster.
/// While it waits for room in one channel, it is not told that the receivers of another one have gone;
/// a [canceller](crate::Sender::canceller) ends it if it belongs to the sender of the channel in the way.
///
/// A handle is used by one thread at a time, as a sender is. Fifteen threads of a process can
/// be in the middle of such a send at the same time; others then wait for one of them, for as
/// long as it takes to copy its messages.
pub struct SendAll<S: Senders> {
    senders: S,
    /// Which ticket it takes if that is free.
    preferred: usize,
}

impl<S: Senders> SendAll<S> {
    /// Joins the senders.
    ///
    /// # Errors
    /// [`ChannelError::Twice`], [`ChannelError::OtherSegment`]; [`ChannelError::Mismatch`] of an
    /// [`AnySender`](crate::AnySender) that is a publisher; [`ChannelError::EarlierBuild`] if
    /// another participant could not complete what this one leaves behind;
    /// [`ChannelError::Busy`], and the faults of every operation.
    pub fn new(senders: S) -> Result<Self, ChannelError> {
        let ends = senders.endpoints();
        let mut preferred = 0;
        if let Some(first) = ends.first() {
            let participant = first.participant();
            for (n, end) in ends.iter().enumerate() {
                if end.membership() != first.membership() {
                    return Err(ChannelError::OtherSegment {
                        channel: end.name().to_string(),
                        segment: end.participant().mapped().called(),
                        first: participant.mapped().called(),
                    });
                }
                let kind = end.block().kind;
                if kind.is_broadcast() {
                    return Err(ChannelError::Mismatch {
                        channel: end.name().to_string(),
                        segment: participant.mapped().called(),
                        what: ChannelProperty::Kind,
                        theirs: format!("{kind:?}"),
                        ours: format!("{:?}", RingKind::Mpmc),
                    });
                }
                if ends.iter().take(n).any(|other| other.same_channel(end)) {
                    return Err(ChannelError::Twice { channel: end.name().to_string() });
                }
            }
            participant.allow_joint_sends()?;
            preferred = participant.tickets.preferred();
        }
        Ok(Self { senders, preferred })
    }

    fn by(&self, messages: &S::Messages<'_>, wait: Option<Option<Instant>>) -> Result<(), Refused> {
        self.senders.with_legs(messages, |legs| Joint::new(legs, self.preferred).send(wait))
    }

    /// Sends without waiting.
    ///
    /// # Errors
    /// [`SendAllError`], which names the channel that was in the way and has all messages that
    /// were given by value. Its reason is [`TrySendError::Full`], [`TrySendError::Paused`],
    /// [`TrySendError::TooLong`], or the fault that ends the use of the channel.
    ///
    /// # Panics
    /// If the senders are a `Vec`, and there are not as many messages.
    pub fn try_send(
        &self,
        messages: S::Messages<'_>,
    ) -> Result<(), SendAllError<TrySendError<S::Unsent>>> {
        self.by(&messages, None).map_err(|refused| {
            told(refused, |why| {
                let unsent = S::unsent(&messages);
                match why {
                    Why::Length { length, longest } => wrong_length(unsent, length, longest).into(),
                    Why::Needs(Need::Resumption) => TrySendError::Paused(unsent),
                    Why::Needs(_) | Why::TimedOut => TrySendError::Full(unsent),
                    Why::Fault(fault) => TrySendError::unsent(unsent, fault),
                    Why::Unwoken(unwoken) => TrySendError::Unwoken(unwoken),
                }
            })
        })
    }

    /// Sends. Waits for room, without a timeout.
    ///
    /// # Errors
    /// [`SendAllError`] with a [`SendError`]: [`SendError::Disconnected`] if the last receiver of
    /// a channel has gone; [`SendError::TooLong`]; or the fault that ends the use of a channel.
    /// [`SendError::Unwoken`] says that all messages were sent.
    ///
    /// # Panics
    /// As [`try_send`](Self::try_send).
    pub fn send(
        &self,
        messages: S::Messages<'_>,
    ) -> Result<(), SendAllError<SendError<S::Unsent>>> {
        self.by(&messages, Some(None)).map_err(|refused| {
            told(refused, |why| {
                let unsent = S::unsent(&messages);
                match why {
                    Why::Length { length, longest } => wrong_length(unsent, length, longest),
                    // A call that waits without a deadline has no other.
                    Why::Needs(_) | Why::TimedOut => SendError::unsent(unsent, Fault::Closed),
                    Why::Fault(fault) => SendError::unsent(unsent, fault),
                    Why::Unwoken(unwoken) => SendError::Unwoken(unwoken),
                }
            })
        })
    }

    /// Sends. Waits for room, at most this long.
    ///
    /// # Errors
    /// [`SendTimeoutError::Timeout`], with the channel that was in the way last, and those of
    /// [`send`](Self::send).
    ///
    /// # Panics
    /// As [`try_send`](Self::try_send).
    pub fn send_timeout(
        &self,
        messages: S::Messages<'_>,
        timeout: Duration,
    ) -> Result<(), SendAllError<SendTimeoutError<S::Unsent>>> {
        // A timeout beyond what the clock can represent never expires.
        self.send_until(&messages, Instant::now().checked_add(timeout))
    }

    /// Sends. Waits for room until `deadline`.
    ///
    /// # Errors
    /// As for [`send_timeout`](Self::send_timeout).
    ///
    /// # Panics
    /// As [`try_send`](Self::try_send).
    pub fn send_deadline(
        &self,
        messages: S::Messages<'_>,
        deadline: Instant,
    ) -> Result<(), SendAllError<SendTimeoutError<S::Unsent>>> {
        self.send_until(&messages, Some(deadline))
    }

    fn send_until(
        &self,
        messages: &S::Messages<'_>,
        until: Option<Instant>,
    ) -> Result<(), SendAllError<SendTimeoutError<S::Unsent>>> {
        self.by(messages, Some(until)).map_err(|refused| {
            told(refused, |why| {
                let unsent = S::unsent(messages);
                match why {
                    Why::Length { length, longest } => wrong_length(unsent, length, longest).into(),
                    Why::Needs(_) | Why::TimedOut => SendTimeoutError::Timeout(unsent),
                    Why::Fault(fault) => SendTimeoutError::unsent(unsent, fault),
                    Why::Unwoken(unwoken) => SendTimeoutError::Unwoken(unwoken),
                }
            })
        })
    }

    /// The senders, each of which can also be used by itself.
    pub const fn senders(&self) -> &S {
        &self.senders
    }

    /// The senders, given back.
    pub fn into_senders(self) -> S {
        self.senders
    }
}

#[cold]
fn told<E>(refused: Refused, reason: impl FnOnce(Why) -> E) -> SendAllError<E> {
    let Refused { position, channel, why } = refused;
    SendAllError::new(position, channel, reason(why))
}

fn wrong_length<M>(message: M, length: usize, longest: usize) -> SendError<M> {
    if length > longest {
        SendError::TooLong { message, length, longest }
    } else {
        SendError::TooShort { message, length, size: longest }
    }
}

impl<S: Senders> fmt::Debug for SendAll<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SendAll").field(&self.senders.endpoints()).finish()
    }
}
