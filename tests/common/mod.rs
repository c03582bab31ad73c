//! Shared by the tests with real processes: objects and children that are removed with
//! the test, and waiting for conditions.

#![allow(unsafe_code)]
// Each test binary uses some of it.
#![allow(dead_code, unused_imports)]

mod body;
pub(crate) mod effort;
pub(crate) mod ends;
mod folder;
mod holder;
mod names;
mod peer;
pub(crate) mod readiness;
mod rights;
pub(crate) mod tasks;
mod trace;

use std::fs;
use std::ops::Deref;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigHandler, Signal, kill, signal};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};
use tombolo::sys::{Error, ErrorKind, Key, msg::Queue, proc, sem::Set, shm::Shm};

pub(crate) use ends::{CAPACITY, RINGS, Rx, Tx, large, receiver, room, sender, single};
pub(crate) use folder::Folder;
pub(crate) use holder::{HELD, Holder, SENT, TAKEN, channel_of, hold};
pub(crate) use names::{
    MAGIC, Name, PROBES, SIGNATURE, Words, clear, key_of, market, own_tables, tables, word,
};
pub(crate) use peer::{Brief, Peer, entry};
pub(crate) use rights::{NOBODY, as_nobody, as_user, in_own_namespace, in_sandbox, set_limit};
pub(crate) use trace::Trace;

/// Longer than anything waited for takes, on any machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Returns once `condition` holds, and panics if it never does.
#[track_caller]
pub(crate) fn wait_until(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "it never came about");
        thread::park_timeout(Duration::from_micros(200));
    }
}

/// Has a command heed the signals that the test may have been started without:
/// by nohup(1), or in the background by a script.
pub(crate) fn heed_signals(command: &mut Command) {
    let heed = || {
        for ignored in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT] {
            // SAFETY: installs no handler.
            unsafe { signal(ignored, SigHandler::SigDfl) }?;
        }
        Ok(())
    };
    // SAFETY: in the forked child this makes system calls only.
    unsafe { command.pre_exec(heed) };
}

/// Asserts that an error is of a kind, and says all of this.
#[track_caller]
pub(crate) fn says(error: &Error, kind: ErrorKind, words: &[&str]) {
    let text = error.to_string();
    assert_eq!(error.kind(), kind, "{text}");
    for word in words {
        assert!(text.contains(word), "no {word:?} in: {text}");
    }
}

/// The calls in which one sleeps on a semaphore.
const SEMOP: &[i64] = &[libc::SYS_semop, libc::SYS_semtimedop];

/// Whether a thread of a process sleeps in a semaphore operation.
pub(crate) fn parked(pid: i32) -> bool {
    parked_in(pid, SEMOP)
}

/// Whether a thread of a process is in one of these system calls.
pub(crate) fn parked_in(pid: i32, calls: &[i64]) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task"));
    threads.is_ok_and(|threads| {
        threads.flatten().any(|thread| parked_at(&thread.path().join("syscall"), calls))
    })
}

/// Whether this thread of this process does.
pub(crate) fn thread_parked(tid: i32) -> bool {
    parked_at(format!("/proc/self/task/{tid}/syscall").as_ref(), SEMOP)
}

/// Whether this thread of this process does, without a deadline: its second
/// look is behind it.
pub(crate) fn thread_parked_for_good(tid: i32) -> bool {
    let call = fs::read_to_string(format!("/proc/self/task/{tid}/syscall")).unwrap_or_default();
    thread_parked(tid) && call.split(' ').nth(4) == Some("0x0")
}

/// Whether a thread of a process sleeps in a semaphore operation without a deadline.
pub(crate) fn parked_for_good(pid: i32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task"));
    threads.is_ok_and(|threads| {
        threads.flatten().any(|thread| {
            let file = thread.path().join("syscall");
            let call = fs::read_to_string(&file).unwrap_or_default();
            parked_at(&file, SEMOP) && call.split(' ').nth(4) == Some("0x0")
        })
    })
}

fn parked_at(file: &Path, calls: &[i64]) -> bool {
    let call = fs::read_to_string(file).unwrap_or_default();
    let number = call.split(' ').next().and_then(|number| number.parse().ok());
    number.is_some_and(|number| calls.contains(&number))
}

/// This thread, as [`thread_parked`] wants it.
pub(crate) fn tid() -> i32 {
    nix::unistd::gettid().as_raw()
}

/// A key that nothing else uses.
pub(crate) fn fresh_key() -> Key {
    Key::new(proc::random_u64().unwrap() as i32 | 1)
}

/// An object that can be removed from the system.
pub(crate) trait Remove {
    /// Removes it, if it is still there.
    fn remove(&self);
}

impl Remove for Shm {
    fn remove(&self) {
        let _ = Shm::remove(self);
    }
}

impl Remove for Set {
    fn remove(&self) {
        let _ = Set::remove(self);
    }
}

impl Remove for Queue {
    fn remove(&self) {
        let _ = Queue::remove(self);
    }
}

/// An object that goes with the test, even if it fails.
#[derive(Debug)]
pub(crate) struct Owned<T: Remove>(pub(crate) T);

impl<T: Remove> Deref for Owned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Remove> Drop for Owned<T> {
    fn drop(&mut self) {
        self.0.remove();
    }
}

/// A private set of `count` semaphores.
pub(crate) fn set(count: usize) -> Owned<Set> {
    Owned(Set::options().create(Key::PRIVATE, count).unwrap())
}

/// A private message queue.
pub(crate) fn queue() -> Owned<Queue> {
    Owned(Queue::options().create(Key::PRIVATE).unwrap())
}

/// A private segment of `size` bytes.
pub(crate) fn segment(size: usize) -> Owned<Shm> {
    Owned(Shm::options().create(Key::PRIVATE, size).unwrap())
}

/// A forked child, killed with the test.
#[derive(Debug)]
pub(crate) struct Child {
    pid: Pid,
    reaped: bool,
}

impl Child {
    /// Forks a child that runs `body` and exits with what it returns.
    ///
    /// The test harness has threads, so `body` must stick to what is safe in
    /// a signal handler: no allocation, no output, no panic.
    pub(crate) fn fork(body: impl FnOnce() -> i32) -> Child {
        // SAFETY: the child runs only `body`, by this function's contract.
        match unsafe { fork() }.unwrap() {
            ForkResult::Child => {
                let code = body();
                // SAFETY: ends the child without running the parent's
                // destructors.
                unsafe { libc::_exit(code) }
            }
            ForkResult::Parent { child } => Child { pid: child, reaped: false },
        }
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Kills it with `SIGKILL`, and returns before it is reaped.
    pub(crate) fn kill(&self) {
        kill(self.pid, Signal::SIGKILL).unwrap();
    }

    /// Waits for its exit code, or for minus the signal that ended it.
    pub(crate) fn join(mut self) -> i32 {
        self.reaped = true;
        match waitpid(self.pid, None).unwrap() {
            WaitStatus::Exited(_, code) => code,
            WaitStatus::Signaled(_, signal, _) => -(signal as i32),
            status => panic!("{status:?}"),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.reaped {
            let _ = kill(self.pid, Signal::SIGKILL);
            let _ = waitpid(self.pid, None);
        }
    }
}

/// Sleeps for good, in a forked child.
pub(crate) fn sleep_forever() -> ! {
    loop {
        // SAFETY: pause only waits for a signal.
        unsafe { libc::pause() };
    }
}
