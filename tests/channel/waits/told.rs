//! Each waiter is told of what concerns it, whichever other waiters there are.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Barrier, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytemuck::{CheckedBitPattern, NoUninit};
use tombolo::{Message, OperatingState, RecvError, Segment, TryRecvError};

use crate::common::readiness::switches;
use crate::common::{Words, thread_parked, thread_parked_for_good, tid, wait_until};

/// Calls in a thread of its own.
fn started<R: Send + 'static>(call: impl FnOnce() -> R + Send + 'static) -> (i32, JoinHandle<R>) {
    let (tell, told) = mpsc::channel();
    let thread = thread::spawn(move || {
        tell.send(tid()).unwrap();
        call()
    });
    (told.recv().unwrap(), thread)
}

/// The same, and waits until it sleeps for good.
fn asleep<R: Send + 'static>(call: impl FnOnce() -> R + Send + 'static) -> (i32, JoinHandle<R>) {
    let (tid, thread) = started(call);
    wait_until(|| thread_parked_for_good(tid));
    (tid, thread)
}

/// What the call of another thread came to, in time.
#[track_caller]
fn ended<R>((_, thread): (i32, JoinHandle<R>)) -> R {
    wait_until(|| thread.is_finished());
    thread.join().unwrap()
}

#[test]
fn a_receiver_learns_of_the_end_of_a_message_in_flight_behind_one_that_was_opened_later() {
    let segment = Segment::options().size(1 << 18).anonymous().unwrap();
    let jobs = segment.channel::<u64>("jobs").capacity(4);
    let tx = jobs.sender().unwrap();
    let (early, mut reader) = (jobs.receiver().unwrap(), jobs.receiver().unwrap());
    tx.send(1).unwrap();
    let delivery = reader.take().unwrap();
    drop(tx);
    // It was opened when no sender was left, and sleeps first.
    let late = jobs.receiver().unwrap();
    let late = asleep(move || late.recv());
    let early = asleep(move || early.recv());
    delivery.release();
    for receiver in [early, late] {
        assert_eq!(ended(receiver), Err(RecvError::Disconnected));
    }
}

#[test]
fn a_receiver_opened_over_a_message_in_flight_gets_it_back_or_learns_of_its_end() {
    let segment = Segment::options().size(1 << 18).anonymous().unwrap();
    let jobs = segment.channel::<u64>("jobs").capacity(4);
    let tx = jobs.sender().unwrap();
    let mut reader = jobs.receiver().unwrap();
    tx.send(1).unwrap();
    let delivery = reader.take().unwrap();
    drop(tx);
    let late = jobs.receiver().unwrap();
    let clone = late.try_clone().unwrap();
    assert_eq!(late.try_recv(), Err(TryRecvError::Empty));
    delivery.give_back();
    assert_eq!(late.try_recv(), Ok(1));
    for receiver in [&late, &clone] {
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
    }
    // And one that was opened when nothing was left waits for new senders.
    let fresh = jobs.receiver().unwrap();
    for receiver in [&fresh, &fresh.try_clone().unwrap()] {
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    }
}

#[test]
fn receivers_that_hold_one_message_and_ask_for_the_next_do_not_wait_for_each_other() {
    let segment = Segment::options().size(1 << 18).anonymous().unwrap();
    let jobs = segment.channel::<u64>("jobs").capacity(4);
    let tx = jobs.sender().unwrap();
    let workers = [(); 2].map(|()| jobs.receiver().unwrap());
    let idle = jobs.receiver().unwrap();
    tx.send_batch(&[1, 2]).unwrap();
    let both_hold = Arc::new(Barrier::new(2));
    let workers = workers.map(|worker| {
        let both_hold = Arc::clone(&both_hold);
        started(move || {
            let held = worker.take_shared().unwrap();
            both_hold.wait();
            let next = worker.take_shared().map(|next| next.read());
            // Nothing is lost: what it gives back, it can have again.
            held.give_back();
            (next, worker.recv())
        })
    });
    for &(tid, _) in &workers {
        wait_until(|| thread_parked_for_good(tid));
    }
    // One that holds nothing waits for what they hold.
    let idle = asleep(move || idle.iter().count());
    drop(tx);
    let mut got = 0;
    for worker in workers {
        let (next, last) = ended(worker);
        assert_eq!(next, Err(RecvError::Disconnected));
        got += usize::from(last.is_ok());
    }
    assert_eq!(got + ended(idle), 2);
}

