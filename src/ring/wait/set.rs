//! Waiting for any of many: one thread sleeps over the semaphores of all members of a set.
//!
//! A member is one side of one channel. The thread consumes nothing: it finds out which
//! members could go on, and tells its caller.
//!
//! ```text
//!  ──▶ Listening    look for deaths, and read all values at one instant
//!  │      ▼
//!  │   Announced    each member: raise, or the next version; take the token that was there,
//!  │      │ ▲       and then the next version once more; one fence for all (W, V)
//!  │      ▼ └────── the recheck is due
//!  │   look at all ── some could go on ─▶ pass their tokens on ─▶ let go ─▶ Ready
//!  │      ▼ none
//!  │   Sleeping     while each semaphore is what was read: one call
//!  │      ├──────── the time is up ─▶ look at all ─▶ let go ─▶ TimedOut
//!  │      ├──────── the set is gone ─▶ let go ─▶ fault
//!  │      ▼ one has changed
//!  └── look at all ── some could go on ─▶ let go ─▶ Ready
//!        none
//! ```
//!
//! **The call.** The kernel does the operations of one call all at once or not at all, and gives
//! up as soon as a no-wait operation cannot be done, also if that comes to be so while the call
//! sleeps. So a call that compares each semaphore with what was read, and at last waits for
//! more of one of them, ends when any of them changes. It changes nothing and takes no token:
//!
//! ```text
//!  a token:  {W 0 no-wait}                       a bell:  {W −v no-wait}{W 0 no-wait}{W +v}
//!  at last:  {WAKE_ALL −g no-wait}{WAKE_ALL −1}{WAKE_ALL +(g + 1)}
//! ```
//!
//! **No wake-up is lost.** The look behind the fence finds what was published, or the notifier
//! sees the count ([`event`](super::super::event), edges W and V) and posts a token or strikes
//! the bell. A bell was read before its member was announced, so a stroke after that differs
//! from what the call compares ([`bell`]). Over a token the call compares with 0, always, and a
//! notifier that finds no token there posts one. So either the call fails at once, or the token
//! comes while it sleeps and ends it, or another waiter has taken the token. That one does what
//! the token was for, and passes one on if more is left.
//!
//! A handle that has posted as many tokens for a word as waiters are in it owes no more
//! ([`event`](super::super::event)). The set may be one of those, and takes no token by
//! sleeping. If one of the posts found it asleep, it has ended its sleep. If none did, the
//! others who are counted cannot have taken all of them: one is still there, and the call
//! fails. It announces itself anew before it sleeps again.
//!
//! The set takes the token that is in its way like any waiter: when it is counted, and with
//! another version after it. If it were not counted before, the token would be for a waiter
//! that is, and whoever has posted it would owe that one nothing more. If the version stayed,
//! nobody would owe the set anything more.
//!
//! **Nothing is kept from others.** Only [`Place::announce`] takes a token, of a member that has
//! had nothing a moment ago. The next look either finds something, which others can use too,
//! and passes a token on; or it finds nothing, as for one who polls in vain: see
//! [`wait`](super), *No token is kept*. What the sleep has been ended by is left to others.
//!
//! **Deaths** change the wake-all semaphore, which is always compared, and whose value is of
//! the very look that found no death. This is also how the process ends the wait of its own
//! thread where it has no bell of its own: it says so in its own memory, and strikes.
//!
//! **A call** is a member that is counted nowhere. The look before the sleep says *asleep* in its
//! word, which is also the last look ([`calls`](super::super::calls)), and whoever ends the call
//! strikes this participant's bell. That was read before the look, and is compared.
//!
//! **Stopped.** A set that is stopped in its sleep keeps nothing from anybody: it only stays
//! counted. One that is stopped between a token and the next look keeps that token until the
//! next one is posted, as every waiter does.

use core::cell::Cell;

use super::super::bell;
use super::super::event::{self, Event, Life, Wakes};
use super::super::kernel::{Kernel, Op, Refusal};
use super::super::set::SetMap;
use super::super::watch::Watch;
use super::Queue;
use super::registration::Timing;
use crate::sync::{AtomicU64, Ordering, fence};

