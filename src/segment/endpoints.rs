//! What a process keeps of its own endpoints.

use crossbeam_utils::CachePadded;

use crate::sync::AtomicU64;

/// Not 0 while a handle sends: see [`gate`](crate::ring::gate).
pub(crate) type Busy = CachePadded<AtomicU64>;

/// How many endpoints this process has of one channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) senders: u16,
    pub(super) receivers: u16,
}
