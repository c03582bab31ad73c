//! `fork` and `exec` in a process that is attached and holds something.

#![allow(unsafe_code)]

use crate::common;

use std::os::unix::process::CommandExt;
use std::process::{Command, exit};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use tombolo::sys::{sem::Set, shm::Shm};
use tombolo::{ChannelError, Fault, Segment, TryRecvError};

use common::{
    Brief, CAPACITY, Holder, Name, PATIENCE, Peer, RINGS, Rx, SENT, TAKEN, Tx, channel_of, hold,
    key_of, receiver, room, sender, sleep_forever, thread_parked, tid, wait_until,
};

fn market() -> (Name, Segment) {
    crate::common::market(8, 32)
}

#[test]
fn a_forked_child_is_refused_by_every_handle_and_harms_nobody() {
    let (name, segment) = market();
    let parent = Peer::start("fork", &[&name]);
    for _ in 0..2 * RINGS.len() {
        parent.expect("the child was refused");
    }
    parent.expect("all is well");
    assert_eq!(parent.join(), 0);
    assert!(!segment.sweep().unwrap(), "the parent was no longer there, to the kernel");
    assert_eq!(segment.participants().len(), 1);
}

/// The parent has waited again and again, and is still counted.
#[test]
fn a_forked_child_counts_nobody_out() {
    const WAITS: u64 = 20;
    let segment = Segment::anonymous().unwrap();
    let channel = segment.channel::<u64>("jobs").capacity(8);
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    let (me, next) = (tid(), &AtomicU64::new(0));
    let receive = |number| {
        next.store(number, Ordering::SeqCst);
        let began = Instant::now();
        assert_eq!(rx.recv_timeout(PATIENCE).unwrap(), number);
        assert!(began.elapsed() < PATIENCE, "found at the deadline: nobody has rung");
    };
    thread::scope(|scope| {
        scope.spawn(move || {
            for number in 0..=WAITS {
                wait_until(|| next.load(Ordering::SeqCst) == number && thread_parked(me));
                tx.send(number).unwrap();
            }
        });
        (0..WAITS).for_each(receive);
        // SAFETY: the child allocates nothing.
        match unsafe { fork() }.unwrap() {
            ForkResult::Child => {
                let forked = matches!(rx.try_recv(), Err(TryRecvError::Fault(_)));
                // SAFETY: ends this process and does nothing before.
                unsafe { libc::_exit(i32::from(!forked)) }
            }
            ForkResult::Parent { child } => {
                assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 0));
            }
        }
        // Until everybody has seen the count, a sleep ends by itself.
        thread::sleep(Duration::from_millis(20));
        receive(WAITS);
    });
}

#[test]
fn a_forked_child_that_outlives_its_parent_keeps_nothing_back() {
    for ring in RINGS {
        for held in ["grant", "delivery"] {
            let (name, segment) = market();
            let family = Peer::start("outlive", &[&name, &ring, &held]);
            let mut family = Holder::of(family, &segment, ring, held);
            let shm = Shm::from_id(segment.id());
            // With the parent the child still has the memory; and the ring.
            assert_eq!(shm.stat().unwrap().attached, 3);
            family.dies(&segment, Peer::kill);
            wait_until(|| shm.stat().unwrap().attached == 2);
            assert_eq!(segment.participants().len(), 1);
            family.peer.tell("go");
            family.peer.expect("the child was refused");
            wait_until(|| shm.stat().unwrap().attached == 1);
            assert!(!segment.sweep().unwrap());
            assert!(room(&segment, ring, &channel_of(ring, held)) >= CAPACITY);
        }
    }
}

#[test]
fn a_forked_child_may_open_the_segment_for_itself() {
    let (name, segment) = market();
    let rx = receiver(&segment, "mpmc", "c");
    let family = Peer::start("open again", &[&name]);
    for n in 0..2 {
        assert_eq!(rx.recv_timeout(PATIENCE).unwrap(), Some(n));
    }
    assert_eq!(family.join(), 0);
    wait_until(|| !segment.sweep().unwrap());
    assert_eq!(segment.participants().len(), 1);
}

/// Whether each participant has the segment in memory, this process first.
fn attached(segment: &Segment) -> Vec<Option<bool>> {
    segment.participants().iter().map(|participant| participant.attached).collect()
}

#[test]
fn what_a_process_held_is_its_own_after_exec_and_recovered_when_it_ends() {
    for ring in RINGS {
        for held in ["grant", "delivery", "sender", "receiver"] {
            let (name, segment) = market();
            let mut holder =
                Holder::of(Peer::start("exec", &[&name, &ring, &held]), &segment, ring, held);
            let shm = Shm::from_id(segment.id());
            assert_eq!(shm.stat().unwrap().attached, 2);
            assert_eq!(attached(&segment), [Some(true), Some(true)]);
            holder.peer.tell("exec");
            wait_until(|| shm.stat().unwrap().attached == 1);
            // It runs another program, and is alive: that could be a debugger
            // or a sandbox that has yet to come to the point.
            for _ in 0..3 {
                holder.is_unharmed(&segment);
            }
            assert_eq!(attached(&segment), [Some(true), Some(false)]);
            holder.dies(&segment, Peer::kill);
            assert_eq!(segment.participants().len(), 1);
        }
    }
}

