//! Handles for several threads, and messages and places that are held without a borrow.

#![allow(unsafe_code)]

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::thread;

use tombolo::{
    AnyReceiver, AnySender, Broadcast, ChannelError, ChannelKind, Fault, Mpmc, Ready, RecvError,
    RecvTimeoutError, Segment, SendError, Shared, Side, TryRecvError, TrySendError, WaitSet,
};

use crate::common::{Brief, Child, PATIENCE, Peer, market, thread_parked, tid, wait_until};

const KINDS: [ChannelKind; 6] = [
    ChannelKind::Mpmc,
    ChannelKind::MpmcBytes,
    ChannelKind::Spsc,
    ChannelKind::SpscBytes,
    ChannelKind::Broadcast,
    ChannelKind::BroadcastBytes,
];

/// Both ends of a channel of four messages of 200 bytes; of broadcast, for a publisher and a
/// reliable subscriber.
fn ends(segment: &Segment, kind: ChannelKind) -> (Shared<AnySender>, Shared<AnyReceiver>) {
    let name = name(kind);
    let spec = segment.any_channel(&name, kind).element(200, 8, "u8").longest(200).capacity(4);
    let channel = spec.publishers(3).open().unwrap();
    let receiver = if channel.is_broadcast() {
        channel.reliable_subscriber_from(Default::default()).unwrap()
    } else {
        channel.receiver().unwrap()
    };
    (channel.sender().unwrap().into_shared(), receiver.into_shared())
}

fn name(kind: ChannelKind) -> String {
    kind.to_string().replace(' ', "-")
}

fn is_broadcast(kind: ChannelKind) -> bool {
    matches!(kind, ChannelKind::Broadcast | ChannelKind::BroadcastBytes)
}

fn is_single(kind: ChannelKind) -> bool {
    matches!(kind, ChannelKind::Spsc | ChannelKind::SpscBytes)
}

fn message(n: u8) -> [u8; 200] {
    [n; 200]
}

fn send(sender: &Shared<AnySender>, numbers: impl IntoIterator<Item = u8>) {
    for n in numbers {
        sender.lend().unwrap().try_send(&message(n)).unwrap();
    }
}

/// What is received without waiting.
fn received(receiver: &Shared<AnyReceiver>) -> Vec<u8> {
    let receiver = receiver.lend().unwrap();
    receiver.try_iter().map(|message| message.unwrap()[0]).collect()
}

fn in_use<T: std::fmt::Debug>(ended: Result<T, Fault>, side: Side) {
    let fault = ended.unwrap_err();
    assert!(matches!(&fault, Fault::InUse { side: whose, .. } if *whose == side), "{fault}");
}

#[test]
fn several_messages_are_held_at_once_and_end_in_any_order_and_thread() {
    let (_name, segment) = market(8, 64);
    for kind in [ChannelKind::Mpmc, ChannelKind::MpmcBytes] {
        let (sender, receiver) = ends(&segment, kind);
        send(&sender, 1..=4);
        let held: Vec<_> = (0..4).map(|_| receiver.take().unwrap()).collect();
        let texts: Vec<_> = held.iter().map(|delivery| delivery.to_vec()).collect();
        assert_eq!(texts, (1..=4).map(|n| message(n).to_vec()).collect::<Vec<_>>());
        assert_eq!(sender.try_reserve(200).unwrap_err(), TrySendError::Full(()));
        let [one, two, three, four] = held.try_into().unwrap();
        thread::spawn(move || three.release()).join().unwrap();
        one.give_back();
        four.give_back_counted();
        assert_eq!(received(&receiver), [1, 4]);
        // Until they come round to the place of what is held.
        send(&sender, [5]);
        assert!(sender.lend().unwrap().try_send(&message(6)).is_err());
        drop(two);
        send(&sender, 6..=7);
        assert_eq!(received(&receiver), [5, 6, 7]);
        assert_eq!(receiver.lend().unwrap().len(), 0);
    }
}

