//! Looking at the messages of a ring without taking them.
//!
//! The producer writes over a cell only after the consumer has passed it. So a copy is of what
//! was there if the consumer has not passed it afterwards.

use crate::kinds::peek::{Copied, Peek};
use crate::ring::spsc::{self, Indices};
use crate::sync::{Ordering, fence};

/// The first position that is not released, and the first that is not published.
pub(in crate::kinds) fn there(ring: &impl Indices) -> (u64, u64) {
    // Relaxed: to look at a message there is to look at both again.
    (ring.head().load(Ordering::Relaxed), spsc::published(ring))
}

/// What is at a position. `copy` makes a copy of it, by what is published up to the position
/// that it is given, and says where the next one is.
pub(in crate::kinds) fn peek(
    ring: &impl Indices,
    position: u64,
    copy: impl FnOnce(u64) -> Option<(Copied, u64)>,
) -> Peek {
    let (head, tail) = (ring.head().load(Ordering::Acquire), ring.tail().load(Ordering::Acquire));
    if is_after(head, position) {
        return Peek::Gone(head);
    }
    let there = tail.wrapping_sub(position);
    if there == 0 || there > ring.capacity() {
        return Peek::Nothing;
    }
    let copied = copy(tail);
    // After all loads of the copy.
    fence(Ordering::Acquire);
    let head = ring.head().load(Ordering::Relaxed);
    match copied {
        _ if is_after(head, position) => Peek::Gone(head),
        Some((message, next)) => Peek::Found { message, next },
        None => Peek::Nothing,
    }
}

const fn is_after(position: u64, other: u64) -> bool {
    position.wrapping_sub(other).cast_signed() > 0
}
