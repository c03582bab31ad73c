//! The calling end of a service.

use core::cell::Cell;
use core::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytemuck::{CheckedBitPattern, NoUninit};

use super::payload::CallPayload;
use super::pending::{PendingCall, abandon, end, give_up, reply_at_last};
use super::site::Site;
use super::until_over::{Over, UntilOver, ended};
use crate::channel::cancel::Canceller;
use crate::channel::endpoint::Endpoint;
use crate::channel::ready::Readiness;
use crate::error::{
    CallError, CallTimeoutError, ChannelError, Done, Fault, SendError, SendTimeoutError,
    TrySendError,
};
use crate::kinds::calls::Which;
use crate::kinds::payload::{AnyMessage, Bytes};
use crate::ring::backoff::Expectation;
use crate::ring::calls::{self, Call, Draft, MAX_AGAIN};
use crate::ring::wait::{Need, NotNow, Polled, Want};
use crate::segment::Side;
use crate::wait::{Spin, WaitStrategy, costs};

/// The calling end of a service: see [`Segment::service`](crate::Segment::service).
///
/// A handle belongs to one thread at a time, and can be moved to another one. For use by
/// several threads at once, [clone](Self::try_clone) it. It may have any number of calls under
/// way ([`start`](Self::start)), as far as the service has room for them.
///
/// **At most once.** One server takes a call, and serves it once. If that server dies, the
/// client hears of it at once ([`CallError::ServerDied`]), and cannot know how far the server
/// had come. A call that may be served more than once is [repeated](Self::set_repeats) by another
/// server instead.
///
/// **Crashes.** If a client is killed, gives a call up or stops waiting, that costs the server
/// nothing but the work, and no later call gets the reply. A client that sleeps is woken by
/// the kernel when a process dies.
pub struct Client<Q: CallPayload, R: CallPayload> {
    /// Where the slot of its last call is: its own cache has that.
    hint: Cell<u64>,
    /// How many servers may die over a call before it fails.
    repeats: Cell<u8>,
    /// How it waits for replies, and when it first looks for one.
    spin: Spin,
    reply: Expectation,
    site: Arc<Site<Q, R>>,
    end: Endpoint,
}

/// The calling end of a service of bytes.
pub type ByteClient = Client<Bytes, Bytes>;

/// The calling end of a service of which it is known only when the program runs what its messages
/// are: see [`AnyChannel::client`](crate::AnyChannel::client).
pub type AnyClient = Client<AnyMessage, AnyMessage>;

/// Why a call was not made.
enum Unmade {
    /// The service takes no request of that length.
    Length(usize),
    Needs(Need),
    TimedOut,
    Fault(Fault),
}

impl From<Fault> for Unmade {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl<Q: CallPayload + NoUninit, R: CallPayload + CheckedBitPattern> Client<Q, R> {
    pub(in crate::channel) fn new(end: Endpoint) -> Result<Self, ChannelError> {
        let site = Site::of(&end)?;
        // Or all clients would begin with one slot.
        let hint = Cell::new(u64::from(end.owner()).wrapping_mul(7));
        Ok(Self {
            hint,
            repeats: Cell::new(0),
            spin: Spin::new(),
            reply: Expectation::new(costs()),
            site,
            end,
        })
    }

    /// Another handle of this service in this process, for another thread.
    ///
    /// # Errors
    /// [`ChannelError::TooMany`], and those of every operation.
    pub fn try_clone(&self) -> Result<Self, ChannelError> {
        Ok(Self {
            hint: Cell::new(self.hint.get() + 1),
            repeats: self.repeats.clone(),
            spin: self.spin.another(),
            reply: Expectation::new(costs()),
            site: Arc::clone(&self.site),
            end: self.end.another()?,
        })
    }

    /// Makes a call in a slot that is free, unless something has changed.
    #[inline]
    pub(in crate::channel) fn open(&self, request: &Q::Sent<'_>) -> Result<Call, NotNow> {
        let (slots, me) = (self.site.slots(), self.end.owner());
        self.end.publish(|| {
            let draft = calls::claim(slots, &self.hint, me).ok_or(NotNow::Nothing)?;
            self.site.sheets.write_request(draft.index, request);
            calls::open(slots, draft, self.repeats.get()).map_err(NotNow::Word)
        })
    }

    /// Makes a call: waits for a slot until that time, if it waits.
    #[inline]
    fn make(&self, request: &Q::Sent<'_>, wait: Option<Option<Instant>>) -> Result<Call, Unmade> {
        if let Some(length) = self.misfit(request) {
            return Err(Unmade::Length(length));
        }
        let call = match self.open(request) {
            Ok(call) => call,
            Err(why) => self.make_later(why, request, wait)?,
        };
        if self.end.owes() { self.unwoken(call) } else { Ok(call) }
    }

