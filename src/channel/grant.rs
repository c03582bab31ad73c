//! Writing messages in place.
//!
//! A guard copies into the message's place, which stays defined whatever a peer writes
//! there. A reference assumes that peers do not write what they have not claimed, and so
//! needs a [`TrustedPeers`]; and a type of which any bytes are a value.

#![allow(unsafe_code)]

use core::fmt;
use std::io;
use std::time::{Duration, Instant};

use bytemuck::{AnyBitPattern, NoUninit};

use super::sender::{Sender, not_now};
use crate::error::{Done, Fault, SendError, SendTimeoutError, TrySendError};
use crate::kinds::message::Message;
use crate::kinds::payload::Bytes;
use crate::kinds::ring::{Place, Ring};
use crate::kinds::table::{InPlace, Kind, Mpmc, Payload, Spsc};
use crate::ring::wait::{NotNow, Polled};
use crate::ring::{event, gate};
use crate::segment::{Side, TrustedPeers};
use crate::storage::{ByteSpan, Elements};
use crate::sync::AtomicU64;
use crate::wait::Asymmetric;

/// A claim in a sender's ring.
pub(super) type Claim<P, K> = <<P as crate::kinds::table::sealed::Payload>::Ring<K> as Ring>::Claim;

impl<P: Payload + NoUninit, K: Kind> Sender<P, K> {
    /// Fast path of claiming.
    #[inline(always)]
    pub(super) fn reserve_next(&self, length: usize) -> Result<Claim<P, K>, NotNow> {
        let reserve = || self.ring.reserve_next(&self.at, self.end.owner(), length);
        if !P::Ring::<K>::CLAIM_IS_PLACE {
            return if self.end.quiet_fast() { reserve() } else { Err(NotNow::Unsure) };
        }
        if !self.end.enter_fast() {
            return Err(NotNow::Unsure);
        }
        reserve().inspect_err(|_| self.end.leave())
    }

    pub(super) fn reserve_once(&self, length: usize) -> Result<Claim<P, K>, NotNow> {
        let reserve = || self.ring.reserve(&self.at, self.end.owner(), length);
        // A sender that holds a place in the order counts as sending until it gives the
        // place up.
        if P::Ring::<K>::CLAIM_IS_PLACE {
            self.end.begin(reserve)
        } else {
            self.end.guarded(reserve)
        }
    }

    pub(super) fn grant(&self, claim: Claim<P, K>) -> Grant<'_, P, K> {
        Grant { sender: self, busy: self.end.busy(), claim, done: false }
    }

    #[inline(always)]
    fn claim(&self, length: usize) -> Result<Grant<'_, P, K>, SendError> {
        // Before anything is stored: it need not be looked up again then.
        let busy = self.end.busy();
        let claim = match self.reserve_next(length) {
            Ok(claim) => claim,
            Err(_) => self.claim_on(length)?,
        };
        Ok(Grant { sender: self, busy, claim, done: false })
    }

    #[cold]
    #[inline(never)]
    fn claim_on(&self, length: usize) -> Result<Claim<P, K>, SendError> {
        Ok(self.claim_until(length, None)?.ok_or(Fault::Closed)?)
    }

    fn claim_by(
        &self,
        length: usize,
        until: impl FnOnce() -> Option<Instant>,
    ) -> Result<Grant<'_, P, K>, SendTimeoutError> {
        let claim = match self.reserve_next(length) {
            Ok(claim) => claim,
            Err(_) => self.claim_until(length, until())?.ok_or(SendTimeoutError::Timeout(()))?,
        };
        Ok(self.grant(claim))
    }

    fn claim_until(
        &self,
        length: usize,
        until: Option<Instant>,
    ) -> Result<Option<Claim<P, K>>, Fault> {
        match self.reserve_once(length) {
            Ok(claim) => Ok(Some(claim)),
            Err(why) => self.wait_on(why, until, || self.reserve_once(length)),
        }
    }

    fn try_claim(&self, length: usize) -> Result<Grant<'_, P, K>, TrySendError> {
        let claim = match self.reserve_next(length) {
            Ok(claim) => claim,
            Err(_) => match self.reserve_once(length) {
                Ok(claim) => claim,
                Err(why) => match self.try_on(why, || self.reserve_once(length))? {
                    Polled::Done(claim) => claim,
                    Polled::Needs(need) => return Err(not_now(need, ())),
                },
            },
        };
        Ok(self.grant(claim))
    }
}

