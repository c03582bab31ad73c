//! The slots that a dead participant held, and then the message blocks.

use super::{BlockSlots, OfBlocks};
use crate::kinds::recover::{Held, Recover, Victim};
use crate::ring::mpmc::{SlotWord, Words};
use crate::ring::recovery::{Finished, Recovery};
use crate::ring::{blocks, mpmc};
use crate::storage::Cells;
use crate::sync::Ordering;

impl Recover for OfBlocks {
    fn recover(
        &self,
        cells: &Cells,
        victim: Victim,
        recovery: &dyn Recovery,
    ) -> Result<Held, Finished> {
        let Some(slots) = BlockSlots::of(cells) else {
            return Ok(Held::default());
        };
        let dead = victim.of_slots();
        // The block of a message that is dropped is freed with the others below.
        let before_drop = |slot: u64, word: SlotWord| {
            let still_read =
                || slots.slot(slot).load(Ordering::Acquire) == word.0 && recovery.still_dead();
            if let Some(block) = slots.block_of(slot) {
                blocks::assign_to_dead(&slots, block, dead.owner, still_read);
            }
        };
        let messages = mpmc::recover(&slots, dead, recovery, before_drop)?;
        let named = slots.all_named(dead);
        let named = |block: u64| named.get(block as usize).copied().unwrap_or(true);
        let blocks = blocks::recover(&slots, dead.owner, named, recovery);
        Ok(Held { messages, blocks })
    }
}
