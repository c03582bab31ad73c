//! The receiving end.

use core::cell::Cell;
use core::fmt;
use core::iter::FusedIterator;
use core::mem;
use std::time::{Duration, Instant};

use bytemuck::CheckedBitPattern;

use super::blocking::Prospects;
use super::cancel::Canceller;
use super::changes::is_still;
use super::endpoint::Endpoint;
use super::ready::Readiness;
use crate::error::{ChannelError, Done, Fault, RecvError, RecvTimeoutError, TryRecvError};
use crate::kinds::batch::ByteBatch;
use crate::kinds::message::Message;
use crate::kinds::payload::{Bytes, Form};
use crate::kinds::ring::{Out, Ring};
use crate::kinds::table::{Kind, Mpmc, Payload};
use crate::ring::wait::{Need, NotNow, Polled, Want};
use crate::segment::{Peer, Side};
use crate::storage::CopyOut;
use crate::wait::WaitStrategy;

/// The receiving end of a channel: `Receiver<T>` for values of a type,
/// [`ByteReceiver`](crate::ByteReceiver) for [`Bytes`].
///
/// A handle belongs to one thread at a time, and can be moved to another one. For use by
/// several threads at once, [clone](Self::try_clone) the handle of an MPMC channel. Each
/// message goes to one receiver.
///
/// **Crashes.** If a receiver is killed while it copies a message out, the message is
/// delivered to another receiver, or dropped, as the channel
/// [decides](super::Channel::redeliver). A message that has been copied out is lost with
/// its process. The kernel wakes waiting processes.
pub struct Receiver<P: Payload, K: Kind = Mpmc> {
    /// Both before `end`: what is held of the ring is given up while this is still an end of
    /// the channel, and the memory is detached when that goes.
    pub(super) at: <P::Ring<K> as Ring>::Consumer,
    pub(super) ring: P::Ring<K>,
    pub(super) end: Endpoint,
    /// How many messages it holds in place.
    pub(super) held: Cell<usize>,
}

/// The receiving end of a channel of bytes.
pub type ByteReceiver<K = Mpmc> = Receiver<Bytes, K>;

impl<P: Payload + CheckedBitPattern, K: Kind> Receiver<P, K> {
    pub(super) fn new(end: Endpoint) -> Result<Self, ChannelError> {
        let ring = end.typed(P::Ring::<K>::of)?;
        let at = ring.consumer(end.me(), end.block().attempts);
        let (at, dropped) = at.map_err(|why| end.corrupt(&why.corruption().unwrap_or_default()))?;
        if dropped {
            end.notify(Side::Sender, Done::GivenUp);
        }
        Ok(Self::with(ring, at, end))
    }

    pub(super) const fn with(
        ring: P::Ring<K>,
        at: <P::Ring<K> as Ring>::Consumer,
        end: Endpoint,
    ) -> Self {
        Self { ring, at, end, held: Cell::new(0) }
    }

    /// Fast path: receives if the next message is there and nothing has changed. Inlined
    /// into callers, because most receives are of this sort.
    #[inline(always)]
    pub(super) fn receive_next(&self, into: &mut Out<P::Ring<K>>) -> Result<(), NotNow> {
        // Before anything is stored: it need not be looked up again then.
        let (control, seen) = (self.end.cells().control(), self.end.seen_fast());
        if !is_still(control, seen) {
            return Err(NotNow::Unsure);
        }
        self.ring.pop_next(&self.at, self.end.owner(), into)?;
        if P::Ring::<K>::MAKES_ROOM {
            self.end.acknowledge_fast(control, seen);
        }
        self.tell_slot_waiters();
        Ok(())
    }

    pub(super) fn pop(&self, into: &mut Out<P::Ring<K>>) -> Result<(), NotNow> {
        self.consume(|| self.ring.pop(&self.at, self.end.owner(), into))
    }

