//! Waits that end with a given participant, which need not be in the channel.

use std::thread;
use std::time::Duration;

use tombolo::{
    Event, Fault, Peer as Participant, RecvError, RecvTimeoutError, Segment, SendError,
    TryRecvError, TrySendError,
};

use super::market;
use crate::common::readiness::{alone, gets_ready, stays_unready};
use crate::common::{Brief, Name, PATIENCE, Peer, thread_parked, tid, wait_until};

/// Another process that has joined, and opens no channel.
fn bystander(name: &Name, segment: &Segment) -> (Peer, Participant) {
    let events = segment.events();
    let process = Peer::start("stands by", &[name]);
    process.expect("joined");
    let Event::Joined(member) = events.recv().unwrap() else { panic!("it joins") };
    let listed = segment.participants();
    let listed = listed.iter().find(|one| !one.own && one.pid == member.pid).unwrap().peer;
    assert_eq!(listed, member.peer);
    (process, listed)
}

type Call = Box<dyn FnOnce() -> Result<(), Fault> + Send>;

fn received(error: RecvError) -> Fault {
    error.into_fault().expect("a message of the type")
}

fn in_time(error: RecvTimeoutError) -> Fault {
    error.into_fault().expect("an end before the time-out")
}

fn unsent<T>(error: SendError<T>) -> Fault {
    error.into_fault().expect("a message that is not too long")
}

/// Every call that waits, bound to `peer`, over channels in which it is alone.
fn calls(segment: &Segment, peer: Participant) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    let channel = |name| segment.channel::<u64>(name).capacity(1);
    let rx = |name| {
        let rx = channel(name).receiver().unwrap();
        rx.bind_to_peer(peer).unwrap();
        rx
    };
    let tx = |name| {
        let tx = channel(name).sender().unwrap();
        tx.send(0).unwrap();
        tx.bind_to_peer(peer).unwrap();
        tx
    };
    let one = rx("recv");
    calls.push(Box::new(move || one.recv().map(drop).map_err(received)));
    // A clone is bound, too.
    let one = rx("timeout").try_clone().unwrap();
    calls.push(Box::new(move || one.recv_timeout(PATIENCE).map(drop).map_err(in_time)));
    let one = rx("batch");
    calls.push(Box::new(move || one.recv_batch(&mut Vec::new(), 4).map(drop).map_err(received)));
    let mut one = rx("take");
    calls.push(Box::new(move || one.take().map(drop).map_err(received)));
    let one = segment.bytes("bytes").capacity(1, 8).receiver().unwrap();
    one.bind_to_peer(peer).unwrap();
    calls.push(Box::new(move || one.recv(&mut Vec::new()).map(drop).map_err(received)));
    let one = channel("spsc").spsc().receiver().unwrap();
    one.bind_to_peer(peer).unwrap();
    calls.push(Box::new(move || one.recv().map(drop).map_err(received)));
    let one = tx("send");
    calls.push(Box::new(move || one.send(1).map_err(unsent)));
    let one = tx("send_timeout");
    calls.push(Box::new(move || {
        let sent = one.send_timeout(1, PATIENCE);
        sent.map_err(|error| error.into_fault().expect("an end before the time-out"))
    }));
    let bytes = segment.bytes("full").capacity(1, 8).sender().unwrap();
    bytes.send(b"x").unwrap();
    bytes.bind_to_peer(peer).unwrap();
    calls.push(Box::new(move || bytes.send(b"y").map_err(unsent)));
    calls
}

/// A place is what this one waits for, over the gong.
fn for_a_place(segment: &Segment, peer: Participant, begun: &dyn Fn()) -> Result<(), Fault> {
    let bytes = segment.bytes("place").capacity(1, 8);
    let (tx, mut rx) = (bytes.sender().unwrap(), bytes.receiver().unwrap());
    tx.send(b"x").unwrap();
    let held = rx.take().unwrap();
    tx.bind_to_peer(peer).unwrap();
    begun();
    let told = tx.send(b"y").map_err(unsent);
    drop(held);
    told
}

#[test]
fn whoever_waits_is_woken_by_the_end_of_one_who_never_came() {
    for ends in [Peer::kill, |peer: &Peer| peer.resume()] {
        let (name, segment) = market();
        let (mut process, peer) = bystander(&name, &segment);
        let (say, tids) = std::sync::mpsc::channel();
        let mut threads = Vec::new();
        for call in calls(&segment, peer) {
            let say = say.clone();
            threads.push(thread::spawn(move || {
                say.send(tid()).unwrap();
                call()
            }));
        }
        let theirs = segment.clone();
        threads
            .push(thread::spawn(move || for_a_place(&theirs, peer, &|| say.send(tid()).unwrap())));
        for _ in 0..threads.len() {
            let tid = tids.recv().unwrap();
            wait_until(|| thread_parked(tid));
        }
        ends(&process);
        // Leaves, where it was not killed.
        process.tell("leave");
        for thread in threads {
            match thread.join().unwrap() {
                Err(Fault::PeerGone { peer: its }) => assert_eq!(its, peer),
                other => panic!("{other:?}"),
            }
        }
        segment.remove().unwrap();
    }
}

