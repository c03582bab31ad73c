//! How long to try before sleeping.
//!
//! A wake-up through the kernel costs tens of microseconds on both sides,
//! so trying for about as long costs at most twice the better choice. Where
//! trying keeps failing, because the other side is slow or needs this very
//! processor, it is cut down; where it succeeds it grows back.

use core::cell::Cell;

use crate::sys::proc::cpus;

/// Tries, each followed by a pause, that are worth one sleep and wake-up.
const MOST: u32 = 2_048;
const LEAST: u32 = 32;
/// Pauses between two tries grow up to this many, so that the line that is
/// looked at is left to whoever writes it.
const MOST_PAUSES: u32 = 8;

/// A handle's patience.
#[derive(Debug)]
pub(crate) struct Spin {
    tries: Cell<u32>,
}

impl Spin {
    pub(crate) fn new() -> Self {
        Self { tries: Cell::new(if cpus() > 1 { MOST } else { 0 }) }
    }

    /// Tries until something comes of it or patience ends.
    #[inline]
    pub(crate) fn until<R>(&self, mut attempt: impl FnMut() -> Option<R>) -> Option<R> {
        let tries = self.tries.get();
        let mut pauses = 1;
        for _ in 0..tries {
            for _ in 0..pauses {
                core::hint::spin_loop();
            }
            pauses = (pauses * 2).min(MOST_PAUSES);
            if let Some(done) = attempt() {
                self.tries.set((tries * 2).min(MOST));
                return Some(done);
            }
        }
        self.tries.set((tries / 2).max(LEAST).min(tries));
        None
    }
}
