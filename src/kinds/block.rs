//! A channel's place in its segment, and what it is.

use std::sync::Arc;

use super::table::RingKind;
use crate::storage::layout::BlockPlan;
use crate::storage::{Cells, Memory};

/// Where a channel is and what it is: copied out of the directory and
/// checked, so that nobody can change it any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) index: u16,
    pub(crate) kind: RingKind,
    pub(crate) offset: usize,
    pub(crate) plan: BlockPlan,
    /// The most bytes of a message.
    pub(crate) longest: usize,
    pub(crate) attempts: u8,
    pub(crate) lasting: bool,
}

impl Block {
    /// The cells; `None` if they are not inside this memory.
    pub(crate) fn cells_in(&self, memory: &Arc<Memory>) -> Option<Cells> {
        Cells::new(memory, self.kind.code(), self.offset, &self.plan, self.longest)
    }
}
