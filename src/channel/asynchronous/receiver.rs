//! Receiving, awaited.

use core::fmt;
use core::future::{Future, poll_fn};
use core::mem;
use core::pin::Pin;
use core::task::{Context, Poll, ready};

use bytemuck::CheckedBitPattern;
use futures_core::{FusedStream, Stream};

use super::waits::{Awaited, Further, Wait, Waits};
use crate::channel::blocking::{Prospects, Try};
use crate::channel::delivery::{Delivery, DeliverySlice, Taken};
use crate::channel::receiver::{Receiver, TellSenders};
use crate::error::{ChannelError, Fault, RecvError};
use crate::kinds::batch::ByteBatch;
use crate::kinds::message::Message;
use crate::kinds::payload::Bytes;
use crate::kinds::ring::{Out, Ring};
use crate::kinds::table::{InPlace, Kind, Mpmc, Payload, Spsc};
use crate::ring::wait::NotNow;
use crate::storage::CopyOut;

/// A [`Receiver`] that is awaited: see [`Receiver::into_async`].
///
/// It works with every runtime. While messages flow, no thread and no system call is involved.
/// A task that finds nothing gives way to other tasks a few times; then it is woken by a thread
/// that all awaited and polled handles of this process in the segment share. The thread starts
/// with the first wait and ends with the last handle.
///
/// A handle belongs to one task at a time. Several tasks share an MPMC channel by
/// [clones](Self::try_clone).
///
/// **Cancelling.** A future that is dropped, as by a `select!` or a time-out, has received
/// nothing: each method is cancel-safe, and says so. A wake-up that came for a dropped future
/// has also gone to the others that wait.
///
/// **How a wait ends.** As that of a blocking call: with a message, with
/// [`RecvError::Disconnected`] as soon as the last sender has gone or died, with
/// [`RecvError::Lagged`], or with the fault that ends the use of the channel. A
/// [`Canceller`](crate::Canceller) and [`Receiver::bind_to_peer`] concern it too.
///
/// It is a [`Stream`] of messages, which ends after [`RecvError::Disconnected`], and after
/// other errors than [`RecvError::Invalid`] and [`RecvError::Lagged`].
///
/// ```
/// use std::pin::pin;
/// use std::task::{Context, Poll, Waker};
/// use tombolo::Segment;
///
/// let segment = Segment::anonymous()?;
/// let jobs = segment.channel::<u64>("jobs").capacity(8);
/// let mut sender = jobs.sender()?.into_async();
/// let mut receiver = jobs.receiver()?.into_async();
/// let task = async {
///     sender.send(7).await?;
///     Ok::<_, Box<dyn std::error::Error>>(receiver.recv().await?)
/// };
/// // A runtime does this:
/// let Poll::Ready(received) = pin!(task).poll(&mut Context::from_waker(Waker::noop())) else {
///     panic!("there is room, and then there is a message");
/// };
/// assert_eq!(received?, 7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct AsyncReceiver<P: Payload, K: Kind = Mpmc> {
    /// Dropped before the handle: while it has the credits of the channel.
    waits: Waits,
    receiver: Receiver<P, K>,
    /// Whether the stream has ended.
    ended: bool,
}

// Nothing in it is ever pinned.
impl<P: Payload, K: Kind> Unpin for AsyncReceiver<P, K> {}

impl<P: Payload, K: Kind> Awaited for AsyncReceiver<P, K> {
    fn waits(&mut self) -> &mut Waits {
        &mut self.waits
    }
}

impl<P: Payload, K: Kind> Receiver<P, K> {
    /// This handle, to be awaited instead of blocked in.
    pub fn into_async(self) -> AsyncReceiver<P, K> {
        AsyncReceiver { waits: Waits::default(), receiver: self, ended: false }
    }
}

impl<P: Payload, K: Kind> AsyncReceiver<P, K> {
    /// The handle, to be blocked in.
    pub fn into_sync(self) -> Receiver<P, K> {
        self.receiver
    }

    /// The handle, for what needs no `await`.
    pub const fn as_sync(&self) -> &Receiver<P, K> {
        &self.receiver
    }

    /// Closes this handle: see [`Receiver::close`].
    ///
    /// # Errors
    /// As there.
    pub fn close(self) -> Result<(), Fault> {
        self.into_sync().close()
    }
}

