//! What a caller can learn of a queue without changing it. Each answer was true
//! at some moment, and may be out of date when the caller gets it.

use super::super::cursor::Cursor;
use super::queue::{HINT_STEP, Words, may_have_orphans, used};
use super::word::{SlotState, SlotWord};
use crate::sync::Ordering;

/// Whether a reader holds a message that may come back.
pub(crate) fn in_flight(words: &impl Words) -> bool {
    (0..used(words)).any(|index| {
        let seen = SlotWord(words.slot(index).load(Ordering::Acquire));
        matches!(seen.state(), Some(SlotState::Reading | SlotState::Orphan))
    })
}

/// Whether the next take could return a message.
pub(crate) fn available(words: &impl Words, cursor: Cursor) -> bool {
    if words.orphans().load(Ordering::Acquire) != words.scanned().load(Ordering::Relaxed) {
        return true;
    }
    let seen = SlotWord(words.slot(cursor.index).load(Ordering::Acquire));
    match seen.laps_after(cursor.lap) {
        0 => !matches!(seen.state(), Some(SlotState::Free | SlotState::Writing)),
        laps => laps > 0,
    }
}

/// Whether the next claim could succeed.
pub(crate) fn room(words: &impl Words, cursor: Cursor) -> bool {
    let seen = SlotWord(words.slot(cursor.index).load(Ordering::Acquire));
    match seen.laps_after(cursor.lap) {
        0 => true,
        laps => laps > 0,
    }
}

/// Whether a slot so many laps on, in this state, has been claimed.
fn is_claimed(laps: i64, state: Option<SlotState>) -> bool {
    laps > 0 || laps == 0 && state != Some(SlotState::Free)
}

/// Whether a slot so many laps on, in this state, has been taken.
fn is_taken(laps: i64, state: Option<SlotState>) -> bool {
    laps > 0 || laps == 0 && matches!(state, Some(SlotState::Reading | SlotState::Orphan))
}

/// Whether others have passed a producer at this position.
pub(crate) fn passed_by_producers(words: &impl Words, cursor: Cursor) -> bool {
    // Relaxed: it decides about a pause only.
    let seen = SlotWord(words.slot(cursor.index).load(Ordering::Relaxed));
    is_claimed(seen.laps_after(cursor.lap), seen.state())
}

/// Whether others have passed a consumer at this position.
pub(crate) fn passed_by_consumers(words: &impl Words, cursor: Cursor) -> bool {
    // Relaxed: it decides about a pause only.
    let seen = SlotWord(words.slot(cursor.index).load(Ordering::Relaxed));
    is_taken(seen.laps_after(cursor.lap), seen.state())
}

/// The first position that is not taken, and the first that is not claimed.
pub(crate) fn ends(words: &impl Words) -> (u64, u64) {
    let capacity = words.capacity();
    let walk = |mut at: Cursor, passed: fn(i64, Option<SlotState>) -> bool| {
        for _ in 0..=capacity.saturating_mul(2).saturating_add(HINT_STEP) {
            let seen = SlotWord(words.slot(at.index).load(Ordering::Relaxed));
            let laps = seen.laps_after(at.lap);
            if !passed(laps, seen.state()) {
                break;
            }
            // What one slot proves about the others: as in `take`.
            let proven = if seen.state() == Some(SlotState::Free) { laps - 2 } else { laps - 1 };
            at = at.turned(proven.max(0), capacity).next(capacity);
        }
        at.position
    };
    // The head first: it only grows, so the tail is never before it.
    let head = walk(Cursor::consumer(words), is_taken);
    let tail = walk(Cursor::producer(words), is_claimed);
    (head, tail)
}

/// How many messages can be taken: positions that are claimed and not yet
/// taken, and messages that await another delivery.
pub(crate) fn len(words: &impl Words) -> u64 {
    let (head, tail) = ends(words);
    tail.saturating_sub(head).saturating_add(returned(words)).min(words.capacity())
}

/// How many taken messages are there for another reader.
fn returned(words: &impl Words) -> u64 {
    // They are in slots that the queue has passed. If a scan up to the latest
    // version has found none, none is left.
    if may_have_orphans(words).is_none() {
        return 0;
    }
    let is_orphan = |&index: &u64| {
        // Relaxed: this only counts the orphan, and does not take it.
        SlotWord(words.slot(index).load(Ordering::Relaxed)).state() == Some(SlotState::Orphan)
    };
    (0..used(words)).filter(is_orphan).count() as u64
}
