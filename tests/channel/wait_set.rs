//! A set: one thread waits for any of many handles, and takes nothing from anybody.

#![allow(unsafe_code)]

use crate::common;

use std::collections::HashSet;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigHandler, Signal, signal};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use tombolo::{
    AnyReceiver, AnySender, Fault, Receiver, RecvTimeoutError, Segment, Sender, Side, Start,
    TryRecvError, WaitSet, WaitSetError, WaitStrategy,
};

use common::{
    Brief, Name, Peer, in_own_namespace, parked_for_good, set_limit, thread_parked,
    thread_parked_for_good, tid, wait_until,
};

const SHORT: Duration = Duration::from_millis(2);
/// Of each kind, a channel; and of broadcast, one with each sort of subscriber.
const LANES: [&str; 7] =
    ["mpmc", "spsc", "bytes-mpmc", "bytes-spsc", "lossy", "reliable", "bytes-reliable"];

fn market() -> (Name, Segment) {
    crate::common::market(8, 64)
}

/// So many members a set watches, in place of sleeping over the semaphores of all of them.
const MANY: usize = 31;

/// Receivers of a channel in which nothing ever is.
fn idle(segment: &Segment, count: usize) -> Vec<Receiver<u64>> {
    let channel = segment.channel::<u64>("idle").capacity(1).lasting();
    (0..count).map(|_| channel.receiver().unwrap()).collect()
}

/// A set of which these are members.
fn among<'a>(segment: &Segment, idle: &'a [Receiver<u64>]) -> WaitSet<'a> {
    let mut set = WaitSet::new(segment);
    for (key, receiver) in (1_000..).zip(idle) {
        set.add(receiver, key).unwrap();
    }
    set
}

/// Makes the channels, for two messages of 8 bytes each.
fn make_lanes(segment: &Segment) {
    let typed = |name| segment.channel::<u64>(name).capacity(2).lasting();
    let bytes = |name| segment.bytes(name).capacity(2, 8).lasting();
    drop(typed("mpmc").sender().unwrap());
    drop(typed("spsc").spsc().sender().unwrap());
    drop(bytes("bytes-mpmc").sender().unwrap());
    drop(bytes("bytes-spsc").spsc().sender().unwrap());
    for name in ["lossy", "reliable"] {
        drop(segment.broadcast::<u64>(name).capacity(2).lasting().publisher().unwrap());
    }
    let news = segment.broadcast_bytes("bytes-reliable").capacity(2, 8).lasting();
    drop(news.publisher().unwrap());
}

fn lane_sender(segment: &Segment, lane: &str) -> AnySender {
    segment.open_channel(lane).unwrap().sender().unwrap()
}

fn lane_receiver(segment: &Segment, lane: &str) -> AnyReceiver {
    let channel = segment.open_channel(lane).unwrap();
    if lane.ends_with("reliable") {
        channel.reliable_subscriber_from(Start::Newest).unwrap()
    } else {
        channel.receiver().unwrap()
    }
}

fn try_recv(receiver: &AnyReceiver) -> Option<u64> {
    let mut bytes = Vec::new();
    match receiver.try_recv(&mut bytes) {
        Ok(_) => Some(u64::from_ne_bytes(bytes.try_into().unwrap())),
        Err(TryRecvError::Empty | TryRecvError::Pending) => None,
        Err(error) => panic!("{error}"),
    }
}

fn try_send(sender: &AnySender, n: u64) -> bool {
    match sender.try_send(&n.to_ne_bytes()) {
        Ok(()) => true,
        Err(error) => {
            assert!(error.is_full(), "{error}");
            false
        }
    }
}

/// The keys of what is ready, without waiting.
fn ready(set: &mut WaitSet<'_>) -> Vec<u64> {
    let mut ready = Vec::new();
    let count = set.try_wait(&mut ready).unwrap();
    assert_eq!(count, ready.len());
    ready.iter().map(|ready| ready.key).collect()
}