impl<P: Payload + CheckedBitPattern, K: Kind> AsyncReceiver<P, K> {
    /// Goes on after an attempt that was refused.
    fn poll_on<R>(
        &mut self,
        why: NotNow,
        mut attempt: impl FnMut(&Receiver<P, K>) -> Result<R, NotNow>,
        cx: &Context<'_>,
    ) -> Poll<Result<R, RecvError>> {
        let Self { waits, receiver, .. } = self;
        let receiver = &*receiver;
        let attempt = match receiver.until_lagged(why, || attempt(receiver)) {
            Ok(attempt) => attempt,
            Err(lagged) => {
                waits.end();
                return Poll::Ready(Err(lagged));
            }
        };
        let Prospects { available, in_flight, want } = receiver.prospects();
        let mut op = Try { end: &receiver.end, attempt, more: available, in_flight };
        Poll::Ready(match ready!(waits.poll((&receiver.end, want), &mut op, why, cx)) {
            Ok(got) => got.map_err(RecvError::Lagged),
            Err(fault) => Err(fault.into()),
        })
    }

    /// Attempts, and goes on if that is refused.
    fn poll_attempt<R>(
        &mut self,
        mut attempt: impl FnMut(&Receiver<P, K>) -> Result<R, NotNow>,
        cx: &Context<'_>,
    ) -> Poll<Result<R, RecvError>> {
        match attempt(&self.receiver) {
            Ok(got) => {
                self.waits.end();
                Poll::Ready(Ok(got))
            }
            Err(why) => self.poll_on(why, attempt, cx),
        }
    }

    #[inline]
    fn poll_out(
        &mut self,
        out: &mut Out<P::Ring<K>>,
        cx: &Context<'_>,
    ) -> Poll<Result<(), RecvError>> {
        let received = self.receiver.receive_next(out);
        match received.or_else(|why| self.receiver.refused(why, out)) {
            Ok(()) => {
                self.waits.end();
                Poll::Ready(Ok(()))
            }
            Err(why) => self.poll_on(why, |receiver| receiver.pop(out), cx),
        }
    }

    /// Receives, or has the task of `cx` woken when there may be a message: what the others are
    /// made of.
    ///
    /// **Cancel-safe.** Only the task that polled last is woken.
    #[inline]
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<P::Owned, RecvError>> {
        let mut out = P::out();
        ready!(self.poll_out(&mut out, cx))?;
        Poll::Ready(P::owned(out).ok_or_else(Receiver::<P, K>::invalid))
    }

    /// Receives up to `most` messages, and appends them to `into`: see
    /// [`Receiver::recv_batch`].
    ///
    /// **Cancel-safe.** A future that is dropped has appended nothing.
    ///
    /// # Errors
    /// As there.
    pub async fn recv_batch(
        &mut self,
        into: &mut Vec<P::Owned>,
        most: usize,
    ) -> Result<usize, RecvError> {
        if most == 0 {
            return Ok(0);
        }
        let before = into.len();
        let wait = Wait(self);
        let valid = poll_fn(|cx| {
            let pop = |receiver: &Receiver<P, K>| {
                let unless_done = TellSenders(receiver);
                let (ring, at, owner) = (&receiver.ring, &receiver.at, receiver.end.owner());
                let popped = receiver.consume(|| ring.pop_many(at, owner, most, into));
                mem::forget(unless_done);
                popped
            };
            wait.0.poll_attempt(pop, cx)
        });
        if valid.await? { Ok(into.len() - before) } else { Err(Receiver::<P, K>::invalid()) }
    }

    /// Takes a message.
    fn poll_take(&mut self, cx: &Context<'_>) -> Poll<Result<Taken<P, K>, RecvError>> {
        let taken = self.receiver.take_next();
        match taken.or_else(|why| self.receiver.take_refused(why)) {
            Ok(taken) => {
                self.waits.end();
                Poll::Ready(Ok(taken))
            }
            Err(why) => self.poll_on(why, Receiver::take_once, cx),
        }
    }
}

impl<T: Message + CheckedBitPattern, K: Kind> AsyncReceiver<T, K> {
    /// Receives: see [`Receiver::recv`].
    ///
    /// **Cancel-safe.** A future that is dropped has received nothing: the message goes to the
    /// next receive, of this handle or another.
    ///
    /// # Errors
    /// As there.
    #[inline]
    pub fn recv(&mut self) -> impl Future<Output = Result<T, RecvError>> + use<'_, T, K> {
        Recv(Wait(self))
    }

    /// Goes on after the fast path.
    #[cold]
    #[inline(never)]
    fn poll_further(
        &mut self,
        why: NotNow,
        cx: &Context<'_>,
        into: &mut Further<Result<T, RecvError>>,
    ) {
        let mut out = CopyOut::new();
        let received = match self.receiver.refused(why, &mut out) {
            Ok(()) => {
                self.waits.end();
                Ok(())
            }
            Err(why) => match self.poll_on(why, |receiver| receiver.pop(&mut out), cx) {
                Poll::Ready(received) => received,
                Poll::Pending => return,
            },
        };
        let received = received.and_then(|()| out.hand_on(Ok, || Err(Receiver::<T, K>::invalid())));
        *into = Some(received);
    }
}

