//! How a client waits asleep for the end of its call: what it listens to, and when it looks.
//!
//! ```text
//!  listen: look for the dead; the wake-all semaphore is g, the own bell is u ◀─┐
//!     ▼                                                                        │
//!  look ── over, or no server is left ─▶ done                                  │
//!     ▼                                                                        │
//!  doze: *asleep* in the call's word ── the call has ended ─▶ look             │
//!     ▼                                                                        │
//!  sleep while both are what they were ── the time is up ─▶ look, late         │
//!     ▼                                                                        │
//!  look ── over ─▶ done                                                        │
//!     └── nothing ─────────────────────────────────────────────────────────────┘
//! ```
//!
//! Why no wake-up is lost is said in [`calls`](super). The look behind a sleep comes before
//! the next listening: it needs no call into the kernel, and is what a client is mostly
//! woken for. Several threads of one participant may sleep so at once. A stroke wakes all of
//! them, and each finds out whether it was meant.

use super::super::bell;
use super::super::kernel::{Kernel, Refusal};
use super::super::wait::{Cause, Operation, Polled, Waited, poll};

/// Wakes the client of a call that has ended: all its threads that sleep over this bell, which
/// is its participant's own.
pub(crate) fn wake<K: Kernel>(kernel: &K, own: u16) -> Result<(), Refusal> {
    bell::strike(kernel, own)
}

/// Waits until `op` is done or over, or the deadline passes. `own` is the participant's bell;
/// `doze` announces the sleep, and says whether the call goes on.
pub(crate) fn wait<K: Kernel, O: Operation>(
    kernel: &K,
    own: u16,
    until: Option<K::Deadline>,
    doze: impl Fn() -> bool,
    op: &mut O,
) -> Result<Waited<O::Done>, O::Fault> {
    loop {
        let heard = op.scan(own, true)?;
        // Refused, the sleep will say so.
        let _ = bell::wind(kernel, own, heard.own);
        if let Polled::Done(done) = poll(op)? {
            return Ok(Waited::Done(done));
        }
        let slept = if doze() {
            bell::wait(kernel, own, heard.own, heard.wake_all, until)
        } else if until.is_some_and(|until| kernel.now() >= until) {
            Err(Refusal::TimedOut)
        } else {
            Ok(())
        };
        if let Polled::Done(done) = poll(op)? {
            return Ok(Waited::Done(done));
        }
        match slept {
            Ok(()) | Err(Refusal::WouldBlock) => {}
            Err(Refusal::TimedOut) => return Ok(Waited::TimedOut),
            Err(refusal) => return Err(op.fault(Cause::Sleep(refusal))),
        }
    }
}