    /// Consumes by `attempt` if nothing has changed, and notifies senders.
    pub(super) fn consume<R>(
        &self,
        attempt: impl FnOnce() -> Result<R, NotNow>,
    ) -> Result<R, NotNow> {
        let got = self.end.guarded(attempt)?;
        if P::Ring::<K>::MAKES_ROOM {
            self.end.acknowledge();
        }
        self.tell_slot_waiters();
        Ok(got)
    }

    /// The reason why [`receive_next`](Self::receive_next) failed.
    pub(super) fn refused(&self, why: NotNow, into: &mut Out<P::Ring<K>>) -> Result<(), NotNow> {
        if matches!(why, NotNow::Unsure) { self.pop(into) } else { Err(why) }
    }

    #[cold]
    pub(super) fn invalid() -> RecvError {
        RecvError::Invalid { type_name: core::any::type_name::<P>() }
    }

    /// Continues after the fast path, without waiting.
    fn try_further(&self, why: NotNow, into: &mut Out<P::Ring<K>>) -> Result<(), TryRecvError> {
        match self.refused(why, into) {
            Ok(()) => Ok(()),
            Err(why) if self.end.fail_fast(why) => Err(TryRecvError::Empty),
            Err(why) => self.try_on(why, || self.pop(into)),
        }
    }

    /// Continues after the fast path, until the deadline.
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
        // Usually nothing was there.
        if self.end.fail_fast(why) {
            return Err(TryRecvError::Empty);
        }
        let mut out = P::out();
        self.try_further(why, &mut out)?;
        P::owned(out).ok_or_else(|| Self::invalid().into())
    }

    /// Receives without waiting.
    pub(super) fn try_next(&self) -> Result<P::Owned, TryRecvError> {
        let mut out = P::out();
        match self.receive_next(&mut out) {
            Ok(()) => P::owned(out).ok_or_else(|| Self::invalid().into()),
            Err(why) => self.try_to_receive(why),
        }
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

    /// Receives up to `most` messages, and appends them to `into`. Waits if there is
    /// none. Returns how many came: no more than the channel holds, so that the call ends
    /// while a sender keeps up. Messages that come at once are released at once; in an
    /// SPSC channel, by a single store.
    ///
    /// # Errors
    /// Those of [`recv`](Self::recv). With [`RecvError::Invalid`], the messages before
    /// the invalid one are in `into`.
    pub fn recv_batch(&self, into: &mut Vec<P::Owned>, most: usize) -> Result<usize, RecvError> {
        self.recv_batch_by(into, most, None).map_err(RecvTimeoutError::without_deadline)
    }

    /// Like [`recv_batch`](Self::recv_batch), but waits for the first message at most
    /// this long.
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

    /// Like [`recv_batch`](Self::recv_batch), but waits for the first message until
    /// `deadline`.
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
        let unless_done = TellSenders(self);
        let mut pop =
            || self.consume(|| self.ring.pop_many(&self.at, self.end.owner(), most, into));
        let valid = match pop() {
            Ok(valid) => Ok(valid),
            Err(why) => self.wait_on(why, until, pop),
        };
        mem::forget(unless_done);
        if valid? { Ok(into.len() - before) } else { Err(Self::invalid().into()) }
    }

    /// Receives up to `most` messages without waiting, and appends them to `into`.
    /// Returns how many came.
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
        let unless_done = TellSenders(self);
        let mut pop =
            || self.consume(|| self.ring.pop_many(&self.at, self.end.owner(), most, into));
        let valid = match pop() {
            Ok(valid) => Ok(valid),
            Err(why) => self.try_on(why, pop),
        };
        mem::forget(unless_done);
        if valid? { Ok(into.len() - before) } else { Err(Self::invalid().into()) }
    }

    /// An iterator over the messages as they come, until the last sender is gone.
    ///
    /// Other errors are items too. After an error other than [`RecvError::Invalid`] and
    /// [`RecvError::Lagged`], the iteration ends.
    pub const fn iter(&self) -> Iter<'_, P, K> {
        Iter { receiver: self, ended: false }
    }

    /// An iterator over the messages that are there, without waiting. It ends when
    /// [`try_recv`](Self::try_recv) finds none, and when the last sender is gone.
    ///
    /// Other errors are items too. After an error other than [`RecvError::Invalid`] and
    /// [`RecvError::Lagged`], the iteration ends.
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

    /// The next item of [`iter`](Self::iter).
    fn next(&self, ended: &mut bool) -> Option<Result<P::Owned, RecvError>> {
        if *ended {
            return None;
        }
        let mut out = P::out();
        let received = match self.receive_next(&mut out) {
            Ok(()) => P::owned(out).ok_or_else(Self::invalid),
            Err(why) => self.wait_to_receive(why),
        };
        let valid =
            matches!(received, Ok(_) | Err(RecvError::Invalid { .. } | RecvError::Lagged(_)));
        *ended = !valid;
        (valid || !matches!(received, Err(RecvError::Disconnected))).then_some(received)
    }
}