/// So many operations the call needs for itself, and so many for a member, at most.
pub(crate) const OWN_OPS: usize = 6;
const OPS_OF_A_TOKEN: usize = 1;
const OPS_OF_A_BELL: usize = 3;

/// What a set keeps of one member, between waits too.
#[derive(Debug, Default)]
pub(crate) struct Mark {
    /// Whether the member's queue counts it.
    counted: Cell<bool>,
    /// What its semaphore was in the last reading.
    heard: Cell<u16>,
    /// Whether a token was taken since the last look.
    taken: Cell<bool>,
    /// Whether it could go on when it was last looked at.
    ready: Cell<bool>,
    /// Whether somebody else was counted there when it was last announced.
    company: Cell<bool>,
    /// Of one that is watched: whether it is armed, and has not called since.
    armed: Cell<bool>,
}

impl Mark {
    /// What a look has found.
    pub(crate) fn found(&self, found: Prospect) {
        let ready = found != Prospect::Nothing;
        self.ready.set(ready);
        if ready {
            self.disarm();
        }
    }

    /// Whether it is armed, and had nothing when it was last looked at.
    pub(crate) fn is_armed(&self) -> bool {
        self.armed.get()
    }

    /// Has it armed anew before the next sleep.
    pub(crate) fn disarm(&self) {
        self.armed.set(false);
    }

    /// Whether the member's queue counts it.
    pub(crate) fn is_counted(&self) -> bool {
        self.counted.get()
    }
}

/// What a look at a member finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prospect {
    Nothing,
    /// Its handle could go on.
    Ready,
    /// Its handle's next call says what is over.
    Over,
}

/// Where one member is counted, and what wakes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) queue: Queue<'a>,
    /// How many threads of its process wait there.
    pub(crate) record: &'a AtomicU64,
    /// Whose record that is.
    pub(crate) life: Life<'a>,
    pub(crate) mark: &'a Mark,
    /// Where it is [watched](super::super::watch), if that is its way: then it is not counted,
    /// and nothing of it is compared.
    pub(crate) watch: Option<Watch<'a>>,
}

