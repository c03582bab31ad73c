//! The wake-all semaphore: everybody hears that there is something new in the journal.
//!
//! A semaphore that counts what has happened: a joining, a leaving, a death, a
//! record that somebody has closed for another. Nobody takes anything from it.
//!
//! ```text
//!  write it down ─▶ {G +1}                  a death: the kernel does G +1
//!
//!  look, G is v ─▶ read the journal ─▶ sleep while G is v ─▶ (again)
//!                  {G −v no-wait}{G −1}{G +(v + 1)}
//! ```
//!
//! The three operations of a sleep are done at once or not at all, and leave
//! the value as it is. Below v the first one refuses, at v the second one
//! sleeps, above v all of them go through.
//!
//! **No wake is lost.** What was struck for before v was read is in the
//! journal by then, or is a death that the look finds; what is struck for
//! later makes the value another, and the kernel compares it at the instant
//! of falling asleep.
//!
//! **Everybody is woken.** A channel's semaphore wakes one, who passes the token
//! on; here there is no token, so nobody who is stopped or killed over it can
//! keep it from the others, and a reader leaves no trace in the segment.
//!
//! **The credit** ([`credit`](super::credit)) is held from before a process
//! looks in order to join until it has left: whatever it wrote down and did
//! not strike for, its death strikes for.
//!
//! The value is wound back before it gets near its end. So who is stopped
//! between looking and sleeping while it comes round to exactly v, after
//! thousands of strokes, sleeps until the next one.

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
#[track_caller]
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
