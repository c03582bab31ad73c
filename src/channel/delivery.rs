//! Reading messages in place.
//!
//! A guard copies out of the message's place, which stays defined whatever a peer writes
//! there, and checks the copy. A reference assumes that peers do not write what they have
//! not claimed, and so needs a [`TrustedPeers`]; and a type of which any bytes are a value.

#![allow(unsafe_code)]

use core::fmt;
use core::mem::{ManuallyDrop, MaybeUninit};
use std::io;
use std::time::{Duration, Instant};

use bytemuck::{AnyBitPattern, CheckedBitPattern};

use super::receiver::Receiver;
use crate::error::{Done, InvalidMessage, RecvError, RecvTimeoutError, TryRecvError};
use crate::kinds::message::Message;
use crate::kinds::payload::Bytes;
use crate::kinds::ring::{Place, Ring};
use crate::kinds::table::{InPlace, Kind, Mpmc, Payload, Spsc};
use crate::ring::wait::NotNow;
use crate::segment::{Side, TrustedPeers};
use crate::storage::{ByteSpan, CopyOut, Elements};

/// A copy of the first of these messages, if its bytes are a value of the type.
#[inline]
fn checked<T: Message + CheckedBitPattern>(place: Elements<'_, T>) -> Result<T, InvalidMessage> {
    let mut out = CopyOut::new();
    out.land(place);
    out.hand_on(Ok, || Err(InvalidMessage { type_name: core::any::type_name::<T>() }))
}

/// What a receiver's ring has given it.
pub(super) type Taken<P, K> = <<P as crate::kinds::table::sealed::Payload>::Ring<K> as Ring>::Taken;

impl<P: Payload + CheckedBitPattern, K: Kind> Receiver<P, K> {
    /// Fast path of taking.
    #[inline(always)]
    pub(super) fn take_next(&self) -> Result<Taken<P, K>, NotNow> {
        if !self.end.quiet_fast() {
            return Err(NotNow::Unsure);
        }
        self.ring.take_next(&self.at, self.end.owner())
    }

    pub(super) fn take_once(&self) -> Result<Taken<P, K>, NotNow> {
        self.end.guarded(|| self.ring.take(&self.at, self.end.owner()))
    }

    /// Continues after [`take_next`](Self::take_next).
    pub(super) fn take_refused(&self, why: NotNow) -> Result<Taken<P, K>, NotNow> {
        if matches!(why, NotNow::Unsure) { self.take_once() } else { Err(why) }
    }

    #[inline(always)]
    pub(super) fn delivery(&self, taken: Taken<P, K>) -> Delivery<'_, P, K> {
        self.held.set(self.held.get().wrapping_add(1));
        Delivery { receiver: self, taken: ManuallyDrop::new(taken) }
    }

    #[inline(always)]
    fn take_waiting(&self) -> Result<Delivery<'_, P, K>, RecvError> {
        let taken = match self.take_next() {
            Ok(taken) => taken,
            Err(why) => self.take_on(why)?,
        };
        Ok(self.delivery(taken))
    }

    #[cold]
    #[inline(never)]
    fn take_on(&self, why: NotNow) -> Result<Taken<P, K>, RecvError> {
        self.take_until(why, None).map_err(RecvTimeoutError::without_deadline)
    }

    fn take_until(
        &self,
        why: NotNow,
        until: Option<Instant>,
    ) -> Result<Taken<P, K>, RecvTimeoutError> {
        match self.take_refused(why) {
            Ok(taken) => Ok(taken),
            Err(why) => self.wait_on(why, until, || self.take_once()),
        }
    }

    fn take_by(
        &self,
        until: impl FnOnce() -> Option<Instant>,
    ) -> Result<Delivery<'_, P, K>, RecvTimeoutError> {
        let taken = match self.take_next() {
            Ok(taken) => taken,
            Err(why) => self.take_until(why, until())?,
        };
        Ok(self.delivery(taken))
    }

    fn take_now(&self) -> Result<Delivery<'_, P, K>, TryRecvError> {
        let taken = match self.take_next().or_else(|why| self.take_refused(why)) {
            Ok(taken) => taken,
            Err(why) => self.try_on(why, || self.take_once())?,
        };
        Ok(self.delivery(taken))
    }
}

