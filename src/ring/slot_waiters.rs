//! Waiting for a place in the order, where a token would go to the wrong one.
//!
//! A channel of blocks has two things to be short of: a block to write into,
//! and a place to queue it. Over one semaphore a token for a place would be taken
//! by somebody who waits for a block, finds none and sleeps again. So who
//! waits for a place, or for either without taking it, waits on the
//! [`wake_all`], which wakes all.
//!
//! ```text
//!  try ─▶ raise record, waiting ─▶ heavy fence ─▶ listen: v ─▶ try ─▶ sleep
//!             ▲                                                │    while G is v
//!             └──────────────── lower ◀────────────────────────┼────────┘
//!                                                              ▼
//!  free it ─▶ light fence ─▶ waiting? ─▶ strike              lower, done
//! ```
//!
//! **No wake is lost.** Either the try after the heavy fence finds what was
//! freed, or who frees it sees the count (edge W) and strikes. A stroke
//! before v was read comes after the freeing, which the try then finds; one
//! after that makes the value another than v. The first sleep is a short one,
//! and another try follows: the second look of [`event`].
//!
//! **Deaths.** Who dies between freeing and striking is struck for by the
//! kernel, and what the dead held is freed by the looks that follow. The
//! count of one who dies waiting is settled by its sweep, from the records.

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