/// Where the caller says how long the message is.
impl<P: Payload + NoUninit, K: Kind> Sender<P, K> {
    #[inline]
    pub(super) fn claim_of(&self, length: usize) -> Result<Grant<'_, P, K>, SendError> {
        self.fits(length)?;
        self.claim(length)
    }

    pub(super) fn claim_of_by(
        &self,
        length: usize,
        until: impl FnOnce() -> Option<Instant>,
    ) -> Result<Grant<'_, P, K>, SendTimeoutError> {
        self.fits(length)?;
        self.claim_by(length, until)
    }

    pub(super) fn try_claim_of(&self, length: usize) -> Result<Grant<'_, P, K>, TrySendError> {
        self.fits(length)?;
        self.try_claim(length)
    }
}

impl<T: Message + NoUninit, K: Kind> Sender<T, K> {
    /// Claims the place of a message, to write the message in place. Waits for it,
    /// without a timeout.
    ///
    /// Until it is committed, receivers do not see later messages; in an MPMC channel,
    /// this includes messages of other senders. So hold it no longer than you need to
    /// write. In a broadcast channel, a grant delays nobody: the message takes its place in
    /// the order when it is committed. If this process dies, the place becomes free.
    ///
    /// ```
    /// use tombolo::Segment;
    ///
    /// let segment = Segment::anonymous()?;
    /// let channel = segment.channel::<[u8; 4096]>("pages").capacity(4);
    /// let (mut sender, mut receiver) = (channel.sender()?, channel.receiver()?);
    /// let mut page = sender.reserve()?;
    /// page.write(&[7; 4096]);
    /// page.commit()?;
    /// assert_eq!(receiver.take()?.read()[0], 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Why the channel cannot be used.
    #[inline(always)]
    pub fn reserve(&mut self) -> Result<Grant<'_, T, K>, SendError> {
        self.claim(size_of::<T>())
    }

    /// Claims the place of a message. Waits for it at most this long.
    ///
    /// # Errors
    /// [`SendTimeoutError::Timeout`], and those of [`reserve`](Self::reserve).
    pub fn reserve_timeout(
        &mut self,
        timeout: Duration,
    ) -> Result<Grant<'_, T, K>, SendTimeoutError> {
        self.claim_by(size_of::<T>(), || Instant::now().checked_add(timeout))
    }

    /// Claims the place of a message. Waits for it until `deadline`.
    ///
    /// # Errors
    /// As for [`reserve_timeout`](Self::reserve_timeout).
    pub fn reserve_deadline(
        &mut self,
        deadline: Instant,
    ) -> Result<Grant<'_, T, K>, SendTimeoutError> {
        self.claim_by(size_of::<T>(), || Some(deadline))
    }

    /// Claims the place of a message, without waiting.
    ///
    /// # Errors
    /// [`TrySendError::Full`], [`TrySendError::Paused`], or the fault that ends the use
    /// of the channel.
    pub fn try_reserve(&mut self) -> Result<Grant<'_, T, K>, TrySendError> {
        self.try_claim(size_of::<T>())
    }
}

impl<K: Kind> Sender<Bytes, K> {
    /// Reserves room for a message of up to `length` bytes, to write it in place. Waits
    /// for room, without a timeout.
    ///
    /// While the grant is held, the receiver of an SPSC channel sees nothing new. In an
    /// MPMC or a broadcast channel, the grant delays nobody: the message takes its place in
    /// the order when it is committed. In an SPSC channel, and in an MPMC channel for more
    /// than 112 bytes, the grant counts against the capacity. If this process dies, the room
    /// becomes free.
    ///
    /// # Errors
    /// [`SendError::TooLong`], or the fault that ends the use of the channel.
    #[inline]
    pub fn reserve(&mut self, length: usize) -> Result<Grant<'_, Bytes, K>, SendError> {
        self.claim_of(length)
    }

    /// Reserves room for a message. Waits for it at most this long.
    ///
    /// # Errors
    /// [`SendTimeoutError::Timeout`], and those of [`reserve`](Self::reserve).
    pub fn reserve_timeout(
        &mut self,
        length: usize,
        timeout: Duration,
    ) -> Result<Grant<'_, Bytes, K>, SendTimeoutError> {
        self.claim_of_by(length, || Instant::now().checked_add(timeout))
    }

    /// Reserves room for a message. Waits for it until `deadline`.
    ///
    /// # Errors
    /// As for [`reserve_timeout`](Self::reserve_timeout).
    pub fn reserve_deadline(
        &mut self,
        length: usize,
        deadline: Instant,
    ) -> Result<Grant<'_, Bytes, K>, SendTimeoutError> {
        self.claim_of_by(length, || Some(deadline))
    }

    /// Reserves room for a message, without waiting.
    ///
    /// # Errors
    /// [`TrySendError::TooLong`], [`TrySendError::Full`], [`TrySendError::Paused`], or
    /// the fault that ends the use of the channel.
    pub fn try_reserve(&mut self, length: usize) -> Result<Grant<'_, Bytes, K>, TrySendError> {
        self.try_claim_of(length)
    }
}