/// The future of [`AsyncReceiver::recv`]: by hand, because its fast path is to become part of
/// its caller.
struct Recv<'a, T: Message + CheckedBitPattern, K: Kind>(Wait<'a, AsyncReceiver<T, K>>);

impl<T: Message + CheckedBitPattern, K: Kind> Future for Recv<'_, T, K> {
    type Output = Result<T, RecvError>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let handle = &mut *self.0.0;
        // Mostly it is there, and there is nothing to wait for.
        let mut out = CopyOut::new();
        match handle.receiver.receive_next(&mut out) {
            Ok(()) => Poll::Ready(out.hand_on(Ok, || Err(Receiver::<T, K>::invalid()))),
            Err(why) => {
                let mut further = None;
                handle.poll_further(why, cx, &mut further);
                further.map_or(Poll::Pending, Poll::Ready)
            }
        }
    }
}

impl<K: Kind> AsyncReceiver<Bytes, K> {
    /// Receives into `into`, and replaces what was there: see [`Receiver::recv`]. Returns the
    /// message's length.
    ///
    /// **Cancel-safe.** A future that is dropped has received nothing; `into` is empty then.
    ///
    /// # Errors
    /// As there.
    #[inline]
    pub async fn recv(&mut self, into: &mut Vec<u8>) -> Result<usize, RecvError> {
        into.clear();
        // As above.
        if self.receiver.receive_next(into).is_ok() {
            return Ok(into.len());
        }
        let wait = Wait(self);
        poll_fn(|cx| wait.0.poll_out(into, cx)).await?;
        Ok(into.len())
    }

    /// Receives up to `most` messages, and appends them to `into`: see
    /// [`Receiver::recv_batch_into`].
    ///
    /// **Cancel-safe.** A future that is dropped has appended nothing.
    ///
    /// # Errors
    /// As there.
    pub async fn recv_batch_into(
        &mut self,
        into: &mut ByteBatch,
        most: usize,
    ) -> Result<usize, RecvError> {
        if most == 0 {
            return Ok(0);
        }
        into.begin();
        let before = into.len();
        let wait = Wait(self);
        let popped = poll_fn(|cx| {
            let pop = |receiver: &Receiver<Bytes, K>| receiver.pop_flat(into, most);
            wait.0.poll_attempt(pop, cx)
        });
        popped.await?;
        Ok(into.len() - before)
    }
}

impl<P: Payload + CheckedBitPattern, K: InPlace> AsyncReceiver<P, K> {
    /// Takes a message, to read it in place: see [`Receiver::take`]. A task that holds the
    /// delivery across an `await` cannot move between threads.
    ///
    /// **Cancel-safe.** A future that is dropped has taken nothing.
    ///
    /// # Errors
    /// As there.
    pub async fn take(&mut self) -> Result<Delivery<'_, P, K>, RecvError> {
        let taken = {
            let wait = Wait(&mut *self);
            poll_fn(|cx| wait.0.poll_take(cx)).await?
        };
        Ok(self.receiver.delivery(taken))
    }
}

impl<T: Message + CheckedBitPattern> AsyncReceiver<T, Spsc> {
    /// Takes up to `most` messages side by side, to read them in place: see
    /// [`Receiver::take_slice`].
    ///
    /// **Cancel-safe.** A future that is dropped has taken nothing.
    ///
    /// # Errors
    /// As there.
    pub async fn take_slice(&mut self, most: usize) -> Result<DeliverySlice<'_, T>, RecvError> {
        let most = most.max(1);
        let count = {
            let wait = Wait(&mut *self);
            poll_fn(|cx| wait.0.poll_attempt(|receiver| receiver.filled_once(most), cx)).await?
        };
        Ok(self.receiver.slice(count))
    }
}

impl<P: Payload + CheckedBitPattern> AsyncReceiver<P, Mpmc> {
    /// Another handle of this channel in this process, for another task.
    ///
    /// # Errors
    /// As for [`Receiver::try_clone`].
    pub fn try_clone(&self) -> Result<Self, ChannelError> {
        Ok(self.receiver.try_clone()?.into_async())
    }
}

impl<P: Payload + CheckedBitPattern, K: Kind> Stream for AsyncReceiver<P, K> {
    type Item = Result<P::Owned, RecvError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let received = ready!(self.poll_recv(cx));
        let valid =
            matches!(received, Ok(_) | Err(RecvError::Invalid { .. } | RecvError::Lagged(_)));
        self.ended = !valid;
        let none = matches!(received, Err(RecvError::Disconnected));
        Poll::Ready((!none).then_some(received))
    }
}

impl<P: Payload + CheckedBitPattern, K: Kind> FusedStream for AsyncReceiver<P, K> {
    fn is_terminated(&self) -> bool {
        self.ended
    }
}

impl<P: Payload, K: Kind> fmt::Debug for AsyncReceiver<P, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AsyncReceiver").field(&self.receiver.end).finish()
    }
}
