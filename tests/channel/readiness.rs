//! The descriptor for event loops: readable when it should be, not readable when it
//! should not, and no obstacle to other waiters.

use crate::common;

use std::fs;
use std::os::fd::AsFd;
use std::sync::mpsc;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tombolo::sys::limits;
use tombolo::{Fault, Segment, TryRecvError};

use common::readiness::{alone, gets_ready, is_ready, stays_unready, switches, watchers};
use common::{
    Brief, Name, PATIENCE, Peer, RINGS, Remove, receiver, sender, single, thread_parked,
    thread_parked_for_good, tid, wait_until,
};

fn market() -> (Name, Segment) {
    crate::common::market(8, 128)
}

#[test]
fn it_is_readable_from_when_a_receive_can_go_on_until_one_finds_nothing() {
    alone("receives", &market().0);
}

fn receives(segment: &Segment) {
    for ring in RINGS {
        let (mut tx, rx) = (sender(segment, ring, ring), receiver(segment, ring, ring));
        let readiness = rx.readiness().unwrap();
        assert!(is_ready(readiness), "{ring}: as long as nobody has tried");
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
        let edges = EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, 0);
        epoll.add(readiness, edges).unwrap();
        let edge = |timeout| epoll.wait(&mut [EpollEvent::empty(); 2], timeout).unwrap() == 1;
        assert!(edge(EpollTimeout::ZERO));
        for turn in 0..5 {
            assert_eq!(rx.try_recv().unwrap(), None);
            stays_unready(readiness);
            assert!(!edge(EpollTimeout::ZERO));
            tx.send(turn).unwrap();
            gets_ready(readiness);
            assert!(edge(EpollTimeout::NONE), "{ring}: there is something again");
            tx.send(turn + 1).unwrap();
            assert_eq!(rx.try_recv().unwrap(), Some(turn));
            assert!(is_ready(readiness), "{ring}: there is more");
            assert_eq!(rx.try_recv().unwrap(), Some(turn + 1));
        }
        // A blocking call finds something else to do.
        assert_eq!(rx.try_recv().unwrap(), None);
        let waiting = std::thread::scope(|scope| {
            let tx = &mut tx;
            let waits = scope.spawn(move || {
                wait_until(|| watchers().iter().any(|&tid| thread_parked(tid)));
                tx.send(9).unwrap();
            });
            let got = rx.recv();
            waits.join().unwrap();
            got
        });
        assert_eq!(waiting.unwrap(), 9);
        assert_eq!(rx.try_recv().unwrap(), None);
        stays_unready(readiness);
    }
}

#[test]
fn it_is_readable_from_when_a_send_can_go_on_until_one_finds_no_room() {
    alone("sends", &market().0);
}

fn sends(segment: &Segment) {
    for ring in RINGS {
        let (tx, rx) = (sender(segment, ring, ring), receiver(segment, ring, ring));
        let readiness = tx.readiness().unwrap();
        assert!(is_ready(readiness), "{ring}: as long as nobody has tried");
        while tx.try_send(0).unwrap() {}
        for turn in 1..5 {
            stays_unready(readiness);
            assert_eq!(rx.recv().unwrap(), turn - 1);
            gets_ready(readiness);
            while rx.try_recv().unwrap().is_some() {}
            assert!(tx.try_send(turn).unwrap());
            assert!(is_ready(readiness), "{ring}: there is more room");
            while tx.try_send(turn).unwrap() {}
        }
    }
}

/// A channel that refuses one thing may allow another: no event loop is to go round for
/// that.
#[test]
fn it_waits_for_what_refused_the_try() {
    alone("is refused", &market().0);
}

