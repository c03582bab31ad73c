//! When to look, when to spin and when to sleep: the policy, without a clock.
//!
//! Everything here is a guess about what the other side does next. Nothing but the speed
//! depends on it. The numbers come from outside: what a look found, how a wait ended, and what
//! things [cost](Costs). `docs/waiting.md` shows what the policy does over scripted traces.
//!
//! **Backoff: keeping back before a look.** A look at a word takes its cache line away from its
//! writer, and the next write takes the line back. A side that looks right behind the other
//! one pays this for each message or two. A side that first keeps back for a moment pays it
//! once for many messages. That is so only if the other side works meanwhile, on another
//! processor. In one thread, keeping back brings nothing. So a longer backoff has to prove
//! itself:
//!
//! ```text
//!              one or none: half as long
//!             ┌───────────────┐
//!             ▼               │
//!   back off for `now`, look ─┴─ two or more: twice as long, up to `limit`
//!
//!   limit:  8 looks as it is, 8 looks with the next length: cheaper a message? keep it.
//!           No? go back, and leave it for 8 windows, then 16, 32 … 1,024.
//! ```
//!
//! A message costs `(transfer + backoff) / messages a look`.
//!
//! **Patience: spinning before a sleep.** A sleep and a wake-up cost as much as a while of
//! spinning. A wait that is shorter than that is better spent spinning, a longer one asleep.
//! A wait resembles the waits before it. So a handle stops spinning after
//! [some waits](VAIN) in a row that spinning did not end. A handle that sleeps at once sees
//! how long each wait takes, for nothing. When a wait is short again, it spins again; if that
//! is in vain, because the other side needs this very processor, it waits for twice as many
//! short ones the next time. Giving way (`sched_yield`) is judged in the same way.

use core::cell::Cell;

use crate::sync::spin_loop;

/// What things cost on this machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Costs {
    /// What moving a cache line from one processor to another takes, in pauses.
    pub(crate) transfer: u32,
    /// The most that a side keeps back, in pauses.
    pub(crate) longest: u32,
}

/// So many looks make up a window, over which a limit is judged.
const WINDOW: u32 = 8;
/// How many windows a limit that has just been tried is left alone, and at most.
const REST: u32 = 8;
const MOST_REST: u32 = 1 << 10;

/// What the current window is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trial {
    /// Nothing: so many more windows as it is.
    Rest(u32),
    /// To say what a message costs with this limit, before a longer one is tried.
    Longer,
    /// The same, before a shorter one is tried.
    Shorter,
    /// To say whether this limit is better than the one before it, with its cost.
    Against { limit: u32, cost: u64 },
}

/// How long one side keeps back before it looks.
#[derive(Debug)]
pub struct Backoff {
    /// In pauses of the processor, as all lengths here.
    now: Cell<u32>,
    limit: Cell<u32>,
    costs: Costs,
    /// More than this in one look: the other side has run into the end of the ring.
    plenty: u64,
    trial: Cell<Trial>,
    rest: Cell<u32>,
    /// Whether a shorter limit's turn comes before a longer one's.
    turn: Cell<bool>,
    /// The current window: how many looks it has had, and what they found.
    looks: Cell<u32>,
    found: Cell<u64>,
    /// Cells of a message: what is told of what came counts cells.
    message: Cell<u64>,
}

impl Backoff {
    /// Never keeps back.
    pub(crate) const fn none() -> Self {
        Self::new(Costs { transfer: 1, longest: 0 }, 0)
    }

    /// Keeps back on a ring of this capacity.
    pub(crate) const fn new(costs: Costs, capacity: u64) -> Self {
        Self {
            now: Cell::new(0),
            limit: Cell::new(0),
            costs,
            plenty: capacity / 2,
            trial: Cell::new(Trial::Longer),
            rest: Cell::new(REST),
            turn: Cell::new(true),
            looks: Cell::new(0),
            found: Cell::new(0),
            message: Cell::new(1),
        }
    }

    /// Whether that takes any time now.
    #[inline]
    pub(crate) fn keeps_back(&self) -> bool {
        self.now.get() > 0
    }

    /// To be called before a look that may be too early.
    #[inline]
    pub(crate) fn back_off(&self) {
        for _ in 0..self.now.get() {
            spin_loop();
        }
    }

    /// Messages are of so many cells each.
    #[inline(always)]
    pub(crate) fn message_of(&self, cells: u64) {
        self.message.set(cells);
    }

    /// How many more cells there were after keeping back.
    #[inline]
    pub(crate) fn found(&self, more: u64) {
        let (now, limit) = (self.now.get(), self.limit.get());
        if more <= self.message.get() {
            self.now.set(now / 2);
            return;
        }
        if now < limit {
            self.now.set((2 * now + 1).min(limit));
            return;
        }
        if self.costs.longest > 0 {
            self.judge(more);
        }
    }

