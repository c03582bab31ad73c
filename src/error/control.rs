//! Why a command cannot be given.

use std::time::Duration;

use super::{Fault, debug_as_display};

/// Why a command could not be given.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// Another program has a message queue on the segment's key.
    #[error(
        "segment {segment} can have no commands: another program has a message queue on its key \
         (ipcs -q shows it); use another name"
    )]
    Foreign {
        /// The segment's name.
        segment: String,
    },
    /// Somebody has held the segment's lease for too long.
    #[error(
        "segment {segment} is busy: process {pid} has been creating, joining or leaving it for \
         {waited:?}; continue or end that process"
    )]
    Busy {
        /// The segment's name.
        segment: String,
        /// Who holds the lease; 0 if not visible from here.
        pid: i32,
        /// How long was waited.
        waited: Duration,
    },
    /// Somebody has removed the segment's message queue.
    #[error(
        "the message queue of segment {segment} has been removed; another commander makes a new \
         one"
    )]
    QueueRemoved {
        /// The segment's name.
        segment: String,
    },
    /// What the segment is in the way of the command.
    #[error("segment {segment} is {state}; `tombolo ctl {segment} resume` opens it again")]
    State {
        /// The segment's name.
        segment: String,
        /// What it is.
        state: crate::State,
    },
    /// The command for the application is too long.
    #[error("the command has {length} bytes, and at most {longest} are possible")]
    TooLong {
        /// Its length.
        length: usize,
        /// The longest.
        longest: usize,
    },
    /// The segment can no longer be used, or the kernel has refused.
    #[error(transparent)]
    Fault(#[from] Fault),
}

debug_as_display! { CommandError { Foreign Busy QueueRemoved State TooLong; Fault } }
