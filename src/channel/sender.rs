//! The sending end.

use core::fmt;
use core::marker::PhantomData;
use std::time::{Duration, Instant};

use bytemuck::NoUninit;

use super::cancel::Canceller;
use super::endpoint::{Endpoint, Resolved};
use super::kind::{Kind, Mpmc, Stuck};
use super::message::Message;
use super::ready::{Readiness, Want};
use crate::error::{
    ChannelError, Done, Fault, SendBatchError, SendError, SendTimeoutError, TrySendError,
};
use crate::segment::{Peer, Side};

/// The sending end of a channel of `T`.
///
/// A handle belongs to one thread at a time: it can be moved to another one,
/// and for use by several at once an MPMC channel's handle can be
/// [cloned](Self::try_clone). A process may have any number of them.
///
/// **Crashes.** A process killed while it sends loses at most the message
/// that this very call was sending; one whose `send` has returned will be
/// delivered. Whoever waits is woken by the kernel.
pub struct Sender<T, K: Kind = Mpmc> {
    /// Before `end`, so that the memory is detached when that goes.
    pub(crate) slots: K::Slots<T>,
    pub(crate) end: Endpoint,
    pub(crate) at: K::Producer,
    message: PhantomData<fn(T)>,
}

impl<T: Message + NoUninit, K: Kind> Sender<T, K> {
    pub(crate) fn new(end: Endpoint) -> Result<Self, ChannelError> {
        let slots = end.typed(K::slots)?;
        let at = K::producer(end.cells())
            .map_err(|stuck| end.corrupt(&stuck.corruption().unwrap_or_default()))?;
        Ok(Self { end, slots, at, message: PhantomData })
    }

    /// Sends, if that takes nothing but to do it: what most sends are, and so
    /// a part of its caller.
    #[inline(always)]
    fn send_next(&self, message: &T) -> Result<(), Stuck> {
        if !self.end.enter_fast() {
            return Err(Stuck::Unsure);
        }
        let sent = K::push_next(&self.slots, &self.at, self.end.owner(), message);
        self.end.leave();
        sent?;
        let woken = self.end.notify_fast(Side::Receiver, Done::Sent);
        if woken { Ok(()) } else { Err(Stuck::Unwoken) }
    }

    /// What is in the way after the above.
    fn refused(&self, stuck: Stuck, message: &T) -> Result<(), Stuck> {
        match stuck {
            Stuck::Unsure => self.push(message),
            // It is sent; what is to be said of it is not in the way.
            Stuck::Unwoken => Ok(()),
            stuck => Err(stuck),
        }
    }

    fn push(&self, message: &T) -> Result<(), Stuck> {
        self.end.publish(|| K::push(&self.slots, &self.at, self.end.owner(), message))
    }

    fn push_many(&self, messages: &[T]) -> Result<usize, Stuck> {
        self.end.publish(|| K::push_many(&self.slots, &self.at, self.end.owner(), messages))
    }

    pub(crate) fn room(&self) -> bool {
        K::room(self.end.cells(), &self.at)
    }

    /// What has just refused a try.
    pub(crate) fn want(&self) -> Want {
        K::wanted_by_producer(&self.at)
    }

