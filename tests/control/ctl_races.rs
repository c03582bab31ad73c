//! Commands that coincide: with one another, with processes that join and leave
//! meanwhile, and with what others have left behind.

#![allow(unsafe_code)]

use crate::common;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tombolo::sys::Key;
use tombolo::sys::msg::{self, Queue, Selector, Wait};
use tombolo::{CommandError, Fault, OperatingState, Outcome, Segment, TryRecvError, TrySendError};

use common::{Brief, Name, PATIENCE, Peer, Words, effort, in_own_namespace, wait_until};

/// For those who will not answer.
const SHORT: Duration = Duration::from_millis(300);
const GATE: usize = 256 / 8;
const CALLS: usize = 264 / 8;
const QUEUE: usize = 272 / 8;

fn queue_of(segment: &Segment) -> Queue {
    Queue::from_id(i32::try_from(Words::behind(segment).get(QUEUE) - 1).unwrap())
}

/// The word that says how many endpoints a participant has of a channel whose
/// block begins at `offset`.
fn row(offset: u64, slot: usize) -> usize {
    (usize::try_from(offset).unwrap() + 1_024 + 64 * slot) / 8
}

/// Where the blocks of so many channels begin, as the directory says.
fn offsets(words: &Words, participants: usize, channels: usize) -> Vec<u64> {
    let infos = (512 + 8 * participants).next_multiple_of(128);
    let journal = (infos + 128 * participants).next_multiple_of(128);
    let directory = journal + 16_384;
    (0..channels).map(|c| words.get((directory + 512 * c + 48) / 8)).collect()
}

#[test]
fn who_begins_to_send_while_a_drain_begins_is_waited_for() {
    const CHANNELS: usize = 600;
    let options = Segment::options().size(1 << 22).participants(4).channels(600);
    let name = Name::new();
    let segment = options.create(&name).unwrap();
    for n in 0..CHANNELS {
        drop(segment.channel::<u64>(&format!("{n}")).capacity(1).spsc().sender().unwrap());
    }
    // The second participant commands; the first sends.
    let other = Segment::open(&name).unwrap();
    let commander = other.commander().unwrap();
    let third = Segment::open(&name).unwrap();
    let receiver = third.channel::<u64>("0").spsc().receiver().unwrap();
    let words = Words::behind(&segment);
    let armed = row(offsets(&words, 4, 1)[0], 1);
    effort::say_how_to_repeat();
    for _ in 0..effort::rounds(3, 10) {
        // Its row there is of this life from the first time on, so it is reset.
        words.put(armed, 0);
        thread::scope(|scope| {
            let channel = segment.channel::<u64>("0").spsc();
            let commands = scope.spawn(|| {
                // It has a handle of its own.
                let commander = other.commander().unwrap();
                commander.drain(SHORT)
            });
            wait_until_soon(|| words.get(armed) != 0);
            let mut sender = channel.sender().unwrap();
            let grant = sender.try_reserve();
            let (Ok(grant), OperatingState::Open) = (grant, segment.state()) else {
                drop(commands.join());
                return;
            };
            let mut got = Vec::new();
            // The receiver answers, and takes what comes until it is told that
            // nothing does.
            let told = loop {
                match receiver.try_recv() {
                    Err(TryRecvError::Empty) if commands.is_finished() => break false,
                    Err(TryRecvError::Empty) => {}
                    Err(_) => break true,
                    Ok(message) => got.push(message),
                }
            };
            let drained = commands.join().unwrap();
            let well = drained.as_ref().is_ok_and(|d| d.answers.iter().all(|a| a.ok));
            grant.commit().unwrap();
            assert!(!told, "a message came after {drained:?}");
            assert!(!well, "{drained:?}");
            assert_eq!(receiver.try_recv().unwrap(), 0);
        });
        commander.resume(Duration::from_millis(1)).unwrap();
    }
}

fn state_of(peer: &Peer) -> char {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", peer.pid())).unwrap();
    stat.rsplit(')').next().unwrap().trim_start().chars().next().unwrap()
}

