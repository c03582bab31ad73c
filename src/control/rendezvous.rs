//! Servers and clients that meet at a FIFO, on a segment of their own.
//!
//! ```text
//!  server                      NAME  NAME@token                     client
//!    own NAME, read it ─────────▶┊
//!                                ┊◀──────────────── open NAME for writing
//!                                        ┊◀───── own NAME@token, read it
//!    ◀──────────────────────── request, token ─────────────────────────
//!    make a segment
//!    ───────────────────────── offer, id, generation ─────────────────▶
//!                                                       join the segment
//!    ◀──────────────────────── end of the reading ──── let go of the FIFOs
//!    joined, or dead: look
//! ```
//!
//! **The server creates the segment.** Only its participants remove the semaphore
//! set of an anonymous segment. If a client created it and was killed before the
//! server knew of it, the set would stay. Instead, the server is a participant of
//! every segment that a client may know, and leaves it last.
//!
//! **Each learns of the other's death** from the kernel, as the end of a FIFO. Both
//! sleep in a single `poll`.
//!
//! - The client has NAME open for writing while it connects. If the server dies,
//!   nobody reads NAME: `POLLERR`.
//! - The server has NAME@token open for writing until the client has let go of
//!   it: `POLLERR`. Then the segment's journal says whether it has joined.
//! - A client that dies before its request had NAME open. When the last such client
//!   is gone, `POLLHUP` tells the server, which then sweeps. After that it opens NAME
//!   anew, because the hang-up would stay.
//!
//! No process needs a descriptor open in two places for this, so no end is missed.
//! But a process that is forked from one of them, and continues without `exec`,
//! keeps open what it inherited.
//!
//! The ownership of a FIFO is in [`claim`].

mod claim;
mod connect;
mod error;
mod listener;
mod pending;

use std::env;
use std::path::PathBuf;

use crate::error::BadName;
use crate::segment::Name;
use crate::sys;

pub use connect::{connect, connect_timeout};
pub use error::{ConnectError, ListenError};
pub use listener::Listener;

/// The longest name. A file's name has at most 255 bytes, and the name of a client's
/// FIFO has a token behind it.
const NAME_BYTES: usize = 200;

/// The character before a client's token. No name contains it.
const MARK: char = '@';

/// Checks that a name is the name of one file, and not hidden.
fn checked(name: &str) -> Result<Name, BadName> {
    let checked = Name::new(name, NAME_BYTES)?;
    let bad = |reason: &str| Err(BadName { name: name.to_owned(), reason: reason.to_owned() });
    if name.contains('/') {
        return bad("it is the name of a file, which has no /");
    }
    if name.starts_with('.') {
        return bad("it is the name of a file that is not hidden: it begins with a .");
    }
    Ok(checked)
}

/// The name of one client's FIFO.
fn reply_name(name: &str, token: u64) -> String {
    format!("{name}{MARK}{token:016x}")
}

/// The directory of the FIFOs.
fn directory() -> PathBuf {
    let runtime = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    match runtime.filter(|path| path.is_absolute()) {
        Some(path) => path.join("tombolo"),
        None => env::temp_dir().join(format!("tombolo-{}", sys::proc::uid())),
    }
}
