//! Handles that are awaited: a future does something in its last poll and nothing before, and
//! takes no wake along when it is dropped.

#![allow(unsafe_code)]

use crate::common;

use std::future::{Future, poll_fn};
use std::hint::spin_loop;
use std::panic::resume_unwind;
use std::pin::{Pin, pin};
use std::process::exit;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use futures_core::Stream;
use futures_sink::Sink;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use tombolo::{
    AsyncReceiver, AsyncSender, Broadcast, ByteBatch, Bytes, Fault, InPlace, Kind, Mpmc, RecvError,
    Reliable, Segment, SendError, Spsc, WaitStrategy,
};

use common::effort::rounds;
use common::readiness::{alone, watchers};
use common::tasks::{Task, block_on};
use common::{Brief, Name, Peer, Remove, thread_parked, tid, wait_until};

fn market() -> (Name, Segment) {
    common::market(8, 64)
}

type Boxed<'a> = Pin<Box<dyn Future<Output = u64> + 'a>>;
/// Something that is awaited, and comes to so many messages.
type Verb<H> = for<'a> fn(&'a mut H) -> Boxed<'a>;

fn recv<K: Kind>(rx: &mut AsyncReceiver<u64, K>) -> Boxed<'_> {
    Box::pin(async { rx.recv().await.map_or(0, |_| 1) })
}

fn recv_batch<K: Kind>(rx: &mut AsyncReceiver<u64, K>) -> Boxed<'_> {
    Box::pin(async { rx.recv_batch(&mut Vec::new(), 1).await.map_or(0, |got| got as u64) })
}

fn take<K: InPlace>(rx: &mut AsyncReceiver<u64, K>) -> Boxed<'_> {
    Box::pin(async { rx.take().await.map_or(0, |_| 1) })
}

fn next<K: Kind>(rx: &mut AsyncReceiver<u64, K>) -> Boxed<'_> {
    Box::pin(async { next_of(rx).await.map_or(0, |_| 1) })
}

fn take_slice(rx: &mut AsyncReceiver<u64, Spsc>) -> Boxed<'_> {
    Box::pin(async { rx.take_slice(1).await.map_or(0, |got| got.len() as u64) })
}

fn recv_bytes<K: Kind>(rx: &mut AsyncReceiver<Bytes, K>) -> Boxed<'_> {
    Box::pin(async { rx.recv(&mut Vec::new()).await.map_or(0, |_| 1) })
}

fn recv_batch_into<K: Kind>(rx: &mut AsyncReceiver<Bytes, K>) -> Boxed<'_> {
    Box::pin(async {
        rx.recv_batch_into(&mut ByteBatch::new(), 1).await.map_or(0, |got| got as u64)
    })
}

fn take_bytes<K: InPlace>(rx: &mut AsyncReceiver<Bytes, K>) -> Boxed<'_> {
    Box::pin(async { rx.take().await.map_or(0, |_| 1) })
}

/// The next item of a stream.
async fn next_of<S: Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    poll_fn(|cx| Pin::new(&mut *stream).poll_next(cx)).await
}

fn send<K: Kind>(tx: &mut AsyncSender<u64, K>) -> Boxed<'_> {
    Box::pin(async { tx.send(7).await.map_or(0, |()| 1) })
}

fn send_some<K: Kind>(tx: &mut AsyncSender<u64, K>) -> Boxed<'_> {
    Box::pin(async { tx.send_some(&[7]).await.map_or(0, |sent| sent as u64) })
}

fn reserve<K: Kind>(tx: &mut AsyncSender<u64, K>) -> Boxed<'_> {
    Box::pin(async {
        let mut grant = tx.reserve().await.unwrap();
        grant.write(&7);
        grant.commit().map_or(0, |()| 1)
    })
}

fn reserve_slice(tx: &mut AsyncSender<u64, Spsc>) -> Boxed<'_> {
    Box::pin(async {
        let mut grant = tx.reserve_slice(1).await.unwrap();
        grant.write_at(0, &[7]);
        grant.commit(1).map_or(0, |()| 1)
    })
}

