//! A bounded queue for one producer and one consumer: Lamport's ring, with
//! the other side's index cached on each side, as in FastFlow and rtrb.
//!
//! ```text
//!  head                       tail                     head + capacity
//!   ├── messages to be read ───┤── cells free to write ──┤
//!   consumer: head += n ▶          producer: tail += n ▶
//! ```
//!
//! `head` and `tail` are monotonic 64-bit positions and the whole truth: a
//! successor of either side reads both and goes on. A cell beyond `tail` that
//! was half written does not exist; a message that was read and not released
//! is still there ([`hand`](super::hand) says how often that has happened to
//! it). Both sides are wait-free; one store publishes a batch.
//!
//! Edges. P: `tail` (Release, producer; Acquire, consumer) hands over the
//! cells before it. F: `head` (Release, consumer; Acquire, producer) hands
//! them back.

use core::cell::Cell;

use super::backoff::Backoff;
use crate::sync::{AtomicU64, Ordering};

/// Where the indices are.
pub(crate) trait Indices {
    /// At least 1.
    fn capacity(&self) -> u64;
    fn head(&self) -> &AtomicU64;
    fn tail(&self) -> &AtomicU64;
}

/// The indices cannot be: more than `capacity` apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Torn {
    pub(crate) head: u64,
    pub(crate) tail: u64,
}

/// One side of the ring: its own position, and how far it knows it may move.
#[derive(Debug)]
struct Side {
    position: Cell<u64>,
    /// The position of this lap's first cell. Kept instead of the index,
    /// because it stays as it is from one message to the next.
    lap: Cell<u64>,
    /// Cells from `position` up to here are known to be ours.
    limit: Cell<u64>,
    backoff: Backoff,
}

impl Side {
    const fn at(position: u64, limit: u64, capacity: u64) -> Self {
        Self {
            position: Cell::new(position),
            lap: Cell::new(position.wrapping_sub(position % capacity)),
            limit: Cell::new(limit),
            backoff: Backoff::none(),
        }
    }

    #[inline]
    fn granted(&self) -> u64 {
        self.limit.get().wrapping_sub(self.position.get())
    }

    /// Up to `want` cells; has `look` see how far it may move only when it must.
    #[inline]
    fn grant(&self, want: u64, look: impl Fn(u64) -> Result<u64, Torn>) -> Result<u64, Torn> {
        if self.granted() < want {
            // A glimpse that finds nothing is all there is to it. One that finds
            // something is where the processor has guessed wrong, and what it
            // does from here on it has done before.
            let idle = self.granted() == 0 && !self.backoff.keeps_back();
            if idle && look(self.position.get()) == Ok(self.limit.get()) {
                return Ok(0);
            }
            self.further(look)?;
        }
        Ok(self.granted().min(want))
    }

    /// Apart from the above, so that it is small where it is used.
    #[cold]
    #[inline(never)]
    fn further(&self, look: impl FnOnce(u64) -> Result<u64, Torn>) -> Result<(), Torn> {
        self.backoff.back_off();
        self.extend(look(self.position.get())?);
        Ok(())
    }

    /// What was granted stays so, whatever the other side's index says next:
    /// a caller may have begun to use it.
    #[inline]
    fn extend(&self, limit: u64) {
        let more = limit.wrapping_sub(self.position.get()).saturating_sub(self.granted());
        self.backoff.found(more);
        if more > 0 {
            self.limit.set(limit);
        }
    }

    #[inline]
    fn index(&self) -> u64 {
        self.position.get().wrapping_sub(self.lap.get())
    }

    /// Moves on by `n`, at most the capacity; the new position.
    #[inline]
    fn step(&self, n: u64, capacity: u64) -> u64 {
        let position = self.position.get().wrapping_add(n);
        self.position.set(position);
        if self.index() >= capacity {
            self.lap.set(self.lap.get().wrapping_add(capacity));
        }
        position
    }
}

/// Cells in the order of the ring: `first` from `index` on, then `second`
/// from the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) index: u64,
    pub(crate) first: u64,
    pub(crate) second: u64,
}

/// The writing side.
#[derive(Debug)]
pub struct Producer(Side);

impl Producer {
    /// Takes up the role where `tail` says. The caller holds it alone.
    pub(crate) fn attach(ring: &impl Indices) -> Result<Self, Torn> {
        // Acquire: what the last producer published is published.
        let tail = ring.tail().load(Ordering::Acquire);
        let limit = free_until(ring, tail)?;
        Ok(Self(Side::at(tail, limit, ring.capacity())))
    }

