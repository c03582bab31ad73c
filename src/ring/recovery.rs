//! What a dead participant held in a channel: counted, or repaired.
//!
//! The journal tells what a dead participant held, before a sweep changes
//! anything. The sweep repairs it. Both walk over the same words by the same
//! rules, so there is one walk for each kind of word; a [`Recovery`] says which of
//! the two a walk is for.

use crate::sync::{AtomicU64, Ordering};

/// What a walk over a dead participant's words is for.
pub(crate) trait Recovery {
    /// Whether the walk repairs what it finds.
    fn repairs(&self) -> bool;

    /// Whether the participant is still DEAD by the participants' table (Acquire).
    /// If not, another process has finished the sweep.
    fn still_dead(&self) -> bool;
}

/// A walk that changes nothing: it counts what a sweep is going to repair, if no
/// sweep has begun.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counting;

impl Recovery for Counting {
    fn repairs(&self) -> bool {
        false
    }

    fn still_dead(&self) -> bool {
        true
    }
}

/// A walk that repairs, with how it asks whether the participant is still DEAD.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Repairing<F>(pub(crate) F);

impl<F: Fn() -> bool> Recovery for Repairing<F> {
    fn repairs(&self) -> bool {
        true
    }

    fn still_dead(&self) -> bool {
        (self.0)()
    }
}

/// The sweep is finished: nothing is left to repair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Finished;

/// Repairs a word that the dead participant held, if the walk is for that. Whether
/// it counts: another sweep may have repaired, and counted, it meanwhile.
///
/// The table is read between finding the word and changing it. Without that a slow
/// sweep would rob the slot's next life.
pub(super) fn settle(
    recovery: &(impl Recovery + ?Sized),
    word: &AtomicU64,
    seen: u64,
    repaired: u64,
) -> Result<bool, Finished> {
    if !recovery.repairs() {
        return Ok(true);
    }
    if !recovery.still_dead() {
        return Err(Finished);
    }
    // Edge C of the slots, edge A of the blocks.
    Ok(word.compare_exchange(seen, repaired, Ordering::AcqRel, Ordering::Relaxed).is_ok())
}