/// As soon as can be.
fn wait_until_soon(condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() && began.elapsed() < PATIENCE {
        std::hint::spin_loop();
    }
}

#[test]
fn a_drain_that_was_resumed_meanwhile_is_not_finished_by_what_was_said_before() {
    let name = Name::new();
    let options = Segment::options().size(1 << 18).participants(8).channels(4);
    let (first, commands) = (options.create(&name).unwrap(), Segment::open(&name).unwrap());
    let second = Segment::open(&name).unwrap();
    let mut sender = first.channel::<u64>("c").capacity(4).spsc().sender().unwrap();
    let receiver = second.channel::<u64>("c").spsc().receiver().unwrap();
    let answers = first.channel::<u64>("empty").capacity(4).receiver().unwrap();
    let blocked = thread::spawn(move || answers.recv());
    let words = Words::behind(&first);
    thread::scope(|scope| {
        let draining = scope.spawn(|| commands.commander().unwrap().drain(PATIENCE));
        wait_until(|| first.state() == OperatingState::Draining);
        let queue = queue_of(&first);
        // The first has answered, the second has not received.
        let calls = words.get(CALLS);
        wait_until(|| words.get(CALLS) > calls + 5 && queue.stat().unwrap().messages == 1);
        let commander = commands.commander().unwrap();
        commander.resume(SHORT).unwrap();
        let grant = sender.reserve().unwrap();
        let again = commander.drain(SHORT).unwrap();
        assert!(again.answers.iter().all(|answer| !answer.ok), "{again:?}");
        // The second's answer is true of both drains, the first's is not.
        assert!(matches!(receiver.try_recv(), Err(TryRecvError::Empty)));
        let drained = draining.join().unwrap();
        let told = receiver.try_recv();
        assert!(matches!(told, Err(TryRecvError::Empty)), "{told:?} {drained:?}");
        assert!(matches!(drained, Err(CommandError::State { .. })), "{drained:?}");
        grant.commit().unwrap();
        assert_eq!(receiver.try_recv().unwrap(), 0);
    });
    first.remove().unwrap();
    blocked.join().unwrap().unwrap_err();
}

#[test]
fn an_old_pause_is_not_acknowledged_by_whoever_has_seen_only_a_later_gate() {
    let name = Name::new();
    let options = Segment::options().size(1 << 18).participants(8).channels(4);
    let (segment, other) = (options.create(&name).unwrap(), Segment::open(&name).unwrap());
    drop(other.commander().unwrap());
    let (queue, words) = (queue_of(&segment), Words::behind(&segment));
    let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            let busy = segment.channel::<u64>("busy").capacity(64);
            let (sender, receiver) = (busy.sender().unwrap(), busy.receiver().unwrap());
            while !stop.load(Ordering::Relaxed) {
                match sender.try_send(1) {
                    Ok(()) => drop(sent.fetch_add(1, Ordering::Relaxed)),
                    Err(TrySendError::Full(_)) => while receiver.try_recv().is_ok() {},
                    Err(_) => {}
                }
            }
        });
        scope.spawn(|| {
            let called = segment.channel::<u64>("called").capacity(4).lasting();
            let _ = called.receiver().unwrap().recv();
        });
        wait_until(|| sent.load(Ordering::Relaxed) > 1_000);
        // A pause from before a resume, not yet received: to participant 0 from 1.
        let magic = u64::from_le_bytes(*b"TMBLMAIL");
        let head = [magic, words.get(4), 7, 3, 1, 1, u64::MAX / 2];
        let bytes: Vec<u8> = head.into_iter().flat_map(u64::to_le_bytes).collect();
        queue.send(1 + 32_768, &bytes, Wait::No).unwrap();
        // Somebody is about to pause it again, and stopped over that.
        words.put(GATE, 2 | words.get(GATE));
        let mut buffer = [0; 2_000];
        let reply = Selector::Type(1 + 3 + 4 + 32_768);
        let until = Instant::now() + PATIENCE;
        while queue.receive(reply, &mut buffer, Wait::No).is_err() {
            assert!(Instant::now() < until, "never acknowledged");
            // A call by others is on its way, and has come to this channel:
            // who comes and goes there changes it and rings, as that does.
            words.add(CALLS, 1);
            drop(other.channel::<u64>("called").capacity(4).lasting().sender().unwrap());
            // So as not to take the processor from the one that is to reply.
            thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(u64::from_le_bytes(buffer[24..32].try_into().unwrap()), 3 | 1 << 16);
        let then = sent.load(Ordering::Relaxed);
        // Nothing comes of it that could be waited for: a sender that went on
        // would send millions meanwhile.
        thread::sleep(SHORT);
        let now = sent.load(Ordering::Relaxed);
        stop.store(true, Ordering::Relaxed);
        let commander = other.commander().unwrap();
        commander.resume(Duration::from_millis(1)).unwrap();
        other.channel::<u64>("called").sender().unwrap().send(2).unwrap();
        assert!(now <= then + 1, "{} were sent after it had been acknowledged", now - then);
    });
}

