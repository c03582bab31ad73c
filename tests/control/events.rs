//! Joins, leaves and deaths reach every subscriber, in order, whichever process is
//! left to report them.

#![allow(unsafe_code)]

use std::collections::BTreeSet;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use tombolo::sys::{proc, sem};
use tombolo::{Event, Events, Fault, Segment};

use crate::common::{
    Brief, Name, PATIENCE, Peer, Trace, Words, key_of, parked, thread_parked, tid, wait_until,
};

/// The wake-all semaphore, and where its count is wound back.
const WAKE_ALL: u16 = 7;
const HIGH: u16 = 8_192;
/// How many events a segment remembers.
const RECORDS: u64 = 128;

fn market() -> (Name, Segment) {
    crate::common::market(16, 2)
}

/// A process that has joined.
fn joined(name: &Name, role: &str) -> Peer {
    let peer = Peer::start(role, &[name]);
    peer.expect("open");
    peer
}

#[track_caller]
fn next(events: &Events) -> Event {
    events.recv_timeout(PATIENCE).unwrap().expect("no event")
}

/// The kind of an event, and the process.
#[track_caller]
fn told(event: &Event) -> (&'static str, u32) {
    match event {
        Event::Joined(member) => ("joined", member.pid),
        Event::Left(member) => ("left", member.pid),
        Event::Died(death) => ("died", death.pid),
        event => panic!("{event:?}"),
    }
}

fn pid(peer: &Peer) -> u32 {
    peer.pid().cast_unsigned()
}

#[test]
fn every_kind_comes_in_order_with_who_it_was() {
    let (name, segment) = market();
    let events = segment.events();
    let leaves = joined(&name, "stay");
    let leaver = pid(&leaves);
    assert_eq!(leaves.join(), 0);
    let holds = joined(&name, "hold");
    holds.expect("held");
    holds.kill();
    let (came, went, came_too, died) = (next(&events), next(&events), next(&events), next(&events));
    assert_eq!([told(&came), told(&went)], [("joined", leaver), ("left", leaver)]);
    assert_eq!([told(&came_too), told(&died)], [("joined", pid(&holds)), ("died", pid(&holds))]);
    let (Event::Joined(came), Event::Left(went)) = (came, went) else { panic!() };
    let uid = nix::unistd::getuid().as_raw();
    assert_eq!((came.slot, came.life, came.uid), (1, 1, uid));
    assert_eq!((went.slot, went.life, went.uid), (1, 1, uid));
    assert_eq!((came.start_time, came.pid_namespace), (went.start_time, went.pid_namespace));
    assert_eq!(came.pid_namespace, proc::pid_namespace().unwrap());
    assert!(came.recorded_ns <= went.recorded_ns && went.recorded_ns <= proc::monotonic());
    let Event::Died(death) = died else { panic!() };
    assert_eq!((death.slot, death.life, death.uid), (1, 2, uid));
    assert_eq!((death.senders, death.receivers, death.redelivered), (1, 1, 1));
    assert_eq!((death.unsent, death.dropped, death.channel.as_deref()), (0, 0, Some("jobs")));
    assert_eq!(death.start_time, proc::start_time(pid(&holds)).unwrap());
    assert_eq!(events.try_recv().unwrap(), None);
    assert_eq!(events.recv_timeout(Duration::from_millis(5)).unwrap(), None);
}

#[test]
fn what_is_remembered_comes_first_if_asked_for() {
    let (name, segment) = market();
    drop(Segment::open(&name).unwrap());
    assert_eq!(segment.events().try_recv().unwrap(), None);
    let events = segment.events().remembered();
    let again = events.clone();
    for events in [events, again] {
        let kinds: Vec<_> = std::iter::from_fn(|| events.try_recv().unwrap()).collect();
        let kinds: Vec<_> = kinds.iter().map(|event| told(event).0).collect();
        assert_eq!(kinds, ["joined", "joined", "left"]);
    }
}

#[test]
fn all_who_sleep_are_woken_by_a_death_that_nobody_else_sees() {
    for subscribers in [1, 2, 5] {
        let (name, segment) = market();
        let victim = joined(&name, "stay");
        let peers: Vec<_> = (0..subscribers).map(|_| joined(&name, "follow")).collect();
        // Nobody is awake, not even this process.
        peers.iter().for_each(Peer::wait_until_parked);
        let victim_pid = victim.pid();
        victim.kill();
        // The later ones have seen the earlier ones come.
        for peer in &peers {
            while peer.said() != format!("died {victim_pid}") {}
        }
        drop(segment);
    }
}

