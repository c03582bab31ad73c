//! Waits that Python's signal handlers can end.
//!
//! A handler of Python's runs between two instructions of the interpreter, on its main thread.
//! While that thread waits in the library, the library asks from time to time, and after each
//! signal that interrupts its sleep, whether to go on. The question runs the handlers. If one
//! raises, as that of Ctrl-C does, the wait ends, and the exception goes on from there.

use std::cell::Cell;

use pyo3::prelude::*;
use tombolo::interrupt_waits;

thread_local! {
    /// What a handler has raised during a wait of this thread.
    static RAISED: Cell<Option<PyErr>> = const { Cell::new(None) };
}

/// What a handler has raised during the wait that has just ended.
pub(crate) fn raised() -> Option<PyErr> {
    RAISED.take()
}

/// Does something that may wait, without the interpreter's lock.
pub(crate) fn waiting<T: Send>(py: Python<'_>, wait: impl FnOnce() -> T + Send) -> T {
    py.detach(|| {
        // Handlers run on the main thread only.
        let _asks = is_main_thread().then(|| interrupt_waits(handlers_raise));
        wait()
    })
}

fn handlers_raise() -> bool {
    Python::attach(|py| match py.check_signals() {
        Ok(()) => false,
        Err(error) => {
            RAISED.set(Some(error));
            true
        }
    })
}

/// Whether this is the thread that the process began with, or that it has had since it was
/// forked: these are Python's main threads.
#[allow(unsafe_code)]
fn is_main_thread() -> bool {
    // SAFETY: it takes nothing and cannot fail.
    let thread = unsafe { libc::gettid() };
    u32::try_from(thread) == Ok(std::process::id())
}
