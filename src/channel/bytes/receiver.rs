//! The receiving end of a channel of bytes.

#![allow(unsafe_code)]

use core::fmt;
use core::mem::ManuallyDrop;
use std::io;
use std::time::{Duration, Instant};

use super::kind::{self, ByteKind};
use crate::channel::blocking::Prospects;
use crate::channel::cancel::Canceller;
use crate::channel::endpoint::{Endpoint, Resolved};
use crate::channel::kind::{Mpmc, Stuck};
use crate::channel::ready::{Readiness, Want};
use crate::error::{ChannelError, Done, Fault, RecvError, RecvTimeoutError, TryRecvError};
use crate::segment::{Bytes, Peer, Side, TrustedPeers};

/// The receiving end of a channel of bytes.
///
/// Crash rules and waiting are those of [`Receiver`](crate::Receiver).
pub struct ByteReceiver<K: ByteKind = Mpmc> {
    /// Before `end`, so that the memory is detached when that goes.
    ring: K::Ring,
    end: Endpoint,
    at: K::Consumer,
}

impl<K: ByteKind> ByteReceiver<K> {
    pub(crate) fn new(end: Endpoint) -> Result<Self, ChannelError> {
        let ring = end.typed(K::ring)?;
        let at = K::consumer(&ring, &end)
            .map_err(|stuck| end.corrupt(&stuck.corruption().unwrap_or_default()))?;
        Ok(Self { end, ring, at })
    }

    fn prospects(&self) -> Prospects<impl Fn() -> bool, impl Fn() -> bool, impl Fn() -> Want> {
        Prospects {
            available: || K::may_take(&self.ring, &self.at),
            in_hand: || K::in_hand(&self.ring),
            want: || K::wanted_by_consumer(&self.at),
        }
    }

    fn take_once(&self) -> Result<K::Taken, Stuck> {
        K::take(&self.ring, &self.at, self.end.owner())
    }

    /// Takes; `alone` says that no sender is left, which is no news then.
    fn take_knowing(&self, alone: bool) -> Result<K::Taken, Stuck> {
        if alone { self.take_once() } else { self.end.guarded(|| self.take_once()) }
    }

    fn take_by(&self, until: Option<Instant>) -> Result<K::Taken, RecvTimeoutError> {
        match self.take_knowing(false) {
            Ok(taken) => Ok(taken),
            Err(stuck) => {
                let take = |alone| self.take_knowing(alone);
                let taken = self.end.wait_to_receive(stuck, until, take, &self.prospects())?;
                taken.ok_or(RecvTimeoutError::Timeout)
            }
        }
    }

    fn try_take_now(&self) -> Result<K::Taken, TryRecvError> {
        match self.take_knowing(false) {
            Ok(taken) => Ok(taken),
            Err(stuck) => {
                let take = |alone| self.take_knowing(alone);
                match self.end.try_to_receive(stuck, take, &self.prospects())? {
                    Ok(taken) => Ok(taken),
                    Err(Resolved::WaitPending) => Err(TryRecvError::Pending),
                    Err(_) => Err(TryRecvError::Empty),
                }
            }
        }
    }

    fn copy_out(&self, taken: K::Taken, into: &mut Vec<u8>) -> usize {
        into.clear();
        K::message(&self.ring, &taken).append_to(into);
        self.release(taken);
        into.len()
    }

    fn release(&self, taken: K::Taken) {
        K::release(&self.ring, &self.at, taken);
        self.acknowledge();
    }

    fn acknowledge(&self) {
        self.end.acknowledge();
        if K::PLACES {
            self.end.notify_slot_waiters(Done::Taken);
        }
    }

    /// Receives a message into `into`, replacing what was there; waits for it
    /// as long as it takes. Says how long it is.
    ///
    /// # Errors
    /// Why nothing can be received: in particular [`RecvError::Disconnected`]
    /// when the channel is empty and the last sender has gone.
    pub fn recv(&self, into: &mut Vec<u8>) -> Result<usize, RecvError> {
        let taken = self.take_by(None).map_err(RecvTimeoutError::without_deadline)?;
        Ok(self.copy_out(taken, into))
    }

    /// Receives without waiting.
    ///
    /// # Errors
    /// [`TryRecvError::Empty`], [`TryRecvError::Pending`], or why nothing can
    /// be received.
    pub fn try_recv(&self, into: &mut Vec<u8>) -> Result<usize, TryRecvError> {
        let taken = self.try_take_now()?;
        Ok(self.copy_out(taken, into))
    }

