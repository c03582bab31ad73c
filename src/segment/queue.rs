//! The message queue of a segment: found, created, removed. Its messages are commands:
//! see [`commands`](super::commands).
//!
//! The queue has the segment's key. A mark distinguishes it from other programs' queues:
//! of the three permissions to execute, which mean nothing for a queue, it has only that
//! of others, and its owner may read and write. So a queue that a killed process leaves
//! can be recognized from the instant of its creation. (The group's permission would be
//! set in a mode of 666 that was meant to be octal.)
//!
//! A queue is used only with the set under whose lease it was created. A process that
//! finds an unused queue removes that one, and no later one, because ids are not reused
//! soon.

use super::mapped::Mapped;
use crate::sync::Ordering;
use crate::sys::msg::{self, Queue};
use crate::sys::sem;
use crate::sys::{self, ErrorKind, Key, Permissions};

/// The mark, and the bits that it is of.
const MARK: u32 = 0o601;
const MARKED: u32 = 0o711;

/// Whether a queue is one of ours, whatever has become of its segment.
pub(crate) const fn is_marked(stat: &msg::Stat) -> bool {
    stat.mode & MARKED == MARK
}

/// The queue on a key, if it is one of ours.
pub(crate) fn marked_on(key: Key) -> sys::Result<Option<Queue>> {
    match Queue::open(key).and_then(|queue| Ok((queue, queue.stat_any()?))) {
        Ok((queue, stat)) => Ok(is_marked(&stat).then_some(queue)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Removed) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The permissions that a set has, and with it its segment.
pub(crate) const fn of_set(stat: &sem::Stat) -> Permissions {
    Permissions { uid: stat.uid, gid: stat.gid, mode: stat.mode }
}

/// What a queue has where its set has these.
pub(crate) const fn of_queue(set: Permissions) -> Permissions {
    Permissions { mode: set.mode & 0o666 | MARK, ..set }
}

impl Mapped {
    /// The key of the segment and of its set.
    pub(crate) fn key(&self) -> sys::Result<Key> {
        Ok(self.semaphores.set().stat_any()?.key)
    }

    /// The queue that the header names, if it is one of ours on this key.
    pub(crate) fn queue(&self) -> Option<Queue> {
        self.queue_on(self.key().ok()?)
    }

    fn queue_on(&self, key: Key) -> Option<Queue> {
        let word = self.memory.header().queue.load(Ordering::Acquire);
        let queue = Queue::from_id(i32::try_from(word.checked_sub(1)?).ok()?);
        let stat = queue.stat_any().ok()?;
        (is_marked(&stat) && stat.key == key).then_some(queue)
    }

    /// Makes the queue, unless there is one; `None` if another program has the
    /// key. The caller holds the lease.
    pub(crate) fn make_queue(&self) -> sys::Result<Option<Queue>> {
        if let Some(queue) = self.queue() {
            return Ok(Some(queue));
        }
        let set = self.semaphores.set().stat_any()?;
        let make = || {
            let mode = of_queue(of_set(&set)).mode;
            Queue::options().mode(mode).exclusive(true).create(set.key)
        };
        let queue = match make() {
            Err(error) if error.kind() == ErrorKind::Exists => match marked_on(set.key)? {
                None => return Ok(None),
                // Made by one that was killed before it could say so, or with
                // another set: somebody may be about to remove it as that.
                Some(debris) => match debris.remove() {
                    Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                        // A stranger could read what is said in it.
                        let known = |stat: msg::Stat| self.is_known_user(stat.creator_uid, &set);
                        if !debris.stat_any().is_ok_and(known) {
                            return Ok(None);
                        }
                        debris
                    }
                    _ => make()?,
                },
            },
            made => made?,
        };
        let word = u64::from(queue.id().unsigned_abs()) + 1;
        // Release: nothing that is asked for comes before it.
        self.memory.header().queue.store(word, Ordering::Release);
        // A process that removes the segment removes its queue after the set: one of
        // us two finds that the other has been here.
        match self.semaphores.set().stat_any() {
            Err(removed) => {
                let _ = queue.remove();
                Err(removed)
            }
            Ok(set) => {
                // The owner's as well, whoever has made it, and whatever has
                // become of the set meanwhile. It can be used in any case.
                let wanted = of_queue(of_set(&set));
                let is = queue.stat_any().map(|stat| Permissions {
                    uid: stat.uid,
                    gid: stat.gid,
                    mode: stat.mode,
                });
                if is.is_ok_and(|is| is != wanted) {
                    let _ = queue.set_permissions(wanted);
                }
                Ok(Some(queue))
            }
        }
    }

    /// Removes the queue, if there is one. The set has gone.
    pub(crate) fn remove_queue(&self, key: Key) {
        if let Some(queue) = self.queue_on(key) {
            // If it cannot be, it stays for whoever clears away.
            let _ = queue.remove();
        }
    }

    /// Whether this user, which has created something on the segment's key, may take part
    /// or has taken part: the creator or owner of the set, the user of this process,
    /// root, or a participant that is still remembered. Only a process that may write to
    /// the segment can have put its user there.
    fn is_known_user(&self, uid: u32, set: &sem::Stat) -> bool {
        let participant = |id| self.info(id).uid.load(Ordering::Relaxed) == u64::from(uid);
        [0, sys::proc::uid(), set.creator_uid, set.uid].contains(&uid)
            || (0..self.plan.map.participants).any(participant)
    }
}
