//! Commands reach all participants, blocked or busy. All obey them, and commands
//! never affect the messages.

#![allow(unsafe_code)]

#[allow(dead_code)]
use crate::command;
use crate::common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tombolo::sys::msg::{self, Queue, Selector, Wait};
use tombolo::sys::{Key, shm::Shm};
use tombolo::{Answer, CommandError, Fault, OperatingState, Outcome, Segment, TrySendError};

use command::{Running, run, text};
use common::{
    Brief, Name, Owned, PATIENCE, Peer, RINGS, Words, in_own_namespace, own_tables, parked_in,
    receiver, sender, wait_until,
};

/// For those who will not answer.
const SHORT: Duration = Duration::from_millis(300);

fn market() -> (Name, Segment) {
    let name = Name::new();
    let options = Segment::options().size(1 << 18).participants(16).channels(16);
    let segment = options.create(&name).unwrap();
    (name, segment)
}

/// A peer that has joined and does what it is told to.
fn joined(role: &str, name: &Name, args: &[&dyn std::fmt::Display]) -> Peer {
    let mut all: Vec<&dyn std::fmt::Display> = vec![name];
    all.extend(args);
    let peer = Peer::start(role, &all);
    peer.expect("open");
    peer
}

#[track_caller]
fn all_ok(answers: &[Answer]) {
    assert!(!answers.is_empty() && answers.iter().all(|answer| answer.ok), "{answers:?}");
}

#[track_caller]
fn answer_of<'a>(answers: &'a [Answer], peer: &Peer) -> &'a Answer {
    let of_it = |answer: &&Answer| answer.pid == peer.pid().cast_unsigned();
    answers.iter().find(of_it).unwrap_or_else(|| panic!("{answers:?}"))
}

/// The queue that a segment's header names.
fn queue_of(segment: &Segment) -> Queue {
    let word = Words::behind(segment).get(272 / 8);
    Queue::from_id(i32::try_from(word - 1).unwrap())
}

#[test]
fn blocked_and_busy_ones_answer_at_every_ring() {
    let (name, segment) = market();
    let commander = segment.commander().unwrap();
    for ring in RINGS {
        let blocked = [
            joined("receive", &name, &[&ring, &format!("{ring}-empty")]),
            joined("send", &name, &[&ring, &format!("{ring}-full")]),
        ];
        let busy = joined("poll", &name, &[&ring, &format!("{ring}-polled")]);
        let listening = joined("listen", &name, &[]);
        blocked.iter().chain([&listening]).for_each(Peer::wait_until_parked);
        for _ in 0..3 {
            let answers = commander.ping(PATIENCE).unwrap();
            assert_eq!(answers.len(), 4);
            all_ok(&answers);
        }
        let answers = commander.stats(PATIENCE).unwrap();
        let Outcome::Stats(stats) = answer_of(&answers, &busy).outcome else { panic!() };
        assert_eq!((stats.senders, stats.receivers), (1, 1));
        let Outcome::Stats(stats) = answer_of(&answers, &blocked[1]).outcome else { panic!() };
        assert_eq!((stats.senders, stats.receivers, stats.commands), (1, 0, 4));
        assert!(stats.sleeps >= 1);
        // They have gone back to waiting.
        blocked.iter().chain([&listening]).for_each(Peer::wait_until_parked);
    }
}

#[test]
fn several_that_wait_at_one_bell_all_answer() {
    let (name, segment) = market();
    let peers: Vec<Peer> = (0..6).map(|_| joined("receive", &name, &[&"mpmc", &"one"])).collect();
    peers.iter().for_each(Peer::wait_until_parked);
    let commander = segment.commander().unwrap();
    for _ in 0..20 {
        let answers = commander.ping(PATIENCE).unwrap();
        assert_eq!(answers.len(), 6);
        all_ok(&answers);
    }
}

