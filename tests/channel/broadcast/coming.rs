//! Subscribers that come late, publishers that wait for subscribers, and both that are gone.

use std::thread;
use std::time::Duration;

use tombolo::{ReliableSubscriber, Segment, Start, Subscriber, TryRecvError};

use super::channel;
use crate::common::{PATIENCE, thread_parked_for_good, tid, wait_until};

#[test]
fn a_late_subscriber_begins_where_it_says() {
    let segment = Segment::anonymous().unwrap();
    let prices = channel(&segment);
    let publisher = prices.publisher().unwrap();
    let first_lossy = |start| -> Option<u64> {
        let subscriber: Subscriber<u64> = prices.subscriber_from(start).unwrap();
        subscriber.try_recv().ok()
    };
    let first_reliable = |start| -> Option<u64> {
        let subscriber: ReliableSubscriber<u64> = prices.reliable_subscriber_from(start).unwrap();
        subscriber.try_recv().ok()
    };
    for sent in 0..100 {
        let last = |k: u64| (sent > 0 && k > 0).then(|| sent - k.min(16).min(sent));
        for k in [0, 1, 2, 15, 16, 17, 1_000, u64::MAX] {
            assert_eq!(first_lossy(Start::Last(k)), last(k), "{k} of {sent}");
            assert_eq!(first_reliable(Start::Last(k)), last(k), "{k} of {sent}");
        }
        assert_eq!(first_lossy(Start::Newest), None);
        assert_eq!(first_reliable(Start::Newest), None);
        assert_eq!(first_reliable(Start::Oldest), last(16));
        let oldest = first_lossy(Start::Oldest);
        assert!(oldest <= last(16) && oldest.is_some() == (sent > 0));
        publisher.send(sent).unwrap();
    }
}

#[test]
fn a_lasting_channel_tells_no_subscriber_that_its_publishers_are_gone() {
    let segment = Segment::anonymous().unwrap();
    let states = segment.broadcast::<u64>("states").capacity(4).lasting();
    states.publisher().unwrap().send(1).unwrap();
    let screen = states.subscriber_from(Start::Oldest).unwrap();
    assert_eq!(screen.recv(), Ok(1));
    assert_eq!(screen.try_recv(), Err(TryRecvError::Empty));
    let prices = channel(&segment);
    prices.publisher().unwrap().send(1).unwrap();
    let history = prices.subscriber_from(Start::Oldest).unwrap();
    assert_eq!(history.recv(), Ok(1));
    assert_eq!(history.try_recv(), Err(TryRecvError::Disconnected));
    // This one has met nobody.
    let fresh = prices.subscriber().unwrap();
    assert_eq!(fresh.try_recv(), Err(TryRecvError::Empty));
}

#[test]
fn a_waiting_publisher_sees_subscribers_come_and_each_gets_all_that_follows() {
    let segment = Segment::anonymous().unwrap();
    let prices = channel(&segment);
    let publisher = prices.publisher().unwrap();
    publisher.wait_for(0).unwrap();
    let early = publisher.wait_for_timeout(1, Duration::from_millis(1));
    assert!(early.is_err_and(|error| error.is_timeout()));
    thread::scope(|scope| {
        let subscribers: Vec<_> = (0..3)
            .map(|n| {
                let prices = prices.clone();
                scope.spawn(move || {
                    let got = if n == 0 {
                        prices.reliable_subscriber().unwrap().recv()
                    } else {
                        prices.subscriber().unwrap().recv()
                    };
                    assert_eq!(got, Ok(7));
                })
            })
            .collect();
        publisher.wait_for(3).unwrap();
        publisher.send(7).unwrap();
        subscribers.into_iter().for_each(|subscriber| subscriber.join().unwrap());
    });
}

#[test]
fn a_waiting_publisher_sees_clones_of_subscribers_come() {
    let segment = Segment::anonymous().unwrap();
    let prices = channel(&segment);
    let publisher = prices.publisher().unwrap();
    let (lossy, reliable) = (prices.subscriber().unwrap(), prices.reliable_subscriber().unwrap());
    let (says, said) = std::sync::mpsc::channel();
    let waits = thread::spawn(move || {
        for enough in [2, 3, 4] {
            publisher.wait_for(enough).unwrap();
            says.send(tid()).unwrap();
        }
    });
    let thread = said.recv().unwrap();
    wait_until(|| thread_parked_for_good(thread));
    let _other = lossy.try_clone().unwrap();
    let third = said.recv_timeout(PATIENCE);
    wait_until(|| thread_parked_for_good(thread));
    let _another = reliable.try_clone().unwrap();
    let fourth = said.recv_timeout(PATIENCE);
    // One that is opened wakes it in any case.
    let _more = [(); 2].map(|()| prices.subscriber().unwrap());
    waits.join().unwrap();
    assert_eq!((third, fourth), (Ok(thread), Ok(thread)));
}