impl<P: Payload + CheckedBitPattern, K: InPlace> Receiver<P, K> {
    /// Takes a message, to read it in place. Waits for it, without a timeout. Dropping
    /// the delivery acknowledges the message.
    ///
    /// While it is held, its place is occupied: senders continue until they come round to
    /// it, and other receivers are not delayed. If this process dies, the message is
    /// delivered again.
    ///
    /// Every message can be taken. [`Delivery::get`] checks what it copies out:
    ///
    /// ```
    /// use tombolo::{Message, Segment};
    ///
    /// #[derive(Clone, Copy, Debug, PartialEq, Message)]
    /// #[repr(C)]
    /// struct Order {
    ///     id: u64,
    ///     side: Side,
    ///     _reserved: [u8; 7],
    /// }
    ///
    /// #[derive(Clone, Copy, Debug, PartialEq, Message)]
    /// #[repr(u8)]
    /// enum Side {
    ///     Buy = 1,
    ///     Sell = 2,
    /// }
    ///
    /// let segment = Segment::anonymous()?;
    /// let orders = segment.channel::<Order>("orders").capacity(8);
    /// let (sender, mut receiver) = (orders.sender()?, orders.receiver()?);
    /// let order = Order { id: 7, side: Side::Sell, _reserved: [0; 7] };
    /// sender.send(order)?;
    /// let delivery = receiver.take()?;
    /// assert_eq!(delivery.get()?, order);
    /// // The order is carried out; only then:
    /// delivery.release();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The errors of [`recv`](Self::recv).
    #[inline(always)]
    pub fn take(&mut self) -> Result<Delivery<'_, P, K>, RecvError> {
        self.take_waiting()
    }

    /// Takes a message, to read it in place. Waits at most this long.
    ///
    /// # Errors
    /// As for [`recv_timeout`](Self::recv_timeout).
    pub fn take_timeout(
        &mut self,
        timeout: Duration,
    ) -> Result<Delivery<'_, P, K>, RecvTimeoutError> {
        self.take_by(|| Instant::now().checked_add(timeout))
    }

    /// Takes a message, to read it in place. Waits until `deadline`.
    ///
    /// # Errors
    /// As for [`recv_timeout`](Self::recv_timeout).
    pub fn take_deadline(
        &mut self,
        deadline: Instant,
    ) -> Result<Delivery<'_, P, K>, RecvTimeoutError> {
        self.take_by(|| Some(deadline))
    }

    /// Takes a message, to read it in place, without waiting.
    ///
    /// # Errors
    /// As for [`try_recv`](Self::try_recv).
    pub fn try_take(&mut self) -> Result<Delivery<'_, P, K>, TryRecvError> {
        self.take_now()
    }
}