/// The keys of what a wait ends with that has no end of its own.
fn waited(set: &mut WaitSet<'_>) -> Vec<u64> {
    let mut ready = Vec::new();
    set.wait(&mut ready, None).unwrap();
    ready.iter().map(|ready| ready.key).collect()
}

/// Waits with a set, and does something elsewhere once its thread sleeps for good.
fn waited_while(set: &mut WaitSet<'_>, elsewhere: impl FnOnce() + Send) -> Vec<u64> {
    let me = tid();
    thread::scope(|scope| {
        let helper = scope.spawn(move || {
            wait_until(|| thread_parked_for_good(me));
            elsewhere();
        });
        let keys = waited(set);
        helper.join().unwrap();
        keys
    })
}

#[test]
fn a_member_is_ready_exactly_as_long_as_it_could_go_on() {
    for count in [0, MANY] {
        let (_name, segment) = market();
        let idle = idle(&segment, count);
        make_lanes(&segment);
        for lane in LANES {
            let (tx, rx) = (lane_sender(&segment, lane), lane_receiver(&segment, lane));
            let mut set = among(&segment, &idle);
            set.add(&tx, 1).unwrap();
            set.add(&rx, 2).unwrap();
            for turn in 0..6 {
                assert_eq!(ready(&mut set), [1], "{lane}: empty");
                assert!(try_send(&tx, turn));
                assert_eq!(ready(&mut set), [1, 2], "{lane}: one of two");
                assert_eq!(ready(&mut set), [1, 2], "{lane}: nobody has done anything");
                assert!(try_send(&tx, turn + 1));
                if lane == "lossy" {
                    assert_eq!(ready(&mut set), [1, 2], "{lane}: there is always room");
                } else {
                    assert_eq!(ready(&mut set), [2], "{lane}: full");
                    assert!(!try_send(&tx, 9));
                    assert_eq!(ready(&mut set), [2], "{lane}: still full");
                }
                assert_eq!(try_recv(&rx), Some(turn));
                assert_eq!(ready(&mut set), [1, 2], "{lane}: one of two again");
                assert_eq!(try_recv(&rx), Some(turn + 1));
            }
            let mut ready = Vec::new();
            set.wait(&mut ready, SHORT).unwrap();
            assert_eq!((ready[0].key, ready[0].side), (1, Side::Sender));
        }
    }
}

/// In another process: sends and receives as it is told.
fn actor(brief: &Brief) {
    let segment = Segment::open(brief.text(0)).unwrap();
    let lanes: Vec<_> = LANES
        .iter()
        .filter(|lane| brief.text(1) == "all" || brief.text(1) == **lane)
        .map(|lane| (*lane, lane_sender(&segment, lane)))
        .collect();
    brief.say("here");
    loop {
        let told = brief.hear();
        let (what, lane) = told.split_once(' ').unwrap();
        match what {
            "send" => {
                let (_, tx) = lanes.iter().find(|(name, _)| *name == lane).unwrap();
                assert!(try_send(tx, 7));
            }
            "receive" => {
                let rx = lane_receiver(&segment, lane);
                assert!(try_recv(&rx).is_some());
            }
            _ => panic!("{told}"),
        }
        brief.say("done");
    }
}

#[test]
fn a_message_of_each_kind_wakes_a_set_that_sleeps_over_all_of_them() {
    for count in [0, MANY] {
        let (name, segment) = market();
        let idle = idle(&segment, count);
        make_lanes(&segment);
        let receivers = LANES.map(|lane| lane_receiver(&segment, lane));
        let mut set = among(&segment, &idle);
        for (key, receiver) in (0..).zip(&receivers) {
            set.add(receiver, key).unwrap();
        }
        let mut actor = Peer::start("actor", &[&name, &"all"]);
        actor.expect("here");
        for round in 0..3 {
            for (key, lane) in LANES.iter().enumerate() {
                let peer = &mut actor;
                let keys = waited_while(&mut set, move || peer.tell(&format!("send {lane}")));
                assert_eq!(keys, [key as u64], "{lane}, {round}");
                actor.expect("done");
                assert_eq!(try_recv(&receivers[key]), Some(7));
            }
        }
    }
}

