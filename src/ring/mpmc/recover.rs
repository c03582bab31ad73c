//! What a sweep does about the slots that a dead owner held.

use super::super::joint::is_committed;
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
    /// Messages of joint sends that were committed: a sweep publishes them.
    pub(crate) completed: u64,
}

/// A dead owner, as a ring needs to know it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dead {
    pub(crate) owner: u16,
    /// A message that was taken more often is dropped.
    pub(crate) attempts: u8,
    /// Which of its joint sends it had committed.
    pub(crate) committed: u64,
}

impl Dead {
    /// Whether a slot has, or by a sweep gets, a message that this owner has committed.
    pub(crate) fn has_committed(&self, seen: SlotWord) -> bool {
        seen.owner() == self.owner
            && seen.state() == Some(SlotState::Writing)
            && is_committed(self.committed, seen.attempts())
    }
}

/// How a sweep repairs a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Repair {
    Tombstone,
    Orphan,
    Drop,
    Publish,
}

impl Recovered {
    fn count(&mut self, repair: Repair) {
        *match repair {
            Repair::Tombstone => &mut self.tombstones,
            Repair::Orphan => &mut self.orphans,
            Repair::Drop => &mut self.dropped,
            Repair::Publish => &mut self.completed,
        } += 1;
    }
}

/// How a sweep repairs a slot that a dead owner holds, and the slot's word
/// afterwards; `None` if the owner does not hold it.
fn repair(seen: SlotWord, dead: Dead) -> Option<(Repair, SlotWord)> {
    if seen.owner() != dead.owner {
        return None;
    }
    if dead.has_committed(seen) {
        return Some((Repair::Publish, SlotWord::new(seen.lap(), 0, SlotState::Full, 0)));
    }
    let freed = SlotWord::new(seen.lap().wrapping_add(1), 0, SlotState::Free, 0);
    match seen.state() {
        Some(SlotState::Writing) => Some((Repair::Tombstone, freed)),
        Some(SlotState::Reading) if seen.attempts() < dead.attempts.min(MAX_ATTEMPTS) => {
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
/// `before_drop` gets the slot of a message that is dropped, just before the repair.
pub(crate) fn recover(
    words: &impl Words,
    dead: Dead,
    recovery: &(impl Recovery + ?Sized),
    before_drop: impl Fn(u64, SlotWord),
) -> Result<Recovered, Finished> {
    let mut done = Recovered::default();
    for index in (0..used(words)).rev() {
        let slot = words.slot(index);
        // Edge C. A caller that finds another sweep's repair here also finds that
        // the death was recorded before.
        let seen = SlotWord(slot.load(Ordering::Acquire));
        let Some((repair, repaired)) = repair(seen, dead) else {
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
