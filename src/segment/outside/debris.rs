//! Removes, bit by bit, what killed processes have left.
//!
//! The kernel removes the memory of an anonymous segment with its last process, but not
//! its semaphore set. So each creation of a segment first looks at a few places of the
//! kernel's tables, and removes what no process holds there. Where it finds something, it
//! looks further. So as many sets are removed as are left behind, and if there are none,
//! only a small part of the table is read.
//!
//! It removes objects without a name, and objects that nobody can use any more:
//!
//! | object | is removed if |
//! |---|---|
//! | a branded set | its key is an anonymous one, or no segment is on its key; nobody holds it |
//! | an unfinished set | its key is an anonymous one, or a segment of our size is on its key that nobody has attached; nobody has the lease |
//! | a segment | it is complete, or its key is an anonymous one; no set is on its key, and nobody has it attached |
//! | a queue | no set is on its key |
//!
//! A set does not say which of its semaphores are liveness semaphores, and its segment is
//! gone. So a set counts as held if any semaphore above 0 was last changed by a process
//! that still exists, or that is not visible from here; or by this process, if it is in
//! that segment. A living participant holds its own semaphore up, and nobody else changes
//! that one. If the process that last changed a semaphore is gone, its undo has been
//! applied, so this is a wake semaphore. Only this code asks for a pid, and a reused pid
//! only delays the removal.
//!
//! A creator that has created its set and has not taken the lease yet may find the set
//! gone, and then creates another, as with `Segment::orphans`.
//!
//! Under the lease of a set nobody builds, joins or leaves, so the code checks again
//! there. If two processes clean up at once, one gets the lease.

use super::examine::{Examined, examine};
use super::holders::{has_holder, is_stray, leased, values, without_set};
use crate::ring::lease;
use crate::ring::set::SetMap;
use crate::segment::mapped::Mapped;
use crate::segment::name::{Name, is_anonymous};
use crate::segment::queue::marked_on;
use crate::storage::layout::plausible;
use crate::sys::msg::{self, Queue};
use crate::sys::sem::{self, Set};
use crate::sys::shm::{self, Shm};
use crate::sys::{ErrorKind, Key, Round, Turn, crash, proc};
use crate::wait::Semaphores;

/// How much of the tables to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// A few places, others each time.
    Some,
    /// All of it.
    All,
}

/// Clears away; says how much. What may not be looked at or removed stays.
pub(crate) fn clear(reach: Reach) -> usize {
    if crash::POINTS {
        // Where each step is watched, it must not depend on what others left.
        return 0;
    }
    static SETS: Round = Round::new();
    static SEGMENTS: Round = Round::new();
    static QUEUES: Round = Round::new();
    static OTHERS: Turn = Turn::new();
    let all = reach == Reach::All;
    let sets = SETS.walk(sem::last_place(), all, |place| sem::at(place).is_some_and(clear_set));
    if !all && !OTHERS.has_come() {
        // A death seldom leaves one of these without a set.
        return sets;
    }
    let segments = |place| shm::at(place).is_some_and(clear_segment);
    let queues = |place| msg::at(place).is_some_and(clear_queue);
    sets + SEGMENTS.walk(shm::last_place(), all, segments)
        + QUEUES.walk(msg::last_place(), all, queues)
}

/// Whether it is this process's user that has left it. What others have left is
/// theirs to clear away, also where this process is root: a stranger's objects on a
/// name's keys are refused, and stay to be seen.
fn is_ours(owner: u32, creator: u32) -> bool {
    let own = proc::uid();
    own == owner || own == creator
}

/// Whether somebody has the lease, or [holds](has_holder) the set.
fn is_held(set: Set, values: &[u16]) -> bool {
    leased(values) || has_holder(set, values)
}

/// Whether there is no segment on the key: one that is marked has none.
fn no_segment_on(key: Key) -> bool {
    Shm::open(key).is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

/// The segment on the key, if it is of our size and nobody has it attached.
fn lonely_on(key: Key) -> Option<Shm> {
    let shm = Shm::open(key).ok()?;
    shm.stat_any().is_ok_and(|stat| plausible(stat.size) && stat.attached == 0).then_some(shm)
}

/// What is to go together with a set that is left behind; `None` if it is not.
fn left_behind(stat: &sem::Stat, values: &[u16]) -> Option<Option<Shm>> {
    let anonymous = is_anonymous(stat.key);
    if !SetMap::ours(values) || stat.key == Key::PRIVATE || is_held(Set::from_id(stat.id), values) {
        return None;
    }
    if SetMap::generation(values).is_some() {
        // An anonymous segment is on its key until it is marked.
        return if anonymous {
            Some(lonely_on(stat.key))
        } else {
            no_segment_on(stat.key).then_some(None)
        };
    }
    let unfinished = lonely_on(stat.key);
    (anonymous || unfinished.is_some()).then_some(unfinished)
}

fn clear_set(stat: sem::Stat) -> bool {
    if !SetMap::plausible(stat.count) || !is_ours(stat.uid, stat.creator_uid) {
        return false;
    }
    let set = Set::from_id(stat.id);
    let Some(before) = values(&set) else { return false };
    if left_behind(&stat, &before).is_none() {
        return false;
    }
    let semaphores = Semaphores::new(set, false);
    if lease::try_acquire(&semaphores).is_err() {
        return false;
    }
    let remove = || {
        let mut now = values(&set)?;
        if let Some(lease) = now.get_mut(usize::from(SetMap::LEASE)) {
            // This process's own.
            *lease = 0;
        }
        if SetMap::generation(&now) != SetMap::generation(&before) {
            return None;
        }
        let unfinished = left_behind(&stat, &now)?;
        let queue = marked_on(stat.key).ok().flatten();
        set.remove().ok()?;
        if let Some(queue) = queue {
            let _ = queue.remove();
        }
        if let Some(shm) = unfinished {
            let _ = shm.remove();
        }
        Some(())
    };
    let removed = remove().is_some();
    if !removed {
        let _ = lease::release(&semaphores);
    }
    removed
}

/// Removes a segment whose set is gone and which nobody has attached: one whose
/// remover was killed between the two. A process that opens its name would make it
/// anew, so nobody waits for it.
fn clear_segment(stat: shm::Stat) -> bool {
    let candidate = plausible(stat.size)
        && stat.attached == 0
        && stat.key != Key::PRIVATE
        && is_ours(stat.uid, stat.creator_uid)
        && without_set(stat.key);
    if !candidate {
        return false;
    }
    let shm = Shm::from_id(stat.id);
    // Another program's may be as large.
    let own = is_anonymous(stat.key)
        || match examine(stat) {
            Ok(Examined::Complete(found)) => has_key(&found.mapped, stat.key),
            _ => false,
        };
    let lonely = || shm.stat_any().is_ok_and(|now| now.attached == 0 && now.key == stat.key);
    own && lonely() && without_set(stat.key) && shm.remove().is_ok()
}

fn has_key(mapped: &Mapped, key: Key) -> bool {
    let name = Name::new(&mapped.name, mapped.name.len());
    name.is_ok_and(|name| name.has_key(key))
}

fn clear_queue(stat: msg::Stat) -> bool {
    is_ours(stat.uid, stat.creator_uid)
        && is_stray(&stat)
        && Queue::from_id(stat.id).remove().is_ok()
}
