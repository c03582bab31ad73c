//! The messages between the demo and its workers: orders as a worker's argument,
//! then lines on its standard input, and reports as lines of JSON on its standard
//! output.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// A worker's role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Role {
    Producer,
    Consumer,
}

impl Role {
    /// For people.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Producer => "producer",
            Self::Consumer => "consumer",
        }
    }
}

/// When the producers stop.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Limit {
    /// After so many messages, all producers together.
    Messages(u64),
    /// After so long.
    Time(Duration),
}

/// The kind of the channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Form {
    Mpmc,
    Spsc,
    /// All consumers get everything. Nobody waits for the last one of them.
    Broadcast,
}

/// The orders for a worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Orders {
    pub(crate) role: Role,
    /// Counts the workers of a role.
    pub(crate) index: u16,
    pub(crate) producers: u16,
    pub(crate) consumers: u16,
    pub(crate) limit: Limit,
    /// Bytes of payload in a message.
    pub(crate) size: usize,
    /// Messages in the channel.
    pub(crate) capacity: usize,
    pub(crate) form: Form,
    /// The CRC-32 of the whole input.
    pub(crate) input_crc: u32,
}

impl Orders {
    /// How many take part: the workers, and the demo itself.
    pub(crate) const fn participants(&self) -> u16 {
        self.producers + self.consumers + 1
    }

    /// How many groups of consumers there are. Each is to get everything that is sent.
    pub(crate) fn groups(&self) -> u16 {
        if self.form == Form::Broadcast { self.consumers } else { 1 }
    }

    /// In which of them this consumer is.
    pub(crate) fn group(&self) -> u16 {
        if self.form == Form::Broadcast { self.index } else { 0 }
    }

    /// For how many of the consumers of a broadcast channel the producers wait.
    pub(crate) const fn reliable(&self) -> u16 {
        self.consumers.saturating_sub(1)
    }

    /// This worker's part of so many messages, which the producers share.
    pub(crate) fn part_of(&self, messages: u64) -> u64 {
        let producers = u64::from(self.producers.max(1));
        messages / producers + u64::from(u64::from(self.index) < messages % producers)
    }
}

/// A worker's report. A worker that ends without having reported that it is done
/// has failed.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// It has its end of the channel, in the segment of this id.
    Ready { segment: i32 },
    /// A producer is done.
    Sent { messages: u64 },
    /// A consumer has received these messages of one producer: bit `b` of
    /// word `w` is number `64 * (WORDS * chunk + w) + b`.
    Received { group: u16, producer: u16, chunk: u64, words: Vec<u64> },
    /// A consumer is done.
    Drained { group: u16, findings: Findings },
    /// It cannot go on.
    Failed { unusable: bool, why: String },
}

/// The findings of a consumer.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Findings {
    pub(crate) duplicated: u64,
    pub(crate) reordered: u64,
    pub(crate) corrupt: u64,
    /// How many messages it was told that it has missed.
    pub(crate) lagged: u64,
    /// When the last message came, as [`now`] said.
    pub(crate) last: u64,
    /// Latencies in nanoseconds, and how often each was measured.
    pub(crate) latencies: Vec<(u64, u64)>,
}

/// Room for latencies of up to an hour, in nanoseconds to three digits.
pub(crate) fn histogram() -> Result<Histogram<u64>, Failure> {
    Histogram::new_with_bounds(1, 3_600_000_000_000, 3)
        .map_err(|error| Failure::broken("cannot keep latencies", error))
}
