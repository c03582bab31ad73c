//! The receiving end.

use core::fmt;
use core::iter::FusedIterator;
use std::time::{Duration, Instant};

use bytemuck::CheckedBitPattern;

use super::blocking::Prospects;
use super::cancel::Canceller;
use super::endpoint::Endpoint;
use super::ready::Readiness;
use crate::error::{ChannelError, Done, Fault, RecvError, RecvTimeoutError, TryRecvError};
use crate::kinds::message::Message;
use crate::kinds::payload::{Bytes, Form};
use crate::kinds::ring::{Out, Ring};
use crate::kinds::table::{Kind, Mpmc, Payload};
use crate::ring::wait::{Need, NotNow, Polled, Want};
use crate::segment::{Peer, Side};
use crate::storage::CopyOut;

/// The receiving end of a channel: of values of a type, `Receiver<T>`, or of
/// [`Bytes`], [`ByteReceiver`](crate::ByteReceiver).
///
/// A handle belongs to one thread at a time: it can be moved to another one,
/// and for use by several at once an MPMC channel's handle can be
/// [cloned](Self::try_clone). Each message goes to one receiver.
///
/// **Crashes.** A message whose receiver is killed while it copies it out is
/// delivered to another one (or dropped, if the channel was created
/// [so](super::Channel::redeliver)); one that has been copied out is gone
/// with its process. A process that waits is woken by the kernel.
pub struct Receiver<P: Payload, K: Kind = Mpmc> {
    /// Before `end`, so that the memory is detached when that goes.
    pub(super) ring: P::Ring<K>,
    pub(super) end: Endpoint,
    pub(super) at: <P::Ring<K> as Ring>::Consumer,
}

/// The receiving end of a channel of bytes.
pub type ByteReceiver<K = Mpmc> = Receiver<Bytes, K>;

impl<P: Payload + CheckedBitPattern, K: Kind> Receiver<P, K> {
    pub(super) fn new(end: Endpoint) -> Result<Self, ChannelError> {
        let ring = end.typed(P::Ring::<K>::of)?;
        let (at, dropped) = ring
            .consumer(end.me(), end.block.attempts)
            .map_err(|why| end.corrupt(&why.corruption().unwrap_or_default()))?;
        if dropped {
            end.notify(Side::Sender, Done::GivenUp);
        }
        Ok(Self { ring, end, at })
    }

    /// Receives, if that takes nothing but to do it: what most receives are,
    /// and so a part of its caller.
    #[inline(always)]
    fn receive_next(&self, into: &mut Out<P::Ring<K>>) -> Result<(), NotNow> {
        if !self.end.quiet_fast() {
            return Err(NotNow::Unsure);
        }
        self.ring.pop_next(&self.at, self.end.owner(), into)?;
        self.end.acknowledge_fast();
        self.tell_slot_waiters();
        Ok(())
    }

    fn pop(&self, into: &mut Out<P::Ring<K>>) -> Result<(), NotNow> {
        self.consume(|| self.ring.pop(&self.at, self.end.owner(), into))
    }

    /// Consumes by `attempt`, if nothing has changed, and tells senders.
    fn consume<R>(&self, attempt: impl FnOnce() -> Result<R, NotNow>) -> Result<R, NotNow> {
        let got = self.end.consume(attempt)?;
        self.tell_slot_waiters();
        Ok(got)
    }

    /// What is in the way after [`receive_next`](Self::receive_next).
    fn refused(&self, why: NotNow, into: &mut Out<P::Ring<K>>) -> Result<(), NotNow> {
        if matches!(why, NotNow::Unsure) { self.pop(into) } else { Err(why) }
    }

    #[cold]
    fn invalid() -> RecvError {
        RecvError::Invalid { type_name: core::any::type_name::<P>() }
    }

    /// Goes on after the fast path, without waiting.
    fn try_further(&self, why: NotNow, into: &mut Out<P::Ring<K>>) -> Result<(), TryRecvError> {
        match self.refused(why, into) {
            Ok(()) => Ok(()),
            Err(why) if self.end.fail_fast(why) => Err(TryRecvError::Empty),
            Err(why) => self.try_on(why, || self.pop(into)),
        }
    }

