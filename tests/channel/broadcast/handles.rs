//! Handles: how many there may be, clones, forked children, channels that are found by their name.

use std::sync::atomic::Ordering;

use tombolo::{ChannelError, Publisher, Segment, Start};

use super::{channel, segment};
use crate::common::{Child, Name, Words};

#[test]
fn there_are_as_many_publishers_and_reliable_subscribers_as_the_channel_says() {
    let segment = Segment::anonymous().unwrap();
    let prices = segment.broadcast::<u64>("prices").capacity(4).publishers(2).reliable(1);
    let (one, _two): (Publisher<u64>, _) =
        (prices.publisher().unwrap(), prices.publisher().unwrap());
    let three = prices.publisher();
    assert!(matches!(three, Err(ChannelError::TooManyPublishers { limit: 2, .. })), "{three:?}");
    drop(one);
    prices.publisher().unwrap();
    let ledger = prices.reliable_subscriber().unwrap();
    let second = prices.reliable_subscriber();
    assert!(matches!(second, Err(ChannelError::TooManyReliable { limit: 1, .. })), "{second:?}");
    prices.subscriber().unwrap();
    ledger.close().unwrap();
    prices.reliable_subscriber().unwrap();
    let other = segment.broadcast::<u64>("prices").publishers(3).publisher();
    assert!(matches!(other, Err(ChannelError::Mismatch { .. })), "{other:?}");
}

#[test]
fn clones_begin_where_their_originals_are() {
    let segment = Segment::anonymous().unwrap();
    let prices = channel(&segment);
    let publisher = prices.publisher().unwrap();
    let other = publisher.try_clone().unwrap();
    let (screen, ledger) = (prices.subscriber().unwrap(), prices.reliable_subscriber().unwrap());
    publisher.send_batch(&[0, 1, 2]).unwrap();
    other.send(3).unwrap();
    assert_eq!((screen.recv(), ledger.recv()), (Ok(0), Ok(0)));
    let (screen2, ledger2) = (screen.try_clone().unwrap(), ledger.try_clone().unwrap());
    for n in 1..4 {
        assert_eq!((screen2.recv(), ledger2.recv()), (Ok(n), Ok(n)));
    }
    assert_eq!((screen.sequence(), ledger.sequence()), (1, 1));
    assert_eq!((screen.recv(), ledger.recv()), (Ok(1), Ok(1)));
    let behind = |segment: &Segment| {
        let info = segment.channels().remove(0).broadcast.unwrap();
        info.reliable.iter().map(|reliable| reliable.behind).collect::<Vec<_>>()
    };
    assert_eq!(behind(&segment), [2, 0]);
    assert_eq!(ledger.skip_to_newest(), Ok(1));
    assert_eq!(behind(&segment), [1, 0]);
    assert_eq!(ledger.recv(), Ok(3));
}

#[test]
fn a_forked_child_takes_nothing_and_gives_nothing_up() {
    let segment = Segment::anonymous().unwrap();
    let prices = segment.broadcast::<u64>("prices").capacity(2);
    let publisher = prices.publisher().unwrap();
    let (screen, ledger) = (prices.subscriber().unwrap(), prices.reliable_subscriber().unwrap());
    publisher.send(1).unwrap();
    let handles = std::cell::Cell::new(Some((publisher, screen, ledger)));
    let child = Child::fork(|| {
        let (publisher, screen, ledger) = handles.take().unwrap();
        let refused = publisher.try_send(2).is_err()
            && screen.try_recv().is_err()
            && ledger.try_recv().is_err()
            && ledger.skip_to_newest().is_err();
        drop((publisher, screen, ledger));
        i32::from(!refused)
    });
    assert_eq!(child.join(), 0);
    let (publisher, screen, ledger) = handles.take().unwrap();
    publisher.send(2).unwrap();
    assert!(publisher.try_send(3).is_err_and(|error| error.is_full()), "the ledger still counts");
    assert_eq!((ledger.recv(), ledger.recv()), (Ok(1), Ok(2)));
    assert_eq!((screen.recv(), screen.recv()), (Ok(1), Ok(2)));
}

#[test]
fn a_channel_that_is_found_by_its_name_is_published_to_and_subscribed() {
    let segment = Segment::anonymous().unwrap();
    let prices = channel(&segment);
    let typed = prices.subscriber().unwrap();
    let found = segment.open_channel("prices").unwrap();
    assert!(found.is_broadcast() && !found.is_bytes());
    let publisher = found.sender().unwrap();
    let mut ledger = found.reliable_subscriber_from(Start::Newest).unwrap();
    let mut screen = found.receiver().unwrap();
    for n in 0..3_u64 {
        publisher.send(&n.to_ne_bytes()).unwrap();
    }
    assert_eq!(typed.recv(), Ok(0));
    let mut into = Vec::new();
    for receiver in [&mut ledger, &mut screen] {
        assert_eq!(receiver.recv(&mut into).unwrap(), 8);
        receiver.take().unwrap().give_back();
        let delivery = receiver.take().unwrap();
        assert_eq!(delivery.to_vec(), 1_u64.to_ne_bytes());
        delivery.release();
        assert_eq!(receiver.try_clone().unwrap().len(), 1);
        assert_eq!(receiver.try_recv(&mut into).unwrap(), 8);
        assert_eq!(into, 2_u64.to_ne_bytes());
    }
    let jobs = segment.channel::<u64>("jobs").capacity(1);
    drop(jobs.sender().unwrap());
    let wrong = segment.open_channel("jobs").unwrap().subscriber_from(Start::Newest);
    assert!(matches!(wrong, Err(ChannelError::Mismatch { .. })), "{wrong:?}");
}

#[test]
fn a_channel_that_an_earlier_build_could_not_sweep_is_not_created() {
    let (name, kinds) = (Name::new(), 40);
    let segment = segment(&name);
    let words = Words::behind(&segment);
    let infos = (512 + 8 * 16_usize).next_multiple_of(128);
    let of_this_process = words.at((infos + kinds) / 8);
    let known = of_this_process.swap(0, Ordering::Relaxed);
    let refused = channel(&segment).publisher().err();
    let pid = u64::from(std::process::id());
    assert!(
        matches!(&refused, Some(ChannelError::UnknownKind { pid: by, .. }) if *by == pid),
        "{refused:?}"
    );
    of_this_process.store(known, Ordering::Relaxed);
    channel(&segment).publisher().unwrap();
}