fn send_bytes<K: Kind>(tx: &mut AsyncSender<Bytes, K>) -> Boxed<'_> {
    Box::pin(async { tx.send(&[7; 120]).await.map_or(0, |()| 1) })
}

fn reserve_bytes<K: Kind>(tx: &mut AsyncSender<Bytes, K>) -> Boxed<'_> {
    Box::pin(async {
        let grant = tx.reserve(120).await.unwrap();
        grant.commit(120).map_or(0, |()| 1)
    })
}

/// More polls than it takes until a task rests.
const POLLS: usize = 68;

/// A future of `handle` is dropped after each number of polls. What it waits for comes before
/// that, or after. Whatever waits beside it gets it, or else the handle's next future.
fn drops<H: Awaits>(
    verb: Verb<H>,
    provide: &mut dyn FnMut(),
    handle: &mut H,
    beside: Option<&mut H>,
) {
    let mut beside = beside;
    for polls in 0..POLLS {
        for late in [false, true] {
            let (task, other) = (Task::new(), Task::new());
            let mut waits = beside.as_deref_mut().map(verb);
            if let Some(waits) = &mut waits {
                other.poll_to_rest(waits.as_mut());
            }
            let mut future = verb(handle);
            for _ in 0..polls {
                assert!(task.poll(future.as_mut()).is_pending());
            }
            if !late {
                provide();
                if polls > 0 {
                    wait_until(|| task.is_woken());
                }
            }
            drop(future);
            if late {
                provide();
            }
            let done = match &mut waits {
                Some(waits) => {
                    wait_until(|| other.is_woken());
                    other.finish(waits.as_mut())
                }
                None => block_on(verb(handle)),
            };
            drop(waits);
            assert_eq!(done, 1, "after {polls} polls");
            assert!(handle.is_at_rest(), "after {polls} polls: something is held, or lost");
        }
    }
}

/// A handle that waits again for the same.
trait Awaits {
    /// Whether there is nothing to be had: no message, or no room.
    fn is_at_rest(&self) -> bool;
}

impl<P: tombolo::Payload, K: Kind> Awaits for AsyncReceiver<P, K> {
    fn is_at_rest(&self) -> bool {
        self.as_sync().is_empty()
    }
}

impl<P: tombolo::Payload, K: Kind> Awaits for AsyncSender<P, K> {
    fn is_at_rest(&self) -> bool {
        self.as_sync().is_full()
    }
}

