//! Broadcast channels.
//!
//! ```text
//!  publishers ─▶ channel ─▶ export ──put, block──▶ import ─▶ channel ─▶ subscribers
//!                 seq = position        seq > next: a gap, told as lagged
//!                                       seq < next: was here already, goes no further
//! ```
//!
//! The sequence is that of the source channel, without what came from elsewhere. So the next life of
//! an exporter goes on in the same numbers, and begins a little before where the last one was: what an importer has had, it
//! knows by its number. An exporter that has nothing to say repeats its number each second, so
//! that a gap at the end is told too.

mod export;
mod import;
mod inbox;

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

pub(crate) use export::export;
pub(crate) use import::import;
pub(crate) use inbox::{Inbox, Inlet, Item, extras};

/// Which positions of a channel came from elsewhere, so that they do not go back: for a channel that
/// is carried both ways.
#[derive(Debug, Default)]
pub(crate) struct Imported {
    ranges: Mutex<VecDeque<(u64, u64)>>,
    /// So many of them are kept.
    most: usize,
}

impl Imported {
    /// For a channel that keeps so many messages.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { ranges: Mutex::default(), most: capacity.max(64) }
    }

    /// To be held from before a message is published until it is noted.
    pub(crate) fn hold(&self) -> Noting<'_> {
        Noting(self.ranges.lock().unwrap_or_else(PoisonError::into_inner), self.most)
    }
}

/// Positions that are being noted.
pub(crate) struct Noting<'a>(MutexGuard<'a, VecDeque<(u64, u64)>>, usize);

impl Noting<'_> {
    /// Notes one more, which comes after all others.
    pub(crate) fn add(&mut self, position: u64) {
        match self.0.back_mut() {
            Some((_, end)) if *end == position => *end += 1,
            _ => self.0.push_back((position, position + 1)),
        }
        // Of more ranges than the channel keeps messages, it has written over the first: the
        // exporter misses it, and never takes it for its own host's.
        if self.0.len() > self.1 {
            self.0.pop_front();
        }
    }

    /// How many of the positions from here to there are among them. What comes before is forgotten.
    pub(crate) fn take_all(&mut self, from: u64, to: u64) -> u64 {
        self.take(from);
        let within = |&(begin, end): &(u64, u64)| end.min(to).saturating_sub(begin.max(from));
        self.0.iter().map(within).sum()
    }

    /// Whether it is one of them. What comes before is forgotten.
    pub(crate) fn take(&mut self, position: u64) -> bool {
        while self.0.front().is_some_and(|&(_, end)| end <= position) {
            self.0.pop_front();
        }
        self.0.front().is_some_and(|&(begin, _)| begin <= position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_imported_is_told_from_what_was_not() {
        let imported = Imported::new(64);
        let mut noting = imported.hold();
        [3, 4, 7].into_iter().for_each(|position| noting.add(position));
        let local: Vec<_> = (0..9).filter(|&position| !noting.take(position)).collect();
        assert_eq!(local, [0, 1, 2, 5, 6, 8]);
        [10, 11, 14, 20].into_iter().for_each(|position| noting.add(position));
        assert_eq!(noting.take_all(11, 20), 2);
        assert_eq!(noting.take_all(12, 21), 2);
        assert_eq!(noting.take_all(15, 15), 0);
    }
}
