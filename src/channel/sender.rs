//! The sending end.

use core::fmt;
use std::time::{Duration, Instant};

use bytemuck::NoUninit;

use super::cancel::Canceller;
use super::endpoint::Endpoint;
use super::ready::Readiness;
use crate::error::{
    ChannelError, Done, Fault, SendBatchError, SendError, SendTimeoutError, TrySendError, Unwoken,
};
use crate::kinds::payload::Bytes;
use crate::kinds::ring::Ring;
use crate::kinds::table::{Kind, Mpmc, Payload};
use crate::ring::gate;
use crate::ring::table::Member;
use crate::ring::wait::{Need, NotNow, Polled};
use crate::segment::{Peer, Side};
use crate::wait::WaitStrategy;

/// The sending end of a channel: `Sender<T>` for values of a type,
/// [`ByteSender`](crate::ByteSender) for [`Bytes`].
///
/// A handle belongs to one thread at a time, and can be moved to another one. For use by
/// several threads at once, [clone](Self::try_clone) the handle of an MPMC channel. A
/// process may have any number of them.
///
/// The [`Payload`] decides the form of a message: a `T` by value, or bytes as a `&[u8]`
/// of at most [`max_len`](Self::max_len) bytes.
///
/// **Crashes.** If a process is killed while it sends, at most the message of that call
/// is lost. A message whose `send` has returned will be delivered. The kernel wakes
/// waiting processes.
pub struct Sender<P: Payload, K: Kind = Mpmc> {
    /// Both before `end`: what is held of the ring is given up while this is still an end of
    /// the channel, and the memory is detached when that goes.
    pub(super) at: <P::Ring<K> as Ring>::Producer,
    pub(super) ring: P::Ring<K>,
    pub(super) end: Endpoint,
}

/// The sending end of a channel of bytes.
pub type ByteSender<K = Mpmc> = Sender<Bytes, K>;

/// The error of a call that does not wait and has not sent.
pub(super) const fn not_now<M>(need: Need, message: M) -> TrySendError<M> {
    match need {
        Need::Resumption => TrySendError::Paused(message),
        _ => TrySendError::Full(message),
    }
}

/// Why a message was not sent; or, of one that was, what else is to be told.
pub(super) enum Refusal {
    /// The channel takes none of that length.
    Length(usize),
    Needs(Need),
    TimedOut,
    Fault(Fault),
    Unwoken(Box<Unwoken>),
}