    /// Goes on after the fast path, until the deadline.
    fn outlast(
        &self,
        why: NotNow,
        until: Option<Instant>,
        into: &mut Out<P::Ring<K>>,
    ) -> Result<(), RecvTimeoutError> {
        match self.refused(why, into) {
            Ok(()) => Ok(()),
            Err(why) => self.wait_on(why, until, || self.pop(into)),
        }
    }

    #[cold]
    #[inline(never)]
    fn try_to_receive(&self, why: NotNow) -> Result<P::Owned, TryRecvError> {
        // Mostly, nothing was there.
        if self.end.fail_fast(why) {
            return Err(TryRecvError::Empty);
        }
        let mut out = P::out();
        self.try_further(why, &mut out)?;
        P::owned(out).ok_or_else(|| Self::invalid().into())
    }

    #[cold]
    #[inline(never)]
    fn wait_to_receive(&self, why: NotNow) -> Result<P::Owned, RecvError> {
        self.receive_by(why, None).map_err(RecvTimeoutError::without_deadline)
    }

    fn receive_by(
        &self,
        why: NotNow,
        until: Option<Instant>,
    ) -> Result<P::Owned, RecvTimeoutError> {
        let mut out = P::out();
        self.outlast(why, until, &mut out)?;
        P::owned(out).ok_or_else(|| Self::invalid().into())
    }

    /// Receives what there is, up to `most` messages, to the end of `into`;
    /// waits if there is nothing. Says how many came. What comes at once is
    /// released at once: in an SPSC channel by a single store.
    ///
    /// # Errors
    /// Those of [`recv`](Self::recv). With [`RecvError::Invalid`] the
    /// messages before the invalid one are in `into`.
    pub fn recv_batch(&self, into: &mut Vec<P::Owned>, most: usize) -> Result<usize, RecvError> {
        self.recv_batch_by(into, most, None).map_err(RecvTimeoutError::without_deadline)
    }

    /// Receives what there is as [`recv_batch`](Self::recv_batch) does, waiting for
    /// the first message at most this long.
    ///
    /// # Errors
    /// [`RecvTimeoutError::Timeout`], and those of [`recv_batch`](Self::recv_batch).
    pub fn recv_batch_timeout(
        &self,
        into: &mut Vec<P::Owned>,
        most: usize,
        timeout: Duration,
    ) -> Result<usize, RecvTimeoutError> {
        let deadline = Instant::now().checked_add(timeout);
        self.recv_batch_by(into, most, deadline)
    }

    /// Receives what there is as [`recv_batch`](Self::recv_batch) does, waiting for
    /// the first message until `deadline`.
    ///
    /// # Errors
    /// As for [`recv_batch_timeout`](Self::recv_batch_timeout).
    pub fn recv_batch_deadline(
        &self,
        into: &mut Vec<P::Owned>,
        most: usize,
        deadline: Instant,
    ) -> Result<usize, RecvTimeoutError> {
        self.recv_batch_by(into, most, Some(deadline))
    }

    fn recv_batch_by(
        &self,
        into: &mut Vec<P::Owned>,
        most: usize,
        until: Option<Instant>,
    ) -> Result<usize, RecvTimeoutError> {
        if most == 0 {
            return Ok(0);
        }
        let before = into.len();
        let mut pop =
            || self.consume(|| self.ring.pop_many(&self.at, self.end.owner(), most, into));
        let valid = match pop() {
            Ok(valid) => valid,
            Err(why) => self.wait_on(why, until, pop)?,
        };
        if valid { Ok(into.len() - before) } else { Err(Self::invalid().into()) }
    }

    /// Receives what there is now, up to `most` messages, to the end of `into`; says
    /// how many came.
    ///
    /// # Errors
    /// Those of [`try_recv`](Self::try_recv): [`TryRecvError::Empty`] if none came.
    pub fn try_recv_batch(
        &self,
        into: &mut Vec<P::Owned>,
        most: usize,
    ) -> Result<usize, TryRecvError> {
        if most == 0 {
            return Ok(0);
        }
        let before = into.len();
        let mut pop =
            || self.consume(|| self.ring.pop_many(&self.at, self.end.owner(), most, into));
        let valid = match pop() {
            Ok(valid) => valid,
            Err(why) => self.try_on(why, pop)?,
        };
        if valid { Ok(into.len() - before) } else { Err(Self::invalid().into()) }
    }

