//! The sending end of a channel of bytes.

#![allow(unsafe_code)]

use core::fmt;
use core::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

use super::kind::ByteKind;
use crate::channel::cancel::Canceller;
use crate::channel::endpoint::{Endpoint, Resolved};
use crate::channel::kind::{Mpmc, Stuck};
use crate::channel::ready::{Readiness, Want};
use crate::error::{ChannelError, Done, Fault, SendBytesError};
use crate::segment::{Peer, Side};
use crate::sys::crash;

/// The sending end of a channel of bytes: messages of any length up to the
/// channel's [longest](Self::max_len).
///
/// Crash rules and waiting are those of [`Sender`](crate::Sender).
pub struct ByteSender<K: ByteKind = Mpmc> {
    end: Endpoint,
    /// Points into memory that `end` keeps attached.
    ring: K::Ring,
    at: K::Producer,
}

/// Why a call that does not wait has not sent.
const fn not_now(why: Resolved) -> SendBytesError {
    match why {
        Resolved::WaitPaused => SendBytesError::Paused,
        _ => SendBytesError::Full,
    }
}

impl<K: ByteKind> ByteSender<K> {
    pub(crate) fn new(end: Endpoint) -> Result<Self, ChannelError> {
        let ring = end.typed(K::ring)?;
        let at = K::producer(&ring)
            .map_err(|stuck| end.corrupt(&stuck.corruption().unwrap_or_default()))?;
        Ok(Self { end, ring, at })
    }

    fn fits(&self, length: usize) -> Result<(), SendBytesError> {
        let longest = self.max_len();
        if length > longest { Err(SendBytesError::TooLong { length, longest }) } else { Ok(()) }
    }

    fn reserve_once(&self, length: usize) -> Result<K::Claim, Stuck> {
        self.end.guarded(|| K::reserve(&self.ring, &self.at, self.end.owner(), length))
    }

    fn commit_once(&self, claim: &K::Claim, length: usize) -> Result<(), Stuck> {
        self.end.publish(|| K::commit(&self.ring, &self.at, self.end.owner(), claim, length))
    }

    /// Reserves, copies and commits, or does nothing at all.
    fn push(&self, message: &[u8]) -> Result<(), Stuck> {
        let claim = self.reserve_once(message.len())?;
        // SAFETY: reserved just now, by this thread, and this is the only
        // slice; `self.end` keeps the segment attached.
        let room = unsafe { K::room(&self.ring, &claim) };
        if let Some(room) = room.get_mut(..message.len()) {
            crash::copy(room, message);
        }
        self.commit_once(&claim, message.len()).inspect_err(|_| {
            // Somebody may have found no block because of this one.
            self.abort(&claim);
        })
    }

    /// The same for who waits: takes nothing that it would have to give back,
    /// which would wake others who do the same.
    fn when_it_can<R>(&self, push: impl FnOnce() -> Result<R, Stuck>) -> Result<R, Stuck> {
        self.end.guarded(|| K::lacks(&self.ring, &self.at).map_or(Ok(()), Err))?;
        push()
    }

    /// Sends the first of `messages`, as many as fit.
    fn push_some(&self, messages: &[&[u8]]) -> Result<usize, Stuck> {
        let together = || K::push_together(&self.ring, &self.at, messages).transpose();
        if let Some(sent) = self.end.publish(together)? {
            return Ok(sent);
        }
        for (sent, message) in messages.iter().enumerate() {
            match self.push(message) {
                Ok(()) => {}
                Err(stuck) if sent == 0 => return Err(stuck),
                // Also if a wake was refused: then something has changed.
                Err(_) => return Ok(sent),
            }
        }
        Ok(messages.len())
    }

    fn abort(&self, claim: &K::Claim) {
        if K::abort(&self.ring, claim) {
            self.end.notify(Side::Sender, Done::GivenUp);
            if K::PLACES {
                self.end.notify_places(Done::GivenUp);
            }
        }
    }

    /// The message is in the channel: all is well, unless a receiver that sleeps
    /// could not be woken.
    #[inline]
    fn sent(&self) -> Result<(), SendBytesError> {
        self.end.unwoken().map_err(|fault| match fault {
            Fault::Unwoken(unwoken) => SendBytesError::Unwoken(unwoken),
            fault => fault.into(),
        })
    }

    /// What has just refused a try.
    fn want(&self) -> Want {
        K::wanted_by_producer(&self.at)
    }

