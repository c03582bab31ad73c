//! A ring that every subscriber reads whole, in which nothing is ever half published.
//!
//! Each slot of the ring names a *buffer*; a message is in the buffer that its slot names.
//! Each publisher owns one more buffer, its *spare*, on which nobody else writes. A
//! publisher writes its message into its spare. Then one compare-and-swap of the oldest
//! slot's word exchanges the spare for the buffer in that slot, which is the publisher's
//! spare from then on.
//!
//! ```text
//!  slots    │ 7:c │ 8:a │ 9:f │ 4:b │ 5:e │ 6:d │        position:buffer
//!                                ▲ tail = 10              10 comes where 4 is
//!  spares   X has g     Y has h
//!
//!  X writes into g;  slot 3: (4:b) → (10:g), one swap;  X has b
//! ```
//!
//! So a position is claimed and published by the same instruction. Before it, nothing has
//! happened, so a publisher that is killed or stopped is in nobody's way, and there is no
//! half message, no gap, and nothing that a sweep would have to put right.
//!
//! **The limit.** Positions below `limit` may be claimed. A publisher that gets there
//! raises it by up to `step` positions. Only this step asks where the reliable subscribers
//! are ([`reliable`]), and only this step completes what publishers have left incomplete.
//!
//! **Incomplete publications.** A publisher notes the exchange in its own entry after the
//! swap. Between the two, its entry still names the buffer that it has published:
//!
//! ```text
//!             write `over`, `at`       swap the slot            store `word`
//!  COMPLETE ─────────────────▶ TRYING ────────────▶ INCOMPLETE ─────────────▶ COMPLETE
//!     ▲                          │                      │                   (next turn)
//!     └──────────────────────────┘                      └── anybody: `helped` ──▲
//!          the swap fails
//! ```
//!
//! The slot at `at` then holds that buffer in the lap of `at`. Everybody can see this as
//! long as the slot stays so, and can then store in `helped` what the publisher would have
//! stored in `word`. Each raise does that for all publishers. A slot changes again only
//! after `limit` has been raised beyond it once more, so an incomplete publication is
//! always completed before that.
//!
//! **Invariants**, where T is the first position that is not published:
//!
//! - I1. Positions are published in order, each once, by the swap of its slot's word.
//! - I2. Each buffer is in one place: in one slot, or in one publisher's entry (`word` or
//!   `helped`, the one with the later turn; `word` if the turns are equal). While a
//!   publication is incomplete, the slot and the entry name the same buffer.
//! - I3. T ≤ limit ≤ T + step.
//! - I4. A slot with the message of position q changes only if q + slots < limit. So
//!   messages from `limit − slots` on stay as long as the limit does.
//! - I5. When the limit is raised to l, all publications below l − slots are complete.
//! - I6. When the limit is raised to l, no reliable subscriber that the raise has seen to
//!   count is at a position below l − reach.
//!
//! Edges. P: the swap of a slot (Release) with every load of a slot (Acquire) passes the
//! message on, and `at` and `over` with it. B: the Release fence before a publisher writes
//! into a buffer that it took out of a slot, with the Acquire fence before a reader looks
//! at the slot again: a reader that has read any word of the new message sees that the slot
//! has changed. L: raising the limit (Release) with loading it (Acquire) passes on where the
//! reliable subscribers are. H: `word` and `helped` (Release) with whoever completes the
//! publication, or follows in the entry (Acquire). J: the two sequentially consistent
//! fences, of a raise and of a subscriber that joins: one of them sees the other.
//!
//! **Gaps.** A publisher that knows of messages that cannot come, because they were lost on
//! another way, publishes how many, in the place of a message: its buffer has the number, and its
//! slot's word says so (*gap*). Everything above holds for it as for a message.
//!
//! All words are zero at first, because slots and entries name buffers relative to their
//! own place.
//!
//! | file | what is in it |
//! |---|---|
//! | `word` | sizes; the word of a slot and of a publisher's entry |
//! | `publish` | publishing; taking up a publisher's entry |
//! | `limit` | raising the limit; completing what others have left |
//! | `read` | reading, and where to begin |
//! | `reliable` | subscribers for whom publishers wait |
//! | `observe` | looking without changing anything |

mod limit;
mod observe;
mod publish;
mod read;
mod reliable;
mod word;

// Each crate of models compiles these files, and uses some of the names.
#[allow(unused_imports)]
pub(crate) use limit::{Refused, has_room, room, slowest};
#[allow(unused_imports)]
pub(crate) use observe::{
    PublisherView, ReliableView, SlotView, entries_used, view_of_publisher, view_of_reliable,
    view_of_slot,
};
#[allow(unused_imports)]
pub(crate) use publish::{Publisher, claim};
#[allow(unused_imports)]
pub use read::Found;
#[allow(unused_imports)]
pub(crate) use read::{Look, first_unpublished, look, oldest, pass, skip, unchanged};
#[allow(unused_imports)]
pub(crate) use reliable::{Reliable, join, leave};
#[allow(unused_imports)]
pub(crate) use word::Shape;

use crate::sync::{AtomicU64, Ordering};

/// Where the words are. Every number that is passed in is below its bound.
pub(crate) trait Words {
    fn shape(&self) -> Shape;
    /// Slot `index`, below `shape().slots`.
    fn slot(&self, index: u64) -> &AtomicU64;
    /// Publisher's entry `n`, below `shape().publishers`.
    fn publisher(&self, n: u64) -> PublisherEntry<'_>;
    /// Reliable subscriber's entry `n`, below `shape().reliable`.
    fn reliable(&self, n: u64) -> ReliableEntry<'_>;
    /// Positions below this may be claimed.
    fn limit(&self) -> &AtomicU64;
    /// How many publishers' entries have ever been in use, from the first on.
    fn publishers_used(&self) -> &AtomicU64;
    /// How many reliable subscribers' entries have ever been in use, from the first on.
    fn reliable_used(&self) -> &AtomicU64;
}

/// What is shared of one publisher.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PublisherEntry<'a> {
    /// Which participant publishes here ([`role`](super::role)).
    pub(crate) holder: &'a AtomicU64,
    /// How often this entry has published, and its spare buffer. Only the holder stores it.
    pub(crate) word: &'a AtomicU64,
    /// The same, stored by others than the holder. It counts if its turn is the later one.
    pub(crate) helped: &'a AtomicU64,
    /// The position at which the holder tries to publish.
    pub(crate) at: &'a AtomicU64,
    /// The buffer that the holder would get for its own there.
    pub(crate) over: &'a AtomicU64,
}

/// What is shared of one reliable subscriber.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReliableEntry<'a> {
    /// Which participant reads here, and whether it is still joining.
    pub(crate) holder: &'a AtomicU64,
    /// The next position that it reads.
    pub(crate) position: &'a AtomicU64,
}

/// Raises a count of entries in use.
fn raise_to(used: &AtomicU64, to: u64) {
    // Relaxed: edges P and J pass it on with what the entry's holder does.
    let _ =
        used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |seen| (seen < to).then_some(to));
}
