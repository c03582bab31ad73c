//! Sending, awaited.

use core::fmt;
use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::collections::VecDeque;

use bytemuck::NoUninit;
use futures_sink::Sink;

use super::waits::{Awaited, Further, Wait, Waits};
use crate::channel::blocking::Try;
use crate::channel::grant::{Claim, Grant, GrantSlice};
use crate::channel::sender::{Refusal, Sender};
use crate::error::{ChannelError, Fault, SendBatchError, SendError, TrySendError};
use crate::kinds::message::Message;
use crate::kinds::payload::Bytes;
use crate::kinds::ring::Ring;
use crate::kinds::table::{Broadcast, Broadcastable, Kind, Mpmc, Payload, Spsc};
use crate::ring::wait::{NotNow, Want};

/// A [`Sender`] that is awaited: see [`Sender::into_async`]. How it waits, and how a wait ends,
/// is as for an [`AsyncReceiver`](crate::AsyncReceiver).
///
/// The channel's capacity is the back-pressure: nothing is sent before there is room, and
/// nothing is queued in this process.
///
/// It is a [`Sink`] of messages. The sink hands a message over at once if there is room.
/// Otherwise it keeps this one message until there is room, and takes no other. A message that
/// the sink still keeps when it is dropped is not sent.
pub struct AsyncSender<P: Payload, K: Kind = Mpmc> {
    /// Dropped before the handle: while it has the credits of the channel.
    waits: Waits,
    sender: Sender<P, K>,
    /// What the sink has been given and the channel had no room for: one message, if its user
    /// waits until it is ready.
    kept: VecDeque<P::Owned>,
}

// Nothing in it is ever pinned.
impl<P: Payload, K: Kind> Unpin for AsyncSender<P, K> {}

impl<P: Payload, K: Kind> Awaited for AsyncSender<P, K> {
    fn waits(&mut self) -> &mut Waits {
        &mut self.waits
    }
}

impl<P: Payload, K: Kind> Sender<P, K> {
    /// This handle, to be awaited instead of blocked in.
    pub fn into_async(self) -> AsyncSender<P, K> {
        AsyncSender { waits: Waits::default(), sender: self, kept: VecDeque::new() }
    }
}

impl<P: Payload, K: Kind> AsyncSender<P, K> {
    /// The handle, to be blocked in. A message that the sink keeps is not sent.
    pub fn into_sync(self) -> Sender<P, K> {
        self.sender
    }

    /// The handle, for what needs no `await`.
    pub const fn as_sync(&self) -> &Sender<P, K> {
        &self.sender
    }

    /// Closes this handle: see [`Sender::close`].
    ///
    /// # Errors
    /// As there.
    pub fn close(self) -> Result<(), Fault> {
        self.into_sync().close()
    }
}

impl<P: Payload + NoUninit, K: Kind> AsyncSender<P, K> {
    /// Goes on after an attempt that was refused.
    fn poll_on<R>(
        &mut self,
        why: NotNow,
        mut attempt: impl FnMut(&Sender<P, K>) -> Result<R, NotNow>,
        cx: &Context<'_>,
    ) -> Poll<Result<R, Fault>> {
        let Self { waits, sender, .. } = self;
        let sender = &*sender;
        let mut op = Try {
            end: &sender.end,
            attempt: || attempt(sender),
            more: || sender.ring.may_reserve(&sender.at),
            in_flight: || false,
        };
        let want = || P::Ring::<K>::wanted_by_producer(&sender.at);
        waits.poll((&sender.end, want), &mut op, why, cx)
    }

    /// Attempts, after what the sink keeps, and goes on if that is refused.
    fn poll_attempt<R>(
        &mut self,
        mut attempt: impl FnMut(&Sender<P, K>) -> Result<R, NotNow>,
        cx: &Context<'_>,
    ) -> Poll<Result<R, Fault>> {
        if let Err(refusal) = ready!(self.poll_kept(cx)) {
            return Poll::Ready(Err(refusal.into_fault()));
        }
        match attempt(&self.sender) {
            Ok(done) => {
                self.waits.end();
                Poll::Ready(Ok(done))
            }
            Err(why) => self.poll_on(why, attempt, cx),
        }
    }