#[test]
fn a_stopped_one_is_silent_in_time_and_a_dead_one_is_dead() {
    let (name, segment) = market();
    let (stopped, well) =
        (joined("receive", &name, &[&"mpmc", &"c"]), joined("receive", &name, &[&"mpmc", &"c"]));
    well.wait_until_parked();
    stopped.stop();
    let commander = segment.commander().unwrap();
    let answers = commander.ping(SHORT).unwrap();
    assert!(answer_of(&answers, &well).ok);
    let silent = answer_of(&answers, &stopped);
    assert_eq!(silent.outcome, Outcome::Silent { waited: SHORT, stopped: true });
    // Long before the time is over.
    let queue = queue_of(&segment);
    let asking = thread::spawn(move || commander.ping(PATIENCE).unwrap());
    wait_until(|| queue.stat().unwrap().messages >= 2);
    stopped.kill();
    let answers = asking.join().unwrap();
    assert_eq!(answer_of(&answers, &stopped).outcome, Outcome::Died);
    assert!(!answer_of(&answers, &stopped).ok && answer_of(&answers, &well).ok);

    let leaves = joined("receive", &name, &[&"mpmc", &"c"]);
    leaves.stop();
    let asked = leaves.pid().cast_unsigned();
    let commander = segment.commander().unwrap();
    let asking = thread::spawn(move || commander.shutdown(PATIENCE).unwrap());
    wait_until(|| segment.state() == OperatingState::Shutdown);
    leaves.resume();
    leaves.expect("Shutdown");
    assert_eq!(leaves.join(), 0);
    let answers = asking.join().unwrap();
    let of_it = answers.iter().find(|answer| answer.pid == asked).unwrap();
    // It obeyed, and answered or was gone before that.
    assert!(of_it.ok && matches!(of_it.outcome, Outcome::Done | Outcome::Left), "{of_it:?}");
}

/// What a sender and a receiver have counted.
struct Ledger(Owned<Shm>, Words);

impl Ledger {
    fn new() -> Self {
        let shm = common::segment(4096);
        let words = Words::of(*shm);
        Self(shm, words)
    }
    fn sent(&self) -> u64 {
        self.1.get(0)
    }
    fn received(&self) -> u64 {
        self.1.get(1)
    }
}

#[test]
fn nothing_is_sent_while_paused_and_nothing_is_lost() {
    for ring in RINGS {
        let (name, segment) = market();
        let ledger = Ledger::new();
        let single = common::single(ring);
        let ends = if single { 1 } else { 2 };
        let start = |role| {
            let args: [&dyn std::fmt::Display; 3] = [&ring, &"c", &ledger.0.id()];
            (0..ends).map(|_| joined(role, &name, &args)).collect::<Vec<Peer>>()
        };
        let (senders, receivers) = (start("pour"), start("drink"));
        let commander = segment.commander().unwrap();
        for _ in 0..5 {
            let before = ledger.sent();
            wait_until(|| ledger.sent() > before + 100);
            all_ok(&commander.pause(PATIENCE).unwrap());
            assert_eq!(segment.state(), OperatingState::Paused);
            senders.iter().for_each(Peer::wait_until_parked);
            wait_until(|| ledger.received() == ledger.sent());
            let paused = ledger.sent();
            // Each has been back to the channel and found it paused.
            for _ in 0..10 {
                all_ok(&commander.ping(PATIENCE).unwrap());
            }
            assert_eq!((ledger.sent(), ledger.received()), (paused, paused));
            all_ok(&commander.resume(PATIENCE).unwrap());
            wait_until(|| ledger.received() > paused);
        }
        let drained = commander.drain(PATIENCE).unwrap();
        all_ok(&drained.answers);
        assert_eq!(drained.left, []);
        for sender in senders {
            sender.expect("Drained");
            assert_eq!(sender.join(), 0);
        }
        for receiver in receivers {
            receiver.expect("Disconnected");
            assert_eq!(receiver.join(), 0);
        }
        assert_eq!(ledger.received(), ledger.sent(), "{ring}");
        assert!(segment.channels().iter().all(|channel| channel.depth == 0));
    }
}