#[test]
fn room_of_each_kind_wakes_a_set_that_sleeps_over_all_of_them() {
    for count in [0, MANY] {
        let (name, segment) = market();
        let idle = idle(&segment, count);
        make_lanes(&segment);
        // A reliable subscriber is in the way from here on; it reads in this process.
        let queues = &LANES[..4];
        let mut reliable: Vec<_> =
            LANES[5..].iter().map(|lane| lane_receiver(&segment, lane)).collect();
        let lanes: Vec<&str> = queues.iter().chain(&LANES[5..]).copied().collect();
        let senders: Vec<_> = lanes.iter().map(|lane| lane_sender(&segment, lane)).collect();
        let mut set = among(&segment, &idle);
        for (key, sender) in (0..).zip(&senders) {
            while try_send(sender, 1) {}
            set.add(sender, key).unwrap();
        }
        let mut actor = Peer::start("actor", &[&name, &"none"]);
        actor.expect("here");
        for _ in 0..2 {
            for (key, lane) in lanes.iter().enumerate() {
                let keys = if key < queues.len() {
                    let peer = &mut actor;
                    let keys =
                        waited_while(&mut set, move || peer.tell(&format!("receive {lane}")));
                    actor.expect("done");
                    keys
                } else {
                    let rx = &mut reliable[key - queues.len()];
                    waited_while(&mut set, move || assert!(try_recv(rx).is_some()))
                };
                assert_eq!(keys, [key as u64], "{lane}");
                while try_send(&senders[key], 2) {}
            }
        }
    }
}

#[test]
fn the_death_of_a_members_last_peer_wakes_the_set_and_nothing_else_is_ready() {
    for count in [0, MANY] {
        let (name, segment) = market();
        let idle = idle(&segment, count);
        let quiet = segment.channel::<u64>("quiet").capacity(2).receiver().unwrap();
        let jobs = segment.channel::<u64>("jobs").capacity(2);
        let rx = jobs.receiver().unwrap();
        let full = segment.bytes("full").capacity(1, 8).spsc();
        let tx = full.sender().unwrap();
        let mut set = among(&segment, &idle);
        set.add(&quiet, 0).unwrap();
        set.add(&rx, 1).unwrap();
        set.add(&tx, 2).unwrap();
        for _ in 0..5 {
            let peer = Peer::start("both", &[&name]);
            peer.expect("here");
            let _ = tx.try_send(b"8 bytes.");
            assert_eq!(ready(&mut set), [0; 0]);
            let mut dying = peer;
            let dying = &mut dying;
            // Of both channels, at once.
            assert_eq!(waited_while(&mut set, move || dying.kill()), [1, 2]);
            assert_eq!(rx.try_recv(), Err(TryRecvError::Disconnected));
            assert!(tx.try_send(b"8 bytes.").unwrap_err().is_disconnected());
        }
    }
}

/// In another process: has the other end of both.
fn both(brief: &Brief) {
    let segment = Segment::open(brief.text(0)).unwrap();
    let _tx = segment.channel::<u64>("jobs").sender().unwrap();
    let rx = segment.bytes("full").spsc().receiver().unwrap();
    let mut bytes = Vec::new();
    while rx.try_recv(&mut bytes).is_ok() {}
    brief.say("here");
    brief.hear();
}

