//! Standard output, with as much as can be known about what becomes of the data.
//!
//! The kernel tells how much of the content of a pipe, or of a local socket, has
//! not been read yet. Receivers that write into one pipe take turns: each locks it
//! (`fcntl`; a pipe's own file can be locked, and a death unlocks it), writes, and
//! waits until all has been read. So the pipe contains data of one receiver only,
//! and lines that are too long for one atomic write do not mix.
//!
//! Receivers that append to one file need no turns: each write has whole lines. Each
//! holds a lock of its own, by which the others see that it is there.

#![allow(unsafe_code)]

use core::ffi::{c_int, c_ulong};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::FileTypeExt;
use std::process;
use std::ptr;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use tombolo::sys::pipe::PIPE_BUF;

use crate::failure::Failure;
use crate::standard;
use crate::stream::{Interrupt, TURN, hung_up, unwritable, write_all};

/// How long one that waits for a reader looks again and again.
const SPIN: Duration = Duration::from_micros(50);

pub(super) struct Outlet {
    file: File,
    kind: Kind,
    interrupt: Interrupt,
    /// Whether it is this process's turn.
    locked: bool,
    /// How many bytes have ever been written.
    written: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Somebody reads it; with the request that asks how much is unread.
    Queue(c_ulong),
    /// A file system keeps it, and may find out late that it cannot.
    File,
    /// Written is done.
    Plain,
}

impl Kind {
    fn of(file: &File) -> Self {
        let Ok(kind) = file.metadata().map(|metadata| metadata.file_type()) else {
            return Self::Plain;
        };
        match () {
            () if kind.is_fifo() => Self::Queue(libc::FIONREAD),
            () if kind.is_socket() && is_local(file) => Self::Queue(libc::TIOCOUTQ),
            () if kind.is_file() => Self::File,
            () => Self::Plain,
        }
    }
}

/// Whether a socket's peer is on this machine.
fn is_local(socket: &File) -> bool {
    let mut domain: c_int = 0;
    let mut length = size_of::<c_int>() as libc::socklen_t;
    // SAFETY: fills one int, as the length says.
    let done = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_DOMAIN,
            ptr::from_mut(&mut domain).cast(),
            &raw mut length,
        )
    };
    done == 0 && domain == libc::AF_UNIX
}

/// A lock of bytes from `start`; 0 bytes are all that follow.
fn lock(kind: c_int, start: i64, length: i64) -> libc::flock {
    libc::flock {
        l_type: kind as _,
        l_whence: libc::SEEK_SET as _,
        l_start: start,
        l_len: length,
        l_pid: 0,
    }
}

impl Outlet {
    pub(super) fn open(interrupt: Interrupt) -> Result<Self, Failure> {
        let file = standard::output().map_err(|error| unwritable(&error))?;
        let outlet = Self { kind: Kind::of(&file), file, interrupt, locked: false, written: 0 };
        outlet.show();
        Ok(outlet)
    }

    /// Shows that this process is one of those that write to it.
    fn show(&self) {
        if self.is_queue() || self.is_file() {
            let own = lock(libc::F_WRLCK, own_byte(), 1);
            // Where there are no locks, nobody sees the others.
            let _ = fcntl(&self.file, FcntlArg::F_SETLK(&own));
        }
    }

    pub(super) const fn file(&self) -> &File {
        &self.file
    }

    /// Whether somebody reads it, and it is known how far.
    pub(super) const fn is_queue(&self) -> bool {
        matches!(self.kind, Kind::Queue(_))
    }

    pub(super) const fn is_file(&self) -> bool {
        matches!(self.kind, Kind::File)
    }

    /// Whether another receiver writes to the same pipe or file.
    pub(super) fn is_shared(&self) -> bool {
        if !self.is_queue() && !self.is_file() {
            return false;
        }
        let mut found = lock(libc::F_WRLCK, TURNS + 1, 0);
        let asked = fcntl(&self.file, FcntlArg::F_GETLK(&mut found));
        asked.is_ok() && c_int::from(found.l_type) != libc::F_UNLCK
    }

    pub(super) const fn written(&self) -> usize {
        self.written
    }

    /// How many bytes of those written somebody has read.
    pub(super) fn read(&self) -> usize {
        self.written.saturating_sub(self.unread())
    }

    fn unread(&self) -> usize {
        let Kind::Queue(request) = self.kind else {
            return 0;
        };
        let mut unread: c_int = 0;
        // SAFETY: both requests fill one int.
        let done =
            unsafe { libc::ioctl(self.file.as_raw_fd(), request, ptr::from_mut(&mut unread)) };
        if done == 0 { usize::try_from(unread).unwrap_or(0) } else { 0 }
    }

    /// Whether it is this process's turn to write, without waiting.
    pub(super) fn claim(&mut self) -> bool {
        if !self.is_queue() || self.locked {
            return true;
        }
        match fcntl(&self.file, FcntlArg::F_SETLK(&lock(libc::F_WRLCK, TURNS, 1))) {
            Err(Errno::EACCES | Errno::EAGAIN) => return false,
            // Or there are no locks here, and nothing better to be done.
            _ => self.locked = true,
        }
        self.unread() == 0
    }

