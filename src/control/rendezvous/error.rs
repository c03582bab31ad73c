//! Why a server and a client did not meet.

use std::path::PathBuf;
use std::time::Duration;

use crate::error::{BadName, OpenError, debug_as_display};
use crate::sys;

/// Why a server cannot listen, or cannot accept a client.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// The name cannot be used.
    #[error(transparent)]
    BadName(#[from] BadName),
    /// Another server listens.
    #[error(
        "{name} has its server already, {}; end that one, or choose another name \
         (the FIFO is {path})", process(*pid)
    )]
    Taken {
        /// The name.
        name: String,
        /// The FIFO.
        path: PathBuf,
        /// The other server's process, if it can be seen.
        pid: Option<u32>,
    },
    /// Another process has locked the directory for too long. Most likely it is
    /// stopped: a dead process holds no lock.
    #[error(
        "{directory} is busy: another process has been starting to listen, or stopping, for \
         {waited:?}; continue or end it (/proc/locks names it)"
    )]
    Busy {
        /// The directory of the FIFOs.
        directory: PathBuf,
        /// How long this call waited.
        waited: Duration,
    },
    /// The FIFO was removed, or another file has taken its place. No client finds
    /// this listener any more.
    #[error("the FIFO {path} of {name} has been removed behind its back; listen anew")]
    Lost {
        /// The name.
        name: String,
        /// The FIFO.
        path: PathBuf,
    },
    /// The listener belongs to the process that this one was forked from.
    #[error("this listener belongs to the parent process; a forked child has none")]
    Forked,
    /// A client came, and this process could not make a segment for it. The client
    /// has been told.
    #[error("a client had to be refused: {0}")]
    Segment(#[source] OpenError),
    /// The directory, or the FIFO, cannot be used.
    #[error(transparent)]
    System(#[from] sys::Error),
}

/// Why there is no connection to a server.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The name cannot be used.
    #[error(transparent)]
    BadName(#[from] BadName),
    /// No server has this name, or no longer.
    #[error("nobody listens as {name} (at {path}); start its server")]
    NobodyListens {
        /// The name.
        name: String,
        /// Where its FIFO would be.
        path: PathBuf,
    },
    /// The server ended, or stopped listening, before it had accepted this client.
    #[error("the server of {name} has gone before it answered; start it again")]
    Gone {
        /// The name.
        name: String,
    },
    /// The server could not make a segment.
    #[error("the server of {name} has no segment for another client; its own error says why")]
    Refused {
        /// The name.
        name: String,
    },
    /// The server is of another version.
    #[error(
        "the server of {name} speaks version {found}, and this build {supported}; \
         use one build on both sides"
    )]
    Version {
        /// The name.
        name: String,
        /// The server's version.
        found: u64,
        /// The only version that this build speaks.
        supported: u64,
    },
    /// The server is alive, and has not answered in time.
    #[error("the server of {name} has not answered within {waited:?}; is it stopped, or busy?")]
    TimedOut {
        /// The name.
        name: String,
        /// How long this call waited.
        waited: Duration,
    },
    /// The segment could not be joined.
    #[error(transparent)]
    Segment(#[from] OpenError),
    /// The directory, or a FIFO, cannot be used.
    #[error(transparent)]
    System(#[from] sys::Error),
}

fn process(pid: Option<u32>) -> String {
    pid.map_or_else(
        || "in a process that cannot be seen".to_owned(),
        |pid| format!("process {pid}"),
    )
}

debug_as_display! {
    ListenError { Taken Busy Lost Forked Segment; BadName System }
    ConnectError { NobodyListens Gone Refused Version TimedOut; BadName Segment System }
}
