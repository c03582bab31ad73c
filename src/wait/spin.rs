//! How long to try before sleeping, and how often.
//!
//! A wake-up through the kernel costs tens of microseconds on both sides, so
//! trying for about as long costs at most twice the better choice. Where
//! trying keeps failing, because the other side is slow or needs this very
//! processor, less is tried, and in the end nothing but a probe now and then;
//! where it succeeds, all of it again.

use core::cell::Cell;
use core::hint::spin_loop;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::sys::proc::cpus;

/// What trying may take: about a sleep and a wake-up.
const MOST: Duration = Duration::from_micros(50);
/// Patience below this part of the most is none.
const LEAST: u32 = 16;
/// Without patience, one wait in so many is a probe of [`LEAST`] its length.
const PROBE: u32 = 16;
/// What keeping back from the other side may take.
const LONGEST: Duration = Duration::from_nanos(800);
/// So many pauses are made with nothing else between two tries. After that the
/// other side may be waiting for this processor: each pause gives way to it.
const NEAR: u32 = 64;
/// What giving way takes where nobody wants the processor.
const YIELDING: Duration = Duration::from_nanos(400);
/// Giving way takes longer where others have work to do. After so long, a sleeper
/// would get the processor back sooner.
const LONG: Duration = Duration::from_millis(1);

/// How many pauses of the processor make up these times: from 3 to 50 ns
/// each, depending on its make.
#[derive(Clone, Copy, Debug)]
struct Pauses {
    most: u32,
    longest: u32,
    yielding: u32,
}

fn pauses() -> Pauses {
    const SAMPLE: u32 = 256;
    static PAUSES: OnceLock<Pauses> = OnceLock::new();
    *PAUSES.get_or_init(|| {
        // The shortest of some, so as not to measure an interruption.
        let sample = (0..8).map(|_| {
            let began = Instant::now();
            (0..SAMPLE).for_each(|_| spin_loop());
            began.elapsed()
        });
        let shortest = sample.min().unwrap_or_default().max(Duration::from_nanos(1));
        let fitting = |time: Duration| {
            let pauses = time.as_nanos() * u128::from(SAMPLE) / shortest.as_nanos();
            u32::try_from(pauses).unwrap_or(u32::MAX).clamp(1, 1 << 16)
        };
        Pauses { most: fitting(MOST), longest: fitting(LONGEST), yielding: fitting(YIELDING) }
    })
}

/// When giving way comes to an end that begins now.
fn latest(deadline: Option<Instant>) -> Instant {
    let long = Instant::now() + LONG;
    deadline.map_or(long, |deadline| deadline.min(long))
}

/// Lets others have the processor, if they want it. Whether there is time left.
fn give_way(latest: &Instant) -> bool {
    std::thread::yield_now();
    Instant::now() < *latest
}

/// The most pauses of a handle that keeps back from the other side.
pub(crate) fn longest_keeping_back() -> u32 {
    pauses().longest
}

/// A handle's patience.
#[derive(Debug)]
pub(crate) struct Spin {
    pauses: Pauses,
    /// How many pauses to make before sleeping.
    patience: Cell<u32>,
    /// How many waits have gone without.
    without: Cell<u32>,
}

impl Spin {
    pub(crate) fn new() -> Self {
        let pauses = pauses();
        // A process that is bound to one processor may have its peers on
        // others: probes will tell.
        let patience = if cpus() > 1 { pauses.most } else { 0 };
        Self { pauses, patience: Cell::new(patience), without: Cell::new(0) }
    }

    /// Tries until something comes of it, patience ends or the deadline has
    /// passed.
    #[inline]
    pub(crate) fn until<R>(
        &self,
        deadline: Option<Instant>,
        mut attempt: impl FnMut() -> Option<R>,
    ) -> Option<R> {
        let mut patience = self.patience.get();
        if patience == 0 {
            self.without.set((self.without.get() + 1) % PROBE);
            if self.without.get() != 0 {
                return None;
            }
            patience = self.pauses.most / LEAST;
        }
        let (mut made, mut last) = (0, None);
        while made < patience {
            if made < NEAR {
                spin_loop();
                made += 1;
            } else if give_way(last.get_or_insert_with(|| latest(deadline))) {
                made += self.pauses.yielding;
            } else {
                made = patience;
            }
            if let Some(done) = attempt() {
                self.patience.set(self.pauses.most);
                return Some(done);
            }
        }
        let less = patience / 2;
        self.patience.set(if less < self.pauses.most / LEAST { 0 } else { less });
        None
    }
}
