//! A bounded first-in-first-out queue for many producers and many consumers,
//! with the owner of every slot written into the slot: the owner-tagged slot
//! ring.
//!
//! It descends from Dmitry Vyukov's bounded MPMC queue (per-slot sequence
//! numbers). There a position is claimed in a shared index and only later
//! shows in the slot, so a process killed in between stalls everybody and
//! nobody can tell whom to blame. Here the claim *is* the slot's word: one
//! compare-and-swap takes the position and names the owner. Whatever the
//! owner held can be found after its death and put right, slot by slot.
//!
//! ```text
//!                 claim                publish               take
//!  FREE(lap) ───────────▶ WRITING ───────────────▶ FULL ────────────────┐
//!     ▲                   (owner)                   ▲                   ▼
//!     │                      │ owner dead           │ never          READING
//!     │                      ▼                      │                (owner)
//!     ├───────────── FREE(lap + 1) ◀────────────────┼── release ────────┤
//!     │                      ▲                      │                   │
//!     │                      └── attempts used up ──┤     owner dead,   │
//!     └──────────────────────────────────────────── │  or given back    ▼
//!                                                 retake ◀───────── ORPHAN
//!                                               (READING)         (attempts)
//! ```
//!
//! The word: `lap:44 | attempts:4 | phase:3 | owner:13`, and zero is FREE of
//! lap 0. A position is (lap, index); laps are compared modulo 2^44.
//!
//! **Contiguity.** A position is claimed only by somebody who saw the one
//! before it claimed, and taken only by somebody who saw the one before it
//! taken. So positions are claimed and taken in order, `head` and `tail` need
//! only be lower bounds, and a handle's own cursor is one as well.
//!
//! **What the answers mean.** A claimed slot counts as occupied: *full* may
//! be said while a taken message is still being read. An unpublished head
//! hides what is behind it: the answer is *pending*, not *empty*. A try
//! visits at most `2 × capacity + 1` slots and then says *contended*.
//!
//! **A tombstone runs ahead.** FREE(m) in a slot proves that its position of
//! lap m − 1 was claimed, not that it was taken: its owner may have died
//! while consumers were still before it. A consumer may conclude only that
//! lap m − 2 has passed there, without which m − 1 could not be claimed.
//!
//! Edges. C: claim and take are AcqRel; Acquire sees what the slot's last
//! owner did (its release or the sweep's), Release makes a slow sweep of a
//! former owner of this id, which reads this word, also see that its victim
//! is no longer DEAD. P: publish (Release) with take (Acquire) hands over the
//! payload. F: release (Release) with claim (Acquire) hands back the cell.
//! A plain store publishes and releases: only the slots of the confirmed dead
//! are ever changed by others.

use core::cell::Cell;

use crate::sync::{AtomicU64, Ordering, spin_loop};

const OWNER_BITS: u32 = 13;
const PHASE_SHIFT: u32 = OWNER_BITS;
const PHASE_BITS: u32 = 3;
const ATTEMPTS_SHIFT: u32 = PHASE_SHIFT + PHASE_BITS;
const ATTEMPTS_BITS: u32 = 4;
const LAP_SHIFT: u32 = ATTEMPTS_SHIFT + ATTEMPTS_BITS;
const LAP_BITS: u32 = u64::BITS - LAP_SHIFT;
const LAP_MASK: u64 = (1 << LAP_BITS) - 1;

/// Owners are below this.
pub(crate) const MAX_OWNERS: u16 = 1 << OWNER_BITS;
/// How many attempts a word can count.
pub(crate) const MAX_ATTEMPTS: u8 = (1 << ATTEMPTS_BITS) - 1;
/// After so many visits of one try there is no keeping away any more.
const PATIENT_VISITS: u64 = 16;
/// Up to two to this many pauses are made between two visits.
const MOST_PATIENCE: u64 = 5;
/// How many positions pass between two updates of a hint.
const HINT_STEP: u64 = 16;

/// What is going on in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Free = 0,
    Writing = 1,
    Full = 2,
    Reading = 3,
    Orphan = 4,
}

/// A slot's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State(pub(crate) u64);

impl State {
    const fn new(lap: u64, attempts: u8, phase: Phase, owner: u16) -> Self {
        Self(
            (lap & LAP_MASK) << LAP_SHIFT
                | (attempts as u64) << ATTEMPTS_SHIFT
                | (phase as u64) << PHASE_SHIFT
                | owner as u64,
        )
    }

