//! One message to each of several channels, or to none.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tombolo::{
    ChannelError, Fault, RecvError, Segment, SendAll, SendError, SendTimeoutError, TryRecvError,
    TrySendError,
};

use crate::common::{Name, Words, thread_parked, tid, wait_until};

#[test]
fn a_message_goes_to_each_channel_of_every_kind() {
    let segment = Segment::anonymous().unwrap();
    let values = segment.channel::<[u64; 20]>("values").capacity(3);
    let single = segment.channel::<u8>("single").capacity(3).spsc();
    let texts = segment.bytes("texts").capacity(3, 1_000);
    let records = segment.bytes("records").capacity(3, 1_000).spsc();
    let ends = (
        values.sender().unwrap(),
        single.sender().unwrap(),
        texts.sender().unwrap(),
        records.sender().unwrap(),
    );
    let all = SendAll::new(ends).unwrap();
    let (values, single) = (values.receiver().unwrap(), single.receiver().unwrap());
    let (texts, records) = (texts.receiver().unwrap(), records.receiver().unwrap());
    // Around the ring some times, short bytes and long ones.
    for n in 0..20_u8 {
        let bytes = vec![n; 50 * usize::from(n)];
        all.send(([n.into(); 20], n, &bytes, &bytes)).unwrap();
        assert_eq!((values.recv(), single.recv()), (Ok([n.into(); 20]), Ok(n)));
        let (mut text, mut record) = (Vec::new(), Vec::new());
        assert_eq!(texts.recv(&mut text).unwrap(), bytes.len());
        assert_eq!(records.recv(&mut record).unwrap(), bytes.len());
        assert_eq!((&text, &record), (&bytes, &bytes));
    }
    let (by_itself, ..) = all.senders();
    by_itself.send([7; 20]).unwrap();
    assert_eq!(values.recv(), Ok([7; 20]));
    drop(all.into_senders());
    assert_eq!(values.recv(), Err(RecvError::Disconnected));
}

#[test]
fn a_full_channel_is_named_and_nothing_is_sent() {
    let segment = Segment::anonymous().unwrap();
    let channel = |name| segment.channel::<u64>(name).capacity(2);
    let ends = ["a", "b", "c"].map(|name| channel(name).sender().unwrap());
    let all = SendAll::new(ends.each_ref()).unwrap();
    let texts = segment.bytes("texts").capacity(1, 500).sender().unwrap();
    for full in [0, 1, 2] {
        ends[full].send(1).unwrap();
        ends[full].send(2).unwrap();
        let error = all.try_send([7, 8, 9]).unwrap_err();
        assert_eq!((error.position, error.channel()), (full, ["a", "b", "c"][full]));
        assert_eq!(error.reason, TrySendError::Full([7, 8, 9]));
        assert!(error.to_string().contains(error.channel()));
        let after = Instant::now() + Duration::from_millis(2);
        let error = all.send_deadline([7, 8, 9], after).unwrap_err();
        assert_eq!(error.position, full);
        assert_eq!(error.reason, SendTimeoutError::Timeout([7, 8, 9]));
        // Long bytes had a block by then, and gave it back.
        let mixed = SendAll::new((&texts, &ends[full])).unwrap();
        let error = mixed.try_send((&[1; 500], 7)).unwrap_err();
        assert_eq!((error.position, error.reason), (1, TrySendError::Full(((), 7))));
        let receiver = channel(["a", "b", "c"][full]).receiver().unwrap();
        assert_eq!((receiver.recv(), receiver.recv()), (Ok(1), Ok(2)));
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        // A sender that has met a receiver is told when it goes.
        std::mem::forget(receiver);
    }
    assert!(ends.iter().all(tombolo::Sender::is_empty) && texts.is_empty());
    // All the room there was is there.
    texts.send(&[2; 500]).unwrap();
    all.try_send([1, 2, 3]).unwrap();
    all.try_send([1, 2, 3]).unwrap();
    assert!(all.try_send([1, 2, 3]).unwrap_err().reason.is_full());
}

#[test]
fn what_does_not_fit_is_refused_before_anything_is_sent() {
    let segment = Segment::anonymous().unwrap();
    let texts = segment.bytes("texts").capacity(2, 10);
    let numbers = segment.channel::<u64>("numbers").capacity(2);
    let (texts, numbers) = (texts.sender().unwrap(), numbers.sender().unwrap());
    let both = SendAll::new((&numbers, &texts)).unwrap();
    let error = both.send((7, b"eleven char")).unwrap_err();
    assert_eq!(error.channel(), "texts");
    let too_long = SendError::TooLong { message: (7, ()), length: 11, longest: 10 };
    assert_eq!(error.reason, too_long);
    assert!(numbers.is_empty());
    let list = SendAll::new(vec![&texts]).unwrap();
    assert!(list.send_timeout(&[b"eleven char"], Duration::MAX).unwrap_err().reason.is_too_long());
    list.send(&[b"ten chars."]).unwrap();
    assert_eq!(texts.len(), 1);
    SendAll::new(Vec::<&tombolo::ByteSender>::new()).unwrap().send(&[]).unwrap();
}

