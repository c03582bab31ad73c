//! Channels whose kind and type are known only when the program runs: for tools, and
//! for bindings to other languages.

mod each;
mod joint;
mod receiver;
mod sender;
mod spec;

use super::broadcast::{publisher, subscriber};
use super::calls::{AnyClient, AnyServer, has_bells};
use super::endpoint::{Endpoint, Opening};
use super::receiver::Receiver;
use super::sender::Sender;
use crate::error::{ChannelError, ChannelProperty};
use crate::kinds::broadcast::Start;
use crate::kinds::table::RingKind as ChannelKind;
use crate::segment::{Described, Segment, Side};

use each::Any;
pub use receiver::{AnyDelivery, AnyIntoIter, AnyIter, AnyReceiver, AnyTryIter};
pub use sender::{AnyGrant, AnySender};
pub use spec::AnyChannelSpec;

/// A channel that exists, whatever it carries: see [`Segment::open_channel`].
#[derive(Clone, Debug)]
pub struct AnyChannel<'a> {
    segment: &'a Segment,
    found: Described,
}

impl Segment {
    /// Finds a channel by its name alone, to move its messages as bytes. The channel
    /// says what they are.
    ///
    /// A message of a typed channel is the bytes of one element: exactly
    /// [`element_size`](AnyChannel::element_size) of them, in the machine's byte order.
    /// Typed receivers check what they receive.
    ///
    /// ```
    /// use tombolo::Segment;
    ///
    /// let segment = Segment::anonymous()?;
    /// let typed = segment.channel::<u32>("numbers").capacity(8);
    /// let receiver = typed.receiver()?;
    ///
    /// let numbers = segment.open_channel("numbers")?;
    /// assert_eq!((numbers.schema(), numbers.element_size()), ("u32", 4));
    /// let sender = numbers.sender()?;
    /// sender.send(&7_u32.to_ne_bytes())?;
    /// assert_eq!(receiver.recv()?, 7);
    /// assert!(sender.send(b"too long").is_err_and(|error| error.is_too_long()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ChannelError::NotFound`], and those of every operation.
    pub fn open_channel(&self, name: &str) -> Result<AnyChannel<'_>, ChannelError> {
        let found = self.participant().described(name)?;
        Ok(AnyChannel { segment: self, found })
    }
}

