//! Waits that a signal ends.

use std::cell::RefCell;
use std::ffi::{c_int, c_void};

use tombolo::{InterruptGuard, interrupt_waits};

use crate::failure::{Failure, door};

thread_local! {
    static CHECK: RefCell<Option<InterruptGuard>> = const { RefCell::new(None) };
}

/// Has `check` end the waits of the calling thread with −EINTR, as soon as it returns something
/// else than 0. It is called with `context` while the thread waits: after each signal that the
/// thread handles, and at the latest 10 ms after any moment of a wait, so that a signal just
/// before a sleep is found, too. A null `check` restores what is at first: no signal ends a wait.
/// Nothing is lost by an interruption. `check` must not use the handle that waits, nor end by
/// longjmp or an exception.
///
/// Threads: for the calling one alone. Waits: never. Fork: a child's only thread keeps it.
/// Crash: holds nothing.
#[unsafe(no_mangle)]
pub extern "C" fn tombolo_interrupt(
    check: Option<extern "C" fn(context: *mut c_void) -> c_int>,
    context: *mut c_void,
) -> c_int {
    door(|| {
        let ended = || Failure::new(libc::EINVAL, "the thread is ending");
        let before = CHECK.try_with(|held| held.take()).map_err(|_| ended())?;
        // Restores what was before that: nothing.
        drop(before);
        let Some(check) = check else { return Ok(0) };
        let guard = interrupt_waits(move || check(context) != 0);
        CHECK.try_with(|held| held.replace(Some(guard))).map_err(|_| ended())?;
        Ok(0)
    })
}
