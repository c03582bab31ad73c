//! Event loops on short channels, while the processes at the other end are killed again and
//! again: no readiness is lost. Under load, readiness costs nothing.

#![allow(unsafe_code)]

use crate::common;

use std::fs;
use std::os::fd::AsFd;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork};
use tombolo::sys::{proc, shm::Shm};
use tombolo::{Fault, Readiness, Segment};

use common::ends::Queue;
use common::tasks::block_on;
use common::{
    Brief, Name, PATIENCE, Peer, RINGS, Rx, Tx, Words, effort, large, receiver, segment as shm,
    sender, single,
};

/// Words of the ledger.
const KILLED: usize = 0;
/// Torn messages, refusals: whatever there should be none of.
const FAILED: usize = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Receiver,
    Sender,
}

/// Readiness cycles of each ring at each side.
fn cycles() -> u64 {
    effort::say_how_to_repeat();
    effort::rounds(1_000, 10_000)
}

#[test]
fn no_receivers_readiness_is_lost_while_senders_are_killed() {
    for (ring, capacity) in RINGS.into_iter().zip([1, 2, 3, 4]) {
        storm(ring, capacity, Side::Receiver);
    }
}

#[test]
fn no_senders_readiness_is_lost_while_receivers_are_killed() {
    for (ring, capacity) in RINGS.into_iter().zip([4, 3, 2, 1]) {
        storm(ring, capacity, Side::Sender);
    }
}

#[test]
fn no_task_is_forgotten_while_its_peers_are_killed() {
    for (side, capacity) in [(Side::Receiver, 2), (Side::Sender, 3)] {
        awaited(capacity, side);
    }
}

/// Tasks of two clones, beside processes that block and poll.
fn awaited(capacity: usize, side: Side) {
    let cycles = cycles();
    let name = Name::new();
    let segment = Segment::options().size(64 << 10).participants(8).channels(2);
    let segment = segment.create(&name).unwrap();
    let ledger = shm(64);
    let sends = side == Side::Sender;
    let breeder = Peer::start("breed", &[&name, &"mpmc", &capacity, &!sends, &ledger.id()]);
    let channel = segment.channel::<[u64; 64]>("c").capacity(capacity).lasting();
    let mut tasks = Vec::new();
    let work = |sends: bool| -> Box<dyn FnOnce() -> u64 + Send> {
        if sends {
            let mut tx = channel.sender().unwrap().into_async();
            return Box::new(move || {
                // As others expect it.
                let seven = |word: usize| 7 ^ (word as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
                let message = std::array::from_fn(seven);
                (0..cycles).for_each(|_| block_on(tx.send(message)).unwrap());
                cycles
            });
        }
        let mut rx = channel.receiver().unwrap().into_async();
        Box::new(move || {
            (0..cycles).for_each(|_| _ = block_on(rx.recv()).unwrap());
            cycles
        })
    };
    for _ in 0..2 {
        tasks.push(std::thread::spawn(work(sends)));
    }
    let began = Instant::now();
    let moved: u64 = tasks.into_iter().map(|task| task.join().unwrap()).sum();
    breeder.finish();
    let words = Words::of(*ledger);
    assert_eq!(words.get(FAILED), 0);
    eprintln!(
        "{side:?}s awaited: {moved} messages in {:.1?}, {} peers killed",
        began.elapsed(),
        words.get(KILLED)
    );
    drop(segment);
}

fn storm(ring: &str, capacity: usize, side: Side) {
    let cycles = cycles();
    let name = Name::new();
    let segment = Segment::options().size(64 << 10).participants(8).channels(2);
    let segment = segment.create(&name).unwrap();
    let ledger = shm(64);
    let queue = Queue { capacity, lasting: true, ..large(ring, "c") };
    let sends = side == Side::Sender;
    let tx = sends.then(|| queue.sender(&segment).unwrap());
    let rx = (!sends).then(|| queue.receiver(&segment).unwrap());
    let readiness = match (&tx, &rx) {
        (Some(tx), _) => tx.readiness().unwrap(),
        (_, Some(rx)) => rx.readiness().unwrap(),
        _ => unreachable!(),
    };
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
    // Edges: what is missed once is missed for good.
    epoll.add(readiness, EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, 0)).unwrap();
    let began = Instant::now();
    let breeder = Peer::start("breed", &[&name, &ring, &capacity, &!sends, &ledger.id()]);
    let (mut moved, mut futile) = (0_u64, 0_u64);
    let patience = EpollTimeout::try_from(PATIENCE).unwrap();
    for n in 0..cycles {
        let woken = epoll.wait(&mut [EpollEvent::empty()], patience).unwrap();
        assert_eq!(woken, 1, "{ring} of {capacity}, {side:?}: stalled after {n} cycles");
        let before = moved;
        match (&tx, &rx) {
            (Some(tx), _) => {
                while tx.try_send(n).unwrap() {
                    moved += 1;
                }
            }
            (_, Some(rx)) => {
                while rx.try_recv().unwrap().is_some() {
                    moved += 1;
                }
            }
            _ => unreachable!(),
        }
        futile += u64::from(moved == before);
    }
    let time = began.elapsed();
    breeder.finish();
    let words = Words::of(*ledger);
    assert_eq!(words.get(FAILED), 0);
    eprintln!(
        "{side:?} of {capacity} in {ring}: {} cycles in {time:.1?}, {futile} futile; \
         {moved} messages, {} peers killed",
        cycles,
        words.get(KILLED)
    );
    drop((tx, rx));
    drop(segment);
}

