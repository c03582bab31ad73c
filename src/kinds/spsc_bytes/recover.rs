//! What a dead consumer had in flight, and what a dead producer had committed.

use super::{OfRecords, RecordRing};
use crate::kinds::recover::{Held, Recover, Victim};
use crate::kinds::spsc;
use crate::ring::recovery::{Finished, Recovery};
use crate::storage::Cells;

impl Recover for OfRecords {
    fn recover(
        &self,
        cells: &Cells,
        victim: Victim,
        recovery: &dyn Recovery,
    ) -> Result<Held, Finished> {
        let Some(ring) = RecordRing::of(cells) else {
            return Ok(Held::default());
        };
        spsc::recover::recover(&ring, victim, recovery)
    }
}
