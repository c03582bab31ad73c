//! The receiving end of a channel whose kind and type are known only when the program
//! runs.

use std::iter::FusedIterator;
use std::time::{Duration, Instant};

use bytemuck::CheckedBitPattern;

use super::each::{Any, any_of, each, of_both_sides};
use crate::channel::cancel::Canceller;
use crate::channel::delivery::Delivery;
use crate::channel::endpoint::{Endpoint, Origin};
use crate::channel::ready::Readiness;
use crate::channel::receiver::{IntoIter, Iter, Receiver, TryIter};
use crate::channel::shared::{Handle, Shared};
use crate::channel::wait_set::{EndOf, Member, Part};
use crate::error::{ChannelError, Fault, RecvError, RecvTimeoutError, TryRecvError};
use crate::kinds::batch::ByteBatch;
use crate::kinds::payload::{Bytes, Untyped};
use crate::kinds::table::{
    Broadcast, Broadcastable, Mpmc, Payload, Reliable, RingKind as ChannelKind, Spsc,
};

pub(super) type Receivers = any_of!(Receiver);
type Deliveries<'a> = Any<
    Delivery<'a, Untyped, Spsc>,
    Delivery<'a, Untyped, Mpmc>,
    Delivery<'a, Bytes, Spsc>,
    Delivery<'a, Bytes, Mpmc>,
    Copied<'a, Untyped>,
    Copied<'a, Bytes>,
    Delivery<'a, Untyped, Reliable>,
    Delivery<'a, Bytes, Reliable>,
>;

/// A delivery: of a broadcast channel's subscriber for which nobody waits, a copy.
macro_rules! taken {
    ($receivers:expr, $one:ident => $take:expr, $into:ident => $recv:expr) => {
        match $receivers {
            Any::Spsc($one) => Any::Spsc($take?),
            Any::Mpmc($one) => Any::Mpmc($take?),
            Any::SpscBytes($one) => Any::SpscBytes($take?),
            Any::MpmcBytes($one) => Any::MpmcBytes($take?),
            Any::Broadcast($one) => Any::Broadcast(Copied::of($one, |$one, $into| $recv)?),
            Any::BroadcastBytes($one) => {
                Any::BroadcastBytes(Copied::of($one, |$one, $into| $recv)?)
            }
            Any::Reliable($one) => Any::Reliable($take?),
            Any::ReliableBytes($one) => Any::ReliableBytes($take?),
        }
    };
}

/// What only the subscribers of broadcast channels can do.
macro_rules! of_subscribers {
    ($receivers:expr, $one:ident => $what:expr) => {
        match $receivers {
            Any::Broadcast($one) => Some($what),
            Any::BroadcastBytes($one) => Some($what),
            Any::Reliable($one) => Some($what),
            Any::ReliableBytes($one) => Some($what),
            _ => None,
        }
    };
}

/// A delivery that may be one of several.
macro_rules! shared {
    ($receivers:expr, $one:ident => $take:expr) => {
        match $receivers {
            Any::Mpmc($one) => Some($take.map(|taken| AnyDelivery(Any::Mpmc(taken)))),
            Any::MpmcBytes($one) => Some($take.map(|taken| AnyDelivery(Any::MpmcBytes(taken)))),
            _ => None,
        }
    };
}

/// The receiving end of a channel, whatever it carries.
///
/// Waiting, errors and crashes are as for [`Receiver`].
pub struct AnyReceiver(Receivers);

of_both_sides! { AnyReceiver, "Receiver", end => end.try_clone()? }

impl AnyReceiver {
    pub(super) const fn of(receivers: Receivers) -> Self {
        Self(receivers)
    }

    /// Another one, of an end that there may be several of.
    fn further(origin: &Origin) -> Result<Self, ChannelError> {
        Ok(Self(match origin.kind() {
            ChannelKind::Mpmc => Any::Mpmc(Handle::another(origin)?),
            ChannelKind::MpmcBytes => Any::MpmcBytes(Handle::another(origin)?),
            _ => return Err(origin.in_use().into()),
        }))
    }

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

    /// Receives what there is, up to `most` messages, to the end of `into`; waits for the
    /// first one at most this long. Says how many came.
    ///
    /// # Errors
    /// As for [`Receiver::recv_batch_timeout`].
    pub fn recv_batch_timeout(
        &self,
        into: &mut Vec<Vec<u8>>,
        most: usize,
        timeout: Duration,
    ) -> Result<usize, RecvTimeoutError> {
        each!(&self.0, end => end.recv_batch_timeout(into, most, timeout))
    }

