//! What a dead consumer had in flight.

use super::{OfRecords, RecordRing};
use crate::kinds::recover::{Held, Recover, Victim};
use crate::ring::in_flight;
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
        let messages = in_flight::recover(&ring, victim.member, victim.attempts, recovery)?;
        Ok(Held { messages, blocks: 0 })
    }
}
