//! Waiting on the real kernel: the semaphore set behind the algorithms'
//! [`Kernel`], and how long to spin before asking it.

mod interrupt;
mod spin;

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use core::sync::atomic::{Ordering, compiler_fence, fence};

use crate::ring::kernel::{Kernel, LightFence, Op, Refusal, sooner};
use crate::sys;
use crate::sys::ErrorKind;
use crate::sys::crash;
use crate::sys::sem::Set;

pub(crate) use interrupt::Watch;
pub use interrupt::{InterruptGuard, interrupt_waits};
pub use spin::WaitStrategy;
pub(crate) use spin::{Spin, costs};

/// Calls of more operations than this are those of wait sets.
const FEW_OPS: usize = 8;

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

    /// How many operations the kernel does in one call; where it does not say, as many as old
    /// systems allow.
    pub(crate) fn most_ops(&self) -> u64 {
        sys::limits::sem().map_or(32, |limits| limits.ops_per_call)
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

/// The operation as the kernel takes it.
const fn call_for(op: Op) -> sys::sem::Op {
    let mut call = match op.delta {
        0 => sys::sem::Op::zero(op.sem),
        by @ 1.. => sys::sem::Op::add(op.sem, by.unsigned_abs()),
        by => sys::sem::Op::take(op.sem, by.unsigned_abs()),
    };
    if op.undo {
        call = call.undo();
    }
    if op.no_wait {
        call = call.no_wait();
    }
    call
}

/// Operations as the kernel takes them.
struct Calls {
    few: [sys::sem::Op; FEW_OPS],
    count: usize,
    /// All of them, if they are not few.
    many: Vec<sys::sem::Op>,
}

impl Calls {
    fn of(ops: &[Op]) -> Self {
        let mut few = [sys::sem::Op::zero(0); FEW_OPS];
        if ops.len() > FEW_OPS {
            return Self { few, count: 0, many: ops.iter().copied().map(call_for).collect() };
        }
        for (call, op) in few.iter_mut().zip(ops) {
            *call = call_for(*op);
        }
        Self { few, count: ops.len(), many: Vec::new() }
    }

    fn all(&self) -> &[sys::sem::Op] {
        if self.many.is_empty() { &self.few[..self.count] } else { &self.many }
    }
}

impl Kernel for Semaphores {
    type Deadline = Instant;

    #[track_caller]
    fn semop(&self, ops: &[Op], until: Option<Instant>) -> Result<(), Refusal> {
        // No closure between the caller and the call: a crash point is named after the caller.
        self.set.perform_until(Calls::of(ops).all(), until).map_err(|error| self.refuse(error))
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

/// The same set for one wait, which a signal that is handled may end, or this thread's
/// [check](interrupt_waits): with [`Refusal::Interrupted`].
pub(crate) struct Interruptible<'a> {
    semaphores: &'a Semaphores,
    /// Whether each signal ends it.
    by_signals: bool,
    pub(crate) watch: Watch,
}

impl<'a> Interruptible<'a> {
    pub(crate) fn new(semaphores: &'a Semaphores, by_signals: bool) -> Self {
        Self { semaphores, by_signals, watch: Watch::new() }
    }
}

impl Kernel for Interruptible<'_> {
    type Deadline = Instant;

    #[track_caller]
    fn semop(&self, ops: &[Op], until: Option<Instant>) -> Result<(), Refusal> {
        let may_wait = ops.iter().any(|op| op.delta <= 0 && !op.no_wait);
        let set = &self.semaphores.set;
        let calls = Calls::of(ops);
        loop {
            if may_wait && self.watch.ends_at(|| self.now()) {
                return Err(Refusal::Interrupted);
            }
            let slice = if may_wait { self.watch.next(|| self.now()) } else { None };
            if slice.is_none() && !(may_wait && self.by_signals) {
                return self.semaphores.semop(ops, until);
            }
            let deadline = sooner(slice, until).or(until);
            let done = match deadline {
                None => set.perform(calls.all()),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(self.now());
                    set.perform_timeout(calls.all(), left)
                }
            };
            let late = |deadline: Option<Instant>| deadline.is_some_and(|at| at <= self.now());
            match done.map_err(|error| (error.kind(), error)) {
                Ok(()) => return Ok(()),
                Err((ErrorKind::Interrupted, _)) if self.by_signals || self.watch.ends() => {
                    return Err(Refusal::Interrupted);
                }
                // Once more, which may be at an end at once.
                Err((ErrorKind::Interrupted, _)) => {}
                // The kernel does not tell the one from the other among several operations.
                Err((ErrorKind::TimedOut | ErrorKind::WouldBlock, _))
                    if late(slice) && !late(until) => {}
                Err((_, error)) => return Err(self.semaphores.refuse(error)),
            }
        }
    }

    fn values(&self, into: &mut [u16]) -> Result<(), Refusal> {
        self.semaphores.values(into)
    }

    fn heavy_fence(&self) {
        self.semaphores.heavy_fence();
    }

    fn soon(&self) -> Option<Instant> {
        self.semaphores.soon()
    }

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn at_once(&self) -> Option<Instant> {
        self.semaphores.at_once()
    }

    fn own_fence(&self) {
        self.semaphores.own_fence();
    }
}

