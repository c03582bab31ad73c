//! Reading, and where a subscriber begins.
//!
//! ```text
//!  look ─┬─ nothing there yet
//!        ├─ missed: go on at the oldest retained message
//!        └─ found ─▶ copy the buffer ─▶ unchanged? ─┬─ yes: it is the message
//!             ▲                                     │
//!             └──────────────── look ◀── no ────────┘
//! ```
//!
//! A subscriber writes nothing here. While it copies, publishers may come round and write
//! into the same buffer. So the copy is made of relaxed loads of whole words, and counts
//! only if the slot's word has not changed afterwards (edge B).

use core::cell::Cell;

use super::super::cursor::Cursor;
use super::Words;
use crate::sync::{Ordering, fence};

/// A message that was there.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// The buffer that it is in.
    pub(crate) buffer: u64,
    index: u64,
    word: u64,
}

/// What is at a position.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Look {
    /// Nothing yet.
    Nothing,
    Found(Found),
    /// No message, but how many are missing.
    Gap(Found),
    /// Another message already: this one is lost to this subscriber.
    Missed,
    /// A word that this algorithm never writes.
    Corrupt(u64),
}

/// Looks at the cursor's position.
#[inline(always)]
pub(crate) fn look(words: &impl Words, at: Cursor) -> Look {
    let shape = words.shape();
    // Edge P.
    let word = words.slot(at.index).load(Ordering::Acquire);
    let found = |buffer| Found { buffer, index: at.index, word };
    if let Some(buffer) = shape.message_in(at.index, word, at.lap.wrapping_add(1)) {
        return Look::Found(found(buffer));
    }
    match shape.turns_after(word, at.lap) {
        1 => Look::Gap(found(shape.buffer(at.index, word))),
        0 => Look::Nothing,
        2.. => Look::Missed,
        _ => Look::Corrupt(word),
    }
}

/// Whether a copy of what was found is that message: to be asked after the copy.
#[inline(always)]
pub(crate) fn unchanged(words: &impl Words, found: Found) -> bool {
    // Edge B. Relaxed: the fence orders the load after those of the copy.
    fence(Ordering::Acquire);
    words.slot(found.index).load(Ordering::Relaxed) == found.word
}

/// Moves a cursor on from a message that has been read.
#[inline(always)]
pub(crate) fn pass(words: &impl Words, cursor: &Cell<Cursor>) {
    cursor.set(cursor.get().next(words.shape().slots));
}

/// Moves a cursor to the oldest retained message, after [`Look::Missed`]. Returns how many
/// messages it passes, or a limit that cannot be.
pub(crate) fn skip(words: &impl Words, cursor: &Cell<Cursor>) -> Result<u64, u64> {
    let shape = words.shape();
    // Edge L. From here on, messages stay as long as the limit does (I4).
    let limit = words.limit().load(Ordering::Acquire);
    let at = cursor.get();
    let to = Cursor::at(limit.wrapping_sub(shape.slots), shape.slots);
    let passed = to.position().wrapping_sub(at.position());
    let there = words.slot(to.index).load(Ordering::Acquire);
    if passed.cast_signed() <= 0 || shape.turns_after(there, to.lap) < 0 {
        return Err(limit);
    }
    cursor.set(to);
    Ok(passed)
}

/// The oldest position that is retained.
pub(crate) fn oldest(words: &impl Words) -> u64 {
    // Edge L.
    words.limit().load(Ordering::Acquire).saturating_sub(words.shape().slots)
}

/// The first position that was not published at some moment of this call.
pub(crate) fn first_unpublished(words: &impl Words) -> Cursor {
    let shape = words.shape();
    // Edge L.
    let limit = words.limit().load(Ordering::Acquire);
    // A prefix of the positions from here to the limit is published.
    let (mut least, mut most) = (limit.saturating_sub(shape.step), limit.saturating_add(1));
    while least < most {
        let middle = least + (most - least) / 2;
        let at = Cursor::at(middle, shape.slots);
        if shape.turns_after(words.slot(at.index).load(Ordering::Acquire), at.lap) < 1 {
            most = middle;
        } else {
            least = middle + 1;
        }
    }
    Cursor::at(least, shape.slots)
}
