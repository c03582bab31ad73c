//! The sending end of a channel of bytes.

#![allow(unsafe_code)]

use core::fmt;
use std::io;
use std::time::{Duration, Instant};

use super::kind::ByteKind;
use crate::channel::cancel::Canceller;
use crate::channel::endpoint::{Endpoint, Resolved};
use crate::channel::kind::{Mpmc, Stuck};
use crate::channel::ready::{Readiness, Want};
use crate::error::{
    ChannelError, Done, Fault, SendBatchError, SendError, SendTimeoutError, TrySendError,
};
use crate::segment::{Bytes, Peer, Side, TrustedPeers};

/// The sending end of a channel of bytes: messages of any length up to the
/// channel's [longest](Self::max_len).
///
/// Crash rules and waiting are those of [`Sender`](crate::Sender).
pub struct ByteSender<K: ByteKind = Mpmc> {
    /// Before `end`, so that the memory is detached when that goes.
    ring: K::Ring,
    end: Endpoint,
    at: K::Producer,
}

impl<K: ByteKind> ByteSender<K> {
    pub(crate) fn new(end: Endpoint) -> Result<Self, ChannelError> {
        let ring = end.typed(K::ring)?;
        let at = K::producer(&ring)
            .map_err(|stuck| end.corrupt(&stuck.corruption().unwrap_or_default()))?;
        Ok(Self { end, ring, at })
    }

    fn fits(&self, length: usize) -> Result<(), SendError> {
        let longest = self.max_len();
        if length > longest {
            Err(SendError::TooLong { message: (), length, longest })
        } else {
            Ok(())
        }
    }

    #[inline]
    fn reserve_once(&self, length: usize) -> Result<K::Claim, Stuck> {
        self.end.guarded(|| K::reserve(&self.ring, &self.at, self.end.owner(), length))
    }

    #[cold]
    #[inline(never)]
    fn commit_on(&self, stuck: Stuck, claim: &K::Claim, length: usize) -> Result<(), SendError> {
        let done = self.wait(stuck, None, || self.commit_once(claim, length))?;
        Ok(done.ok_or(Fault::Closed)?)
    }

    fn commit_once(&self, claim: &K::Claim, length: usize) -> Result<(), Stuck> {
        self.end.publish(|| K::commit(&self.ring, &self.at, self.end.owner(), claim, length))
    }

