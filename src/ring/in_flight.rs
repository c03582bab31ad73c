//! Which messages the consumer of an SPSC ring holds, and which ones consumers
//! before it held when they died. So a message that a consumer died over comes
//! again marked, and not for ever.
//!
//! ```text
//!  head                                              tail
//!   ├── mine ──┤                                      │   mark 2: mine
//!   ├── B had ─────┤                                  │   mark 1: B's
//!   ├── A had ─────────┤                              │   mark 0: A's
//! ```
//!
//! Each consumer has a word, its *in-flight mark*. Before the consumer looks at
//! what it takes, it stores there the position at which that ends. What it
//! releases ends at `head`, so nothing needs to be cleared. When it gives
//! messages back, it moves its mark back. A consumer that dies leaves its mark
//! as it is. So the number of consumers that have died over a message is the
//! number of other marks that end behind it.
//!
//! A consumer that takes up the role releases, unread, the messages that more
//! consumers have died over than the channel allows. Then fewer than
//! [`IN_FLIGHT`] marks end behind `head`, and the new consumer uses one of the
//! others. None of these steps changes what a message counts, so a consumer may
//! die over them, as often as it likes.
//!
//! `taker` says which mark belongs to the current consumer. Only the sweep needs
//! it, to count what becomes of a dead consumer's messages: of several sweepers,
//! the one that swaps the word to zero counts them. A role has no successor
//! until its holder is swept, so the sweep finds the marks as the dead left
//! them.
//!
//! Everything here is Relaxed: a process that reads a mark has the role after
//! the mark's owner, or has seen its owner dead. The edges of
//! [`spsc`](super::spsc) and of the table do the rest.

use core::ops::Deref;

use super::backoff::Backoff;
use super::mpmc::{MAX_ATTEMPTS, Recovered};
use super::recovery::{Finished, Recovery, settle};
use super::spsc::{Consumer, Indices, Torn};
use super::table::{INCARNATION_SHIFT, Member};
use crate::sync::{AtomicU64, Ordering};

/// How many marks there are at most: one for each consumer that may die over a
/// message, and one for the consumer that takes it last.
pub(crate) const IN_FLIGHT: usize = MAX_ATTEMPTS as usize + 1;
const MARK_SHIFT: u32 = 16;
const MARK: u64 = u16::MAX as u64;

/// Where the words are.
pub(crate) trait InFlight: Indices {
    /// How many marks there are: more than a message may have attempts, and at
    /// most [`IN_FLIGHT`].
    fn marks(&self) -> usize;
    /// Mark `n`, below their number.
    fn mark(&self, n: usize) -> &AtomicU64;
    /// Which consumer uses which mark: `incarnation:32 | mark:16 | id:16`, or zero.
    fn taker(&self) -> &AtomicU64;
    /// How many messages these cells are, which a consumer held.
    fn messages(&self, cells: u64) -> u64;
}

const fn taker(member: Member, mark: usize) -> u64 {
    member.incarnation << INCARNATION_SHIFT | (mark as u64 & MARK) << MARK_SHIFT | member.id as u64
}

/// How far a mark reaches beyond `position`; 0 if that is more than `most`,
/// which cannot be true.
fn reach(ring: &impl InFlight, mark: usize, position: u64, most: u64) -> u64 {
    let reach = ring.mark(mark).load(Ordering::Relaxed).wrapping_sub(position);
    if reach <= most { reach } else { 0 }
}