/// In another process: sleeps over what it takes nothing of, or takes all that there is.
fn watcher(brief: &Brief) {
    let segment = Segment::open(brief.text(0)).unwrap();
    let jobs = segment.channel::<u64>("jobs").receiver().unwrap();
    let own = segment.channel::<u64>("own").capacity(1).lasting().receiver().unwrap();
    let idle = idle(&segment, brief.text(2).parse().unwrap());
    let mut set = among(&segment, &idle);
    set.set_wait_strategy(WaitStrategy::Block);
    set.add(&own, 0).unwrap();
    set.add(&jobs, 1).unwrap();
    brief.say("here");
    let mut ready = Vec::new();
    if brief.text(1) == "takes nothing" {
        while brief.hear() == "wait" {
            set.wait(&mut ready, None).unwrap();
            brief.say("ready");
        }
        return;
    }
    let mut taken = Vec::new();
    'all: loop {
        set.wait(&mut ready, None).unwrap();
        loop {
            match jobs.try_recv() {
                Ok(job) => taken.push(job.to_string()),
                Err(TryRecvError::Empty | TryRecvError::Pending) => break,
                Err(TryRecvError::Disconnected) => break 'all,
                Err(error) => panic!("{error}"),
            }
        }
    }
    brief.say(taken.join(","));
    brief.hear();
}

#[test]
fn a_set_that_is_stopped_in_its_sleep_keeps_nothing_from_a_receiver() {
    for count in [0, MANY] {
        let (name, segment) = market();
        let jobs = segment.channel::<u64>("jobs").capacity(4).lasting();
        let (tx, rx) = (jobs.sender().unwrap(), jobs.receiver().unwrap());
        let mut watcher = Peer::start("watcher", &[&name, &"takes nothing", &count]);
        watcher.expect("here");
        watcher.tell("wait");
        watcher.wait_until_parked();
        watcher.stop();
        for job in 0..20 {
            let me = tid();
            let got = thread::scope(|scope| {
                let sender = scope.spawn({
                    let tx = tx.try_clone().unwrap();
                    move || {
                        wait_until(|| thread_parked_for_good(me));
                        tx.send(job).unwrap();
                    }
                });
                let got = rx.recv().unwrap();
                sender.join().unwrap();
                got
            });
            assert_eq!(got, job);
        }
        // It takes nothing when it goes on either; what is there then wakes it.
        watcher.resume();
        tx.send(99).unwrap();
        watcher.expect("ready");
        assert_eq!(rx.recv().unwrap(), 99);
    }
}

