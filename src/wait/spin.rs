//! Waiting awake: drives the policy of [`ring::backoff`](crate::ring::backoff) by the clock.
//!
//! A wait begins with a few tries and hardly a pause, because the answer in an exchange
//! between two busy processors comes within a microsecond. Then the pauses grow.
//!
//! With more threads than processors, the other side may be waiting for this thread. So a
//! spin gives way after a while (`sched_yield`), at once if giving way ended the last waits,
//! and a few times even when it does not spin at all, because giving way costs less than a
//! sleep. If a yield comes back late and nothing has moved in the channel meanwhile, an
//! unrelated process is using the processor, and a sleeper would be woken earlier. Then the
//! spin stops giving way, each time for longer.

use core::cell::Cell;
use core::hint::spin_loop;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::ring::backoff::{Costs, Ended, Patience};
use crate::sys::proc::{cpus, scheduled_fairly};

/// How a handle waits that finds nothing to do: see
/// [`Receiver::set_wait_strategy`](crate::Receiver::set_wait_strategy).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitStrategy {
    /// Spins for as long as a sleep and a wake-up take, if the last waits were short, and
    /// then sleeps. If the last waits were long, it sleeps at once.
    #[default]
    Adaptive,
    /// Spins until the wait is over, and never sleeps. This takes a whole processor while
    /// the handle waits. It saves the wake-up, 5 to 60 µs, after each pause of the other
    /// side. Each process that spins needs a processor of its own.
    BusySpin,
    /// Sleeps at once. A process that has better uses for its processor wants this, and one
    /// whose messages are always far apart.
    Block,
}

/// What a sleep and a wake-up take: 5 to 60 µs until the other side's message is there. One
/// process alone cannot measure it.
const SLEEP: Duration = Duration::from_micros(20);
/// A slept wait up to this long might have been a spin.
const SHORT: Duration = Duration::from_micros(40);
/// How long a handle that never sleeps spins before it looks for the dead.
const AT_A_TIME: Duration = Duration::from_millis(1);
/// What keeping back from the other side may take.
const LONGEST: Duration = Duration::from_nanos(800);
/// What moving a cache line takes: 50 to 350 ns. One process alone cannot measure it.
const TRANSFER: Duration = Duration::from_nanos(150);
/// So many tries come before the first look at the clock.
const FIRST: u32 = 32;
/// So many tries are made with nothing but pauses in between. After that the other side may be
/// waiting for this processor: each pause gives way to it.
const NEAR: u32 = 128;
/// How often one that does not spin gives way before it sleeps.
const GIVEN: u32 = 3;
/// What a yield takes if nobody wants the processor: less than this.
const ALONE: Duration = Duration::from_micros(1);
/// What a yield counts for, however long others work meanwhile.
const YIELD: Duration = Duration::from_nanos(200);
/// A yield that takes so long did not let the other side work, but somebody else.
const LONG: Duration = Duration::from_micros(300);
/// Nobody gives way with less time left than others may be given at once, nor
/// for longer than this in one wait.
const SLICE: Duration = Duration::from_millis(10);
/// After giving way for long, this many waits do without, and up to this many.
const WITHOUT: u32 = 16;
const MOST_WITHOUT: u32 = 1 << 12;

/// How many pauses of the processor make up these times: a pause takes 3 to 150 ns, depending
/// on the processor's make.
pub(crate) fn costs() -> Costs {
    const SAMPLE: u32 = 32;
    static COSTS: OnceLock<Costs> = OnceLock::new();
    *COSTS.get_or_init(|| {
        // The shortest of some, so as not to measure an interruption.
        let sample = (0..8).map(|_| {
            let began = Instant::now();
            (0..SAMPLE).for_each(|_| spin_loop());
            began.elapsed()
        });
        let shortest = sample.min().unwrap_or_default().max(Duration::from_nanos(1));
        let fitting = |time: Duration| {
            let pauses = time.as_nanos() * u128::from(SAMPLE) / shortest.as_nanos();
            // As much as a coarse clock may make of it.
            u32::try_from(pauses).unwrap_or(u32::MAX).clamp(1, 512)
        };
        Costs { transfer: fitting(TRANSFER), longest: fitting(LONGEST) }
    })
}

/// A handle's way of waiting awake.
#[derive(Debug)]
pub(crate) struct Spin {
    strategy: Cell<WaitStrategy>,
    patience: Patience,
    way: Way,
    /// When the wait began that has come to a sleep.
    began: Cell<Option<Instant>>,
    /// Whether nobody else wanted the processor during that wait.
    alone: Cell<bool>,
}

