//! The lease: a mutex in the semaphore set. Only its holder may build a segment,
//! join it, leave it or change its directory.
//!
//! ```text
//! free (0) ── {wait 0, +1 undo} ──▶ held (1)
//!    ▲                                │
//!    └── −1 undo, or the holder's death ┘
//! ```
//!
//! If a holder dies, its undo gives the lease back. The next holder then finds
//! whatever was under way, and knows that no process is working on it any more.
//! A stopped holder keeps the lease, so every wait has the caller's deadline.

use super::kernel::{Kernel, Op, Refusal};
use super::set::SetMap;

/// Waits for the lease until `until`.
pub(crate) fn acquire<K: Kernel>(kernel: &K, until: Option<K::Deadline>) -> Result<(), Refusal> {
    kernel.semop(&[Op::zero(SetMap::LEASE), Op::add(SetMap::LEASE, 1).undo()], until)
}

/// Takes the lease if nobody holds it.
pub(crate) fn try_acquire<K: Kernel>(kernel: &K) -> Result<(), Refusal> {
    let ops = [Op::zero(SetMap::LEASE).no_wait(), Op::add(SetMap::LEASE, 1).undo()];
    kernel.semop(&ops, None)
}

/// Gives the lease back. Only its holder may call this.
pub(crate) fn release<K: Kernel>(kernel: &K) -> Result<(), Refusal> {
    kernel.semop(&[Op::take(SetMap::LEASE, 1).undo().no_wait()], None)
}