#[test]
fn a_receive_that_is_dropped_at_any_poll_loses_no_message_and_no_wake() {
    let (_name, segment) = market();
    let channel = segment.channel::<u64>("mpmc").capacity(2);
    let tx = channel.sender().unwrap();
    let mut provide = || tx.send(1).unwrap();
    let mut rx = channel.receiver().unwrap().into_async();
    let mut beside = rx.try_clone().unwrap();
    let verbs: [Verb<AsyncReceiver<u64, Mpmc>>; 4] = [recv, recv_batch, take, next];
    for verb in verbs {
        drops(verb, &mut provide, &mut rx, Some(&mut beside));
    }
    let channel = segment.channel::<u64>("spsc").spsc().capacity(2);
    let tx = channel.sender().unwrap();
    let mut rx = channel.receiver().unwrap().into_async();
    let verbs: [Verb<AsyncReceiver<u64, Spsc>>; 3] = [recv, take, take_slice];
    for verb in verbs {
        drops(verb, &mut || tx.send(1).unwrap(), &mut rx, None);
    }
    let channel = segment.bytes("mpmc-bytes").capacity(2, 200);
    let tx = channel.sender().unwrap();
    let mut rx = channel.receiver().unwrap().into_async();
    let mut beside = rx.try_clone().unwrap();
    let verbs: [Verb<AsyncReceiver<Bytes, Mpmc>>; 3] = [recv_bytes, recv_batch_into, take_bytes];
    for verb in verbs {
        drops(verb, &mut || tx.send(&[1; 150]).unwrap(), &mut rx, Some(&mut beside));
    }
    let channel = segment.bytes("spsc-bytes").spsc().capacity(2, 200);
    let tx = channel.sender().unwrap();
    let mut rx = channel.receiver().unwrap().into_async();
    let verbs: [Verb<AsyncReceiver<Bytes, Spsc>>; 2] = [recv_bytes, take_bytes];
    for verb in verbs {
        drops(verb, &mut || tx.send(b"1").unwrap(), &mut rx, None);
    }
    let channel = segment.broadcast::<u64>("broadcast").capacity(4);
    let tx = channel.publisher().unwrap();
    let mut lossy = channel.subscriber().unwrap().into_async();
    let verbs: [Verb<AsyncReceiver<u64, Broadcast>>; 3] = [recv, recv_batch, next];
    for verb in verbs {
        drops(verb, &mut || tx.send(1).unwrap(), &mut lossy, None);
    }
    let mut reliable = channel.reliable_subscriber().unwrap().into_async();
    let verbs: [Verb<AsyncReceiver<u64, Reliable>>; 2] = [recv, take];
    for verb in verbs {
        drops(verb, &mut || tx.send(1).unwrap(), &mut reliable, None);
    }
}

#[test]
fn a_send_that_is_dropped_at_any_poll_sends_nothing_and_holds_no_place() {
    let (_name, segment) = market();
    let channel = segment.channel::<u64>("mpmc").capacity(2);
    let rx = channel.receiver().unwrap();
    let mut provide = || _ = rx.recv().unwrap();
    let mut tx = channel.sender().unwrap().into_async();
    let mut beside = tx.try_clone().unwrap();
    tx.as_sync().send_batch(&[1, 2]).unwrap();
    let verbs: [Verb<AsyncSender<u64, Mpmc>>; 3] = [send, send_some, reserve];
    for verb in verbs {
        drops(verb, &mut provide, &mut tx, Some(&mut beside));
    }
    let channel = segment.channel::<u64>("spsc").spsc().capacity(2);
    let rx = channel.receiver().unwrap();
    let mut tx = channel.sender().unwrap().into_async();
    tx.as_sync().send_batch(&[1, 2]).unwrap();
    let verbs: [Verb<AsyncSender<u64, Spsc>>; 3] = [send, reserve, reserve_slice];
    for verb in verbs {
        drops(verb, &mut || _ = rx.recv().unwrap(), &mut tx, None);
    }
    let channel = segment.bytes("mpmc-bytes").capacity(2, 200);
    let rx = channel.receiver().unwrap();
    let mut provide = || _ = rx.recv(&mut Vec::new()).unwrap();
    let mut tx = channel.sender().unwrap().into_async();
    let mut beside = tx.try_clone().unwrap();
    tx.as_sync().send_batch(&[&[1; 150], &[2; 150]]).unwrap();
    let verbs: [Verb<AsyncSender<Bytes, Mpmc>>; 2] = [send_bytes, reserve_bytes];
    for verb in verbs {
        drops(verb, &mut provide, &mut tx, Some(&mut beside));
    }
    let channel = segment.broadcast::<u64>("broadcast").capacity(2);
    let mut tx = channel.publisher().unwrap().into_async();
    let ledger = channel.reliable_subscriber().unwrap();
    tx.as_sync().send_batch(&[1, 2]).unwrap();
    let verbs: [Verb<AsyncSender<u64, Broadcast>>; 2] = [send, send_some];
    for verb in verbs {
        drops(verb, &mut || _ = ledger.recv().unwrap(), &mut tx, None);
    }
}

