//! The wake-all semaphore: it wakes all processes that wait for something new in the
//! journal.
//!
//! The semaphore counts what has happened: a join, a leave, a death, or a record that one
//! process has closed for another. No process takes anything from it.
//!
//! ```text
//!  write it down ─▶ {G +1}                  a death: the kernel does G +1
//!
//!  scan, G is v ─▶ read the journal ─▶ sleep while G is v ─▶ (again)
//!                  {G −v no-wait}{G −1}{G +(v + 1)}
//! ```
//!
//! The kernel does the three operations of a sleep at once or not at all, and they leave the
//! value as it is. Below v the first one fails, at v the second one sleeps, and above v all
//! of them succeed.
//!
//! **No wake-up is lost.** An event that was counted before v was read is in the journal by
//! then, or is a death that the scan finds. An event that is counted later changes the value,
//! which the kernel compares at the instant of falling asleep.
//!
//! **All sleepers are woken.** A channel's semaphore wakes one waiter, which passes the token
//! on. Here there is no token, so a stopped or killed process cannot keep it from the others,
//! and a reader leaves no trace in the segment.
//!
//! **The credit** ([`credit`](super::credit)) is held from before a process scans in order to
//! join until it has left. If the process has written an event down and not counted it, its
//! death counts it.
//!
//! The value is reset before it gets near its end. If a process is stopped between reading
//! and sleeping, and the value comes round to exactly v after thousands of events, the
//! process sleeps until the next event.

use super::kernel::{Kernel, Op, Refusal};
use super::set::SetMap;

/// From here on the value is wound back. As many strokes as there can be
/// participants, twice, fit in between here and the end.
const HIGH: u16 = 1 << 13;

/// Strikes, for something that is written down.
pub(crate) fn strike<K: Kernel>(kernel: &K) -> Result<(), Refusal> {
    match kernel.semop(&[Op::add(SetMap::WAKE_ALL, 1)], None) {
        // Only if somebody has been playing with it: the next look winds it.
        Err(Refusal::Range) => Ok(()),
        done => done,
    }
}

/// The same where it may be done often while nobody looks: whoever finds the
/// value high winds it.
pub(crate) fn strike_and_wind<K: Kernel>(kernel: &K) -> Result<(), Refusal> {
    let high = HIGH.cast_signed();
    match kernel
        .semop(&[Op::take(SetMap::WAKE_ALL, high).no_wait(), Op::add(SetMap::WAKE_ALL, 2)], None)
    {
        Err(Refusal::WouldBlock) => strike(kernel),
        done => done,
    }
}

/// Strikes, and gives the credit back, in one operation.
pub(crate) const LEAVE: Op = Op::add(SetMap::WAKE_ALL, 1).undo();

/// Winds the value back if it is high. `value` is what was just read.
pub(crate) fn wind<K: Kernel>(kernel: &K, value: u16) -> Result<(), Refusal> {
    match i16::try_from(value) {
        Ok(by) if value >= HIGH => {
            match kernel.semop(&[Op::take(SetMap::WAKE_ALL, by - 1).no_wait()], None) {
                // Somebody was faster.
                Err(Refusal::WouldBlock) => Ok(()),
                done => done,
            }
        }
        _ => Ok(()),
    }
}

/// Sleeps for a token of another semaphore, while the value is `heard`:
/// `WouldBlock` as soon as it is not, and then no token is taken.
///
/// As long as somebody sleeps like this the kernel asks all who sleep over the
/// set at each operation, some 13 ns for each of them.
pub(crate) fn take<K: Kernel>(
    kernel: &K,
    sem: u16,
    heard: u16,
    until: Option<K::Deadline>,
) -> Result<(), Refusal> {
    let Ok(heard) = i16::try_from(heard) else {
        // As high as it gets, and wound back by now.
        return Err(Refusal::WouldBlock);
    };
    let ops = [
        Op::take(SetMap::WAKE_ALL, heard).no_wait(),
        Op::zero(SetMap::WAKE_ALL).no_wait(),
        Op::take(sem, 1),
        Op::add(SetMap::WAKE_ALL, heard),
    ];
    // Taking nothing would wait for zero.
    unless_late(kernel, if heard == 0 { &ops[1..3] } else { &ops }, until)
}

/// Sleeps while the value is `heard`: `WouldBlock` or `Ok` as soon as it is not.
pub(crate) fn wait<K: Kernel>(
    kernel: &K,
    heard: u16,
    until: Option<K::Deadline>,
) -> Result<(), Refusal> {
    let Some((heard, back)) =
        i16::try_from(heard).ok().and_then(|heard| Some((heard, heard.checked_add(1)?)))
    else {
        // As high as it gets, and wound back by now.
        return Ok(());
    };
    let ops = [
        Op::take(SetMap::WAKE_ALL, heard).no_wait(),
        Op::take(SetMap::WAKE_ALL, 1),
        Op::add(SetMap::WAKE_ALL, back),
    ];
    // Taking nothing would wait for zero.
    unless_late(kernel, if heard == 0 { &ops[1..] } else { &ops }, until)
}

/// Does `ops`, which compare the value, and tells a deadline from a value that
/// is another: the kernel says the same of both. If both are true, the next call
/// finds the other.
fn unless_late<K: Kernel>(
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

/// The same, and returns when the deadline passes, too.
pub(crate) fn park<K: Kernel>(
    kernel: &K,
    heard: u16,
    until: Option<K::Deadline>,
) -> Result<(), Refusal> {
    match wait(kernel, heard, until) {
        Err(Refusal::WouldBlock | Refusal::TimedOut) => Ok(()),
        done => done,
    }
}
