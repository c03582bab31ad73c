//! How many forks lie between this process and the one that loaded the module.
//!
//! What a process has opened belongs to it. A forked one sees by this number that what it finds
//! is another's, without a system call.

#![allow(unsafe_code)]

use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

static FORKS: AtomicU32 = AtomicU32::new(0);
static COUNTS: Once = Once::new();

extern "C" fn forked() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}

/// Says whether what was opened at a number is this process's: the same number now.
pub(crate) fn count() -> u32 {
    COUNTS.call_once(|| {
        // SAFETY: the handler only adds to an atomic, which a forked process may do.
        unsafe { libc::pthread_atfork(None, None, Some(forked)) };
    });
    FORKS.load(Ordering::Relaxed)
}
