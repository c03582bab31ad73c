//! How a ring of slots that name blocks lies in memory: the slots, then the blocks.

use crate::kinds::any::Facts;
use crate::storage::layout::{Blocks, LINE, MAX_LENGTH, Parts, up};
use crate::storage::{KindCode, Shape};

pub(crate) const FACTS: Facts =
    Facts { code: KindCode(4), name: "MPMC bytes", single: false, bytes: true, broadcast: false };

/// The slots are a word, then which block and how long. There are as many blocks.
pub(super) fn parts(messages: usize, longest: usize) -> Option<Parts> {
    if longest > MAX_LENGTH {
        return None;
    }
    let blocks = Blocks {
        words: messages.checked_mul(8)?,
        count: messages,
        apart: up(longest.max(1), LINE)?,
    };
    Some(Parts { slots: messages, shape: Shape::new(8, 8, 8)?, blocks: Some(blocks) })
}
