//! Channels: typed queues in a segment, and their two ends.

mod blocking;
mod bound;
mod bytes;
mod cancel;
mod changes;
mod debts;
pub mod derive;
mod endpoint;
mod grant;
mod guarded;
mod kind;
mod message;
mod notify;
mod queues;
mod ready;
mod receiver;
mod sender;
mod transfer;
mod waiting;

use core::marker::PhantomData;
use std::panic::{RefUnwindSafe, UnwindSafe};

use bytemuck::{CheckedBitPattern, NoUninit};

use crate::error::ChannelError;
use crate::ring::mpmc::MAX_ATTEMPTS;
use crate::segment::{CHANNEL_NAME_BYTES, MAX_CAPACITY, Name, Segment, Side, Spec};

pub use bytes::{
    ByteChannel, ByteDelivery, ByteGrant, ByteKind, ByteReader, ByteReceiver, ByteSender,
    ByteWriter,
};
pub use cancel::Canceller;
use endpoint::Endpoint;
pub use grant::{Delivery, DeliverySlice, Grant, GrantSlice};
use kind::sealed;
pub use kind::{Kind, Mpmc, Spsc};
pub use message::Message;
pub use ready::Readiness;
pub use receiver::{Iter, Receiver};
pub use sender::Sender;

/// How often a message is delivered again unless it is said otherwise.
const ATTEMPTS: u8 = 8;

/// A channel to be opened, or created where a capacity is given: see
/// [`Segment::channel`].
#[derive(Clone, Debug)]
#[must_use = "a channel does nothing until it is opened as a sender or a receiver"]
pub struct Channel<'a, T, K: Kind = Mpmc> {
    segment: &'a Segment,
    name: &'a str,
    capacity: Option<usize>,
    attempts: u8,
    lasting: bool,
    types: PhantomData<(fn() -> T, K)>,
}

impl Segment {
    /// The channel of this name, MPMC unless it is said otherwise.
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
        Channel {
            segment: self,
            name,
            capacity: None,
            attempts: ATTEMPTS,
            lasting: false,
            types: PhantomData,
        }
    }
}

impl<'a, T: Message, K: Kind> Channel<'a, T, K> {
    /// The channel has any number of senders and receivers.
    pub const fn mpmc(self) -> Channel<'a, T, Mpmc> {
        self.kind()
    }

    /// The channel has one sender and one receiver at a time. When one of
    /// them has gone, whether it was dropped or killed, another can take its
    /// place and goes on where the queue is.
    pub const fn spsc(self) -> Channel<'a, T, Spsc> {
        self.kind()
    }

    const fn kind<L: Kind>(self) -> Channel<'a, T, L> {
        Channel {
            segment: self.segment,
            name: self.name,
            capacity: self.capacity,
            attempts: self.attempts,
            lasting: self.lasting,
            types: PhantomData,
        }
    }

    /// Creates the channel if there is none, for exactly this many messages:
    /// 1 to 2,147,483,648. Without it the channel must exist.
    pub const fn capacity(mut self, messages: usize) -> Self {
        self.capacity = Some(messages);
        self
    }

    /// How often a message may be delivered again because the receiver that
    /// had taken it was killed (8; up to 15). With 0 it is dropped instead.
    /// Decided when the channel is created.
    ///
    /// In an SPSC channel a message counts as taken while it is read in
    /// place ([`take`](Receiver::take), [`take_slice`](Receiver::take_slice)).
    /// What a killed `recv` had not copied out was nobody's yet, and comes
    /// again in any case. What is to be dropped is dropped when a successor
    /// comes, and occupies its place until then.
    pub const fn redeliver(mut self, times: u8) -> Self {
        self.attempts = if times < MAX_ATTEMPTS { times } else { MAX_ATTEMPTS };
        self
    }

    /// The channel outlives its peers: nobody is told `Disconnected`, and
    /// whoever waits goes on waiting for somebody to come. Decided when the
    /// channel is created.
    ///
    /// Otherwise a handle is disconnected when the last living peer that it
    /// has met has gone: one that was there when it was opened, that came
    /// later, or, to a receiver, whose messages it found. Before the first
    /// one comes, and again when another comes, it just waits.
    pub const fn lasting(mut self) -> Self {
        self.lasting = true;
        self
    }

    fn endpoint(&self, side: Side) -> Result<Endpoint, ChannelError> {
        let spec = Spec {
            name: Name::new(self.name, CHANNEL_NAME_BYTES)?,
            kind: <K as sealed::Kind>::RING,
            size: Some(size_of::<T>()),
            align: align_of::<T>(),
            schema: Spec::schema(T::SCHEMA),
            capacity: self.capacity,
            attempts: self.attempts,
            lasting: self.lasting,
        };
        let participant = self.segment.participant();
        let block = participant.channel(&spec)?;
        Endpoint::new(participant, block, self.name.into(), side)
    }

    /// Opens the sending end.
    ///
    /// # Errors
    /// [`ChannelError::NotFound`], [`ChannelError::Mismatch`],
    /// [`ChannelError::RoleTaken`] for an SPSC channel that has a living
    /// sender, and every limit.
    pub fn sender(&self) -> Result<Sender<T, K>, ChannelError>
    where
        T: NoUninit,
    {
        Sender::new(self.endpoint(Side::Sender)?)
    }

    /// Opens the receiving end.
    ///
    /// # Errors
    /// As for [`sender`](Self::sender).
    pub fn receiver(&self) -> Result<Receiver<T, K>, ChannelError>
    where
        T: CheckedBitPattern,
    {
        Receiver::new(self.endpoint(Side::Receiver)?)
    }
}

const _: () = assert!(MAX_CAPACITY == 2_147_483_648);

// A panic leaves no handle in the middle of anything: no operation runs code
// of the caller's, and a guard that is dropped by one ends as any does.
impl<T, K: Kind> UnwindSafe for Sender<T, K> {}
impl<T, K: Kind> RefUnwindSafe for Sender<T, K> {}
impl<T, K: Kind> UnwindSafe for Receiver<T, K> {}
impl<T, K: Kind> RefUnwindSafe for Receiver<T, K> {}
impl<K: ByteKind> UnwindSafe for ByteSender<K> {}
impl<K: ByteKind> RefUnwindSafe for ByteSender<K> {}
impl<K: ByteKind> UnwindSafe for ByteReceiver<K> {}
impl<K: ByteKind> RefUnwindSafe for ByteReceiver<K> {}
