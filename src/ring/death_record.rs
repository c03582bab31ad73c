//! The end of a participant's life is recorded exactly once, however many
//! processes try to record it, and however many of them die over it.
//!
//! ```text
//!  living(n) ── a record at p is filled; this word is swapped ──▶ ended(p)
//!      ▲                                                            │
//!      └──────────────── the slot's next life begins ───────────────┘
//! ```
//!
//! Each participant's slot has a word: `n or p:32 | deaths:31 | ended:1`. n is
//! the incarnation and p the position of the record, both modulo 2^32. `deaths`
//! counts the lives of this slot that ended by death. So one compare-and-swap
//! decides which record counts, and counts the death.
//!
//! A process that loses the swap gives its own record up. A process that finds
//! the word *ended* publishes the record that it names. That record is whole:
//! nobody frees the slot before the record is published, and the sweep of a
//! recorder that died publishes the record that is named and voids one that is
//! not.
//!
//! A sweep records the death *before* it changes anything. So every process that
//! may still be the first to record it finds what the dead participant held as
//! it was at the death. The record is exact, whichever process dies over the
//! sweep.
//!
//! Edges. E: the swap (Release) with a reading of the word (Acquire) passes the
//! record's fields to the process that publishes it.

use super::journal::{self, Records};
use super::table::{INCARNATION_SHIFT, Member};
use crate::sync::{AtomicU64, Ordering};

const ENDED: u64 = 1;
const DEATHS_SHIFT: u32 = 1;
const DEATHS: u64 = u32::MAX as u64 >> DEATHS_SHIFT;

/// How a participant's life ended.
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

/// How many lives of the slot ended by death.
pub(crate) const fn deaths(word: u64) -> u64 {
    word >> DEATHS_SHIFT & DEATHS
}

/// Begins a life. The slot is not LIVE yet, and the caller holds the lease.
pub(crate) fn begin(end: &AtomicU64, member: Member) {
    let last = end.load(Ordering::Relaxed);
    end.store(living(last, member), Ordering::Relaxed);
}

/// Whether this word names the record at `position`. If so, the record is
/// whole.
pub(crate) fn names(end: &AtomicU64, position: u64) -> bool {
    named(end.load(Ordering::Acquire)) == Some(position as u32)
}

/// Records the end of `member`'s life, unless another process has. When this
/// returns, the record is published. `fields` is called only if it is needed.
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