    /// The length of a request, if it is not one of this service.
    #[inline(always)]
    fn misfit(&self, request: &Q::Sent<'_>) -> Option<usize> {
        Q::length(request).filter(|&length| !self.site.sheets.takes(Which::Request, length))
    }

    #[cold]
    #[inline(never)]
    fn make_later(
        &self,
        why: NotNow,
        request: &Q::Sent<'_>,
        wait: Option<Option<Instant>>,
    ) -> Result<Call, Unmade> {
        let open = || self.open(request);
        match wait {
            None if self.end.fail_fast(why) => Err(Unmade::Needs(Need::Progress)),
            None => match self.end.try_to_send(why, open, || Want::CallSlot)? {
                Polled::Done(call) => Ok(call),
                Polled::Needs(need) => Err(Unmade::Needs(need)),
            },
            Some(until) => {
                let room = || self.has_room();
                self.end.wait_to_send(why, until, open, room)?.ok_or(Unmade::TimedOut)
            }
        }
    }

    /// What becomes of a call for which no server could be woken.
    #[cold]
    fn unwoken(&self, call: Call) -> Result<Call, Unmade> {
        match self.end.unwoken() {
            Ok(()) => Ok(call),
            // It has ended all the same.
            Err(unwoken) => give_up(&self.site, call).ok_or(Unmade::Fault(unwoken.into())),
        }
    }

    /// That the service takes a request of this length.
    #[cfg(feature = "async")]
    pub(in crate::channel) fn fits(
        &self,
        request: &Q::Sent<'_>,
    ) -> Result<(), SendError<Q::Unsent>> {
        match self.misfit(request) {
            Some(length) => Err(self.error(request, Unmade::Length(length))),
            None => Ok(()),
        }
    }

    /// What has come of a call that was to be made.
    #[cfg(feature = "async")]
    pub(in crate::channel) fn made(
        &self,
        made: Result<Call, Fault>,
        request: &Q::Sent<'_>,
    ) -> Result<PendingCall<Q, R>, SendError<Q::Unsent>> {
        let made = made.map_err(Unmade::Fault);
        let made = if self.end.owes() { made.and_then(|call| self.unwoken(call)) } else { made };
        match made {
            Ok(call) => Ok(self.pending(call)),
            Err(unmade) => Err(self.error(request, unmade)),
        }
    }

    fn pending(&self, call: Call) -> PendingCall<Q, R> {
        PendingCall::new(&self.site, call, self.end.changes.looked(), self.spin.another())
    }

    /// Makes a call, and returns while it is under way. Waits for a slot, without a timeout, if
    /// the service has as many calls as it has room for.
    ///
    /// ```
    /// use tombolo::Segment;
    ///
    /// let segment = Segment::anonymous()?;
    /// let halves = segment.service::<u32, u32>("halves").capacity(8);
    /// let (client, server) = (halves.client()?, halves.server()?);
    /// let (eight, six) = (client.start(8)?, client.start(6)?);
    /// for call in [server.recv()?, server.recv()?] {
    ///     let number = call.request()?;
    ///     call.reply(number / 2)?;
    /// }
    /// assert_eq!((six.wait()?, eight.wait()?), (3, 4));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`SendError::Disconnected`] if the last server is gone, also while this call waits;
    /// [`SendError::TooLong`]; or the fault that ends the use of the service. Each contains the
    /// request, if that was given by value.
    pub fn start(&self, request: Q::Sent<'_>) -> Result<PendingCall<Q, R>, SendError<Q::Unsent>> {
        match self.make(&request, Some(None)) {
            Ok(call) => Ok(self.pending(call)),
            Err(unmade) => Err(self.error(&request, unmade)),
        }
    }

    /// Makes a call, as [`start`](Self::start), but does not wait for a slot.
    ///
    /// # Errors
    /// [`TrySendError::Full`], [`TrySendError::Paused`], and those of [`start`](Self::start).
    pub fn try_start(
        &self,
        request: Q::Sent<'_>,
    ) -> Result<PendingCall<Q, R>, TrySendError<Q::Unsent>> {
        match self.make(&request, None) {
            Ok(call) => Ok(self.pending(call)),
            Err(Unmade::Needs(Need::Resumption)) => Err(TrySendError::Paused(Q::unsent(&request))),
            Err(Unmade::Needs(_)) => Err(TrySendError::Full(Q::unsent(&request))),
            Err(unmade) => Err(self.error(&request, unmade).into()),
        }
    }

