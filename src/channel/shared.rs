//! A handle that several threads use, and that owned messages are made of.
//!
//! A handle belongs to one thread at a time. So it is lent: to one call, or to one message that
//! is held in place. What is lent is nobody else's until it comes back.
//!
//! ```text
//!  Shared ──▶ Pool: the first handle ──── lent to calls; of an end that there is once, to all
//!               └── others, made when needed, of an end that there may be several of
//! ```
//!
//! A pool makes further handles of what all handles of the channel have in common, without
//! touching one that is lent.

#![allow(unsafe_code)]

use core::cell::UnsafeCell;
use core::fmt;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytemuck::{CheckedBitPattern, NoUninit};

use super::calls::{CallPayload, Client, Server};
use super::cancel::Canceller;
use super::endpoint::Origin;
use super::ready::Readiness;
use super::receiver::Receiver;
use super::sender::Sender;
use super::wait_set::{EndOf, Member, Part};
use crate::error::{ChannelError, Fault};
use crate::kinds::ring::Ring;
use crate::kinds::table::{Kind, Payload};
use crate::ring::wait::NotNow;
use crate::sync::Ordering;
use crate::sync::unstepped::{AtomicU8, AtomicU64};

/// What a pool asks of a handle.
pub trait Handle: EndOf + Member + Send + Sized + 'static {
    /// Another handle, of an end that there may be several of.
    fn another(origin: &Origin) -> Result<Self, ChannelError>;
    /// What ends its waits.
    fn its_canceller(&self) -> Canceller;
    fn its_readiness(&self) -> Result<&Readiness, Fault>;
    /// Others of its pool hold so many messages.
    fn others_hold(&self, messages: u64);
    fn end_use(self) -> Result<(), Fault>;
}

/// A handle that can be [`Shared`]: a sender or a receiver, of any kind and payload, a client or a
/// server.
pub trait Shareable: Handle {}

impl<H: Handle> Shareable for H {}

impl<P: Payload + NoUninit, K: Kind> Handle for Sender<P, K> {
    fn another(origin: &Origin) -> Result<Self, ChannelError> {
        let (end, (ring, at)) = origin.attach(|opening, cells| {
            let ring = opening.typed(cells, P::Ring::<K>::of)?;
            let at = ring.producer(opening.participant.me()).map_err(|why| match why {
                NotNow::Nothing => opening.too_many_publishers(),
                why => opening.damaged(&why.corruption().unwrap_or_default()),
            })?;
            Ok((ring, at))
        })?;
        Ok(Self::with(ring, at, end))
    }

    fn its_canceller(&self) -> Canceller {
        self.canceller()
    }

    fn its_readiness(&self) -> Result<&Readiness, Fault> {
        self.readiness()
    }

    fn others_hold(&self, _: u64) {}

    fn end_use(self) -> Result<(), Fault> {
        self.close()
    }
}

impl<P: Payload + CheckedBitPattern, K: Kind> Handle for Receiver<P, K> {
    fn another(origin: &Origin) -> Result<Self, ChannelError> {
        let (end, ()) = origin.attach(|_, _| Ok(()))?;
        Self::new(end)
    }

    fn its_canceller(&self) -> Canceller {
        self.canceller()
    }

    fn its_readiness(&self) -> Result<&Readiness, Fault> {
        self.readiness()
    }

    fn others_hold(&self, messages: u64) {
        self.held.set(messages as usize);
    }

    fn end_use(self) -> Result<(), Fault> {
        self.close()
    }
}

impl<Q: CallPayload + NoUninit, R: CallPayload + CheckedBitPattern> Handle for Client<Q, R> {
    fn another(origin: &Origin) -> Result<Self, ChannelError> {
        let (end, ()) = origin.attach(|_, _| Ok(()))?;
        Self::new(end)
    }

    fn its_canceller(&self) -> Canceller {
        self.canceller()
    }

    fn its_readiness(&self) -> Result<&Readiness, Fault> {
        self.readiness()
    }

    fn others_hold(&self, _: u64) {}

    fn end_use(self) -> Result<(), Fault> {
        self.close()
    }
}

impl<Q: CallPayload + CheckedBitPattern, R: CallPayload + NoUninit> Handle for Server<Q, R> {
    fn another(origin: &Origin) -> Result<Self, ChannelError> {
        let (end, ()) = origin.attach(|_, _| Ok(()))?;
        Self::new(end)
    }

    fn its_canceller(&self) -> Canceller {
        self.canceller()
    }

    fn its_readiness(&self) -> Result<&Readiness, Fault> {
        self.readiness()
    }

    fn others_hold(&self, _: u64) {}

    fn end_use(self) -> Result<(), Fault> {
        self.close()
    }
}

