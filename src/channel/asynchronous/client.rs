//! Calling, awaited.

use core::fmt;
use core::future::poll_fn;
use core::task::{Context, Poll};

use bytemuck::{CheckedBitPattern, NoUninit};

use super::waits::{Awaited, Wait, Waits};
use crate::channel::blocking::Try;
use crate::channel::calls::{ByteRequest, CallPayload, Client, PendingCall};
use crate::error::{CallError, ChannelError, Fault, SendError};
use crate::kinds::payload::Bytes;
use crate::ring::wait::{NotNow, Want};

/// A [`Client`] that is awaited: see [`Client::into_async`]. How it waits, and how a wait ends,
/// is as for an [`AsyncReceiver`](crate::AsyncReceiver).
///
/// It makes one call at a time, with [`call`](Self::call), or any number, with
/// [`start`](Self::start). A time-out is the runtime's: dropping the future gives the call up.
///
/// ```
/// use tombolo::Segment;
///
/// async fn ask(segment: &Segment) -> Result<u64, Box<dyn std::error::Error>> {
///     let squares = segment.service::<u32, u64>("squares").capacity(8);
///     let mut client = squares.client()?.into_async();
///     let (four, five) = (client.start(4).await?, client.start(5).await?);
///     Ok(client.call(3).await? + five.await? + four.await?)
/// }
/// ```
pub struct AsyncClient<Q: CallPayload, R: CallPayload> {
    /// Dropped before the handle: while it has the credits of the channel.
    waits: Waits,
    client: Client<Q, R>,
}

// Nothing in it is ever pinned.
impl<Q: CallPayload, R: CallPayload> Unpin for AsyncClient<Q, R> {}

impl<Q: CallPayload, R: CallPayload> Awaited for AsyncClient<Q, R> {
    fn waits(&mut self) -> &mut Waits {
        &mut self.waits
    }
}

impl<Q: CallPayload, R: CallPayload> Client<Q, R> {
    /// This handle, to be awaited instead of blocked in.
    pub fn into_async(self) -> AsyncClient<Q, R> {
        AsyncClient { waits: Waits::default(), client: self }
    }
}

impl<Q: CallPayload, R: CallPayload> AsyncClient<Q, R> {
    /// The handle, to be blocked in.
    pub fn into_sync(self) -> Client<Q, R> {
        self.client
    }

    /// The handle, for what needs no `await`.
    pub const fn as_sync(&self) -> &Client<Q, R> {
        &self.client
    }

    /// Closes this handle: see [`Client::close`].
    ///
    /// # Errors
    /// As there.
    pub fn close(self) -> Result<(), Fault> {
        self.into_sync().close()
    }
}

impl<Q: CallPayload + NoUninit, R: CallPayload + CheckedBitPattern> AsyncClient<Q, R> {
    /// Attempts what needs a slot, and goes on if that is refused.
    fn poll_attempt<T>(
        &mut self,
        attempt: impl Fn(&Client<Q, R>) -> Result<T, NotNow>,
        cx: &Context<'_>,
    ) -> Poll<Result<T, Fault>> {
        let Self { waits, client } = self;
        let client = &*client;
        match attempt(client) {
            Ok(done) => {
                waits.end();
                Poll::Ready(Ok(done))
            }
            Err(why) => {
                let end = client.end();
                let (attempt, more) = (|| attempt(client), || client.has_room());
                let mut op = Try { end, attempt, more, in_flight: || false };
                waits.poll((end, || Want::CallSlot), &mut op, why, cx)
            }
        }
    }

    /// Makes a call, and returns while it is under way: see [`Client::start`]. Waits for a
    /// slot, if the service has as many calls as it has room for.
    ///
    /// **Cancel-safe.** A future that is dropped has made no call.
    ///
    /// # Errors
    /// As there.
    pub async fn start(
        &mut self,
        request: Q::Sent<'_>,
    ) -> Result<PendingCall<Q, R>, SendError<Q::Unsent>> {
        self.client.fits(&request)?;
        let made = {
            let wait = Wait(&mut *self);
            poll_fn(|cx| wait.0.poll_attempt(|client| client.open(&request), cx)).await
        };
        self.client.made(made, &request)
    }

    /// Makes a call, and waits for its reply: see [`Client::call`].
    ///
    /// A future that is dropped before the call was made has made none. Later, it gives the call
    /// up, as a time-out does: a server may have served it, or may still do so. To drop a
    /// wait and keep the call, [`start`](Self::start) it.
    ///
    /// # Errors
    /// As there.
    pub async fn call(&mut self, request: Q::Sent<'_>) -> Result<R::Owned, CallError> {
        self.start(request).await?.await
    }

    /// Another handle of this service in this process, for another task.
    ///
    /// # Errors
    /// As for [`Client::try_clone`].
    pub fn try_clone(&self) -> Result<Self, ChannelError> {
        Ok(self.client.try_clone()?.into_async())
    }
}

impl AsyncClient<Bytes, Bytes> {
    /// Reserves a slot for a request that is written in place: see
    /// [`ByteClient::reserve`](Client::reserve). Waits for one.
    ///
    /// **Cancel-safe.** A future that is dropped holds no slot.
    ///
    /// # Errors
    /// As there.
    pub async fn reserve(&mut self) -> Result<ByteRequest<'_>, SendError> {
        let draft = {
            let wait = Wait(&mut *self);
            poll_fn(|cx| wait.0.poll_attempt(|client| client.claim(), cx)).await?
        };
        Ok(self.client.request(draft))
    }
}

impl<Q: CallPayload, R: CallPayload> fmt::Debug for AsyncClient<Q, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AsyncClient").field(self.client.end()).finish()
    }
}
