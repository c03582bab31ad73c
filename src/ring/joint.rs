//! A joint send: one message to each of several channels, or to none.
//!
//! ```text
//!                claim, in the order of the channels       publish each
//!  nothing ──▶ WRITING(ticket) … ──▶ all written ──▶ COMMITTED ──▶ … ──▶ retired
//!     ▲              │                    │              │
//!     │   one is full│                    │ dead         │ dead
//!     └── abort ◀────┘                    ▼              ▼
//!                                   a sweep frees     a sweep publishes
//!                                   each place        each that is left
//! ```
//!
//! Each participant has one word in the segment, *committed*, with a bit for each of its
//! *tickets*. A joint send holds a ticket, and each place that it claims says which. The
//! send commits by one change of one word: it sets the bit of its ticket when all places
//! are claimed and all messages written. So the bit alone decides what becomes of the places
//! if the sender dies: all of their messages arrive, or none does. The dead change nothing
//! any more, and nobody else changes their word before the table's slot has its next life.
//! So each of several sweeps, also one that begins when another has died over it, comes to
//! the same decision.
//!
//! A place in an [`mpmc`](super::mpmc) ring is a slot, whose word has the ticket where one
//! that was taken has its attempts. In an [`spsc`](super::spsc) ring there is nothing to
//! claim: its one producer has the room. There a word, the [pledge](Pledges), says up to
//! where the send is going to publish, and by which ticket.
//!
//! **No deadlock.** A send that is refused a place gives all of its places back before it
//! waits, so nobody holds places while it waits for one. All joint sends claim in the order
//! of the channels. So of two that want the same places, the one that got the first of them
//! is refused none by the other.
//!
//! **What others see.** The messages appear one after the other. A receiver may have one of
//! them before another one can be received; and two joint sends may be in one order in one
//! channel and in the other order in another one.
//!
//! Edges. M: publishing (Release) comes after the commit, and retiring (Release) after
//! publishing, so whatever is the last step of a sender, the bit is set if some of its
//! messages are published and others are not. N: the next life of a table's slot stores its
//! *committed* and its pledges (Release), and a sweep loads them (Acquire): a slow sweep of
//! an earlier life that reads them also sees that its victim is no longer DEAD.

use super::recovery::{Finished, Recovery, settle};
use super::spsc::{Indices, Producer};
use crate::sync::{AtomicU64, Ordering};

const TICKET_BITS: u32 = 4;
/// How many tickets a participant has: their numbers begin with 1.
pub(crate) const TICKETS: usize = (1 << TICKET_BITS) - 1;
const NUMBER: u64 = TICKETS as u64;

/// What tells a joint send from the others of its participant that are under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(u8);

impl Ticket {
    /// The one with this index, modulo their number.
    pub(crate) const fn nth(index: usize) -> Self {
        Self((index % TICKETS) as u8 + 1)
    }

    /// Not 0, and of four bits.
    pub(crate) const fn number(self) -> u8 {
        self.0
    }

    const fn bit(self) -> u64 {
        1 << self.0
    }
}

/// Whether a place with this ticket's number, 0 if it has none, is one of a joint send that
/// was committed.
pub(crate) const fn is_committed(committed: u64, ticket: u8) -> bool {
    ticket != 0 && ticket as u64 <= NUMBER && committed >> ticket & 1 != 0
}

/// One channel's part in a joint send.
pub trait Part {
    /// Why there is no place.
    type Refused;

    /// Claims a place for the message, if that is possible at once.
    fn claim(&self, ticket: Ticket) -> Result<(), Self::Refused>;

    /// Gives the claimed place back, with nothing in it.
    fn abort(&self);

    /// Writes the message into the claimed place.
    fn write(&self);

    /// Makes the message visible.
    fn publish(&self);
}

/// Sends all parts, which are in the order of their channels, or none. If one is refused its
/// place, says which, and nothing is claimed.
///
/// Nobody else uses the ticket meanwhile.
pub(crate) fn send<P: Part + ?Sized>(
    parts: &[&P],
    committed: &AtomicU64,
    ticket: Ticket,
) -> Result<(), (usize, P::Refused)> {
    for (claimed, part) in parts.iter().enumerate() {
        if let Err(why) = part.claim(ticket) {
            parts.iter().take(claimed).for_each(|part| part.abort());
            return Err((claimed, why));
        }
    }
    parts.iter().for_each(|part| part.write());
    // Edge M.
    committed.fetch_or(ticket.bit(), Ordering::Release);
    parts.iter().for_each(|part| part.publish());
    // Edge M.
    committed.fetch_and(!ticket.bit(), Ordering::Release);
    Ok(())
}

/// Begins a life in which nothing is committed.
pub(crate) fn begin(committed: &AtomicU64) {
    // Edge N.
    committed.store(0, Ordering::Release);
}

/// What a dead participant had committed.
pub(crate) fn committed_by_dead(committed: &AtomicU64) -> u64 {
    // Edge N.
    committed.load(Ordering::Acquire)
}

/// Where the pledge of an SPSC ring is: `end:60 | ticket:4`, or zero. `end` is the tail, modulo
/// 2^60, that the producer is going to store.
pub(crate) trait Pledges: Indices {
    fn pledge(&self) -> &AtomicU64;
}

/// Says that a joint send is going to publish the next `cells` of this producer.
pub(crate) fn pledge(ring: &impl Pledges, at: &Producer, cells: u64, ticket: Ticket) {
    let end = at.position().wrapping_add(cells);
    // Edge N.
    ring.pledge().store(end << TICKET_BITS | u64::from(ticket.0), Ordering::Release);
}

/// Takes the pledge back, which is kept or was given up. A producer that takes up the role
/// does so too: its predecessor's ticket may be one of its own. So from before it has the role
/// until then, its participant must not have committed anything.
pub(crate) fn unpledge(ring: &impl Pledges) {
    // Relaxed: without a pledge there is nothing to do for anybody.
    ring.pledge().store(0, Ordering::Relaxed);
}

/// Keeps the pledge of a dead producer, if it was `committed`: counts the message, or
/// publishes it.
pub(crate) fn recover_producer(
    ring: &impl Pledges,
    committed: u64,
    recovery: &(impl Recovery + ?Sized),
) -> Result<u64, Finished> {
    // Edge N.
    let pledge = ring.pledge().load(Ordering::Acquire);
    if !is_committed(committed, (pledge & NUMBER) as u8) {
        return Ok(0);
    }
    // Relaxed: only the dead producer and its sweeps have changed it.
    let tail = ring.tail().load(Ordering::Relaxed);
    let cells = (pledge >> TICKET_BITS).wrapping_sub(tail) & (u64::MAX >> TICKET_BITS);
    // None: published already. More than there are: not what a producer writes.
    if cells == 0 || cells > ring.capacity() {
        return Ok(0);
    }
    // Edge P of the ring.
    settle(recovery, ring.tail(), tail, tail.wrapping_add(cells)).map(u64::from)
}
