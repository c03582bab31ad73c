//! Sleeping until an operation can go on: register, sleep, scan, pass the token on. The
//! states are drawn in [`wait`](super).

use super::super::event::{self, Event, Life, Wakes};
use super::super::kernel::{Kernel, Refusal};
use super::super::set::SetMap;
use super::super::{bell, slot_waiters, wake_all};
use super::poll::{Cause, Operation, poll};
use super::{Need, Polled, Registration};
use crate::sync::AtomicU64;

/// Where waiters of one side of a channel are counted, and what wakes them.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Queue<'a> {
    /// What wakes that side.
    Side(Event<'a>),
    /// The wake-all semaphore, for those whom this word counts: see [`slot_waiters`].
    All(&'a AtomicU64),
}

impl<'a> Queue<'a> {
    pub(super) const fn waiting(self) -> &'a AtomicU64 {
        match self {
            Self::Side(event) => event.waiting,
            Self::All(waiting) => waiting,
        }
    }

    /// The semaphore over which they sleep.
    pub(super) const fn sem(self) -> u16 {
        match self {
            Self::Side(event) => event.sem,
            Self::All(_) => SetMap::WAKE_ALL,
        }
    }

    /// Whether it is a bell's.
    pub(super) const fn is_bell(self) -> bool {
        matches!(self, Self::Side(Event { wakes: Wakes::All { .. }, .. }))
    }

    /// Whether what wakes this queue may bring what an operation needs.
    pub(crate) const fn serves(self, need: Need) -> bool {
        need.is_for_all() == matches!(self, Self::All(_))
    }

    /// Wakes everybody who sleeps here, so that one among them finds out that it
    /// is to stop. `enough` ends it early.
    pub(crate) fn rouse<K: Kernel>(
        self,
        kernel: &K,
        enough: impl Fn() -> bool,
    ) -> Result<(), Refusal> {
        match self {
            // It concerns those who sleep in a call of their own, and nobody who watches.
            Self::All(waiting) => slot_waiters::freed(kernel, waiting, None),
            Self::Side(event) => event::rouse(kernel, event, enough),
        }
    }
}

/// One waiter's place in a queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seat<'a, D: Copy> {
    pub(crate) queue: Queue<'a>,
    /// How many threads of its process wait there.
    pub(crate) record: &'a AtomicU64,
    /// Whose record that is.
    pub(crate) life: Life<'a>,
    /// What it keeps from one wait to the next.
    pub(crate) registration: &'a Registration<D>,
}

impl<D: Copy + Ord> Seat<'_, D> {
    /// Takes its count back, if it is counted.
    pub(crate) fn let_go(&self) {
        self.registration.let_go(self.queue.waiting(), self.record, self.life);
    }
}

/// What has ended a sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wake {
    /// A token, taken while the wake-all semaphore was what was heard.
    Token,
    /// A token, taken whatever the wake-all semaphore was.
    PlainToken,
    /// The wake-all semaphore has changed; or that, or a bell, is to be heard for the first
    /// time.
    Stroke,
    /// The bell over which it slept has been struck.
    Bell,
    /// The deadline has passed.
    Late,
    /// The kernel has refused the sleep: the set is gone, or worse.
    Refused(Refusal),
}

impl Wake {
    const fn has_token(self) -> bool {
        matches!(self, Self::Token | Self::PlainToken)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State<D> {
    /// It tries, and is not announced.
    Trying,
    /// It is counted, and will sleep until then at most, if that is before its
    /// deadline.
    Announced { recheck: Option<D> },
    /// A sleep has ended, and what follows from that is still to be done.
    Woken(Wake),
}

/// How a wait has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waited<R> {
    Done(R),
    /// What has come to be needed is waited for elsewhere.
    Needs(Need),
    TimedOut,
}

impl<R> From<Polled<R>> for Waited<R> {
    fn from(polled: Polled<R>) -> Self {
        match polled {
            Polled::Done(done) => Self::Done(done),
            Polled::Needs(need) => Self::Needs(need),
        }
    }
}

/// How a session has ended; `None` while it has not.
type Ended<O> = Option<Result<Waited<<O as Operation>::Done>, <O as Operation>::Fault>>;

/// One wait of one end of a channel.
///
/// A driver calls [`register`](Self::register), [`poll`](Self::poll) and
/// [`sleep`](Self::sleep) in turn until a poll ends the session, as
/// [`block`](Self::block) does. Each of them does nothing in a state that it
/// does not concern. A driver that sleeps by other means polls once it is woken;
/// one that gives up [deregisters](Self::deregister).
pub(crate) struct Session<'a, K: Kernel> {
    kernel: &'a K,
    seat: Seat<'a, K::Deadline>,
    until: Option<K::Deadline>,
    /// Whether it stays counted while it is awake.
    stays: bool,
    state: State<K::Deadline>,
}

