//! How a broadcast channel lies in memory: slots that name buffers, the words of each
//! publisher and of each reliable subscriber, and the buffers.

use crate::kinds::any::Facts;
use crate::ring::broadcast::Shape as RingShape;
use crate::storage::layout::{
    Blocks, LINE, MAX_LENGTH, MAX_SEATS, Measures, Parts, ReplyPlace, Seats, up,
};
use crate::storage::{KindCode, Shape};

pub(crate) const OF_ELEMENTS: Facts = Facts {
    code: KindCode(5),
    name: "broadcast",
    single: false,
    bytes: false,
    broadcast: true,
    calls: false,
};
pub(crate) const OF_BYTES: Facts = Facts {
    code: KindCode(6),
    name: "broadcast bytes",
    single: false,
    bytes: true,
    broadcast: true,
    calls: false,
};

/// Most messages that a channel of this kind retains.
pub(crate) const MAX_MESSAGES: usize = 1 << 30;

/// The length of a message of bytes, before the bytes.
pub(super) const LENGTH: usize = 8;

/// The sizes of the ring. None of them comes from a word that a peer can still change.
pub(super) const fn shape(messages: u64, seats: Seats) -> RingShape {
    RingShape::new(messages, seats.publishers as u64, seats.reliable as u64)
}

/// From one buffer of an element to the next. Instead of an element there may be a word.
pub(super) const fn apart(size: usize, align: usize) -> Option<usize> {
    up(if size > 8 { size } else { 8 }, if align > 8 { align } else { 8 })
}

/// From one buffer of bytes to the next.
fn apart_of_bytes(longest: usize) -> Option<usize> {
    if longest > MAX_LENGTH { None } else { up(LENGTH + longest, 8) }
}

fn parts(of: &Measures, apart: usize) -> Option<Parts> {
    let Measures { messages, seats, .. } = *of;
    let allowed = (1..=MAX_MESSAGES).contains(&messages)
        && (1..=MAX_SEATS).contains(&seats.publishers)
        && seats.reliable <= MAX_SEATS;
    if !allowed {
        return None;
    }
    let ring = shape(messages as u64, seats);
    let entries = usize::from(seats.publishers) + usize::from(seats.reliable);
    let blocks = Blocks { words: LINE * entries, count: ring.buffers() as usize, apart };
    Some(Parts {
        slots: ring.slots as usize,
        shape: Shape::new(0, 8, 8)?,
        blocks: Some(blocks),
        reply: ReplyPlace::default(),
    })
}

pub(super) fn parts_of_elements(of: &Measures) -> Option<Parts> {
    parts(of, apart(of.size, of.align)?)
}

pub(super) fn parts_of_bytes(of: &Measures) -> Option<Parts> {
    parts(of, apart_of_bytes(of.size)?)
}