    /// Makes a call, as [`start`](Self::start), but waits for a slot at most this long.
    ///
    /// # Errors
    /// [`SendTimeoutError::Timeout`], and those of [`start`](Self::start).
    pub fn start_timeout(
        &self,
        request: Q::Sent<'_>,
        timeout: Duration,
    ) -> Result<PendingCall<Q, R>, SendTimeoutError<Q::Unsent>> {
        // A timeout beyond what the clock can represent never expires.
        self.start_by(request, Instant::now().checked_add(timeout))
    }

    /// Makes a call, as [`start`](Self::start), but waits for a slot until `deadline`.
    ///
    /// # Errors
    /// As for [`start_timeout`](Self::start_timeout).
    pub fn start_deadline(
        &self,
        request: Q::Sent<'_>,
        deadline: Instant,
    ) -> Result<PendingCall<Q, R>, SendTimeoutError<Q::Unsent>> {
        self.start_by(request, Some(deadline))
    }

    fn start_by(
        &self,
        request: Q::Sent<'_>,
        until: Option<Instant>,
    ) -> Result<PendingCall<Q, R>, SendTimeoutError<Q::Unsent>> {
        match self.make(&request, Some(until)) {
            Ok(call) => Ok(self.pending(call)),
            Err(Unmade::TimedOut) => Err(SendTimeoutError::Timeout(Q::unsent(&request))),
            Err(unmade) => Err(self.error(&request, unmade).into()),
        }
    }

    #[cold]
    #[inline(never)]
    fn error(&self, request: &Q::Sent<'_>, unmade: Unmade) -> SendError<Q::Unsent> {
        let message = Q::unsent(request);
        match unmade {
            Unmade::Length(length) => match self.longest() {
                size if length < size => SendError::TooShort { message, length, size },
                longest => SendError::TooLong { message, length, longest },
            },
            // A call that waits without a deadline has no other.
            Unmade::Needs(_) | Unmade::TimedOut => SendError::unsent(message, Fault::Closed),
            Unmade::Fault(fault) => SendError::unsent(message, fault),
        }
    }

    /// Makes a call, and waits for its reply, without a timeout.
    ///
    /// # Errors
    /// [`CallError::ServerDied`] at once when the server that has the call dies, unless it is
    /// [to be repeated](Self::set_repeats); [`CallError::NoServer`] when the last server is
    /// gone and none has taken the call; [`CallError::Refused`]; [`CallError::Invalid`];
    /// [`CallError::TooLong`]; or the fault that ends the use of the service.
    pub fn call(&self, request: Q::Sent<'_>) -> Result<R::Owned, CallError> {
        self.call_by(&request, None).map_err(CallTimeoutError::without_deadline)
    }

    /// Makes a call, and waits for its reply, at most this long. Then the call is given up.
    ///
    /// # Errors
    /// [`CallTimeoutError::TimedOut`], and those of [`call`](Self::call).
    pub fn call_timeout(
        &self,
        request: Q::Sent<'_>,
        timeout: Duration,
    ) -> Result<R::Owned, CallTimeoutError> {
        // A timeout beyond what the clock can represent never expires.
        self.call_by(&request, Instant::now().checked_add(timeout))
    }

    /// Makes a call, and waits for its reply until `deadline`. Then the call is given up.
    ///
    /// # Errors
    /// As for [`call_timeout`](Self::call_timeout).
    pub fn call_deadline(
        &self,
        request: Q::Sent<'_>,
        deadline: Instant,
    ) -> Result<R::Owned, CallTimeoutError> {
        self.call_by(&request, Some(deadline))
    }

    fn call_by(
        &self,
        request: &Q::Sent<'_>,
        until: Option<Instant>,
    ) -> Result<R::Owned, CallTimeoutError> {
        let call = match self.make(request, Some(until)) {
            Ok(call) => call,
            Err(Unmade::TimedOut) => return Err(CallTimeoutError::TimedOut),
            Err(unmade) => return Err(self.error(request, unmade).into()),
        };
        // Also by a panic, it is not left behind.
        let call = Left { site: &self.site, call: Some(call) };
        let seen = Cell::new(self.end.changes.looked());
        let over = match &call.call {
            Some(call) => match self.soon(call) {
                Some(over) => Ok(Some(over)),
                None => {
                    let (site, cancel) = (&*self.site, self.end.cancellation());
                    UntilOver { site, call, seen: &seen, cancel, leads: None }
                        .wait(&self.spin, until)
                }
            },
            None => Ok(None),
        };
        match (over, call.keep()) {
            (Ok(Some(over)), Some(call)) => Ok(end(&self.site, call, over)?),
            (unfinished, Some(call)) => self.left(call, unfinished.err()),
            (_, None) => Err(CallTimeoutError::TimedOut),
        }
    }

