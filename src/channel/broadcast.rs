//! Broadcast channels: each subscriber gets every message.

use core::marker::PhantomData;
use std::time::{Duration, Instant};

use bytemuck::{CheckedBitPattern, NoUninit};

use super::endpoint::{Endpoint, Opening};
use super::receiver::Receiver;
use super::sender::{Refusal, Sender, not_now};
use crate::error::{ChannelError, Fault, SendTimeoutError, TryRecvError, TrySendError};
use crate::kinds::broadcast::{Broadcasts, Mode, Start};
use crate::kinds::message::Message;
use crate::kinds::payload::Bytes;
use crate::kinds::ring::Ring;
use crate::kinds::table::{Broadcast, Broadcastable, Kind, Payload, Reliable};
use crate::ring::wait::NotNow;
use crate::segment::{Name, Peer, Segment, Side, Spec};
use crate::storage::layout::CHANNEL_NAME_BYTES;

/// Publishes to all subscribers of a broadcast channel: see [`Segment::broadcast`].
pub type Publisher<P> = Sender<P, Broadcast>;

/// A subscriber of a broadcast channel for which nobody waits: if it is too slow, it loses
/// messages, and is told exactly how many ([`RecvError::Lagged`](crate::RecvError::Lagged)).
pub type Subscriber<P> = Receiver<P, Broadcast>;

/// A subscriber of a broadcast channel that loses nothing: publishers wait for it when it is
/// a whole capacity behind. When it is dropped, or its process dies, they go on.
pub type ReliableSubscriber<P> = Receiver<P, Reliable>;

/// A broadcast channel to open, or to create if a capacity is given: see
/// [`Segment::broadcast`].
#[derive(Clone, Debug)]
#[must_use = "a channel does nothing until it is opened as a publisher or a subscriber"]
pub struct BroadcastChannel<'a, P: Payload> {
    segment: &'a Segment,
    name: &'a str,
    capacity: Option<usize>,
    /// The size of a message in bytes; for bytes, of the longest message.
    size: Option<usize>,
    publishers: Option<u16>,
    reliable: Option<u16>,
    lasting: bool,
    payload: PhantomData<fn() -> P>,
}

/// A broadcast channel of bytes to open, or to create if a capacity is given: see
/// [`Segment::broadcast_bytes`].
#[derive(Clone, Debug)]
#[must_use = "a channel does nothing until it is opened as a publisher or a subscriber"]
pub struct ByteBroadcastChannel<'a>(BroadcastChannel<'a, Bytes>);

impl Segment {
    /// The broadcast channel of this name: any number of publishers and subscribers, in any
    /// processes. Each subscriber gets every message, all in one order.
    ///
    /// Each subscriber chooses whether publishers wait for it:
    ///
    /// ```
    /// use tombolo::Segment;
    ///
    /// let segment = Segment::anonymous()?;
    /// let prices = segment.broadcast::<u64>("prices").capacity(100);
    /// let publisher = prices.publisher()?;
    /// let screen = prices.subscriber()?;
    /// let ledger = prices.reliable_subscriber()?;
    /// publisher.send(7)?;
    /// assert_eq!((screen.recv()?, ledger.recv()?), (7, 7));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn broadcast<'a, T: Message>(&'a self, name: &'a str) -> BroadcastChannel<'a, T> {
        BroadcastChannel::new(self, name)
    }

    /// The broadcast channel of bytes of this name, for messages of any length up to a
    /// maximum.
    ///
    /// ```
    /// use tombolo::Segment;
    ///
    /// let segment = Segment::anonymous()?;
    /// let news = segment.broadcast_bytes("news").capacity(100, 4_096);
    /// let (publisher, subscriber) = (news.publisher()?, news.subscriber()?);
    /// publisher.send(b"a line")?;
    /// let mut line = Vec::new();
    /// subscriber.recv(&mut line)?;
    /// assert_eq!(line, b"a line");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn broadcast_bytes<'a>(&'a self, name: &'a str) -> ByteBroadcastChannel<'a> {
        ByteBroadcastChannel(BroadcastChannel::new(self, name))
    }
}

impl<T: Message> BroadcastChannel<'_, T> {
    /// Creates the channel if it does not exist: at least so many of the last messages are
    /// retained, and a publisher waits before it is more than so many ahead of a reliable
    /// subscriber. (One that has just begun can be a little further behind at first: publishers
    /// use up what they were granted before it came. It loses nothing by that.)
    /// From 1 to 1,073,741,824. Without a capacity, the channel must exist.
    pub const fn capacity(mut self, messages: usize) -> Self {
        self.capacity = Some(messages);
        self
    }
}

