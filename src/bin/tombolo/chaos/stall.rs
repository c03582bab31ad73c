//! The longest time in which nothing moved though it should have.

use std::time::{Duration, Instant};

#[derive(Debug)]
pub(crate) struct Stall {
    last: Instant,
    now: Duration,
    longest: Duration,
}

impl Stall {
    pub(crate) const fn new(now: Instant) -> Self {
        Self { last: now, now: Duration::ZERO, longest: Duration::ZERO }
    }

    /// Whether anything has moved since the last tick, and whether it can.
    /// Time in which nothing could is not counted; it does not end a stall.
    pub(crate) fn tick(&mut self, at: Instant, moved: bool, able: bool) {
        let span = at.saturating_duration_since(self.last);
        self.last = at;
        if moved {
            self.now = Duration::ZERO;
        } else if able {
            self.now += span;
            self.longest = self.longest.max(self.now);
        }
    }

    pub(crate) const fn now(&self) -> Duration {
        self.now
    }

    pub(crate) const fn longest(&self) -> Duration {
        self.longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_time_in_which_something_could_move_is_counted() {
        let start = Instant::now();
        let mut stall = Stall::new(start);
        let mut at = |millis, moved, able| {
            stall.tick(start + Duration::from_millis(millis), moved, able);
            (stall.now().as_millis(), stall.longest().as_millis())
        };
        assert_eq!(at(5, false, true), (5, 5));
        assert_eq!(at(105, false, false), (5, 5));
        assert_eq!(at(107, false, true), (7, 7));
        assert_eq!(at(108, true, true), (0, 7));
        assert_eq!(at(110, false, true), (2, 7));
    }
}
