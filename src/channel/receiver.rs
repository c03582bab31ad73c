//! The receiving end.

use core::fmt;
use core::marker::PhantomData;
use std::time::{Duration, Instant};

use bytemuck::CheckedBitPattern;

use super::endpoint::{Endpoint, Resolved};
use super::kind::{Kind, Mpmc, Stuck};
use super::message::Message;
use crate::error::{ChannelError, Fault, RecvError, RecvTimeoutError, TryRecvError};
use crate::segment::Side;

/// The receiving end of a channel of `T`.
///
/// A handle belongs to one thread at a time: it can be moved to another one,
/// and for use by several at once an MPMC channel's handle can be
/// [cloned](Self::try_clone). Each message goes to one receiver.
///
/// **Crashes.** A message whose receiver is killed before `recv` returns is
/// delivered to another one (or dropped, if the channel was created
/// [so](super::Channel::redeliver)). Whoever waits is woken by the kernel.
pub struct Receiver<T, K: Kind = Mpmc> {
    end: Endpoint,
    /// Points into memory that `end` keeps attached.
    slots: K::Slots<T>,
    at: K::Consumer,
    message: PhantomData<fn() -> T>,
}

impl<T: Message + CheckedBitPattern, K: Kind> Receiver<T, K> {
    pub(crate) fn new(end: Endpoint) -> Result<Self, ChannelError> {
        let slots = end.typed(K::slots)?;
        let at = K::consumer(end.cells())
            .map_err(|stuck| end.corrupt(&stuck.corruption().unwrap_or_default()))?;
        Ok(Self { end, slots, at, message: PhantomData })
    }

    /// Pops by `pop`, if nothing has changed.
    #[inline]
    fn get<R>(&self, pop: impl FnOnce() -> Result<R, Stuck>) -> Result<R, Stuck> {
        if !self.end.quiet() {
            return Err(Stuck::Changed);
        }
        let got = pop()?;
        self.end.notify(Side::Sender);
        // The last sender may have gone since; the fence in between makes one
        // of us see the other.
        if !self.end.unchanged() {
            self.end.notify(Side::Receiver);
        }
        Ok(got)
    }

    /// Pops by `pop`, knowing that no sender lives.
    fn get_alone<R>(&self, pop: impl FnOnce() -> Result<R, Stuck>) -> Result<R, Stuck> {
        match pop() {
            Ok(got) => {
                self.end.notify(Side::Sender);
                // Receivers wait for this one to have finished: only then do
                // they know that there is nothing left.
                self.end.notify(Side::Receiver);
                Ok(got)
            }
            Err(Stuck::None) => Err(Stuck::Alone),
            Err(stuck) => Err(stuck),
        }
    }

    /// Repeats `pop` until it gives something or has to wait (`Err`).
    /// Empty for good is a fault: no sender lives, one more try since that
    /// was found out has come to nothing, and no message is in the hands of
    /// a reader who may yet let it go.
    #[cold]
    fn insist<R>(
        &self,
        mut stuck: Stuck,
        mut pop: impl FnMut() -> Result<R, Stuck>,
    ) -> Result<Result<R, Resolved>, Fault> {
        loop {
            if let Stuck::Alone = stuck
                && K::in_hand(self.end.cells())
            {
                return Ok(Err(Resolved::Wait));
            }
            let resolved = self.end.resolve(stuck)?;
            if resolved != Resolved::Retry {
                return Ok(Err(resolved));
            }
            let got = match self.end.alone() {
                true => self.get_alone(&mut pop),
                false => self.get(&mut pop),
            };
            match got {
                Ok(got) => return Ok(Ok(got)),
                Err(why) => stuck = why,
            }
        }
    }

    #[inline]
    fn pop(&self) -> Result<Option<T>, Stuck> {
        K::pop(&self.slots, &self.at, self.end.owner())
    }

    fn valid(message: Option<T>) -> Result<T, RecvError> {
        message.ok_or(RecvError::Invalid { type_name: core::any::type_name::<T>() })
    }