    pub(crate) const fn lap(self) -> u64 {
        self.0 >> LAP_SHIFT
    }

    /// How many laps this word is after `lap`; negative when before.
    const fn laps_after(self, lap: u64) -> i64 {
        (self.lap().wrapping_sub(lap) << LAP_SHIFT).cast_signed() >> LAP_SHIFT
    }

    pub(crate) const fn attempts(self) -> u8 {
        (self.0 >> ATTEMPTS_SHIFT) as u8 & MAX_ATTEMPTS
    }

    /// `None` for a phase that none of us writes.
    pub(crate) const fn phase(self) -> Option<Phase> {
        match self.0 >> PHASE_SHIFT & ((1 << PHASE_BITS) - 1) {
            0 => Some(Phase::Free),
            1 => Some(Phase::Writing),
            2 => Some(Phase::Full),
            3 => Some(Phase::Reading),
            4 => Some(Phase::Orphan),
            _ => None,
        }
    }

    pub(crate) const fn owner(self) -> u16 {
        self.0 as u16 & (MAX_OWNERS - 1)
    }
}

/// Where the words are. Every index passed is below the capacity.
pub(crate) trait Words {
    /// At least 1.
    fn capacity(&self) -> u64;
    fn slot(&self, index: u64) -> &AtomicU64;
    /// A lower bound of the first position not yet claimed.
    fn tail(&self) -> &AtomicU64;
    /// A lower bound of the first position not yet taken.
    fn head(&self) -> &AtomicU64;
    /// Grows with everything that may have left an orphan.
    fn orphans(&self) -> &AtomicU64;
    /// The version of `orphans` up to which a scan found none left.
    fn scanned(&self) -> &AtomicU64;
}

/// A handle's place in one direction: a lower bound, private to the handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    position: u64,
    lap: u64,
    index: u64,
}

impl Cursor {
    pub(crate) const fn at(position: u64, capacity: u64) -> Self {
        Self { position, lap: position / capacity, index: position % capacity }
    }

    pub(crate) const fn position(self) -> u64 {
        self.position
    }

    /// Where a producer that has seen nothing starts.
    pub(crate) fn producer(words: &impl Words) -> Self {
        Self::at(words.tail().load(Ordering::Relaxed), words.capacity())
    }

    /// Where a consumer that has seen nothing starts.
    pub(crate) fn consumer(words: &impl Words) -> Self {
        Self::at(words.head().load(Ordering::Relaxed), words.capacity())
    }

    #[inline]
    const fn next(self, capacity: u64) -> Self {
        let position = self.position.wrapping_add(1);
        if self.index + 1 == capacity {
            Self { position, lap: self.lap.wrapping_add(1), index: 0 }
        } else {
            Self { position, lap: self.lap, index: self.index + 1 }
        }
    }

    /// The same index, some laps on or back.
    const fn turned(self, laps: i64, capacity: u64) -> Self {
        Self {
            position: self.position.wrapping_add_signed(laps.wrapping_mul(capacity as i64)),
            lap: self.lap.wrapping_add_signed(laps),
            index: self.index,
        }
    }
}

/// A slot that this owner is writing.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Claim {
    pub(crate) index: u64,
    lap: u64,
}

/// A slot that this owner is reading.
#[derive(Debug)]
#[must_use]
pub struct Taken {
    pub(crate) index: u64,
    lap: u64,
    /// How often a reader has died over this message, or has failed.
    pub(crate) attempts: u64,
}

/// Why there is nothing to claim or to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// To a producer: full. To a consumer: empty.
    None,
    /// Somebody else's operation is in the way: for a producer a reader that
    /// has not finished, for a consumer a writer that has not.
    Pending(State),
    /// Others were faster, `2 × capacity + 1` times. The digest is of the words
    /// that were seen: the same twice means that nothing moves.
    Contended(u64),
    /// A word that none of us writes.
    Corrupt(State),
}

/// What a visit tells a cursor to do.
enum Step {
    Claim(State),
    Go(Cursor),
    Refuse(Refused),
}

/// Claims the very next slot for `owner`, if it is free. What [`claim`] does
/// most of the time, and small enough to be part of its caller.
#[inline(always)]
pub(crate) fn claim_next(words: &impl Words, cursor: &Cell<Cursor>, owner: u16) -> Option<Claim> {
    let at = cursor.get();
    let free = State::new(at.lap, 0, Phase::Free, 0);
    let writing = State::new(at.lap, 0, Phase::Writing, owner);
    swap(words.slot(at.index), free, writing).then(|| {
        pass(words, words.tail(), cursor, at);
        Claim { index: at.index, lap: at.lap }
    })
}

