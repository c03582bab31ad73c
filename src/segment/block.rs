//! A channel's block in a mapped segment.

use super::mapped::Mapped;
use crate::kinds::block::Block;
use crate::kinds::recover::{Held, Victim};
use crate::ring::joint;
use crate::ring::recovery::{Finished, Recovery};
use crate::ring::table::Member;
use crate::storage::Cells;

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
        self.cells_in(&mapped.memory)
    }

    /// Walks over what a dead participant held in the channel.
    pub(super) fn recover(
        &self,
        mapped: &Mapped,
        dead: Member,
        recovery: &dyn Recovery,
    ) -> Result<Held, Finished> {
        let committed = joint::committed_by_dead(&mapped.info(dead.id).committed);
        let victim = Victim { member: dead, attempts: self.attempts, committed };
        let recover = |cells: Cells| self.kind.any().recover(&cells, victim, recovery);
        self.cells(mapped).map_or_else(|| Ok(Held::default()), recover)
    }
}
