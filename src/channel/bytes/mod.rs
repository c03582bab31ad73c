//! Channels of bytes: messages of any length up to a maximum.
//!
//! SPSC: records side by side in one ring, each contiguous, with padding at
//! the end where one would not fit; a second mapping behind the first would
//! save the padding and double the pages. MPMC: a message is written into a
//! block of its own and then takes its place in the order, so that nobody
//! waits for a slow writer; the blocks take `capacity × longest` bytes,
//! however short the messages are.

mod kind;
mod receiver;
mod sender;

use core::marker::PhantomData;

use super::endpoint::Endpoint;
use super::{ATTEMPTS, Mpmc, Spsc};
use crate::error::ChannelError;
use crate::ring::mpmc::MAX_ATTEMPTS;
use crate::segment::{Name, Segment, Side, Spec};
use crate::storage::layout::CHANNEL_NAME_BYTES;

pub use kind::ByteKind;
use kind::sealed;
pub use receiver::{ByteDelivery, ByteReader, ByteReceiver};
pub use sender::{ByteGrant, ByteSender, ByteWriter};

/// What the directory says the elements are.
const SCHEMA: &str = "bytes";

/// A channel of bytes to be opened, or created where a capacity is given: see
/// [`Segment::bytes`].
#[derive(Clone, Debug)]
#[must_use = "a channel does nothing until it is opened as a sender or a receiver"]
pub struct ByteChannel<'a, K: ByteKind = Mpmc> {
    segment: &'a Segment,
    name: &'a str,
    shape: Option<(usize, usize)>,
    attempts: u8,
    lasting: bool,
    kind: PhantomData<K>,
}

impl Segment {
    /// The channel of bytes of this name, MPMC unless it is said otherwise.
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
        ByteChannel {
            segment: self,
            name,
            shape: None,
            attempts: ATTEMPTS,
            lasting: false,
            kind: PhantomData,
        }
    }
}

impl<'a, K: ByteKind> ByteChannel<'a, K> {
    /// The channel has any number of senders and receivers.
    pub const fn mpmc(self) -> ByteChannel<'a, Mpmc> {
        self.kind()
    }

    /// The channel has one sender and one receiver at a time: see
    /// [`Channel::spsc`](crate::Channel::spsc).
    pub const fn spsc(self) -> ByteChannel<'a, Spsc> {
        self.kind()
    }

    const fn kind<L: ByteKind>(self) -> ByteChannel<'a, L> {
        ByteChannel {
            segment: self.segment,
            name: self.name,
            shape: self.shape,
            attempts: self.attempts,
            lasting: self.lasting,
            kind: PhantomData,
        }
    }

    /// Creates the channel if there is none, for this many messages of up to
    /// `longest` bytes each (at most 1 GiB). Without it the channel must
    /// exist.
    ///
    /// That is exactly how many of the longest messages fit. Of shorter ones as
    /// many fit in an MPMC channel, where each has a block of its own; in an SPSC
    /// channel, where they lie side by side, more of them do.
    pub const fn capacity(mut self, messages: usize, longest: usize) -> Self {
        self.shape = Some((messages, longest));
        self
    }

    /// As for [`Channel::redeliver`](crate::Channel::redeliver).
    pub const fn redeliver(mut self, times: u8) -> Self {
        self.attempts = if times < MAX_ATTEMPTS { times } else { MAX_ATTEMPTS };
        self
    }

    /// As for [`Channel::lasting`](crate::Channel::lasting).
    pub const fn lasting(mut self) -> Self {
        self.lasting = true;
        self
    }

    fn endpoint(&self, side: Side) -> Result<Endpoint, ChannelError> {
        let spec = Spec {
            name: Name::new(self.name, CHANNEL_NAME_BYTES)?,
            kind: <K as sealed::ByteKind>::RING,
            size: self.shape.map(|(_, longest)| longest),
            align: 1,
            schema: SCHEMA.to_owned(),
            capacity: self.shape.map(|(messages, _)| messages),
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
    /// As for [`Channel::sender`](crate::Channel::sender).
    pub fn sender(&self) -> Result<ByteSender<K>, ChannelError> {
        ByteSender::new(self.endpoint(Side::Sender)?)
    }

    /// Opens the receiving end.
    ///
    /// # Errors
    /// As for [`Channel::sender`](crate::Channel::sender).
    pub fn receiver(&self) -> Result<ByteReceiver<K>, ChannelError> {
        ByteReceiver::new(self.endpoint(Side::Receiver)?)
    }
}