impl<T: Message + NoUninit> Sender<T, Spsc> {
    #[inline]
    pub(super) fn room_once(&self, most: usize) -> Result<usize, NotNow> {
        self.end.begin(|| {
            let room = self.at.room(&self.ring, most as u64).map_err(NotNow::Torn)?;
            // Only what is side by side.
            match self.at.span(&self.ring, room).first {
                0 => Err(NotNow::Nothing),
                first => Ok(first as usize),
            }
        })
    }

    /// Claims the places of up to `most` messages side by side, at least one, to write
    /// them in place. Waits for them, without a timeout.
    ///
    /// # Errors
    /// Why the channel cannot be used.
    #[inline(always)]
    pub fn reserve_slice(&mut self, most: usize) -> Result<GrantSlice<'_, T>, SendError> {
        let most = most.max(1);
        let count = match self.room_once(most) {
            Ok(count) => count,
            Err(why) => self.room_on(why, most)?,
        };
        Ok(GrantSlice { sender: self, count })
    }

    /// So many places side by side, which were found free.
    #[cfg(feature = "async")]
    pub(super) const fn found(&self, count: usize) -> GrantSlice<'_, T> {
        GrantSlice { sender: self, count }
    }

    #[cold]
    #[inline(never)]
    fn room_on(&self, why: NotNow, most: usize) -> Result<usize, SendError> {
        let room = self.wait_on(why, None, || self.room_once(most))?;
        Ok(room.ok_or(Fault::Closed)?)
    }

    fn reserve_slice_by(
        &mut self,
        most: usize,
        until: impl FnOnce() -> Option<Instant>,
    ) -> Result<GrantSlice<'_, T>, SendTimeoutError> {
        let most = most.max(1);
        let count = match self.room_once(most) {
            Ok(count) => count,
            Err(why) => self
                .wait_on(why, until(), || self.room_once(most))?
                .ok_or(SendTimeoutError::Timeout(()))?,
        };
        Ok(GrantSlice { sender: self, count })
    }

    /// Like [`reserve_slice`](Self::reserve_slice), but waits at most this long.
    ///
    /// # Errors
    /// [`SendTimeoutError::Timeout`], or the fault that ends the use of the channel.
    pub fn reserve_slice_timeout(
        &mut self,
        most: usize,
        timeout: Duration,
    ) -> Result<GrantSlice<'_, T>, SendTimeoutError> {
        self.reserve_slice_by(most, || Instant::now().checked_add(timeout))
    }

    /// Like [`reserve_slice`](Self::reserve_slice), but waits until `deadline`.
    ///
    /// # Errors
    /// As for [`reserve_slice_timeout`](Self::reserve_slice_timeout).
    pub fn reserve_slice_deadline(
        &mut self,
        most: usize,
        deadline: Instant,
    ) -> Result<GrantSlice<'_, T>, SendTimeoutError> {
        self.reserve_slice_by(most, || Some(deadline))
    }

    /// Like [`reserve_slice`](Self::reserve_slice), but does not wait.
    ///
    /// # Errors
    /// [`TrySendError::Full`], [`TrySendError::Paused`], or the fault that ends the use
    /// of the channel.
    pub fn try_reserve_slice(&mut self, most: usize) -> Result<GrantSlice<'_, T>, TrySendError> {
        let most = most.max(1);
        let count = match self.room_once(most) {
            Ok(count) => count,
            Err(why) => match self.try_on(why, || self.room_once(most))? {
                Polled::Done(count) => count,
                Polled::Needs(need) => return Err(not_now(need, ())),
            },
        };
        Ok(GrantSlice { sender: self, count })
    }
}