impl<'a> Place<'a> {
    /// The event whose semaphore has a token that concerns this place.
    const fn token(&self) -> Option<Event<'a>> {
        match self.queue {
            Queue::Side(event) if matches!(event.wakes, Wakes::One) && self.watch.is_none() => {
                Some(event)
            }
            _ => None,
        }
    }

    /// The most operations that it adds to the call.
    pub(crate) const fn ops(&self) -> usize {
        match self.queue {
            _ if self.watch.is_some() => 0,
            Queue::Side(Event { wakes: Wakes::One, .. }) => OPS_OF_A_TOKEN,
            Queue::Side(Event { wakes: Wakes::All { .. }, .. }) => OPS_OF_A_BELL,
            Queue::All(_) => 0,
        }
    }

    /// Whether it has to be announced before the next look, if what was heard has `changed`: also
    /// if it is not counted, or a token is in the way.
    pub(crate) fn is_due(&self, changed: bool) -> bool {
        if self.watch.is_some() {
            return !self.mark.is_armed();
        }
        changed || !self.mark.is_counted() || self.token().is_some() && self.mark.heard.get() > 0
    }

    /// Notes what its semaphore is in this reading, and winds a bell back that is high. Says
    /// whether it was something else before.
    pub(crate) fn hear<K: Kernel>(&self, kernel: &K, values: &[u16]) -> bool {
        if self.watch.is_some() {
            return false;
        }
        let sem = self.queue.sem();
        let value = values.get(usize::from(sem)).copied().unwrap_or_default();
        if self.queue.is_bell() {
            // Refused, the sleep will say so.
            let _ = bell::wind(kernel, sem, value);
        }
        self.mark.heard.replace(value) != value
    }

    /// Has whoever publishes from the next fence on see a new word with this member in its
    /// count, and takes the token that was there in the last reading. Says whether that fence
    /// has to be the heavy one.
    pub(crate) fn announce<K: Kernel>(&self, kernel: &K) -> bool {
        let waiting = self.queue.waiting();
        if let Some(watch) = self.watch {
            let arms = !self.mark.armed.replace(true);
            if arms {
                watch.arm(waiting);
            }
            return arms;
        }
        let raised = !self.mark.counted.replace(true);
        if raised {
            event::raise(waiting, self.record);
        } else {
            event::renew(waiting);
        }
        self.mark.company.set(event::count(waiting) > 1);
        if self.clear(kernel) {
            event::renew(waiting);
        }
        raised
    }

    /// Takes the token that was there in the last reading.
    fn clear<K: Kernel>(&self, kernel: &K) -> bool {
        let Some(Event { sem, .. }) = self.token() else { return false };
        let taken = match i16::try_from(self.mark.heard.get()) {
            // Refused, the sleep will say so.
            Ok(tokens @ 1..) => kernel.semop(&[Op::take(sem, tokens).no_wait()], None).is_ok(),
            _ => false,
        };
        if taken {
            self.mark.taken.set(true);
        }
        taken
    }

    /// What was found when it was looked at. Passes on a token that was taken, if there is
    /// something that others can use, or have to hear.
    pub(crate) fn answer<K: Kernel>(&self, kernel: &K, found: Prospect) -> Result<(), Refusal> {
        self.mark.found(found);
        if !self.mark.taken.replace(false) {
            return Ok(());
        }
        match (found, self.token()) {
            (Prospect::Ready, Some(event)) => {
                event::pass_on(kernel, event, self.mark.counted.get())
            }
            (Prospect::Over, Some(event)) => {
                // What ends this end's waiting may end that of all others too. A token that
                // stays is not to come back here.
                self.let_go();
                event::rouse(kernel, event, || false)
            }
            _ => Ok(()),
        }
    }

    /// Adds what fails as soon as its semaphore is not what was heard.
    pub(crate) fn compare(&self, ops: &mut Vec<Op>) {
        match self.queue {
            // The own bell is compared for all.
            _ if self.watch.is_some() => {}
            Queue::Side(Event { sem, wakes: Wakes::One, .. }) => is_still(ops, sem, 0),
            Queue::Side(Event { sem, .. }) => is_still(ops, sem, self.mark.heard.get()),
            // The wake-all semaphore is compared for all.
            Queue::All(_) => {}
        }
    }

    /// Is not counted any more.
    pub(crate) fn let_go(&self) {
        if self.mark.counted.replace(false) {
            event::lower(self.queue.waiting(), self.record, self.life);
        }
    }
}

/// Sleeps while what `ops` compare and the wake-all semaphore is what it was. Appends its own.
pub(crate) fn rest<K: Kernel>(
    kernel: &K,
    ops: &mut Vec<Op>,
    wake_all: u16,
    until: Option<K::Deadline>,
) -> Slept {
    match bell::wait_also(kernel, ops, SetMap::WAKE_ALL, wake_all, until) {
        Ok(()) | Err(Refusal::WouldBlock) => Slept::Changed,
        Err(Refusal::TimedOut) => Slept::Late,
        Err(refusal) => Slept::Refused(refusal),
    }
}

/// Adds what fails as soon as `sem` is not this.
pub(crate) fn is_still(ops: &mut Vec<Op>, sem: u16, value: u16) {
    // As high as it gets, and wound back by now: then this fails, too.
    let value = i16::try_from(value).unwrap_or(i16::MAX);
    // Taking nothing would wait for zero.
    if value > 0 {
        ops.push(Op::take(sem, value).no_wait());
    }
    ops.push(Op::zero(sem).no_wait());
    if value > 0 {
        ops.push(Op::add(sem, value));
    }
}