    /// Receives, waiting at most this long.
    ///
    /// # Errors
    /// [`RecvTimeoutError::Timeout`], or why nothing can be received.
    pub fn recv_timeout(
        &self,
        into: &mut Vec<u8>,
        timeout: Duration,
    ) -> Result<usize, RecvTimeoutError> {
        let taken = self.take_by(Instant::now().checked_add(timeout))?;
        Ok(self.copy_out(taken, into))
    }

    /// Receives, waiting until `deadline`.
    ///
    /// # Errors
    /// As for [`recv_timeout`](Self::recv_timeout).
    pub fn recv_deadline(
        &self,
        into: &mut Vec<u8>,
        deadline: Instant,
    ) -> Result<usize, RecvTimeoutError> {
        let taken = self.take_by(Some(deadline))?;
        Ok(self.copy_out(taken, into))
    }

    /// Receives what there is, up to `most` messages, to the end of `into`;
    /// waits if there is nothing. Says how many came. In an SPSC channel they
    /// are released by a single store.
    ///
    /// # Errors
    /// As for [`recv`](Self::recv).
    pub fn recv_batch(&self, into: &mut Vec<Vec<u8>>, most: usize) -> Result<usize, RecvError> {
        if most == 0 {
            return Ok(0);
        }
        let mut pop = |alone: bool| {
            let mut pop = || K::pop_many(&self.ring, &self.at, self.end.owner(), most, into);
            let received = if alone { pop() } else { self.end.guarded(pop) }?;
            self.acknowledge();
            Ok(received)
        };
        let stuck = match pop(false) {
            Ok(received) => return Ok(received),
            Err(stuck) => stuck,
        };
        let prospects = self.prospects();
        let received = self.end.wait_to_receive(stuck, None, pop, &prospects)?;
        Ok(received.ok_or(Fault::Closed)?)
    }

    /// Takes a message to be read in place, waiting as long as it takes.
    /// Dropping the delivery acknowledges it.
    ///
    /// While it is held, its slot is occupied: senders go on until they come
    /// round to it, other receivers are not held up. If this process dies, it
    /// is delivered again.
    ///
    /// # Errors
    /// As for [`recv`](Self::recv).
    pub fn take(&mut self) -> Result<ByteDelivery<'_, K>, RecvError> {
        let taken = self.take_by(None).map_err(RecvTimeoutError::without_deadline)?;
        Ok(ByteDelivery::new(self, taken))
    }

    /// The same, without waiting.
    ///
    /// # Errors
    /// As for [`try_recv`](Self::try_recv).
    pub fn try_take(&mut self) -> Result<ByteDelivery<'_, K>, TryRecvError> {
        let taken = self.try_take_now()?;
        Ok(ByteDelivery::new(self, taken))
    }

    /// The same, waiting at most this long.
    ///
    /// # Errors
    /// As for [`recv_timeout`](Self::recv_timeout).
    pub fn take_timeout(
        &mut self,
        timeout: Duration,
    ) -> Result<ByteDelivery<'_, K>, RecvTimeoutError> {
        let taken = self.take_by(Instant::now().checked_add(timeout))?;
        Ok(ByteDelivery::new(self, taken))
    }

    /// A descriptor for event loops, as [`Receiver::readiness`] gives it.
    ///
    /// [`Receiver::readiness`]: crate::Receiver::readiness
    ///
    /// # Errors
    /// As there.
    pub fn readiness(&self) -> Result<&Readiness, Fault> {
        self.end.readiness()
    }

    /// Binds this handle's waits to a participant's life: see
    /// [`Receiver::bind_to_peer`](crate::Receiver::bind_to_peer).
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

impl ByteReceiver<Mpmc> {
    /// Another handle of this channel in this process, for another thread.
    ///
    /// # Errors
    /// [`ChannelError::TooMany`], and those of every operation.
    pub fn try_clone(&self) -> Result<Self, ChannelError> {
        Self::new(self.end.another()?)
    }
}

impl<K: ByteKind> fmt::Debug for ByteReceiver<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ByteReceiver").field(&self.end).finish()
    }
}

