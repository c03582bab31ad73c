//! Claiming, publishing, taking and releasing slots.

use core::cell::Cell;

use super::super::cursor::Cursor;
use super::super::joint::Ticket;
use super::word::{MAX_ATTEMPTS, SlotState, SlotWord};
use crate::sync::{AtomicU64, Ordering, spin_loop};

/// A try makes way only between its first so many visits.
const MAKING_WAY: u64 = 16;
/// The pauses between two visits double, up to two to this power.
const MOST_DOUBLINGS: u64 = 5;
/// A try that has come so far without making way raises the hint.
const FAR: u64 = 2;
/// How many positions pass between two updates of a hint.
pub(super) const HINT_STEP: u64 = 16;

/// Where the words are. Every index that is passed in is below the capacity.
pub(crate) trait Words {
    /// At least 1.
    fn capacity(&self) -> u64;
    fn slot(&self, index: u64) -> &AtomicU64;
    /// A lower bound of the first position not yet claimed.
    fn tail(&self) -> &AtomicU64;
    /// A lower bound of the first position not yet taken.
    fn head(&self) -> &AtomicU64;
    /// A version: it grows whenever an orphan may have appeared.
    fn orphans(&self) -> &AtomicU64;
    /// The version of `orphans` up to which a scan has found no orphan left.
    fn scanned(&self) -> &AtomicU64;
}

impl Cursor {
    /// Where a producer that has seen nothing starts.
    pub(crate) fn producer(words: &impl Words) -> Self {
        Self::at(words.tail().load(Ordering::Relaxed), words.capacity())
    }

    /// Where a consumer that has seen nothing starts.
    pub(crate) fn consumer(words: &impl Words) -> Self {
        Self::at(words.head().load(Ordering::Relaxed), words.capacity())
    }
}

/// A slot that this owner is writing.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Claim {
    pub(crate) index: u64,
    lap: u64,
    /// As those of one that was taken; mostly 0.
    attempts: u8,
}

impl Claim {
    /// The same, of a message that so many readers have died over, or have failed at.
    pub(crate) fn redelivered(self, attempts: u8) -> Self {
        Self { attempts: attempts.min(MAX_ATTEMPTS), ..self }
    }
}

/// A slot that this owner is reading.
#[derive(Debug)]
#[must_use]
pub struct Taken {
    pub(crate) index: u64,
    lap: u64,
    /// How many readers have died over this message, or have failed at it.
    pub(crate) attempts: u64,
}

/// Why there is nothing to claim or to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// To a producer: full. To a consumer: empty.
    None,
    /// Another owner's operation is in the way: for a producer a reader that
    /// has not finished, for a consumer a writer that has not.
    Pending(SlotWord),
    /// Others were faster, `2 × capacity + 1` times. The digest is of the words
    /// that this try saw: two equal digests mean that nothing moves.
    Contended(u64),
    /// A word that this algorithm never writes.
    Corrupt(SlotWord),
}

/// What a visit tells a cursor to do.
enum Step {
    Claim(SlotWord),
    /// This is the slot, which the caller does not claim yet.
    Stay,
    Go(Cursor),
    Refuse(Refused),
}

/// Claims the very next slot for `owner`, if it is free: the fast path of
/// [`claim`], small enough to be inlined into callers.
#[inline(always)]
pub(crate) fn claim_next(words: &impl Words, cursor: &Cell<Cursor>, owner: u16) -> Option<Claim> {
    let at = cursor.get();
    let free = SlotWord::new(at.lap, 0, SlotState::Free, 0);
    let writing = SlotWord::new(at.lap, 0, SlotState::Writing, owner);
    swap(words.slot(at.index), free, writing).then(|| {
        pass(words, words.tail(), cursor, at);
        Claim { index: at.index, lap: at.lap, attempts: 0 }
    })
}

/// Claims the next free slot for `owner`.
pub(crate) fn claim(
    words: &impl Words,
    cursor: &Cell<Cursor>,
    owner: u16,
) -> Result<Claim, Refused> {
    claim_among(words, cursor, owner, false)
}

/// The same, where others of this side are at work. If it `makes_way`, it pauses after each
/// slot that they have.
pub(crate) fn claim_among(
    words: &impl Words,
    cursor: &Cell<Cursor>,
    owner: u16,
    makes_way: bool,
) -> Result<Claim, Refused> {
    match claim_next(words, cursor, owner) {
        Some(claim) => Ok(claim),
        None => claim_further(words, cursor, owner, makes_way),
    }
}

fn claim_further(
    words: &impl Words,
    cursor: &Cell<Cursor>,
    owner: u16,
    makes_way: bool,
) -> Result<Claim, Refused> {
    claim_as(words, cursor, makes_way, |lap| SlotWord::new(lap, 0, SlotState::Writing, owner))
}

