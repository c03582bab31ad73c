//! Pipes, and what both ends of a pipe or a [FIFO](super::fifo) can do.
//!
//! A pipe is a stream of bytes in the kernel with a limited capacity. It exists while
//! any process has an end of it open. When the last writer ends, in whatever way,
//! readers get the remaining bytes and then the end of the file.
//!
//! Writes of up to [`PIPE_BUF`] bytes are never mixed with others.
//! [`Writer::write_record`] guarantees this, and [`Reader::read_record`] is its
//! counterpart. The ends also implement [`Write`] and [`Read`].
//!
//! ```
//! use tombolo::sys::{ErrorKind, pipe};
//!
//! let (reader, writer) = pipe::pair()?;
//! writer.write_record(b"twelve bytes")?;
//! assert_eq!(reader.waiting()?, 12);
//!
//! let mut record = [0; 12];
//! assert!(reader.read_record(&mut record)?);
//! assert_eq!(&record, b"twelve bytes");
//!
//! drop(writer);
//! assert!(!reader.read_record(&mut record)?, "the end");
//! # Ok::<(), tombolo::sys::Error>(())
//! ```
//!
//! A write to a pipe without a reader raises `SIGPIPE`. Rust programs ignore that
//! signal by default, and get [`NoReader`](super::ErrorKind::NoReader). In a program
//! whose `main` is in another language, or that has enabled the signal again, it ends
//! the process.

use std::fs::File;
use std::io::{self, Read, Write};
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::Stdio;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::{pipe2, read, write};

use super::error::{Call, Error, ErrorKind, Result};
use super::object::Object;
use super::raw;

mod inherit;

pub(super) use inherit::above_standard;
pub use inherit::hand_over;

/// The most bytes of one write that the kernel never mixes with others': 4096.
pub const PIPE_BUF: usize = libc::PIPE_BUF;

/// Makes a pipe. Programs that this process starts do not inherit its ends,
/// unless this process [hands one over](hand_over).
///
/// See [pipe(2)](https://man7.org/linux/man-pages/man2/pipe.2.html).
///
/// # Errors
///
/// [`NoSpace`](ErrorKind::NoSpace) if this process or the machine has too many
/// descriptors.
#[doc(alias = "pipe2")]
#[doc(alias = "O_CLOEXEC")]
pub fn pair() -> Result<(Reader, Writer)> {
    let (reader, writer) =
        pipe2(OFlag::O_CLOEXEC).map_err(|e| Error::new(Call::PipeCreate, Object::Pipe, e))?;
    let end = |fd: OwnedFd| End { file: fd.into(), object: Object::Pipe };
    Ok((Reader(end(reader)), Writer(end(writer))))
}

/// What both ends can do.
#[derive(Debug)]
pub struct End {
    file: File,
    object: Object,
}

/// The end to read from.
///
/// A read waits until there are bytes, unless the end was set or opened not to
/// wait.
#[derive(Debug)]
pub struct Reader(End);

/// The end to write to.
///
/// A write waits until there is room, unless the end was set or opened not to
/// wait.
#[derive(Debug)]
pub struct Writer(End);

impl End {
    pub(super) fn new(file: File, object: Object) -> End {
        End { file, object }
    }

    pub(super) const fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn error(&self, call: Call, errno: Errno) -> Error {
        Error::new(call, self.object.clone(), errno)
    }

    /// How many bytes the pipe holds at most. Small writes fill it earlier: each
    /// may take a page of it.
    ///
    /// See [fcntl(2)](https://man7.org/linux/man-pages/man2/F_GETPIPE_SZ.2const.html).
    ///
    /// # Errors
    ///
    /// None that are known.
    #[doc(alias = "F_GETPIPE_SZ")]
    pub fn capacity(&self) -> Result<usize> {
        fcntl(&self.file, FcntlArg::F_GETPIPE_SZ)
            .map(|bytes| usize::try_from(bytes).unwrap_or(0))
            .map_err(|e| self.error(Call::PipeCapacity, e))
    }

    /// Asks for a capacity of `bytes`, and returns the capacity that the pipe then
    /// has: the next power of two, at least a page.
    ///
    /// See [fcntl(2)](https://man7.org/linux/man-pages/man2/F_GETPIPE_SZ.2const.html).
    ///
    /// # Errors
    ///
    /// [`PermissionDenied`](ErrorKind::PermissionDenied) above `fs.pipe-max-size`,
    /// or above what the user may have in all pipes; [`Busy`](ErrorKind::Busy) if
    /// the pipe holds more bytes than that; [`Invalid`](ErrorKind::Invalid) above
    /// what the kernel can make at all.
    #[doc(alias = "F_SETPIPE_SZ")]
    pub fn set_capacity(&self, bytes: usize) -> Result<usize> {
        // More than an int is more than any limit.
        let asked = i32::try_from(bytes).unwrap_or(i32::MAX);
        fcntl(&self.file, FcntlArg::F_SETPIPE_SZ(asked))
            .map(|bytes| usize::try_from(bytes).unwrap_or(0))
            .map_err(|e| self.error(Call::PipeCapacity, e))
    }

    /// How many bytes wait to be read.
    ///
    /// See [ioctl(2)](https://man7.org/linux/man-pages/man2/FIONREAD.2const.html).
    ///
    /// # Errors
    ///
    /// None that are known.
    #[doc(alias = "FIONREAD")]
    pub fn waiting(&self) -> Result<usize> {
        raw::bytes_waiting(self.file.as_fd()).map_err(|e| self.error(Call::PipeWaiting, e))
    }

