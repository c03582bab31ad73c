//! Messages of any length in an SPSC ring of 8-byte units. Each message is a
//! header and its bytes, and is never split. Where a message does not fit before
//! the end of the ring, padding fills the rest.
//!
//! ```text
//!  ├ header │ bytes … ┼ header │ bytes … ┼ padding ┤ header │ bytes … ┤
//!   len | 1                               n | 2     at the ring's start
//! ```
//!
//! Positions and edges are those of [`spsc`](super::spsc); positions count
//! units. One store publishes padding together with the message behind it, so a
//! reader that finds padding finds a message after it.

use super::spsc::{Consumer, Indices, Producer, Torn};
use crate::sync::{AtomicU64, Ordering};

/// Bytes of a unit, and the alignment of headers and messages.
pub(crate) const UNIT: usize = 8;
const KIND_SHIFT: u32 = 32;
const MESSAGE: u64 = 1 << KIND_SHIFT;
const PADDING: u64 = 2 << KIND_SHIFT;
const LENGTH: u64 = MESSAGE - 1;

/// Where the headers are.
pub(crate) trait Units: Indices {
    /// The unit at `index`, below the capacity, as a word.
    fn unit(&self, index: u64) -> &AtomicU64;
    /// The most bytes that a message may have.
    fn longest(&self) -> u64;
}

/// Units of a record whose message has `length` bytes.
pub(crate) const fn units(length: u64) -> u64 {
    1 + length.div_ceil(UNIT as u64)
}

/// Contents that no protocol step leaves in a ring of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    Torn(Torn),
    /// A header that this algorithm never writes.
    Header(u64),
}

impl From<Torn> for Broken {
    fn from(torn: Torn) -> Self {
        Self::Torn(torn)
    }
}

/// Room for a message, not yet visible.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Reserved {
    /// The unit where its header will be.
    header: u64,
    padding: u64,
    length: u64,
}

impl Reserved {
    /// The unit where its bytes begin.
    pub(crate) const fn bytes(&self) -> u64 {
        self.header + 1
    }

    /// How many bytes there is room for.
    pub(crate) const fn length(&self) -> u64 {
        self.length
    }
}

/// A message that can be read.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Record {
    /// The unit where its bytes begin.
    pub(crate) bytes: u64,
    pub(crate) length: u64,
    /// Units to release after reading, padding included.
    pub(crate) units: u64,
}

/// Reserves room for a message of up to `length` bytes, at most the longest.
/// Returns `None` if there is no room now.
#[inline(always)]
pub(crate) fn reserve(
    ring: &impl Units,
    producer: &Producer,
    length: u64,
) -> Result<Option<Reserved>, Torn> {
    reserve_behind(ring, producer, 0, length)
}

/// Like [`reserve`], behind `ahead` units that are reserved and not yet
/// published.
#[inline(always)]
pub(crate) fn reserve_behind(
    ring: &impl Units,
    producer: &Producer,
    ahead: u64,
    length: u64,
) -> Result<Option<Reserved>, Torn> {
    let needed = units(length);
    let index = wrapped(ring, producer.index() + ahead);
    let to_end = ring.capacity() - index;
    let padding = if needed > to_end { to_end } else { 0 };
    // One unit always stays free. The ring is created with room for one message
    // more than the channel's capacity, so that padding never costs a message its
    // room. Where there is no padding, that extra message would fit too, but for
    // this unit.
    let wanted = ahead + padding + needed + 1;
    producer.message_of(needed);
    if producer.room(ring, wanted)? < wanted {
        return Ok(None);
    }
    if padding > 0 {
        pad(ring, index, padding);
    }
    Ok(Some(Reserved { header: if padding > 0 { 0 } else { index }, padding, length }))
}

/// Whether the longest message would fit, or more than when the producer last looked. Looks,
/// and changes nothing.
pub(crate) fn may_fit(ring: &impl Units, producer: &Producer) -> bool {
    let needed = units(ring.longest());
    let to_end = ring.capacity() - wrapped(ring, producer.index());
    let padding = if needed > to_end { to_end } else { 0 };
    // As for a reservation.
    producer.may_write(ring, padding + needed + 1)
}

/// Fills the end of the ring. Out of line: that happens once a lap.
#[cold]
#[inline(never)]
fn pad(ring: &impl Units, index: u64, padding: u64) {
    ring.unit(index).store(PADDING | padding, Ordering::Relaxed);
}

