//! How a ring of slots with short messages, or names of blocks, lies in memory: the slots,
//! then the blocks.

use crate::kinds::any::Facts;
use crate::storage::layout::{Blocks, LINE, MAX_LENGTH, Parts, ReplyPlace, up};
use crate::storage::{KindCode, Shape};

pub(crate) const FACTS: Facts = Facts {
    code: KindCode(4),
    name: "MPMC bytes",
    single: false,
    bytes: true,
    broadcast: false,
    calls: false,
};

/// The most bytes of a message that is in its slot.
pub(super) const SHORT: usize = 112;
/// Bytes of a slot before its message: the word, then which block and how long.
pub(super) const HEAD: usize = 16;

/// The slots are a word, then which block and how long, then room for a short message. There
/// are as many blocks.
pub(super) fn parts(messages: usize, longest: usize) -> Option<Parts> {
    if longest > MAX_LENGTH {
        return None;
    }
    let blocks = Blocks {
        words: messages.checked_mul(8)?,
        count: messages,
        apart: up(longest.max(1), LINE)?,
    };
    let shape = Shape::new(8, HEAD - 8 + longest.min(SHORT), 8)?;
    Some(Parts { slots: messages, shape, blocks: Some(blocks), reply: ReplyPlace::default() })
}
