//! Waits that a check of the program's ends, after a signal for example.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use libc::{pthread_kill, pthread_self, pthread_t};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use tombolo::{
    CallError, Fault, RecvError, Segment, SendError, WaitSet, WaitStrategy, interrupt_waits,
};

use crate::common::{PATIENCE, thread_parked, tid, wait_until};

/// Far more than the bound of 10 ms, on a machine where much else runs.
const SOON: Duration = Duration::from_secs(2);

extern "C" fn handled(_: i32) {}

/// Has this signal do nothing but end sleeps.
fn handle() {
    let action = SigAction::new(SigHandler::Handler(handled), SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handler does nothing.
    unsafe { sigaction(Signal::SIGUSR1, &action) }.unwrap();
}

/// A thread that waits, with the check that `stop` is set.
struct Waiter<R> {
    thread: JoinHandle<R>,
    pthread: pthread_t,
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicU32>,
}

fn waiter<R: Send + 'static>(wait: impl FnOnce() -> R + Send + 'static) -> Waiter<R> {
    handle();
    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let (say, heard) = mpsc::channel();
    let (seen, counted) = (Arc::clone(&stop), Arc::clone(&asked));
    let thread = thread::spawn(move || {
        let _guard = interrupt_waits(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            seen.load(Ordering::Relaxed)
        });
        // SAFETY: it has no conditions.
        say.send((unsafe { pthread_self() }, tid())).unwrap();
        wait()
    });
    let (pthread, tid) = heard.recv().unwrap();
    wait_until(|| thread_parked(tid));
    Waiter { thread, pthread, stop, asked }
}

impl<R> Waiter<R> {
    fn signal(&self) {
        // SAFETY: the thread was not joined.
        assert_eq!(unsafe { pthread_kill(self.pthread, Signal::SIGUSR1 as i32) }, 0);
    }

    fn signalled(self) -> R {
        self.stop.store(true, Ordering::Relaxed);
        let since = Instant::now();
        self.signal();
        let ended = self.thread.join().unwrap();
        assert!(since.elapsed() < SOON);
        ended
    }
}

fn segment() -> Segment {
    Segment::options().size(1 << 20).channels(64).anonymous().unwrap()
}

#[test]
fn a_signal_ends_each_form_of_wait_if_the_check_says_so() {
    let segment = segment();
    let jobs = segment.channel::<u64>("jobs").capacity(1);
    let lines = segment.bytes("lines").spsc().capacity(1, 100);
    let news = segment.broadcast::<u64>("news").capacity(2);
    let calls = segment.service_bytes("calls").capacity(2, 9, 9);
    let (tx, rx) = (jobs.sender().unwrap(), jobs.receiver().unwrap());
    let own = rx.try_clone().unwrap();
    assert_eq!(waiter(move || own.recv()).signalled(), Err(RecvError::Fault(Fault::Interrupted)));
    let mut own = rx.try_clone().unwrap();
    let taken = waiter(move || own.take_timeout(PATIENCE).map(drop).unwrap_err()).signalled();
    assert_eq!(taken.into_fault(), Some(Fault::Interrupted));
    let own = rx.try_clone().unwrap();
    let batch = waiter(move || own.recv_batch(&mut Vec::new(), 3)).signalled();
    assert_eq!(batch, Err(RecvError::Fault(Fault::Interrupted)));
    let shared = rx.try_clone().unwrap().into_shared();
    let own = shared.clone();
    let taken = waiter(move || own.take().map(drop)).signalled();
    assert_eq!(taken, Err(RecvError::Fault(Fault::Interrupted)));
    tx.send(1).unwrap();
    let sender = tx.try_clone().unwrap();
    let sent = waiter(move || sender.send(2)).signalled();
    assert_eq!(sent, Err(SendError::Fault { message: 2, fault: Fault::Interrupted }));
    let (line, _lines) = (lines.sender().unwrap(), lines.receiver().unwrap());
    line.send(&[0; 100]).unwrap();
    let sent = waiter(move || line.send_batch(&[&[1; 100]])).signalled().unwrap_err();
    assert_eq!((sent.sent, sent.reason.into_fault()), (0, Some(Fault::Interrupted)));
    let publisher = news.publisher().unwrap();
    let came = waiter(move || publisher.wait_for(1)).signalled();
    assert_eq!(came, Err(Fault::Interrupted));
    let reader = news.reliable_subscriber().unwrap();
    let _publisher = news.publisher().unwrap();
    let read = waiter(move || reader.recv()).signalled();
    assert_eq!(read, Err(RecvError::Fault(Fault::Interrupted)));
    let (client, server) = (calls.client().unwrap(), calls.server().unwrap());
    let called = waiter(move || client.call(b"a").unwrap_err()).signalled();
    assert_eq!(called, CallError::Fault(Fault::Interrupted));
    let _client = calls.client().unwrap();
    let served = waiter(move || server.recv().map(drop).unwrap_err()).signalled();
    assert_eq!(served, RecvError::Fault(Fault::Interrupted));
    // What was there is there still.
    assert_eq!(rx.try_recv(), Ok(1));
    let own = segment.clone();
    let waited = waiter(move || WaitSet::new(&own).wait(&mut Vec::new(), PATIENCE)).signalled();
    assert_eq!(waited, Err(Fault::Interrupted));
    let own = segment.clone();
    let event = waiter(move || {
        let events = own.events();
        loop {
            if let Err(fault) = events.recv() {
                return fault;
            }
        }
    });
    assert_eq!(event.signalled(), Fault::Interrupted);
}