/// Claims the next free slot for `owner`.
pub(crate) fn claim(
    words: &impl Words,
    cursor: &Cell<Cursor>,
    owner: u16,
) -> Result<Claim, Refused> {
    match claim_next(words, cursor, owner) {
        Some(claim) => Ok(claim),
        None => claim_further(words, cursor, owner),
    }
}

fn claim_further(words: &impl Words, cursor: &Cell<Cursor>, owner: u16) -> Result<Claim, Refused> {
    let capacity = words.capacity();
    let (at, _) = advance(words, words.tail(), cursor, |state, cursor| {
        let Some(phase) = state.phase() else {
            return Step::Refuse(Refused::Corrupt(state));
        };
        match (state.laps_after(cursor.lap), phase) {
            (0, Phase::Free) => Step::Claim(State::new(cursor.lap, 0, Phase::Writing, owner)),
            (0, _) => Step::Go(cursor.next(capacity)),
            (-1, Phase::Full) => Step::Refuse(Refused::None),
            (-1, Phase::Writing | Phase::Reading | Phase::Orphan) => {
                Step::Refuse(Refused::Pending(state))
            }
            // Its last lap was claimed, or it would not be free for this one.
            (laps @ 1.., _) => Step::Go(cursor.turned(laps - 1, capacity).next(capacity)),
            // The cursor is ahead of the truth: somebody lied. Step back.
            (laps, _) => Step::Go(cursor.turned(laps, capacity)),
        }
    })?;
    Ok(Claim { index: at.index, lap: at.lap })
}

/// Makes a claimed slot's message visible.
#[inline]
pub(crate) fn publish(words: &impl Words, claim: Claim) {
    // Edge P.
    words.slot(claim.index).store(State::new(claim.lap, 0, Phase::Full, 0).0, Ordering::Release);
}

/// Gives a claimed slot back unwritten; consumers step over it.
pub(crate) fn abort(words: &impl Words, claim: Claim) {
    free(words, claim.index, claim.lap);
}

/// Takes the very next message for `owner`, if it is there and no orphan comes
/// before it. What [`take`] does most of the time.
#[inline(always)]
pub(crate) fn take_next(words: &impl Words, cursor: &Cell<Cursor>, owner: u16) -> Option<Taken> {
    if may_have_orphans(words).is_some() { None } else { take_here(words, cursor, owner) }
}

/// Takes the message at the cursor, if there is one.
#[inline(always)]
fn take_here(words: &impl Words, cursor: &Cell<Cursor>, owner: u16) -> Option<Taken> {
    let at = cursor.get();
    let full = State::new(at.lap, 0, Phase::Full, 0);
    let reading = State::new(at.lap, 0, Phase::Reading, owner);
    swap(words.slot(at.index), full, reading).then(|| {
        pass(words, words.head(), cursor, at);
        Taken { index: at.index, lap: at.lap, attempts: 0 }
    })
}

/// The version of `orphans` that nobody has scanned.
#[inline]
fn may_have_orphans(words: &impl Words) -> Option<u64> {
    // Acquire: the version is raised after the orphan can be seen.
    let orphans = words.orphans().load(Ordering::Acquire);
    (orphans != words.scanned().load(Ordering::Relaxed)).then_some(orphans)
}

/// Takes the next message for `owner`; orphans come first.
pub(crate) fn take(
    words: &impl Words,
    cursor: &Cell<Cursor>,
    owner: u16,
) -> Result<Taken, Refused> {
    let taken = match may_have_orphans(words) {
        None => take_here(words, cursor, owner),
        Some(version) => adopt(words, version, owner),
    };
    match taken {
        Some(taken) => Ok(taken),
        None => take_further(words, cursor, owner),
    }
}

