//! Signals that ask to end, for a process that blocks in reads and writes: they
//! interrupt it, and it cleans up before it obeys.

#![allow(unsafe_code)]

use core::ffi::c_int;
use std::sync::atomic::{AtomicI32, Ordering};

use nix::errno::Errno;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use crate::failure::Failure;
use crate::signals::{ENDING, stays_ignored};

/// The first signal that has come.
static CAUGHT: AtomicI32 = AtomicI32::new(0);

/// Notes the first signal. One that comes just before a call that blocks would
/// not interrupt it, so an alarm does, every second from now on. An alarm that
/// comes first is somebody else's, and asks to end like any other signal.
extern "C" fn note(signal: c_int) {
    let _ = CAUGHT.compare_exchange(0, signal, Ordering::Relaxed, Ordering::Relaxed);
    // SAFETY: a plain system call, which a handler may make.
    let _ = unsafe { libc::alarm(1) };
}

/// Whether this process has been asked to end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Interrupt;

impl Interrupt {
    /// From now on, signals that ask to end interrupt what blocks.
    pub(crate) fn install() -> Result<Self, Failure> {
        Self::arm().map_err(|error| Failure::broken("cannot handle signals", error))?;
        Ok(Self)
    }

    fn arm() -> Result<(), Errno> {
        // Without SA_RESTART.
        let action = SigAction::new(SigHandler::Handler(note), SaFlags::empty(), SigSet::empty());
        let mut all = SigSet::empty();
        for signal in ENDING {
            if !stays_ignored(signal) || signal == Signal::SIGALRM {
                // SAFETY: the handler only touches an atomic and makes a
                // system call.
                unsafe { sigaction(signal, &action) }?;
                all.add(signal);
            }
        }
        all.thread_unblock()
    }

    /// The end, if it was asked for.
    pub(crate) fn check(self) -> Result<(), Failure> {
        match CAUGHT.load(Ordering::Relaxed) {
            0 => Ok(()),
            signal => Err(Signal::try_from(signal).map_or(Failure::Told(1), Failure::Signalled)),
        }
    }
}