impl<'a, K: Kernel> Session<'a, K> {
    /// The caller's process holds a credit on the semaphore of the queue and on
    /// the wake-all semaphore.
    pub(crate) fn new(
        kernel: &'a K,
        seat: Seat<'a, K::Deadline>,
        until: Option<K::Deadline>,
    ) -> Self {
        let stays = seat.registration.timing().comes_at_once(kernel);
        // Without a sleep that would end at once; or, over a bell, what was heard may be so old
        // that the value has come round to it.
        let unheard = seat.queue.is_bell() || seat.registration.is_unheard();
        let state = if unheard { State::Woken(Wake::Stroke) } else { State::Trying };
        Self { kernel, seat, until, stays, state }
    }

    /// Registers, polls and sleeps until the operation is done, needs what comes
    /// elsewhere, is over, or the deadline has passed.
    pub(crate) fn block<O: Operation>(&mut self, op: &mut O) -> Result<Waited<O::Done>, O::Fault> {
        loop {
            self.register();
            if let Some(ended) = self.poll(op) {
                return ended;
            }
            self.sleep();
        }
    }

    /// Announces this waiter: from here on, what comes is found by a poll, or
    /// ends a sleep.
    pub(crate) fn register(&mut self) {
        let (Seat { queue, record, registration, .. }, kernel) = (self.seat, self.kernel);
        match self.state {
            State::Woken(_) => return,
            State::Trying => registration.announce(kernel, queue.waiting(), record),
            State::Announced { .. } => {}
        }
        // First the time, then the try: it may be as good as a recheck.
        let recheck = registration.timing().recheck(kernel, self.until);
        self.state = State::Announced { recheck };
    }

    /// Takes the announcement back, and passes on what came for it meanwhile. Also after
    /// an attempt that has panicked.
    pub(crate) fn deregister<O: Operation>(&mut self, op: &mut O) {
        self.seat.let_go();
        if let State::Woken(wake) = self.state {
            self.pass_on(op, wake);
        }
        self.state = State::Trying;
    }

    /// Tries, and does what follows from having been woken. Never sleeps.
    pub(crate) fn poll<O: Operation>(&mut self, op: &mut O) -> Ended<O> {
        let ended = match self.state {
            State::Trying | State::Announced { .. } => {
                let ended = self.attempt(op)?;
                self.seat.let_go();
                Some(ended)
            }
            State::Woken(wake) => self.woken(op, wake),
        };
        // Only now: an attempt that panics leaves the token to `deregister`.
        self.state = State::Trying;
        ended
    }

    /// Sleeps until a wake, the recheck or the deadline.
    pub(crate) fn sleep(&mut self) {
        let State::Announced { recheck } = self.state else { return };
        let until = recheck.or(self.until);
        let wake = self.sleep_until(until);
        self.state = if recheck.is_some() && wake == Wake::Late {
            self.seat.registration.timing().seen();
            State::Announced { recheck: None }
        } else {
            State::Woken(wake)
        };
    }

    fn sleep_until(&self, until: Option<K::Deadline>) -> Wake {
        let (kernel, registration) = (self.kernel, self.seat.registration);
        let heard = registration.compares(self.stays);
        let (slept, wake) = match (self.seat.queue, heard) {
            (Queue::Side(Event { sem, wakes: Wakes::All { .. }, .. }), _) => {
                let also = heard.filter(|_| registration.is_strict());
                (bell::wait(kernel, sem, registration.own(), also, until), Wake::Bell)
            }
            (Queue::Side(Event { sem, .. }), Some(heard)) => {
                (wake_all::take(kernel, sem, heard, until), Wake::Token)
            }
            (Queue::Side(Event { sem, .. }), None) => {
                (event::take(kernel, sem, until), Wake::PlainToken)
            }
            (Queue::All(_), Some(heard)) => (wake_all::wait(kernel, heard, until), Wake::Stroke),
            (Queue::All(_), None) => return Wake::Stroke,
        };
        match slept {
            Ok(()) => wake,
            Err(Refusal::WouldBlock) if wake == Wake::Bell => Wake::Bell,
            Err(Refusal::WouldBlock) => Wake::Stroke,
            Err(Refusal::TimedOut) => Wake::Late,
            Err(refusal) => Wake::Refused(refusal),
        }
    }

