//! The receiving end.

use core::fmt;
use core::marker::PhantomData;
use std::time::{Duration, Instant};

use bytemuck::CheckedBitPattern;

use super::blocking::Prospects;
use super::cancel::Canceller;
use super::endpoint::{Endpoint, Resolved};
use super::kind::{Kind, Mpmc, Stuck};
use super::message::Message;
use super::ready::{Readiness, Want};
use crate::error::{ChannelError, Fault, RecvError, RecvTimeoutError, TryRecvError};
use crate::segment::{CopyOut, Peer};

/// The receiving end of a channel of `T`.
///
/// A handle belongs to one thread at a time: it can be moved to another one,
/// and for use by several at once an MPMC channel's handle can be
/// [cloned](Self::try_clone). Each message goes to one receiver.
///
/// **Crashes.** A message whose receiver is killed while it copies it out is
/// delivered to another one (or dropped, if the channel was created
/// [so](super::Channel::redeliver)); one that has been copied out is gone
/// with its process. Whoever waits is woken by the kernel.
pub struct Receiver<T, K: Kind = Mpmc> {
    /// Before `end`, so that the memory is detached when that goes.
    pub(crate) slots: K::Slots<T>,
    pub(crate) end: Endpoint,
    pub(crate) at: K::Consumer,
    message: PhantomData<fn() -> T>,
}

impl<T: Message + CheckedBitPattern, K: Kind> Receiver<T, K> {
    pub(crate) fn new(end: Endpoint) -> Result<Self, ChannelError> {
        let slots = end.typed(K::slots)?;
        let at = K::consumer(&end)
            .map_err(|stuck| end.corrupt(&stuck.corruption().unwrap_or_default()))?;
        Ok(Self { end, slots, at, message: PhantomData })
    }

    /// Receives, if that takes nothing but to do it: what most receives are,
    /// and so a part of its caller.
    #[inline(always)]
    fn receive_next(&self, into: &mut CopyOut<T>) -> Result<(), Stuck> {
        if !self.end.quiet_fast() {
            return Err(Stuck::Unsure);
        }
        K::pop_next(&self.slots, &self.at, self.end.owner(), into)?;
        self.end.acknowledge_fast();
        Ok(())
    }

    /// What is in the way after the above.
    fn refused(&self, stuck: Stuck, into: &mut CopyOut<T>) -> Result<(), Stuck> {
        if matches!(stuck, Stuck::Unsure) {
            self.end.consume(|| self.pop(into))
        } else {
            Err(stuck)
        }
    }

    fn pop(&self, into: &mut CopyOut<T>) -> Result<(), Stuck> {
        K::pop(&self.slots, &self.at, self.end.owner(), into)
    }

    #[cold]
    fn invalid() -> RecvError {
        RecvError::Invalid { type_name: core::any::type_name::<T>() }
    }

