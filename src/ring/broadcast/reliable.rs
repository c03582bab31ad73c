//! Subscribers for whom publishers wait.
//!
//! ```text
//!          claim            position, then holder          look at the limit again
//!  vacant ───────▶ JOINING ──────────────────────▶ counts ──────────────────────▶ reads
//!    ▲                │ dead and swept               │ dead                         │
//!    │                ▼                              ▼                              │
//!    └────────────────┴────────── counts no more ◀───┴──────────────────────────────┘
//!                                                                            leave
//! ```
//!
//! An entry counts if its holder is alive by the participants' table and is not joining any
//! more. So a joiner that is stopped holds nobody up, and a death releases the publishers
//! as soon as it is found.
//!
//! **Nothing is overwritten before a subscriber that counts has read it** (I6). A raise
//! that sees the entry stays within its position and the reach. A raise that does not see
//! it came, in the order of the fences of edge J, before the joiner's second look at the
//! limit: it read a limit that is at most the one which the joiner then reads, and raises it
//! by at most a step. So the joiner gives up what is older than that allows, which is never
//! among the last `reach` messages.

use super::super::role;
use super::super::table::{Member, Table};
use super::read::first_unpublished;
use super::{ReliableEntry, Words, raise_to};
use crate::sync::{Ordering, fence};

/// Set in a holder's word as long as it has no position.
pub(super) const JOINING: u64 = 1 << 31;

/// A reliable subscriber's entry.
#[derive(Debug)]
pub struct Reliable {
    number: u64,
}

/// The holder, if publishers wait for it.
pub(super) fn counts(word: u64, table: &impl Table) -> Option<Member> {
    role::holder(word).filter(|holder| word & JOINING == 0 && holder.is_live(table))
}

/// Takes an entry for `me` that begins `back` messages before the next one, or with the
/// oldest that may be had. Returns it with its position; `None` if all are taken.
pub(crate) fn join(
    words: &impl Words,
    table: &impl Table,
    me: Member,
    back: u64,
) -> Option<(Reliable, u64)> {
    let number = (0..words.shape().reliable).find(|&n| take(words, table, me, n))?;
    let ReliableEntry { holder, position } = words.reliable(number);
    let shape = words.shape();
    let next = first_unpublished(words).position();
    let mut at = next.saturating_sub(back.min(shape.reach));
    position.store(at, Ordering::Release);
    // Release: whoever sees that it counts sees the position.
    holder.store(role::word(me), Ordering::Release);
    // Edge J.
    fence(Ordering::SeqCst);
    // Edge L.
    let limit = words.limit().load(Ordering::Acquire);
    let safe = limit.saturating_add(shape.step).saturating_sub(shape.slots);
    if at < safe {
        at = safe;
        position.store(at, Ordering::Release);
    }
    Some((Reliable { number }, at))
}

/// Takes entry `n`, if it is vacant. It does not count yet.
fn take(words: &impl Words, table: &impl Table, me: Member, n: u64) -> bool {
    let entry = words.reliable(n);
    let seen = entry.holder.load(Ordering::Acquire);
    if !role::is_vacant(seen, table) {
        return false;
    }
    // Before the entry counts: each raise is to find it.
    raise_to(words.reliable_used(), n + 1);
    let joining = role::word(me) | JOINING;
    entry.holder.compare_exchange(seen, joining, Ordering::AcqRel, Ordering::Relaxed).is_ok()
}

impl Reliable {
    /// Everything before `position` has been read.
    #[inline(always)]
    pub(crate) fn read_up_to(&self, words: &impl Words, position: u64) {
        // Release: what was read was read before a publisher may write there.
        words.reliable(self.number).position.store(position, Ordering::Release);
    }
}

/// Gives an entry up; publishers no longer wait for it.
pub(crate) fn leave(words: &impl Words, reliable: &Reliable, me: Member) {
    role::release(words.reliable(reliable.number).holder, me);
}