/// Several deliveries at a time. The receiver of an SPSC channel takes several messages
/// as a [slice](Receiver::take_slice).
impl<P: Payload + CheckedBitPattern> Receiver<P, Mpmc> {
    /// Takes a message like [`take`](Self::take), but while others may be held. Each is
    /// acknowledged or given back on its own, in any order.
    ///
    /// Held messages count against the capacity. A receiver that holds as many messages
    /// as the channel has room for waits in vain for another one. A held message may come
    /// back. So while a handle holds one, the other receivers wait for it before they are
    /// told that the last sender has gone. The handle itself is told at once:
    /// [`RecvError::Disconnected`] is then not final. After it has let go of what it holds,
    /// it may ask again, for what others have given back.
    ///
    /// ```
    /// use tombolo::Segment;
    ///
    /// let segment = Segment::anonymous()?;
    /// let jobs = segment.channel::<u64>("jobs").capacity(8);
    /// let (sender, receiver) = (jobs.sender()?, jobs.receiver()?);
    /// sender.send_batch(&[1, 2])?;
    /// let (first, second) = (receiver.take_shared()?, receiver.take_shared()?);
    /// assert_eq!((first.read(), second.read()), (1, 2));
    /// second.release();
    /// first.give_back();
    /// assert_eq!(receiver.recv()?, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As for [`take`](Self::take).
    #[inline(always)]
    pub fn take_shared(&self) -> Result<Delivery<'_, P, Mpmc>, RecvError> {
        self.take_waiting()
    }

    /// Takes a message while others may be held. Waits at most this long.
    ///
    /// # Errors
    /// As for [`recv_timeout`](Self::recv_timeout).
    pub fn take_shared_timeout(
        &self,
        timeout: Duration,
    ) -> Result<Delivery<'_, P, Mpmc>, RecvTimeoutError> {
        self.take_by(|| Instant::now().checked_add(timeout))
    }

    /// Takes a message while others may be held. Waits until `deadline`.
    ///
    /// # Errors
    /// As for [`recv_timeout`](Self::recv_timeout).
    pub fn take_shared_deadline(
        &self,
        deadline: Instant,
    ) -> Result<Delivery<'_, P, Mpmc>, RecvTimeoutError> {
        self.take_by(|| Some(deadline))
    }

    /// Takes a message while others may be held, without waiting.
    ///
    /// # Errors
    /// As for [`try_recv`](Self::try_recv).
    pub fn try_take_shared(&self) -> Result<Delivery<'_, P, Mpmc>, TryRecvError> {
        self.take_now()
    }
}

impl<T: Message + CheckedBitPattern> Receiver<T, Spsc> {
    #[inline]
    pub(super) fn filled_once(&self, most: usize) -> Result<usize, NotNow> {
        self.end.guarded(|| {
            let filled = self.at.filled(&self.ring, most as u64).map_err(NotNow::Torn)?;
            // Only messages that lie side by side and have the same number of attempts.
            match self.at.span(&self.ring, filled).first {
                0 => Err(NotNow::Nothing),
                first => {
                    let count = self.at.alike(&self.ring, first);
                    self.at.hold(&self.ring, count);
                    Ok(count as usize)
                }
            }
        })
    }

    #[inline(always)]
    pub(super) fn slice(&self, count: usize) -> DeliverySlice<'_, T> {
        DeliverySlice { receiver: self, count, released: count }
    }

    /// Takes up to `most` messages side by side, at least one, to read them in place.
    /// Waits for them, without a timeout. Dropping the delivery acknowledges all of them.
    /// If this process dies, all of them are delivered again, and no others with them.
    ///
    /// # Errors
    /// The errors of [`recv`](Self::recv).
    #[inline(always)]
    pub fn take_slice(&mut self, most: usize) -> Result<DeliverySlice<'_, T>, RecvError> {
        let most = most.max(1);
        let count = match self.filled_once(most) {
            Ok(count) => count,
            Err(why) => self.filled_on(why, most)?,
        };
        Ok(self.slice(count))
    }

    #[cold]
    #[inline(never)]
    fn filled_on(&self, why: NotNow, most: usize) -> Result<usize, RecvError> {
        let filled = self.wait_on(why, None, || self.filled_once(most));
        filled.map_err(RecvTimeoutError::without_deadline)
    }

    fn take_slice_by(
        &self,
        most: usize,
        until: impl FnOnce() -> Option<Instant>,
    ) -> Result<DeliverySlice<'_, T>, RecvTimeoutError> {
        let most = most.max(1);
        let count = match self.filled_once(most) {
            Ok(count) => count,
            Err(why) => self.wait_on(why, until(), || self.filled_once(most))?,
        };
        Ok(self.slice(count))
    }

    /// Like [`take_slice`](Self::take_slice), but waits for the first message at most
    /// this long.
    ///
    /// # Errors
    /// As for [`recv_timeout`](Self::recv_timeout).
    pub fn take_slice_timeout(
        &mut self,
        most: usize,
        timeout: Duration,
    ) -> Result<DeliverySlice<'_, T>, RecvTimeoutError> {
        self.take_slice_by(most, || Instant::now().checked_add(timeout))
    }

    /// Like [`take_slice`](Self::take_slice), but waits for the first message until
    /// `deadline`.
    ///
    /// # Errors
    /// As for [`recv_timeout`](Self::recv_timeout).
    pub fn take_slice_deadline(
        &mut self,
        most: usize,
        deadline: Instant,
    ) -> Result<DeliverySlice<'_, T>, RecvTimeoutError> {
        self.take_slice_by(most, || Some(deadline))
    }

    /// Like [`take_slice`](Self::take_slice), but does not wait.
    ///
    /// # Errors
    /// As for [`try_recv`](Self::try_recv).
    pub fn try_take_slice(&mut self, most: usize) -> Result<DeliverySlice<'_, T>, TryRecvError> {
        let most = most.max(1);
        let count = match self.filled_once(most) {
            Ok(count) => count,
            Err(why) => self.try_on(why, || self.filled_once(most))?,
        };
        Ok(self.slice(count))
    }
}

