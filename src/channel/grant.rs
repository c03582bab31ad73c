//! Writing and reading typed messages in place.
//!
//! A guard copies in and out of the message's place, which stays defined
//! whatever a peer writes there. A reference assumes that peers do not write
//! what they have not claimed, and so takes a [`TrustedPeers`]. The types are
//! such that whatever is there is a value of them.

#![allow(unsafe_code)]

use core::fmt;
use core::mem::ManuallyDrop;
use std::time::{Duration, Instant};

use bytemuck::{AnyBitPattern, CheckedBitPattern, NoUninit};

use super::endpoint::Resolved;
use super::kind::{Kind, Spsc, Stuck};
use super::message::Message;
use super::receiver::Receiver;
use super::sender::Sender;
use crate::error::{
    Done, Fault, RecvError, RecvTimeoutError, SendError, TryRecvError, TrySendError,
};
use crate::ring::{event, gate};
use crate::segment::{Elements, Side, TrustedPeers};
use crate::sync::AtomicU64;
use crate::wait::Asymmetric;

impl<T: Message + NoUninit + AnyBitPattern, K: Kind> Sender<T, K> {
    /// Claims, if that takes nothing but to do it.
    #[inline(always)]
    fn reserve_next(&self) -> Option<K::Claim> {
        if !self.end.enter_fast() {
            return None;
        }
        let claim = K::reserve_next(&self.slots, &self.at, self.end.owner());
        if claim.is_none() {
            self.end.leave();
        }
        claim
    }

    fn reserve_once(&self) -> Result<K::Claim, Stuck> {
        self.end.begin(|| K::reserve(&self.slots, &self.at, self.end.owner()))
    }

    /// Claims a message's place, to be written there; waits for it as long as
    /// it takes.
    ///
    /// Until it is committed, receivers see nothing that comes after it, in
    /// an MPMC channel of other senders either: hold it no longer than it
    /// takes to write. If this process dies, the place is empty.
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
        let busy = self.end.busy();
        let claim = match self.reserve_next() {
            Some(claim) => claim,
            None => self.reserve_on()?,
        };
        Ok(Grant { sender: self, busy, claim, done: false })
    }

    #[cold]
    #[inline(never)]
    fn reserve_on(&self) -> Result<K::Claim, SendError> {
        match self.reserve_once() {
            Ok(claim) => Ok(claim),
            Err(stuck) => Ok(self
                .end
                .wait_to_send(stuck, None, || self.reserve_once(), || self.room())?
                .ok_or(Fault::Closed)?),
        }
    }

    /// The same, without waiting.
    ///
    /// # Errors
    /// [`TrySendError::Full`], [`TrySendError::Paused`], or why the channel cannot be
    /// used.
    pub fn try_reserve(&mut self) -> Result<Grant<'_, T, K>, TrySendError> {
        let claim = match self.reserve_once() {
            Ok(claim) => claim,
            Err(stuck) => self
                .end
                .try_to_send(stuck, || self.reserve_once(), || self.want())?
                .map_err(Resolved::not_now)?,
        };
        Ok(Grant { sender: self, busy: self.end.busy(), claim, done: false })
    }
}

impl<T: Message + NoUninit + AnyBitPattern> Sender<T, Spsc> {
    #[inline]
    fn room_once(&self, most: usize) -> Result<usize, Stuck> {
        self.end.begin(|| {
            let room = self.at.room(&self.slots, most as u64).map_err(Stuck::Torn)?;
            // Only what is side by side.
            match self.at.span(&self.slots, room).first {
                0 => Err(Stuck::None),
                first => Ok(first as usize),
            }
        })
    }

    /// Claims the places of up to `most` messages side by side, at least one,
    /// to be written there; waits for them as long as it takes.
    ///
    /// # Errors
    /// Why the channel cannot be used.
    #[inline(always)]
    pub fn reserve_slice(&mut self, most: usize) -> Result<GrantSlice<'_, T>, SendError> {
        let most = most.max(1);
        let count = match self.room_once(most) {
            Ok(count) => count,
            Err(stuck) => self.room_on(stuck, most)?,
        };
        Ok(GrantSlice { sender: self, count })
    }

    #[cold]
    #[inline(never)]
    fn room_on(&self, stuck: Stuck, most: usize) -> Result<usize, SendError> {
        let room = self.end.wait_to_send(stuck, None, || self.room_once(most), || false)?;
        Ok(room.ok_or(Fault::Closed)?)
    }
}

