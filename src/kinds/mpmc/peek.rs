//! Looking at the messages of a queue without taking them.
//!
//! A slot with a message is written over only after its word has said that the message was
//! taken and the slot is free. So a copy is that message if the word is the same before and
//! after. On processors that reorder stores, a message that replaces this one just now could
//! be seen before the word that announces it; a copy may then be of both.

use crate::kinds::peek::{Copied, Peek};
use crate::ring::mpmc::{SlotState, SlotWord, Words};
use crate::sync::{Ordering, fence};

/// What is at a position, of which `copy` makes a copy, by its slot.
pub(in crate::kinds) fn peek(
    words: &impl Words,
    position: u64,
    copy: impl FnOnce(u64) -> Option<Copied>,
) -> Peek {
    let (lap, index) = (position / words.capacity(), position % words.capacity());
    let slot = words.slot(index);
    let seen = SlotWord(slot.load(Ordering::Acquire));
    let next = position.wrapping_add(1);
    match (seen.laps_after(lap), seen.state()) {
        (0, Some(SlotState::Full | SlotState::Reading | SlotState::Orphan)) => {}
        (1.., _) => return Peek::Gone(next),
        _ => return Peek::Nothing,
    }
    let copied = copy(index);
    // After all loads of the copy.
    fence(Ordering::Acquire);
    match copied {
        Some(message) if slot.load(Ordering::Relaxed) == seen.0 => Peek::Found { message, next },
        _ => Peek::Gone(next),
    }
}
