//! Starts a child with a pipe in each direction; and finds the pipes in the child.
//!
//! One variable of the child's environment says which process started it, and for
//! each pipe the number of its descriptor and the pipe's inode. All descendants
//! inherit an environment. So a process takes the descriptors only if it is the
//! child that is meant.
//!
//! # Why a child may take its ends in safe code
//!
//! To own a descriptor by its number, nothing else in the process may own it.
//! This holds here:
//!
//! - *The parent put it there.* The variable names this process's own parent, which
//!   set it together with the descriptors, before this program started. In a
//!   grandchild, or an orphan, it names another process.
//! - *It is the right pipe.* The descriptor is a pipe with the inode and the direction
//!   that the variable names. If the original was closed and this program opened
//!   something else under the same number, this does not match.
//! - *It came through `exec`.* It lacks `FD_CLOEXEC`, which every descriptor has that
//!   Rust opens. Taking the descriptor sets the flag, before any caller has it, so
//!   that later programs do not inherit it.
//! - *It is taken once.* The first taker sets a flag of the process.
//!
//! If other code in this process owns the same number, it has claimed it by `unsafe`
//! of its own, without having opened it.

#![allow(unsafe_code)]

use std::env;
use std::fmt::Write as _;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
pub(crate) use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::stat::fstat;
use nix::unistd::getppid;

use super::error::{Call, Error, Result};
use super::object::Object;
use super::pipe::{self, Reader, Writer};
use super::proc;

/// The variable: `parent:number:inode:number:inode`, with the reading end first.
pub(crate) const VARIABLE: &str = "TOMBOLO_INHERIT";

/// Starts the command with one end of a pipe in each direction. This process does
/// not keep them, and neither does the command if it is started again.
pub(crate) fn spawn(command: &mut Command, input: Reader, output: Writer) -> io::Result<Child> {
    let ends = [OwnedFd::from(input), OwnedFd::from(output)]
        .map(|end| pipe::above_standard(end).map_err(io::Error::other));
    let [input, output] = ends;
    let ends = [input?, output?];
    let mut variable = proc::pid().to_string();
    for end in &ends {
        let _ = write!(variable, ":{}:{}", end.as_raw_fd(), fstat(end)?.st_ino);
    }
    command.env(VARIABLE, variable);

    let numbers = [&ends[0], &ends[1]].map(|end| end.as_raw_fd());
    let spent = Arc::new(AtomicBool::new(false));
    let meant = Arc::clone(&spent);
    let keep_open = move || {
        if meant.load(Ordering::Relaxed) {
            return Ok(());
        }
        for number in numbers {
            // SAFETY: it is open: the parent held it when this child was forked,
            // because the flag is not set.
            let end = unsafe { BorrowedFd::borrow_raw(number) };
            fcntl(end, FcntlArg::F_SETFD(FdFlag::empty()))?;
        }
        Ok(())
    };
    // SAFETY: in the forked child this makes two system calls: it neither
    // allocates nor takes a lock, and touches no memory of other threads.
    unsafe { command.pre_exec(keep_open) };
    let started = command.spawn();
    spent.store(true, Ordering::Relaxed);
    command.env_remove(VARIABLE);
    started
}

/// Why there are no ends to take.
#[derive(Debug)]
pub(crate) enum NoEnds {
    /// The variable is not set.
    Unset,
    /// The variable does not have the format of a Tombolo parent.
    Senseless(String),
    /// The ends are for a child of the first process. The second one is this
    /// process's parent.
    Others(u32, u32),
    /// This process has taken them already.
    Taken,
    /// The descriptors are not those that the parent handed over.
    Unfit(Error),
}

/// The ends that this process's parent has handed over. Only the first call
/// succeeds.
pub(crate) fn ends() -> Result<(Reader, Writer), NoEnds> {
    static TAKEN: AtomicBool = AtomicBool::new(false);

    let variable = env::var_os(VARIABLE).ok_or(NoEnds::Unset)?;
    let variable = variable.to_string_lossy();
    let words: Option<Vec<u64>> = variable.split(':').map(|word| word.parse().ok()).collect();
    let Some(&[parent, input, input_inode, output, output_inode]) = words.as_deref() else {
        return Err(NoEnds::Senseless(variable.into_owned()));
    };
    let ours = u32::try_from(getppid().as_raw()).unwrap_or(0);
    let parent = u32::try_from(parent).unwrap_or(0);
    if parent != ours || ours == 0 {
        return Err(NoEnds::Others(parent, ours));
    }
    if TAKEN.swap(true, Ordering::Relaxed) {
        return Err(NoEnds::Taken);
    }
    let input = check(input, input_inode).map_err(NoEnds::Unfit)?;
    let output = check(output, output_inode).map_err(NoEnds::Unfit)?;
    // SAFETY: nothing else owns it, as this module's text argues.
    let reader = unsafe { Reader::inherited(input) }.map_err(NoEnds::Unfit)?;
    // SAFETY: as above.
    let writer = unsafe { Writer::inherited(output) }.map_err(NoEnds::Unfit)?;
    Ok((reader, writer))
}

/// Returns the descriptor's number if it is the pipe with this inode.
fn check(number: u64, inode: u64) -> Result<i32> {
    let error = |errno| Error::new(Call::PipeInherit, Object::Pipe, errno);
    let number = i32::try_from(number).map_err(|_| error(Errno::EBADF))?;
    // SAFETY: not -1. This only asks what it is.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    let found = fstat(borrowed.as_fd()).map_err(error)?;
    if found.st_ino == inode {
        return Ok(number);
    }
    Err(error(Errno::EINVAL).because(
        &format!("descriptor {number} is not the pipe that was handed over"),
        "has a program in between closed it?",
    ))
}
