//! Delays polling of what the other side is writing.
//!
//! A poll of a word takes its cache line away from the writer, and the next write takes the
//! line back. Both sides wait, for as long as a hundred messages take. A side that polls
//! right behind the other one pays this for each message or two. A side that waits a moment
//! before it polls pays it once for many messages, and no message is delayed by more than
//! that moment.
//!
//! ```text
//!             ┌────── few: twice as long ──────┐
//!             ▼                                │
//!        delay, poll ─── how many came? ───────┼── enough: as before
//!             ▲                                │
//!             ├─── one or none: half as long ──┤
//!             └─── many: somewhat shorter ─────┘
//! ```
//!
//! In a request-response exchange, or in a stream that is slower than its reader, messages
//! come one by one, and there is no delay. The length of the delay is a guess, on which
//! nothing but the speed depends.

use core::cell::Cell;

use crate::sync::spin_loop;

/// How long one side keeps back before it looks, in pauses of the processor.
#[derive(Debug)]
pub struct Backoff {
    now: Cell<u32>,
    most: u32,
    enough: u64,
    /// Cells of a message: what is told of what came counts cells.
    message: Cell<u64>,
}

impl Backoff {
    /// Never keeps back.
    pub(crate) const fn none() -> Self {
        Self::new(0, 0)
    }

    /// Keeps back for up to `most` pauses, on a ring of this capacity.
    pub(crate) const fn new(most: u32, capacity: u64) -> Self {
        // A quarter leaves the other side enough to go on with meanwhile.
        Self { now: Cell::new(0), most, enough: capacity / 4, message: Cell::new(1) }
    }

    /// Whether that takes any time now.
    #[inline]
    pub(crate) fn keeps_back(&self) -> bool {
        self.now.get() > 0
    }

    /// To be called before a look that may be too early.
    #[inline]
    pub(crate) fn back_off(&self) {
        for _ in 0..self.now.get() {
            spin_loop();
        }
    }

    /// Messages are of so many cells each.
    #[inline(always)]
    pub(crate) fn message_of(&self, cells: u64) {
        self.message.set(cells);
    }

    /// How many more cells there were after keeping back.
    #[inline]
    pub(crate) fn found(&self, more: u64) {
        let now = self.now.get();
        if more <= self.message.get() {
            self.now.set(now / 2);
        } else if more > 2 * self.enough {
            self.now.set(now - now.div_ceil(4));
        } else if more < self.enough {
            self.now.set((2 * now + 1).min(self.most));
        }
    }
}
