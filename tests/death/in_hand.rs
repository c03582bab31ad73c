//! The messages that a killed receiver of an SPSC channel had taken: its successor gets them
//! again, marked, and up to a limit.

use crate::common;

use std::thread;
use std::time::Duration;

use common::{Brief, Name, Peer, parked, thread_parked, tid, wait_until};
use tombolo::{
    ByteChannel, ByteDelivery, Channel, ChannelInfo, Delivery, Segment, Spsc, TryRecvError,
};

const RINGS: [&str; 2] = ["words", "bytes"];
const CAPACITY: usize = 6;

fn segment(attempts: u8) -> (Name, Segment) {
    let name = Name::new();
    let segment = Segment::options().size(1 << 20).participants(8).create(&name).unwrap();
    let words = segment.channel::<u64>("words").capacity(CAPACITY).redeliver(attempts);
    words.spsc().sender().unwrap();
    let bytes = segment.bytes("bytes").capacity(CAPACITY, 8).redeliver(attempts);
    bytes.spsc().sender().unwrap();
    (name, segment)
}

fn words(segment: &Segment) -> Channel<'_, u64, Spsc> {
    segment.channel("words").spsc()
}

fn bytes(segment: &Segment) -> ByteChannel<'_, Spsc> {
    segment.bytes("bytes").spsc()
}

fn send(segment: &Segment, ring: &str, message: u64) {
    match ring {
        "words" => words(segment).sender().unwrap().try_send(message).unwrap(),
        _ => bytes(segment).sender().unwrap().try_send(&message.to_le_bytes()).unwrap(),
    }
}

/// The act of a receiver that was given a message and its attempts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    Release,
    GiveBack,
}

/// Takes a message as a receiver of its own; `None` if there is none.
fn take(segment: &Segment, ring: &str, then: Then, holding: impl Fn(u64, u8)) -> Option<(u64, u8)> {
    macro_rules! taken {
        ($taken:expr, $read:expr) => {
            match $taken {
                Ok(delivery) => {
                    let got = ($read(&delivery), delivery.attempts());
                    holding(got.0, got.1);
                    match then {
                        Then::Release => delivery.release(),
                        Then::GiveBack => delivery.give_back(),
                    }
                    Some(got)
                }
                Err(TryRecvError::Empty) => None,
                Err(error) => panic!("{error}"),
            }
        };
    }
    match ring {
        "words" => {
            let mut rx = words(segment).receiver().unwrap();
            taken!(rx.try_take(), |delivery: &Delivery<'_, u64, Spsc>| delivery.read())
        }
        _ => {
            let mut rx = bytes(segment).receiver().unwrap();
            let read = |delivery: &ByteDelivery<'_, Spsc>| {
                u64::from_le_bytes(delivery.to_vec().try_into().unwrap())
            };
            taken!(rx.try_take(), read)
        }
    }
}

/// A process that does this, and is killed when it has.
#[track_caller]
fn killed(segment: &Segment, name: &Name, ring: &str, what: &str) -> String {
    let peer = Peer::start(what, &[name, &ring]);
    let said = peer.said();
    peer.kill();
    peer.finish();
    wait_until(|| segment.sweep().unwrap() || segment.participants().len() == 1);
    said
}

fn info(segment: &Segment, ring: &str) -> ChannelInfo {
    segment.channels().into_iter().find(|channel| channel.name == ring).unwrap()
}

/// Redelivered and dropped: of the last death, and of all in the channel.
fn told(segment: &Segment, ring: &str) -> [(u64, u64); 2] {
    let death = segment.deaths().recent.pop().unwrap();
    let info = info(segment, ring);
    [(death.redelivered, death.dropped), (info.redelivered, info.dropped)]
}

#[test]
fn a_message_is_marked_by_each_death_and_dropped_at_the_limit() {
    for (ring, limit) in RINGS.iter().flat_map(|ring| [0, 2, 15].map(|limit| (*ring, limit))) {
        let (name, segment) = segment(limit);
        send(&segment, ring, 1);
        send(&segment, ring, 2);
        for deaths in 0..=limit {
            // Receivers that have taken nothing leave no mark.
            assert_eq!(killed(&segment, &name, ring, "attach"), "attached");
            assert_eq!(told(&segment, ring)[0], (0, 0), "{ring}");
            drop(words(&segment).receiver().unwrap());
            drop(bytes(&segment).receiver().unwrap());
            assert_eq!(killed(&segment, &name, ring, "take"), format!("1 {deaths}"), "{ring}");
            let sum = (u64::from(limit.min(deaths + 1)), u64::from(deaths == limit));
            let last = if deaths == limit { (0, 1) } else { (1, 0) };
            assert_eq!(told(&segment, ring), [last, sum], "{ring} of {limit}");
        }
        // The next one is as new.
        let second = take(&segment, ring, Then::Release, |_, _| {});
        assert_eq!(second, Some((2, 0)), "{ring} of {limit}");
        assert_eq!(take(&segment, ring, Then::Release, |_, _| {}), None);
        assert_eq!(info(&segment, ring).dropped, 1);
        (0..CAPACITY as u64).for_each(|n| send(&segment, ring, n));
        for n in 0..CAPACITY as u64 {
            assert_eq!(take(&segment, ring, Then::Release, |_, _| {}), Some((n, 0)), "{ring}");
        }
    }
}