/// A place to write a message in. Dropped, it is aborted: nobody sees
/// anything. It contains what was there before.
///
/// The place is in memory that peers can write to. [`write`](Self::write)
/// copies into it, whatever they do; to write it by reference, declare that
/// they are [trusted](crate::Segment::trust_peers).
#[must_use = "a grant that is dropped is aborted"]
pub struct Grant<'a, T: Message + NoUninit + AnyBitPattern, K: Kind> {
    sender: &'a Sender<T, K>,
    /// The sender's.
    busy: &'a AtomicU64,
    claim: K::Claim,
    done: bool,
}

impl<T: Message + NoUninit + AnyBitPattern, K: Kind> Grant<'_, T, K> {
    /// Sends the message.
    ///
    /// # Errors
    /// [`SendError::Unwoken`] if the message is in the channel, and a receiver that
    /// sleeps could not be woken. [`Fault::Forked`], and then nothing was sent.
    #[inline(always)]
    pub fn commit(mut self) -> Result<(), SendError> {
        self.done = true;
        let Sender { end, slots, at, .. } = self.sender;
        let waiting = end.waiting(Side::Receiver);
        if !end.quiet_fast() {
            Self::commit_by_fence(self.sender, self.claim)?;
            return Ok(());
        }
        K::commit(slots, at, self.claim);
        if event::waited_for(&Asymmetric, waiting).is_some() {
            end.told()?;
        }
        Ok(())
    }

    /// Apart from the above, so that it is small where it is used.
    #[cold]
    #[inline(never)]
    fn commit_by_fence(sender: &Sender<T, K>, claim: K::Claim) -> Result<(), SendError> {
        let end = &sender.end;
        if end.in_child() {
            return Err(Fault::Forked.into());
        }
        K::commit(&sender.slots, &sender.at, claim);
        Ok(end.told()?)
    }

    /// Gives the place up, as dropping does.
    pub fn abort(self) {}

    #[cold]
    #[inline(never)]
    fn give_up(sender: &Sender<T, K>, claim: K::Claim) {
        let end = &sender.end;
        if !end.in_child() && K::abort(&sender.slots, claim) {
            // Its place is free for the next lap, and was in the way of what
            // comes after it.
            end.notify(Side::Sender, Done::GivenUp);
            end.notify(Side::Receiver, Done::GivenUp);
        }
    }

    #[inline]
    fn place(&self) -> Elements<'_, T> {
        K::claimed(&self.sender.slots, &self.claim)
    }

    /// Copies the message in. It is sent when the grant is
    /// [committed](Self::commit).
    #[inline]
    pub fn write(&mut self, message: &T) {
        self.place().write(0, core::slice::from_ref(message));
    }

    /// Where the message is written. What may be done through the pointer is
    /// for the caller to argue: a peer may be writing there.
    #[inline]
    pub fn as_mut_ptr(&mut self) -> *mut T {
        self.place().as_ptr()
    }

    /// The message's place by reference: what was there before, or has been
    /// written by now.
    ///
    /// # Panics
    /// If `trust` is of another [`Segment`](crate::Segment).
    #[inline]
    #[track_caller]
    pub fn as_ref(&self, trust: TrustedPeers) -> &T {
        self.sender.end.check(trust);
        // SAFETY: claimed by this grant, so nobody writes it: the peers are
        // trusted, and `self` is borrowed.
        unsafe { self.place().as_ref() }
    }

    /// The same, to write it.
    ///
    /// # Panics
    /// As for [`as_ref`](Self::as_ref).
    #[inline]
    #[track_caller]
    pub fn as_mut(&mut self, trust: TrustedPeers) -> &mut T {
        self.sender.end.check(trust);
        // SAFETY: as for `as_ref`; `&mut self` makes it the only one here.
        unsafe { self.place().as_mut() }
    }
}

impl<T: Message + NoUninit + AnyBitPattern, K: Kind> Drop for Grant<'_, T, K> {
    #[inline(always)]
    fn drop(&mut self) {
        if !self.done {
            Self::give_up(self.sender, self.claim);
        }
        gate::leave(self.busy);
    }
}

impl<T: Message + NoUninit + AnyBitPattern, K: Kind> fmt::Debug for Grant<'_, T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant").finish_non_exhaustive()
    }
}

