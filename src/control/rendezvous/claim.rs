//! A FIFO with one owner.
//!
//! ```text
//!  none ── mkfifo, open, lock ──▶ owned ── unlink, unlock ──▶ none
//!              ▲                    │ the owner is killed
//!              └─ open, lock ─── ownerless
//! ```
//!
//! The process that holds the lock on the FIFO at the path owns it, and only the
//! owner unlinks it. So if the owner sees its FIFO at the path, it is still there
//! when the owner unlinks it. If two processes claim a path, one gets the lock.

use std::path::{Path, PathBuf};

use crate::sys::directory::Directory;
use crate::sys::pipe::Reader;
use crate::sys::proc::ForkGuard;
use crate::sys::{self, ErrorKind, fifo};

/// A FIFO that this process owns. Dropping it removes the FIFO's name.
#[derive(Debug)]
pub(super) struct Claim {
    path: PathBuf,
    pub(super) end: Reader,
    pub(super) guard: ForkGuard,
}

/// The result of claiming a path.
pub(super) enum Claimed {
    Mine(Claim),
    /// Another process owns it: this one, if it can be seen.
    Taken(Option<u32>),
    /// Another process changed the path at the same time.
    Again,
}

/// How this module opens FIFOs: without waiting, and only those that no other user
/// may open.
pub(super) fn ours() -> fifo::Options {
    fifo::options().owner(sys::proc::uid()).deny(0o077)
}

/// How often a claim searches for the lock's holder.
const TRIES: u32 = 8;

impl Claim {
    pub(super) fn acquire(path: &Path) -> sys::Result<Claimed> {
        let guard = ForkGuard::new()?;
        match fifo::create(path, 0o600) {
            Err(error) if error.kind() != ErrorKind::Exists => return Err(error),
            _ => {}
        }
        let end = match ours().reader(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Claimed::Again),
            opened => opened?,
        };
        let locked = end.try_lock()?;
        if !end.is_at(path) {
            return Ok(Claimed::Again);
        }
        if !locked {
            // If the kernel's list changes while it is read, the holder may be missing
            // in it.
            let holder = (0..TRIES).find_map(|_| end.lock_holder());
            return Ok(Claimed::Taken(holder));
        }
        Ok(Claimed::Mine(Self { path: path.to_owned(), end, guard }))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn is_at_path(&self) -> bool {
        self.end.is_at(&self.path)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.guard.in_child() && self.is_at_path() {
            // If this fails, the next sweep that may remove it does.
            let _ = fifo::remove(&self.path);
        }
    }
}

/// Removes the FIFOs in a directory that have these names and no owner.
pub(super) fn sweep(directory: &Directory, of: impl Fn(&str) -> bool) -> sys::Result<()> {
    for name in directory.names()?.into_iter().filter(|name| of(name)) {
        let path = directory.at(&name);
        // A file that is no FIFO of this user stays.
        let Ok(end) = ours().reader(&path) else {
            continue;
        };
        if end.try_lock()? {
            // Dropping the claim removes the name.
            drop(Claim { path, end, guard: ForkGuard::new()? });
        }
    }
    Ok(())
}