/// The one token that a message is worth may go to the dropped task's process.
#[test]
fn a_dropped_future_takes_no_wake_from_who_blocks() {
    let (_name, segment) = market();
    let channel = segment.channel::<u64>("c").capacity(2);
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    let mut dropped = rx.try_clone().unwrap().into_async();
    dropped.as_sync().set_wait_strategy(WaitStrategy::Block);
    let (tell, told) = mpsc::channel();
    let blocked = thread::spawn(move || {
        tell.send(tid()).unwrap();
        rx.iter().map(Result::unwrap).collect::<Vec<u64>>()
    });
    let blocked_tid = told.recv().unwrap();
    for n in 0..200 {
        let task = Task::new();
        let mut future = Box::pin(dropped.recv());
        task.poll_to_rest(future.as_mut());
        wait_until(|| thread_parked(blocked_tid));
        tx.send(n).unwrap();
        if n % 2 == 0 {
            // The one token may go to either.
            wait_until(|| task.is_woken() || tx.is_empty());
        }
        drop(future);
        wait_until(|| tx.is_empty());
    }
    drop((dropped, tx));
    assert_eq!(blocked.join().unwrap(), (0..200).collect::<Vec<u64>>());
}

#[test]
fn who_polls_rests_after_a_while_and_is_woken_once() {
    let (_name, segment) = market();
    let channel = segment.channel::<u64>("c").capacity(4);
    let tx = channel.sender().unwrap();
    let (mut rx, task) = (channel.receiver().unwrap().into_async(), Task::new());
    let mut future = Box::pin(rx.recv());
    let polls = task.poll_to_rest(future.as_mut());
    assert!((2..POLLS as u64).contains(&polls), "{polls}: it gives way to others for a while");
    let before = task.wakes();
    tx.send(7).unwrap();
    wait_until(|| task.is_woken());
    assert_eq!(task.poll(future.as_mut()), Poll::Ready(Ok(7)));
    assert_eq!(task.wakes(), before + 1);
    drop(future);
    // One that does not give way rests at once.
    rx.as_sync().set_wait_strategy(WaitStrategy::Block);
    assert_eq!(Task::new().poll_to_rest(pin!(rx.recv())), 1);
}

