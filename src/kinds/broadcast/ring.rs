//! What a broadcast ring is to its handles, besides a ring.

use super::publication::Publication;
use super::subscription::{Mode, Start, Subscription};
use super::words::Board;
use crate::kinds::ring::Ring;
use crate::ring::table::Member;
use crate::ring::wait::NotNow;

/// A ring whose every subscriber gets every message.
pub trait Broadcasts<M: Mode>: Ring<Producer = Publication, Consumer = Subscription<M>> {
    /// Its words.
    fn board(&self) -> &Board;

    /// Takes up a subscriber's position. [`NotNow::Nothing`] if there are as many as there
    /// may be.
    fn subscribe(&self, me: Member, start: Start) -> Result<Subscription<M>, NotNow>;

    /// Publishes that so many messages are missing.
    fn publish_gap(&self, at: &Publication, missed: u64) -> Result<(), NotNow>;

    /// Has the subscriber go on at this position.
    fn go_to(&self, at: &Subscription<M>, position: u64);

    /// Passes over all messages but the newest; returns how many.
    fn skip_to_newest(&self, at: &Subscription<M>) -> u64;
}
