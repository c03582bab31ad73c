//! The serving end of a service.

use core::cell::Cell;
use core::fmt;
use core::iter::FusedIterator;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytemuck::{CheckedBitPattern, NoUninit};

use super::payload::CallPayload;
use super::site::Site;
use crate::channel::blocking::Prospects;
use crate::channel::cancel::Canceller;
use crate::channel::endpoint::Endpoint;
use crate::channel::ready::Readiness;
use crate::error::{
    ChannelError, Done, Fault, InvalidMessage, RecvError, RecvTimeoutError, ReplyError,
    TryRecvError,
};
use crate::kinds::calls::Which;
use crate::kinds::payload::{AnyMessage, Bytes};
use crate::ring::calls::{self, InHand, LetGo, Outcome};
use crate::ring::wait::{NotNow, Polled, Want};
use crate::segment::Side;
use crate::wait::WaitStrategy;

/// The serving end of a service: see [`Segment::service`](crate::Segment::service).
///
/// A handle belongs to one thread at a time, and can be moved to another one. For use by
/// several threads at once, [clone](Self::try_clone) it. It may have any number of calls in
/// hand, and reply to them later, in any order, and from other threads.
///
/// A server takes every call that waits before it takes a second one from the same place, so no
/// client is passed over for long. There is no other order between calls.
///
/// **Crashes.** If a server is killed, each client whose call it had hears of that at once; or
/// another server gets the call, if it [may be repeated](crate::Client::set_repeats). A server
/// that is stopped keeps the calls that it has, and is in nobody else's way.
pub struct Server<Q: CallPayload, R: CallPayload> {
    /// Where it looks first.
    hint: Cell<u64>,
    site: Arc<Site<Q, R>>,
    end: Endpoint,
}

/// The serving end of a service of bytes.
pub type ByteServer = Server<Bytes, Bytes>;

/// The serving end of a service of which it is known only when the program runs what its messages
/// are: see [`AnyChannel::server`](crate::AnyChannel::server).
pub type AnyServer = Server<AnyMessage, AnyMessage>;

/// A call that this process has taken, and is to [reply](Self::reply) to.
///
/// Dropping it without a reply, also by a panic, refuses the call
/// ([`CallError::Refused`](crate::CallError::Refused)). It may outlive its server, and move to
/// another thread. As long as it is there, the service has one slot less for others.
pub struct ServerCall<Q: CallPayload, R: CallPayload> {
    site: Arc<Site<Q, R>>,
    /// Until it is let go.
    call: Option<InHand>,
}

/// A call of an [`AnyServer`].
pub type AnyServerCall = ServerCall<AnyMessage, AnyMessage>;

/// A call of a service of bytes.
pub type ByteServerCall = ServerCall<Bytes, Bytes>;

impl<Q: CallPayload + CheckedBitPattern, R: CallPayload + NoUninit> Server<Q, R> {
    pub(in crate::channel) fn new(end: Endpoint) -> Result<Self, ChannelError> {
        Ok(Self { hint: Cell::new(0), site: Site::of(&end)?, end })
    }

    /// Another handle of this service in this process, for another thread.
    ///
    /// # Errors
    /// [`ChannelError::TooMany`], and those of every operation.
    pub fn try_clone(&self) -> Result<Self, ChannelError> {
        let (hint, site) = (self.hint.clone(), Arc::clone(&self.site));
        Ok(Self { hint, site, end: self.end.another()? })
    }

    /// Takes a call, unless something has changed.
    #[inline]
    pub(in crate::channel) fn take(&self) -> Result<InHand, NotNow> {
        let (slots, me) = (self.site.slots(), self.end.owner());
        self.end.guarded(|| calls::take(slots, &self.hint, me).ok_or(NotNow::Nothing))
    }

    #[inline]
    pub(in crate::channel) fn in_hand(&self, call: InHand) -> ServerCall<Q, R> {
        ServerCall { site: Arc::clone(&self.site), call: Some(call) }
    }

    /// Takes a call. Waits for one, without a timeout.
    ///
    /// # Errors
    /// [`RecvError::Disconnected`] if no call waits and the last client is gone, also while
    /// this waits; or the fault that ends the use of the service.
    pub fn recv(&self) -> Result<ServerCall<Q, R>, RecvError> {
        self.recv_by(|| None).map_err(RecvTimeoutError::without_deadline)
    }

