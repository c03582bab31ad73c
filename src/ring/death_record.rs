//! How a life ended is recorded once, however many do it and die over it.
//!
//! ```text
//!  living(n) ── a record at p is filled; this word is swapped ──▶ ended(p)
//!      ▲                                                            │
//!      └──────────────── the slot's next life begins ───────────────┘
//! ```
//!
//! Each participant's slot has a word: `n or p:32 | deaths:31 | ended:1`, n
//! being the incarnation and p the position of the record, modulo 2^32;
//! `deaths` counts the lives of this slot that ended by death. So one
//! compare-and-swap decides which record counts and counts the death.
//!
//! Whoever loses gives its own record up. Whoever finds the word *ended*
//! publishes the record that it names, since that is whole: nobody frees the
//! slot before it is published, and the sweep of a recorder that died
//! publishes what is named and voids what is not.
//!
//! A sweep records the death *before* it changes anything. What the dead held
//! is then as it was at the death for everybody who may still be first to
//! record it, so the record is exact, whoever dies over the sweep.
//!
//! Edges. E: the swap (Release) with a reading of the word (Acquire) hands
//! over the record's fields to whoever publishes it.

use super::journal::{self, Records};
use super::table::{INCARNATION_SHIFT, Member};
use crate::sync::{AtomicU64, Ordering};

const ENDED: u64 = 1;
const DEATHS_SHIFT: u32 = 1;
const DEATHS: u64 = u32::MAX as u64 >> DEATHS_SHIFT;

/// How a life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Left,
    Died,
}

const fn living(word: u64, member: Member) -> u64 {
    member.incarnation << INCARNATION_SHIFT | deaths(word) << DEATHS_SHIFT
}

const fn ended(word: u64, position: u64, how: How) -> u64 {
    let deaths = match how {
        How::Left => deaths(word),
        How::Died => (deaths(word) + 1) & DEATHS,
    };
    position << INCARNATION_SHIFT | deaths << DEATHS_SHIFT | ENDED
}

/// The position of the record, if the life has ended.
const fn named(word: u64) -> Option<u32> {
    if word & ENDED == 0 { None } else { Some((word >> INCARNATION_SHIFT) as u32) }
}

/// How many lives of the slot have ended by death.
pub(crate) const fn deaths(word: u64) -> u64 {
    word >> DEATHS_SHIFT & DEATHS
}

/// Begins a life. The slot is not yet LIVE, and the caller holds the lease.
pub(crate) fn begin(end: &AtomicU64, member: Member) {
    let last = end.load(Ordering::Relaxed);
    end.store(living(last, member), Ordering::Relaxed);
}

/// Whether this word names the record at `position`, which is then whole.
pub(crate) fn names(end: &AtomicU64, position: u64) -> bool {
    named(end.load(Ordering::Acquire)) == Some(position as u32)
}

/// Records the end of `member`'s life, unless somebody has; when it returns,
/// the record is published. `fields` is only asked if it is needed.
pub(crate) fn record<const FIELDS: usize>(
    records: &impl Records<FIELDS>,
    end: &AtomicU64,
    (member, how): (Member, How),
    owner: u16,
    fields: impl FnOnce() -> [u64; FIELDS],
) {
    // Edge E.
    let mut seen = end.load(Ordering::Acquire);
    if seen == living(seen, member) {
        let fields = fields();
        let Some(draft) = journal::claim(records, owner) else {
            return;
        };
        journal::fill(records, &draft, fields);
        let ended = ended(seen, draft.position(), how);
        // Edge E.
        match end.compare_exchange(seen, ended, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return journal::publish(records, draft),
            Err(now) => {
                journal::abandon(records, draft);
                seen = now;
            }
        }
    }
    if let Some(position) = named(seen) {
        journal::finish(records, position);
    }
}
