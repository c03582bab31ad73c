//! The lease: who holds it may build, join, leave or change the directory.
//!
//! ```text
//! free (0) ── {wait 0, +1 undo} ──▶ held (1)
//!    ▲                                │
//!    └── −1 undo, or the holder's death ┘
//! ```
//!
//! A holder that dies gives it back through its undo, so the next one in
//! finds whatever was under way and can tell that nobody is at it any more.
//! A holder that is stopped keeps it: every wait has the caller's deadline.

use super::kernel::{Kernel, Op, Refusal};
use super::set::SetMap;

/// Waits for the lease until `until`.
pub(crate) fn acquire<K: Kernel>(kernel: &K, until: Option<K::Deadline>) -> Result<(), Refusal> {
    kernel.semop(&[Op::zero(SetMap::LEASE), Op::add(SetMap::LEASE, 1).undo()], until)
}

/// Takes the lease if nobody has it.
pub(crate) fn try_acquire<K: Kernel>(kernel: &K) -> Result<(), Refusal> {
    let ops = [Op::zero(SetMap::LEASE).no_wait(), Op::add(SetMap::LEASE, 1).undo()];
    kernel.semop(&ops, None)
}

/// Gives the lease back. Only its holder may call this.
pub(crate) fn release<K: Kernel>(kernel: &K) -> Result<(), Refusal> {
    kernel.semop(&[Op::take(SetMap::LEASE, 1).undo().no_wait()], None)
}