#[test]
fn who_does_not_wait_is_told_why_and_gets_its_message_back() {
    let segment = Segment::anonymous().unwrap();
    let other = Segment::open_id(segment.id()).unwrap();
    let commander = other.commander().unwrap();
    let channel = segment.channel::<u64>("c").capacity(4);
    let (mut sender, receiver) = (channel.sender().unwrap(), channel.receiver().unwrap());
    let bytes = segment.bytes("b").capacity(4, 8);
    let (byte_sender, _byte_receiver) = (bytes.sender().unwrap(), bytes.receiver().unwrap());
    // Nobody answers, as nobody is in a call; everybody obeys.
    assert!(!commander.pause(SHORT).unwrap()[0].ok);
    assert!(matches!(sender.try_send(7), Err(TrySendError::Paused(7))));
    assert_eq!(byte_sender.try_send(b"7"), Err(TrySendError::Paused(())));
    assert_eq!(sender.try_send_batch(&[1, 2]).unwrap(), 0);
    assert_eq!(sender.try_reserve().unwrap_err(), TrySendError::Paused(()));
    let timed = sender.send_timeout(8, SHORT);
    assert!(matches!(timed, Err(tombolo::SendTimeoutError::Timeout(8))));
    assert_eq!(receiver.len(), 0);
    // A sender that comes later, too.
    assert!(matches!(channel.sender().unwrap().try_send(9), Err(TrySendError::Paused(9))));

    assert!(!commander.resume(SHORT).unwrap()[0].ok);
    sender.try_send(7).unwrap();
    let drain = commander.drain(SHORT).unwrap();
    assert_eq!(drain.left, [("c".to_owned(), 1)]);
    let drained = TrySendError::Fault { message: 8, fault: Fault::Drained };
    assert_eq!(sender.try_send(8), Err(drained));
    // It has not been acknowledged, so the receiver is not told yet.
    assert_eq!(receiver.recv().unwrap(), 7);
    assert!(matches!(receiver.try_recv(), Err(tombolo::TryRecvError::Empty)));
    assert!(matches!(commander.pause(SHORT), Err(CommandError::State { .. })));
}

#[test]
fn a_pause_is_acknowledged_when_what_was_begun_is_through() {
    for kind in ["mpmc", "spsc", "slice"] {
        let segment = Segment::anonymous().unwrap();
        let other = Segment::open_id(segment.id()).unwrap();
        let commander = other.commander().unwrap();
        let channel = segment.channel::<u64>("c").capacity(4);
        let (begun, told) = mpsc::channel();
        let (go, gone) = mpsc::channel::<()>();
        let writer = {
            let segment = segment.clone();
            let kind = kind.to_owned();
            thread::spawn(move || {
                let channel = segment.channel::<u64>("c").capacity(4);
                if kind == "mpmc" {
                    let mut sender = channel.sender().unwrap();
                    let grant = sender.reserve().unwrap();
                    begun.send(()).unwrap();
                    gone.recv().unwrap();
                    grant.commit().unwrap();
                } else {
                    let mut sender = channel.spsc().sender().unwrap();
                    if kind == "slice" {
                        let grant = sender.reserve_slice(2).unwrap();
                        begun.send(()).unwrap();
                        gone.recv().unwrap();
                        drop(grant);
                    } else {
                        let grant = sender.reserve().unwrap();
                        begun.send(()).unwrap();
                        gone.recv().unwrap();
                        grant.commit().unwrap();
                    }
                }
            })
        };
        told.recv().unwrap();
        // Another thread of that process, which could answer for it.
        let blocked = {
            let segment = segment.clone();
            thread::spawn(move || {
                let channel = segment.channel::<u64>("other").capacity(4);
                channel.receiver().unwrap().recv()
            })
        };
        wait_until(|| segment.channels().iter().any(|c| c.name == "other" && c.receivers == 1));
        let answers = commander.pause(SHORT).unwrap();
        assert!(matches!(answers[0].outcome, Outcome::Silent { .. }), "{kind}: {answers:?}");
        go.send(()).unwrap();
        all_ok(&commander.pause(PATIENCE).unwrap());
        writer.join().unwrap();
        segment.remove().unwrap();
        assert!(blocked.join().unwrap().is_err());
        let _ = channel;
    }
}