impl<'a, P: Payload> BroadcastChannel<'a, P> {
    const fn new(segment: &'a Segment, name: &'a str) -> Self {
        Self {
            segment,
            name,
            capacity: None,
            size: P::SIZE,
            publishers: None,
            reliable: None,
            lasting: false,
            payload: PhantomData,
        }
    }

    /// How many publishers there may be at a time (8; from 1 to 1,024). Each takes the memory
    /// of one message. A channel with exactly one is a little faster.
    pub const fn publishers(mut self, most: u16) -> Self {
        self.publishers = Some(most);
        self
    }

    /// How many reliable subscribers there may be at a time (16; up to 1,024). The number of
    /// other subscribers has no limit.
    pub const fn reliable(mut self, most: u16) -> Self {
        self.reliable = Some(most);
        self
    }

    /// No subscriber is told `Disconnected`: each waits for the next publisher. The creator of
    /// the channel decides.
    ///
    /// Otherwise a subscriber is disconnected when it has read everything and the last living
    /// publisher that it has met is gone. It has met the publishers that were there when it
    /// was opened, that came later, or whose messages it found. A publisher is never
    /// disconnected: what it publishes is there for subscribers that come later.
    pub const fn lasting(mut self) -> Self {
        self.lasting = true;
        self
    }

    fn opening(&self, side: Side) -> Result<Opening<'a>, ChannelError> {
        let spec = Spec {
            name: Name::new(self.name, CHANNEL_NAME_BYTES)?,
            kind: P::ring_kind::<Broadcast>(),
            size: self.size,
            align: P::ALIGN,
            schema: Spec::schema(P::SCHEMA),
            capacity: self.capacity,
            publishers: self.publishers,
            reliable: self.reliable,
            reply: None,
            attempts: 0,
            lasting: self.lasting,
        };
        let participant = self.segment.participant();
        let block = participant.channel(&spec)?;
        Ok(Opening { participant, block, name: self.name.into(), side })
    }
}

impl<P: Broadcastable> BroadcastChannel<'_, P> {
    /// Opens a publisher.
    ///
    /// # Errors
    /// [`ChannelError::TooManyPublishers`], [`ChannelError::NotFound`],
    /// [`ChannelError::Mismatch`], and every limit.
    pub fn publisher(&self) -> Result<Publisher<P>, ChannelError>
    where
        P: NoUninit,
    {
        publisher(&self.opening(Side::Sender)?)
    }

    /// Opens a subscriber for which nobody waits. It begins with the next message that is
    /// published.
    ///
    /// # Errors
    /// [`ChannelError::NotFound`], [`ChannelError::Mismatch`], and every limit.
    pub fn subscriber(&self) -> Result<Subscriber<P>, ChannelError>
    where
        P: CheckedBitPattern,
    {
        self.subscriber_from(Start::Newest)
    }

    /// Opens a subscriber for which nobody waits, and which begins there.
    ///
    /// # Errors
    /// As for [`subscriber`](Self::subscriber).
    pub fn subscriber_from(&self, start: Start) -> Result<Subscriber<P>, ChannelError>
    where
        P: CheckedBitPattern,
    {
        subscriber::<P, Broadcast>(&self.opening(Side::Receiver)?, start)
    }

    /// Opens a subscriber that loses nothing. It begins with the next message that is
    /// published.
    ///
    /// # Errors
    /// [`ChannelError::TooManyReliable`], and as for [`subscriber`](Self::subscriber).
    pub fn reliable_subscriber(&self) -> Result<ReliableSubscriber<P>, ChannelError>
    where
        P: CheckedBitPattern,
    {
        self.reliable_subscriber_from(Start::Newest)
    }

    /// Opens a subscriber that loses nothing, and which begins there.
    ///
    /// # Errors
    /// As for [`reliable_subscriber`](Self::reliable_subscriber).
    pub fn reliable_subscriber_from(
        &self,
        start: Start,
    ) -> Result<ReliableSubscriber<P>, ChannelError>
    where
        P: CheckedBitPattern,
    {
        subscriber::<P, Reliable>(&self.opening(Side::Receiver)?, start)
    }
}

