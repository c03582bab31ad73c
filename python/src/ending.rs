//! The end of the process: what happens to its other threads.
//!
//! The ends of the process are closed when it ends, so a daemon thread that waits for one of
//! them in another finds it gone. It must not report that: the interpreter would stop it at
//! the next instruction anyway.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use pyo3::intern;
use pyo3::prelude::*;

static ENDING: AtomicBool = AtomicBool::new(false);

/// Says that this process ends: daemon threads stop in their next call that fails.
#[pyfunction]
pub(crate) fn ending() {
    ENDING.store(true, Ordering::Relaxed);
}

/// Stops this thread if the process ends without it.
pub(crate) fn stop_if_daemon() {
    if ENDING.load(Ordering::Relaxed) && Python::attach(is_daemon).unwrap_or(false) {
        Python::attach(|py| {
            py.detach(|| {
                loop {
                    thread::park();
                }
            });
        });
    }
}

fn is_daemon(py: Python<'_>) -> PyResult<bool> {
    let current = py.import(intern!(py, "threading"))?.getattr(intern!(py, "current_thread"))?;
    current.call0()?.getattr(intern!(py, "daemon"))?.extract()
}
