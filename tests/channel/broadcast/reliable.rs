//! Publishers and the subscribers that they wait for.

use std::thread;

use tombolo::{ChannelError, Fault, Segment, TrySendError};

use super::{channel, segment};
use crate::common::{
    Brief, Name, Peer, Words, thread_parked, thread_parked_for_good, tid, wait_until,
};

#[test]
fn a_publisher_is_a_capacity_ahead_of_a_reliable_subscriber_and_never_more() {
    let segment = Segment::anonymous().unwrap();
    for capacity in [1, 2, 3, 8, 9, 64, 100] {
        let name = format!("c{capacity}");
        let prices = segment.broadcast::<u64>(&name).capacity(capacity);
        let (publisher, other) = (prices.publisher().unwrap(), prices.publisher().unwrap());
        let reliable = prices.reliable_subscriber().unwrap();
        let (mut sent, mut got) = (0, 0);
        for round in 0..3 * capacity as u64 {
            loop {
                let publisher = if sent % 2 == 0 { &publisher } else { &other };
                match publisher.try_send(sent) {
                    Ok(()) => sent += 1,
                    Err(TrySendError::Full(n)) => break assert_eq!(n, sent),
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(sent - got, capacity as u64, "capacity {capacity}");
            assert_eq!(publisher.len(), capacity);
            assert!(publisher.is_full());
            for _ in 0..=round % capacity as u64 {
                assert_eq!(reliable.recv(), Ok(got));
                got += 1;
            }
        }
        drop(reliable);
        for n in 0..10 * capacity as u64 {
            publisher.try_send(n).unwrap();
        }
    }
}

#[test]
fn a_blocked_publisher_goes_on_when_the_reliable_subscriber_reads_and_when_it_leaves() {
    let segment = Segment::anonymous().unwrap();
    let prices = segment.broadcast::<u64>("prices").capacity(2);
    let publisher = prices.publisher().unwrap();
    let reliable = prices.reliable_subscriber().unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(move || {
            tell.send(tid()).unwrap();
            for n in 0..6 {
                publisher.send(n).unwrap();
            }
        });
        let publishing = told.recv().unwrap();
        wait_until(|| thread_parked(publishing));
        assert_eq!(reliable.recv(), Ok(0));
        assert_eq!(reliable.recv(), Ok(1));
        assert_eq!(reliable.recv(), Ok(2));
        wait_until(|| thread_parked(publishing));
        drop(reliable);
    });
}

#[test]
fn a_killed_reliable_subscriber_releases_a_blocked_publisher() {
    let name = Name::new();
    let segment = segment(&name);
    let prices = channel(&segment);
    let publisher = prices.publisher().unwrap();
    let peer = Peer::start("subscribe", &[&name]);
    peer.expect("subscribed");
    for n in 0..16 {
        publisher.try_send(n).unwrap();
    }
    assert_eq!(publisher.try_send(16), Err(TrySendError::Full(16)));
    let (tell, told) = std::sync::mpsc::channel();
    let blocked = thread::spawn(move || {
        tell.send(tid()).unwrap();
        publisher.send(16).unwrap();
        publisher
    });
    let publishing = told.recv().unwrap();
    wait_until(|| thread_parked(publishing));
    peer.kill();
    let publisher = blocked.join().unwrap();
    for n in 17..100 {
        publisher.try_send(n).unwrap();
    }
}

#[test]
fn a_blocked_publisher_is_told_what_ends_its_wait() {
    let name = Name::new();
    let segment = segment(&name);
    let prices = channel(&segment);
    let _ledger = prices.reliable_subscriber().unwrap();
    let (ids, said) = std::sync::mpsc::channel();
    let publisher = prices.publisher().unwrap();
    let waiter = publisher.try_clone().unwrap();
    while publisher.try_send(1).is_ok() {}
    let cancel = [publisher.canceller(), waiter.canceller()];
    let blocked = {
        let ids = ids.clone();
        thread::spawn(move || {
            ids.send(tid()).unwrap();
            let cancelled = publisher.send(2).unwrap_err();
            assert_eq!(cancelled.into_fault(), Some(Fault::Cancelled));
            publisher.canceller().reset();
            ids.send(tid()).unwrap();
            publisher.send(2).unwrap_err().into_fault()
        })
    };
    let waiting = thread::spawn(move || {
        ids.send(tid()).unwrap();
        assert_eq!(waiter.wait_for(9), Err(Fault::Cancelled));
        waiter.canceller().reset();
        ids.send(tid()).unwrap();
        waiter.wait_for(9)
    });
    let both_park = || {
        let both = [(); 2].map(|()| said.recv().unwrap());
        wait_until(|| both.iter().all(|&thread| thread_parked_for_good(thread)));
    };
    both_park();
    cancel.iter().for_each(|cancel| cancel.cancel().unwrap());
    both_park();
    segment.remove().unwrap();
    assert_eq!(blocked.join().unwrap(), Some(Fault::Closed));
    assert_eq!(waiting.join().unwrap(), Err(Fault::Closed));
}

fn subscribe(brief: &Brief) {
    let segment = segment(&Name::of(brief.text(0)));
    let _subscriber = channel(&segment).reliable_subscriber().unwrap();
    brief.say("subscribed");
    brief.hear();
}

#[test]
fn a_clone_that_is_refused_has_held_up_no_publisher() {
    let name = Name::new();
    let segment = segment(&name);
    let prices = channel(&segment);
    let (ledger, screen) = (prices.reliable_subscriber().unwrap(), prices.subscriber().unwrap());
    // All the ends of a side that a process may have.
    let others: Vec<_> = (2..u16::MAX).map(|_| screen.try_clone().unwrap()).collect();
    let refused = ledger.try_clone().err();
    assert!(matches!(refused, Some(ChannelError::TooMany { .. })), "{refused:?}");
    // `docs/format.md`: how many entries have ever been in use.
    let words = Words::behind(&segment);
    let used = || words.get(words.first_block(16, 4) + 648 / 8);
    assert_eq!(used(), 1, "it has taken an entry");
    drop(others);
    ledger.try_clone().unwrap();
    assert_eq!(used(), 2);
}

#[test]
#[ignore = "a child process of the tests in this file"]
fn child_entry() {
    if let Some(brief) = Brief::take() {
        subscribe(&brief);
    }
}