impl ByteBroadcastChannel<'_> {
    /// Creates the channel if it does not exist, for messages of up to `longest` bytes each
    /// (at most 1 GiB): see [`BroadcastChannel::capacity`].
    pub const fn capacity(mut self, messages: usize, longest: usize) -> Self {
        self.0.capacity = Some(messages);
        self.0.size = Some(longest);
        self
    }

    /// As [`BroadcastChannel::publishers`].
    pub const fn publishers(self, most: u16) -> Self {
        Self(self.0.publishers(most))
    }

    /// As [`BroadcastChannel::reliable`].
    pub const fn reliable(self, most: u16) -> Self {
        Self(self.0.reliable(most))
    }

    /// As [`BroadcastChannel::lasting`].
    pub const fn lasting(self) -> Self {
        Self(self.0.lasting())
    }

    /// As [`BroadcastChannel::publisher`].
    ///
    /// # Errors
    /// As there.
    pub fn publisher(&self) -> Result<Publisher<Bytes>, ChannelError> {
        self.0.publisher()
    }

    /// As [`BroadcastChannel::subscriber`].
    ///
    /// # Errors
    /// As there.
    pub fn subscriber(&self) -> Result<Subscriber<Bytes>, ChannelError> {
        self.0.subscriber()
    }

    /// As [`BroadcastChannel::subscriber_from`].
    ///
    /// # Errors
    /// As there.
    pub fn subscriber_from(&self, start: Start) -> Result<Subscriber<Bytes>, ChannelError> {
        self.0.subscriber_from(start)
    }

    /// As [`BroadcastChannel::reliable_subscriber`].
    ///
    /// # Errors
    /// As there.
    pub fn reliable_subscriber(&self) -> Result<ReliableSubscriber<Bytes>, ChannelError> {
        self.0.reliable_subscriber()
    }

    /// As [`BroadcastChannel::reliable_subscriber_from`].
    ///
    /// # Errors
    /// As there.
    pub fn reliable_subscriber_from(
        &self,
        start: Start,
    ) -> Result<ReliableSubscriber<Bytes>, ChannelError> {
        self.0.reliable_subscriber_from(start)
    }
}

/// Takes what an end needs; once more, if there is none left, when the dead have been swept.
fn take<T>(
    opening: &Opening<'_>,
    take: impl Fn() -> Result<T, NotNow>,
    too_many: ChannelError,
) -> Result<T, ChannelError> {
    let taken = match take() {
        Err(NotNow::Nothing) => {
            opening.participant.scan()?;
            take()
        }
        taken => taken,
    };
    taken.map_err(|_| too_many)
}

/// Takes a publisher's entry.
fn claim<R: Broadcasts<Broadcast>>(
    opening: &Opening<'_>,
    ring: &R,
) -> Result<R::Producer, ChannelError> {
    let too_many = opening.too_many_publishers();
    take(opening, || ring.producer(opening.participant.me()), too_many)
}

/// Takes a subscriber's position; where publishers wait for it, with an entry.
fn sit<M: Mode, R: Broadcasts<M>>(
    opening: &Opening<'_>,
    ring: &R,
    start: Start,
) -> Result<R::Consumer, ChannelError> {
    let limit = opening.block.plan.seats.reliable;
    let too_many = ChannelError::TooManyReliable { channel: opening.name.to_string(), limit };
    take(opening, || ring.subscribe(opening.participant.me(), start), too_many)
}