#[test]
fn whatever_ends_a_wait_ends_it_at_once() {
    type End = (&'static str, fn(&RecvError) -> bool);
    let gone: fn(&RecvError) -> bool = |error| matches!(error, RecvError::Disconnected);
    let ends: [End; 4] = [
        ("drop", gone),
        ("kill", gone),
        ("remove", |error| matches!(error, RecvError::Fault(Fault::Closed))),
        ("shut down", |error| matches!(error, RecvError::Fault(Fault::Shutdown))),
    ];
    for (what, is_it) in ends {
        let (name, segment) = market();
        let mut rx = segment.channel::<u64>("c").capacity(2).receiver().unwrap().into_async();
        let mut peer = Peer::start("is there", &[&name]);
        peer.expect("open");
        let task = Task::new();
        let mut future = pin!(rx.recv());
        task.poll_to_rest(future.as_mut());
        match what {
            "drop" => peer.tell("leave"),
            "kill" => peer.kill(),
            "remove" => Remove::remove(&name.set(0).unwrap()),
            _ => drop(segment.commander().unwrap().shutdown(std::time::Duration::ZERO)),
        }
        let error = task.finish(future).unwrap_err();
        assert!(is_it(&error), "{what}: {error:?}");
    }
}

#[test]
fn a_wait_ends_by_cancelling_by_lag_and_by_a_peers_end() {
    let (name, segment) = market();
    let channel = segment.channel::<u64>("c").capacity(2);
    let (_tx, mut rx) = (channel.sender().unwrap(), channel.receiver().unwrap().into_async());
    let (canceller, task) = (rx.as_sync().canceller(), Task::new());
    let mut future = Box::pin(rx.recv());
    task.poll_to_rest(future.as_mut());
    canceller.cancel().unwrap();
    assert_eq!(task.finish(future.as_mut()), Err(RecvError::Fault(Fault::Cancelled)));
    drop(future);
    canceller.reset();

    let process = Peer::start("is there", &[&name]);
    process.expect("open");
    let participants = segment.participants();
    rx.as_sync().bind_to_peer(participants.iter().find(|one| !one.own).unwrap().peer).unwrap();
    let mut future = pin!(rx.recv());
    task.poll_to_rest(future.as_mut());
    process.kill();
    let ended = task.finish(future);
    assert!(matches!(ended, Err(RecvError::Fault(Fault::PeerGone { .. }))), "{ended:?}");

    let channel = segment.broadcast::<u64>("b").capacity(2);
    let (tx, mut rx) = (channel.publisher().unwrap(), channel.subscriber().unwrap().into_async());
    tx.send_batch(&[7; 50]).unwrap();
    let lagged = block_on(rx.recv());
    assert!(matches!(lagged, Err(RecvError::Lagged(_))), "{lagged:?}");
    assert!(block_on(rx.recv()).is_ok());
}

#[test]
fn a_canceller_ends_a_wait_that_just_begins() {
    let (_name, segment) = market();
    let channel = segment.channel::<u64>("c").capacity(2);
    let (tx, mut rx) = (channel.sender().unwrap(), channel.receiver().unwrap().into_async());
    rx.as_sync().set_wait_strategy(WaitStrategy::Block);
    let canceller = rx.as_sync().canceller();
    let last = rounds(5_000, 50_000);
    let (go, gone) = (Arc::new(AtomicU64::new(0)), mpsc::sync_channel(1));
    let (tell, told) = gone;
    let cancelling = thread::spawn({
        let (canceller, go) = (canceller.clone(), Arc::clone(&go));
        move || {
            for round in 1..=last {
                while go.load(Ordering::SeqCst) < round {
                    spin_loop();
                }
                (0..round % 150).for_each(|_| spin_loop());
                canceller.cancel().unwrap();
                tell.send(()).unwrap();
            }
        }
    });
    for round in 1..=last {
        let task = Task::new();
        let mut future = Box::pin(rx.recv());
        go.store(round, Ordering::SeqCst);
        let ended = task.poll(future.as_mut());
        told.recv().unwrap();
        let ended = match ended {
            Poll::Ready(ended) => ended,
            Poll::Pending => {
                wait_until(|| task.is_woken());
                task.finish(future.as_mut())
            }
        };
        assert_eq!(ended, Err(RecvError::Fault(Fault::Cancelled)), "in round {round}");
        drop(future);
        canceller.reset();
    }
    cancelling.join().unwrap();
    drop(tx);
}

#[test]
fn a_publisher_hears_of_each_subscriber_that_it_waits_for() {
    let (_name, segment) = market();
    let channel = segment.broadcast::<u64>("c").capacity(2);
    let mut tx = channel.publisher().unwrap().into_async();
    let task = Task::new();
    let mut future = Box::pin(tx.wait_for(4));
    task.poll_to_rest(future.as_mut());
    let one = channel.subscriber().unwrap();
    wait_until(|| task.is_woken());
    task.poll_to_rest(future.as_mut());
    let other = one.try_clone().unwrap();
    wait_until(|| task.is_woken());
    task.poll_to_rest(future.as_mut());
    let ledger = channel.reliable_subscriber().unwrap();
    wait_until(|| task.is_woken());
    task.poll_to_rest(future.as_mut());
    // A clone changes nothing for anybody else.
    let last = ledger.try_clone().unwrap();
    wait_until(|| task.is_woken());
    assert_eq!(task.finish(future.as_mut()), Ok(()));
    drop((one, other, last));
}

#[test]
fn a_send_that_fails_gives_the_message_back() {
    let (_name, segment) = market();
    let channel = segment.channel::<u64>("c").capacity(1);
    let (mut tx, rx) = (channel.sender().unwrap().into_async(), channel.receiver().unwrap());
    block_on(tx.send(1)).unwrap();
    let task = Task::new();
    let mut future = Box::pin(tx.send(2));
    task.poll_to_rest(future.as_mut());
    drop(rx);
    assert_eq!(task.finish(future.as_mut()), Err(SendError::Disconnected(2)));
    drop(future);
    let mut cx = Context::from_waker(Waker::noop());
    Pin::new(&mut tx).start_send(3).unwrap();
    assert_eq!(Pin::new(&mut tx).poll_flush(&mut cx), Poll::Ready(Err(SendError::Disconnected(3))));
    assert_eq!(Pin::new(&mut tx).poll_flush(&mut cx), Poll::Ready(Ok(())), "it is not kept");
}

#[test]
fn a_sink_refuses_a_message_that_is_too_long_and_keeps_nothing_from_others() {
    let (_name, segment) = market();
    let channel = segment.bytes("c").capacity(1, 4);
    let (mut tx, rx) = (channel.sender().unwrap().into_async(), channel.receiver().unwrap());
    let mut cx = Context::from_waker(Waker::noop());
    Pin::new(&mut tx).start_send(b"one".to_vec()).unwrap();
    // There is no room for any; the others are sent when there is.
    let refused = Pin::new(&mut tx).start_send(b"too long".to_vec()).unwrap_err();
    assert_eq!(refused.into_inner(), Some(b"too long".to_vec()));
    Pin::new(&mut tx).start_send(b"two".to_vec()).unwrap();
    let mut message = Vec::new();
    for expected in [b"one", b"two", b"six"] {
        rx.recv(&mut message).unwrap();
        assert_eq!(message, expected);
        match expected {
            b"one" => assert_eq!(Pin::new(&mut tx).poll_flush(&mut cx), Poll::Ready(Ok(()))),
            b"two" => assert_eq!(block_on(tx.send(b"six")), Ok(())),
            _ => {}
        }
    }
}

#[test]
fn a_stream_ends_with_its_senders_and_a_sink_keeps_one_message_and_no_more() {
    let (_name, segment) = market();
    let channel = segment.channel::<u64>("c").capacity(2);
    let (mut tx, mut rx) =
        (channel.sender().unwrap().into_async(), channel.receiver().unwrap().into_async());
    let mut cx = Context::from_waker(Waker::noop());
    for n in 0..2 {
        assert_eq!(Pin::new(&mut tx).poll_ready(&mut cx), Poll::Ready(Ok(())));
        Pin::new(&mut tx).start_send(n).unwrap();
        assert_eq!(rx.as_sync().len() as u64, n + 1, "it is handed over at once");
    }
    assert_eq!(Pin::new(&mut tx).poll_ready(&mut cx), Poll::Ready(Ok(())));
    Pin::new(&mut tx).start_send(2).unwrap();
    assert!(Pin::new(&mut tx).poll_ready(&mut cx).is_pending(), "it has one, and no room");
    let sends = async move {
        // What the sink keeps comes first.
        tx.send(3).await.unwrap();
        for n in 4..100 {
            poll_fn(|cx| Pin::new(&mut tx).poll_ready(cx)).await.unwrap();
            Pin::new(&mut tx).start_send(n).unwrap();
        }
        poll_fn(|cx| Pin::new(&mut tx).poll_close(cx)).await.unwrap();
    };
    let sender = thread::spawn(move || block_on(sends));
    let got = block_on(async {
        let mut got = Vec::new();
        while let Some(message) = next_of(&mut rx).await {
            got.push(message.unwrap());
        }
        got
    });
    sender.join().unwrap();
    assert_eq!(got, (0..100).collect::<Vec<u64>>());
    assert_eq!(block_on(next_of(&mut rx)), None, "and stays at its end");
}

/// Each takes some, and none of them waits in vain.
#[test]
fn tasks_on_clones_of_one_handle_share_the_messages() {
    const EACH: u64 = 2_000;
    let (_name, segment) = market();
    let channel = segment.channel::<u64>("c").capacity(4);
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap().into_async());
    let receivers: Vec<_> = (0..4)
        .map(|_| {
            let mut rx = rx.try_clone().unwrap();
            thread::spawn(move || {
                block_on(async {
                    let mut got = Vec::new();
                    while let Ok(message) = rx.recv().await {
                        got.push(message);
                    }
                    got
                })
            })
        })
        .collect();
    drop(rx);
    let senders: Vec<_> = (0..2)
        .map(|n| {
            let mut tx = tx.try_clone().unwrap().into_async();
            thread::spawn(move || {
                block_on(async {
                    for message in n * EACH..(n + 1) * EACH {
                        tx.send(message).await.unwrap();
                    }
                })
            })
        })
        .collect();
    drop(tx);
    senders.into_iter().for_each(|sender| sender.join().unwrap());
    let mut all: Vec<u64> = receivers.into_iter().flat_map(|one| one.join().unwrap()).collect();
    all.sort_unstable();
    assert_eq!(all, (0..2 * EACH).collect::<Vec<u64>>());
}