fn take_further(words: &impl Words, cursor: &Cell<Cursor>, owner: u16) -> Result<Taken, Refused> {
    let capacity = words.capacity();
    let (at, state) = advance(words, words.head(), cursor, |state, cursor| {
        let Some(phase) = state.phase() else {
            return Step::Refuse(Refused::Corrupt(state));
        };
        match (state.laps_after(cursor.lap), phase) {
            (0, Phase::Full) => {
                Step::Claim(State::new(cursor.lap, state.attempts(), Phase::Reading, owner))
            }
            (0, Phase::Free) => Step::Refuse(Refused::None),
            (0, Phase::Writing) => Step::Refuse(Refused::Pending(state)),
            (0, Phase::Reading | Phase::Orphan) => Step::Go(cursor.next(capacity)),
            // The lap before this one is still being read: nobody has
            // claimed this one.
            (-1, Phase::Reading | Phase::Orphan) => Step::Refuse(Refused::None),
            // See above: the tombstone may be ahead of what is to be taken.
            (laps @ 2.., Phase::Free) => Step::Go(cursor.turned(laps - 2, capacity).next(capacity)),
            // Claimed, so its last lap was passed; or the very next position.
            (laps @ 1.., _) => Step::Go(cursor.turned(laps - 1, capacity).next(capacity)),
            // The cursor is ahead of the truth: somebody lied. Step back.
            (laps, _) => Step::Go(cursor.turned(laps, capacity)),
        }
    })?;
    Ok(Taken { index: at.index, lap: at.lap, attempts: state.attempts().into() })
}

