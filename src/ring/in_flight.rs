//! What the consumer of an SPSC ring has in hand, and what those had who died
//! before it: so that it comes again marked, and not for ever.
//!
//! ```text
//!  head                                              tail
//!   ├── mine ──┤                                      │   hand 2: mine
//!   ├── B had ─────┤                                  │   hand 1: B's
//!   ├── A had ─────────┤                              │   hand 0: A's
//! ```
//!
//! Each consumer has a word, a *hand*, where it notes the position at which
//! what it takes ends, before it looks at it. What is released ends at `head`,
//! and nothing needs to be cleared; what is given back is taken out of the hand
//! again. Whoever dies leaves its hand as it is. So as many have died over a
//! message as there are hands of others that end behind it.
//!
//! Who takes up the role releases, unseen, what more have died over than the
//! channel allows. That leaves fewer than [`IN_FLIGHT`] behind `head`, and it takes
//! one of the rest. None of this changes what a message counts, so it does no
//! harm to die over it, as often as one likes.
//!
//! `taker` says whose hand is which. That is for the sweep only, which counts
//! what becomes of the dead one's: who swaps the word to zero counts. A role
//! has no successor until its holder is swept, so the sweep finds the hands
//! as the dead left them.
//!
//! Everything is Relaxed: a hand is read by who has the role after its owner,
//! or has seen its owner dead. The edges of [`spsc`](super::spsc) and of the
//! table do the rest.

use core::ops::Deref;

use super::backoff::Backoff;
use super::mpmc::{MAX_ATTEMPTS, Recovered};
use super::spsc::{Consumer, Indices, Torn};
use super::table::{INCARNATION_SHIFT, Member};
use crate::sync::{AtomicU64, Ordering};

/// One for each that may die over a message, and one for who takes it last.
pub(crate) const IN_FLIGHT: usize = MAX_ATTEMPTS as usize + 1;
const HAND_SHIFT: u32 = 16;
const HAND: u64 = u16::MAX as u64;

/// Where the words are.
pub(crate) trait InFlight: Indices {
    /// How many hands there are: more than a message may have attempts, and
    /// [`IN_FLIGHT`] at most.
    fn hands(&self) -> usize;
    /// Hand `n`, below their number.
    fn hand(&self, n: usize) -> &AtomicU64;
    /// Whose hand is which: `incarnation:32 | hand:16 | id:16`, or zero.
    fn taker(&self) -> &AtomicU64;
    /// How many messages these cells are that somebody had in hand.
    fn messages(&self, cells: u64) -> u64;
}

const fn taker(member: Member, hand: usize) -> u64 {
    member.incarnation << INCARNATION_SHIFT | (hand as u64 & HAND) << HAND_SHIFT | member.id as u64
}

/// How far a hand reaches beyond `position`: at most `most`, or it lies.
fn reach(ring: &impl InFlight, hand: usize, position: u64, most: u64) -> u64 {
    let reach = ring.hand(hand).load(Ordering::Relaxed).wrapping_sub(position);
    if reach <= most { reach } else { 0 }
}

/// The reading side, with an account of what it has in hand.
#[derive(Debug)]
pub struct Reader {
    at: Consumer,
    hand: usize,
    /// Where what others had in hand ends.
    again: u64,
}

impl Deref for Reader {
    type Target = Consumer;

    #[inline]
    fn deref(&self) -> &Consumer {
        &self.at
    }
}