#[test]
fn messages_of_a_type_are_held_as_well() {
    let (_name, segment) = market(8, 64);
    let numbers = segment.channel::<u64>("numbers").capacity(4);
    let (sender, receiver) =
        (numbers.sender().unwrap().into_shared(), numbers.receiver().unwrap().into_shared());
    let mut grants = [sender.reserve().unwrap(), sender.try_reserve().unwrap()];
    grants[1].write(&2);
    grants[0].write(&1);
    let [first, second] = grants;
    second.commit().unwrap();
    // In the order of the reservations.
    assert!(matches!(receiver.try_take(), Err(TryRecvError::Pending)));
    first.commit().unwrap();
    let (one, two) = (receiver.take().unwrap(), receiver.take_timeout(PATIENCE).unwrap());
    assert_eq!((one.read(), two.read(), two.attempts()), (1, 2, 0));
    two.give_back_counted();
    let two = receiver.take().unwrap();
    assert_eq!((two.read(), two.attempts()), (2, 1));

    let lines = segment.bytes("lines").capacity(4, 100);
    let (sender, receiver) =
        (lines.sender().unwrap().into_shared(), lines.receiver().unwrap().into_shared());
    let (mut first, mut second) = (sender.reserve(9).unwrap(), sender.reserve(9).unwrap());
    // Each in memory of its own.
    assert_eq!((first.write_at(0, b"first"), second.write_at(0, b"second")), (5, 6));
    second.commit(6).unwrap();
    first.commit(5).unwrap();
    let lines = [receiver.take().unwrap(), receiver.take().unwrap()];
    assert_eq!(lines.each_ref().map(|line| line.to_vec()), [&b"second"[..], b"first"]);
}

#[test]
fn several_places_are_held_at_once_and_what_is_not_committed_is_not_seen() {
    let (_name, segment) = market(8, 64);
    for kind in KINDS.into_iter().filter(|kind| !is_single(*kind)) {
        let (sender, receiver) = ends(&segment, kind);
        let mut grants: Vec<_> = (0..2).map(|_| sender.try_reserve(200).unwrap()).collect();
        for (n, grant) in (1..).zip(&mut grants) {
            assert_eq!(grant.write(&message(n)), 200);
        }
        let [first, second] = grants.try_into().unwrap();
        drop(first);
        second.commit(200).unwrap();
        // The capacity is whole again.
        send(&sender, 3..=5);
        assert_eq!(received(&receiver), [2, 3, 4, 5]);
    }
    // A publisher for each place: three in all, of which one is for calls.
    let (sender, _receiver) = ends(&segment, ChannelKind::Broadcast);
    let _held = [sender.reserve(200).unwrap(), sender.reserve(200).unwrap()];
    let none = sender.reserve(200).unwrap_err();
    let SendError::Fault { fault: Fault::NoHandle { why }, .. } = none else { panic!("{none}") };
    assert!(why.contains("has 3 publishers, and that is the limit"), "{why}");
    sender.lend().unwrap().send(&message(1)).unwrap();
}

#[test]
fn an_end_that_there_is_once_does_one_thing_at_a_time_and_says_so() {
    let (_name, segment) = market(8, 64);
    for kind in KINDS {
        let (sender, receiver) = ends(&segment, kind);
        send(&sender, 1..=2);
        if is_single(kind) {
            let grant = sender.reserve(200).unwrap();
            in_use(sender.lend().map(drop), Side::Sender);
            let refused = sender.try_reserve(200).unwrap_err();
            assert!(
                matches!(&refused, TrySendError::Fault { fault: Fault::InUse { .. }, .. }),
                "{refused}"
            );
            grant.abort();
        }
        if !matches!(kind, ChannelKind::Mpmc | ChannelKind::MpmcBytes) {
            let held = receiver.take().unwrap();
            in_use(receiver.lend().map(drop), Side::Receiver);
            let refused = receiver.take().unwrap_err();
            assert!(matches!(&refused, RecvError::Fault(Fault::InUse { .. })), "{refused}");
            // Also while another thread has a call.
            held.give_back();
            let lent = receiver.lend().unwrap();
            in_use(
                receiver.try_take().map(drop).map_err(|e| e.into_fault().unwrap()),
                Side::Receiver,
            );
            drop(lent);
        }
        assert_eq!(received(&receiver), [1, 2]);
    }
}

#[test]
fn a_lossy_subscriber_holds_a_copy() {
    let (_name, segment) = market(8, 64);
    let news = segment.any_channel("news", ChannelKind::BroadcastBytes).longest(9).capacity(2);
    let news = news.open().unwrap();
    let (publisher, subscriber) = (news.sender().unwrap(), news.receiver().unwrap().into_shared());
    publisher.send(b"one").unwrap();
    let held = subscriber.take().unwrap();
    (0..100).for_each(|_| publisher.send(b"more").unwrap());
    assert_eq!(held.to_vec(), b"one");
    drop(held);
    assert!(subscriber.take().unwrap_err().lagged().is_some());
}

