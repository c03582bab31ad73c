//! A call that is under way, awaited.

use core::fmt;
use core::future::{Future, IntoFuture};
use core::pin::Pin;
use core::task::{Context, Poll};

use bytemuck::CheckedBitPattern;
use futures_core::FusedFuture;

use super::waits::{Party, Waits};
use crate::channel::calls::{CallPayload, PendingCall, UntilOver};
use crate::channel::reactor::{Ask, At};
use crate::error::{CallError, Fault};
use crate::ring::kernel::Refusal;
use crate::ring::wait::{Need, Operation};
use crate::wait::WaitStrategy;

/// A [`PendingCall`] that is awaited: see [`PendingCall::into_async`]. It is the future of its
/// reply.
///
/// **Cancel-safe** where it is awaited by reference: `(&mut call).await`, as in a `select!`,
/// can be dropped and awaited again, and the call goes on. Dropping the `AsyncPendingCall`
/// itself gives the call up, as dropping a `PendingCall` does.
///
/// ```
/// use std::future::Future;
/// use std::pin::pin;
/// use std::task::{Context, Poll, Waker};
/// use tombolo::Segment;
///
/// let segment = Segment::anonymous()?;
/// let halves = segment.service::<u32, u32>("halves").capacity(8);
/// let (client, server) = (halves.client()?, halves.server()?);
/// let mut call = client.start(8)?.into_async();
/// let mut cx = Context::from_waker(Waker::noop());
/// assert!(pin!(&mut call).poll(&mut cx).is_pending());
/// server.recv()?.reply(4)?;
/// assert_eq!(pin!(&mut call).poll(&mut cx), Poll::Ready(Ok(4)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a call that is dropped is given up"]
pub struct AsyncPendingCall<Q: CallPayload, R: CallPayload> {
    waits: Waits,
    call: PendingCall<Q, R>,
}

// Nothing in it is ever pinned.
impl<Q: CallPayload, R: CallPayload> Unpin for AsyncPendingCall<Q, R> {}

impl<Q: CallPayload, R: CallPayload> PendingCall<Q, R> {
    /// This call, to be awaited instead of waited for. `call.await` does so too.
    pub fn into_async(self) -> AsyncPendingCall<Q, R> {
        AsyncPendingCall { waits: Waits::default(), call: self }
    }
}

impl<Q: CallPayload, R: CallPayload> AsyncPendingCall<Q, R> {
    /// The call, to be waited for.
    pub fn into_sync(self) -> PendingCall<Q, R> {
        self.call
    }

    /// The call, for what needs no `await`.
    pub const fn as_sync(&self) -> &PendingCall<Q, R> {
        &self.call
    }
}

/// A call, as the one who waits for its end.
struct Caller<'a, Q: CallPayload, R: CallPayload> {
    call: &'a PendingCall<Q, R>,
    at: At<'a>,
    ask: Ask,
}

impl<Q: CallPayload, R: CallPayload> Party for Caller<'_, Q, R> {
    fn strategy(&self) -> WaitStrategy {
        self.call.wait_strategy()
    }

    fn at(&self) -> At<'_> {
        self.at
    }

    fn ask(&self, _: Need) -> Ask {
        self.ask
    }

    fn in_vain(&self) -> Result<(), Fault> {
        self.call.in_vain().map(drop)
    }

    fn scan(&self) -> Result<(), Fault> {
        self.call.participant().scan().map(drop)
    }

    /// It takes no tokens.
    fn owe(&self, _: Refusal) {}
}

impl<Q: CallPayload, R: CallPayload + CheckedBitPattern> Future for AsyncPendingCall<Q, R> {
    type Output = Result<R::Owned, CallError>;

    /// Once it was ready, it is so with [`Fault::Closed`].
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { waits, call } = self.get_mut();
        let mut pending = false;
        let over = call.with(|op: &mut UntilOver<'_, Q, R>| {
            let why = match op.attempt(false) {
                Ok(over) => {
                    waits.end();
                    return Ok(Some(over));
                }
                Err(why) => why,
            };
            let caller = Caller { call, at: op.at(), ask: op.ask() };
            match waits.poll(caller, op, why, cx) {
                Poll::Ready(over) => over.map(Some),
                Poll::Pending => {
                    pending = true;
                    Ok(None)
                }
            }
        });
        if pending {
            return Poll::Pending;
        }
        Poll::Ready(call.conclude(over).unwrap_or(Err(CallError::Fault(Fault::Closed))))
    }
}

impl<Q: CallPayload, R: CallPayload + CheckedBitPattern> FusedFuture for AsyncPendingCall<Q, R> {
    fn is_terminated(&self) -> bool {
        self.call.has_ended()
    }
}

impl<Q: CallPayload, R: CallPayload + CheckedBitPattern> IntoFuture for PendingCall<Q, R> {
    type Output = Result<R::Owned, CallError>;
    type IntoFuture = AsyncPendingCall<Q, R>;

    fn into_future(self) -> Self::IntoFuture {
        self.into_async()
    }
}

impl<Q: CallPayload, R: CallPayload> fmt::Debug for AsyncPendingCall<Q, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AsyncPendingCall").field(&self.call).finish()
    }
}
