//! Which sleepers are woken by what, and by how many calls.

use std::thread;

use tombolo::{Segment, WaitStrategy};

use super::{channel, segment};
use crate::common::readiness::gets_ready;
use crate::common::{Brief, Name, Peer, wait_until};

#[test]
fn one_call_wakes_all_subscribers_that_sleep_and_none_is_made_while_nobody_does() {
    let name = Name::new();
    let segment = segment(&name);
    let prices = channel(&segment);
    let publisher = prices.publisher().unwrap();
    let value = |sem| name.set(0).unwrap().value(sem).unwrap();
    let mut peers: Vec<Peer> = (0..8).map(|_| Peer::start("watch", &[&name])).collect();
    peers.iter().for_each(|peer| peer.expect("watching"));
    for message in 0..10 {
        let items = slept_over(&name, 8);
        let before = value(items);
        publisher.send(message).unwrap();
        assert_eq!(value(items), before + 1, "one stroke for all of them");
        peers.iter().for_each(|peer| peer.expect(&message.to_string()));
    }
    // One of them dies asleep: the others hear of the next message as before.
    let items = slept_over(&name, 8);
    peers.remove(0).kill();
    assert_eq!(slept_over(&name, 7), items);
    publisher.send(10).unwrap();
    peers.iter().for_each(|peer| peer.expect("10"));
    slept_over(&name, 7);
    peers.iter().for_each(Peer::kill);
    wait_until(|| segment.participants().len() == 1);
    // Looks for the dead, so that nobody is counted.
    let subscriber = prices.subscriber().unwrap();
    let before = value(items);
    for message in 11..20 {
        publisher.send(message).unwrap();
        assert_eq!(subscriber.try_recv(), Ok(message));
    }
    assert_eq!(value(items), before, "a call for nobody");
}

#[test]
fn publishers_that_wait_are_woken_by_the_slowest_subscriber_and_by_no_other() {
    let name = Name::new();
    let segment = segment(&name);
    let prices = channel(&segment);
    let publisher = prices.publisher().unwrap();
    let (ahead, slow) =
        (prices.reliable_subscriber().unwrap(), prices.reliable_subscriber().unwrap());
    for n in 0..16 {
        publisher.try_send(n).unwrap();
    }
    let blocked = thread::spawn(move || publisher.send(16).map(|()| publisher));
    let space = slept_over(&name, 1);
    let value = || name.set(0).unwrap().value(space).unwrap();
    let before = value();
    for n in 0..16 {
        assert_eq!(ahead.try_recv(), Ok(n));
    }
    assert_eq!(value(), before, "woken for nothing");
    assert_eq!(slow.try_recv(), Ok(0));
    let publisher = blocked.join().unwrap().unwrap();
    assert_eq!(publisher.sequence(), Some(16));
    assert_eq!(value(), before + 1);
}

#[test]
fn a_descriptor_is_readable_when_a_message_or_room_comes() {
    let segment = Segment::anonymous().unwrap();
    let prices = segment.broadcast::<u64>("prices").capacity(1);
    let publisher = prices.publisher().unwrap();
    let (screen, ledger) = (prices.subscriber().unwrap(), prices.reliable_subscriber().unwrap());
    let reading = [screen.readiness().unwrap(), ledger.readiness().unwrap()];
    assert!(screen.try_recv().is_err() && ledger.try_recv().is_err());
    publisher.send(1).unwrap();
    reading.into_iter().for_each(gets_ready);
    assert_eq!(screen.try_recv(), Ok(1));
    let writing = publisher.readiness().unwrap();
    assert!(publisher.try_send(2).is_err());
    assert_eq!(ledger.try_recv(), Ok(1));
    gets_ready(writing);
    publisher.try_send(2).unwrap();
}

/// The semaphore over which so many sleep, once they do.
fn slept_over(name: &Name, count: u32) -> u16 {
    let set = name.set(0).unwrap();
    let all = u16::try_from(set.stat().unwrap().count).unwrap();
    let mut found = None;
    wait_until(|| {
        found = (0..all).find(|&sem| set.waiting_for_increase(sem).unwrap() == count);
        found.is_some()
    });
    found.unwrap()
}

/// Says each message that it gets.
fn watch(brief: &Brief) {
    let segment = segment(&Name::of(brief.text(0)));
    let subscriber = channel(&segment).subscriber().unwrap();
    subscriber.set_wait_strategy(WaitStrategy::Block);
    brief.say("watching");
    while let Ok(message) = subscriber.recv() {
        brief.say(message.to_string());
    }
}

#[test]
#[ignore = "a child process of the tests in this file"]
fn child_entry() {
    if let Some(brief) = Brief::take() {
        watch(&brief);
    }
}
