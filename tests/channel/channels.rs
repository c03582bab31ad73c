//! The guarantees of a channel while all processes live.

#![allow(unsafe_code)]

mod exchange;
mod messages;
mod refused;

use crate::common;

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use bytemuck::{Pod, Zeroable};
use tombolo::{
    Channel, ChannelError, ChannelProperty, InPlace, Message, Mpmc, Receiver, RecvError,
    RecvTimeoutError, Segment, SendError, SendTimeoutError, Sender, Spsc, TryRecvError,
    TrySendError,
};

use common::{Brief, Name, PATIENCE, Peer, Words, thread_parked, tid, wait_until};

use exchange::*;
use messages::*;
use refused::*;

const CAPACITIES: [usize; 6] = [1, 2, 3, 7, 100, 1024];
const A_WHILE: Duration = Duration::from_millis(60);

/// Both kinds, for tests that are the same for them.
trait Pick: InPlace + Send + Sized + 'static {
    const NAME: &'static str;
    fn pick<'a, T: Message>(segment: &'a Segment, name: &'a str) -> Channel<'a, T, Self>;
}

impl Pick for Spsc {
    const NAME: &'static str = "Spsc";
    fn pick<'a, T: Message>(segment: &'a Segment, name: &'a str) -> Channel<'a, T, Self> {
        segment.channel(name).spsc()
    }
}

impl Pick for Mpmc {
    const NAME: &'static str = "Mpmc";
    fn pick<'a, T: Message>(segment: &'a Segment, name: &'a str) -> Channel<'a, T, Self> {
        segment.channel(name).mpmc()
    }
}

type Ends<T, K> = (Sender<T, K>, Receiver<T, K>);

fn ends<T, K: Pick>(segment: &Segment, name: &str, capacity: usize) -> Ends<T, K>
where
    T: Message + bytemuck::NoUninit + bytemuck::CheckedBitPattern,
{
    let channel = K::pick::<T>(segment, name).capacity(capacity);
    (channel.sender().unwrap(), channel.receiver().unwrap())
}

fn small() -> Segment {
    Segment::options().size(1 << 20).participants(8).anonymous().unwrap()
}