    /// Reserves, copies and commits, or does nothing at all.
    fn push(&self, message: &[u8]) -> Result<(), Stuck> {
        let claim = self.reserve_once(message.len())?;
        K::room(&self.ring, &claim).write(0, message);
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
                self.end.notify_slot_waiters(Done::GivenUp);
            }
        }
    }

    /// What has just refused a try.
    fn want(&self) -> Want {
        K::wanted_by_producer(&self.at)
    }

    /// Sends without waiting.
    ///
    /// # Errors
    /// [`TrySendError::Full`], [`TrySendError::Paused`],
    /// [`TrySendError::TooLong`], or why the channel cannot be used.
    pub fn try_send(&self, message: &[u8]) -> Result<(), TrySendError> {
        self.fits(message.len())?;
        if let Err(stuck) = self.push(message) {
            let push = || self.push(message);
            self.end.try_to_send(stuck, push, || self.want())?.map_err(Resolved::not_now)?;
        }
        Ok(self.end.unwoken()?)
    }

    /// Sends, waiting for room for as long as it takes.
    ///
    /// # Errors
    /// [`SendError::TooLong`], or why the channel cannot be used.
    pub fn send(&self, message: &[u8]) -> Result<(), SendError> {
        self.send_by(message, || None)?.ok_or(Fault::Closed)?;
        Ok(self.end.unwoken()?)
    }

    /// Sends, waiting for room at most this long.
    ///
    /// # Errors
    /// [`SendTimeoutError::Timeout`], and those of [`send`](Self::send).
    pub fn send_timeout(&self, message: &[u8], timeout: Duration) -> Result<(), SendTimeoutError> {
        self.send_by(message, || Instant::now().checked_add(timeout))?
            .ok_or(SendTimeoutError::Timeout(()))?;
        Ok(self.end.unwoken()?)
    }

    /// Sends, waiting for room until `deadline`.
    ///
    /// # Errors
    /// As for [`send_timeout`](Self::send_timeout).
    pub fn send_deadline(&self, message: &[u8], deadline: Instant) -> Result<(), SendTimeoutError> {
        self.send_by(message, || Some(deadline))?.ok_or(SendTimeoutError::Timeout(()))?;
        Ok(self.end.unwoken()?)
    }

    /// Goes on until the deadline (`None`).
    fn send_by(
        &self,
        message: &[u8],
        until: impl FnOnce() -> Option<Instant>,
    ) -> Result<Option<()>, SendError> {
        self.fits(message.len())?;
        match self.push(message) {
            Ok(()) => Ok(Some(())),
            Err(stuck) => {
                Ok(self.wait(stuck, until(), || self.when_it_can(|| self.push(message)))?)
            }
        }
    }

    /// Sends all of `messages` in order, waiting for room as needed. In an
    /// SPSC channel what fits at once is published by a single store; each
    /// message stands alone, as in [`Sender::send_batch`].
    ///
    /// [`Sender::send_batch`]: crate::Sender::send_batch
    ///
    /// # Errors
    /// [`SendError::TooLong`] before any is sent, or why the channel
    /// cannot be used; with it, how many were sent.
    pub fn send_batch(&self, messages: &[&[u8]]) -> Result<(), SendBatchError> {
        for message in messages {
            self.fits(message.len()).map_err(|error| SendBatchError::after(0, error))?;
        }
        let mut sent = 0;
        while sent < messages.len() {
            let rest = &messages[sent..];
            sent += match self.push_some(rest) {
                Ok(pushed) => pushed,
                Err(stuck) => self
                    .wait(stuck, None, || self.when_it_can(|| self.push_some(rest)))
                    .map_err(|fault| SendBatchError::after(sent, fault))?
                    .unwrap_or(0),
            };
            self.end.unwoken().map_err(|unwoken| SendBatchError::after(sent, unwoken))?;
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
    pub fn reserve(&mut self, length: usize) -> Result<ByteGrant<'_, K>, SendError> {
        self.fits(length)?;
        let claim = match self.reserve_once(length) {
            Ok(claim) => claim,
            Err(stuck) => self.reserve_on(stuck, length)?,
        };
        Ok(ByteGrant::new(self, claim))
    }

    #[cold]
    #[inline(never)]
    fn reserve_on(&self, stuck: Stuck, length: usize) -> Result<K::Claim, SendError> {
        let claim = self.wait(stuck, None, || self.reserve_once(length))?;
        Ok(claim.ok_or(Fault::Closed)?)
    }

    /// The same, without waiting.
    ///
    /// # Errors
    /// Those of [`try_send`](Self::try_send).
    pub fn try_reserve(&mut self, length: usize) -> Result<ByteGrant<'_, K>, TrySendError> {
        self.fits(length)?;
        let claim = match self.reserve_once(length) {
            Ok(claim) => claim,
            Err(stuck) => self
                .end
                .try_to_send(stuck, || self.reserve_once(length), || self.want())?
                .map_err(Resolved::not_now)?,
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
    /// [`Sender::bind_to_peer`](crate::Sender::bind_to_peer).
    ///
    /// # Errors
    /// As there.
    pub fn bind_to_peer(&self, peer: impl Into<Option<Peer>>) -> Result<(), Fault> {
        self.end.bind_to_peer(peer.into())
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
/// The bytes are whatever was there before. They are in memory that peers can
/// write to. [`write_at`](Self::write_at) and [`writer`](Self::writer) copy
/// into it, whatever they do; to write by reference, declare that they are
/// [trusted](crate::Segment::trust_peers).
///
/// ```
/// use std::io::Write;
/// use tombolo::Segment;
///
/// let segment = Segment::anonymous()?;
/// let lines = segment.bytes("lines").capacity(4, 80);
/// let (mut sender, mut receiver) = (lines.sender()?, lines.receiver()?);
/// let mut grant = sender.reserve(80)?;
/// let mut line = grant.writer();
/// write!(line, "{} of {}", 1, 3)?;
/// let written = line.written();
/// grant.commit(written)?;
/// assert_eq!(receiver.take()?.to_vec(), b"1 of 3");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a grant that is dropped is aborted"]
pub struct ByteGrant<'a, K: ByteKind> {
    sender: &'a ByteSender<K>,
    claim: K::Claim,
    room: Bytes<'a>,
    done: bool,
}

impl<'a, K: ByteKind> ByteGrant<'a, K> {
    fn new(sender: &'a ByteSender<K>, claim: K::Claim) -> Self {
        let room = K::room(&sender.ring, &claim);
        Self { sender, claim, room, done: false }
    }

    /// Sends the first `length` bytes: all of it, or less.
    ///
    /// In an MPMC channel this waits if a receiver still holds a message that
    /// is older by a whole capacity.
    ///
    /// # Errors
    /// [`SendError::Unwoken`], and the message is in the channel; or why the
    /// channel cannot be used, and nothing was sent.
    pub fn commit(mut self, length: usize) -> Result<(), SendError> {
        let length = length.min(self.room.len());
        let (sender, claim) = (self.sender, self.claim);
        if let Err(stuck) = sender.commit_once(&claim, length) {
            sender.commit_on(stuck, &claim, length)?;
        }
        self.done = true;
        Ok(sender.end.unwoken()?)
    }

    /// Gives the room back unused, as dropping does.
    pub fn abort(self) {}

    /// How many bytes there is room for.
    pub const fn len(&self) -> usize {
        self.room.len()
    }

    /// Whether there is room for none: for an empty message.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies bytes in, from `offset` on, as many as there is room for; says
    /// how many.
    pub fn write_at(&mut self, offset: usize, bytes: &[u8]) -> usize {
        self.room.write(offset, bytes)
    }

    /// Writes one after the other, from the start on.
    pub const fn writer(&mut self) -> ByteWriter<'_> {
        ByteWriter { room: self.room, written: 0 }
    }

    /// Where the message is written. What may be done through the pointer is
    /// for the caller to argue: a peer may be writing there.
    pub const fn as_mut_ptr(&mut self) -> *mut u8 {
        self.room.as_ptr()
    }

    /// The bytes by reference: what was there before, or has been written by
    /// now.
    ///
    /// # Panics
    /// If `trust` is of another [`Segment`](crate::Segment).
    #[inline]
    #[track_caller]
    pub fn as_slice(&self, trust: TrustedPeers) -> &[u8] {
        self.sender.end.check(trust);
        // SAFETY: reserved by this grant, so nobody writes it: the peers are
        // trusted, and `self` is borrowed.
        unsafe { self.room.as_slice() }
    }

    /// The same, to write them.
    ///
    /// # Panics
    /// As for [`as_slice`](Self::as_slice).
    #[inline]
    #[track_caller]
    pub fn as_mut_slice(&mut self, trust: TrustedPeers) -> &mut [u8] {
        self.sender.end.check(trust);
        // SAFETY: as for `as_slice`; `&mut self` makes it the only one here.
        unsafe { self.room.as_mut_slice() }
    }
}

/// Writes into the room of a [`ByteGrant`]: see [`ByteGrant::writer`].
#[derive(Debug)]
pub struct ByteWriter<'a> {
    room: Bytes<'a>,
    written: usize,
}

impl ByteWriter<'_> {
    /// How many bytes have been written: what to commit.
    pub const fn written(&self) -> usize {
        self.written
    }
}

impl io::Write for ByteWriter<'_> {
    /// Writes what there is room for; nothing if it is full.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.room.write(self.written, bytes);
        self.written += count;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<K: ByteKind> Drop for ByteGrant<'_, K> {
    #[inline]
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
