//! Why a call on a pipe or a FIFO failed.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::{getegid, geteuid};

use super::memory;
use crate::sys::error::{Call, Detail, ErrorKind, Found};

pub(super) fn pipe(call: Call, errno: Errno) -> Found {
    match errno {
        Errno::EPIPE => (
            ErrorKind::NoReader,
            Some(Detail::new("every reading end is closed", "stop, or start its reader anew")),
        ),
        Errno::EMFILE | Errno::ENFILE => (ErrorKind::NoSpace, Some(descriptors(errno))),
        Errno::EPERM if call == Call::PipeCapacity => {
            (ErrorKind::PermissionDenied, Some(capacity()))
        }
        Errno::EBUSY => (
            ErrorKind::Busy,
            Some(Detail::new("more bytes wait in it than would fit", "read them first")),
        ),
        Errno::EINVAL if call == Call::PipeCapacity => (ErrorKind::Invalid, Some(capacity())),
        Errno::EBADF if call == Call::PipeInherit => (
            ErrorKind::NotFound,
            Some(Detail::new(
                "this process has no descriptor of that number",
                "pass the number that hand_over returned",
            )),
        ),
        Errno::ENOMEM => (ErrorKind::NoMemory, Some(memory::short())),
        _ => (ErrorKind::Other, None),
    }
}

pub(super) fn fifo(call: Call, path: &Path, errno: Errno) -> Found {
    // If something else is at the path, the error numbers mean something else.
    let there = fs::symlink_metadata(path).ok();
    let other = there.as_ref().is_some_and(|there| !there.file_type().is_fifo());
    match errno {
        Errno::EEXIST => {
            let remedy = if other { "choose another path" } else { "open it, or remove it" };
            (ErrorKind::Exists, there.map(|there| Detail::new(describe(&there), remedy)))
        }
        Errno::EACCES | Errno::EPERM => (ErrorKind::PermissionDenied, permission(path)),
        _ if other && matches!(call, Call::FifoOpen | Call::FifoStat | Call::FifoRemove) => {
            let detail = there.map(|there| Detail::new(describe(&there), "choose another path"));
            (ErrorKind::NotFifo, detail)
        }
        Errno::ENOENT | Errno::ENOTDIR => (ErrorKind::NotFound, Some(missing(path))),
        Errno::ENXIO | Errno::EPIPE => (
            ErrorKind::NoReader,
            Some(Detail::new(
                "nobody has it open for reading",
                "start its reader; if that is gone for good, remove the FIFO",
            )),
        ),
        Errno::ENOSPC | Errno::EDQUOT => (
            ErrorKind::NoSpace,
            Some(Detail::new("the file system, or the user's quota, is full", "free some of it")),
        ),
        Errno::ENAMETOOLONG => (
            ErrorKind::Invalid,
            Some(Detail::new("a name has 255 bytes at most, a path 4095", "choose a shorter one")),
        ),
        Errno::EROFS => (
            ErrorKind::PermissionDenied,
            Some(Detail::new("the file system is read-only", "choose another directory")),
        ),
        _ => pipe(call, errno),
    }
}

fn describe(there: &fs::Metadata) -> String {
    let kind = there.file_type();
    let what = if kind.is_fifo() {
        "a FIFO"
    } else if kind.is_symlink() {
        "a symbolic link, which is not followed,"
    } else if kind.is_dir() {
        "a directory"
    } else if kind.is_file() {
        "a file"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    };
    format!("{what} of uid {} with mode {:04o} is there", there.uid(), there.mode() & 0o7777)
}

/// The parent directory of a path.
fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn missing(path: &Path) -> Box<Detail> {
    let directory = directory(path);
    if directory.is_dir() {
        return Detail::new(
            format!("nothing of that name is in {}", directory.display()),
            "has its creator run?",
        );
    }
    Detail::new(format!("{} is no directory", directory.display()), "create it first")
}

fn permission(path: &Path) -> Option<Box<Detail>> {
    let directory = directory(path);
    let found = fs::symlink_metadata(path)
        .map(|there| (path, there))
        .or_else(|_| fs::metadata(directory).map(|there| (directory, there)));
    let (path, there) = found.ok()?;
    let (uid, gid, mode) = (there.uid(), there.gid(), there.mode() & 0o7777);
    Some(Detail::new(
        format!(
            "{} belongs to uid {uid} gid {gid} with mode {mode:04o}, and this process runs as uid {} gid {}",
            path.display(),
            geteuid(),
            getegid(),
        ),
        format!("run as uid {uid}, or have it allow more (removal is the directory's to allow)"),
    ))
}

fn descriptors(errno: Errno) -> Box<Detail> {
    if errno == Errno::EMFILE {
        let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft);
        return Detail::new(
            format!("RLIMIT_NOFILE allows this process {limit} descriptors"),
            "close some, or raise it: ulimit -n",
        );
    }
    Detail::new(
        format!("fs.file-max allows the machine {} open files", setting("file-max")),
        "raise it, or see who has so many",
    )
}

fn capacity() -> Box<Detail> {
    Detail::new(
        format!(
            "fs.pipe-max-size allows {} bytes, and fs.pipe-user-pages-soft a user {} pages in all pipes",
            setting("pipe-max-size"),
            setting("pipe-user-pages-soft"),
        ),
        "ask for less, raise them, or have CAP_SYS_RESOURCE",
    )
}

fn setting(name: &str) -> String {
    fs::read_to_string(format!("/proc/sys/fs/{name}"))
        .map_or_else(|_| "?".into(), |text| text.trim().to_owned())
}