impl<P: Payload, K: Kind> Receiver<P, K> {
    /// Notifies senders that wait for a slot that one has become free.
    #[inline(always)]
    pub(super) fn tell_slot_waiters(&self) {
        if P::Ring::<K>::SLOT_WAITERS {
            self.end.notify_slot_waiters(Done::Taken);
        }
    }

    pub(super) fn prospects(
        &self,
    ) -> Prospects<impl Fn() -> bool, impl Fn() -> bool, impl Fn() -> Want> {
        Prospects {
            available: || self.ring.may_take(&self.at),
            // A message that it holds itself comes back only if it lets it go. So it does
            // not wait for its own, nor for that of another which does the same: each would
            // wait for the other.
            in_flight: || self.held.get() == 0 && self.ring.in_flight(),
            want: || P::Ring::<K>::wanted_by_consumer(&self.at),
        }
    }

    /// An attempt that is done when it finds that messages were missed. That has been found
    /// already if it is why the first attempt was refused.
    pub(super) fn until_lagged<R>(
        &self,
        why: NotNow,
        mut attempt: impl FnMut() -> Result<R, NotNow>,
    ) -> Result<impl FnMut() -> Result<Result<R, u64>, NotNow>, RecvError> {
        // It has passed a gap, perhaps.
        let passed = || {
            if P::Ring::<K>::MAKES_ROOM {
                self.end.acknowledge();
            }
        };
        if let NotNow::Lagged(missed) = why {
            self.end.let_go();
            passed();
            return Err(RecvError::Lagged(missed));
        }
        Ok(move || match attempt() {
            Ok(done) => Ok(Ok(done)),
            Err(NotNow::Lagged(missed)) => {
                passed();
                Ok(Err(missed))
            }
            Err(why) => Err(why),
        })
    }