/// Takes a slot in the state that is hoped for; looks before it swaps, so as
/// not to pull a line away from its owner in vain.
#[inline]
fn swap(slot: &AtomicU64, from: State, to: State) -> bool {
    // Edges P, F and C.
    slot.load(Ordering::Acquire) == from.0
        && slot.compare_exchange(from.0, to.0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
}

/// Moves the cursor past the position `at`, just taken, and at times the hint
/// with it.
#[inline]
fn pass(words: &impl Words, hint: &AtomicU64, cursor: &Cell<Cursor>, at: Cursor) {
    cursor.set(at.next(words.capacity()));
    if at.position.is_multiple_of(HINT_STEP) {
        raise(hint, at.position);
    }
}

/// Frees a taken slot for the next lap.
#[inline]
pub(crate) fn release(words: &impl Words, taken: Taken) {
    free(words, taken.index, taken.lap);
}

/// Puts a taken message back for another reader, as an orphan. Notify then.
pub(crate) fn give_back(words: &impl Words, taken: Taken) {
    let orphan = State::new(taken.lap, taken.attempts as u8, Phase::Orphan, 0);
    words.slot(taken.index).store(orphan.0, Ordering::Release);
    words.orphans().fetch_add(1, Ordering::Release);
}

/// The same, as if its reader had died over it: it counts as an attempt.
pub(crate) fn give_back_counted(words: &impl Words, taken: Taken) {
    let attempts = (taken.attempts + 1).min(MAX_ATTEMPTS.into());
    give_back(words, Taken { attempts, ..taken });
}

#[inline]
fn free(words: &impl Words, index: u64, lap: u64) {
    // Edge F.
    let state = State::new(lap.wrapping_add(1), 0, Phase::Free, 0);
    words.slot(index).store(state.0, Ordering::Release);
}

/// Moves `cursor` to the first slot that `judge` would claim, and claims it.
fn advance(
    words: &impl Words,
    hint: &AtomicU64,
    cursor: &Cell<Cursor>,
    judge: impl Fn(State, Cursor) -> Step,
) -> Result<(Cursor, State), Refused> {
    let capacity = words.capacity();
    let mut visits = 0;
    let mut digest = 0_u64;
    loop {
        let at = cursor.get();
        let slot = words.slot(at.index);
        // Edges P and F, for the refusals too: what made the ring full or
        // empty is seen by whoever is told so.
        let seen = State(slot.load(Ordering::Acquire));
        match judge(seen, at) {
            Step::Claim(claimed) => {
                if swap(slot, seen, claimed) {
                    pass(words, hint, cursor, at);
                    return Ok((at, seen));
                }
            }
            Step::Go(to) => cursor.set(confirmed(words, hint, at, to)),
            Step::Refuse(refused) => return Err(refused),
        }
        // Somebody else is at it on the same lines: one who keeps away for a
        // moment lets the other take several in a row.
        if visits < PATIENT_VISITS {
            for _ in 0..1 << visits.min(MOST_PATIENCE) {
                spin_loop();
            }
        }
        visits += 1;
        if visits > capacity.saturating_mul(2) {
            return Err(Refused::Contended(digest));
        }
        digest = (digest.rotate_left(5) ^ seen.0).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

/// Where to go: by the hint if it is further, but nowhere that the slot there
/// contradicts, so that a lie in one word cannot send a cursor away for good.
fn confirmed(words: &impl Words, hint: &AtomicU64, from: Cursor, to: Cursor) -> Cursor {
    let capacity = words.capacity();
    let hinted = hint.load(Ordering::Relaxed);
    if hinted.wrapping_sub(to.position).cast_signed() > 0 {
        let hinted = Cursor::at(hinted, capacity);
        if plausible(words, hinted) {
            return hinted;
        }
    }
    // The next slot needs no confirming: the visit to it is that.
    if to.position == from.position.wrapping_add(1) || plausible(words, to) {
        return to;
    }
    from.next(capacity)
}

/// Contiguity: a slot can be at most one lap behind a position that is not
/// beyond the end of the queue.
fn plausible(words: &impl Words, cursor: Cursor) -> bool {
    let state = State(words.slot(cursor.index).load(Ordering::Relaxed));
    state.laps_after(cursor.lap) >= -1
}

/// Raises a lower bound. Never retried: it may stay low, and who changes it
/// without end would hold this up.
fn raise(hint: &AtomicU64, to: u64) {
    let seen = hint.load(Ordering::Relaxed);
    if to.wrapping_sub(seen).cast_signed() > 0 {
        // Relaxed: what it says is confirmed by the slots, never trusted.
        let _ = hint.compare_exchange(seen, to, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// How many slots, from the first on, may ever have been claimed.
///
/// Positions are claimed in order, so behind a slot that says zero, which is
/// FREE of the first lap, none has been: by nobody whose death or whose
/// orphan the caller has heard of. To look at them would give memory to each.
/// Once all have been, zero says nothing: laps begin again.
pub(crate) fn used(words: &impl Words) -> u64 {
    let capacity = words.capacity();
    // Relaxed: a lower bound, and long past the first lap when laps begin again.
    let lapped = words.tail().load(Ordering::Relaxed) >= capacity;
    let (mut least, mut most) = (if lapped { capacity } else { 0 }, capacity);
    while least < most {
        let middle = least + (most - least) / 2;
        // Relaxed: the looks that follow acquire.
        if words.slot(middle).load(Ordering::Relaxed) == 0 {
            most = middle;
        } else {
            least = middle + 1;
        }
    }
    least
}

/// Takes an orphan, or notes that up to `version` none is left.
#[cold]
fn adopt(words: &impl Words, version: u64, owner: u16) -> Option<Taken> {
    for index in 0..used(words) {
        let slot = words.slot(index);
        let seen = State(slot.load(Ordering::Acquire));
        if seen.phase() != Some(Phase::Orphan) {
            continue;
        }
        let reading = State::new(seen.lap(), seen.attempts(), Phase::Reading, owner);
        // Edge C.
        if slot.compare_exchange(seen.0, reading.0, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            return Some(Taken { index, lap: seen.lap(), attempts: seen.attempts().into() });
        }
    }
    // Only ever upwards: clearing a flag here would hide an orphan that
    // appeared behind the scan. If it is not raised, there is another scan.
    raise(words.scanned(), version);
    None
}

/// What a sweep does in one ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Recovered {
    /// Messages that were being written: gone, and never visible.
    pub(crate) tombstones: u64,
    /// Messages that were being read: there for another reader.
    pub(crate) orphans: u64,
    /// Messages that were being read and are not delivered again.
    pub(crate) dropped: u64,
}

/// What a sweep is to do with a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Tombstone,
    Orphan,
    Dropped,
}

impl Recovered {
    fn count(&mut self, fate: Fate) {
        *match fate {
            Fate::Tombstone => &mut self.tombstones,
            Fate::Orphan => &mut self.orphans,
            Fate::Dropped => &mut self.dropped,
        } += 1;
    }
}

/// What becomes of a slot that a dead owner holds, and the word for it;
/// `None` if it is not the owner's.
fn fate(seen: State, owner: u16, attempts: u8) -> Option<(Fate, State)> {
    if seen.owner() != owner {
        return None;
    }
    let freed = State::new(seen.lap().wrapping_add(1), 0, Phase::Free, 0);
    match seen.phase() {
        Some(Phase::Writing) => Some((Fate::Tombstone, freed)),
        Some(Phase::Reading) if seen.attempts() < attempts.min(MAX_ATTEMPTS) => {
            let orphan = State::new(seen.lap(), seen.attempts() + 1, Phase::Orphan, 0);
            Some((Fate::Orphan, orphan))
        }
        Some(Phase::Reading) => Some((Fate::Dropped, freed)),
        _ => None,
    }
}

/// What [`recover`] is going to do, if nobody has begun it.
pub(crate) fn held(words: &impl Words, owner: u16, attempts: u8) -> Recovered {
    let mut held = Recovered::default();
    for index in 0..used(words) {
        // Acquire: who finds that a sweep has been here also finds that the
        // death was recorded before.
        let seen = State(words.slot(index).load(Ordering::Acquire));
        if let Some((fate, _)) = fate(seen, owner, attempts) {
            held.count(fate);
        }
    }
    held
}

/// Puts right every slot that a dead owner held.
///
/// `still_dead` reads the participants' table (Acquire) between finding a
/// slot and changing it: without it a slow sweep would rob whoever has the id
/// next. `None` when it says no: then somebody else has finished the sweep.
/// A message taken more than `attempts` times is dropped; `let_go` is told of
/// its slot just before.
pub(crate) fn recover(
    words: &impl Words,
    owner: u16,
    attempts: u8,
    still_dead: impl Fn() -> bool,
    let_go: impl Fn(u64, State),
) -> Option<Recovered> {
    let mut done = Recovered::default();
    for index in (0..used(words)).rev() {
        let slot = words.slot(index);
        // Edge C.
        let seen = State(slot.load(Ordering::Acquire));
        let Some((fate, right)) = fate(seen, owner, attempts) else {
            continue;
        };
        if !still_dead() {
            return None;
        }
        if fate == Fate::Dropped {
            let_go(index, seen);
        }
        if slot.compare_exchange(seen.0, right.0, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            done.count(fate);
        }
    }
    // Unconditionally: another sweep of the same death may have made the
    // orphans and died before it could say so.
    words.orphans().fetch_add(1, Ordering::Release);
    Some(done)
}

/// Whether a reader has a message that may come back.
pub(crate) fn in_hand(words: &impl Words) -> bool {
    (0..used(words)).any(|index| {
        let state = State(words.slot(index).load(Ordering::Acquire));
        matches!(state.phase(), Some(Phase::Reading | Phase::Orphan))
    })
}

/// Whether the next take could give something.
pub(crate) fn available(words: &impl Words, cursor: Cursor) -> bool {
    if words.orphans().load(Ordering::Acquire) != words.scanned().load(Ordering::Relaxed) {
        return true;
    }
    let state = State(words.slot(cursor.index).load(Ordering::Acquire));
    match state.laps_after(cursor.lap) {
        0 => !matches!(state.phase(), Some(Phase::Free | Phase::Writing)),
        laps => laps > 0,
    }
}

/// Whether the next claim could succeed.
pub(crate) fn room(words: &impl Words, cursor: Cursor) -> bool {
    let state = State(words.slot(cursor.index).load(Ordering::Acquire));
    match state.laps_after(cursor.lap) {
        0 => true,
        laps => laps > 0,
    }
}

/// How many messages are there to be taken, now or a moment ago: positions that
/// are claimed and not yet taken, and what awaits another delivery.
pub(crate) fn len(words: &impl Words) -> u64 {
    let capacity = words.capacity();
    let walk = |mut at: Cursor, passed: fn(i64, Option<Phase>) -> bool| {
        for _ in 0..=capacity.saturating_mul(2).saturating_add(HINT_STEP) {
            let state = State(words.slot(at.index).load(Ordering::Relaxed));
            let laps = state.laps_after(at.lap);
            if !passed(laps, state.phase()) {
                break;
            }
            // What one slot proves of the others: as in `take`.
            let proven = if state.phase() == Some(Phase::Free) { laps - 2 } else { laps - 1 };
            at = at.turned(proven.max(0), capacity).next(capacity);
        }
        at.position
    };
    // The head first: it only grows, so the tail is never before it.
    let head = walk(Cursor::consumer(words), |laps, phase| {
        laps > 0 || laps == 0 && matches!(phase, Some(Phase::Reading | Phase::Orphan))
    });
    let tail = walk(Cursor::producer(words), |laps, phase| {
        laps > 0 || laps == 0 && phase != Some(Phase::Free)
    });
    tail.saturating_sub(head).saturating_add(returned(words)).min(capacity)
}

/// How many taken messages are there for another reader.
fn returned(words: &impl Words) -> u64 {
    // They are in slots that have been passed, and none is left where a scan up to
    // the last version has found none.
    if may_have_orphans(words).is_none() {
        return 0;
    }
    let is_orphan = |&index: &u64| {
        // Relaxed: it is looked at, and not taken.
        State(words.slot(index).load(Ordering::Relaxed)).phase() == Some(Phase::Orphan)
    };
    (0..used(words)).filter(is_orphan).count() as u64
}
