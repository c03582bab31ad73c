//! The wake-all semaphore: it wakes all processes that wait for something new in the
//! journal.
//!
//! The semaphore counts what has happened: a join, a leave, a death, or a record that one
//! process has closed for another. No process takes anything from it.
//!
//! It is a [`bell`] without announcements: a process writes down what has happened and strikes,
//! whether or not anybody sleeps. The end of each participant strikes too. A listener scans
//! and reads the journal before each sleep.
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

use super::bell;
use super::kernel::{Kernel, Op, Refusal};
use super::set::SetMap;

/// Strikes, for something that is written down.
pub(crate) fn strike<K: Kernel>(kernel: &K) -> Result<(), Refusal> {
    bell::strike(kernel, SetMap::WAKE_ALL)
}

/// Strikes, and gives the credit back, in one operation.
pub(crate) const LEAVE: Op = bell::leaving(SetMap::WAKE_ALL);

/// Winds the value back if it is high. `value` is what was just read.
pub(crate) fn wind<K: Kernel>(kernel: &K, value: u16) -> Result<(), Refusal> {
    bell::wind(kernel, SetMap::WAKE_ALL, value)
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
    bell::unless_late(kernel, if heard == 0 { &ops[1..3] } else { &ops }, until)
}

/// Sleeps while the value is `heard`: `WouldBlock` or `Ok` as soon as it is not.
pub(crate) fn wait<K: Kernel>(
    kernel: &K,
    heard: u16,
    until: Option<K::Deadline>,
) -> Result<(), Refusal> {
    bell::wait(kernel, SetMap::WAKE_ALL, heard, None, until)
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