impl Reader {
    /// Takes up the role where `head` says, and drops what more than
    /// `attempts` have died over: whether there was any. The caller holds the
    /// role alone.
    pub(crate) fn attach(
        ring: &impl InFlight,
        me: Member,
        attempts: u8,
    ) -> Result<(Self, bool), Torn> {
        let at = Consumer::attach(ring)?;
        let filled = at.filled(ring, ring.capacity())?;
        let head = at.position();
        let reaches: [u64; IN_FLIGHT] = core::array::from_fn(|hand| {
            if hand < ring.hands() { reach(ring, hand, head, filled) } else { 0 }
        });
        let mut sorted = reaches;
        sorted.sort_unstable_by(|a, b| b.cmp(a));
        let dropped = sorted[usize::from(attempts.min(MAX_ATTEMPTS))];
        if dropped > 0 {
            at.release(ring, dropped);
        }
        // Sorted: at most as many as the attempts reach further.
        let hand = reaches.iter().position(|&reach| reach <= dropped).unwrap_or(0);
        ring.taker().store(taker(me, hand), Ordering::Relaxed);
        Ok((Self { at, hand, again: head.wrapping_add(sorted[0]) }, dropped > 0))
    }

    /// Looks at the producer's index at this pace.
    pub(crate) fn with_backoff(&mut self, backoff: Backoff) {
        self.at.with_backoff(backoff);
    }

    /// From now on, exactly the next `cells` are in hand.
    #[inline]
    pub(crate) fn hold(&self, ring: &impl InFlight, cells: u64) {
        ring.hand(self.hand).store(self.at.position().wrapping_add(cells), Ordering::Relaxed);
    }

    /// How far the hands of the dead reach.
    fn reaches<'a>(&'a self, ring: &'a impl InFlight) -> impl Iterator<Item = u64> + 'a {
        let position = self.at.position();
        // What comes for the first time is not looked up.
        let hands =
            if self.again.wrapping_sub(position).cast_signed() > 0 { ring.hands() } else { 0 };
        (0..hands)
            .filter(|&hand| hand != self.hand)
            .map(move |hand| reach(ring, hand, position, ring.capacity()))
            .filter(|&reach| reach > 0)
    }

    /// How many have died over the next message.
    pub(crate) fn attempts(&self, ring: &impl InFlight) -> u8 {
        self.reaches(ring).count() as u8
    }

    /// How many of the next `cells`, from the first on, as many have died
    /// over: what is taken together is of one kind.
    pub(crate) fn alike(&self, ring: &impl InFlight, cells: u64) -> u64 {
        self.reaches(ring).fold(cells, u64::min)
    }
}

/// What a dead consumer had in hand and what becomes of it, and the word that
/// says whose it was; `None` if it is not the last consumer.
fn left(ring: &impl InFlight, dead: Member, attempts: u8) -> Option<(u64, Recovered)> {
    let seen = ring.taker().load(Ordering::Relaxed);
    let hand = (seen >> HAND_SHIFT & HAND) as usize;
    if hand >= ring.hands() || seen != taker(dead, hand) {
        return None;
    }
    let head = ring.head().load(Ordering::Relaxed);
    let reach = |hand| reach(ring, hand, head, ring.capacity());
    let messages = match reach(hand) {
        0 => 0,
        cells => ring.messages(cells),
    };
    let others = (0..ring.hands()).filter(|&other| other != hand && reach(other) > 0).count();
    let mut left = Recovered::default();
    if others < usize::from(attempts.min(MAX_ATTEMPTS)) {
        left.orphans = messages;
    } else {
        left.dropped = messages;
    }
    Some((seen, left))
}

/// What [`recover`] is going to count, if nobody has.
pub(crate) fn held(ring: &impl InFlight, dead: Member, attempts: u8) -> Recovered {
    left(ring, dead, attempts).map_or_else(Recovered::default, |(_, held)| held)
}

/// Counts what a dead consumer had in hand, unless somebody has. What is to
/// be done with it is its successor's.
pub(crate) fn recover(ring: &impl InFlight, dead: Member, attempts: u8) -> Recovered {
    let Some((seen, held)) = left(ring, dead, attempts) else {
        return Recovered::default();
    };
    let relaxed = Ordering::Relaxed;
    match ring.taker().compare_exchange(seen, 0, relaxed, relaxed) {
        Ok(_) => held,
        Err(_) => Recovered::default(),
    }
}
