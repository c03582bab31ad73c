//! Ending the waits of one thread by a check of the program's.
//!
//! A signal that is handled ends a sleep in the kernel, and nothing else says that it came. One
//! that is handled just before the sleep leaves no trace that a sleeper could see. So the
//! sleeps of a thread with a check are no longer than [`SLICE`]: after each, and after each
//! signal, the thread asks.

use core::cell::{Cell, RefCell};
use core::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

type Check = Rc<dyn Fn() -> bool>;

/// A thread with a check sleeps no longer at a time.
const SLICE: Duration = Duration::from_millis(10);

thread_local! {
    /// Not there while it runs: what it waits for itself is not interrupted.
    static CHECK: RefCell<Option<Check>> = const { RefCell::new(None) };
}

fn replaced(check: Option<Check>) -> Option<Check> {
    // A thread that ends has none any more.
    CHECK.try_with(|held| held.replace(check)).ok().flatten()
}

/// Has `check` end the waits of this thread, until the result is dropped: a wait ends with
/// [`Fault::Interrupted`](crate::Fault::Interrupted) as soon as `check` returns `true`.
///
/// It runs on the waiting thread: after each signal that this thread handles while it sleeps,
/// and at the latest 10 ms after any moment of a wait. So a signal that is handled just before
/// the sleep is found within 10 ms. While `check` returns `false`, the wait goes on.
///
/// That holds for every wait for messages, for room, for replies and for events, and of a
/// [`WaitSet`](crate::WaitSet), in all forms. Nothing is lost: a message that is there by then is
/// received,
/// and a call that ends so has taken and sent nothing, but the part of a batch that it reports.
/// Other threads are not affected. Without a check, a signal ends no wait.
///
/// `check` must not use the handle that waits. What it waits for itself is not interrupted.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicBool, Ordering};
/// use tombolo::{Fault, RecvError, Segment};
///
/// let segment = Segment::anonymous()?;
/// let jobs = segment.channel::<u64>("jobs").capacity(8);
/// let (sender, receiver) = (jobs.sender()?, jobs.receiver()?);
/// // A handler for SIGINT sets it.
/// let stop = Arc::new(AtomicBool::new(true));
/// let _until_stop = tombolo::interrupt_waits(move || stop.load(Ordering::Relaxed));
/// assert_eq!(receiver.recv(), Err(RecvError::Fault(Fault::Interrupted)));
/// sender.send(7)?;
/// assert_eq!(receiver.recv()?, 7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn interrupt_waits(check: impl Fn() -> bool + 'static) -> InterruptGuard {
    InterruptGuard { before: replaced(Some(Rc::new(check))) }
}

/// While it lives, a check ends the waits of its thread: see [`interrupt_waits`]. Dropping it
/// restores what was before.
#[must_use = "the waits are no longer interrupted once it is dropped"]
pub struct InterruptGuard {
    before: Option<Check>,
}

impl Drop for InterruptGuard {
    fn drop(&mut self) {
        replaced(self.before.take());
    }
}

impl fmt::Debug for InterruptGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InterruptGuard").finish_non_exhaustive()
    }
}

/// The check of a thread, during one wait.
pub(crate) struct Watch {
    check: Option<Check>,
    next: Cell<Option<Instant>>,
}

impl Watch {
    pub(crate) fn new() -> Self {
        let check = CHECK.try_with(|check| check.borrow().clone()).ok().flatten();
        Self { check, next: Cell::new(None) }
    }

    /// Whether there is one.
    pub(crate) const fn asks(&self) -> bool {
        self.check.is_some()
    }

    /// When it asks next; `None` if it never does. `now` is the time.
    pub(super) fn next(&self, now: impl FnOnce() -> Instant) -> Option<Instant> {
        self.check.as_ref()?;
        let next = self.next.get().or_else(|| now().checked_add(SLICE));
        self.next.set(next);
        next
    }

    /// Whether the wait is to end, if it is time to ask.
    pub(crate) fn ends_at(&self, now: impl Fn() -> Instant) -> bool {
        self.next(&now).is_some_and(|next| next <= now()) && self.ends()
    }

    /// Whether the wait is to end.
    pub(super) fn ends(&self) -> bool {
        let Some(check) = &self.check else { return false };
        self.next.set(None);
        // Restores it also after a panic.
        let _restored = InterruptGuard { before: replaced(None) };
        check()
    }
}