#[test]
fn a_subscriber_that_is_killed_asleep_or_stopped_keeps_nothing_from_the_others() {
    let (name, segment) = market();
    let peers: Vec<_> = (0..4).map(|_| joined(&name, "follow")).collect();
    peers.iter().for_each(Peer::wait_until_parked);
    peers[1].stop();
    let victim = joined(&name, "stay");
    peers[2].kill();
    victim.kill();
    for peer in [&peers[0], &peers[3]] {
        let mut deaths = BTreeSet::new();
        while deaths.len() < 2 {
            if let Some(pid) = peer.said().strip_prefix("died ") {
                deaths.insert(pid.to_owned());
            }
        }
        assert_eq!(deaths, [&peers[2], &victim].map(|peer| peer.pid().to_string()).into());
    }
    // And goes on from where it was.
    peers[1].resume();
    segment.remove().unwrap();
    let mut deaths = 0;
    loop {
        match &*peers[1].said() {
            "closed" => break,
            said => deaths += u32::from(said.starts_with("died ")),
        }
    }
    assert_eq!(deaths, 2);
}

#[test]
fn the_only_survivor_is_told() {
    let (name, segment) = market();
    let events = segment.events();
    let peers: Vec<_> = (0..3).map(|_| joined(&name, "stay")).collect();
    let all: BTreeSet<u32> = peers.iter().map(pid).collect();
    for peer in &peers {
        assert_eq!(told(&next(&events)), ("joined", pid(peer)));
    }
    peers.iter().for_each(Peer::kill);
    let died: Vec<_> = (0..3).map(|_| events.recv().unwrap()).collect();
    assert!(died.iter().all(|event| told(event).0 == "died"), "{died:?}");
    assert_eq!(died.iter().map(|event| told(event).1).collect::<BTreeSet<_>>(), all);
}

#[test]
fn who_is_too_far_behind_is_told_by_how_much() {
    let (name, segment) = market();
    let events = segment.events();
    // Just not too far.
    let lives = RECORDS / 2;
    (0..lives).for_each(|_| drop(Segment::open(&name).unwrap()));
    for n in 0..lives {
        let (came, went) = (next(&events), next(&events));
        let (Event::Joined(came), Event::Left(went)) = (came, went) else { panic!("{n}") };
        assert_eq!((came.life, went.life), (n + 1, n + 1));
    }
    (0..lives + 21).for_each(|_| drop(Segment::open(&name).unwrap()));
    assert_eq!(next(&events), Event::Missed(42));
    for n in lives + 21..2 * lives + 21 {
        let (Event::Joined(came), Event::Left(went)) = (next(&events), next(&events)) else {
            panic!("{n}")
        };
        assert_eq!((came.life, went.life), (n + 1, n + 1));
    }
    assert_eq!(events.try_recv().unwrap(), None);
}

#[test]
fn everybody_gets_the_same_order_while_many_come_and_go() {
    let (name, segment) = market();
    let peers: Vec<_> = (0..3).map(|_| joined(&name, "follow")).collect();
    let events = segment.events();
    let mut busy: Vec<_> = (0..3).map(|_| joined(&name, "come and go")).collect();
    let mut mine = Vec::new();
    let mut ends = 0;
    busy.iter_mut().for_each(|peer| peer.tell("go"));
    // Eight times each, and then itself.
    while ends < 3 * 9 {
        let event = next(&events);
        ends += u32::from(told(&event).0 == "left");
        mine.push(event);
    }
    // Of each life the end comes after the beginning, and both once.
    let mut living = BTreeSet::new();
    for event in &mine {
        match event {
            Event::Joined(member) => assert!(living.insert((member.slot, member.life))),
            Event::Left(member) => assert!(living.remove(&(member.slot, member.life))),
            event => panic!("{event:?}"),
        }
    }
    assert!(living.is_empty());
    let mine: Vec<_> =
        mine.iter().map(|event| format!("{} {}", told(event).0, told(event).1)).collect();
    for peer in &peers {
        let mut theirs: Vec<String> = Vec::new();
        while theirs.len() < mine.len() || !theirs.ends_with(&mine) {
            theirs.push(peer.said());
        }
    }
}

#[test]
fn a_thousand_deaths_are_a_thousand_events() {
    let (name, segment) = market();
    let events = segment.events();
    let other = joined(&name, "count deaths");
    assert_eq!(told(&next(&events)), ("joined", pid(&other)));
    let mut lives = BTreeSet::new();
    let mut driver = joined(&name, "die often");
    assert_eq!(told(&next(&events)), ("joined", pid(&driver)));
    for round in 1..=40 {
        driver.tell("25 more");
        for _ in 0..25 {
            let (came, died) = (next(&events), next(&events));
            assert_eq!(told(&came), ("joined", told(&died).1));
            let Event::Died(death) = died else { panic!("{died:?}") };
            assert!(lives.insert((death.slot, death.life)));
        }
        other.expect(&(25 * round).to_string());
    }
    assert_eq!(lives.len(), 1_000);
    assert_eq!(segment.deaths().total, 1_000);
    driver.finish();
}