#[test]
fn what_comes_without_a_signal_is_found_soon_too() {
    let segment = segment();
    let jobs = segment.channel::<u64>("jobs").capacity(1);
    let (_tx, rx) = (jobs.sender().unwrap(), jobs.receiver().unwrap());
    for strategy in [WaitStrategy::Block, WaitStrategy::Adaptive] {
        let own = rx.try_clone().unwrap();
        own.set_wait_strategy(strategy);
        // As if the signal had been handled just before the sleep.
        let waits = waiter(move || own.recv());
        let since = Instant::now();
        waits.stop.store(true, Ordering::Relaxed);
        assert_eq!(waits.thread.join().unwrap(), Err(RecvError::Fault(Fault::Interrupted)));
        assert!(since.elapsed() < SOON);
    }
    // One that never sleeps asks as well.
    rx.set_wait_strategy(WaitStrategy::BusySpin);
    let since = Instant::now();
    let _guard = interrupt_waits(move || since.elapsed() > Duration::from_millis(20));
    assert_eq!(rx.recv(), Err(RecvError::Fault(Fault::Interrupted)));
    assert!(since.elapsed() < SOON);
}

#[test]
fn a_check_that_says_no_lets_the_wait_go_on_and_the_deadline_stand() {
    let segment = segment();
    let jobs = segment.channel::<u64>("jobs").capacity(1);
    let (tx, rx) = (jobs.sender().unwrap(), jobs.receiver().unwrap());
    let own = rx.try_clone().unwrap();
    let waits = waiter(move || own.recv());
    for before in 0..3 {
        let asked = waits.asked.load(Ordering::Relaxed).max(before);
        waits.signal();
        wait_until(|| waits.asked.load(Ordering::Relaxed) > asked);
    }
    tx.send(7).unwrap();
    assert_eq!(waits.thread.join().unwrap(), Ok(7));
    let asked = Rc::new(Cell::new(0));
    let count = Rc::clone(&asked);
    let _guard = interrupt_waits(move || {
        count.set(count.get() + 1);
        false
    });
    let since = Instant::now();
    assert!(rx.recv_timeout(Duration::from_millis(50)).unwrap_err().is_timeout());
    assert!(since.elapsed() >= Duration::from_millis(50));
    assert!((2..=8).contains(&asked.get()), "asked {} times in 50 ms", asked.get());
}

#[test]
fn a_check_ends_the_waits_of_its_scope_and_thread_alone() {
    let segment = segment();
    let jobs = segment.channel::<u64>("jobs").capacity(2);
    let (tx, rx) = (jobs.sender().unwrap(), jobs.receiver().unwrap());
    let brief = Duration::from_millis(30);
    let outer = interrupt_waits(|| true);
    {
        let _inner = interrupt_waits(|| false);
        assert!(rx.recv_timeout(brief).unwrap_err().is_timeout());
    }
    assert_eq!(rx.recv(), Err(RecvError::Fault(Fault::Interrupted)));
    // A message that is there is received.
    tx.send(1).unwrap();
    assert_eq!(rx.recv(), Ok(1));
    let other = rx.try_clone().unwrap();
    let waited = thread::spawn(move || other.recv_timeout(brief).unwrap_err().is_timeout());
    assert!(waited.join().unwrap());
    drop(outer);
    assert!(rx.recv_timeout(brief).unwrap_err().is_timeout());
    // What a check waits for itself is not interrupted, and may end it by a panic.
    let nested = rx.try_clone().unwrap();
    let _guard = interrupt_waits(move || {
        assert!(nested.recv_timeout(brief).unwrap_err().is_timeout());
        panic!("of the check");
    });
    let panicked = std::panic::catch_unwind(|| rx.recv());
    assert!(panicked.is_err());
    tx.send(2).unwrap();
    assert_eq!(rx.recv(), Ok(2));
    assert_eq!((tx.len(), rx.len()), (0, 0));
}
