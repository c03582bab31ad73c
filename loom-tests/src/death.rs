//! Death, and being stopped, as a step.
//!
//! Every use of an atomic and every call of the kernel is a step. A thread
//! under a fuse ends before its nth step: it unwinds to [`mortal`], which for
//! a death has the kernel take its undo back. A model is run for n = 0, 1, …
//! until no execution reaches the nth step any more.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use crate::checker::atomic::{AtomicU64, Ordering};
use crate::checker::thread::{self, ThreadId};

use crate::kernel::Process;

/// How a thread ends before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// `kill -9`.
    Killed,
    /// `kill -STOP`, and never continued.
    Stopped,
}

/// Before which step, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fate {
    pub(crate) step: usize,
    pub(crate) end: End,
}

struct Fuse {
    thread: ThreadId,
    left: usize,
    end: End,
}

thread_local! {
    // The checker runs all threads of a model on the test's own thread.
    static FUSES: RefCell<Vec<Fuse>> = const { RefCell::new(Vec::new()) };
    /// Counts the steps of everybody, where everybody's order is asked for.
    static CLOCK: RefCell<Option<Rc<AtomicU64>>> = const { RefCell::new(None) };
    static BURNT: Cell<bool> = const { Cell::new(false) };
    static TRACE: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    static TRACED: bool = std::env::var_os("TOMBOLO_TRACE").is_some();
}

/// Before an execution: no fuse is left over, and nothing has happened.
pub(crate) fn reset(complete: bool) {
    CLOCK.set(complete.then(|| Rc::new(AtomicU64::new(0))));
    FUSES.with_borrow_mut(Vec::clear);
    TRACE.with_borrow_mut(Vec::clear);
}

/// Notes what a thread does, if somebody wants to read it when it fails.
pub(crate) fn note(what: impl FnOnce() -> String) {
    if TRACED.with(|traced| *traced) {
        let line = format!("{:?} {}", thread::current().id(), what());
        TRACE.with_borrow_mut(|trace| trace.push(line));
    }
}

/// The last execution's outcome.
pub(crate) fn trace() -> String {
    TRACE.with_borrow(|trace| trace.join("\n"))
}

/// Whether a fuse has burnt down since the last call.
pub(crate) fn burnt() -> bool {
    BURNT.replace(false)
}

/// One step of the running thread.
pub(crate) fn step() {
    if let Some(clock) = CLOCK.with_borrow(Clone::clone) {
        clock.fetch_add(1, Ordering::Relaxed);
    }
    let end = FUSES.with_borrow_mut(|fuses| {
        if fuses.is_empty() {
            return None;
        }
        let me = thread::current().id();
        let at = fuses.iter().position(|fuse| fuse.thread == me)?;
        match fuses[at].left.checked_sub(1) {
            Some(left) => {
                fuses[at].left = left;
                None
            }
            None => Some(fuses.swap_remove(at).end),
        }
    });
    if let Some(end) = end {
        note(|| format!("is {end:?}"));
        BURNT.set(true);
        resume_unwind(Box::new(end));
    }
}

/// Ends the running thread at once: somebody has killed it in its sleep.
pub(crate) fn die() -> ! {
    BURNT.set(true);
    resume_unwind(Box::new(End::Killed))
}

/// Runs `life` as `process`, whose only thread this is, up to its end: that
/// of its life if its fate comes later, and none without a fate.
pub(crate) fn mortal<R>(
    process: &Process,
    fate: Option<Fate>,
    life: impl FnOnce() -> R,
) -> Option<R> {
    mortal_with(|| process.end(), fate, life)
}

/// The same where `end` is what the kernel does for the one who has ended.
pub(crate) fn mortal_with<R>(
    end: impl FnOnce(),
    fate: Option<Fate>,
    life: impl FnOnce() -> R,
) -> Option<R> {
    let me = thread::current().id();
    if let Some(Fate { step, end: how }) = fate {
        FUSES.with_borrow_mut(|fuses| fuses.push(Fuse { thread: me, left: step, end: how }));
    }
    let lived = catch_unwind(AssertUnwindSafe(life));
    FUSES.with_borrow_mut(|fuses| fuses.retain(|fuse| fuse.thread != me));
    match lived {
        Ok(result) => {
            if fate.is_some() {
                end();
            }
            Some(result)
        }
        Err(why) => match why.downcast_ref::<End>() {
            Some(End::Killed) => {
                end();
                None
            }
            Some(End::Stopped) => None,
            None => resume_unwind(why),
        },
    }
}
