//! The bell: one stroke wakes all who sleep over a semaphore.
//!
//! The semaphore W counts strokes, and nobody takes anything from it. A waiter sleeps while W
//! is what it was when the waiter last listened. One side of a channel may have a bell in the
//! place of its token ([`event`](super::event)); beside its word `waiting` it then has a word
//! `struck`, which says for which announcement W was last struck.
//!
//! ```text
//!  waiter     listen: look for the dead, W is v ◀────────────────────┐
//!                 ▼                                                  │
//!             announce: `waiting`, the next version, fence (W, V)    │
//!                 ▼                                                  │ nothing
//!             try ── done ─▶ deregister                              │
//!                 ▼ nothing                                          │
//!             sleep while W is v ─── woken ─▶ try ───────────────────┘
//!             {W −v no-wait}{W −1}{W +(v+1)}   └── done ─▶ deregister, or stay counted
//!
//!  notifier   publish ─▶ light fence ─▶ `waiting`? ─ 0 ─▶ done
//!                                          ▼ n
//!             fence ─▶ version x of `waiting`; is x struck? ─ yes ─▶ done
//!                                          ▼ no
//!             is it meant for them? ─ no ─▶ done
//!                                          ▼ yes
//!             {W +1} ─▶ x is struck
//! ```
//!
//! The kernel does the three operations of a sleep at once or not at all, and they leave the
//! value as it is. Below v the first one fails, at v the second one sleeps, and above v all
//! of them succeed.
//!
//! **No wake-up is lost.** Either the try after the announcement finds what was published, or
//! the notifier sees the count ([`event`](super::event), edges W and V). If it strikes, W is
//! not v any more.
//!
//! **One stroke is enough for a version, whoever makes it.** Each waiter that is announced by
//! version x had listened before that. So a stroke that is made after x was seen changes what
//! all of them compare with: none of them sleeps on, and each is announced anew before it
//! sleeps again. A notifier that finds x struck has nothing to do for those (edge K: `struck`, Release
//! and Acquire, hands on that the stroke was made). Hence the order of the steps: *listen,
//! announce, try* and *strike, struck*. If `struck` came first, a notifier that is stopped
//! between the two would keep the stroke from everybody. While many sleepers wake up, a fast
//! notifier makes one call, and not one for each message. A waiter that deregisters leaves the
//! version as it is, so it costs no stroke.
//!
//! **Whom it is meant for.** A change may free nobody: a reader that has read on, and behind
//! which another reader stands that senders wait for, too. It asks behind the fence. Of two
//! that read on at once, one sees the other's position, and strikes.
//!
//! **Nobody keeps it from the others.** There is no token: a waiter that is stopped or killed
//! anywhere leaves nothing to be passed on. It only keeps its count, which costs notifiers a
//! fence until a sweep takes it back.
//!
//! **Deaths.** Every end of the channel holds a [`credit`](super::credit) on W. So the death of
//! a notifier that has published and not struck changes W. A waiter listens again after each
//! stroke that brings it nothing. To listen is to look for the dead, and W's value is of that
//! very look: a death before it is found by it, a death after it changes W. A waiter that
//! compares the wake-all semaphore too hears of participants that are no end of the channel.
//!
//! **The value is wound back** by the next one to listen when it is high. If a waiter is
//! stopped between listening and sleeping, and the value comes round to exactly v after
//! thousands of strokes, the waiter sleeps until the next stroke.

use super::kernel::{Kernel, Op, Refusal};
use super::set::SetMap;
use crate::sync::{AtomicU64, Ordering, fence};

/// From here on the value is wound back. As many strokes as there can be participants,
/// twice, fit in between here and the end.
const HIGH: u16 = 1 << 13;

/// Wakes all who are `announced`, by this version, unless that was done; or unless it was not
/// `meant` for them. Call it after publishing, if somebody seems to wait.
pub(super) fn ring<K: Kernel>(
    kernel: &K,
    sem: u16,
    struck: &AtomicU64,
    announced: impl Fn() -> Option<u64>,
    meant: impl Fn() -> bool,
) -> Result<(), Refusal> {
    // Edges W and V, also where the heavy fence has left this thread out.
    fence(Ordering::SeqCst);
    let Some(version) = announced() else { return Ok(()) };
    // Edge K.
    if struck.load(Ordering::Acquire) == version || !meant() {
        return Ok(());
    }
    strike(kernel, sem)?;
    // Edge K.
    struck.store(version, Ordering::Release);
    Ok(())
}