    /// Sends without waiting.
    ///
    /// # Errors
    /// [`SendBytesError::Full`], [`SendBytesError::Paused`],
    /// [`SendBytesError::TooLong`], or why the channel cannot be used.
    pub fn try_send(&self, message: &[u8]) -> Result<(), SendBytesError> {
        self.fits(message.len())?;
        if let Err(stuck) = self.push(message) {
            let push = || self.push(message);
            self.end.try_to_send(stuck, push, || self.want())?.map_err(not_now)?;
        }
        self.sent()
    }

    /// Sends, waiting for room for as long as it takes.
    ///
    /// # Errors
    /// [`SendBytesError::TooLong`], or why the channel cannot be used.
    pub fn send(&self, message: &[u8]) -> Result<(), SendBytesError> {
        self.send_by(message, || None)
    }

    /// Sends, waiting for room at most this long.
    ///
    /// # Errors
    /// [`SendBytesError::Full`] after that, and those of [`send`](Self::send).
    pub fn send_timeout(&self, message: &[u8], timeout: Duration) -> Result<(), SendBytesError> {
        self.send_by(message, || Instant::now().checked_add(timeout))
    }

    /// Sends, waiting for room until `deadline`.
    ///
    /// # Errors
    /// As for [`send_timeout`](Self::send_timeout).
    pub fn send_deadline(&self, message: &[u8], deadline: Instant) -> Result<(), SendBytesError> {
        self.send_by(message, || Some(deadline))
    }

    fn send_by(
        &self,
        message: &[u8],
        until: impl FnOnce() -> Option<Instant>,
    ) -> Result<(), SendBytesError> {
        self.fits(message.len())?;
        if let Err(stuck) = self.push(message) {
            self.wait(stuck, until(), || self.when_it_can(|| self.push(message)))?
                .ok_or(SendBytesError::Full)?;
        }
        self.sent()
    }

    /// Sends all of `messages` in order, waiting for room as needed. In an
    /// SPSC channel what fits at once is published by a single store; each
    /// message stands alone, as in [`Sender::send_batch`].
    ///
    /// [`Sender::send_batch`]: crate::Sender::send_batch
    ///
    /// # Errors
    /// [`SendBytesError::TooLong`] before any is sent, or why the channel
    /// cannot be used; with it, how many were sent.
    pub fn send_batch(&self, messages: &[&[u8]]) -> Result<(), (usize, SendBytesError)> {
        for message in messages {
            self.fits(message.len()).map_err(|error| (0, error))?;
        }
        let mut sent = 0;
        while sent < messages.len() {
            let rest = &messages[sent..];
            sent += match self.push_some(rest) {
                Ok(pushed) => pushed,
                Err(stuck) => self
                    .wait(stuck, None, || self.when_it_can(|| self.push_some(rest)))
                    .map_err(|fault| (sent, fault.into()))?
                    .unwrap_or(0),
            };
            self.sent().map_err(|error| (sent, error))?;
        }
        Ok(())
    }

    fn wait<R>(
        &self,
        stuck: Stuck,
        until: Option<Instant>,
        attempt: impl FnMut() -> Result<R, Stuck>,
    ) -> Result<Option<R>, Fault> {
        self.end.wait_to_send(stuck, until, attempt, || K::may_reserve(&self.ring, &self.at))
    }