    /// Receives what there is, up to `most` messages, to the end of `into`; waits for the
    /// first one until `deadline`. Says how many came.
    ///
    /// # Errors
    /// As for [`Receiver::recv_batch_deadline`].
    pub fn recv_batch_deadline(
        &self,
        into: &mut Vec<Vec<u8>>,
        most: usize,
        deadline: Instant,
    ) -> Result<usize, RecvTimeoutError> {
        each!(&self.0, end => end.recv_batch_deadline(into, most, deadline))
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

    /// Receives what there is, up to `most` messages, to the end of `into`, side by side in one
    /// buffer; waits if there is nothing. Says how many came.
    ///
    /// # Errors
    /// As for [`recv`](Self::recv).
    pub fn recv_batch_into(&self, into: &mut ByteBatch, most: usize) -> Result<usize, RecvError> {
        each!(&self.0, end => end.recv_flat(into, most, || None))
            .map_err(RecvTimeoutError::without_deadline)
    }

    /// The same; waits for the first message at most this long.
    ///
    /// # Errors
    /// As for [`Receiver::recv_batch_timeout`].
    pub fn recv_batch_into_timeout(
        &self,
        into: &mut ByteBatch,
        most: usize,
        timeout: Duration,
    ) -> Result<usize, RecvTimeoutError> {
        each!(&self.0, end => {
            end.recv_flat(into, most, || Instant::now().checked_add(timeout))
        })
    }

    /// The same; waits for the first message until `deadline`.
    ///
    /// # Errors
    /// As for [`Receiver::recv_batch_deadline`].
    pub fn recv_batch_into_deadline(
        &self,
        into: &mut ByteBatch,
        most: usize,
        deadline: Instant,
    ) -> Result<usize, RecvTimeoutError> {
        each!(&self.0, end => end.recv_flat(into, most, || Some(deadline)))
    }

    /// The same, without waiting.
    ///
    /// # Errors
    /// As for [`try_recv`](Self::try_recv).
    pub fn try_recv_batch_into(
        &self,
        into: &mut ByteBatch,
        most: usize,
    ) -> Result<usize, TryRecvError> {
        each!(&self.0, end => end.try_recv_flat(into, most))
    }

    /// Takes a message to be read in place, waiting as long as it takes. The subscriber of a
    /// broadcast channel for which nobody waits takes a copy.
    ///
    /// # Errors
    /// As for [`Receiver::take`].
    pub fn take(&mut self) -> Result<AnyDelivery<'_>, RecvError> {
        Ok(AnyDelivery(taken!(&mut self.0, end => end.take(), into => {
            end.recv_bytes(into, || None).map_err(RecvTimeoutError::without_deadline)
        })))
    }

    /// Takes a message to be read in place, waiting at most this long.
    ///
    /// # Errors
    /// As for [`Receiver::take_timeout`].
    pub fn take_timeout(&mut self, timeout: Duration) -> Result<AnyDelivery<'_>, RecvTimeoutError> {
        let deadline = || Instant::now().checked_add(timeout);
        Ok(AnyDelivery(taken!(&mut self.0, end => end.take_timeout(timeout), into => {
            end.recv_bytes(into, deadline)
        })))
    }

    /// Takes a message to be read in place, waiting until `deadline`.
    ///
    /// # Errors
    /// As for [`Receiver::take_deadline`].
    pub fn take_deadline(
        &mut self,
        deadline: Instant,
    ) -> Result<AnyDelivery<'_>, RecvTimeoutError> {
        Ok(AnyDelivery(taken!(&mut self.0, end => end.take_deadline(deadline), into => {
            end.recv_bytes(into, || Some(deadline))
        })))
    }

    /// Takes a message to be read in place, without waiting.
    ///
    /// # Errors
    /// As for [`Receiver::try_take`].
    pub fn try_take(&mut self) -> Result<AnyDelivery<'_>, TryRecvError> {
        Ok(AnyDelivery(taken!(&mut self.0, end => end.try_take(), into => {
            end.try_recv_bytes(into)
        })))
    }

    /// Takes a message to be read in place while others may be held, waiting as long as it
    /// takes. `None`: the channel is not MPMC, and its receiver takes one at a time.
    ///
    /// # Errors
    /// As for [`Receiver::take_shared`].
    pub fn take_shared(&self) -> Option<Result<AnyDelivery<'_>, RecvError>> {
        shared!(&self.0, end => end.take_shared())
    }

    /// The same, waiting at most this long.
    ///
    /// # Errors
    /// As for [`Receiver::take_shared_timeout`].
    pub fn take_shared_timeout(
        &self,
        timeout: Duration,
    ) -> Option<Result<AnyDelivery<'_>, RecvTimeoutError>> {
        shared!(&self.0, end => end.take_shared_timeout(timeout))
    }

    /// The same, waiting until `deadline`.
    ///
    /// # Errors
    /// As for [`Receiver::take_shared_deadline`].
    pub fn take_shared_deadline(
        &self,
        deadline: Instant,
    ) -> Option<Result<AnyDelivery<'_>, RecvTimeoutError>> {
        shared!(&self.0, end => end.take_shared_deadline(deadline))
    }

    /// The same, without waiting.
    ///
    /// # Errors
    /// As for [`Receiver::try_take_shared`].
    pub fn try_take_shared(&self) -> Option<Result<AnyDelivery<'_>, TryRecvError>> {
        shared!(&self.0, end => end.try_take_shared())
    }

    /// The sequence number of the next message that a subscriber of a broadcast channel
    /// receives, if it does not miss it. `None`: the channel is of another kind.
    pub fn sequence(&self) -> Option<u64> {
        of_subscribers!(&self.0, end => end.sequence())
    }

    /// How many messages a subscriber for which nobody waits has missed: see
    /// [`Subscriber::missed`](crate::Subscriber). 0 of any other receiver.
    pub fn missed(&self) -> u64 {
        match &self.0 {
            Any::Broadcast(end) => end.missed(),
            Any::BroadcastBytes(end) => end.missed(),
            _ => 0,
        }
    }

    /// Has a subscriber of a broadcast channel pass over all messages but the newest. Returns how
    /// many it has passed over. `None`: the channel is of another kind.
    ///
    /// # Errors
    /// [`Fault::Forked`].
    pub fn skip_to_newest(&self) -> Option<Result<u64, Fault>> {
        of_subscribers!(&self.0, end => end.skip_to_newest())
    }

    /// Receives the newest message of a broadcast channel, and passes over all before it, without
    /// waiting. `None`: the channel is of another kind.
    ///
    /// # Errors
    /// As for [`Subscriber::latest`](crate::Subscriber).
    pub fn latest(&self) -> Option<Result<Vec<u8>, TryRecvError>> {
        of_subscribers!(&self.0, end => end.latest())
    }

    /// An iterator over the messages as they come: as [`Receiver::iter`].
    pub fn iter(&self) -> AnyIter<'_> {
        AnyIter(each!(&self.0, end => Any: end.iter()))
    }

    /// An iterator over the messages that are there: as [`Receiver::try_iter`].
    pub fn try_iter(&self) -> AnyTryIter<'_> {
        AnyTryIter(each!(&self.0, end => Any: end.try_iter()))
    }
}