/// Places of an SPSC channel to write messages in, side by side. Dropped,
/// they are aborted. They contain what was there before. They are written by
/// copies, or by reference, as the one of a [`Grant`].
#[must_use = "a grant that is dropped is aborted"]
pub struct GrantSlice<'a, T: Message + NoUninit + AnyBitPattern> {
    sender: &'a Sender<T, Spsc>,
    count: usize,
}

impl<T: Message + NoUninit + AnyBitPattern> GrantSlice<'_, T> {
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
        self.sender.at.publish(&self.sender.slots, count as u64);
        if !fast || !end.nobody_waits(Side::Receiver) {
            end.told()?;
        }
        Ok(())
    }

    /// Gives the places up, as dropping does.
    pub fn abort(self) {}

    #[inline]
    fn places(&self) -> Elements<'_, T> {
        self.sender.slots.at(self.sender.at.index(), self.count)
    }

    /// How many places there are.
    #[expect(clippy::len_without_is_empty, reason = "there is one at least")]
    #[inline]
    pub fn len(&self) -> usize {
        self.places().len()
    }

    /// Copies messages in, from place `index` on, as many as there are places
    /// for; says how many.
    #[inline]
    pub fn write_at(&mut self, index: usize, messages: &[T]) -> usize {
        self.places().write(index, messages)
    }

    /// Where the first message is written: as [`Grant::as_mut_ptr`].
    #[inline]
    pub fn as_mut_ptr(&mut self) -> *mut T {
        self.places().as_ptr()
    }

    /// The places by reference: as [`Grant::as_ref`].
    ///
    /// # Panics
    /// If `trust` is of another [`Segment`](crate::Segment).
    #[inline]
    #[track_caller]
    pub fn as_slice(&self, trust: TrustedPeers) -> &[T] {
        self.sender.end.check(trust);
        // SAFETY: so many free places lie side by side, which nobody writes:
        // the peers are trusted, and `self` is borrowed.
        unsafe { self.places().as_slice() }
    }

    /// The same, to write them.
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

impl<T: Message + NoUninit + AnyBitPattern> Drop for GrantSlice<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.sender.end.leave();
    }
}

impl<T: Message + NoUninit + AnyBitPattern> fmt::Debug for GrantSlice<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrantSlice").field("len", &self.count).finish_non_exhaustive()
    }
}

impl<T: Message + CheckedBitPattern + AnyBitPattern, K: Kind> Receiver<T, K> {
    /// Takes, if that takes nothing but to do it.
    #[inline(always)]
    fn take_next(&self) -> Option<K::Taken> {
        if !self.end.quiet_fast() {
            return None;
        }
        K::take_next(&self.slots, &self.at, self.end.owner())
    }

    fn take_once(&self, alone: bool) -> Result<K::Taken, Stuck> {
        let take = || K::take(&self.slots, &self.at, self.end.owner());
        if alone { take() } else { self.end.guarded(take) }
    }

    fn take_by(&self, until: Option<Instant>) -> Result<K::Taken, RecvTimeoutError> {
        match self.take_once(false) {
            Ok(taken) => Ok(taken),
            Err(stuck) => {
                let take = |alone| self.take_once(alone);
                let taken = self.end.wait_to_receive(stuck, until, take, &self.prospects())?;
                taken.ok_or(RecvTimeoutError::Timeout)
            }
        }
    }

    /// Takes a message to be read in place, waiting as long as it takes.
    /// Dropping the delivery acknowledges it.
    ///
    /// While it is held its place is occupied: senders go on until they come
    /// round to it, and other receivers are not held up. If this process
    /// dies, it is delivered again.
    ///
    /// # Errors
    /// Why nothing can be received.
    #[inline(always)]
    pub fn take(&mut self) -> Result<Delivery<'_, T, K>, RecvError> {
        let taken = match self.take_next() {
            Some(taken) => taken,
            None => self.take_on()?,
        };
        Ok(Delivery { receiver: self, taken: ManuallyDrop::new(taken) })
    }

    #[cold]
    #[inline(never)]
    fn take_on(&self) -> Result<K::Taken, RecvError> {
        self.take_by(None).map_err(RecvTimeoutError::without_deadline)
    }

    /// The same, waiting at most this long.
    ///
    /// # Errors
    /// As for [`recv_timeout`](Self::recv_timeout).
    pub fn take_timeout(
        &mut self,
        timeout: Duration,
    ) -> Result<Delivery<'_, T, K>, RecvTimeoutError> {
        let taken = self.take_by(Instant::now().checked_add(timeout))?;
        Ok(Delivery { receiver: self, taken: ManuallyDrop::new(taken) })
    }

    /// The same, without waiting.
    ///
    /// # Errors
    /// As for [`try_recv`](Self::try_recv).
    pub fn try_take(&mut self) -> Result<Delivery<'_, T, K>, TryRecvError> {
        let taken = match self.take_once(false) {
            Ok(taken) => taken,
            Err(stuck) => {
                let take = |alone| self.take_once(alone);
                match self.end.try_to_receive(stuck, take, &self.prospects())? {
                    Ok(taken) => taken,
                    Err(Resolved::WaitPending) => return Err(TryRecvError::Pending),
                    Err(_) => return Err(TryRecvError::Empty),
                }
            }
        };
        Ok(Delivery { receiver: self, taken: ManuallyDrop::new(taken) })
    }
}