    /// Takes a call. Waits for one, at most this long.
    ///
    /// # Errors
    /// [`RecvTimeoutError::Timeout`], and those of [`recv`](Self::recv).
    pub fn recv_timeout(&self, timeout: Duration) -> Result<ServerCall<Q, R>, RecvTimeoutError> {
        // A timeout beyond what the clock can represent never expires.
        self.recv_by(|| Instant::now().checked_add(timeout))
    }

    /// Takes a call. Waits for one until `deadline`.
    ///
    /// # Errors
    /// As for [`recv_timeout`](Self::recv_timeout).
    pub fn recv_deadline(&self, deadline: Instant) -> Result<ServerCall<Q, R>, RecvTimeoutError> {
        self.recv_by(|| Some(deadline))
    }

    fn recv_by(
        &self,
        until: impl FnOnce() -> Option<Instant>,
    ) -> Result<ServerCall<Q, R>, RecvTimeoutError> {
        match self.take() {
            Ok(call) => Ok(self.in_hand(call)),
            Err(why) => self.recv_later(why, until()),
        }
    }

    #[cold]
    #[inline(never)]
    fn recv_later(
        &self,
        why: NotNow,
        until: Option<Instant>,
    ) -> Result<ServerCall<Q, R>, RecvTimeoutError> {
        let taken = self.end.wait_to_receive(why, until, || self.take(), &self.prospects())?;
        taken.map(|call| self.in_hand(call)).ok_or(RecvTimeoutError::Timeout)
    }

    /// Takes a call, without waiting.
    ///
    /// # Errors
    /// [`TryRecvError::Empty`] if none waits; or those of [`recv`](Self::recv).
    pub fn try_recv(&self) -> Result<ServerCall<Q, R>, TryRecvError> {
        match self.take() {
            Ok(call) => Ok(self.in_hand(call)),
            Err(why) if self.end.fail_fast(why) => Err(TryRecvError::Empty),
            Err(why) => match self.end.try_to_receive(why, || self.take(), &self.prospects())? {
                Polled::Done(call) => Ok(self.in_hand(call)),
                Polled::Needs(_) => Err(TryRecvError::Empty),
            },
        }
    }

    pub(in crate::channel) fn prospects(
        &self,
    ) -> Prospects<impl Fn() -> bool, impl Fn() -> bool, impl Fn() -> Want> {
        Prospects {
            available: || self.has_calls(),
            // A call that a server gives back is another's only while a client is there.
            in_flight: || false,
            want: || Want::Request,
        }
    }

    /// An iterator over the calls as they come, until the last client is gone. Other errors
    /// are items too, and end the iteration.
    pub const fn iter(&self) -> ServerIter<'_, Q, R> {
        ServerIter { server: self, ended: false }
    }
}

impl<Q: CallPayload, R: CallPayload> Server<Q, R> {
    pub(in crate::channel) const fn end(&self) -> &Endpoint {
        &self.end
    }

    /// Whether a call may wait.
    pub(in crate::channel) fn has_calls(&self) -> bool {
        calls::available(self.site.slots())
    }

    /// A descriptor for event loops that is readable while a call may wait: see
    /// [`Receiver::readiness`](crate::Receiver::readiness).
    ///
    /// # Errors
    /// As there.
    pub fn readiness(&self) -> Result<&Readiness, Fault> {
        self.end.readiness()
    }

    /// Ends this handle's waits from another thread: see
    /// [`Receiver::canceller`](crate::Receiver::canceller).
    pub fn canceller(&self) -> Canceller {
        self.end.canceller()
    }

    /// How this handle waits for calls, from the next wait on: see
    /// [`Receiver::set_wait_strategy`](crate::Receiver::set_wait_strategy).
    pub fn set_wait_strategy(&self, strategy: WaitStrategy) {
        self.end.set_wait_strategy(strategy);
    }

    /// How this handle waits for calls.
    pub fn wait_strategy(&self) -> WaitStrategy {
        self.end.wait_strategy()
    }

    /// How many calls wait for a server, now or a moment ago.
    pub fn len(&self) -> usize {
        self.end.len()
    }

