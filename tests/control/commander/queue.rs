//! The message queue of the commands: junk in it, a full one, a removed one, another
//! program's, and replies to the dead.

use std::thread;
use std::time::{Duration, Instant};

use tombolo::sys::Key;
use tombolo::sys::msg::{self, Queue, Selector, Wait};
use tombolo::{CommandError, Outcome, Segment};

use super::{Ledger, SHORT, all_ok, joined, market, queue_of};
use crate::common::{
    Name, Owned, PATIENCE, Words, in_own_namespace, parked_in, receiver, sender, wait_until,
};

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
    // Short commands still get through, and nothing keeps messages up.
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
    let _peer = joined("receive", &name, &[&"mpmc", &"c"]);
    let commander = segment.commander().unwrap();
    let first = queue_of(&segment);
    first.remove().unwrap();
    let error = commander.ping(PATIENCE).unwrap_err();
    assert!(matches!(error, CommandError::QueueRemoved { .. }), "{error}");
    drop(commander);
    let commander = segment.commander().unwrap();
    assert_ne!(queue_of(&segment), first);
    all_ok(&commander.ping(PATIENCE).unwrap());
    // Another process finds the same one. This process would not answer.
    drop((segment, commander));
    joined("command", &name, &[&"ping"]).expect("true");
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