impl<T: Message + CheckedBitPattern + AnyBitPattern> Receiver<T, Spsc> {
    #[inline]
    fn filled_once(&self, most: usize, alone: bool) -> Result<usize, Stuck> {
        let filled = || {
            let filled = self.at.filled(&self.slots, most as u64).map_err(Stuck::Torn)?;
            // Only what is side by side, and comes as often again.
            match self.at.span(&self.slots, filled).first {
                0 => Err(Stuck::None),
                first => {
                    let count = self.at.alike(&self.slots, first);
                    self.at.hold(&self.slots, count);
                    Ok(count as usize)
                }
            }
        };
        if alone { filled() } else { self.end.guarded(filled) }
    }

    /// Takes up to `most` messages side by side, at least one, to be read in
    /// place; waits as long as it takes. Dropping the delivery acknowledges
    /// all of them. If this process dies, all of them are delivered again, and
    /// no others with them.
    ///
    /// # Errors
    /// Why nothing can be received.
    #[inline(always)]
    pub fn take_slice(&mut self, most: usize) -> Result<DeliverySlice<'_, T>, RecvError> {
        let most = most.max(1);
        let count = match self.filled_once(most, false) {
            Ok(count) => count,
            Err(stuck) => self.filled_on(stuck, most)?,
        };
        Ok(DeliverySlice { receiver: self, count, released: count })
    }

    #[cold]
    #[inline(never)]
    fn filled_on(&self, stuck: Stuck, most: usize) -> Result<usize, RecvError> {
        let filled = |alone| self.filled_once(most, alone);
        let filled = self.end.wait_to_receive(stuck, None, filled, &self.prospects())?;
        Ok(filled.ok_or(Fault::Closed)?)
    }
}

/// A message that is read in place, and is this receiver's until it is
/// [released](Self::release) or dropped.
///
/// It is in memory that peers can write to. [`read`](Self::read) gives a copy,
/// which nobody can change; to read it by reference, declare that they are
/// [trusted](crate::Segment::trust_peers).
pub struct Delivery<'a, T: Message + CheckedBitPattern + AnyBitPattern, K: Kind> {
    receiver: &'a Receiver<T, K>,
    taken: ManuallyDrop<K::Taken>,
}

impl<T: Message + CheckedBitPattern + AnyBitPattern, K: Kind> Delivery<'_, T, K> {
    /// How many receivers have died over this message.
    pub fn attempts(&self) -> u8 {
        K::attempts(&self.receiver.slots, &self.receiver.at, &self.taken)
    }

    /// Acknowledges the message, as dropping does.
    #[inline]
    pub fn release(self) {}

    /// Leaves the message for another receiver, or for this one's next take.
    /// In an MPMC channel it may then come after messages that were sent
    /// later.
    pub fn give_back(self) {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: `this` is never dropped, so it is taken out once.
        let taken = unsafe { ManuallyDrop::take(&mut this.taken) };
        let receiver = this.receiver;
        if !receiver.end.in_child() && K::give_back(&receiver.slots, &receiver.at, taken) {
            receiver.end.notify(Side::Receiver, Done::GivenUp);
        }
    }

    #[inline]
    fn place(&self) -> Elements<'_, T> {
        K::taken(&self.receiver.slots, &self.taken)
    }

    /// Copies the message out.
    #[inline]
    pub fn read(&self) -> T {
        self.place().read()
    }

    /// Where the message is. What may be done through the pointer is for the
    /// caller to argue: a peer may be writing there.
    #[inline]
    pub fn as_ptr(&self) -> *const T {
        self.place().as_ptr()
    }

    /// The message by reference.
    ///
    /// # Panics
    /// If `trust` is of another [`Segment`](crate::Segment).
    #[inline]
    #[track_caller]
    pub fn as_ref(&self, trust: TrustedPeers) -> &T {
        self.receiver.end.check(trust);
        // SAFETY: taken by this delivery, so nobody writes it: the peers are
        // trusted, and `self` is borrowed.
        unsafe { self.place().as_ref() }
    }
}