/// A message that is read in place. It belongs to this receiver until it is
/// [released](Self::release) or dropped.
///
/// Peers can write to this memory. Reading makes a copy, which nobody can change. To read
/// by reference, declare that the peers are [trusted](crate::Segment::trust_peers); that
/// is possible if any bytes are a value of the type
/// ([`AnyBitPattern`](crate::bytemuck::AnyBitPattern)).
///
/// Bytes:
///
/// ```
/// use tombolo::Segment;
///
/// let segment = Segment::anonymous()?;
/// let words = segment.bytes("words").capacity(4, 80);
/// let (sender, mut receiver) = (words.sender()?, words.receiver()?);
/// sender.send("größer".as_bytes())?;
/// let delivery = receiver.take()?;
/// assert_eq!(String::from_utf8(delivery.to_vec())?, "größer");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A text that a peer could change after it was checked does not compile:
///
/// ```compile_fail,E0308
/// use tombolo::Segment;
///
/// let segment = Segment::anonymous()?;
/// let words = segment.bytes("words").capacity(4, 80);
/// let mut receiver = words.receiver()?;
/// let delivery = receiver.take()?;
/// let text: &str = std::str::from_utf8(&delivery)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Delivery<'a, P: Payload, K: Kind = Mpmc> {
    receiver: &'a Receiver<P, K>,
    taken: ManuallyDrop<Taken<P, K>>,
}

/// A message of bytes that is read in place.
pub type ByteDelivery<'a, K = Mpmc> = Delivery<'a, Bytes, K>;

impl<P: Payload, K: Kind> Delivery<'_, P, K> {
    /// How many receivers have died over this message, or have [given it
    /// back](Delivery::give_back_counted) after a failure.
    pub fn attempts(&self) -> u8 {
        self.receiver.ring.attempts(&self.receiver.at, &self.taken)
    }

    /// Acknowledges the message, as dropping does.
    #[inline]
    pub fn release(self) {}

    /// Leaves the message for another receiver, or for the next take of this one. In an
    /// MPMC channel, it may then come after messages that were sent later.
    pub fn give_back(self) {
        self.leave(false);
    }

    pub(super) fn leave(self, counted: bool) {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: `this` is never dropped, so it is taken out once.
        let taken = unsafe { ManuallyDrop::take(&mut this.taken) };
        let Receiver { ring, end, at, held } = this.receiver;
        held.set(held.get().wrapping_sub(1));
        if !end.in_child() && ring.give_back(at, taken, counted) {
            end.notify(Side::Receiver, Done::GivenUp);
        }
    }

    #[inline]
    pub(super) fn place(&self) -> Place<'_, P::Ring<K>> {
        self.receiver.ring.taken(&self.taken)
    }
}

