//! What a participant keeps of the commands that it serves.

use std::collections::VecDeque;
use std::sync::Mutex;

use super::mail::Mail;
use crate::ring::table::Member;
use crate::sync::AtomicU64;

/// A command for the application.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UserCommand {
    /// What was sent.
    pub payload: Vec<u8>,
    /// The slot of the participant that sent it.
    pub from: u16,
}

/// A participant's own part of the commands.
#[derive(Debug)]
pub(crate) struct Desk {
    /// The header's `calls` when this process last looked.
    pub(super) seen: AtomicU64,
    pub(super) tray: Mutex<Tray>,
    /// Replies that one commander of this process has received for another.
    pub(super) replies: Mutex<Vec<Mail>>,
    /// How often one of its handles has gone to sleep.
    pub(crate) sleeps: AtomicU64,
}

#[derive(Debug, Default)]
pub(super) struct Tray {
    /// Acknowledged when the senders have stopped.
    pub(super) deferred: Vec<Mail>,
    /// Replies that there was no room for.
    pub(super) unsent: Vec<(Member, Mail)>,
    pub(super) inbox: VecDeque<UserCommand>,
    pub(super) takers: usize,
    pub(super) served: u64,
}

/// What a participant says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// How many senders it has, in all channels.
    pub senders: u64,
    /// How many receivers.
    pub receivers: u64,
    /// How often one of its handles has gone to sleep.
    pub sleeps: u64,
    /// How many commands it has served, this one included.
    pub commands: u64,
}

impl Stats {
    pub(super) fn bytes(self) -> Vec<u8> {
        [self.senders, self.receivers, self.sleeps, self.commands]
            .into_iter()
            .flat_map(u64::to_le_bytes)
            .collect()
    }

    /// `None` for what are no statistics.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let (words, []) = bytes.as_chunks::<8>() else {
            return None;
        };
        let [senders, receivers, sleeps, commands] = *words else {
            return None;
        };
        let [senders, receivers, sleeps, commands] =
            [senders, receivers, sleeps, commands].map(u64::from_le_bytes);
        Some(Self { senders, receivers, sleeps, commands })
    }
}

impl Desk {
    pub(crate) fn new(calls: u64) -> Self {
        Self {
            seen: AtomicU64::new(calls),
            tray: Mutex::default(),
            replies: Mutex::default(),
            sleeps: AtomicU64::new(0),
        }
    }
}