#[test]
fn what_is_shut_down_is_over_for_all_until_it_is_resumed() {
    for ring in RINGS {
        let (name, segment) = market();
        let peers = [
            joined("receive", &name, &[&ring, &"empty"]),
            joined("send", &name, &[&ring, &"full"]),
            joined("poll", &name, &[&ring, &"polled"]),
        ];
        peers[..2].iter().for_each(Peer::wait_until_parked);
        let commander = segment.commander().unwrap();
        all_ok(&commander.shutdown(PATIENCE).unwrap());
        for peer in peers {
            peer.expect("Shutdown");
            assert_eq!(peer.join(), 0);
        }
        let late = joined("receive", &name, &[&ring, &"empty"]);
        late.expect("Shutdown");
        assert!(matches!(commander.pause(SHORT), Err(CommandError::State { .. })));
        commander.resume(SHORT).unwrap();
        let again = joined("receive", &name, &[&ring, &"empty"]);
        again.wait_until_parked();
        sender(&segment, ring, "empty").send(5).unwrap();
        again.expect("got 5");
    }
}

#[test]
fn a_commander_that_is_killed_at_once_is_obeyed_all_the_same() {
    let (name, segment) = market();
    for (verb, state) in [
        ("pause", OperatingState::Paused),
        ("resume", OperatingState::Open),
        ("shutdown", OperatingState::Shutdown),
    ] {
        let blocked = joined("receive", &name, &[&"mpmc", &"c"]);
        blocked.wait_until_parked();
        let commands = joined("command", &name, &[&verb]);
        wait_until(|| segment.state() == state);
        commands.kill();
        if state == OperatingState::Shutdown {
            blocked.expect("Shutdown");
        } else {
            blocked.wait_until_parked();
        }
    }
}

/// Fills the queue with messages of every kind of address and content.
fn stuff(queue: Queue) -> u64 {
    let mut types = [1, 2, 3, 4, 5, 9, 10, 4711, 1 << 40, i64::MAX].into_iter().cycle();
    let mut byte = 0_u8;
    for len in [0, 1, 8, 55, 56, 57, 1_080, 1_081, 4_000].into_iter().cycle() {
        let junk: Vec<u8> = (0..len)
            .map(|_| {
                byte = byte.wrapping_mul(5).wrapping_add(3);
                byte
            })
            .collect();
        if queue.send(types.next().unwrap(), &junk, Wait::No).is_err() {
            while queue.send(1, b"", Wait::No).is_ok() {}
            return queue.stat().unwrap().messages;
        }
    }
    unreachable!()
}

#[test]
fn junk_is_in_nobodys_way() {
    let (name, segment) = market();
    let ledger = Ledger::new();
    let args: [&dyn std::fmt::Display; 3] = [&"mpmc", &"c", &ledger.0.id()];
    let peers = [joined("pour", &name, &args), joined("drink", &name, &args)];
    let blocked = joined("receive", &name, &[&"mpmc", &"empty"]);
    blocked.wait_until_parked();
    let commander = segment.commander().unwrap();
    let queue = queue_of(&segment);
    for _ in 0..3 {
        assert!(stuff(queue) > 10);
        let before = ledger.received();
        all_ok(&commander.ping(PATIENCE).unwrap());
        wait_until(|| ledger.received() > before + 1_000);
        all_ok(&commander.pause(PATIENCE).unwrap());
        all_ok(&commander.resume(PATIENCE).unwrap());
    }
    drop(peers);
}

#[test]
fn a_queue_full_of_what_is_still_waited_for_says_so_in_time() {
    let (name, segment) = market();
    let stopped = joined("receive", &name, &[&"mpmc", &"c"]);
    stopped.stop();
    let commander = segment.commander().unwrap();
    let askers: Vec<_> = (0..40)
        .map(|_| {
            let segment = segment.clone();
            thread::spawn(move || {
                let commander = segment.commander().unwrap();
                commander.user(&[7; 1_024], Duration::from_secs(5)).unwrap()
            })
        })
        .collect();
    wait_until(|| queue_of(&segment).stat().is_ok_and(|stat| stat.bytes + 1_080 > stat.max_bytes));
    let began = Instant::now();
    let answers = commander.user(&[8; 1_024], SHORT).unwrap();
    assert_eq!(answers[0].outcome, Outcome::QueueFull { waited: SHORT });
    assert!(began.elapsed() < PATIENCE);
    // What is short still gets through, and nothing keeps messages up.
    let tx = sender(&segment, "mpmc", "other");
    let rx = receiver(&segment, "mpmc", "other");
    tx.send(1).unwrap();
    assert_eq!(rx.recv().unwrap(), 1);
    stopped.resume();
    for asker in askers {
        let answers = asker.join().unwrap();
        assert!(matches!(answers[0].outcome, Outcome::NobodyTakes | Outcome::QueueFull { .. }));
    }
    all_ok(&commander.ping(PATIENCE).unwrap());
}

