//! FIFOs: pipes that are found by a path.
//!
//! The file is only the name. The data is in the kernel while any process has the
//! FIFO open; unread bytes are lost when the last one closes it. The ends are those
//! of a [pipe](super::pipe).
//!
//! ```
//! use tombolo::sys::{ErrorKind, fifo, proc};
//!
//! let path = std::env::temp_dir().join(format!("tombolo-doc-{}", proc::pid()));
//! fifo::create(&path, 0o600)?;
//!
//! // Nobody listens yet.
//! let open = fifo::options().owner(proc::uid()).deny(0o077);
//! assert_eq!(open.writer(&path).unwrap_err().kind(), ErrorKind::NoReader);
//!
//! let reader = open.reader(&path)?;
//! let writer = open.writer(&path)?;
//! writer.write_record(b"hello")?;
//! let mut record = [0; 5];
//! assert!(reader.read_record(&mut record)?);
//! fifo::remove(&path)?;
//! # Ok::<(), tombolo::sys::Error>(())
//! ```
//!
//! If the last part of a path is a symbolic link, it is not followed. Otherwise
//! paths are used as they are. A user who may write to a directory can replace the
//! files in it. So check the owner and the mode of the opened file
//! ([`Options::owner`], [`Options::deny`]), and use a directory of your own.

use std::fs::{self, Metadata};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::{mkfifo, unlink};

use super::error::{Call, Error, ErrorKind, Result};
use super::object::Object;
use super::pipe::{End, Reader, Writer};

mod lock;

/// The owner of a FIFO, and its permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stat {
    /// The owner.
    pub uid: u32,
    /// The owner's group.
    pub gid: u32,
    /// The permission bits.
    pub mode: u32,
    /// The file system that the name is in.
    pub device: u64,
    /// With the device, this identifies the FIFO: another FIFO under the same path
    /// has another number.
    pub inode: u64,
}

/// How to open a FIFO, and which one to accept: see [`options`].
#[derive(Clone, Copy, Debug)]
#[must_use = "options do nothing until `reader` or `writer`"]
pub struct Options {
    wait: bool,
    owner: Option<u32>,
    denied: u32,
}

/// Starts to describe how to open a FIFO: does not wait, and accepts any.
pub const fn options() -> Options {
    Options { wait: false, owner: None, denied: 0 }
}

/// Makes a FIFO with permission bits `mode`, less those in the process's
/// umask, which applies as to any file.
///
/// See [mkfifo(3)](https://man7.org/linux/man-pages/man3/mkfifo.3.html).
///
/// # Errors
///
/// [`Exists`](ErrorKind::Exists) if any file is there. (If a killed process left
/// a FIFO, [`Options::writer`] fails with [`NoReader`](ErrorKind::NoReader).)
/// [`NotFound`](ErrorKind::NotFound) if the directory is missing,
/// [`PermissionDenied`](ErrorKind::PermissionDenied) if the directory does not
/// allow it, and [`NoSpace`](ErrorKind::NoSpace).
#[doc(alias = "mkfifo")]
#[doc(alias = "mknod")]
pub fn create(path: impl AsRef<Path>, mode: u32) -> Result<()> {
    let path = path.as_ref();
    mkfifo(path, Mode::from_bits_truncate(mode & 0o777))
        .map_err(|e| error(Call::FifoCreate, path, e))
}

/// The owner and the permissions of the FIFO at `path`.
///
/// See [stat(2)](https://man7.org/linux/man-pages/man2/stat.2.html).
///
/// # Errors
///
/// [`NotFound`](ErrorKind::NotFound), [`NotFifo`](ErrorKind::NotFifo),
/// [`PermissionDenied`](ErrorKind::PermissionDenied) if a directory of the path
/// does not allow it.
#[doc(alias = "lstat")]
pub fn stat(path: impl AsRef<Path>) -> Result<Stat> {
    let path = path.as_ref();
    examine(Call::FifoStat, path, fs::symlink_metadata(path))
}

/// Removes the FIFO's name. Processes that have it open can still use it.
///
/// See [unlink(2)](https://man7.org/linux/man-pages/man2/unlink.2.html).
///
/// # Errors
///
/// [`NotFifo`](ErrorKind::NotFifo), and then nothing is removed;
/// [`NotFound`](ErrorKind::NotFound);
/// [`PermissionDenied`](ErrorKind::PermissionDenied) if its directory does not
/// allow it.
#[doc(alias = "unlink")]
pub fn remove(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    examine(Call::FifoRemove, path, fs::symlink_metadata(path))?;
    unlink(path).map_err(|e| error(Call::FifoRemove, path, e))
}

