//! The journal: a ring of records. Any number of writers append to it, and any
//! number of readers follow it. New records overwrite the oldest; readers change
//! nothing.
//!
//! ```text
//!                claim                     publish
//!  DONE, VOID ───────────▶ WRITING ─────────────────────▶ DONE(p)
//!  (p − count)             (p, owner)
//!                           │   │ abandon, or the owner is dead
//!    the ring has come round│   └───────────────────────▶ VOID(p)
//!                           ▼
//!                          STUCK ── its owner goes on, or is dead ──▶ VOID
//!                          (p + count, owner)               (p + count)
//! ```
//!
//! The word: `position:47 | state:3 | owner:14`, and zero is a record that
//! nobody has claimed yet. Position p is record `p mod count`. As in the
//! [MPMC ring](super::mpmc) the word is the claim, and names the owner. A writer
//! claims a position only after it has seen the one before it claimed, so the
//! claimed positions have no gap, and the highest is the newest.
//!
//! **An owner keeps its record.** A stopped owner may continue to write at any
//! time, so nobody else ever writes its record. If the ring comes round to it,
//! the record is left out of the order (STUCK). Its owner finds that out when it
//! publishes; its record is lost, and no other is.
//!
//! **A reader** gets every position once, in order, and the record whole: it
//! loads the word again after the fields. If the ring has come round meanwhile,
//! the reader learns how many positions it has missed.
//!
//! Edges. P: publish (Release) with a reader's first load of the word (Acquire)
//! passes the fields on. T: a writer stores the fields (Release) after the claim,
//! and a reader loads them (Acquire) before it loads the word again; so a reader
//! that has loaded a field of a later record sees that record's claim. C: the
//! claim is AcqRel. Acquire puts its fields behind those of the record before
//! (publish or void, Release). Release serves a slow sweep of a former owner of
//! this id, which then sees that its victim is no longer DEAD.

use crate::sync::{AtomicU64, Ordering};

const OWNER_BITS: u32 = 14;
const STATE_SHIFT: u32 = OWNER_BITS;
const STATE_BITS: u32 = 3;
const POSITION_SHIFT: u32 = STATE_SHIFT + STATE_BITS;
const LAST_POSITION: u64 = u64::MAX >> POSITION_SHIFT;

/// The owner of records that the holder of the lease writes. It may be no
/// participant, so this is above every participant's id.
pub(crate) const LEASEHOLDER: u16 = 1 << 13;

/// After so many changes by others, a peer breaks the protocol.
const TRIES: u32 = 1_024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RecordState {
    Writing = 1,
    Done = 2,
    Void = 3,
    Stuck = 4,
}

/// A record's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct RecordWord(u64);

impl RecordWord {
    const fn new(position: u64, state: RecordState, owner: u16) -> Self {
        Self(position << POSITION_SHIFT | (state as u64) << STATE_SHIFT | owner as u64)
    }

    /// `None` for a record that nobody has claimed yet.
    const fn position(self) -> Option<u64> {
        if self.0 == 0 { None } else { Some(self.0 >> POSITION_SHIFT) }
    }

    /// A state that this algorithm never writes counts as VOID: nothing to read,
    /// and no owner.
    const fn state(self) -> RecordState {
        match self.0 >> STATE_SHIFT & ((1 << STATE_BITS) - 1) {
            1 => RecordState::Writing,
            2 => RecordState::Done,
            4 => RecordState::Stuck,
            _ => RecordState::Void,
        }
    }

    const fn owner(self) -> u16 {
        self.0 as u16 & ((1 << OWNER_BITS) - 1)
    }

    fn held(self) -> bool {
        matches!(self.state(), RecordState::Writing | RecordState::Stuck)
    }

    fn is_at_least(self, position: u64) -> bool {
        self.position().is_some_and(|at| at >= position)
    }
}

