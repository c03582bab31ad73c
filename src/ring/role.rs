//! Who may be the one producer or the one consumer of an SPSC channel.
//!
//! ```text
//!            claim                     release
//!  vacant ──────────▶ held(id, inc) ──────────▶ vacant
//!                       │     ▲
//!                       └─────┘ claim, after the holder's death and its sweep
//! ```
//!
//! The word is zero, or `incarnation << 32 | id`: which participant in which of
//! its lives. Taking over is one compare-and-swap of the exact word
//! of somebody who has ended and been swept, so of two successors one wins,
//! and none changes anything while it is still to be told what the dead held.

use super::table::{INCARNATION_SHIFT, Member, Table};
use crate::sync::{AtomicU64, Ordering};

const fn word(holder: Member) -> u64 {
    holder.incarnation << INCARNATION_SHIFT | holder.id as u64
}

/// Which participant holds the role.
pub(crate) fn holder(word: u64) -> Option<Member> {
    (word != 0).then(|| Member { id: word as u16, incarnation: word >> INCARNATION_SHIFT })
}

/// Takes the role for `me` if it is vacant or its holder is neither living nor
/// still to be swept.
pub(crate) fn claim(role: &AtomicU64, table: &impl Table, me: Member) -> Result<(), Member> {
    // Acquire: a predecessor's indices are seen with its release of the role.
    let mut seen = role.load(Ordering::Acquire);
    loop {
        if let Some(holder) = holder(seen)
            && (holder.is_live(table) || holder.is_dead(table))
        {
            return Err(holder);
        }
        match role.compare_exchange(seen, word(me), Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return Ok(()),
            Err(now) => seen = now,
        }
    }
}

/// Leaves the role to whoever comes next.
pub(crate) fn release(role: &AtomicU64, me: Member) {
    let _ = role.compare_exchange(word(me), 0, Ordering::Release, Ordering::Relaxed);
}