fn is_refused(segment: &Segment) {
    let bytes = segment.bytes("bytes").capacity(2, 150);
    let (tx, mut rx) = (bytes.sender().unwrap(), bytes.receiver().unwrap());
    let readiness = tx.readiness().unwrap();
    let full = || assert!(tx.try_send(&[0; 150]).is_err());
    // Every place is free, and every block is held.
    let (mut one, mut two) = (bytes.sender().unwrap(), bytes.sender().unwrap());
    let (one, two) = (one.reserve(150).unwrap(), two.reserve(150).unwrap());
    full();
    stays_unready(readiness);
    one.abort();
    gets_ready(readiness);
    // A block is free, and the next place is being read.
    two.commit(1).unwrap();
    let held = rx.take().unwrap();
    tx.try_send(b"y").unwrap();
    bytes.receiver().unwrap().recv(&mut Vec::new()).unwrap();
    full();
    stays_unready(readiness);
    held.release();
    gets_ready(readiness);
    tx.try_send(b"z").unwrap();

    // A message that is being written hides those behind it.
    let typed = segment.channel::<u64>("typed").capacity(4);
    let (mut slow, tx, rx) =
        (typed.sender().unwrap(), typed.sender().unwrap(), typed.receiver().unwrap());
    drop(bytes);
    let readiness = rx.readiness().unwrap();
    let grant = slow.reserve().unwrap();
    tx.send(2).unwrap();
    assert!(matches!(rx.try_recv(), Err(TryRecvError::Pending)));
    wait_until(|| watchers().iter().all(|&tid| thread_parked(tid)) || !is_ready(readiness));
    assert!(!is_ready(readiness));
    grant.commit().unwrap();
    gets_ready(readiness);
    rx.try_recv().unwrap();
    assert_eq!(rx.try_recv().unwrap(), 2);

    // The last sender has gone, and the last message is in another's hands.
    let typed = segment.channel::<u64>("last").capacity(4);
    let (tx, rx, mut other) =
        (typed.sender().unwrap(), typed.receiver().unwrap(), typed.receiver().unwrap());
    tx.send(1).unwrap();
    let held = other.take().unwrap();
    drop(tx);
    let readiness = rx.readiness().unwrap();
    assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
    assert!(!is_ready(readiness));
    held.release();
    gets_ready(readiness);
    assert_eq!(rx.try_recv(), Err(TryRecvError::Disconnected));
}

#[test]
fn a_descriptor_that_waits_for_a_place_takes_no_wake_from_a_sender_that_does() {
    alone("is placeless", &market().0);
}

fn is_placeless(segment: &Segment) {
    let bytes = segment.bytes("bytes").capacity(2, 8);
    let (tx, mut rx) = (bytes.sender().unwrap(), bytes.receiver().unwrap());
    (0..2).for_each(|_| tx.send(b"x").unwrap());
    let held = rx.take().unwrap();
    bytes.receiver().unwrap().recv(&mut Vec::new()).unwrap();
    // No place. A peer that comes later is a change.
    let waiting = bytes.sender().unwrap();
    let readiness = tx.readiness().unwrap();
    assert!(tx.try_send(b"y").is_err());
    stays_unready(readiness);
    let (tell, told) = mpsc::channel();
    let waiter = std::thread::spawn(move || {
        tell.send(tid()).unwrap();
        waiting.send(b"z").unwrap();
    });
    let waiter_tid = told.recv().unwrap();
    wait_until(|| thread_parked(waiter_tid));
    stays_unready(readiness);
    held.release();
    gets_ready(readiness);
    waiter.join().unwrap();
}

#[test]
fn an_event_loop_that_never_comes_round_takes_nothing_from_others() {
    for ring in RINGS.into_iter().filter(|ring| !single(ring)) {
        let (name, segment) = market();
        let lazy = receiver(&segment, ring, "c");
        lazy.readiness().unwrap();
        assert_eq!(lazy.try_recv().unwrap(), None);
        let other = Peer::start("gets all", &[&name, &ring]);
        other.wait_until_parked();
        let tx = sender(&segment, ring, "c");
        for n in 0..500 {
            // One by one: each is a token that either may take.
            tx.send(n).unwrap();
            other.expect(&n.to_string());
            if n % 3 == 0 {
                assert_eq!(lazy.try_recv().unwrap(), None);
            }
        }
    }
}

