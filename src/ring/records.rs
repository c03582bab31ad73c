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
pub(crate) fn reserve(
    ring: &impl Units,
    producer: &Producer,
    length: u64,
) -> Result<Option<Reserved>, Torn> {
    reserve_behind(ring, producer, 0, length)
}

/// Like [`reserve`], behind `ahead` units that are reserved and not yet
/// published.
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
    if producer.room(ring, wanted)? < wanted {
        return Ok(None);
    }
    if padding > 0 {
        ring.unit(index).store(PADDING | padding, Ordering::Relaxed);
    }
    Ok(Some(Reserved { header: if padding > 0 { 0 } else { index }, padding, length }))
}

/// Wraps an index that is less than a lap too far.
fn wrapped(ring: &impl Units, index: u64) -> u64 {
    if index >= ring.capacity() { index - ring.capacity() } else { index }
}

/// Writes the header of a message of `length` bytes, or of as many as were
/// reserved if that is less. Returns how many units the caller publishes for it.
pub(crate) fn seal(ring: &impl Units, reserved: Reserved, length: u64) -> u64 {
    let length = length.min(reserved.length);
    ring.unit(reserved.header).store(MESSAGE | length, Ordering::Relaxed);
    reserved.padding + units(length)
}

/// Publishes the message. `length` is at most what was reserved.
pub(crate) fn commit(ring: &impl Units, producer: &Producer, reserved: Reserved, length: u64) {
    producer.publish(ring, seal(ring, reserved, length));
}

/// The next message, if there is one.
pub(crate) fn next(ring: &impl Units, consumer: &Consumer) -> Result<Option<Record>, Broken> {
    next_behind(ring, consumer, 0)
}

/// Like [`next`], behind `ahead` units that are read and not yet released.
pub(crate) fn next_behind(
    ring: &impl Units,
    consumer: &Consumer,
    ahead: u64,
) -> Result<Option<Record>, Broken> {
    if consumer.filled(ring, ahead + 1)? <= ahead {
        return Ok(None);
    }
    let capacity = ring.capacity();
    let mut index = wrapped(ring, consumer.index() + ahead);
    let mut padding = 0;
    let mut header = ring.unit(index).load(Ordering::Relaxed);
    if header & !LENGTH == PADDING {
        padding = capacity - index;
        if header & LENGTH != padding
            || consumer.filled(ring, ahead + padding + 1)? <= ahead + padding
        {
            return Err(Broken::Header(header));
        }
        index = 0;
        header = ring.unit(0).load(Ordering::Relaxed);
    }
    let length = header & LENGTH;
    let units = units(length);
    // The header is read once, and believed only if it can be true.
    if header & !LENGTH != MESSAGE
        || length > ring.longest()
        || units > capacity - index
        || consumer.filled(ring, ahead + padding + units)? < ahead + padding + units
    {
        return Err(Broken::Header(header));
    }
    Ok(Some(Record { bytes: index + 1, length, units: padding + units }))
}

/// Gives the room of a message back.
pub(crate) fn release(ring: &impl Units, consumer: &Consumer, record: Record) {
    consumer.release(ring, record.units);
}
