//! A directory that belongs to this user, for FIFOs.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use super::backoff;
use super::error::{Call, Error, ErrorKind, Result};
use super::object::Object;
use super::proc;

/// A directory into which only this user can put anything.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
}

/// A lock on the directory, which only one process holds. Dropping it releases the
/// lock; so does the kernel when the process ends.
#[derive(Debug)]
pub(crate) struct Locked {
    _file: File,
}

impl Directory {
    /// Makes the directory, unless it exists. Its parent directory must exist.
    ///
    /// See [mkdir(2)](https://man7.org/linux/man-pages/man2/mkdir.2.html).
    pub(crate) fn create(path: PathBuf) -> Result<Directory> {
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(explained(Call::DirectoryCreate, &path, &error))
            }
            _ => Directory::open(path),
        }
    }

    /// Opens the directory if it can be trusted: if it belongs to this user and is
    /// closed to all others. It can be trusted from then on. Only a user who may
    /// write to its parent directory could replace it, and only if that lacks the
    /// sticky bit.
    pub(crate) fn open(path: PathBuf) -> Result<Directory> {
        let opened = handle(&path)?;
        let found = opened.metadata().map_err(|e| error(Call::DirectoryOpen, &path, &e))?;
        let (uid, mode) = (proc::uid(), found.mode() & 0o777);
        let refused = |cause: String, remedy: &str| {
            let error =
                Error::new(Call::DirectoryOpen, Object::Path(path.as_path().into()), Errno::EPERM);
            Err(error.with_kind(ErrorKind::Untrusted).because(&cause, remedy))
        };
        if found.uid() != uid {
            return refused(
                format!("it belongs to uid {}, and this process runs as uid {uid}", found.uid()),
                "find out who has put it there, and set XDG_RUNTIME_DIR to a directory of your own",
            );
        }
        if mode & 0o077 != 0 {
            return refused(
                format!("it has mode {mode:04o}, so others may be in it"),
                "see what is in it, and close it: chmod 700",
            );
        }
        Ok(Directory { path })
    }

    /// The path of the file with this name in it.
    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The names of the files in it that are valid UTF-8.
    pub(crate) fn names(&self) -> Result<Vec<String>> {
        let error = |e: &io::Error| error(Call::DirectoryList, &self.path, e);
        let entries = fs::read_dir(&self.path).map_err(|e| error(&e))?;
        let names = entries.map(|entry| entry.map(|entry| entry.file_name().into_string().ok()));
        names.filter_map(Result::transpose).collect::<io::Result<_>>().map_err(|e| error(&e))
    }

    /// Locks it, waiting until the deadline. Returns `None` if another process held
    /// the lock until then.
    ///
    /// See [flock(2)](https://man7.org/linux/man-pages/man2/flock.2.html), which
    /// takes no timeout.
    pub(crate) fn lock(&self, deadline: Instant) -> Result<Option<Locked>> {
        let file = handle(&self.path)?;
        let locked = backoff::retry(deadline, Errno::EWOULDBLOCK, || match file.try_lock() {
            Ok(()) => Ok(()),
            Err(TryLockError::WouldBlock) => Err(Errno::EWOULDBLOCK),
            Err(TryLockError::Error(error)) => Err(number(&error)),
        });
        match locked {
            Ok(()) => Ok(Some(Locked { _file: file })),
            Err(Errno::EWOULDBLOCK) => Ok(None),
            Err(errno) => {
                Err(Error::new(Call::Lock, Object::Path(self.path.as_path().into()), errno))
            }
        }
    }
}

fn number(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EINVAL, Errno::from_raw)
}

fn error(call: Call, path: &Path, error: &io::Error) -> Error {
    Error::new(call, Object::Path(path.into()), number(error))
}

/// Opens the path if it is a directory, and no symbolic link to one.
fn handle(path: &Path) -> Result<File> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    open(path, flags, Mode::empty())
        .map(File::from)
        .map_err(|errno| explained(Call::DirectoryOpen, path, &errno.into()))
}

/// Explains why a directory cannot be used.
fn explained(call: Call, path: &Path, found: &io::Error) -> Error {
    let error = error(call, path, found);
    match number(found) {
        Errno::ENOTDIR | Errno::ELOOP if fs::symlink_metadata(path).is_ok() => {
            let cause = "what is there is no directory, or a symbolic link, which is not followed";
            let remedy = "find out who has put it there, and remove it";
            error.with_kind(ErrorKind::Untrusted).because(cause, remedy)
        }
        Errno::ENOENT | Errno::ENOTDIR => {
            let parent = path.parent().unwrap_or(path).display();
            let cause = match call {
                Call::DirectoryCreate => format!("{parent} is no directory"),
                _ => "no server has made it".to_owned(),
            };
            let remedy = "start the server, or set XDG_RUNTIME_DIR to a directory of your own";
            error.with_kind(ErrorKind::NotFound).because(&cause, remedy)
        }
        Errno::EACCES | Errno::EPERM | Errno::EROFS => {
            let cause = format!("this process, of uid {}, may not", proc::uid());
            let remedy = "set XDG_RUNTIME_DIR to a directory of your own";
            error.with_kind(ErrorKind::PermissionDenied).because(&cause, remedy)
        }
        _ => error,
    }
}
