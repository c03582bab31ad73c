//! Waiting for a queue slot, where a token would go to the wrong waiter.
//!
//! In a channel of blocks, a sender may lack two things: a block to write into, and a slot
//! in which to queue it. With one semaphore for both, a sender that waits for a block could
//! take the token for a slot, find nothing and sleep again. So a sender that waits for a
//! slot, or for either without taking it, waits on the [`wake_all`] semaphore, which wakes
//! all sleepers.
//!
//! ```text
//!  try ─▶ raise record, waiting ─▶ heavy fence ─▶ read: v ─▶ try ─▶ sleep while
//!             ▲                                              │    the value is v
//!             └──────────────── lower ◀──────────────────────┼────────┘
//!                                                            ▼
//!  free it ─▶ light fence ─▶ waiting? ─▶ increment         lower, done
//! ```
//!
//! **No wake-up is lost.** Either the try after the heavy fence finds what was freed, or the
//! process that frees it sees the count (edge W) and increments the semaphore. An increment
//! before v was read comes after the freeing, which the try then finds. A later increment
//! makes the value different from v. The first sleep is short, and another try follows: the
//! recheck of [`event`].
//!
//! **Deaths.** If a process dies between freeing and incrementing, the kernel increments for
//! it, and the scans that follow free what it held. If a process dies while it waits, its
//! sweep recomputes the count from the records.

use super::event::{self, Parked};
use super::kernel::{Kernel, Refusal, sooner};
use super::table::Blind;
use super::wake_all;
use crate::sync::AtomicU64;

/// Wakes all who wait, if there are any. Call it after freeing.
#[inline]
pub(crate) fn freed<K: Kernel>(kernel: &K, waiting: &AtomicU64) -> Result<(), Refusal> {
    event::waited_for(kernel, waiting).map_or(Ok(()), |_| wake_all::strike_and_wind(kernel))
}

/// Sleeps until `attempt` gives something, or the set is gone.
///
/// `attempt` is asked again when the deadline has passed, and has to find
/// that out by itself. `listen` sweeps the dead and says what the wake-all semaphore was
/// before. The caller's process holds a credit on the wake-all semaphore.
// More parameters than 5: each belongs to another owner.
pub(crate) fn park<K: Kernel, R>(
    kernel: &K,
    waiting: &AtomicU64,
    record: &AtomicU64,
    until: Option<K::Deadline>,
    mut attempt: impl FnMut() -> Option<R>,
    mut listen: impl FnMut() -> Result<u16, Blind>,
) -> Parked<R> {
    loop {
        event::raise(waiting, record);
        // Edge W.
        kernel.heavy_fence();
        let slept = listen().and_then(|heard| {
            let wait = |until| wake_all::park(kernel, heard, until).map_err(Blind::Refused);
            let mut ready = attempt();
            if let (None, Some(soon)) = (&ready, sooner(kernel.soon(), until)) {
                wait(Some(soon))?;
                ready = attempt();
            }
            if ready.is_none() {
                // At once, if it was the wake-all semaphore that ended the other one.
                wait(until)?;
            }
            Ok(ready)
        });
        event::lower(waiting, record);
        match slept {
            Ok(Some(ready)) => return Parked::Ready(ready),
            Ok(None) => {}
            Err(blind) => return Parked::Gone(blind),
        }
    }
}