#[test]
fn what_is_held_keeps_the_end_and_the_memory() {
    let (segment_name, segment) = market(8, 64);
    for kind in KINDS {
        let (sender, receiver) = ends(&segment, kind);
        send(&sender, 1..=3);
        let theirs = Segment::open(&segment_name).unwrap();
        let channel = theirs.open_channel(&name(kind)).unwrap();
        let held = receiver.take().unwrap();
        let (pointer, count) = (held.as_ptr(), held.len());
        drop(receiver);
        let mut grant = sender.try_reserve(200).unwrap();
        assert_eq!(grant.write(&message(9)), 200);
        sender.close().unwrap();
        // SAFETY: the message is held, so its memory is there.
        let bytes = unsafe { std::slice::from_raw_parts(pointer, count) };
        assert_eq!(bytes, message(1));
        // It is still an end: no other one takes its place.
        if is_single(kind) {
            let taken = channel.receiver().unwrap_err();
            assert!(matches!(taken, ChannelError::RoleTaken { .. }), "{taken}");
        }
        grant.commit(200).unwrap();
        drop(held);
        if is_single(kind) {
            let rest: Vec<_> = channel
                .receiver()
                .unwrap()
                .into_shared()
                .lend()
                .unwrap()
                .try_iter()
                .map(|message| message.unwrap()[0])
                .collect();
            assert_eq!(rest, [2, 3, 9]);
        }
    }
    // All of this process's handles are gone: so is the process from the segment.
    drop(segment);
}

#[test]
fn what_is_held_of_a_removed_segment_can_be_read_and_ended() {
    for kind in KINDS {
        let (_name, segment) = market(8, 64);
        let (sender, receiver) = ends(&segment, kind);
        send(&sender, 1..=3);
        let (held, grant) = (receiver.take().unwrap(), sender.reserve(200).unwrap());
        segment.remove().unwrap();
        drop(segment);
        assert_eq!(held.to_vec(), message(1));
        drop((sender, receiver));
        grant.abort();
        assert_eq!(held.to_vec(), message(1));
        held.give_back();
    }
}

#[test]
fn who_holds_messages_is_told_at_once_that_the_senders_have_gone() {
    let (_name, segment) = market(8, 64);
    for kind in [ChannelKind::Mpmc, ChannelKind::MpmcBytes] {
        let (sender, receiver) = ends(&segment, kind);
        send(&sender, 1..=2);
        let held = [receiver.take().unwrap(), receiver.take().unwrap()];
        drop(sender);
        // By any of its handles.
        assert_eq!(receiver.take().unwrap_err(), RecvError::Disconnected);
        assert_eq!(receiver.lend().unwrap().recv(&mut Vec::new()), Err(RecvError::Disconnected));
        for delivery in held {
            delivery.give_back();
        }
        assert_eq!(received(&receiver), [1, 2]);
    }
}

#[test]
fn threads_share_the_ends_and_each_message_comes_once() {
    const THREADS: u64 = 4;
    const EACH: u64 = 2_000;
    let (_name, segment) = market(8, 64);
    let numbers = segment.channel::<u64>("numbers").capacity(16);
    let (sender, receiver) =
        (numbers.sender().unwrap().into_shared(), numbers.receiver().unwrap().into_shared());
    let all = Mutex::new(BTreeSet::new());
    thread::scope(|scope| {
        for n in 0..THREADS {
            let (sender, receiver, all) = (sender.clone(), receiver.clone(), &all);
            scope.spawn(move || {
                for message in n * EACH..(n + 1) * EACH {
                    if message % 3 == 0 {
                        let mut grant = sender.reserve().unwrap();
                        grant.write(&message);
                        grant.commit().unwrap();
                    } else {
                        sender.lend().unwrap().send(message).unwrap();
                    }
                }
            });
            scope.spawn(move || {
                for at in 0..EACH {
                    let got = if at % 3 == 0 {
                        receiver.lend().unwrap().recv().unwrap()
                    } else {
                        receiver.take().unwrap().read()
                    };
                    assert!(all.lock().unwrap().insert(got), "{got} came twice");
                }
            });
        }
    });
    assert_eq!(all.into_inner().unwrap().len() as u64, THREADS * EACH);
}