    /// Makes room for a message of up to `length` bytes, to be written in
    /// place; waits for it as long as it takes.
    ///
    /// While the grant is held, an SPSC channel's receiver sees nothing new.
    /// In an MPMC channel it holds up nobody: the message takes its place in
    /// the order when it is committed. It counts against the capacity.
    ///
    /// # Errors
    /// Those of [`send`](Self::send).
    pub fn reserve(&mut self, length: usize) -> Result<ByteGrant<'_, K>, SendBytesError> {
        self.fits(length)?;
        let claim = match self.reserve_once(length) {
            Ok(claim) => claim,
            Err(stuck) => {
                self.wait(stuck, None, || self.reserve_once(length))?.ok_or(SendBytesError::Full)?
            }
        };
        Ok(ByteGrant::new(self, claim))
    }

    /// The same, without waiting.
    ///
    /// # Errors
    /// Those of [`try_send`](Self::try_send).
    pub fn try_reserve(&mut self, length: usize) -> Result<ByteGrant<'_, K>, SendBytesError> {
        self.fits(length)?;
        let claim = match self.reserve_once(length) {
            Ok(claim) => claim,
            Err(stuck) => self
                .end
                .try_to_send(stuck, || self.reserve_once(length), || self.want())?
                .map_err(not_now)?,
        };
        Ok(ByteGrant::new(self, claim))
    }

    /// A descriptor for event loops, as [`Sender::readiness`] gives it.
    ///
    /// It also becomes readable when there is room for less than the message
    /// that was refused.
    ///
    /// [`Sender::readiness`]: crate::Sender::readiness
    ///
    /// # Errors
    /// As there.
    pub fn readiness(&self) -> Result<&Readiness, Fault> {
        self.end.readiness()
    }

    /// Binds this handle's waits to a participant's life: see
    /// [`Sender::until_gone`](crate::Sender::until_gone).
    ///
    /// # Errors
    /// As there.
    pub fn until_gone(&self, peer: impl Into<Option<Peer>>) -> Result<(), Fault> {
        self.end.until_gone(peer.into())
    }

    /// What ends this handle's waits from another thread: see
    /// [`Receiver::canceller`](crate::Receiver::canceller).
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

    /// The most bytes of a message.
    pub const fn max_len(&self) -> usize {
        self.end.block.longest
    }

    /// How many messages are in the channel, now or a moment ago; in an SPSC
    /// channel, as how many of the longest ones they take up room.
    pub fn len(&self) -> usize {
        self.end.len()
    }

    /// Whether [`len`](Self::len) is zero. May have changed already.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many messages of the longest kind the channel holds. (An SPSC
    /// channel holds more of shorter ones.)
    pub const fn capacity(&self) -> usize {
        self.end.messages()
    }
}

impl ByteSender<Mpmc> {
    /// Another handle of this channel in this process, for another thread.
    ///
    /// # Errors
    /// [`ChannelError::TooMany`], and those of every operation.
    pub fn try_clone(&self) -> Result<Self, ChannelError> {
        Self::new(self.end.another()?)
    }
}

impl<K: ByteKind> fmt::Debug for ByteSender<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ByteSender").field(&self.end).finish()
    }
}

/// Room for a message, to be written in place and then
/// [committed](Self::commit). Dropped, it is aborted: nobody sees anything.
///
/// The bytes are whatever was there before. They are in shared memory: that
/// nobody else writes them rests on every participant keeping to the
/// protocol.
#[must_use = "a grant that is dropped is aborted"]
pub struct ByteGrant<'a, K: ByteKind> {
    sender: &'a ByteSender<K>,
    claim: K::Claim,
    room: &'a mut [u8],
    done: bool,
}

impl<'a, K: ByteKind> ByteGrant<'a, K> {
    fn new(sender: &'a ByteSender<K>, claim: K::Claim) -> Self {
        // SAFETY: reserved just now by this handle, which is borrowed as long
        // as the grant lives, so this is the only slice and the segment stays
        // attached.
        let room = unsafe { K::room(&sender.ring, &claim) };
        Self { sender, claim, room, done: false }
    }

    /// Sends the first `length` bytes: all of it, or less.
    ///
    /// In an MPMC channel this waits if a receiver still holds a message that
    /// is older by a whole capacity.
    ///
    /// # Errors
    /// [`SendBytesError::Unwoken`], and the message is in the channel; or why the
    /// channel cannot be used, and nothing was sent.
    pub fn commit(mut self, length: usize) -> Result<(), SendBytesError> {
        let length = length.min(self.room.len());
        let (sender, claim) = (self.sender, self.claim);
        match sender.commit_once(&claim, length) {
            Ok(()) => {}
            Err(stuck) => sender
                .wait(stuck, None, || sender.commit_once(&claim, length))?
                .ok_or(SendBytesError::Full)?,
        }
        self.done = true;
        sender.sent()
    }

    /// Gives the room back unused, as dropping does.
    pub fn abort(self) {}
}

impl<K: ByteKind> Deref for ByteGrant<'_, K> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.room
    }
}

impl<K: ByteKind> DerefMut for ByteGrant<'_, K> {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.room
    }
}

impl<K: ByteKind> Drop for ByteGrant<'_, K> {
    fn drop(&mut self) {
        // In a forked child the claim is the parent's.
        if !self.done && !self.sender.end.in_child() {
            self.sender.abort(&self.claim);
        }
    }
}

impl<K: ByteKind> fmt::Debug for ByteGrant<'_, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByteGrant").field("len", &self.room.len()).finish_non_exhaustive()
    }
}
