//! Messages written and read in place, and messages of bytes: grants, deliveries, and
//! what becomes of both when their holder is killed.

#![allow(unsafe_code)]

mod killed;

use crate::common;

use std::io::{Read, Write};
use std::panic::{self, RefUnwindSafe, UnwindSafe};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use common::{Brief, Name, Peer, Words, thread_parked, tid, wait_until};
use tombolo::{
    ByteBatch, ByteChannel, ByteReceiver, ByteSender, Channel, Fault, InPlace, Message, Mpmc,
    Receiver, RecvError, RecvTimeoutError, Segment, SendError, SendTimeoutError, Sender, Spsc,
    TrustedPeers, TryRecvError, TrySendError,
};

type Page = [u64; 64];

fn page(n: u64) -> Page {
    [n; 64]
}

fn segment() -> (Name, Segment) {
    let name = Name::new();
    let segment = Segment::options().size(4 << 20).participants(8).create(&name).unwrap();
    (name, segment)
}

fn typed<K: InPlace>(channel: &Channel<'_, Page, K>) {
    let (mut tx, mut rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    // Dropped or aborted, nobody sees anything, and the place is there again.
    for n in 0..10 {
        let mut grant = tx.reserve().unwrap();
        grant.write(&page(n));
        if n % 2 == 0 {
            grant.abort()
        } else {
            drop(grant)
        }
        assert!(matches!(rx.try_take(), Err(TryRecvError::Empty)), "{n}");
    }
    for n in 0..10 {
        let mut grant = tx.reserve().unwrap();
        grant.write(&page(n));
        grant.commit().unwrap();
        let delivery = rx.take().unwrap();
        assert_eq!((delivery.read(), delivery.attempts()), (page(n), 0));
        if n % 2 == 0 { delivery.release() } else { drop(delivery) }
    }
    // A message in hand counts; one given back comes again.
    for n in 0..tx.capacity() as u64 {
        tx.send(page(n)).unwrap();
    }
    assert_eq!(tx.try_reserve().unwrap_err(), TrySendError::Full(()));
    rx.take().unwrap().give_back();
    assert_eq!(tx.try_reserve().unwrap_err(), TrySendError::Full(()));
    for n in 0..tx.capacity() as u64 {
        assert_eq!(rx.take().unwrap().read(), page(n));
    }
    assert!(matches!(rx.take_timeout(Duration::from_millis(1)), Err(RecvTimeoutError::Timeout)));
    drop(tx);
    assert_eq!(rx.take().unwrap_err(), RecvError::Disconnected);
}

#[test]
fn a_grant_is_seen_when_committed_and_a_delivery_is_there_until_released() {
    let (_name, segment) = segment();
    for capacity in [1, 2, 5] {
        let (spsc, mpmc) = (format!("s{capacity}"), format!("m{capacity}"));
        typed(&segment.channel::<Page>(&spsc).spsc().capacity(capacity));
        typed(&segment.channel::<Page>(&mpmc).capacity(capacity));
    }
}

/// A message of which not any bytes are a value.
#[derive(Clone, Copy, Debug, PartialEq, Message)]
#[repr(C)]
struct Order {
    id: u64,
    side: Side,
    urgent: bool,
    _reserved: [u8; 6],
}

#[derive(Clone, Copy, Debug, PartialEq, Message)]
#[repr(u8)]
enum Side {
    Buy = 1,
    Sell = 2,
}

const fn order(id: u64) -> Order {
    let side = if id.is_multiple_of(2) { Side::Buy } else { Side::Sell };
    Order { id, side, urgent: id > 3, _reserved: [0; 6] }
}

fn checked<K: InPlace>(segment: &Segment, channel: &Channel<'_, Order, K>) {
    let words = Words::behind(segment);
    let (mut tx, mut rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    for id in 0..10 {
        let mut grant = tx.reserve().unwrap();
        grant.write(&order(id));
        grant.commit().unwrap();
        rx.take().unwrap().give_back();
        let delivery = rx.take().unwrap();
        assert_eq!(delivery.get().unwrap(), order(id));
    }
    // A peer writes what is no value. The message is still in hand.
    let strange = order(0xDEAD_BEEF_0123);
    tx.send(strange).unwrap();
    tx.send(order(1)).unwrap();
    let at = (0..words.len()).rev().find(|&at| words.get(at) == strange.id).unwrap();
    words.put(at + 1, 7);
    let delivery = rx.take().unwrap();
    let RecvError::Invalid { type_name } = delivery.get().unwrap_err().into() else { panic!() };
    assert!(type_name.contains("Order"), "{type_name}");
    delivery.release();
    assert_eq!(rx.recv().unwrap(), order(1));
}

#[test]
fn every_message_is_written_and_taken_in_place() {
    let (_name, segment) = segment();
    checked(&segment, &segment.channel::<Order>("s").spsc().capacity(3));
    checked(&segment, &segment.channel::<Order>("m").capacity(3));

    let channel = segment.channel::<Order>("slices").spsc().capacity(4);
    let (mut tx, mut rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    let mut slice = tx.reserve_slice(2).unwrap();
    assert_eq!(slice.write_at(0, &[order(1), order(2), order(3)]), 2);
    slice.commit(2).unwrap();
    let slice = rx.take_slice(2).unwrap();
    let got: Vec<_> = (0..3).filter_map(|index| slice.get(index)).map(Result::unwrap).collect();
    assert_eq!(got, [order(1), order(2)]);
    drop(slice);

    let shared = segment.channel::<Order>("shared").capacity(4);
    let (tx, rx) = (shared.sender().unwrap(), shared.receiver().unwrap());
    tx.send_batch(&[order(1), order(2)]).unwrap();
    let (first, second) = (rx.take_shared().unwrap(), rx.take_shared().unwrap());
    assert_eq!((first.get(), second.get()), (Ok(order(1)), Ok(order(2))));
}

#[test]
fn slices_lie_side_by_side_and_are_published_and_released_in_part() {
    let (_name, segment) = segment();
    let channel = segment.channel::<u64>("s").spsc().capacity(10);
    let (mut tx, mut rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    let (mut sent, mut received) = (0_u64, 0_u64);
    for round in 0..1_000 {
        let mut room = tx.reserve_slice(1 + round % 7).unwrap();
        assert!((1..=1 + round % 7).contains(&room.len()));
        let numbers: Vec<u64> = (sent..sent + room.len() as u64).collect();
        // One by one, or all at once, and then there is room for no more.
        if round % 2 == 0 {
            for (index, number) in numbers.iter().enumerate() {
                assert_eq!(room.write_at(index, &[*number]), 1);
            }
        } else {
            assert_eq!(room.write_at(0, &[&numbers[..], &[7]].concat()), numbers.len());
        }
        assert_eq!(room.write_at(room.len(), &[7]), 0);
        sent += room.len() as u64;
        // The last one is taken back, unless it is the only one.
        let keep = room.len().saturating_sub(1).max(1);
        sent -= (room.len() - keep) as u64;
        room.commit(keep).unwrap();
        while received < sent {
            let slice = rx.take_slice(1 + round % 5).unwrap();
            let keep = slice.len().div_ceil(2);
            assert_eq!(slice.read(slice.len()), None);
            assert_eq!(slice.read(0), Some(received));
            assert_eq!(slice.to_vec(), slice.iter().collect::<Vec<_>>());
            for message in slice.iter().take(keep) {
                assert_eq!(message, received);
                received += 1;
            }
            slice.release(keep);
        }
    }
    assert!(received > 1_000);
}

fn bytes<K: InPlace>(channel: &ByteChannel<'_, K>, longest: usize) {
    let (mut tx, mut rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    assert_eq!((tx.max_len(), rx.max_len()), (longest, longest));
    let mut into = Vec::new();
    // Every length, through many laps, so that each meets the end somewhere.
    for length in (0..=longest).chain((0..=longest).rev()) {
        let message: Vec<u8> = (0..length).map(|n| (n + length) as u8).collect();
        tx.send(&message).unwrap();
        assert_eq!(rx.recv(&mut into).unwrap(), length);
        assert_eq!(into, message);
        let mut grant = tx.reserve(length).unwrap();
        assert_eq!(grant.write_at(0, &message), length);
        // All of it, or less.
        grant.commit(length / 2).unwrap();
        assert_eq!(rx.take().unwrap().to_vec(), message[..length / 2]);
        drop(tx.reserve(length).unwrap());
        assert!(matches!(rx.try_recv(&mut into), Err(TryRecvError::Empty)));
    }
    let long = vec![0; longest + 1];
    let too_long = SendError::TooLong { message: (), length: longest + 1, longest };
    assert_eq!(tx.send(&long), Err(too_long.clone()));
    assert_eq!(tx.try_send(&long), Err(too_long.clone().into()));
    assert_eq!(tx.send_timeout(&long, Duration::ZERO), Err(too_long.into()));
    // At least as many as asked for, wherever in the ring it begins.
    let message = vec![7; longest];
    for _ in 0..3 {
        let mut fit = 0;
        while tx.try_send(&message).is_ok() {
            fit += 1;
        }
        assert!(fit >= tx.capacity(), "{fit}");
        let late = Instant::now() + Duration::from_millis(1);
        // Out of time, and never said to be full.
        assert_eq!(tx.send_deadline(&message, late), Err(SendTimeoutError::Timeout(())));
        rx.take().unwrap().give_back();
        for _ in 0..fit {
            assert_eq!(rx.recv(&mut into).unwrap(), longest);
        }
    }
    assert!(rx.is_empty());
    drop(tx);
    assert_eq!(rx.recv(&mut into), Err(RecvError::Disconnected));
}

#[test]
fn bytes_of_every_length_arrive_as_they_were() {
    let (_name, segment) = segment();
    for (n, (capacity, longest)) in
        [(1, 0), (1, 1), (1, 100), (3, 64), (7, 1_000)].into_iter().enumerate()
    {
        bytes(&segment.bytes(&format!("s{n}")).spsc().capacity(capacity, longest), longest);
        bytes(&segment.bytes(&format!("m{n}")).capacity(capacity, longest), longest);
    }
}

fn by_reference<K: InPlace>(
    typed: &Channel<'_, Page, K>,
    bytes: &ByteChannel<'_, K>,
    trust: TrustedPeers,
) {
    let (mut tx, mut rx) = (typed.sender().unwrap(), typed.receiver().unwrap());
    let mut grant = tx.reserve().unwrap();
    *grant.as_mut(trust) = page(7);
    assert_eq!(grant.as_ref(trust)[63], 7);
    assert!(grant.as_mut_ptr().is_aligned());
    grant.commit().unwrap();
    let delivery = rx.take().unwrap();
    assert_eq!((delivery.as_ref(trust), delivery.read()), (&page(7), page(7)));
    assert_eq!(delivery.as_ptr(), std::ptr::from_ref(delivery.as_ref(trust)));

    let (mut tx, mut rx) = (bytes.sender().unwrap(), bytes.receiver().unwrap());
    let mut grant = tx.reserve(5).unwrap();
    grant.as_mut_slice(trust).copy_from_slice(b"bytes");
    assert_eq!((grant.as_slice(trust)[4], grant.len()), (b's', 5));
    grant.commit(4).unwrap();
    let delivery = rx.take().unwrap();
    assert_eq!((delivery.as_slice(trust), delivery.len()), (&b"byte"[..], 4));
    assert_eq!(delivery.as_ptr(), delivery.as_slice(trust).as_ptr());
}

#[test]
fn messages_are_written_and_read_by_reference_where_the_peers_are_trusted() {
    let (_name, segment) = segment();
    // SAFETY: nobody else knows the name.
    let trust = unsafe { segment.trust_peers() };
    let (m, s) = (segment.channel("m").capacity(2), segment.channel("s").capacity(2));
    let (bytes, line) = (segment.bytes("b").capacity(2, 9), segment.bytes("l").capacity(2, 9));
    by_reference(&m, &bytes, trust);
    by_reference(&s.spsc(), &line.spsc(), trust);
    let channel = segment.channel::<u64>("slices").spsc().capacity(4);
    let (mut tx, mut rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    let mut grant = tx.reserve_slice(3).unwrap();
    grant.as_mut_slice(trust).copy_from_slice(&[1, 2, 3]);
    assert_eq!(grant.as_slice(trust), [1, 2, 3]);
    assert!(grant.as_mut_ptr().is_aligned());
    grant.commit(2).unwrap();
    let slice = rx.take_slice(9).unwrap();
    assert_eq!((slice.as_slice(trust), slice.len()), (&[1, 2][..], 2));
    assert_eq!(slice.as_ptr(), slice.as_slice(trust).as_ptr());
}

#[test]
fn the_peers_of_one_segment_are_not_those_of_another() {
    let ((_name, segment), (_other, other)) = (segment(), self::segment());
    // SAFETY: nobody else knows the names.
    let [trust, foreign] = [&segment, &other].map(|segment| unsafe { segment.trust_peers() });
    assert_ne!(trust, foreign);
    let bytes = segment.bytes("b").capacity(1, 9);
    bytes.sender().unwrap().send(b"mine").unwrap();
    let mut rx = bytes.receiver().unwrap();
    let delivery = rx.take().unwrap();
    let mixed_up =
        panic::catch_unwind(panic::AssertUnwindSafe(|| delivery.as_slice(foreign).len()));
    assert!(mixed_up.is_err());
    // SAFETY: as above. A clone is the same participant.
    assert_eq!(unsafe { segment.clone().trust_peers() }, trust);
    assert_eq!(delivery.as_slice(trust), b"mine");
}

#[test]
fn bytes_are_written_and_read_in_parts() {
    let (_name, segment) = segment();
    let bytes = segment.bytes("b").capacity(1, 20);
    let (mut tx, mut rx) = (bytes.sender().unwrap(), bytes.receiver().unwrap());
    let mut grant = tx.reserve(20).unwrap();
    let mut writer = grant.writer();
    write!(writer, "{} and {}", 1_234_567, 89).unwrap();
    assert_eq!(writer.written(), 14);
    assert!(writer.write_all(b"more than there is room for").is_err());
    assert_eq!(writer.written(), 20);
    assert_eq!((grant.write_at(8, b"AND"), grant.write_at(18, b"four")), (3, 2));
    assert_eq!((grant.write_at(20, b"x"), grant.write_at(usize::MAX, b"x")), (0, 0));
    grant.commit(20).unwrap();
    let delivery = rx.take().unwrap();
    assert_eq!(delivery.to_vec(), b"1234567 AND 89morefo");
    let (mut part, mut into) = ([0; 5], b"> ".to_vec());
    assert_eq!((delivery.read_at(7, &mut part), &part), (5, b" AND "));
    assert_eq!((delivery.read_at(18, &mut part), &part[..2]), (2, &b"fo"[..]));
    assert_eq!(delivery.read_at(usize::MAX, &mut part), 0);
    delivery.append_to(&mut into);
    assert_eq!(into, b"> 1234567 AND 89morefo");
    let mut reader = delivery.reader();
    reader.read_exact(&mut part).unwrap();
    let mut rest = String::new();
    reader.read_to_string(&mut rest).unwrap();
    assert_eq!((&part, &*rest), (b"12345", "67 AND 89morefo"));
}

#[test]
fn handles_can_be_caught_with_a_panic() {
    const fn caught<T: UnwindSafe + RefUnwindSafe>() {}
    const {
        caught::<Segment>();
        caught::<TrustedPeers>();
        caught::<(Sender<u64>, Receiver<u64>)>();
        caught::<(Sender<Page, Spsc>, Receiver<Page, Spsc>)>();
        caught::<(ByteSender, ByteReceiver)>();
        caught::<(ByteSender<Spsc>, ByteReceiver<Spsc>)>();
    }
}

fn batches<K: InPlace>(channel: &ByteChannel<'_, K>) {
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    let all: Vec<Vec<u8>> = (0..500_usize).map(|n| vec![n as u8; n * 7 % 33]).collect();
    let borrowed: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
    std::thread::scope(|scope| {
        let receiving = scope.spawn(move || {
            let mut got = Vec::new();
            let mut flat = ByteBatch::new();
            let mut most = 1;
            loop {
                let count = if most % 2 == 0 {
                    rx.recv_batch(&mut got, most)
                } else {
                    flat.clear();
                    let count = rx.recv_batch_into(&mut flat, most);
                    got.extend(flat.iter().map(<[u8]>::to_vec));
                    count
                };
                let Ok(count) = count else { break };
                assert!((1..=most).contains(&count));
                most = most % 5 + 1;
            }
            got
        });
        // All at once, which is more than fits, and a few at a time.
        tx.send_batch(&borrowed).unwrap();
        borrowed.chunks(3).for_each(|some| tx.send_batch(some).unwrap());
        let long = [0; 34];
        let failed = tx.send_batch(&[b"fits", &long]).unwrap_err();
        assert_eq!(failed.sent, 0);
        assert_eq!(failed.reason, SendError::TooLong { message: (), length: 34, longest: 33 });
        drop(tx);
        let got = receiving.join().unwrap();
        assert_eq!((&got[..500], &got[500..]), (&all[..], &all[..]));
    });
}

#[test]
fn batches_of_bytes_arrive_whole_and_in_order() {
    let (_name, segment) = segment();
    for capacity in [1, 2, 7] {
        let (spsc, mpmc) = (format!("s{capacity}"), format!("m{capacity}"));
        batches(&segment.bytes(&spsc).spsc().capacity(capacity, 33));
        batches(&segment.bytes(&mpmc).capacity(capacity, 33));
    }
}

fn flat<K: InPlace>(channel: &ByteChannel<'_, K>) {
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    let mut batch = ByteBatch::with_capacity(8, 64);
    assert_eq!(rx.try_recv_batch_into(&mut batch, 4), Err(TryRecvError::Empty));
    let soon = Duration::from_millis(1);
    let late = rx.recv_batch_into_timeout(&mut batch, 4, soon);
    assert_eq!(late, Err(RecvTimeoutError::Timeout));
    let late = rx.recv_batch_into_deadline(&mut batch, 4, Instant::now() + soon);
    assert_eq!(late, Err(RecvTimeoutError::Timeout));
    assert!(batch.is_empty() && batch.iter().next().is_none() && batch.as_bytes().is_empty());
    tx.send_batch(&[b"one", b"", b"three", b"four"]).unwrap();
    assert_eq!(rx.recv_batch_into(&mut batch, 0), Ok(0));
    assert_eq!(rx.try_recv_batch_into(&mut batch, 2), Ok(2));
    // Behind those that are there.
    assert_eq!(rx.recv_batch_into(&mut batch, 9), Ok(2));
    let messages = [&b"one"[..], b"", b"three", b"four"];
    assert_eq!(batch.iter().collect::<Vec<_>>(), messages);
    assert_eq!((batch.len(), batch.iter().len()), (4, 4));
    assert_eq!((0..5).map(|n| batch.get(n)).collect::<Vec<_>>()[..4], messages.map(Some));
    assert_eq!((batch.get(4), batch.as_bytes()), (None, &b"onethreefour"[..]));
    batch.clear();
    assert_eq!((batch.len(), batch.get(0)), (0, None));
    tx.send(b"last").unwrap();
    drop(tx);
    assert_eq!(rx.recv_batch_into(&mut batch, 9), Ok(1));
    assert_eq!(batch.get(0), Some(&b"last"[..]));
    assert!(rx.recv_batch_into(&mut batch, 9).unwrap_err().is_disconnected());
    assert_eq!(batch.len(), 1);
}

#[test]
fn a_flat_batch_has_its_messages_side_by_side() {
    let (_name, segment) = segment();
    flat(&segment.bytes("s").spsc().capacity(4, 20));
    flat(&segment.bytes("m").capacity(4, 20));
    flat(&segment.bytes("blocks").capacity(4, 200));
    let any = segment.bytes("any").capacity(4, 20);
    let (tx, rx) = (any.sender().unwrap(), segment.open_channel("any").unwrap());
    let rx = rx.receiver().unwrap();
    tx.send_batch(&[b"a", b"bc"]).unwrap();
    let mut batch = ByteBatch::new();
    assert_eq!(rx.recv_batch_into(&mut batch, 9), Ok(2));
    assert_eq!(batch.iter().collect::<Vec<_>>(), [&b"a"[..], b"bc"]);
}

#[test]
fn an_mpmc_grant_of_bytes_holds_up_nobody() {
    let (_name, segment) = segment();
    let channel = segment.bytes("m").capacity(2, 8);
    let (mut slow, quick) = (channel.sender().unwrap(), channel.sender().unwrap());
    let rx = channel.receiver().unwrap();
    let mut into = Vec::new();
    let grant = slow.reserve(8).unwrap();
    for _ in 0..10 {
        quick.send(b"quick").unwrap();
        assert_eq!(rx.recv(&mut into).unwrap(), 5);
    }
    quick.send(b"quick").unwrap();
    grant.commit(3).unwrap();
    // Where there is no place, none is granted.
    assert!(slow.try_reserve(8).unwrap_err().is_full());
    assert_eq!((rx.recv(&mut into).unwrap(), rx.recv(&mut into).unwrap()), (5, 3));
}

#[test]
fn messages_around_the_length_that_fits_a_slot_arrive_by_each_way() {
    let (_name, segment) = segment();
    for longest in [0, 1, 8, 111, 112, 113, 200] {
        let name = format!("of-{longest}");
        let channel = segment.bytes(&name).capacity(2, longest);
        let (mut tx, mut rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let lengths = [0, 1, 7, 8, 9, 63, 64, 104, 105, 111, 112, 113, 120, 200];
        for length in lengths.into_iter().filter(|&length| length <= longest) {
            let message: Vec<u8> = (0..length).map(|n| (n + length) as u8).collect();
            let mut got = Vec::new();
            tx.send(&message).unwrap();
            let mut grant = tx.reserve(longest).unwrap();
            assert_eq!(grant.len(), longest);
            assert_eq!(grant.write_at(0, &message), length);
            grant.commit(length).unwrap();
            let delivery = rx.take().unwrap();
            assert_eq!(delivery.to_vec(), message, "{length} of {longest}");
            // It comes again.
            delivery.give_back();
            rx.recv(&mut got).unwrap();
            assert_eq!(got, message, "{length} of {longest}");
            rx.recv(&mut got).unwrap();
            assert_eq!(got, message, "{length} of {longest}, in place");
        }
    }
}

/// A child holds something of a channel and is killed over it; what it held
/// is there for the others, as promised.
/// Calls in a thread of its own, and waits until it sleeps.
fn parked<R: Send + 'static>(call: impl FnOnce() -> R + Send + 'static) -> JoinHandle<R> {
    let (tell, told) = mpsc::channel();
    let thread = thread::spawn(move || {
        tell.send(tid()).unwrap();
        call()
    });
    let tid = told.recv().unwrap();
    wait_until(|| thread_parked(tid));
    thread
}

/// A channel of two places and two blocks, of which longer messages need one.
fn places(segment: &Segment) -> ByteChannel<'_, Mpmc> {
    segment.bytes("places").capacity(2, LONG)
}

const LONG: usize = 150;

/// A thread that has a grant of so many bytes, commits them when it is told to, and waits
/// then because others have filled the channel.
fn commits_late(
    segment: &Segment,
    length: usize,
) -> (impl FnOnce() + use<>, JoinHandle<Result<(), SendError>>) {
    let mut tx = places(segment).sender().unwrap();
    let (reserved, is_reserved) = mpsc::channel();
    let (go, gone) = mpsc::channel();
    let commit = thread::spawn(move || {
        let grant = tx.reserve(length).unwrap();
        reserved.send(tid()).unwrap();
        gone.recv().unwrap();
        grant.commit(length)
    });
    let committer = is_reserved.recv().unwrap();
    let until_it_sleeps = move || {
        go.send(()).unwrap();
        wait_until(|| thread_parked(committer));
    };
    (until_it_sleeps, commit)
}

#[test]
fn a_commit_without_a_place_is_not_held_up_by_who_waits_for_a_block() {
    for length in [1, LONG] {
        let (_name, segment) = segment();
        let bytes = places(&segment);
        let (quick, rx) = (bytes.sender().unwrap(), bytes.receiver().unwrap());
        let (commit, committed) = commits_late(&segment, length);
        // The blocks that are left.
        let mut writers = [bytes.sender().unwrap(), bytes.sender().unwrap()];
        let mut grants: Vec<_> =
            writers.iter_mut().filter_map(|writer| writer.try_reserve(LONG).ok()).collect();
        let tx = bytes.sender().unwrap();
        let send = parked(move || tx.send(&[7; LONG]).unwrap());
        (0..2).for_each(|_| quick.send(b"quick").unwrap());
        commit();
        let mut got = Vec::new();
        rx.recv(&mut got).unwrap();
        wait_until(|| committed.is_finished());
        committed.join().unwrap().unwrap();
        assert!(!send.is_finished());
        // A block, and then a place.
        drop(grants.pop());
        for _ in 0..3 {
            rx.recv(&mut got).unwrap();
        }
        send.join().unwrap();
    }
}

#[test]
fn a_block_and_a_place_that_are_free_are_not_kept_from_who_waits() {
    let (_name, segment) = segment();
    let bytes = places(&segment);
    let (quick, rx) = (bytes.sender().unwrap(), bytes.receiver().unwrap());
    let mut writers = [bytes.sender().unwrap(), bytes.sender().unwrap()];
    let grants = writers.each_mut().map(|writer| writer.try_reserve(LONG).unwrap());
    // There is a place, and no block.
    let mut tx = bytes.sender().unwrap();
    let reserve = parked(move || drop(tx.reserve(LONG).unwrap()));
    // Now there is no place either.
    (0..2).for_each(|_| quick.send(b"quick").unwrap());
    let tx = bytes.sender().unwrap();
    let send = parked(move || tx.send(b"s").unwrap());
    drop(grants);
    let mut got = Vec::new();
    for _ in 0..3 {
        rx.recv(&mut got).unwrap();
    }
    send.join().unwrap();
    reserve.join().unwrap();
}

#[test]
fn a_commit_ends_when_its_last_receiver_goes_and_when_the_segment_is_removed() {
    for leaves in [true, false] {
        let (_name, segment) = segment();
        let bytes = places(&segment);
        let (quick, rx) = (bytes.sender().unwrap(), bytes.receiver().unwrap());
        let (until_it_sleeps, commit) = commits_late(&segment, 1);
        (0..2).for_each(|_| quick.send(b"quick").unwrap());
        until_it_sleeps();
        if leaves {
            drop(rx);
        } else {
            segment.remove().unwrap();
        }
        let ended = commit.join().unwrap();
        match ended {
            Err(SendError::Disconnected(())) => assert!(leaves),
            Err(SendError::Fault { fault: Fault::Closed, .. }) => assert!(!leaves),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_send_gives_up_in_time_where_it_has_a_block_and_no_place() {
    let (_name, segment) = segment();
    let bytes = places(&segment);
    let (tx, mut slow) = (bytes.sender().unwrap(), bytes.receiver().unwrap());
    (0..2).for_each(|_| tx.send(b"old").unwrap());
    let held = slow.take().unwrap();
    bytes.receiver().unwrap().recv(&mut Vec::new()).unwrap();
    let tx = bytes.sender().unwrap();
    let late = tx.send_timeout(&[0; LONG], Duration::from_millis(5));
    assert_eq!(late, Err(SendTimeoutError::Timeout(())));
    held.release();
    tx.send_timeout(&[0; LONG], Duration::from_secs(60)).unwrap();
}

/// How many bytes of memory the segment takes of its own, as the kernel counts them.
fn resident(segment: &Segment) -> usize {
    let id = segment.id().to_string();
    let table = std::fs::read_to_string("/proc/sysvipc/shm").unwrap();
    let mut lines = table.lines();
    let place = lines.next().unwrap().split_whitespace().position(|head| head == "rss").unwrap();
    let row = lines
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .find(|row| row[1] == id)
        .unwrap();
    row[place].parse().unwrap()
}

#[test]
fn memory_of_long_messages_is_given_back_and_that_of_few_is_used_again() {
    const LONG: usize = 256 << 10;
    let options = Segment::options().room_for_bytes(64, LONG).no_reserve(true);
    let segment = options.anonymous().unwrap();
    let channel = segment.bytes("frames").capacity(64, LONG);
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    let mut message = Vec::new();
    let mut pass = |count: u8, rx: &ByteReceiver| {
        (0..count).for_each(|n| tx.send(&vec![n + 1; LONG]).unwrap());
        for n in 0..count {
            assert_eq!(rx.recv(&mut message).unwrap(), LONG);
            assert!(message == vec![n + 1; LONG], "{n}");
        }
        resident(&segment)
    };
    // One at a time uses one block, however many there are.
    let one = (0..65).map(|_| pass(1, &rx)).last().unwrap();
    assert!((LONG..2 * LONG).contains(&one), "{one}");
    assert!(pass(32, &rx) > 32 * LONG);
    rx.set_retained_memory(LONG);
    let rx = rx.try_clone().unwrap();
    // The first keeps all, the others a part of it: 1 + 1/2 + 1/3 + … of 32 is less than five.
    let kept = pass(32, &rx);
    assert!((2 * LONG..5 * LONG).contains(&kept), "{kept}");
    assert_eq!((0..65).map(|_| pass(1, &rx)).last().unwrap(), kept);
}
