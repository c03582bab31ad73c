//! Loom's atomics under the names that the ring files import.

use core::panic::Location;

use crate::checker::{self, atomic};
use crate::death;
use crate::mutant::{self, Mutant};
use crate::ring::watch::WATCHED;

pub(crate) use crate::checker::atomic::Ordering;

/// No light fence, and none either before a notifier of a bell asks whether it was struck and
/// for whom a change is.
pub(crate) const NO_FENCE_BEFORE_IT_ASKS: &str = "no fence before it asks";

/// A watcher that arms takes the two steps in the other order.
const WATCHED_FIRST: &str = "WATCHED before the version";

/// As the rings' own fences, which are few. A fence that a mutant weakens is none.
#[track_caller]
pub(crate) fn fence(order: Ordering) {
    let weakened = mutant::weakened(Location::caller(), order);
    let file = Location::caller().file();
    let renewing = ["registration.rs", "set.rs"];
    let renewing =
        renewing.map(|name| file.ends_with(&format!("ring/wait/{name}"))).contains(&true);
    let asking = file.ends_with("ring/bell.rs");
    let gone = renewing && mutant::has("no fence after the next version")
        || asking && mutant::has(NO_FENCE_BEFORE_IT_ASKS)
        || mutant::is(|mutant| matches!(mutant, Mutant::NoSkipFence));
    if !gone && weakened != Ordering::Relaxed {
        checker::fence(order);
    }
}

/// Nothing. Loom's own yields, which tells it that going on is no use until
/// somebody else has moved: it then never explores what happens if this
/// thread does go on. No loop of the rings is without an end of its own.
pub(crate) fn spin_loop() {}

/// An atomic whose every use is a step ([`death`]) and whose orderings a
/// [`mutant`] can weaken.
#[derive(Debug)]
pub(crate) struct AtomicU64(atomic::AtomicU64);

impl AtomicU64 {
    pub(crate) fn new(value: u64) -> Self {
        Self(atomic::AtomicU64::new(value))
    }

    #[track_caller]
    fn step<R: core::fmt::Debug>(
        &self,
        what: &str,
        order: Ordering,
        operation: impl FnOnce(&atomic::AtomicU64, Ordering) -> R,
    ) -> R {
        death::step();
        let place = Location::caller();
        let result = operation(&self.0, mutant::weakened(place, order));
        death::note(|| {
            let file = place.file().rsplit('/').next().unwrap_or_default();
            format!(
                "{file}:{} {what} {:x?} at {:x}",
                place.line(),
                result,
                self as *const _ as usize & 0xFFFF
            )
        });
        result
    }

    #[track_caller]
    pub(crate) fn load(&self, order: Ordering) -> u64 {
        let early = mutant::has_in("disarmed before it is struck", Location::caller(), "call");
        let seen = self.step("load", order, |word, order| word.load(order));
        if early {
            let disarmed = seen & !WATCHED;
            let _ = self.step("compare_exchange", Ordering::Relaxed, |word, order| {
                word.compare_exchange(seen, disarmed, order, Ordering::Relaxed)
            });
        }
        seen
    }

    #[track_caller]
    pub(crate) fn store(&self, value: u64, order: Ordering) {
        self.step("store", order, |word, order| word.store(value, order));
    }

    #[track_caller]
    pub(crate) fn compare_exchange(
        &self,
        current: u64,
        new: u64,
        success: Ordering,
        failure: Ordering,
    ) -> Result<u64, u64> {
        let failure = mutant::weakened(Location::caller(), failure);
        if mutant::has_in("disarms whatever is there", Location::caller(), "call") {
            return Ok(self.fetch_and(!WATCHED, Ordering::Relaxed));
        }
        // A swap that hands nothing over raises a bound: of how far somebody
        // has looked, for one.
        let bound = success == Ordering::Relaxed;
        let more = bound && mutant::has("a scan vouches for more than it saw");
        let new = new + u64::from(more);
        self.step("compare_exchange", success, |word, success| {
            word.compare_exchange(current, new, success, failure)
        })
    }

    #[track_caller]
    pub(crate) fn fetch_add(&self, value: u64, order: Ordering) -> u64 {
        // A version alone is the announcement of one who is counted.
        let again = value == 1 << 32 && mutant::has("not announced again");
        let value = if again { 0 } else { value };
        if mutant::has_in(WATCHED_FIRST, Location::caller(), "arm") {
            self.step("fetch_or", order, |word, order| word.fetch_or(WATCHED, order));
        }
        self.step("fetch_add", order, |word, order| word.fetch_add(value, order))
    }

    #[track_caller]
    pub(crate) fn fetch_or(&self, value: u64, order: Ordering) -> u64 {
        let place = Location::caller();
        let late = mutant::has_in(WATCHED_FIRST, place, "arm")
            || mutant::has_in("what has called is not noted", place, "strike_all");
        if late {
            return value;
        }
        self.step("fetch_or", order, |word, order| word.fetch_or(value, order))
    }

    #[track_caller]
    pub(crate) fn fetch_and(&self, value: u64, order: Ordering) -> u64 {
        self.step("fetch_and", order, |word, order| word.fetch_and(value, order))
    }

    /// Two steps, as on the machine.
    #[track_caller]
    pub(crate) fn fetch_update(
        &self,
        set: Ordering,
        fetch: Ordering,
        mut update: impl FnMut(u64) -> Option<u64>,
    ) -> Result<u64, u64> {
        let mut seen = self.load(fetch);
        while let Some(new) = update(seen) {
            match self.compare_exchange(seen, new, set, fetch) {
                Ok(seen) => return Ok(seen),
                Err(now) => seen = now,
            }
        }
        Err(seen)
    }
}