impl<P: Payload> Delivery<'_, P, Mpmc> {
    /// Gives the message back after its receiver has failed. This counts in its
    /// [`attempts`](Self::attempts), up to 15. The receivers decide how many attempts are
    /// too many: the message is always delivered again.
    pub fn give_back_counted(self) {
        self.leave(true);
    }
}

impl Delivery<'_, Bytes, Mpmc> {
    /// What of the message's memory is kept when it is released: see
    /// [`Receiver::set_retained_memory`]. This sets it for the receiver.
    pub fn set_retained_memory(&self, bytes: usize) {
        self.receiver.set_retained_memory(bytes);
    }
}

impl<T: Message, K: Kind> Delivery<'_, T, K> {
    #[inline]
    fn element(&self) -> Elements<'_, T> {
        self.place()
    }

    /// A pointer to the message. The caller must ensure that each use of the pointer is
    /// sound: a peer may be writing there.
    #[inline]
    pub fn as_ptr(&self) -> *const T {
        self.element().as_ptr()
    }
}

impl<T: Message + CheckedBitPattern, K: Kind> Delivery<'_, T, K> {
    /// Copies the message out, and checks it. If any bytes are a value of the type,
    /// [`read`](Self::read) does the same without an error.
    ///
    /// # Errors
    /// [`InvalidMessage`] if the bytes are not a value of the type. The message is still
    /// taken: release it, or it comes again.
    #[inline]
    pub fn get(&self) -> Result<T, InvalidMessage> {
        checked(self.element())
    }
}

impl<T: Message + AnyBitPattern, K: Kind> Delivery<'_, T, K> {
    /// Copies the message out.
    #[inline]
    pub fn read(&self) -> T {
        self.element().read()
    }

    /// The message by reference.
    ///
    /// # Panics
    /// If `trust` belongs to another [`Segment`](crate::Segment).
    #[inline]
    #[track_caller]
    pub fn as_ref(&self, trust: TrustedPeers) -> &T {
        self.receiver.end.check(trust);
        // SAFETY: this delivery has taken it, so nobody writes it: the peers are trusted,
        // and `self` is borrowed.
        unsafe { self.element().as_ref() }
    }
}

impl<K: Kind> Delivery<'_, Bytes, K> {
    #[inline]
    fn message(&self) -> ByteSpan<'_> {
        self.place()
    }

    /// The length of the message.
    pub fn len(&self) -> usize {
        self.message().len()
    }

    /// Whether the message has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies bytes out, from `offset` on, as many as there are. Returns how many.
    pub fn read_at(&self, offset: usize, into: &mut [u8]) -> usize {
        self.message().read(offset, into)
    }

    /// Copies bytes out to memory that has none yet, from `offset` on, as many as there are. Returns
    /// how many: so many of `into`, from the first one on, are initialised then.
    pub fn read_uninit_at(&self, offset: usize, into: &mut [MaybeUninit<u8>]) -> usize {
        self.message().read_uninit(offset, into)
    }

    /// A reader that starts at the beginning.
    pub fn reader(&self) -> ByteReader<'_> {
        ByteReader { message: self.message(), read: 0 }
    }

    /// Copies the message to the end of `into`.
    pub fn append_to(&self, into: &mut Vec<u8>) {
        self.message().append_to(into);
    }

    /// A copy of the message.
    pub fn to_vec(&self) -> Vec<u8> {
        self.message().to_vec()
    }

    /// A pointer to the message. The caller must ensure that each use of the pointer is
    /// sound: a peer may be writing there.
    pub fn as_ptr(&self) -> *const u8 {
        self.message().as_ptr()
    }

    /// The message by reference.
    ///
    /// # Panics
    /// If `trust` belongs to another [`Segment`](crate::Segment).
    #[track_caller]
    pub fn as_slice(&self, trust: TrustedPeers) -> &[u8] {
        self.receiver.end.check(trust);
        // SAFETY: this delivery has taken it, so nobody writes it: the peers are trusted,
        // and `self` is borrowed.
        unsafe { self.message().as_slice() }
    }
}