#[test]
fn what_it_had_sent_comes_first_and_tries_find_out() {
    let (name, segment) = market();
    let (mut process, peer) = bystander(&name, &segment);
    let channel = segment.channel::<u64>("c").capacity(2);
    let rx = channel.receiver().unwrap();
    let other = channel.sender().unwrap();
    rx.bind_to_peer(peer).unwrap();
    other.bind_to_peer(peer).unwrap();
    assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
    process.tell("send");
    process.expect("sent");
    process.kill();
    assert_eq!(rx.recv().unwrap(), 1);
    assert_eq!(rx.try_recv().unwrap(), 2);
    // It takes a moment to die.
    wait_until(|| !matches!(rx.try_recv(), Err(TryRecvError::Empty)));
    for _ in 0..3 {
        match rx.try_recv() {
            Err(TryRecvError::Fault(Fault::PeerGone { peer: its })) => {
                assert_eq!(its, peer);
                assert!(its.to_string().contains(&format!("process {}", its.pid())), "{its}");
            }
            other => panic!("{other:?}"),
        }
        assert!(matches!(rx.recv(), Err(RecvError::Fault(Fault::PeerGone { .. }))));
    }
    // A sender with room sends; one without does not wait.
    other.send(3).unwrap();
    other.send(4).unwrap();
    let fault = Fault::PeerGone { peer };
    assert_eq!(other.send(5), Err(SendError::Fault { message: 5, fault: fault.clone() }));
    assert_eq!(other.try_send(6), Err(TrySendError::Fault { message: 6, fault }));
    // Messages of others come, too; and an unbound receiver waits.
    assert_eq!([rx.recv().unwrap(), rx.recv().unwrap()], [3, 4]);
    rx.bind_to_peer(None).unwrap();
    let waited = rx.recv_timeout(Duration::from_millis(1));
    assert!(matches!(waited, Err(RecvTimeoutError::Timeout)), "{waited:?}");
    // Of another segment nobody lives here.
    let elsewhere = Segment::anonymous().unwrap().participants()[0].peer;
    rx.bind_to_peer(elsewhere).unwrap();
    assert!(matches!(rx.recv(), Err(RecvError::Fault(Fault::PeerGone { .. }))));
}

#[test]
fn a_descriptor_becomes_readable_by_it() {
    alone("polls", &market().0);
}

fn polls(name: &Name, segment: &Segment) {
    let (process, peer) = bystander(name, segment);
    let rx = segment.channel::<u64>("c").capacity(2).receiver().unwrap();
    let readiness = rx.readiness().unwrap();
    assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
    stays_unready(readiness);
    // Its thread sleeps by now, for something else.
    rx.bind_to_peer(peer).unwrap();
    gets_ready(readiness);
    assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
    stays_unready(readiness);
    process.kill();
    gets_ready(readiness);
    let told = rx.try_recv();
    assert!(matches!(told, Err(TryRecvError::Fault(Fault::PeerGone { .. }))), "{told:?}");
}

#[test]
fn a_descriptor_rests_that_waits_only_for_the_end_of_a_message_in_flight() {
    alone("rests", &market().0);
}

/// It waits for the end of a message in another's hands, and not for its peer's any more.
fn rests(segment: &Segment) {
    let other = Segment::open_id(segment.id()).unwrap();
    let participants = segment.participants();
    let joined = participants.iter().find(|one| !one.own && one.pid == std::process::id());
    let peer = joined.unwrap().peer;
    let channel = segment.channel::<u64>("rests").capacity(2);
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    let mut reader = channel.receiver().unwrap();
    tx.send(1).unwrap();
    let delivery = reader.take().unwrap();
    drop((tx, other));
    rx.bind_to_peer(peer).unwrap();
    let readiness = rx.readiness().unwrap();
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    stays_unready(readiness);
    delivery.release();
    gets_ready(readiness);
    assert_eq!(rx.try_recv(), Err(TryRecvError::Disconnected));
}

#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    let segment = Segment::open(brief.text(0)).unwrap();
    if brief.role == "polls" || brief.role == "rests" {
        if brief.role == "polls" {
            polls(&Name::of(brief.text(0)), &segment);
        } else {
            rests(&segment);
        }
        return brief.say("all is well");
    }
    brief.say("joined");
    while brief.hear() == "send" {
        let tx = segment.channel::<u64>("c").sender().unwrap();
        tx.send_batch(&[1, 2]).unwrap();
        brief.say("sent");
    }
}
