//! A channel's block in a mapped segment.

use super::mapped::Mapped;
use crate::storage::{Block, Cells};

impl Block {
    /// The semaphore that receivers sleep over.
    pub(crate) fn items(&self, mapped: &Mapped) -> u16 {
        mapped.plan.map.items(self.index)
    }

    /// The semaphore that senders sleep over.
    pub(crate) fn space(&self, mapped: &Mapped) -> u16 {
        mapped.plan.map.space(self.index)
    }

    /// The cells; `None` if they are not inside the segment.
    pub(crate) fn cells(&self, mapped: &Mapped) -> Option<Cells> {
        Cells::new(&mapped.memory, self)
    }
}