    /// What follows from a wake: a try, a look for deaths, and another try.
    fn woken<O: Operation>(&self, op: &mut O, wake: Wake) -> Ended<O> {
        let registration = self.seat.registration;
        // No fence before the next attempt: one that fails goes through that of
        // `announce` before it sleeps again, or has taken no token. Two who
        // stayed and were away would have each send ask the kernel in vain.
        let queue = self.seat.queue;
        // Over a bell, all may stay until they leave: one stroke is for all of them, and none
        // is for a word that stands.
        if !queue.is_bell() && (!self.stays || event::count(queue.waiting()) > 1) {
            self.seat.let_go();
        }
        // A stroke of a bell stays for the others, and its waiters look for the dead before
        // they sleep again.
        if matches!(wake, Wake::Token | Wake::Bell)
            && let Some(ended) = self.attempt(op)
        {
            return Some(self.leave(op, wake, ended));
        }
        // A token that is for nothing may be for a death.
        if !matches!(wake, Wake::Late | Wake::Refused(_)) {
            if wake == Wake::Stroke {
                registration.refused();
            }
            match op.scan(queue.sem(), registration.is_strict()) {
                Ok(heard) => {
                    registration.listened(heard);
                    if queue.is_bell() {
                        // Refused, the sleep will say so.
                        let _ = bell::wind(self.kernel, queue.sem(), heard.own);
                    }
                }
                Err(fault) => {
                    self.seat.let_go();
                    self.give_back(op, wake);
                    return Some(Err(fault));
                }
            }
        }
        if let Some(ended) = self.attempt(op) {
            return Some(self.leave(op, wake, ended));
        }
        let ended = match wake {
            Wake::Token | Wake::PlainToken | Wake::Stroke | Wake::Bell => return None,
            Wake::Late => Ok(Waited::TimedOut),
            Wake::Refused(refusal) => Err(op.fault(Cause::Sleep(refusal))),
        };
        self.seat.let_go();
        Some(ended)
    }

    fn attempt<O: Operation>(&self, op: &mut O) -> Ended<O> {
        match poll(op) {
            Ok(Polled::Done(done)) => Some(Ok(Waited::Done(done))),
            Ok(Polled::Needs(need)) if self.seat.queue.serves(need) => None,
            Ok(Polled::Needs(need)) => Some(Ok(Waited::Needs(need))),
            Err(fault) => Some(Err(fault)),
        }
    }

    /// Ends a session that was woken.
    fn leave<O: Operation>(
        &self,
        op: &mut O,
        wake: Wake,
        ended: Result<Waited<O::Done>, O::Fault>,
    ) -> Result<Waited<O::Done>, O::Fault> {
        if !self.stays {
            self.seat.let_go();
        }
        if ended.is_err() {
            // What ends this end's waiting ends that of others too: of all of them, and
            // not only of the one whom a single token would go to.
            self.rouse_others(op, wake);
        } else if op.more() {
            self.pass_on(op, wake);
        }
        self.seat.registration.woken(self.kernel);
        ended
    }

    /// The event whose token was taken, if one was.
    fn taken_from(&self, wake: Wake) -> Option<Event<'a>> {
        match self.seat.queue {
            Queue::Side(event) if wake.has_token() => Some(event),
            _ => None,
        }
    }

    /// Passes a token on to another waiter, if there is one.
    fn pass_on<O: Operation>(&self, op: &mut O, wake: Wake) {
        if let Some(event) = self.taken_from(wake) {
            let counted = self.seat.registration.is_counted();
            owing(op, event::pass_on(self.kernel, event, counted));
        }
    }

    /// Passes a token on to everybody else who waits.
    fn rouse_others<O: Operation>(&self, op: &mut O, wake: Wake) {
        if let Some(event) = self.taken_from(wake) {
            // A token that stays would come back to this one, if it stays counted.
            self.seat.let_go();
            owing(op, event::rouse(self.kernel, event, || false));
        }
    }

    /// Leaves a token that was taken for those who can still see. Without one, the
    /// semaphore may be a stranger's: in another IPC namespace, the set's id is.
    fn give_back<O: Operation>(&self, op: &mut O, wake: Wake) {
        if let Some(event) = self.taken_from(wake) {
            owing(op, event::post(self.kernel, event.sem).map(drop));
        }
    }
}

/// A set that is gone has woken everybody.
fn owing<O: Operation>(op: &mut O, passed: Result<(), Refusal>) {
    if let Err(refusal) = passed
        && refusal != Refusal::Removed
    {
        op.owes(refusal);
    }
}
