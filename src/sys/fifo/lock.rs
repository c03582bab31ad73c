//! The owner of a FIFO: it holds a lock on it, which the kernel releases when the
//! process ends.

use std::fs::{self, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::errno::Errno;

use crate::sys::error::{Call, Result};
use crate::sys::pipe::End;

impl End {
    /// Locks the FIFO as long as this end is open. Returns `false` if it is locked
    /// through another end. A forked child shares the lock.
    ///
    /// See [flock(2)](https://man7.org/linux/man-pages/man2/flock.2.html).
    pub(crate) fn try_lock(&self) -> Result<bool> {
        match self.file().try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => {
                let errno = error.raw_os_error().map_or(Errno::EINVAL, Errno::from_raw);
                Err(self.error(Call::Lock, errno))
            }
        }
    }

    /// Whether this FIFO is still the file at `path`.
    pub(crate) fn is_at(&self, path: &Path) -> bool {
        let own = self.file().metadata().map(|own| (own.dev(), own.ino()));
        let there = fs::symlink_metadata(path).map(|there| (there.dev(), there.ino()));
        own.is_ok_and(|own| there.is_ok_and(|there| own == there))
    }

    /// The process that has locked the FIFO, if it can be seen. For messages to
    /// people only: on some file systems the numbers differ from those that the
    /// kernel lists.
    ///
    /// See [proc_locks(5)](https://man7.org/linux/man-pages/man5/proc_locks.5.html).
    pub(crate) fn lock_holder(&self) -> Option<u32> {
        let inode = self.file().metadata().ok()?.ino().to_string();
        let locks = fs::read_to_string("/proc/locks").ok()?;
        locks.lines().find_map(|line| {
            // number: FLOCK ADVISORY WRITE pid major:minor:inode 0 EOF
            let mut fields = line.split_ascii_whitespace().skip(1);
            let lock = [fields.next()?, fields.next()?, fields.next()?];
            let (pid, file) = (fields.next()?, fields.next()?);
            let ours = lock == ["FLOCK", "ADVISORY", "WRITE"] && file.rsplit(':').next()? == inode;
            ours.then(|| pid.parse().ok().filter(|&pid| pid != 0)).flatten()
        })
    }
}