    /// How many cells may be written, up to `want`; reads the other side's
    /// index only when it must.
    #[inline]
    pub(crate) fn room(&self, ring: &impl Indices, want: u64) -> Result<u64, Torn> {
        self.0.grant(want, |tail| free_until(ring, tail))
    }

    /// Looks at the other side's index at this pace.
    pub(crate) fn with_backoff(&mut self, backoff: Backoff) {
        self.0.backoff = backoff;
    }

    /// Up to where it knows that it may write.
    pub(crate) fn limit(&self) -> u64 {
        self.0.limit.get()
    }

    /// The index of the next cell to write.
    #[inline]
    pub(crate) fn index(&self) -> u64 {
        self.0.index()
    }

    /// The next `n` cells, which [`room`](Self::room) has granted.
    #[inline]
    pub(crate) fn span(&self, ring: &impl Indices, n: u64) -> Span {
        span(ring.capacity(), self.0.index(), n)
    }

    /// Publishes the next `n` cells, which [`room`](Self::room) has granted.
    #[inline]
    pub(crate) fn publish(&self, ring: &impl Indices, n: u64) {
        let tail = self.0.step(n, ring.capacity());
        // Edge P.
        ring.tail().store(tail, Ordering::Release);
    }
}

/// The reading side.
#[derive(Debug)]
pub struct Consumer(Side);

impl Consumer {
    /// Takes up the role where `head` says. The caller holds it alone.
    pub(crate) fn attach(ring: &impl Indices) -> Result<Self, Torn> {
        // Acquire: what the last consumer released is released.
        let head = ring.head().load(Ordering::Acquire);
        let limit = filled_until(ring, head)?;
        Ok(Self(Side::at(head, limit, ring.capacity())))
    }

    /// How many cells may be read, up to `want`; reads the other side's
    /// index only when it must.
    #[inline]
    pub(crate) fn filled(&self, ring: &impl Indices, want: u64) -> Result<u64, Torn> {
        self.0.grant(want, |head| filled_until(ring, head))
    }

    /// Looks at the other side's index at this pace.
    pub(crate) fn with_backoff(&mut self, backoff: Backoff) {
        self.0.backoff = backoff;
    }

    /// The position of the next cell to read.
    #[inline]
    pub(crate) fn position(&self) -> u64 {
        self.0.position.get()
    }

    /// The index of the next cell to read.
    #[inline]
    pub(crate) fn index(&self) -> u64 {
        self.0.index()
    }

    /// The next `n` cells, which [`filled`](Self::filled) has granted.
    #[inline]
    pub(crate) fn span(&self, ring: &impl Indices, n: u64) -> Span {
        span(ring.capacity(), self.0.index(), n)
    }

    /// Gives the next `n` cells back, which [`filled`](Self::filled) granted.
    #[inline]
    pub(crate) fn release(&self, ring: &impl Indices, n: u64) {
        let head = self.0.step(n, ring.capacity());
        // Edge F.
        ring.head().store(head, Ordering::Release);
    }
}

/// Whether a producer that knew it might write up to `limit` could find more
/// room, or anything else.
pub(crate) fn freed(ring: &impl Indices, limit: u64) -> bool {
    free_until(ring, limit) != Ok(limit)
}

/// Up to where a producer at `tail` may write.
#[inline]
fn free_until(ring: &impl Indices, tail: u64) -> Result<u64, Torn> {
    // Edge F.
    let head = ring.head().load(Ordering::Acquire);
    if tail.wrapping_sub(head) > ring.capacity() {
        return Err(Torn { head, tail });
    }
    Ok(head.wrapping_add(ring.capacity()))
}

/// Up to where a consumer at `head` may read.
#[inline]
fn filled_until(ring: &impl Indices, head: u64) -> Result<u64, Torn> {
    // Edge P.
    let tail = ring.tail().load(Ordering::Acquire);
    if tail.wrapping_sub(head) > ring.capacity() {
        return Err(Torn { head, tail });
    }
    Ok(tail)
}

#[inline]
fn span(capacity: u64, index: u64, n: u64) -> Span {
    let first = n.min(capacity - index);
    Span { index, first, second: n - first }
}

/// How many messages are in the ring, now or a moment ago.
pub(crate) fn len(ring: &impl Indices) -> u64 {
    // The head first: it only grows, so the tail is never before it.
    let head = ring.head().load(Ordering::Acquire);
    let tail = ring.tail().load(Ordering::Acquire);
    tail.wrapping_sub(head).min(ring.capacity())
}