/// A place in which to write a message. If it is dropped, it is aborted, and nobody sees
/// anything. At first it contains the bytes that were there before.
///
/// Peers can write to this memory. Writing copies into it, which is sound whatever they
/// do. To write by reference, declare that the peers are
/// [trusted](crate::Segment::trust_peers); that is possible if any bytes are a value of
/// the type ([`AnyBitPattern`](crate::bytemuck::AnyBitPattern)).
///
/// Bytes:
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
pub struct Grant<'a, P: Payload, K: Kind = Mpmc> {
    sender: &'a Sender<P, K>,
    /// Belongs to the sender.
    busy: &'a AtomicU64,
    claim: Claim<P, K>,
    done: bool,
}

/// Room for a message of bytes.
pub type ByteGrant<'a, K = Mpmc> = Grant<'a, Bytes, K>;

impl<P: Payload, K: Kind> Grant<'_, P, K> {
    /// Gives the place up, as dropping does.
    pub fn abort(self) {}

    #[inline(always)]
    pub(super) fn place(&self) -> Place<'_, P::Ring<K>> {
        self.sender.ring.claimed(&self.sender.at, &self.claim)
    }

    #[cold]
    #[inline(never)]
    fn give_up(sender: &Sender<P, K>, claim: Claim<P, K>) {
        let end = &sender.end;
        // In a forked child, the claim belongs to the parent.
        if end.in_child() || !sender.ring.abort(&claim) {
            return;
        }
        if P::Ring::<K>::SLOT_WAITERS {
            end.notify_slot_waiters(Done::GivenUp);
        }
        if P::Ring::<K>::CLAIM_IS_PLACE {
            // Its place becomes free for the next lap, and was in the way of later messages.
            end.notify(Side::Sender, Done::GivenUp);
            end.notify(Side::Receiver, Done::GivenUp);
        }
    }
}

impl<P: Payload + NoUninit, K: Kind> Grant<'_, P, K> {
    #[inline(always)]
    pub(super) fn send(mut self, length: usize) -> Result<(), SendError> {
        let (sender, claim) = (self.sender, self.claim);
        let Sender { end, ring, at } = sender;
        if !P::Ring::<K>::CLAIM_IS_PLACE {
            if let Err(why) = end.publish(|| ring.commit(at, end.owner(), claim, length)) {
                Self::send_on(sender, why, claim, length)?;
            }
            self.done = true;
            return Ok(end.unwoken()?);
        }
        self.done = true;
        let waiting = end.waiting(Side::Receiver);
        if !end.quiet_fast() {
            return Self::send_by_fence(sender, claim, length);
        }
        // Never refused.
        let _committed = ring.commit(at, end.owner(), claim, length);
        if event::waited_for(&Asymmetric, waiting).is_some() {
            end.told()?;
        }
        Ok(())
    }

    /// Apart from the above, so that it is small where it is used.
    #[cold]
    #[inline(never)]
    fn send_by_fence(
        sender: &Sender<P, K>,
        claim: Claim<P, K>,
        length: usize,
    ) -> Result<(), SendError> {
        let Sender { end, ring, at } = sender;
        if end.in_child() {
            return Err(Fault::Forked.into());
        }
        let _committed = ring.commit(at, end.owner(), claim, length);
        Ok(end.told()?)
    }

    /// Waits for a queue slot.
    #[cold]
    #[inline(never)]
    fn send_on(
        sender: &Sender<P, K>,
        why: NotNow,
        claim: Claim<P, K>,
        length: usize,
    ) -> Result<(), SendError> {
        let Sender { end, ring, at } = sender;
        let commit = || end.publish(|| ring.commit(at, end.owner(), claim, length));
        Ok(sender.wait_on(why, None, commit)?.ok_or(Fault::Closed)?)
    }
}