/// Where the records are. Every index that is passed in is below the count.
pub(crate) trait Records<const FIELDS: usize> {
    /// A power of two.
    fn count(&self) -> u64;
    fn word(&self, index: u64) -> &AtomicU64;
    /// Field `n` of a record, below `FIELDS`.
    fn field(&self, index: u64, n: usize) -> &AtomicU64;
}

/// A record that this owner is writing.
#[derive(Debug)]
#[must_use]
pub(crate) struct Draft {
    position: u64,
    owner: u16,
}

impl Draft {
    pub(crate) const fn position(&self) -> u64 {
        self.position
    }
}

/// The newest claimed position, or an older one.
fn newest<const FIELDS: usize>(records: &impl Records<FIELDS>) -> Option<u64> {
    (0..records.count())
        .filter_map(|index| RecordWord(records.word(index).load(Ordering::Relaxed)).position())
        .max()
}

/// Claims the next position. Returns `None` if a slow owner holds each of the
/// records, or if others are faster a thousand times.
pub(crate) fn claim<const FIELDS: usize>(
    records: &impl Records<FIELDS>,
    owner: u16,
) -> Option<Draft> {
    let mut position = end(records);
    let mut stuck = 0;
    for _ in 0..TRIES {
        if position > LAST_POSITION || stuck == records.count() {
            return None;
        }
        let word = records.word(position % records.count());
        let seen = RecordWord(word.load(Ordering::Relaxed));
        if let Some(at) = seen.position().filter(|&at| at >= position) {
            position = at + 1;
            continue;
        }
        let held = seen.held();
        let claimed = match held {
            true => RecordWord::new(position, RecordState::Stuck, seen.owner()),
            false => RecordWord::new(position, RecordState::Writing, owner),
        };
        // Edge C.
        let swapped =
            word.compare_exchange(seen.0, claimed.0, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        match (swapped, held) {
            (true, false) => return Some(Draft { position, owner }),
            (true, true) => stuck += 1,
            (false, _) => {}
        }
    }
    None
}

/// Writes a claimed record's fields.
pub(crate) fn fill<const FIELDS: usize>(
    records: &impl Records<FIELDS>,
    draft: &Draft,
    fields: [u64; FIELDS],
) {
    for (n, field) in fields.into_iter().enumerate() {
        // Edge T.
        records.field(draft.position % records.count(), n).store(field, Ordering::Release);
    }
}

/// Makes a claimed record visible.
pub(crate) fn publish<const FIELDS: usize>(records: &impl Records<FIELDS>, draft: Draft) {
    close(records, draft, RecordState::Done);
}

/// Gives a claimed record up.
pub(crate) fn abandon<const FIELDS: usize>(records: &impl Records<FIELDS>, draft: Draft) {
    close(records, draft, RecordState::Void);
}

fn close<const FIELDS: usize>(records: &impl Records<FIELDS>, draft: Draft, end: RecordState) {
    let Draft { position, owner } = draft;
    let word = records.word(position % records.count());
    let mut seen = RecordWord::new(position, RecordState::Writing, owner);
    let mut closed = RecordWord::new(position, end, 0);
    for _ in 0..TRIES {
        // Edge P.
        match word.compare_exchange(seen.0, closed.0, Ordering::Release, Ordering::Relaxed) {
            Ok(_) => return,
            Err(now) => seen = RecordWord(now),
        }
        if seen.state() != RecordState::Stuck || seen.owner() != owner {
            // Another process has published it already.
            return;
        }
        // The ring has come round, and this owner still holds the record.
        closed = void(seen);
    }
}

const fn void(seen: RecordWord) -> RecordWord {
    RecordWord::new(seen.0 >> POSITION_SHIFT, RecordState::Void, 0)
}

/// Appends a record. If none can be claimed, nothing is written.
pub(crate) fn append<const FIELDS: usize>(
    records: &impl Records<FIELDS>,
    owner: u16,
    fields: [u64; FIELDS],
) {
    if let Some(draft) = claim(records, owner) {
        fill(records, &draft, fields);
        publish(records, draft);
    }
}

/// Publishes another owner's record, of which the caller knows that it is whole.
/// `position` is modulo 2^32.
pub(crate) fn finish<const FIELDS: usize>(records: &impl Records<FIELDS>, position: u32) {
    let word = records.word(u64::from(position) % records.count());
    let seen = RecordWord(word.load(Ordering::Relaxed));
    if seen.state() == RecordState::Writing && (seen.0 >> POSITION_SHIFT) as u32 == position {
        let done = RecordWord::new(seen.0 >> POSITION_SHIFT, RecordState::Done, 0);
        // Edge P. The caller acquired the fields together with the position.
        let _ = word.compare_exchange(seen.0, done.0, Ordering::Release, Ordering::Relaxed);
    }
}

/// Closes the records that a dead owner was writing. Publishes a record if
/// `whole` says that the record with this index and position is completely
/// written, and voids it otherwise. Returns whether there was any to close.
///
/// `still_dead` reads the participants' table (Acquire) between finding a record
/// and changing it, as in the recovery of the rings.
pub(crate) fn recover<const FIELDS: usize>(
    records: &impl Records<FIELDS>,
    owner: u16,
    whole: impl Fn(u64, u64) -> bool,
    still_dead: impl Fn() -> bool,
) -> bool {
    let mut any = false;
    for index in 0..records.count() {
        let word = records.word(index);
        // Retried if the ring came round to it meanwhile.
        for _ in 0..TRIES {
            // Edge C.
            let seen = RecordWord(word.load(Ordering::Acquire));
            if !seen.held() || seen.owner() != owner {
                break;
            }
            let position = seen.0 >> POSITION_SHIFT;
            let done = seen.state() == RecordState::Writing && whole(index, position);
            let closed =
                if done { RecordWord::new(position, RecordState::Done, 0) } else { void(seen) };
            if !still_dead() {
                return any;
            }
            // Edge P.
            if word.compare_exchange(seen.0, closed.0, Ordering::Release, Ordering::Relaxed).is_ok()
            {
                any = true;
                break;
            }
        }
    }
    any
}

/// What a reader finds at its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read<R> {
    Record(R),
    /// So many positions are overwritten, or about to be. Not every one had a
    /// record.
    Missed(u64),
    /// This owner is still writing the record.
    Pending(u16),
    /// The record is not there yet.
    End,
}