/// What giving way has come to.
enum Gave {
    /// To nobody.
    Back,
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
    fn give(&self, before: Instant, moved: impl Fn() -> u64, much: u64) -> (Gave, Instant) {
        let was = moved();
        std::thread::yield_now();
        let now = Instant::now();
        let took = now.duration_since(before);
        if took < LONG {
            return (if took < ALONE { Gave::Back } else { Gave::Soon }, now);
        }
        if moved().wrapping_sub(was) >= much {
            return (Gave::Rightly, now);
        }
        let length = (2 * self.length.get()).clamp(WITHOUT, MOST_WITHOUT);
        self.length.set(length);
        self.closed.set(length);
        (Gave::Wrongly, now)
    }

    /// It was worth it.
    fn praise(&self) {
        self.length.set(self.length.get() / 2);
    }
}

impl Spin {
    pub(crate) fn new() -> Self {
        Self::going(Way::new(), WaitStrategy::default())
    }

    /// A clone's, which asks the kernel nothing that this one knows.
    pub(crate) fn another(&self) -> Self {
        Self::going(Way::open(self.way.closed.get() != u32::MAX), self.strategy.get())
    }

    fn going(way: Way, strategy: WaitStrategy) -> Self {
        // A process that is bound to one processor may have its peers on others: how long
        // its waits take will tell.
        let patience = Patience::new(cpus() > 1);
        let (strategy, began) = (Cell::new(strategy), Cell::new(None));
        Self { strategy, patience, way, began, alone: Cell::new(true) }
    }

    pub(crate) fn strategy(&self) -> WaitStrategy {
        self.strategy.get()
    }

    pub(crate) fn set_strategy(&self, strategy: WaitStrategy) {
        self.strategy.set(strategy);
    }

    /// Whether the next wait begins awake.
    pub(crate) fn spins(&self) -> bool {
        match self.strategy.get() {
            WaitStrategy::Adaptive => self.patience.spins(),
            WaitStrategy::BusySpin => true,
            WaitStrategy::Block => false,
        }
    }

    /// Whether a spin is followed by another one.
    pub(crate) fn never_sleeps(&self) -> bool {
        self.strategy.get() == WaitStrategy::BusySpin
    }

    /// Tries until something comes of it or it is time to sleep; that it gives way
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
        let strategy = self.strategy.get();
        let spins = self.spins();
        if spins {
            for _ in 0..FIRST {
                spin_loop();
                if let Some(done) = attempt() {
                    self.patience.ended(Ended::Spinning);
                    return Some(done);
                }
            }
        }
        let most = if self.never_sleeps() { AT_A_TIME } else { SLEEP };
        let began = Instant::now();
        self.began.set(Some(began));
        let gives = strategy == WaitStrategy::Adaptive
            && self.patience.gives()
            && self.way.is_open()
            && deadline.is_none_or(|deadline| deadline > began + SLICE);
        let long = spins || gives && self.patience.gives_long();
        // Where others may not be given the processor, nothing is known of them.
        let mut alone = gives || !self.patience.gives();
        let (mut tries, mut vain, mut now) = (FIRST, 0, began);
        let mut spent = Duration::ZERO;
        loop {
            let gave = gives && (tries >= NEAR || !spins);
            if gave {
                let (gave, after) = self.way.give(now, &moved, much);
                now = after;
                spent += YIELD;
                match gave {
                    Gave::Back => vain += 1,
                    Gave::Soon => alone = false,
                    Gave::Rightly if now.duration_since(began) < SLICE => alone = false,
                    // What comes now has been paid for by more than a sleep.
                    Gave::Rightly | Gave::Wrongly => return attempt(),
                }
            } else if spins {
                (0..tries / FIRST).for_each(|_| spin_loop());
                let before = core::mem::replace(&mut now, Instant::now());
                spent += now.duration_since(before);
                tries += 1;
            } else {
                self.alone.set(alone);
                return None;
            }
            if let Some(done) = attempt() {
                self.patience.ended(if gave { Ended::Giving } else { Ended::Spinning });
                if gave {
                    self.way.praise();
                }
                return Some(done);
            }
            if spent >= most || !long && vain >= GIVEN {
                self.alone.set(alone);
                return None;
            }
        }
    }

    /// What spinning did not end is over, after a sleep.
    pub(crate) fn slept(&self) {
        if let Some(began) = self.began.take() {
            let short = began.elapsed() < SHORT;
            self.patience.ended(Ended::Sleeping { short, alone: self.alone.get() });
        }
    }
}
