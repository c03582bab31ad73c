//! Waiting for a ring to change, and waking waiters.
//!
//! Each direction of a channel has a word `waiting` (a count and a version, and whether somebody
//! [watches](super::watch)), a record for each participant (how many of its threads wait), and
//! one semaphore W that holds at most one token.
//!
//! ```text
//!  notifier   publish ─▶ light fence ─▶ waiting? ─ 0 ─▶ done
//!                                          └─ n ─▶ post {W 0 no-wait}{W +1}, unless n
//!                                                  posts stand for this very word
//!  waiter     raise record, `waiting` ─▶ heavy fence ─▶ try ─▶ sleep {W −1}
//! ```
//!
//! The waiter's states, from its first try to its last, are drawn in
//! [`wait`](super::wait).
//!
//! **No wake-up is lost.** A notifier publishes, fences, and reads `waiting`. A waiter
//! increments `waiting`, fences, and tries. At least one of the two sees the other (edge W:
//! the light fence in [`waited_for`] with the heavy one in
//! [`Registration::announce`](super::wait::Registration::announce)).
//!
//! **The recheck.** The heavy fence may leave out a running thread
//! ([`Kernel::heavy_fence`]). Then the waiter has not seen what that thread published, and
//! the thread has not seen the count. So the first sleep of a wait is short, and another
//! try follows. By then, every store is visible that was made when the count was
//! incremented, and a thread that loads the count later sees it. So the next sleep may be
//! long. Where a notifier depends on others having seen the count, it checks again behind
//! a fence of its own: see [`ring`].
//!
//! A token stays until a waiter takes it, so a wake-up that comes before the sleep is not
//! missed either. One token stands for any number of changes. So a waiter that takes the
//! token and leaves more behind passes a token on, and so does a waiter that leaves without
//! having taken anything.
//!
//! **A death does not show in the ring.** It increments the wake-all semaphore
//! ([`wake_all`](super::wake_all)), and the kernel adds a token ([`credit`](super::credit)),
//! which may merge with an ordinary one. If a waiter gets a token while the wake-all
//! semaphore has the value of its last scan, the token came before any death. After any
//! other token it scans, and also after a token that was of no use.
//!
//! **Notifiers never disarm.** If the notifier cleared the count, a waiter that is stopped
//! before it can register again would strand all waiters behind it. Instead, each sending
//! handle remembers the exact word that it saw, and how many of its posts succeeded for that
//! word. With as many tokens as there were waiters, it owes nothing until the word changes.
//! It checks that the word is unchanged behind a real fence: a waiter that has incremented
//! the count since then, and takes one of those tokens, will see what it leaves behind.

use super::kernel::{Kernel, LightFence, Op, Refusal};
use super::table::{INCARNATION_SHIFT, MemberState, MemberWord};
use super::watch::{self, VERSION, WATCHED, Watch};
use super::{bell, credit};
use crate::sync::{AtomicU64, Ordering, fence};

/// Bits of a word `waiting`: somebody is to be told, of whatever sort; how many wait.
const SOMEBODY: u64 = VERSION - 1;
const COUNT: u64 = WATCHED - 1;
const RECORD_BITS: u32 = INCARNATION_SHIFT;
const RECORD_COUNT: u64 = (1 << RECORD_BITS) - 1;

/// How often a change of a count is retried against others that change it: a hostile
/// process could keep it from succeeding for ever.
const TRIES: u32 = 1_000;
/// How many waiters one call rouses at most: a hostile process could take the tokens
/// as fast as they come, for as many waiters as it pretends there are.
const ROUSED: u64 = 1 << 12;

/// One direction of a channel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event<'a> {
    pub(crate) waiting: &'a AtomicU64,
    pub(crate) sem: u16,
    pub(crate) wakes: Wakes<'a>,
    /// The watchers that are to be told, too: see [`watch`]. `None` where the set has no bells for that.
    pub(crate) watch: Option<Watch<'a>>,
}