    /// A look that kept back for as long as the limit says has found this many.
    fn judge(&self, more: u64) {
        let looks = self.looks.get() + 1;
        let found = self.found.get().saturating_add(more);
        self.looks.set(looks);
        self.found.set(found);
        if looks < WINDOW {
            return;
        }
        self.looks.set(0);
        self.found.set(0);
        let limit = self.limit.get();
        let spent = u64::from(self.costs.transfer + limit) * u64::from(WINDOW);
        let cost = (spent << 16) / found;
        let next = match self.trial.get() {
            Trial::Rest(windows @ 2..) => Trial::Rest(windows - 1),
            // The other side waited for this one.
            Trial::Rest(_) if limit > 0 && found / u64::from(WINDOW) > self.plenty => {
                self.be(limit - limit.div_ceil(4));
                Trial::Rest(1)
            }
            Trial::Rest(_) if limit == 0 => Trial::Longer,
            Trial::Rest(_) if limit == self.costs.longest => Trial::Shorter,
            Trial::Rest(_) if self.turn.replace(!self.turn.get()) => Trial::Shorter,
            Trial::Rest(_) => Trial::Longer,
            Trial::Longer => {
                self.be(self.longer());
                Trial::Against { limit, cost }
            }
            Trial::Shorter => {
                self.be(self.shorter());
                Trial::Against { limit, cost }
            }
            Trial::Against { limit: before, cost: least } => self.compare(before, least, cost),
        };
        self.trial.set(next);
    }

    /// After a window with this limit, which had a message cost this; before, it was `least`.
    fn compare(&self, before: u32, least: u64, cost: u64) -> Trial {
        let limit = self.limit.get();
        // Between processors a longer one seldom costs anything, and the other side is better
        // off; in one thread it costs all that it takes.
        let better = if limit > before { cost <= least } else { 8 * cost < 7 * least };
        if better {
            self.rest.set(REST);
            if limit == 0 || limit == self.costs.longest {
                return Trial::Rest(REST);
            }
            self.be(if limit > before { self.longer() } else { self.shorter() });
            return Trial::Against { limit, cost };
        }
        self.be(before);
        let rest = self.rest.get();
        self.rest.set((2 * rest).min(MOST_REST));
        Trial::Rest(rest)
    }

    fn be(&self, limit: u32) {
        self.limit.set(limit);
        self.now.set(limit);
    }

    fn longer(&self) -> u32 {
        let limit = self.limit.get();
        (2 * limit).max(self.least()).min(self.costs.longest)
    }

    fn shorter(&self) -> u32 {
        let half = self.limit.get() / 2;
        if half < self.least() { 0 } else { half }
    }

    /// A shorter one than this makes no difference.
    fn least(&self) -> u32 {
        (self.costs.transfer / 4).max(1)
    }
}

/// After so many replies in a row that were there at the first look, that comes earlier.
const IN_TIME: u32 = 8;

/// How long a client keeps back before it first looks for the reply to a call.
///
/// The server writes the reply where the client looks. A look that comes too early makes the
/// server fetch that line once more. Replies mostly take as long as those before them.
#[derive(Debug)]
pub(crate) struct Expectation {
    /// In pauses of the processor.
    now: Cell<u32>,
    longest: u32,
    /// How many replies in a row were there at the first look.
    in_time: Cell<u32>,
}

impl Expectation {
    pub(crate) const fn new(costs: Costs) -> Self {
        Self { now: Cell::new(0), longest: costs.longest, in_time: Cell::new(0) }
    }

    /// To be called before the first look.
    #[inline]
    pub(crate) fn keep_back(&self) {
        for _ in 0..self.now.get() {
            spin_loop();
        }
    }

    /// Whether the first look has found the reply.
    #[inline]
    pub(crate) fn looked(&self, found: bool) {
        let now = self.now.get();
        if !found {
            self.in_time.set(0);
            self.now.set((now + 1).min(self.longest));
        } else if self.in_time.replace(self.in_time.get() + 1) + 1 >= IN_TIME {
            self.in_time.set(0);
            self.now.set(now.saturating_sub(1));
        }
    }
}

/// After so many short runs a handle makes no way.
const SHORT_RUNS: u32 = 4;

/// Whether a handle that others of its side have passed makes way for them.
///
/// Where several handles take slots at the same time, each goes on for longer in a row if the
/// others pause when they are passed. Otherwise the lines of the ring change hands with each
/// message. A handle that gets one slot before it is passed again gains nothing: so it is in a
/// pool whose handles one thread uses in turn.
#[derive(Debug)]
pub(crate) struct Courtesy {
    /// The position from which on nobody has passed this handle.
    since: Cell<u64>,
    short: Cell<u32>,
}

