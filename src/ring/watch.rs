//! Watching many channels: a participant sleeps over its own bell, and who publishes strikes it.
//!
//! A waiter of a channel sleeps over that channel's semaphore, and a set over those of all of its
//! members ([`set`](super::wait::set)): that is no way for a thousand of them. A *watcher* says in
//! each channel that it watches there, once. Before it sleeps it *arms* those channels that it has
//! just looked at, and that is all it does with them until they call.
//!
//! ```text
//!  watcher    listen: look for the dead; the own bell is u, the wake-all semaphore is g ◀─┐
//!                ▼                                                                        │
//!             collect: which channels have called since                                   │
//!                ▼                                                                        │
//!             arm those that are not armed: `waiting`, the next version, then WATCHED;    │
//!                ▼                          one heavy fence for all (W)                   │
//!             look at those ── there ─▶ done                                              │
//!                ▼ nothing                                                                │
//!             sleep while the bell is u and the wake-all semaphore is g ── woken ─────────┘
//!
//!  notifier   publish ─▶ light fence ─▶ `waiting`? ── neither a count nor WATCHED ─▶ done
//!                                          ▼ WATCHED
//!             fence ─▶ `waiting` once more, x ── not WATCHED, or not meant for them ─▶ done
//!                                          ▼
//!             note the channel in what has called, for each watcher
//!                                          ▼
//!             {OWN(a) +1}{OWN(b) +1}… for all of them, in one call
//!                                          ▼
//!             disarm: exactly x becomes x without WATCHED
//! ```
//!
//! **Who watches** says so in its row before it arms a channel for the first time. A notifier that
//! sees that arming sees the row (edge R: the new version, Release, and the notifier's second
//! look at `waiting`, Acquire).
//!
//! **No wake-up is lost.** The look behind the fence of the arming finds what was published, or
//! the notifier sees WATCHED (edge W), unless another notifier has disarmed the channel in
//! between. That one had seen a word x of this arming or a later one, because an arming begins
//! with another version. So it saw x after the watcher had listened, and has struck since: the
//! bell is not u any more. This is why the version comes first and WATCHED behind it.
//!
//! **Strike, then disarm.** A notifier that is stopped between the two leaves the channel armed:
//! the next one strikes again. One that disarmed first would keep the stroke from everybody. If
//! it is killed, nothing is left to be done: either it has struck, or WATCHED stands. What it has
//! published without a stroke is found by its death, which changes the wake-all semaphore: then a
//! watcher looks at all that it watches.
//!
//! **All are struck.** Each watcher has a bell of its own. So nobody keeps a stroke from another
//! one, in whatever step it is stopped or killed; and what one of them has disarmed, all have been
//! called for.
//!
//! **What has called** is a hint: 512 bits for each watcher, and each channel has one of them. It
//! is noted before the stroke, and collected after the bell was read. So a bit that is not
//! collected is one whose stroke ends the sleep. A channel whose bit was collected is not armed
//! any more, as far as its watcher knows: it is armed before the next sleep, and looked at behind
//! that fence. The notifier has fenced before it noted the bit, so the look finds what it had
//! published.
//!
//! **Watchers are not counted.** No token is posted for them, and none is taken by them. A
//! participant that dies leaves its row, which names its life, and perhaps WATCHED: the next
//! notifier finds nobody to strike and disarms.

use core::fmt::Debug;

use super::bell;
use super::kernel::{Kernel, Op, Refusal};
use super::table::{INCARNATION_SHIFT, Member, Table};
use crate::sync::{AtomicU64, Ordering, fence};

/// One in the version of a word `waiting`.
pub(super) const VERSION: u64 = 1 << 32;
/// Bit of a word `waiting`: somebody watches, and has not been called since.
pub(crate) const WATCHED: u64 = 1 << 31;

/// How many words say which channels have called.
pub(crate) const PARTS: usize = 8;
const BITS: usize = u64::BITS as usize;
/// How many bells one call strikes: less than any kernel allows.
const STROKES: usize = 32;

/// Which channels have called.
pub(crate) type Calls = [u64; PARTS];

/// What one can watch in a channel: a bit of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Topic {
    Items = 1,
    Space = 2,
    /// MPMC bytes: slots and blocks.
    Slots = 4,
}

/// Where a segment has what its watchers and their notifiers need.
pub(crate) trait Watchers: Table + Debug {
    /// What a participant watches, in the row that it has at `rows`: `incarnation:32 | topics`.
    fn watches(&self, rows: usize, id: u16) -> &AtomicU64;

    /// Which channels have called a participant: this word of [`PARTS`].
    fn calls(&self, id: u16, part: usize) -> &AtomicU64;
}

/// One topic of one channel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watch<'a> {
    pub(crate) all: &'a dyn Watchers,
    pub(crate) channel: u16,
    /// Where the channel has its rows.
    pub(crate) rows: usize,
    /// Which participants may watch the channel: bit n for n, n + 64 and so on. None is ever
    /// taken out, because another life could be just putting itself in.
    pub(crate) watchers: &'a AtomicU64,
    pub(crate) topic: Topic,
}