    #[inline]
    fn poll_send(&mut self, message: &P::Sent<'_>, cx: &Context<'_>) -> Poll<Result<(), Refusal>> {
        if !self.kept.is_empty() {
            ready!(self.poll_kept(cx))?;
        }
        self.poll_next(message, cx)
    }

    #[inline]
    fn poll_next(&mut self, message: &P::Sent<'_>, cx: &Context<'_>) -> Poll<Result<(), Refusal>> {
        match self.sender.send_next(message) {
            Ok(()) => {
                self.waits.end();
                Poll::Ready(Ok(()))
            }
            Err(why) => self.poll_further(why, message, cx),
        }
    }

    #[cold]
    #[inline(never)]
    fn poll_further(
        &mut self,
        why: NotNow,
        message: &P::Sent<'_>,
        cx: &Context<'_>,
    ) -> Poll<Result<(), Refusal>> {
        if let Some(length) = self.sender.misfit(message) {
            return Poll::Ready(Err(Refusal::Length(length)));
        }
        match self.sender.refused(why, message) {
            Ok(()) => self.waits.end(),
            Err(why) => ready!(self.poll_on(why, |sender| sender.push(message), cx))?,
        }
        // It is in the channel; a receiver that sleeps may not have been woken.
        Poll::Ready(Ok(self.sender.end.unwoken()?))
    }