/// A committer waits for a queue slot, and a sender for a block; both lack other things
/// when the pause ends than when it began.
#[test]
fn a_resume_reaches_every_sender_whatever_it_lacks() {
    // One who is woken in vain sleeps behind the other one again.
    for pauses in [1, 2, 1, 2] {
        let segment = Segment::options().size(1 << 18).anonymous().unwrap();
        let bytes = segment.bytes("places").capacity(2, 8);
        let tx = bytes.sender().unwrap();
        let (mut slow, quick) = (bytes.receiver().unwrap(), bytes.receiver().unwrap());
        tx.send(b"0").unwrap();
        tx.send(b"1").unwrap();
        let held = slow.take().unwrap();
        quick.recv(&mut Vec::new()).unwrap();
        let mut committer = bytes.sender().unwrap();
        let commit = asleep(move || {
            let mut grant = committer.reserve(1).unwrap();
            grant.write_at(0, b"c");
            grant.commit(1).unwrap();
        });
        let send = asleep(move || tx.send(b"s").unwrap());
        let commander = segment.commander().unwrap();
        let both = [commit.0, send.0];
        let sleep = || both.iter().all(|&tid| thread_parked_for_good(tid));
        for _ in 0..pauses {
            let slept = both.map(switches);
            let _ = commander.pause(Duration::from_millis(1)).unwrap();
            wait_until(|| both.map(switches) != slept && sleep());
        }
        assert_eq!(segment.state(), OperatingState::Paused);
        let slept = both.map(switches);
        held.release();
        // That wakes one, who must not go on.
        wait_until(|| both.map(switches) != slept && sleep());
        let _ = commander.resume(Duration::from_millis(1)).unwrap();
        ended(commit);
        ended(send);
        assert_eq!(quick.len(), 2);
    }
}

/// Bits whose check panics.
#[derive(Clone, Copy, Debug, NoUninit)]
#[repr(transparent)]
struct Unsound(u64);

// SAFETY: as for its only field, whose bits are all valid.
unsafe impl CheckedBitPattern for Unsound {
    type Bits = u64;

    fn is_valid_bit_pattern(bits: &u64) -> bool {
        assert_ne!(*bits, 7, "on purpose");
        true
    }
}

impl Message for Unsound {
    const SCHEMA: &'static str = "Unsound(u64)";
}

#[test]
fn a_panic_in_the_check_of_a_message_keeps_no_wake_from_others_and_leaves_nobody_counted() {
    let options = Segment::options().size(1 << 18).participants(4).channels(1);
    let segment = options.anonymous().unwrap();
    let channel = segment.channel::<Unsound>("c").capacity(8);
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    let other = channel.receiver().unwrap();
    let panics = asleep(move || (catch_unwind(AssertUnwindSafe(|| rx.recv())).is_err(), rx));
    let other = asleep(move || other.recv().unwrap().0);
    // One wake-up for both, and the first to be woken panics.
    tx.send_batch(&[Unsound(7), Unsound(8)]).unwrap();
    let (panicked, rx) = ended(panics);
    assert!(panicked);
    assert_eq!(ended(other), 8);
    // It waits again and again, so that it stays counted, until it finds nothing.
    let words = Words::behind(&segment);
    let waiting = || words.get(words.first_block(4, 1) + 1) & 0xFFFF_FFFF;
    assert_eq!(waiting(), 0);
    let mut counted = false;
    let mut rx = Some(rx);
    for _ in 0..100 {
        let mine = rx.take().unwrap();
        let waits = started(move || {
            for _ in 0..3 {
                mine.recv().unwrap();
            }
            mine
        });
        for n in 0..3 {
            wait_until(|| tx.is_empty() && thread_parked(waits.0));
            tx.send(Unsound(n)).unwrap();
        }
        let mine = ended(waits);
        counted |= waiting() == 1;
        assert!(matches!(mine.try_recv(), Err(TryRecvError::Empty)));
        assert_eq!(waiting(), 0);
        if counted {
            return;
        }
        rx = Some(mine);
    }
}