/// The token of one that looked for something else is for somebody.
#[test]
fn two_event_loops_do_not_wake_each_other_for_nothing() {
    alone("two loops", &market().0);
}

fn two_loops(segment: &Segment) {
    let tx = sender(segment, "mpmc", "c");
    let both = [receiver(segment, "mpmc", "c"), receiver(segment, "mpmc", "c")];
    let ready = both.each_ref().map(|rx| rx.readiness().unwrap());
    let (mut rounds, mut received) = (0, 0);
    const MESSAGES: u64 = 200;
    let tries = |received: &mut u64, n: usize| {
        while both[n].try_recv().unwrap().is_some() {
            *received += 1;
        }
    };
    (0..2).for_each(|n| tries(&mut received, n));
    for n in 0..MESSAGES {
        tx.send(n).unwrap();
        while received <= n {
            let mut fds = ready.map(|ready| PollFd::new(ready.as_fd(), PollFlags::POLLIN));
            assert!(poll(&mut fds, PollTimeout::try_from(PATIENCE).unwrap()).unwrap() > 0);
            let readable = fds.map(|fd| fd.any().unwrap());
            for (n, _) in readable.into_iter().enumerate().filter(|(_, readable)| *readable) {
                rounds += 1;
                tries(&mut received, n);
            }
        }
    }
    // Both may be told of each, and of what is left of the one before.
    assert!(rounds <= 4 * MESSAGES, "{rounds} rounds for {MESSAGES} messages");
    // Until the token that is left has gone round, and no longer.
    wait_until(|| {
        (0..2).for_each(|n| tries(&mut received, n));
        watchers().iter().all(|&tid| thread_parked(tid)) && !ready.iter().any(|r| is_ready(r))
    });
    let switches = || watchers().iter().map(|&tid| switches(tid)).sum::<u64>();
    let before = switches();
    tx.send(0).unwrap();
    ready.iter().for_each(|ready| gets_ready(ready));
    assert!(switches() - before < 50, "they go on waking each other");
}

#[test]
fn of_a_hundred_channels_only_the_busy_one_is_told() {
    alone("a hundred", &market().0);
}

fn a_hundred(segment: &Segment) {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
    let receivers: Vec<_> = (0..100)
        .map(|n| {
            let receiver = segment.channel::<u64>(&n.to_string()).capacity(2).receiver().unwrap();
            let readiness = receiver.readiness().unwrap();
            epoll.add(readiness, EpollEvent::new(EpollFlags::EPOLLIN, n)).unwrap();
            assert!(receiver.try_recv().is_err());
            receiver
        })
        .collect();
    wait_until(|| watchers().iter().filter(|&&tid| thread_parked_for_good(tid)).count() == 1);
    let tx = segment.channel::<u64>("37").sender().unwrap();
    for n in 0..2_000 {
        tx.send(n).unwrap();
        let mut events = [EpollEvent::empty(); 100];
        while epoll.wait(&mut events, EpollTimeout::NONE).unwrap() != 1 {}
        assert_eq!(events[0].data(), 37);
        // It came, or it is told that it is coming.
        while let Ok(got) = receivers[37].try_recv() {
            assert_eq!(got, n);
        }
    }
    assert_eq!(watchers().len(), 1);
}

#[test]
fn a_thousand_polled_handles_cost_one_thread_and_less_than_a_mebibyte() {
    let name = Name::new();
    let segment = Segment::options().size(16 << 20).participants(4).channels(1_000);
    let _segment = segment.create(&name).unwrap();
    alone("a thousand", &name);
}

/// The pages of this process's memory that nobody else has.
fn resident() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    let pages: Vec<u64> = pages.split(' ').map(|pages| pages.trim().parse().unwrap()).collect();
    (pages[1] - pages[2]) * limits::page_size()
}

