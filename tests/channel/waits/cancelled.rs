//! One handle's waits end; those of other handles do not.

use std::thread;
use std::time::Duration;

use tombolo::{
    Fault, RecvError, RecvTimeoutError, Segment, SendError, SendTimeoutError, TryRecvError,
    TrySendError, WaitStrategy,
};

use crate::common::{PATIENCE, thread_parked_for_good, tid, wait_until};

fn segment() -> Segment {
    Segment::options().size(1 << 20).channels(64).anonymous().unwrap()
}

fn cancelled<T>(ended: Result<T, RecvError>) -> bool {
    matches!(ended, Err(RecvError::Fault(Fault::Cancelled)))
}

/// Does `call` in a thread, until it sleeps there; then `meanwhile`.
fn asleep<R: Send>(call: impl FnOnce() -> R + Send, meanwhile: impl FnOnce()) -> R {
    let (say, heard) = std::sync::mpsc::channel();
    thread::scope(|scope| {
        let waits = scope.spawn(move || {
            say.send(tid()).unwrap();
            call()
        });
        let tid = heard.recv().unwrap();
        wait_until(|| thread_parked_for_good(tid));
        meanwhile();
        waits.join().unwrap()
    })
}

#[test]
fn a_receiver_that_is_cancelled_keeps_no_message_and_no_wake_from_others() {
    let segment = segment();
    let jobs = segment.channel::<u64>("jobs").capacity(8);
    let tx = jobs.sender().unwrap();
    let (mut mine, other) = (jobs.receiver().unwrap(), jobs.receiver().unwrap());
    let canceller = mine.canceller();
    let theirs = &mut mine;
    let got = asleep(
        move || other.recv().unwrap(),
        || {
            let ended = asleep(move || theirs.recv(), || canceller.clone().cancel().unwrap());
            assert!(cancelled(ended));
            tx.send(1).unwrap();
        },
    );
    assert_eq!(got, 1);
    // It stays so, whatever there is; only what never waits goes on.
    tx.send(2).unwrap();
    assert!(canceller.is_cancelled());
    for _ in 0..3 {
        assert!(cancelled(mine.recv()));
        assert!(cancelled(mine.recv_batch(&mut Vec::new(), 1)));
        assert!(cancelled(mine.take()));
        let timed = mine.recv_timeout(PATIENCE);
        assert!(matches!(timed, Err(RecvTimeoutError::Fault(Fault::Cancelled))));
    }
    assert_eq!(mine.try_recv().unwrap(), 2);
    assert!(matches!(mine.try_recv(), Err(TryRecvError::Empty)));
    assert!(cancelled(mine.recv()));
    // A clone is another handle.
    tx.send(3).unwrap();
    assert_eq!(mine.try_clone().unwrap().recv().unwrap(), 3);
    canceller.reset();
    tx.send(4).unwrap();
    assert_eq!(mine.recv().unwrap(), 4);
    // Once more, and from before it waits.
    canceller.cancel().unwrap();
    assert!(cancelled(mine.recv()));
    drop(mine);
    canceller.cancel().unwrap();
    drop((tx, segment));
    canceller.cancel().unwrap();
    canceller.reset();
}

#[test]
fn senders_and_bytes_and_all_kinds_can_be_cancelled() {
    let segment = segment();
    let full = segment.channel::<u64>("full").capacity(1);
    let (tx, _rx) = (full.sender().unwrap(), full.receiver().unwrap());
    tx.send(1).unwrap();
    let canceller = tx.canceller();
    let (tx, ended) = asleep(
        move || {
            let ended = tx.send(2);
            (tx, ended)
        },
        || canceller.cancel().unwrap(),
    );
    assert_eq!(ended, Err(SendError::Fault { message: 2, fault: Fault::Cancelled }));
    assert_eq!(tx.try_send(2), Err(TrySendError::Full(2)));
    let timed = tx.send_timeout(2, Duration::ZERO);
    assert_eq!(timed, Err(SendTimeoutError::Fault { message: 2, fault: Fault::Cancelled }));
    assert_eq!(tx.send_batch(&[1]).unwrap_err().sent, 0);

    let single = segment.channel::<u64>("single").spsc().capacity(1);
    let (_tx, rx) = (single.sender().unwrap(), single.receiver().unwrap());
    let canceller = rx.canceller();
    assert!(cancelled(asleep(move || rx.recv(), || canceller.cancel().unwrap())));

    let bytes = segment.bytes("bytes").capacity(1, 8);
    let (tx, rx) = (bytes.sender().unwrap(), bytes.receiver().unwrap());
    let canceller = rx.canceller();
    let (mut rx, ended) = asleep(
        move || {
            let ended = rx.recv(&mut Vec::new());
            (rx, ended)
        },
        || canceller.cancel().unwrap(),
    );
    assert!(cancelled(ended));
    // Over the gong: for a place that a reader has.
    tx.send(b"x").unwrap();
    let held = rx.try_take().unwrap();
    let canceller = tx.canceller();
    let ended = asleep(move || tx.send(b"y"), || canceller.cancel().unwrap());
    assert_eq!(ended, Err(SendError::Fault { message: (), fault: Fault::Cancelled }));
    drop(held);
}

#[test]
fn a_handle_is_cancelled_wherever_it_is_on_its_way_to_sleep() {
    let segment = segment();
    let jobs = segment.channel::<u64>("jobs").capacity(8);
    let _tx = jobs.sender().unwrap();
    let mut rx = jobs.receiver().unwrap();
    for round in 0..200_u64 {
        let canceller = rx.canceller();
        let waits = thread::spawn(move || {
            let ended = rx.recv();
            (rx, ended)
        });
        for _ in 0..round * 50 {
            std::hint::spin_loop();
        }
        canceller.cancel().unwrap();
        let ended;
        (rx, ended) = waits.join().unwrap();
        assert!(cancelled(ended));
        canceller.reset();
    }
}

#[test]
fn a_wait_of_any_strategy_ends_with_a_message_a_deadline_a_cancel_and_the_last_peer() {
    for strategy in [WaitStrategy::Adaptive, WaitStrategy::BusySpin, WaitStrategy::Block] {
        let segment = Segment::anonymous().unwrap();
        let channel = segment.channel::<u64>("c").capacity(8);
        let (sender, receiver) = (channel.sender().unwrap(), channel.receiver().unwrap());
        receiver.set_wait_strategy(strategy);
        let receiver = receiver.try_clone().unwrap();
        assert_eq!(receiver.wait_strategy(), strategy);
        let soon = Duration::from_millis(3);
        assert_eq!(receiver.recv_timeout(soon), Err(RecvTimeoutError::Timeout));
        let waiting = thread::spawn(move || {
            let received = receiver.recv();
            (receiver, received)
        });
        sender.send(7).unwrap();
        let (receiver, received) = waiting.join().unwrap();
        assert_eq!(received, Ok(7));
        let canceller = receiver.canceller();
        let waiting = thread::spawn(move || receiver.recv());
        canceller.cancel().unwrap();
        assert_eq!(waiting.join().unwrap(), Err(RecvError::Fault(Fault::Cancelled)));
        let receiver = channel.receiver().unwrap();
        receiver.set_wait_strategy(strategy);
        let waiting = thread::spawn(move || receiver.recv());
        drop(sender);
        assert_eq!(waiting.join().unwrap(), Err(RecvError::Disconnected));
    }
}