macro_rules! both_kinds {
    ($($name:ident)*) => {
        mod spsc { $(#[test] fn $name() { super::$name::<super::Spsc>(); })* }
        mod mpmc { $(#[test] fn $name() { super::$name::<super::Mpmc>(); })* }
    };
}

both_kinds! {
    a_channel_holds_exactly_its_capacity_in_order
    a_refused_message_comes_back
    a_timed_out_send_gives_the_message_back_in_time
    a_timed_out_receive_is_in_time
    a_batch_larger_than_the_channel_goes_through_in_order
    batches_take_what_is_there
    iteration_ends_when_the_last_sender_is_dropped
    a_receiver_opened_first_waits_for_the_first_sender
    senders_are_told_when_the_last_receiver_is_dropped
    a_blocked_sender_is_told_when_the_last_receiver_is_dropped
    a_blocked_receiver_is_told_when_the_last_sender_is_dropped
    a_lasting_channel_never_disconnects
    every_type_comes_out_as_it_went_in
    bytes_that_are_no_value_are_reported_and_stepped_over
    a_batch_ends_before_bytes_that_are_no_value
    a_type_without_size_counts
    threads_exchange_everything_in_order
    mismatches_name_both_sides
    a_parked_receiver_gets_what_is_sent
    a_parked_sender_gets_the_room
}

fn a_channel_holds_exactly_its_capacity_in_order<K: Pick>() {
    let segment = small();
    for capacity in CAPACITIES {
        let (tx, rx) = ends::<u64, K>(&segment, &format!("c{capacity}"), capacity);
        assert_eq!((tx.capacity(), rx.capacity()), (capacity, capacity));
        let mut next = 0;
        // From every place in the ring.
        for round in 0..5_u64 {
            assert!(rx.is_empty() && tx.is_empty() && !tx.is_full());
            for n in 0..capacity {
                assert_eq!(tx.len(), n, "capacity {capacity}");
                tx.try_send(next + n as u64).unwrap();
                assert_eq!((tx.len(), rx.len()), (n + 1, n + 1), "capacity {capacity}");
            }
            assert!(tx.is_full() && rx.is_full());
            assert!(matches!(tx.try_send(7), Err(TrySendError::Full(7))), "capacity {capacity}");
            for n in 0..capacity as u64 {
                assert_eq!(rx.try_recv().unwrap(), next + n, "capacity {capacity}");
            }
            assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
            next += capacity as u64;
            // Shift where the next round starts.
            for _ in 0..=round {
                tx.try_send(next).unwrap();
                assert_eq!(rx.try_recv().unwrap(), next);
                next += 1;
            }
        }
    }
}

fn a_refused_message_comes_back<K: Pick>() {
    let segment = small();
    let (tx, rx) = ends::<[u8; 16], K>(&segment, "c", 1);
    tx.send([1; 16]).unwrap();
    assert_eq!(tx.try_send([2; 16]).unwrap_err().into_inner(), Some([2; 16]));
    drop(rx);
    assert_eq!(tx.try_send([3; 16]), Err(TrySendError::Disconnected([3; 16])));
    assert_eq!(tx.send([4; 16]), Err(SendError::Disconnected([4; 16])));
    let timed = tx.send_timeout([5; 16], PATIENCE);
    assert_eq!(timed, Err(SendTimeoutError::Disconnected([5; 16])));
}

/// Not before its time, and not long after.
fn in_time<R>(call: impl FnOnce() -> R) -> R {
    let began = Instant::now();
    let result = call();
    let took = began.elapsed();
    assert!(took >= A_WHILE, "it took only {took:?}");
    assert!(took < A_WHILE + Duration::from_millis(500), "it took {took:?}");
    result
}

fn a_timed_out_send_gives_the_message_back_in_time<K: Pick>() {
    let segment = small();
    let (tx, _rx) = ends::<u64, K>(&segment, "c", 2);
    tx.send_batch(&[1, 2]).unwrap();
    let error = in_time(|| tx.send_timeout(3, A_WHILE)).unwrap_err();
    assert!(matches!(error, SendTimeoutError::Timeout(3)), "{error:?}");
    let error = in_time(|| tx.send_deadline(4, Instant::now() + A_WHILE)).unwrap_err();
    assert!(matches!(error, SendTimeoutError::Timeout(4)), "{error:?}");
    // A deadline that has passed.
    let began = Instant::now();
    assert!(tx.send_deadline(5, began).is_err());
    assert!(began.elapsed() < Duration::from_millis(500));
    assert_eq!(tx.len(), 2);
}

fn a_timed_out_receive_is_in_time<K: Pick>() {
    let segment = small();
    let (tx, rx) = ends::<u64, K>(&segment, "c", 2);
    let error = in_time(|| rx.recv_timeout(A_WHILE)).unwrap_err();
    assert!(matches!(error, RecvTimeoutError::Timeout), "{error:?}");
    let error = in_time(|| rx.recv_deadline(Instant::now() + A_WHILE)).unwrap_err();
    assert!(matches!(error, RecvTimeoutError::Timeout), "{error:?}");
    tx.send(1).unwrap();
    assert_eq!(rx.recv_deadline(Instant::now()).unwrap(), 1);
    tx.send(2).unwrap();
    // Longer than the clock can say.
    assert_eq!(rx.recv_timeout(Duration::MAX).unwrap(), 2);
}

fn a_batch_larger_than_the_channel_goes_through_in_order<K: Pick>() {
    let segment = small();
    for capacity in [1, 3, 7, 100] {
        let (tx, rx) = ends::<u64, K>(&segment, &format!("c{capacity}"), capacity);
        let all: Vec<u64> = (0..1_000).collect();
        thread::scope(|scope| {
            let (batch, tx) = (&all, Moved(tx));
            scope.spawn(move || {
                let tx = tx.get();
                tx.send_batch(batch).unwrap();
                assert_eq!(tx.try_send_batch(&[]).unwrap(), 0);
            });
            // Dropped by a failure too, for which the sender would wait.
            let rx = rx;
            let mut got = Vec::new();
            loop {
                match rx.recv_batch(&mut got, 64) {
                    Ok(came) => assert!((1..=64).contains(&came), "{came}"),
                    Err(RecvError::Disconnected) => break,
                    Err(error) => panic!("{error}"),
                }
            }
            assert_eq!(got, all, "capacity {capacity}");
        });
    }
}

fn batches_take_what_is_there<K: Pick>() {
    let segment = small();
    let (tx, rx) = ends::<u64, K>(&segment, "c", 7);
    assert_eq!(tx.try_send_batch(&[0, 1, 2]).unwrap(), 3);
    assert_eq!(tx.try_send_batch(&[3, 4, 5, 6, 7, 8]).unwrap(), 4);
    assert_eq!(tx.try_send_batch(&[7]).unwrap(), 0);
    let mut got = vec![99];
    assert_eq!(rx.recv_batch(&mut got, 0).unwrap(), 0);
    assert_eq!(rx.recv_batch(&mut got, 2).unwrap(), 2);
    assert_eq!(rx.recv_batch(&mut got, usize::MAX).unwrap(), 5);
    assert_eq!(got, [99, 0, 1, 2, 3, 4, 5, 6]);
    drop(rx);
    let error = tx.send_batch(&[1, 2]).unwrap_err();
    assert_eq!(error.sent, 0);
    assert!(error.reason.is_disconnected());
    let error = tx.try_send_batch(&[1]).unwrap_err();
    assert!(error.reason.is_disconnected());
}

fn iteration_ends_when_the_last_sender_is_dropped<K: Pick>() {
    let segment = small();
    let (tx, rx) = ends::<u64, K>(&segment, "c", 16);
    for n in 0..10 {
        tx.send(n).unwrap();
    }
    drop(tx);
    // Earlier messages are still delivered.
    let got: Vec<u64> = rx.iter().map(Result::unwrap).collect();
    assert_eq!(got, (0..10).collect::<Vec<_>>());
    assert_eq!((&rx).into_iter().count(), 0);
    assert_eq!(rx.try_recv(), Err(TryRecvError::Disconnected));
    assert_eq!(rx.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected));
    // Another one comes: it goes on.
    let tx = K::pick::<u64>(&segment, "c").sender().unwrap();
    tx.send(11).unwrap();
    assert_eq!(rx.recv().unwrap(), 11);
}

/// Runs `waiter` in a thread, and `then` once that sleeps.
fn while_parked<R: Send>(
    segment: &Segment,
    waiter: impl FnOnce() -> R + Send,
    then: impl FnOnce(),
) -> R {
    let (tell, told) = mpsc::channel();
    let (done, result) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(move || {
            tell.send(tid()).unwrap();
            done.send(waiter()).unwrap();
        });
        let waiter = told.recv().unwrap();
        wait_until(|| thread_parked(waiter));
        then();
        result.recv_timeout(PATIENCE).unwrap_or_else(|_| asleep(segment))
    })
}

/// Fails, and wakes whoever should not have been asleep any more.
fn asleep(segment: &Segment) -> ! {
    let _ = segment.remove();
    panic!("nobody was woken")
}

fn a_receiver_opened_first_waits_for_the_first_sender<K: Pick>() {
    let segment = small();
    let channel = K::pick::<u64>(&segment, "c").capacity(4);
    let rx = channel.receiver().unwrap();
    assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
    let mut tx = None;
    let rx = Moved(rx);
    let got = while_parked(
        &segment,
        move || rx.get().recv().map_err(|error| error.to_string()),
        || {
            tx = Some(channel.sender().unwrap());
            tx.as_ref().unwrap().send(5).unwrap();
        },
    );
    assert_eq!(got, Ok(5));
}

fn senders_are_told_when_the_last_receiver_is_dropped<K: Pick>() {
    let segment = small();
    let channel = K::pick::<u64>(&segment, "c").capacity(4);
    let tx = channel.sender().unwrap();
    // Nobody has been there yet: that is not gone.
    tx.send(1).unwrap();
    let rx = channel.receiver().unwrap();
    tx.send(2).unwrap();
    drop(rx);
    assert_eq!(tx.send(3), Err(SendError::Disconnected(3)));
    // The next receiver goes on where the queue is.
    let rx = channel.receiver().unwrap();
    tx.send(4).unwrap();
    assert_eq!([rx.recv().unwrap(), rx.recv().unwrap(), rx.recv().unwrap()], [1, 2, 4]);
}

fn a_blocked_sender_is_told_when_the_last_receiver_is_dropped<K: Pick>() {
    let segment = small();
    let (tx, rx) = ends::<u64, K>(&segment, "c", 1);
    tx.send(1).unwrap();
    let tx = Moved(tx);
    let error = while_parked(&segment, move || tx.get().send(2), || drop(rx)).unwrap_err();
    assert_eq!(error, SendError::Disconnected(2));
}

fn a_blocked_receiver_is_told_when_the_last_sender_is_dropped<K: Pick>() {
    let segment = small();
    let (tx, rx) = ends::<u64, K>(&segment, "c", 1);
    let rx = Moved(rx);
    let error = while_parked(&segment, move || rx.get().recv(), || drop(tx)).unwrap_err();
    assert_eq!(error, RecvError::Disconnected);
}

fn a_parked_receiver_gets_what_is_sent<K: Pick>() {
    let segment = small();
    let (tx, rx) = ends::<u64, K>(&segment, "c", 3);
    for n in 0..30 {
        let rx = &rx;
        let rx = Moved(rx);
        let got = while_parked(&segment, move || rx.get().recv().unwrap(), || tx.send(n).unwrap());
        assert_eq!(got, n);
    }
}

fn a_parked_sender_gets_the_room<K: Pick>() {
    let segment = small();
    let (tx, rx) = ends::<u64, K>(&segment, "c", 1);
    for n in 0..30 {
        tx.send(2 * n).unwrap();
        let tx = Moved(&tx);
        while_parked(
            &segment,
            move || tx.get().send(2 * n + 1).unwrap(),
            || assert_eq!(rx.recv().unwrap(), 2 * n),
        );
        assert_eq!(rx.recv().unwrap(), 2 * n + 1);
    }
}

/// A handle, or a reference to one, on its way to another thread.
///
/// `Sender<T, Spsc>` and `Sender<T, Mpmc>` can be moved between threads; that
/// this holds for every kind is not known where the kind is a parameter.
struct Moved<H>(H);
// SAFETY: made of handles that can be moved (checked below for both kinds),
// and of references whose lender waits for the borrower's end: one thread at
// a time uses a handle.
unsafe impl<H> Send for Moved<H> {}

impl<H> Moved<H> {
    fn get(self) -> H {
        self.0
    }
}

const _: () = {
    const fn can_be_moved<H: Send>() {}
    can_be_moved::<Ends<u64, Spsc>>();
    can_be_moved::<Ends<u64, Mpmc>>();
};

fn a_lasting_channel_never_disconnects<K: Pick>() {
    let segment = small();
    let channel = K::pick::<u64>(&segment, "c").capacity(2).lasting();
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    drop(rx);
    tx.send(1).unwrap();
    tx.send(2).unwrap();
    assert!(matches!(tx.try_send(3), Err(TrySendError::Full(3))));
    drop(tx);
    // Decided when the channel was created, not by who opens it.
    let rx = K::pick::<u64>(&segment, "c").receiver().unwrap();
    assert_eq!([rx.recv().unwrap(), rx.recv().unwrap()], [1, 2]);
    assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
    assert!(matches!(rx.recv_timeout(A_WHILE), Err(RecvTimeoutError::Timeout)));
    let mut tx = None;
    let rx = Moved(rx);
    let got = while_parked(
        &segment,
        move || rx.get().recv().map_err(|error| error.to_string()),
        || {
            tx = Some(channel.sender().unwrap());
            tx.as_ref().unwrap().send(4).unwrap();
        },
    );
    assert_eq!(got, Ok(4));
}

#[test]
fn a_clone_keeps_the_channel_connected() {
    let segment = small();
    let (tx, rx) = ends::<u64, Mpmc>(&segment, "c", 4);
    let (tx2, rx2) = (tx.try_clone().unwrap(), rx.try_clone().unwrap());
    drop((tx, rx));
    tx2.send(1).unwrap();
    assert_eq!(rx2.recv().unwrap(), 1);
    assert!(matches!(rx2.try_recv(), Err(TryRecvError::Empty)));
    drop(tx2);
    assert_eq!(rx2.recv(), Err(RecvError::Disconnected));
}

#[test]
fn every_parked_receiver_is_told_when_the_last_sender_is_dropped() {
    for _ in 0..40 {
        let segment = small();
        let (tx, rx) = ends::<u64, Mpmc>(&segment, "c", 4);
        let (tell, told) = mpsc::channel();
        let (done, ended) = mpsc::channel();
        for _ in 0..4 {
            let (tell, done, rx) = (tell.clone(), done.clone(), rx.try_clone().unwrap());
            thread::spawn(move || {
                tell.send(tid()).unwrap();
                let count = rx.iter().map(Result::unwrap).count();
                // Stays open: leaving must not be what wakes the others.
                let _ = done.send((count, rx));
            });
        }
        let waiters: Vec<i32> = (0..4).map(|_| told.recv().unwrap()).collect();
        wait_until(|| waiters.iter().all(|&waiter| thread_parked(waiter)));
        // The last message and the end of it at once.
        tx.send_batch(&[1, 2]).unwrap();
        drop(tx);
        let ends: Vec<_> = (0..4)
            .map(|_| ended.recv_timeout(PATIENCE).unwrap_or_else(|_| asleep(&segment)))
            .collect();
        assert_eq!(ends.iter().map(|(count, _)| count).sum::<usize>(), 2);
    }
}

/// The last sender may go while somebody is still copying the last message:
/// nobody may miss that it is over then.
#[test]
fn a_receiver_waiting_for_anothers_last_read_is_told_that_it_is_over() {
    #[derive(Clone, Copy)]
    #[repr(C)]
    struct Huge([u64; 1 << 15]);
    // SAFETY: words only.
    unsafe impl Zeroable for Huge {}
    // SAFETY: words only.
    unsafe impl Pod for Huge {}
    impl Message for Huge {
        const SCHEMA: &'static str = "Huge";
    }
    let segment = Segment::options().size(4 << 20).anonymous().unwrap();
    let (tx, rx) = ends::<Huge, Mpmc>(&segment, "c", 2);
    let mut tx = Some(tx);
    for round in 0..200_u64 {
        let (tell, told) = mpsc::channel();
        let (done, ended) = mpsc::channel();
        for once in [false, true] {
            let (tell, done, rx) = (tell.clone(), done.clone(), rx.try_clone().unwrap());
            let run = move || {
                tell.send(tid()).unwrap();
                loop {
                    match rx.recv() {
                        // Takes one and never asks again, keeping the handle.
                        Ok(_) if once => break,
                        Ok(_) => {}
                        Err(RecvError::Disconnected) => break,
                        Err(error) => panic!("{error}"),
                    }
                }
                let _ = done.send(rx);
            };
            thread::Builder::new().stack_size(8 << 20).spawn(run).unwrap();
        }
        let waiters = [told.recv().unwrap(), told.recv().unwrap()];
        wait_until(|| waiters.iter().all(|&waiter| thread_parked(waiter)));
        let sender = tx.take().unwrap();
        sender.send(Huge([round; 1 << 15])).unwrap();
        // Into the copy, at varying depth.
        for _ in 0..round * 40 {
            std::hint::spin_loop();
        }
        drop(sender);
        // The receiver of the message ends, and so must the other one. Both stay
        // open: leaving must not be what wakes the other.
        let told = || ended.recv_timeout(PATIENCE).unwrap_or_else(|_| asleep(&segment));
        let _ends = [told(), told()];
        tx = Some(segment.channel::<Huge>("c").sender().unwrap());
    }
}

#[test]
fn a_dropped_spsc_end_is_taken_over_where_the_queue_is() {
    let segment = small();
    let channel = segment.channel::<u64>("s").spsc().capacity(5);
    let rx = channel.receiver().unwrap();
    let mut next = 0;
    let mut expected = 0;
    let mut rx = Some(rx);
    for round in 0..40 {
        let tx = channel.sender().unwrap();
        for _ in 0..=round % 3 {
            tx.send(next).unwrap();
            next += 1;
        }
        drop(tx);
        let old = rx.take().unwrap();
        assert_eq!(old.recv().unwrap(), expected);
        expected += 1;
        drop(old);
        let new = channel.receiver().unwrap();
        while new.len() > 2 {
            assert_eq!(new.recv().unwrap(), expected);
            expected += 1;
        }
        rx = Some(new);
    }
    assert!(next > 70);
}

#[test]
fn a_batch_given_up_half_way_says_how_far_it_got() {
    let segment = small();
    let channel = segment.channel::<u64>("c").capacity(3);
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    let error = while_parked(
        &segment,
        move || tx.send_batch(&[0, 1, 2, 3, 4, 5, 6]).unwrap_err(),
        || {
            assert_eq!(rx.recv().unwrap(), 0);
            // The sender goes on with one; then it is alone.
            wait_until(|| rx.is_full());
            drop(rx);
        },
    );
    assert_eq!(error.sent, 4);
    assert!(error.reason.is_disconnected());
}

#[test]
fn channels_of_one_segment_do_not_meet() {
    let segment = Segment::options().size(1 << 20).channels(40).anonymous().unwrap();
    let pairs: Vec<_> = (0..40).map(|n| ends::<u64, Mpmc>(&segment, &format!("c{n}"), 3)).collect();
    for (n, (tx, _)) in pairs.iter().enumerate() {
        tx.send_batch(&[n as u64; 3]).unwrap();
    }
    for (n, (_, rx)) in pairs.iter().enumerate() {
        let mut got = Vec::new();
        rx.recv_batch(&mut got, 9).unwrap();
        assert_eq!(got, [n as u64; 3]);
    }
    let listed = segment.channels();
    assert_eq!(listed.len(), 40);
    assert!(listed.iter().all(|c| (c.senders, c.receivers, c.depth, c.capacity) == (1, 1, 0, 3)));
    let names: std::collections::HashSet<_> = listed.into_iter().map(|c| c.name).collect();
    assert_eq!(names.len(), 40);
}