impl LightFence for Interruptible<'_> {
    fn light_fence(&self) {
        self.semaphores.light_fence();
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

/// A bell over a real semaphore set.
#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64 as Count, Ordering::SeqCst};
    use std::thread;
    use std::time::{Duration, Instant};

    use super::Semaphores;
    use crate::ring::event::{self, Event, Life, Memo, Wakes};
    use crate::ring::kernel::{Kernel as _, Op, Refusal};
    use crate::ring::set::SetMap;
    use crate::ring::wait::{
        Cause, Heard, NotNow, Operation, Queue, Registration, Seat, Session, Waited,
    };
    use crate::ring::wake_all;
    use crate::sync::{AtomicU64, Ordering};
    use crate::sys::Key;
    use crate::sys::sem::Set;

    const LIFE: u64 = 1;
    const LIVE: u64 = LIFE << 32 | 1;
    /// The semaphore of the bell.
    const SEM: u16 = SetMap::WAKE_ALL + 1;
    const SLEEPERS: u32 = 8;

    /// One side of a channel whose messages are for all.
    struct Side {
        semaphores: Semaphores,
        waiting: AtomicU64,
        struck: AtomicU64,
        record: AtomicU64,
        life: AtomicU64,
        published: AtomicU64,
    }

    impl Side {
        fn new() -> Arc<Self> {
            let set = Set::options().create(Key::PRIVATE, usize::from(SEM) + 1).unwrap();
            let [waiting, struck, published] = [0; 3].map(AtomicU64::new);
            let (record, life) = (AtomicU64::new(event::record(LIFE)), AtomicU64::new(LIVE));
            let semaphores = Semaphores::new(set, false);
            Arc::new(Self { semaphores, waiting, struck, record, life, published })
        }

        const fn event(&self) -> Event<'_> {
            let wakes = Wakes::All { struck: &self.struck };
            Event { waiting: &self.waiting, sem: SEM, wakes, watch: None }
        }

        fn publish(&self) {
            self.published.fetch_add(1, Ordering::Release);
            event::notify(&self.semaphores, self.event(), &mut Memo::default()).unwrap();
        }

        /// Waits for this message; says whether it has come.
        fn hear(
            &self,
            message: u64,
            registration: &Registration<Instant>,
            until: Option<Instant>,
        ) -> bool {
            let (queue, life) = (Queue::Side(self.event()), Life::new(&self.life, LIFE));
            let seat = Seat { queue, record: &self.record, life, registration };
            let waited =
                Session::new(&self.semaphores, seat, until).block(&mut Hear(self, message));
            seat.let_go();
            matches!(waited, Ok(Waited::Done(())))
        }

        fn asleep(&self) -> u32 {
            self.semaphores.set().waiting_for_increase(SEM).unwrap()
        }

        fn until_asleep(&self, count: u32) {
            while self.asleep() < count {
                thread::sleep(Duration::from_micros(100));
            }
        }

        fn strokes(&self) -> u16 {
            self.semaphores.set().value(SEM).unwrap()
        }
    }

    impl Drop for Side {
        fn drop(&mut self) {
            let _ = self.semaphores.set().remove();
        }
    }

    struct Hear<'a>(&'a Side, u64);

    impl Operation for Hear<'_> {
        type Done = ();
        type Fault = Cause;

        fn attempt(&mut self, _: bool) -> Result<(), NotNow> {
            let there = self.0.published.load(Ordering::Acquire) >= self.1;
            if there { Ok(()) } else { Err(NotNow::Nothing) }
        }

        fn more(&self) -> bool {
            false
        }

        fn scan(&mut self, sem: u16, must: bool) -> Result<Heard, Cause> {
            let mut values = [0; SEM as usize + 1];
            self.0.semaphores.values(&mut values).map_err(Cause::Sleep)?;
            let wake_all = must.then_some(values[usize::from(SetMap::WAKE_ALL)]);
            Ok(Heard { own: values[usize::from(sem)], wake_all })
        }

        fn owes(&mut self, refusal: Refusal) {
            panic!("nothing is passed on over a bell: {refusal:?}");
        }

        fn fault(&self, cause: Cause) -> Cause {
            cause
        }
    }

    fn sleepers(side: &Arc<Side>, rounds: u64, heard: &Arc<Count>) -> Vec<thread::JoinHandle<()>> {
        let sleeper = |_| {
            let (side, heard) = (Arc::clone(side), Arc::clone(heard));
            thread::spawn(move || {
                let registration = Registration::new(None);
                for message in 1..=rounds {
                    assert!(side.hear(message, &registration, None));
                    heard.fetch_add(1, SeqCst);
                }
            })
        };
        (0..SLEEPERS).map(sleeper).collect()
    }

    #[test]
    fn one_stroke_wakes_all_who_sleep_and_none_is_made_while_nobody_does() {
        const ROUNDS: u64 = 20;
        let (side, heard) = (Side::new(), Arc::new(Count::new(0)));
        side.publish();
        assert_eq!(side.strokes(), 0, "a call for nobody");
        side.published.store(0, Ordering::Release);
        let threads = sleepers(&side, ROUNDS, &heard);
        for round in 1..=ROUNDS {
            side.until_asleep(SLEEPERS);
            let before = side.strokes();
            side.publish();
            assert_eq!(side.strokes(), before + 1, "one call for all of them");
            while heard.load(SeqCst) < round * u64::from(SLEEPERS) {
                thread::yield_now();
            }
        }
        for thread in threads {
            thread.join().unwrap();
        }
        let before = side.strokes();
        side.publish();
        assert_eq!((side.strokes(), side.asleep()), (before, 0));
    }

    #[test]
    fn a_sleep_over_a_bell_ends_in_time() {
        let side = Side::new();
        let until = Instant::now() + Duration::from_millis(5);
        assert!(!side.hear(1, &Registration::new(None), Some(until)));
        assert!(Instant::now() >= until);
        assert_eq!(side.waiting.load(Ordering::Relaxed) as u32, 0, "it is still counted");
    }

    #[test]
    fn who_waits_for_a_participants_end_too_is_woken_by_the_wake_all_semaphore() {
        for before in [0, 1, 7] {
            let side = Side::new();
            for _ in 0..before {
                wake_all::strike(&side.semaphores).unwrap();
                side.semaphores.semop(&[Op::add(SEM, 1)], None).unwrap();
            }
            let theirs = Arc::clone(&side);
            let waiter = thread::spawn(move || {
                let registration = Registration::new(None);
                registration.be_strict(true);
                theirs.hear(1, &registration, None)
            });
            side.until_asleep(1);
            // As at a death that nobody here has a credit for.
            side.published.fetch_add(1, Ordering::Release);
            wake_all::strike(&side.semaphores).unwrap();
            assert!(waiter.join().unwrap());
            assert_eq!(side.strokes(), before);
        }
    }

    #[test]
    fn a_bell_at_its_highest_value_still_wakes() {
        for value in [8_191_u16, 8_192, 32_766, 32_767] {
            let side = Side::new();
            side.semaphores.semop(&[Op::add(SEM, value.cast_signed())], None).unwrap();
            let heard = Arc::new(Count::new(0));
            let threads = sleepers(&side, 2, &heard);
            for round in 1..=2 {
                side.until_asleep(SLEEPERS);
                side.publish();
                while heard.load(SeqCst) < round * u64::from(SLEEPERS) {
                    thread::yield_now();
                }
            }
            for thread in threads {
                thread.join().unwrap();
            }
            assert!(side.strokes() < 8_194, "{}", side.strokes());
        }
    }
}