    /// Receives without waiting.
    ///
    /// # Errors
    /// [`TryRecvError::Empty`]; [`TryRecvError::Pending`] if the next message
    /// is claimed and not yet written; or why nothing can be received.
    #[inline]
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        match self.get(|| self.pop()) {
            Ok(message) => Ok(Self::valid(message)?),
            Err(stuck) => self.try_again(stuck),
        }
    }

    #[cold]
    fn try_again(&self, mut stuck: Stuck) -> Result<T, TryRecvError> {
        loop {
            let nothing = match self.insist(stuck, || self.pop())? {
                Ok(message) => return Ok(Self::valid(message)?),
                Err(Resolved::WaitPending) => TryRecvError::Pending,
                Err(_) => TryRecvError::Empty,
            };
            if !self.end.in_vain()? {
                return Err(nothing);
            }
            stuck = Stuck::Changed;
        }
    }

    /// Receives, waiting for a message as long as it takes.
    ///
    /// # Errors
    /// [`RecvError::Invalid`], or why nothing can be received. In particular
    /// [`Fault::Disconnected`] when the channel is empty and the last sender
    /// has gone, also while this call waits.
    #[inline]
    pub fn recv(&self) -> Result<T, RecvError> {
        match self.get(|| self.pop()) {
            Ok(message) => Self::valid(message),
            Err(stuck) => match self.wait(stuck, None, || self.pop()) {
                Ok(message) => Self::valid(message),
                Err(RecvTimeoutError::Failed(error)) => Err(error),
                // Without a deadline there is no time-out.
                Err(RecvTimeoutError::Timeout) => Err(Fault::Closed.into()),
            },
        }
    }

    /// Receives, waiting for a message at most this long.
    ///
    /// # Errors
    /// [`RecvTimeoutError::Timeout`], or why nothing can be received.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        // A time-out beyond what the clock can say is none.
        self.recv_by(Instant::now().checked_add(timeout))
    }

    /// Receives, waiting for a message until `deadline`.
    ///
    /// # Errors
    /// As for [`recv_timeout`](Self::recv_timeout).
    pub fn recv_deadline(&self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        self.recv_by(Some(deadline))
    }

    #[inline]
    fn recv_by(&self, until: Option<Instant>) -> Result<T, RecvTimeoutError> {
        let message = match self.get(|| self.pop()) {
            Ok(message) => message,
            Err(stuck) => self.wait(stuck, until, || self.pop())?,
        };
        Ok(Self::valid(message)?)
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
        let valid = match self.get(&mut pop) {
            Ok(valid) => valid,
            Err(stuck) => match self.wait(stuck, None, pop) {
                Ok(valid) => valid,
                Err(RecvTimeoutError::Failed(error)) => return Err(error),
                Err(RecvTimeoutError::Timeout) => return Err(Fault::Closed.into()),
            },
        };
        if valid {
            Ok(into.len() - before)
        } else {
            Err(RecvError::Invalid { type_name: core::any::type_name::<T>() })
        }
    }

    #[cold]
    fn wait<R>(
        &self,
        stuck: Stuck,
        until: Option<Instant>,
        mut pop: impl FnMut() -> Result<R, Stuck>,
    ) -> Result<R, RecvTimeoutError> {
        if let Ok(got) = self.insist(stuck, &mut pop)? {
            return Ok(got);
        }
        let attempt = || match self.get(&mut pop) {
            Ok(got) => Some(Ok(got)),
            Err(stuck) => match self.insist(stuck, &mut pop) {
                Ok(got) => got.ok().map(Ok),
                Err(fault) => Some(Err(fault)),
            },
        };
        match self.end.wait(until, attempt, || K::available(self.end.cells(), &self.at)) {
            Some(done) => Ok(done?),
            None => Err(RecvTimeoutError::Timeout),
        }
    }

    /// The messages as they come, until the last sender has gone.
    ///
    /// An error other than that is an item too; after one that is not
    /// [`RecvError::Invalid`] the iteration ends.
    pub const fn iter(&self) -> Iter<'_, T, K> {
        Iter { receiver: self, ended: false }
    }

    /// How many messages are in the channel, now or a moment ago. A message
    /// counts from when its sender claims a slot until a receiver takes it.
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
        self.end.capacity()
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
            Err(RecvError::Fault(Fault::Disconnected { .. })) => {
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
