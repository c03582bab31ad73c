//! The guarantees of a channel while all processes live.

#![allow(unsafe_code)]

use crate::common;

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use bytemuck::{Pod, Zeroable};
use tombolo::{
    Channel, ChannelError, ChannelProperty, Kind, Message, Mpmc, Receiver, RecvError,
    RecvTimeoutError, Segment, SendError, SendTimeoutError, Sender, Spsc, TryRecvError,
    TrySendError,
};

use common::{Brief, Name, PATIENCE, Peer, Words, thread_parked, tid, wait_until};

const CAPACITIES: [usize; 6] = [1, 2, 3, 7, 100, 1024];
const A_WHILE: Duration = Duration::from_millis(60);

/// Both kinds, for tests that are the same for them.
trait Pick: Kind + Send + Sized + 'static {
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
    // What was sent before is still delivered.
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

#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C)]
struct Large {
    id: u64,
    rest: [u64; 124],
}
const _: () = assert!(size_of::<Large>() == 1_000);
// SAFETY: words only, without padding.
unsafe impl Zeroable for Large {}
// SAFETY: as above.
unsafe impl Pod for Large {}
impl Message for Large {
    const SCHEMA: &'static str = "Large{id:u64,rest:[u64]}";
}

#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C, align(64))]
struct Aligned([u64; 8]);
// SAFETY: words only, as many as its alignment.
unsafe impl Zeroable for Aligned {}
// SAFETY: as above.
unsafe impl Pod for Aligned {}
impl Message for Aligned {
    const SCHEMA: &'static str = "Aligned[u64;8]";
}

#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C, align(256))]
struct TooAligned([u64; 32]);
// SAFETY: words only, as many as its alignment.
unsafe impl Zeroable for TooAligned {}
// SAFETY: as above.
unsafe impl Pod for TooAligned {}
impl Message for TooAligned {
    const SCHEMA: &'static str = "TooAligned";
}

#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C)]
struct Hundred([u8; 100]);
// SAFETY: bytes only.
unsafe impl Zeroable for Hundred {}
// SAFETY: bytes only.
unsafe impl Pod for Hundred {}
impl Message for Hundred {
    const SCHEMA: &'static str = "u8";
}

/// All that a derive can make a message of.
#[derive(Clone, Copy, Debug, PartialEq, Message)]
#[repr(C)]
struct Tick {
    id: u64,
    price: f32,
    side: Side,
    venues: [[Venue; 3]; 2],
    last: bool,
    rest: [u8; 4],
}

#[derive(Clone, Copy, Debug, PartialEq, Message)]
#[repr(u8)]
enum Side {
    Buy = 1,
    Sell = 200,
}

#[derive(Clone, Copy, Debug, PartialEq, Message)]
#[repr(transparent)]
struct Venue(u8);

mod earlier {
    use tombolo::Message;

    #[derive(Clone, Copy, Message)]
    #[repr(C)]
    pub(crate) struct Tick {
        id: u64,
        price: f64,
    }
}

impl Tick {
    fn number(id: u64) -> Self {
        let side = if id.is_multiple_of(2) { Side::Buy } else { Side::Sell };
        let venues = [[Venue(id as u8); 3], [Venue(7); 3]];
        Self { id, price: id as f32, side, venues, last: id == 9, rest: [id as u8; 4] }
    }
}

fn carries<T, K: Pick>(make: impl Fn(u64) -> T)
where
    T: Message + bytemuck::NoUninit + bytemuck::CheckedBitPattern + PartialEq + Debug,
{
    let segment = small();
    for capacity in [1, 3, 7] {
        let (tx, rx) = ends::<T, K>(&segment, &format!("c{capacity}"), capacity);
        let mut got = Vec::new();
        for n in 0..50 {
            tx.send(make(n)).unwrap();
            assert_eq!(rx.recv().unwrap(), make(n));
            let batch: Vec<T> = (n..n + capacity as u64).map(&make).collect();
            tx.send_batch(&batch).unwrap();
            got.clear();
            assert_eq!(rx.recv_batch(&mut got, 100).unwrap(), capacity);
            assert_eq!(got, batch);
        }
    }
}