#[test]
fn a_removed_queue_is_an_error_and_the_next_commander_makes_another() {
    let (name, segment) = market();
    let peer = joined("receive", &name, &[&"mpmc", &"c"]);
    let commander = segment.commander().unwrap();
    let first = queue_of(&segment);
    first.remove().unwrap();
    let error = commander.ping(PATIENCE).unwrap_err();
    assert!(matches!(error, CommandError::QueueRemoved { .. }), "{error}");
    let commander = segment.commander().unwrap();
    assert_ne!(queue_of(&segment), first);
    all_ok(&commander.ping(PATIENCE).unwrap());
    // Another process finds the same one.
    let output = run(&["ctl", &name, "ping", "--json"]);
    assert_eq!(output.status.code(), Some(1), "this process does not answer");
    assert!(text(&output.stdout).contains(&format!("\"pid\":{},", peer.pid())));
}

#[test]
fn another_programs_queue_is_left_alone_and_debris_is_replaced() {
    let (name, segment) = market();
    let key = name.key(0);
    let foreign = Owned(Queue::options().mode(0o600).exclusive(true).create(key).unwrap());
    foreign.send(5, b"theirs", Wait::No).unwrap();
    let error = segment.commander().unwrap_err();
    assert!(matches!(error, CommandError::Foreign { .. }), "{error}");
    assert_eq!(foreign.stat().unwrap().messages, 1);
    segment.remove().unwrap();
    assert_eq!(foreign.stat().unwrap().messages, 1);
    drop(foreign);

    // One that was killed before it could say which queue it has made.
    let debris = Queue::options().mode(0o601).exclusive(true).create(key).unwrap();
    debris.send(1, b"old", Wait::No).unwrap();
    let segment = Segment::create(&name).unwrap();
    let peer = joined("receive", &name, &[&"mpmc", &"c"]);
    let commander = segment.commander().unwrap();
    assert_ne!(queue_of(&segment), debris);
    assert!(debris.stat().is_err());
    all_ok(&commander.ping(PATIENCE).unwrap());
    drop(peer);
    segment.remove().unwrap();
    assert!(Queue::open(key).is_err());
}

#[test]
fn the_queue_goes_with_the_segment_and_orphans_are_found() {
    in_own_namespace(|| {
        let queues = || msg::all().unwrap().len();
        let name = Name::new();
        let segment = Segment::options().transient(true).create(&name).unwrap();
        drop(segment.commander().unwrap());
        assert_eq!(queues(), 1);
        drop(segment);
        assert_eq!(queues(), 0, "the last to leave removes it");

        let segment = Segment::create(&name).unwrap();
        drop(segment.commander().unwrap());
        drop(segment);
        assert_eq!(queues(), 1);
        let orphans = Segment::orphans().unwrap();
        assert!(orphans.iter().all(|orphan| orphan.remove().unwrap()));
        assert_eq!(queues(), 0, "as an orphan's");

        // Left by one that was killed between the set and the queue.
        let left = Queue::options().mode(0o601).create(Key::new(4711)).unwrap();
        let foreign = Queue::options().mode(0o600).create(Key::new(4712)).unwrap();
        let orphans = Segment::orphans().unwrap();
        assert_eq!(orphans.len(), 1, "{orphans:?}");
        assert!(orphans[0].what.contains("message queue"), "{orphans:?}");
        assert!(orphans[0].remove().unwrap());
        assert!(left.stat().is_err() && foreign.stat().is_ok());
        foreign.remove().unwrap();
    });
}

