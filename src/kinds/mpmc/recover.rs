//! The slots that a dead participant held.

use super::OfElements;
use crate::kinds::recover::{Held, Recover, Victim};
use crate::ring::mpmc;
use crate::ring::recovery::{Finished, Recovery};
use crate::storage::Cells;

impl Recover for OfElements {
    fn recover(
        &self,
        cells: &Cells,
        victim: Victim,
        recovery: &dyn Recovery,
    ) -> Result<Held, Finished> {
        let messages = mpmc::recover(cells, victim.of_slots(), recovery, |_, _| {})?;
        Ok(Held { messages, blocks: 0 })
    }
}
