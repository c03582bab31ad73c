//! Errors of wait sets.

use super::Fault;
use super::debug_as_display;

/// A handle could not be added to a [`WaitSet`](crate::WaitSet).
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WaitSetError {
    /// The set has a member with this key.
    #[error("key {key} is in use in this wait set; remove that member first, or take another key")]
    KeyTaken {
        /// The key.
        key: u64,
    },
    /// The handle belongs to another segment, or to another participant of this process.
    #[error(
        "channel {channel} was opened through another segment than this wait set; a thread waits \
         in one segment"
    )]
    OtherSegment {
        /// The channel.
        channel: String,
    },
    /// The system allows no more operations in one call. A queue takes one of them, one side of a
    /// broadcast channel three. Only in a segment whose participants have no bells of their own,
    /// because `kernel.sem` allowed too few semaphores when it was made.
    #[error(
        "this wait set is full: with channel {channel} a wait would take {operations} semaphore \
         operations in one call, and kernel.sem allows {limit} (its third number, SEMOPM)"
    )]
    TooMany {
        /// The channel.
        channel: String,
        /// How many operations there would be.
        operations: u64,
        /// How many the system allows.
        limit: u64,
    },
    /// Nothing can be done in the segment.
    #[error(transparent)]
    Fault(#[from] Fault),
}

debug_as_display! { WaitSetError { KeyTaken OtherSegment TooMany; Fault } }
