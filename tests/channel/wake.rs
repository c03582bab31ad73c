//! The kernel alone wakes sleepers: without a timeout or a helper, and also when the
//! process that dies was the only one awake, or was asleep itself.

use crate::common;

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use tombolo::sys::proc;
use tombolo::{Fault, Segment};

use common::{
    Brief, HELD, Holder, Name, Peer, RINGS, TAKEN, Trace, channel_of, hold, receiver, sender,
    wait_until,
};

fn market() -> (Name, Segment) {
    crate::common::market(8, 64)
}

#[test]
fn one_that_is_stopped_and_then_killed_leaves_nobody_asleep() {
    for ring in RINGS {
        for held in HELD {
            let (name, segment) = market();
            let holder = Holder::start(&name, &segment, ring, held);
            holder.peer.stop();
            holder.dies(&segment, Peer::kill);
        }
    }
}

/// It holds one end here, and sleeps over something else.
#[test]
fn one_that_is_killed_in_its_sleep_leaves_nobody_asleep() {
    for ring in RINGS {
        for held in ["grant", "delivery", "sender", "receiver"] {
            let (name, segment) = market();
            let peer = Peer::start("hold and sleep", &[&name, &ring, &held]);
            let mut holder = Holder::of(peer, &segment, ring, held);
            let _other = sender(&segment, "mpmc", "elsewhere");
            holder.peer.tell("sleep");
            holder.peer.wait_until_parked();
            holder.dies(&segment, Peer::kill);
        }
    }
}

#[test]
fn of_two_that_sleep_one_is_killed_as_its_token_lands_and_the_other_gets_the_message() {
    let mut taken = 0;
    for round in 0..60_u64 {
        let ring = ["mpmc", "bytes-mpmc"][round as usize % 2];
        let (name, segment) = market();
        let channel = channel_of(ring, "delivery");
        let tx = sender(&segment, ring, &channel);
        // Whichever it is that the kernel wakes, it holds on to what it takes.
        let mut both = [0, 1].map(|_| {
            let mut peer = Peer::start("hold", &[&name, &ring, &"delivery"]);
            peer.expect("open");
            peer.tell("go");
            peer.wait_until_parked();
            peer
        });
        // Before, at, and after the token.
        let spin = |time| {
            let until = Instant::now() + Duration::from_micros(time);
            while Instant::now() < until {
                std::hint::spin_loop();
            }
        };
        if round % 6 == 5 {
            both[0].kill();
            tx.send(TAKEN).unwrap();
        } else {
            tx.send(TAKEN).unwrap();
            spin(round / 6 * 12);
            both[0].kill();
        }
        both[1].expect("held");
        both[1].tell("on");
        let said = both[1].said();
        assert!(said.starts_with(&format!("got {TAKEN} after ")), "{said}");
        taken += u64::from(said.ends_with('1'));
    }
    eprintln!("{taken} of 60 had been taken by the one that was killed");
}

const SENDS: [&str; 3] = ["send", "send_batch", "grant"];
const RECEIVES: [&str; 3] = ["recv", "recv_batch", "delivery"];

/// How many threads of a process sleep in the kernel over a semaphore.
fn sleepers(pid: &str) -> usize {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let asleep = |call: &str| {
        let number = call.split(' ').next().unwrap_or_default().parse();
        matches!(number, Ok(libc::SYS_semop | libc::SYS_semtimedop))
    };
    threads
        .flatten()
        .filter(|thread| asleep(&fs::read_to_string(thread.path().join("syscall")).unwrap()))
        .count()
}

#[test]
fn nobody_wakes_up_by_the_clock() {
    let (name, _segment) = market();
    let partner = Peer::start("partner", &[&name]);
    partner.expect("open");
    let Some((mut sleeper, trace)) = Trace::start("asleep", &[&name]) else { return };
    let pid = sleeper.said();
    sleeper.tell("go");
    let all = RINGS.len() * (SENDS.len() + RECEIVES.len());
    wait_until(|| sleepers(&pid) == all);
    // Not a call into the kernel, whatever it be, as long as nothing happens.
    trace.wait_until_still();
    assert_eq!(sleepers(&pid), all);
    partner.finish();
    sleeper.expect("all are told");
    assert_eq!(sleeper.join(), 0);
    let trace = trace.between(&pid, "all are told");
    let (mut short, mut long) = (0, 0);
    for line in trace.lines() {
        let clocked = [
            "nanosleep(",
            "poll(",
            "ppoll(",
            "select(",
            "pselect6(",
            "epoll_wait(",
            "epoll_pwait(",
            "timer_settime(",
            "timerfd_",
            "setitimer(",
            "alarm(",
        ];
        let found = clocked.iter().find(|call| line.contains(*call));
        assert!(found.is_none(), "by the clock: {line}");
        let sleep = line.contains("semop(") || line.contains("semtimedop(");
        if sleep && line.contains("sem_op=-1") {
            // The first of a wait is a short one, for the second look.
            *if line.contains("tv_sec") { &mut short } else { &mut long } += 1;
        }
    }
    assert!(long >= all && short >= all, "{long} sleeps, {short} short ones:\n{trace}");
    assert!(short <= long, "by the clock, again: {short} short sleeps, {long} others:\n{trace}");
}

/// The other end of everything that the sleepers sleep over.
fn partner(segment: &Segment) -> Vec<Box<dyn Send>> {
    let mut ends: Vec<Box<dyn Send>> = Vec::new();
    for ring in RINGS {
        for call in SENDS {
            ends.push(Box::new(receiver(segment, ring, &channel_of(ring, call))));
        }
        for call in RECEIVES {
            ends.push(Box::new(sender(segment, ring, &channel_of(ring, call))));
        }
    }
    ends
}

fn asleep(brief: &Brief, segment: &Segment) {
    let mut calls: Vec<Box<dyn FnOnce() + Send>> = Vec::new();
    let over = |what: &str, result: Result<(), Fault>| {
        assert!(matches!(result, Err(Fault::Disconnected { .. })), "{what}: {result:?}");
    };
    for ring in RINGS {
        for call in SENDS {
            let channel = channel_of(ring, call);
            let mut tx = sender(segment, ring, &channel);
            while tx.try_send(1).unwrap() {}
            calls.push(Box::new(move || {
                let told = match call {
                    "send" => tx.send(1),
                    "send_batch" => tx.send_batch(&[1, 2]),
                    _ => tx.grant(1, &mut || ()),
                };
                over(&channel, told);
            }));
        }
        for call in RECEIVES {
            let channel = channel_of(ring, call);
            let mut rx = receiver(segment, ring, &channel);
            calls.push(Box::new(move || {
                let told = match call {
                    "recv" => rx.recv().map(drop),
                    "recv_batch" => rx.recv_batch(9).map(drop),
                    _ => rx.delivery(&mut || ()).map(drop),
                };
                over(&channel, told);
            }));
        }
    }
    brief.say(proc::pid());
    brief.hear();
    let threads: Vec<_> = calls.into_iter().map(thread::spawn).collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    brief.say("all are told");
}

#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    let segment = Segment::open(brief.text(0)).unwrap();
    match &*brief.role {
        "hold" => hold(&brief, &segment, &mut || ()),
        "hold and sleep" => hold(&brief, &segment, &mut || {
            brief.say("held");
            brief.hear();
            let _ = receiver(&segment, "mpmc", "elsewhere").recv();
        }),
        "partner" => {
            let _ends = partner(&segment);
            brief.say("open");
            brief.hear();
        }
        "asleep" => asleep(&brief, &segment),
        role => panic!("{role}"),
    }
}
