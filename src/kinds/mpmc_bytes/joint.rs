//! A message of bytes of a joint send: in its slot, or in a block that the slot names.

use super::storage::HERE;
use super::{BlockSlots, Writer, Writing};
use crate::kinds::joint::JointRing;
use crate::kinds::ring::Ring;
use crate::ring::joint::Ticket;
use crate::ring::mpmc::{self, Claim};
use crate::ring::wait::NotNow;

impl JointRing for BlockSlots {
    type Draft = Writing;
    type Held = Claim;

    fn look(&self, at: &Writer, message: &&[u8]) -> Result<(), NotNow> {
        let has_blocks = self.is_short(message.len()) || self.any_block();
        at.lacks_a_block.set(false);
        at.order.find_free(self)?;
        at.lacks_a_block.set(!has_blocks);
        if has_blocks { Ok(()) } else { Err(NotNow::NoBlock) }
    }

    fn draft(&self, at: &Writer, owner: u16, message: &&[u8]) -> Result<Writing, NotNow> {
        let length = message.len();
        if self.is_short(length) {
            return Ok(Writing { block: HERE, length });
        }
        let writing = self.reserve(at, owner, length)?;
        self.claimed(at, &writing).fill(message);
        Ok(writing)
    }

    fn discard(&self, draft: Writing) -> bool {
        self.abort(&draft)
    }

    fn claim_jointly(
        &self,
        at: &Writer,
        owner: u16,
        ticket: Ticket,
        _: Writing,
    ) -> Result<Claim, NotNow> {
        at.order.claim_jointly(self, owner, ticket)
    }

    fn write(&self, held: Claim, draft: Writing, message: &&[u8]) {
        if draft.block == HERE {
            self.write_short(held, message);
        } else {
            self.name(held.index, draft.block, draft.length as u64);
        }
    }

    fn publish(&self, _: &Writer, held: Claim) {
        mpmc::publish(self, held);
    }

    fn withdraw(&self, held: Claim) -> bool {
        mpmc::abort(self, held);
        true
    }
}