    /// Whether [`len`](Self::len) is zero. This may already have changed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many calls there can be at once.
    pub const fn capacity(&self) -> usize {
        self.end.messages()
    }

    /// Whether both handles belong to the same service.
    pub fn same_service(&self, other: &Self) -> bool {
        self.end.same_channel(&other.end)
    }

    /// Closes this handle, as dropping it does, and reports a failure. The calls that it has
    /// taken can still be replied to. With the last handle and the last call of this
    /// participant, the process also leaves the segment.
    ///
    /// # Errors
    /// As for [`Receiver::close`](crate::Receiver::close).
    pub fn close(self) -> Result<(), Fault> {
        let Self { site, end, .. } = self;
        drop(site);
        end.close()
    }
}

impl<Q: CallPayload + CheckedBitPattern, R: CallPayload> ServerCall<Q, R> {
    /// Copies the request out. It stays in the segment, so this can be repeated; a client that
    /// does not keep to the protocol may change it meanwhile.
    ///
    /// # Errors
    /// The bytes of the request are not a value of the type.
    pub fn request(&self) -> Result<Q::Owned, InvalidMessage> {
        let mut out = Q::out();
        if let Some(call) = &self.call {
            Q::read(self.site.sheets.request(call.index), &mut out);
        }
        Q::owned(out).ok_or_else(|| InvalidMessage { type_name: core::any::type_name::<Q>() })
    }
}

impl<Q: CallPayload, R: CallPayload + NoUninit> ServerCall<Q, R> {
    /// Replies. Returns whether the client still waits for that.
    ///
    /// # Errors
    /// [`ReplyError::TooLong`], [`ReplyError::TooShort`]; or [`ReplyError::Fault`] if there is no
    /// reply, or its client could not be woken ([`Fault::Unwoken`]).
    pub fn reply(mut self, reply: R::Sent<'_>) -> Result<bool, ReplyError> {
        let sheets = &self.site.sheets;
        if let Some(length) = R::length(&reply).filter(|&of| !sheets.takes(Which::Reply, of)) {
            return Err(match self.max_reply_len() {
                size if length < size => ReplyError::TooShort { length, size },
                longest => ReplyError::TooLong { length, longest },
            });
        }
        self.site.not_in_child()?;
        let Some(call) = self.call.take() else { return Ok(false) };
        self.site.sheets.write_reply(call.index, &reply);
        Ok(self.let_go(call, Outcome::Answered)?)
    }
}

impl<Q: CallPayload, R: CallPayload> ServerCall<Q, R> {
    /// Whether the client still waits for a reply. If it does not, there is no use in working
    /// on.
    pub fn is_wanted(&self) -> bool {
        self.call.as_ref().is_some_and(|call| calls::is_wanted(self.site.slots(), call))
    }

    /// Leaves the call for another server, or for this one to take again. If the last server has
    /// gone, its client gets [`CallError::NoServer`](crate::CallError::NoServer).
    ///
    /// # Errors
    /// The fault that ends the use of the service; [`Fault::Unwoken`] if the call is given back
    /// and a server that sleeps could not be woken.
    pub fn give_back(mut self) -> Result<(), Fault> {
        self.site.not_in_child()?;
        match self.call.take() {
            Some(call) => self.let_go(call, Outcome::GivenBack).map(drop),
            None => Ok(()),
        }
    }

    /// Lets the call go, and wakes whom that concerns. Whether a client gets to know of it.
    fn let_go(&self, call: InHand, outcome: Outcome) -> Result<bool, Fault> {
        let site = &self.site;
        match calls::let_go(site.slots(), call, outcome) {
            LetGo::Over(None) => Ok(true),
            LetGo::Over(Some(client)) => site.wake(client).map(|()| true),
            LetGo::Open(client) => site.given_back(client).map(|()| true),
            LetGo::Unwanted => site.notify(Side::Sender, Done::GivenUp).map(|()| false),
            LetGo::Lost(word) => Err(site.lost(word)),
        }
    }

    /// The maximal length of a reply, in bytes.
    fn max_reply_len(&self) -> usize {
        self.site.sheets.longest(Which::Reply)
    }
}

impl AnyServerCall {
    /// How many bytes a reply has; of bytes, the longest.
    pub fn reply_size(&self) -> usize {
        self.max_reply_len()
    }
}