    /// Receives without waiting. On the heels of a sender that goes on sending
    /// it keeps back before it looks, up to 0.8 µs, and then finds more at once.
    ///
    /// # Errors
    /// [`TryRecvError::Empty`]; [`TryRecvError::Pending`] if the next message
    /// is claimed and not yet written; or why nothing can be received.
    #[inline(always)]
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        let mut copy_out = CopyOut::new();
        match self.receive_next(&mut copy_out) {
            Ok(()) => copy_out.hand_on(Ok, || Err(Self::invalid().into())),
            Err(stuck) => self.missed(stuck),
        }
    }

    /// Mostly, nothing was there.
    #[cold]
    #[inline(never)]
    fn missed(&self, stuck: Stuck) -> Result<T, TryRecvError> {
        if self.end.fail_fast(stuck) { Err(TryRecvError::Empty) } else { self.try_on(stuck) }
    }

    #[cold]
    #[inline(never)]
    fn try_on(&self, stuck: Stuck) -> Result<T, TryRecvError> {
        let mut copy_out = CopyOut::new();
        let got = match self.refused(stuck, &mut copy_out) {
            Ok(()) => Ok(()),
            Err(stuck) if self.end.fail_fast(stuck) => return Err(TryRecvError::Empty),
            Err(stuck) => {
                let pop = |alone| self.consume(alone, || self.pop(&mut copy_out));
                self.end.try_to_receive(stuck, pop, &self.prospects())?
            }
        };
        match got {
            Ok(()) => copy_out.hand_on(Ok, || Err(Self::invalid().into())),
            Err(Resolved::WaitPending) => Err(TryRecvError::Pending),
            Err(_) => Err(TryRecvError::Empty),
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
        let mut copy_out = CopyOut::new();
        match self.receive_next(&mut copy_out) {
            Ok(()) => copy_out.hand_on(Ok, || Err(Self::invalid())),
            Err(stuck) => self.recv_on(stuck),
        }
    }

    #[cold]
    #[inline(never)]
    fn recv_on(&self, stuck: Stuck) -> Result<T, RecvError> {
        self.recv_on_by(stuck, None).map_err(RecvTimeoutError::without_deadline)
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
        let mut copy_out = CopyOut::new();
        match self.receive_next(&mut copy_out) {
            Ok(()) => copy_out.hand_on(Ok, || Err(Self::invalid().into())),
            Err(stuck) => self.recv_on_by(stuck, until()),
        }
    }

    fn recv_on_by(&self, stuck: Stuck, until: Option<Instant>) -> Result<T, RecvTimeoutError> {
        let mut copy_out = CopyOut::new();
        if let Err(stuck) = self.refused(stuck, &mut copy_out) {
            self.wait(stuck, until, || self.pop(&mut copy_out))?;
        }
        copy_out.hand_on(Ok, || Err(Self::invalid().into()))
    }

    /// Receives what there is, up to `most` messages, to the end of `into`;
    /// waits if there is nothing. Says how many came. What comes at once is
    /// released at once: in an SPSC channel by a single store.
    ///
    /// # Errors
    /// Those of [`recv`](Self::recv). With [`RecvError::Invalid`] the
    /// messages before the invalid one are in `into`.
    pub fn recv_batch(&self, into: &mut Vec<T>, most: usize) -> Result<usize, RecvError> {
        if most == 0 {
            return Ok(0);
        }
        let before = into.len();
        let mut pop = || K::pop_many(&self.slots, &self.at, self.end.owner(), most, into);
        let valid = match self.end.consume(&mut pop) {
            Ok(valid) => valid,
            Err(stuck) => {
                self.wait(stuck, None, pop).map_err(RecvTimeoutError::without_deadline)?
            }
        };
        if valid { Ok(into.len() - before) } else { Err(Self::invalid()) }
    }

    fn wait<R>(
        &self,
        stuck: Stuck,
        until: Option<Instant>,
        mut pop: impl FnMut() -> Result<R, Stuck>,
    ) -> Result<R, RecvTimeoutError> {
        let pop = |alone| self.consume(alone, &mut pop);
        let got = self.end.wait_to_receive(stuck, until, pop, &self.prospects())?;
        got.ok_or(RecvTimeoutError::Timeout)
    }

    /// Pops; `alone` says that no sender is left, which is no news then.
    fn consume<R>(&self, alone: bool, pop: impl FnOnce() -> Result<R, Stuck>) -> Result<R, Stuck> {
        if !alone {
            return self.end.consume(pop);
        }
        let got = pop()?;
        self.end.acknowledge();
        Ok(got)
    }

    pub(crate) fn prospects(
        &self,
    ) -> Prospects<impl Fn() -> bool, impl Fn() -> bool, impl Fn() -> Want> {
        Prospects {
            available: || K::available(self.end.cells(), &self.at),
            in_hand: || K::in_hand(self.end.cells()),
            want: || K::wanted_by_consumer(&self.at),
        }
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

    /// The messages as they come, until the last sender has gone.
    ///
    /// An error other than that is an item too; after one that is not
    /// [`RecvError::Invalid`] the iteration ends.
    pub const fn iter(&self) -> Iter<'_, T, K> {
        Iter { receiver: self, ended: false }
    }

    /// How many messages are in the channel, now or a moment ago. A message
    /// counts from when its sender claims a slot until a receiver takes it, and
    /// again once that receiver has died and another one is to get it.
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

    /// How many messages the channel holds: what was asked for, exactly.
    pub fn capacity(&self) -> usize {
        self.end.messages()
    }
}

impl<T: Message + CheckedBitPattern> Receiver<T, Mpmc> {
    /// Another handle of this channel in this process, for another thread.
    ///
    /// # Errors
    /// [`ChannelError::TooMany`], and those of every operation.
    pub fn try_clone(&self) -> Result<Self, ChannelError> {
        Self::new(self.end.another()?)
    }
}

impl<T, K: Kind> fmt::Debug for Receiver<T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Receiver").field(&self.end).finish()
    }
}

/// The messages of a [`Receiver`]: see [`Receiver::iter`].
#[derive(Debug)]
pub struct Iter<'a, T, K: Kind> {
    receiver: &'a Receiver<T, K>,
    ended: bool,
}

impl<T: Message + CheckedBitPattern, K: Kind> Iterator for Iter<'_, T, K> {
    type Item = Result<T, RecvError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        match self.receiver.recv() {
            Err(RecvError::Disconnected) => {
                self.ended = true;
                None
            }
            Err(error @ RecvError::Fault(_)) => {
                self.ended = true;
                Some(Err(error))
            }
            received => Some(received),
        }
    }
}

impl<'a, T: Message + CheckedBitPattern, K: Kind> IntoIterator for &'a Receiver<T, K> {
    type Item = Result<T, RecvError>;
    type IntoIter = Iter<'a, T, K>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
