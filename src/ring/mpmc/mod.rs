//! A bounded first-in-first-out queue for many producers and many consumers,
//! in which every slot names its owner: the owner-tagged slot ring.
//!
//! It descends from Dmitry Vyukov's bounded MPMC queue (a sequence number in
//! each slot). In that queue a producer claims a position in a shared index,
//! and the slot shows it only later. A process that is killed in between
//! stalls everybody, and nobody can tell which process it was. Here the claim
//! *is* the slot's word: one compare-and-swap takes the position and names the
//! owner. After a death, a sweep finds what the dead owner held, and repairs it
//! slot by slot.
//!
//! ```text
//!                 claim                publish               take
//!  FREE(lap) ───────────▶ WRITING ───────────────▶ FULL ────────────────┐
//!     ▲                   (owner)                   ▲                   ▼
//!     │                      │ owner dead           │ never          READING
//!     │                      ▼                      │                (owner)
//!     ├───────────── FREE(lap + 1) ◀────────────────┼── release ────────┤
//!     │                      ▲                      │                   │
//!     │                      └── attempts used up ──┤     owner dead,   │
//!     └──────────────────────────────────────────── │  or given back    ▼
//!                                                 retake ◀───────── ORPHAN
//!                                               (READING)         (attempts)
//! ```
//!
//! The word: `lap:44 | attempts:4 | state:3 | owner:13`, and zero is FREE of
//! lap 0. WRITING has in place of the attempts the ticket of a
//! [joint send](super::joint), or 0: if that was committed, a sweep makes the slot FULL. A position is (lap, index). Laps are compared modulo 2^44.
//!
//! **Contiguity.** An owner claims a position only after it has seen the one
//! before it claimed, and takes one only after it has seen the one before it
//! taken. So positions are claimed and taken in order. `head` and `tail` need
//! only be lower bounds, and so does a handle's own cursor.
//!
//! **What the answers mean.** A claimed slot counts as occupied: the answer may
//! be *full* while a taken message is still being read. An unpublished head
//! hides what is behind it: the answer is then *pending*, not *empty*. A try
//! visits at most `2 × capacity + 1` slots; after that the answer is
//! *contended*.
//!
//! **A tombstone runs ahead.** FREE(m) in a slot proves that its position of
//! lap m − 1 was claimed. It does not prove that the position was taken: its
//! owner may have died while consumers were still before it. A consumer may
//! conclude only that the queue has passed lap m − 2 there, because nobody can
//! claim m − 1 before that.
//!
//! Edges. C: claim and take are AcqRel. Acquire sees what the slot's last owner
//! did (its release, or the sweep's repair). Release serves a slow sweep of a
//! former owner of this id: a sweep that reads this word also sees that its
//! victim is no longer DEAD. P: publish (Release) with take (Acquire) passes
//! the payload on. F: release (Release) with claim (Acquire) passes the cell
//! back. A plain store publishes and releases: others change only the slots of
//! owners whose death is confirmed.
//!
//! | file | what is in it |
//! |---|---|
//! | `word` | the slot's word and its states |
//! | `queue` | claim, publish, take, release, give back; cursors and hints |
//! | `recover` | what a sweep does about a dead owner's slots |
//! | `observe` | questions that change nothing: length, room, availability |

mod observe;
mod queue;
mod recover;
mod word;

// Each crate of models compiles these files, and uses some of the names.
#[allow(unused_imports)]
pub use super::cursor::Cursor;
#[allow(unused_imports)]
pub(crate) use observe::{
    available, ends, in_flight, len, passed_by_consumers, passed_by_producers, room,
};
#[allow(unused_imports)]
pub use queue::{Claim, Taken};
#[allow(unused_imports)]
pub(crate) use queue::{
    Refused, Words, abort, claim, claim_among, claim_jointly, claim_next, find_free, find_full,
    give_back, give_back_counted, is_next_free, publish, release, take, take_among, take_next,
    used,
};
#[allow(unused_imports)]
pub(crate) use recover::{Dead, Recovered, recover};
#[allow(unused_imports)]
pub(crate) use word::{MAX_ATTEMPTS, MAX_OWNERS, SlotState, SlotWord};