impl ByteServerCall {
    /// How long the request is, in bytes.
    pub fn request_len(&self) -> usize {
        self.call.as_ref().map_or(0, |call| self.site.sheets.request(call.index).len())
    }

    /// Copies bytes of the request out, from `offset` on, as many as there are. Returns how
    /// many.
    pub fn read_at(&self, offset: usize, into: &mut [u8]) -> usize {
        self.call.as_ref().map_or(0, |call| self.site.sheets.request(call.index).read(offset, into))
    }

    /// Copies bytes into the place of the reply, from `offset` on, as many as there is room
    /// for. Returns how many. [`reply_written`](Self::reply_written) then replies with them.
    pub fn write_at(&mut self, offset: usize, bytes: &[u8]) -> usize {
        let longest = self.max_reply_len();
        match &self.call {
            Some(call) if !self.site.in_child() => {
                self.site.sheets.reply_room(call.index, longest).write(offset, bytes)
            }
            _ => 0,
        }
    }

    /// Replies with the first `length` bytes that were [written](Self::write_at) in place.
    ///
    /// ```
    /// use std::thread;
    /// use tombolo::Segment;
    ///
    /// let segment = Segment::anonymous()?;
    /// let files = segment.service_bytes("files").capacity(8, 100, 1 << 20);
    /// let (client, server) = (files.client()?, files.server()?);
    /// let serving = thread::spawn(move || {
    ///     let mut call = server.recv().unwrap();
    ///     let mut length = call.write_at(0, b"the contents of ");
    ///     let mut name = vec![0; call.request_len()];
    ///     call.read_at(0, &mut name);
    ///     length += call.write_at(length, &name);
    ///     call.reply_written(length).unwrap();
    /// });
    /// assert_eq!(client.call(b"a file")?, b"the contents of a file");
    /// serving.join().unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As for [`reply`](Self::reply).
    pub fn reply_written(mut self, length: usize) -> Result<bool, ReplyError> {
        let longest = self.max_reply_len();
        if length > longest {
            return Err(ReplyError::TooLong { length, longest });
        }
        self.site.not_in_child()?;
        let Some(call) = self.call.take() else { return Ok(false) };
        self.site.sheets.seal_reply(call.index, length);
        Ok(self.let_go(call, Outcome::Answered)?)
    }

    /// The maximal length of the reply, in bytes.
    pub fn max_len(&self) -> usize {
        self.max_reply_len()
    }
}

impl<Q: CallPayload, R: CallPayload> Drop for ServerCall<Q, R> {
    fn drop(&mut self) {
        if let Some(call) = self.call.take()
            && !self.site.in_child()
        {
            // Nobody is there to be told.
            let _ = self.let_go(call, Outcome::Refused);
        }
    }
}

impl<Q: CallPayload, R: CallPayload> fmt::Debug for Server<Q, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Server").field(&self.end).finish()
    }
}

impl<Q: CallPayload, R: CallPayload> fmt::Debug for ServerCall<Q, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerCall")
            .field("service", &self.site.name)
            .field("is_wanted", &self.is_wanted())
            .finish_non_exhaustive()
    }
}

/// An iterator over the calls that come to a [`Server`]: see [`Server::iter`].
#[derive(Debug)]
pub struct ServerIter<'a, Q: CallPayload, R: CallPayload> {
    server: &'a Server<Q, R>,
    ended: bool,
}

impl<Q: CallPayload + CheckedBitPattern, R: CallPayload + NoUninit> Iterator
    for ServerIter<'_, Q, R>
{
    type Item = Result<ServerCall<Q, R>, RecvError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let taken = self.server.recv();
        self.ended = taken.is_err();
        (!matches!(taken, Err(RecvError::Disconnected))).then_some(taken)
    }
}

impl<Q: CallPayload + CheckedBitPattern, R: CallPayload + NoUninit> FusedIterator
    for ServerIter<'_, Q, R>
{
}

impl<'a, Q: CallPayload + CheckedBitPattern, R: CallPayload + NoUninit> IntoIterator
    for &'a Server<Q, R>
{
    type Item = Result<ServerCall<Q, R>, RecvError>;
    type IntoIter = ServerIter<'a, Q, R>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