#[test]
fn what_was_debris_is_nobodys_queue_and_what_is_in_use_is_no_orphan() {
    in_own_namespace(|| {
        let name = Name::new();
        let key = name.key(0);
        let ours = {
            let segment = Segment::create(&name).unwrap();
            drop(segment.commander().unwrap());
            let mode = queue_of(&segment).stat().unwrap().mode;
            segment.remove().unwrap();
            mode
        };
        let _ = Queue::options().mode(ours).exclusive(true).create(key).unwrap();
        let orphans = Segment::orphans().unwrap();
        assert_eq!(orphans.len(), 1, "{orphans:?}");
        let segment = Segment::create(&name).unwrap();
        let commander = segment.commander().unwrap();
        let _ = orphans[0].remove().unwrap();
        assert!(queue_of(&segment).stat().is_ok(), "removed under its users");
        assert_eq!(commander.ping(SHORT).unwrap(), []);
    });
}

#[test]
fn the_queue_of_an_anonymous_segment_goes_with_its_set() {
    in_own_namespace(|| {
        let peer = Peer::start("anonymous", &[]);
        peer.expect("made");
        peer.kill();
        peer.finish();
        assert_eq!(msg::all().unwrap().len(), 1);
        for orphan in Segment::orphans().unwrap() {
            assert!(orphan.remove().unwrap());
        }
        assert_eq!(common::tables(), (0, 0));
        assert_eq!(msg::all().unwrap().len(), 0, "a second pass would find it");
    });
}

#[test]
fn a_queue_that_is_made_after_an_orphan_was_found_goes_with_it() {
    in_own_namespace(|| {
        let name = Name::new();
        drop(Segment::create(&name).unwrap());
        let orphans = Segment::orphans().unwrap();
        drop(Segment::open(&name).unwrap().commander().unwrap());
        assert!(orphans.iter().all(|orphan| orphan.remove().unwrap()));
        assert_eq!(msg::all().unwrap().len(), 0);
    });
}

#[test]
fn queues_that_others_make_in_their_usual_ways_are_not_ours() {
    in_own_namespace(|| {
        // Meant to be octal, many of them.
        let modes = [0o600, 0o666, 0o700, 0o750, 0o755, 0o770, 0o777, 0o660, 0o644];
        let meant =
            [400, 440, 444, 600, 640, 644, 660, 664, 666, 700, 750, 755, 770, 775, 776, 777];
        let queues: Vec<_> = (1..)
            .zip(modes.into_iter().chain(meant.map(|mode| mode & 0o777)))
            .map(|(key, mode)| (mode, Queue::options().mode(mode).create(Key::new(key)).unwrap()))
            .collect();
        let orphans = Segment::orphans().unwrap();
        queues.iter().for_each(|(_, queue)| queue.remove().unwrap());
        assert!(orphans.is_empty(), "{orphans:?} of {queues:?}");
    });
}