impl Options {
    /// Whether opening sleeps until the other side opens the FIFO too (by default
    /// not), and whether reads and writes wait afterwards. Only the other side or
    /// a signal ends that sleep; the FIFO's removal does not.
    #[doc(alias = "O_NONBLOCK")]
    pub const fn wait(mut self, wait: bool) -> Options {
        self.wait = wait;
        self
    }

    /// Accepts only a FIFO of this user.
    pub const fn owner(mut self, uid: u32) -> Options {
        self.owner = Some(uid);
        self
    }

    /// Refuses a FIFO that has any of these permission bits. `0o077` refuses one
    /// that other users may open.
    pub const fn deny(mut self, bits: u32) -> Options {
        self.denied = bits;
        self
    }

    /// Opens a FIFO for reading.
    ///
    /// Without [waiting](Options::wait) it opens at once. Until the first writer
    /// comes, and again after the last one has gone, reads return the end of the
    /// file.
    ///
    /// See [fifo(7)](https://man7.org/linux/man-pages/man7/fifo.7.html).
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound), [`NotFifo`](ErrorKind::NotFifo),
    /// [`PermissionDenied`](ErrorKind::PermissionDenied),
    /// [`Untrusted`](ErrorKind::Untrusted), [`NoSpace`](ErrorKind::NoSpace) if
    /// there are too many descriptors, [`Interrupted`](ErrorKind::Interrupted).
    #[doc(alias = "open")]
    pub fn reader(self, path: impl AsRef<Path>) -> Result<Reader> {
        self.open(path.as_ref(), OFlag::O_RDONLY).map(Reader::new)
    }

    /// Opens a FIFO for writing.
    ///
    /// See [fifo(7)](https://man7.org/linux/man-pages/man7/fifo.7.html).
    ///
    /// # Errors
    ///
    /// Those of [`reader`](Options::reader), and without
    /// [waiting](Options::wait) [`NoReader`](ErrorKind::NoReader) if no process has
    /// it open for reading: not yet, or no longer.
    #[doc(alias = "open")]
    pub fn writer(self, path: impl AsRef<Path>) -> Result<Writer> {
        self.open(path.as_ref(), OFlag::O_WRONLY).map(Writer::new)
    }

    fn open(self, path: &Path, access: OFlag) -> Result<End> {
        // Checked before, because opening can have effects: a wait, or a device's
        // own.
        self.accept(path, fs::symlink_metadata(path))?;
        let mut flags = access | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        flags.set(OFlag::O_NONBLOCK, !self.wait);
        let opened =
            open(path, flags, Mode::empty()).map_err(|e| error(Call::FifoOpen, path, e))?;
        let file = fs::File::from(opened);
        // Checked again, because it may be another file by now.
        self.accept(path, file.metadata())?;
        Ok(End::new(file, Object::Fifo(path.into())))
    }

    fn accept(self, path: &Path, found: std::io::Result<Metadata>) -> Result<()> {
        let stat = examine(Call::FifoOpen, path, found)?;
        let refused = |cause: &str, remedy| {
            let error = error(Call::FifoOpen, path, Errno::EPERM);
            Err(error.with_kind(ErrorKind::Untrusted).because(cause, remedy))
        };
        if let Some(owner) = self.owner.filter(|&owner| owner != stat.uid) {
            let cause = format!("it belongs to uid {}, and not to uid {owner}", stat.uid);
            return refused(&cause, "find out who has put it there");
        }
        if stat.mode & self.denied != 0 {
            let cause = format!(
                "it has mode {:04o}, and none of {:04o} is allowed",
                stat.mode, self.denied
            );
            return refused(&cause, "take the permissions from it: chmod");
        }
        Ok(())
    }
}

/// The state of a file, if it is a FIFO.
fn examine(call: Call, path: &Path, found: std::io::Result<Metadata>) -> Result<Stat> {
    let found = found
        .map_err(|e| error(call, path, e.raw_os_error().map_or(Errno::EINVAL, Errno::from_raw)))?;
    if !found.file_type().is_fifo() {
        return Err(error(call, path, Errno::EINVAL).with_kind(ErrorKind::NotFifo));
    }
    Ok(Stat {
        uid: found.uid(),
        gid: found.gid(),
        mode: found.mode() & 0o7777,
        device: found.dev(),
        inode: found.ino(),
    })
}

fn error(call: Call, path: &Path, errno: Errno) -> Error {
    Error::new(call, Object::Fifo(path.into()), errno)
}