    /// Continues after a refused attempt, without waiting.
    pub(super) fn try_on<R>(
        &self,
        why: NotNow,
        attempt: impl FnMut() -> Result<R, NotNow>,
    ) -> Result<R, TryRecvError> {
        let attempt = self.until_lagged(why, attempt)?;
        match self.end.try_to_receive(why, attempt, &self.prospects())? {
            Polled::Done(got) => got.map_err(TryRecvError::Lagged),
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
        let attempt = self.until_lagged(why, attempt)?;
        let got = self.end.wait_to_receive(why, until, attempt, &self.prospects())?;
        got.ok_or(RecvTimeoutError::Timeout)?.map_err(RecvTimeoutError::Lagged)
    }

    /// A descriptor for event loops that is readable while a receive could make progress.
    /// The first call creates it.
    ///
    /// **When it is readable.** It is readable at first, and from the time when there is
    /// a message or an error to report, until a call of this handle that does not wait
    /// answers [`Empty`](TryRecvError::Empty) or [`Pending`](TryRecvError::Pending). So
    /// receive until there is nothing, and only then wait for the descriptor, level- or
    /// edge-triggered. It may be readable although nothing is there, because another
    /// receiver was faster or a process joined. If something is there, it is always
    /// readable, whichever process dies.
    ///
    /// **Cost.** It needs a thread of this process, which sleeps for this handle as a
    /// blocked call would. All handles in the segment that have a descriptor share it. Each
    /// answer of the handle that there is nothing wakes that thread. A receive that gets a
    /// message makes no system call for this, and neither do senders while this side is busy.
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
    /// [`Fault::System`] if no descriptor or no thread is available, or the fault that
    /// ends the use of the channel.
    pub fn readiness(&self) -> Result<&Readiness, Fault> {
        self.end.readiness()
    }

    /// Binds this handle's waits to a participant's life, and returns at once. When that
    /// participant has left or died, and no message is left, calls end with
    /// [`Fault::PeerGone`] instead of waiting or finding the channel empty. `None`
    /// unbinds them. A clone is bound like its original.
    ///
    /// The participant need not be an end of this channel. So a parent that waits for its
    /// child's answer learns if the child dies before it opens the channel: see
    /// [`SpawnedChild::joined`](crate::SpawnedChild::joined). Participants are also named
    /// by [`Segment::participants`](crate::Segment::participants) and by
    /// [events](crate::Event::Joined).
    ///
    /// The kernel wakes a waiting handle, without a timeout. A handle that only tries
    /// notices at once that the participant has left, and at the latest with the 256th
    /// failed try that it has died. If the channel is disconnected too, a call may report
    /// that instead.
    ///
    /// While such a handle sleeps, each operation on the segment's semaphores costs some
    /// 13 ns more for each sleeping process.
    ///
    /// # Errors
    /// The faults that end a handle's use.
    pub fn bind_to_peer(&self, peer: impl Into<Option<Peer>>) -> Result<(), Fault> {
        self.end.bind_to_peer(peer.into())
    }

    /// Ends this handle's waits from another thread, with [`Fault::Cancelled`]. The
    /// segment and all other handles keep working.
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
    /// // For example, when Ctrl-C was pressed:
    /// canceller.cancel()?;
    /// let ended = worker.join().unwrap();
    /// assert_eq!(ended, Err(RecvError::Fault(Fault::Cancelled)));
    /// # drop(sender);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn canceller(&self) -> Canceller {
        self.end.canceller()
    }