/// Keeps a few forked children at work, and kills one after the other.
fn breed(brief: &Brief) {
    let words = Words::of(Shm::from_id(brief.number(4)));
    let theirs = brief.number::<bool>(3);
    // And a rival of the event loop, who takes and dies over its tokens.
    let wanted: &[bool] =
        if single(brief.text(1)) { &[theirs] } else { &[theirs, theirs, !theirs] };
    let mut children: Vec<Pid> = wanted.iter().map(|&sends| child(brief, &words, sends)).collect();
    loop {
        // At any instruction: of opening, joining, at work, or asleep.
        let until = Instant::now() + Duration::from_micros(fastrand::u64(..3_000));
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        let victim = fastrand::usize(..children.len());
        kill(children[victim], Signal::SIGKILL).unwrap();
        waitpid(children[victim], None).unwrap();
        words.add(KILLED, 1);
        children[victim] = child(brief, &words, wanted[victim]);
    }
}

/// A forked child that sends or receives until it is killed, here or with its
/// parent.
fn child(brief: &Brief, words: &Words, sends: bool) -> Pid {
    // SAFETY: the only other thread is the harness's, which waits for this one.
    match unsafe { fork() }.unwrap() {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            // SAFETY: a number and nothing else.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            let worked = std::panic::catch_unwind(|| work(brief, sends));
            words.add(FAILED, u64::from(worked.is_err()));
            // SAFETY: ends the process.
            unsafe { libc::_exit(1) }
        }
    }
}

fn work(brief: &Brief, sends: bool) {
    let segment = Segment::open(brief.text(0)).unwrap();
    let (ring, capacity) = (brief.text(1), brief.number(2));
    let queue = Queue { capacity, lasting: true, ..large(ring, "c") };
    // Half of them wait for descriptors, too, and die with a thread asleep.
    let polls = proc::pid().is_multiple_of(2);
    let worked = if sends {
        let tx = queue.sender(&segment).unwrap();
        if polls { poll_and(tx.readiness(), || tx.try_send(7)) } else { keep_sending(tx) }
    } else {
        let rx = queue.receiver(&segment).unwrap();
        if polls {
            poll_and(rx.readiness(), || rx.try_recv().map(|got| got.is_some()))
        } else {
            keep_receiving(rx)
        }
    };
    // It has outlived its parent, and the test.
    assert!(matches!(worked, Err(Fault::Closed)), "{worked:?}");
}

fn keep_sending(mut tx: Box<dyn Tx>) -> Result<(), Fault> {
    loop {
        tx.send(7)?;
        tx.grant(7, &mut || ())?;
    }
}

fn keep_receiving(mut rx: Box<dyn Rx>) -> Result<(), Fault> {
    loop {
        rx.recv()?;
        rx.delivery(&mut || ())?;
    }
}

fn poll_and(
    readiness: Result<&Readiness, Fault>,
    mut act: impl FnMut() -> Result<bool, Fault>,
) -> Result<(), Fault> {
    let mut fds = [PollFd::new(readiness?.as_fd(), PollFlags::POLLIN)];
    loop {
        poll(&mut fds, PollTimeout::NONE).unwrap();
        while act()? {}
    }
}

/// Messages that come and go while there is always one left.
const LOAD: u64 = 20_000;

#[test]
fn under_load_no_message_costs_a_system_call() {
    if Command::new("strace").arg("-V").output().is_err() {
        return eprintln!("SKIPPED: no system call for a message: strace is not installed");
    }
    let name = Name::new();
    let segment = Segment::options().size(1 << 20).create(&name).unwrap();
    let file = std::env::temp_dir().join(format!("tombolo-load-{}", proc::pid()));
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o"]).arg(&file);
    let loaded = Peer::start_under(strace, "load", &[&name]);
    for ring in RINGS {
        loaded.expect(&format!("{ring} begins"));
        loaded.expect(&format!("{ring} ends"));
    }
    assert_eq!(loaded.join(), 0);
    let trace = fs::read_to_string(&file).unwrap();
    fs::remove_file(&file).unwrap();
    for ring in RINGS {
        let from = trace.find(&format!("@{ring} begins")).expect("what it says");
        let to = trace.find(&format!("@{ring} ends")).expect("what it says");
        let calls = trace[from..to].lines().count();
        eprintln!("{ring}: {calls} system calls for {LOAD} messages");
        assert!(calls < 10, "{ring}: {calls} for {LOAD}:\n{}", &trace[from..to]);
    }
    drop(segment);
}

fn load(brief: &Brief, segment: &Segment) {
    for ring in RINGS {
        let (tx, rx) = (sender(segment, ring, ring), receiver(segment, ring, ring));
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
        for readiness in [tx.readiness().unwrap(), rx.readiness().unwrap()] {
            epoll.add(readiness, EpollEvent::new(EpollFlags::EPOLLIN, 0)).unwrap();
        }
        // Both have been waited for, and are ready.
        assert_eq!(rx.try_recv().unwrap(), None);
        while tx.try_send(0).unwrap() {}
        assert_eq!(rx.try_recv().unwrap(), Some(0));
        let both = || epoll.wait(&mut [EpollEvent::empty(); 2], EpollTimeout::NONE).unwrap() == 2;
        common::wait_until(both);
        brief.say(format!("{ring} begins"));
        for n in 0..LOAD {
            assert!(tx.try_send(n).unwrap());
            assert!(rx.try_recv().unwrap().is_some());
        }
        brief.say(format!("{ring} ends"));
    }
}

#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    match &*brief.role {
        "breed" => breed(&brief),
        "load" => load(&brief, &Segment::open(brief.text(0)).unwrap()),
        role => panic!("{role}"),
    }
}
