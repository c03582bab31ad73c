//! Each waiter is told of what concerns it, whichever other waiters there are.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Barrier, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytemuck::{CheckedBitPattern, NoUninit};
use tombolo::{Message, OperatingState, RecvError, Segment, TryRecvError};

use crate::common::readiness::switches;
use crate::common::{Brief, Peer, Words, thread_parked, thread_parked_for_good, tid, wait_until};

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
    let (mut got, mut told) = (0, 0);
    for worker in workers {
        let (next, last) = ended(worker);
        // The one that looks second may find what the first one gave back.
        told += usize::from(next == Err(RecvError::Disconnected));
        got += usize::from(next.is_ok()) + usize::from(last.is_ok());
    }
    assert!(told >= 1, "both were given a message");
    assert_eq!(got + ended(idle), 2);
}

/// One receiver holds the only message and sleeps over another one, behind those that hold
/// nothing and wait for that message. When no sender is left, it alone is told at once, and
/// lets go; then so are the others.
#[track_caller]
fn one_that_holds_a_message_is_told(segment: &Segment, senders_go: impl FnOnce()) {
    let jobs = segment.channel::<u64>("jobs").capacity(4);
    let holder = jobs.receiver().unwrap();
    let idle = [(); 12].map(|()| jobs.receiver().unwrap());
    let (hold, holds) = mpsc::channel();
    let (ask, asks) = mpsc::channel();
    let holder = started(move || {
        let held = holder.take_shared().unwrap();
        hold.send(()).unwrap();
        asks.recv().unwrap();
        let next = holder.take_shared().map(|next| next.read());
        held.release();
        next
    });
    holds.recv().unwrap();
    let idle = idle.map(|idle| asleep(move || idle.recv()));
    ask.send(()).unwrap();
    wait_until(|| thread_parked_for_good(holder.0));
    senders_go();
    for receiver in idle.into_iter().chain([holder]).rev() {
        assert_eq!(ended(receiver), Err(RecvError::Disconnected));
    }
}

#[test]
fn one_that_holds_a_message_is_told_of_the_last_senders_death() {
    let (name, segment) = super::market();
    let sender = Peer::start("holds a sender", &[&name]);
    sender.expect("sent");
    one_that_holds_a_message_is_told(&segment, || sender.kill());
}

#[test]
fn one_that_holds_a_message_is_told_of_a_drain() {
    let segment = Segment::options().size(1 << 18).anonymous().unwrap();
    let tx = segment.channel::<u64>("jobs").capacity(4).sender().unwrap();
    tx.send(1).unwrap();
    let other = Segment::open_id(segment.id()).unwrap();
    one_that_holds_a_message_is_told(&segment, || {
        let drained = other.commander().unwrap().drain(Duration::from_secs(10)).unwrap();
        assert_eq!(drained.left, []);
    });
}