impl<Q: CallPayload + NoUninit, R: CallPayload + CheckedBitPattern> Client<Q, R> {
    /// Makes this the handle of all threads of this process that want it. A further handle has its
    /// [repeats](Client::set_repeats) at 0.
    pub fn into_shared(self) -> Shared<Self> {
        Shared::new(self)
    }
}

impl<Q: CallPayload + CheckedBitPattern, R: CallPayload + NoUninit> Server<Q, R> {
    /// Makes this the handle of all threads of this process that want it.
    pub fn into_shared(self) -> Shared<Self> {
        Shared::new(self)
    }
}

impl<P: Payload + NoUninit, K: Kind> Sender<P, K> {
    /// Makes this the handle of all threads of this process that want it.
    pub fn into_shared(self) -> Shared<Self> {
        Shared::new(self)
    }
}

impl<P: Payload + CheckedBitPattern, K: Kind> Receiver<P, K> {
    /// Makes this the handle of all threads of this process that want it.
    pub fn into_shared(self) -> Shared<Self> {
        Shared::new(self)
    }
}

/// The states of the first handle.
const IDLE: u8 = 0;
const LENT: u8 = 1;

/// The first handle. It is used by the one alone to whom it is lent.
struct First<H>(UnsafeCell<H>);

// SAFETY: the state of the pool hands it on from one to the next, as a mutex does.
unsafe impl<H: Send> Sync for First<H> {}

/// The handles of one end of a channel in this process.
pub(super) struct Pool<H> {
    first: First<H>,
    state: AtomicU8,
    others: Mutex<Others<H>>,
    /// How many messages and places its handles hold.
    held: AtomicU64,
    origin: Origin,
}

struct Others<H> {
    // Boxed: what is lent stays where it is.
    idle: Vec<Box<H>>,
    cancelled: bool,
    /// Those of all handles, also of those that are lent.
    cancellers: Vec<Canceller>,
}

/// Whether what a handle is lent for may take all of the handles but the first one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum For {
    /// A call. It takes the first handle, if that is idle.
    Call,
    /// A message that is held. It leaves the first handle to calls, if there may be others.
    Message,
}

impl<H: Handle> Pool<H> {
    fn others(&self) -> MutexGuard<'_, Others<H>> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn first(&self) -> Option<NonNull<H>> {
        // Acquire: with the Release of who has given it back.
        self.state.compare_exchange(IDLE, LENT, Ordering::Acquire, Ordering::Relaxed).ok()?;
        NonNull::new(self.first.0.get())
    }

    /// Lends a handle, which goes [back](Self::give_back).
    fn lend(&self, purpose: For) -> Result<NonNull<H>, Fault> {
        if self.origin.in_child() {
            return Err(Fault::Forked);
        }
        let single = self.origin.is_single();
        let first = if single || purpose == For::Call { self.first() } else { None };
        let handle = match first {
            Some(first) => first,
            None if single => return Err(self.origin.in_use()),
            None => self.another()?,
        };
        // SAFETY: it is lent to nobody else.
        unsafe { handle.as_ref() }.others_hold(self.held.load(Ordering::Relaxed));
        Ok(handle)
    }

    #[cold]
    fn another(&self) -> Result<NonNull<H>, Fault> {
        let idle = self.others().idle.pop();
        let other = match idle {
            Some(other) => other,
            None => self.made()?,
        };
        Ok(NonNull::from(Box::leak(other)))
    }

    fn made(&self) -> Result<Box<H>, Fault> {
        let made = H::another(&self.origin).map_err(|error| match error {
            ChannelError::Fault(fault) => fault,
            error => Fault::NoHandle { why: error.to_string() },
        })?;
        let canceller = made.its_canceller();
        let mut others = self.others();
        others.cancellers.push(canceller.clone());
        let cancelled = others.cancelled;
        drop(others);
        if cancelled {
            canceller.cancel()?;
        }
        Ok(Box::new(made))
    }

    /// Takes a handle back. The caller has lent it from this pool, and does not use it any more.
    fn give_back(&self, handle: NonNull<H>) {
        if handle.as_ptr() == self.first.0.get() {
            // Release: as above.
            self.state.store(IDLE, Ordering::Release);
        } else if !self.origin.in_child() {
            // Otherwise a thread that is not in the child may have the lock.
            // SAFETY: it was leaked when it was lent, and comes back once.
            let other = unsafe { Box::from_raw(handle.as_ptr()) };
            let mut others = self.others();
            // The last one to come back is the next one to be lent; another one may be idle for
            // long, and is not to be counted among those who wait.
            if !others.idle.is_empty() {
                other.end().let_go();
            }
            others.idle.push(other);
        }
    }
}