fn a_thousand(segment: &Segment) {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    let channel = |n: usize| segment.channel::<u64>(&n.to_string()).capacity(2).receiver().unwrap();
    let receivers: Vec<_> = (0..1_000).map(channel).collect();
    let all_asleep = || watchers().iter().all(|&tid| thread_parked_for_good(tid));
    let before = resident();
    for receiver in &receivers {
        receiver.readiness().unwrap();
        assert!(receiver.try_recv().is_err());
    }
    wait_until(all_asleep);
    let took = resident().saturating_sub(before);
    eprintln!("{} threads, {took} bytes", watchers().len());
    assert_eq!(watchers().len(), 1);
    assert!(took < 1 << 20, "{took} bytes");
    // Each of them is told.
    for (n, receiver) in receivers.iter().enumerate().step_by(37) {
        segment.channel::<u64>(&n.to_string()).sender().unwrap().send(1).unwrap();
        gets_ready(receiver.readiness().unwrap());
        assert_eq!(receiver.try_recv(), Ok(1));
    }
    drop(receivers);
    wait_until(|| watchers().is_empty());
}

#[test]
fn whatever_ends_the_waiting_is_something_to_be_told() {
    for ring in RINGS {
        for (what, side) in
            [("drop", "rx"), ("drop", "tx"), ("kill", "rx"), ("kill", "tx"), ("remove", "rx")]
        {
            let (name, segment) = market();
            let (ours, theirs) = if side == "rx" { ("rx", "tx") } else { ("tx", "rx") };
            let rx = (ours == "rx").then(|| receiver(&segment, ring, "c"));
            let tx = (ours == "tx").then(|| sender(&segment, ring, "c"));
            let mut peer = Peer::start("is there", &[&name, &ring, &theirs]);
            peer.expect("open");
            let tried = || match (&rx, &tx) {
                (Some(rx), _) => rx.try_recv().map(|got| got.is_some()),
                (_, Some(tx)) => tx.try_send(1),
                _ => unreachable!(),
            };
            let readiness = match (&rx, &tx) {
                (Some(rx), _) => rx.readiness(),
                (_, Some(tx)) => tx.readiness(),
                _ => unreachable!(),
            };
            let readiness = readiness.unwrap();
            while tried().unwrap() {}
            assert!(!is_ready(readiness), "{ring} {what} {side}");
            match what {
                "drop" => peer.tell("leave"),
                "kill" => peer.kill(),
                _ => Remove::remove(&name.set(0).unwrap()),
            }
            gets_ready(readiness);
            let told = tried();
            match what {
                "remove" => assert!(matches!(told, Err(Fault::Closed)), "{ring}: {told:?}"),
                _ => assert!(matches!(told, Err(Fault::Disconnected { .. })), "{ring}: {told:?}"),
            }
            assert!(is_ready(readiness), "{ring}: and so it stays");
        }
    }
}

#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    let segment = Segment::open(brief.text(0)).unwrap();
    match &*brief.role {
        "receives" => receives(&segment),
        "sends" => sends(&segment),
        "is refused" => is_refused(&segment),
        "is placeless" => is_placeless(&segment),
        "two loops" => two_loops(&segment),
        "a hundred" => a_hundred(&segment),
        "a thousand" => a_thousand(&segment),
        "gets all" => {
            let rx = receiver(&segment, brief.text(1), "c");
            while let Ok(got) = rx.recv() {
                brief.say(got);
            }
        }
        "is there" => {
            let (ring, side) = (brief.text(1), brief.text(2));
            let tx = (side == "tx").then(|| sender(&segment, ring, "c"));
            let rx = (side == "rx").then(|| receiver(&segment, ring, "c"));
            brief.say("open");
            brief.hear();
            drop((tx, rx));
        }
        role => panic!("{role}"),
    }
    brief.say("all is well");
}
