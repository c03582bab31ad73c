//! Stops every sender, and knows when they have stopped.
//!
//! A word of the segment says that nothing more may be sent, and `changes` grows with it. A
//! sender reads `changes` before each message, so it notices. But `changes` does not show
//! whether a sender read it just before. So each sending handle has a word `busy` of its own,
//! in its process's memory:
//!
//! ```text
//!  sender                             asking thread, in the same process
//!  busy = 1 ─▶ light fence ─▶ changes   changes grew ─▶ own fence ─▶ busy?
//!     ▲                        │ as before                          0: it sends
//!     │                        ▼                                    nothing any
//!     └── busy = 0 ◀──────── publish                                more
//! ```
//!
//! Either the sender sees that `changes` has grown, or the asking thread sees that the sender
//! is busy (edge G: the light fence in [`enter`] with that of the whole process in [`idle`],
//! which, unlike a heavy one, leaves no thread out). If a sender is killed, its word goes with
//! it.

use super::kernel::{Kernel, LightFence};
use crate::sync::{AtomicU64, Ordering};

/// Begins to send, unless `changes` (or the word itself that it grows with) is
/// no longer what it was when this handle last looked. To be followed by
/// [`leave`] if it returns true.
#[inline]
pub(crate) fn enter<F: LightFence>(
    fence: &F,
    busy: &AtomicU64,
    changes: &AtomicU64,
    seen: u64,
) -> bool {
    busy.store(1, Ordering::Relaxed);
    // Edge G.
    fence.light_fence();
    // Relaxed: what came before this count was acquired when it was last seen.
    let unchanged = changes.load(Ordering::Relaxed) == seen;
    if !unchanged {
        leave(busy);
    }
    unchanged
}

/// Has sent, or has given it up.
#[inline]
pub(crate) fn leave(busy: &AtomicU64) {
    // Edge I: Release, so that who finds it idle (Acquire) finds its message.
    busy.store(0, Ordering::Release);
}

/// Whether none of these handles sends, nor will before it has seen what the
/// caller has seen of `changes`.
pub(crate) fn idle<'a, K: Kernel>(
    kernel: &K,
    mut handles: impl Iterator<Item = &'a AtomicU64>,
) -> bool {
    // Edge G.
    kernel.own_fence();
    // Edge I.
    handles.all(|busy| busy.load(Ordering::Acquire) == 0)
}