#[test]
fn several_sets_and_receivers_of_one_queue_get_every_message_once() {
    const MESSAGES: u64 = 2_000;
    for count in [0, MANY] {
        let (name, segment) = market();
        let jobs = segment.channel::<u64>("jobs").capacity(8);
        let tx = jobs.sender().unwrap();
        let watchers = [0, 1].map(|_| Peer::start("watcher", &[&name, &"takes all", &count]));
        for watcher in &watchers {
            watcher.expect("here");
        }
        let receivers = [0, 1].map(|_| jobs.receiver().unwrap());
        let mut all: Vec<u64> = thread::scope(|scope| {
            let receiving = receivers
                .map(|rx| scope.spawn(move || rx.iter().collect::<Result<Vec<_>, _>>().unwrap()));
            for job in 0..MESSAGES {
                tx.send(job).unwrap();
                // Some of them meet sleepers, and some do not.
                if job % 64 < 16 {
                    let until = Instant::now() + Duration::from_micros(job % 16 * 8);
                    while Instant::now() < until {
                        std::hint::spin_loop();
                    }
                }
            }
            drop(tx);
            receiving.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        for watcher in &watchers {
            let taken = watcher.said();
            all.extend(
                taken
                    .split(',')
                    .filter(|job| !job.is_empty())
                    .map(|job| -> u64 { job.parse().unwrap() }),
            );
        }
        assert_eq!(all.len() as u64, MESSAGES);
        assert_eq!(all.iter().collect::<HashSet<_>>().len() as u64, MESSAGES);
    }
}

#[test]
fn a_set_ends_in_time_and_at_a_call_of_its_waker() {
    let (_name, segment) = market();
    let rx = segment.channel::<u64>("jobs").capacity(1).receiver().unwrap();
    let mut set = WaitSet::new(&segment);
    let mut ready = Vec::new();
    // Also without members.
    for members in 0..2 {
        if members == 1 {
            set.add(&rx, 1).unwrap();
        }
        let began = Instant::now();
        assert_eq!(set.wait(&mut ready, SHORT), Ok(0));
        assert!(began.elapsed() >= SHORT);
        assert_eq!(set.wait_deadline(&mut ready, began), Ok(0));
        assert_eq!(set.wait(&mut ready, Duration::ZERO), Ok(0));
        let waker = set.waker();
        waker.wake().unwrap();
        waker.wake().unwrap();
        assert_eq!(set.wait(&mut ready, None), Ok(0), "called before it waits");
        assert_eq!(set.wait(&mut ready, SHORT), Ok(0), "two calls, one wait");
        for _ in 0..20 {
            let waker = waker.clone();
            assert_eq!(waited_while(&mut set, move || waker.wake().unwrap()), [0; 0]);
        }
    }
    drop(set);
}

#[test]
fn a_call_of_the_waker_is_never_missed() {
    for count in [0, MANY] {
        let (_name, segment) = market();
        let idle = idle(&segment, count);
        let rx = segment.channel::<u64>("jobs").capacity(1).receiver().unwrap();
        let mut set = among(&segment, &idle);
        set.set_wait_strategy(WaitStrategy::Block);
        set.add(&rx, 1).unwrap();
        let (waker, over) = (set.waker(), AtomicBool::new(false));
        thread::scope(|scope| {
            let over = &over;
            let (turn, turns) = std::sync::mpsc::sync_channel(0);
            scope.spawn(move || {
                while turns.recv().is_ok() {
                    waker.wake().unwrap();
                }
                over.store(true, Ordering::Relaxed);
            });
            for _ in 0..2_000 {
                turn.send(()).unwrap();
                assert_eq!(waited(&mut set), [0; 0]);
            }
        });
        assert!(over.load(Ordering::Relaxed));
    }
}

#[test]
fn members_come_and_go_while_they_are_used() {
    let (_name, segment) = market();
    let channel = |name| segment.channel::<u64>(name).capacity(2).lasting();
    let mut set: WaitSet<'static> = WaitSet::new(&segment);
    let (one, two) = (channel("one"), channel("two"));
    let (tx_one, tx_two) = (one.sender().unwrap(), two.sender().unwrap());
    let rx_one = Rc::new(one.receiver().unwrap());
    set.add(Rc::clone(&rx_one), 1).unwrap();
    assert_eq!(set.add(Rc::clone(&rx_one), 1), Err(WaitSetError::KeyTaken { key: 1 }));
    for turn in 0..10 {
        let rx_two = Rc::new(two.receiver().unwrap());
        set.add(Rc::clone(&rx_two), 2).unwrap();
        assert_eq!(set.len(), 2);
        let tx = tx_two.try_clone().unwrap();
        assert_eq!(waited_while(&mut set, move || tx.send(turn).unwrap()), [2]);
        assert_eq!(rx_two.recv().unwrap(), turn);
        assert!(set.remove(2) && !set.remove(2));
        // The set has let go of it.
        Rc::into_inner(rx_two).unwrap().close().unwrap();
        let tx = tx_one.try_clone().unwrap();
        assert_eq!(waited_while(&mut set, move || tx.send(turn).unwrap()), [1]);
        assert_eq!(rx_one.try_recv(), Ok(turn));
        // A blocking call of a member, which the set may still count.
        tx_one.send(turn).unwrap();
        assert_eq!(rx_one.recv(), Ok(turn));
    }
    set.remove(1);
    assert!(set.is_empty());
}

#[test]
fn a_handle_of_another_segment_is_refused() {
    let (_name, segment) = market();
    let (_other_name, other) = market();
    let theirs = other.channel::<u64>("jobs").capacity(1).receiver().unwrap();
    let mut set = WaitSet::new(&segment);
    let refused = set.add(&theirs, 1).unwrap_err();
    assert_eq!(refused, WaitSetError::OtherSegment { channel: "jobs".to_owned() });
    assert!(refused.to_string().contains("another segment"), "{refused}");
}

#[test]
fn a_set_takes_as_many_members_as_the_system_allows_in_one_call() {
    in_own_namespace(|| {
        // No room for bells of the participants' own.
        set_limit("sem", "64 32000 32 128");
        let name = Name::new();
        let segment = Segment::options().size(64 << 10).participants(16).channels(16);
        let segment = segment.create(&name).unwrap();
        let jobs = segment.channel::<u64>("jobs").capacity(1).lasting();
        let news = segment.broadcast::<u64>("news").capacity(2);
        let receivers: Vec<_> = (0..27).map(|_| jobs.receiver().unwrap()).collect();
        let subscriber = news.subscriber().unwrap();
        let mut set = WaitSet::new(&segment);
        for (key, receiver) in (0..26).zip(&receivers) {
            set.add(receiver, key).unwrap();
        }
        let refused = set.add(&receivers[26], 26).unwrap_err();
        let channel = "jobs".to_owned();
        assert_eq!(refused, WaitSetError::TooMany { channel, operations: 33, limit: 32 });
        for word in ["kernel.sem", "jobs", "32"] {
            assert!(refused.to_string().contains(word), "{refused}");
        }
        let mut ready = Vec::new();
        assert_eq!(set.wait(&mut ready, SHORT), Ok(0), "all of them in one call");
        // A broadcast channel takes three.
        assert!(set.add(&subscriber, 30).is_err());
        for key in 0..3 {
            assert!(set.remove(key));
        }
        set.add(&subscriber, 30).unwrap();
        // A bell that is not 0 is compared by all three.
        let publisher = news.publisher().unwrap();
        for _ in 0..3 {
            let sender = news.publisher().unwrap();
            assert_eq!(waited_while(&mut set, move || drop(sender.send(1))), [30]);
            while subscriber.try_recv().is_ok() {}
        }
        assert_eq!(set.wait(&mut ready, SHORT), Ok(0));
        drop(publisher);
    });
}

#[test]
fn a_removed_segment_ends_the_wait() {
    for count in [0, MANY] {
        let (_name, segment) = market();
        let idle = idle(&segment, count);
        let rx = segment.channel::<u64>("jobs").capacity(1).receiver().unwrap();
        let mut set = among(&segment, &idle);
        set.add(&rx, 1).unwrap();
        let (me, removed) = (tid(), segment.clone());
        let mut ready = Vec::new();
        thread::scope(|scope| {
            scope.spawn(move || {
                wait_until(|| thread_parked(me));
                removed.remove().unwrap();
            });
            assert_eq!(set.wait(&mut ready, None), Err(Fault::Closed));
        });
        assert_eq!(set.try_wait(&mut ready), Err(Fault::Closed));
    }
}

#[test]
fn a_paused_sender_is_not_ready_and_a_drained_one_is() {
    for count in [0, MANY] {
        let (_name, segment) = market();
        let idle = idle(&segment, count);
        let jobs = segment.channel::<u64>("jobs").capacity(2).lasting();
        let (tx, rx) = (jobs.sender().unwrap(), jobs.receiver().unwrap());
        let mut set = among(&segment, &idle);
        set.add(&tx, 1).unwrap();
        set.add(&rx, 2).unwrap();
        assert_eq!(ready(&mut set), [1]);
        let commander = segment.commander().unwrap();
        commander.pause(Duration::ZERO).unwrap();
        assert_eq!(ready(&mut set), [0; 0]);
        let resumed = segment.commander().unwrap();
        let keys = waited_while(&mut set, move || drop(resumed.resume(Duration::ZERO)));
        assert_eq!(keys, [1]);
        let drained = segment.commander().unwrap();
        drop(drained.drain(Duration::ZERO));
        // So are all receivers.
        let keys = ready(&mut set);
        assert_eq!((keys.len(), keys.ends_with(&[1, 2])), (count + 2, true));
        assert!(tx.try_send(1).is_err());
        assert_eq!(rx.try_recv(), Err(TryRecvError::Disconnected));
    }
}

#[test]
fn a_signal_ends_a_wait_only_where_that_was_asked_for() {
    let (name, segment) = market();
    let tx = segment.channel::<u64>("jobs").capacity(1).sender().unwrap();
    let mut peer = Peer::start("signalled", &[&name]);
    let waiting: i32 = peer.said().parse().unwrap();
    for ends in [false, true] {
        peer.tell(if ends { "ends" } else { "goes on" });
        wait_until(|| parked_for_good(peer.pid()));
        // To the thread that waits: any other one may handle what is sent to the process.
        // SAFETY: takes numbers only.
        let sent = unsafe { libc::syscall(libc::SYS_tgkill, peer.pid(), waiting, libc::SIGUSR1) };
        assert_eq!(sent, 0);
        if !ends {
            wait_until(|| peer.said_within(SHORT).as_deref() == Some("handled"));
            wait_until(|| parked_for_good(peer.pid()));
            tx.send(1).unwrap();
            peer.expect("1");
        } else {
            // Either may come first: another thread says what was handled.
            let mut said = [peer.said(), peer.said()];
            said.sort();
            assert_eq!(said, ["0", "handled"]);
        }
    }
}

/// In another process: waits, and says with how many members.
fn signalled(brief: &Brief) {
    static HANDLED: AtomicBool = AtomicBool::new(false);
    extern "C" fn note(_: i32) {
        HANDLED.store(true, Ordering::Relaxed);
    }
    // SAFETY: the handler stores one word.
    unsafe { signal(Signal::SIGUSR1, SigHandler::Handler(note)) }.unwrap();
    let segment = Segment::open(brief.text(0)).unwrap();
    let rx = segment.channel::<u64>("jobs").receiver().unwrap();
    let mut set = WaitSet::new(&segment);
    set.add(&rx, 1).unwrap();
    let mut ready = Vec::new();
    brief.say(tid());
    thread::scope(|scope| {
        for _ in 0..2 {
            let ends = brief.hear() == "ends";
            scope.spawn(|| {
                wait_until(|| HANDLED.swap(false, Ordering::Relaxed));
                brief.say("handled");
            });
            set.end_on_signals(ends);
            brief.say(set.wait(&mut ready, None).unwrap());
            while rx.try_recv().is_ok() {}
        }
    });
}

#[test]
fn a_set_in_a_forked_child_does_nothing_and_harms_nobody() {
    let (_name, segment) = market();
    let jobs = segment.channel::<u64>("jobs").capacity(2).lasting();
    let (tx, rx) = (jobs.sender().unwrap(), jobs.receiver().unwrap());
    let mut set = WaitSet::new(&segment);
    set.add(&rx, 1).unwrap();
    let (mut ready, waker) = (Vec::new(), set.waker());
    assert_eq!(set.wait(&mut ready, SHORT), Ok(0));
    // SAFETY: the child makes calls of this library and ends by `_exit`.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            let forked = set.wait(&mut ready, None) == Err(Fault::Forked)
                && set.try_wait(&mut ready) == Err(Fault::Forked)
                && set.add(&rx, 2) == Err(WaitSetError::Fault(Fault::Forked))
                && waker.wake() == Err(Fault::Forked)
                && set.remove(1);
            drop(set);
            // SAFETY: ends this process at once.
            unsafe { libc::_exit(i32::from(!forked)) }
        }
        ForkResult::Parent { child } => {
            assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 0));
        }
    }
    let other = tx.try_clone().unwrap();
    assert_eq!(waited_while(&mut set, move || other.send(5).unwrap()), [1]);
    assert_eq!(rx.recv_timeout(SHORT).map_err(|_: RecvTimeoutError| ()), Ok(5));
}