impl AnyChannel<'_> {
    /// The channel's name.
    pub fn name(&self) -> &str {
        &self.found.name
    }

    /// What the messages are: the schema of their type, or `bytes`.
    pub fn schema(&self) -> &str {
        &self.found.schema
    }

    /// Its kind.
    pub const fn kind(&self) -> ChannelKind {
        self.found.block.kind
    }

    /// The fingerprint of the type of the messages: a hash of its schema, size and
    /// alignment.
    pub const fn fingerprint(&self) -> u64 {
        self.found.fingerprint
    }

    /// How often a message may be delivered again: see
    /// [`Channel::redeliver`](crate::Channel::redeliver).
    pub const fn attempts(&self) -> u8 {
        self.found.block.attempts
    }

    /// Whether the channel outlives its peers: see
    /// [`Channel::lasting`](crate::Channel::lasting).
    pub const fn is_lasting(&self) -> bool {
        self.found.block.lasting
    }

    /// Whether messages are bytes of any length, up to
    /// [`element_size`](Self::element_size).
    pub const fn is_bytes(&self) -> bool {
        self.found.block.kind.is_bytes()
    }

    /// Whether the channel has one sender and one receiver at a time.
    pub const fn is_spsc(&self) -> bool {
        self.found.block.kind.is_single()
    }

    /// Whether each receiver gets every message.
    pub const fn is_broadcast(&self) -> bool {
        self.found.block.kind.is_broadcast()
    }

    /// Whether it is a [service](Segment::service): it has [clients](Self::client) and
    /// [servers](Self::server), and no senders or receivers.
    pub const fn is_calls(&self) -> bool {
        self.found.block.kind.is_calls()
    }

    /// How many bytes a message has; of messages of any length, the longest; of a service, a
    /// request.
    pub const fn element_size(&self) -> usize {
        self.found.size
    }

    /// How many bytes a reply of a service has; of replies of any length, the longest. 0 of any
    /// other channel.
    pub const fn reply_size(&self) -> usize {
        self.found.reply.0.size
    }

    /// To what a message is aligned in memory, in bytes. Of messages of any length: 1,
    /// though each begins at a multiple of 8.
    pub const fn element_align(&self) -> usize {
        self.found.align
    }

    /// How many messages the channel holds; of bytes in an SPSC channel, how many of the
    /// longest.
    pub const fn capacity(&self) -> usize {
        let plan = &self.found.block.plan;
        plan.messages
    }

    fn opening(&self, side: Side) -> Opening<'_> {
        // An entry of the directory never changes, so the channel is still this one.
        let participant = self.segment.participant();
        let name = self.found.name.as_str().into();
        Opening { participant, block: self.found.block, name, side }
    }

    /// Opens a sending end; of a broadcast channel, a publisher.
    ///
    /// # Errors
    /// [`ChannelError::RoleTaken`] for an SPSC channel that has a living sender,
    /// [`ChannelError::TooManyPublishers`] for a broadcast channel, and every limit.
    pub fn sender(&self) -> Result<AnySender, ChannelError> {
        let opening = self.opening(Side::Sender);
        let queue = || Endpoint::new(&opening);
        Ok(AnySender::of(match self.found.block.kind {
            ChannelKind::Spsc => Any::Spsc(Sender::new(queue()?)?),
            ChannelKind::Mpmc => Any::Mpmc(Sender::new(queue()?)?),
            ChannelKind::SpscBytes => Any::SpscBytes(Sender::new(queue()?)?),
            ChannelKind::MpmcBytes => Any::MpmcBytes(Sender::new(queue()?)?),
            ChannelKind::Broadcast => Any::Broadcast(publisher(&opening)?),
            ChannelKind::BroadcastBytes => Any::BroadcastBytes(publisher(&opening)?),
            ChannelKind::Calls | ChannelKind::CallsBytes => {
                return Err(self.is_other_than(ChannelKind::Mpmc));
            }
        }))
    }

    /// Opens a receiving end; of a broadcast channel, a subscriber for which nobody waits, and
    /// which begins with the next message that is published.
    ///
    /// # Errors
    /// As for [`sender`](Self::sender).
    pub fn receiver(&self) -> Result<AnyReceiver, ChannelError> {
        let opening = self.opening(Side::Receiver);
        let queue = || Endpoint::new(&opening);
        Ok(AnyReceiver::of(match self.found.block.kind {
            ChannelKind::Spsc => Any::Spsc(Receiver::new(queue()?)?),
            ChannelKind::Mpmc => Any::Mpmc(Receiver::new(queue()?)?),
            ChannelKind::SpscBytes => Any::SpscBytes(Receiver::new(queue()?)?),
            ChannelKind::MpmcBytes => Any::MpmcBytes(Receiver::new(queue()?)?),
            ChannelKind::Broadcast | ChannelKind::BroadcastBytes => {
                return self.subscriber_from(Start::Newest);
            }
            ChannelKind::Calls | ChannelKind::CallsBytes => {
                return Err(self.is_other_than(ChannelKind::Mpmc));
            }
        }))
    }

    /// Opens a subscriber of a broadcast channel for which nobody waits, and which begins
    /// there.
    ///
    /// # Errors
    /// [`ChannelError::Mismatch`] of another kind of channel, and every limit.
    pub fn subscriber_from(&self, start: Start) -> Result<AnyReceiver, ChannelError> {
        let opening = self.opening(Side::Receiver);
        Ok(AnyReceiver::of(match self.found.block.kind {
            ChannelKind::Broadcast => Any::Broadcast(subscriber(&opening, start)?),
            ChannelKind::BroadcastBytes => Any::BroadcastBytes(subscriber(&opening, start)?),
            _ => return Err(self.is_other_than(ChannelKind::Broadcast)),
        }))
    }

    /// Opens a subscriber of a broadcast channel for which publishers wait, and which begins
    /// there.
    ///
    /// # Errors
    /// [`ChannelError::Mismatch`] of another kind of channel,
    /// [`ChannelError::TooManyReliable`], and every limit.
    pub fn reliable_subscriber_from(&self, start: Start) -> Result<AnyReceiver, ChannelError> {
        let opening = self.opening(Side::Receiver);
        Ok(AnyReceiver::of(match self.found.block.kind {
            ChannelKind::Broadcast => Any::Reliable(subscriber(&opening, start)?),
            ChannelKind::BroadcastBytes => Any::ReliableBytes(subscriber(&opening, start)?),
            _ => return Err(self.is_other_than(ChannelKind::Broadcast)),
        }))
    }

    /// Opens a client of a service: for bindings, and for tools.
    ///
    /// ```
    /// use tombolo::Segment;
    ///
    /// let segment = Segment::anonymous()?;
    /// let halves = segment.service::<u32, u32>("halves").capacity(8);
    /// let server = halves.server()?;
    /// let client = segment.open_channel("halves")?.client()?;
    /// let pending = client.start(&8_u32.to_ne_bytes())?;
    /// server.recv()?.reply(4)?;
    /// assert_eq!(pending.wait()?, 4_u32.to_ne_bytes());
    /// assert!(client.call(b"a word").is_err_and(|error| error.to_string().contains("6 bytes")));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ChannelError::Mismatch`] of a channel that is no service; otherwise as for
    /// [`Service::client`](crate::Service::client).
    pub fn client(&self) -> Result<AnyClient, ChannelError> {
        AnyClient::new(self.end_of_service(Side::Sender)?)
    }

    /// Opens a server of a service.
    ///
    /// # Errors
    /// As for [`client`](Self::client).
    pub fn server(&self) -> Result<AnyServer, ChannelError> {
        AnyServer::new(self.end_of_service(Side::Receiver)?)
    }

    fn end_of_service(&self, side: Side) -> Result<Endpoint, ChannelError> {
        if !self.is_calls() {
            return Err(self.is_other_than(ChannelKind::Calls));
        }
        has_bells(self.segment.participant())?;
        Endpoint::new(&self.opening(side))
    }

    /// That this is no channel like one of that kind.
    fn is_other_than(&self, kind: ChannelKind) -> ChannelError {
        ChannelError::Mismatch {
            channel: self.found.name.clone(),
            segment: self.segment.participant().mapped().called(),
            what: ChannelProperty::Kind,
            theirs: format!("{:?}", self.kind()),
            ours: format!("{kind:?}"),
        }
    }
}
