//! What a caller can learn of the call slots without changing them. Each answer was true at
//! some moment, and may be out of date when the caller gets it.

use super::Words;
use super::shown::shown;
use super::word::{CallWord, Phase, load};

/// Whether the next take could return a call.
pub(crate) fn available(words: &impl Words) -> bool {
    shown(words, 0).any(|index| is_in(words, index, Phase::Open))
}

/// Whether the next claim could succeed.
pub(crate) fn room(words: &impl Words) -> bool {
    (0..words.slots()).any(|index| is_in(words, index, Phase::Free))
}

/// How many calls are in a phase: OPEN, the ones that wait for a server; TAKEN, the ones in the
/// hands of servers.
pub(crate) fn count(words: &impl Words, phase: Phase) -> u64 {
    (0..words.slots()).filter(|&index| is_in(words, index, phase)).count() as u64
}

/// The words of all slots, one after the other.
pub(crate) fn views(words: &impl Words) -> impl Iterator<Item = CallWord> {
    (0..words.slots()).map(|index| load(words.slot(index)))
}

/// A number that is another once something has happened in a slot.
pub(crate) fn stamp(words: &impl Words, index: u64) -> u64 {
    load(words.slot(index)).word()
}

fn is_in(words: &impl Words, index: u64, phase: Phase) -> bool {
    load(words.slot(index)).phase == phase
}