/// So many receivers, and as many senders.
const HALF: u64 = 280;

fn numbered_receiver(segment: &Segment, n: u64) -> Receiver<u64> {
    segment.channel(&n.to_string()).capacity(1).lasting().receiver().unwrap()
}

fn numbered_sender(segment: &Segment, n: u64) -> Sender<u64> {
    segment.channel(&n.to_string()).capacity(1).lasting().sender().unwrap()
}

#[test]
fn a_set_of_hundreds_of_members_is_woken_by_each_of_them() {
    // Some of them have a bit in common by which they call.
    const MEMBERS: u64 = 2 * HALF;
    let name = Name::new();
    let segment = Segment::options().size(8 << 20).participants(8).channels(MEMBERS as u16 + 1);
    let segment = segment.create(&name).unwrap();
    let receivers: Vec<_> = (0..HALF).map(|n| numbered_receiver(&segment, n)).collect();
    let senders: Vec<_> = (HALF..MEMBERS).map(|n| numbered_sender(&segment, n)).collect();
    let mortal = segment.channel::<u64>("mortal").capacity(1).receiver().unwrap();
    let mut set = WaitSet::new(&segment);
    for (key, receiver) in (0..).zip(&receivers) {
        set.add(receiver, key).unwrap();
    }
    for (key, sender) in (HALF..).zip(&senders) {
        sender.send(key).unwrap();
        set.add(sender, key).unwrap();
    }
    let mut peer = Peer::start("one of many", &[&name]);
    peer.expect("here");
    for key in (0..MEMBERS).step_by(61).chain([8, 8, 520, 520]) {
        let told = &mut peer;
        assert_eq!(waited_while(&mut set, move || told.tell(&key.to_string())), [key]);
        peer.expect("done");
        // Left as it is, it is ready again.
        assert_eq!(waited(&mut set), [key]);
        if key < HALF {
            assert_eq!(receivers[key as usize].try_recv(), Ok(key));
        } else {
            senders[(key - HALF) as usize].try_send(key).unwrap();
        }
    }
    // Some go, and the others are where they were.
    for key in (0..MEMBERS).filter(|key| key % 10 == 3) {
        assert!(set.remove(key));
    }
    let mut keys: Vec<u64> = [12, HALF + 4].into();
    for key in &keys {
        peer.tell(&key.to_string());
        peer.expect("done");
    }
    while !keys.is_empty() {
        for key in waited(&mut set) {
            keys.retain(|left| *left != key);
        }
    }
    receivers[12].try_recv().unwrap();
    senders[4].try_send(1).unwrap();
    set.add(&mortal, 2_000).unwrap();
    let dying = &mut peer;
    // Others may be ready for nothing: the dead had been there.
    assert!(waited_while(&mut set, move || dying.kill()).contains(&2_000));
    assert_eq!(mortal.try_recv(), Err(TryRecvError::Disconnected));
}

/// In another process: sends into one of the channels, or receives from it.
fn one_of_many(brief: &Brief) {
    let segment = Segment::open(brief.text(0)).unwrap();
    let _mortal = segment.channel::<u64>("mortal").sender().unwrap();
    brief.say("here");
    loop {
        let key: u64 = brief.hear().parse().unwrap();
        if key < HALF {
            numbered_sender(&segment, key).send(key).unwrap();
        } else {
            numbered_receiver(&segment, key).recv().unwrap();
        }
        brief.say("done");
    }
}

#[test]
#[ignore = "run by its parent"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    match &*brief.role {
        "actor" => actor(&brief),
        "both" => both(&brief),
        "signalled" => signalled(&brief),
        "watcher" => watcher(&brief),
        "one of many" => one_of_many(&brief),
        role => panic!("{role}"),
    }
}
