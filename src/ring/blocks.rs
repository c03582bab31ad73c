//! Blocks of memory for messages that are written before they are queued, so
//! that a slow writer holds a block and nobody's place in the order.
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
//! The word: `version:50 | held:1 | owner:13`, zero is FREE of version 0, and
//! every change but freeing raises the version. A block is queued by being
//! named in a slot of an [`mpmc`](super::mpmc) ring; the word goes on saying
//! who put it there until a receiver makes it its own.
//!
//! **Death.** A block that a dead process held is freed unless a slot that is
//! FULL, READING or ORPHAN names it. Only the dead could have made a slot name
//! it, so that cannot become true any more; and a receiver that takes such a
//! slot makes the block its own before it lets the slot go, so the sweep's
//! exact compare-and-swap fails. A message that a sweep drops is first made
//! the dead reader's own, or nobody would ever free its block.
//!
//! Edges. A: allocate (AcqRel) with free (Release): the last reader is done
//! with the bytes; its Release also shows a slow sweep of this id's former
//! life that its victim is no longer DEAD. The bytes themselves are handed
//! over by the slot (edge P of the ring).

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

/// The word of a block when it is given back.
const fn free_word(word: u64) -> u64 {
    word & !(VERSION - 1)
}

/// Takes a free block, looking from `hint` on; moves `hint` behind it.
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

/// Whether a block is free, now or a moment ago.
pub(crate) fn any_free(blocks: &impl Blocks) -> bool {
    // Relaxed: who acts on it goes through edge A.
    (0..blocks.count()).any(|index| !held(blocks.block(index).load(Ordering::Relaxed)))
}

/// Makes the block of a taken slot the taker's own. `false` if it was free,
/// which no slot's block ever is.
pub(crate) fn adopt(blocks: &impl Blocks, index: u64, owner: u16) -> bool {
    let word = blocks.block(index);
    let seen = word.load(Ordering::Relaxed);
    held(seen)
        && word
            .compare_exchange(seen, hold(seen, owner), Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
}

/// Gives a block back. Only its owner may, and only once no slot names it.
pub(crate) fn free(blocks: &impl Blocks, index: u64) {
    let word = blocks.block(index);
    let seen = word.load(Ordering::Relaxed);
    // Edge A.
    word.store(free_word(seen), Ordering::Release);
}

/// Makes the block of a slot that a dead reader holds that reader's own, so
/// that [`recover`] finds it once the slot is gone. `still_read` says, after
/// the word was read, whether the slot is still in the dead reader's hands.
pub(crate) fn bequeath(
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

/// Whether a dead owner held it and no slot names it.
fn left_behind(word: u64, dead: u16, named: impl FnOnce() -> bool) -> bool {
    held(word) && word & OWNER == u64::from(dead) && !named()
}

/// How many blocks [`recover`] is going to free, if nobody has begun it and
/// no message is dropped.
pub(crate) fn unnamed(blocks: &impl Blocks, dead: u16, named: impl Fn(u64) -> bool) -> u64 {
    let left = |&index: &u64| {
        // Acquire: as in the ring's `held`.
        left_behind(blocks.block(index).load(Ordering::Acquire), dead, || named(index))
    };
    (0..blocks.count()).filter(left).count() as u64
}

/// Frees what a dead owner held and no slot names. `still_dead` is asked
/// between reading a word and changing it, as in the ring's own recovery.
pub(crate) fn recover(
    blocks: &impl Blocks,
    dead: u16,
    named: impl Fn(u64) -> bool,
    still_dead: impl Fn() -> bool,
) -> u64 {
    let mut freed = 0;
    for index in 0..blocks.count() {
        let word = blocks.block(index);
        // Edge A.
        let seen = word.load(Ordering::Acquire);
        if !left_behind(seen, dead, || named(index)) {
            continue;
        }
        if !still_dead() {
            break;
        }
        if word.compare_exchange(seen, free_word(seen), Ordering::AcqRel, Ordering::Relaxed).is_ok()
        {
            freed += 1;
        }
    }
    freed
}