#[test]
fn a_cancelled_handle_that_releases_a_message_wakes_no_receiver() {
    let segment = Segment::options().size(1 << 18).anonymous().unwrap();
    let jobs = segment.channel::<u64>("jobs").capacity(4);
    let (tx, cancelled) = (jobs.sender().unwrap(), jobs.receiver().unwrap());
    let idle = jobs.receiver().unwrap();
    tx.send(1).unwrap();
    let held = cancelled.take_shared().unwrap();
    cancelled.canceller().cancel().unwrap();
    assert_eq!(cancelled.try_recv(), Err(TryRecvError::Empty));
    let idle = asleep(move || idle.recv());
    let slept = switches(idle.0);
    held.release();
    // Time enough to be woken.
    thread::sleep(Duration::from_millis(20));
    assert_eq!(switches(idle.0), slept);
    drop(tx);
    assert_eq!(ended(idle), Err(RecvError::Disconnected));
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

fn panics<R>(call: impl FnOnce() -> R) -> bool {
    catch_unwind(AssertUnwindSafe(call)).is_err()
}

/// Whether it has room for as many messages as it should, and hands them over until its
/// sender has gone.
macro_rules! assert_whole {
    ($tx:ident, $rx:ident, $capacity:expr) => {
        for n in 0..$capacity {
            $tx.try_send(Unsound(100 + n)).unwrap();
        }
        drop($tx);
        let got: Vec<u64> = $rx.iter().map(|got| got.unwrap().0).collect();
        assert_eq!(got, (100..100 + $capacity).collect::<Vec<_>>());
    };
}

#[test]
fn a_message_whose_check_panics_is_taken_like_any_other() {
    let segment = Segment::options().size(1 << 18).anonymous().unwrap();
    for waits in [false, true] {
        let channel = segment.channel::<Unsound>("mpmc").capacity(2);
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        tx.send_batch(&[Unsound(7), Unsound(1)]).unwrap();
        assert!(if waits { panics(|| rx.recv()) } else { panics(|| rx.try_recv()) });
        assert_eq!(rx.try_recv().unwrap().0, 1);
        assert_whole!(tx, rx, 2);
        let channel = segment.channel::<Unsound>("spsc").spsc().capacity(2);
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        tx.send_batch(&[Unsound(7), Unsound(1)]).unwrap();
        assert!(if waits { panics(|| rx.recv()) } else { panics(|| rx.try_recv()) });
        assert_eq!(rx.try_recv().unwrap().0, 1);
        assert_whole!(tx, rx, 2);
    }
}

#[test]
fn a_batch_in_which_a_check_panics_is_received_up_to_there_and_its_places_are_free() {
    let segment = Segment::options().size(1 << 18).anonymous().unwrap();
    // Its place, and how many are received before: the four lie in two stretches.
    for bad in 0..4 {
        let four = [0, 1, 2, 3].map(|n| Unsound(if n == bad { 7 } else { n }));
        let before: Vec<u64> = (0..bad).collect();
        let after: Vec<u64> = (bad + 1..4).collect();
        macro_rules! receives_up_to_there {
            ($channel:expr) => {
                let channel = $channel;
                let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
                tx.send_batch(&[Unsound(0); 2]).unwrap();
                rx.recv_batch(&mut Vec::new(), 2).unwrap();
                tx.send_batch(&four).unwrap();
                let sends = asleep(move || {
                    tx.send(Unsound(9)).unwrap();
                    tx
                });
                let mut got = Vec::new();
                assert!(panics(|| rx.recv_batch(&mut got, 4)));
                assert_eq!(got.iter().map(|got| got.0).collect::<Vec<_>>(), before);
                let tx = ended(sends);
                let rest: Vec<u64> = rx.try_iter().map(|got| got.unwrap().0).collect();
                assert_eq!(rest, [&after[..], &[9]].concat());
                assert_whole!(tx, rx, 4);
            };
        }
        receives_up_to_there!(segment.channel::<Unsound>("mpmc").capacity(4));
        receives_up_to_there!(segment.channel::<Unsound>("spsc").spsc().capacity(4));
    }
}

#[test]
fn a_handle_in_whose_first_batch_a_check_panics_still_learns_that_its_peers_have_gone() {
    let segment = Segment::options().size(1 << 18).anonymous().unwrap();
    let channel = segment.channel::<Unsound>("c").capacity(4);
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    tx.send(Unsound(7)).unwrap();
    assert!(panics(|| rx.try_recv_batch(&mut Vec::new(), 1)));
    drop(tx);
    assert!(matches!(rx.try_recv(), Err(TryRecvError::Disconnected)));
}

#[test]
fn a_panic_in_the_check_of_a_message_keeps_no_wake_from_others_and_leaves_nobody_counted() {
    let options = Segment::options().size(1 << 18).participants(4).channels(1);
    let segment = options.anonymous().unwrap();
    let channel = segment.channel::<Unsound>("c").capacity(8);
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    let other = channel.receiver().unwrap();
    // Of several messages, each is checked before the next one is taken.
    let panics = asleep(move || (panics(|| rx.recv_batch(&mut Vec::new(), 8)), rx));
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

#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    let segment = Segment::open(brief.text(0)).unwrap();
    let tx = segment.channel::<u64>("jobs").capacity(4).sender().unwrap();
    tx.send(1).unwrap();
    brief.say("sent");
    brief.hear();
}