    /// How a call has ended, if it has by when that is to be expected.
    #[inline]
    fn soon(&self, call: &Call) -> Option<Over> {
        if !self.spin.spins() {
            return None;
        }
        self.reply.keep_back();
        let over = ended(&self.site, call);
        self.reply.looked(over.is_some());
        over
    }

    /// Gives a call up because of a fault, or since its time is up; unless it has ended.
    #[cold]
    fn left(&self, call: Call, fault: Option<Fault>) -> Result<R::Owned, CallTimeoutError> {
        match (give_up(&self.site, call), fault) {
            (Some(call), Some(fault)) => Ok(reply_at_last(&self.site, call, fault)?),
            (Some(call), None) => match ended(&self.site, &call) {
                Some(over) => Ok(end(&self.site, call, over)?),
                None => Err(CallTimeoutError::TimedOut),
            },
            (None, Some(fault)) => Err(fault.into()),
            (None, None) => Err(CallTimeoutError::TimedOut),
        }
    }
}

/// A call that is given up if its client's thread leaves it by a panic.
struct Left<'a, Q: CallPayload, R: CallPayload> {
    site: &'a Site<Q, R>,
    call: Option<Call>,
}

impl<Q: CallPayload, R: CallPayload> Left<'_, Q, R> {
    fn keep(mut self) -> Option<Call> {
        self.call.take()
    }
}

impl<Q: CallPayload, R: CallPayload> Drop for Left<'_, Q, R> {
    fn drop(&mut self) {
        if let Some(call) = self.call.take() {
            abandon(self.site, call);
        }
    }
}

impl<Q: CallPayload, R: CallPayload> Client<Q, R> {
    pub(in crate::channel) const fn end(&self) -> &Endpoint {
        &self.end
    }

    /// Whether there is a slot for a call.
    pub(in crate::channel) fn has_room(&self) -> bool {
        calls::room(self.site.slots())
    }

    /// How often a call of this handle may be served again because its server has died (0; up
    /// to 15), from the next call on. For calls that do no harm if they are served twice.
    ///
    /// Another server then takes the call; the client goes on waiting, and only hears of the
    /// death if there have been more than so many. Up to `times` + 1 servers may have served
    /// such a call, each but the last in part or wholly.
    ///
    /// ```
    /// use tombolo::Segment;
    ///
    /// let segment = Segment::anonymous()?;
    /// let prices = segment.service::<u32, f64>("prices").capacity(8);
    /// let client = prices.client()?;
    /// client.set_repeats(3);
    /// assert_eq!(client.repeats(), 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_repeats(&self, times: u8) {
        self.repeats.set(times.min(MAX_AGAIN));
    }

    /// How often a call of this handle may be served again.
    pub const fn repeats(&self) -> u8 {
        self.repeats.get()
    }

    /// A descriptor for event loops that is readable while there may be room for a call, until
    /// [`try_start`](Self::try_start) has found none: see
    /// [`Receiver::readiness`](crate::Receiver::readiness). The reply to a call has a descriptor
    /// of its own: [`PendingCall::readiness`].
    ///
    /// # Errors
    /// As there.
    pub fn readiness(&self) -> Result<&Readiness, Fault> {
        self.end.readiness()
    }

    /// Ends this handle's waits from another thread, for a slot and for the reply of
    /// [`call`](Self::call): see [`Receiver::canceller`](crate::Receiver::canceller). The call
    /// that waits is given up, unless it has ended. A [`PendingCall`] has a canceller of its own.
    pub fn canceller(&self) -> Canceller {
        self.end.canceller()
    }

    /// How this handle waits for slots and replies, from the next call on: see
    /// [`Receiver::set_wait_strategy`](crate::Receiver::set_wait_strategy).
    pub fn set_wait_strategy(&self, strategy: WaitStrategy) {
        self.spin.set_strategy(strategy);
        self.end.set_wait_strategy(strategy);
    }

    /// How this handle waits.
    pub fn wait_strategy(&self) -> WaitStrategy {
        self.end.wait_strategy()
    }

    /// How many calls wait for a server, of all clients, now or a moment ago.
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

    const fn longest(&self) -> usize {
        self.end.cells().longest()
    }

    /// Whether both handles belong to the same service.
    pub fn same_service(&self, other: &Self) -> bool {
        self.end.same_channel(&other.end)
    }

    /// Closes this handle, as dropping it does, and reports a failure. Its calls go on. With
    /// the last handle and the last call of this participant, the process also leaves the
    /// segment.
    ///
    /// # Errors
    /// As for [`Sender::close`](crate::Sender::close).
    pub fn close(self) -> Result<(), Fault> {
        let Self { site, end, .. } = self;
        drop(site);
        end.close()
    }
}

