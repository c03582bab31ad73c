//! Processes that leave the IPC namespace of their segment.

#![allow(unsafe_code)]

use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use tombolo::sys::{Key, shm::Shm};
use tombolo::{Receiver, Segment, TryRecvError, WaitSet, WaitStrategy};

use crate::common::{Child, Owned, Words, parked, parked_for_good, wait_until};
use crate::market::Market;

#[test]
fn a_process_that_leaves_its_ipc_namespace_does_not_close_the_segment_for_the_others() {
    let market = Market::new(4);
    market.make("mpmc", 4);
    let mut stranger = market.peer("mpmc", "receiver");
    let mut mine = market.peer("mpmc", "receiver");
    let tx = market.segment.channel::<u64>("c").sender().unwrap();
    stranger.tell("leave namespace");
    if stranger.said() != "left" {
        eprintln!("SKIPPED: needs an IPC namespace of its own, run it as root");
        return;
    }
    stranger.tell("recv");
    let said = stranger.said();
    assert!(!said.starts_with("got"), "{said}");
    // To the kernel it has ended here; to the others too.
    tx.send(1).unwrap();
    mine.tell("recv");
    mine.expect("got 1");
    market.segment.sweep().unwrap();
    tx.send(2).unwrap();
    mine.tell("recv");
    mine.expect("got 2");
}

/// It has left while it was counted among those who wait, and is away: the others have
/// taken its count back by a sweep, and it must not take another one's.
#[test]
fn a_receiver_that_leaves_its_ipc_namespace_while_it_is_counted_hides_nobody_who_waits() {
    for tries in [true, false] {
        let market = Market::new(4);
        market.make("mpmc", 4);
        let words = Words::behind(&market.segment);
        let waiting = || words.get(words.first_block(4, 4) + 1) & 0xFFFF_FFFF;
        let ledger = Owned(Shm::options().create(Key::PRIVATE, 4_096).unwrap());
        let step = Words::of(*ledger);
        let stranger = Child::fork(|| {
            let _ = prctl::set_pdeathsig(Signal::SIGKILL);
            let segment = Segment::open(&market.name).unwrap();
            let rx = segment.channel::<u64>("c").receiver().unwrap();
            while step.get(0) == 0 {
                while rx.recv().unwrap() != u64::MAX {}
                step.put(1, step.get(1) + 1);
                wait_until(|| step.get(2) == step.get(1));
            }
            if unshare(CloneFlags::CLONE_NEWIPC).is_err() {
                return 1;
            }
            step.put(0, 2);
            wait_until(|| step.get(0) == 3);
            if tries {
                let _ = rx.try_recv();
            } else {
                drop(rx);
            }
            step.put(0, 4);
            wait_until(|| step.get(0) == 5);
            0
        });
        let tx = market.segment.channel::<u64>("c").sender().unwrap();
        // Woken twice in a short time, it stays counted.
        for round in 1.. {
            assert!(round < 500, "it never stays counted");
            for message in [0, 0, u64::MAX] {
                wait_until(|| parked(stranger.pid()));
                tx.send(message).unwrap();
                wait_until(|| tx.is_empty());
            }
            wait_until(|| step.get(1) == round);
            let counted = waiting() == 1;
            if counted {
                step.put(0, 1);
            }
            step.put(2, round);
            if counted {
                break;
            }
        }
        wait_until(|| step.get(0) == 2 || !alive(stranger.pid()));
        if step.get(0) != 2 {
            return eprintln!("SKIPPED: needs an IPC namespace of its own, run it as root");
        }
        assert!(market.segment.sweep().unwrap(), "to the kernel it has ended");
        assert_eq!(waiting(), 0);
        let mut mine = market.peer("mpmc", "receiver");
        mine.tell("recv");
        wait_until(|| parked_for_good(mine.pid()));
        step.put(0, 3);
        wait_until(|| step.get(0) == 4);
        tx.send(1).unwrap();
        mine.expect("got 1");
        step.put(0, 5);
        assert_eq!(stranger.join(), 0);
    }
}

/// The kernel has undone what it held, and it can still write: what it commits
/// then is not fenced. The others get the late message, or another one twice; each
/// call of theirs ends, and other channels go on.
#[test]
fn a_grant_committed_after_leaving_the_ipc_namespace_harms_that_channel_only() {
    for passed in [0, 2, 6] {
        let market = Market::new(4);
        let channel = market.segment.channel::<u64>("c").capacity(4).lasting();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let ledger = Owned(Shm::options().create(Key::PRIVATE, 4_096).unwrap());
        let words = Words::of(*ledger);
        let step = |n: u64| wait_until(|| words.get(0) == n);
        // Of one thread: the kernel undoes what a process did when its last thread
        // leaves the namespace.
        let leaver = Child::fork(|| {
            let _ = prctl::set_pdeathsig(Signal::SIGKILL);
            let segment = Segment::open(&market.name).unwrap();
            let mut tx = segment.channel::<u64>("c").lasting().sender().unwrap();
            let mut grant = tx.reserve().unwrap();
            grant.write(&77);
            words.put(0, 1);
            step(2);
            if unshare(CloneFlags::CLONE_NEWIPC).is_err() {
                return 1;
            }
            words.put(0, 3);
            step(4);
            if grant.commit().is_err() { 2 } else { 0 }
        });
        step(1);
        words.put(0, 2);
        wait_until(|| words.get(0) == 3 || !alive(leaver.pid()));
        if words.get(0) != 3 {
            return eprintln!("SKIPPED: needs an IPC namespace of its own, run it as root");
        }
        assert!(market.segment.sweep().unwrap(), "to the kernel it has ended");
        for n in 0..passed {
            tx.send(n).unwrap();
            assert_eq!(rx.recv().unwrap(), n);
        }
        words.put(0, 4);
        assert_eq!(leaver.join(), 0);
        let mut seen = Vec::new();
        for n in 100..110 {
            match tx.send_timeout(n, Duration::from_millis(5)) {
                Ok(()) => {}
                Err(error) => seen.push(error.to_string()),
            }
            for _ in 0..3 {
                match rx.try_recv() {
                    Ok(got) => seen.push(got.to_string()),
                    Err(TryRecvError::Empty | TryRecvError::Pending) => {}
                    Err(error) => seen.push(error.to_string()),
                }
            }
        }
        // With what came late, where: and what stood in its slot is there again.
        let late = match passed {
            0 => (0, 77),
            2 => (1, 77),
            _ => (1, 3),
        };
        let mut right: Vec<_> = (100..110).collect();
        right.insert(late.0, late.1);
        let right: Vec<_> = right.iter().map(u64::to_string).collect();
        assert_eq!(seen, right, "after {passed}");
        let other = market.segment.channel::<u64>("other").capacity(4);
        let (tx, rx) = (other.sender().unwrap(), other.receiver().unwrap());
        tx.send(1).unwrap();
        assert_eq!(rx.recv().unwrap(), 1);
    }
}

