//! The kernel as the algorithms see it: one semaphore set and two fences.
//!
//! The library implements it with `semtimedop` and `membarrier`; the models implement it with
//! a mutex, a condition variable and a table of undo adjustments.

/// One operation on one semaphore of the set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Op {
    pub(crate) sem: u16,
    /// Positive: add. Negative: take, sleeping until there is enough. Zero:
    /// sleep until the value is zero.
    pub(crate) delta: i16,
    /// The kernel takes the change back when this process ends.
    pub(crate) undo: bool,
    /// Refuse instead of sleeping.
    pub(crate) no_wait: bool,
}

impl Op {
    pub(crate) const fn add(sem: u16, by: i16) -> Self {
        Self { sem, delta: by, undo: false, no_wait: false }
    }

    pub(crate) const fn take(sem: u16, by: i16) -> Self {
        Self { sem, delta: -by, undo: false, no_wait: false }
    }

    pub(crate) const fn zero(sem: u16) -> Self {
        Self { sem, delta: 0, undo: false, no_wait: false }
    }

    pub(crate) const fn undo(mut self) -> Self {
        self.undo = true;
        self
    }

    pub(crate) const fn no_wait(mut self) -> Self {
        self.no_wait = true;
        self
    }
}

/// Why the kernel did none of the operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// A no-wait operation would have slept.
    WouldBlock,
    /// The deadline passed.
    TimedOut,
    /// A value or an undo adjustment would leave its range.
    Range,
    /// The set is gone.
    Removed,
    /// A signal, or what the program has asked for, ends the sleep.
    Interrupted,
    /// Anything else, as an `errno`.
    Failed(i32),
}

/// `soon`, if that is before `until`.
pub(crate) fn sooner<D: Copy + Ord>(soon: Option<D>, until: Option<D>) -> Option<D> {
    soon.filter(|soon| until.is_none_or(|until| *soon < until))
}

/// The half of an asymmetric fence that is on every hot path.
pub(crate) trait LightFence {
    /// A full fence: a store before it and a load after it are not reordered
    /// as far as any thread between its [`heavy_fence`](Kernel::heavy_fence)
    /// can tell.
    fn light_fence(&self);
}

/// The kernel as the algorithms see it.
pub(crate) trait Kernel: LightFence {
    /// A point in time after which sleeping ends.
    type Deadline: Copy + Ord;

    /// Performs all of `ops` at once, or none. Sleeps until that is possible,
    /// the deadline passes or the set is removed; signals do not end it, but where the
    /// waiter has asked for that.
    #[track_caller]
    fn semop(&self, ops: &[Op], until: Option<Self::Deadline>) -> Result<(), Refusal>;

    /// Reads every value of the set at one instant.
    fn values(&self, into: &mut [u16]) -> Result<(), Refusal>;

    /// The rare half, which pairs with every participant's
    /// [`light_fence`](LightFence::light_fence) and with other heavy ones.
    ///
    /// Linux may leave out a thread that is just running: who sleeps on the
    /// strength of this looks once more, when it is [`soon`](Self::soon).
    fn heavy_fence(&self);

    /// When every store that a running thread had made by now is sure to be
    /// seen. `None` if there is no need to wait for it, because no thread is
    /// left out.
    fn soon(&self) -> Option<Self::Deadline>;

    /// The time.
    fn now(&self) -> Self::Deadline;

    /// Until when somebody comes at once who comes back now. `None` if there is
    /// no use in expecting anybody, because the heavy fence costs nothing.
    fn at_once(&self) -> Option<Self::Deadline>;

    /// As [`heavy_fence`](Self::heavy_fence), but for the threads of this
    /// process only, and leaves none of them out.
    fn own_fence(&self);
}