    /// How this handle waits for messages, from the next wait on. A clone waits like its
    /// original. Calls that do not wait are not concerned.
    ///
    /// ```
    /// use tombolo::{Segment, WaitStrategy};
    ///
    /// let segment = Segment::anonymous()?;
    /// let orders = segment.channel::<u64>("orders").capacity(8);
    /// let (sender, receiver) = (orders.sender()?, orders.receiver()?);
    /// // This process has a processor of its own for these messages.
    /// receiver.set_wait_strategy(WaitStrategy::BusySpin);
    /// sender.send(7)?;
    /// assert_eq!(receiver.recv()?, 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_wait_strategy(&self, strategy: WaitStrategy) {
        self.end.set_wait_strategy(strategy);
    }

    /// How this handle waits for messages.
    pub fn wait_strategy(&self) -> WaitStrategy {
        self.end.wait_strategy()
    }

    /// Closes this handle, as dropping it does, and reports a failure. With the last
    /// handle of this participant, the process also leaves the segment.
    ///
    /// # Errors
    /// [`Fault::Unwoken`] if the kernel refuses to wake sleeping senders;
    /// [`Fault::System`] for its other refusals. Everything that could be done is done.
    /// [`Fault::Forked`]. A removed segment is no error, because its removal has woken
    /// all processes.
    pub fn close(self) -> Result<(), Fault> {
        let Self { at, ring, end, .. } = self;
        drop((at, ring));
        end.close()
    }

    /// Whether a message may still come to a receiver: one is in the channel, or a receiver
    /// holds one [in place](Self::take) that would come again if it died. In a broadcast channel,
    /// and in an SPSC channel by its receiver, nobody else holds one.
    ///
    /// Looks at all slots that have been used. This may already have changed.
    pub fn is_outstanding(&self) -> bool {
        // A message that is taken meanwhile is seen before, and one that comes back after.
        !self.is_empty() || self.ring.in_flight() || !self.is_empty()
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
        usize::try_from(self.ring.left(&self.at)).unwrap_or(usize::MAX)
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

impl<T: Message + CheckedBitPattern, K: Kind> Receiver<T, K> {
    /// Receives without waiting. When close behind an active sender, it delays polling by
    /// up to 0.8 µs, so that messages arrive together.
    ///
    /// # Errors
    /// [`TryRecvError::Empty`]; [`TryRecvError::Pending`] if the next message is claimed
    /// and not yet written; or the fault that ends the use of the channel.
    #[inline(always)]
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        let mut out = CopyOut::new();
        match self.receive_next(&mut out) {
            Ok(()) => out.hand_on(Ok, || Err(Self::invalid().into())),
            Err(why) => self.try_to_receive(why),
        }
    }

    /// Receives. Waits for a message, without a timeout.
    ///
    /// # Errors
    /// [`RecvError::Disconnected`] if the channel is empty and the last sender is gone,
    /// also while this call waits; [`RecvError::Invalid`]; or the fault that ends the use
    /// of the channel.
    #[inline(always)]
    pub fn recv(&self) -> Result<T, RecvError> {
        let mut out = CopyOut::new();
        match self.receive_next(&mut out) {
            Ok(()) => out.hand_on(Ok, || Err(Self::invalid())),
            Err(why) => self.wait_to_receive(why),
        }
    }

    /// Receives. Waits for a message, at most this long.
    ///
    /// # Errors
    /// [`RecvTimeoutError::Timeout`], or the fault that ends the use of the channel.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        // A timeout beyond what the clock can represent never expires.
        self.recv_by(|| Instant::now().checked_add(timeout))
    }

    /// Receives. Waits for a message until `deadline`.
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
    #[inline(always)]
    pub(super) fn try_recv_bytes(&self, into: &mut Vec<u8>) -> Result<usize, TryRecvError> {
        into.clear();
        match self.receive_next(into) {
            Ok(()) => Ok(into.len()),
            Err(why) => self.try_to_receive_bytes(why, into),
        }
    }

    #[cold]
    #[inline(never)]
    fn try_to_receive_bytes(&self, why: NotNow, into: &mut Vec<u8>) -> Result<usize, TryRecvError> {
        // Mostly, nothing was there.
        if self.end.fail_fast(why) {
            return Err(TryRecvError::Empty);
        }
        self.try_further(why, into)?;
        Ok(into.len())
    }

    #[inline(always)]
    pub(super) fn recv_bytes(
        &self,
        into: &mut Vec<u8>,
        until: impl FnOnce() -> Option<Instant>,
    ) -> Result<usize, RecvTimeoutError> {
        into.clear();
        match self.receive_next(into) {
            Ok(()) => Ok(into.len()),
            Err(why) => self.receive_bytes_by(why, until(), into),
        }
    }

    pub(super) fn try_recv_flat(
        &self,
        into: &mut ByteBatch,
        most: usize,
    ) -> Result<usize, TryRecvError> {
        if most == 0 {
            return Ok(0);
        }
        into.begin();
        let before = into.len();
        let unless_done = TellSenders(self);
        let popped = match self.pop_flat(into, most) {
            Err(why) if self.end.fail_fast(why) => Err(TryRecvError::Empty),
            Err(why) => self.try_on(why, || self.pop_flat(into, most)),
            Ok(()) => Ok(()),
        };
        mem::forget(unless_done);
        popped.map(|()| into.len() - before)
    }

    pub(super) fn recv_flat(
        &self,
        into: &mut ByteBatch,
        most: usize,
        until: impl FnOnce() -> Option<Instant>,
    ) -> Result<usize, RecvTimeoutError> {
        if most == 0 {
            return Ok(0);
        }
        into.begin();
        let before = into.len();
        let unless_done = TellSenders(self);
        let popped = match self.pop_flat(into, most) {
            Err(why) => self.wait_on(why, until(), || self.pop_flat(into, most)),
            Ok(()) => Ok(()),
        };
        mem::forget(unless_done);
        popped.map(|()| into.len() - before)
    }

    pub(super) fn pop_flat(&self, into: &mut ByteBatch, most: usize) -> Result<(), NotNow> {
        self.consume(|| self.ring.pop_flat(&self.at, self.end.owner(), most, into))
    }

    #[cold]
    #[inline(never)]
    fn receive_bytes_by(
        &self,
        why: NotNow,
        until: Option<Instant>,
        into: &mut Vec<u8>,
    ) -> Result<usize, RecvTimeoutError> {
        self.outlast(why, until, into)?;
        Ok(into.len())
    }
}