#[test]
fn what_was_given_back_or_received_was_in_nobodys_hands() {
    for ring in RINGS {
        let (name, segment) = segment(0);
        send(&segment, ring, 1);
        send(&segment, ring, 2);
        assert_eq!(killed(&segment, &name, ring, "give back"), "1");
        assert_eq!(told(&segment, ring), [(0, 0), (0, 0)]);
        let first = take(&segment, ring, Then::GiveBack, |_, _| {});
        assert_eq!(first, Some((1, 0)), "{ring}");
        assert_eq!(killed(&segment, &name, ring, "recv"), "1");
        assert_eq!(killed(&segment, &name, ring, "take and release"), "2");
        assert_eq!(told(&segment, ring), [(0, 0), (0, 0)]);
        send(&segment, ring, 3);
        assert_eq!(take(&segment, ring, Then::Release, |_, _| {}), Some((3, 0)), "{ring}");
    }
}

#[test]
fn a_slice_comes_again_as_far_as_it_was_taken() {
    let (name, segment) = segment(1);
    let ring = "words";
    (0..6).for_each(|n| send(&segment, ring, n));
    assert_eq!(killed(&segment, &name, ring, "slice 4"), "0..4 0");
    assert_eq!(told(&segment, ring), [(4, 0), (4, 0)]);
    let mut rx = words(&segment).receiver().unwrap();
    let slice = rx.take_slice(6).unwrap();
    assert_eq!((slice.to_vec(), slice.attempts()), (vec![0, 1, 2, 3], 1));
    // The others are given back.
    slice.release(1);
    drop(rx);
    // Of three that come again, one is in hand once more, and that is all.
    assert_eq!(killed(&segment, &name, ring, "take"), "1 1");
    assert_eq!(told(&segment, ring), [(0, 1), (4, 1)]);
    assert_eq!(killed(&segment, &name, ring, "slice part"), "2..4 1");
    assert_eq!(told(&segment, ring), [(0, 0), (4, 1)]);
    let mut rx = words(&segment).receiver().unwrap();
    let slice = rx.take_slice(6).unwrap();
    assert_eq!((slice.to_vec(), slice.attempts()), (vec![3], 1));
    drop(slice);
    let slice = rx.take_slice(6).unwrap();
    assert_eq!((slice.to_vec(), slice.attempts()), (vec![4, 5], 0));
}

#[test]
fn what_a_successor_drops_makes_room_for_a_sender_that_waits() {
    let (name, segment) = segment(0);
    for ring in RINGS {
        (0..CAPACITY as u64).for_each(|n| send(&segment, ring, n));
        assert_eq!(killed(&segment, &name, ring, "take"), "0 0");
        let (tell, told) = std::sync::mpsc::channel();
        let other = segment.clone();
        let sending = thread::spawn(move || {
            tell.send(tid()).unwrap();
            match ring {
                "words" => words(&other).sender().unwrap().send(77).unwrap(),
                _ => bytes(&other).sender().unwrap().send(&77_u64.to_le_bytes()).unwrap(),
            }
        });
        let tid = told.recv().unwrap();
        wait_until(|| thread_parked(tid));
        // It takes nothing itself.
        let peer = Peer::start("attach", &[&name, &ring]);
        peer.expect("attached");
        wait_until(|| sending.is_finished());
        sending.join().unwrap();
        assert!(!parked(peer.pid()));
        peer.kill();
        peer.finish();
        wait_until(|| segment.sweep().unwrap() || segment.participants().len() == 1);
    }
}

#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    let segment = Segment::open(brief.text(0)).unwrap();
    let ring = brief.text(1);
    let hold = |what: String| {
        brief.say(what);
        brief.hear();
    };
    let holding = |message: u64, attempts: u8| hold(format!("{message} {attempts}"));
    let spans = |slice: &[u64]| format!("{}..{}", slice[0], slice[slice.len() - 1] + 1);
    // The receiver is there until the end.
    match (&*brief.role, ring) {
        ("attach", "words") => {
            let _rx = words(&segment).receiver().unwrap();
            hold("attached".to_owned());
        }
        ("attach", _) => {
            let _rx = bytes(&segment).receiver().unwrap();
            hold("attached".to_owned());
        }
        ("take", _) => drop(take(&segment, ring, Then::Release, holding)),
        ("give back", "words") => {
            let mut rx = words(&segment).receiver().unwrap();
            let delivery = rx.take().unwrap();
            let message = delivery.read();
            delivery.give_back();
            hold(message.to_string());
        }
        ("give back", _) => {
            let mut rx = bytes(&segment).receiver().unwrap();
            let delivery = rx.take().unwrap();
            let message = delivery.to_vec()[0];
            delivery.give_back();
            hold(message.to_string());
        }
        ("recv", "words") => {
            let rx = words(&segment).receiver().unwrap();
            hold(rx.recv_timeout(Duration::from_secs(9)).unwrap().to_string());
        }
        ("recv", _) => {
            let (rx, mut into) = (bytes(&segment).receiver().unwrap(), Vec::new());
            rx.recv(&mut into).unwrap();
            hold(into[0].to_string());
        }
        ("take and release", "words") => {
            let mut rx = words(&segment).receiver().unwrap();
            let message = rx.take().unwrap().read();
            hold(message.to_string());
        }
        ("take and release", _) => {
            let mut rx = bytes(&segment).receiver().unwrap();
            let message = rx.take().unwrap().to_vec()[0];
            hold(message.to_string());
        }
        ("slice part", _) => {
            let mut rx = words(&segment).receiver().unwrap();
            let slice = rx.take_slice(6).unwrap();
            let said = format!("{} {}", spans(&slice.to_vec()), slice.attempts());
            slice.release(1);
            hold(said);
        }
        (role, _) => {
            let most = role.strip_prefix("slice ").unwrap().parse().unwrap();
            let mut rx = words(&segment).receiver().unwrap();
            let slice = rx.take_slice(most).unwrap();
            hold(format!("{} {}", spans(&slice.to_vec()), slice.attempts()));
        }
    }
}
