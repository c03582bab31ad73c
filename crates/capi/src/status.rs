//! What an end of a channel is like just now.

use crate::given::Extensible;

/// An end of a channel, now or a moment ago.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct tombolo_status {
    /// sizeof(tombolo_status)
    pub struct_size: usize,
    /// How many messages are in the channel; for a subscriber, how many it can get.
    pub length: usize,
    /// How many messages it holds.
    pub capacity: usize,
    /// How many bytes a message has; of messages of any length, the longest.
    pub element_size: usize,
    /// How many messages this subscriber has missed, in all.
    pub missed: u64,
}

// SAFETY: numbers, the first of which is its size.
unsafe impl Extensible for tombolo_status {}