impl<K: Kind> Receiver<Bytes, K> {
    /// Receives a message into `into`, and replaces what was there. Waits for a message,
    /// without a timeout. Returns the message's length.
    ///
    /// # Errors
    /// [`RecvError::Disconnected`] if the channel is empty and the last sender is gone,
    /// also while this call waits; or the fault that ends the use of the channel. `into`
    /// is empty then.
    #[inline(always)]
    pub fn recv(&self, into: &mut Vec<u8>) -> Result<usize, RecvError> {
        into.clear();
        match self.receive_next(into) {
            Ok(()) => Ok(into.len()),
            Err(why) => self.wait_to_receive_bytes(why, into),
        }
    }

    #[cold]
    #[inline(never)]
    fn wait_to_receive_bytes(&self, why: NotNow, into: &mut Vec<u8>) -> Result<usize, RecvError> {
        self.outlast(why, None, into).map_err(RecvTimeoutError::without_deadline)?;
        Ok(into.len())
    }

    /// Receives into `into` without waiting. When close behind an active sender, it
    /// delays polling by up to 0.8 µs, so that messages arrive together.
    ///
    /// # Errors
    /// [`TryRecvError::Empty`]; [`TryRecvError::Pending`] if the next message is claimed
    /// and not yet queued; or the fault that ends the use of the channel.
    #[inline(always)]
    pub fn try_recv(&self, into: &mut Vec<u8>) -> Result<usize, TryRecvError> {
        self.try_recv_bytes(into)
    }

    /// Receives into `into`. Waits at most this long.
    ///
    /// # Errors
    /// [`RecvTimeoutError::Timeout`], or the fault that ends the use of the channel.
    pub fn recv_timeout(
        &self,
        into: &mut Vec<u8>,
        timeout: Duration,
    ) -> Result<usize, RecvTimeoutError> {
        self.recv_bytes(into, || Instant::now().checked_add(timeout))
    }

    /// Receives into `into`. Waits until `deadline`.
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

    /// Receives up to `most` messages, and appends them to `into`, in whose one buffer they
    /// are side by side. Waits if there is none. Returns how many came, as
    /// [`recv_batch`](Self::recv_batch), which allocates for each message.
    ///
    /// # Errors
    /// Those of [`recv`](Self::recv).
    pub fn recv_batch_into(&self, into: &mut ByteBatch, most: usize) -> Result<usize, RecvError> {
        self.recv_flat(into, most, || None).map_err(RecvTimeoutError::without_deadline)
    }

    /// Like [`recv_batch_into`](Self::recv_batch_into), but waits for the first message at
    /// most this long.
    ///
    /// # Errors
    /// [`RecvTimeoutError::Timeout`], and those of [`recv`](Self::recv).
    pub fn recv_batch_into_timeout(
        &self,
        into: &mut ByteBatch,
        most: usize,
        timeout: Duration,
    ) -> Result<usize, RecvTimeoutError> {
        self.recv_flat(into, most, || Instant::now().checked_add(timeout))
    }