/// Claims the next free slot for a [joint send](super::super::joint) of `owner`.
pub(crate) fn claim_jointly(
    words: &impl Words,
    cursor: &Cell<Cursor>,
    owner: u16,
    ticket: Ticket,
) -> Result<Claim, Refused> {
    let number = ticket.number();
    claim_as(words, cursor, false, |lap| SlotWord::new(lap, number, SlotState::Writing, owner))
}

/// Claims the next free slot with this word.
fn claim_as(
    words: &impl Words,
    cursor: &Cell<Cursor>,
    makes_way: bool,
    writing: impl Fn(u64) -> SlotWord,
) -> Result<Claim, Refused> {
    let capacity = words.capacity();
    let (at, _) = advance(words, words.tail(), cursor, makes_way, |word, cursor| {
        to_be_claimed(word, cursor, capacity, Step::Claim(writing(cursor.lap)))
    })?;
    Ok(Claim { index: at.index, lap: at.lap, attempts: 0 })
}

/// What a producer does about this word: `here` where the slot is free.
fn to_be_claimed(word: SlotWord, cursor: Cursor, capacity: u64, here: Step) -> Step {
    let Some(state) = word.state() else {
        return Step::Refuse(Refused::Corrupt(word));
    };
    match (word.laps_after(cursor.lap), state) {
        (0, SlotState::Free) => here,
        (0, _) => Step::Go(cursor.next(capacity)),
        (-1, SlotState::Full) => Step::Refuse(Refused::None),
        (-1, SlotState::Writing | SlotState::Reading | SlotState::Orphan) => {
            Step::Refuse(Refused::Pending(word))
        }
        // The lap before was claimed, or the slot would not be free for this one.
        (laps @ 1.., _) => Step::Go(cursor.turned(laps - 1, capacity).next(capacity)),
        // The cursor is ahead of the truth: a word was wrong. Step back.
        (laps, _) => Step::Go(cursor.turned(laps, capacity)),
    }
}

/// Whether the very next slot is free.
#[inline(always)]
pub(crate) fn is_next_free(words: &impl Words, cursor: &Cell<Cursor>) -> bool {
    let at = cursor.get();
    // Relaxed: the claim of the slot acquires.
    words.slot(at.index).load(Ordering::Relaxed) == SlotWord::new(at.lap, 0, SlotState::Free, 0).0
}

/// Finds the next free slot, without claiming it.
pub(crate) fn find_free(words: &impl Words, cursor: &Cell<Cursor>) -> Result<(), Refused> {
    let capacity = words.capacity();
    let judge = |word, cursor| to_be_claimed(word, cursor, capacity, Step::Stay);
    advance(words, words.tail(), cursor, false, judge).map(|_| ())
}

/// Makes a claimed slot's message visible.
#[inline]
pub(crate) fn publish(words: &impl Words, claim: Claim) {
    let full = SlotWord::new(claim.lap, claim.attempts, SlotState::Full, 0);
    // Edge P.
    words.slot(claim.index).store(full.0, Ordering::Release);
}

/// Gives a claimed slot back unwritten. Consumers step over it.
pub(crate) fn abort(words: &impl Words, claim: Claim) {
    free(words, claim.index, claim.lap);
}

/// Takes the very next message for `owner`, if it is there and no orphan comes
/// before it: the fast path of [`take`].
#[inline(always)]
pub(crate) fn take_next(words: &impl Words, cursor: &Cell<Cursor>, owner: u16) -> Option<Taken> {
    if may_have_orphans(words).is_some() { None } else { take_here(words, cursor, owner) }
}

/// Takes the message at the cursor, if there is one.
#[inline(always)]
fn take_here(words: &impl Words, cursor: &Cell<Cursor>, owner: u16) -> Option<Taken> {
    let at = cursor.get();
    let full = SlotWord::new(at.lap, 0, SlotState::Full, 0);
    let reading = SlotWord::new(at.lap, 0, SlotState::Reading, owner);
    swap(words.slot(at.index), full, reading).then(|| {
        pass(words, words.head(), cursor, at);
        Taken { index: at.index, lap: at.lap, attempts: 0 }
    })
}

/// The version of `orphans`, if nobody has scanned for it yet.
#[inline]
pub(super) fn may_have_orphans(words: &impl Words) -> Option<u64> {
    // Edge O. Acquire: whoever sees the version sees the orphan that it announces.
    let orphans = words.orphans().load(Ordering::Acquire);
    (orphans != words.scanned().load(Ordering::Relaxed)).then_some(orphans)
}

