//! The sending end of a channel whose kind and type are known only when the program runs.

use std::time::{Duration, Instant};

use super::each::{Any, any_of, each, of_both_sides};
use crate::channel::broadcast::Slowest;
use crate::channel::cancel::Canceller;
use crate::channel::endpoint::{Endpoint, Origin};
use crate::channel::grant::Grant;
use crate::channel::ready::Readiness;
use crate::channel::sender::Sender;
use crate::channel::shared::{Handle, Shared};
use crate::channel::wait_set::{EndOf, Member, Part};
use crate::error::{
    ChannelError, Fault, SendBatchError, SendError, SendTimeoutError, TrySendError,
};
use crate::kinds::payload::{Bytes, Untyped};
use crate::kinds::table::{Broadcast, Mpmc, Reliable, RingKind as ChannelKind, Spsc};

// A broadcast channel's publisher has no sort: the last two stay empty.
pub(super) type Senders = any_of!(Sender);
type Grants<'a> = any_of!(Grant<'a>);

/// The sending end of a channel, whatever it carries.
///
/// Waiting, errors and crashes are as for [`Sender`]. A message that has not
/// [the size of an element](Self::element_size) is refused with
/// [`SendError::TooLong`] or [`SendError::TooShort`].
pub struct AnySender(Senders);

of_both_sides! { AnySender, "Sender", end => Err(end.end.role_taken())? }

impl AnySender {
    pub(super) const fn of(senders: Senders) -> Self {
        Self(senders)
    }

    pub(super) const fn senders(&self) -> &Senders {
        &self.0
    }

    pub(super) fn its_end(&self) -> &Endpoint {
        each!(&self.0, end => &end.end)
    }

    /// Another one, of an end that there may be several of.
    fn further(origin: &Origin) -> Result<Self, ChannelError> {
        Ok(Self(match origin.kind() {
            ChannelKind::Mpmc => Any::Mpmc(Handle::another(origin)?),
            ChannelKind::MpmcBytes => Any::MpmcBytes(Handle::another(origin)?),
            ChannelKind::Broadcast => Any::Broadcast(Handle::another(origin)?),
            ChannelKind::BroadcastBytes => Any::BroadcastBytes(Handle::another(origin)?),
            _ => return Err(origin.in_use().into()),
        }))
    }

    /// Sends, waiting for room for as long as it takes.
    ///
    /// # Errors
    /// As for [`Sender::send`].
    pub fn send(&self, message: &[u8]) -> Result<(), SendError> {
        each!(&self.0, end => end.send(message))
    }

    /// Sends without waiting.
    ///
    /// # Errors
    /// As for [`Sender::try_send`].
    pub fn try_send(&self, message: &[u8]) -> Result<(), TrySendError> {
        each!(&self.0, end => end.try_send(message))
    }

    /// Sends, waiting for room at most this long.
    ///
    /// # Errors
    /// As for [`Sender::send_timeout`].
    pub fn send_timeout(&self, message: &[u8], timeout: Duration) -> Result<(), SendTimeoutError> {
        each!(&self.0, end => end.send_timeout(message, timeout))
    }

    /// Sends, waiting for room until `deadline`.
    ///
    /// # Errors
    /// As for [`Sender::send_deadline`].
    pub fn send_deadline(&self, message: &[u8], deadline: Instant) -> Result<(), SendTimeoutError> {
        each!(&self.0, end => end.send_deadline(message, deadline))
    }

    /// Sends all of `messages` in order, waiting for room as needed.
    ///
    /// # Errors
    /// As for [`Sender::send_batch`].
    pub fn send_batch(&self, messages: &[&[u8]]) -> Result<(), SendBatchError> {
        each!(&self.0, end => end.send_batch(messages))
    }

    /// Sends all of `messages` in order, waiting for room at most this long in all.
    ///
    /// # Errors
    /// As for [`Sender::send_batch_timeout`].
    pub fn send_batch_timeout(
        &self,
        messages: &[&[u8]],
        timeout: Duration,
    ) -> Result<(), SendBatchError<SendTimeoutError>> {
        each!(&self.0, end => end.send_batch_timeout(messages, timeout))
    }

