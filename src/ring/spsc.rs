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

/// How a side that uses one cell after the other fetches them: at every `every`-th cell of a
/// lap, a power of two, as many that come `ahead` cells later.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) every: u64,
    pub(crate) ahead: u64,
}

/// One side of the ring: its own position, and how far it knows that it may
/// move.
#[derive(Debug)]
struct Side {
    position: Cell<u64>,
    /// From the position up to here, one cell after the other is known to be this side's and
    /// on this lap, and there is nothing to fetch. So one comparison does for a message.
    checkpoint: Cell<u64>,
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
            checkpoint: Cell::new(position),
            lap: Cell::new(position.wrapping_sub(position % capacity)),
            limit: Cell::new(limit),
            backoff: Backoff::none(),
        }
    }

    #[inline]
    fn granted(&self) -> u64 {
        self.limit.get().wrapping_sub(self.position.get())
    }

    /// Begins the next lap, if the position is there.
    #[inline(always)]
    fn turn(&self, capacity: u64) {
        if self.index() >= capacity {
            self.lap.set(self.lap.get().wrapping_add(capacity));
        }
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

    /// The index of the cell so many behind the next one, if this side knows that it owns
    /// that cell too, and it is on this lap.
    #[inline(always)]
    fn ahead(&self, cells: u64, capacity: u64) -> Option<u64> {
        let index = self.index().wrapping_add(cells);
        (self.granted() > cells && index < capacity).then_some(index)
    }

    #[inline(always)]
    fn at_checkpoint(&self) -> bool {
        self.position.get() == self.checkpoint.get()
    }

    /// Sets the next checkpoint, where a cell is granted. The index of the first cell to
    /// fetch, if all of these are this side's.
    #[inline(always)]
    fn pass(&self, pace: Option<Pace>, capacity: u64) -> Option<u64> {
        let (index, granted) = (self.index(), self.granted());
        let mut clear = granted.min(capacity - index);
        let mut first = None;
        if let Some(Pace { every, ahead }) = pace {
            let passed = index & (every - 1);
            clear = clear.min(every - passed);
            if passed == 0 && granted >= ahead + every {
                let index = index + ahead;
                first = Some(if index < capacity { index } else { index - capacity });
            }
        }
        self.checkpoint.set(self.position.get().wrapping_add(clear));
        first
    }

    /// The index of the next cell, if it is this side's, or by this `look` becomes so. At a
    /// checkpoint, calls `fetch` with the first of the cells to be fetched, if there are any.
    #[inline(always)]
    fn next(
        &self,
        ring: &impl Indices,
        pace: Option<Pace>,
        look: impl FnOnce() -> Result<u64, Torn>,
        fetch: impl FnOnce(u64),
    ) -> Result<Option<u64>, Torn> {
        if self.at_checkpoint() {
            if look()? == 0 {
                return Ok(None);
            }
            if let Some(first) = self.pass(pace, ring.capacity()) {
                fetch(first);
            }
        }
        Ok(Some(self.index()))
    }

    /// Moves on by one cell, which is before the checkpoint.
    #[inline(always)]
    fn step_one(&self) {
        debug_assert!(!self.at_checkpoint());
        self.position.set(self.position.get().wrapping_add(1));
    }

    /// Moves on by `n`, at most what is granted.
    #[inline]
    fn step(&self, n: u64) {
        let position = self.position.get().wrapping_add(n);
        self.position.set(position);
        self.checkpoint.set(position);
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
        self.0.turn(ring.capacity());
        self.0.grant(want, |tail| free_until(ring, tail))
    }

    /// The index of the next cell, if it may be written: below the capacity. Now and then
    /// calls `fetch` with the first of those to be fetched. To be followed by
    /// [`publish_next`](Self::publish_next), or by nothing.
    #[inline(always)]
    pub(crate) fn next(
        &self,
        ring: &impl Indices,
        pace: Option<Pace>,
        fetch: impl FnOnce(u64),
    ) -> Result<Option<u64>, Torn> {
        self.0.next(ring, pace, || self.room(ring, 1), fetch)
    }

    /// Publishes the cell that [`next`](Self::next) gave.
    #[inline(always)]
    pub(crate) fn publish_next(&self, ring: &impl Indices) {
        self.0.step_one();
        self.tell(ring);
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

    /// Whether so many cells may be written, or more than when it last looked. Looks, and
    /// changes nothing.
    pub(crate) fn may_write(&self, ring: &impl Indices, cells: u64) -> bool {
        self.0.granted() >= cells || freed(ring, self.limit())
    }

    /// The position of the next cell to write.
    #[inline]
    pub(crate) fn position(&self) -> u64 {
        self.0.position.get()
    }

    /// The index of the next cell to write.
    #[inline]
    pub(crate) fn index(&self) -> u64 {
        self.0.index()
    }

    /// The index of the cell so many behind the next one, if it is on this lap
    /// and known to be free.
    #[inline(always)]
    pub(crate) fn ahead(&self, ring: &impl Indices, cells: u64) -> Option<u64> {
        self.0.ahead(cells, ring.capacity())
    }

    /// The next `n` cells, which [`room`](Self::room) has granted.
    #[inline]
    pub(crate) fn span(&self, ring: &impl Indices, n: u64) -> Span {
        span(ring.capacity(), self.0.index(), n)
    }

    /// Publishes the next `n` cells, which [`room`](Self::room) has granted.
    #[inline]
    pub(crate) fn publish(&self, ring: &impl Indices, n: u64) {
        self.0.step(n);
        self.tell(ring);
    }

    #[inline(always)]
    fn tell(&self, ring: &impl Indices) {
        // Edge P.
        ring.tail().store(self.0.position.get(), Ordering::Release);
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
        self.0.turn(ring.capacity());
        self.0.grant(want, |head| filled_until(ring, head))
    }

    /// How many cells this consumer knows to be filled.
    #[inline(always)]
    pub(crate) fn granted(&self) -> u64 {
        self.0.granted()
    }

    /// Whether [`next`](Self::next) is going to look at the producer's index.
    #[inline(always)]
    pub(crate) fn knows_of_none(&self) -> bool {
        self.0.at_checkpoint() && self.0.granted() == 0
    }

    /// The index of the next cell, if it may be read: below the capacity. Now and then
    /// calls `fetch` with the first of those to be fetched. To be followed by
    /// [`release_next`](Self::release_next), or by nothing.
    #[inline(always)]
    pub(crate) fn next(
        &self,
        ring: &impl Indices,
        pace: Option<Pace>,
        fetch: impl FnOnce(u64),
    ) -> Result<Option<u64>, Torn> {
        self.0.next(ring, pace, || self.filled(ring, 1), fetch)
    }

    /// Gives the cell back that [`next`](Self::next) gave.
    #[inline(always)]
    pub(crate) fn release_next(&self, ring: &impl Indices) {
        self.0.step_one();
        self.tell(ring);
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

    /// The index of the cell so many behind the next one, if it is on this lap
    /// and known to be filled.
    #[inline(always)]
    pub(crate) fn ahead(&self, ring: &impl Indices, cells: u64) -> Option<u64> {
        self.0.ahead(cells, ring.capacity())
    }

    /// The next `n` cells, which [`filled`](Self::filled) has granted.
    #[inline]
    pub(crate) fn span(&self, ring: &impl Indices, n: u64) -> Span {
        span(ring.capacity(), self.0.index(), n)
    }

    /// Gives the next `n` cells back, which [`filled`](Self::filled) granted.
    #[inline]
    pub(crate) fn release(&self, ring: &impl Indices, n: u64) {
        self.0.step(n);
        self.tell(ring);
    }

    #[inline(always)]
    fn tell(&self, ring: &impl Indices) {
        // Edge F.
        ring.head().store(self.0.position.get(), Ordering::Release);
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

/// Up to which position has ever been published, a moment ago.
pub(crate) fn published(ring: &impl Indices) -> u64 {
    // Relaxed: it is only told to people, and nothing is read by it.
    ring.tail().load(Ordering::Relaxed)
}

/// How many messages were in the ring at some moment of this call.
pub(crate) fn len(ring: &impl Indices) -> u64 {
    // The head first: it only grows, so the tail is never before it.
    let head = ring.head().load(Ordering::Acquire);
    let tail = ring.tail().load(Ordering::Acquire);
    tail.wrapping_sub(head).min(ring.capacity())
}
