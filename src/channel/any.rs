//! Channels whose kind and type are known only when the program runs: for tools, and
//! for bindings to other languages.

use core::fmt;
use std::time::{Duration, Instant};

use super::cancel::Canceller;
use super::delivery::Delivery;
use super::endpoint::Endpoint;
use super::grant::Grant;
use super::ready::Readiness;
use super::receiver::Receiver;
use super::sender::Sender;
use crate::error::{
    ChannelError, Fault, RecvError, RecvTimeoutError, SendBatchError, SendError, SendTimeoutError,
    TryRecvError, TrySendError,
};
use crate::kinds::payload::{Bytes, Untyped};
use crate::kinds::table::{Mpmc, Spsc};
use crate::segment::{Described, Peer, Segment, Side};
use crate::storage::RingKind;
use crate::wait::WaitStrategy;

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

    /// Whether messages are bytes of any length, up to
    /// [`element_size`](Self::element_size).
    pub const fn is_bytes(&self) -> bool {
        matches!(self.found.block.kind, RingKind::SpscBytes | RingKind::MpmcBytes)
    }

    /// Whether the channel has one sender and one receiver at a time.
    pub const fn is_spsc(&self) -> bool {
        self.found.block.kind.is_single()
    }

    /// How many bytes a message has; of messages of any length, the longest.
    pub const fn element_size(&self) -> usize {
        self.found.size
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

    fn endpoint(&self, side: Side) -> Result<Endpoint, ChannelError> {
        // An entry of the directory never changes, so the channel is still this one.
        let participant = self.segment.participant();
        Endpoint::new(participant, self.found.block, self.found.name.as_str().into(), side)
    }

    /// Opens a sending end.
    ///
    /// # Errors
    /// [`ChannelError::RoleTaken`] for an SPSC channel that has a living sender, and
    /// every limit.
    pub fn sender(&self) -> Result<AnySender, ChannelError> {
        let end = self.endpoint(Side::Sender)?;
        Ok(AnySender(match self.found.block.kind {
            RingKind::Spsc => Any::Spsc(Sender::new(end)?),
            RingKind::Mpmc => Any::Mpmc(Sender::new(end)?),
            RingKind::SpscBytes => Any::SpscBytes(Sender::new(end)?),
            RingKind::MpmcBytes => Any::MpmcBytes(Sender::new(end)?),
        }))
    }

    /// Opens a receiving end.
    ///
    /// # Errors
    /// As for [`sender`](Self::sender).
    pub fn receiver(&self) -> Result<AnyReceiver, ChannelError> {
        let end = self.endpoint(Side::Receiver)?;
        Ok(AnyReceiver(match self.found.block.kind {
            RingKind::Spsc => Any::Spsc(Receiver::new(end)?),
            RingKind::Mpmc => Any::Mpmc(Receiver::new(end)?),
            RingKind::SpscBytes => Any::SpscBytes(Receiver::new(end)?),
            RingKind::MpmcBytes => Any::MpmcBytes(Receiver::new(end)?),
        }))
    }
}

/// One of the handles, or guards.
enum Any<S, M, SB, MB> {
    Spsc(S),
    Mpmc(M),
    SpscBytes(SB),
    MpmcBytes(MB),
}

type Senders =
    Any<Sender<Untyped, Spsc>, Sender<Untyped, Mpmc>, Sender<Bytes, Spsc>, Sender<Bytes, Mpmc>>;
type Receivers = Any<
    Receiver<Untyped, Spsc>,
    Receiver<Untyped, Mpmc>,
    Receiver<Bytes, Spsc>,
    Receiver<Bytes, Mpmc>,
>;
type Grants<'a> = Any<
    Grant<'a, Untyped, Spsc>,
    Grant<'a, Untyped, Mpmc>,
    Grant<'a, Bytes, Spsc>,
    Grant<'a, Bytes, Mpmc>,
>;
type Deliveries<'a> = Any<
    Delivery<'a, Untyped, Spsc>,
    Delivery<'a, Untyped, Mpmc>,
    Delivery<'a, Bytes, Spsc>,
    Delivery<'a, Bytes, Mpmc>,
>;

/// Does the same with each of them.
macro_rules! each {
    ($any:expr, $one:ident => $what:expr) => {
        match $any {
            Any::Spsc($one) => $what,
            Any::Mpmc($one) => $what,
            Any::SpscBytes($one) => $what,
            Any::MpmcBytes($one) => $what,
        }
    };
    ($any:expr, $one:ident => $into:ident: $what:expr) => {
        $into(match $any {
            Any::Spsc($one) => Any::Spsc($what),
            Any::Mpmc($one) => Any::Mpmc($what),
            Any::SpscBytes($one) => Any::SpscBytes($what),
            Any::MpmcBytes($one) => Any::MpmcBytes($what),
        })
    };
}

