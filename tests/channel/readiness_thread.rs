//! The thread behind a descriptor: it ends with its handle, and delays nobody.

#![allow(unsafe_code)]

use crate::common;

use std::fs;
use std::process::exit;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, alarm, fork};
use tombolo::sys::ErrorKind;
use tombolo::{Fault, Segment};

use common::readiness::{alone, gets_ready, is_ready, watchers};
use common::{
    Brief, Name, RINGS, Rx, as_nobody, receiver, sender, single, thread_parked, tid, wait_until,
};

fn market() -> (Name, Segment) {
    crate::common::market(8, 16)
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
                        asleep.len() == 1 && asleep.iter().all(|&tid| thread_parked(tid))
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

/// A thread may be starting one just then.
#[test]
fn a_forked_child_has_descriptors_of_its_own() {
    alone("forks meanwhile", &market().0);
}

fn forks_meanwhile(segment: &Segment) {
    let (id, stop) = (segment.id(), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            let own = Segment::open_id(id).unwrap();
            while !stop.load(Ordering::Relaxed) {
                receiver(&own, "mpmc", "c").readiness().unwrap();
            }
        });
        let mut children = (0..20).map(|_| {
            // SAFETY: as above.
            match unsafe { fork() }.unwrap() {
                ForkResult::Child => {
                    alarm::set(5);
                    let own = Segment::anonymous().unwrap();
                    let channel = own.channel::<u64>("c").capacity(1);
                    let rx = channel.receiver().unwrap();
                    let made = rx.readiness().is_ok();
                    drop((rx, own));
                    exit(i32::from(!made));
                }
                ForkResult::Parent { child } => child,
            }
        });
        let failed = children.find_map(|child| {
            let end = waitpid(child, None).unwrap();
            (end != WaitStatus::Exited(child, 0)).then_some(end)
        });
        stop.store(true, Ordering::Relaxed);
        assert_eq!(failed, None);
    });
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
        let (soft, hard) = getrlimit(Resource::RLIMIT_NPROC).unwrap();
        setrlimit(Resource::RLIMIT_NPROC, 1, hard).unwrap();
        let error = refused(&**theirs);
        setrlimit(Resource::RLIMIT_NPROC, soft, hard).unwrap();
        assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
        assert!(error.to_string().contains("RLIMIT_NPROC"), "{error}");
    });
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 3, hard).unwrap();
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
        "drops" => drops(&segment),
        "signals" => signals(&segment),
        "forks" => forks(&segment),
        "forks meanwhile" => forks_meanwhile(&segment),
        "goes away" => goes_away(&segment),
        "refusals" => refusals(&segment),
        role => panic!("{role}"),
    }
    brief.say("all is well");
}
