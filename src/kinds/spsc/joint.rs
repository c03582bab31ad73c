//! A message of a joint send, in the next cell.

use bytemuck::NoUninit;

use super::Packed;
use crate::kinds::element::Element;
use crate::kinds::joint::JointRing;
use crate::ring::joint::{Ticket, pledge, unpledge};
use crate::ring::spsc::Producer;
use crate::ring::wait::NotNow;

impl<E: Element + NoUninit> JointRing for Packed<E> {
    type Draft = ();
    type Held = ();

    fn look(&self, at: &Producer, _: &E::Sent<'_>) -> Result<(), NotNow> {
        match at.room(self, 1) {
            Ok(0) => Err(NotNow::Nothing),
            Ok(_) => Ok(()),
            Err(torn) => Err(NotNow::Torn(torn)),
        }
    }

    fn draft(&self, at: &Producer, _: u16, message: &E::Sent<'_>) -> Result<(), NotNow> {
        // The room that was found stays this producer's.
        E::write(self.at(at.index(), 1), message);
        Ok(())
    }

    fn discard(&self, (): ()) -> bool {
        false
    }

    fn claim_jointly(&self, at: &Producer, _: u16, ticket: Ticket, (): ()) -> Result<(), NotNow> {
        pledge(self, at, 1, ticket);
        Ok(())
    }

    fn write(&self, (): (), (): (), _: &E::Sent<'_>) {}

    fn publish(&self, at: &Producer, (): ()) {
        at.publish(self, 1);
        unpledge(self);
    }

    fn withdraw(&self, (): ()) -> bool {
        unpledge(self);
        false
    }
}
