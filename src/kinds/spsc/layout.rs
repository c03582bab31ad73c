//! How a ring of elements lies in memory: side by side.

use crate::kinds::any::Facts;
use crate::storage::layout::{Parts, ReplyPlace};
use crate::storage::{KindCode, Shape};

pub(crate) const FACTS: Facts = Facts {
    code: KindCode(1),
    name: "SPSC",
    single: true,
    bytes: false,
    broadcast: false,
    calls: false,
};

/// The slots: nothing but the elements.
pub(super) const fn shape(size: usize, align: usize) -> Option<Shape> {
    Shape::new(0, size, align)
}

pub(super) fn parts(messages: usize, size: usize, align: usize) -> Option<Parts> {
    Some(Parts {
        slots: messages,
        shape: shape(size, align)?,
        blocks: None,
        reply: ReplyPlace::default(),
    })
}
