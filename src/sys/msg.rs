//! Message queues.
//!
//! A queue is a list of messages in the kernel, each with a type (a positive number)
//! and some bytes. It outlives the processes that use it. Receivers select messages
//! by type ([`Selector`]); a type may mean an address or an urgency.
//!
//! ```
//! use tombolo::sys::Key;
//! use tombolo::sys::msg::{Queue, Selector, Wait};
//!
//! let queue = Queue::options().create(Key::PRIVATE)?;
//! queue.send(20, b"later", Wait::No)?;
//! queue.send(10, b"at once", Wait::No)?;
//!
//! // The lowest type first.
//! let mut buffer = [0; 100];
//! let got = queue.receive(Selector::UpTo(20), &mut buffer, Wait::No)?;
//! assert_eq!((got.kind, &buffer[..got.len]), (10, &b"at once"[..]));
//! queue.remove()?;
//! # Ok::<(), tombolo::sys::Error>(())
//! ```
//!
//! If a receiver is killed after the kernel has removed a message for it, even before
//! it has woken, the message is lost. So repeat an important request until it is
//! answered. A queue cannot be polled together with descriptors.

use std::time::Instant;

use nix::errno::Errno;

use super::backoff;
use super::crash;
use super::error::{Call, Error, ErrorKind, Result};
use super::key::Key;
use super::object::Object;
use super::raw;

mod inspect;
mod selector;

pub use inspect::{Stat, all};
pub(crate) use inspect::{at, last_place};
pub use selector::Selector;

/// A message queue, by its id.
///
/// An id is a number, not a handle. It outlives the queue, and after some four
/// million creations the kernel gives it to another queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Queue {
    id: i32,
}

/// How to create a queue: see [`Queue::options`].
#[derive(Clone, Copy, Debug)]
#[must_use = "options do nothing until `create`"]
pub struct Options {
    mode: u32,
    exclusive: bool,
}

/// How long a call waits for room, or for a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wait {
    /// Not at all: [`WouldBlock`](ErrorKind::WouldBlock) instead.
    #[doc(alias = "IPC_NOWAIT")]
    No,
    /// As long as it takes, or until a signal is handled:
    /// [`Interrupted`](ErrorKind::Interrupted), whatever `SA_RESTART` says.
    Forever,
    /// Until then: [`TimedOut`](ErrorKind::TimedOut). Signals do not end the wait.
    ///
    /// The kernel has no such form. So the call tries without waiting, at least
    /// once, with pauses that grow from 0.1 to 10 milliseconds. It may return up
    /// to one pause late, and the kernel serves processes that wait
    /// [`Forever`](Wait::Forever) before it.
    Until(Instant),
}

/// A received message, without the bytes, which are in the caller's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Received {
    /// Its type.
    #[doc(alias = "mtype")]
    pub kind: i64,
    /// How many bytes of the buffer it fills.
    pub len: usize,
    /// Whether the message had more bytes. They are lost.
    pub truncated: bool,
}

impl Options {
    /// The nine permission bits of a new queue (by default 0600). Sending
    /// needs write permission, receiving read permission.
    pub const fn mode(mut self, mode: u32) -> Options {
        self.mode = mode & 0o777;
        self
    }

    /// Whether to fail if the key is taken (by default, the existing queue is
    /// opened).
    #[doc(alias = "IPC_EXCL")]
    pub const fn exclusive(mut self, exclusive: bool) -> Options {
        self.exclusive = exclusive;
        self
    }

    /// Creates an empty queue, or opens the one under `key` if there is one
    /// and [`exclusive`](Options::exclusive) was not asked for.
    ///
    /// See [msgget(2)](https://man7.org/linux/man-pages/man2/msgget.2.html).
    ///
    /// # Errors
    ///
    /// [`Exists`](ErrorKind::Exists) if the key is taken and the creation is
    /// exclusive. For a new queue: [`NoSpace`](ErrorKind::NoSpace)
    /// (`kernel.msgmni`) and [`NoMemory`](ErrorKind::NoMemory). For an existing
    /// one: [`PermissionDenied`](ErrorKind::PermissionDenied) if its mode does not
    /// grant the caller everything that the requested mode would.
    #[doc(alias = "msgget")]
    pub fn create(self, key: Key) -> Result<Queue> {
        let mut flags = libc::IPC_CREAT | self.mode.cast_signed();
        if self.exclusive {
            flags |= libc::IPC_EXCL;
        }
        crash::point("msgget");
        raw::msgget(key.raw(), flags)
            .map(Queue::from_id)
            .map_err(|e| Error::new(Call::MsgCreate, Object::NewQueue { key }, e))
    }
}