#[test]
fn senders_that_cannot_send_together_are_refused() {
    let segment = Segment::anonymous().unwrap();
    let same = segment.channel::<u64>("same").capacity(1);
    let (one, two) = (same.sender().unwrap(), same.sender().unwrap());
    let twice = SendAll::new((&one, &two)).unwrap_err();
    assert_eq!(twice, ChannelError::Twice { channel: "same".to_owned() });
    let another = Segment::anonymous().unwrap();
    let other = another.channel::<u64>("other").capacity(1).sender().unwrap();
    let error = SendAll::new((&one, &other)).unwrap_err();
    assert!(matches!(&error, ChannelError::OtherSegment { channel, .. } if channel == "other"));
}

#[test]
fn who_cannot_complete_a_joint_send_is_named() {
    let name = Name::new();
    let segment = Segment::options().participants(2).channels(1).create(&name).unwrap();
    let other = Segment::open(&name).unwrap();
    // The kinds that an earlier build of participant 1 knew.
    Words::behind(&segment).put(80 + 16 + 5, 1 << 5 | 1 << 6);
    let only = segment.channel::<u64>("only").capacity(1).sender().unwrap();
    let error = SendAll::new([&only]).unwrap_err();
    let pid = std::process::id().into();
    assert_eq!(error, ChannelError::EarlierBuild { segment: name.to_string(), pid });
    drop(other);
    SendAll::new([&only]).unwrap().send([7]).unwrap();
}

#[test]
fn a_send_waits_until_there_is_room_in_all_channels() {
    let segment = Segment::anonymous().unwrap();
    let channels = ["a", "b"].map(|name| segment.channel::<u64>(name).capacity(1));
    let receivers = channels.each_ref().map(|channel| channel.receiver().unwrap());
    for order in [[0, 1], [1, 0]] {
        let ends = channels.each_ref().map(|channel| channel.sender().unwrap());
        ends.iter().for_each(|end| end.send(1).unwrap());
        let (asleep, sent) = (AtomicU64::new(0), AtomicBool::new(false));
        thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                asleep.store(tid() as u64, Ordering::Release);
                let all = SendAll::new(ends).unwrap();
                all.send([2, 3]).unwrap();
                sent.store(true, Ordering::Release);
            });
            let parked = || thread_parked(asleep.load(Ordering::Acquire) as i32);
            wait_until(parked);
            assert_eq!(receivers[order[0]].recv(), Ok(1));
            // It has nothing in the one that has room: another one gets that.
            wait_until(parked);
            assert!(!sent.load(Ordering::Acquire));
            assert_eq!(receivers[order[0]].try_recv(), Err(TryRecvError::Empty));
            assert_eq!(receivers[order[1]].recv(), Ok(1));
            waiting.join().unwrap();
        });
        assert_eq!((receivers[0].recv(), receivers[1].recv()), (Ok(2), Ok(3)));
    }
}

#[test]
fn a_channel_whose_receivers_have_gone_is_named_and_ends_a_wait() {
    let segment = Segment::anonymous().unwrap();
    let (here, there) =
        (segment.channel::<u64>("here").capacity(1), segment.channel::<u64>("there").capacity(1));
    let stays = here.receiver().unwrap();
    let goes = there.receiver().unwrap();
    let ends = (here.sender().unwrap(), there.sender().unwrap());
    let asleep = AtomicU64::new(0);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            asleep.store(tid() as u64, Ordering::Release);
            let both = SendAll::new(ends).unwrap();
            both.send((1, 2)).unwrap();
            both.send((3, 4)).unwrap_err()
        });
        assert_eq!(stays.recv(), Ok(1));
        wait_until(|| thread_parked(asleep.load(Ordering::Acquire) as i32));
        drop(goes);
        let error = waiting.join().unwrap();
        assert_eq!((error.position, error.channel()), (1, "there"));
        assert_eq!(error.reason, SendError::Disconnected((3, 4)));
    });
    assert!(matches!(stays.recv(), Err(RecvError::Disconnected)), "nothing of it was sent");
}

#[test]
fn a_pause_and_the_end_of_the_segment_are_those_of_every_send() {
    let segment = Segment::anonymous().unwrap();
    let channel = |name| segment.channel::<u64>(name).capacity(1).lasting();
    let both = SendAll::new((channel("a").sender().unwrap(), channel("b").sender().unwrap()));
    let both = both.unwrap();
    let commander = segment.commander().unwrap();
    commander.pause(Duration::from_secs(5)).unwrap();
    assert_eq!(both.try_send((1, 2)).unwrap_err().reason, TrySendError::Paused((1, 2)));
    commander.resume(Duration::from_secs(5)).unwrap();
    both.try_send((1, 2)).unwrap();
    segment.remove().unwrap();
    let error = both.send((3, 4)).unwrap_err();
    assert_eq!(error.reason, SendError::Fault { message: (3, 4), fault: Fault::Closed });
}

