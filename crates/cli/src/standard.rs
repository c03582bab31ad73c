//! Standard input, output and error as this process was started with them.
//!
//! Rust's runtime opens closed ones as `/dev/null` before `main`. Then everything
//! written is lost, and everything read is empty, without an error. So this module
//! looks before the runtime does.

#![allow(unsafe_code)]

use core::ffi::c_int;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, IntoRawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};

const INPUT: c_int = 0;
const OUTPUT: c_int = 1;
const ERROR: c_int = 2;

/// One bit for each that was closed.
static CLOSED: AtomicU8 = AtomicU8::new(0);

extern "C" fn look() {
    for fd in [INPUT, OUTPUT, ERROR] {
        // SAFETY: asks for the flags of a number, which need not be open.
        if unsafe { libc::fcntl(fd, libc::F_GETFD) } == -1 {
            CLOSED.fetch_or(1 << fd, Ordering::Relaxed);
        }
    }
}

/// Functions in this section run when the program is loaded.
// SAFETY: the section is an array of pointers to such functions, and this one
// needs nothing of the runtime.
#[used]
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = look;

fn was_closed(fd: c_int) -> bool {
    CLOSED.load(Ordering::Relaxed) >> fd & 1 == 1
}

fn unless_closed(fd: c_int) -> io::Result<()> {
    if was_closed(fd) { Err(io::Error::other("it is closed (EBADF)")) } else { Ok(()) }
}

/// Fails if standard output was closed.
pub fn check_output() -> io::Result<()> {
    unless_closed(OUTPUT)
}

/// Standard input without a buffer.
pub fn input() -> io::Result<File> {
    unless_closed(INPUT)?;
    io::stdin().as_fd().try_clone_to_owned().map(File::from)
}

/// Standard output without a buffer; `/dev/null` if it was closed.
pub fn output() -> io::Result<File> {
    io::stdout().as_fd().try_clone_to_owned().map(File::from)
}

/// Writes a text and the end of its line to standard output, at once.
pub fn print(text: &str) -> io::Result<()> {
    unless_closed(OUTPUT)?;
    let mut out = io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush())
}

/// Has a command start with those closed that were closed; its input only if
/// that is this process's.
pub fn pass_on(command: &mut Command, input: bool) {
    let close = move || {
        for fd in [INPUT, OUTPUT, ERROR] {
            if was_closed(fd) && (input || fd != INPUT) {
                // SAFETY: in the forked child, before its program starts; what
                // is there is the runtime's `/dev/null`.
                unsafe { libc::close(fd) };
            }
        }
        Ok(())
    };
    // SAFETY: in the forked child this makes system calls: it neither
    // allocates nor takes a lock.
    unsafe { command.pre_exec(close) };
}

/// Closes a copy of standard output, and tells what that brings to light: a
/// file system may notice only then that there is no room for what has been
/// written.
pub fn settle(output: &File) -> io::Result<()> {
    let copy = output.as_fd().try_clone_to_owned()?;
    close(copy.into())
}

/// Closes standard output for good, and tells what that brings to light.
pub fn close_output(output: &File) -> io::Result<()> {
    settle(output)?;
    // SAFETY: nothing of this process uses standard output after this, and
    // the number stays taken: what is opened next gets it.
    let closed = unsafe { libc::close(OUTPUT) };
    let closed = if closed == -1 { Err(io::Error::last_os_error()) } else { Ok(()) };
    if let Ok(nothing) = File::options().write(true).open("/dev/null") {
        std::mem::forget(nothing);
    }
    closed
}

fn close(file: File) -> io::Result<()> {
    let fd = file.into_raw_fd();
    // SAFETY: it was the file's, which has given it away.
    if unsafe { libc::close(fd) } == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
