//! How a ring of records lies in memory: as units.

use crate::kinds::any::Facts;
use crate::ring::records::{UNIT, units};
use crate::storage::layout::{MAX_LENGTH, Parts, ReplyPlace};
use crate::storage::{KindCode, Shape};

pub(crate) const FACTS: Facts = Facts {
    code: KindCode(3),
    name: "SPSC bytes",
    single: true,
    bytes: true,
    broadcast: false,
    calls: false,
};

/// Room for one more message than was asked for, because the last record before the
/// ring's end may be padding. Of that one a unit is never used.
pub(super) fn parts(messages: usize, longest: usize) -> Option<Parts> {
    if longest > MAX_LENGTH {
        return None;
    }
    let record = usize::try_from(units(longest as u64)).ok()?;
    let slots = messages.checked_add(1)?.checked_mul(record)?;
    Some(Parts {
        slots,
        shape: Shape::new(0, UNIT, UNIT)?,
        blocks: None,
        reply: ReplyPlace::default(),
    })
}
