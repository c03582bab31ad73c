//! Waits until a deadline, for calls of the kernel that have no timed form.

use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::ppoll;

/// The pause between the first tries.
const SHORTEST: Duration = Duration::from_micros(100);
/// The longest pause: on an idle machine, a success is noticed at most this
/// late.
const LONGEST: Duration = Duration::from_millis(10);

/// Tries at least once, and again until the deadline as long as the answer is
/// `again`, with pauses that double from 0.1 to 10 milliseconds.
///
/// `msgsnd` and `msgrcv` take no timeout, and a library must not use what could
/// end a sleep in them (a signal, or a thread that removes the queue). A caller
/// that pauses is not in the kernel's queue of sleepers, so the kernel serves
/// those that sleep there before it.
pub(super) fn retry<T>(
    deadline: Instant,
    again: Errno,
    mut attempt: impl FnMut() -> Result<T, Errno>,
) -> Result<T, Errno> {
    let mut pause = SHORTEST;
    loop {
        match attempt() {
            Err(errno) if errno == again => {}
            result => return result,
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(again);
        }
        // A signal only makes the pause shorter.
        let _ = ppoll(&mut [], Some(pause.min(left).into()), None);
        pause = (2 * pause).min(LONGEST);
    }
}