impl AnyClient {
    /// How many bytes a request has; of bytes, the longest.
    pub fn request_size(&self) -> usize {
        self.longest()
    }
}

/// A request that is written in place: see [`ByteClient::reserve`](Client::reserve). Dropping it
/// makes no call.
#[derive(Debug)]
pub struct ByteRequest<'c> {
    client: &'c ByteClient,
    /// Until the call is made.
    draft: Option<Draft>,
}

impl ByteClient {
    /// Reserves a slot for a request that is written in place. Waits for one, without a timeout.
    /// While it is held, a [pause](crate::Commander::pause) waits for it.
    ///
    /// ```
    /// use tombolo::Segment;
    ///
    /// let segment = Segment::anonymous()?;
    /// let images = segment.service_bytes("images").capacity(2, 1 << 20, 8);
    /// let (mut client, server) = (images.client()?, images.server()?);
    /// let mut request = client.reserve()?;
    /// let written = request.write_at(0, b"line by ") + request.write_at(8, b"line");
    /// let call = request.start(written)?;
    /// assert_eq!(server.recv()?.request()?, b"line by line");
    /// # drop(call);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As for [`start`](Client::start).
    pub fn reserve(&mut self) -> Result<ByteRequest<'_>, SendError> {
        let draft = match self.claim() {
            Ok(draft) => draft,
            Err(why) => {
                let (claim, room) = (|| self.claim(), || self.has_room());
                self.end.wait_to_send(why, None, claim, room)?.ok_or(Fault::Closed)?
            }
        };
        Ok(self.request(draft))
    }

    /// Claims a slot, unless something has changed.
    pub(in crate::channel) fn claim(&self) -> Result<Draft, NotNow> {
        let (slots, me) = (self.site.slots(), self.end.owner());
        self.end.begin(|| calls::claim(slots, &self.hint, me).ok_or(NotNow::Nothing))
    }

    /// A request that is to be written into this slot.
    pub(in crate::channel) const fn request(&mut self, draft: Draft) -> ByteRequest<'_> {
        ByteRequest { client: self, draft: Some(draft) }
    }

    /// The maximal length of a request, in bytes.
    pub const fn max_request_len(&self) -> usize {
        self.longest()
    }
}

impl ByteRequest<'_> {
    /// Copies bytes into the request, from `offset` on, as many as there is room for. Returns how
    /// many.
    pub fn write_at(&mut self, offset: usize, bytes: &[u8]) -> usize {
        let Client { site, end, .. } = self.client;
        match &self.draft {
            Some(draft) if !end.in_child() => {
                let room = site.sheets.request_room(draft.index, self.client.longest());
                room.write(offset, bytes)
            }
            _ => 0,
        }
    }

    /// Makes a call with the first `length` bytes.
    ///
    /// # Errors
    /// [`SendError::TooLong`]; or the fault that ends the use of the service.
    pub fn start(mut self, length: usize) -> Result<PendingCall<Bytes, Bytes>, SendError> {
        let Client { site, end, repeats, .. } = self.client;
        let longest = self.client.longest();
        if length > longest {
            return Err(SendError::TooLong { message: (), length, longest });
        }
        site.not_in_child()?;
        let Some(draft) = self.draft.take() else { return Err(Fault::Closed.into()) };
        site.sheets.seal_request(draft.index, length);
        let made = calls::open(site.slots(), draft, repeats.get());
        end.leave();
        end.notify(Side::Receiver, Done::Sent);
        let made = made.map_err(|word| site.lost(word))?;
        let made = if end.owes() { self.client.unwoken(made) } else { Ok(made) };
        match made {
            Ok(call) => Ok(self.client.pending(call)),
            Err(unmade) => Err(self.client.error(&&[][..], unmade)),
        }
    }
}

impl Drop for ByteRequest<'_> {
    fn drop(&mut self) {
        let Client { site, end, .. } = self.client;
        if let Some(draft) = self.draft.take()
            && !end.in_child()
        {
            calls::abort(site.slots(), draft);
            end.leave();
            end.notify(Side::Sender, Done::GivenUp);
        }
    }
}

impl<Q: CallPayload, R: CallPayload> fmt::Debug for Client<Q, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Client").field(&self.end).finish()
    }
}