/// What both handles can do.
macro_rules! of_both_sides {
    ($handle:ident, $typed:literal) => {
        impl $handle {
            #[doc = concat!("As [`", $typed, "::bind_to_peer`](crate::", $typed, "::bind_to_peer).")]
            ///
            /// # Errors
            /// As there.
            pub fn bind_to_peer(&self, peer: impl Into<Option<Peer>>) -> Result<(), Fault> {
                each!(&self.0, end => end.bind_to_peer(peer))
            }

            #[doc = concat!("As [`", $typed, "::canceller`](crate::", $typed, "::canceller).")]
            pub fn canceller(&self) -> Canceller {
                each!(&self.0, end => end.canceller())
            }

            #[doc = concat!("As [`", $typed, "::set_wait_strategy`](crate::", $typed, "::set_wait_strategy).")]
            pub fn set_wait_strategy(&self, strategy: WaitStrategy) {
                each!(&self.0, end => end.set_wait_strategy(strategy));
            }

            #[doc = concat!("As [`", $typed, "::wait_strategy`](crate::", $typed, "::wait_strategy).")]
            pub fn wait_strategy(&self) -> WaitStrategy {
                each!(&self.0, end => end.wait_strategy())
            }

            #[doc = concat!("As [`", $typed, "::readiness`](crate::", $typed, "::readiness).")]
            ///
            /// # Errors
            /// As there.
            pub fn readiness(&self) -> Result<&Readiness, Fault> {
                each!(&self.0, end => end.readiness())
            }

            #[doc = concat!("As [`", $typed, "::close`](crate::", $typed, "::close).")]
            ///
            /// # Errors
            /// As there.
            pub fn close(self) -> Result<(), Fault> {
                each!(self.0, end => end.close())
            }

            /// How many bytes a message has; of messages of any length, the longest.
            pub fn element_size(&self) -> usize {
                each!(&self.0, end => end.end.block.longest)
            }

            /// How many messages are in the channel, now or a moment ago.
            pub fn len(&self) -> usize {
                each!(&self.0, end => end.len())
            }

            /// Whether [`len`](Self::len) is zero. May have changed already.
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }

            /// Whether the channel is full. May have changed already.
            pub fn is_full(&self) -> bool {
                self.len() == self.capacity()
            }

            /// How many messages the channel holds; of bytes in an SPSC channel, how many
            /// of the longest.
            pub fn capacity(&self) -> usize {
                each!(&self.0, end => end.capacity())
            }
        }

        impl fmt::Debug for $handle {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                each!(&self.0, end => f.debug_tuple(stringify!($handle)).field(&end.end).finish())
            }
        }
    };
}

/// The sending end of a channel, whatever it carries.
///
/// Waiting, errors and crashes are as for [`Sender`]. A message that has not
/// [the size of an element](Self::element_size) is refused with
/// [`SendError::TooLong`] or [`SendError::TooShort`].
pub struct AnySender(Senders);

of_both_sides! { AnySender, "Sender" }

impl AnySender {
    /// Sends, waiting for room for as long as it takes.
    ///
    /// # Errors
    /// As for [`Sender::send`].
    pub fn send(&self, message: &[u8]) -> Result<(), SendError> {
        each!(&self.0, end => end.send(message))
    }

    /// Sends without waiting.
    ///
    /// # Errors
    /// As for [`Sender::try_send`].
    pub fn try_send(&self, message: &[u8]) -> Result<(), TrySendError> {
        each!(&self.0, end => end.try_send(message))
    }

    /// Sends, waiting for room at most this long.
    ///
    /// # Errors
    /// As for [`Sender::send_timeout`].
    pub fn send_timeout(&self, message: &[u8], timeout: Duration) -> Result<(), SendTimeoutError> {
        each!(&self.0, end => end.send_timeout(message, timeout))
    }

    /// Sends, waiting for room until `deadline`.
    ///
    /// # Errors
    /// As for [`Sender::send_deadline`].
    pub fn send_deadline(&self, message: &[u8], deadline: Instant) -> Result<(), SendTimeoutError> {
        each!(&self.0, end => end.send_deadline(message, deadline))
    }

