//! Messages and places that are held without a borrow: what a guard is beside a handle, with
//! the handle of a [`Shared`] that is lent for it.

#![allow(unsafe_code)]

use core::fmt;
use core::mem::ManuallyDrop;
use core::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytemuck::{AnyBitPattern, CheckedBitPattern, NoUninit};

use super::any::{AnyDelivery, AnyGrant, AnyReceiver, AnySender};
use super::delivery::Delivery;
use super::grant::{ByteWriter, Grant};
use super::receiver::Receiver;
use super::sender::Sender;
use super::shared::{Loan, Pool, Shareable, Shared};
use crate::error::{
    Fault, RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError,
};
use crate::kinds::message::Message;
use crate::kinds::payload::Bytes;
use crate::kinds::table::{InPlace, Kind, Mpmc, Payload};
use crate::segment::TrustedPeers;
use crate::sync::Ordering;

/// A message or a place in a channel that is held for as long as its owner wants: an
/// [`OwnedDelivery`] or an [`OwnedGrant`], and what the guard `G` can do besides. It can move to
/// another thread. It keeps its handle, and so the memory and the end of the channel, also when
/// the [`Shared`] is gone.
///
/// Dropping it ends it as the guard says: a delivery is acknowledged, a grant aborted. If it is
/// forgotten, it is held until the process ends; then the kernel has it given back, as that of
/// a killed process. In a forked child it is the parent's: dropping it does nothing.
pub struct Owned<G, H: Shareable> {
    /// Refers to the handle. Dropped before the loan, or taken out.
    guard: ManuallyDrop<G>,
    loan: Loan<H, Arc<Pool<H>>>,
}

/// A message that is read in place, without a borrow of its receiver: see [`Shared::take`]. It
/// does what a [`Delivery`] does.
pub type OwnedDelivery<P, K = Mpmc> = Owned<Delivery<'static, P, K>, Receiver<P, K>>;

/// A place in which to write a message, without a borrow of its sender: see
/// [`Shared::reserve`]. It does what a [`Grant`] does.
pub type OwnedGrant<P, K = Mpmc> = Owned<Grant<'static, P, K>, Sender<P, K>>;

/// An [`OwnedDelivery`] of a channel whose kind and type are known only when the program runs.
pub type AnyOwnedDelivery = Owned<AnyDelivery<'static>, AnyReceiver>;

/// An [`OwnedGrant`] of a channel whose kind and type are known only when the program runs.
pub type AnyOwnedGrant = Owned<AnyGrant<'static>, AnySender>;

// SAFETY: the handle that the guard refers to goes with it, and what else is in a guard says
// where the message is.
unsafe impl<G, H: Shareable> Send for Owned<G, H> {}

impl<G, H: Shareable> Owned<G, H> {
    /// Has `take` take a message, or a place, with a handle that is lent for it. The guard that
    /// it returns must be one of that handle.
    fn of<E: From<Fault>>(
        shared: &Shared<H>,
        take: impl FnOnce(&'static mut H) -> Result<G, E>,
    ) -> Result<Self, E> {
        let loan = shared.loan()?;
        // SAFETY: only the loan refers to the handle, which stays where it is; and the guard
        // ends before the loan does.
        let handle = unsafe { &mut *loan.handle().as_ptr() };
        let guard = ManuallyDrop::new(take(handle)?);
        loan.in_hand().fetch_add(1, Ordering::Relaxed);
        Ok(Self { guard, loan })
    }

    /// Ends the guard by `end`, and then gives the handle back.
    fn end<R>(self, end: impl FnOnce(G) -> R) -> R {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: `this` is never dropped, so it is taken out once.
        let guard = unsafe { ManuallyDrop::take(&mut this.guard) };
        // SAFETY: as above. Dropped after the guard has ended, also by a panic.
        let loan = unsafe { core::ptr::read(&raw const this.loan) };
        let _back = Back(loan);
        end(guard)
    }
}

/// A loan whose guard has ended when this is dropped.
struct Back<H: Shareable>(Loan<H, Arc<Pool<H>>>);

impl<H: Shareable> Drop for Back<H> {
    fn drop(&mut self) {
        self.0.in_hand().fetch_sub(1, Ordering::Relaxed);
    }
}

impl<G, H: Shareable> Drop for Owned<G, H> {
    fn drop(&mut self) {
        // SAFETY: dropped once, and not used after; the loan is dropped then.
        unsafe { ManuallyDrop::drop(&mut self.guard) };
        self.loan.in_hand().fetch_sub(1, Ordering::Relaxed);
    }
}

/// What the guard can do that does not change or end it.
impl<G, H: Shareable> Deref for Owned<G, H> {
    type Target = G;