impl<T: Message + CheckedBitPattern + AnyBitPattern, K: Kind> Drop for Delivery<'_, T, K> {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: dropped once, and not used after.
        let taken = unsafe { ManuallyDrop::take(&mut self.taken) };
        let receiver = self.receiver;
        // In a forked child it is the parent's.
        if !receiver.end.in_child() {
            K::release(&receiver.slots, &receiver.at, taken);
            receiver.end.acknowledge();
        }
    }
}

impl<T: Message + CheckedBitPattern + AnyBitPattern, K: Kind> fmt::Debug for Delivery<'_, T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery").field("attempts", &self.attempts()).finish_non_exhaustive()
    }
}

/// Messages of an SPSC channel that are read in place, side by side: by
/// copies, or by reference, as the one of a [`Delivery`].
pub struct DeliverySlice<'a, T: Message + CheckedBitPattern + AnyBitPattern> {
    receiver: &'a Receiver<T, Spsc>,
    count: usize,
    /// How many to acknowledge at the end.
    released: usize,
}

impl<T: Message + CheckedBitPattern + AnyBitPattern> DeliverySlice<'_, T> {
    /// How many receivers have died over these messages: over each of them
    /// the same number, or it would not be one slice.
    pub fn attempts(&self) -> u8 {
        self.receiver.at.attempts(&self.receiver.slots)
    }

    /// Acknowledges the first `count` messages only, by one store; the others
    /// come again.
    pub fn release(mut self, count: usize) {
        self.released = count.min(self.count);
    }

    #[inline]
    fn places(&self) -> Elements<'_, T> {
        self.receiver.slots.at(self.receiver.at.index(), self.count)
    }

    /// How many messages there are.
    #[expect(clippy::len_without_is_empty, reason = "there is one at least")]
    #[inline]
    pub fn len(&self) -> usize {
        self.places().len()
    }

    /// Copies the message at `index` out, if there is one.
    #[inline]
    pub fn read(&self, index: usize) -> Option<T> {
        Some(self.places().get(index)?.read())
    }

    /// Copies of the messages, one after the other.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = T> + '_ {
        let places = self.places();
        places.each().map(|place| place.read())
    }

    /// Copies all messages to the end of `into`.
    pub fn append_to(&self, into: &mut Vec<T>) {
        self.places().append_to(into);
    }

    /// Copies of all messages.
    pub fn to_vec(&self) -> Vec<T> {
        let mut into = Vec::new();
        self.append_to(&mut into);
        into
    }

    /// Where the first message is: as [`Delivery::as_ptr`].
    #[inline]
    pub fn as_ptr(&self) -> *const T {
        self.places().as_ptr()
    }

    /// The messages by reference.
    ///
    /// # Panics
    /// If `trust` is of another [`Segment`](crate::Segment).
    #[inline]
    #[track_caller]
    pub fn as_slice(&self, trust: TrustedPeers) -> &[T] {
        self.receiver.end.check(trust);
        // SAFETY: so many messages lie side by side, which nobody writes: the
        // peers are trusted, and `self` is borrowed.
        unsafe { self.places().as_slice() }
    }
}

impl<T: Message + CheckedBitPattern + AnyBitPattern> Drop for DeliverySlice<'_, T> {
    #[inline]
    fn drop(&mut self) {
        let Receiver { end, slots, at, .. } = self.receiver;
        if end.in_child() {
            return;
        }
        if self.released < self.count {
            // Before the head moves: nobody has died over the others.
            at.hold(slots, self.released as u64);
        }
        if self.released > 0 {
            at.release(slots, self.released as u64);
            end.acknowledge();
        }
    }
}

impl<T: Message + CheckedBitPattern + AnyBitPattern> fmt::Debug for DeliverySlice<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeliverySlice").field("len", &self.count).finish_non_exhaustive()
    }
}