#[test]
fn a_successor_never_sees_the_reply_to_a_dead_one() {
    let (name, segment) = market();
    let server = joined("receive", &name, &[&"mpmc", &"c"]);
    server.wait_until_parked();
    drop(segment.commander().unwrap());
    let queue = queue_of(&segment);
    // This process would not answer.
    drop(segment);
    for stale in 0..10 {
        server.stop();
        let client = joined("command", &name, &[&"ping"]);
        wait_until(|| queue.stat().unwrap().last_send_pid == client.pid());
        // It has woken the server as well.
        wait_until(|| parked_in(client.pid(), &[libc::SYS_ppoll]));
        client.stop();
        server.resume();
        // The reply is in the queue, in place of the request.
        wait_until(|| queue.stat().unwrap().last_send_pid == server.pid());
        assert_eq!(queue.stat().unwrap().messages, stale + 1);
        client.kill();
        client.finish();
        // Takes the slot that has become free.
        let successor = joined("command", &name, &[&"ping"]);
        successor.expect("true");
        assert_eq!(queue.stat().unwrap().messages, stale + 1, "its own was there, and is taken");
    }
}

#[test]
fn applications_take_their_commands_in_order_or_say_that_they_do_not() {
    let segment = Segment::anonymous().unwrap();
    let other = Segment::open_id(segment.id()).unwrap();
    let commander = other.commander().unwrap();
    let channel = segment.channel::<u64>("c").capacity(4);
    let receiver = channel.receiver().unwrap();
    let blocked = thread::spawn(move || receiver.recv());
    let outcome = |answers: Vec<Answer>| answers[0].outcome.clone();
    assert_eq!(outcome(commander.user(b"x", PATIENCE).unwrap()), Outcome::NobodyTakes);
    let inbox = segment.inbox();
    for n in 0..64_u8 {
        assert_eq!(outcome(commander.user(&[n], PATIENCE).unwrap()), Outcome::Done);
    }
    assert_eq!(outcome(commander.user(b"x", PATIENCE).unwrap()), Outcome::InboxFull);
    for n in 0..64_u8 {
        assert_eq!(inbox.try_recv().unwrap().unwrap().payload, [n]);
    }
    assert_eq!(inbox.try_recv().unwrap(), None);
    assert!(inbox.recv_timeout(Duration::from_millis(10)).unwrap().is_none());
    let waits = thread::spawn(move || inbox.recv());
    assert_eq!(outcome(commander.user(b"late", PATIENCE).unwrap()), Outcome::Done);
    assert_eq!(waits.join().unwrap().unwrap().payload, b"late");
    let error = commander.user(&[0; 1_025], PATIENCE).unwrap_err();
    assert!(matches!(error, CommandError::TooLong { length: 1_025, longest: 1_024 }), "{error}");
    segment.remove().unwrap();
    assert!(blocked.join().unwrap().is_err());
    assert!(matches!(commander.ping(PATIENCE), Err(CommandError::Fault(Fault::Closed))));
}

/// A request, by the document.
fn request(generation: u64, id: u64, verb: u64, from: (u64, u64), deadline: u64) -> Vec<u8> {
    let magic = u64::from_le_bytes(*b"TMBLMAIL");
    let words = [magic, generation, id, verb, from.0, from.1, deadline];
    words.into_iter().flat_map(u64::to_le_bytes).collect()
}