#[test]
fn all_handles_are_cancelled_together_and_those_that_are_made_later_too() {
    let (_name, segment) = market(8, 64);
    let (sender, receiver) = ends(&segment, ChannelKind::Mpmc);
    let cancelled = |ended: Result<_, RecvTimeoutError>| {
        assert!(matches!(ended, Err(RecvTimeoutError::Fault(Fault::Cancelled))), "{ended:?}");
    };
    thread::scope(|scope| {
        let waits = [(); 3].map(|()| {
            let (say, heard) = std::sync::mpsc::channel();
            let receiver = receiver.clone();
            let waiting = scope.spawn(move || {
                say.send(tid()).unwrap();
                receiver.take_timeout(PATIENCE).map(drop)
            });
            let tid = heard.recv().unwrap();
            wait_until(|| thread_parked(tid));
            waiting
        });
        receiver.cancel().unwrap();
        for waits in waits {
            cancelled(waits.join().unwrap());
        }
    });
    send(&sender, 1..=4);
    let held: Vec<_> = (0..4).map(|_| receiver.try_take().unwrap()).collect();
    assert!(receiver.is_cancelled());
    cancelled(receiver.take_timeout(PATIENCE).map(drop));
    drop(held);
    receiver.reset();
    send(&sender, [5]);
    assert_eq!(receiver.take().unwrap().to_vec(), message(5));
}

#[test]
fn messages_whose_holder_is_killed_come_again_all_of_them() {
    for kind in KINDS.into_iter().filter(|kind| !is_broadcast(*kind)) {
        let (segment_name, segment) = market(8, 64);
        let (sender, receiver) = ends(&segment, kind);
        send(&sender, 1..=3);
        // Those are the child's.
        drop(receiver);
        let child = Peer::start("hold", &[&segment_name, &name(kind)]);
        child.expect("held");
        child.kill();
        child.finish();
        wait_until(|| segment.sweep().unwrap() || segment.participants().len() == 1);
        let channel = segment.open_channel(&name(kind)).unwrap();
        let receiver = channel.receiver().unwrap().into_shared();
        let mut got = Vec::new();
        for _ in 0..3 {
            let delivery = receiver.try_take().unwrap();
            let expected = u8::from(!is_single(kind) || got.is_empty());
            assert_eq!(delivery.attempts(), expected, "{kind}");
            got.push(delivery.to_vec()[0]);
        }
        got.sort_unstable();
        assert_eq!(got, [1, 2, 3]);
        send(&sender, 4..=7);
    }
}

#[test]
fn places_whose_holder_is_killed_are_free_again() {
    for kind in KINDS {
        let (segment_name, segment) = market(8, 64);
        let (sender, receiver) = ends(&segment, kind);
        drop(sender);
        let child = Peer::start("reserve", &[&segment_name, &name(kind)]);
        child.expect("held");
        child.kill();
        child.finish();
        wait_until(|| segment.sweep().unwrap() || segment.participants().len() == 1);
        let sender = segment.open_channel(&name(kind)).unwrap().sender().unwrap();
        let sender = sender.into_shared();
        send(&sender, 1..=4);
        assert_eq!(received(&receiver), [1, 2, 3, 4], "{kind}");
    }
}

#[test]
fn a_forked_child_has_nothing_of_it() {
    let (_name, segment) = market(8, 64);
    let (sender, receiver) = ends(&segment, ChannelKind::Mpmc);
    send(&sender, 1..=3);
    let held = [receiver.take().unwrap(), receiver.take().unwrap()];
    let grant = sender.reserve(200).unwrap();
    let mut parts = Some((held, grant));
    let child = Child::fork(|| {
        let forked = matches!(receiver.try_take(), Err(TryRecvError::Fault(Fault::Forked)))
            && matches!(sender.lend(), Err(Fault::Forked));
        let (held, grant) = parts.take().unwrap();
        let [one, two] = held;
        drop(one);
        two.give_back();
        let unsent = matches!(
            grant.commit(0),
            Err(SendError::TooShort { .. } | SendError::Fault { fault: Fault::Forked, .. })
        );
        i32::from(!(forked && unsent))
    });
    assert_eq!(child.join(), 0);
    let (held, mut grant) = parts.unwrap();
    assert_eq!(held.map(|delivery| delivery.to_vec()[0]), [1, 2]);
    assert_eq!(grant.write(&message(9)), 200);
    grant.commit(200).unwrap();
    assert_eq!(received(&receiver), [3, 9]);
}