    /// The messages as they come, until the last sender has gone.
    ///
    /// An error other than that is an item too; after one that is not
    /// [`RecvError::Invalid`] the iteration ends.
    pub const fn iter(&self) -> Iter<'_, P, K> {
        Iter { receiver: self, ended: false }
    }

    /// The messages that are there, without waiting: ends where
    /// [`try_recv`](Self::try_recv) finds none, and where the last sender has gone.
    ///
    /// An error other than those is an item too; after one that is not
    /// [`RecvError::Invalid`] the iteration ends.
    ///
    /// ```
    /// use tombolo::Segment;
    ///
    /// let segment = Segment::anonymous()?;
    /// let jobs = segment.channel::<u64>("jobs").capacity(8);
    /// let (sender, receiver) = (jobs.sender()?, jobs.receiver()?);
    /// sender.send_batch(&[1, 2, 3])?;
    /// let sum: u64 = receiver.try_iter().sum::<Result<_, _>>()?;
    /// assert_eq!(sum, 6);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn try_iter(&self) -> TryIter<'_, P, K> {
        TryIter { receiver: self, ended: false }
    }

    /// The next of [`iter`](Self::iter).
    fn next(&self, ended: &mut bool) -> Option<Result<P::Owned, RecvError>> {
        if *ended {
            return None;
        }
        let mut out = P::out();
        let received = match self.receive_next(&mut out) {
            Ok(()) => P::owned(out).ok_or_else(Self::invalid),
            Err(why) => self.wait_to_receive(why),
        };
        let valid = matches!(received, Ok(_) | Err(RecvError::Invalid { .. }));
        *ended = !valid;
        (valid || !matches!(received, Err(RecvError::Disconnected))).then_some(received)
    }
}

impl<P: Payload, K: Kind> Receiver<P, K> {
    /// Tells senders that wait for a slot that one has become free.
    #[inline(always)]
    pub(super) fn tell_slot_waiters(&self) {
        if P::Ring::<K>::SLOT_WAITERS {
            self.end.notify_slot_waiters(Done::Taken);
        }
    }

    fn prospects(&self) -> Prospects<impl Fn() -> bool, impl Fn() -> bool, impl Fn() -> Want> {
        Prospects {
            available: || self.ring.may_take(&self.at),
            in_hand: || self.ring.in_hand(),
            want: || P::Ring::<K>::wanted_by_consumer(&self.at),
        }
    }

    /// Goes on after a refused attempt, without waiting.
    pub(super) fn try_on<R>(
        &self,
        why: NotNow,
        attempt: impl FnMut() -> Result<R, NotNow>,
    ) -> Result<R, TryRecvError> {
        match self.end.try_to_receive(why, attempt, &self.prospects())? {
            Polled::Done(got) => Ok(got),
            Polled::Needs(Need::Pending) => Err(TryRecvError::Pending),
            Polled::Needs(_) => Err(TryRecvError::Empty),
        }
    }

    /// Goes on after a refused attempt, until the deadline.
    pub(super) fn wait_on<R>(
        &self,
        why: NotNow,
        until: Option<Instant>,
        attempt: impl FnMut() -> Result<R, NotNow>,
    ) -> Result<R, RecvTimeoutError> {
        let got = self.end.wait_to_receive(why, until, attempt, &self.prospects())?;
        got.ok_or(RecvTimeoutError::Timeout)
    }

    /// A descriptor for event loops, which is readable as long as a receive
    /// could make progress. It is made at the first call.
    ///
    /// **When it is readable.** From when there is something to receive, or an
    /// error to be told, until a call of this handle that does not wait
    /// answers [`Empty`](TryRecvError::Empty) or
    /// [`Pending`](TryRecvError::Pending); also at first, and after as many
    /// messages as one likes while there are more. So receive until there is
    /// nothing, and only then wait for the descriptor, level- or
    /// edge-triggered. It may be readable although nothing is there: another
    /// receiver was faster, or somebody joined. It is never unreadable
    /// although something is there, whoever dies over what.
    ///
    /// **What it costs.** A thread of this process, which sleeps for this
    /// handle as a blocked call would, and the handle's every answer that
    /// there is nothing wakes it. A receive that gets a message makes no
    /// system call for it, nor do senders while this side is busy.
    ///
    /// ```
    /// use std::os::fd::AsFd;
    /// use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    /// use tombolo::{Segment, TryRecvError};
    ///
    /// let segment = Segment::anonymous()?;
    /// let channel = segment.channel::<u64>("jobs").capacity(8);
    /// let (sender, receiver) = (channel.sender()?, channel.receiver()?);
    /// let readiness = receiver.readiness()?;
    /// assert!(matches!(receiver.try_recv(), Err(TryRecvError::Empty)));
    ///
    /// sender.send_batch(&[1, 2])?;
    /// let mut fds = [PollFd::new(readiness.as_fd(), PollFlags::POLLIN)];
    /// assert_eq!(poll(&mut fds, PollTimeout::NONE)?, 1);
    /// assert_eq!([receiver.try_recv()?, receiver.try_recv()?], [1, 2]);
    /// assert!(matches!(receiver.try_recv(), Err(TryRecvError::Empty)));
    /// assert_eq!(poll(&mut fds, PollTimeout::ZERO)?, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Fault::System`] if there is no descriptor or no thread to be had, or
    /// why nothing can be received.
    pub fn readiness(&self) -> Result<&Readiness, Fault> {
        self.end.readiness()
    }