/// Messages: the number of the sender, its set of channels, and a count.
const fn number(sender: u64, set: u64, n: u64) -> u64 {
    sender << 40 | set << 32 | n
}

#[test]
fn many_senders_of_overlapping_sets_wait_for_each_other_only_for_a_moment() {
    const EACH: u64 = 400;
    let segment = Segment::anonymous().unwrap();
    let channel = |n: usize| segment.channel::<u64>(["a", "b", "c"][n]).capacity([1, 2, 5][n]);
    let ends = || [0, 1, 2].map(|n| channel(n).sender().unwrap());
    // In every order, more than there are tickets, beside senders to one channel.
    let sets: [&[usize]; 9] =
        [&[0, 1], &[1, 0], &[1, 2], &[2, 1], &[0, 2], &[2, 0], &[0, 1, 2], &[2, 1, 0], &[1]];
    let got: Vec<Vec<u64>> = thread::scope(|scope| {
        let receivers: Vec<_> = (0..3)
            .map(|n| {
                let receiver = channel(n).receiver().unwrap();
                scope.spawn(move || {
                    let got: Result<Vec<u64>, _> = receiver.iter().collect();
                    got.unwrap()
                })
            })
            .collect();
        for sender in 0..18 {
            let [a, b, c] = ends();
            let set = sets[sender % sets.len()];
            scope.spawn(move || {
                let all = [&a, &b, &c];
                let own: Vec<_> = set.iter().map(|&n| all[n]).collect();
                let mask = set.iter().fold(0, |mask, &n| mask | 1 << n);
                let together = SendAll::new(own).unwrap();
                for n in 0..EACH {
                    let message = number(sender as u64, mask, n);
                    let messages = vec![message; set.len()];
                    match n % 3 {
                        0 => {
                            while together.try_send(&messages).is_err() {
                                thread::yield_now();
                            }
                        }
                        1 => together.send(&messages).unwrap(),
                        _ => together.send_timeout(&messages, Duration::from_secs(60)).unwrap(),
                    }
                }
            });
        }
        receivers.into_iter().map(|receiver| receiver.join().unwrap()).collect()
    });
    for (n, got) in got.iter().enumerate() {
        let mut expected: Vec<u64> = Vec::new();
        for sender in 0..18 {
            let set = sets[sender % sets.len()];
            let mask = set.iter().fold(0, |mask, &n| mask | 1 << n);
            if set.contains(&n) {
                expected.extend((0..EACH).map(|n| number(sender as u64, mask, n)));
            }
        }
        let mut sorted = got.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, expected, "channel {n}");
        // Each sender's messages are in its order.
        let mut last = [None; 18];
        for message in got {
            let sender = (message >> 40) as usize;
            assert!(last[sender] < Some(message & 0xFFFF_FFFF));
            last[sender] = Some(message & 0xFFFF_FFFF);
        }
    }
}

#[test]
fn senders_of_any_type_are_among_those_that_send_together_and_publishers_are_not() {
    let segment = Segment::anonymous().unwrap();
    let numbers = segment.channel::<u32>("numbers").capacity(2);
    let texts = segment.bytes("texts").capacity(2, 100).spsc();
    let notes = segment.channel::<u64>("notes").capacity(2).spsc();
    let (numbers, texts) = (numbers.receiver().unwrap(), texts.receiver().unwrap());
    let note = notes.receiver().unwrap();
    let any = |name: &str| segment.open_channel(name).unwrap().sender().unwrap();
    let ends = (any("numbers"), any("texts"), notes.sender().unwrap());
    let all = SendAll::new(ends).unwrap();
    let seven = 7_u32.to_ne_bytes();
    all.send((&seven, b"seven", 7)).unwrap();
    assert!(all.try_send((&seven, b"seven", 7)).is_ok());
    let full = all.try_send((&seven, b"seven", 7)).unwrap_err();
    assert!(full.reason.is_full());
    let short = all.send((b"six", b"six", 6)).unwrap_err();
    assert_eq!(short.channel(), "numbers");
    assert!(short.reason.is_too_short());
    let mut text = Vec::new();
    for _ in 0..2 {
        texts.recv(&mut text).unwrap();
        assert_eq!((numbers.recv(), &text[..], note.recv()), (Ok(7), &b"seven"[..], Ok(7)));
    }
    assert_eq!((numbers.len(), texts.len(), note.len()), (0, 0, 0));
    drop(segment.broadcast::<u32>("news").capacity(2).publisher().unwrap());
    let news = any("news");
    assert!(matches!(SendAll::new([&news]), Err(ChannelError::Mismatch { .. })));
}