    /// Sets whether reads and writes of this end wait. If they do not, they fail
    /// with [`WouldBlock`](ErrorKind::WouldBlock). Clones of the end, and ends
    /// handed over from it, change with it.
    ///
    /// See [fcntl(2)](https://man7.org/linux/man-pages/man2/fcntl.2.html).
    ///
    /// # Errors
    ///
    /// None that are known.
    #[doc(alias = "O_NONBLOCK")]
    pub fn set_blocking(&self, blocking: bool) -> Result<()> {
        let error = |e| self.error(Call::PipeBlocking, e);
        let flags = fcntl(&self.file, FcntlArg::F_GETFL).map_err(error)?;
        let mut flags = OFlag::from_bits_retain(flags);
        flags.set(OFlag::O_NONBLOCK, !blocking);
        fcntl(&self.file, FcntlArg::F_SETFL(flags)).map(drop).map_err(error)
    }
}

impl Writer {
    pub(super) const fn new(end: End) -> Writer {
        Writer(end)
    }

    /// Writes all of `bytes`, whole or not at all, and with no other process's
    /// bytes in between. This holds even if this process is killed in the middle
    /// of the call.
    ///
    /// See [pipe(7)](https://man7.org/linux/man-pages/man7/pipe.7.html).
    ///
    /// # Errors
    ///
    /// [`TooBig`](ErrorKind::TooBig) above [`PIPE_BUF`];
    /// [`Invalid`](ErrorKind::Invalid) for no bytes, which no reader could read;
    /// [`NoReader`](ErrorKind::NoReader); [`WouldBlock`](ErrorKind::WouldBlock)
    /// without room, if the end does not wait;
    /// [`Interrupted`](ErrorKind::Interrupted). After an error nothing is written.
    #[doc(alias = "PIPE_BUF")]
    pub fn write_record(&self, bytes: &[u8]) -> Result<()> {
        let refused = |kind, cause: &str, remedy| {
            self.error(Call::PipeWrite, Errno::EMSGSIZE).with_kind(kind).because(cause, remedy)
        };
        match bytes.len() {
            0 => {
                return Err(refused(ErrorKind::Invalid, "it has no bytes", "write at least one"));
            }
            1..=PIPE_BUF => {}
            more => {
                let cause = format!(
                    "the record has {more} bytes, and PIPE_BUF, what a pipe takes at once, is {PIPE_BUF}"
                );
                let remedy = "write less, or send where the rest is";
                return Err(refused(ErrorKind::TooBig, &cause, remedy));
            }
        }
        match write(&self.0.file, bytes) {
            Ok(written) if written == bytes.len() => Ok(()),
            // A pipe never does this.
            Ok(_) => Err(self.error(Call::PipeWrite, Errno::EIO)),
            Err(errno) => Err(self.error(Call::PipeWrite, errno)),
        }
    }
}

impl Reader {
    pub(super) const fn new(end: End) -> Reader {
        Reader(end)
    }

    /// Reads one record, which fills `record`. Returns `false` at the end of the
    /// file: no process has the pipe open for writing.
    ///
    /// A pipe keeps no boundaries between records. So all its writers must
    /// [write](Writer::write_record) records of exactly this length.
    ///
    /// See [pipe(7)](https://man7.org/linux/man-pages/man7/pipe.7.html).
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](ErrorKind::WouldBlock) if there is no record and the end does
    /// not wait; [`Invalid`](ErrorKind::Invalid) for a part of a record, and for an
    /// empty `record`; [`TooBig`](ErrorKind::TooBig) above [`PIPE_BUF`];
    /// [`Interrupted`](ErrorKind::Interrupted).
    pub fn read_record(&self, record: &mut [u8]) -> Result<bool> {
        let len = record.len();
        let refused = |kind, cause: &str, remedy| {
            self.error(Call::PipeRead, Errno::EBADMSG).with_kind(kind).because(cause, remedy)
        };
        if len == 0 || len > PIPE_BUF {
            let kind = if len == 0 { ErrorKind::Invalid } else { ErrorKind::TooBig };
            let cause = format!("a record has 1 to {PIPE_BUF} bytes (PIPE_BUF), not {len}");
            return Err(refused(kind, &cause, "read with the length that is written"));
        }
        match read(&self.0.file, record) {
            Ok(0) => Ok(false),
            Ok(got) if got == len => Ok(true),
            Ok(got) => Err(refused(
                ErrorKind::Invalid,
                &format!("{got} bytes came, and a record has {len}"),
                "have everybody write records of one length",
            )),
            Err(errno) => Err(self.error(Call::PipeRead, errno)),
        }
    }
}

impl Deref for Reader {
    type Target = End;

    fn deref(&self) -> &End {
        &self.0
    }
}

impl Deref for Writer {
    type Target = End;

    fn deref(&self) -> &End {
        &self.0
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.file.read(buffer)
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for End {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

macro_rules! converts {
    ($($end:ty),*) => {$(
        impl AsFd for $end {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.0.as_fd()
            }
        }

        impl From<$end> for OwnedFd {
            fn from(end: $end) -> OwnedFd {
                end.0.file.into()
            }
        }

        /// For a child that gets this end as its standard input or output.
        impl From<$end> for Stdio {
            fn from(end: $end) -> Stdio {
                end.0.file.into()
            }
        }
    )*};
}

converts!(Reader, Writer);
