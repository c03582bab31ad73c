//! A runtime of a few lines: it polls when it is told to, and counts.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Instant;

use super::PATIENCE;

/// What wakes a future, and counts how often.
#[derive(Debug)]
pub(crate) struct Task {
    wakes: AtomicU64,
    /// How many of them a poll has answered.
    answered: AtomicU64,
    thread: Thread,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.wakes.fetch_add(1, Ordering::SeqCst);
        self.thread.unpark();
    }
}

impl Task {
    pub(crate) fn new() -> Arc<Self> {
        let (wakes, answered) = (AtomicU64::new(0), AtomicU64::new(0));
        Arc::new(Self { wakes, answered, thread: thread::current() })
    }

    pub(crate) fn wakes(&self) -> u64 {
        self.wakes.load(Ordering::SeqCst)
    }

    /// Whether it is to be polled again.
    pub(crate) fn is_woken(&self) -> bool {
        self.wakes() != self.answered.load(Ordering::SeqCst)
    }

    pub(crate) fn poll<F: Future + ?Sized>(
        self: &Arc<Self>,
        future: Pin<&mut F>,
    ) -> Poll<F::Output> {
        self.answered.store(self.wakes(), Ordering::SeqCst);
        future.poll(&mut Context::from_waker(&Waker::from(Arc::clone(self))))
    }

    /// Polls until it is to be woken by somebody else. Returns how often that was.
    pub(crate) fn poll_to_rest<F: Future + ?Sized>(
        self: &Arc<Self>,
        mut future: Pin<&mut F>,
    ) -> u64 {
        for polls in 1.. {
            assert!(self.poll(future.as_mut()).is_pending(), "there is nothing");
            if !self.is_woken() {
                return polls;
            }
            assert!(polls < 100_000, "it never rests");
        }
        unreachable!()
    }

    /// Polls whenever it is woken.
    #[track_caller]
    pub(crate) fn finish<F: Future + ?Sized>(
        self: &Arc<Self>,
        mut future: Pin<&mut F>,
    ) -> F::Output {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Poll::Ready(done) = self.poll(future.as_mut()) {
                return done;
            }
            while !self.is_woken() {
                let left = deadline.checked_duration_since(Instant::now());
                thread::park_timeout(left.expect("nobody wakes it"));
            }
        }
    }
}

/// Runs one future. Panics if nobody wakes it.
#[track_caller]
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    Task::new().finish(pin!(future))
}