    /// Sends all of `messages` in order, waiting for room as needed.
    ///
    /// # Errors
    /// As for [`Sender::send_batch`].
    pub fn send_batch(&self, messages: &[&[u8]]) -> Result<(), SendBatchError> {
        each!(&self.0, end => end.send_batch(messages))
    }

    /// Sends as many of `messages` as fit now; says how many.
    ///
    /// # Errors
    /// As for [`Sender::try_send_batch`].
    pub fn try_send_batch(&self, messages: &[&[u8]]) -> Result<usize, SendBatchError> {
        each!(&self.0, end => end.try_send_batch(messages))
    }

    /// Makes room for a message, of up to `length` bytes if they are of any length, to
    /// be written in place; waits for it as long as it takes.
    ///
    /// # Errors
    /// As for [`Sender::send`].
    pub fn reserve(&mut self, length: usize) -> Result<AnyGrant<'_>, SendError> {
        Ok(each!(&mut self.0, end => AnyGrant: end.claim_of(length)?))
    }

    /// Makes room for a message, waiting for it at most this long.
    ///
    /// # Errors
    /// As for [`Sender::send_timeout`].
    pub fn reserve_timeout(
        &mut self,
        length: usize,
        timeout: Duration,
    ) -> Result<AnyGrant<'_>, SendTimeoutError> {
        let deadline = || Instant::now().checked_add(timeout);
        Ok(each!(&mut self.0, end => AnyGrant: end.claim_of_by(length, deadline)?))
    }

    /// Makes room for a message, waiting for it until `deadline`.
    ///
    /// # Errors
    /// As for [`Sender::send_deadline`].
    pub fn reserve_deadline(
        &mut self,
        length: usize,
        deadline: Instant,
    ) -> Result<AnyGrant<'_>, SendTimeoutError> {
        Ok(each!(&mut self.0, end => AnyGrant: end.claim_of_by(length, || Some(deadline))?))
    }

    /// Makes room for a message, without waiting.
    ///
    /// # Errors
    /// As for [`Sender::try_send`].
    pub fn try_reserve(&mut self, length: usize) -> Result<AnyGrant<'_>, TrySendError> {
        Ok(each!(&mut self.0, end => AnyGrant: end.try_claim_of(length)?))
    }
}

/// The receiving end of a channel, whatever it carries.
///
/// Waiting, errors and crashes are as for [`Receiver`].
pub struct AnyReceiver(Receivers);

of_both_sides! { AnyReceiver, "Receiver" }

impl AnyReceiver {
    /// Receives a message into `into`, replacing what was there; waits for it as long as
    /// it takes. Says how many bytes it has.
    ///
    /// # Errors
    /// As for [`ByteReceiver::recv`](crate::ByteReceiver).
    pub fn recv(&self, into: &mut Vec<u8>) -> Result<usize, RecvError> {
        each!(&self.0, end => end.recv_bytes(into, || None))
            .map_err(RecvTimeoutError::without_deadline)
    }

    /// Receives into `into` without waiting.
    ///
    /// # Errors
    /// [`TryRecvError::Empty`], [`TryRecvError::Pending`], or why nothing can be
    /// received.
    pub fn try_recv(&self, into: &mut Vec<u8>) -> Result<usize, TryRecvError> {
        each!(&self.0, end => end.try_recv_bytes(into))
    }

    /// Receives into `into`, waiting at most this long.
    ///
    /// # Errors
    /// [`RecvTimeoutError::Timeout`], or why nothing can be received.
    pub fn recv_timeout(
        &self,
        into: &mut Vec<u8>,
        timeout: Duration,
    ) -> Result<usize, RecvTimeoutError> {
        each!(&self.0, end => end.recv_bytes(into, || Instant::now().checked_add(timeout)))
    }

    /// Receives into `into`, waiting until `deadline`.
    ///
    /// # Errors
    /// As for [`recv_timeout`](Self::recv_timeout).
    pub fn recv_deadline(
        &self,
        into: &mut Vec<u8>,
        deadline: Instant,
    ) -> Result<usize, RecvTimeoutError> {
        each!(&self.0, end => end.recv_bytes(into, || Some(deadline)))
    }

    /// Receives what there is, up to `most` messages, to the end of `into`; waits if
    /// there is nothing. Says how many came.
    ///
    /// # Errors
    /// As for [`recv`](Self::recv).
    pub fn recv_batch(&self, into: &mut Vec<Vec<u8>>, most: usize) -> Result<usize, RecvError> {
        each!(&self.0, end => end.recv_batch(into, most))
    }

