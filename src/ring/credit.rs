//! The death credit: the kernel's promise to post a token when this process ends.
//!
//! ```text
//!  none ── arm: {W +1}{W −1 undo}, net nothing ──▶ held
//!    ▲                                              │
//!    ├── disarm: {W −1}{W +1 undo}, or +1 alone ────┤  leaves one token
//!    └── the process ends: the kernel does W +1 ────┘  leaves one token more
//! ```
//!
//! A process holds one credit on each wake semaphore of each channel that it is attached to.
//! It takes the credit before it can be seen there, and gives it up after it no longer can.
//! So the end of a process makes up for any wake-up that it owed: for a message that it had
//! published without posting a token, or for a token that the kernel had given it and that it
//! did not live to use.

use super::kernel::{Kernel, Op, Refusal};

/// Takes a credit on `sem`. Never sleeps and leaves the value as it was.
pub(crate) fn arm<K: Kernel>(kernel: &K, sem: u16) -> Result<(), Refusal> {
    loop {
        match kernel.semop(&[Op::add(sem, 1), Op::take(sem, 1).undo()], None) {
            Err(Refusal::Range) => {}
            done => return done,
        }
        // At its maximum there is certainly a token to borrow.
        match kernel.semop(&[Op::take(sem, 1).undo().no_wait(), Op::add(sem, 1)], None) {
            Err(Refusal::WouldBlock) => {}
            done => return done,
        }
    }
}

/// Gives the credit back and rings, in one call: killed before it, the kernel
/// rings; killed after it, the token is there. Never sleeps.
pub(crate) fn disarm<K: Kernel>(kernel: &K, sem: u16) -> Result<(), Refusal> {
    loop {
        match kernel.semop(&[Op::take(sem, 1).no_wait(), Op::add(sem, 1).undo()], None) {
            Err(Refusal::WouldBlock) => {}
            done => return done,
        }
        // Saturating: adding without looking would pile tokens up.
        match kernel.semop(&[Op::zero(sem).no_wait(), Op::add(sem, 1).undo()], None) {
            Err(Refusal::WouldBlock) => {}
            done => return done,
        }
    }
}
