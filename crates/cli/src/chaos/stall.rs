//! The longest time in which nothing moved although it should have.

use std::time::{Duration, Instant};

/// Whether something should move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outlook {
    /// Both sides have somebody, and nobody is stopped.
    Due,
    /// A worker is stopped, which may hold what the others wait for.
    Held,
    /// A side has nobody.
    Nobody,
}

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

    /// Whether anything has moved since the last tick, and whether it should
    /// have. Time in which somebody is stopped is not counted, and does not
    /// end a stall.
    pub(crate) fn tick(&mut self, at: Instant, moved: bool, outlook: Outlook) {
        let span = at.saturating_duration_since(self.last);
        self.last = at;
        match outlook {
            _ if moved => self.now = Duration::ZERO,
            Outlook::Nobody => self.now = Duration::ZERO,
            Outlook::Held => {}
            Outlook::Due => {
                self.now += span;
                self.longest = self.longest.max(self.now);
            }
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
        let mut at = |millis, moved, outlook| {
            stall.tick(start + Duration::from_millis(millis), moved, outlook);
            (stall.now().as_millis(), stall.longest().as_millis())
        };
        assert_eq!(at(5, false, Outlook::Due), (5, 5));
        assert_eq!(at(105, false, Outlook::Held), (5, 5));
        assert_eq!(at(107, false, Outlook::Due), (7, 7));
        assert_eq!(at(108, true, Outlook::Due), (0, 7));
        assert_eq!(at(110, false, Outlook::Due), (2, 7));
        assert_eq!(at(111, false, Outlook::Nobody), (0, 7));
    }
}
