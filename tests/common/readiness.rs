//! Descriptors for event loops, and the thread behind them.

use std::fs;
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tombolo::Readiness;

use super::{Name, PATIENCE, Peer, thread_parked, wait_until};

fn ready_by(readiness: &Readiness, timeout: PollTimeout) -> bool {
    let mut fds = [PollFd::new(readiness.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, timeout).unwrap() == 1
}

pub(crate) fn is_ready(readiness: &Readiness) -> bool {
    ready_by(readiness, PollTimeout::ZERO)
}

#[track_caller]
pub(crate) fn gets_ready(readiness: &Readiness) {
    let patience = PollTimeout::try_from(PATIENCE).unwrap();
    assert!(ready_by(readiness, patience), "it never gets readable");
}

/// Waits until the only thread of its kind in a process sleeps, as it does when
/// there is nothing for it.
#[track_caller]
pub(crate) fn stays_unready(readiness: &Readiness) {
    wait_until(|| watchers().iter().any(|&tid| thread_parked(tid)));
    assert!(!is_ready(readiness), "readable for nothing");
}

/// The threads that wait for the polled and awaited handles of this process.
pub(crate) fn watchers() -> Vec<i32> {
    let threads = fs::read_dir("/proc/self/task").unwrap().flatten();
    let named = threads.filter(|thread| {
        fs::read_to_string(thread.path().join("comm")).is_ok_and(|name| name == "tombolo-reactor\n")
    });
    named.map(|thread| thread.file_name().to_str().unwrap().parse().unwrap()).collect()
}

/// Runs `role` in a process of its own, whose threads are known.
#[track_caller]
pub(crate) fn alone(role: &str, name: &Name) {
    let peer = Peer::start(role, &[name]);
    peer.expect("all is well");
    assert_eq!(peer.join(), 0, "it ends by itself");
}

/// How often a thread of this process has slept.
pub(crate) fn switches(tid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/self/task/{tid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches"));
    line.unwrap().split_whitespace().nth(1).unwrap().parse().unwrap()
}
