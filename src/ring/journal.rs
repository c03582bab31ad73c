//! The journal: a ring of records that any number of writers append to and
//! any number of readers follow. The oldest record goes first; readers change
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
//! The word: `position:47 | phase:3 | owner:14`, and zero is a record that
//! has never been claimed. Position p is record `p mod count`. As in the
//! [ring of many](super::mpmc) the claim is the word, and names the owner; a
//! position is claimed only by somebody who saw the one before it claimed,
//! so all that are claimed are in a row and the highest is the newest.
//!
//! **Nobody is robbed.** An owner that is stopped may go on to write at any
//! time, so its record is never written by another: if the ring comes round
//! to it, the record is left out of the order (STUCK), and its owner finds
//! that out when it would publish. What it had to say is lost, and what the
//! others say is not.
//!
//! **A reader** meets every position once, in order, and its record whole:
//! the word is read again after the fields. If the ring has come round
//! meanwhile, it is told how many positions it has missed.
//!
//! Edges. P: publish (Release) with a reader's first load of the word
//! (Acquire) hands over the fields. T: the fields are stored Release after
//! the claim, and loaded Acquire before the word is loaded again, so whoever
//! read one of a later record sees that record's claim. C: the claim is
//! AcqRel; Acquire puts its fields behind those of the record before
//! (publish or void, Release), Release shows a slow sweep of a former owner
//! of this id that its victim is no longer DEAD.

use crate::sync::{AtomicU64, Ordering};

const OWNER_BITS: u32 = 14;
const PHASE_SHIFT: u32 = OWNER_BITS;
const PHASE_BITS: u32 = 3;
const POSITION_SHIFT: u32 = PHASE_SHIFT + PHASE_BITS;
const LAST_POSITION: u64 = u64::MAX >> POSITION_SHIFT;

/// The owner of what the holder of the lease writes, who may be no
/// participant: above every participant's id.
pub(crate) const LEASEHOLDER: u16 = 1 << 13;

/// After so many changes by others somebody is playing games.
const TRIES: u32 = 1_024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Writing = 1,
    Done = 2,
    Void = 3,
    Stuck = 4,
}

/// A record's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State(u64);

impl State {
    const fn new(position: u64, phase: Phase, owner: u16) -> Self {
        Self(position << POSITION_SHIFT | (phase as u64) << PHASE_SHIFT | owner as u64)
    }

    /// `None` of a record that nobody has claimed yet.
    const fn position(self) -> Option<u64> {
        if self.0 == 0 { None } else { Some(self.0 >> POSITION_SHIFT) }
    }

    /// A phase that none of us writes counts as VOID: nothing to read, and
    /// nobody's.
    const fn phase(self) -> Phase {
        match self.0 >> PHASE_SHIFT & ((1 << PHASE_BITS) - 1) {
            1 => Phase::Writing,
            2 => Phase::Done,
            4 => Phase::Stuck,
            _ => Phase::Void,
        }
    }

    const fn owner(self) -> u16 {
        self.0 as u16 & ((1 << OWNER_BITS) - 1)
    }

    fn held(self) -> bool {
        matches!(self.phase(), Phase::Writing | Phase::Stuck)
    }

    fn is_at_least(self, position: u64) -> bool {
        self.position().is_some_and(|at| at >= position)
    }
}

/// Where the records are. Every index passed is below the count.
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

/// The newest position that is claimed, or an older one.
fn newest<const FIELDS: usize>(records: &impl Records<FIELDS>) -> Option<u64> {
    (0..records.count())
        .filter_map(|index| State(records.word(index).load(Ordering::Relaxed)).position())
        .max()
}

/// Claims the next position. `None` if every record is somebody's who is slow
/// over it, or a thousand others are always faster.
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
        let seen = State(word.load(Ordering::Relaxed));
        if let Some(at) = seen.position().filter(|&at| at >= position) {
            position = at + 1;
            continue;
        }
        let held = seen.held();
        let claimed = match held {
            true => State::new(position, Phase::Stuck, seen.owner()),
            false => State::new(position, Phase::Writing, owner),
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
    close(records, draft, Phase::Done);
}