    /// Sends all of `messages` in order, waiting for room until `deadline`.
    ///
    /// # Errors
    /// As for [`Sender::send_batch_deadline`].
    pub fn send_batch_deadline(
        &self,
        messages: &[&[u8]],
        deadline: Instant,
    ) -> Result<(), SendBatchError<SendTimeoutError>> {
        each!(&self.0, end => end.send_batch_deadline(messages, deadline))
    }

    /// Sends as many of `messages` as fit now; says how many.
    ///
    /// # Errors
    /// As for [`Sender::try_send_batch`].
    pub fn try_send_batch(&self, messages: &[&[u8]]) -> Result<usize, SendBatchError> {
        each!(&self.0, end => end.try_send_batch(messages))
    }

    /// Sends a message that may have been delivered before, waiting for room at most this long.
    ///
    /// # Errors
    /// As for [`Sender::send_redelivered`].
    pub fn send_redelivered(
        &self,
        message: &[u8],
        attempts: u8,
        timeout: Duration,
    ) -> Result<(), SendTimeoutError> {
        each!(&self.0, end => end.send_redelivered(message, attempts, timeout))
    }

    /// The sequence number of the message that this publisher published last: see
    /// [`Publisher::sequence`](crate::Publisher). `None` also if the channel is no broadcast channel.
    pub fn sequence(&self) -> Option<u64> {
        match &self.0 {
            Any::Broadcast(end) => end.sequence(),
            Any::BroadcastBytes(end) => end.sequence(),
            _ => None,
        }
    }

    /// How many messages have been published: see
    /// [`Publisher::published`](crate::Publisher). `None`: the channel is no broadcast channel.
    pub fn published(&self) -> Option<u64> {
        match &self.0 {
            Any::Broadcast(end) => Some(end.published()),
            Any::BroadcastBytes(end) => Some(end.published()),
            _ => None,
        }
    }

    /// Tells all subscribers that so many messages are missing: see
    /// [`Publisher::try_send_gap`](crate::Publisher). `None`: the channel is no broadcast channel.
    ///
    /// # Errors
    /// As there.
    pub fn try_send_gap(&self, missed: u64) -> Option<Result<(), TrySendError>> {
        match &self.0 {
            Any::Broadcast(end) => Some(end.try_send_gap(missed)),
            Any::BroadcastBytes(end) => Some(end.try_send_gap(missed)),
            _ => None,
        }
    }

    /// Waits until there are so many subscribers, at most this long: see
    /// [`Publisher::wait_for`](crate::Publisher). `None`: the channel is no broadcast channel.
    ///
    /// # Errors
    /// As for [`Publisher::wait_for_timeout`](crate::Publisher).
    pub fn wait_for_timeout(
        &self,
        subscribers: u64,
        timeout: Duration,
    ) -> Option<Result<(), SendTimeoutError>> {
        match &self.0 {
            Any::Broadcast(end) => Some(end.wait_for_timeout(subscribers, timeout)),
            Any::BroadcastBytes(end) => Some(end.wait_for_timeout(subscribers, timeout)),
            _ => None,
        }
    }

    /// The reliable subscriber that is furthest behind: see
    /// [`Publisher::slowest`](crate::Publisher). `None`: the channel is no broadcast channel.
    pub fn slowest(&self) -> Option<Option<Slowest>> {
        match &self.0 {
            Any::Broadcast(end) => Some(end.slowest()),
            Any::BroadcastBytes(end) => Some(end.slowest()),
            _ => None,
        }
    }

