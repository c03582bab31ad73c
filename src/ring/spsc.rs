//! A bounded queue for one producer and one consumer: Lamport's ring, in which
//! each side caches the other side's index, as in FastFlow and rtrb.
//!
//! ```text
//!  head                       tail                     head + capacity
//!   ├── messages to be read ───┤── cells free to write ──┤
//!   consumer: head += n ▶          producer: tail += n ▶
//! ```
//!
//! `head` and `tail` are monotonic 64-bit positions, and the whole state of the
//! queue: a successor of either side reads both and continues. A cell beyond
//! `tail` that a dead producer has half written does not exist. A message that a
//! dead consumer has read and not released is still there, and
//! [`in_flight`](super::in_flight) says how often that has happened to it. Both
//! sides are wait-free, and one store publishes a batch.
//!
//! Edges. P: `tail` (Release, producer; Acquire, consumer) passes the cells
//! before it to the consumer. F: `head` (Release, consumer; Acquire, producer)
//! passes them back.

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

/// Indices that no protocol step leaves: more than `capacity` apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Torn {
    pub(crate) head: u64,
    pub(crate) tail: u64,
}

/// One side of the ring: its own position, and how far it knows that it may
/// move.
#[derive(Debug)]
struct Side {
    position: Cell<u64>,
    /// The position of this lap's first cell. A side keeps this instead of the
    /// index, because it does not change from one message to the next.
    lap: Cell<u64>,
    /// This side knows that it owns the cells from `position` up to here.
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

    /// Grants up to `want` cells. Calls `refresh`, which reads the other side's
    /// index, only if this side does not know of enough.
    #[inline]
    fn grant(&self, want: u64, refresh: impl Fn(u64) -> Result<u64, Torn>) -> Result<u64, Torn> {
        if self.granted() < want {
            // Polling usually finds nothing, and ends here. When it finds
            // something the branch mispredicts, so `further` repeats the load out
            // of line.
            let idle = self.granted() == 0 && !self.backoff.keeps_back();
            if idle && refresh(self.position.get()) == Ok(self.limit.get()) {
                return Ok(0);
            }
            self.further(refresh)?;
        }
        Ok(self.granted().min(want))
    }

    /// Out of line, so that `grant` stays small where it is inlined.
    #[cold]
    #[inline(never)]
    fn further(&self, refresh: impl FnOnce(u64) -> Result<u64, Torn>) -> Result<(), Torn> {
        self.backoff.back_off();
        self.extend(refresh(self.position.get())?);
        Ok(())
    }

    /// Cells once granted stay granted, whatever the other side's index says
    /// next: a caller may already use them.
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

    /// Moves on by `n`, at most the capacity. Returns the new position.
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

/// Cells in the order of the ring: `first` cells from `index` on, then `second`
/// cells from the start.
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
    /// Takes up the role at `tail`. The caller alone holds the role.
    pub(crate) fn attach(ring: &impl Indices) -> Result<Self, Torn> {
        // Acquire: this producer sees what the last one published.
        let tail = ring.tail().load(Ordering::Acquire);
        let limit = free_until(ring, tail)?;
        Ok(Self(Side::at(tail, limit, ring.capacity())))
    }

    /// How many cells may be written, up to `want`. Reads the consumer's index
    /// only if the cached one does not allow that many.
    #[inline]
    pub(crate) fn room(&self, ring: &impl Indices, want: u64) -> Result<u64, Torn> {
        self.0.grant(want, |tail| free_until(ring, tail))
    }

    /// Reads the other side's index with this backoff.
    pub(crate) fn with_backoff(&mut self, backoff: Backoff) {
        self.0.backoff = backoff;
    }

    /// A message is of so many cells: says what the backoff counts as one.
    #[inline(always)]
    pub(crate) fn message_of(&self, cells: u64) {
        self.0.backoff.message_of(cells);
    }

    /// The position up to which this producer knows that it may write.
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
    /// Takes up the role at `head`. The caller alone holds the role.
    pub(crate) fn attach(ring: &impl Indices) -> Result<Self, Torn> {
        // Acquire: this consumer sees what the last one released.
        let head = ring.head().load(Ordering::Acquire);
        let limit = filled_until(ring, head)?;
        Ok(Self(Side::at(head, limit, ring.capacity())))
    }

    /// How many cells may be read, up to `want`. Reads the producer's index only
    /// if the cached one does not allow that many.
    #[inline]
    pub(crate) fn filled(&self, ring: &impl Indices, want: u64) -> Result<u64, Torn> {
        self.0.grant(want, |head| filled_until(ring, head))
    }

    /// How many cells this consumer knows to be filled.
    #[inline(always)]
    pub(crate) fn granted(&self) -> u64 {
        self.0.granted()
    }

    /// Reads the other side's index with this backoff.
    pub(crate) fn with_backoff(&mut self, backoff: Backoff) {
        self.0.backoff = backoff;
    }

    /// A message is of so many cells: says what the backoff counts as one.
    #[inline(always)]
    pub(crate) fn message_of(&self, cells: u64) {
        self.0.backoff.message_of(cells);
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

/// Whether a producer whose cached limit is `limit` would now find another one:
/// more room, or indices that cannot be.
pub(crate) fn freed(ring: &impl Indices, limit: u64) -> bool {
    free_until(ring, limit) != Ok(limit)
}

/// The position up to which a producer at `tail` may write.
#[inline]
fn free_until(ring: &impl Indices, tail: u64) -> Result<u64, Torn> {
    // Edge F.
    let head = ring.head().load(Ordering::Acquire);
    if tail.wrapping_sub(head) > ring.capacity() {
        return Err(Torn { head, tail });
    }
    Ok(head.wrapping_add(ring.capacity()))
}

/// The position up to which a consumer at `head` may read.
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

/// How many messages were in the ring at some moment of this call.
pub(crate) fn len(ring: &impl Indices) -> u64 {
    // The head first: it only grows, so the tail is never before it.
    let head = ring.head().load(Ordering::Acquire);
    let tail = ring.tail().load(Ordering::Acquire);
    tail.wrapping_sub(head).min(ring.capacity())
}
