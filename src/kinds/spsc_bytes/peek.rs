//! Finding the message at a position of one who takes nothing.

use crate::ring::records::{self, Record, Units};
use crate::sync::Ordering;

/// The message at a position where one begins, of what is published up to `tail`. `None` if
/// there is none, or its header cannot be.
pub(super) fn record(ring: &impl Units, position: u64, tail: u64) -> Option<Record> {
    // Relaxed: what is published was acquired with `tail`.
    let unit = |index| ring.unit(index).load(Ordering::Relaxed);
    records::at(ring, position, tail, unit)
}