/// The reading side, with an account of what it holds.
#[derive(Debug)]
pub struct Reader {
    at: Consumer,
    mark: usize,
    /// The position where the messages end that others held.
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
    /// Takes up the role at `head`, and drops the messages that more than
    /// `attempts` consumers have died over. Returns also whether there were any.
    /// The caller alone holds the role.
    pub(crate) fn attach(
        ring: &impl InFlight,
        me: Member,
        attempts: u8,
    ) -> Result<(Self, bool), Torn> {
        let at = Consumer::attach(ring)?;
        let filled = at.filled(ring, ring.capacity())?;
        let head = at.position();
        let reaches: [u64; IN_FLIGHT] = core::array::from_fn(|mark| {
            if mark < ring.marks() { reach(ring, mark, head, filled) } else { 0 }
        });
        let mut sorted = reaches;
        sorted.sort_unstable_by(|a, b| b.cmp(a));
        let dropped = sorted[usize::from(attempts.min(MAX_ATTEMPTS))];
        if dropped > 0 {
            at.release(ring, dropped);
        }
        // `reaches` sorted: at most `attempts` of them reach further.
        let mark = reaches.iter().position(|&reach| reach <= dropped).unwrap_or(0);
        ring.taker().store(taker(me, mark), Ordering::Relaxed);
        Ok((Self { at, mark, again: head.wrapping_add(sorted[0]) }, dropped > 0))
    }

    /// Reads the producer's index with this backoff.
    pub(crate) fn with_backoff(&mut self, backoff: Backoff) {
        self.at.with_backoff(backoff);
    }

    /// From now on this consumer holds exactly the next `cells`.
    #[inline]
    pub(crate) fn hold(&self, ring: &impl InFlight, cells: u64) {
        ring.mark(self.mark).store(self.at.position().wrapping_add(cells), Ordering::Relaxed);
    }

    /// How far each mark of a dead consumer reaches.
    fn reaches<'a>(&'a self, ring: &'a impl InFlight) -> impl Iterator<Item = u64> + 'a {
        let position = self.at.position();
        // A message that comes for the first time needs no lookup.
        let marks =
            if self.again.wrapping_sub(position).cast_signed() > 0 { ring.marks() } else { 0 };
        (0..marks)
            .filter(|&mark| mark != self.mark)
            .map(move |mark| reach(ring, mark, position, ring.capacity()))
            .filter(|&reach| reach > 0)
    }

    /// How many consumers have died over the next message.
    pub(crate) fn attempts(&self, ring: &impl InFlight) -> u8 {
        self.reaches(ring).count() as u8
    }

    /// How many of the next `cells`, from the first on, have the same number of
    /// attempts: only those may be taken together.
    pub(crate) fn alike(&self, ring: &impl InFlight, cells: u64) -> u64 {
        self.reaches(ring).fold(cells, u64::min)
    }
}

/// What becomes of the messages that a dead consumer held, and the word that
/// says that it held them; `None` if it was not the last consumer.
fn left(ring: &impl InFlight, dead: Member, attempts: u8) -> Option<(u64, Recovered)> {
    let seen = ring.taker().load(Ordering::Relaxed);
    let mark = (seen >> MARK_SHIFT & MARK) as usize;
    if mark >= ring.marks() || seen != taker(dead, mark) {
        return None;
    }
    let head = ring.head().load(Ordering::Relaxed);
    let reach = |mark| reach(ring, mark, head, ring.capacity());
    let messages = match reach(mark) {
        0 => 0,
        cells => ring.messages(cells),
    };
    let others = (0..ring.marks()).filter(|&other| other != mark && reach(other) > 0).count();
    let mut left = Recovered::default();
    if others < usize::from(attempts.min(MAX_ATTEMPTS)) {
        left.orphans = messages;
    } else {
        left.dropped = messages;
    }
    Some((seen, left))
}

/// What becomes of the messages that a dead consumer held; counted once, by the
/// sweep that takes its name away. Its successor decides what to do with them.
pub(crate) fn recover(
    ring: &impl InFlight,
    dead: Member,
    attempts: u8,
    recovery: &(impl Recovery + ?Sized),
) -> Result<Recovered, Finished> {
    let Some((seen, held)) = left(ring, dead, attempts) else {
        return Ok(Recovered::default());
    };
    Ok(if settle(recovery, ring.taker(), seen, 0)? { held } else { Recovered::default() })
}