/// Whom a change is for: what the semaphore of an [`Event`] is used as.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wakes<'a> {
    /// One of those who wait: the semaphore has a token.
    One,
    /// All who wait: the semaphore is a [`bell`](super::bell), `struck` for this version of
    /// `waiting`.
    All { struck: &'a AtomicU64 },
}

/// What a notifying handle remembers, so as not to ring twice for one sleeper.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memo {
    word: u64,
    posts: u64,
}

/// The life that a waiter's record belongs to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Life<'a> {
    /// The participant's word in the table.
    word: &'a AtomicU64,
    incarnation: u64,
}

impl<'a> Life<'a> {
    pub(crate) const fn new(word: &'a AtomicU64, incarnation: u64) -> Self {
        Self { word, incarnation }
    }

    /// Whether no process has found this participant dead.
    fn lasts(self) -> bool {
        let live = MemberWord { state: MemberState::Live, incarnation: self.incarnation };
        // Edge L.
        self.word.load(Ordering::Acquire) == live.word()
    }
}

/// An empty record of one life of a participant.
pub(crate) const fn record(incarnation: u64) -> u64 {
    incarnation << RECORD_BITS
}

/// How many threads a record counts, if it belongs to this life.
pub(crate) const fn recorded(record: u64, incarnation: u64) -> u64 {
    if record >> RECORD_BITS == incarnation << RECORD_BITS >> RECORD_BITS {
        record & RECORD_COUNT
    } else {
        0
    }
}

/// Whether somebody waits, and so is to be woken: by [`ring`], with the word
/// returned. Call it after publishing.
#[inline]
pub(crate) fn waited_for<F: LightFence>(fence: &F, waiting: &AtomicU64) -> Option<u64> {
    // Edge W.
    fence.light_fence();
    let word = waiting.load(Ordering::Relaxed);
    (word & SOMEBODY != 0).then_some(word)
}

/// Wakes those whom a change is for, if there are any. Call it after publishing.
pub(crate) fn notify<K: Kernel>(
    kernel: &K,
    event: Event<'_>,
    memo: &mut Memo,
) -> Result<(), Refusal> {
    let meant = || true;
    waited_for(kernel, event.waiting).map_or(Ok(()), |word| ring(kernel, event, word, memo, meant))
}

/// Wakes those whom a change is for. All, unless it was not `meant` for them: see
/// [`bell::ring`]. Or one of those that `word` counts, unless `memo` says that as many
/// have been and the word still stands.
#[cold]
pub(crate) fn ring<K: Kernel>(
    kernel: &K,
    event: Event<'_>,
    word: u64,
    memo: &mut Memo,
    meant: impl Fn() -> bool,
) -> Result<(), Refusal> {
    let called = call_watchers(kernel, event.waiting, event.watch, word, &meant);
    if word & COUNT == 0 {
        return called;
    }
    let woken = match event.wakes {
        Wakes::One => ring_for_one(kernel, event, word, memo),
        Wakes::All { struck } => {
            bell::ring(kernel, event.sem, struck, || announced(event.waiting), meant)
        }
    };
    called.and(woken)
}

/// Calls those who watch, if `word` says that there are some.
fn call_watchers<K: Kernel>(
    kernel: &K,
    waiting: &AtomicU64,
    watch: Option<Watch<'_>>,
    word: u64,
    meant: impl Fn() -> bool,
) -> Result<(), Refusal> {
    match watch {
        Some(watch) if word & WATCHED != 0 => watch::call(kernel, waiting, watch, meant),
        _ => Ok(()),
    }
}

/// Calls those who watch, and says whether others are counted. Call it after publishing.
#[inline]
pub(super) fn counted_or_watched<K: Kernel>(
    kernel: &K,
    waiting: &AtomicU64,
    watch: Option<Watch<'_>>,
) -> Result<bool, Refusal> {
    let Some(word) = waited_for(kernel, waiting) else { return Ok(false) };
    call_watchers(kernel, waiting, watch, word, || true).map(|()| word & COUNT != 0)
}