impl Queue {
    /// Starts to describe a queue to create: mode 0600, not exclusive.
    pub const fn options() -> Options {
        Options { mode: 0o600, exclusive: false }
    }

    /// Finds the queue under `key`. This needs no permission on it.
    ///
    /// See [msgget(2)](https://man7.org/linux/man-pages/man2/msgget.2.html).
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound), always so for [`Key::PRIVATE`].
    #[doc(alias = "msgget")]
    pub fn open(key: Key) -> Result<Queue> {
        // For the kernel, the private key would mean a creation.
        let found = if key.is_private() { Err(Errno::ENOENT) } else { raw::msgget(key.raw(), 0) };
        found
            .map(Queue::from_id)
            .map_err(|e| Error::new(Call::MsgOpen, Object::QueueKey { key }, e))
    }

    /// The queue with this id. Does not check whether there is one.
    pub const fn from_id(id: i32) -> Queue {
        Queue { id }
    }

    /// The id.
    pub const fn id(self) -> i32 {
        self.id
    }

    pub(super) fn error(self, call: Call, errno: Errno) -> Error {
        Error::new(call, Object::Queue { id: self.id }, errno)
    }

    /// Puts a message of a type (`kind`, at least 1) at the end of the queue, whole
    /// or not at all.
    ///
    /// A queue is full if its bytes would exceed [`max_bytes`](Stat::max_bytes), or
    /// its messages that number. A short message overtakes senders that wait with
    /// a long one.
    ///
    /// See [msgsnd(2)](https://man7.org/linux/man-pages/man2/msgsnd.2.html).
    ///
    /// # Errors
    ///
    /// If the queue is full, the error that [`Wait`] names.
    /// [`TooBig`](ErrorKind::TooBig) for a message above `kernel.msgmax`, or above
    /// what this queue can ever hold (checked when it has no room, so that no
    /// sender waits for room that cannot come); [`Invalid`](ErrorKind::Invalid) for
    /// a type below 1; [`Removed`](ErrorKind::Removed), also while it slept;
    /// [`PermissionDenied`](ErrorKind::PermissionDenied);
    /// [`NoMemory`](ErrorKind::NoMemory).
    #[doc(alias = "msgsnd")]
    pub fn send(&self, kind: i64, bytes: &[u8], wait: Wait) -> Result<()> {
        let object = Object::Message { queue: self.id, kind, len: bytes.len() };
        let error = |errno| Error::new(Call::MsgSend, object.clone(), errno);
        let message = raw::Message::new(kind, bytes);
        let attempt = || {
            crash::point("msgsnd");
            raw::msgsnd(self.id, &message, libc::IPC_NOWAIT)
        };
        match attempt() {
            Err(Errno::EAGAIN) => {}
            result => return result.map_err(error),
        }
        let full = error(Errno::EAGAIN);
        if full.kind() != ErrorKind::WouldBlock {
            return Err(full);
        }
        match wait {
            Wait::No => Err(full),
            Wait::Forever => raw::msgsnd(self.id, &message, 0).map_err(error),
            Wait::Until(deadline) => backoff::retry(deadline, Errno::EAGAIN, attempt)
                .map_err(|errno| timed(errno == Errno::EAGAIN, error(errno))),
        }
    }

    /// Takes the message that `selector` chooses into `buffer`.
    ///
    /// See [msgrcv(2)](https://man7.org/linux/man-pages/man2/msgrcv.2.html).
    ///
    /// # Errors
    ///
    /// If there is none, the error that [`Wait`] names. [`TooBig`](ErrorKind::TooBig)
    /// if the message does not fit: then it stays in the queue, and
    /// [`Error::needed`] says how long it is. [`Invalid`](ErrorKind::Invalid) for a
    /// selector with a type below 1; [`Removed`](ErrorKind::Removed), also while it
    /// slept;
    /// [`PermissionDenied`](ErrorKind::PermissionDenied).
    #[doc(alias = "msgrcv")]
    pub fn receive(&self, selector: Selector, buffer: &mut [u8], wait: Wait) -> Result<Received> {
        let mut message = raw::Message::with_room(buffer.len());
        let len = self.take(selector, &mut message, 0, wait).map_err(|error| {
            if error.kind() != ErrorKind::TooBig {
                return error;
            }
            self.too_long(error, selector, buffer.len())
        })?;
        buffer[..len].copy_from_slice(&message.bytes()[..len]);
        Ok(Received { kind: message.kind(), len, truncated: false })
    }

    /// Like [`receive`](Queue::receive), but cuts off the bytes that do not fit.
    /// They are lost.
    ///
    /// # Errors
    ///
    /// Those of [`receive`](Queue::receive), without
    /// [`TooBig`](ErrorKind::TooBig).
    #[doc(alias = "MSG_NOERROR")]
    pub fn receive_truncated(
        &self,
        selector: Selector,
        buffer: &mut [u8],
        wait: Wait,
    ) -> Result<Received> {
        // The kernel does not say whether it has cut the message off. One byte of
        // room more than the caller's shows it.
        let mut message = raw::Message::with_room(buffer.len() + 1);
        let got = self.take(selector, &mut message, libc::MSG_NOERROR, wait)?;
        let len = got.min(buffer.len());
        buffer[..len].copy_from_slice(&message.bytes()[..len]);
        Ok(Received { kind: message.kind(), len, truncated: got > len })
    }

    fn take(
        self,
        selector: Selector,
        into: &mut raw::Message,
        flags: i32,
        wait: Wait,
    ) -> Result<usize> {
        let (number, choice) = selector.raw().ok_or_else(|| {
            let error = self.error(Call::MsgReceive, Errno::EINVAL);
            error.with_kind(ErrorKind::Invalid).because(
                &format!("{selector:?}: no message has such a type"),
                "types are numbers from 1 on",
            )
        })?;
        let flags = flags | choice;
        let mut attempt = |more| {
            crash::point("msgrcv");
            raw::msgrcv(self.id, into, number, flags | more)
        };
        match wait {
            Wait::No => attempt(libc::IPC_NOWAIT),
            Wait::Forever => attempt(0),
            Wait::Until(deadline) => {
                backoff::retry(deadline, Errno::ENOMSG, || attempt(libc::IPC_NOWAIT))
            }
        }
        .map_err(|errno| {
            let late = errno == Errno::ENOMSG && matches!(wait, Wait::Until(_));
            timed(late, self.error(Call::MsgReceive, errno))
        })
    }

    /// Says how long the message is that did not fit.
    #[cold]
    fn too_long(self, error: Error, selector: Selector, room: usize) -> Error {
        // Meanwhile another message may have become the next one.
        match self.next_len(selector).filter(|&needed| needed > room) {
            Some(needed) => error
                .because(
                    &format!("the message has {needed} bytes, the buffer {room}"),
                    "receive it with a longer buffer, or truncated",
                )
                .needing(needed),
            None => error.because(
                &format!("the message is longer than the buffer ({room} bytes)"),
                "receive it with a buffer of kernel.msgmax bytes, or truncated",
            ),
        }
    }

    /// Removes the queue and its messages at once. Every call that sleeps on it
    /// fails with [`Removed`](ErrorKind::Removed).
    ///
    /// See [msgctl(2)](https://man7.org/linux/man-pages/man2/msgctl.2.html).
    ///
    /// # Errors
    ///
    /// [`PermissionDenied`](ErrorKind::PermissionDenied) unless the caller is
    /// its owner, its creator or privileged; [`Removed`](ErrorKind::Removed).
    #[doc(alias = "msgctl")]
    #[doc(alias = "IPC_RMID")]
    pub fn remove(&self) -> Result<()> {
        crash::point("msgctl IPC_RMID");
        raw::msg_remove(self.id).map_err(|e| self.error(Call::MsgRemove, e))
    }
}

fn timed(late: bool, error: Error) -> Error {
    if late { error.with_kind(ErrorKind::TimedOut) } else { error }
}