fn every_type_comes_out_as_it_went_in<K: Pick>() {
    let byte = |n: u64| (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8;
    carries::<u8, K>(byte);
    carries::<u64, K>(|n| !n);
    carries::<u128, K>(|n| u128::from(n) << 77 | 5);
    carries::<f64, K>(|n| n as f64 / 3.0);
    carries::<[u16; 3], K>(|n| [n as u16, 7, 0xFFFF - n as u16]);
    carries::<Hundred, K>(|n| Hundred(std::array::from_fn(|i| byte(n + i as u64))));
    carries::<Large, K>(|n| Large { id: n, rest: std::array::from_fn(|i| n ^ i as u64) });
    carries::<Aligned, K>(|n| Aligned([n; 8]));
    carries::<Tick, K>(Tick::number);
    carries::<bool, K>(|n| n % 3 == 0);
    carries::<char, K>(|n| char::from_u32(0x1F600 + n as u32 % 50).unwrap());
}

/// Where a value that occurs once is in a segment, as an index of bytes.
fn place_of(words: &Words, value: &[u8]) -> usize {
    let bytes: Vec<u8> = words.copy().iter().flat_map(|word| word.to_le_bytes()).collect();
    let found: Vec<usize> = (0..bytes.len() - value.len())
        .filter(|&at| &bytes[at..at + value.len()] == value)
        .collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found[0]
}

fn bytes_that_are_no_value_are_reported_and_stepped_over<K: Pick>() {
    let segment = Segment::options().size(16_384).participants(2).channels(1).anonymous().unwrap();
    let (tx, rx) = ends::<char, K>(&segment, "c", 4);
    let words = Words::behind(&segment);
    for round in 0..6 {
        for c in ['a', '\u{10ABCD}', 'c'] {
            tx.send(c).unwrap();
        }
        let at = place_of(&words, &0x10_ABCD_u32.to_le_bytes());
        // A surrogate, which no char is.
        let word = words.get(at / 8);
        let shift = at % 8 * 8;
        words.put(at / 8, word & !(0xFFFF_FFFF << shift) | 0xD800 << shift);
        assert_eq!(rx.recv().unwrap(), 'a');
        let invalid = RecvError::Invalid { type_name: "char" };
        match round % 3 {
            0 => assert_eq!(rx.recv(), Err(invalid)),
            1 => assert_eq!(rx.try_recv(), Err(invalid.into())),
            _ => assert_eq!(rx.recv_timeout(A_WHILE), Err(invalid.into())),
        }
        assert_eq!(rx.recv().unwrap(), 'c');
        assert!(rx.is_empty());
    }
}

#[test]
fn each_field_of_a_derived_message_is_checked() {
    let segment = small();
    let (tx, rx) = ends::<Tick, Mpmc>(&segment, "c", 2);
    let words = Words::behind(&segment);
    // Where the side is, and where it says whether it is the last.
    for byte in [12, 19] {
        let tick = Tick { id: 0x1234_5678_9ABC_DEF1, ..Tick::number(9) };
        tx.send(tick).unwrap();
        let at = place_of(&words, &tick.id.to_le_bytes()) + byte;
        words.put(at / 8, words.get(at / 8) ^ 0x80 << (at % 8 * 8));
        let error = rx.recv().unwrap_err();
        assert!(matches!(error, RecvError::Invalid { .. }), "{error:?}");
        // So that its bytes are found once.
        for n in 0..2 {
            tx.send(Tick::number(n)).unwrap();
            assert_eq!(rx.recv().unwrap(), Tick::number(n));
        }
    }
}

#[test]
fn a_changed_struct_is_another_schema() {
    macro_rules! schema {
        ($($definition:tt)*) => {{
            #[derive(Clone, Copy, Message)]
            #[repr(C)]
            #[allow(dead_code)]
            struct Tick $($definition)*
            Tick::SCHEMA
        }};
    }
    let schemas = [
        schema! { { id: u64, open: f32, shut: f32 } },
        schema! { { id: u64, shut: f32, open: f32 } },
        schema! { { id: i64, open: f32, shut: f32 } },
        schema! { { id: u64, open: f32, size: f32 } },
        schema! { { id: u64, open: [u8; 4], shut: [u8; 4] } },
        schema! { { id: u64, open: [u8; 5], shut: [u8; 3] } },
        schema! { { id: u64, side: Side, open: [u8; 7] } },
        schema! { { id: u64, side: Venue, open: [u8; 7] } },
        schema! { (u64, f32, f32); },
        schema! { (Venue, [u8; 7], u64); },
        schema! { (Venue, [u8; 6], Side, u64); },
    ];
    for (n, one) in schemas.iter().enumerate() {
        assert!(!schemas[..n].contains(one), "{one}");
    }
    assert_eq!(schemas[6], "Tick{id:u64,side:Side:u8{Buy=1,Sell=200},open:u8[7]}");
    // One that has no room is told from others by its hash.
    macro_rules! long {
        ($last:ident) => {
            schema! { {
                this_is_a_field_with_a_name_of_some_length: u64,
                that_is_a_field_with_a_name_of_some_length: u64,
                here_is_a_field_with_a_name_of_some_length: u64,
                there_is_a_field_with_a_name_of_some_lengt: u64,
                every_field_with_a_name_of_some_length_ends: u64,
                in_one_that_is_cut_off_and_only_hashed: [u8; 8],
                $last: u64,
            } }
        };
    }
    let long = [long!(one), long!(other)];
    assert!(long.iter().all(|schema| schema.len() == 256), "{long:?}");
    assert_eq!(long[0][..200], long[1][..200]);
    assert_ne!(long[0], long[1]);
}

#[test]
fn a_struct_goes_to_another_process_which_must_mean_the_same() {
    let name = Name::new();
    let segment = Segment::options().size(1 << 20).open_or_create(&name).unwrap();
    let ticks = segment.channel::<Tick>("ticks").capacity(4).sender().unwrap();
    let peer = Peer::start("ticks", &[&name]);
    for n in 0..10 {
        ticks.send(Tick::number(n)).unwrap();
    }
    peer.expect("10 ticks");
    // What an earlier build of the same program knew.
    let said = peer.said();
    for part in ["ticks", "Tick{id:u64,price:f32,side:", "Tick{id:u64,price:f64}", "tombolo rm"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(said.contains(&format!("segment {}", &*name)), "{said}");
}

fn a_batch_ends_before_bytes_that_are_no_value<K: Pick>() {
    let segment = Segment::options().size(16_384).participants(2).channels(1).anonymous().unwrap();
    let (tx, rx) = ends::<char, K>(&segment, "c", 5);
    tx.send_batch(&['a', 'b', '\u{10ABCD}', 'd', 'e']).unwrap();
    let words = Words::behind(&segment);
    let at = place_of(&words, &0x10_ABCD_u32.to_le_bytes());
    let shift = at % 8 * 8;
    words.put(at / 8, words.get(at / 8) | 0xFFFF_FFFF << shift);
    let mut got = Vec::new();
    let error = rx.recv_batch(&mut got, 10).unwrap_err();
    assert!(matches!(error, RecvError::Invalid { .. }), "{error:?}");
    assert_eq!(got, ['a', 'b']);
    assert_eq!(rx.recv_batch(&mut got, 10).unwrap(), 2);
    assert_eq!(got, ['a', 'b', 'd', 'e']);
    tx.send_batch(&['f'; 5]).unwrap();
    assert!(tx.is_full());
}

fn a_type_without_size_counts<K: Pick>() {
    let segment = small();
    for capacity in [1, 7] {
        let (tx, rx) = ends::<[u64; 0], K>(&segment, &format!("c{capacity}"), capacity);
        for _ in 0..20 {
            for _ in 0..capacity {
                tx.try_send([]).unwrap();
            }
            assert!(matches!(tx.try_send([]), Err(TrySendError::Full([]))));
            let mut got = Vec::new();
            assert_eq!(rx.recv_batch(&mut got, 100).unwrap(), capacity);
            assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
        }
    }
}

fn threads_exchange_everything_in_order<K: Pick>() {
    let segment = small();
    for (capacity, count) in [(1, 5_000), (3, 20_000), (100, 200_000)] {
        let (tx, rx) = ends::<u64, K>(&segment, &format!("c{capacity}"), capacity);
        thread::scope(|scope| {
            let tx = Moved(tx);
            scope.spawn(move || {
                let tx = tx.get();
                (0..count).for_each(|n| tx.send(n).unwrap());
            });
            let (rx, mut expected) = (rx, 0);
            for n in &rx {
                assert_eq!(n.unwrap(), expected);
                expected += 1;
            }
            assert_eq!(expected, count);
        });
    }
}

#[test]
fn four_senders_and_four_receivers_in_threads_exchange_exactly_everything() {
    const EACH: u64 = 20_000;
    let segment = small();
    for capacity in [1, 2, 7, 64] {
        let each = if capacity == 1 { EACH / 10 } else { EACH };
        let (tx, rx) = ends::<u64, Mpmc>(&segment, &format!("c{capacity}"), capacity);
        let received = thread::scope(|scope| {
            for sender in 0..4 {
                let tx = tx.try_clone().unwrap();
                scope.spawn(move || (0..each).for_each(|n| tx.send(sender << 32 | n).unwrap()));
            }
            let receivers: Vec<_> = (0..4)
                .map(|_| {
                    let rx = rx.try_clone().unwrap();
                    scope.spawn(move || rx.iter().map(Result::unwrap).collect::<Vec<u64>>())
                })
                .collect();
            drop((tx, rx));
            receivers.into_iter().map(|r| r.join().unwrap()).collect::<Vec<_>>()
        });
        check_exactly_once(&received, 4, each);
    }
}

/// Every message once, and of each sender in order to each receiver.
fn check_exactly_once(received: &[Vec<u64>], senders: u64, each: u64) {
    let mut times = HashMap::new();
    for list in received {
        let mut last = vec![None; usize::try_from(senders).unwrap()];
        for &message in list {
            *times.entry(message).or_insert(0) += 1;
            let (sender, n) = ((message >> 32) as usize, message & 0xFFFF_FFFF);
            assert!(last[sender] < Some(n), "{n} of {sender} after {:?}", last[sender]);
            last[sender] = Some(n);
        }
    }
    assert_eq!(times.len() as u64, senders * each, "messages received");
    assert!(times.values().all(|&n| n == 1), "something came twice");
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
        // Whoever took the message ends; and so must who did not. Both stay
        // open: leaving must not be what wakes the other.
        let told = || ended.recv_timeout(PATIENCE).unwrap_or_else(|_| asleep(&segment));
        let _ends = [told(), told()];
        tx = Some(segment.channel::<Huge>("c").sender().unwrap());
    }
}

#[test]
fn two_producers_and_two_consumers_in_processes_exchange_exactly_everything() {
    const EACH: u64 = 30_000;
    let name = Name::new();
    for capacity in [2, 100] {
        let segment = Segment::options().size(1 << 20).open_or_create(&name).unwrap();
        let channel = segment.channel::<u64>("c").capacity(capacity);
        // Keeps the channel connected until everybody is there.
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let consumers: Vec<Peer> = (0..2).map(|_| Peer::start("consume", &[&name])).collect();
        let producers: Vec<Peer> =
            (0..2).map(|id| Peer::start("produce", &[&name, &id, &EACH])).collect();
        for peer in producers.iter().chain(&consumers) {
            peer.expect("open");
        }
        drop((tx, rx));
        for mut peer in producers {
            peer.tell("go");
            peer.expect("sent");
        }
        let received: Vec<Vec<u64>> = consumers
            .iter()
            .map(|peer| {
                let file = peer.said();
                let bytes = std::fs::read(&file).unwrap();
                std::fs::remove_file(&file).unwrap();
                bytes.chunks(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect()
            })
            .collect();
        check_exactly_once(&received, 2, EACH);
        segment.remove().unwrap();
    }
}

#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    let segment = Segment::open(brief.text(0)).unwrap();
    let channel = segment.channel::<u64>("c");
    match &*brief.role {
        "produce" => {
            let tx = channel.sender().unwrap();
            brief.say("open");
            brief.hear();
            let id: u64 = brief.number(1);
            for n in 0..brief.number(2) {
                tx.send(id << 32 | n).unwrap();
            }
            drop(tx);
            brief.say("sent");
        }
        "consume" => {
            let rx = channel.receiver().unwrap();
            brief.say("open");
            let got: Vec<u64> = rx.iter().map(Result::unwrap).collect();
            let file = std::env::temp_dir().join(format!("tombolo-{}", std::process::id()));
            std::fs::write(&file, bytemuck::cast_slice(&got)).unwrap();
            brief.say(file.display());
        }
        "ticks" => {
            let rx = segment.channel::<Tick>("ticks").receiver().unwrap();
            let same = (0..10).all(|n| rx.recv().unwrap() == Tick::number(n));
            brief.say(if same { "10 ticks" } else { "others" });
            brief.say(segment.channel::<earlier::Tick>("ticks").sender().unwrap_err());
        }
        "hold" => {
            let _tx = segment.channel::<u64>("s").spsc().sender().unwrap();
            brief.say("open");
            brief.hear();
        }
        role => panic!("{role}"),
    }
}

fn mismatches_name_both_sides<K: Pick>() {
    let segment = small();
    let channel = K::pick::<u64>(&segment, "c").capacity(10);
    let _kept = (channel.sender().unwrap(), channel.receiver().unwrap());
    let said = |error: ChannelError| match &error {
        ChannelError::Mismatch { channel, segment: named, what, theirs, ours } => {
            let text = error.to_string();
            assert_eq!((&**channel, named), ("c", &format!("@{}", segment.id())));
            assert!(text.contains(&format!("`tombolo rm {named}`")), "{text}");
            assert!(
                text.contains(theirs) && text.contains(ours) && text.contains(&what.to_string()),
                "{text}"
            );
            (*what, theirs.clone(), ours.clone())
        }
        error => panic!("{error:?}"),
    };
    let (what, theirs, ours) =
        said(K::pick::<u64>(&segment, "c").capacity(11).sender().unwrap_err());
    assert_eq!((what, &*theirs, &*ours), (ChannelProperty::Capacity, "10", "11"));
    let (what, theirs, ours) = said(K::pick::<u32>(&segment, "c").sender().unwrap_err());
    assert_eq!(what, ChannelProperty::Elements);
    assert!(theirs.contains("u64") && theirs.contains("8 bytes"), "{theirs}");
    assert!(ours.contains("u32") && ours.contains("4 bytes"), "{ours}");
    // As large and as aligned, but something else.
    let (what, theirs, ours) = said(K::pick::<i64>(&segment, "c").receiver().unwrap_err());
    assert_eq!(what, ChannelProperty::Elements);
    assert!(theirs.contains("u64") && ours.contains("i64"), "{theirs} {ours}");
    let (what, theirs, ours) = said(K::pick::<[u64; 2]>(&segment, "c").receiver().unwrap_err());
    assert!(theirs.contains("8 bytes") && ours.contains("16 bytes"), "{what} {theirs} {ours}");
    let other = if K::NAME == "Spsc" {
        segment.channel::<u64>("c").mpmc().sender().map(drop)
    } else {
        segment.channel::<u64>("c").spsc().sender().map(drop)
    };
    let (what, theirs, ours) = said(other.unwrap_err());
    assert_eq!((what, &*theirs), (ChannelProperty::Kind, K::NAME));
    assert_ne!(ours, theirs);
}

#[test]
fn channels_that_cannot_be_are_refused_by_name() {
    let name = Name::new();
    let segment =
        Segment::options().size(100_000).participants(4).channels(3).create(&name).unwrap();
    let error = segment.channel::<u64>("none").sender().unwrap_err();
    let missing = |c: &str, s: &str| c == "none" && s == &*name;
    assert!(
        matches!(&error, ChannelError::NotFound { channel, segment } if missing(channel, segment)),
        "{error:?}"
    );
    for capacity in [0, (1 << 31) + 1, usize::MAX] {
        for error in [
            segment.channel::<u64>("odd").capacity(capacity).sender().unwrap_err(),
            segment.channel::<u64>("odd").spsc().capacity(capacity).sender().unwrap_err(),
        ] {
            assert!(matches!(error, ChannelError::BadCapacity { .. }), "{capacity}: {error:?}");
            assert!(error.to_string().contains(&capacity.to_string()), "{error}");
        }
    }
    let error = segment.channel::<TooAligned>("odd").capacity(1).sender().unwrap_err();
    assert!(matches!(error, ChannelError::BadCapacity { .. }), "{error:?}");
    // Possible, but not here.
    for capacity in [20_000, 1 << 31] {
        let error = segment.channel::<u64>("large").capacity(capacity).sender().unwrap_err();
        match &error {
            ChannelError::SegmentFull { channel, segment, needed, available, .. } => {
                assert_eq!((&**channel, &**segment), ("large", &*name));
                assert!(*needed > 8 * capacity && *available < *needed && *available > 90_000);
            }
            error => panic!("{error:?}"),
        }
    }
    for bad in ["", "a b", "naïve", "nul\0", "tab\t", &"x".repeat(65)] {
        let error = segment.channel::<u64>(bad).capacity(1).sender().unwrap_err();
        assert!(matches!(error, ChannelError::BadName(_)), "{bad:?}: {error:?}");
    }
    // None of it took anything.
    for n in 0..3 {
        let name = format!("{}/{n}", "y".repeat(62));
        let tx = segment.channel::<u64>(&name).capacity(1_000).sender().unwrap();
        drop(tx);
    }
    let error = segment.channel::<u64>("fourth").capacity(1).sender().unwrap_err();
    match &error {
        ChannelError::DirectoryFull { segment, channels: 3 } => assert_eq!(segment, &*name),
        error => panic!("{error:?}"),
    }
}

#[test]
fn the_one_sender_and_the_one_receiver_are_named_by_their_process() {
    let name = Name::new();
    let segment = Segment::create(&name).unwrap();
    let channel = segment.channel::<u64>("s").spsc().capacity(4);
    let rx = channel.receiver().unwrap();
    let peer = Peer::start("hold", &[&name]);
    peer.expect("open");
    for (taken, expected_side, expected_pid) in [
        (channel.sender().map(drop), tombolo::Side::Sender, peer.pid().unsigned_abs()),
        (channel.receiver().map(drop), tombolo::Side::Receiver, std::process::id()),
    ] {
        match taken.unwrap_err() {
            ChannelError::RoleTaken { channel, side, pid } => {
                assert_eq!((&*channel, side, pid), ("s", expected_side, expected_pid.into()));
            }
            error => panic!("{error:?}"),
        }
    }
    // A refused attempt changes nothing for who is there.
    assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
    drop(peer);
    let tx = channel.sender().unwrap();
    tx.send(1).unwrap();
    assert_eq!(rx.recv().unwrap(), 1);
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

#[test]
fn what_does_not_fit_says_the_size_with_which_it_does() {
    type Frame = [u8; 4 << 20];
    fn fill(segment: &Segment) -> Result<(), ChannelError> {
        drop(segment.channel::<u64>("before").capacity(100).sender()?);
        drop(segment.channel::<Frame>("frames").capacity(16).sender()?);
        drop(segment.bytes("after").capacity(16, 4 << 20).spsc().sender()?);
        Ok(())
    }
    let mut size = 1 << 20;
    let mut rounds = 0;
    loop {
        let segment = Segment::options().size(size).no_reserve(true).anonymous().unwrap();
        match fill(&segment) {
            Ok(()) => break,
            Err(ChannelError::SegmentFull { size: enough, needed, .. }) => {
                let error = fill(&segment).unwrap_err().to_string();
                assert!(error.contains(&format!("`Options::size({enough})`")), "{error}");
                assert!(needed > 64 << 20 && enough > size, "{error}");
                size = enough;
                rounds += 1;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(rounds, 2);
    // It was not more than it takes: pages are whole.
    let less = Segment::options().size(size - 3 * 4_096).no_reserve(true).anonymous().unwrap();
    assert!(matches!(fill(&less), Err(ChannelError::SegmentFull { .. })));
    // Or one says what there is to be room for.
    let options = Segment::options().no_reserve(true).participants(300);
    let options = options.room_for::<u64>(100).room_for::<Frame>(16).room_for_bytes(16, 4 << 20);
    fill(&options.anonymous().unwrap()).unwrap();
    let options = Segment::options().size(1_000).room_for::<u64>(0);
    assert!(matches!(options.anonymous(), Err(tombolo::OpenError::BadOption { .. })));
}
