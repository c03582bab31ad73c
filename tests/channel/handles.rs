//! What one kind of handle can do, all of them can: values of a type and bytes, SPSC
//! and MPMC, and handles that learn only at run time what a channel carries.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::Words;
use tombolo::{
    AnyChannel, ChannelError, ChannelKind, RecvError, Segment, SendError, SendTimeoutError,
    TryRecvError, TrySendError,
};

const CAPACITY: usize = 4;
/// Longer than nothing, and too short to wait for.
const SHORT: Duration = Duration::from_millis(2);

/// A message that was received, as its number.
trait Numbered {
    fn number(&self) -> u64;
}

impl Numbered for u64 {
    fn number(&self) -> u64 {
        *self
    }
}

impl Numbered for Vec<u8> {
    fn number(&self) -> u64 {
        u64::from_ne_bytes(self.as_slice().try_into().unwrap())
    }
}

fn small() -> Segment {
    Segment::options().size(1 << 20).participants(8).anonymous().unwrap()
}

/// Runs the body with both ends of a channel of each sort, and with what makes a message
/// of a number.
macro_rules! on_every_channel {
    (fn $name:ident($tx:ident, $rx:ident, $message:ident) $body:block) => {
        #[test]
        #[allow(unused_mut)]
        fn $name() {
            let segment = small();
            let typed = |name| segment.channel::<u64>(name).capacity(CAPACITY);
            let bytes = |name| segment.bytes(name).capacity(CAPACITY, 8);
            {
                let channel = typed("mpmc");
                let (mut $tx, mut $rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
                let $message = |number: u64| number;
                $body
            }
            {
                let channel = typed("spsc").spsc();
                let (mut $tx, mut $rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
                let $message = |number: u64| number;
                $body
            }
            {
                let channel = bytes("mpmc-bytes");
                let (mut $tx, mut $rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
                let $message = |number: u64| &*number.to_ne_bytes().to_vec().leak();
                $body
            }
            {
                let channel = bytes("spsc-bytes").spsc();
                let (mut $tx, mut $rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
                let $message = |number: u64| &*number.to_ne_bytes().to_vec().leak();
                $body
            }
        }
    };
}

on_every_channel! {
    fn every_form_of_waiting_ends_in_time(tx, rx, message) {
        let soon = || Instant::now() + SHORT;
        let mut into = Vec::new();
        assert!(rx.recv_batch_timeout(&mut into, 2, SHORT).unwrap_err().is_timeout());
        assert!(rx.recv_batch_deadline(&mut into, 2, soon()).unwrap_err().is_timeout());
        assert!(rx.try_recv_batch(&mut into, 2).unwrap_err().is_empty());
        assert!(rx.take_timeout(SHORT).unwrap_err().is_timeout());
        assert!(rx.take_deadline(soon()).unwrap_err().is_timeout());
        assert!(rx.try_take().unwrap_err().is_empty());
        assert!(into.is_empty());

        let six: Vec<_> = (0..6).map(message).collect();
        // The messages that fit are sent, and counted.
        let error = tx.send_batch_timeout(&six, SHORT).unwrap_err();
        assert!(error.reason.is_timeout(), "{error}");
        let sent = error.sent;
        assert!((CAPACITY..6).contains(&sent), "{sent} sent");
        let error = tx.send_batch_deadline(&six, soon()).unwrap_err();
        assert_eq!((error.sent, error.reason.is_timeout()), (0, true));
        assert!(tx.send_timeout(message(9), SHORT).unwrap_err().is_timeout());
        assert!(tx.send_deadline(message(9), soon()).unwrap_err().is_timeout());
        assert!(tx.try_send(message(9)).unwrap_err().is_full());
        assert_eq!(tx.try_send_batch(&six).unwrap(), 0);
        assert!(tx.is_full() && rx.is_full());

        assert_eq!(rx.recv_batch_timeout(&mut into, 9, SHORT).unwrap(), sent);
        let numbers: Vec<u64> = into.iter().map(Numbered::number).collect();
        assert_eq!(numbers, (0..sent as u64).collect::<Vec<_>>());
        assert!(tx.is_empty() && rx.is_empty());
        assert_eq!((tx.capacity(), rx.capacity()), (CAPACITY, CAPACITY));
    }
}

on_every_channel! {
    fn receivers_are_iterated_over_by_reference_by_value_and_without_waiting(tx, rx, message) {
        tx.send_batch(&[message(1), message(2), message(3)]).unwrap();
        let numbers: Vec<u64> = rx.try_iter().map(|got| got.unwrap().number()).collect();
        assert_eq!(numbers, [1, 2, 3]);
        let mut none = rx.try_iter();
        assert!(none.next().is_none());
        tx.send(message(4)).unwrap();
        assert!(none.next().is_none(), "an iterator that has ended goes on");
        assert_eq!((&rx).into_iter().next().unwrap().unwrap().number(), 4);
        tx.send(message(5)).unwrap();
        drop(tx);
        let mut rest = rx.into_iter();
        assert_eq!(rest.next().unwrap().unwrap().number(), 5);
        assert!(rest.next().is_none() && rest.next().is_none());
    }
}

#[test]
fn handles_know_whether_they_are_of_one_channel() {
    let (segment, other) = (small(), small());
    let typed = segment.channel::<u64>("a").capacity(2);
    let (tx, rx) = (typed.sender().unwrap(), typed.receiver().unwrap());
    assert!(tx.same_channel(&tx.try_clone().unwrap()));
    assert!(rx.same_channel(&typed.receiver().unwrap()));
    assert!(!tx.same_channel(&segment.channel("b").capacity(2).sender().unwrap()));
    assert!(!tx.same_channel(&other.channel("a").capacity(2).sender().unwrap()));
}

#[test]
fn grants_are_waited_for_in_time_whatever_they_are_for() {
    let segment = small();
    let soon = || Instant::now() + SHORT;
    let typed = segment.channel::<u64>("typed").capacity(1).spsc();
    let (mut tx, mut rx) = (typed.sender().unwrap(), typed.receiver().unwrap());
    tx.reserve_timeout(SHORT).unwrap().write(&1);
    tx.send(2).unwrap();
    assert!(tx.reserve_timeout(SHORT).unwrap_err().is_timeout());
    assert!(tx.reserve_deadline(soon()).unwrap_err().is_timeout());
    assert!(tx.reserve_slice_timeout(3, SHORT).unwrap_err().is_timeout());
    assert!(tx.reserve_slice_deadline(3, soon()).unwrap_err().is_timeout());
    assert!(tx.try_reserve_slice(3).unwrap_err().is_full());
    assert_eq!(rx.take_slice_timeout(3, SHORT).unwrap().to_vec(), [2]);
    assert!(rx.take_slice_timeout(3, SHORT).unwrap_err().is_timeout());
    assert!(rx.take_slice_deadline(3, soon()).unwrap_err().is_timeout());
    assert!(rx.try_take_slice(3).unwrap_err().is_empty());

    let bytes = segment.bytes("bytes").capacity(1, 8);
    let (mut tx, _rx) = (bytes.sender().unwrap(), bytes.receiver().unwrap());
    tx.reserve_timeout(8, SHORT).unwrap().commit(8).unwrap();
    assert!(tx.reserve_timeout(8, SHORT).unwrap_err().is_timeout());
    assert!(tx.reserve_deadline(8, soon()).unwrap_err().is_timeout());
    assert!(tx.reserve_timeout(9, SHORT).unwrap_err().is_too_long());
}

#[test]
fn an_mpmc_receiver_has_as_many_messages_in_hand_as_it_likes() {
    let segment = small();
    let typed = segment.channel::<u64>("typed").capacity(3);
    let (tx, rx) = (typed.sender().unwrap(), typed.receiver().unwrap());
    tx.send_batch(&[1, 2, 3]).unwrap();
    let first = rx.take_shared().unwrap();
    let second = rx.take_shared_timeout(SHORT).unwrap();
    let third = rx.try_take_shared().unwrap();
    assert_eq!((first.read(), second.read(), third.read()), (1, 2, 3));
    assert!(matches!(rx.try_take_shared(), Err(TryRecvError::Empty)));
    // In any order.
    third.release();
    drop(first);
    second.give_back_counted();
    let again = rx.take_shared_deadline(Instant::now() + SHORT).unwrap();
    assert_eq!((again.read(), again.attempts()), (2, 1));
    drop(again);

    let bytes = segment.bytes("bytes").capacity(2, 8);
    let (tx, rx) = (bytes.sender().unwrap(), bytes.receiver().unwrap());
    tx.send_batch(&[b"one", b"two"]).unwrap();
    let (first, second) = (rx.take_shared().unwrap(), rx.take_shared().unwrap());
    drop(second);
    // Its block is free, and its slot is not the next one.
    assert_eq!(first.to_vec(), b"one");
    first.give_back();
    assert_eq!(rx.take_shared().unwrap().to_vec(), b"one");
}

/// Each message of `size` bytes comes through, whichever end knows its type.
fn element_of<const SIZE: usize>(segment: &Segment)
where
    [u8; SIZE]: bytemuck::Pod,
{
    for spsc in [false, true] {
        let name = format!("{SIZE}-{spsc}");
        let channel = segment.channel::<[u8; SIZE]>(&name).capacity(3);
        let message: [u8; SIZE] = core::array::from_fn(|n| n as u8 + 1);
        // Made once by each kind; the handles below learn it from the directory.
        if spsc {
            drop(channel.spsc().sender().unwrap());
        } else {
            drop(channel.sender().unwrap());
        }
        let any = segment.open_channel(&name).unwrap();
        assert_eq!((any.element_size(), any.element_align()), (SIZE, 1));
        assert_eq!((any.schema(), any.is_spsc(), any.is_bytes()), ("u8", spsc, false));
        assert_eq!((any.name(), any.capacity()), (&*name, 3));
        to_and_fro(&any, &message);
        let wrong = any.sender().unwrap();
        assert!(matches!(
            wrong.send(&vec![0; SIZE + 1]),
            Err(SendError::TooLong { length, .. }) if length == SIZE + 1
        ));
        assert!(matches!(
            wrong.try_send(&vec![0; SIZE - 1]),
            Err(TrySendError::TooShort { size, .. }) if size == SIZE
        ));
        assert!(matches!(
            wrong.send_timeout(&[], SHORT),
            Err(SendTimeoutError::TooShort { length: 0, .. })
        ));
        assert_eq!(wrong.send_batch(&[&message, &[]]).unwrap_err().sent, 0);
    }
}

/// In each form that both ends have, around the ring.
fn to_and_fro(channel: &AnyChannel<'_>, message: &[u8]) {
    let (mut tx, mut rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    assert_eq!(tx.element_size(), channel.element_size());
    let mut into = Vec::new();
    for _ in 0..2 * channel.capacity() {
        tx.send(message).unwrap();
        assert_eq!(rx.recv(&mut into).unwrap(), message.len());
        assert_eq!(into, message);

        let mut grant = tx.reserve(message.len()).unwrap();
        assert_eq!(grant.write(message), message.len());
        grant.commit(message.len()).unwrap();
        let delivery = rx.take().unwrap();
        assert_eq!((delivery.to_vec(), delivery.attempts()), (message.to_vec(), 0));
        delivery.give_back();
        assert_eq!(rx.recv_timeout(&mut into, SHORT).unwrap(), message.len());

        tx.send_batch(&[message, message]).unwrap();
        let mut both = Vec::new();
        assert_eq!(rx.recv_batch(&mut both, 5).unwrap(), 2);
        assert!(both.iter().all(|one| one == message));
    }
    assert!(rx.try_recv(&mut into).unwrap_err().is_empty());
    assert!(tx.is_empty() && !rx.is_full());
}

#[test]
fn a_channel_is_opened_by_its_name_alone() {
    let segment = small();
    element_of::<1>(&segment);
    element_of::<2>(&segment);
    element_of::<3>(&segment);
    element_of::<4>(&segment);
    element_of::<12>(&segment);
    element_of::<24>(&segment);
    element_of::<64>(&segment);

    let bytes = segment.bytes("bytes").capacity(3, 20);
    let receiver = bytes.receiver().unwrap();
    let any = segment.open_channel("bytes").unwrap();
    assert_eq!((any.schema(), any.is_bytes(), any.element_size()), ("bytes", true, 20));
    any.sender().unwrap().send(b"short").unwrap();
    assert_eq!(receiver.try_iter().next().unwrap().unwrap(), b"short");
    drop(receiver);
    to_and_fro(&any, b"any length");
    to_and_fro(&any, b"");

    assert!(matches!(segment.open_channel("none"), Err(ChannelError::NotFound { .. })));
}

#[test]
fn a_message_given_back_as_failed_is_no_fault_of_the_segment() {
    let segment = small();
    let channel = segment.channel::<u64>("c").capacity(3).redeliver(0);
    let (tx, mut rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    tx.send_batch(&[1, 2]).unwrap();
    for attempts in 0..2 {
        let delivery = rx.take().unwrap();
        assert_eq!((delivery.read(), delivery.attempts()), (1, attempts));
        delivery.give_back_counted();
        let audit = Segment::check_id(segment.id()).unwrap();
        assert!(audit.faults.is_empty(), "{audit:?}");
    }
    let delivery = rx.take().unwrap();
    let audit = Segment::check_id(segment.id()).unwrap();
    assert!(audit.faults.is_empty(), "{audit:?}");
    drop(delivery);
}

#[test]
fn a_batch_ends_while_a_sender_keeps_up() {
    let segment = small();
    let channel = segment.channel::<u64>("c").capacity(CAPACITY);
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let tx = tx;
            while !over.load(Ordering::Relaxed) {
                let _ = tx.try_send(1);
            }
        });
        let mut most = 0;
        for _ in 0..20_000 {
            let mut into = Vec::new();
            most = most.max(rx.recv_batch(&mut into, usize::MAX).unwrap());
        }
        over.store(true, Ordering::Relaxed);
        assert!(most <= CAPACITY, "{most} messages at once");
    });
}

/// Where the only entry of a small segment's directory says what the size of an element is.
fn element_size_of_the_first_channel() -> usize {
    let infos = (512 + 8 * 8_usize).next_multiple_of(128);
    (infos + 128 * 8 + 128 * 128) / 8 + 2
}

#[test]
fn elements_of_a_client_whose_size_is_no_multiple_of_the_alignment_are_where_they_belong() {
    let segment = small();
    let channel = segment.channel::<[u64; 2]>("c").spsc().capacity(5);
    drop(channel.sender().unwrap());
    // No type of Rust is so; a C client's may be: 12 bytes, 16 apart.
    Words::behind(&segment).put(element_size_of_the_first_channel(), 12);
    let any = segment.open_channel("c").unwrap();
    assert_eq!((any.element_size(), any.element_align()), (12, 8));
    let (tx, rx) = (any.sender().unwrap(), any.receiver().unwrap());
    let message = |n: u8| core::array::from_fn::<u8, 12, _>(|at| 16 * n + at as u8);
    for _ in 0..3 {
        tx.send_batch(&[&message(1), &message(2), &message(3)]).unwrap();
        for n in 1..=3 {
            let mut into = Vec::new();
            rx.recv(&mut into).unwrap();
            assert_eq!(into, message(n));
        }
        (1..=3).for_each(|n| tx.send(&message(n)).unwrap());
        let mut into = Vec::new();
        assert_eq!(rx.recv_batch(&mut into, 3).unwrap(), 3);
        assert_eq!(into, [message(1), message(2), message(3)]);
    }
}

#[test]
fn a_clone_knows_what_its_original_knows_and_counts_as_a_handle() {
    let segment = small();
    let channel = segment.channel::<u64>("c").capacity(CAPACITY);
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    let counted = || {
        let info = &segment.channels()[0];
        (info.senders, info.receivers)
    };
    let clones: Vec<_> = (0..10).map(|_| tx.try_clone().unwrap()).collect();
    let receivers = [rx.try_clone().unwrap(), rx.try_clone().unwrap()];
    assert_eq!(counted(), (11, 3));
    assert!(Segment::check_id(segment.id()).unwrap().faults.is_empty());
    drop(tx);
    for (n, clone) in clones.iter().enumerate() {
        clone.send(n as u64).unwrap();
        assert_eq!(receivers[n % 2].recv().unwrap(), n as u64);
    }
    drop(clones);
    assert_eq!(counted(), (0, 3));
    assert_eq!(rx.recv(), Err(RecvError::Disconnected));
    assert_eq!(receivers[0].try_clone().unwrap().recv(), Err(RecvError::Disconnected));
}

#[test]
fn handles_of_any_channel_do_what_typed_ones_do() {
    let segment = small();
    drop(segment.channel::<u64>("mpmc").capacity(3).sender().unwrap());
    drop(segment.channel::<u64>("spsc").spsc().capacity(3).redeliver(2).sender().unwrap());
    drop(segment.bytes("mpmc-bytes-of-any").capacity(3, 8).lasting().sender().unwrap());
    drop(segment.bytes("spsc-bytes-of-any").spsc().capacity(3, 8).sender().unwrap());
    let message = [7_u8; 8];
    for (name, kind) in [
        ("mpmc", ChannelKind::Mpmc),
        ("spsc", ChannelKind::Spsc),
        ("mpmc-bytes-of-any", ChannelKind::MpmcBytes),
        ("spsc-bytes-of-any", ChannelKind::SpscBytes),
    ] {
        let channel = segment.open_channel(name).unwrap();
        assert_eq!((channel.kind(), channel.is_lasting()), (kind, name == "mpmc-bytes-of-any"));
        let said = kind.to_string().to_lowercase().replace(' ', "-");
        assert_eq!(said, name.trim_end_matches("-of-any"));
        assert_eq!(channel.attempts(), if name == "spsc" { 2 } else { 8 });
        let (tx, mut rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        for _ in 0..3 {
            tx.send_batch_timeout(&[&message, &message], SHORT).unwrap();
            tx.send_batch_deadline(&[&message], Instant::now() + SHORT).unwrap();
            let error = tx.send_batch_timeout(&[&message], SHORT).unwrap_err();
            assert!(error.reason.is_timeout(), "{error:?}");
            let mut into = Vec::new();
            assert_eq!(rx.recv_batch_timeout(&mut into, 1, SHORT).unwrap(), 1);
            let deadline = Instant::now() + SHORT;
            assert_eq!(rx.recv_batch_deadline(&mut into, 9, deadline).unwrap(), 2);
            assert!(rx.recv_batch_timeout(&mut into, 1, SHORT).unwrap_err().is_timeout());
            assert!(into.iter().all(|one| *one == message));

            tx.send_batch(&[&message, &message]).unwrap();
            assert_eq!(rx.iter().next().unwrap().unwrap(), message);
            assert_eq!(rx.try_iter().map(Result::unwrap).collect::<Vec<_>>(), [message.to_vec()]);
        }
        tx.send(&message).unwrap();
        rx.take().unwrap().give_back_counted();
        let counted = u8::from(!channel.is_spsc());
        assert_eq!(rx.take().unwrap().attempts(), counted);

        if channel.is_spsc() {
            for refused in [tx.try_clone().map(drop), rx.try_clone().map(drop)] {
                let refused = refused.unwrap_err();
                let pid = u64::from(std::process::id());
                assert!(
                    matches!(refused, ChannelError::RoleTaken { pid: holder, .. } if holder == pid),
                    "{refused:?}"
                );
            }
            assert!(rx.try_take_shared().is_none());
        } else {
            let (tx2, rx2) = (tx.try_clone().unwrap(), rx.try_clone().unwrap());
            assert!(tx2.same_channel(&tx) && rx2.same_channel(&rx));
            tx2.send_batch(&[&message, &message, &message]).unwrap();
            let first = rx2.take_shared().unwrap().unwrap();
            let second = rx2.take_shared_timeout(SHORT).unwrap().unwrap();
            let third = rx2.try_take_shared().unwrap().unwrap();
            assert!([&first, &second, &third].iter().all(|one| one.to_vec() == message));
        }
        drop(tx);
        if !channel.is_lasting() {
            assert_eq!(rx.into_iter().count(), 0);
        }
    }
}

#[test]
fn what_was_in_a_place_before_is_not_sent() {
    let segment = small();
    drop(segment.channel::<u64>("element").capacity(1).sender().unwrap());
    drop(segment.bytes("bytes").capacity(1, 8).sender().unwrap());
    for name in ["element", "bytes"] {
        let channel = segment.open_channel(name).unwrap();
        let (mut tx, mut rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        tx.send(b"a secret").unwrap();
        assert_eq!(rx.take().unwrap().to_vec(), b"a secret");
        let mut grant = tx.reserve(8).unwrap();
        let written = grant.write(b"short");
        assert_eq!(written, if name == "bytes" { 5 } else { 0 });
        let error = grant.commit(8).unwrap_err();
        assert!(error.is_too_short(), "{error:?}");
        assert!(rx.try_take().is_err(), "what was there before has come again");
        // The grant was aborted.
        let mut grant = tx.try_reserve(8).unwrap();
        assert_eq!(grant.write(b"a letter"), 8);
        grant.commit(8).unwrap();
        assert_eq!(rx.take().unwrap().to_vec(), b"a letter");
    }
}

#[test]
fn a_message_that_was_delivered_elsewhere_says_so() {
    let segment = Segment::anonymous().unwrap();
    let values = segment.channel::<u64>("values").capacity(3);
    let bytes = segment.bytes("bytes").capacity(3, 1_000);
    let (to_values, to_bytes) = (values.sender().unwrap(), bytes.sender().unwrap());
    let (mut values, mut bytes) = (values.receiver().unwrap(), bytes.receiver().unwrap());
    let soon = Duration::from_millis(1);
    // Around the ring some times; in the slot, and in a block.
    for n in 0..10 {
        let text = vec![n; 1 + 100 * usize::from(n)];
        to_values.send_redelivered(n.into(), n, soon).unwrap();
        to_bytes.send_redelivered(&text, n, soon).unwrap();
        to_values.send(1).unwrap();
        let value = values.take().unwrap();
        assert_eq!((value.read(), value.attempts()), (n.into(), n));
        value.give_back_counted();
        assert_eq!(values.take().unwrap().attempts(), n + 1);
        assert_eq!(values.take().unwrap().attempts(), 0);
        let message = bytes.take().unwrap();
        assert_eq!((message.to_vec(), message.attempts()), (text, n));
        message.release();
    }
    to_values.send_redelivered(1, u8::MAX, soon).unwrap();
    assert_eq!(values.take().unwrap().attempts(), 15);
    (0..3).for_each(|n| to_values.send(n).unwrap());
    assert!(to_values.send_redelivered(1, 1, soon).unwrap_err().is_timeout());
    let audit = Segment::check_id(segment.id()).unwrap();
    assert!(audit.is_sound(), "{:?}", audit.faults);
}