    fn deref(&self) -> &G {
        &self.guard
    }
}

impl<G: fmt::Debug, H: Shareable> fmt::Debug for Owned<G, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Owned").field(&*self.guard).finish()
    }
}

impl<P: Payload + CheckedBitPattern, K: InPlace> Shared<Receiver<P, K>> {
    /// Takes a message, to read it in place, as [`Receiver::take`]. Waits for it, without a
    /// timeout. It may be held while others are, and be ended in any thread. In an SPSC channel,
    /// and by a subscriber, one is held at a time.
    ///
    /// A process that holds messages is told at once that the last sender has gone, as with
    /// [`Receiver::take_shared`].
    ///
    /// # Errors
    /// As for [`Receiver::take`], and those of [`lend`](Self::lend).
    pub fn take(&self) -> Result<OwnedDelivery<P, K>, RecvError> {
        Owned::of(self, |receiver| receiver.take())
    }

    /// The same, but waits at most this long.
    ///
    /// # Errors
    /// As for [`Receiver::take_timeout`], and those of [`lend`](Self::lend).
    pub fn take_timeout(&self, timeout: Duration) -> Result<OwnedDelivery<P, K>, RecvTimeoutError> {
        Owned::of(self, |receiver| receiver.take_timeout(timeout))
    }

    /// The same, but waits until `deadline`.
    ///
    /// # Errors
    /// As for [`Receiver::take_deadline`], and those of [`lend`](Self::lend).
    pub fn take_deadline(
        &self,
        deadline: Instant,
    ) -> Result<OwnedDelivery<P, K>, RecvTimeoutError> {
        Owned::of(self, |receiver| receiver.take_deadline(deadline))
    }

    /// The same, without waiting.
    ///
    /// # Errors
    /// As for [`Receiver::try_take`], and those of [`lend`](Self::lend).
    pub fn try_take(&self) -> Result<OwnedDelivery<P, K>, TryRecvError> {
        Owned::of(self, |receiver| receiver.try_take())
    }
}

impl Shared<AnyReceiver> {
    /// Takes a message, to read it in place, as [`AnyReceiver::take`]. It may be held while
    /// others are, and be ended in any thread. In an SPSC channel, and by a subscriber, one is
    /// held at a time.
    ///
    /// # Errors
    /// As there, and those of [`lend`](Self::lend).
    pub fn take(&self) -> Result<AnyOwnedDelivery, RecvError> {
        Owned::of(self, |receiver| receiver.take())
    }

    /// The same, but waits at most this long.
    ///
    /// # Errors
    /// As for [`AnyReceiver::take_timeout`], and those of [`lend`](Self::lend).
    pub fn take_timeout(&self, timeout: Duration) -> Result<AnyOwnedDelivery, RecvTimeoutError> {
        Owned::of(self, |receiver| receiver.take_timeout(timeout))
    }

    /// The same, but waits until `deadline`.
    ///
    /// # Errors
    /// As for [`AnyReceiver::take_deadline`], and those of [`lend`](Self::lend).
    pub fn take_deadline(&self, deadline: Instant) -> Result<AnyOwnedDelivery, RecvTimeoutError> {
        Owned::of(self, |receiver| receiver.take_deadline(deadline))
    }

