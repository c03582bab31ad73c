//! Semaphore sets.
//!
//! A set is an array of numbers from 0 to 32767 in the kernel. Processes add to them
//! and sleep on them: [`Set::perform`] does any number of [`Op`]s at once, or waits
//! until it can. [`Op::undo`] is the advantage over a futex in shared memory: when a
//! process is killed, the kernel takes back what the process did.

use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::crash;
use super::error::{Call, Error, ErrorKind, Result};
use super::key::Key;
use super::object::Object;
use super::raw;

mod inspect;
mod op;
mod values;

pub use inspect::{Stat, all};
pub(crate) use inspect::{at, last_place};
pub use op::Op;

/// A semaphore set, by its id.
///
/// An id is a number, not a handle. It outlives the set, and after some four
/// million creations the kernel gives it to another set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Set {
    id: i32,
}

/// How to create a set: see [`Set::options`].
#[derive(Clone, Copy, Debug)]
#[must_use = "options do nothing until `create`"]
pub struct Options {
    mode: u32,
    exclusive: bool,
}

impl Options {
    /// The nine permission bits of a new set (by default 0600). Operations
    /// other than waiting for zero need write permission.
    pub const fn mode(mut self, mode: u32) -> Options {
        self.mode = mode & 0o777;
        self
    }

    /// Whether to fail if the key is taken (by default, the existing set is
    /// opened).
    #[doc(alias = "IPC_EXCL")]
    pub const fn exclusive(mut self, exclusive: bool) -> Options {
        self.exclusive = exclusive;
        self
    }

    /// Creates a set of `count` zeroes, or opens the one under `key` if there
    /// is one with at least as many semaphores and
    /// [`exclusive`](Options::exclusive) was not asked for.
    ///
    /// See [semget(2)](https://man7.org/linux/man-pages/man2/semget.2.html).
    ///
    /// # Errors
    ///
    /// [`Exists`](ErrorKind::Exists) if the key is taken and the creation is
    /// exclusive. For a new set: [`Invalid`](ErrorKind::Invalid) if no set can have
    /// this many semaphores, [`NoSpace`](ErrorKind::NoSpace) and
    /// [`NoMemory`](ErrorKind::NoMemory) if there is no room for it now. For an
    /// existing one: [`PermissionDenied`](ErrorKind::PermissionDenied) if its mode
    /// does not grant the caller everything that the requested mode would, or
    /// `Invalid` if it has fewer.
    #[doc(alias = "semget")]
    #[track_caller]
    pub fn create(self, key: Key, count: usize) -> Result<Set> {
        let mut flags = libc::IPC_CREAT | self.mode.cast_signed();
        if self.exclusive {
            flags |= libc::IPC_EXCL;
        }
        // More than an int is more than any limit.
        let asked = i32::try_from(count).unwrap_or(i32::MAX);
        crash::point("semget");
        match raw::semget(key.raw(), asked, flags) {
            Ok(id) => Ok(Set { id }),
            Err(e) => Err(Error::new(Call::SemCreate, Object::NewSet { key, count }, e)),
        }
    }
}

impl Set {
    /// Starts to describe a set to create: mode 0600, not exclusive.
    pub const fn options() -> Options {
        Options { mode: 0o600, exclusive: false }
    }

