//! Processes that are killed, stopped or forked, or that just end.

#![allow(unsafe_code)]

use crate::common;

use std::process::Command;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::Signal;
use tombolo::sys::{Key, proc, shm::Shm};
use tombolo::{
    Fault, Kind, Message, Mpmc, Receiver, RecvError, Segment, SegmentInfo, Sender, Spsc,
    TryRecvError, TrySendError,
};

use common::{
    Brief, Child, Name, Owned, Peer, Words, own_tables, parked, segment as shm, tables, wait_until,
};

const NO_SENDER: &str = "the channel is disconnected: its last sender has gone";
const NO_RECEIVER: &str = "the channel is disconnected: its last receiver has gone";

/// Held by every test, and by one that measures alone.
static PROCESSORS: RwLock<()> = RwLock::new(());

fn share() -> RwLockReadGuard<'static, ()> {
    PROCESSORS.read().unwrap_or_else(PoisonError::into_inner)
}

/// A segment for one test, removed with it.
struct Market {
    segment: Segment,
    name: Name,
    share: Option<RwLockReadGuard<'static, ()>>,
}

impl Market {
    fn new(participants: u16) -> Market {
        let name = Name::new();
        let options = Segment::options().size(1 << 20).participants(participants).channels(4);
        Market { segment: options.create(&name).unwrap(), name, share: Some(share()) }
    }

    /// A process with one end of the channel `c`, which does as it is told.
    fn peer(&self, kind: &str, side: &str) -> Peer {
        let peer = Peer::start("puppet", &[&self.name, &kind, &side]);
        peer.expect("open");
        peer
    }

    fn make(&self, kind: &str, capacity: usize) {
        let channel = self.segment.channel::<u64>("c").capacity(capacity);
        match kind {
            "spsc" => drop(channel.spsc().sender().unwrap()),
            _ => drop(channel.mpmc().sender().unwrap()),
        }
    }

    fn depth(&self) -> u64 {
        self.segment.channels()[0].depth
    }

    fn living(&self) -> usize {
        self.segment.participants().len()
    }
}

fn parked_in(peer: &mut Peer, call: &str) {
    peer.tell(call);
    peer.wait_until_parked();
    assert!(peer.silent());
}