/// Opens a publisher.
pub(super) fn publisher<P>(opening: &Opening<'_>) -> Result<Publisher<P>, ChannelError>
where
    P: Broadcastable + NoUninit,
{
    let (end, (ring, at)) = Endpoint::taking(opening, |cells| {
        let ring = opening.typed(cells, P::Ring::<Broadcast>::of)?;
        let at = claim(opening, &ring)?;
        Ok((ring, at))
    })?;
    Ok(Sender::with(ring, at, end))
}

/// Opens a subscriber. It has its position before it counts as a receiver: what is published
/// after that, it gets.
pub(super) fn subscriber<P, K>(
    opening: &Opening<'_>,
    start: Start,
) -> Result<Receiver<P, K>, ChannelError>
where
    P: Payload + CheckedBitPattern,
    K: Kind + Mode,
    P::Ring<K>: Broadcasts<K>,
{
    let (mut end, (ring, at)) = Endpoint::taking(opening, |cells| {
        let ring = opening.typed(cells, P::Ring::<K>::of)?;
        let at = sit(opening, &ring, start)?;
        Ok((ring, at))
    })?;
    if ring.left(&at) > 0 {
        end.has_met_a_peer();
    }
    Ok(Receiver::with(ring, at, end))
}

impl<P: Broadcastable + NoUninit> Publisher<P> {
    /// The sequence number of the message that this handle published last, from 0 on: it was
    /// the first that was ever published, or so many were published before it. `None` if this
    /// handle has published none.
    pub fn sequence(&self) -> Option<u64> {
        self.at.last()
    }

    /// How many messages have been published in this channel, by all publishers, now or a
    /// moment ago: the sequence number of the next one.
    pub fn published(&self) -> u64 {
        self.ring.board().published()
    }

    /// The reliable subscriber that is furthest behind, and by how many messages. If it is
    /// behind by the [capacity](Self::capacity), publishers wait for it. `None` if there is no
    /// reliable subscriber.
    ///
    /// ```
    /// use tombolo::{Segment, TrySendError};
    ///
    /// let segment = Segment::anonymous()?;
    /// let prices = segment.broadcast::<u64>("prices").capacity(2);
    /// let (publisher, _ledger) = (prices.publisher()?, prices.reliable_subscriber()?);
    /// publisher.send_batch(&[1, 2])?;
    /// assert_eq!(publisher.try_send(3), Err(TrySendError::Full(3)));
    /// let slowest = publisher.slowest().unwrap();
    /// assert_eq!((slowest.behind, slowest.peer.pid()), (2, std::process::id()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn slowest(&self) -> Option<Slowest> {
        let (behind, member) = self.ring.board().slowest()?;
        Some(Slowest { peer: self.end.participant().mapped().peer(member), behind })
    }

    /// Tells all subscribers that so many messages are missing here, as one does that carries
    /// messages from elsewhere and has lost some: where a message would come next, each of them
    /// gets [`Lagged`](crate::RecvError::Lagged) with this number, also those that publishers
    /// wait for, and it counts in [`missed`](Subscriber::missed). In the channel it takes the place
    /// of one message, and a subscriber that publishers have overtaken there counts it as one.
    /// Waits for nobody. Nothing is told if none is missing.
    ///
    /// ```
    /// use tombolo::{RecvError, Segment};
    ///
    /// let segment = Segment::anonymous()?;
    /// let prices = segment.broadcast::<u64>("prices").capacity(8);
    /// let (publisher, ledger) = (prices.publisher()?, prices.reliable_subscriber()?);
    /// publisher.send(1)?;
    /// publisher.try_send_gap(1_000)?;
    /// publisher.send(1_002)?;
    /// assert_eq!(ledger.recv()?, 1);
    /// assert_eq!(ledger.recv(), Err(RecvError::Lagged(1_000)));
    /// assert_eq!(ledger.recv()?, 1_002);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`try_send`](Self::try_send).
    pub fn try_send_gap(&self, missed: u64) -> Result<(), TrySendError> {
        if missed == 0 {
            return Ok(());
        }
        let push = || self.end.publish(|| self.ring.publish_gap(&self.at, missed));
        self.push_on(push(), None, push).map_err(|refusal| match refusal {
            Refusal::Needs(need) => not_now(need, ()),
            Refusal::TimedOut | Refusal::Length(_) => TrySendError::Full(()),
            Refusal::Fault(fault) => TrySendError::unsent((), fault),
            Refusal::Unwoken(unwoken) => TrySendError::Unwoken(unwoken),
        })
    }

    /// Another publisher of this channel in this process, for another thread.
    ///
    /// # Errors
    /// [`ChannelError::TooManyPublishers`], and those of every operation.
    pub fn try_clone(&self) -> Result<Self, ChannelError> {
        let ring = self.end.typed(P::Ring::<Broadcast>::of)?;
        let at = claim(&self.end.opening(), &ring)?;
        Ok(Self::with(ring, at, self.end.another()?))
    }

    /// Waits until there are so many subscribers, of both sorts. Each of them gets what is
    /// published from then on.
    ///
    /// # Errors
    /// The fault that ends the use of the channel.
    pub fn wait_for(&self, subscribers: u64) -> Result<(), Fault> {
        self.wait_for_until(subscribers, None)?.ok_or(Fault::Closed)
    }

    /// The same, but waits at most this long.
    ///
    /// # Errors
    /// [`SendTimeoutError::Timeout`], or the fault that ends the use of the channel.
    pub fn wait_for_timeout(
        &self,
        subscribers: u64,
        timeout: Duration,
    ) -> Result<(), SendTimeoutError> {
        let deadline = Instant::now().checked_add(timeout);
        self.wait_for_until(subscribers, deadline)?.ok_or(SendTimeoutError::Timeout(()))
    }

    pub(super) fn are_there(&self, subscribers: u64) -> Result<(), NotNow> {
        self.end.guarded(|| {
            let enough = self.end.receivers() >= subscribers;
            if enough { Ok(()) } else { Err(NotNow::Nothing) }
        })
    }

    fn wait_for_until(
        &self,
        subscribers: u64,
        until: Option<Instant>,
    ) -> Result<Option<()>, Fault> {
        let are_there = || self.are_there(subscribers);
        match are_there() {
            Ok(()) => Ok(Some(())),
            Err(why) => self.end.wait_to_send(why, until, are_there, || true),
        }
    }
}

