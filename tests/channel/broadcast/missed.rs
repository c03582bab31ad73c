//! What a subscriber misses that nobody waits for.

use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tombolo::{
    ByteBatch, Publisher, RecvError, RecvTimeoutError, Segment, Start, Subscriber, Tap,
    TryRecvError,
};

use super::channel;
use crate::common::{PATIENCE, thread_parked_for_good, tid, wait_until};

#[test]
fn a_lossy_subscriber_is_told_exactly_what_it_missed() {
    let segment = Segment::anonymous().unwrap();
    let prices = channel(&segment);
    let publisher = prices.publisher().unwrap();
    let subscriber = prices.subscriber().unwrap();
    for round in 1..200 {
        let first = publisher.sequence().map_or(0, |last| last + 1);
        for n in first..first + round {
            publisher.send(n).unwrap();
        }
        let (mut missed, mut next) = (0, first);
        loop {
            match subscriber.try_recv() {
                Ok(n) => {
                    assert_eq!(n, next + missed);
                    next += 1;
                }
                Err(TryRecvError::Lagged(n)) => missed += n,
                Err(TryRecvError::Empty) => break,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(next - first + missed, round, "all are got or missed");
        assert!(round < 16 && missed == 0 || next - first >= 16, "the last 16 are retained");
    }
}

/// In small rings, publishers come round while a subscriber copies.
#[test]
fn a_lossy_subscriber_that_is_lapped_at_any_moment_only_misses_messages() {
    let segment = Segment::anonymous().unwrap();
    for (name, capacity) in [("a", 1), ("b", 4), ("c", 16), ("d", 64)] {
        let channel = segment.broadcast::<[u64; 8]>(name).capacity(capacity);
        let (publisher, subscriber) = (channel.publisher().unwrap(), channel.subscriber().unwrap());
        thread::scope(|scope| {
            scope.spawn(move || (0..LAPPED).try_for_each(|n| publisher.send([n; 8])).unwrap());
            assert_accounted(&subscriber);
        });
    }
}

const LAPPED: u64 = 20_000;

/// All of them are got in order, or missed.
fn assert_accounted(subscriber: &Subscriber<[u64; 8]>) {
    let (mut next, mut missed, mut batch) = (0, 0, Vec::new());
    loop {
        let got = if next % 2 == 0 {
            subscriber.recv().map(|message| batch.push(message))
        } else {
            subscriber.recv_batch(&mut batch, 4).map(|_| ())
        };
        match got {
            Ok(()) => {}
            Err(RecvError::Lagged(n)) => missed += n,
            Err(RecvError::Disconnected) => break,
            Err(other) => panic!("{other:?}"),
        }
        for message in batch.drain(..) {
            assert_eq!(message, [next + missed; 8]);
            next += 1;
        }
    }
    assert_eq!((next + missed, subscriber.missed()), (LAPPED, missed));
}

#[test]
fn a_batch_that_ends_at_missed_messages_leaves_their_number_to_the_next_call() {
    let segment = Segment::anonymous().unwrap();
    let news = segment.broadcast_bytes("news").capacity(4, 8);
    let publisher = news.publisher().unwrap();
    let (one, two) = (news.subscriber().unwrap(), news.subscriber().unwrap());
    let (mut got, mut flat, mut missed) = ([0; 2], ByteBatch::new(), [0; 2]);
    for n in 0..1_000_u64 {
        publisher.send(&n.to_ne_bytes()).unwrap();
        if n % 7 == 0 {
            let mut batch = Vec::new();
            match one.try_recv_batch(&mut batch, 3) {
                Ok(count) => got[0] += count as u64,
                Err(error) => missed[0] += error.lagged().unwrap(),
            }
            match two.try_recv_batch_into(&mut flat, 3) {
                Ok(count) => got[1] += count as u64,
                Err(error) => missed[1] += error.lagged().unwrap(),
            }
        }
        assert_eq!([one.sequence(), two.sequence()], [got[0] + missed[0], got[1] + missed[1]]);
    }
    assert!(got[0] > 0 && missed[0] > 0 && [one.missed(), two.missed()] == missed);
}

#[test]
fn a_subscriber_that_is_far_behind_goes_on_with_the_newest_message() {
    let segment = Segment::anonymous().unwrap();
    let prices = channel(&segment);
    let publisher = prices.publisher().unwrap();
    let (lossy, latest) = (prices.subscriber().unwrap(), prices.subscriber().unwrap());
    for n in 0..1_000 {
        publisher.send(n).unwrap();
    }
    assert_eq!(lossy.skip_to_newest(), Ok(999));
    assert_eq!(lossy.recv(), Ok(999));
    assert_eq!(latest.latest(), Ok(999));
    assert_eq!(latest.latest(), Err(TryRecvError::Empty));
    assert_eq!((lossy.missed(), latest.missed()), (0, 0));
}

#[test]
fn a_subscriber_hears_what_it_missed_and_what_is_left_before_it_is_disconnected() {
    let segment = Segment::anonymous().unwrap();
    let prices = channel(&segment);
    let publisher = prices.publisher().unwrap();
    let all: Vec<_> = [(); 4].map(|()| prices.subscriber().unwrap()).into();
    let clone = all[0].try_clone().unwrap();
    for n in 0..1_000_u64 {
        publisher.send(n).unwrap();
    }
    drop(publisher);
    let late = prices.subscriber_from(Start::Oldest).unwrap();
    let first = 1_000 - late.len() as u64;
    let left: Vec<u64> = (first..1_000).collect();
    for subscriber in [&all[0], &clone] {
        assert_eq!(subscriber.recv(), Err(RecvError::Lagged(first)));
        assert_eq!(subscriber.iter().collect::<Result<Vec<_>, _>>().unwrap(), left);
        assert_eq!((subscriber.missed(), subscriber.recv()), (first, Err(RecvError::Disconnected)));
    }
    let mut batch = Vec::new();
    let patience = Duration::from_secs(1);
    assert_eq!(
        all[1].recv_batch_timeout(&mut batch, 1_000, patience),
        Err(RecvTimeoutError::Lagged(first))
    );
    while all[1].recv_batch_timeout(&mut batch, 1_000, patience).is_ok() {}
    assert_eq!(batch, left);
    let mut items = all[2].try_iter();
    assert_eq!(items.next(), Some(Err(TryRecvError::Lagged(first))));
    assert_eq!(items.collect::<Result<Vec<_>, _>>().unwrap(), left);
    assert_eq!(all[3].latest(), Ok(999));
    assert_eq!(all[3].latest(), Err(TryRecvError::Disconnected));
    assert_eq!(late.into_iter().collect::<Result<Vec<_>, _>>().unwrap(), left);
}

#[test]
fn what_a_subscriber_passes_over_itself_it_has_not_missed() {
    let segment = Segment::anonymous().unwrap();
    let prices = channel(&segment);
    let publisher = prices.publisher().unwrap();
    let screen = prices.subscriber().unwrap();
    let (mut got, mut told, mut passed) = (0, 0, 0);
    for round in 0..600 {
        // More than are retained, now and then.
        for _ in 0..round * 7 % 80 {
            publisher.send(round).unwrap();
        }
        let before = screen.sequence();
        match round % 3 {
            0 => passed += screen.skip_to_newest().unwrap(),
            1 if screen.latest().is_ok() => {
                got += 1;
                passed += screen.sequence() - before - 1;
            }
            1 => {}
            _ => match screen.try_recv() {
                Ok(_) => got += 1,
                Err(TryRecvError::Lagged(missed)) => told += missed,
                Err(error) => assert_eq!(error, TryRecvError::Empty),
            },
        }
        assert_eq!(screen.missed(), told);
        assert_eq!(screen.sequence(), got + told + passed);
    }
    assert!(got > 0 && told > 0 && passed > 0, "{got} {told} {passed}");
    assert_eq!(screen.try_clone().unwrap().missed(), 0);
}

/// Publishes its own numbers as fast as it can until it is dropped.
struct Torrent(Option<(Sender<()>, JoinHandle<()>)>);

impl Torrent {
    fn from(publisher: Publisher<u64>) -> Self {
        let (stop, stopped) = mpsc::channel();
        let pours = thread::spawn(move || {
            for first in (0..).step_by(64) {
                if stopped.try_recv() == Err(mpsc::TryRecvError::Disconnected) {
                    return;
                }
                (first..first + 64).for_each(|number| publisher.send(number).unwrap());
            }
        });
        Self(Some((stop, pours)))
    }
}

impl Drop for Torrent {
    fn drop(&mut self) {
        let Some((stop, pours)) = self.0.take() else { return };
        drop(stop);
        pours.join().unwrap();
    }
}

#[test]
fn a_subscriber_that_is_lapped_all_the_time_gets_messages_and_an_exact_account() {
    const ENOUGH: u64 = 2_000;
    let segment = Segment::anonymous().unwrap();
    for capacity in [1, 16, 1_024] {
        let name = format!("c{capacity}");
        let prices = segment.broadcast::<u64>(&name).capacity(capacity).publishers(1);
        let (screen, newest) = (prices.subscriber().unwrap(), prices.subscriber().unwrap());
        let _torrent = Torrent::from(prices.publisher().unwrap());
        let deadline = Instant::now() + PATIENCE;
        let (mut got, mut told) = (0, 0);
        while got < ENOUGH {
            match screen.recv() {
                Ok(number) => {
                    assert_eq!(number, got + told);
                    got += 1;
                }
                Err(RecvError::Lagged(missed)) => told += missed,
                Err(error) => panic!("{error}"),
            }
            assert!(Instant::now() < deadline, "capacity {capacity}: {got} messages");
        }
        assert_eq!(screen.missed(), told);
        let (mut got, mut told, mut last) = (0, 0, None);
        while got < ENOUGH {
            match newest.latest() {
                Ok(number) => {
                    assert!(Some(number) > last, "in order");
                    last = Some(number);
                    got += 1;
                }
                Err(TryRecvError::Lagged(missed)) => told += missed,
                Err(error) => assert_eq!(error, TryRecvError::Empty),
            }
            assert!(Instant::now() < deadline, "capacity {capacity}: {got} of the newest");
        }
        assert_eq!(newest.missed(), told, "it has passed over the others itself");
    }
}

/// One that carries messages from elsewhere, and has lost some.
#[test]
fn a_gap_is_told_to_each_subscriber_where_it_is_and_counts() {
    let segment = Segment::anonymous().unwrap();
    let channel = segment.broadcast::<u8>("values").capacity(8);
    let bytes = segment.broadcast_bytes("bytes").capacity(8, 3);
    let (publisher, of_bytes) = (channel.publisher().unwrap(), bytes.publisher().unwrap());
    let (lossy, reliable) = (channel.subscriber().unwrap(), channel.reliable_subscriber().unwrap());
    let of_any = segment.open_channel("bytes").unwrap();
    let of_any = of_any.reliable_subscriber_from(Start::Oldest).unwrap();
    for round in 0..20 {
        let gap = u64::MAX / 40 * round + 1;
        publisher.try_send_gap(0).unwrap();
        publisher.send(1).unwrap();
        publisher.try_send_gap(gap).unwrap();
        publisher.send(2).unwrap();
        assert_eq!((lossy.recv(), reliable.recv()), (Ok(1), Ok(1)));
        assert_eq!(lossy.try_recv(), Err(TryRecvError::Lagged(gap)));
        assert_eq!(reliable.recv(), Err(RecvError::Lagged(gap)));
        assert_eq!((lossy.recv(), reliable.recv()), (Ok(2), Ok(2)));
        assert_eq!(lossy.sequence(), 3 * (round + 1));
        of_bytes.try_send_gap(gap).unwrap();
        of_bytes.send(b"one").unwrap();
        let mut batch = ByteBatch::new();
        assert_eq!(of_any.recv_batch_into(&mut batch, 9), Err(RecvError::Lagged(gap)));
        assert_eq!(of_any.recv_batch_into(&mut batch, 9), Ok(1));
    }
    assert!(lossy.missed() > u64::MAX / 40 * 19);
    let audit = Segment::check_id(segment.id()).unwrap();
    assert!(audit.is_sound(), "{:?}", audit.faults);
}

/// What is missing behind the newest message does not hide it.
#[test]
fn the_newest_message_is_found_before_gaps() {
    let segment = Segment::anonymous().unwrap();
    let channel = segment.broadcast::<u32>("values").capacity(8);
    let (publisher, subscriber) = (channel.publisher().unwrap(), channel.subscriber().unwrap());
    publisher.try_send_gap(1).unwrap();
    assert_eq!(subscriber.latest(), Err(TryRecvError::Empty));
    publisher.send_batch(&[1, 2]).unwrap();
    publisher.try_send_gap(3).unwrap();
    publisher.try_send_gap(4).unwrap();
    assert_eq!(subscriber.skip_to_newest(), Ok(1));
    assert_eq!(subscriber.latest(), Ok(2));
    assert_eq!(subscriber.latest(), Err(TryRecvError::Empty));
    assert_eq!(subscriber.sequence(), 5);
    let mut tap = Tap::of_id(segment.id(), "values");
    publisher.send(5).unwrap();
    let seen = tap.look(10, 100).unwrap().unwrap();
    assert_eq!((seen.messages.len(), seen.missed), (3, 8));
}

/// A gap is room again when it was read, as a message is.
#[test]
fn a_publisher_that_waits_goes_on_when_a_gap_was_read() {
    let segment = Segment::anonymous().unwrap();
    let channel = segment.broadcast::<u64>("values").capacity(1);
    let (publisher, subscriber) =
        (channel.publisher().unwrap(), channel.reliable_subscriber().unwrap());
    publisher.try_send_gap(5).unwrap();
    assert!(publisher.try_send_gap(6).unwrap_err().is_full());
    let (told, id) = mpsc::channel();
    let waiting = thread::spawn(move || {
        told.send(tid()).unwrap();
        publisher.send(7)
    });
    let waiting_tid = id.recv().unwrap();
    wait_until(|| thread_parked_for_good(waiting_tid));
    assert_eq!(subscriber.recv(), Err(RecvError::Lagged(5)));
    assert_eq!(subscriber.recv(), Ok(7));
    waiting.join().unwrap().unwrap();
}