/// What a set keeps from one wait to the next.
#[derive(Debug)]
pub(crate) struct Kept<D: Copy> {
    timing: Timing<D>,
    /// Whether a member may be counted.
    counted: bool,
    /// What the wake-all semaphore was when the dead were last looked for.
    wake_all: u16,
    /// The bell of this participant, and what it was then.
    own: Option<(u16, u16)>,
    values: Vec<u16>,
    ops: Vec<Op>,
}

impl<D: Copy + Ord> Kept<D> {
    /// `own`: the bell that this participant alone is woken by, if it has one.
    pub(crate) const fn new(own: Option<u16>) -> Self {
        let own = match own {
            Some(sem) => Some((sem, 0)),
            None => None,
        };
        let timing = Timing::new();
        Self { timing, counted: false, wake_all: 0, own, values: Vec::new(), ops: Vec::new() }
    }

    /// Something was there without a sleep, or there will be none: no member is counted any
    /// more.
    pub(crate) fn let_go<'a>(&mut self, places: impl IntoIterator<Item = Place<'a>>) {
        if core::mem::take(&mut self.counted) {
            places.into_iter().for_each(|place| place.let_go());
        }
    }
}

/// The members of a set, as their owner has them.
pub(crate) trait Members {
    type Fault;

    /// How many there are.
    fn count(&self) -> usize;

    /// Where this one is counted or watched. `None`: nowhere. Then what wakes it is the bell of
    /// this participant, and its look announces the sleep.
    fn place(&self, at: usize) -> Option<Place<'_>>;

    /// Whether its handle could go on. Consumes nothing.
    fn look(&mut self, at: usize) -> Prospect;

    /// Looks at those that are likely to go on, and says so in their marks; whether one could.
    fn glance(&mut self) -> bool {
        false
    }

    /// Whether the owner has a reason of its own to end the wait.
    fn is_called(&mut self) -> bool;

    /// Looks for deaths, and sweeps the dead. What all semaphores were in that look.
    ///
    /// # Errors
    /// This process cannot see who is dead.
    fn listen(&mut self, values: &mut Vec<u16>) -> Result<(), Self::Fault>;

    /// A token that was another's could not be passed on.
    fn owes(&mut self, at: usize, refusal: Refusal);

    /// What the caller is told.
    fn fault(&self, refusal: Refusal) -> Self::Fault;
}

/// How a wait has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Watched {
    /// Some members could go on, or the owner was called.
    Ready,
    TimedOut,
}

/// What has ended a sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slept {
    /// One of the semaphores is not what it was.
    Changed,
    /// The recheck is due.
    Seen,
    /// The deadline has passed.
    Late,
    /// The kernel has refused the sleep: the set is gone, or worse.
    Refused(Refusal),
}

/// One wait for any member of a set.
///
/// [`block`](Self::block) does all of it. A driver that has its own order of the steps calls
/// [`listen`](Self::listen), [`register`](Self::register), [`look`](Self::look) and
/// [`sleep`](Self::sleep) in turn, and [`leave`](Self::leave) at the end.
pub(crate) struct Vigil<'a, K: Kernel> {
    kernel: &'a K,
    kept: &'a mut Kept<K::Deadline>,
    until: Option<K::Deadline>,
    /// Whether members in vain stay counted when it ends.
    stays: bool,
    recheck: Option<K::Deadline>,
}

impl<'a, K: Kernel> Vigil<'a, K> {
    /// The caller's process holds a credit on the semaphore of each member, and on the
    /// wake-all semaphore.
    pub(crate) fn new(
        kernel: &'a K,
        kept: &'a mut Kept<K::Deadline>,
        until: Option<K::Deadline>,
    ) -> Self {
        let stays = kept.timing.comes_at_once(kernel);
        Self { kernel, kept, until, stays, recheck: None }
    }