/// The same iterator for each kind of channel.
macro_rules! iterators {
    ($($(#[$doc:meta])* $name:ident$(<$life:lifetime>)? over $iter:ident: $error:ty;)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name$(<$life>)?(
            any_of!($iter$(<$life>)?),
        );

        impl$(<$life>)? Iterator for $name$(<$life>)? {
            type Item = Result<Vec<u8>, $error>;

            fn next(&mut self) -> Option<Self::Item> {
                self.0.next()
            }
        }

        impl$(<$life>)? FusedIterator for $name$(<$life>)? {}
    )*};
}

iterators! {
    /// An iterator over the messages of an [`AnyReceiver`] as they come: see
    /// [`AnyReceiver::iter`].
    AnyIter<'a> over Iter: RecvError;
    /// An iterator over the messages that are there for an [`AnyReceiver`]: see
    /// [`AnyReceiver::try_iter`].
    AnyTryIter<'a> over TryIter: TryRecvError;
    /// An iterator that owns its [`AnyReceiver`].
    AnyIntoIter over IntoIter: RecvError;
}

impl IntoIterator for AnyReceiver {
    type Item = Result<Vec<u8>, RecvError>;
    type IntoIter = AnyIntoIter;

    fn into_iter(self) -> AnyIntoIter {
        AnyIntoIter(each!(self.0, end => Any: end.into_iter()))
    }
}

impl<'a> IntoIterator for &'a AnyReceiver {
    type Item = Result<Vec<u8>, RecvError>;
    type IntoIter = AnyIter<'a>;

    fn into_iter(self) -> AnyIter<'a> {
        self.iter()
    }
}

/// A copy of a message, in the place of a [`Delivery`].
struct Copied<'a, P: Payload> {
    receiver: &'a Receiver<P, Broadcast>,
    message: Vec<u8>,
    /// Where the receiver was before.
    position: u64,
}

impl<'a, P: Broadcastable + CheckedBitPattern> Copied<'a, P> {
    fn of<E>(
        receiver: &'a Receiver<P, Broadcast>,
        recv: impl FnOnce(&Receiver<P, Broadcast>, &mut Vec<u8>) -> Result<usize, E>,
    ) -> Result<Self, E> {
        let mut message = Vec::new();
        recv(receiver, &mut message)?;
        Ok(Self { receiver, message, position: receiver.sequence().wrapping_sub(1) })
    }

    const fn place(&self) -> &Self {
        self
    }

    const fn len(&self) -> usize {
        self.message.len()
    }

    fn append_to(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.message);
    }

    const fn as_ptr(&self) -> *const u8 {
        self.message.as_ptr()
    }

    #[expect(clippy::unused_self, reason = "as of a delivery")]
    const fn attempts(&self) -> u8 {
        0
    }

    /// Leaves the message for the next receive.
    fn leave(self, _: bool) {
        self.receiver.go_back_to(self.position);
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
        each!(self.0, delivery => delivery.leave(false));
    }

    /// The same after a failure, which counts in its [`attempts`](Self::attempts). In an
    /// SPSC channel it does not count.
    pub fn give_back_counted(self) {
        each!(self.0, delivery => delivery.leave(true));
    }
}

impl core::fmt::Debug for AnyDelivery<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("AnyDelivery").field("len", &self.len()).finish_non_exhaustive()
    }
}
