//! Waiting on the real kernel: the semaphore set behind the algorithms'
//! [`Kernel`], and how long to spin before asking it.

mod spin;
#[cfg(test)]
mod tests;

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use core::sync::atomic::{Ordering, compiler_fence, fence};

use crate::ring::kernel::{Kernel, LightFence, Op, Refusal};
use crate::sys;
use crate::sys::ErrorKind;
use crate::sys::crash;
use crate::sys::sem::Set;

pub use spin::WaitStrategy;
pub(crate) use spin::{Spin, costs};

/// Calls of more operations than this are never made.
const MOST_OPS: usize = 8;

/// Thousands of times what a store takes to be seen: to get out of the
/// processor that made it, as an interrupt, a change of thread and the stop of
/// a virtual processor make it do as well.
const SEEN: Duration = Duration::from_millis(10);

/// A waiter that waits again within this time after a wake is likely to do so the next
/// time. It costs others less than the fence that it saves, if it is not away for
/// many times as long as that takes.
const AT_ONCE: Duration = if crash::POINTS {
    // Where each step is watched, nobody is as quick.
    Duration::from_secs(10)
} else {
    Duration::from_micros(200)
};

/// The semaphore set of a segment, and how its participants fence.
#[derive(Debug)]
pub(crate) struct Semaphores {
    set: Set,
    /// Whether every participant has registered for the heavy fence, so that
    /// the light one costs nothing.
    asymmetric: bool,
    /// The last refusal that has more to say than its kind.
    failure: Mutex<Option<sys::Error>>,
}

impl Semaphores {
    pub(crate) const fn new(set: Set, asymmetric: bool) -> Self {
        Self { set, asymmetric, failure: Mutex::new(None) }
    }

    /// Whether the light fence is [`Asymmetric`].
    pub(crate) const fn asymmetric(&self) -> bool {
        self.asymmetric
    }

    pub(crate) const fn set(&self) -> &Set {
        &self.set
    }

    /// The kernel's own account of a refusal that was just returned. Another
    /// thread may have had one meanwhile; then there is only this one's number.
    pub(crate) fn explain(&self, refusal: Refusal) -> sys::Error {
        let failed = match refusal {
            Refusal::Failed(errno) => Some(errno),
            _ => None,
        };
        let kept = self.failure.lock().unwrap_or_else(PoisonError::into_inner).take();
        kept.filter(|error| failed.is_none_or(|errno| error.errno() == errno))
            .unwrap_or_else(|| self.set.refusal(failed))
    }

    fn refuse(&self, error: sys::Error) -> Refusal {
        let refusal = match error.kind() {
            ErrorKind::WouldBlock => return Refusal::WouldBlock,
            ErrorKind::TimedOut => return Refusal::TimedOut,
            ErrorKind::Removed => return Refusal::Removed,
            ErrorKind::OutOfRange => Refusal::Range,
            _ => Refusal::Failed(error.errno()),
        };
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        refusal
    }
}

impl Kernel for Semaphores {
    type Deadline = Instant;

    #[track_caller]
    fn semop(&self, ops: &[Op], until: Option<Instant>) -> Result<(), Refusal> {
        let mut calls = [sys::sem::Op::zero(0); MOST_OPS];
        debug_assert!(ops.len() <= MOST_OPS);
        for (call, op) in calls.iter_mut().zip(ops) {
            *call = match op.delta {
                0 => sys::sem::Op::zero(op.sem),
                by @ 1.. => sys::sem::Op::add(op.sem, by.unsigned_abs()),
                by => sys::sem::Op::take(op.sem, by.unsigned_abs()),
            };
            if op.undo {
                *call = call.undo();
            }
            if op.no_wait {
                *call = call.no_wait();
            }
        }
        let calls = &calls[..ops.len().min(MOST_OPS)];
        self.set.perform_until(calls, until).map_err(|error| self.refuse(error))
    }

    fn values(&self, into: &mut [u16]) -> Result<(), Refusal> {
        self.set.values(into).map_err(|error| self.refuse(error))
    }

    fn heavy_fence(&self) {
        if self.asymmetric {
            // Registered when joining, so it fails at most for want of
            // memory, and then not for long.
            while let Err(error) = sys::proc::global_barrier()
                && error.kind() == ErrorKind::NoMemory
            {
                core::hint::spin_loop();
            }
        }
        fence(Ordering::SeqCst);
    }

    fn soon(&self) -> Option<Instant> {
        self.asymmetric.then(|| Instant::now() + SEEN)
    }

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn at_once(&self) -> Option<Instant> {
        self.asymmetric.then(|| Instant::now() + AT_ONCE)
    }

    fn own_fence(&self) {
        if self.asymmetric && sys::proc::process_barrier().is_err() {
            // A sandbox that knows one kind of barrier from the other, or no
            // memory.
            thread::sleep(SEEN);
        }
        fence(Ordering::SeqCst);
    }
}

impl LightFence for Semaphores {
    #[inline]
    fn light_fence(&self) {
        if self.asymmetric {
            Asymmetric.light_fence();
        } else {
            fence(Ordering::SeqCst);
        }
    }
}

/// The light fence where every participant has registered for the heavy one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asymmetric;

impl LightFence for Asymmetric {
    #[inline]
    fn light_fence(&self) {
        compiler_fence(Ordering::SeqCst);
    }
}