impl Courtesy {
    pub(crate) const fn new(position: u64) -> Self {
        Self { since: Cell::new(position), short: Cell::new(SHORT_RUNS) }
    }

    /// This handle has been passed at this position. Whether it makes way.
    pub(crate) fn passed(&self, position: u64) -> bool {
        let run = position.wrapping_sub(self.since.get());
        let short = if run < 2 { (self.short.get() + 1).min(SHORT_RUNS) } else { 0 };
        self.short.set(short);
        short < SHORT_RUNS
    }

    /// It has caught up at this position.
    pub(crate) fn caught_up(&self, position: u64) {
        self.since.set(position);
    }
}

/// After so many waits in a row that spinning did not end, there is none.
const VAIN: u32 = 2;
/// The same for giving way, which costs less.
const GIVEN_IN_VAIN: u32 = 8;
/// The most short waits for which something that was in vain again is left out.
const MOST_NEEDED: u32 = 1 << 8;

/// One wait in so many counts as a short one for giving way.
const PROBE: u32 = 16;

/// Whether one way of waiting awake is worth it.
#[derive(Debug)]
struct Worth {
    vain: Cell<u32>,
    /// How many short waits there have been without it, in a row.
    short: Cell<u32>,
    /// After how many of them it is tried again.
    needed: Cell<u32>,
    /// After how many waits in vain it is left out.
    most: u32,
}

impl Worth {
    const fn new(worth: bool, most: u32) -> Self {
        let vain = if worth { 0 } else { most };
        Self { vain: Cell::new(vain), short: Cell::new(0), needed: Cell::new(1), most }
    }

    #[inline]
    fn is_worth_it(&self) -> bool {
        self.vain.get() < self.most
    }

    /// It has ended a wait.
    #[inline]
    fn ended_it(&self) {
        self.vain.set(0);
        self.needed.set(1);
    }

    /// A wait has ended by something else. Whether that was a short one.
    fn did_not(&self, short: bool) {
        if self.is_worth_it() {
            let vain = self.vain.get() + 1;
            self.vain.set(vain);
            self.short.set(0);
        } else if !short {
            self.short.set(0);
        } else if self.short.get() + 1 < self.needed.get() {
            self.short.set(self.short.get() + 1);
        } else {
            // Once. If it is in vain, it takes twice as many short ones the next time.
            self.needed.set((2 * self.needed.get()).min(MOST_NEEDED));
            self.short.set(0);
            self.vain.set(self.most - 1);
        }
    }
}

/// What ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// A try between two pauses.
    Spinning,
    /// A try after giving way.
    Giving,
    /// A wake-up. A wait is `short` if it took no longer than spinning and a wake-up may;
    /// `alone`: this one gave way, or would have, and nobody else wanted the processor.
    Sleeping { short: bool, alone: bool },
}

/// How one handle waits awake.
#[derive(Debug)]
pub(crate) struct Patience {
    spinning: Worth,
    giving: Worth,
    /// Since the last probe.
    waits: Cell<u32>,
}

impl Patience {
    /// Where the other side may, or may not, be on another processor.
    pub(crate) const fn new(others: bool) -> Self {
        Self {
            spinning: Worth::new(others, VAIN),
            giving: Worth::new(true, GIVEN_IN_VAIN),
            waits: Cell::new(0),
        }
    }

    /// Whether the next wait spins.
    #[inline]
    pub(crate) fn spins(&self) -> bool {
        self.spinning.is_worth_it()
    }

    /// Whether the next wait gives way.
    #[inline]
    pub(crate) fn gives(&self) -> bool {
        self.giving.is_worth_it()
    }

    /// Whether it is time to see whether others want the processor.
    fn probe(&self) -> bool {
        let waits = (self.waits.get() + 1) % PROBE;
        self.waits.set(waits);
        waits == 0
    }

    /// Whether giving way ended the last wait that it could have.
    pub(crate) fn gives_long(&self) -> bool {
        self.giving.vain.get() == 0
    }

    /// A wait has ended like this.
    #[inline]
    pub(crate) fn ended(&self, by: Ended) {
        match by {
            Ended::Spinning => self.spinning.ended_it(),
            Ended::Giving => {
                self.giving.ended_it();
                self.spinning.did_not(true);
            }
            Ended::Sleeping { short, alone } => {
                self.spinning.did_not(short);
                // Where others work on this processor, waits are long because of them.
                if !alone || short && self.gives() {
                    self.giving.vain.set(0);
                } else {
                    self.giving.did_not(short || self.probe());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