/// The position behind the newest.
pub(crate) fn end<const FIELDS: usize>(records: &impl Records<FIELDS>) -> u64 {
    newest(records).map_or(0, |newest| newest + 1)
}

/// The oldest position that may still be there.
pub(crate) fn oldest<const FIELDS: usize>(records: &impl Records<FIELDS>) -> u64 {
    end(records).saturating_sub(records.count())
}

/// Reads the record at `at`, and moves `at` behind what it returns.
pub(crate) fn read<const FIELDS: usize>(
    records: &impl Records<FIELDS>,
    at: &mut u64,
) -> Read<[u64; FIELDS]> {
    // Void records are skipped. There are no more of them than records, unless
    // the writers are faster than this reader.
    for _ in 0..=records.count().saturating_mul(2) {
        let index = *at % records.count();
        let word = records.word(index);
        // Edge P.
        let seen = RecordWord(word.load(Ordering::Acquire));
        if !seen.is_at_least(*at) {
            return Read::End;
        }
        if seen.position() == Some(*at) {
            match seen.state() {
                RecordState::Writing => return Read::Pending(seen.owner()),
                RecordState::Void | RecordState::Stuck => *at += 1,
                RecordState::Done => {
                    // Edge T.
                    let fields =
                        core::array::from_fn(|n| records.field(index, n).load(Ordering::Acquire));
                    if word.load(Ordering::Relaxed) == seen.0 {
                        *at += 1;
                        return Read::Record(fields);
                    }
                }
            }
        } else {
            let from = *at;
            *at = oldest(records).max(from + 1);
            return Read::Missed(*at - from);
        }
    }
    Read::End
}
