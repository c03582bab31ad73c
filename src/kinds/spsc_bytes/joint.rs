//! A message of bytes of a joint send, as the next record.

use super::RecordRing;
use crate::kinds::joint::JointRing;
use crate::kinds::ring::Ring;
use crate::ring::joint::{Ticket, pledge, unpledge};
use crate::ring::records;
use crate::ring::spsc::Producer;
use crate::ring::wait::NotNow;

impl JointRing for RecordRing {
    /// How many units it has.
    type Draft = u64;
    type Held = u64;

    fn look(&self, at: &Producer, message: &&[u8]) -> Result<(), NotNow> {
        self.reserve(at, 0, message.len()).map(drop)
    }

    fn draft(&self, at: &Producer, owner: u16, message: &&[u8]) -> Result<u64, NotNow> {
        let reserved = self.reserve(at, owner, message.len())?;
        self.claimed(at, &reserved).fill(message);
        Ok(records::seal(self, reserved, message.len() as u64))
    }

    fn discard(&self, _: u64) -> bool {
        false
    }

    fn claim_jointly(
        &self,
        at: &Producer,
        _: u16,
        ticket: Ticket,
        units: u64,
    ) -> Result<u64, NotNow> {
        pledge(self, at, units, ticket);
        Ok(units)
    }

    fn write(&self, _: u64, _: u64, _: &&[u8]) {}

    fn publish(&self, at: &Producer, units: u64) {
        at.publish(self, units);
        unpledge(self);
    }

    fn withdraw(&self, _: u64) -> bool {
        unpledge(self);
        false
    }
}
