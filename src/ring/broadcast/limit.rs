//! Raising the limit, which asks the reliable subscribers and completes what publishers
//! have left incomplete.

use super::super::cursor::Cursor;
use super::super::table::{Member, Table};
use super::Words;
use super::reliable::counts;
use crate::sync::{Ordering, fence};

/// Why a message could not be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// This reliable subscriber is as far behind as one may be.
    Blocked(Member),
    /// Others were faster each time, up to as often as there are slots. Something moves: try
    /// again after a while.
    Contended,
    /// A word that nobody who keeps to this algorithm has left there.
    Corrupt(u64),
}

/// How often a raise begins again because another one came before it.
const TRIES: usize = 4;

/// Raises the limit beyond `position`, which is the first unpublished one, for the publisher
/// `me`. Returns the limit.
pub(super) fn raise(
    words: &impl Words,
    table: &impl Table,
    me: u64,
    position: u64,
) -> Result<u64, Refused> {
    let shape = words.shape();
    for _ in 0..TRIES {
        // Edge L.
        let seen = words.limit().load(Ordering::Acquire);
        match seen.wrapping_sub(position).cast_signed() {
            1.. => return believed(words, position, seen),
            // Claims stop at the limit (I3), so it is there.
            0 => {}
            _ => return Err(Refused::Corrupt(seen)),
        }
        // Edge J.
        fence(Ordering::SeqCst);
        let (behind, slowest) = slowest(words, table, position);
        let room = shape.reach.saturating_sub(behind).min(shape.step);
        if let (0, Some(slowest)) = (room, slowest) {
            return Err(Refused::Blocked(slowest));
        }
        let used = words.publishers_used().load(Ordering::Relaxed).min(shape.publishers);
        (0..used).filter(|&n| n != me).for_each(|n| help(words, n));
        renew(words, me);
        let raised = position.wrapping_add(room);
        let limit = words.limit();
        // Edge L.
        if limit.compare_exchange(seen, raised, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            return Ok(raised);
        }
    }
    Err(Refused::Contended)
}

/// A limit that is further ahead than a whole ring is true only if others have published at
/// `position` meanwhile.
fn believed(words: &impl Words, position: u64, limit: u64) -> Result<u64, Refused> {
    let (slots, at) = (words.shape().slots, Cursor::at(position, words.shape().slots));
    let published = || {
        let there = words.slot(at.index).load(Ordering::Acquire);
        words.shape().turns_after(there, at.lap) >= 1
    };
    if limit.wrapping_sub(position) <= slots || published() {
        Ok(limit)
    } else {
        Err(Refused::Corrupt(limit))
    }
}

/// Whether a publisher that was blocked at `position` may go on, a moment ago.
pub(crate) fn room(words: &impl Words, table: &impl Table, position: u64) -> bool {
    // Edge L.
    let raised = words.limit().load(Ordering::Acquire);
    raised.wrapping_sub(position).cast_signed() > 0
        || slowest(words, table, position).0 < words.shape().reach
}

/// Whether any publisher may go on, a moment ago: a position below the limit is left, or the
/// limit could be raised. To be asked behind a fence by a subscriber that has read on: of two
/// that publishers wait for, the last one finds room.
pub(crate) fn has_room(words: &impl Words, table: &impl Table) -> bool {
    let shape = words.shape();
    // Edge L.
    let limit = words.limit().load(Ordering::Acquire);
    let last = Cursor::at(limit.wrapping_sub(1), shape.slots);
    // Edge P.
    let there = words.slot(last.index).load(Ordering::Acquire);
    shape.turns_after(there, last.lap) < 1 || slowest(words, table, limit).0 < shape.reach
}

/// How far the slowest reliable subscriber is behind `position`, and which it is.
pub(crate) fn slowest(
    words: &impl Words,
    table: &impl Table,
    position: u64,
) -> (u64, Option<Member>) {
    // Relaxed: edge J.
    let used = words.reliable_used().load(Ordering::Relaxed).min(words.shape().reliable);
    let mut most = (0, None);
    for n in 0..used {
        let entry = words.reliable(n);
        // Acquire: if the last holder has left, what it has read, it has read before.
        let Some(holder) = counts(entry.holder.load(Ordering::Acquire), table) else {
            continue;
        };
        // Edge L begins: what this subscriber has read, it has read before.
        let at = entry.position.load(Ordering::Acquire);
        // Zero if it says that it is ahead of what is published.
        let behind = u64::try_from(position.wrapping_sub(at).cast_signed()).unwrap_or(0);
        if behind >= most.0 {
            most = (behind, Some(holder));
        }
    }
    most
}

/// Completes the last publication of a publisher's entry, if it is incomplete.
pub(super) fn help(words: &impl Words, n: u64) {
    let shape = words.shape();
    let entry = words.publisher(n);
    // Edge H.
    let word = entry.word.load(Ordering::Acquire);
    // Relaxed, as is `over` below: edge P.
    let at = entry.at.load(Ordering::Relaxed);
    let (lap, index) = (at / shape.slots, at % shape.slots);
    let spare = shape.buffer(shape.entry(n), word);
    // Edge P.
    let there = words.slot(index).load(Ordering::Acquire);
    if shape.without_gap(there) != shape.word(index, lap.wrapping_add(1), spare) {
        renew(words, n);
        return;
    }
    let turn = shape.turn(word).wrapping_add(1);
    let over = shape.within(entry.over.load(Ordering::Relaxed));
    let completed = shape.word(shape.entry(n), turn, over);
    // Each failure means that another one has stored something: at most each other publisher
    // once for an earlier turn, and one for this turn or a later one.
    for _ in 0..=shape.publishers {
        // Edge H.
        let helped = entry.helped.load(Ordering::Acquire);
        // This one may have been stopped since it loaded the entry's word, for so many turns that
        // their difference says nothing. Then `helped` has been renewed, and so the word, which
        // is another one, is visible. Relaxed: edge H by `helped`.
        let gone_on = entry.word.load(Ordering::Relaxed) != word;
        if gone_on || shape.turns_after(helped, turn) >= 0 {
            return;
        }
        let swapped =
            entry.helped.compare_exchange(helped, completed, Ordering::AcqRel, Ordering::Relaxed);
        if swapped.is_ok() {
            return;
        }
    }
}

/// Keeps `helped` within a quarter of all turns of `word`, so that their difference says which
/// is the later one. A raise does this for each entry, its own too: it comes far more often.
fn renew(words: &impl Words, n: u64) {
    let (shape, entry) = (words.shape(), words.publisher(n));
    // Edge H. In this order: if this one is stopped in between or afterwards until others have
    // renewed `helped`, its swap fails.
    let helped = entry.helped.load(Ordering::Acquire);
    let word = entry.word.load(Ordering::Acquire);
    if shape.turns_after(helped, shape.turn(word)) < -shape.quarter() {
        let _ = entry.helped.compare_exchange(helped, word, Ordering::AcqRel, Ordering::Relaxed);
    }
}