#[test]
fn a_channel_that_was_described_is_that_of_the_type() {
    let (_name, segment) = market(8, 64);
    let described = |element: (usize, usize, &str)| {
        let (size, align, schema) = element;
        let spec = segment.any_channel("n", ChannelKind::Mpmc).element(size, align, schema);
        spec.capacity(4).open().map(|channel| channel.fingerprint())
    };
    let created = described((8, 8, "u64")).unwrap();
    segment.channel::<u64>("n").capacity(4).receiver().unwrap();
    assert_eq!(segment.open_channel("n").unwrap().fingerprint(), created);
    for other in [(8, 8, "i64"), (8, 4, "u64"), (16, 8, "u64")] {
        let refused = described(other).unwrap_err();
        assert!(matches!(refused, ChannelError::Mismatch { .. }), "{refused}");
    }
    for none in [(0, 8, "u64"), (8, 0, "u64"), (8, 3, "u64"), (12, 8, "u64"), (256, 256, "u8")] {
        let refused = segment.any_channel("o", ChannelKind::Spsc).element(none.0, none.1, none.2);
        let refused = refused.capacity(4).open().unwrap_err();
        assert!(matches!(refused, ChannelError::BadCapacity { .. }), "{refused}");
    }
    // One that is too long to stand there in whole.
    let fields: Vec<_> = (0..40).map(|n| format!("field_{n}:u64")).collect();
    let long = format!("Long{{{}}}", fields.join(","));
    let created = segment.any_channel("long", ChannelKind::Mpmc).element(320, 8, &long);
    let created = created.capacity(1).open().unwrap();
    assert!(created.schema().len() <= 256 && created.schema().contains('…'));
    let another = segment.any_channel("long", ChannelKind::Mpmc);
    let other = long.replace("field_39", "field_38");
    assert!(another.element(320, 8, &other).open().is_err());
    let absent = segment.any_channel("p", ChannelKind::MpmcBytes).longest(9).open().unwrap_err();
    assert!(matches!(absent, ChannelError::NotFound { .. }), "{absent}");
    let calls = segment.any_channel("q", ChannelKind::Calls).element(8, 8, "u64").capacity(4);
    assert!(calls.open().is_err());
}

#[test]
fn a_set_waits_for_shared_handles_while_their_messages_are_held() {
    let (_name, segment) = market(8, 64);
    let brief = std::time::Duration::from_millis(1);
    for kind in KINDS {
        let (sender, receiver) = ends(&segment, kind);
        let mut set = WaitSet::new(&segment);
        set.add(receiver.clone(), 1).unwrap();
        set.add(&sender, 2).unwrap();
        let mut ready = Vec::new();
        let keys = |ready: &[Ready]| ready.iter().map(|member| member.key).collect::<Vec<_>>();
        set.wait(&mut ready, PATIENCE).unwrap();
        assert_eq!(keys(&ready), [2]);
        set.remove(2);
        assert_eq!(set.wait(&mut ready, brief), Ok(0));
        let sends = sender.clone();
        thread::scope(|scope| {
            let tid = tid();
            scope.spawn(move || {
                wait_until(|| thread_parked(tid));
                send(&sends, 1..=2);
            });
            set.wait(&mut ready, PATIENCE).unwrap();
        });
        assert_eq!(keys(&ready), [1]);
        let held = receiver.take().unwrap();
        if matches!(kind, ChannelKind::Mpmc | ChannelKind::MpmcBytes) {
            set.wait(&mut ready, PATIENCE).unwrap();
            assert_eq!(keys(&ready), [1]);
        } else {
            in_use(set.try_wait(&mut ready), Side::Receiver);
            in_use(set.wait(&mut ready, brief), Side::Receiver);
        }
        drop(held);
        set.try_wait(&mut ready).unwrap();
        assert_eq!(keys(&ready), [1]);
        assert_eq!(received(&receiver), [2]);
        assert_eq!(set.wait(&mut ready, brief), Ok(0));
    }
}

/// Which of these can be moved to another thread.
const _: () = {
    const fn goes<T: Send + 'static>() {}
    const fn is_shared<T: Send + Sync + Clone>() {}
    goes::<tombolo::OwnedDelivery<u64>>();
    goes::<tombolo::OwnedGrant<u64, Broadcast>>();
    goes::<tombolo::AnyOwnedDelivery>();
    goes::<tombolo::AnyOwnedGrant>();
    is_shared::<Shared<AnyReceiver>>();
    is_shared::<Shared<tombolo::Sender<u64, Mpmc>>>();
};

#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    let segment = Segment::open(brief.text(0)).unwrap();
    let channel = segment.open_channel(brief.text(1)).unwrap();
    match &*brief.role {
        "hold" => {
            let receiver = channel.receiver().unwrap().into_shared();
            let count = if channel.is_spsc() { 1 } else { 3 };
            let _held: Vec<_> = (0..count).map(|_| receiver.take().unwrap()).collect();
            brief.say("held");
            brief.hear();
        }
        _ => {
            let sender = channel.sender().unwrap().into_shared();
            let count = if channel.is_spsc() { 1 } else { 2 };
            let mut held: Vec<_> = (0..count).map(|_| sender.reserve(200).unwrap()).collect();
            for grant in &mut held {
                assert_eq!(grant.write(&message(9)), 200);
            }
            brief.say("held");
            brief.hear();
        }
    }
}