/// Wraps an index that is less than a lap too far.
#[inline(always)]
fn wrapped(ring: &impl Units, index: u64) -> u64 {
    if index >= ring.capacity() { index - ring.capacity() } else { index }
}

/// Writes the header of a message of `length` bytes, or of as many as were
/// reserved if that is less. Returns how many units the caller publishes for it.
#[inline(always)]
pub(crate) fn seal(ring: &impl Units, reserved: Reserved, length: u64) -> u64 {
    let length = length.min(reserved.length);
    ring.unit(reserved.header).store(MESSAGE | length, Ordering::Relaxed);
    reserved.padding + units(length)
}

/// Publishes the message. `length` is at most what was reserved.
#[inline(always)]
pub(crate) fn commit(ring: &impl Units, producer: &Producer, reserved: Reserved, length: u64) {
    producer.publish(ring, seal(ring, reserved, length));
}

/// The next message, if there is one.
#[inline(always)]
pub(crate) fn next(ring: &impl Units, consumer: &Consumer) -> Result<Option<Record>, Broken> {
    next_behind(ring, consumer, 0)
}

/// Like [`next`], behind `ahead` units that are read and not yet released.
#[inline(always)]
pub(crate) fn next_behind(
    ring: &impl Units,
    consumer: &Consumer,
    ahead: u64,
) -> Result<Option<Record>, Broken> {
    if consumer.filled(ring, ahead + 1)? <= ahead {
        return Ok(None);
    }
    let index = wrapped(ring, consumer.index() + ahead);
    let header = ring.unit(index).load(Ordering::Relaxed);
    if header & !LENGTH == MESSAGE {
        return record(ring, consumer, ahead, At { index, header, padding: 0 }).map(Some);
    }
    behind_padding(ring, consumer, ahead, index, header).map(Some)
}

/// The message at a position where one begins, of what is published up to `tail`: for one who
/// takes nothing, and reads by `unit`. `None` if there is none, or its header cannot be.
pub(crate) fn at(
    ring: &impl Units,
    position: u64,
    tail: u64,
    unit: impl Fn(u64) -> u64,
) -> Option<Record> {
    let capacity = ring.capacity();
    let (mut index, mut padding) = (position % capacity, 0);
    let mut header = unit(index);
    if header == PADDING | (capacity - index) {
        (padding, index) = (capacity - index, 0);
        header = unit(index);
    }
    let length = header & LENGTH;
    let message = units(length);
    let is_there = header & !LENGTH == MESSAGE
        && length <= ring.longest()
        && message <= capacity - index
        && padding + message <= tail.wrapping_sub(position);
    is_there.then_some(Record { bytes: index + 1, length, units: padding + message })
}

/// A header that was read, once.
struct At {
    index: u64,
    header: u64,
    /// Units of padding before it.
    padding: u64,
}

/// The message with this header, which is believed only if it can be true: a message is
/// published whole, so all of it is known to be there.
#[inline(always)]
fn record(
    ring: &impl Units,
    consumer: &Consumer,
    ahead: u64,
    At { index, header, padding }: At,
) -> Result<Record, Broken> {
    let length = header & LENGTH;
    let message = units(length);
    let units = padding + message;
    if length > ring.longest()
        || message > ring.capacity() - index
        || units > consumer.granted() - ahead
    {
        return Err(Broken::Header(header));
    }
    consumer.message_of(message);
    Ok(Record { bytes: index + 1, length, units })
}

/// The message at the ring's start, if this is the header of padding before it. Out of
/// line: that happens once a lap.
#[cold]
#[inline(never)]
fn behind_padding(
    ring: &impl Units,
    consumer: &Consumer,
    ahead: u64,
    index: u64,
    header: u64,
) -> Result<Record, Broken> {
    let padding = ring.capacity() - index;
    if header != PADDING | padding || padding >= consumer.granted() - ahead {
        return Err(Broken::Header(header));
    }
    let header = ring.unit(0).load(Ordering::Relaxed);
    if header & !LENGTH != MESSAGE {
        return Err(Broken::Header(header));
    }
    record(ring, consumer, ahead, At { index: 0, header, padding })
}

/// Gives the room of a message back.
#[inline(always)]
pub(crate) fn release(ring: &impl Units, consumer: &Consumer, record: Record) {
    consumer.release(ring, record.units);
}
