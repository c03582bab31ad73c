//! Channels: queues in a segment, of values of a type or of bytes, and their two
//! ends.

mod any;
#[cfg(feature = "async")]
mod asynchronous;
mod blocking;
mod bound;
mod broadcast;
mod calls;
mod cancel;
mod changes;
mod debts;
mod delivery;
pub mod derive;
mod endpoint;
mod grant;
mod guarded;
mod notify;
mod owned;
mod queues;
mod reactor;
mod ready;
mod receiver;
mod send_all;
mod sender;
mod shared;
mod transfer;
mod wait_set;
mod waiting;

use core::marker::PhantomData;
use std::panic::{RefUnwindSafe, UnwindSafe};

use bytemuck::{CheckedBitPattern, NoUninit};

use crate::error::ChannelError;
use crate::kinds::message::Message;
use crate::kinds::payload::Bytes;
use crate::kinds::table::{Kind, Mpmc, Payload, Spsc};
use crate::ring::mpmc::MAX_ATTEMPTS;
use crate::segment::{Name, Segment, Side, Spec};
use crate::storage::layout::{CHANNEL_NAME_BYTES, MAX_CAPACITY};

pub use any::{
    AnyChannel, AnyChannelSpec, AnyDelivery, AnyGrant, AnyIntoIter, AnyIter, AnyReceiver,
    AnySender, AnyTryIter,
};
#[cfg(feature = "async")]
pub use asynchronous::{AsyncClient, AsyncPendingCall, AsyncReceiver, AsyncSender, AsyncServer};
pub use broadcast::{
    BroadcastChannel, ByteBroadcastChannel, Publisher, ReliableSubscriber, Slowest, Subscriber,
};
pub use calls::{
    AnyClient, AnyPendingCall, AnyServer, AnyServerCall, ByteClient, ByteRequest, ByteServer,
    ByteServerCall, ByteService, CallPayload, Client, PendingCall, Server, ServerCall, ServerIter,
    Service,
};
pub use cancel::Canceller;
pub use delivery::{ByteDelivery, ByteReader, Delivery, DeliverySlice};
use endpoint::{Endpoint, Opening};
pub use grant::{ByteGrant, ByteWriter, Grant, GrantSlice};
pub use owned::{AnyOwnedDelivery, AnyOwnedGrant, Owned, OwnedDelivery, OwnedGrant};
pub use ready::Readiness;
pub use receiver::{ByteReceiver, IntoIter, Iter, Receiver, TryIter};
pub use send_all::{SendAll, SendEnd, Senders};
pub use sender::{ByteSender, Sender};
pub use shared::{Lent, LentOwned, Shareable, Shared};
pub use wait_set::{Ready, WaitSet, WaitSetWaker, Waitable};

/// How often a message is delivered again by default.
const ATTEMPTS: u8 = 8;

/// A channel to open, or to create if a capacity is given: see [`Segment::channel`].
#[derive(Clone, Debug)]
#[must_use = "a channel does nothing until it is opened as a sender or a receiver"]
pub struct Channel<'a, P: Payload, K: Kind = Mpmc> {
    segment: &'a Segment,
    name: &'a str,
    capacity: Option<usize>,
    /// The size of a message in bytes; for bytes, of the longest message.
    size: Option<usize>,
    attempts: u8,
    lasting: bool,
    types: PhantomData<(fn() -> P, K)>,
}

/// A channel of bytes to open, or to create if a capacity is given: see
/// [`Segment::bytes`].
// Not an alias: with one `capacity` for each, `Channel` would not infer its type.
#[derive(Clone, Debug)]
#[must_use = "a channel does nothing until it is opened as a sender or a receiver"]
pub struct ByteChannel<'a, K: Kind = Mpmc>(Channel<'a, Bytes, K>);

impl Segment {
    /// The channel of this name; MPMC by default.
    ///
    /// ```
    /// use tombolo::Segment;
    ///
    /// let segment = Segment::anonymous()?;
    /// let jobs = segment.channel::<u64>("jobs").capacity(100);
    /// let (sender, receiver) = (jobs.sender()?, jobs.receiver()?);
    /// sender.send(7)?;
    /// assert_eq!(receiver.recv()?, 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn channel<'a, T: Message>(&'a self, name: &'a str) -> Channel<'a, T, Mpmc> {
        Channel::new(self, name)
    }

    /// The channel of bytes of this name, for messages of any length up to a maximum;
    /// MPMC by default.
    ///
    /// ```
    /// use tombolo::Segment;
    ///
    /// let segment = Segment::anonymous()?;
    /// let lines = segment.bytes("lines").capacity(100, 4_096);
    /// let (sender, receiver) = (lines.sender()?, lines.receiver()?);
    /// sender.send(b"a line")?;
    /// let mut line = Vec::new();
    /// receiver.recv(&mut line)?;
    /// assert_eq!(line, b"a line");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn bytes<'a>(&'a self, name: &'a str) -> ByteChannel<'a, Mpmc> {
        ByteChannel(Channel::new(self, name))
    }
}

impl<T: Message, K: Kind> Channel<'_, T, K> {
    /// Creates the channel if it does not exist, for exactly this many messages: 1 to
    /// 2,147,483,648. Without a capacity, the channel must exist.
    pub const fn capacity(mut self, messages: usize) -> Self {
        self.capacity = Some(messages);
        self
    }
}

impl<'a, P: Payload, K: Kind> Channel<'a, P, K> {
    const fn new(segment: &'a Segment, name: &'a str) -> Self {
        Self {
            segment,
            name,
            capacity: None,
            size: P::SIZE,
            attempts: ATTEMPTS,
            lasting: false,
            types: PhantomData,
        }
    }