    /// Binds this handle's waits to a participant's life, and returns at once: from
    /// now on, once that participant has left or died, and nothing is left to take,
    /// calls end with [`Fault::PeerGone`] instead of waiting, or of finding the
    /// channel empty. `None` unbinds them. A clone is bound as its original is.
    ///
    /// The participant need not be an end of this channel. So a parent that waits
    /// for its child's answer is told if the child dies before it opens the
    /// channel: see [`SpawnedChild::joined`](crate::SpawnedChild::joined). Names of participants
    /// also come from [`Segment::participants`](crate::Segment::participants) and
    /// from [events](crate::Event::Joined).
    ///
    /// The kernel wakes a waiting handle, without a time-out. A handle that only tries
    /// finds out that it has left at once, and that it has died at the latest with
    /// the 256th try in vain. Where the channel is disconnected, too, a call may
    /// say that instead.
    ///
    /// While such a handle sleeps, each change of the segment's semaphores costs
    /// some 13 ns more for each process that sleeps there.
    ///
    /// # Errors
    /// What ends a handle's use; or the kernel's refusal to wake the thread behind
    /// this handle's [descriptor](Self::readiness).
    pub fn bind_to_peer(&self, peer: impl Into<Option<Peer>>) -> Result<(), Fault> {
        self.end.bind_to_peer(peer.into())
    }

    /// What ends this handle's waits from another thread, with
    /// [`Fault::Cancelled`]; the segment and all other handles go on.
    ///
    /// ```
    /// use std::thread;
    /// use tombolo::{Fault, RecvError, Segment};
    ///
    /// let segment = Segment::anonymous()?;
    /// let jobs = segment.channel::<u64>("jobs").capacity(8);
    /// let (sender, receiver) = (jobs.sender()?, jobs.receiver()?);
    /// let canceller = receiver.canceller();
    /// let worker = thread::spawn(move || receiver.recv());
    /// // Say, when Ctrl-C was pressed:
    /// canceller.cancel()?;
    /// let ended = worker.join().unwrap();
    /// assert_eq!(ended, Err(RecvError::Fault(Fault::Cancelled)));
    /// # drop(sender);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn canceller(&self) -> Canceller {
        self.end.canceller()
    }

    /// Closes this handle, as dropping it does, and says if that fails. With the
    /// last handle of this participant the process leaves the segment, too.
    ///
    /// # Errors
    /// [`Fault::Unwoken`] if senders sleep that the kernel refuses to wake;
    /// [`Fault::System`] for what else it refuses. What could be done is done.
    /// [`Fault::Forked`]. A segment that is removed has told everybody.
    pub fn close(self) -> Result<(), Fault> {
        self.end.close()
    }

    /// Whether this and the other handle are ends of one channel.
    pub fn same_channel(&self, other: &Self) -> bool {
        self.end.same_channel(&other.end)
    }

    /// How many messages are in the channel, now or a moment ago. A message
    /// counts from when its sender claims a slot until a receiver takes it, and
    /// again once that receiver has died and another one is to get it.
    ///
    /// Bytes in an SPSC channel: as how many of the longest messages they take up
    /// room.
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

    /// How many messages the channel holds: what was asked for, exactly. Of bytes in
    /// an SPSC channel, how many of the longest; it holds more of shorter ones.
    pub const fn capacity(&self) -> usize {
        self.end.messages()
    }
}

