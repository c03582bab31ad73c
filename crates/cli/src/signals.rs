//! Signals that ask to end, as something to poll: whoever waits for them can
//! put everything away before it obeys.

#![allow(unsafe_code)]

use std::fs;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// The signals that ask this process to end, held back from now on.
#[derive(Debug)]
pub struct Signals {
    fd: SignalFd,
    /// What was held back before.
    before: SigSet,
}

impl Signals {
    /// Holds the signals back. To be called before there are threads, which
    /// would not.
    pub fn hold() -> Result<Self, Errno> {
        Self::hold_these([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP])
    }

    /// The same with these, and possibly other signals.
    pub fn hold_these(signals: impl IntoIterator<Item = Signal>) -> Result<Self, Errno> {
        // Under nohup(1) a hang-up stays ignored. An interrupt does not: a
        // script's shell has it ignored in every background job.
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

    /// One that has come, and whether it is the kernel that has sent it: for a
    /// terminal, to all of a job.
    pub fn taken(&self) -> Option<(Signal, bool)> {
        let info = self.fd.read_signal().ok()??;
        let signal = Signal::try_from(i32::try_from(info.ssi_signo).ok()?).ok()?;
        Some((signal, info.ssi_code == libc::SI_KERNEL))
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
