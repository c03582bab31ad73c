//! The descriptor for event loops: readable when it should be, never silent
//! when it should not, and nobody's hindrance.

#![allow(unsafe_code)]

mod common;

use std::fs;
use std::os::fd::AsFd;
use std::process::exit;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use tombolo::sys::ErrorKind;
use tombolo::{Fault, Readiness, Segment, TryRecvError};

use common::{
    Brief, Name, PATIENCE, Peer, RINGS, Remove, Rx, as_nobody, receiver, sender, single,
    thread_parked, tid, wait_until,
};

fn market() -> (Name, Segment) {
    let name = Name::new();
    let options = Segment::options().size(1 << 20).participants(8).channels(128);
    let segment = options.create(&name).unwrap();
    (name, segment)
}

fn ready_by(readiness: &Readiness, timeout: PollTimeout) -> bool {
    let mut fds = [PollFd::new(readiness.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, timeout).unwrap() == 1
}

fn is_ready(readiness: &Readiness) -> bool {
    ready_by(readiness, PollTimeout::ZERO)
}

#[track_caller]
fn gets_ready(readiness: &Readiness) {
    let patience = PollTimeout::try_from(PATIENCE).unwrap();
    assert!(ready_by(readiness, patience), "it never gets readable");
}

/// Waits until the only thread of its kind in a process sleeps, as it does when
/// there is nothing for it.
#[track_caller]
fn stays_unready(readiness: &Readiness) {
    wait_until(|| watchers().iter().any(|&tid| thread_parked(tid)));
    assert!(!is_ready(readiness), "readable for nothing");
}

/// The threads behind the descriptors of this process.
fn watchers() -> Vec<i32> {
    let threads = fs::read_dir("/proc/self/task").unwrap().flatten();
    let named = threads.filter(|thread| {
        fs::read_to_string(thread.path().join("comm")).is_ok_and(|name| name == "tombolo-ready\n")
    });
    named.map(|thread| thread.file_name().to_str().unwrap().parse().unwrap()).collect()
}

/// Runs `role` in a process of its own, whose threads are known.
#[track_caller]
fn alone(role: &str, name: &Name) {
    let peer = Peer::start(role, &[name]);
    peer.expect("all is well");
    assert_eq!(peer.join(), 0, "it ends by itself");
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

/// What refuses one thing may allow another: no event loop is to go round for
/// that.
#[test]
fn it_waits_for_what_refused_the_try() {
    alone("is refused", &market().0);
}

fn is_refused(segment: &Segment) {
    let bytes = segment.bytes("bytes").capacity(2, 8);
    let (tx, mut rx) = (bytes.sender().unwrap(), bytes.receiver().unwrap());
    let readiness = tx.readiness().unwrap();
    let full = || assert!(tx.try_send(b"x").is_err());
    // Every place is free, and every block is held.
    let (mut one, mut two) = (bytes.sender().unwrap(), bytes.sender().unwrap());
    let (one, two) = (one.reserve(1).unwrap(), two.reserve(1).unwrap());
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
    grant.commit();
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
    assert!(matches!(rx.try_recv(), Err(TryRecvError::Failed(_))));
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

/// How often a thread of this process has slept.
fn switches(tid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/self/task/{tid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches"));
    line.unwrap().split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn of_a_hundred_channels_only_the_busy_one_costs_anything() {
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
    wait_until(|| watchers().iter().filter(|&&tid| thread_parked(tid)).count() == 100);
    let tx = segment.channel::<u64>("37").sender().unwrap();
    let before: Vec<_> = watchers().into_iter().map(|tid| (tid, switches(tid))).collect();
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
    let woken: Vec<_> =
        before.into_iter().filter(|&(tid, before)| switches(tid) != before).collect();
    assert_eq!(woken.len(), 1, "of the idle ones, these were woken: {woken:?}");
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
fn dropping_the_handle_ends_the_thread_and_leaves_the_segment() {
    alone("drops", &market().0);
}

fn drops(segment: &Segment) {
    let before = watchers().len();
    let id = segment.id();
    for ring in RINGS {
        // With one who sleeps over the same, and takes a token each time.
        let company = !single(ring);
        let other = Segment::open_id(id).unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        let (same, channel) = if company { (ring, ring) } else { ("mpmc", "elsewhere") };
        let sleeper = receiver(&other, same, channel);
        let sleeper = std::thread::spawn(move || {
            tell.send(tid()).unwrap();
            sleeper.recv()
        });
        let sleeper_tid = told.recv().unwrap();
        wait_until(|| thread_parked(sleeper_tid));
        let participants = segment.participants().len();
        for turn in 0..200 {
            let own = Segment::open_id(id).unwrap();
            let full = format!("{ring}/full");
            let (rx, tx) = (receiver(&own, ring, ring), sender(&own, ring, &full));
            rx.readiness().unwrap();
            tx.readiness().unwrap();
            if turn % 4 > 0 {
                assert_eq!(rx.try_recv().unwrap(), None);
                while tx.try_send(1).unwrap() {}
                if turn % 4 == 2 {
                    wait_until(|| {
                        let asleep = watchers();
                        asleep.len() == 2 && asleep.iter().all(|&tid| thread_parked(tid))
                    });
                }
            }
            drop((own, rx, tx));
            assert_eq!(segment.participants().len(), participants, "it still participates");
            let drain = receiver(segment, ring, &full);
            while let Ok(Some(_)) = drain.try_recv() {}
        }
        wait_until(|| watchers().len() == before);
        sender(segment, same, channel).send(1).unwrap();
        assert_eq!(sleeper.join().unwrap().unwrap(), 1);
    }
}

#[test]
fn the_thread_leaves_signals_to_the_application() {
    alone("signals", &market().0);
}

fn signals(segment: &Segment) {
    let rx = receiver(segment, "mpmc", "c");
    rx.readiness().unwrap();
    assert_eq!(rx.try_recv().unwrap(), None);
    let blocked = |tid: i32| {
        let status = fs::read_to_string(format!("/proc/self/task/{tid}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("SigBlk:")).unwrap().to_owned();
        u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap()
    };
    wait_until(|| !watchers().is_empty());
    let theirs = blocked(watchers()[0]);
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGCHLD, libc::SIGUSR1] {
        assert!(theirs & (1 << (signal - 1)) != 0, "signal {signal}");
    }
    assert_eq!(blocked(tid()), 0, "this thread's signals are as they were");
}

#[test]
fn a_forked_child_drops_it_and_harms_nobody() {
    alone("forks", &market().0);
}

fn forks(segment: &Segment) {
    let tx = sender(segment, "mpmc", "c");
    for turn in 0..50 {
        let rx = receiver(segment, "mpmc", "c");
        rx.readiness().unwrap();
        assert_eq!(rx.try_recv().unwrap(), None);
        // SAFETY: the child allocates nothing that another thread may hold a
        // lock for, but what glibc puts right in a fork.
        match unsafe { fork() }.unwrap() {
            ForkResult::Child => {
                let refused = matches!(rx.readiness(), Err(Fault::Forked))
                    && matches!(rx.try_recv(), Err(Fault::Forked));
                drop(rx);
                exit(i32::from(!refused));
            }
            ForkResult::Parent { child } => {
                assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 0));
            }
        }
        assert!(!is_ready(rx.readiness().unwrap()), "the child has touched it");
        tx.send(turn).unwrap();
        gets_ready(rx.readiness().unwrap());
        assert_eq!(rx.try_recv().unwrap(), Some(turn));
    }
}

/// Its thread stays behind, where nobody can reach it from here.
#[test]
fn who_leaves_the_ipc_namespace_can_drop_it() {
    alone("goes away", &market().0);
}

fn goes_away(segment: &Segment) {
    let rx = receiver(segment, "mpmc", "c");
    rx.readiness().unwrap();
    assert_eq!(rx.try_recv().unwrap(), None);
    wait_until(|| watchers().iter().any(|&tid| thread_parked(tid)));
    if unshare(CloneFlags::CLONE_NEWIPC).is_err() {
        eprintln!("SKIPPED: leaving the IPC namespace, run it as root");
    }
    drop(rx);
}

#[test]
fn what_is_not_to_be_had_is_named() {
    alone("refusals", &market().0);
}

fn refusals(segment: &Segment) {
    let mut rx = receiver(segment, "mpmc", "c");
    let refused = |rx: &dyn Rx| match rx.readiness() {
        Err(Fault::System(error)) => error,
        other => panic!("{other:?}"),
    };
    let theirs = &mut rx;
    as_nobody(move || {
        let (soft, hard) = nix::sys::resource::getrlimit(Resource::RLIMIT_NPROC).unwrap();
        setrlimit(Resource::RLIMIT_NPROC, 1, hard).unwrap();
        let error = refused(&**theirs);
        setrlimit(Resource::RLIMIT_NPROC, soft, hard).unwrap();
        assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
        assert!(error.to_string().contains("RLIMIT_NPROC"), "{error}");
    });
    let (soft, hard) = nix::sys::resource::getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 4, hard).unwrap();
    let error = refused(&*rx);
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
    // And then it is.
    assert!(is_ready(rx.readiness().unwrap()));
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
        "two loops" => two_loops(&segment),
        "a hundred" => a_hundred(&segment),
        "drops" => drops(&segment),
        "signals" => signals(&segment),
        "forks" => forks(&segment),
        "goes away" => goes_away(&segment),
        "refusals" => refusals(&segment),
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
