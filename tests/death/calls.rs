//! Processes that are killed at each of their system calls that sleep or wake.

use std::process::Command;
use std::thread;
use std::time::Duration;

use tombolo::{Kind, Segment};

use crate::common::{Brief, Peer, parked};
use crate::market::{Market, NO_RECEIVER, NO_SENDER, parked_in};

mod spsc {
    #[test]
    fn a_producer_killed_at_any_call_into_the_kernel_leaves_nobody_asleep() {
        super::a_producer_killed_at_any_call_into_the_kernel_leaves_nobody_asleep("spsc");
    }

    #[test]
    fn a_consumer_killed_at_any_call_into_the_kernel_leaves_nobody_asleep() {
        super::a_consumer_killed_at_any_call_into_the_kernel_leaves_nobody_asleep("spsc");
    }
}

mod mpmc {
    #[test]
    fn a_producer_killed_at_any_call_into_the_kernel_leaves_nobody_asleep() {
        super::a_producer_killed_at_any_call_into_the_kernel_leaves_nobody_asleep("mpmc");
    }

    #[test]
    fn a_consumer_killed_at_any_call_into_the_kernel_leaves_nobody_asleep() {
        super::a_consumer_killed_at_any_call_into_the_kernel_leaves_nobody_asleep("mpmc");
    }
}

/// strace, to end a process at its nth call of some; `None`, loudly, if it is
/// not installed.
fn killed_at(calls: &str, nth: u32) -> Option<Command> {
    if Command::new("strace").arg("-V").output().is_err() {
        eprintln!("SKIPPED {}: strace is not installed", thread::current().name().unwrap_or("?"));
        return None;
    }
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null", "--signal=none"]);
    strace.arg(format!("--trace={calls}"));
    strace.arg(format!("--inject={calls}:signal=KILL:when={nth}"));
    Some(strace)
}

const SEM_CALLS: &str = "semop,semtimedop";

fn a_producer_killed_at_any_call_into_the_kernel_leaves_nobody_asleep(kind: &str) {
    let mut survived = false;
    let mut published = 0;
    for nth in 1..60 {
        // No producer has ever been here.
        let market = Market::new(8);
        let channel = market.segment.channel::<u64>("c").capacity(4);
        match kind {
            "spsc" => drop(channel.spsc().receiver().unwrap()),
            _ => drop(channel.receiver().unwrap()),
        }
        let mut consumer = market.peer(kind, "receiver");
        parked_in(&mut consumer, "drain");
        let Some(strace) = killed_at(SEM_CALLS, nth) else { return };
        let producer = Peer::start_under(strace, "send and go", &[&market.name, &kind]);
        let code = producer.join();
        // Two messages, or one and no more, or nothing; and then the end, if
        // a producer was ever seen there. None of it is left.
        let mut got = 0;
        loop {
            match consumer.said_within(Duration::from_millis(300)).as_deref() {
                Some("got 7") => got += 1,
                Some(NO_SENDER) => break,
                Some(said) => panic!("{said}"),
                None => {
                    assert!(
                        parked(consumer.pid()),
                        "killed at call {nth}: neither asleep nor done"
                    );
                    assert_eq!(market.depth(), 0, "killed at call {nth}: asleep over a message");
                    // Asleep is right only while no producer has been there.
                    assert_eq!(got, 0, "killed at call {nth}: not told that it is over");
                    break;
                }
            }
        }
        published += got;
        consumer.finish();
        market.segment.sweep().unwrap();
        assert_eq!(market.living(), 1, "killed at call {nth}");
        if code == 0 {
            assert_eq!(got, 2);
            survived = true;
            break;
        }
        assert_eq!(code, -9);
    }
    assert!(survived, "the last round was to be undisturbed");
    assert!(published > 3, "some kills were to come after publishing: {published}");
}

fn a_consumer_killed_at_any_call_into_the_kernel_leaves_nobody_asleep(kind: &str) {
    let mut survived = false;
    let mut taken = 0;
    for nth in 1..60 {
        // No consumer has ever been here.
        let market = Market::new(8);
        market.make(kind, 1);
        let mut producer = market.peer(kind, "sender");
        producer.tell("send 7");
        producer.expect("sent");
        parked_in(&mut producer, "send 7");
        let Some(strace) = killed_at(SEM_CALLS, nth) else { return };
        let consumer = Peer::start_under(strace, "take one and go", &[&market.name, &kind]);
        let code = consumer.join();
        match producer.said_within(Duration::from_millis(300)).as_deref() {
            Some("sent") => taken += 1,
            // Alone before full, whether or not it could have been sent.
            Some(NO_RECEIVER) => taken += i32::from(market.depth() == 0),
            Some(said) => panic!("{said}"),
            None => {
                assert!(parked(producer.pid()), "killed at call {nth}: neither asleep nor done");
                assert_eq!(market.depth(), 1, "killed at call {nth}: asleep before free room");
                // Then no consumer has been there.
                assert_eq!(market.segment.channels()[0].receivers, 0, "killed at call {nth}");
            }
        }
        producer.finish();
        market.segment.sweep().unwrap();
        assert_eq!(market.living(), 1, "killed at call {nth}");
        if code == 0 {
            survived = true;
            break;
        }
        assert_eq!(code, -9);
    }
    assert!(survived, "the last round was to be undisturbed");
    assert!(taken > 1, "some kills were to come after taking: {taken}");
}

fn send_and_go<K: Kind>(channel: &tombolo::Channel<'_, u64, K>) {
    let tx = channel.sender().unwrap();
    tx.send(7).unwrap();
    tx.send(7).unwrap();
}

fn take_one_and_go<K: Kind>(channel: &tombolo::Channel<'_, u64, K>) {
    assert_eq!(channel.receiver().unwrap().recv().unwrap(), 7);
}

#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    let segment = Segment::open(brief.text(0)).unwrap();
    let channel = segment.channel::<u64>("c");
    match (&*brief.role, brief.text(1)) {
        ("send and go", "spsc") => send_and_go(&channel.spsc()),
        ("send and go", _) => send_and_go(&channel),
        ("take one and go", "spsc") => take_one_and_go(&channel.spsc()),
        ("take one and go", _) => take_one_and_go(&channel),
        (role, _) => panic!("{role}"),
    }
}