/// A clone of a sender that nobody counts any more is no sender that others meet.
#[test]
fn a_process_that_was_taken_for_dead_adds_no_endpoint() {
    let market = Market::new(4);
    market.make("mpmc", 4);
    let ledger = Owned(Shm::options().create(Key::PRIVATE, 4_096).unwrap());
    let words = Words::of(*ledger);
    let step = |n: u64| wait_until(|| words.get(0) == n);
    let leaver = Child::fork(|| {
        let _ = prctl::set_pdeathsig(Signal::SIGKILL);
        let segment = Segment::open(&market.name).unwrap();
        let tx = segment.channel::<u64>("c").sender().unwrap();
        words.put(0, 1);
        step(2);
        if unshare(CloneFlags::CLONE_NEWIPC).is_err() {
            return 1;
        }
        words.put(0, 3);
        step(4);
        if tx.try_clone().is_ok() { 2 } else { 0 }
    });
    step(1);
    words.put(0, 2);
    wait_until(|| words.get(0) == 3 || !alive(leaver.pid()));
    if words.get(0) != 3 {
        return eprintln!("SKIPPED: needs an IPC namespace of its own, run it as root");
    }
    assert!(market.segment.sweep().unwrap(), "to the kernel it has ended");
    let channel = market.segment.channel::<u64>("c");
    let (rx, other) = (channel.receiver().unwrap(), channel.receiver().unwrap());
    words.put(0, 4);
    assert_eq!(leaver.join(), 0);
    // It looks who is there.
    drop(other);
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty), "it has met nobody");
}

/// Waits for any of many receivers, more than a set sleeps over the semaphores of.
fn waits_for_many(market: &Market, then: impl FnOnce(&mut WaitSet<'_>, &Receiver<u64>)) {
    let segment = Segment::open(&market.name).unwrap();
    let channel = segment.channel::<u64>("c").lasting();
    let receivers: Vec<_> = (0..40).map(|_| channel.receiver().unwrap()).collect();
    let mut set = WaitSet::new(&segment);
    for (key, receiver) in (0..).zip(&receivers) {
        set.add(receiver, key).unwrap();
    }
    then(&mut set, &receivers[0]);
}

/// It still has what it watches, and its place is another's, who watches the same.
#[test]
fn a_watcher_that_was_taken_for_dead_hides_its_successor_from_nobody() {
    let market = Market::new(2);
    let tx = market.segment.channel::<u64>("c").capacity(4).lasting().sender().unwrap();
    let ledger = Owned(Shm::options().create(Key::PRIVATE, 4_096).unwrap());
    let words = Words::of(*ledger);
    let step = |n: u64| wait_until(|| words.get(0) == n);
    let leaver = Child::fork(|| {
        let _ = prctl::set_pdeathsig(Signal::SIGKILL);
        let mut status = 0;
        waits_for_many(&market, |set, _| {
            let ready = &mut Vec::new();
            assert_eq!(set.wait(ready, Some(Duration::from_millis(20))), Ok(0));
            if unshare(CloneFlags::CLONE_NEWIPC).is_err() {
                status = 1;
                return;
            }
            words.put(0, 1);
            step(2);
            // It watches nothing any more.
            for key in 0..40 {
                let _ = set.remove(key);
            }
            words.put(0, 3);
            step(4);
        });
        status
    });
    wait_until(|| words.get(0) == 1 || !alive(leaver.pid()));
    if words.get(0) != 1 {
        return eprintln!("SKIPPED: needs an IPC namespace of its own, run it as root");
    }
    assert!(market.segment.sweep().unwrap(), "to the kernel it has ended");
    // There is room for two, so it has the place of the one before.
    let successor = Child::fork(|| {
        let _ = prctl::set_pdeathsig(Signal::SIGKILL);
        waits_for_many(&market, |set, receiver| {
            set.set_wait_strategy(WaitStrategy::Block);
            // A member may be ready although nothing is there.
            while receiver.try_recv().is_err() {
                set.wait(&mut Vec::new(), None).unwrap();
            }
            words.put(1, 1);
        });
        0
    });
    wait_until(|| parked_for_good(successor.pid()));
    words.put(0, 2);
    step(3);
    tx.send(1).unwrap();
    wait_until(|| words.get(1) == 1);
    words.put(0, 4);
    assert_eq!((leaver.join(), successor.join()), (0, 0));
}

/// Whether a process has not ended yet; a zombie has.
fn alive(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}