#[test]
fn the_thread_ends_with_the_last_handle_and_not_before() {
    alone("comes and goes", &market().0);
}

fn comes_and_goes(segment: &Segment) {
    let id = segment.id();
    let (channel, other) = (segment.channel::<u64>("c").capacity(2), Segment::open_id(id).unwrap());
    let _tx = channel.sender().unwrap();
    let rests = |rx: &mut AsyncReceiver<u64, Mpmc>| Task::new().poll_to_rest(pin!(rx.recv()));
    assert!(watchers().is_empty());
    for _ in 0..50 {
        let mut rx = channel.receiver().unwrap().into_async();
        assert!(watchers().is_empty(), "nothing is waited for");
        rests(&mut rx);
        let mut two = rx.try_clone().unwrap();
        rests(&mut two);
        wait_until(|| watchers().len() == 1);
        drop(rx);
        assert_eq!(watchers().len(), 1);
        two.close().unwrap();
        wait_until(|| watchers().is_empty());
        // Of a participant that leaves with it.
        let own = Segment::open_id(id).unwrap();
        let mut rx = own.channel::<u64>("c").receiver().unwrap().into_async();
        drop(own);
        rests(&mut rx);
        let participants = other.participants().len();
        drop(rx);
        assert_eq!(other.participants().len(), participants - 1);
    }
}

