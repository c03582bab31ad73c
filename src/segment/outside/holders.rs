//! Whether a process holds a set or a segment, as the kernel says it.

use std::thread;
use std::time::Duration;

use crate::ring::set::SetMap;
use crate::segment::queue::is_marked;
use crate::sys::msg;
use crate::sys::sem::{self, Set};
use crate::sys::shm::{self, Shm};
use crate::sys::{ErrorKind, InUse, Key, proc};

/// The segments that this process is in, by their generation.
pub(crate) static OWN: InUse = InUse::new();

/// Semaphores before those of participants and channels.
const FIRST: usize = SetMap::WAKE_ALL as usize + 1;

/// Longer than a process that has a processor looks at a segment; and how often to wait
/// for that.
const LOOK: Duration = Duration::from_millis(1);
const LOOKS: u32 = 20;

/// The values of a set, if it is there and may be read.
pub(crate) fn values(set: &Set) -> Option<Vec<u16>> {
    let mut values = vec![0; set.stat_any().ok()?.count];
    set.values(&mut values).ok()?;
    Some(values)
}

pub(crate) fn leased(values: &[u16]) -> bool {
    values.get(usize::from(SetMap::LEASE)).is_some_and(|&value| value > 0)
}

/// Whether a segment is one whose header may say which set is its own. Anybody can
/// make memory whose header names another user's set, also on the key of an
/// anonymous segment's; nobody can make it as that user.
pub(crate) fn belong(segment: &shm::Stat, set: &sem::Stat) -> bool {
    segment.creator_uid == set.creator_uid
        && (segment.key == set.key || segment.key == Key::PRIVATE)
}

/// Whether a process holds a participant's liveness up.
pub(crate) fn has_peer(map: SetMap, values: &[u16]) -> bool {
    let up = |sem: u16| values.get(usize::from(sem)).is_some_and(|&value| value > 0);
    (0..map.participants).any(|id| up(map.liveness(id)))
}

/// Whether a living process may hold one of the semaphores up, other than the lease.
pub(crate) fn has_holder(set: Set, values: &[u16]) -> bool {
    let own = proc::pid();
    let mut above = (0..).zip(values).skip(FIRST).filter(|(_, value)| **value > 0);
    above.any(|(sem, _)| {
        match set.last_pid(sem).ok().and_then(|pid| u32::try_from(pid).ok()) {
            // Not visible from here.
            None | Some(0) => true,
            Some(pid) if pid == own => {
                SetMap::generation(values).is_none_or(|generation| OWN.contains(generation))
            }
            Some(pid) => !proc::has_ended(pid),
        }
    })
}

/// How many of the attachments found at first remain, without processes that only look:
/// waits a little until there are no more than `most`.
pub(crate) fn attached_for_good(shm: Shm, first: u64, most: u64) -> u64 {
    let mut fewest = first;
    for _ in 0..LOOKS {
        if fewest <= most {
            break;
        }
        match shm.stat_any() {
            Ok(stat) => fewest = fewest.min(stat.attached),
            Err(_) => return 0,
        }
        if fewest > most {
            thread::sleep(LOOK);
        }
    }
    fewest
}

pub(crate) fn is_stray(queue: &msg::Stat) -> bool {
    is_marked(queue) && queue.key != Key::PRIVATE && without_set(queue.key)
}

/// Whether no set is on the key.
pub(crate) fn without_set(key: Key) -> bool {
    Set::open(key).is_err_and(|error| error.kind() == ErrorKind::NotFound)
}