fn set_of(name: &Name) -> sem::Set {
    sem::Set::open(key_of(name, 0)).unwrap()
}

#[test]
fn the_count_is_wound_back_and_nobody_sleeps_through_it() {
    let (name, segment) = market();
    let set = set_of(&name);
    let before = set.value(WAKE_ALL).unwrap();
    set.perform(&[sem::Op::add(WAKE_ALL, HIGH + 1 - before)]).unwrap();
    let follower = {
        // A look of its own would wind it back.
        let events = segment.events();
        let (tell, said) = mpsc::channel();
        let (asleep, is_asleep) = mpsc::channel();
        let thread = thread::spawn(move || {
            asleep.send(tid()).unwrap();
            for event in &events {
                tell.send(event.unwrap()).unwrap();
            }
        });
        let tid = is_asleep.recv().unwrap();
        wait_until(|| thread_parked(tid));
        (said, thread)
    };
    assert!(set.value(WAKE_ALL).unwrap() < 10, "not wound back");
    let was = set.value(WAKE_ALL).unwrap();
    set.perform(&[sem::Op::add(WAKE_ALL, HIGH + 100 - was)]).unwrap();
    let peer = joined(&name, "stay");
    let event = follower.0.recv_timeout(PATIENCE).unwrap();
    assert_eq!(told(&event), ("joined", pid(&peer)));
    assert!(set.value(WAKE_ALL).unwrap() < 10, "not wound back");
    peer.kill();
    let event = follower.0.recv_timeout(PATIENCE).unwrap();
    assert_eq!(told(&event), ("died", pid(&peer)));
    // As full as it gets, by somebody's hand.
    let was = set.value(WAKE_ALL).unwrap();
    set.perform(&[sem::Op::add(WAKE_ALL, 32_767 - was)]).unwrap();
    drop(Segment::open(&name).unwrap());
    for what in ["joined", "left"] {
        assert_eq!(told(&follower.0.recv_timeout(PATIENCE).unwrap()).0, what);
    }
    segment.remove().unwrap();
    follower.1.join().unwrap();
}

/// Lives of which no sweep knows leave a count, and nothing that piles up.
#[test]
fn the_count_stays_below_its_end() {
    let (name, segment) = market();
    let set = set_of(&name);
    // Each joins and leaves.
    for _ in 0..HIGH / 2 + 200 {
        drop(Segment::open(&name).unwrap());
        assert!(set.value(WAKE_ALL).unwrap() < HIGH + 4);
    }
    drop(segment);
}

#[test]
fn what_one_that_joined_left_open_is_closed_by_a_subscriber() {
    let (name, segment) = market();
    let events = segment.events();
    drop(Segment::open(&name).unwrap());
    // The first of the two was begun by one that died with the lease.
    let words = Words::behind(&segment);
    let infos = (512 + 8 * 16_usize).next_multiple_of(128);
    let journal = (infos + 128 * 16).next_multiple_of(128);
    let record = (journal + 128) / 8;
    words.put(record, 1 << 17 | 1 << 14 | 8_192);
    assert_eq!(told(&next(&events)).0, "left");
    words.put(record, 1 << 17 | 1 << 14 | 8_192);
    // Nor does one that polls wait for it.
    let again = segment.events().remembered();
    assert_eq!(told(&again.try_recv().unwrap().unwrap()).0, "joined");
    assert_eq!(told(&again.try_recv().unwrap().unwrap()).0, "left");
    // While somebody has the lease it may be being written.
    words.put(record, 1 << 17 | 1 << 14 | 8_192);
    let again = segment.events().remembered();
    assert_eq!(told(&again.try_recv().unwrap().unwrap()).0, "joined");
    let lease = [sem::Op::zero(0), sem::Op::add(0, 1)];
    set_of(&name).perform(&lease).unwrap();
    assert_eq!(again.try_recv().unwrap(), None);
    assert_eq!(again.recv_timeout(Duration::from_millis(5)).unwrap(), None);
    set_of(&name).perform(&[sem::Op::take(0, 1)]).unwrap();
    assert_eq!(told(&again.recv().unwrap()).0, "left");
}