#[test]
fn a_task_that_is_woken_may_drop_the_last_handle() {
    alone("drops in its waker", &market().0);
}

/// A runtime may drop a task as soon as it is woken, in the thread that wakes it.
fn drops_in_its_waker(segment: &Segment) {
    use std::sync::Mutex;

    struct Drops(Mutex<Option<AsyncReceiver<u64, Mpmc>>>);
    impl Wake for Drops {
        fn wake(self: Arc<Self>) {
            let handle = self.0.lock().unwrap().take();
            drop(handle);
            resume_unwind(Box::new("a program may do this"));
        }
    }
    let channel = segment.channel::<u64>("c").capacity(2);
    let tx = channel.sender().unwrap();
    for _ in 0..20 {
        let mut rx = channel.receiver().unwrap().into_async();
        rx.as_sync().set_wait_strategy(WaitStrategy::Block);
        let drops = Arc::new(Drops(Mutex::new(None)));
        let waker = Waker::from(Arc::clone(&drops));
        assert!(rx.poll_recv(&mut Context::from_waker(&waker)).is_pending());
        *drops.0.lock().unwrap() = Some(rx);
        drop(waker);
        tx.send(1).unwrap();
        wait_until(|| watchers().is_empty());
        assert_eq!(channel.receiver().unwrap().recv().unwrap(), 1);
    }
}