/// A handle of a pool that is lent. Only this refers to it.
pub(super) struct Loan<H: Handle, R: Deref<Target = Pool<H>>> {
    handle: NonNull<H>,
    pool: R,
}

// SAFETY: it is as if it had the handle by value.
unsafe impl<H: Handle, R: Deref<Target = Pool<H>> + Send> Send for Loan<H, R> {}

impl<H: Handle, R: Deref<Target = Pool<H>>> Loan<H, R> {
    fn new(pool: R, purpose: For) -> Result<Self, Fault> {
        Ok(Self { handle: pool.lend(purpose)?, pool })
    }

    /// The handle, for as long as the caller ensures that this loan lasts and nobody else uses
    /// the handle.
    pub(super) const fn handle(&self) -> NonNull<H> {
        self.handle
    }

    pub(super) fn in_hand(&self) -> &AtomicU64 {
        &self.pool.held
    }
}

impl<H: Handle, R: Deref<Target = Pool<H>>> Drop for Loan<H, R> {
    fn drop(&mut self) {
        self.pool.give_back(self.handle);
    }
}

/// One end of a channel for all threads of a process, and the source of messages that are held
/// without a borrow.
///
/// A [`Sender`] or [`Receiver`], of any kind and payload, [becomes](Receiver::into_shared) one.
/// Clones are the same end. It [lends](Self::lend) a handle to each call, which has all methods
/// of the handle; and one to each message or place that is held
/// ([`OwnedDelivery`](crate::OwnedDelivery), [`OwnedGrant`](crate::OwnedGrant)).
///
/// An MPMC channel's end, and a publisher, get further handles when they are needed, and keep
/// them: any number of threads may wait at the same time, and any number of messages be held, in
/// any order. They are made like the first handle, when that became shared. An SPSC channel's
/// end, and a subscriber, do **one thing at a time**: while another thread is in a call, or a
/// message or place is held, further calls answer [`Fault::InUse`] at once.
///
/// ```
/// use std::thread;
/// use tombolo::Segment;
///
/// let segment = Segment::anonymous()?;
/// let jobs = segment.channel::<u64>("jobs").capacity(8);
/// let (sender, receiver) = (jobs.sender()?, jobs.receiver()?.into_shared());
/// sender.send_batch(&[1, 2, 3])?;
/// let (first, second) = (receiver.take()?, receiver.take()?);
/// thread::spawn(move || second.release()).join().unwrap();
/// assert_eq!((first.read(), receiver.lend()?.recv()?), (1, 3));
/// first.give_back();
/// assert_eq!(receiver.lend()?.recv()?, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Shared<H: Shareable>(Arc<Pool<H>>);

impl<H: Shareable> Shared<H> {
    pub(super) fn new(handle: H) -> Self {
        let origin = handle.end().origin();
        let cancellers = vec![handle.its_canceller()];
        Self(Arc::new(Pool {
            first: First(UnsafeCell::new(handle)),
            state: AtomicU8::new(IDLE),
            others: Mutex::new(Others { idle: Vec::new(), cancelled: false, cancellers }),
            held: AtomicU64::new(0),
            origin,
        }))
    }