#[test]
fn what_is_urgent_overtakes_what_is_not() {
    let (name, segment) = market();
    let server = joined("receive", &name, &[&"mpmc", &"c"]);
    server.wait_until_parked();
    server.stop();
    let commander = segment.commander().unwrap();
    let queue = queue_of(&segment);
    let words = Words::behind(&segment);
    let member = |pid: i32| {
        let infos = (512_usize + 8 * 16).next_multiple_of(128);
        let of_it = |slot: &usize| words.get((infos + 128 * slot) / 8) == pid as u64;
        let slot = (0..16).find(of_it).unwrap();
        (slot as u64, words.get(64 + slot) >> 32)
    };
    let own = member(std::process::id().cast_signed());
    let its = member(server.pid());
    let address = |of: (u64, u64), band: u64| (1 + (band | of.0 << 2 | of.1 << 15)).cast_signed();
    let generation = words.get(4);
    let late = u64::MAX / 2;
    // Stats, ping, resume: each after what is more urgent.
    for (id, verb, band) in [(100, 2, 2), (101, 2, 2), (102, 1, 1), (103, 4, 0)] {
        let bytes = request(generation, id, verb, own, late);
        queue.send(address(its, band), &bytes, Wait::No).unwrap();
    }
    // Not answered: in the past, of another segment.
    for bytes in [request(generation, 104, 1, own, 1), request(generation ^ 1, 105, 1, own, late)] {
        queue.send(address(its, 1), &bytes, Wait::No).unwrap();
    }
    words.add(264 / 8, 1);
    server.resume();
    let mut order = Vec::new();
    wait_until(|| {
        // It is blocked, and looks when it is called.
        let blocked = segment.channels().iter().all(|channel| channel.receivers == 1);
        let mut buffer = [0; 2_000];
        let wake = || sender(&segment, "mpmc", "c");
        if blocked && order.is_empty() {
            drop(wake());
        }
        while let Ok(got) = queue.receive(Selector::Type(address(own, 3)), &mut buffer, Wait::No) {
            let word = |n: usize| u64::from_le_bytes(buffer[8 * n..8 * n + 8].try_into().unwrap());
            assert!(got.len >= 56);
            assert_eq!((word(1), word(4), word(5)), (generation, its.0, its.1));
            order.push((word(2), word(3)));
        }
        order.len() >= 4
    });
    let done = 1 << 16;
    assert_eq!(order, [(103, 4 | done), (102, 1 | done), (100, 2 | done), (101, 2 | done)]);
    drop(commander);
}