/// One thread wakes all tasks, and runs their wakers.
#[test]
fn a_waker_that_panics_keeps_no_wake_from_others() {
    /// Its drop panics, too.
    struct Grave;
    impl Drop for Grave {
        fn drop(&mut self) {
            resume_unwind(Box::new("a program may do this"));
        }
    }
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            resume_unwind(Box::new(Grave));
        }
    }
    let (_name, segment) = market();
    let handles = ["one", "other"].map(|name| {
        let channel = segment.channel::<u64>(name).capacity(2);
        let rx = channel.receiver().unwrap().into_async();
        rx.as_sync().set_wait_strategy(WaitStrategy::Block);
        (channel.sender().unwrap(), rx)
    });
    let [(tx, mut panics), (other_tx, mut rx)] = handles;
    for round in 0..3 {
        let waker = Waker::from(Arc::new(Panics));
        assert!(panics.poll_recv(&mut Context::from_waker(&waker)).is_pending());
        let task = Task::new();
        let mut future = pin!(rx.recv());
        task.poll_to_rest(future.as_mut());
        tx.send(round).unwrap();
        other_tx.send(round).unwrap();
        wait_until(|| task.is_woken());
        assert_eq!(task.finish(future.as_mut()), Ok(round));
        assert_eq!(panics.as_sync().recv(), Ok(round));
    }
}

#[test]
fn a_forked_child_is_refused_and_harms_nobody() {
    alone("forks", &market().0);
}

fn forks(segment: &Segment) {
    let channel = segment.channel::<u64>("c").capacity(2);
    let (tx, mut rx) = (channel.sender().unwrap(), channel.receiver().unwrap().into_async());
    for turn in 0..20 {
        let task = Task::new();
        task.poll_to_rest(pin!(rx.recv()));
        // SAFETY: the child allocates nothing that another thread may hold a
        // lock for, but what glibc puts right in a fork.
        match unsafe { fork() }.unwrap() {
            ForkResult::Child => {
                let mut cx = Context::from_waker(Waker::noop());
                let polled = rx.poll_recv(&mut cx);
                let refused = matches!(polled, Poll::Ready(Err(RecvError::Fault(Fault::Forked))));
                drop(rx);
                exit(i32::from(!refused));
            }
            ForkResult::Parent { child } => {
                assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 0));
            }
        }
        let mut future = pin!(rx.recv());
        task.poll_to_rest(future.as_mut());
        tx.send(turn).unwrap();
        assert_eq!(task.finish(future), Ok(turn));
    }
}

#[test]
fn a_publisher_waits_for_subscribers() {
    let (_name, segment) = market();
    let channel = segment.broadcast::<u64>("b").capacity(2);
    let mut tx = channel.publisher().unwrap().into_async();
    let task = Task::new();
    let mut future = pin!(tx.wait_for(2));
    task.poll_to_rest(future.as_mut());
    let _one = channel.subscriber().unwrap();
    let _two = channel.reliable_subscriber().unwrap();
    task.finish(future).unwrap();
}

#[test]
fn a_handle_that_is_awaited_moves_between_threads_and_so_do_its_futures() {
    fn moves<T: Send>(_: &T) {}
    let (_name, segment) = market();
    let channel = segment.channel::<u64>("c").capacity(2);
    let mut tx = channel.sender().unwrap().into_async();
    let mut rx = channel.receiver().unwrap().into_async();
    moves(&tx);
    moves(&rx);
    moves(&tx.send(1));
    moves(&tx.send_some(&[1]));
    moves(&tx.reserve());
    moves(&rx.recv());
    moves(&rx.recv_batch(&mut Vec::new(), 1));
    moves(&rx.take());
}

#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    let segment = Segment::open(brief.text(0)).unwrap();
    match &*brief.role {
        "comes and goes" => comes_and_goes(&segment),
        "drops in its waker" => drops_in_its_waker(&segment),
        "forks" => forks(&segment),
        "is there" => {
            let tx = segment.channel::<u64>("c").sender().unwrap();
            brief.say("open");
            brief.hear();
            drop(tx);
        }
        role => panic!("{role}"),
    }
    brief.say("all is well");
}
