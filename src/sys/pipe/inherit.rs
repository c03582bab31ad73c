//! An end of a pipe for one child.

#![allow(unsafe_code)]

use std::fs::File;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};

use super::{End, Reader, Writer};
use crate::sys::error::{Call, Error, ErrorKind, Result};
use crate::sys::object::Object;

/// The first number that is no standard input, output or error.
const FIRST: i32 = 3;

/// Gives an end to the program that `command` starts, and to no other program
/// that this process starts meanwhile. Returns the number of the descriptor in
/// the child. The caller tells the child the number, and the child passes it to
/// [`Reader::inherited`] or [`Writer::inherited`].
///
/// The command keeps the end open. **Drop the command once it has started its
/// child**; otherwise the other end never learns that the child is gone. If the
/// command starts several children, each gets the end.
///
/// If a child needs only one end of each kind, standard input and output are
/// simpler: `Reader` and `Writer` convert into [`Stdio`](std::process::Stdio).
///
/// # Errors
///
/// [`NoSpace`](ErrorKind::NoSpace) if this process has too many descriptors.
#[doc(alias = "FD_CLOEXEC")]
pub fn hand_over(end: impl Into<OwnedFd>, command: &mut Command) -> Result<i32> {
    let end = above_standard(end.into())?;
    let number = end.as_raw_fd();
    let keep_open = move || {
        fcntl(&end, FcntlArg::F_SETFD(FdFlag::empty()))?;
        Ok(())
    };
    // SAFETY: in the forked child this makes one system call: it neither
    // allocates nor takes a lock, and touches no memory of other threads.
    unsafe { command.pre_exec(keep_open) };
    Ok(number)
}

/// The same end, under a number that is no standard stream's.
pub(in crate::sys) fn above_standard(end: OwnedFd) -> Result<OwnedFd> {
    if end.as_raw_fd() >= FIRST {
        return Ok(end);
    }
    let error = |errno| Error::new(Call::PipeInherit, Object::Pipe, errno);
    let number = fcntl(&end, FcntlArg::F_DUPFD_CLOEXEC(FIRST)).map_err(error)?;
    // SAFETY: the kernel has just made this descriptor, for this owner.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

impl Reader {
    /// The reading end that this process's parent [handed over](hand_over).
    /// Programs that this process starts do not inherit it further.
    ///
    /// # Safety
    ///
    /// Nothing else in this process may own the descriptor `number`. It must come
    /// from the parent, and only this call may take it.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) if there is no such descriptor;
    /// [`Invalid`](ErrorKind::Invalid) if the descriptor was not inherited, or an
    /// earlier call has taken it, or it is the other kind of end;
    /// [`NotFifo`](ErrorKind::NotFifo) if it is no pipe.
    pub unsafe fn inherited(number: i32) -> Result<Reader> {
        // SAFETY: by this function's contract.
        unsafe { take(number, OFlag::O_RDONLY) }.map(Reader::new)
    }
}

impl Writer {
    /// The writing end that this process's parent [handed over](hand_over).
    /// Programs that this process starts do not inherit it further.
    ///
    /// # Safety
    ///
    /// As for [`Reader::inherited`].
    ///
    /// # Errors
    ///
    /// Those of [`Reader::inherited`].
    pub unsafe fn inherited(number: i32) -> Result<Writer> {
        // SAFETY: by this function's contract.
        unsafe { take(number, OFlag::O_WRONLY) }.map(Writer::new)
    }
}

/// # Safety
///
/// Nothing else may own the descriptor `number`.
unsafe fn take(number: i32, access: OFlag) -> Result<End> {
    let error = |errno| Error::new(Call::PipeInherit, Object::Pipe, errno);
    let refused = |kind, cause: &str| {
        let remedy = "pass the number that hand_over returned, once";
        error(Errno::EINVAL)
            .with_kind(kind)
            .because(&format!("descriptor {number} {cause}"), remedy)
    };
    if number < FIRST {
        return Err(refused(ErrorKind::Invalid, "is a standard stream, or none"));
    }
    // SAFETY: not -1. If it is not open, the next call says so; by this
    // function's contract nobody opens or closes it meanwhile.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    let flags = fcntl(borrowed, FcntlArg::F_GETFD).map_err(error)?;
    if FdFlag::from_bits_retain(flags).contains(FdFlag::FD_CLOEXEC) {
        return Err(refused(ErrorKind::Invalid, "was not inherited, or has been taken"));
    }
    let mode = fcntl(borrowed, FcntlArg::F_GETFL).map_err(error)?;
    let stat = nix::sys::stat::fstat(borrowed).map_err(error)?;
    if stat.st_mode & libc::S_IFMT != libc::S_IFIFO {
        return Err(refused(ErrorKind::NotFifo, "is no pipe"));
    }
    if OFlag::from_bits_retain(mode) & OFlag::O_ACCMODE != access {
        return Err(refused(ErrorKind::Invalid, "is the other end of a pipe"));
    }
    fcntl(borrowed, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).map_err(error)?;
    // SAFETY: it is open, and nothing else owns it, by this function's contract.
    let owned = unsafe { OwnedFd::from_raw_fd(number) };
    Ok(End::new(File::from(owned), Object::Pipe))
}