/// The reliable subscriber that is furthest behind: see [`Publisher::slowest`].
///
/// [`Publisher::slowest`]: crate::Sender::slowest
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Slowest {
    /// The participant whose subscriber it is.
    pub peer: Peer,
    /// How many messages it has not read.
    pub behind: u64,
}

impl<P: Broadcastable + CheckedBitPattern> Subscriber<P> {
    /// Has this subscriber go on at a position that it has passed.
    pub(super) fn go_back_to(&self, position: u64) {
        self.ring.go_to(&self.at, position);
    }

    /// Another subscriber, at the same position, in this process.
    ///
    /// # Errors
    /// [`ChannelError::TooMany`], and those of every operation.
    pub fn try_clone(&self) -> Result<Self, ChannelError> {
        let ring = self.end.typed(P::Ring::<Broadcast>::of)?;
        let at = self.at.another(ring.board());
        Ok(Self::with(ring, at, self.end.another()?))
    }

    /// How many messages this subscriber has missed, in all: the sum of what `Lagged` has told
    /// it. What it has passed over itself, by [`skip_to_newest`](Self::skip_to_newest) or
    /// [`latest`](Self::latest), it has not missed. A clone begins to count at 0.
    pub const fn missed(&self) -> u64 {
        self.at.missed()
    }
}

impl<P: Broadcastable + CheckedBitPattern> ReliableSubscriber<P> {
    /// Another reliable subscriber, at the same position, in this process.
    ///
    /// # Errors
    /// [`ChannelError::TooManyReliable`], [`ChannelError::TooMany`], and those of every
    /// operation.
    pub fn try_clone(&self) -> Result<Self, ChannelError> {
        // The end first: if there is no entry, it tells the publishers that nobody came.
        let end = self.end.another()?;
        let ring = end.typed(P::Ring::<Reliable>::of)?;
        // This one is never further behind than the oldest message that another may have.
        let at = sit(&end.opening(), &ring, Start::Oldest)?;
        ring.go_to(&at, self.sequence());
        // They may have waited for the other one where it began.
        end.acknowledge();
        Ok(Self::with(ring, at, end))
    }
}

/// So often it is tried to be faster than the publishers.
const TRIES: u32 = 16;

/// What both sorts of subscribers can do.
impl<P, K> Receiver<P, K>
where
    P: Payload + CheckedBitPattern,
    K: Kind + Mode,
    P::Ring<K>: Broadcasts<K>,
{
    /// The sequence number of the next message that this subscriber receives, if it does not
    /// miss it. The first message that was ever published has number 0. A
    /// [gap](Publisher::try_send_gap) has one number, however many messages are missing there.
    pub fn sequence(&self) -> u64 {
        self.at.position()
    }

    /// Passes over all messages but the newest, and what is missing before that. Returns how many
    /// it has passed over.
    ///
    /// # Errors
    /// [`Fault::Forked`].
    pub fn skip_to_newest(&self) -> Result<u64, Fault> {
        if self.end.in_child() {
            return Err(Fault::Forked);
        }
        let passed = self.ring.skip_to_newest(&self.at);
        if passed > 0 && K::MAKES_ROOM {
            self.end.acknowledge();
        }
        Ok(passed)
    }

    /// Receives the newest message, and passes over all before it. Does not wait.
    ///
    /// # Errors
    /// Those of [`try_recv`](Self::try_recv): `Empty` if nothing has been published since the
    /// last message that was received.
    pub fn latest(&self) -> Result<P::Owned, TryRecvError> {
        for _ in 1..TRIES {
            self.skip_to_newest()?;
            match self.try_next() {
                Err(TryRecvError::Lagged(passed)) => self.at.has_passed_over(passed),
                received => return received,
            }
        }
        self.try_next()
    }
}