/// A message that is read in place, and is this receiver's until it is
/// [released](Self::release) or dropped.
///
/// The bytes are in memory that peers can write to. What is read is a copy,
/// which nobody can change:
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
///
/// To read by reference, declare that the peers are
/// [trusted](crate::Segment::trust_peers).
pub struct ByteDelivery<'a, K: ByteKind> {
    receiver: &'a ByteReceiver<K>,
    taken: ManuallyDrop<K::Taken>,
    message: Bytes<'a>,
}

impl<'a, K: ByteKind> ByteDelivery<'a, K> {
    fn new(receiver: &'a ByteReceiver<K>, taken: K::Taken) -> Self {
        K::hold(&receiver.ring, &receiver.at, &taken);
        let message = K::message(&receiver.ring, &taken);
        Self { receiver, taken: ManuallyDrop::new(taken), message }
    }

    /// How many receivers have died over this message, or have
    /// [given it back](ByteDelivery::give_back_counted) as one that failed.
    pub fn attempts(&self) -> u8 {
        K::attempts(&self.receiver.ring, &self.receiver.at, &self.taken)
    }

    /// Acknowledges the message, as dropping does.
    pub fn release(self) {}

    /// Leaves the message for another receiver, or for this one's next take.
    /// In an MPMC channel it may then come after messages that were sent
    /// later.
    pub fn give_back(self) {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: `this` is never dropped, so it is taken out once.
        let taken = unsafe { ManuallyDrop::take(&mut this.taken) };
        let receiver = this.receiver;
        if !receiver.end.in_child() && K::give_back(&receiver.ring, &receiver.at, taken) {
            receiver.end.notify(Side::Receiver, Done::GivenUp);
        }
    }

    /// How long the message is.
    pub const fn len(&self) -> usize {
        self.message.len()
    }

    /// Whether the message has no bytes.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies bytes out, from `offset` on, as many as there are; says how many.
    pub fn read_at(&self, offset: usize, into: &mut [u8]) -> usize {
        self.message.read(offset, into)
    }

    /// Reads one after the other, from the start on.
    pub const fn reader(&self) -> ByteReader<'_> {
        ByteReader { message: self.message, read: 0 }
    }

    /// Copies the message to the end of `into`.
    pub fn append_to(&self, into: &mut Vec<u8>) {
        self.message.append_to(into);
    }

    /// A copy of the message.
    pub fn to_vec(&self) -> Vec<u8> {
        self.message.to_vec()
    }

    /// Where the message is. What may be done through the pointer is for the
    /// caller to argue: a peer may be writing there.
    pub const fn as_ptr(&self) -> *const u8 {
        self.message.as_ptr()
    }

    /// The message by reference.
    ///
    /// # Panics
    /// If `trust` is of another [`Segment`](crate::Segment).
    #[track_caller]
    pub fn as_slice(&self, trust: TrustedPeers) -> &[u8] {
        self.receiver.end.check(trust);
        // SAFETY: taken by this delivery, so nobody writes it: the peers are
        // trusted, and `self` is borrowed.
        unsafe { self.message.as_slice() }
    }
}

impl ByteDelivery<'_, Mpmc> {
    /// Gives the message back as one with which its receiver has failed: this
    /// counts in its [`attempts`](Self::attempts), up to 15. How many are too
    /// many is for the receivers to say: the message comes again in any case.
    pub fn give_back_counted(self) {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: `this` is never dropped, so it is taken out once.
        let taken = unsafe { ManuallyDrop::take(&mut this.taken) };
        let receiver = this.receiver;
        if !receiver.end.in_child() {
            kind::give_back_counted(&receiver.ring, taken);
            receiver.end.notify(Side::Receiver, Done::GivenUp);
        }
    }
}

/// Reads the message of a [`ByteDelivery`]: see [`ByteDelivery::reader`].
#[derive(Clone, Debug)]
pub struct ByteReader<'a> {
    message: Bytes<'a>,
    read: usize,
}

impl io::Read for ByteReader<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.message.read(self.read, into);
        self.read += count;
        Ok(count)
    }
}

impl<K: ByteKind> Drop for ByteDelivery<'_, K> {
    fn drop(&mut self) {
        // SAFETY: dropped once, and not used after.
        let taken = unsafe { ManuallyDrop::take(&mut self.taken) };
        // In a forked child it is the parent's.
        if !self.receiver.end.in_child() {
            self.receiver.release(taken);
        }
    }
}

impl<K: ByteKind> fmt::Debug for ByteDelivery<'_, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByteDelivery").field("len", &self.message.len()).finish_non_exhaustive()
    }
}
