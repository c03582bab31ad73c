//! Names a participant.

use core::fmt;
use core::hash::{Hash, Hasher};

use crate::ring::table::Member;

/// One participant of one segment: its slot, and which of the slot's lives. It never
/// names another participant, however often slots and pids are reused.
///
/// [`Segment::participants`](crate::Segment::participants), the
/// [events](crate::Event) and [`SpawnedChild::joined`](crate::SpawnedChild::joined) name
/// participants. A handle that is [bound](crate::Receiver::bind_to_peer) to one waits no
/// longer than it lives.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// The segment.
    pub(crate) generation: u64,
    pub(crate) member: Member,
    pid: u32,
}

impl Peer {
    pub(crate) const fn new(generation: u64, member: Member, pid: u32) -> Self {
        Self { generation, member, pid }
    }

    /// Its slot in the table.
    pub const fn slot(&self) -> u16 {
        self.member.id
    }

    /// Which of the slot's lives, from 1.
    pub const fn life(&self) -> u64 {
        self.member.incarnation
    }

    /// Its process, as it is numbered in its own pid namespace.
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    const fn key(&self) -> (u64, u16, u64) {
        (self.generation, self.member.id, self.member.incarnation)
    }
}

impl PartialEq for Peer {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Peer {}

impl Hash for Peer {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

impl fmt::Display for Peer {
    /// `process 4711 (slot 3)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} (slot {})", self.pid, self.member.id)
    }
}