    /// Makes room for a message, of up to `length` bytes if they are of any length, to
    /// be written in place; waits for it as long as it takes.
    ///
    /// # Errors
    /// As for [`Sender::send`].
    pub fn reserve(&mut self, length: usize) -> Result<AnyGrant<'_>, SendError> {
        Ok(AnyGrant::of(each!(&mut self.0, end => Any: end.claim_of(length)?)))
    }

    /// Makes room for a message, waiting for it at most this long.
    ///
    /// # Errors
    /// As for [`Sender::send_timeout`].
    pub fn reserve_timeout(
        &mut self,
        length: usize,
        timeout: Duration,
    ) -> Result<AnyGrant<'_>, SendTimeoutError> {
        let deadline = || Instant::now().checked_add(timeout);
        Ok(AnyGrant::of(each!(&mut self.0, end => Any: end.claim_of_by(length, deadline)?)))
    }

    /// Makes room for a message, waiting for it until `deadline`.
    ///
    /// # Errors
    /// As for [`Sender::send_deadline`].
    pub fn reserve_deadline(
        &mut self,
        length: usize,
        deadline: Instant,
    ) -> Result<AnyGrant<'_>, SendTimeoutError> {
        Ok(AnyGrant::of(
            each!(&mut self.0, end => Any: end.claim_of_by(length, || Some(deadline))?),
        ))
    }

    /// Makes room for a message, without waiting.
    ///
    /// # Errors
    /// As for [`Sender::try_send`].
    pub fn try_reserve(&mut self, length: usize) -> Result<AnyGrant<'_>, TrySendError> {
        Ok(AnyGrant::of(each!(&mut self.0, end => Any: end.try_claim_of(length)?)))
    }
}

/// A place to write a message in: as [`Grant`]. Dropped, it is aborted.
#[must_use = "a grant that is dropped is aborted"]
pub struct AnyGrant<'a> {
    grant: Grants<'a>,
    /// How many bytes from the first on are the caller's, and not those of a message
    /// before.
    written: usize,
}

impl<'a> AnyGrant<'a> {
    const fn of(grant: Grants<'a>) -> Self {
        Self { grant, written: 0 }
    }

    /// How many bytes there is room for.
    #[expect(clippy::len_without_is_empty, reason = "it is a size, not a number of messages")]
    pub fn len(&self) -> usize {
        each!(&self.grant, grant => grant.place().len())
    }

    /// Copies the message in, from its first byte on, as many bytes as there is room for;
    /// says how many. An element is copied as a whole, or not at all: 0 if the message has
    /// another size.
    #[must_use = "an element of another size is not copied"]
    pub fn write(&mut self, message: &[u8]) -> usize {
        let count = each!(&self.grant, grant => grant.place().write(0, message));
        self.written = self.written.max(count);
        count
    }

    /// Where the message is written. What may be done through the pointer is
    /// for the caller to argue: a peer may be writing there. All of the place counts as
    /// written from then on.
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        self.written = self.len();
        each!(&self.grant, grant => grant.place().as_ptr())
    }

    /// Sends the message: its first `length` bytes, if they are of any length; otherwise
    /// the whole element, whatever `length` is.
    ///
    /// # Errors
    /// [`SendError::TooShort`] if fewer bytes have been written: what was in the place
    /// before is not sent, and the grant is aborted. Otherwise as for
    /// [`ByteGrant::commit`](crate::ByteGrant).
    pub fn commit(self, length: usize) -> Result<(), SendError> {
        let room = self.len();
        let size = match &self.grant {
            Any::Spsc(_) | Any::Mpmc(_) | Any::Broadcast(_) | Any::Reliable(_) => room,
            Any::SpscBytes(_)
            | Any::MpmcBytes(_)
            | Any::BroadcastBytes(_)
            | Any::ReliableBytes(_) => length.min(room),
        };
        if self.written < size {
            return Err(SendError::TooShort { message: (), length: self.written, size });
        }
        each!(self.grant, grant => grant.send(size))
    }

    /// Gives the place up, as dropping does.
    pub fn abort(self) {}
}

impl core::fmt::Debug for AnyGrant<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("AnyGrant").field("len", &self.len()).finish_non_exhaustive()
    }
}