    /// A handle, for this thread until it is dropped. While the first handle is idle, this makes
    /// no system call and takes no lock.
    ///
    /// # Errors
    /// [`Fault::InUse`], [`Fault::NoHandle`]; [`Fault::Forked`].
    pub fn lend(&self) -> Result<Lent<'_, H>, Fault> {
        Ok(Lent(Loan::new(&*self.0, For::Call)?))
    }

    /// A handle that this borrows nothing for: for one that keeps it, as an event loop does
    /// which waits for its [readiness](crate::Receiver::readiness). As for a message that is
    /// held, it is a further handle where there may be several.
    ///
    /// # Errors
    /// As for [`lend`](Self::lend).
    pub fn lend_owned(&self) -> Result<LentOwned<H>, Fault> {
        Ok(LentOwned(self.loan()?))
    }

    /// A handle for a message that is held.
    pub(super) fn loan(&self) -> Result<Loan<H, Arc<Pool<H>>>, Fault> {
        Loan::new(Arc::clone(&self.0), For::Message)
    }

    /// A descriptor for event loops, of the first handle: see
    /// [`Receiver::readiness`](crate::Receiver::readiness). Calls that do not wait, of a handle
    /// that is [lent](Self::lend), arm it, as long as no other thread has the first handle.
    ///
    /// # Errors
    /// As there; [`Fault::InUse`] while the first handle is lent.
    pub fn readiness(&self) -> Result<BorrowedFd<'_>, Fault> {
        if self.0.origin.in_child() {
            return Err(Fault::Forked);
        }
        let handle = self.0.first().ok_or_else(|| self.0.origin.in_use())?;
        let first = Lent(Loan { handle, pool: &*self.0 });
        let descriptor = first.its_readiness()?.as_fd().as_raw_fd();
        // SAFETY: the handle has it open for as long as it lives, and the pool has the handle.
        Ok(unsafe { BorrowedFd::borrow_raw(descriptor) })
    }

    /// The channel's name.
    pub fn channel(&self) -> &str {
        self.0.origin.name()
    }

    /// Ends the waits of all handles, from any thread, as [`Canceller::cancel`] does with those
    /// of one; also of handles that are made later.
    ///
    /// # Errors
    /// As there.
    pub fn cancel(&self) -> Result<(), Fault> {
        self.set_cancelled(true)?.iter().try_for_each(Canceller::cancel)
    }

    /// Lets the handles wait again. Until this, they stay cancelled.
    pub fn reset(&self) {
        if let Ok(cancellers) = self.set_cancelled(false) {
            cancellers.iter().for_each(Canceller::reset);
        }
    }

    fn set_cancelled(&self, cancelled: bool) -> Result<Vec<Canceller>, Fault> {
        if self.0.origin.in_child() {
            return Err(Fault::Forked);
        }
        let mut others = self.0.others();
        others.cancelled = cancelled;
        Ok(others.cancellers.clone())
    }

    /// Whether the handles are cancelled. `false` in a forked child.
    pub fn is_cancelled(&self) -> bool {
        !self.0.origin.in_child() && self.0.others().cancelled
    }

    /// Closes this end, if this is the last clone and nothing of it is held: otherwise the last
    /// one closes it.
    ///
    /// # Errors
    /// As for [`Receiver::close`](crate::Receiver::close).
    pub fn close(self) -> Result<(), Fault> {
        let Some(Pool { first, others, .. }) = Arc::into_inner(self.0) else { return Ok(()) };
        let Others { idle, .. } = others.into_inner().unwrap_or_else(PoisonError::into_inner);
        let closed = idle.into_iter().try_for_each(|other| other.end_use());
        first.0.into_inner().end_use().and(closed)
    }
}

/// The first handle, which the set has for each wait.
impl<H: Shareable> Member for Shared<H> {
    fn part(&self) -> Part<'_> {
        self.first().part()
    }

    fn is_lent(&self) -> bool {
        true
    }

    fn begin(&self) -> Result<(), Fault> {
        if self.0.origin.in_child() {
            return Err(Fault::Forked);
        }
        self.0.first().ok_or_else(|| self.0.origin.in_use())?;
        self.first().others_hold(self.0.held.load(Ordering::Relaxed));
        Ok(())
    }

    fn done(&self) {
        // Release: with the Acquire of the next one that it is lent to.
        self.0.state.store(IDLE, Ordering::Release);
    }
}

impl<H: Shareable> Shared<H> {
    fn first(&self) -> &H {
        // SAFETY: a set asks only while it has the handle, from `begin` to `done`.
        unsafe { &*self.0.first.0.get() }
    }
}

impl<H: Shareable> Clone for Shared<H> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

// As for the handles: a panic leaves none of them in the middle of anything.
impl<H: Shareable> UnwindSafe for Shared<H> {}
impl<H: Shareable> RefUnwindSafe for Shared<H> {}

impl<H: Shareable> fmt::Debug for Shared<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("channel", &self.channel()).finish_non_exhaustive()
    }
}

/// A handle that a [`Shared`] lends. Dropping it gives it back.
pub struct Lent<'a, H: Shareable>(Loan<H, &'a Pool<H>>);

/// A handle that a [`Shared`] lends, without a borrow: see [`Shared::lend_owned`]. Dropping it
/// gives it back.
pub struct LentOwned<H: Shareable>(Loan<H, Arc<Pool<H>>>);

/// The handle of each.
macro_rules! lends {
    ($($lent:ident$(<$life:lifetime>)?: $name:literal;)*) => {$(
        impl<H: Shareable> Deref for $lent<$($life,)? H> {
            type Target = H;

            fn deref(&self) -> &H {
                // SAFETY: only this refers to the handle, and `self` is borrowed.
                unsafe { self.0.handle.as_ref() }
            }
        }

        impl<H: Shareable> DerefMut for $lent<$($life,)? H> {
            fn deref_mut(&mut self) -> &mut H {
                // SAFETY: as above.
                unsafe { self.0.handle.as_mut() }
            }
        }

        impl<H: Shareable + fmt::Debug> fmt::Debug for $lent<$($life,)? H> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple($name).field(&**self).finish()
            }
        }
    )*};
}

lends! {
    Lent<'_>: "Lent";
    LentOwned: "LentOwned";
}