macro_rules! both_kinds {
    ($($name:ident)*) => {
        mod spsc { $(#[test] fn $name() { super::$name("spsc"); })* }
        mod mpmc { $(#[test] fn $name() { super::$name("mpmc"); })* }
    };
}

both_kinds! {
    a_consumer_parked_without_timeout_wakes_when_its_only_producer_is_killed
    a_producer_parked_without_timeout_wakes_when_its_only_consumer_is_killed
    what_a_killed_producer_has_sent_is_delivered_before_the_end
    a_polling_consumer_notices_a_killed_producer
    a_polling_producer_notices_a_killed_consumer
    a_killed_producer_is_succeeded_where_the_queue_is
    a_killed_consumer_is_succeeded_where_the_queue_is
    a_producer_killed_at_any_call_into_the_kernel_leaves_nobody_asleep
    a_consumer_killed_at_any_call_into_the_kernel_leaves_nobody_asleep
    a_stopped_process_is_neither_swept_nor_robbed
    a_process_that_ends_without_a_word_is_noticed
    a_process_that_panics_leaves
}

fn a_consumer_parked_without_timeout_wakes_when_its_only_producer_is_killed(kind: &str) {
    let market = Market::new(8);
    market.make(kind, 4);
    for _ in 0..10 {
        let producer = market.peer(kind, "sender");
        let mut consumer = market.peer(kind, "receiver");
        parked_in(&mut consumer, "recv");
        producer.kill();
        consumer.expect(NO_SENDER);
    }
}

fn a_producer_parked_without_timeout_wakes_when_its_only_consumer_is_killed(kind: &str) {
    let market = Market::new(8);
    market.make(kind, 2);
    for _ in 0..10 {
        let consumer = market.peer(kind, "receiver");
        let mut producer = market.peer(kind, "sender");
        while market.depth() < 2 {
            producer.tell("send 1");
            producer.expect("sent");
        }
        parked_in(&mut producer, "send 2");
        consumer.kill();
        producer.expect(NO_RECEIVER);
        assert_eq!(market.depth(), 2);
    }
}

#[test]
fn every_parked_consumer_is_told_when_the_only_producer_is_killed() {
    let market = Market::new(8);
    market.make("mpmc", 4);
    for round in 0..8 {
        let mut producer = market.peer("mpmc", "sender");
        let mut consumers: Vec<Peer> = (0..3).map(|_| market.peer("mpmc", "receiver")).collect();
        for consumer in &mut consumers {
            parked_in(consumer, "recv");
        }
        if round % 2 == 1 {
            // Something between: its wake-up may meet that of the death.
            producer.tell("send 5");
            producer.expect("sent");
        }
        producer.kill();
        let mut told = consumers.iter().filter(|consumer| match &*consumer.said() {
            "got 5" => false,
            said => said == NO_SENDER,
        });
        assert_eq!(told.by_ref().count(), if round % 2 == 1 { 2 } else { 3 });
    }
}

#[test]
fn a_producer_goes_on_when_one_of_two_consumers_is_killed() {
    let market = Market::new(8);
    market.make("mpmc", 1);
    for _ in 0..5 {
        let first = market.peer("mpmc", "receiver");
        let mut second = market.peer("mpmc", "receiver");
        let mut producer = market.peer("mpmc", "sender");
        producer.tell("send 1");
        producer.expect("sent");
        parked_in(&mut producer, "send 2");
        first.kill();
        // Woken in vain: still full, and not alone.
        wait_until(|| market.living() == 3);
        wait_until(|| parked(producer.pid()));
        assert!(producer.silent());
        second.tell("recv");
        second.expect("got 1");
        producer.expect("sent");
        second.tell("recv");
        second.expect("got 2");
    }
}

fn what_a_killed_producer_has_sent_is_delivered_before_the_end(kind: &str) {
    let market = Market::new(8);
    market.make(kind, 100);
    let mut producer = market.peer(kind, "sender");
    let mut consumer = market.peer(kind, "receiver");
    for n in 0..50 {
        producer.tell(&format!("send {n}"));
        producer.expect("sent");
    }
    producer.kill();
    for n in 0..50 {
        consumer.tell("recv");
        consumer.expect(&format!("got {n}"));
    }
    consumer.tell("recv");
    consumer.expect(NO_SENDER);
}

fn a_polling_consumer_notices_a_killed_producer(kind: &str) {
    let market = Market::new(8);
    market.make(kind, 2);
    let producer = market.peer(kind, "sender");
    let mut consumer = market.peer(kind, "receiver");
    consumer.tell("poll");
    consumer.expect("polling");
    producer.kill();
    consumer.expect(NO_SENDER);
}

fn a_polling_producer_notices_a_killed_consumer(kind: &str) {
    let market = Market::new(8);
    market.make(kind, 1);
    let consumer = market.peer(kind, "receiver");
    let mut producer = market.peer(kind, "sender");
    producer.tell("send 1");
    producer.expect("sent");
    producer.tell("poll");
    producer.expect("polling");
    consumer.kill();
    producer.expect(NO_RECEIVER);
}

fn a_killed_producer_is_succeeded_where_the_queue_is(kind: &str) {
    let market = Market::new(4);
    market.make(kind, 7);
    let mut consumer = market.peer(kind, "receiver");
    let mut expected = 0;
    // More lives than slots.
    for round in 0..15 {
        let mut producer = market.peer(kind, "sender");
        for n in 0..3 {
            producer.tell(&format!("send {}", 3 * round + n));
            producer.expect("sent");
        }
        producer.finish();
        for _ in 0..if round == 0 { 1 } else { 3 } {
            consumer.tell("recv");
            consumer.expect(&format!("got {expected}"));
            expected += 1;
        }
    }
    assert_eq!(market.depth(), 2);
}

fn a_killed_consumer_is_succeeded_where_the_queue_is(kind: &str) {
    let market = Market::new(4);
    market.make(kind, 7);
    let mut producer = market.peer(kind, "sender");
    let mut expected = 0;
    for round in 0..15 {
        let mut consumer = market.peer(kind, "receiver");
        for n in 0..3 {
            producer.tell(&format!("send {}", 3 * round + n));
            producer.expect("sent");
        }
        for _ in 0..if round == 0 { 1 } else { 3 } {
            consumer.tell("recv");
            consumer.expect(&format!("got {expected}"));
            expected += 1;
        }
        consumer.finish();
    }
    assert_eq!(market.depth(), 2);
}

/// strace, to end a process at its nth call of some; `None`, loudly, if it is
/// not installed.
fn killed_at(calls: &str, nth: u32) -> Option<Command> {
    if Command::new("strace").arg("-V").output().is_err() {
        eprintln!("SKIPPED {}: strace is not installed", thread::current().name().unwrap_or("?"));
        return None;
    }
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null", "--signal=none"]);
    strace.arg(format!("--trace={calls}"));
    strace.arg(format!("--inject={calls}:signal=KILL:when={nth}"));
    Some(strace)
}

const SEM_CALLS: &str = "semop,semtimedop";

fn a_producer_killed_at_any_call_into_the_kernel_leaves_nobody_asleep(kind: &str) {
    let mut survived = false;
    let mut published = 0;
    for nth in 1..60 {
        // No producer has ever been here.
        let market = Market::new(8);
        let channel = market.segment.channel::<u64>("c").capacity(4);
        match kind {
            "spsc" => drop(channel.spsc().receiver().unwrap()),
            _ => drop(channel.receiver().unwrap()),
        }
        let mut consumer = market.peer(kind, "receiver");
        parked_in(&mut consumer, "drain");
        let Some(strace) = killed_at(SEM_CALLS, nth) else { return };
        let producer = Peer::start_under(strace, "send and go", &[&market.name, &kind]);
        let code = producer.join();
        // Two messages, or one and no more, or nothing; and then the end, if
        // a producer was ever seen there. None of it is left.
        let mut got = 0;
        loop {
            match consumer.said_within(Duration::from_millis(300)).as_deref() {
                Some("got 7") => got += 1,
                Some(NO_SENDER) => break,
                Some(said) => panic!("{said}"),
                None => {
                    assert!(
                        parked(consumer.pid()),
                        "killed at call {nth}: neither asleep nor done"
                    );
                    assert_eq!(market.depth(), 0, "killed at call {nth}: asleep over a message");
                    // Asleep is right only while no producer has been there.
                    assert_eq!(got, 0, "killed at call {nth}: not told that it is over");
                    break;
                }
            }
        }
        published += got;
        consumer.finish();
        market.segment.sweep().unwrap();
        assert_eq!(market.living(), 1, "killed at call {nth}");
        if code == 0 {
            assert_eq!(got, 2);
            survived = true;
            break;
        }
        assert_eq!(code, -9);
    }
    assert!(survived, "the last round was to be undisturbed");
    assert!(published > 3, "some kills were to come after publishing: {published}");
}

fn a_consumer_killed_at_any_call_into_the_kernel_leaves_nobody_asleep(kind: &str) {
    let mut survived = false;
    let mut taken = 0;
    for nth in 1..60 {
        // No consumer has ever been here.
        let market = Market::new(8);
        market.make(kind, 1);
        let mut producer = market.peer(kind, "sender");
        producer.tell("send 7");
        producer.expect("sent");
        parked_in(&mut producer, "send 7");
        let Some(strace) = killed_at(SEM_CALLS, nth) else { return };
        let consumer = Peer::start_under(strace, "take one and go", &[&market.name, &kind]);
        let code = consumer.join();
        match producer.said_within(Duration::from_millis(300)).as_deref() {
            Some("sent") => taken += 1,
            // Alone before full, whether or not it could have been sent.
            Some(NO_RECEIVER) => taken += i32::from(market.depth() == 0),
            Some(said) => panic!("{said}"),
            None => {
                assert!(parked(producer.pid()), "killed at call {nth}: neither asleep nor done");
                assert_eq!(market.depth(), 1, "killed at call {nth}: asleep before free room");
                // Then no consumer has been there.
                assert_eq!(market.segment.channels()[0].receivers, 0, "killed at call {nth}");
            }
        }
        producer.finish();
        market.segment.sweep().unwrap();
        assert_eq!(market.living(), 1, "killed at call {nth}");
        if code == 0 {
            survived = true;
            break;
        }
        assert_eq!(code, -9);
    }
    assert!(survived, "the last round was to be undisturbed");
    assert!(taken > 1, "some kills were to come after taking: {taken}");
}

fn a_stopped_process_is_neither_swept_nor_robbed(kind: &str) {
    let market = Market::new(8);
    market.make(kind, 3);
    let mut producer = market.peer(kind, "sender");
    let mut consumer = market.peer(kind, "receiver");
    // Asleep in the kernel, and busy at a random instant.
    parked_in(&mut consumer, "recv");
    consumer.stop();
    producer.tell("send 1");
    producer.expect("sent");
    for _ in 0..20 {
        assert!(!market.segment.sweep().unwrap());
    }
    assert_eq!(market.living(), 3);
    consumer.resume();
    consumer.expect("got 1");

    let stop = shm(8);
    producer.tell(&format!("count {}", stop.id()));
    consumer.tell("check");
    for round in 0..40_u64 {
        let victim = if round % 2 == 0 { &producer } else { &consumer };
        victim.stop();
        // Long enough for the other one to wait, look and wait again.
        let other = if round % 2 == 0 { &consumer } else { &producer };
        wait_until(|| parked(other.pid()));
        assert!(other.silent());
        assert!(!market.segment.sweep().unwrap());
        assert_eq!(market.living(), 3);
        victim.resume();
        let until = Instant::now() + Duration::from_micros(300 + 37 * round);
        while Instant::now() < until {
            std::hint::spin_loop();
        }
    }
    Words::of(*stop).put(0, 1);
    producer.expect("counted");
    consumer.expect("checked");
}

fn a_process_that_ends_without_a_word_is_noticed(kind: &str) {
    let market = Market::new(8);
    market.make(kind, 4);
    let mut producer = market.peer(kind, "sender");
    let mut consumer = market.peer(kind, "receiver");
    parked_in(&mut consumer, "recv");
    producer.tell("exit");
    assert_eq!(producer.join(), 0);
    consumer.expect(NO_SENDER);
    wait_until(|| market.living() == 2);
}

fn a_process_that_panics_leaves(kind: &str) {
    let market = Market::new(8);
    market.make(kind, 4);
    let mut producer = market.peer(kind, "sender");
    let mut consumer = market.peer(kind, "receiver");
    parked_in(&mut consumer, "recv");
    producer.tell("panic");
    assert_eq!(producer.join(), 101);
    consumer.expect(NO_SENDER);
    // By itself, with nothing left to sweep.
    assert_eq!(market.living(), 2);
    assert!(!market.segment.sweep().unwrap());
}

#[test]
fn a_thread_that_ends_is_no_death() {
    let market = Market::new(4);
    let name = &*market.name;
    let (segment, tx) = thread::scope(|scope| {
        let open = || {
            let segment = Segment::open(name).unwrap();
            let tx = segment.channel::<u64>("c").capacity(2).sender().unwrap();
            tx.send(1).unwrap();
            (segment, tx)
        };
        scope.spawn(open).join().unwrap()
    });
    assert!(!market.segment.sweep().unwrap());
    assert!(!segment.sweep().unwrap());
    assert_eq!(market.living(), 2);
    tx.send(2).unwrap();
    assert_eq!(market.segment.channels()[0].senders, 1);
}

#[test]
fn a_forked_child_can_do_nothing_with_its_parents_handles_and_harms_nobody() {
    let market = Market::new(4);
    market.make("mpmc", 4);
    drop(market.segment.channel::<u64>("s").spsc().capacity(4).sender().unwrap());
    let forker = Peer::start("fork", &[&market.name]);
    for step in ["child ended with 0", "still sends and receives"] {
        forker.expect(step);
    }
    assert!(!market.segment.sweep().unwrap());
    assert_eq!(market.living(), 2);
    let channels = market.segment.channels();
    assert!(channels.iter().all(|c| (c.senders, c.receivers) == (1, 1)), "{channels:?}");
}

/// In the child: each is refused, and what refuses is the reason 0, or says
/// which did not.
fn use_all(
    segment: &Segment,
    tx: &Sender<u64>,
    rx: &Receiver<u64>,
    stx: &Sender<u64, Spsc>,
    srx: &Receiver<u64, Spsc>,
) -> i32 {
    let forked = |fault: &Fault| matches!(fault, Fault::Forked);
    let received = RecvError::Fault(Fault::Forked);
    let unsent = tombolo::SendError::Fault { message: 1, fault: Fault::Forked };
    let mut got = Vec::new();
    let second = Duration::from_secs(1);
    let checks = [
        tx.send(1) == Err(unsent.clone()),
        tx.try_send(1) == Err(unsent.clone().into()),
        tx.send_timeout(1, second).is_err(),
        tx.send_batch(&[1]).is_err_and(|e| e.reason == Fault::Forked.into()),
        tx.try_send_batch(&[1]).is_err_and(|e| e.reason == Fault::Forked.into()),
        rx.recv() == Err(received.clone()),
        rx.try_recv() == Err(received.clone().into()),
        rx.recv_timeout(second).is_err(),
        rx.recv_batch(&mut got, 1) == Err(received.clone()),
        stx.send(1) == Err(unsent),
        srx.recv() == Err(received),
        segment.sweep().is_err_and(|e| forked(&e)),
        segment.remove().is_err_and(|e| forked(&e)),
        segment.channel::<u64>("c").sender().is_err(),
        tx.try_clone().is_err(),
        rx.try_clone().is_err(),
    ];
    checks.iter().position(|ok| !ok).map_or(0, |failed| 1 + failed as i32)
}

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

fn alive(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// What the list says of a segment.
fn listed(segment: &Segment) -> SegmentInfo {
    Segment::list().unwrap().into_iter().find(|found| found.id == segment.id()).unwrap()
}

#[test]
fn the_dead_are_not_listed_though_nobody_has_swept_them() {
    let market = Market::new(4);
    market.make("mpmc", 4);
    let _rx = market.segment.channel::<u64>("c").receiver().unwrap();
    let peer = market.peer("mpmc", "sender");
    assert_eq!((market.living(), market.segment.channels()[0].senders), (2, 1));
    let before = listed(&market.segment);
    assert_eq!((before.participants, before.channels[0].senders), (2, 1));
    peer.kill();
    wait_until(|| market.living() == 1);
    let (now, found) = (&market.segment.channels()[0], listed(&market.segment));
    assert_eq!((now.senders, now.receivers), (0, 1));
    assert_eq!((found.participants, found.channels[0].senders), (1, 0));
    assert!(found.living_known);
    assert!(market.segment.sweep().unwrap(), "nobody had done it");
    // Without the set nobody knows.
    market.name.set(0).unwrap().remove().unwrap();
    assert!(!listed(&market.segment).living_known);
}

#[test]
fn a_message_that_comes_again_counts_as_there() {
    for kind in ["mpmc", "spsc"] {
        let market = Market::new(4);
        let channel = market.segment.channel::<u64>("c").capacity(4);
        let depth = |there: usize, rx: Option<usize>| {
            assert_eq!(market.depth(), there as u64, "{kind}");
            assert_eq!(listed(&market.segment).channels[0].depth, there as u64, "{kind}");
            assert!(rx.is_none_or(|len| len == there), "{kind}: {rx:?}");
        };
        match kind {
            "mpmc" => channel.sender().unwrap().send(1).unwrap(),
            _ => channel.spsc().sender().unwrap().send(1).unwrap(),
        }
        depth(1, None);
        let peer = Peer::start("take and wait", &[&market.name, &kind]);
        peer.expect("taken");
        peer.kill();
        wait_until(|| market.segment.sweep().unwrap());
        if kind == "mpmc" {
            let rx = market.segment.channel::<u64>("c").receiver().unwrap();
            depth(1, Some(rx.len()));
            assert_eq!(rx.try_recv().unwrap(), 1);
            depth(0, Some(rx.len()));
        } else {
            let rx = market.segment.channel::<u64>("c").spsc().receiver().unwrap();
            depth(1, Some(rx.len()));
            assert_eq!(rx.try_recv().unwrap(), 1);
            depth(0, Some(rx.len()));
        }
    }
}

/// Words of a storm's ledger; from `MESSAGES` on, four bits for each message.
mod ledger {
    use crate::common::Words;

    pub(crate) const STOP: usize = 0;
    /// Messages are numbered up to here for now.
    pub(crate) const RATION: usize = 5;
    pub(crate) const NEXT: usize = 1;
    pub(crate) const RECEIVED: usize = 2;
    pub(crate) const LAST: usize = 3;
    pub(crate) const TORN: usize = 4;
    pub(crate) const MESSAGES: usize = 16;
    pub(crate) const EACH_ROUND: u64 = 40_000;
    pub(crate) const ROOM: usize = 1 << 20;
    /// Of a message: its send has returned; how often it was received.
    pub(crate) const SENT: u64 = 1;
    pub(crate) const ONCE: u64 = 2;

    pub(crate) fn note(words: &Words, n: u64, what: u64) {
        words.add(MESSAGES + n as usize / 16, what << (n % 16 * 4));
    }

    pub(crate) fn read(words: &Words, n: u64) -> u64 {
        words.get(MESSAGES + n as usize / 16) >> (n % 16 * 4) & 15
    }
}

/// Large enough to be torn.
#[derive(Clone, Copy)]
#[repr(C)]
struct Numbered([u64; 24]);
// SAFETY: words only.
unsafe impl bytemuck::Zeroable for Numbered {}
// SAFETY: words only.
unsafe impl bytemuck::Pod for Numbered {}
impl Message for Numbered {
    const SCHEMA: &'static str = "Numbered";
}

impl Numbered {
    fn new(n: u64) -> Self {
        Self(std::array::from_fn(|i| n.wrapping_mul(2 * i as u64 + 1)))
    }

    /// The number, unless it is torn.
    fn number(&self) -> Option<u64> {
        let n = self.0[0];
        (self.0 == Self::new(n).0).then_some(n)
    }
}

struct Storm {
    kind: &'static str,
    producers: usize,
    consumers: usize,
    capacity: usize,
    kills: u32,
    stops: bool,
}

#[test]
fn a_storm_of_kills_over_many_producers_and_consumers_loses_nothing_that_was_sent() {
    Storm { kind: "mpmc", producers: 2, consumers: 2, capacity: 16, kills: 240, stops: false }
        .rage();
}

#[test]
fn a_storm_of_kills_and_stops_in_a_tiny_channel_loses_nothing_that_was_sent() {
    Storm { kind: "mpmc", producers: 2, consumers: 2, capacity: 1, kills: 120, stops: true }.rage();
}

#[test]
fn a_storm_of_kills_over_one_producer_and_one_consumer_loses_nothing_that_was_sent() {
    Storm { kind: "spsc", producers: 1, consumers: 1, capacity: 16, kills: 160, stops: true }
        .rage();
}

impl Storm {
    fn rage(&self) {
        let _share = share();
        let own = own_tables();
        let name = Name::new();
        // Fewer slots than lives by far.
        let count = u16::try_from(self.producers + self.consumers + 3).unwrap();
        let options = Segment::options().size(1 << 20).participants(count).channels(1);
        let segment = options.create(&name).unwrap();
        let book = shm(8 * (ledger::MESSAGES + ledger::ROOM));
        let words = Words::of(*book);
        self.open(&segment);
        let start = |role: &str| {
            let peer = Peer::start(role, &[&name, &self.kind, &book.id()]);
            peer.expect("open");
            peer
        };
        let mut peers: Vec<Peer> = (0..self.producers + self.consumers)
            .map(|n| start(if n < self.producers { "producer" } else { "consumer" }))
            .collect();
        let mut killed = [0, 0];
        for _ in 0..self.kills {
            let random = proc::random_u64().unwrap();
            let victim = (random % peers.len() as u64) as usize;
            // Some of them while another is stopped over its work.
            let stopped = (victim + 1) % peers.len();
            if self.stops && random >> 8 & 3 == 0 {
                peers[stopped].stop();
            }
            words.add(ledger::RATION, ledger::EACH_ROUND);
            let until = Instant::now() + Duration::from_nanos(random >> 16 & 0x1F_FFFF);
            while Instant::now() < until {
                std::hint::spin_loop();
            }
            let role = usize::from(victim >= self.producers);
            killed[role] += 1;
            peers.swap_remove(victim).finish();
            peers.push(start(["producer", "consumer"][role]));
            let last = peers.len() - 1;
            peers.swap(victim, last);
            peers[stopped].resume();
            // Nobody stalls, whatever the dead held.
            let before = words.get(ledger::RECEIVED);
            words.add(ledger::RATION, 1_000);
            wait_until(|| words.get(ledger::RECEIVED) > before + 500);
        }
        words.put(ledger::STOP, 1);
        for peer in peers {
            peer.expect("done");
            assert_eq!(peer.join(), 0);
        }
        self.settle(&segment, &words, killed);
        segment.remove().unwrap();
        drop((segment, words, book));
        if own {
            assert_eq!(tables(), (0, 0), "left in the kernel's tables");
        }
    }

    fn open(&self, segment: &Segment) {
        let channel = segment.channel::<Numbered>("c").capacity(self.capacity).redeliver(15);
        match self.kind {
            "spsc" => drop(channel.spsc().sender().unwrap()),
            _ => drop(channel.sender().unwrap()),
        }
    }

    /// What remains, and what became of everything.
    fn settle(&self, segment: &Segment, words: &Words, killed: [u64; 2]) {
        segment.sweep().unwrap();
        assert_eq!(segment.participants().len(), 1);
        let audit = Segment::check(segment.name()).unwrap();
        assert!(audit.is_sound(), "{:#?}", audit.faults);
        let channel = segment.channel::<Numbered>("c");
        let full = if self.kind == "spsc" {
            let channel = channel.spsc();
            fill_and_empty(&channel.sender().unwrap(), &channel.receiver().unwrap())
        } else {
            fill_and_empty(&channel.sender().unwrap(), &channel.receiver().unwrap())
        };
        assert_eq!(full, self.capacity, "the capacity is whole");
        let next = words.get(ledger::NEXT);
        assert!(next < 16 * ledger::ROOM as u64);
        let (mut lost, mut twice, mut unsent) = (0, 0, 0);
        for n in 0..next {
            let word = ledger::read(words, n);
            let received = word / ledger::ONCE;
            unsent += u64::from(word & ledger::SENT == 0);
            lost += u64::from(word == ledger::SENT);
            twice += received.saturating_sub(1);
        }
        let [producers, consumers] = killed;
        eprintln!(
            "{}: {next} messages, {producers} and {consumers} kills: {lost} taken by the dead, \
             {unsent} unsent",
            self.kind
        );
        assert_eq!(words.get(ledger::TORN), 0);
        assert_eq!(twice, 0, "received twice");
        assert!(unsent <= producers, "each dead producer leaves at most one unsent");
        // Taken, and dead before that was written down.
        assert!(lost <= consumers, "{lost} lost by {consumers} dead consumers");
    }
}

fn fill_and_empty<K: Kind>(tx: &Sender<Numbered, K>, rx: &Receiver<Numbered, K>) -> usize {
    let mut room = 0;
    while tx.try_send(Numbered::new(0)).is_ok() {
        room += 1;
    }
    for _ in 0..room {
        rx.try_recv().unwrap();
    }
    assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
    room
}

fn produce<K: Kind>(brief: &Brief, tx: &Sender<Numbered, K>) {
    let words = Words::of(Shm::from_id(brief.number(2)));
    brief.say("open");
    while words.get(ledger::STOP) == 0 {
        if words.get(ledger::NEXT) >= words.get(ledger::RATION) {
            thread::yield_now();
            continue;
        }
        let n = words.add(ledger::NEXT, 1);
        while let Err(error) = tx.send(Numbered::new(n)) {
            // Between two lives of the only consumer.
            assert!(error.is_disconnected(), "{error}");
        }
        ledger::note(&words, n, ledger::SENT);
    }
}

fn consume<K: Kind>(brief: &Brief, rx: &Receiver<Numbered, K>) {
    let words = Words::of(Shm::from_id(brief.number(2)));
    brief.say("open");
    loop {
        match rx.recv() {
            Ok(message) => {
                let Some(n) = message.number() else {
                    words.add(ledger::TORN, 1);
                    continue;
                };
                ledger::note(&words, n, ledger::ONCE);
                words.add(ledger::RECEIVED, 1);
                if brief.text(1) == "spsc" {
                    // What one producer's successor sends comes later.
                    assert!(n >= words.get(ledger::LAST), "out of order");
                    words.put(ledger::LAST, n);
                }
            }
            Err(RecvError::Disconnected) => {
                if words.get(ledger::STOP) == 1 {
                    return;
                }
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// Both sides busy, one channel of the default shape: hardly a message goes
/// through the kernel. A side that loses its processor is not busy, and the other
/// one may go to sleep: so the kernel is asked how often that was.
#[test]
fn busy_sides_make_less_than_one_semaphore_call_in_ten_thousand_messages() {
    const MESSAGES: u64 = 2_000_000;
    /// A sleep with its second look, and a wake-up, on both sides.
    const CALLS_PER_SWITCH: u64 = 8;
    if Command::new("strace").arg("-V").output().is_err() {
        eprintln!("SKIPPED: strace is not installed");
        return;
    }
    let mut market = Market::new(4);
    market.make("spsc", 1024);
    market.share = None;
    let _alone = PROCESSORS.write().unwrap_or_else(PoisonError::into_inner);
    let mut found = Vec::new();
    // Again, for a machine that is itself without a processor now and then.
    for _ in 0..20 {
        let summary =
            |side: &str| std::env::temp_dir().join(format!("tombolo-{}-{side}", proc::pid()));
        let peers = ["sender", "receiver"].map(|side| {
            let mut strace = Command::new("strace");
            strace.args(["-f", "-c", "--seccomp-bpf", "-e", "trace=semop,semtimedop", "-o"]);
            strace.arg(summary(side));
            let peer = Peer::start_under(strace, "busy", &[&market.name, &side, &MESSAGES]);
            peer.expect("open");
            peer
        });
        let peers = peers.map(|mut peer| {
            peer.tell("go");
            peer
        });
        let (mut calls, mut switches) = (0, 0);
        for (peer, side) in peers.into_iter().zip(["sender", "receiver"]) {
            switches += peer.said().parse::<u64>().unwrap();
            assert_eq!(peer.join(), 0);
            let text = std::fs::read_to_string(summary(side)).unwrap();
            std::fs::remove_file(summary(side)).unwrap();
            let total = text.lines().find(|line| line.ends_with("total")).unwrap();
            let columns: Vec<&str> = total.split_whitespace().collect();
            calls += columns[3].parse::<u64>().unwrap();
        }
        // Joining and leaving alone take some.
        assert!(calls >= 4, "nothing was counted");
        if calls < MESSAGES / 10_000 + CALLS_PER_SWITCH * switches {
            return;
        }
        found.push((calls, switches));
    }
    panic!("calls for {MESSAGES} messages, and switches: {found:?}");
}

fn puppet<K: Kind>(brief: &Brief, channel: &tombolo::Channel<'_, u64, K>) {
    let mut tx = None;
    let mut rx = None;
    match brief.text(2) {
        "sender" => tx = Some(channel.sender().unwrap()),
        _ => rx = Some(channel.receiver().unwrap()),
    }
    let tx = || tx.as_ref().unwrap();
    let rx = || rx.as_ref().unwrap();
    brief.say("open");
    loop {
        let line = brief.hear();
        let (word, number) = line.split_once(' ').unwrap_or((&line, "0"));
        let number = number.parse().unwrap_or(0);
        match word {
            "send" => match tx().send(number) {
                Ok(()) => brief.say("sent"),
                Err(error) => brief.say(error),
            },
            "recv" => match rx().recv() {
                Ok(got) => brief.say(format!("got {got}")),
                Err(error) => brief.say(error),
            },
            "drain" => loop {
                match rx().recv() {
                    Ok(got) => brief.say(format!("got {got}")),
                    Err(error) => break brief.say(error),
                }
            },
            "poll" => {
                brief.say("polling");
                let fault = loop {
                    let failed = match brief.text(2) {
                        "sender" => tx().try_send(2).err().and_then(TrySendError::into_fault),
                        _ => rx().try_recv().err().and_then(TryRecvError::into_fault),
                    };
                    if let Some(fault) = failed {
                        break fault;
                    }
                };
                brief.say(fault);
            }
            "count" => {
                let stop = Words::of(Shm::from_id(number as i32));
                let mut n = 0;
                while stop.get(0) == 0 {
                    tx().send(n).unwrap();
                    n += 1;
                }
                tx().send(u64::MAX).unwrap();
                brief.say("counted");
            }
            "check" => {
                let mut expected = 0;
                loop {
                    match rx().recv().unwrap() {
                        u64::MAX => break,
                        n => assert_eq!(n, expected),
                    }
                    expected += 1;
                }
                brief.say("checked");
            }
            "leave" => match unshare(CloneFlags::CLONE_NEWIPC) {
                Ok(()) => brief.say("left"),
                Err(error) => brief.say(error),
            },
            "exit" => std::process::exit(0),
            "panic" => panic!("on purpose"),
            word => panic!("{word}"),
        }
    }
}

fn send_and_go<K: Kind>(channel: &tombolo::Channel<'_, u64, K>) {
    let tx = channel.sender().unwrap();
    tx.send(7).unwrap();
    tx.send(7).unwrap();
}

fn take_one_and_go<K: Kind>(channel: &tombolo::Channel<'_, u64, K>) {
    assert_eq!(channel.receiver().unwrap().recv().unwrap(), 7);
}

#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    let segment = Segment::open(brief.text(0)).unwrap();
    let channel = segment.channel::<u64>("c");
    let spsc = brief.role != "fork" && brief.text(1) == "spsc";
    let numbered = segment.channel::<Numbered>("c");
    match (&*brief.role, spsc) {
        ("puppet", true) => puppet::<Spsc>(&brief, &channel.spsc()),
        ("puppet", false) => puppet::<Mpmc>(&brief, &channel),
        ("send and go", true) => send_and_go(&channel.spsc()),
        ("send and go", false) => send_and_go(&channel),
        ("take one and go", true) => take_one_and_go(&channel.spsc()),
        ("take one and go", false) => take_one_and_go(&channel),
        ("take and wait", spsc) => {
            let wait = || {
                brief.say("taken");
                brief.hear();
            };
            if spsc {
                let mut rx = channel.spsc().receiver().unwrap();
                let _held = rx.take().unwrap();
                wait();
            } else {
                let mut rx = channel.receiver().unwrap();
                let _held = rx.take().unwrap();
                wait();
            }
        }
        ("producer", true) => produce(&brief, &numbered.spsc().sender().unwrap()),
        ("producer", false) => produce(&brief, &numbered.sender().unwrap()),
        ("consumer", true) => consume(&brief, &numbered.spsc().receiver().unwrap()),
        ("consumer", false) => consume(&brief, &numbered.receiver().unwrap()),
        ("busy", _) => {
            let channel = channel.spsc();
            if brief.text(1) == "sender" {
                let tx = channel.sender().unwrap();
                brief.say("open");
                brief.hear();
                (0..brief.number(2)).for_each(|n| tx.send(n).unwrap());
            } else {
                let rx = channel.receiver().unwrap();
                brief.say("open");
                brief.hear();
                (0..brief.number(2)).for_each(|n| assert_eq!(rx.recv().unwrap(), n));
            }
        }
        ("fork", _) => {
            let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
            let other = segment.channel::<u64>("s").spsc();
            let (stx, srx) = (other.sender().unwrap(), other.receiver().unwrap());
            let set = tombolo::sys::sem::Set::open(common::key_of(brief.text(0), 0)).unwrap();
            let values = || {
                let mut values = vec![0; set.stat().unwrap().count];
                set.values(&mut values).unwrap();
                values
            };
            let before = values();
            let child = Child::fork(|| {
                let code = use_all(&segment, &tx, &rx, &stx, &srx);
                // SAFETY: copies whose originals are never used again: the
                // child ends without returning.
                unsafe { std::ptr::drop_in_place(&raw const tx as *mut Sender<u64>) };
                // SAFETY: as above.
                unsafe { std::ptr::drop_in_place(&raw const rx as *mut Receiver<u64>) };
                // SAFETY: as above.
                unsafe { std::ptr::drop_in_place(&raw const stx as *mut Sender<u64, Spsc>) };
                // SAFETY: as above.
                unsafe { std::ptr::drop_in_place(&raw const srx as *mut Receiver<u64, Spsc>) };
                // SAFETY: as above.
                unsafe { std::ptr::drop_in_place(&raw const segment as *mut Segment) };
                code
            });
            brief.say(format!("child ended with {}", child.join()));
            assert_eq!(values(), before, "the child touched the set");
            tx.send(1).unwrap();
            assert_eq!(rx.recv().unwrap(), 1);
            stx.send(2).unwrap();
            assert_eq!(srx.recv().unwrap(), 2);
            brief.say("still sends and receives");
            brief.hear();
        }
        (role, _) => panic!("{role}"),
    }
    match &*brief.role {
        "producer" | "consumer" => brief.say("done"),
        "busy" => {
            brief.say(getrusage(UsageWho::RUSAGE_SELF).unwrap().involuntary_context_switches())
        }
        _ => {}
    }
}