    /// The channel has any number of senders and receivers.
    pub const fn mpmc(self) -> Channel<'a, P, Mpmc> {
        self.kind()
    }

    /// The channel has one sender and one receiver at a time. When one of them is gone,
    /// dropped or killed, a successor can take its place and continues where the queue
    /// is.
    pub const fn spsc(self) -> Channel<'a, P, Spsc> {
        self.kind()
    }

    const fn kind<L: Kind>(self) -> Channel<'a, P, L> {
        Channel {
            segment: self.segment,
            name: self.name,
            capacity: self.capacity,
            size: self.size,
            attempts: self.attempts,
            lasting: self.lasting,
            types: PhantomData,
        }
    }

    /// How often a message may be delivered again because the receiver that had taken it
    /// was killed (8; up to 15). With 0, it is dropped instead. The creator of the
    /// channel decides.
    ///
    /// In an SPSC channel, a message counts as taken while it is read in place
    /// ([`take`](Receiver::take), [`take_slice`](Receiver::take_slice)). A message that a
    /// killed `recv` had not copied out was not taken yet, and is always delivered again.
    /// A message whose attempts are used up is dropped when a successor comes, and
    /// occupies its place until then.
    pub const fn redeliver(mut self, times: u8) -> Self {
        self.attempts = if times < MAX_ATTEMPTS { times } else { MAX_ATTEMPTS };
        self
    }

    /// The channel outlives its peers: no handle gets `Disconnected`, and waiting calls
    /// wait for the next peer to come. The creator of the channel decides.
    ///
    /// Otherwise a handle is disconnected when the last living peer that it has met is
    /// gone. A handle has met the peers that were there when it was opened, that came
    /// later, or, for a receiver, whose messages it found. Before the first peer comes,
    /// and again when another comes, the handle just waits.
    pub const fn lasting(mut self) -> Self {
        self.lasting = true;
        self
    }

    fn endpoint(&self, side: Side) -> Result<Endpoint, ChannelError> {
        let spec = Spec {
            name: Name::new(self.name, CHANNEL_NAME_BYTES)?,
            kind: P::ring_kind::<K>(),
            size: self.size,
            align: P::ALIGN,
            schema: Spec::schema(P::SCHEMA),
            capacity: self.capacity,
            publishers: None,
            reliable: None,
            reply: None,
            attempts: self.attempts,
            lasting: self.lasting,
        };
        let participant = self.segment.participant();
        let block = participant.channel(&spec)?;
        Endpoint::new(&Opening { participant, block, name: self.name.into(), side })
    }

    /// Opens the sending end.
    ///
    /// # Errors
    /// [`ChannelError::NotFound`], [`ChannelError::Mismatch`],
    /// [`ChannelError::RoleTaken`] for an SPSC channel that has a living
    /// sender, and every limit.
    pub fn sender(&self) -> Result<Sender<P, K>, ChannelError>
    where
        P: NoUninit,
    {
        Sender::new(self.endpoint(Side::Sender)?)
    }

    /// Opens the receiving end.
    ///
    /// # Errors
    /// As for [`sender`](Self::sender).
    pub fn receiver(&self) -> Result<Receiver<P, K>, ChannelError>
    where
        P: CheckedBitPattern,
    {
        Receiver::new(self.endpoint(Side::Receiver)?)
    }
}

impl<'a, K: Kind> ByteChannel<'a, K> {
    /// The channel has any number of senders and receivers.
    pub const fn mpmc(self) -> ByteChannel<'a, Mpmc> {
        ByteChannel(self.0.mpmc())
    }

    /// The channel has one sender and one receiver at a time: see [`Channel::spsc`].
    pub const fn spsc(self) -> ByteChannel<'a, Spsc> {
        ByteChannel(self.0.spsc())
    }

    /// Creates the channel if it does not exist, for this many messages of up to
    /// `longest` bytes each (at most 1 GiB). Without a capacity, the channel must exist.
    ///
    /// Exactly this many of the longest messages fit. The same number of shorter ones
    /// fits in an MPMC channel, where each message has a block of its own. In an SPSC
    /// channel, where messages lie side by side, more of them fit.
    pub const fn capacity(mut self, messages: usize, longest: usize) -> Self {
        self.0.capacity = Some(messages);
        self.0.size = Some(longest);
        self
    }

    /// As for [`Channel::redeliver`].
    pub const fn redeliver(self, times: u8) -> Self {
        Self(self.0.redeliver(times))
    }

    /// As for [`Channel::lasting`].
    pub const fn lasting(self) -> Self {
        Self(self.0.lasting())
    }

    /// Opens the sending end.
    ///
    /// # Errors
    /// As for [`Channel::sender`].
    pub fn sender(&self) -> Result<ByteSender<K>, ChannelError> {
        self.0.sender()
    }

    /// Opens the receiving end.
    ///
    /// # Errors
    /// As for [`Channel::sender`].
    pub fn receiver(&self) -> Result<ByteReceiver<K>, ChannelError> {
        self.0.receiver()
    }
}

const _: () = assert!(MAX_CAPACITY == 2_147_483_648);

// A panic leaves no handle in the middle of anything. The only code of the program's that an
// operation runs is the check of a message's bits: a single message is consumed by then, a
// batch up to there; and a guard that is dropped by a panic ends as any does.
impl<P: Payload, K: Kind> UnwindSafe for Sender<P, K> {}
impl<P: Payload, K: Kind> RefUnwindSafe for Sender<P, K> {}
impl<P: Payload, K: Kind> UnwindSafe for Receiver<P, K> {}
impl<P: Payload, K: Kind> RefUnwindSafe for Receiver<P, K> {}