    /// Waits until a member could go on, the owner is called or the deadline has passed.
    pub(crate) fn block<M: Members>(&mut self, all: &mut M) -> Result<Watched, M::Fault> {
        loop {
            if let Err(fault) = self.listen(all) {
                self.leave(all, false);
                return Err(fault);
            }
            self.register(all);
            loop {
                if self.look(all) {
                    self.leave(all, false);
                    return Ok(Watched::Ready);
                }
                match self.sleep(all) {
                    Slept::Changed => break,
                    Slept::Seen => {}
                    Slept::Late => {
                        let ready = self.look(all);
                        self.leave(all, false);
                        return Ok(if ready { Watched::Ready } else { Watched::TimedOut });
                    }
                    Slept::Refused(refusal) => {
                        self.leave(all, false);
                        return Err(all.fault(refusal));
                    }
                }
            }
            // No token was taken since the last look, so none is to be passed on.
            if all.glance() || self.look(all) {
                self.kept.timing.woken(self.kernel);
                self.leave(all, self.stays);
                return Ok(Watched::Ready);
            }
        }
    }

    /// Looks for deaths, and reads what all semaphores are.
    pub(crate) fn listen<M: Members>(&mut self, all: &mut M) -> Result<(), M::Fault> {
        let Kept { values, wake_all, own, .. } = &mut *self.kept;
        all.listen(values)?;
        let value = |sem: u16| values.get(usize::from(sem)).copied().unwrap_or_default();
        *wake_all = value(SetMap::WAKE_ALL);
        if let Some((sem, heard)) = own {
            *heard = value(*sem);
            // Refused, the sleep will say so.
            let _ = bell::wind(self.kernel, *sem, *heard);
        }
        for place in (0..all.count()).filter_map(|at| all.place(at)) {
            place.hear(self.kernel, values);
        }
        Ok(())
    }

    /// Announces all members, and takes what tokens are in the way: from here on, what comes is
    /// found by a look, or ends a sleep.
    pub(crate) fn register<M: Members>(&mut self, all: &M) {
        let mut raised = false;
        for place in (0..all.count()).filter_map(|at| all.place(at)) {
            raised |= place.announce(self.kernel);
            self.kept.counted |= place.mark.is_counted();
        }
        if raised {
            // Edge W.
            self.kernel.heavy_fence();
            self.kept.timing.unseen_until_soon(self.kernel);
        } else {
            // Edge V.
            fence(Ordering::SeqCst);
        }
    }

    /// Looks at all members, and passes on what tokens were taken; says whether the wait is
    /// over.
    pub(crate) fn look<M: Members>(&mut self, all: &mut M) -> bool {
        // First the time, then the look: it may be as good as a recheck.
        self.recheck = self.kept.timing.recheck(self.kernel, self.until);
        let mut over = all.is_called();
        for at in 0..all.count() {
            let found = all.look(at);
            over |= found != Prospect::Nothing;
            if let Some(Err(refusal)) = all.place(at).map(|place| place.answer(self.kernel, found))
                && refusal != Refusal::Removed
            {
                all.owes(at, refusal);
            }
        }
        over
    }

    /// Sleeps until something changes, the recheck or the deadline. Only after a look that
    /// found nothing, which came after [`register`](Self::register).
    pub(crate) fn sleep<M: Members>(&mut self, all: &M) -> Slept {
        let Kept { ops, wake_all, own, .. } = &mut *self.kept;
        ops.clear();
        for place in (0..all.count()).filter_map(|at| all.place(at)) {
            place.compare(ops);
        }
        if let Some((sem, heard)) = *own {
            is_still(ops, sem, heard);
        }
        match rest(self.kernel, ops, *wake_all, self.recheck.or(self.until)) {
            Slept::Late if self.recheck.is_some() => {
                self.kept.timing.seen();
                Slept::Seen
            }
            slept => slept,
        }
    }

    /// Ends the wait. Members that had nothing, and beside which nobody else waited, stay
    /// counted if this one `stays`.
    pub(crate) fn leave<M: Members>(&mut self, all: &M, stays: bool) {
        let mut counted = false;
        for place in (0..all.count()).filter_map(|at| all.place(at)) {
            let Mark { ready, company, .. } = place.mark;
            if !stays || ready.get() || company.get() {
                place.let_go();
            } else {
                counted |= place.mark.is_counted();
            }
        }
        self.kept.counted = counted;
    }
}
