//! Blocks of memory for messages that a sender writes before it queues them. So
//! a slow sender holds a block, and delays no other message.
//!
//! ```text
//!              allocate               publish a slot that names it
//!  FREE(v) ───────────▶ HELD(v+1, sender) ───────────────────────┐
//!     ▲                    │ abort                               ▼
//!     │                    │                         named by a FULL slot
//!     ├────────────────────┘                                     │ taken
//!     │  free, after the slot is released                        ▼
//!     └──────────────────────────────────────── HELD(v+2, receiver)
//! ```
//!
//! The word: `version:50 | held:1 | owner:13`. Zero is FREE of version 0, and
//! every change but freeing raises the version. A sender queues a block by
//! naming it in a slot of an [`mpmc`](super::mpmc) ring. The word then still
//! names the sender, until a receiver makes the block its own.
//!
//! **Death.** A sweep frees a block that a dead process held, unless a slot that
//! is FULL, READING or ORPHAN names it. Only the dead process could have made a
//! slot name it, so no slot can begin to name it later. A receiver that takes
//! such a slot makes the block its own before it lets the slot go; then the
//! sweep's exact compare-and-swap fails. When a sweep drops a message, it first
//! makes the block the dead reader's own, because otherwise nobody would ever
//! free it.
//!
//! Edges. A: allocate (AcqRel) with free (Release). The last reader is done with
//! the bytes. Its Release also serves a slow sweep of this id's former life:
//! that sweep sees that its victim is no longer DEAD. The slot passes the bytes
//! themselves on (edge P of the ring).

use super::recovery::{Finished, Recovery, settle};
use crate::sync::{AtomicU64, Ordering};

const OWNER_BITS: u32 = 13;
const HELD: u64 = 1 << OWNER_BITS;
const VERSION: u64 = HELD << 1;
const OWNER: u64 = HELD - 1;

/// Where the words are.
pub(crate) trait Blocks {
    fn count(&self) -> u64;
    /// The word of block `index`, below the count.
    fn block(&self, index: u64) -> &AtomicU64;
}

const fn held(word: u64) -> bool {
    word & HELD != 0
}

/// The next word of a block, held by `owner`.
const fn hold(word: u64, owner: u16) -> u64 {
    ((word & !(VERSION - 1)).wrapping_add(VERSION)) | HELD | owner as u64
}

/// The word of a block after it is given back.
const fn free_word(word: u64) -> u64 {
    word & !(VERSION - 1)
}

/// Takes a free block, searching from `hint` on. Moves `hint` behind it.
pub(crate) fn allocate(blocks: &impl Blocks, hint: &mut u64, owner: u16) -> Option<u64> {
    let count = blocks.count();
    let mut index = *hint;
    for _ in 0..count {
        if index >= count {
            index = 0;
        }
        let word = blocks.block(index);
        let seen = word.load(Ordering::Relaxed);
        // Edge A.
        if !held(seen)
            && word
                .compare_exchange(seen, hold(seen, owner), Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
        {
            *hint = index + 1;
            return Some(index);
        }
        index += 1;
    }
    None
}

/// Where to search next: from the first block on, if that is free, and otherwise from `hint`
/// on. So the blocks that are used are the first ones, as many as messages need at a time.
pub(crate) fn search_from(blocks: &impl Blocks, hint: u64) -> u64 {
    // Relaxed: the search looks itself.
    if held(blocks.block(0).load(Ordering::Relaxed)) { hint } else { 0 }
}

/// Whether a block was free at some moment of this call.
pub(crate) fn any_free(blocks: &impl Blocks) -> bool {
    // Relaxed: a caller that acts on the answer goes through edge A.
    (0..blocks.count()).any(|index| !held(blocks.block(index).load(Ordering::Relaxed)))
}

/// Makes the block of a taken slot the receiver's own. Returns `false` if it was
/// free, which the block of a slot never is.
pub(crate) fn adopt(blocks: &impl Blocks, index: u64, owner: u16) -> bool {
    let word = blocks.block(index);
    let seen = word.load(Ordering::Relaxed);
    held(seen)
        && word
            .compare_exchange(seen, hold(seen, owner), Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
}

/// Gives a block back. Only its owner may do so, and only once no slot names
/// it.
pub(crate) fn free(blocks: &impl Blocks, index: u64) {
    let word = blocks.block(index);
    let seen = word.load(Ordering::Relaxed);
    // Edge A.
    word.store(free_word(seen), Ordering::Release);
}

/// Makes a block the dead reader's own, while that reader still holds the slot
/// that names it. So [`recover`] finds the block once the slot is free.
/// `still_read` is called after the word is read, and says whether the dead
/// reader still holds the slot.
pub(crate) fn assign_to_dead(
    blocks: &impl Blocks,
    index: u64,
    dead: u16,
    still_read: impl FnOnce() -> bool,
) {
    let word = blocks.block(index);
    let seen = word.load(Ordering::Acquire);
    if held(seen) && seen & OWNER != u64::from(dead) && still_read() {
        let _ = word.compare_exchange(seen, hold(seen, dead), Ordering::AcqRel, Ordering::Relaxed);
    }
}

/// Whether a dead owner held the block and no slot names it.
fn left_behind(word: u64, dead: u16, named: impl FnOnce() -> bool) -> bool {
    held(word) && word & OWNER == u64::from(dead) && !named()
}

/// Walks over the blocks that a dead owner holds and no slot names: counts them,
/// and frees them if that is what the walk is for.
pub(crate) fn recover(
    blocks: &impl Blocks,
    dead: u16,
    named: impl Fn(u64) -> bool,
    recovery: &(impl Recovery + ?Sized),
) -> u64 {
    let mut freed = 0;
    for index in 0..blocks.count() {
        let word = blocks.block(index);
        // Edge A.
        let seen = word.load(Ordering::Acquire);
        if !left_behind(seen, dead, || named(index)) {
            continue;
        }
        match settle(recovery, word, seen, free_word(seen)) {
            Ok(settled) => freed += u64::from(settled),
            Err(Finished) => break,
        }
    }
    freed
}