impl<T: Message + CheckedBitPattern, K: Kind> Receiver<T, K> {
    /// Receives without waiting. Close behind a sender that goes on sending, it
    /// backs off before it looks, up to 0.8 µs, and then finds more at once.
    ///
    /// # Errors
    /// [`TryRecvError::Empty`]; [`TryRecvError::Pending`] if the next message
    /// is claimed and not yet written; or why nothing can be received.
    #[inline(always)]
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        let mut out = CopyOut::new();
        match self.receive_next(&mut out) {
            Ok(()) => out.hand_on(Ok, || Err(Self::invalid().into())),
            Err(why) => self.try_to_receive(why),
        }
    }

    /// Receives, waiting for a message as long as it takes.
    ///
    /// # Errors
    /// [`RecvError::Invalid`], or why nothing can be received. In particular
    /// [`RecvError::Disconnected`] when the channel is empty and the last sender
    /// has gone, also while this call waits.
    #[inline(always)]
    pub fn recv(&self) -> Result<T, RecvError> {
        let mut out = CopyOut::new();
        match self.receive_next(&mut out) {
            Ok(()) => out.hand_on(Ok, || Err(Self::invalid())),
            Err(why) => self.wait_to_receive(why),
        }
    }

    /// Receives, waiting for a message at most this long.
    ///
    /// # Errors
    /// [`RecvTimeoutError::Timeout`], or why nothing can be received.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        // A time-out beyond what the clock can say is none.
        self.recv_by(|| Instant::now().checked_add(timeout))
    }

    /// Receives, waiting for a message until `deadline`.
    ///
    /// # Errors
    /// As for [`recv_timeout`](Self::recv_timeout).
    pub fn recv_deadline(&self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        self.recv_by(|| Some(deadline))
    }

    fn recv_by(&self, until: impl FnOnce() -> Option<Instant>) -> Result<T, RecvTimeoutError> {
        let mut out = CopyOut::new();
        match self.receive_next(&mut out) {
            Ok(()) => out.hand_on(Ok, || Err(Self::invalid().into())),
            Err(why) => self.receive_by(why, until()),
        }
    }
}

/// Where a message comes as bytes.
impl<P, K: Kind> Receiver<P, K>
where
    P: Payload + Form<Out = Vec<u8>> + CheckedBitPattern,
{
    #[inline]
    pub(super) fn try_recv_bytes(&self, into: &mut Vec<u8>) -> Result<usize, TryRecvError> {
        into.clear();
        match self.receive_next(into) {
            Ok(()) => {}
            // Mostly, nothing was there.
            Err(why) if self.end.fail_fast(why) => return Err(TryRecvError::Empty),
            Err(why) => self.try_further(why, into)?,
        }
        Ok(into.len())
    }

    #[inline]
    pub(super) fn recv_bytes(
        &self,
        into: &mut Vec<u8>,
        until: impl FnOnce() -> Option<Instant>,
    ) -> Result<usize, RecvTimeoutError> {
        into.clear();
        if let Err(why) = self.receive_next(into) {
            self.outlast(why, until(), into)?;
        }
        Ok(into.len())
    }
}

impl<K: Kind> Receiver<Bytes, K> {
    /// Receives a message into `into`, replacing what was there; waits for it
    /// as long as it takes. Says how long it is.
    ///
    /// # Errors
    /// Why nothing can be received; `into` is empty then. In particular
    /// [`RecvError::Disconnected`] when the channel is empty and the last sender has
    /// gone, also while this call waits.
    #[inline]
    pub fn recv(&self, into: &mut Vec<u8>) -> Result<usize, RecvError> {
        self.recv_bytes(into, || None).map_err(RecvTimeoutError::without_deadline)
    }

    /// Receives into `into` without waiting. Close behind a sender that goes on
    /// sending, it backs off before it looks, up to 0.8 µs, and then finds more at
    /// once.
    ///
    /// # Errors
    /// [`TryRecvError::Empty`]; [`TryRecvError::Pending`] if the next message is
    /// claimed and not yet queued; or why nothing can be received.
    #[inline]
    pub fn try_recv(&self, into: &mut Vec<u8>) -> Result<usize, TryRecvError> {
        self.try_recv_bytes(into)
    }