/// Takes the next message for `owner`. Orphans come first.
pub(crate) fn take(
    words: &impl Words,
    cursor: &Cell<Cursor>,
    owner: u16,
) -> Result<Taken, Refused> {
    take_among(words, cursor, owner, false)
}

/// The same, where others of this side are at work, as [`claim_among`].
pub(crate) fn take_among(
    words: &impl Words,
    cursor: &Cell<Cursor>,
    owner: u16,
    makes_way: bool,
) -> Result<Taken, Refused> {
    let taken = match may_have_orphans(words) {
        None => take_here(words, cursor, owner),
        Some(version) => adopt(words, version, owner),
    };
    match taken {
        Some(taken) => Ok(taken),
        None => take_further(words, cursor, owner, makes_way),
    }
}

fn take_further(
    words: &impl Words,
    cursor: &Cell<Cursor>,
    owner: u16,
    makes_way: bool,
) -> Result<Taken, Refused> {
    let capacity = words.capacity();
    let (at, before) = advance(words, words.head(), cursor, makes_way, |word, cursor| {
        let taken = SlotWord::new(cursor.lap, word.attempts(), SlotState::Reading, owner);
        to_be_taken(word, cursor, capacity, Step::Claim(taken))
    })?;
    Ok(Taken { index: at.index, lap: at.lap, attempts: before.attempts().into() })
}

/// What a consumer does about this word: `here` where the slot is full.
#[inline(always)]
fn to_be_taken(word: SlotWord, cursor: Cursor, capacity: u64, here: Step) -> Step {
    let Some(state) = word.state() else {
        return Step::Refuse(Refused::Corrupt(word));
    };
    match (word.laps_after(cursor.lap), state) {
        (0, SlotState::Full) => here,
        (0, SlotState::Free) => Step::Refuse(Refused::None),
        (0, SlotState::Writing) => Step::Refuse(Refused::Pending(word)),
        (0, SlotState::Reading | SlotState::Orphan) => Step::Go(cursor.next(capacity)),
        // A reader still has the lap before this one, so nobody has
        // claimed this one.
        (-1, SlotState::Reading | SlotState::Orphan) => Step::Refuse(Refused::None),
        // A tombstone runs ahead: it may be beyond the next message.
        (laps @ 2.., SlotState::Free) => Step::Go(cursor.turned(laps - 2, capacity).next(capacity)),
        // This lap is claimed, so the queue has passed the lap before it;
        // or this is the very next position.
        (laps @ 1.., _) => Step::Go(cursor.turned(laps - 1, capacity).next(capacity)),
        // The cursor is ahead of the truth: a word was wrong. Step back.
        (laps, _) => Step::Go(cursor.turned(laps, capacity)),
    }
}

/// Finds the next message, without taking it. Orphans come first.
pub(crate) fn find_full(words: &impl Words, cursor: &Cell<Cursor>) -> Result<(), Refused> {
    if may_have_orphans(words).is_some() {
        return Ok(());
    }
    let capacity = words.capacity();
    let judge = |word, cursor| to_be_taken(word, cursor, capacity, Step::Stay);
    advance(words, words.head(), cursor, false, judge).map(|_| ())
}

