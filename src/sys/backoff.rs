//! Waits until a deadline, for calls of the kernel that have no timed form.

use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::ppoll;

/// Between the first tries.
const SHORTEST: Duration = Duration::from_micros(100);
/// How late success can be noticed, on an idle machine.
const LONGEST: Duration = Duration::from_millis(10);

/// Tries at least once, and until the deadline as long as the answer is
/// `again`, with pauses that double from a tenth of a millisecond to ten.
///
/// `msgsnd` and `msgrcv` cannot be told a time, and what would cut a sleep in
/// them short (a signal, a thread to remove the queue) is not a library's to
/// use. A caller that pauses has no place in the kernel's queue of sleepers:
/// those that sleep there are served before it.
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
        // A signal makes the pause shorter, no more.
        let _ = ppoll(&mut [], Some(pause.min(left).into()), None);
        pause = (2 * pause).min(LONGEST);
    }
}