/// Wakes all who sleep, whoever is announced.
pub(crate) fn strike<K: Kernel>(kernel: &K, sem: u16) -> Result<(), Refusal> {
    match kernel.semop(&[Op::add(sem, 1)], None) {
        Err(Refusal::Range) => wind_by(kernel, sem, HIGH.cast_signed()),
        done => done,
    }
}

/// Strikes, and gives the credit back: killed before it, the kernel strikes.
pub(super) const fn leaving(sem: u16) -> Op {
    Op::add(sem, 1).undo()
}

/// Does that.
pub(super) fn leave<K: Kernel>(kernel: &K, sem: u16) -> Result<(), Refusal> {
    loop {
        match kernel.semop(&[leaving(sem)], None) {
            Err(Refusal::Range) => wind_by(kernel, sem, HIGH.cast_signed())?,
            done => return done,
        }
    }
}

/// Winds the value back if it is high. `value` is what was just read.
pub(crate) fn wind<K: Kernel>(kernel: &K, sem: u16, value: u16) -> Result<(), Refusal> {
    match i16::try_from(value) {
        Ok(by) if value >= HIGH => wind_by(kernel, sem, by - 1),
        _ => Ok(()),
    }
}

fn wind_by<K: Kernel>(kernel: &K, sem: u16, by: i16) -> Result<(), Refusal> {
    match kernel.semop(&[Op::take(sem, by).no_wait()], None) {
        // Somebody was faster.
        Err(Refusal::WouldBlock) => Ok(()),
        done => done,
    }
}

/// Sleeps while the value is `heard`, and the wake-all semaphore is `all`, if that is
/// compared: `WouldBlock` or `Ok` as soon as it is not.
///
/// As long as somebody sleeps like this the kernel asks all who sleep over the
/// set at each operation, some 13 ns for each of them.
pub(super) fn wait<K: Kernel>(
    kernel: &K,
    sem: u16,
    heard: u16,
    all: Option<u16>,
    until: Option<K::Deadline>,
) -> Result<(), Refusal> {
    let (Ok(heard), Ok(wake_all)) = (i16::try_from(heard), i16::try_from(all.unwrap_or(0))) else {
        // As high as it gets, and wound back by now.
        return Ok(());
    };
    let Some(back) = heard.checked_add(1) else { return Ok(()) };
    // Taking nothing would wait for zero.
    let (other, own) = (all.is_some() && wake_all > 0, heard > 0);
    let compare = [
        other.then(|| Op::take(SetMap::WAKE_ALL, wake_all).no_wait()),
        all.map(|_| Op::zero(SetMap::WAKE_ALL).no_wait()),
        other.then(|| Op::add(SetMap::WAKE_ALL, wake_all)),
        own.then(|| Op::take(sem, heard).no_wait()),
        Some(Op::take(sem, 1)),
        Some(Op::add(sem, back)),
    ];
    let mut ops = [Op::zero(sem); 6];
    let mut count = 0;
    for (at, op) in ops.iter_mut().zip(compare.into_iter().flatten()) {
        *at = op;
        count += 1;
    }
    unless_late(kernel, &ops[..count], until)
}

/// Sleeps while the value is `heard`, and `also` does not fail: no-wait operations that compare
/// other values and change nothing. `WouldBlock` or `Ok` as soon as one of them is another.
/// Appends its own.
pub(super) fn wait_also<K: Kernel>(
    kernel: &K,
    also: &mut Vec<Op>,
    sem: u16,
    heard: u16,
    until: Option<K::Deadline>,
) -> Result<(), Refusal> {
    let Ok(heard) = i16::try_from(heard) else { return Ok(()) };
    let Some(back) = heard.checked_add(1) else { return Ok(()) };
    if heard > 0 {
        also.push(Op::take(sem, heard).no_wait());
    }
    also.extend([Op::take(sem, 1), Op::add(sem, back)]);
    unless_late(kernel, also, until)
}

/// Does `ops`, which compare a value, and tells a deadline from a value that
/// is another: the kernel says the same of both. If both are true, the next call
/// finds the other.
pub(super) fn unless_late<K: Kernel>(
    kernel: &K,
    ops: &[Op],
    until: Option<K::Deadline>,
) -> Result<(), Refusal> {
    match kernel.semop(ops, until) {
        Err(Refusal::WouldBlock) if until.is_some_and(|until| kernel.now() >= until) => {
            Err(Refusal::TimedOut)
        }
        done => done,
    }
}
