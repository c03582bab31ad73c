//! The recheck of a waiter that a notifier has not seen, because Linux left that
//! notifier out of the waiter's fence.
//!
//! `docs/orderings.md` says when Linux does that. The models show that the recheck finds
//! what the first try missed: an exchange of real threads meets the case once in
//! millions, and would pass without the recheck.

use crate::common;

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use tombolo::Segment;

use common::{Brief, Name, Peer, RINGS, receiver, sender, wait_until};

fn market() -> (Name, Segment) {
    crate::common::market(8, 16)
}

/// A time-out below the time of the second look, about it, and above it.
#[test]
fn a_time_out_is_the_callers() {
    let (_name, segment) = market();
    for ring in RINGS {
        let channel = format!("{ring}-time");
        let (rx, _tx) = (receiver(&segment, ring, &channel), sender(&segment, ring, &channel));
        for (time, most) in [(1, 8), (10, 50), (12, 50), (60, 200)] {
            let (time, most) = (Duration::from_millis(time), Duration::from_millis(most));
            // The shortest of some: the machine may be busy.
            let shortest = (0..5).map(|_| {
                let began = Instant::now();
                assert_eq!(rx.recv_timeout(time).unwrap(), None);
                began.elapsed()
            });
            let shortest = shortest.min().unwrap();
            assert!(shortest >= time && shortest < most, "{ring}, {time:?}: {shortest:?}");
        }
    }
}

/// A waiter that has looked twice sleeps until somebody wakes it.
#[test]
fn nobody_looks_a_third_time() {
    let (name, _segment) = market();
    let mut peer = Peer::start("sleep", &[&name]);
    let sleepers: usize = peer.said().parse().unwrap();
    let pid = peer.pid();
    wait_until(|| long_sleeps(pid).len() == sleepers);
    let before = long_sleeps(pid);
    // That nothing happens has no end to be waited for: a hundred times the
    // time of the second look, in which a heartbeat would show.
    thread::sleep(Duration::from_secs(1));
    assert_eq!(long_sleeps(pid), before, "threads that sleep, and how often each has");
    peer.tell("send");
    assert_eq!(peer.join(), 0);
}

/// The threads of a process that sleep over a semaphore without a deadline, and
/// how often each has given up its processor.
fn long_sleeps(pid: i32) -> Vec<(String, u64)> {
    let sleeps = |thread: &Path| {
        let call = fs::read_to_string(thread.join("syscall")).ok()?;
        let call: Vec<&str> = call.split(' ').collect();
        let long = match call.first()?.parse().ok()? {
            libc::SYS_semop => true,
            libc::SYS_semtimedop => *call.get(4)? == "0x0",
            _ => false,
        };
        let status = fs::read_to_string(thread.join("status")).ok()?;
        let count =
            status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        let thread = thread.file_name()?.to_str()?.to_owned();
        long.then_some((thread, count.trim().parse().ok()?))
    };
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let mut all: Vec<_> = threads.flatten().filter_map(|thread| sleeps(&thread.path())).collect();
    all.sort();
    all
}

/// One thread over the bell of each ring, and one that waits for all.
fn sleep(brief: &Brief, segment: &Segment) {
    let senders: Vec<_> =
        RINGS.iter().map(|ring| sender(segment, ring, &format!("{ring}-empty"))).collect();
    let full = sender(segment, "bytes-mpmc", "full");
    let _drain = receiver(segment, "bytes-mpmc", "full");
    full.readiness().unwrap();
    while full.try_send(1).unwrap() {}
    let waiting = RINGS.map(|ring| {
        let rx = receiver(segment, ring, &format!("{ring}-empty"));
        thread::spawn(move || assert_eq!(rx.recv().unwrap(), 1))
    });
    brief.say(waiting.len() + 1);
    brief.hear();
    senders.iter().for_each(|tx| tx.send(1).unwrap());
    waiting.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    let segment = Segment::open(brief.text(0)).unwrap();
    match &*brief.role {
        "sleep" => sleep(&brief, &segment),
        role => panic!("{role}"),
    }
}
