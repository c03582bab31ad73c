//! What a sweep does about the slots that a dead owner held.

use super::super::recovery::{Finished, Recovery, settle};
use super::queue::{Words, used};
use super::word::{MAX_ATTEMPTS, SlotState, SlotWord};
use crate::sync::Ordering;

/// What becomes of what a dead participant held in one ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Recovered {
    /// Messages that were being written: they are lost, and nobody ever saw
    /// them.
    pub(crate) tombstones: u64,
    /// Messages that were being read: another reader gets them.
    pub(crate) orphans: u64,
    /// Messages that were being read, and are not delivered again.
    pub(crate) dropped: u64,
}

/// How a sweep repairs a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Repair {
    Tombstone,
    Orphan,
    Drop,
}

impl Recovered {
    fn count(&mut self, repair: Repair) {
        *match repair {
            Repair::Tombstone => &mut self.tombstones,
            Repair::Orphan => &mut self.orphans,
            Repair::Drop => &mut self.dropped,
        } += 1;
    }
}

/// How a sweep repairs a slot that a dead owner holds, and the slot's word
/// afterwards; `None` if the owner does not hold it.
fn repair(seen: SlotWord, owner: u16, attempts: u8) -> Option<(Repair, SlotWord)> {
    if seen.owner() != owner {
        return None;
    }
    let freed = SlotWord::new(seen.lap().wrapping_add(1), 0, SlotState::Free, 0);
    match seen.state() {
        Some(SlotState::Writing) => Some((Repair::Tombstone, freed)),
        Some(SlotState::Reading) if seen.attempts() < attempts.min(MAX_ATTEMPTS) => {
            let orphan = SlotWord::new(seen.lap(), seen.attempts() + 1, SlotState::Orphan, 0);
            Some((Repair::Orphan, orphan))
        }
        Some(SlotState::Reading) => Some((Repair::Drop, freed)),
        _ => None,
    }
}

/// Walks over the slots that a dead owner holds: counts what becomes of each, and
/// repairs them if that is what the walk is for.
///
/// A message that was taken more than `attempts` times is dropped; `before_drop`
/// gets its slot just before a repair.
pub(crate) fn recover(
    words: &impl Words,
    owner: u16,
    attempts: u8,
    recovery: &(impl Recovery + ?Sized),
    before_drop: impl Fn(u64, SlotWord),
) -> Result<Recovered, Finished> {
    let mut done = Recovered::default();
    for index in (0..used(words)).rev() {
        let slot = words.slot(index);
        // Edge C. A caller that finds another sweep's repair here also finds that
        // the death was recorded before.
        let seen = SlotWord(slot.load(Ordering::Acquire));
        let Some((repair, repaired)) = repair(seen, owner, attempts) else {
            continue;
        };
        if repair == Repair::Drop && recovery.repairs() {
            before_drop(index, seen);
        }
        if settle(recovery, slot, seen.0, repaired.0)? {
            done.count(repair);
        }
    }
    if recovery.repairs() {
        // Unconditionally: another sweep of the same death may have made the
        // orphans, and died before it could raise the version.
        words.orphans().fetch_add(1, Ordering::Release);
    }
    Ok(done)
}
