//! How long to spin before sleeping, and how often.
//!
//! A wake-up through the kernel costs tens of microseconds on both sides. So
//! spinning for about that long costs at most twice the better choice. If spinning
//! keeps failing, because the other side is slow or needs this very processor, the
//! spin gets shorter, down to an occasional probe. If it succeeds, the spin has its
//! full length again.
//!
//! With more threads than processors, the other side may be waiting for this
//! thread. So after a while a spin yields. It yields earlier if yielding ended the
//! last wait, and a few times even when it does not spin at all, because a yield
//! costs less than a sleep. If a yield comes back late and nothing has moved in the
//! channel meanwhile, an unrelated process is using the processor, and a sleeper
//! would be woken earlier. Then the spin stops yielding, each time for longer.

use core::cell::Cell;
use core::hint::spin_loop;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::sys::proc::{cpus, scheduled_fairly};

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
const NEAR: u32 = 256;
/// The same where the last wait has ended by giving way.
const NEARER: u32 = 16;
/// How often one without patience gives way before it sleeps.
const GIVEN: u32 = 3;
/// What giving way takes where nobody wants the processor.
const YIELDING: Duration = Duration::from_nanos(400);
/// One that takes so long did not let the other side work, but somebody else.
const LONG: Duration = Duration::from_micros(300);
/// Nobody gives way with less time left than others may be given at once, nor
/// for longer than this in one wait.
const SLICE: Duration = Duration::from_millis(10);
/// After giving way for long, this many waits do without, and up to this many.
const WITHOUT: u32 = 16;
const MOST_WITHOUT: u32 = 1 << 12;

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
        Pauses {
            most: fitting(MOST),
            // As much as a coarse clock may make of it.
            longest: fitting(LONGEST).min(512),
            yielding: fitting(YIELDING),
        }
    })
}

/// The most pauses of a handle that keeps back from the other side.
pub(crate) fn longest_backoff() -> u32 {
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
    /// After how many pauses to give way.
    near: Cell<u32>,
    way: Way,
}

/// What giving way has come to.
enum Gave {
    Soon,
    /// For long, to those who work on the channel.
    Rightly,
    Wrongly,
}

/// Whether to give way.
#[derive(Debug)]
struct Way {
    /// How many waits are still to do without, and how many were to, last time.
    closed: Cell<u32>,
    length: Cell<u32>,
}

impl Way {
    fn new() -> Self {
        // Under another policy, giving way may be for as long as others like.
        Self::open(scheduled_fairly())
    }

    const fn open(fair: bool) -> Self {
        let closed = if fair { 0 } else { u32::MAX };
        Self { closed: Cell::new(closed), length: Cell::new(0) }
    }

    /// Whether this wait may give way.
    fn is_open(&self) -> bool {
        let closed = self.closed.get();
        if closed != u32::MAX {
            self.closed.set(closed.saturating_sub(1));
        }
        closed == 0
    }

    /// Lets others have the processor, if they want it. If they keep it for
    /// long, that was right if the channel has moved by `much` meanwhile.
    fn give(&self, moved: impl Fn() -> u64, much: u64) -> Gave {
        let (before, began) = (moved(), Instant::now());
        std::thread::yield_now();
        if began.elapsed() < LONG {
            return Gave::Soon;
        }
        if moved().wrapping_sub(before) >= much {
            return Gave::Rightly;
        }
        let length = (2 * self.length.get()).clamp(WITHOUT, MOST_WITHOUT);
        self.length.set(length);
        self.closed.set(length);
        Gave::Wrongly
    }

    /// It was worth it.
    fn praise(&self) {
        self.length.set(self.length.get() / 2);
    }
}

impl Spin {
    pub(crate) fn new() -> Self {
        Self::going(Way::new())
    }

    /// A clone's, which asks the kernel nothing that this one knows.
    pub(crate) fn another(&self) -> Self {
        Self::going(Way::open(self.way.closed.get() != u32::MAX))
    }

    fn going(way: Way) -> Self {
        let pauses = pauses();
        // A process that is bound to one processor may have its peers on
        // others: probes will tell.
        let patience = if cpus() > 1 { pauses.most } else { 0 };
        let near = Cell::new(NEAR);
        Self { pauses, patience: Cell::new(patience), without: Cell::new(0), near, way }
    }

    /// Tries until something comes of it or patience ends; that it gives way
    /// does not take it beyond the deadline. `moved` counts what goes through
    /// the channel, of which `much` is a good part of what it holds.
    #[inline]
    pub(crate) fn until<R>(
        &self,
        deadline: Option<Instant>,
        moved: impl Fn() -> u64,
        much: u64,
        mut attempt: impl FnMut() -> Option<R>,
    ) -> Option<R> {
        let (near, patience) = self.share();
        let (mut made, mut way, mut since) = (0, None, None);
        while made < patience {
            if made >= near && *way.get_or_insert_with(|| self.way.is_open()) {
                let now = Instant::now();
                if deadline.is_some_and(|deadline| deadline < now + SLICE) {
                    way = Some(false);
                    continue;
                }
                let began = *since.get_or_insert(now);
                match self.way.give(&moved, much) {
                    Gave::Soon => {}
                    Gave::Rightly if began.elapsed() < SLICE => {}
                    // What comes now has been paid for by more than a sleep.
                    Gave::Rightly | Gave::Wrongly => return attempt(),
                }
                made += self.pauses.yielding;
            } else if near == 0 {
                return None;
            } else {
                let pauses = (made / NEAR).clamp(1, self.pauses.longest);
                (0..pauses).for_each(|_| spin_loop());
                made += pauses;
            }
            if let Some(done) = attempt() {
                self.patience.set(self.pauses.most);
                let gave = way == Some(true);
                self.near.set(if gave { NEARER } else { NEAR });
                if gave {
                    self.way.praise();
                }
                return Some(done);
            }
        }
        let less = self.patience.get() / 2;
        self.patience.set(if less < self.pauses.most / LEAST { 0 } else { less });
        None
    }

    /// After how many pauses this wait is to give way, and when to end, in
    /// pauses as well.
    fn share(&self) -> (u32, u32) {
        let patience = self.patience.get();
        if patience > 0 {
            return (self.near.get(), patience);
        }
        self.without.set((self.without.get() + 1) % PROBE);
        if self.without.get() == 0 {
            (NEAR, self.pauses.most / LEAST)
        } else {
            (0, GIVEN * self.pauses.yielding)
        }
    }
}
