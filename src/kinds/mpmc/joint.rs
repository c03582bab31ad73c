//! A message of a joint send, in a slot.

use bytemuck::NoUninit;

use super::{Position, Tagged};
use crate::kinds::element::Element;
use crate::kinds::joint::JointRing;
use crate::ring::joint::Ticket;
use crate::ring::mpmc::{self, Claim};
use crate::ring::wait::NotNow;

impl<E: Element + NoUninit> JointRing for Tagged<E> {
    type Draft = ();
    type Held = Claim;

    fn look(&self, at: &Position, _: &E::Sent<'_>) -> Result<(), NotNow> {
        at.find_free(self)
    }

    fn draft(&self, _: &Position, _: u16, _: &E::Sent<'_>) -> Result<(), NotNow> {
        Ok(())
    }

    fn discard(&self, (): ()) -> bool {
        false
    }

    fn claim_jointly(
        &self,
        at: &Position,
        owner: u16,
        ticket: Ticket,
        (): (),
    ) -> Result<Claim, NotNow> {
        at.claim_jointly(self, owner, ticket)
    }

    fn write(&self, held: Claim, (): (), message: &E::Sent<'_>) {
        E::write(self.element(held.index), message);
    }

    fn publish(&self, _: &Position, held: Claim) {
        mpmc::publish(self, held);
    }

    fn withdraw(&self, held: Claim) -> bool {
        mpmc::abort(self, held);
        true
    }
}
