//! When a handle of a ring whose messages have positions keeps back, and looks once more.

use core::cell::Cell;

use crate::ring::backoff::Backoff;
use crate::wait;

/// How a handle keeps back from the other side after a look in vain.
#[derive(Debug)]
pub(crate) struct KeepBack {
    backoff: Backoff,
    /// The position at which there was last nothing to be had.
    ended: Cell<u64>,
}

impl KeepBack {
    /// Of a handle that begins at this position of a ring for so many messages.
    pub(crate) fn new(capacity: u64, position: u64) -> Self {
        Self { backoff: Backoff::new(wait::costs(), capacity), ended: Cell::new(position) }
    }

    /// Whether the last look was in vain too, and a longer one is not called for: then
    /// [`retries`](Self::retries) does nothing.
    #[inline(always)]
    pub(crate) fn is_idle(&self, position: u64) -> bool {
        self.ended.get() == position && !self.backoff.keeps_back()
    }

    /// There is nothing to be had at this position. Keeps back, if that pays; whether it has,
    /// so that there may be something now.
    #[inline]
    pub(crate) fn retries(&self, position: u64) -> bool {
        self.backoff.found(position.wrapping_sub(self.ended.replace(position)));
        let keeps_back = self.backoff.keeps_back();
        if keeps_back {
            self.backoff.back_off();
        }
        keeps_back
    }
}