impl<T: Message + NoUninit, K: Kind> Grant<'_, T, K> {
    /// Sends the message. In a broadcast channel, this waits if other publishers have taken
    /// the room since, until the reliable subscribers have read on.
    ///
    /// # Errors
    /// [`SendError::Unwoken`] if the message is in the channel, but a sleeping receiver
    /// could not be woken. [`Fault::Forked`], and in a broadcast channel each fault that ends
    /// its use; then nothing was sent.
    #[inline(always)]
    pub fn commit(self) -> Result<(), SendError> {
        self.send(size_of::<T>())
    }

    #[inline]
    fn element(&self) -> Elements<'_, T> {
        self.place()
    }

    /// Copies the message in. [`commit`](Self::commit) sends it.
    #[inline]
    pub fn write(&mut self, message: &T) {
        self.element().write(0, core::slice::from_ref(message));
    }

    /// A pointer to the message's place. The caller must ensure that each use of the
    /// pointer is sound: a peer may be writing there.
    #[inline]
    pub fn as_mut_ptr(&mut self) -> *mut T {
        self.element().as_ptr()
    }
}

impl<T: Message + NoUninit + AnyBitPattern, K: Kind> Grant<'_, T, K> {
    /// The message's place by reference: the bytes that were there before, or have been
    /// written since.
    ///
    /// # Panics
    /// If `trust` belongs to another [`Segment`](crate::Segment).
    #[inline]
    #[track_caller]
    pub fn as_ref(&self, trust: TrustedPeers) -> &T {
        self.sender.end.check(trust);
        // SAFETY: claimed by this grant, so nobody writes it: the peers are
        // trusted, and `self` is borrowed.
        unsafe { self.element().as_ref() }
    }
}

impl<T: Message + NoUninit + AnyBitPattern, K: InPlace> Grant<'_, T, K> {
    /// Like [`as_ref`](Self::as_ref), but mutable.
    ///
    /// # Panics
    /// As for [`as_ref`](Self::as_ref).
    #[inline]
    #[track_caller]
    pub fn as_mut(&mut self, trust: TrustedPeers) -> &mut T {
        self.sender.end.check(trust);
        // SAFETY: as for `as_ref`; `&mut self` makes it the only one here.
        unsafe { self.element().as_mut() }
    }
}

impl<K: Kind> Grant<'_, Bytes, K> {
    /// Sends the first `length` bytes: all of the room, or less.
    ///
    /// In an MPMC or a broadcast channel, a grant is no place in the order: other senders do
    /// not wait for it. So this waits if they have filled the channel since, or if a receiver
    /// still holds a message that is a whole capacity older.
    ///
    /// # Errors
    /// [`SendError::Unwoken`], with the message in the channel; or the fault that ends
    /// the use of the channel, with nothing sent.
    #[inline]
    pub fn commit(self, length: usize) -> Result<(), SendError> {
        let length = length.min(self.len());
        self.send(length)
    }

    #[inline]
    fn room(&self) -> ByteSpan<'_> {
        self.place()
    }

    /// For how many bytes there is room.
    pub fn len(&self) -> usize {
        self.room().len()
    }

    /// Whether there is room only for an empty message.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies bytes in, from `offset` on, as many as fit. Returns how many.
    pub fn write_at(&mut self, offset: usize, bytes: &[u8]) -> usize {
        self.room().write(offset, bytes)
    }

    /// A writer that starts at the beginning.
    pub fn writer(&mut self) -> ByteWriter<'_> {
        ByteWriter { room: self.room(), written: 0 }
    }

    /// A pointer to the message's place. The caller must ensure that each use of the
    /// pointer is sound: a peer may be writing there.
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        self.room().as_ptr()
    }

    /// The bytes by reference: those that were there before, or have been written since.
    ///
    /// # Panics
    /// If `trust` belongs to another [`Segment`](crate::Segment).
    #[inline]
    #[track_caller]
    pub fn as_slice(&self, trust: TrustedPeers) -> &[u8] {
        self.sender.end.check(trust);
        // SAFETY: reserved by this grant, so nobody writes it: the peers are
        // trusted, and `self` is borrowed.
        unsafe { self.room().as_slice() }
    }
}

impl<K: InPlace> Grant<'_, Bytes, K> {
    /// Like [`as_slice`](Self::as_slice), but mutable.
    ///
    /// # Panics
    /// As for [`as_slice`](Self::as_slice).
    #[inline]
    #[track_caller]
    pub fn as_mut_slice(&mut self, trust: TrustedPeers) -> &mut [u8] {
        self.sender.end.check(trust);
        // SAFETY: as for `as_slice`; `&mut self` makes it the only one here.
        unsafe { self.room().as_mut_slice() }
    }
}