    /// Sends without waiting. On the heels of a receiver that goes on receiving
    /// it keeps back before it looks, up to 0.8 µs, and then finds more room at
    /// once.
    ///
    /// # Errors
    /// [`TrySendError::Full`], [`TrySendError::Paused`], or why the channel
    /// cannot be used; each with the message.
    #[inline(always)]
    pub fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        match self.send_next(&message) {
            Ok(()) => Ok(()),
            Err(stuck) => self.try_on(stuck, message),
        }
    }

    #[cold]
    #[inline(never)]
    fn try_on(&self, stuck: Stuck, message: T) -> Result<(), TrySendError<T>> {
        match self.try_further(stuck, &message) {
            Ok(Ok(())) => Ok(self.end.unwoken()?),
            Ok(Err(Resolved::WaitPaused)) => Err(TrySendError::Paused(message)),
            Ok(Err(_)) => Err(TrySendError::Full(message)),
            Err(fault) => Err(TrySendError::unsent(message, fault)),
        }
    }

    fn try_further(&self, stuck: Stuck, message: &T) -> Result<Result<(), Resolved>, Fault> {
        let Err(stuck) = self.refused(stuck, message) else { return Ok(Ok(())) };
        if self.end.fail_fast(stuck) {
            return Ok(Err(Resolved::Wait));
        }
        self.end.try_to_send(stuck, || self.push(message), || self.want())
    }

    /// Sends, waiting for space for as long as it takes.
    ///
    /// # Errors
    /// Why the channel cannot be used, with the message. In particular
    /// [`SendError::Disconnected`] when the last receiver has gone, also while
    /// this call waits. That a receiver was killed is noticed by whoever
    /// waits; while there is room, sends may still succeed.
    #[inline(always)]
    pub fn send(&self, message: T) -> Result<(), SendError<T>> {
        match self.send_next(&message) {
            Ok(()) => Ok(()),
            Err(stuck) => self.wait_on(stuck, message),
        }
    }

    #[cold]
    #[inline(never)]
    fn wait_on(&self, stuck: Stuck, message: T) -> Result<(), SendError<T>> {
        match self.outlast(stuck, &message, None) {
            Ok(_) => Ok(self.end.unwoken()?),
            Err(fault) => Err(SendError::unsent(message, fault)),
        }
    }

    /// Goes on after the first attempt, until the deadline (`None`).
    fn outlast(
        &self,
        stuck: Stuck,
        message: &T,
        until: Option<Instant>,
    ) -> Result<Option<()>, Fault> {
        match self.refused(stuck, message) {
            Ok(()) => Ok(Some(())),
            Err(stuck) => self.wait(stuck, until, || self.push(message)),
        }
    }

    /// Sends, waiting for space at most this long.
    ///
    /// # Errors
    /// [`SendTimeoutError::Timeout`], or why the channel cannot be used; both
    /// with the message.
    pub fn send_timeout(&self, message: T, timeout: Duration) -> Result<(), SendTimeoutError<T>> {
        match self.send_next(&message) {
            Ok(()) => Ok(()),
            // A time-out beyond what the clock can say is none.
            Err(stuck) => self.send_by(stuck, message, Instant::now().checked_add(timeout)),
        }
    }

    /// Sends, waiting for space until `deadline`.
    ///
    /// # Errors
    /// As for [`send_timeout`](Self::send_timeout).
    pub fn send_deadline(&self, message: T, deadline: Instant) -> Result<(), SendTimeoutError<T>> {
        match self.send_next(&message) {
            Ok(()) => Ok(()),
            Err(stuck) => self.send_by(stuck, message, Some(deadline)),
        }
    }

    #[cold]
    #[inline(never)]
    fn send_by(
        &self,
        stuck: Stuck,
        message: T,
        until: Option<Instant>,
    ) -> Result<(), SendTimeoutError<T>> {
        match self.outlast(stuck, &message, until) {
            Ok(Some(())) => Ok(self.end.unwoken()?),
            Ok(None) => Err(SendTimeoutError::Timeout(message)),
            Err(fault) => Err(SendTimeoutError::unsent(message, fault)),
        }
    }

    /// Sends all of `messages` in order, waiting for space as needed. What
    /// fits at once is published at once: in an SPSC channel by a single
    /// store. Each message stands alone: receivers see it as soon as it is
    /// published, and a crash in between leaves the first part sent.
    ///
    /// # Errors
    /// Why the channel cannot be used, and how many messages were sent.
    pub fn send_batch(&self, messages: &[T]) -> Result<(), SendBatchError> {
        let mut sent = 0;
        while sent < messages.len() {
            let rest = &messages[sent..];
            sent += match self.push_many(rest) {
                Ok(pushed) => pushed,
                Err(stuck) => self
                    .wait(stuck, None, || self.push_many(rest))
                    .map_err(|fault| SendBatchError::after(sent, fault))?
                    .unwrap_or(0),
            };
            self.end.unwoken().map_err(|unwoken| SendBatchError::after(sent, unwoken))?;
        }
        Ok(())
    }

    /// Sends as many of `messages` as fit now, in order, and says how many:
    /// none while the segment is paused.
    ///
    /// # Errors
    /// Why the channel cannot be used; then none was sent. Or that a receiver
    /// could not be woken ([`SendError::Unwoken`]), and how many messages were sent.
    pub fn try_send_batch(&self, messages: &[T]) -> Result<usize, SendBatchError> {
        if messages.is_empty() {
            return Ok(0);
        }
        let sent = match self.push_many(messages) {
            Ok(sent) => sent,
            Err(stuck) => {
                let push = || self.push_many(messages);
                let tried = self.end.try_to_send(stuck, push, || self.want());
                tried.map_err(|fault| SendBatchError::after(0, fault))?.unwrap_or(0)
            }
        };
        self.end.unwoken().map_err(|unwoken| SendBatchError::after(sent, unwoken))?;
        Ok(sent)
    }

    /// Binds this handle's waits to a participant's life:
    /// [`Receiver::bind_to_peer`] the other way round. A send that finds room
    /// sends all the same.
    ///
    /// [`Receiver::bind_to_peer`]: crate::Receiver::bind_to_peer
    ///
    /// # Errors
    /// As there.
    pub fn bind_to_peer(&self, peer: impl Into<Option<Peer>>) -> Result<(), Fault> {
        self.end.bind_to_peer(peer.into())
    }

    /// What ends this handle's waits from another thread:
    /// [`Receiver::canceller`](crate::Receiver::canceller) the other way round.
    pub fn canceller(&self) -> Canceller {
        self.end.canceller()
    }

    /// Closes this handle, as dropping it does, and says if that fails.
    ///
    /// # Errors
    /// As for [`Receiver::close`](crate::Receiver::close).
    pub fn close(self) -> Result<(), Fault> {
        self.end.close()
    }

    /// A descriptor for event loops, which is readable as long as a send could
    /// make progress: [`Receiver::readiness`] the other way round. It is
    /// readable, as pipes are, and not writable, when there is room, or an
    /// error to be told; until a call that does not wait answers that the
    /// channel is full.
    ///
    /// [`Receiver::readiness`]: crate::Receiver::readiness
    ///
    /// # Errors
    /// As there.
    pub fn readiness(&self) -> Result<&Readiness, Fault> {
        self.end.readiness()
    }

    fn wait<R>(
        &self,
        stuck: Stuck,
        until: Option<Instant>,
        attempt: impl FnMut() -> Result<R, Stuck>,
    ) -> Result<Option<R>, Fault> {
        self.end.wait_to_send(stuck, until, attempt, || self.room())
    }

    /// How many messages are in the channel, now or a moment ago. A message
    /// counts from when its sender claims a slot until a receiver takes it, and
    /// again once that receiver has died and another one is to get it.
    pub fn len(&self) -> usize {
        self.end.len()
    }

    /// Whether [`len`](Self::len) is zero. May have changed already.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the channel is full. May have changed already.
    pub fn is_full(&self) -> bool {
        self.len() == self.capacity()
    }

    /// How many messages the channel holds: what was asked for, exactly.
    pub fn capacity(&self) -> usize {
        self.end.messages()
    }
}

impl<T: Message + NoUninit> Sender<T, Mpmc> {
    /// Another handle of this channel in this process, for another thread.
    ///
    /// # Errors
    /// [`ChannelError::TooMany`], and those of every operation.
    pub fn try_clone(&self) -> Result<Self, ChannelError> {
        Self::new(self.end.another()?)
    }
}

impl<T, K: Kind> fmt::Debug for Sender<T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sender").field(&self.end).finish()
    }
}