#[test]
fn removal_and_stopping_end_it() {
    let (name, segment) = market();
    let asleep = joined(&name, "follow");
    asleep.wait_until_parked();
    let events = segment.events();
    let stopped = events.clone();
    let thread = thread::spawn({
        let events = stopped.clone();
        move || events.iter().count()
    });
    stopped.stop().unwrap();
    assert_eq!(thread.join().unwrap(), 0);
    assert!(matches!(stopped.recv(), Err(Fault::Closed)));
    let events = segment.events();
    drop(Segment::open(&name).unwrap());
    segment.remove().unwrap();
    // Earlier records come first.
    assert_eq!([told(&next(&events)).0, told(&next(&events)).0], ["joined", "left"]);
    assert!(matches!(events.recv(), Err(Fault::Closed)));
    assert!(matches!(events.try_recv(), Err(Fault::Closed)));
    assert!(events.iter().next().is_none());
    while asleep.said() != "closed" {}
    assert_eq!(asleep.join(), 0);
}

#[test]
fn a_forked_child_is_refused() {
    let (name, _segment) = market();
    joined(&name, "fork").expect("0");
}

#[test]
fn nobody_wakes_up_by_the_clock() {
    let (name, segment) = market();
    let Some((sleeper, trace)) = Trace::start("follow traced", &[&name]) else { return };
    let said = sleeper.said();
    let sleeper_pid = said.parse().unwrap();
    wait_until(|| parked(sleeper_pid));
    // Not a call into the kernel, whatever it be, as long as nothing happens.
    trace.wait_until_still();
    assert!(parked(sleeper_pid));
    segment.remove().unwrap();
    sleeper.expect("closed");
    assert_eq!(sleeper.join(), 0);
    let trace = trace.between(&said, "closed");
    let sleeps = trace.lines().filter(|line| line.contains("{sem_num=7, sem_op=-1,"));
    assert_eq!(sleeps.count(), 1, "{trace}");
    assert!(!trace.contains("tv_sec") && !trace.contains("poll("), "by the clock: {trace}");
}

/// Has a child join, and dies in it.
fn die(name: &str) {
    // SAFETY: the only other thread is the harness's, which waits for this one.
    match unsafe { fork() }.unwrap() {
        ForkResult::Parent { child } => drop(waitpid(child, None).unwrap()),
        ForkResult::Child => {
            let _segment = Segment::open(name).unwrap();
            nix::sys::signal::raise(Signal::SIGKILL).unwrap();
        }
    }
}

/// Says what it is told, until the segment is removed.
fn follow(brief: &Brief, events: &Events) {
    for event in events {
        let event = event.unwrap();
        brief.say(format!("{} {}", told(&event).0, told(&event).1));
    }
    brief.say("closed");
}

#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    let name = brief.text(0);
    let segment = Segment::open(name).unwrap();
    let open = || brief.say("open");
    match &*brief.role {
        "stay" => {
            open();
            let mut line = String::new();
            let _ = std::io::stdin().read_line(&mut line);
        }
        "hold" => {
            let jobs = segment.channel::<u64>("jobs").capacity(4);
            let (tx, mut rx) = (jobs.sender().unwrap(), jobs.receiver().unwrap());
            tx.send(1).unwrap();
            let _held = rx.take().unwrap();
            open();
            brief.say("held");
            brief.hear();
        }
        "follow" => {
            let events = segment.events();
            open();
            follow(&brief, &events);
        }
        "fork" => {
            let events = segment.events();
            open();
            // SAFETY: the only other thread is the harness's, which waits for
            // this one.
            match unsafe { fork() }.unwrap() {
                ForkResult::Parent { child } => match waitpid(child, None).unwrap() {
                    WaitStatus::Exited(_, status) => brief.say(status),
                    status => brief.say(format!("{status:?}")),
                },
                ForkResult::Child => {
                    let tried = matches!(events.try_recv(), Err(Fault::Forked));
                    let waited = matches!(events.recv(), Err(Fault::Forked));
                    let refused = matches!(events.stop(), Err(Fault::Forked));
                    drop((events, segment));
                    // SAFETY: ends the child without the harness's end.
                    unsafe { libc::_exit(i32::from(!tried || !waited || !refused)) }
                }
            }
        }
        "follow traced" => {
            brief.say(proc::pid());
            follow(&brief, &segment.events());
        }
        "come and go" => {
            open();
            brief.hear();
            (0..8).for_each(|_| drop(Segment::open(name).unwrap()));
        }
        "die often" => {
            open();
            loop {
                brief.hear();
                (0..25).for_each(|_| die(name));
            }
        }
        "count deaths" => {
            let events = segment.events();
            open();
            let mut deaths = 0;
            for event in &events {
                if told(&event.unwrap()).0 == "died" {
                    deaths += 1;
                    if deaths % 25 == 0 {
                        brief.say(deaths);
                    }
                }
            }
        }
        role => panic!("{role}"),
    }
}