    /// Receives what there is now, up to `most` messages, to the end of `into`; says how
    /// many came.
    ///
    /// # Errors
    /// As for [`try_recv`](Self::try_recv).
    pub fn try_recv_batch(
        &self,
        into: &mut Vec<Vec<u8>>,
        most: usize,
    ) -> Result<usize, TryRecvError> {
        each!(&self.0, end => end.try_recv_batch(into, most))
    }

    /// Takes a message to be read in place, waiting as long as it takes.
    ///
    /// # Errors
    /// As for [`Receiver::take`].
    pub fn take(&mut self) -> Result<AnyDelivery<'_>, RecvError> {
        Ok(each!(&mut self.0, end => AnyDelivery: end.take()?))
    }

    /// Takes a message to be read in place, waiting at most this long.
    ///
    /// # Errors
    /// As for [`Receiver::take_timeout`].
    pub fn take_timeout(&mut self, timeout: Duration) -> Result<AnyDelivery<'_>, RecvTimeoutError> {
        Ok(each!(&mut self.0, end => AnyDelivery: end.take_timeout(timeout)?))
    }

    /// Takes a message to be read in place, waiting until `deadline`.
    ///
    /// # Errors
    /// As for [`Receiver::take_deadline`].
    pub fn take_deadline(
        &mut self,
        deadline: Instant,
    ) -> Result<AnyDelivery<'_>, RecvTimeoutError> {
        Ok(each!(&mut self.0, end => AnyDelivery: end.take_deadline(deadline)?))
    }

    /// Takes a message to be read in place, without waiting.
    ///
    /// # Errors
    /// As for [`Receiver::try_take`].
    pub fn try_take(&mut self) -> Result<AnyDelivery<'_>, TryRecvError> {
        Ok(each!(&mut self.0, end => AnyDelivery: end.try_take()?))
    }
}

/// A place to write a message in: as [`Grant`]. Dropped, it is aborted.
#[must_use = "a grant that is dropped is aborted"]
pub struct AnyGrant<'a>(Grants<'a>);

impl AnyGrant<'_> {
    /// How many bytes there is room for.
    #[expect(clippy::len_without_is_empty, reason = "it is a size, not a number of messages")]
    pub fn len(&self) -> usize {
        each!(&self.0, grant => grant.place().len())
    }

    /// Copies the message in, from its first byte on, as many bytes as there is room for;
    /// says how many. An element is copied as a whole, or not at all.
    pub fn write(&mut self, message: &[u8]) -> usize {
        each!(&self.0, grant => grant.place().write(0, message))
    }

    /// Where the message is written. What may be done through the pointer is
    /// for the caller to argue: a peer may be writing there.
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        each!(&self.0, grant => grant.place().as_ptr())
    }

    /// Sends the message: its first `length` bytes, if they are of any length.
    ///
    /// # Errors
    /// As for [`ByteGrant::commit`](crate::ByteGrant).
    pub fn commit(self, length: usize) -> Result<(), SendError> {
        let length = length.min(self.len());
        each!(self.0, grant => grant.send(length))
    }

    /// Gives the place up, as dropping does.
    pub fn abort(self) {}
}

impl fmt::Debug for AnyGrant<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnyGrant").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// A message that is read in place: as [`Delivery`].
pub struct AnyDelivery<'a>(Deliveries<'a>);

impl AnyDelivery<'_> {
    /// How many bytes the message has.
    #[expect(clippy::len_without_is_empty, reason = "it is a size, not a number of messages")]
    pub fn len(&self) -> usize {
        each!(&self.0, delivery => delivery.place().len())
    }

    /// Copies the message to the end of `into`.
    pub fn append_to(&self, into: &mut Vec<u8>) {
        each!(&self.0, delivery => delivery.place().append_to(into));
    }

    /// A copy of the message.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut into = Vec::new();
        self.append_to(&mut into);
        into
    }

    /// Where the message is. What may be done through the pointer is for the
    /// caller to argue: a peer may be writing there.
    pub fn as_ptr(&self) -> *const u8 {
        each!(&self.0, delivery => delivery.place().as_ptr())
    }

    /// How many receivers have died over this message.
    pub fn attempts(&self) -> u8 {
        each!(&self.0, delivery => delivery.attempts())
    }

    /// Acknowledges the message, as dropping does.
    pub fn release(self) {}

    /// Leaves the message for another receiver, or for this one's next take.
    pub fn give_back(self) {
        each!(self.0, delivery => delivery.give_back());
    }
}

impl fmt::Debug for AnyDelivery<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnyDelivery").field("len", &self.len()).finish_non_exhaustive()
    }
}
