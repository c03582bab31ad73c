//! Processes that are killed or stopped, or that just end.

#![allow(unsafe_code)]

use std::thread;
use std::time::{Duration, Instant};

use tombolo::{Segment, SegmentInfo};

use crate::common::{Brief, Peer, Words, parked, segment as shm, wait_until};
use crate::market::{Market, NO_RECEIVER, NO_SENDER, parked_in};

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

/// A segment's entry in the list.
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

#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    let segment = Segment::open(brief.text(0)).unwrap();
    let channel = segment.channel::<u64>("c");
    let wait = || {
        brief.say("taken");
        brief.hear();
    };
    if brief.text(1) == "spsc" {
        let mut rx = channel.spsc().receiver().unwrap();
        let _held = rx.take().unwrap();
        wait();
    } else {
        let mut rx = channel.receiver().unwrap();
        let _held = rx.take().unwrap();
        wait();
    }
}
