//! How a ring of slots that name blocks lies in memory: the slots, then the blocks.

use crate::kinds::any::Facts;
use crate::storage::layout::{MAX_LENGTH, Parts};
use crate::storage::{KindCode, Shape};

pub(crate) const FACTS: Facts =
    Facts { code: KindCode(4), name: "MPMC bytes", single: false, bytes: true, broadcast: false };

/// The slots are a word, then which block and how long. There are as many blocks.
pub(super) fn parts(messages: usize, longest: usize) -> Option<Parts> {
    if longest > MAX_LENGTH {
        return None;
    }
    Some(Parts { slots: messages, shape: Shape::new(8, 8, 8)?, block: Some(longest) })
}
