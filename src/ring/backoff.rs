//! Keeping back from what the other side is writing.
//!
//! Whoever looks at a word takes its line away from the one who writes it, and
//! the next write takes the line back: both wait, for as long as a hundred
//! messages take. One who looks right on the heels of the other pays that for
//! each message or two. One who keeps back a moment before it looks pays it
//! once for many, and no message comes later than by that moment.
//!
//! ```text
//!             ┌────── few: twice as long ──────┐
//!             ▼                                │
//!      keep back, look ─── how many came? ─────┼── enough: as before
//!             ▲                                │
//!             ├─── one or none: half as long ──┤
//!             └─── many: somewhat shorter ─────┘
//! ```
//!
//! A question and its answer, or a stream that is slower than its reader, come
//! one by one: there nobody keeps back. The lengths are a guess of what is
//! next, and nothing depends on them but the speed.

use core::cell::Cell;

use crate::sync::spin_loop;

/// How long one side keeps back before it looks, in pauses of the processor.
#[derive(Debug)]
pub struct Backoff {
    now: Cell<u32>,
    most: u32,
    enough: u64,
}

impl Backoff {
    /// Never keeps back.
    pub(crate) const fn none() -> Self {
        Self::new(0, 0)
    }

    /// Keeps back for up to `most` pauses, on a ring of this capacity.
    pub(crate) const fn new(most: u32, capacity: u64) -> Self {
        // A quarter leaves the other side enough to go on with meanwhile.
        Self { now: Cell::new(0), most, enough: capacity / 4 }
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

    /// How much more there was after keeping back.
    #[inline]
    pub(crate) fn found(&self, more: u64) {
        let now = self.now.get();
        if more < 2 {
            self.now.set(now / 2);
        } else if more > 2 * self.enough {
            self.now.set(now - now.div_ceil(4));
        } else if more < self.enough {
            self.now.set((2 * now + 1).min(self.most));
        }
    }
}
