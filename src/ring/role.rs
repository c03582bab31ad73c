//! Which participant is the one producer, or the one consumer, of an SPSC
//! channel.
//!
//! ```text
//!            claim                     release
//!  vacant ──────────▶ held(id, inc) ──────────▶ vacant
//!                       │     ▲
//!                       └─────┘ claim, after the holder's death and its sweep
//! ```
//!
//! The word is zero, or `incarnation << 32 | id`: the participant's slot,
//! and which of the slot's lives it is. A successor takes over by one
//! compare-and-swap of the exact word of a holder that has ended and been swept.
//! So one of two successors wins, and none changes anything before a sweep has
//! recorded what the dead holder held.
//!
//! Edge R: claim (AcqRel) with release (Release) passes the predecessor's index
//! on.

use super::table::{INCARNATION_SHIFT, Member, Table};
use crate::sync::{AtomicU64, Ordering};

pub(super) const fn word(holder: Member) -> u64 {
    holder.incarnation << INCARNATION_SHIFT | holder.id as u64
}

/// The participant that holds the role.
pub(crate) fn holder(word: u64) -> Option<Member> {
    let holder = Member { id: word as u16, incarnation: word >> INCARNATION_SHIFT };
    (word != 0).then_some(holder)
}

/// How often a claim is tried. Successors are few; only a hostile process changes the
/// word without end.
const TRIES: u32 = 1_000;

/// Whether a role with this word may be taken: it has no holder that is alive or waiting to
/// be swept.
pub(crate) fn is_vacant(word: u64, table: &impl Table) -> bool {
    holder(word).is_none_or(|holder| !holder.is_live(table) && !holder.is_dead(table))
}

/// Takes the role for `me` if it is vacant, or if its holder is neither alive nor
/// waiting to be swept. Otherwise returns the holder, or `me` if the word does not
/// settle.
pub(crate) fn claim(role: &AtomicU64, table: &impl Table, me: Member) -> Result<(), Member> {
    // Edge R. Acquire: with a predecessor's release of the role, its index is
    // visible.
    let mut seen = role.load(Ordering::Acquire);
    for _ in 0..TRIES {
        if let Some(holder) = holder(seen)
            && !is_vacant(seen, table)
        {
            return Err(holder);
        }
        match role.compare_exchange(seen, word(me), Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return Ok(()),
            Err(now) => seen = now,
        }
    }
    Err(me)
}

/// Gives the role up; the next claim takes it.
pub(crate) fn release(role: &AtomicU64, me: Member) {
    let _ = role.compare_exchange(word(me), 0, Ordering::Release, Ordering::Relaxed);
}