#[test]
fn the_command_prints_a_row_for_each_and_says_how_it_went() {
    let (name, segment) = market();
    let peers: Vec<Peer> = (0..2).map(|_| joined("receive", &name, &[&"mpmc", &"c"])).collect();
    drop(segment);
    for verb in ["ping", "stats", "pause", "resume"] {
        let output = run(&["ctl", &name, verb, "--json"]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let mut pids = BTreeMap::new();
        for line in text(&output.stdout).lines() {
            let row: Value = serde_json::from_str(line).unwrap();
            assert_eq!((&row["verb"], &row["ok"]), (&verb.into(), &true.into()), "{row}");
            assert!(row["error"].is_null() && row["participant"].is_string());
            pids.insert(row["pid"].as_i64().unwrap(), row);
        }
        assert_eq!(pids.len(), 2);
        assert!(peers.iter().all(|peer| pids.contains_key(&i64::from(peer.pid()))));
    }
    peers[0].stop();
    let output = run(&["ctl", &name, "ping", "--timeout", "0.3"]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stdout);
    assert!(said.contains("its process is stopped") && said.contains("done"), "{said}");
    peers[0].resume();
    let output = run(&["ctl", &name, "shutdown"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    for peer in peers {
        peer.expect("Shutdown");
    }
    for (args, why) in [
        (&["ctl", &name, "sing"][..], "invalid value 'sing'"),
        (&["ctl", &name, "user"], "TEXT"),
        (&["ctl", &name, "ping", "text"], "only `user` takes"),
        (&["ctl", &name, "pause"], "is shutdown"),
        (&["ctl", "no/such/segment", "ping"], "there is no segment"),
    ] {
        command::assert_refused(args, why);
    }
}

#[test]
fn nothing_of_it_stays_when_the_segment_is_removed() {
    if !own_tables() {
        return;
    }
    let name = Name::new();
    let segment = Segment::create(&name).unwrap();
    drop(segment.commander().unwrap());
    assert_eq!(msg::all().unwrap().len(), 1);
    let output = run(&["rm", &name]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(msg::all().unwrap().len(), 0);
    drop(segment);
}

#[test]
fn lines_end_well_on_both_sides_when_they_are_drained() {
    let tables = command::Tables::new();
    let name = Name::new();
    // Lines without an end.
    let mut yes = std::process::Command::new("yes")
        .arg("a line")
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let send = {
        let mut send = command::tombolo(&["send", &name, "--lines"]);
        Running(send.stdin(yes.stdout.take().unwrap()).spawn().unwrap())
    };
    let (reader, writer) = tombolo::sys::pipe::pair().unwrap();
    // The command keeps the end that it hands over.
    let recv = {
        let mut recv = command::tombolo(&["recv", &name, "--lines"]);
        Running(recv.stdout(writer).spawn().unwrap())
    };
    let counted = thread::spawn(move || {
        let mut lines = BufReader::new(reader).lines();
        lines.try_fold(0_u64, |count, line| {
            line.map(|line| {
                assert_eq!(line, "a line");
                count + 1
            })
        })
    });
    let depth = || {
        let all = Segment::list().unwrap();
        all.iter()
            .filter(|s| s.name == *name)
            .flat_map(|s| s.channels.clone())
            .map(|c| c.senders)
            .sum::<u64>()
    };
    wait_until(|| depth() >= 3);
    let output = run(&["ctl", &name, "pause", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    let output = run(&["ctl", &name, "resume"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    let output = run(&["ctl", &name, "drain", "--timeout", "20"]);
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
    let (send, recv) = (send.end(), recv.end());
    let (said, heard) = (text(&send.stderr), text(&recv.stderr));
    assert_eq!((send.status.code(), recv.status.code()), (Some(0), Some(0)), "{said}{heard}");
    let bytes: u64 = said.split(' ').find_map(|word| word.parse().ok()).unwrap();
    assert_eq!(counted.join().unwrap().unwrap() * 7, bytes, "{said}");
    let _ = yes.kill();
    let _ = yes.wait();
    drop(name);
    tables.assert_empty();
}

fn word_for(fault: &Fault) -> String {
    match fault {
        Fault::Shutdown => "Shutdown".to_owned(),
        Fault::Drained => "Drained".to_owned(),
        Fault::Disconnected { .. } => "Disconnected".to_owned(),
        fault => fault.to_string(),
    }
}

#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    let segment = Segment::open(brief.text(0)).unwrap();
    let ring = || (brief.text(1), brief.text(2));
    match &*brief.role {
        "listen" => {
            brief.say("open");
            let events = segment.events();
            while events.recv().is_ok() {}
        }
        "receive" => {
            let (ring, channel) = ring();
            let rx = receiver(&segment, ring, channel);
            brief.say("open");
            match rx.recv() {
                Ok(n) => brief.say(format!("got {n}")),
                Err(fault) => brief.say(word_for(&fault)),
            }
        }
        "send" => {
            let (ring, channel) = ring();
            let tx = sender(&segment, ring, channel);
            brief.say("open");
            let fault = (0..).find_map(|n| tx.send(n).err()).unwrap();
            brief.say(word_for(&fault));
        }
        "poll" => {
            let (ring, channel) = ring();
            let tx = sender(&segment, ring, channel);
            let rx = receiver(&segment, ring, channel);
            brief.say("open");
            let fault = (0..).find_map(|n| tx.try_send(n).err().or_else(|| rx.try_recv().err()));
            brief.say(word_for(&fault.unwrap()));
        }
        "pour" | "drink" => {
            let (ring, channel) = ring();
            let ledger = Words::of(Shm::from_id(brief.number(3)));
            let fault = if brief.role == "pour" {
                let tx = sender(&segment, ring, channel);
                brief.say("open");
                loop {
                    match tx.send(1) {
                        Ok(()) => drop(ledger.add(0, 1)),
                        Err(fault) => break fault,
                    }
                }
            } else {
                let rx = receiver(&segment, ring, channel);
                brief.say("open");
                loop {
                    match rx.recv() {
                        Ok(_) => drop(ledger.add(1, 1)),
                        Err(fault) => break fault,
                    }
                }
            };
            brief.say(word_for(&fault));
        }
        "command" => {
            brief.say("open");
            let commander = segment.commander().unwrap();
            let answers = match brief.text(1) {
                "ping" => commander.ping(PATIENCE),
                "pause" => commander.pause(PATIENCE),
                "resume" => commander.resume(PATIENCE),
                _ => commander.shutdown(PATIENCE),
            };
            let ok: Vec<String> = answers.unwrap().iter().map(|a| a.ok.to_string()).collect();
            brief.say(ok.join(" "));
            brief.hear();
        }
        role => panic!("{role}"),
    }
}