/// Swaps a slot's word if it is `from`. The load before the swap keeps a vain
/// attempt from taking the cache line away from the slot's owner.
#[inline]
fn swap(slot: &AtomicU64, from: SlotWord, to: SlotWord) -> bool {
    // Edges P, F and C.
    slot.load(Ordering::Acquire) == from.0
        && slot.compare_exchange(from.0, to.0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
}

/// Moves the cursor past the position `at`, which this owner has just claimed
/// or taken. Every [`HINT_STEP`] positions it raises the hint too.
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

/// Puts a taken message back for another reader, as an orphan. The caller
/// notifies receivers afterwards.
pub(crate) fn give_back(words: &impl Words, taken: Taken) {
    let orphan = SlotWord::new(taken.lap, taken.attempts as u8, SlotState::Orphan, 0);
    words.slot(taken.index).store(orphan.0, Ordering::Release);
    // Edge O.
    words.orphans().fetch_add(1, Ordering::Release);
}

/// Like [`give_back`], but counts an attempt, as if the reader had died over
/// the message.
pub(crate) fn give_back_counted(words: &impl Words, taken: Taken) {
    let attempts = (taken.attempts + 1).min(MAX_ATTEMPTS.into());
    give_back(words, Taken { attempts, ..taken });
}

#[inline]
fn free(words: &impl Words, index: u64, lap: u64) {
    // Edge F.
    let freed = SlotWord::new(lap.wrapping_add(1), 0, SlotState::Free, 0);
    words.slot(index).store(freed.0, Ordering::Release);
}

/// Moves `cursor` to the first slot that `judge` would claim, and claims it. If it
/// `makes_way`, it lets others take several slots in a row meanwhile.
fn advance(
    words: &impl Words,
    hint: &AtomicU64,
    cursor: &Cell<Cursor>,
    makes_way: bool,
    judge: impl Fn(SlotWord, Cursor) -> Step,
) -> Result<(Cursor, SlotWord), Refused> {
    let capacity = words.capacity();
    let mut visits = 0;
    let mut digest = 0_u64;
    loop {
        let at = cursor.get();
        let slot = words.slot(at.index);
        // Edges P and F, for the refusals too: a caller that hears *full* or
        // *empty* sees what made the ring so.
        let seen = SlotWord(slot.load(Ordering::Acquire));
        match judge(seen, at) {
            Step::Claim(claimed) => {
                if swap(slot, seen, claimed) {
                    pass(words, hint, cursor, at);
                    if !makes_way && visits >= FAR {
                        // Others of this side come by less often than once in so many
                        // positions. The next one finds its way at once.
                        raise(hint, cursor.get().position);
                    }
                    return Ok((at, seen));
                }
            }
            Step::Stay => return Ok((at, seen)),
            Step::Go(to) => cursor.set(confirmed(words, hint, at, to)),
            Step::Refuse(refused) => return Err(refused),
        }
        if makes_way && visits < MAKING_WAY {
            for _ in 0..1 << visits.min(MOST_DOUBLINGS) {
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

/// Where to go next: to the hint if it is further on, but never to a position
/// that the slot there contradicts. So a lie in one word cannot send a cursor
/// away for good.
fn confirmed(words: &impl Words, hint: &AtomicU64, from: Cursor, to: Cursor) -> Cursor {
    let capacity = words.capacity();
    let hinted = hint.load(Ordering::Relaxed);
    if hinted.wrapping_sub(to.position).cast_signed() > 0 {
        let hinted = Cursor::at(hinted, capacity);
        if plausible(words, hinted) {
            return hinted;
        }
    }
    // The next slot needs no check here: the visit to it is the check.
    if to.position == from.position.wrapping_add(1) || plausible(words, to) {
        return to;
    }
    from.next(capacity)
}

/// Whether the slot allows this position. By contiguity, a slot is at most one
/// lap behind any position that is not beyond the end of the queue.
fn plausible(words: &impl Words, cursor: Cursor) -> bool {
    let seen = SlotWord(words.slot(cursor.index).load(Ordering::Relaxed));
    seen.laps_after(cursor.lap) >= -1
}

/// Raises a lower bound. One attempt only: a stale bound is still correct, and
/// retrying could livelock against a hostile writer.
fn raise(hint: &AtomicU64, to: u64) {
    let seen = hint.load(Ordering::Relaxed);
    if to.wrapping_sub(seen).cast_signed() > 0 {
        // Relaxed: the slots confirm what a hint says; nobody trusts it.
        let _ = hint.compare_exchange(seen, to, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// How many slots, from the first on, may ever have been claimed.
///
/// Positions are claimed in order. So behind a slot whose word is zero, which is
/// FREE of the first lap, no owner has claimed any whose death or whose orphan
/// the caller knows of. Reading those slots would make the kernel allocate
/// memory for each. Once all slots have been claimed, zero proves nothing,
/// because laps wrap.
pub(crate) fn used(words: &impl Words) -> u64 {
    let capacity = words.capacity();
    // Relaxed: a lower bound, and far beyond the first lap when laps wrap.
    let lapped = words.tail().load(Ordering::Relaxed) >= capacity;
    let (mut least, mut most) = (if lapped { capacity } else { 0 }, capacity);
    while least < most {
        let middle = least + (most - least) / 2;
        // Relaxed: the loads that follow acquire.
        if words.slot(middle).load(Ordering::Relaxed) == 0 {
            most = middle;
        } else {
            least = middle + 1;
        }
    }
    least
}

/// Takes an orphan, or notes that none is left up to `version`.
#[cold]
fn adopt(words: &impl Words, version: u64, owner: u16) -> Option<Taken> {
    for index in 0..used(words) {
        let slot = words.slot(index);
        let seen = SlotWord(slot.load(Ordering::Acquire));
        if seen.state() != Some(SlotState::Orphan) {
            continue;
        }
        let reading = SlotWord::new(seen.lap(), seen.attempts(), SlotState::Reading, owner);
        // Edge C.
        if slot.compare_exchange(seen.0, reading.0, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            return Some(Taken { index, lap: seen.lap(), attempts: seen.attempts().into() });
        }
    }
    // The version only grows. Clearing a flag here would hide an orphan that
    // appeared behind the scan. If this raise fails, the next take scans again.
    raise(words.scanned(), version);
    None
}