/// The answer of every handle to a child; 0 if all say that it is one.
fn refusals(segment: &Segment, tx: &mut Box<dyn Tx>, rx: &mut Box<dyn Rx>) -> i32 {
    fn forked<R>(result: Result<R, Fault>) -> bool {
        matches!(result, Err(Fault::Forked))
    }
    fn unopened<R>(result: Result<R, ChannelError>) -> bool {
        matches!(result, Err(ChannelError::Fault(Fault::Forked)))
    }
    let long = Duration::from_secs(60);
    let checks = [
        forked(tx.send(1)),
        forked(tx.try_send(1)),
        forked(tx.send_timeout(1, long)),
        forked(tx.send_batch(&[1, 2, 3])),
        forked(tx.grant(1, &mut || ())),
        forked(rx.recv()),
        forked(rx.try_recv()),
        forked(rx.recv_timeout(long)),
        forked(rx.recv_batch(9)),
        forked(rx.delivery(&mut || ())),
        forked(segment.sweep()),
        forked(segment.clone().remove()),
        unopened(segment.channel::<u64>("new").capacity(1).sender()),
        unopened(segment.channel::<u64>("new").spsc().capacity(1).receiver()),
        unopened(segment.bytes("new").capacity(1, 1).sender()),
        unopened(segment.bytes("new").spsc().capacity(1, 1).receiver()),
        unopened(segment.channel::<u64>("plain").sender()),
    ];
    checks.iter().position(|ok| !ok).map_or(0, |failed| 1 + failed as i32)
}

fn values(name: &str) -> Vec<u16> {
    let set = Set::open(key_of(name, 0)).unwrap();
    let mut values = vec![0; set.stat().unwrap().count];
    set.values(&mut values).unwrap();
    values
}

/// Forks. The parent waits for its child, and finds that it has changed
/// nothing. Whether this is the child.
fn forked(name: &str) -> bool {
    let before = values(name);
    // SAFETY: the only other thread is the harness's, which waits for this one.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => true,
        ForkResult::Parent { child } => {
            let ended = waitpid(child, None).unwrap();
            assert_eq!(ended, WaitStatus::Exited(child, 0), "which of the refusals?");
            assert_eq!(values(name), before, "the child touched the set");
            false
        }
    }
}

fn family(brief: &Brief, segment: Segment) {
    let name = brief.text(0);
    for ring in RINGS {
        for held in ["grant", "delivery"] {
            let channel = channel_of(ring, held);
            let mut tx = sender(&segment, ring, &channel);
            let mut rx = receiver(&segment, ring, &channel);
            let mut child = false;
            let mut meanwhile = || child = forked(name);
            if held == "grant" {
                let done = tx.grant(SENT, &mut meanwhile);
                assert!(done.is_ok() || child);
            } else {
                tx.send(TAKEN).unwrap();
                assert_eq!(rx.delivery(&mut meanwhile).unwrap(), (TAKEN, 0));
            }
            if child {
                // It has let its parent's things go by now, and that
                // was nothing.
                let code = refusals(&segment, &mut tx, &mut rx);
                drop((tx, rx, segment));
                exit(code);
            }
            if held == "grant" {
                assert_eq!(rx.try_recv().unwrap(), Some(SENT));
            }
            assert_eq!(rx.try_recv().unwrap(), None);
            drop((tx, rx));
            assert!(room(&segment, ring, &channel) >= CAPACITY);
            brief.say("the child was refused");
        }
    }
    brief.say("all is well");
}

/// Forks while it holds something, and waits to be killed; its child goes on.
fn outlive(brief: &Brief, segment: &Segment) {
    let (ring, held) = (brief.text(1), brief.text(2));
    let channel = channel_of(ring, held);
    // A process of two ends, in a channel of their own.
    let mut ends = (sender(segment, ring, "other"), receiver(segment, ring, "other"));
    let mut meanwhile = || {
        // SAFETY: the only other thread is the harness's, which waits for this one.
        if let ForkResult::Parent { .. } = unsafe { fork() }.unwrap() {
            brief.say("held");
            sleep_forever();
        }
        brief.hear();
    };
    brief.say("open");
    brief.hear();
    if held == "grant" {
        let _ = sender(segment, ring, &channel).grant(SENT, &mut meanwhile);
    } else {
        let _ = receiver(segment, ring, &channel).delivery(&mut meanwhile);
    }
    assert_eq!(refusals(segment, &mut ends.0, &mut ends.1), 0);
    brief.say("the child was refused");
}

fn open_again(name: &str, segment: &Segment) {
    let tx = sender(segment, "mpmc", "c");
    tx.send(0).unwrap();
    // SAFETY: the only other thread is the harness's, which waits for this one.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            let own = Segment::open(name).unwrap();
            sender(&own, "mpmc", "c").send(1).unwrap();
            // Without a word: the kernel has it leave.
            // SAFETY: ends the process.
            unsafe { libc::_exit(0) };
        }
        ForkResult::Parent { child } => {
            assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 0));
        }
    }
}

#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    let segment = Segment::open(brief.text(0)).unwrap();
    match &*brief.role {
        "fork" => family(&brief, segment),
        "outlive" => outlive(&brief, &segment),
        "open again" => open_again(brief.text(0), &segment),
        "exec" => hold(&brief, &segment, &mut || {
            brief.say("held");
            brief.hear();
            panic!("{}", Command::new("cat").exec());
        }),
        role => panic!("{role}"),
    }
}
