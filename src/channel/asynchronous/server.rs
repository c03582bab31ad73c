//! Taking calls, awaited.

use core::fmt;
use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Context, Poll, ready};

use bytemuck::{CheckedBitPattern, NoUninit};
use futures_core::{FusedStream, Stream};

use super::waits::{Awaited, Wait, Waits};
use crate::channel::blocking::{Prospects, Try};
use crate::channel::calls::{CallPayload, Server, ServerCall};
use crate::error::{ChannelError, Fault, RecvError};

/// A [`Server`] that is awaited: see [`Server::into_async`]. How it waits, and how a wait ends,
/// is as for an [`AsyncReceiver`](crate::AsyncReceiver).
///
/// What it takes is a [`ServerCall`] as that of a `Server`: to reply never waits.
///
/// It is a [`Stream`] of calls, which ends after [`RecvError::Disconnected`], and after
/// other errors.
///
/// ```
/// use tombolo::Segment;
///
/// async fn serve(segment: &Segment) -> Result<(), Box<dyn std::error::Error>> {
///     let squares = segment.service::<u32, u64>("squares").capacity(8);
///     let mut server = squares.server()?.into_async();
///     loop {
///         let call = server.recv().await?;
///         let number = u64::from(call.request()?);
///         call.reply(number * number)?;
///     }
/// }
/// ```
pub struct AsyncServer<Q: CallPayload, R: CallPayload> {
    /// Dropped before the handle: while it has the credits of the channel.
    waits: Waits,
    server: Server<Q, R>,
    /// Whether the stream has ended.
    ended: bool,
}

// Nothing in it is ever pinned.
impl<Q: CallPayload, R: CallPayload> Unpin for AsyncServer<Q, R> {}

impl<Q: CallPayload, R: CallPayload> Awaited for AsyncServer<Q, R> {
    fn waits(&mut self) -> &mut Waits {
        &mut self.waits
    }
}

impl<Q: CallPayload, R: CallPayload> Server<Q, R> {
    /// This handle, to be awaited instead of blocked in.
    pub fn into_async(self) -> AsyncServer<Q, R> {
        AsyncServer { waits: Waits::default(), server: self, ended: false }
    }
}

impl<Q: CallPayload, R: CallPayload> AsyncServer<Q, R> {
    /// The handle, to be blocked in.
    pub fn into_sync(self) -> Server<Q, R> {
        self.server
    }

    /// The handle, for what needs no `await`.
    pub const fn as_sync(&self) -> &Server<Q, R> {
        &self.server
    }

    /// Closes this handle: see [`Server::close`].
    ///
    /// # Errors
    /// As there.
    pub fn close(self) -> Result<(), Fault> {
        self.into_sync().close()
    }
}

impl<Q: CallPayload + CheckedBitPattern, R: CallPayload + NoUninit> AsyncServer<Q, R> {
    /// Takes a call, or has the task of `cx` woken when there may be one.
    ///
    /// **Cancel-safe.** Only the task that polled last is woken.
    #[inline]
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<ServerCall<Q, R>, RecvError>> {
        let Self { waits, server, .. } = self;
        let server = &*server;
        let why = match server.take() {
            Ok(call) => {
                waits.end();
                return Poll::Ready(Ok(server.in_hand(call)));
            }
            Err(why) => why,
        };
        let Prospects { available, in_flight, want } = server.prospects();
        let end = server.end();
        let mut op = Try { end, attempt: || server.take(), more: available, in_flight };
        Poll::Ready(match ready!(waits.poll((end, want), &mut op, why, cx)) {
            Ok(call) => Ok(server.in_hand(call)),
            Err(fault) => Err(fault.into()),
        })
    }

    /// Takes a call: see [`Server::recv`].
    ///
    /// **Cancel-safe.** A future that is dropped has taken nothing: the call goes to the next
    /// one, of this server or another.
    ///
    /// # Errors
    /// As there.
    pub async fn recv(&mut self) -> Result<ServerCall<Q, R>, RecvError> {
        let wait = Wait(self);
        poll_fn(|cx| wait.0.poll_recv(cx)).await
    }

    /// Another handle of this service in this process, for another task.
    ///
    /// # Errors
    /// As for [`Server::try_clone`].
    pub fn try_clone(&self) -> Result<Self, ChannelError> {
        Ok(self.server.try_clone()?.into_async())
    }
}

impl<Q: CallPayload + CheckedBitPattern, R: CallPayload + NoUninit> Stream for AsyncServer<Q, R> {
    type Item = Result<ServerCall<Q, R>, RecvError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let taken = ready!(self.poll_recv(cx));
        self.ended = taken.is_err();
        let none = matches!(taken, Err(RecvError::Disconnected));
        Poll::Ready((!none).then_some(taken))
    }
}

impl<Q: CallPayload + CheckedBitPattern, R: CallPayload + NoUninit> FusedStream
    for AsyncServer<Q, R>
{
    fn is_terminated(&self) -> bool {
        self.ended
    }
}

impl<Q: CallPayload, R: CallPayload> fmt::Debug for AsyncServer<Q, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AsyncServer").field(self.server.end()).finish()
    }
}
