//! The answers to a command.

use core::fmt;
use std::time::Duration;

use super::desk::Stats;
use super::mail::{Mail, Status, Verb};

/// What a participant answered: see [`Commander`](crate::Commander).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answer {
    /// The participant: its slot in the table, and which of its lives.
    pub slot: u16,
    /// See [`slot`](Self::slot).
    pub life: u64,
    /// Its process, as it is numbered in its own pid namespace.
    pub pid: u32,
    /// The outcome of the command.
    pub outcome: Outcome,
    /// Whether the participant did what was asked. A participant that has left counts as
    /// obeying commands about sending.
    pub ok: bool,
}

/// The outcome of a command to one participant.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It has obeyed.
    Done,
    /// Its statistics.
    Stats(Stats),
    /// It has left by itself.
    Left,
    /// It was killed.
    Died,
    /// It has not answered in time, because it is stopped or does not use the segment.
    Silent {
        /// How long was waited.
        waited: Duration,
        /// Whether its process is stopped.
        stopped: bool,
    },
    /// The command could not be sent in time: the queue is full of messages to
    /// participants that do not receive them.
    QueueFull {
        /// How long was waited.
        waited: Duration,
    },
    /// Another command has changed the state meanwhile.
    Superseded,
    /// Its application accepts no commands: see
    /// [`Segment::inbox`](crate::Segment::inbox).
    NobodyTakes,
    /// Its application has not yet taken the last ones.
    InboxFull,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::Stats(stats) => write!(
                f,
                "{} senders, {} receivers, {} sleeps, {} commands",
                stats.senders, stats.receivers, stats.sleeps, stats.commands
            ),
            Self::Left => f.write_str("it has left"),
            Self::Died => f.write_str("it was killed"),
            Self::Silent { waited, stopped: true } => {
                write!(f, "no answer in {waited:?}: its process is stopped")
            }
            Self::Silent { waited, stopped: false } => {
                write!(f, "no answer in {waited:?}: it does not use the segment just now")
            }
            Self::QueueFull { waited } => write!(
                f,
                "the message queue stayed full for {waited:?}, of commands to participants \
                 that do not answer"
            ),
            Self::Superseded => f.write_str("another command has changed the state meanwhile"),
            Self::NobodyTakes => f.write_str("its application takes no commands"),
            Self::InboxFull => f.write_str("its application has not taken the last commands yet"),
        }
    }
}

/// The outcome of a [`drain`](crate::Commander::drain).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drain {
    /// The answers of the participants.
    pub answers: Vec<Answer>,
    /// The channels that are not empty, and how many messages they have.
    pub left: Vec<(String, u64)>,
}

impl Outcome {
    /// `None` if this cannot be a reply.
    pub(super) fn of(reply: &Mail) -> Option<Self> {
        Some(match reply.status {
            Status::Asked => return None,
            Status::Done if reply.verb == Verb::Stats => Self::Stats(Stats::read(&reply.payload)?),
            Status::Done => Self::Done,
            Status::Superseded => Self::Superseded,
            Status::NobodyTakes => Self::NobodyTakes,
            Status::InboxFull => Self::InboxFull,
        })
    }
}