    /// Waits until it is this process's turn.
    pub(super) fn wait_for_turn(&mut self) -> Result<(), Failure> {
        while !self.locked {
            match fcntl(&self.file, FcntlArg::F_SETLKW(&lock(libc::F_WRLCK, TURNS, 1))) {
                Err(Errno::EINTR) => self.interrupt.check()?,
                Err(Errno::EDEADLK) => {
                    self.interrupt.check()?;
                    thread::sleep(TURN);
                }
                _ => self.locked = true,
            }
        }
        self.wait_while(|outlet| outlet.unread() > 0)
    }

    /// Ends the turn.
    pub(super) fn pass_on(&mut self) {
        if self.locked && self.is_queue() {
            let _ = fcntl(&self.file, FcntlArg::F_SETLK(&lock(libc::F_UNLCK, TURNS, 1)));
            self.locked = false;
        }
    }

    /// Waits until somebody has read so many of the bytes written.
    pub(super) fn wait_until_read(&self, bytes: usize) -> Result<(), Failure> {
        self.wait_while(|outlet| outlet.read() < bytes)
    }

    /// Nothing tells of a pipe that becomes empty. So this looks now and then,
    /// the later the longer it has waited: what a reader takes comes when it
    /// has done with what it took before, and the next is there by then.
    fn wait_while(&self, condition: impl Fn(&Self) -> bool) -> Result<(), Failure> {
        let begun = Instant::now();
        let mut closed = false;
        while condition(self) {
            if closed {
                return Err(Failure::Broken("standard output has been closed".to_owned()));
            }
            self.interrupt.check()?;
            let waited = begun.elapsed();
            if waited < SPIN {
                thread::yield_now();
                continue;
            }
            let pause = TimeSpec::from((waited / 8).clamp(SPIN, TURN));
            let mut files = [PollFd::new(self.file.as_fd(), PollFlags::empty())];
            let _ = ppoll(&mut files, Some(pause), None);
            closed = hung_up(&self.file);
        }
        Ok(())
    }

    /// Writes lines, and counts in `written` how far it came. Into a pipe or file
    /// that others write to as well they go in pieces that it takes whole: so a
    /// death cuts none that another's would follow.
    pub(super) fn write(&mut self, lines: &[u8], written: &mut usize) -> Result<(), Failure> {
        let before = *written;
        let mut done = self.check();
        let whole = lines.len() <= PIPE_BUF || !self.is_shared();
        while done.is_ok() && *written < lines.len() {
            let rest = lines.get(*written..).unwrap_or_default();
            let end = *written + if whole { rest.len() } else { piece(rest) };
            let piece = lines.get(..end).unwrap_or(lines);
            done = write_all(&self.file, piece, written, self.interrupt);
        }
        self.written += *written - before;
        done
    }

    /// Fails if standard output was closed from the start. Not before there is
    /// something to write: the sender would not hear of it.
    pub(super) fn check(&self) -> Result<(), Failure> {
        standard::check_output().map_err(|error| unwritable(&error))
    }

    /// Has a file system tell what it has not told yet.
    pub(super) fn settle(&self) -> Result<(), Failure> {
        if !self.is_file() {
            return Ok(());
        }
        let settled = standard::settle(&self.file).map_err(|error| unwritable(&error));
        // Closing any copy of the file has let go of the lock.
        self.show();
        settled
    }

    /// Ends the output.
    pub(super) fn close(&self) -> Result<(), Failure> {
        self.check()?;
        standard::close_output(&self.file).map_err(|error| unwritable(&error))
    }
}

/// The byte whose lock is the turn to write. Those behind it say who writes. They are
/// beyond what a program that uses the file would lock.
const TURNS: i64 = 1 << 62;

/// The byte whose lock says that this process writes to the pipe or file.
fn own_byte() -> i64 {
    TURNS + 1 + i64::from(process::id())
}

/// How many bytes of these are as many whole lines as a pipe takes at once, or
/// one line that is longer.
fn piece(lines: &[u8]) -> usize {
    if lines.len() <= PIPE_BUF {
        return lines.len();
    }
    let (first, rest) = lines.split_at(PIPE_BUF);
    let newline = |byte: &u8| *byte == b'\n';
    match first.iter().rposition(newline) {
        Some(at) => at + 1,
        None => rest.iter().position(newline).map_or(lines.len(), |at| PIPE_BUF + at + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_end_where_lines_end() {
        let line = |length: usize| [vec![b'x'; length - 1], vec![b'\n']].concat();
        let lines = |lengths: &[usize]| lengths.iter().flat_map(|&l| line(l)).collect::<Vec<_>>();
        assert_eq!(piece(&lines(&[1, 2, 3])), 6);
        assert_eq!(piece(&lines(&[4_000, 96, 1])), PIPE_BUF);
        assert_eq!(piece(&lines(&[4_000, 97, 1])), 4_000);
        assert_eq!(piece(&lines(&[5_000, 1, 1])), 5_000);
        assert_eq!(piece(&vec![b'x'; 9_000]), 9_000);
    }
}