fn ring_for_one<K: Kernel>(
    kernel: &K,
    event: Event<'_>,
    word: u64,
    memo: &mut Memo,
) -> Result<(), Refusal> {
    // Whether somebody watches too is of no concern to those who are counted.
    let mut word = word & !WATCHED;
    loop {
        if memo.word != word {
            *memo = Memo { word, posts: 0 };
        }
        if memo.posts < word & COUNT {
            break;
        }
        // Edge W, also where the heavy fence has left this thread out.
        fence(Ordering::SeqCst);
        let now = event.waiting.load(Ordering::Relaxed) & !WATCHED;
        if now == word {
            return Ok(());
        }
        word = now;
    }
    let count = word & COUNT;
    match post(kernel, event.sem) {
        Ok(true) => memo.posts += 1,
        // The token that is there is for the only one who waits. With more
        // of them it may be the one that an earlier post was counted for.
        Ok(false) if count == 1 => memo.posts = 1,
        Ok(false) => {}
        Err(refusal) => return Err(refusal),
    }
    Ok(())
}

/// Adds a token unless one is there; says whether it did.
pub(crate) fn post<K: Kernel>(kernel: &K, sem: u16) -> Result<bool, Refusal> {
    match kernel.semop(&[Op::zero(sem).no_wait(), Op::add(sem, 1).no_wait()], None) {
        Ok(()) => Ok(true),
        Err(Refusal::WouldBlock) => Ok(false),
        Err(refusal) => Err(refusal),
    }
}

/// Wakes everybody who sleeps, for a change that concerns all of them, or so that one
/// among them finds out that it is to stop. At most one token stays. `enough` ends it
/// early.
pub(crate) fn rouse<K: Kernel>(
    kernel: &K,
    event: Event<'_>,
    enough: impl Fn() -> bool,
) -> Result<(), Refusal> {
    let Some(word) = waited_for(kernel, event.waiting) else { return Ok(()) };
    let called = call_watchers(kernel, event.waiting, event.watch, word, || true);
    if let Wakes::All { struck } = event.wakes {
        let announced = || announced(event.waiting);
        return called.and(bell::ring(kernel, event.sem, struck, announced, || true));
    }
    for _ in 0..(word & COUNT).min(ROUSED) {
        // One that stays is for who is about to sleep: nobody does.
        if enough() || !post(kernel, event.sem)? {
            break;
        }
    }
    called
}

/// Takes a token, sleeping until there is one.
pub(super) fn take<K: Kernel>(
    kernel: &K,
    sem: u16,
    until: Option<K::Deadline>,
) -> Result<(), Refusal> {
    kernel.semop(&[Op::take(sem, 1)], until)
}

/// The version of the last announcement, if somebody waits.
fn announced(waiting: &AtomicU64) -> Option<u64> {
    let word = waiting.load(Ordering::Relaxed);
    (word & COUNT != 0).then_some(word / VERSION)
}

/// How many wait, a moment ago.
pub(super) fn count(waiting: &AtomicU64) -> u64 {
    waiting.load(Ordering::Relaxed) & COUNT
}

/// Whether somebody has said that he waits, a moment ago: for people.
pub(crate) fn waits(waiting: &AtomicU64) -> bool {
    count(waiting) > 0
}

/// Wakes another waiter than the caller, who may be counted.
pub(super) fn pass_on<K: Kernel>(
    kernel: &K,
    event: Event<'_>,
    counted: bool,
) -> Result<(), Refusal> {
    waited_for(kernel, event.waiting)
        .filter(|word| word & COUNT > u64::from(counted))
        .map_or(Ok(()), |word| ring_for_one(kernel, event, word, &mut Memo::default()))
}

/// Another word with the same count.
pub(super) fn renew(waiting: &AtomicU64) {
    // What `raise` has released stays released; for edge V there are fences.
    waiting.fetch_add(VERSION, Ordering::Relaxed);
}

/// The record first, so that a waiter who dies in between is counted at most
/// by a record that dies with it.
pub(crate) fn raise(waiting: &AtomicU64, record: &AtomicU64) {
    record.fetch_add(1, Ordering::Release);
    // Edge S: Release, so that a sweep that reads this count (Acquire) also
    // reads the record behind it.
    waiting.fetch_add(VERSION + 1, Ordering::Release);
}