#[test]
fn a_time_out_beyond_what_the_clock_can_say_is_none() {
    let segment = Segment::anonymous().unwrap();
    let commander = segment.commander().unwrap();
    assert_eq!(commander.ping(Duration::MAX).unwrap(), []);
    assert_eq!(commander.drain(Duration::MAX).unwrap().answers, []);
}

#[test]
fn who_answers_and_goes_has_answered() {
    let name = Name::new();
    let options = Segment::options().size(1 << 21).participants(4).channels(300);
    let segment = options.create(&name).unwrap();
    for n in 0..300 {
        drop(segment.channel::<u64>(&format!("{n}")).capacity(1).sender().unwrap());
    }
    let commander = segment.commander().unwrap();
    effort::say_how_to_repeat();
    for n in 0..effort::rounds(20, 300) {
        let goes = Segment::open(&name).unwrap();
        let inbox = goes.inbox();
        let answers = thread::scope(|scope| {
            scope.spawn(|| {
                inbox.recv().unwrap();
                drop((inbox, goes));
            });
            commander.user(b"quit", PATIENCE).unwrap()
        });
        assert_eq!(answers[0].outcome, Outcome::Done, "{n}");
    }
}

#[test]
fn a_channel_that_is_made_meanwhile_is_told_too() {
    const CHANNELS: usize = 1_000;
    let name = Name::new();
    let options = Segment::options().size(1 << 22).participants(4).channels(4_000);
    let options = options.timeout(Duration::from_millis(50));
    let segment = options.create(&name).unwrap();
    for n in 0..CHANNELS {
        drop(segment.channel::<u64>(&format!("{n}")).capacity(1).sender().unwrap());
    }
    let words = Words::behind(&segment);
    let offsets = offsets(&words, 4, CHANNELS);
    let seed = effort::seed();
    for n in (0..40).filter(|n| effort::sampled(7, seed, *n as u64)) {
        // Sooner or later: it takes a while to be stopped.
        let armed = row(offsets[CHANNELS - 1 - n % 40], 1);
        words.put(armed, 0);
        // As if somebody waited at each: to tell them takes a while.
        for block in &offsets {
            words.put((usize::try_from(*block).unwrap() + 8) / 8, 1);
        }
        let peer = Peer::start("shut", &[&name]);
        peer.expect("open");
        wait_until_soon(|| words.get(armed) != 0);
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(peer.pid()), Signal::SIGSTOP).unwrap();
        wait_until(|| state_of(&peer) == 'T' || state_of(&peer) == 'Z');
        let made = segment.channel::<u64>(&format!("late-{n}")).capacity(1).receiver();
        let open = words.get(GATE) & 0xFF == 0;
        let waits = made.map(|receiver| {
            let (says, tid) = std::sync::mpsc::channel();
            let waits = thread::spawn(move || {
                says.send(common::tid()).unwrap();
                receiver.recv_timeout(PATIENCE / 4)
            });
            let tid = tid.recv().unwrap();
            if open {
                wait_until(|| common::thread_parked(tid));
            }
            waits
        });
        peer.resume();
        wait_until_soon(|| words.get(GATE) & 0x10 != 0);
        peer.kill();
        if let Ok(waits) = waits {
            let told = waits.join().unwrap();
            assert_eq!(told, Err(tombolo::RecvTimeoutError::Fault(Fault::Shutdown)), "try {n}");
        }
        peer.finish();
        segment.commander().unwrap().resume(Duration::from_millis(1)).unwrap();
    }
}

#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    match &*brief.role {
        "anonymous" => {
            let segment = Segment::anonymous().unwrap();
            drop(segment.commander().unwrap());
            brief.say("made");
            brief.hear();
        }
        "shut" => {
            let segment = Segment::open(brief.text(0)).unwrap();
            let commander = segment.commander().unwrap();
            brief.say("open");
            drop(commander.shutdown(PATIENCE));
        }
        role => panic!("{role}"),
    }
}
