//! Every participant obeys a command, whether or not it answers, and answers if it can.

use std::fmt::Display;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tombolo::{Answer, CommandError, Fault, OperatingState, Outcome, Segment, TrySendError};

use super::{Ledger, SHORT, all_ok, answer_of, joined, market, queue_of};
use crate::common::{self, PATIENCE, Peer, RINGS, sender, wait_until};

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

#[test]
fn nothing_is_sent_while_paused_and_nothing_is_lost() {
    for ring in RINGS {
        let (name, segment) = market();
        let ledger = Ledger::new();
        let single = common::single(ring);
        let ends = if single { 1 } else { 2 };
        let start = |role| {
            let args: [&dyn Display; 3] = [&ring, &"c", &ledger.0.id()];
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