    /// Sends what the sink keeps. What is refused stays there.
    fn poll_kept(&mut self, cx: &Context<'_>) -> Poll<Result<(), Refusal>> {
        while let Some(message) = self.kept.pop_front() {
            let polled = self.poll_next(&P::lent(&message), cx);
            match polled {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(Refusal::Unwoken(_))) => return polled,
                _ => {
                    self.kept.push_front(message);
                    return polled;
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Sends what the sink keeps; what is refused is in the error.
    fn poll_flushed(&mut self, cx: &Context<'_>) -> Poll<Result<(), SendError<P::Owned>>> {
        let refusal = match ready!(self.poll_kept(cx)) {
            Ok(()) => return Poll::Ready(Ok(())),
            Err(Refusal::Unwoken(unwoken)) => return Poll::Ready(Err(unwoken.into())),
            Err(refusal) => refusal,
        };
        Poll::Ready(match self.kept.pop_front() {
            None => Ok(()),
            Some(message) => Err(match refusal {
                Refusal::Length(length) => self.sender.wrong_length(message, length),
                refusal => SendError::unsent(message, refusal.into_fault()),
            }),
        })
    }

    /// Sends: see [`Sender::send`].
    ///
    /// **Cancel-safe.** A future that is dropped has not sent the message.
    ///
    /// # Errors
    /// As there; with the message, if that was given by value.
    #[inline]
    pub fn send<'m>(
        &mut self,
        message: P::Sent<'m>,
    ) -> impl Future<Output = Result<(), SendError<P::Unsent>>> + use<'_, 'm, P, K> {
        Sending { wait: Wait(self), message }
    }

    /// Goes on after the fast path, if that was tried.
    #[cold]
    #[inline(never)]
    fn poll_on_with(
        &mut self,
        tried: Option<NotNow>,
        message: &P::Sent<'_>,
        cx: &Context<'_>,
        into: &mut Further<Result<(), SendError<P::Unsent>>>,
    ) {
        let polled = match tried {
            Some(why) => self.poll_further(why, message, cx),
            None => self.poll_send(message, cx),
        };
        if let Poll::Ready(sent) = polled {
            *into = Some(sent.map_err(|refusal| self.sender.error(message, refusal)));
        }
    }

    /// Waits for room, and sends the first of `messages`, as many as fit then. Returns how many.
    ///
    /// **Cancel-safe.** A future that is dropped has sent nothing.
    ///
    /// # Errors
    /// Those of [`Sender::try_send_batch`].
    pub async fn send_some(&mut self, messages: &[P::Sent<'_>]) -> Result<usize, SendBatchError> {
        self.sender.all_fit(messages)?;
        if messages.is_empty() {
            return Ok(0);
        }
        let wait = Wait(self);
        let pushed =
            poll_fn(|cx| wait.0.poll_attempt(|sender| sender.push_many(messages), cx)).await;
        let sent = pushed.map_err(|fault| SendBatchError::after(0, fault))?;
        let unwoken = wait.0.sender.end.unwoken();
        unwoken.map_err(|unwoken| SendBatchError::after(sent, unwoken))?;
        Ok(sent)
    }

    /// Sends all of `messages` in order, and waits for room as needed: see
    /// [`Sender::send_batch`].
    ///
    /// **Not cancel-safe.** A future that is dropped may have sent the first part of them.
    /// [`send_some`](Self::send_some) says how many it has sent.
    ///
    /// # Errors
    /// As there.
    pub async fn send_batch(&mut self, messages: &[P::Sent<'_>]) -> Result<(), SendBatchError> {
        self.sender.all_fit(messages)?;
        let mut sent = 0;
        while let Some(rest) = messages.get(sent..).filter(|rest| !rest.is_empty()) {
            match self.send_some(rest).await {
                Ok(more) => sent += more,
                Err(error) => return Err(SendBatchError::after(sent + error.sent, error.reason)),
            }
        }
        Ok(())
    }

    /// Claims a place.
    fn poll_claim(&mut self, length: usize, cx: &Context<'_>) -> Poll<Result<Claim<P, K>, Fault>> {
        let reserve = |sender: &Sender<P, K>| match sender.reserve_next(length) {
            Ok(claim) => Ok(claim),
            Err(_) => sender.reserve_once(length),
        };
        self.poll_attempt(reserve, cx)
    }

    async fn claim(&mut self, length: usize) -> Result<Grant<'_, P, K>, SendError> {
        let claim = {
            let wait = Wait(&mut *self);
            poll_fn(|cx| wait.0.poll_claim(length, cx)).await?
        };
        Ok(self.sender.grant(claim))
    }
}

/// The future of [`AsyncSender::send`]: by hand, because its fast path is to become part of its
/// caller.
struct Sending<'a, 'm, P: Payload + NoUninit, K: Kind> {
    wait: Wait<'a, AsyncSender<P, K>>,
    message: P::Sent<'m>,
}

// Nothing in it is ever pinned.
impl<P: Payload + NoUninit, K: Kind> Unpin for Sending<'_, '_, P, K> {}

impl<P: Payload + NoUninit, K: Kind> Future for Sending<'_, '_, P, K> {
    type Output = Result<(), SendError<P::Unsent>>;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { wait, message } = self.get_mut();
        let handle = &mut *wait.0;
        // Mostly there is room, and nothing to wait for.
        let tried = handle.kept.is_empty().then(|| handle.sender.send_next(message));
        if let Some(Ok(())) = tried {
            return Poll::Ready(Ok(()));
        }
        let mut further = None;
        handle.poll_on_with(tried.and_then(Result::err), message, cx, &mut further);
        further.map_or(Poll::Pending, Poll::Ready)
    }
}

impl<T: Message + NoUninit, K: Kind> AsyncSender<T, K> {
    /// Claims the place of a message, to write the message in place: see [`Sender::reserve`]. A
    /// task that holds the grant across an `await` cannot move between threads. Committing it
    /// may wait in a broadcast channel, and does not give way to other tasks then.
    ///
    /// **Cancel-safe.** A future that is dropped holds no place.
    ///
    /// # Errors
    /// As there.
    pub async fn reserve(&mut self) -> Result<Grant<'_, T, K>, SendError> {
        self.claim(size_of::<T>()).await
    }
}

impl<K: Kind> AsyncSender<Bytes, K> {
    /// Reserves room for a message of up to `length` bytes, to write it in place: see
    /// [`Sender::reserve`]. A task that holds the grant across an `await` cannot move between
    /// threads. Committing it may wait in an MPMC and in a broadcast channel, and does not give
    /// way to other tasks then.
    ///
    /// **Cancel-safe.** A future that is dropped holds no room.
    ///
    /// # Errors
    /// As there.
    pub async fn reserve(&mut self, length: usize) -> Result<Grant<'_, Bytes, K>, SendError> {
        self.sender.fits(length)?;
        self.claim(length).await
    }
}

