//! Waiting for a block, where a token would go to the wrong waiter.
//!
//! In a channel of blocks, a sender may lack two things: a slot, and for a longer message a
//! block to write into. A token stands for a slot. With one semaphore for both, a sender
//! that waits for a block could take the token for a slot, find nothing and sleep again. So a
//! sender that lacks a block where there is a slot, or that waits for either without taking
//! it, waits on the [`wake_all`] semaphore, which wakes all sleepers.
//!
//! A sender that is paused waits here too, in every kind of channel. When the pause ends,
//! senders lack different things, and one token could go to one that lacks another thing.
//! The participant that changes the state always strikes, so nothing more is needed.
//!
//! ```text
//!  scan, read v ─▶ try ─▶ raise record, waiting ─▶ heavy fence ─▶ try ─▶ sleep while
//!       ▲                                                          │    the value is v
//!       └──────────────── lower ◀──────────────────────────────────┼────────┘
//!                                                                  ▼
//!  free it ─▶ light fence ─▶ waiting? ─▶ increment               lower, done
//! ```
//!
//! **No wake-up is lost.** Either the try after the heavy fence finds what was freed, or the
//! process that frees it sees the count (edge W) and increments the semaphore. An increment
//! before v was read comes after the freeing, which the try then finds. A later increment
//! makes the value different from v, which the kernel compares at the instant of falling
//! asleep. The first sleep is short, and another try follows: the recheck of [`event`]. The
//! sleeper is a [`Session`](super::wait::Session) in the queue [`All`](super::wait::Queue::All).
//!
//! **Deaths.** If a process dies between freeing and incrementing, the kernel increments for
//! it, and the scans that follow free what it held. If a process dies while it waits, its
//! sweep recomputes the count from the records.

use super::event;
use super::kernel::{Kernel, Refusal};
use super::wake_all;
use super::watch::Watch;
use crate::sync::AtomicU64;

/// Wakes all who wait or watch, if there are any. Call it after freeing.
#[inline]
pub(crate) fn freed<K: Kernel>(
    kernel: &K,
    waiting: &AtomicU64,
    watch: Option<Watch<'_>>,
) -> Result<(), Refusal> {
    if event::counted_or_watched(kernel, waiting, watch)? {
        wake_all::strike(kernel)
    } else {
        Ok(())
    }
}
