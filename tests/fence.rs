//! The second look: who is about to sleep and has not been seen by a notifier,
//! because Linux has left that one out of the waiter's fence.
//!
//! `docs/orderings.md` says when Linux does that.

mod common;

use std::fs;
use std::hint::spin_loop;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use tombolo::sys::proc;
use tombolo::{Segment, TryRecvError};

use common::{Brief, Name, PATIENCE, Peer, RINGS, receiver, sender, wait_until};

fn market() -> (Name, Segment) {
    let name = Name::new();
    let segment =
        Segment::options().size(1 << 20).participants(8).channels(16).create(&name).unwrap();
    (name, segment)
}

fn processors() -> Vec<usize> {
    let set = sched_getaffinity(Pid::from_raw(0)).unwrap();
    (0..CpuSet::count()).filter(|&cpu| set.is_set(cpu) == Ok(true)).collect()
}

/// Has this thread, and those that it starts, run on one processor.
fn stay_on(cpu: usize) {
    let mut set = CpuSet::new();
    set.set(cpu).unwrap();
    sched_setaffinity(Pid::from_raw(0), &set).unwrap();
}

/// For how long exchanges are made.
const SPAN: Duration = Duration::from_millis(2_500);
/// Stores that are on their way before a message, to lines that are far away.
const CROWD: usize = 40;
/// After so many exchanges a thread ends on the notifier's processor, which is
/// what makes Linux leave it out.
const THREAD_ENDS: u64 = 64;

/// Of so many waits of an impatient handle, one is a probe.
const PROBE: u64 = 16;

/// Every exchange comes to an end, where a waiter that falls asleep meets a
/// notifier that no fence of another's reaches.
///
/// What it can show: that a wait of this kind ends, some hundred thousand times.
/// What it cannot: that the second look was what ended one. Without it, about one
/// exchange in some ten millions has no end, so that most runs of this test pass;
/// and one that took long may just have lost its processor. That no wake depends
/// on the fence alone is shown by the models.
#[test]
fn no_exchange_is_without_an_end() {
    let cpus = processors();
    let [asks, answers, ..] = cpus[..] else {
        return eprintln!("SKIPPED: exchanges between two processors: there is one");
    };
    let (name, _segment) = market();
    let peer = Peer::start("exchange", &[&name, &asks, &answers]);
    eprintln!("{}", peer.said());
    assert_eq!(peer.join(), 0);
}

fn exchange(brief: &Brief, segment: &Segment) {
    let (asks, answers) = (brief.number(1), brief.number(2));
    // A handle of a process that has one processor sleeps at once.
    stay_on(asks);
    assert_eq!(proc::cpus(), 1);
    let channel = |name| segment.channel::<u64>(name).spsc().capacity(16);
    let (to, from) = (channel("to"), channel("from"));
    let (tx, mut rx) = (to.sender().unwrap(), from.receiver().unwrap());
    let answering = (to.receiver().unwrap(), from.sender().unwrap());
    let answerer = thread::spawn(move || {
        stay_on(answers);
        let (rx, tx) = answering;
        let far: Vec<_> = (0..1 << 22).map(|_| AtomicU64::new(0)).collect();
        let mut place = 1_u64;
        for n in 0_u64.. {
            if n.is_multiple_of(THREAD_ENDS) {
                thread::spawn(|| ()).join().unwrap();
            }
            let since = Instant::now();
            let asked = loop {
                match rx.try_recv() {
                    Ok(asked) => break asked,
                    Err(TryRecvError::Failed(_)) => return,
                    Err(_) => {
                        let slept = since.elapsed();
                        assert!(slept < PATIENCE / 4, "after {n} exchanges it sleeps for ever");
                        spin_loop();
                    }
                }
            };
            // The other one goes to sleep, and is somewhere on its way.
            let (asked_at, pause) = (Instant::now(), Duration::from_nanos(n * 104_729 % 1_500));
            while asked_at.elapsed() < pause {}
            for _ in 0..CROWD {
                place = place.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                far[(place >> 42) as usize].store(n, Ordering::Relaxed);
            }
            tx.send(asked).unwrap();
        }
    });
    let (began, mut count, mut late) = (Instant::now(), 0_u64, 0);
    while began.elapsed() < SPAN {
        if count.is_multiple_of(PROBE - 1) {
            // Before it tries for long, and finds that worth its while.
            drop(rx);
            rx = from.receiver().unwrap();
        }
        let since = Instant::now();
        tx.send(count).unwrap();
        match rx.recv() {
            Ok(answer) => assert_eq!(answer, count),
            // It says why.
            Err(_) => break,
        }
        late += u64::from(since.elapsed() > Duration::from_millis(9));
        count += 1;
    }
    drop((tx, rx));
    answerer.join().unwrap();
    brief.say(format_args!("{count} exchanges, of which {late} took 9 ms or more"));
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

/// Who has looked twice sleeps until somebody wakes it.
#[test]
fn nobody_looks_a_third_time() {
    let (name, _segment) = market();
    let mut peer = Peer::start("sleep", &[&name]);
    let sleepers: usize = peer.said().parse().unwrap();
    let pid = peer.pid();
    wait_until(|| long_sleeps(pid).len() == sleepers);
    let before = long_sleeps(pid);
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
        "exchange" => exchange(&brief, &segment),
        "sleep" => sleep(&brief, &segment),
        role => panic!("{role}"),
    }
}
