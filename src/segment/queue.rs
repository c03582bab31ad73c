//! The message queue of a segment: found, created, used, removed.
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

use super::mail::{MAX_MAIL, Mail, is_to};
use super::mapped::Mapped;
use super::owner::{of_queue, of_set};
use crate::sync::Ordering;
use crate::sys::msg::{self, Queue, Received, Selector, Wait};
use crate::sys::{self, ErrorKind, Key, Permissions, proc};

/// The mark, and the bits that it is of.
pub(super) const MARK: u32 = 0o601;
const MARKED: u32 = 0o711;
/// How many messages are looked at to make room: more than a queue of the
/// usual size can have.
const MOST_TIDIED: u32 = 20_000;

/// Whether a queue is one of ours, whatever has become of its segment.
pub(super) const fn is_marked(stat: &msg::Stat) -> bool {
    stat.mode & MARKED == MARK
}

/// The queue on a key, if it is one of ours.
pub(super) fn marked_on(key: Key) -> sys::Result<Option<Queue>> {
    match Queue::open(key).and_then(|queue| Ok((queue, queue.stat_any()?))) {
        Ok((queue, stat)) => Ok(is_marked(&stat).then_some(queue)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Removed) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Receives a message, whatever is in it; one that is too long to be ours is
/// cut off. `None` if there is none in time.
pub(crate) fn received(
    queue: Queue,
    selector: Selector,
    wait: Wait,
) -> sys::Result<Option<(i64, Vec<u8>)>> {
    let mut buffer = [0; MAX_MAIL + 1];
    match queue.receive_truncated(selector, &mut buffer, wait) {
        Ok(Received { kind, len, .. }) => Ok(buffer.get(..len).map(|got| (kind, got.to_vec()))),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

impl Mapped {
    /// The key of the segment and of its set.
    pub(super) fn key(&self) -> sys::Result<Key> {
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
    pub(super) fn remove_queue(&self, key: Key) {
        if let Some(queue) = self.queue_on(key) {
            // If it cannot be, it stays for whoever clears away.
            let _ = queue.remove();
        }
    }

    /// Posts a message without waiting; `false` if the queue is full of
    /// messages that somebody may still want. It is tidied if that is so,
    /// unless it was just now.
    pub(crate) fn post(
        &self,
        queue: Queue,
        to: i64,
        mail: &Mail,
        tidied: &mut bool,
    ) -> sys::Result<bool> {
        let bytes = mail.bytes();
        let post = || match queue.send(to, &bytes, Wait::No) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        };
        if post()? {
            return Ok(true);
        }
        if core::mem::replace(tidied, true) {
            return Ok(false);
        }
        self.tidy(queue)?;
        post()
    }

    /// Goes through the queue once and takes out what is of no use: junk, what
    /// nobody waits for any more, and what is addressed to the dead.
    fn tidy(&self, queue: Queue) -> sys::Result<()> {
        let mut buffer = [0; MAX_MAIL + 1];
        let mut position = 0;
        for _ in 0..MOST_TIDIED {
            let seen = match queue.peek(position, &mut buffer) {
                Ok(Some(seen)) => seen,
                Ok(None) => return Ok(()),
                // Where nobody may look without taking, it stays full.
                Err(error) if error.kind() == ErrorKind::Unsupported => return Ok(()),
                // One that has come since the room for it was made.
                Err(error) if error.kind() == ErrorKind::TooBig => {
                    position += 1;
                    continue;
                }
                Err(error) => return Err(error),
            };
            if buffer.get(..seen.len).is_some_and(|bytes| self.is_of_use(seen.kind, bytes)) {
                position += 1;
            } else if let Some((kind, bytes)) =
                received(queue, Selector::Type(seen.kind), Wait::No)?
                && self.is_of_use(kind, &bytes)
            {
                // The oldest of that type is another. If there is no room for
                // it any more, it is lost, and who asked told so by time.
                let _ = queue.send(kind, &bytes, Wait::No);
            }
        }
        Ok(())
    }

    fn is_of_use(&self, kind: i64, bytes: &[u8]) -> bool {
        let in_time = |mail: Mail| mail.deadline > proc::monotonic();
        Mail::read(bytes, self.generation).is_some_and(in_time)
            && self.living().any(|member| is_to(kind, member))
    }
}