/// Takes a waiter's count back, unless its life is over: a sweep leaves the records of
/// such a life out, so the count would be another waiter's. The version stays, which says
/// how often somebody has been announced: a count that grows again comes with another one.
///
/// The kernel ends a life before its process when the process leaves its IPC namespace.
/// The process may be counted then, and may find out late.
pub(crate) fn lower(waiting: &AtomicU64, record: &AtomicU64, life: Life<'_>) {
    let mut tries = 0..TRIES;
    // Edge L: Acquire. This word may be one that a sweep of this life has swapped in. Then
    // the life is seen to be over. A sweep that comes after this load changes the word's
    // version, so the swap fails and the life is asked again.
    let _ = waiting.fetch_update(Ordering::Release, Ordering::Acquire, |word| {
        tries.next().filter(|_| life.lasts())?;
        Some(word - (word & COUNT).min(1))
    });
    let mut tries = 0..TRIES;
    // Edge S: Release, so that a sweep that reads the lowered record
    // (Acquire) cannot swap its sum over the word as it was before.
    let _ = record.fetch_update(Ordering::Release, Ordering::Relaxed, |record| {
        tries.next().filter(|_| recorded(record, life.incarnation) != 0)?;
        Some(record - 1)
    });
}

/// The word with another count, under its next version.
const fn counting(word: u64, count: u64) -> u64 {
    (word & !COUNT).wrapping_add(VERSION) | count
}

/// Sets `waiting` to what the living records say.
///
/// Never subtracts: two sweeps that subtract the same dead waiter would hide
/// a living one. What this gets wrong under a race is too high, which costs
/// a futile post, never a wake.
pub(crate) fn settle(waiting: &AtomicU64, living: impl Fn() -> u64) {
    for _ in 0..TRIES {
        // Edges S and L.
        let seen = waiting.load(Ordering::Acquire);
        let settled = counting(seen, living().min(COUNT));
        if waiting.compare_exchange(seen, settled, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            return;
        }
    }
}

/// What a sweep does for everybody who waits. `value` is the last that was read.
pub(crate) fn tell_of_death<K: Kernel>(
    kernel: &K,
    event: Event<'_>,
    value: u16,
) -> Result<(), Refusal> {
    match event.wakes {
        Wakes::All { .. } => bell::strike(kernel, event.sem),
        Wakes::One => {
            drain_and_ring(kernel, event.sem, value)?;
            // Whom the death leaves alone has to hear of it, and one token could go to a
            // waiter that it does not leave alone.
            rouse(kernel, event, || false)
        }
    }
}

/// Leaves one of several tokens, which deaths have added. `value` is the last that was read.
pub(crate) fn merge_tokens<K: Kernel>(
    kernel: &K,
    event: Event<'_>,
    value: u16,
) -> Result<(), Refusal> {
    match event.wakes {
        Wakes::One if value > 1 => drain_and_ring(kernel, event.sem, value),
        _ => Ok(()),
    }
}

/// Gives a [`credit`] back, and wakes as a death would.
pub(crate) fn give_credit_back<K: Kernel>(kernel: &K, event: Event<'_>) -> Result<(), Refusal> {
    match event.wakes {
        Wakes::One => credit::disarm(kernel, event.sem),
        Wakes::All { .. } => bell::leave(kernel, event.sem),
    }
}

/// Leaves exactly one token, without ever showing none: `value` is the last that was read.
fn drain_and_ring<K: Kernel>(kernel: &K, sem: u16, value: u16) -> Result<(), Refusal> {
    if let Ok(surplus @ 1..) = i16::try_from(value) {
        match kernel.semop(&[Op::take(sem, surplus).no_wait(), Op::add(sem, 1)], None) {
            // Somebody took some meanwhile.
            Err(Refusal::WouldBlock) => {}
            done => return done,
        }
    }
    post(kernel, sem).map(|_| ())
}