    /// Like [`recv_batch_into`](Self::recv_batch_into), but waits for the first message until
    /// `deadline`.
    ///
    /// # Errors
    /// As for [`recv_batch_into_timeout`](Self::recv_batch_into_timeout).
    pub fn recv_batch_into_deadline(
        &self,
        into: &mut ByteBatch,
        most: usize,
        deadline: Instant,
    ) -> Result<usize, RecvTimeoutError> {
        self.recv_flat(into, most, || Some(deadline))
    }

    /// Like [`recv_batch_into`](Self::recv_batch_into), but does not wait.
    ///
    /// # Errors
    /// Those of [`try_recv`](Self::try_recv): [`TryRecvError::Empty`] if none came.
    pub fn try_recv_batch_into(
        &self,
        into: &mut ByteBatch,
        most: usize,
    ) -> Result<usize, TryRecvError> {
        self.try_recv_flat(into, most)
    }

    /// The maximal length of a message, in bytes.
    pub const fn max_len(&self) -> usize {
        self.end.cells().longest()
    }
}

impl Receiver<Bytes, Mpmc> {
    /// Gives memory of long messages back to the kernel when this handle, or a later clone of
    /// it, is done with them. The channel's blocks are used from the first on, as many as
    /// messages need at a time. Of the first one, `bytes` keep their memory; of the n-th, the
    /// n-th part of that. So few messages at a time reuse memory that is there, and an empty
    /// channel keeps little: seven times `bytes` at most, if a thousand messages were in it at
    /// a time. Without this call, all keep what they have used.
    ///
    /// A message that is longer than what its block keeps costs a system call, and its
    /// sender's next use of the block new pages. What a killed sender had written of a message
    /// stays until the next long message comes and goes in its block.
    pub fn set_retained_memory(&self, bytes: usize) {
        self.at.set_budget(bytes);
    }
}

impl<P: Payload + CheckedBitPattern> Receiver<P, Mpmc> {
    /// Another handle of this channel in this process, for another thread.
    ///
    /// # Errors
    /// [`ChannelError::TooMany`], and those of every operation.
    pub fn try_clone(&self) -> Result<Self, ChannelError> {
        let end = self.end.another()?;
        let ring = end.typed(P::Ring::<Mpmc>::of)?;
        let at = ring.another_consumer(&self.at, end.me(), end.block().attempts);
        let at = at.map_err(|why| end.corrupt(&why.corruption().unwrap_or_default()))?;
        Ok(Self { ring, end, at, held: Cell::new(0) })
    }
}

impl<P: Payload, K: Kind> fmt::Debug for Receiver<P, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Receiver").field(&self.end).finish()
    }
}

/// Tells senders, when it is dropped, that messages may have been taken: the check of one of
/// several has panicked, and those before it are taken.
pub(super) struct TellSenders<'a, P: Payload, K: Kind>(pub(super) &'a Receiver<P, K>);

impl<P: Payload, K: Kind> Drop for TellSenders<'_, P, K> {
    #[cold]
    #[inline(never)]
    fn drop(&mut self) {
        self.0.end.acknowledge();
        self.0.tell_slot_waiters();
    }
}

/// An iterator over the messages of a [`Receiver`] as they come: see [`Receiver::iter`].
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

/// An iterator over the messages that are there for a [`Receiver`]: see
/// [`Receiver::try_iter`].
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
        let received = self.receiver.try_next();
        let valid =
            matches!(received, Ok(_) | Err(TryRecvError::Invalid { .. } | TryRecvError::Lagged(_)));
        self.ended = !valid;
        let none = matches!(
            received,
            Err(TryRecvError::Empty | TryRecvError::Pending | TryRecvError::Disconnected)
        );
        (!none).then_some(received)
    }
}

impl<P: Payload + CheckedBitPattern, K: Kind> FusedIterator for TryIter<'_, P, K> {}

/// An iterator that owns its [`Receiver`]: what a receiver
/// by value is iterated over by.
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

    /// The messages as they come, as with [`iter`](Receiver::iter). Dropping the iterator
    /// closes the handle.
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