impl Refusal {
    /// Of a call that waits without a deadline, what ends its use of the channel.
    #[cfg(feature = "async")]
    pub(super) fn into_fault(self) -> Fault {
        match self {
            Self::Fault(fault) => fault,
            Self::Unwoken(unwoken) => unwoken.into(),
            Self::Length(_) | Self::Needs(_) | Self::TimedOut => Fault::Closed,
        }
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Box<Unwoken>> for Refusal {
    fn from(unwoken: Box<Unwoken>) -> Self {
        Self::Unwoken(unwoken)
    }
}

impl<P: Payload + NoUninit, K: Kind> Sender<P, K> {
    pub(super) fn new(end: Endpoint) -> Result<Self, ChannelError> {
        Self::at(end, |ring, me| ring.producer(me))
    }

    #[inline]
    fn at(
        end: Endpoint,
        at: impl FnOnce(&P::Ring<K>, Member) -> Result<<P::Ring<K> as Ring>::Producer, NotNow>,
    ) -> Result<Self, ChannelError> {
        let ring = end.typed(P::Ring::<K>::of)?;
        let at = at(&ring, end.me())
            .map_err(|why| end.corrupt(&why.corruption().unwrap_or_default()))?;
        Ok(Self::with(ring, at, end))
    }

    pub(super) const fn with(
        ring: P::Ring<K>,
        at: <P::Ring<K> as Ring>::Producer,
        end: Endpoint,
    ) -> Self {
        Self { ring, at, end }
    }

    /// Whether the channel takes messages of this length.
    #[inline(always)]
    fn takes(&self, length: usize) -> bool {
        let longest = self.end.cells().longest();
        length <= longest && (!P::EXACT || length == longest)
    }

    /// A message's length, if the channel takes none of that length.
    #[inline(always)]
    pub(super) fn misfit(&self, message: &P::Sent<'_>) -> Option<usize> {
        P::length(message).filter(|&length| !self.takes(length))
    }

    /// That the channel takes none of that length.
    #[cold]
    pub(super) fn wrong_length<M>(&self, message: M, length: usize) -> SendError<M> {
        let longest = self.end.cells().longest();
        if length > longest {
            SendError::TooLong { message, length, longest }
        } else {
            SendError::TooShort { message, length, size: longest }
        }
    }

    pub(super) fn fits(&self, length: usize) -> Result<(), SendError> {
        if self.takes(length) { Ok(()) } else { Err(self.wrong_length((), length)) }
    }

    /// Fast path: sends if the next slot is free and nothing has changed. Inlined into
    /// callers, because most sends are of this sort.
    #[inline(always)]
    pub(super) fn send_next(&self, message: &P::Sent<'_>) -> Result<(), NotNow> {
        // Before anything is stored: they need not be looked up again then.
        let (busy, waiting) = (self.end.busy(), self.end.waiting(Side::Receiver));
        if self.misfit(message).is_some() || !self.end.enter_fast() {
            return Err(NotNow::Unsure);
        }
        let sent = self.ring.push_next(&self.at, self.end.owner(), message);
        gate::leave(busy);
        sent?;
        let woken = self.end.notify_fast(waiting, Side::Receiver, Done::Sent);
        if woken { Ok(()) } else { Err(NotNow::Unwoken) }
    }

    /// The reason why the fast path failed.
    pub(super) fn refused(&self, why: NotNow, message: &P::Sent<'_>) -> Result<(), NotNow> {
        match why {
            NotNow::Unsure => self.push(message),
            // The message is sent; reporting the refused wake-up is left to the caller.
            NotNow::Unwoken => Ok(()),
            why => {
                self.gave_room_back(why);
                Err(why)
            }
        }
    }

    pub(super) fn push(&self, message: &P::Sent<'_>) -> Result<(), NotNow> {
        let push = || self.ring.push(&self.at, self.end.owner(), message);
        self.end.publish(push).inspect_err(|&why| self.gave_room_back(why))
    }

    /// A push that found a block and gave it back. Another sender may have found none
    /// because of it.
    #[inline]
    fn gave_room_back(&self, why: NotNow) {
        if P::Ring::<K>::SLOT_WAITERS && matches!(why, NotNow::NoSlot) {
            self.end.notify_slot_waiters(Done::GivenUp);
        }
    }

    pub(super) fn push_many(&self, messages: &[P::Sent<'_>]) -> Result<usize, NotNow> {
        let push = || self.ring.push_many(&self.at, self.end.owner(), messages);
        let pushed = self.end.publish(push).inspect_err(|&why| self.gave_room_back(why))?;
        if pushed < messages.len() {
            self.gave_room_back(NotNow::NoSlot);
        }
        Ok(pushed)
    }

    /// Continues after a refused attempt, without waiting.
    pub(super) fn try_on<R>(
        &self,
        why: NotNow,
        attempt: impl FnMut() -> Result<R, NotNow>,
    ) -> Result<Polled<R>, Fault> {
        self.end.try_to_send(why, attempt, || P::Ring::<K>::wanted_by_producer(&self.at))
    }

    /// Continues after a refused attempt, until the deadline (`None`: no deadline).
    pub(super) fn wait_on<R>(
        &self,
        why: NotNow,
        until: Option<Instant>,
        attempt: impl FnMut() -> Result<R, NotNow>,
    ) -> Result<Option<R>, Fault> {
        self.end.wait_to_send(why, until, attempt, || self.ring.may_reserve(&self.at))
    }

    /// Sends without waiting. When close behind an active receiver, it delays polling by
    /// up to 0.8 µs, so that it finds more room at once.
    ///
    /// # Errors
    /// [`TrySendError::Full`], [`TrySendError::Paused`], [`TrySendError::TooLong`], or
    /// the fault that ends the use of the channel; each with the message, if that was
    /// given by value.
    #[inline(always)]
    pub fn try_send(&self, message: P::Sent<'_>) -> Result<(), TrySendError<P::Unsent>> {
        match self.send_next(&message) {
            Ok(()) => Ok(()),
            Err(why) => self.try_to_send(why, message),
        }
    }

    #[cold]
    #[inline(never)]
    fn try_to_send(
        &self,
        why: NotNow,
        message: P::Sent<'_>,
    ) -> Result<(), TrySendError<P::Unsent>> {
        self.send_on(why, &message, None).map_err(|refusal| self.try_error(&message, refusal))
    }

    /// Goes on after the fast path: waits until that time, if it waits.
    fn send_on(
        &self,
        why: NotNow,
        message: &P::Sent<'_>,
        wait: Option<Option<Instant>>,
    ) -> Result<(), Refusal> {
        if let Some(length) = self.misfit(message) {
            return Err(Refusal::Length(length));
        }
        let refused = self.refused(why, message);
        self.push_on(refused, wait, || self.push(message))
    }

    /// Goes on after an attempt, if that was refused: waits until that time, if it waits.
    pub(super) fn push_on(
        &self,
        attempt: Result<(), NotNow>,
        wait: Option<Option<Instant>>,
        push: impl FnMut() -> Result<(), NotNow>,
    ) -> Result<(), Refusal> {
        if let Err(why) = attempt {
            match wait {
                None if self.end.fail_fast(why) => return Err(Refusal::Needs(Need::Progress)),
                None => match self.try_on(why, push)? {
                    Polled::Done(()) => {}
                    Polled::Needs(need) => return Err(Refusal::Needs(need)),
                },
                Some(until) => self.wait_on(why, until, push)?.ok_or(Refusal::TimedOut)?,
            }
        }
        // It is in the channel; a receiver that sleeps may not have been woken.
        Ok(self.end.unwoken()?)
    }

    // The places where a message becomes part of an error: a large one is on the stack
    // no more often than it has to be.

    #[cold]
    #[inline(never)]
    fn try_error(&self, message: &P::Sent<'_>, refusal: Refusal) -> TrySendError<P::Unsent> {
        let message = P::unsent(message);
        match refusal {
            Refusal::Length(length) => self.wrong_length(message, length).into(),
            Refusal::Needs(need) => not_now(need, message),
            Refusal::TimedOut => TrySendError::Full(message),
            Refusal::Fault(fault) => TrySendError::unsent(message, fault),
            Refusal::Unwoken(unwoken) => TrySendError::Unwoken(unwoken),
        }
    }

    #[cold]
    #[inline(never)]
    pub(super) fn error(&self, message: &P::Sent<'_>, refusal: Refusal) -> SendError<P::Unsent> {
        let message = P::unsent(message);
        match refusal {
            Refusal::Length(length) => self.wrong_length(message, length),
            // A call that waits without a deadline has no other.
            Refusal::Needs(_) | Refusal::TimedOut => SendError::unsent(message, Fault::Closed),
            Refusal::Fault(fault) => SendError::unsent(message, fault),
            Refusal::Unwoken(unwoken) => SendError::Unwoken(unwoken),
        }
    }

    #[cold]
    #[inline(never)]
    fn timeout_error(
        &self,
        message: &P::Sent<'_>,
        refusal: Refusal,
    ) -> SendTimeoutError<P::Unsent> {
        let message = P::unsent(message);
        match refusal {
            Refusal::Length(length) => self.wrong_length(message, length).into(),
            Refusal::Needs(_) | Refusal::TimedOut => SendTimeoutError::Timeout(message),
            Refusal::Fault(fault) => SendTimeoutError::unsent(message, fault),
            Refusal::Unwoken(unwoken) => SendTimeoutError::Unwoken(unwoken),
        }
    }

    /// Sends. Waits for room, without a timeout.
    ///
    /// # Errors
    /// [`SendError::Disconnected`] if the last receiver is gone, also while this call
    /// waits; [`SendError::TooLong`]; or the fault that ends the use of the channel. Each
    /// contains the message, if that was given by value. Only a waiting sender notices
    /// that a receiver was killed: while there is room, sends may still succeed.
    #[inline(always)]
    pub fn send(&self, message: P::Sent<'_>) -> Result<(), SendError<P::Unsent>> {
        match self.send_next(&message) {
            Ok(()) => Ok(()),
            Err(why) => self.wait_to_send(why, message),
        }
    }

    #[cold]
    #[inline(never)]
    fn wait_to_send(&self, why: NotNow, message: P::Sent<'_>) -> Result<(), SendError<P::Unsent>> {
        self.send_on(why, &message, Some(None)).map_err(|refusal| self.error(&message, refusal))
    }

    /// Sends. Waits for room, at most this long.
    ///
    /// # Errors
    /// [`SendTimeoutError::Timeout`], and those of [`send`](Self::send).
    pub fn send_timeout(
        &self,
        message: P::Sent<'_>,
        timeout: Duration,
    ) -> Result<(), SendTimeoutError<P::Unsent>> {
        match self.send_next(&message) {
            Ok(()) => Ok(()),
            // A timeout beyond what the clock can represent never expires.
            Err(why) => self.send_by(why, message, Instant::now().checked_add(timeout)),
        }
    }

    /// Sends. Waits for room until `deadline`.
    ///
    /// # Errors
    /// As for [`send_timeout`](Self::send_timeout).
    pub fn send_deadline(
        &self,
        message: P::Sent<'_>,
        deadline: Instant,
    ) -> Result<(), SendTimeoutError<P::Unsent>> {
        match self.send_next(&message) {
            Ok(()) => Ok(()),
            Err(why) => self.send_by(why, message, Some(deadline)),
        }
    }

    #[cold]
    #[inline(never)]
    fn send_by(
        &self,
        why: NotNow,
        message: P::Sent<'_>,
        until: Option<Instant>,
    ) -> Result<(), SendTimeoutError<P::Unsent>> {
        self.send_on(why, &message, Some(until))
            .map_err(|refusal| self.timeout_error(&message, refusal))
    }

    /// Sends a message that may have been delivered before, on a way that this channel knows
    /// nothing of: as if so many receivers had died over it already. The receiver that takes it
    /// sees that in [`Delivery::attempts`](crate::Delivery::attempts), and they count towards the
    /// times that the channel [delivers again](crate::Channel::redeliver). An SPSC channel and a
    /// broadcast channel do not count: there it is sent as any other message. Waits for room, at
    /// most this long.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tombolo::Segment;
    ///
    /// let segment = Segment::anonymous()?;
    /// let jobs = segment.channel::<u64>("jobs").capacity(8);
    /// let (sender, mut receiver) = (jobs.sender()?, jobs.receiver()?);
    /// sender.send_redelivered(7, 1, Duration::from_secs(1))?;
    /// let job = receiver.take()?;
    /// assert_eq!((job.read(), job.attempts()), (7, 1));
    /// # job.release();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As for [`send_timeout`](Self::send_timeout).
    pub fn send_redelivered(
        &self,
        message: P::Sent<'_>,
        attempts: u8,
        timeout: Duration,
    ) -> Result<(), SendTimeoutError<P::Unsent>> {
        let until = Instant::now().checked_add(timeout);
        self.redeliver(&message, attempts, until)
            .map_err(|refusal| self.timeout_error(&message, refusal))
    }

    fn redeliver(
        &self,
        message: &P::Sent<'_>,
        attempts: u8,
        until: Option<Instant>,
    ) -> Result<(), Refusal> {
        if let Some(length) = self.misfit(message) {
            return Err(Refusal::Length(length));
        }
        let Self { ring, at, end } = self;
        let push = || {
            let push = || ring.push_redelivered(at, end.owner(), message, attempts);
            end.publish(push).inspect_err(|&why| self.gave_room_back(why))
        };
        self.push_on(push(), Some(until), push)
    }

    /// Sends all of `messages` in order, and waits for room as needed. Messages that fit
    /// at once are published at once; in an SPSC channel, by a single store. A batch is
    /// not a transaction: receivers see each message as soon as it is published, and a
    /// crash in between leaves the first part sent.
    ///
    /// # Errors
    /// The fault that ends the use of the channel, and how many messages were sent.
    /// [`SendError::TooLong`] before any message is sent.
    pub fn send_batch(&self, messages: &[P::Sent<'_>]) -> Result<(), SendBatchError> {
        match self.send_batch_by(messages, None) {
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Like [`send_batch`](Self::send_batch), but waits for room at most this long in
    /// all.
    ///
    /// # Errors
    /// [`SendTimeoutError::Timeout`], and those of [`send_batch`](Self::send_batch);
    /// with it, how many messages were sent.
    pub fn send_batch_timeout(
        &self,
        messages: &[P::Sent<'_>],
        timeout: Duration,
    ) -> Result<(), SendBatchError<SendTimeoutError>> {
        let deadline = Instant::now().checked_add(timeout);
        self.send_batch_until(messages, deadline)
    }

    /// Like [`send_batch`](Self::send_batch), but waits for room until `deadline`.
    ///
    /// # Errors
    /// As for [`send_batch_timeout`](Self::send_batch_timeout).
    pub fn send_batch_deadline(
        &self,
        messages: &[P::Sent<'_>],
        deadline: Instant,
    ) -> Result<(), SendBatchError<SendTimeoutError>> {
        self.send_batch_until(messages, Some(deadline))
    }

    fn send_batch_until(
        &self,
        messages: &[P::Sent<'_>],
        until: Option<Instant>,
    ) -> Result<(), SendBatchError<SendTimeoutError>> {
        match self.send_batch_by(messages, until)? {
            sent if sent == messages.len() => Ok(()),
            sent => Err(SendBatchError::after(sent, SendTimeoutError::Timeout(()))),
        }
    }

    /// Returns how many were sent by the deadline.
    fn send_batch_by(
        &self,
        messages: &[P::Sent<'_>],
        until: Option<Instant>,
    ) -> Result<usize, SendBatchError> {
        self.all_fit(messages)?;
        let mut sent = 0;
        while sent < messages.len() {
            let rest = &messages[sent..];
            let pushed = match self.push_many(rest) {
                Ok(pushed) => Some(pushed),
                Err(why) => self
                    .wait_on(why, until, || self.push_many(rest))
                    .map_err(|fault| SendBatchError::after(sent, fault))?,
            };
            let Some(pushed) = pushed else { return Ok(sent) };
            sent += pushed;
            self.end.unwoken().map_err(|unwoken| SendBatchError::after(sent, unwoken))?;
        }
        Ok(sent)
    }

    pub(super) fn all_fit(&self, messages: &[P::Sent<'_>]) -> Result<(), SendBatchError> {
        match messages.iter().find_map(|message| self.misfit(message)) {
            None => Ok(()),
            Some(length) => Err(SendBatchError::after(0, self.wrong_length((), length))),
        }
    }

    /// Sends as many of `messages` as fit now, in order, and returns how many: none while
    /// the segment is paused.
    ///
    /// # Errors
    /// The fault that ends the use of the channel; then no message was sent.
    /// [`SendError::Unwoken`], with the number of messages sent, if a receiver could not
    /// be woken. [`SendError::TooLong`] before any message is sent.
    pub fn try_send_batch(&self, messages: &[P::Sent<'_>]) -> Result<usize, SendBatchError> {
        if messages.is_empty() {
            return Ok(0);
        }
        self.all_fit(messages)?;
        let sent = match self.push_many(messages) {
            Ok(sent) => sent,
            Err(why) => self
                .try_on(why, || self.push_many(messages))
                .map_err(|fault| SendBatchError::after(0, fault))?
                .done()
                .unwrap_or(0),
        };
        self.end.unwoken().map_err(|unwoken| SendBatchError::after(sent, unwoken))?;
        Ok(sent)
    }
}

impl<P: Payload, K: Kind> Sender<P, K> {
    /// Binds this handle's waits to a participant's life: the counterpart of
    /// [`Receiver::bind_to_peer`]. A send that finds room still sends.
    ///
    /// [`Receiver::bind_to_peer`]: crate::Receiver::bind_to_peer
    ///
    /// # Errors
    /// As there.
    pub fn bind_to_peer(&self, peer: impl Into<Option<Peer>>) -> Result<(), Fault> {
        self.end.bind_to_peer(peer.into())
    }

    /// Ends this handle's waits from another thread: the counterpart of
    /// [`Receiver::canceller`](crate::Receiver::canceller).
    pub fn canceller(&self) -> Canceller {
        self.end.canceller()
    }

    /// How this handle waits for room: the counterpart of
    /// [`Receiver::set_wait_strategy`](crate::Receiver::set_wait_strategy).
    pub fn set_wait_strategy(&self, strategy: WaitStrategy) {
        self.end.set_wait_strategy(strategy);
    }

    /// How this handle waits for room.
    pub fn wait_strategy(&self) -> WaitStrategy {
        self.end.wait_strategy()
    }

    /// Closes this handle, as dropping it does, and reports a failure.
    ///
    /// # Errors
    /// As for [`Receiver::close`](crate::Receiver::close).
    pub fn close(self) -> Result<(), Fault> {
        let Self { at, ring, end } = self;
        drop((at, ring));
        end.close()
    }

    /// A descriptor for event loops that is readable while a send could make progress:
    /// the counterpart of [`Receiver::readiness`]. It becomes *readable*, not writable,
    /// when there is room or an error to report, until a call that does not wait answers
    /// that the channel is full. It may become readable when there is room for fewer
    /// bytes than were refused.
    ///
    /// [`Receiver::readiness`]: crate::Receiver::readiness
    ///
    /// # Errors
    /// As there.
    pub fn readiness(&self) -> Result<&Readiness, Fault> {
        self.end.readiness()
    }

    /// Whether both handles belong to the same channel.
    pub fn same_channel(&self, other: &Self) -> bool {
        self.end.same_channel(&other.end)
    }

    /// How many messages are in the channel, now or a moment ago. A message counts from
    /// the time when its sender claims a slot until a receiver takes it. It counts again
    /// if that receiver has died and another one is to get it.
    ///
    /// For bytes in an SPSC channel, this is how many of the longest messages would take
    /// as much room.
    pub fn len(&self) -> usize {
        self.end.len()
    }

    /// Whether [`len`](Self::len) is zero. This may already have changed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the channel is full. This may already have changed.
    pub fn is_full(&self) -> bool {
        self.len() >= self.capacity()
    }

    /// How many messages the channel holds: exactly as many as were asked for. An SPSC
    /// channel of bytes holds that many of the longest messages, or more shorter ones.
    pub const fn capacity(&self) -> usize {
        self.end.messages()
    }
}

impl<K: Kind> Sender<Bytes, K> {
    /// The maximal length of a message, in bytes.
    pub const fn max_len(&self) -> usize {
        self.end.cells().longest()
    }
}

impl<P: Payload + NoUninit> Sender<P, Mpmc> {
    /// Another handle of this channel in this process, for another thread.
    ///
    /// # Errors
    /// [`ChannelError::TooMany`], and those of every operation.
    pub fn try_clone(&self) -> Result<Self, ChannelError> {
        Self::at(self.end.another()?, |ring, me| ring.another_producer(&self.at, me))
    }
}

impl<P: Payload, K: Kind> fmt::Debug for Sender<P, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sender").field(&self.end).finish()
    }
}
