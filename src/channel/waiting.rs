//! What one handle keeps for its waits.

use core::cell::{Cell, OnceCell};
use std::sync::Arc;
use std::time::Instant;

use super::cancel;
use super::ready::Readiness;
use crate::ring::wait::Registration;
use crate::segment::Peer;
use crate::wait::Spin;

/// After how many tries in vain a polling handle looks for the dead: a sleeping one is told,
/// a polling one has to ask, by a system call.
const TRIES: u32 = 256;
/// It notes how much has moved after half of them, so that one whose peer dies looks at the
/// latest with so many tries after the death.
const HALF: u32 = TRIES / 2;
/// So many looks in a row are left out at most, for half as many tries each: 32,768 in all.
const MOST_LEFT_OUT: u32 = 254;

/// The tries of a handle that have come to nothing. In an exchange of messages, some tries in
/// vain come before each of them: while the channel moves, its ends are alive, and a look would
/// only make one message late.
#[derive(Debug, Default)]
pub(super) struct Vain {
    tries: Cell<u32>,
    moved: Cell<u64>,
    left_out: Cell<u32>,
}

impl Vain {
    /// Counts a try, unless it is time to look for the dead. `moved` counts what goes through
    /// the channel; `None` if no look may be left out.
    #[inline]
    pub(super) fn goes_on(&self, moved: impl FnOnce() -> Option<u64>) -> bool {
        let tries = self.tries.get() + 1;
        if tries.is_multiple_of(HALF) {
            return self.goes_on_at(tries, moved());
        }
        self.tries.set(tries);
        true
    }

    #[cold]
    fn goes_on_at(&self, tries: u32, moved: Option<u64>) -> bool {
        let now = moved.unwrap_or(self.moved.get());
        if tries >= TRIES {
            let left_out = self.left_out.get() + 1;
            if left_out > MOST_LEFT_OUT || now == self.moved.get() {
                return false;
            }
            self.left_out.set(left_out);
        }
        self.moved.set(now);
        self.tries.set(HALF);
        true
    }

    /// It looks now.
    pub(super) fn looks(&self) {
        self.tries.set(0);
        self.left_out.set(0);
    }
}

/// One handle's.
pub(super) struct Waiting {
    pub(super) spin: Spin,
    pub(super) registration: Registration<Instant>,
    /// Whether a session is under way, which decides about the registration.
    pub(super) parking: Cell<bool>,
    pub(super) vain: Vain,
    /// Until whose end it waits, at most.
    peer: Cell<Option<Peer>>,
    /// Made when it is asked for.
    pub(super) cancel: OnceCell<Arc<cancel::Shared>>,
    /// Made when it is asked for. Dropped first.
    pub(super) readiness: OnceCell<Readiness>,
}

impl Waiting {
    /// Of a handle that has looked for the dead when the wake-all semaphore was
    /// this.
    pub(super) fn new(heard: Option<u16>) -> Self {
        Self::with(Spin::new(), heard)
    }

    fn with(spin: Spin, heard: Option<u16>) -> Self {
        Self {
            spin,
            registration: Registration::new(heard),
            parking: Cell::new(false),
            vain: Vain::default(),
            peer: Cell::new(None),
            cancel: OnceCell::new(),
            readiness: OnceCell::new(),
        }
    }

    /// Of a clone of the handle, which has not looked for the dead.
    pub(super) fn another(&self) -> Self {
        let other = Self::with(self.spin.another(), None);
        other.bind(self.peer());
        other
    }

    /// Has the waits end with that participant, too; or with nobody any more.
    pub(super) fn bind(&self, peer: Option<Peer>) {
        self.peer.set(peer);
        self.registration.be_strict(peer.is_some());
    }

    pub(super) const fn peer(&self) -> Option<Peer> {
        self.peer.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After how many tries the first look is due, and the next one, where `moved` says how
    /// much has moved by a try.
    fn looks(moved: impl Fn(u32) -> Option<u64>) -> [u32; 2] {
        let (vain, mut tries) = (Vain::default(), 0);
        [(); 2].map(|()| {
            let before = tries;
            loop {
                tries += 1;
                if !vain.goes_on(|| moved(tries)) {
                    vain.looks();
                    return tries - before;
                }
            }
        })
    }

    #[test]
    fn nobody_waits_for_more_than_256_tries_in_vain_for_a_look_where_nothing_moves() {
        assert_eq!(looks(|_| Some(7)), [TRIES; 2]);
        assert_eq!(looks(|_| None), [TRIES; 2]);
        // It moves for a while, and then its peer dies.
        for death in 0..1_000 {
            let [first, _] = looks(|tries| Some(u64::from(tries.min(death))));
            assert!(first <= death + 256, "{first} after {death}");
        }
    }

    #[test]
    fn a_channel_that_always_moves_is_looked_at_all_the_same() {
        assert_eq!(looks(|tries| Some(tries.into())), [32_768; 2]);
    }
}
