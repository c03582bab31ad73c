//! How a ring of elements lies in memory: each behind the word of its slot.

use crate::kinds::any::Facts;
use crate::storage::layout::{Parts, ReplyPlace};
use crate::storage::{KindCode, Shape};

pub(crate) const FACTS: Facts = Facts {
    code: KindCode(2),
    name: "MPMC",
    single: false,
    bytes: false,
    broadcast: false,
    calls: false,
};

/// The slots: a word, then the element.
pub(super) const fn shape(size: usize, align: usize) -> Option<Shape> {
    let unit = if align > 8 { align } else { 8 };
    Shape::new(unit, size, unit)
}

pub(super) fn parts(messages: usize, size: usize, align: usize) -> Option<Parts> {
    Some(Parts {
        slots: messages,
        shape: shape(size, align)?,
        blocks: None,
        reply: ReplyPlace::default(),
    })
}
