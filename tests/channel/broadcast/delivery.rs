//! Each subscriber gets every message, by value, in place, in batches, of a type and of bytes.

use std::time::Duration;

use tombolo::{ByteBatch, RecvError, Segment, Start, TryRecvError};

use super::channel;

#[test]
fn each_subscriber_gets_every_message_in_order() {
    let segment = Segment::anonymous().unwrap();
    let prices = channel(&segment);
    let publisher = prices.publisher().unwrap();
    let (lossy, other) = (prices.subscriber().unwrap(), prices.subscriber().unwrap());
    let reliable = prices.reliable_subscriber().unwrap();
    assert_eq!(lossy.try_recv(), Err(TryRecvError::Empty));
    for n in 0..100 {
        publisher.try_send(n).unwrap();
        assert_eq!(publisher.sequence(), Some(n));
        assert_eq!(lossy.recv(), Ok(n));
        assert_eq!(other.try_recv(), Ok(n));
        assert_eq!(reliable.recv(), Ok(n));
    }
    assert_eq!(lossy.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(reliable.try_recv(), Err(TryRecvError::Empty));
    drop(publisher);
    assert_eq!(lossy.recv(), Err(RecvError::Disconnected));
    assert_eq!(reliable.recv(), Err(RecvError::Disconnected));
}

#[test]
fn bytes_of_every_length_go_to_all_in_batches_and_in_place() {
    const LONGEST: usize = 70;
    let segment = Segment::anonymous().unwrap();
    let news = segment.broadcast_bytes("news").capacity(100, LONGEST);
    let mut publisher = news.publisher().unwrap();
    let (screen, mut ledger) = (news.subscriber().unwrap(), news.reliable_subscriber().unwrap());
    let message = |length: usize| (0..length).map(|n| (n * 7 + length) as u8).collect::<Vec<_>>();
    assert!(publisher.send(&message(LONGEST + 1)).is_err_and(|error| error.is_too_long()));
    let messages: Vec<Vec<u8>> = (0..=LONGEST).map(message).collect();
    let slices: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
    publisher.send_batch(&slices).unwrap();
    let mut batch = Vec::new();
    while batch.len() < messages.len() {
        screen.recv_batch(&mut batch, 30).unwrap();
    }
    assert_eq!(batch, messages);
    let mut flat = ByteBatch::new();
    let late = news.subscriber_from(Start::Oldest).unwrap();
    while flat.len() < messages.len() {
        late.recv_batch_into(&mut flat, 30).unwrap();
    }
    assert!(flat.iter().eq(messages.iter().map(Vec::as_slice)));
    let mut into = Vec::new();
    for (n, message) in messages.iter().enumerate() {
        if n % 2 == 0 {
            assert_eq!(ledger.take().unwrap().to_vec(), *message);
        } else {
            assert_eq!(ledger.recv(&mut into).unwrap(), message.len());
            assert_eq!(into, *message);
        }
    }
    let mut grant = publisher.reserve(LONGEST).unwrap();
    assert_eq!(grant.write_at(0, b"in place"), 8);
    grant.commit(8).unwrap();
    let mut given_up = publisher.reserve(LONGEST).unwrap();
    given_up.write_at(0, b"never seen");
    drop(given_up);
    assert_eq!(screen.latest().unwrap(), b"in place");
    assert_eq!(ledger.latest().unwrap(), b"in place");
    assert!(screen.try_recv(&mut into).is_err_and(|error| error.is_empty()));
    assert!(into.is_empty());
}

#[test]
fn a_grant_delays_no_other_publisher_and_a_delivery_is_not_written_over() {
    type Page = [u64; 512];
    let segment = Segment::anonymous().unwrap();
    let pages = segment.broadcast::<Page>("pages").capacity(4);
    let (mut one, two) = (pages.publisher().unwrap(), pages.publisher().unwrap());
    let screen = pages.subscriber().unwrap();
    let mut ledger = pages.reliable_subscriber().unwrap();
    let mut grant = one.reserve().unwrap();
    grant.write(&[7; 512]);
    for n in 0..3 {
        two.try_send([n; 512]).unwrap();
        assert_eq!(screen.try_recv(), Ok([n; 512]));
    }
    grant.commit().unwrap();
    assert_eq!(screen.recv(), Ok([7; 512]));
    let delivery = ledger.take().unwrap();
    assert!(two.try_send([9; 512]).is_err_and(|error| error.is_full()));
    assert_eq!(delivery.read(), [0; 512]);
    delivery.give_back();
    assert!(two.try_send([9; 512]).is_err_and(|error| error.is_full()));
    ledger.take().unwrap().release();
    two.try_send([9; 512]).unwrap();
    for page in [[1; 512], [2; 512], [7; 512], [9; 512]] {
        assert_eq!(ledger.take().unwrap().read(), page);
    }
    assert!(ledger.try_take().is_err_and(|error| error.is_empty()));
}

#[test]
fn deadlines_batches_and_iterators_work_as_on_every_channel() {
    let segment = Segment::anonymous().unwrap();
    let prices = channel(&segment);
    let publisher = prices.publisher().unwrap();
    let (screen, ledger) = (prices.subscriber().unwrap(), prices.reliable_subscriber().unwrap());
    let soon = Duration::from_millis(1);
    assert!(screen.recv_timeout(soon).is_err_and(|error| error.is_timeout()));
    assert!(ledger.recv_timeout(soon).is_err_and(|error| error.is_timeout()));
    let all: Vec<u64> = (0..20).collect();
    assert_eq!(publisher.try_send_batch(&all).unwrap(), 16);
    assert!(publisher.send_timeout(16, soon).is_err_and(|error| error.is_timeout()));
    let slowest = publisher.slowest().unwrap();
    assert_eq!((slowest.behind, slowest.peer.pid()), (16, std::process::id()));
    assert_eq!((screen.len(), ledger.len(), publisher.len()), (16, 16, 16));
    let got: Result<Vec<u64>, _> = screen.try_iter().collect();
    assert_eq!(got.unwrap(), all[..16]);
    let mut batch = Vec::new();
    assert_eq!(ledger.try_recv_batch(&mut batch, 100), Ok(16));
    assert_eq!(publisher.try_send_batch(&all[16..]).unwrap(), 4);
    let clone = ledger.try_clone().unwrap();
    drop(publisher);
    assert_eq!(ledger.iter().collect::<Result<Vec<u64>, _>>().unwrap(), all[16..]);
    assert_eq!(clone.into_iter().collect::<Result<Vec<u64>, _>>().unwrap(), all[16..]);
}
