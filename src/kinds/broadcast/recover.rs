//! What a dead participant held in a broadcast channel: nothing that a sweep would have to
//! put right. Its publisher's entry keeps its spare buffer until the next publisher takes it
//! up, and its reliable subscriber's entry counts no more as soon as the table says DEAD.

use super::{OfBytes, OfElements};
use crate::kinds::recover::{Held, Recover, Victim};
use crate::ring::recovery::{Finished, Recovery};
use crate::storage::Cells;

impl Recover for OfElements {
    fn recover(&self, _: &Cells, _: Victim, _: &dyn Recovery) -> Result<Held, Finished> {
        Ok(Held::default())
    }
}

impl Recover for OfBytes {
    fn recover(&self, _: &Cells, _: Victim, _: &dyn Recovery) -> Result<Held, Finished> {
        Ok(Held::default())
    }
}