impl<P: Payload, K: Kind> Drop for Delivery<'_, P, K> {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: dropped once, and not used after.
        let taken = unsafe { ManuallyDrop::take(&mut self.taken) };
        let receiver = self.receiver;
        receiver.held.set(receiver.held.get().wrapping_sub(1));
        // In a forked child, it belongs to the parent.
        if !receiver.end.in_child() {
            receiver.ring.release(&receiver.at, taken);
            receiver.end.acknowledge();
            receiver.tell_slot_waiters();
        }
    }
}

impl<P: Payload, K: Kind> fmt::Debug for Delivery<'_, P, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery").field("attempts", &self.attempts()).finish_non_exhaustive()
    }
}

/// Reads the message of a [`Delivery`] of bytes: see [`Delivery::reader`].
#[derive(Clone, Debug)]
pub struct ByteReader<'a> {
    message: ByteSpan<'a>,
    read: usize,
}

impl io::Read for ByteReader<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.message.read(self.read, into);
        self.read += count;
        Ok(count)
    }
}

/// Messages of an SPSC channel that are read in place, side by side: by copies, or by
/// reference, like a [`Delivery`].
pub struct DeliverySlice<'a, T: Message + CheckedBitPattern> {
    receiver: &'a Receiver<T, Spsc>,
    count: usize,
    /// How many to acknowledge at the end.
    released: usize,
}

impl<T: Message + CheckedBitPattern> DeliverySlice<'_, T> {
    /// How many receivers have died over each of these messages. The number is the same
    /// for all messages of a slice.
    pub fn attempts(&self) -> u8 {
        self.receiver.at.attempts(&self.receiver.ring)
    }

    /// Acknowledges only the first `count` messages, by one store. The others are
    /// delivered again.
    pub fn release(mut self, count: usize) {
        self.released = count.min(self.count);
    }

    #[inline]
    fn places(&self) -> Elements<'_, T> {
        self.receiver.ring.at(self.receiver.at.index(), self.count)
    }

    /// How many messages there are.
    #[expect(clippy::len_without_is_empty, reason = "there is one at least")]
    #[inline]
    pub fn len(&self) -> usize {
        self.places().len()
    }

    /// Copies the message at `index` out, if there is one, and checks it: see
    /// [`Delivery::get`].
    #[inline]
    pub fn get(&self, index: usize) -> Option<Result<T, InvalidMessage>> {
        Some(checked(self.places().get(index)?))
    }

    /// A pointer to the first message: see [`Delivery::as_ptr`].
    #[inline]
    pub fn as_ptr(&self) -> *const T {
        self.places().as_ptr()
    }
}

impl<T: Message + CheckedBitPattern + AnyBitPattern> DeliverySlice<'_, T> {
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

    /// The messages by reference.
    ///
    /// # Panics
    /// If `trust` belongs to another [`Segment`](crate::Segment).
    #[inline]
    #[track_caller]
    pub fn as_slice(&self, trust: TrustedPeers) -> &[T] {
        self.receiver.end.check(trust);
        // SAFETY: so many messages lie side by side, which nobody writes: the
        // peers are trusted, and `self` is borrowed.
        unsafe { self.places().as_slice() }
    }
}

impl<T: Message + CheckedBitPattern> Drop for DeliverySlice<'_, T> {
    #[inline]
    fn drop(&mut self) {
        let Receiver { end, ring, at, .. } = self.receiver;
        if end.in_child() {
            return;
        }
        if self.released < self.count {
            // Before the head moves: no receiver has died over the others.
            at.hold(ring, self.released as u64);
        }
        if self.released > 0 {
            at.release(ring, self.released as u64);
            end.acknowledge();
        }
    }
}

impl<T: Message + CheckedBitPattern> fmt::Debug for DeliverySlice<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeliverySlice").field("len", &self.count).finish_non_exhaustive()
    }
}
