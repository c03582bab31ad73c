//! What the organizing process and the hosts say to each other: a JSON object a line.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::scratch;

/// Which host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Side {
    /// The one where messages are sent.
    Source,
    /// The one where they are received.
    Sink,
}

/// What a host says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Report {
    /// It is set up, in a namespace of its own or not.
    Alone { namespace: bool },
    /// Messages come through both channels.
    Linked,
    /// So many have come.
    Received { messages: u64 },
    /// A bridge was killed, and started again.
    Killed,
    /// All were sent.
    Sent(Sent),
    /// All were received, or no more come.
    Done(Done),
    /// It cannot go on.
    Failed { what: String },
}

/// How many messages were sent in each channel.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Sent {
    pub(super) queue: u64,
    pub(super) broadcast: u64,
}

/// What was received.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Done {
    pub(super) seconds: f64,
    pub(super) latency: Latency,
    pub(super) queue: Tally,
    pub(super) broadcast: Tally,
}

/// What has become of the messages of a channel.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Tally {
    pub(super) sent: u64,
    pub(super) received: u64,
    /// Came again, marked.
    pub(super) repeated: u64,
    /// Told to be missing.
    pub(super) lagged: u64,
    pub(super) lost: u64,
    /// Came again, not marked.
    pub(super) duplicated: u64,
    pub(super) reordered: u64,
    pub(super) corrupt: u64,
}

/// From the call of send to the return of receive.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Latency {
    pub(super) p50: u64,
    pub(super) p99: u64,
    pub(super) p999: u64,
}

impl Side {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Sink => "sink",
        }
    }
}

impl Report {
    pub(super) fn say(&self) {
        scratch::say(self);
    }
}