impl<P: Payload, K: Kind> Drop for Grant<'_, P, K> {
    #[inline(always)]
    fn drop(&mut self) {
        if !self.done {
            Self::give_up(self.sender, self.claim);
        }
        if P::Ring::<K>::CLAIM_IS_PLACE {
            gate::leave(self.busy);
        }
    }
}

impl<P: Payload, K: Kind> fmt::Debug for Grant<'_, P, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant").finish_non_exhaustive()
    }
}

/// Writes into the room of a [`Grant`] of bytes: see [`Grant::writer`].
#[derive(Debug)]
pub struct ByteWriter<'a> {
    room: ByteSpan<'a>,
    written: usize,
}

impl ByteWriter<'_> {
    /// How many bytes have been written: the length to commit.
    pub const fn written(&self) -> usize {
        self.written
    }
}

impl io::Write for ByteWriter<'_> {
    /// Writes as much as fits; nothing if it is full.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.room.write(self.written, bytes);
        self.written += count;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Places of an SPSC channel, side by side, in which to write messages. If it is dropped,
/// the places are aborted. At first they contain the bytes that were there before. They
/// are written by copies, or by reference, like a [`Grant`].
#[must_use = "a grant that is dropped is aborted"]
pub struct GrantSlice<'a, T: Message + NoUninit> {
    sender: &'a Sender<T, Spsc>,
    count: usize,
}

impl<T: Message + NoUninit> GrantSlice<'_, T> {
    /// Sends the first `count` messages, by one store.
    ///
    /// # Errors
    /// Those of [`Grant::commit`].
    #[inline]
    pub fn commit(self, count: usize) -> Result<(), SendError> {
        let count = count.min(self.count);
        let end = &self.sender.end;
        let fast = end.quiet_fast();
        if !fast && end.in_child() {
            return Err(Fault::Forked.into());
        }
        if count == 0 {
            return Ok(());
        }
        self.sender.at.publish(&self.sender.ring, count as u64);
        if !fast || !end.nobody_waits(Side::Receiver) {
            end.told()?;
        }
        Ok(())
    }

    /// Gives the places up, as dropping does.
    pub fn abort(self) {}

    #[inline]
    fn places(&self) -> Elements<'_, T> {
        self.sender.ring.at(self.sender.at.index(), self.count)
    }

    /// How many places there are.
    #[expect(clippy::len_without_is_empty, reason = "there is one at least")]
    #[inline]
    pub fn len(&self) -> usize {
        self.places().len()
    }

    /// Copies messages in, from place `index` on, as many as fit. Returns how many.
    #[inline]
    pub fn write_at(&mut self, index: usize, messages: &[T]) -> usize {
        self.places().write(index, messages)
    }

    /// A pointer to the first message's place: see [`Grant::as_mut_ptr`].
    #[inline]
    pub fn as_mut_ptr(&mut self) -> *mut T {
        self.places().as_ptr()
    }
}

impl<T: Message + NoUninit + AnyBitPattern> GrantSlice<'_, T> {
    /// The places by reference: see [`Grant::as_ref`].
    ///
    /// # Panics
    /// If `trust` belongs to another [`Segment`](crate::Segment).
    #[inline]
    #[track_caller]
    pub fn as_slice(&self, trust: TrustedPeers) -> &[T] {
        self.sender.end.check(trust);
        // SAFETY: so many free places lie side by side, which nobody writes:
        // the peers are trusted, and `self` is borrowed.
        unsafe { self.places().as_slice() }
    }

    /// Like [`as_slice`](Self::as_slice), but mutable.
    ///
    /// # Panics
    /// As for [`as_slice`](Self::as_slice).
    #[inline]
    #[track_caller]
    pub fn as_mut_slice(&mut self, trust: TrustedPeers) -> &mut [T] {
        self.sender.end.check(trust);
        // SAFETY: as for `as_slice`; `&mut self` makes it the only one here.
        unsafe { self.places().as_mut_slice() }
    }
}

impl<T: Message + NoUninit> Drop for GrantSlice<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.sender.end.leave();
    }
}

impl<T: Message + NoUninit> fmt::Debug for GrantSlice<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrantSlice").field("len", &self.count).finish_non_exhaustive()
    }
}
