//! Turns signals that ask a process to end into something to poll. So a process
//! that waits for them can clean up before it obeys.

#![allow(unsafe_code)]

use std::fs;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::errno::Errno;
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// Every signal that ends a process unless it does something about it, and
/// that is sent from outside. SIGPIPE is ignored by Rust programs.
pub const ENDING: [Signal; 14] = [
    Signal::SIGINT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGALRM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGVTALRM,
    Signal::SIGPROF,
    Signal::SIGIO,
    Signal::SIGPWR,
    Signal::SIGSTKFLT,
    Signal::SIGXCPU,
    Signal::SIGXFSZ,
];

/// Has the kernel tell of children that end, and keep their exit statuses, even
/// if this process was started with SIGCHLD ignored.
pub fn heed_children() {
    // SAFETY: installs no handler.
    let _ = unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) };
}

/// Whether a signal that this process was started with ignored stays so.
///
/// Under nohup(1) a hang-up does. An interrupt does not: a script's shell has
/// it ignored in every background job. And a termination does not, so that
/// nothing hangs that was told to end.
pub fn stays_ignored(signal: Signal) -> bool {
    !matches!(signal, Signal::SIGINT | Signal::SIGTERM) && ignored(signal)
}

/// The signals that ask this process to end, held back from now on.
#[derive(Debug)]
pub struct Signals {
    fd: SignalFd,
    /// The signals that were blocked before.
    before: SigSet,
}

impl Signals {
    /// Holds the signals back. To be called before there are threads, which
    /// would not.
    pub fn hold() -> Result<Self, Errno> {
        Self::hold_these(ENDING.into_iter().filter(|signal| !stays_ignored(*signal)))
    }

    /// The same with these, and possibly other signals.
    pub fn hold_these(signals: impl IntoIterator<Item = Signal>) -> Result<Self, Errno> {
        let not_ignored = |signal: &Signal| *signal != Signal::SIGHUP || !ignored(Signal::SIGHUP);
        let set: SigSet = signals.into_iter().filter(not_ignored).collect();
        let before = SigSet::thread_get_mask()?;
        set.thread_block()?;
        let fd = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Self { fd, before })
    }

    /// Has a command start without them being held back.
    pub fn release_in(&self, command: &mut Command) {
        let before = self.before;
        let release = move || Ok(sigprocmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?);
        // SAFETY: in the forked child this makes one system call: it neither
        // allocates nor takes a lock, and touches no memory of other threads.
        unsafe { command.pre_exec(release) };
    }

    /// One that has come.
    pub fn caught(&self) -> Option<Signal> {
        self.taken().map(|(signal, _)| signal)
    }

    /// One that has come, and whether it is a terminal's, which sends it to all
    /// of a job.
    pub fn taken(&self) -> Option<(Signal, bool)> {
        let info = self.fd.read_signal().ok()??;
        let signal = Signal::try_from(i32::try_from(info.ssi_signo).ok()?).ok()?;
        let of_terminals = matches!(signal, Signal::SIGINT | Signal::SIGQUIT | Signal::SIGHUP);
        Some((signal, of_terminals && info.ssi_code == libc::SI_KERNEL))
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Whether this process was started with the signal ignored.
fn ignored(signal: Signal) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal as i32 - 1) & 1 == 1
}
