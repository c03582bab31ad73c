//! Why a command cannot be given.

use std::time::Duration;

use super::{Fault, debug_as_display};
use crate::storage::OperatingState;

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
    /// Another process has held the segment's lease for too long.
    #[error(
        "segment {segment} is busy: process {pid} has been creating, joining or leaving it for \
         {waited:?}; continue or end that process"
    )]
    Busy {
        /// The segment's name.
        segment: String,
        /// The process that holds the lease; 0 if it is not visible from here.
        pid: i32,
        /// How long this process waited.
        waited: Duration,
    },
    /// The segment's message queue has been removed.
    #[error(
        "the message queue of segment {segment} has been removed; another commander makes a new \
         one"
    )]
    QueueRemoved {
        /// The segment's name.
        segment: String,
    },
    /// The segment's state does not allow the command.
    #[error("segment {segment} is {state}; `tombolo ctl {segment} resume` opens it again")]
    State {
        /// The segment's name.
        segment: String,
        /// Its state.
        state: OperatingState,
    },
    /// The command for the application is too long.
    #[error("the command has {length} bytes, and at most {longest} are possible")]
    TooLong {
        /// Its length.
        length: usize,
        /// The longest.
        longest: usize,
    },
    /// The segment can no longer be used, or the kernel refused.
    #[error(transparent)]
    Fault(#[from] Fault),
}

debug_as_display! { CommandError { Foreign Busy QueueRemoved State TooLong; Fault } }