/// Which word of what has called, and which bit there, a channel has.
pub(crate) const fn place_of(channel: u16) -> (usize, u32) {
    (channel as usize / BITS % PARTS, channel as u32 % u64::BITS)
}

/// The record of one who watches these topics.
const fn record(incarnation: u64, topics: u64) -> u64 {
    incarnation << INCARNATION_SHIFT | topics
}

impl Watch<'_> {
    /// Says that this participant watches these topics of the channel, and no others. If the row
    /// is a later life's, the others have taken this process for dead: it has left its IPC
    /// namespace. Then it changes nothing.
    pub(crate) fn register(&self, me: Member, topics: u64) {
        let row = self.all.watches(self.rows, me.id);
        let mine = |there: u64| {
            let later = ((there >> INCARNATION_SHIFT) as u32).wrapping_sub(me.incarnation as u32);
            (there == 0 || later.cast_signed() <= 0).then_some(record(me.incarnation, topics))
        };
        // Edge R: the arming that follows hands it on.
        if row.fetch_update(Ordering::Relaxed, Ordering::Relaxed, mine).is_err() {
            return;
        }
        self.watchers.fetch_or(1 << (me.id % u64::BITS as u16), Ordering::Relaxed);
    }

    /// Has everybody who publishes from the next heavy fence on call those who watch.
    pub(crate) fn arm(&self, waiting: &AtomicU64) {
        // First the version: whoever disarms after this has struck after this. Edge R: Release,
        // which the other step carries on.
        waiting.fetch_add(VERSION, Ordering::Release);
        waiting.fetch_or(WATCHED, Ordering::Relaxed);
    }

    /// Notes for each who watches this topic that the channel has called, and strikes their bells,
    /// as many in one call as there are, up to [`STROKES`].
    fn strike_all<K: Kernel>(&self, kernel: &K) -> Result<(), Refusal> {
        let (part, bit) = place_of(self.channel);
        let map = self.all.map();
        let mut strokes = Strokes::new();
        let mut left = self.watchers.load(Ordering::Relaxed);
        while left != 0 {
            let first = left.trailing_zeros() as u16;
            left &= left - 1;
            for id in (first..map.participants).step_by(BITS) {
                let row = self.all.watches(self.rows, id).load(Ordering::Relaxed);
                let member = Member { id, incarnation: row >> INCARNATION_SHIFT };
                let (true, Some(own)) = (row & self.topic as u64 != 0, map.own_bell(id)) else {
                    continue;
                };
                if member.is_live(self.all) {
                    self.all.calls(id, part).fetch_or(1 << bit, Ordering::Relaxed);
                    strokes.add(kernel, own)?;
                }
            }
        }
        strokes.strike(kernel)
    }
}

/// Bells that are to be struck together.
struct Strokes {
    ops: [Op; STROKES],
    count: usize,
}

impl Strokes {
    const fn new() -> Self {
        Self { ops: [Op::add(0, 1); STROKES], count: 0 }
    }

    fn add<K: Kernel>(&mut self, kernel: &K, sem: u16) -> Result<(), Refusal> {
        if self.count == STROKES {
            self.strike(kernel)?;
        }
        if let Some(op) = self.ops.get_mut(self.count) {
            *op = Op::add(sem, 1);
            self.count += 1;
        }
        Ok(())
    }

    fn strike<K: Kernel>(&mut self, kernel: &K) -> Result<(), Refusal> {
        let ops = &self.ops[..core::mem::take(&mut self.count)];
        if ops.is_empty() {
            return Ok(());
        }
        match kernel.semop(ops, None) {
            // One of them is as high as it gets: each for itself, and that one is wound back.
            Err(Refusal::Range) => ops.iter().try_for_each(|op| bell::strike(kernel, op.sem)),
            done => done,
        }
    }
}

/// Calls those who watch, if they have not been called since they armed, and if the change is
/// `meant` for them. For one who has published and seen [`WATCHED`].
pub(super) fn call<K: Kernel>(
    kernel: &K,
    waiting: &AtomicU64,
    watch: Watch<'_>,
    meant: impl Fn() -> bool,
) -> Result<(), Refusal> {
    // Edge W, also where the heavy fence has left this thread out; and for what is meant.
    fence(Ordering::SeqCst);
    // Edge R: Acquire.
    let seen = waiting.load(Ordering::Acquire);
    if seen & WATCHED == 0 || !meant() {
        return Ok(());
    }
    watch.strike_all(kernel)?;
    // Only now, and only what was seen: see above.
    let _ = waiting.compare_exchange(seen, seen & !WATCHED, Ordering::Relaxed, Ordering::Relaxed);
    Ok(())
}

/// Which channels have called this participant since it last collected that.
pub(crate) fn collect(all: &dyn Watchers, me: u16) -> Calls {
    let take = |part| {
        let called = all.calls(me, part);
        if called.load(Ordering::Relaxed) == 0 { 0 } else { called.fetch_and(0, Ordering::Relaxed) }
    };
    core::array::from_fn(take)
}