    /// The same, without waiting.
    ///
    /// # Errors
    /// As for [`AnyReceiver::try_take`], and those of [`lend`](Self::lend).
    pub fn try_take(&self) -> Result<AnyOwnedDelivery, TryRecvError> {
        Owned::of(self, |receiver| receiver.try_take())
    }
}

impl<P: Payload + CheckedBitPattern, K: Kind> OwnedDelivery<P, K> {
    /// Acknowledges the message, as dropping does.
    pub fn release(self) {}

    /// Leaves the message for another receiver, or for the next take: see
    /// [`Delivery::give_back`].
    pub fn give_back(self) {
        self.end(Delivery::give_back);
    }
}

impl<P: Payload + CheckedBitPattern> OwnedDelivery<P, Mpmc> {
    /// Gives the message back after its receiver has failed: see
    /// [`Delivery::give_back_counted`].
    pub fn give_back_counted(self) {
        self.end(Delivery::give_back_counted);
    }
}

impl AnyOwnedDelivery {
    /// Acknowledges the message, as dropping does.
    pub fn release(self) {}

    /// Leaves the message for another receiver, or for the next take.
    pub fn give_back(self) {
        self.end(AnyDelivery::give_back);
    }

    /// The same after a failure: see [`AnyDelivery::give_back_counted`].
    pub fn give_back_counted(self) {
        self.end(AnyDelivery::give_back_counted);
    }
}

impl<T: Message + NoUninit, K: Kind> Shared<Sender<T, K>> {
    /// Claims the place of a message, to write it in place, as [`Sender::reserve`]. Waits for it,
    /// without a timeout. Several may be held in an MPMC channel; of a broadcast channel, as many
    /// as it has publishers to spare; in an SPSC channel, one at a time.
    ///
    /// # Errors
    /// As there, and those of [`lend`](Self::lend).
    pub fn reserve(&self) -> Result<OwnedGrant<T, K>, SendError> {
        Owned::of(self, |sender| sender.reserve())
    }

    /// The same, but waits at most this long.
    ///
    /// # Errors
    /// As for [`Sender::reserve_timeout`], and those of [`lend`](Self::lend).
    pub fn reserve_timeout(&self, timeout: Duration) -> Result<OwnedGrant<T, K>, SendTimeoutError> {
        Owned::of(self, |sender| sender.reserve_timeout(timeout))
    }

    /// The same, but waits until `deadline`.
    ///
    /// # Errors
    /// As for [`Sender::reserve_deadline`], and those of [`lend`](Self::lend).
    pub fn reserve_deadline(
        &self,
        deadline: Instant,
    ) -> Result<OwnedGrant<T, K>, SendTimeoutError> {
        Owned::of(self, |sender| sender.reserve_deadline(deadline))
    }

    /// The same, without waiting.
    ///
    /// # Errors
    /// As for [`Sender::try_reserve`], and those of [`lend`](Self::lend).
    pub fn try_reserve(&self) -> Result<OwnedGrant<T, K>, TrySendError> {
        Owned::of(self, |sender| sender.try_reserve())
    }
}

/// Where the caller says how long the message is.
macro_rules! reserves_bytes {
    ($($($k:ident)?, $sender:ty, $grant:ty;)*) => {$(
        impl$(<$k: Kind>)? Shared<$sender> {
            /// Makes room for a message of up to `length` bytes, to write it in place. Waits for
            /// it, without a timeout. Several may be held in an MPMC channel; of a broadcast
            /// channel, as many as it has publishers to spare; in an SPSC channel, one at a time.
            ///
            /// # Errors
            /// As for the method of the sender, and those of [`lend`](Self::lend).
            pub fn reserve(&self, length: usize) -> Result<$grant, SendError> {
                Owned::of(self, |sender| sender.reserve(length))
            }

            /// The same, but waits at most this long.
            ///
            /// # Errors
            /// As there.
            pub fn reserve_timeout(
                &self,
                length: usize,
                timeout: Duration,
            ) -> Result<$grant, SendTimeoutError> {
                Owned::of(self, |sender| sender.reserve_timeout(length, timeout))
            }

            /// The same, but waits until `deadline`.
            ///
            /// # Errors
            /// As there.
            pub fn reserve_deadline(
                &self,
                length: usize,
                deadline: Instant,
            ) -> Result<$grant, SendTimeoutError> {
                Owned::of(self, |sender| sender.reserve_deadline(length, deadline))
            }

            /// The same, without waiting.
            ///
            /// # Errors
            /// As there.
            pub fn try_reserve(&self, length: usize) -> Result<$grant, TrySendError> {
                Owned::of(self, |sender| sender.try_reserve(length))
            }
        }
    )*};
}

