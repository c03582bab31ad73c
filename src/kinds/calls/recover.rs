//! The calls in which a dead participant had a part.

use super::words::Slots;
use super::{OfBytes, OfElements};
use crate::kinds::recover::{Held, Recover, Victim};
use crate::ring::calls;
use crate::ring::recovery::{Finished, Recovery};
use crate::storage::Cells;

fn recover(cells: &Cells, victim: Victim, recovery: &dyn Recovery) -> Result<Held, Finished> {
    let Some(slots) = Slots::of(cells) else { return Ok(Held::default()) };
    Ok(Held { messages: calls::recover(&slots, victim.member.id, recovery)?, blocks: 0 })
}

impl Recover for OfElements {
    fn recover(&self, c: &Cells, victim: Victim, r: &dyn Recovery) -> Result<Held, Finished> {
        recover(c, victim, r)
    }
}

impl Recover for OfBytes {
    fn recover(&self, c: &Cells, victim: Victim, r: &dyn Recovery) -> Result<Held, Finished> {
        recover(c, victim, r)
    }
}