    /// Finds the set under `key`. This needs no permission on it.
    ///
    /// See [semget(2)](https://man7.org/linux/man-pages/man2/semget.2.html).
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound), always so for [`Key::PRIVATE`].
    #[doc(alias = "semget")]
    pub fn open(key: Key) -> Result<Set> {
        // For the kernel, the private key would mean a creation.
        let found =
            if key.is_private() { Err(Errno::ENOENT) } else { raw::semget(key.raw(), 0, 0) };
        let id = found.map_err(|e| Error::new(Call::SemOpen, Object::SetKey { key }, e))?;
        Ok(Set { id })
    }

    /// The set with this id. Does not check whether there is one.
    pub const fn from_id(id: i32) -> Set {
        Set { id }
    }

    /// The id.
    pub const fn id(self) -> i32 {
        self.id
    }

    /// The failure of an operation of which the caller knows only the error
    /// number; `None` means that a value would leave its range.
    pub(crate) fn refusal(self, errno: Option<i32>) -> Error {
        self.error(Call::SemOp, errno.map_or(Errno::ERANGE, Errno::from_raw))
    }

    pub(super) fn error(self, call: Call, errno: Errno) -> Error {
        Error::new(call, Object::Set { id: self.id }, errno)
    }

    /// The failure of `ops`. If there is one operation, the error names its
    /// semaphore.
    #[cold]
    fn op_error(self, call: Call, ops: &[Op], errno: Errno) -> Error {
        match ops {
            [op] => Error::new(call, Object::Semaphore { id: self.id, index: op.index() }, errno),
            _ => self.error(call, errno),
        }
    }

    /// Does all of `ops` in one atomic step. Sleeps until that is possible.
    ///
    /// The kernel serves sleepers in the order in which they came, but skips those
    /// that cannot be served yet: a sleeper that waits for less overtakes one that
    /// waits for more. The kernel does the operations on behalf of the sleeper,
    /// which may be killed before it runs again. Mark the operations
    /// [`undo`](Op::undo) if such a death must not lose them.
    ///
    /// See [semop(2)](https://man7.org/linux/man-pages/man2/semop.2.html).
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](ErrorKind::WouldBlock) for operations marked
    /// [`no_wait`](Op::no_wait); [`Interrupted`](ErrorKind::Interrupted) by any
    /// signal handled while it slept (and also by a stop and continue, whatever
    /// `SA_RESTART` says); [`Removed`](ErrorKind::Removed), also while it
    /// slept; [`OutOfRange`](ErrorKind::OutOfRange) beyond 32767;
    /// [`TooBig`](ErrorKind::TooBig) for an index past the end or too many
    /// `ops`; [`Invalid`](ErrorKind::Invalid) for none;
    /// [`PermissionDenied`](ErrorKind::PermissionDenied) and, for the first
    /// operation to undo, [`NoMemory`](ErrorKind::NoMemory). After an error none of
    /// the operations is done.
    #[doc(alias = "semop")]
    #[inline]
    #[track_caller]
    pub fn perform(&self, ops: &[Op]) -> Result<()> {
        crash::point("semop");
        raw::semop(self.id, ops).map_err(|e| self.op_error(Call::SemOp, ops, e))
    }

    /// Like [`perform`](Set::perform), sleeping for no longer than `timeout`
    /// (zero: not at all).
    ///
    /// See [semop(2)](https://man7.org/linux/man-pages/man2/semop.2.html).
    ///
    /// # Errors
    ///
    /// Those of [`perform`](Set::perform), and
    /// [`TimedOut`](ErrorKind::TimedOut). The kernel has one error number for that
    /// and for `WouldBlock`. So if any of `ops` is marked
    /// [`no_wait`](Op::no_wait), the error is always `WouldBlock`, though the time
    /// may have run out on another of them.
    #[doc(alias = "semtimedop")]
    #[inline]
    #[track_caller]
    pub fn perform_timeout(&self, ops: &[Op], timeout: Duration) -> Result<()> {
        crash::point("semop");
        let timeout = libc::timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        };
        raw::semtimedop(self.id, ops, &timeout).map_err(|errno| {
            let error = self.op_error(Call::SemTimedOp, ops, errno);
            if errno == Errno::EAGAIN && !ops.iter().any(|op| op.is_no_wait()) {
                error.with_kind(ErrorKind::TimedOut)
            } else {
                error
            }
        })
    }

    /// Like [`perform`](Set::perform), sleeping until `deadline` if there is one.
    /// Sleeps again after each signal; signals do not move the deadline.
    ///
    /// Tries at least once. After a signal, this thread queues behind the other
    /// sleepers.
    ///
    /// # Errors
    ///
    /// Those of [`perform_timeout`](Set::perform_timeout), but for
    /// [`Interrupted`](ErrorKind::Interrupted).
    #[doc(alias = "semtimedop")]
    #[track_caller]
    pub fn perform_until(&self, ops: &[Op], deadline: Option<Instant>) -> Result<()> {
        loop {
            let result = match deadline {
                None => self.perform(ops),
                Some(deadline) => {
                    self.perform_timeout(ops, deadline.saturating_duration_since(Instant::now()))
                }
            };
            match result {
                Err(error) if error.kind() == ErrorKind::Interrupted => {
                    if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                        let error = self.op_error(Call::SemTimedOp, ops, Errno::EAGAIN);
                        return Err(error.with_kind(ErrorKind::TimedOut));
                    }
                }
                result => return result,
            }
        }
    }

    /// Removes the set at once. Every call that sleeps on it fails with
    /// [`Removed`](ErrorKind::Removed).
    ///
    /// See [semctl(2)](https://man7.org/linux/man-pages/man2/semctl.2.html).
    ///
    /// # Errors
    ///
    /// [`PermissionDenied`](ErrorKind::PermissionDenied) unless the caller is
    /// its owner, its creator or privileged; [`Removed`](ErrorKind::Removed).
    #[doc(alias = "semctl")]
    #[doc(alias = "IPC_RMID")]
    #[track_caller]
    pub fn remove(&self) -> Result<()> {
        crash::point("semctl IPC_RMID");
        raw::sem_remove(self.id).map_err(|e| self.error(Call::SemRemove, e))
    }
}
