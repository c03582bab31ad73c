//! What a dead consumer had in flight, and what a dead producer had committed.

use super::OfElements;
use crate::kinds::recover::{Held, Recover, Victim};
use crate::ring::in_flight::{self, InFlight};
use crate::ring::joint::{self, Pledges};
use crate::ring::recovery::{Finished, Recovery};
use crate::ring::role;
use crate::storage::{Cells, View};
use crate::sync::Ordering;

impl Recover for OfElements {
    fn recover(
        &self,
        cells: &Cells,
        victim: Victim,
        recovery: &dyn Recovery,
    ) -> Result<Held, Finished> {
        recover(cells, victim, recovery)
    }
}

/// Of a ring with these words.
pub(in crate::kinds) fn recover(
    ring: &(impl InFlight + Pledges + View),
    victim: Victim,
    recovery: &dyn Recovery,
) -> Result<Held, Finished> {
    let mut messages = in_flight::recover(ring, victim.member, victim.attempts, recovery)?;
    if role::holder(ring.cells().control().sending.producer.load(Ordering::Acquire))
        == Some(victim.member)
    {
        messages.completed = joint::recover_producer(ring, victim.committed, recovery)?;
    }
    Ok(Held { messages, blocks: 0 })
}