    /// Receives into `into`, waiting at most this long.
    ///
    /// # Errors
    /// [`RecvTimeoutError::Timeout`], or why nothing can be received.
    pub fn recv_timeout(
        &self,
        into: &mut Vec<u8>,
        timeout: Duration,
    ) -> Result<usize, RecvTimeoutError> {
        self.recv_bytes(into, || Instant::now().checked_add(timeout))
    }

    /// Receives into `into`, waiting until `deadline`.
    ///
    /// # Errors
    /// As for [`recv_timeout`](Self::recv_timeout).
    pub fn recv_deadline(
        &self,
        into: &mut Vec<u8>,
        deadline: Instant,
    ) -> Result<usize, RecvTimeoutError> {
        self.recv_bytes(into, || Some(deadline))
    }

    /// The most bytes of a message.
    pub const fn max_len(&self) -> usize {
        self.end.block.longest
    }
}

impl<P: Payload + CheckedBitPattern> Receiver<P, Mpmc> {
    /// Another handle of this channel in this process, for another thread.
    ///
    /// # Errors
    /// [`ChannelError::TooMany`], and those of every operation.
    pub fn try_clone(&self) -> Result<Self, ChannelError> {
        Self::new(self.end.another()?)
    }
}

impl<P: Payload, K: Kind> fmt::Debug for Receiver<P, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Receiver").field(&self.end).finish()
    }
}

/// The messages of a [`Receiver`] as they come: see [`Receiver::iter`].
#[derive(Debug)]
pub struct Iter<'a, P: Payload, K: Kind> {
    receiver: &'a Receiver<P, K>,
    ended: bool,
}

impl<P: Payload + CheckedBitPattern, K: Kind> Iterator for Iter<'_, P, K> {
    type Item = Result<P::Owned, RecvError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.receiver.next(&mut self.ended)
    }
}

impl<P: Payload + CheckedBitPattern, K: Kind> FusedIterator for Iter<'_, P, K> {}

/// The messages that are there for a [`Receiver`]: see [`Receiver::try_iter`].
#[derive(Debug)]
pub struct TryIter<'a, P: Payload, K: Kind> {
    receiver: &'a Receiver<P, K>,
    ended: bool,
}

impl<P: Payload + CheckedBitPattern, K: Kind> Iterator for TryIter<'_, P, K> {
    type Item = Result<P::Owned, TryRecvError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let mut out = P::out();
        let received = match self.receiver.receive_next(&mut out) {
            Ok(()) => P::owned(out).ok_or_else(|| Receiver::<P, K>::invalid().into()),
            Err(why) => self.receiver.try_to_receive(why),
        };
        let valid = matches!(received, Ok(_) | Err(TryRecvError::Invalid { .. }));
        self.ended = !valid;
        let none = matches!(
            received,
            Err(TryRecvError::Empty | TryRecvError::Pending | TryRecvError::Disconnected)
        );
        (!none).then_some(received)
    }
}

impl<P: Payload + CheckedBitPattern, K: Kind> FusedIterator for TryIter<'_, P, K> {}

/// The messages of a [`Receiver`] that it owns: made by
/// [`IntoIterator`](Receiver#impl-IntoIterator-for-Receiver<P,+K>).
#[derive(Debug)]
pub struct IntoIter<P: Payload, K: Kind> {
    receiver: Receiver<P, K>,
    ended: bool,
}

impl<P: Payload + CheckedBitPattern, K: Kind> Iterator for IntoIter<P, K> {
    type Item = Result<P::Owned, RecvError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.receiver.next(&mut self.ended)
    }
}

impl<P: Payload + CheckedBitPattern, K: Kind> FusedIterator for IntoIter<P, K> {}

impl<P: Payload + CheckedBitPattern, K: Kind> IntoIterator for Receiver<P, K> {
    type Item = Result<P::Owned, RecvError>;
    type IntoIter = IntoIter<P, K>;

    /// The messages as they come, as [`iter`](Receiver::iter); the handle is closed
    /// when the iterator is dropped.
    fn into_iter(self) -> Self::IntoIter {
        IntoIter { receiver: self, ended: false }
    }
}

impl<'a, P: Payload + CheckedBitPattern, K: Kind> IntoIterator for &'a Receiver<P, K> {
    type Item = Result<P::Owned, RecvError>;
    type IntoIter = Iter<'a, P, K>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