/// Gives a claimed record up.
pub(crate) fn abandon<const FIELDS: usize>(records: &impl Records<FIELDS>, draft: Draft) {
    close(records, draft, Phase::Void);
}

fn close<const FIELDS: usize>(records: &impl Records<FIELDS>, draft: Draft, as_: Phase) {
    let Draft { position, owner } = draft;
    let word = records.word(position % records.count());
    let mut seen = State::new(position, Phase::Writing, owner);
    let mut closed = State::new(position, as_, 0);
    for _ in 0..TRIES {
        // Edge P.
        match word.compare_exchange(seen.0, closed.0, Ordering::Release, Ordering::Relaxed) {
            Ok(_) => return,
            Err(now) => seen = State(now),
        }
        if seen.phase() != Phase::Stuck || seen.owner() != owner {
            // Somebody has published it already.
            return;
        }
        // The ring has come round, and the record is still this owner's.
        closed = void(seen);
    }
}

const fn void(seen: State) -> State {
    State::new(seen.0 >> POSITION_SHIFT, Phase::Void, 0)
}

/// Appends a record that is nobody's but its writer's concern.
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

/// Publishes somebody else's record, of which the caller knows that all of it
/// is written. `position` is modulo 2^32.
pub(crate) fn finish<const FIELDS: usize>(records: &impl Records<FIELDS>, position: u32) {
    let word = records.word(u64::from(position) % records.count());
    let seen = State(word.load(Ordering::Relaxed));
    if seen.phase() == Phase::Writing && (seen.0 >> POSITION_SHIFT) as u32 == position {
        let done = State::new(seen.0 >> POSITION_SHIFT, Phase::Done, 0);
        // Edge P; the fields were acquired where the position was.
        let _ = word.compare_exchange(seen.0, done.0, Ordering::Release, Ordering::Relaxed);
    }
}

/// Closes what a dead owner was writing: published if `whole` says that all
/// of the record with this index and position is written, else void. Whether
/// there was anything to close.
///
/// `still_dead` reads the participants' table (Acquire) between finding a
/// record and changing it, as in the recovery of the rings.
pub(crate) fn recover<const FIELDS: usize>(
    records: &impl Records<FIELDS>,
    owner: u16,
    whole: impl Fn(u64, u64) -> bool,
    still_dead: impl Fn() -> bool,
) -> bool {
    let mut any = false;
    for index in 0..records.count() {
        let word = records.word(index);
        // Again if the ring came round to it meanwhile.
        for _ in 0..TRIES {
            // Edge C.
            let seen = State(word.load(Ordering::Acquire));
            if !seen.held() || seen.owner() != owner {
                break;
            }
            let position = seen.0 >> POSITION_SHIFT;
            let done = seen.phase() == Phase::Writing && whole(index, position);
            let closed = if done { State::new(position, Phase::Done, 0) } else { void(seen) };
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
    /// So many positions are gone, or nearly; not each had a record.
    Missed(u64),
    /// This owner is writing it.
    Pending(u16),
    /// It is not there yet.
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

/// Reads the record at `at`, and moves on behind what is told of.
pub(crate) fn read<const FIELDS: usize>(
    records: &impl Records<FIELDS>,
    at: &mut u64,
) -> Read<[u64; FIELDS]> {
    // Void ones are passed over: no more of them than there are records,
    // unless the writers are faster than this reader.
    for _ in 0..=records.count().saturating_mul(2) {
        let index = *at % records.count();
        let word = records.word(index);
        // Edge P.
        let seen = State(word.load(Ordering::Acquire));
        if !seen.is_at_least(*at) {
            return Read::End;
        }
        if seen.position() == Some(*at) {
            match seen.phase() {
                Phase::Writing => return Read::Pending(seen.owner()),
                Phase::Void | Phase::Stuck => *at += 1,
                Phase::Done => {
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
