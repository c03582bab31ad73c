//! What a joint send does on a ring: see [`ring::joint`](crate::ring::joint).

use core::fmt::Debug;

use bytemuck::NoUninit;

use super::ring::{Ring, Sent};
use crate::ring::joint::Ticket;
use crate::ring::wait::NotNow;

/// A ring on which a message may be one of a joint send. The steps are called in this order,
/// by the one who sends.
pub trait JointRing: Ring<Of: NoUninit> {
    /// What is made ready before a place is claimed.
    type Draft: Copy + Debug;
    /// A place that is claimed.
    type Held: Copy + Debug;

    /// Whether there is room, just now. Claims nothing.
    fn look(&self, at: &Self::Producer, message: &Sent<'_, Self>) -> Result<(), NotNow>;

    /// Does what can be done before a place is claimed, so that later messages are in nobody's
    /// way meanwhile.
    fn draft(
        &self,
        at: &Self::Producer,
        owner: u16,
        message: &Sent<'_, Self>,
    ) -> Result<Self::Draft, NotNow>;

    /// Gives a draft up that is in no place. Whether somebody may be waiting for what it had.
    fn discard(&self, draft: Self::Draft) -> bool;

    /// Claims a place, or says up to where it is going to publish.
    fn claim_jointly(
        &self,
        at: &Self::Producer,
        owner: u16,
        ticket: Ticket,
        draft: Self::Draft,
    ) -> Result<Self::Held, NotNow>;

    /// Puts the message into its place.
    fn write(&self, held: Self::Held, draft: Self::Draft, message: &Sent<'_, Self>);

    /// Makes the message visible.
    fn publish(&self, at: &Self::Producer, held: Self::Held);

    /// Gives the place back, with nothing in it. Whether others may be waiting for that.
    fn withdraw(&self, held: Self::Held) -> bool;
}