reserves_bytes! {
    K, Sender<Bytes, K>, OwnedGrant<Bytes, K>;
    , AnySender, AnyOwnedGrant;
}

// No `DerefMut`: with a reference to the guard, it could be exchanged for that of another handle.

impl<P: Payload + NoUninit, K: Kind> OwnedGrant<P, K> {
    /// Gives the place up, as dropping does.
    pub fn abort(self) {}
}

impl<T: Message + NoUninit, K: Kind> OwnedGrant<T, K> {
    /// Sends the message: see [`Grant::commit`].
    ///
    /// # Errors
    /// As there.
    pub fn commit(self) -> Result<(), SendError> {
        self.end(Grant::<T, K>::commit)
    }

    /// Copies the message in. [`commit`](Self::commit) sends it.
    pub fn write(&mut self, message: &T) {
        self.guard.write(message);
    }

    /// A pointer to the message's place: see [`Grant::as_mut_ptr`].
    pub fn as_mut_ptr(&mut self) -> *mut T {
        self.guard.as_mut_ptr()
    }
}

impl<T: Message + NoUninit + AnyBitPattern, K: InPlace> OwnedGrant<T, K> {
    /// The message's place by reference: see [`Grant::as_mut`].
    ///
    /// # Panics
    /// If `trust` belongs to another [`Segment`](crate::Segment).
    #[track_caller]
    pub fn as_mut(&mut self, trust: TrustedPeers) -> &mut T {
        self.guard.as_mut(trust)
    }
}

impl<K: Kind> OwnedGrant<Bytes, K> {
    /// Sends the first `length` bytes: see [`ByteGrant::commit`](crate::ByteGrant).
    ///
    /// # Errors
    /// As there.
    pub fn commit(self, length: usize) -> Result<(), SendError> {
        self.end(|grant| grant.commit(length))
    }

    /// Copies bytes in, from `offset` on, as many as fit. Returns how many.
    pub fn write_at(&mut self, offset: usize, bytes: &[u8]) -> usize {
        self.guard.write_at(offset, bytes)
    }

    /// A writer that starts at the beginning.
    pub fn writer(&mut self) -> ByteWriter<'_> {
        self.guard.writer()
    }

    /// A pointer to the message's place: see [`Grant::as_mut_ptr`].
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        self.guard.as_mut_ptr()
    }
}

impl<K: InPlace> OwnedGrant<Bytes, K> {
    /// The bytes by reference: see [`Grant::as_mut_slice`].
    ///
    /// # Panics
    /// If `trust` belongs to another [`Segment`](crate::Segment).
    #[track_caller]
    pub fn as_mut_slice(&mut self, trust: TrustedPeers) -> &mut [u8] {
        self.guard.as_mut_slice(trust)
    }
}

impl AnyOwnedGrant {
    /// Sends the message: see [`AnyGrant::commit`].
    ///
    /// # Errors
    /// As there.
    pub fn commit(self, length: usize) -> Result<(), SendError> {
        self.end(|grant| grant.commit(length))
    }

    /// Gives the place up, as dropping does.
    pub fn abort(self) {}

    /// Copies the message in: see [`AnyGrant::write`].
    #[must_use = "an element of another size is not copied"]
    pub fn write(&mut self, message: &[u8]) -> usize {
        self.guard.write(message)
    }

    /// Where the message is written: see [`AnyGrant::as_mut_ptr`].
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        self.guard.as_mut_ptr()
    }
}