impl<T: Message + NoUninit> AsyncSender<T, Spsc> {
    /// Claims the places of up to `most` messages side by side: see
    /// [`Sender::reserve_slice`].
    ///
    /// **Cancel-safe.** A future that is dropped holds no place.
    ///
    /// # Errors
    /// As there.
    pub async fn reserve_slice(&mut self, most: usize) -> Result<GrantSlice<'_, T>, SendError> {
        let most = most.max(1);
        let count = {
            let wait = Wait(&mut *self);
            poll_fn(|cx| wait.0.poll_attempt(|sender| sender.room_once(most), cx)).await?
        };
        Ok(self.sender.found(count))
    }
}

impl<P: Broadcastable + NoUninit> AsyncSender<P, Broadcast> {
    /// Waits until there are so many subscribers, of both sorts: see
    /// [`Publisher::wait_for`](crate::Sender::wait_for).
    ///
    /// **Cancel-safe.**
    ///
    /// # Errors
    /// As there.
    pub async fn wait_for(&mut self, subscribers: u64) -> Result<(), Fault> {
        let wait = Wait(self);
        poll_fn(|cx| {
            let AsyncSender { waits, sender, .. } = &mut *wait.0;
            let end = &sender.end;
            let attempt = || sender.are_there(subscribers);
            match attempt() {
                Ok(()) => Poll::Ready(Ok(())),
                Err(why) => {
                    let mut op = Try { end, attempt, more: || true, in_flight: || false };
                    // A subscriber that comes is a change.
                    waits.poll((end, || Want::Change), &mut op, why, cx)
                }
            }
        })
        .await
    }
}

impl<P: Payload + NoUninit> AsyncSender<P, Mpmc> {
    /// Another handle of this channel in this process, for another task.
    ///
    /// # Errors
    /// As for [`Sender::try_clone`].
    pub fn try_clone(&self) -> Result<Self, ChannelError> {
        Ok(self.sender.try_clone()?.into_async())
    }
}

impl<P: Payload + NoUninit, K: Kind> Sink<P::Owned> for AsyncSender<P, K> {
    /// With the message that was not sent.
    type Error = SendError<P::Owned>;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.poll_flushed(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, message: P::Owned) -> Result<(), Self::Error> {
        // It would be in the way of others, which could be sent.
        let misfit = self.sender.misfit(&P::lent(&message));
        if let Some(length) = misfit {
            return Err(self.sender.wrong_length(message, length));
        }
        let sent = self.kept.is_empty().then(|| self.sender.try_send(P::lent(&message)));
        match sent {
            Some(Ok(())) => {}
            Some(Err(TrySendError::Unwoken(unwoken))) => return Err(unwoken.into()),
            // Why not, a flush finds out.
            None | Some(Err(_)) => self.kept.push_back(message),
        }
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.poll_flushed(cx)
    }

    /// Sends what is kept. Dropping the handle closes it.
    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.poll_flushed(cx)
    }
}

impl<P: Payload, K: Kind> fmt::Debug for AsyncSender<P, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AsyncSender").field(&self.sender.end).finish()
    }
}
