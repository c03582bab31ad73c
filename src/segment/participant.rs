//! This process in a segment: joining, looking, leaving.

use std::any::Any;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::commands::desk::Desk;
use super::ears::Ears;
use super::endpoints::Endpoints;
use super::mapped::Mapped;
use super::outside::holders::OWN;
use super::tickets::Tickets;
use super::trace::{self, Note, What};
use crate::error::{Fault, OpenError};
use crate::kinds::table::RingKind;
use crate::ring::kernel::{Kernel, Refusal};
use crate::ring::set::SetMap;
use crate::ring::table::{self, Member, Scratch};
use crate::ring::wait::Heard;
use crate::ring::{bell, credit, death_record, joint, lease, wake_all};
use crate::storage::layout::{JOINT_SENDS, flags};
use crate::sync::Ordering;
use crate::sys;
use crate::sys::proc::ForkGuard;
use crate::wait::Interruptible;

/// So many sleepers the kernel asks in less time than a look takes.
const FEW: usize = 32;

/// What a layer above keeps for this process in this segment, as long as something of that
/// layer does.
pub(crate) type Shared = Mutex<Vec<Weak<dyn Any + Send + Sync>>>;

/// Why the lease was not to be had.
#[derive(Debug)]
pub(crate) enum Unleased {
    /// This process has held it all the time.
    Busy {
        pid: i32,
        waited: Duration,
    },
    Fault(Fault),
}

/// One process's membership of one segment.
///
/// ```text
///  join ──▶ enlist, per channel: credits, role, row ──▶ withdraw: row, ring,
///                                                       role, credits ──▶ leave
/// ```
#[derive(Debug)]
// More fields than 12: each of them is of this process alone, and has a lock of its own or none.
pub(crate) struct Participant {
    pub(super) mapped: Mapped,
    pub(super) me: Member,
    /// Told from every other that this process has or had.
    pub(super) membership: usize,
    pub(super) guard: ForkGuard,
    /// Whether this process has left, as well as it could.
    left: OnceLock<()>,
    /// How long to wait for the lease.
    timeout: Duration,
    /// The lock covers the counts and the credits behind them.
    pub(super) endpoints: Mutex<Endpoints>,
    scratch: Mutex<Scratch>,
    pub(crate) desk: Desk,
    pub(crate) tickets: Tickets,
    /// What the handles of this process share, as long as they do.
    pub(crate) shared: Shared,
    pub(super) ears: Ears,
    /// Until it has left.
    _own: sys::Using,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Participant {
    /// Joins. The caller holds the lease, and gives it back.
    pub(crate) fn join(mut mapped: Mapped, timeout: Duration) -> Result<Arc<Self>, OpenError> {
        let guard = ForkGuard::new()?;
        // Nobody else has it yet.
        if let Some(memory) = Arc::get_mut(&mut mapped.memory) {
            memory.guard(guard);
        }
        let own = OWN.enter(mapped.generation);
        let mut scratch = Scratch::new(mapped.plan.map);
        let unusable = |fault| match fault {
            Fault::System(error) => OpenError::System(error),
            Fault::Closed => OpenError::Unstable { name: mapped.name.clone() },
            fault => OpenError::Damaged { name: mapped.name.clone(), what: fault.to_string() },
        };
        // Before the look, which may write of the dead and be killed over it.
        credit::arm(&mapped.semaphores, SetMap::WAKE_ALL)
            .map_err(|refusal| unusable(mapped.refused(refusal)))?;
        let me = Self::take_slot(&mapped, &mut scratch).map_err(unusable).and_then(|taken| {
            taken.ok_or_else(|| OpenError::TableFull {
                name: mapped.name.clone(),
                participants: mapped.plan.map.participants,
            })
        });
        let me = me.inspect_err(|_| {
            // If the set is gone, so is the credit.
            let _ = mapped.semaphores.semop(&[wake_all::LEAVE], None);
        })?;
        let endpoints = Endpoints::none(mapped.plan.map.channels);
        // Before anybody can have asked this life for anything it is too early
        // to look, and later is not too late: who asks calls again.
        let desk = Desk::new(mapped.memory.header().calls.load(Ordering::Acquire));
        Ok(Arc::new(Self {
            mapped,
            me,
            membership: sys::proc::unlike_any(),
            guard,
            left: OnceLock::new(),
            timeout,
            endpoints: Mutex::new(endpoints),
            scratch: Mutex::new(scratch),
            desk,
            tickets: Tickets::default(),
            shared: Shared::default(),
            ears: Ears::default(),
            _own: own,
        }))
    }

    /// Takes a slot, if there is a free one when the dead have been swept, and
    /// tells everybody.
    fn take_slot(mapped: &Mapped, scratch: &mut Scratch) -> Result<Option<Member>, Fault> {
        mapped.scan(SetMap::LEASE, scratch)?;
        let introduce = |member: Member| {
            let pid = sys::proc::pid();
            let info = mapped.info(member.id);
            info.pid.store(u64::from(pid), Ordering::Relaxed);
            let start = sys::proc::start_time(pid).unwrap_or(0);
            info.start_time.store(start, Ordering::Relaxed);
            let namespace = sys::proc::pid_namespace().unwrap_or(0);
            info.pid_namespace.store(namespace, Ordering::Relaxed);
            info.uid.store(u64::from(sys::proc::uid()), Ordering::Relaxed);
            // The slot's last life may have been of a later build.
            info.kinds.store(RingKind::LATER | JOINT_SENDS, Ordering::Relaxed);
            for word in info.called.iter().chain(&info.reserved) {
                word.store(0, Ordering::Relaxed);
            }
            joint::begin(&info.committed);
            death_record::begin(&info.end, member);
        };
        let refused = |refusal| mapped.refused(refusal);
        let joined = table::join(&mapped.semaphores, mapped, introduce).map_err(refused)?;
        if let Some(me) = joined {
            mapped.record_joined(me);
            trace::note(|| Note::of(mapped, me, What::Joined));
            wake_all::strike(&mapped.semaphores).map_err(refused)?;
        }
        Ok(joined)
    }

    pub(crate) const fn mapped(&self) -> &Mapped {
        &self.mapped
    }

    pub(crate) const fn me(&self) -> Member {
        self.me
    }

    pub(crate) const fn guard(&self) -> &ForkGuard {
        &self.guard
    }

    /// Looks for the dead and sweeps them; says whether there were any, and what `then` makes
    /// of the look.
    fn look<R>(&self, then: impl FnOnce(&Scratch) -> R) -> Result<(bool, R), Fault> {
        let mut scratch = lock(&self.scratch);
        let swept = self.mapped.scan(self.mapped.plan.map.liveness(self.me.id), &mut scratch);
        let seen = swept.map(|swept| (swept, then(&scratch)));
        drop(scratch);
        trace::tell();
        seen
    }

    /// Looks for the dead and sweeps them; says whether there were any.
    pub(crate) fn scan(&self) -> Result<bool, Fault> {
        self.look(|_| ()).map(|(swept, ())| swept)
    }

    /// Looks, and says up to which stroke of the wake-all semaphore everything that is
    /// known is in the journal.
    pub(crate) fn listen(&self) -> Result<u16, Fault> {
        self.look(|scratch| scratch.heard(SetMap::WAKE_ALL)).map(|(_, heard)| heard)
    }

    /// Looks, and says what `sem` was before, for one who is to sleep over it; and the
    /// wake-all semaphore, if so few live that a sleeper who compares it costs the others
    /// nothing, or if it `must`.
    pub(crate) fn scan_for_sleeper(&self, sem: u16, must: bool) -> Result<Heard, Fault> {
        let heard = |scratch: &Scratch| {
            let compares = must || scratch.living(self.mapped.plan.map) <= FEW;
            let wake_all = compares.then(|| scratch.heard(SetMap::WAKE_ALL));
            Heard { own: scratch.heard(sem), wake_all }
        };
        self.look(heard).map(|(_, heard)| heard)
    }

    /// Looks, and says what all semaphores were before, for one who is to sleep over several.
    /// What it says of the wake-all semaphore is as for [`listen`](Self::listen).
    pub(crate) fn listen_to_all(&self, values: &mut Vec<u16>) -> Result<(), Fault> {
        self.look(|scratch| scratch.copy_into(values)).map(drop)
    }

    /// The same for one who is to watch. Also says whether somebody has come, gone or died, or
    /// the state of the segment has been changed, since the listening that has left `known`.
    pub(crate) fn listen_for_changes(
        &self,
        values: &mut Vec<u16>,
        known: &mut Vec<u64>,
    ) -> Result<bool, Fault> {
        let changed = |scratch: &Scratch| {
            scratch.copy_into(values);
            // Acquire: what was changed before it has grown.
            let calls = self.mapped.memory.header().calls.load(Ordering::Acquire);
            let same = known.split_last() == Some((&calls, scratch.table()));
            if !same {
                known.clear();
                known.extend_from_slice(scratch.table());
                known.push(calls);
            }
            !same
        };
        self.look(changed).map(|(swept, changed)| swept || changed)
    }

    /// The bell that wakes this participant alone, if the segment has such.
    pub(crate) const fn own_bell(&self) -> Option<u16> {
        self.mapped.plan.map.own_bell(self.me.id)
    }

    /// Wakes the threads of this process that sleep over its own bell; where there is none,
    /// everybody who listens.
    pub(crate) fn call_own(&self) -> Result<(), Fault> {
        let Some(own) = self.own_bell() else { return self.strike() };
        match self.barred() {
            None => self.unless_gone(bell::strike(&self.mapped.semaphores, own)),
            Some(Fault::Forked) => Err(Fault::Forked),
            // As for `strike`.
            Some(_) => Ok(()),
        }
    }

    /// Wakes everybody who listens.
    pub(crate) fn strike(&self) -> Result<(), Fault> {
        match self.barred() {
            None => self.unless_gone(wake_all::strike(&self.mapped.semaphores)),
            Some(Fault::Forked) => Err(Fault::Forked),
            // Nobody sleeps on a set that is gone.
            Some(_) => Ok(()),
        }
    }

    /// What a refusal of something means that is over with the set: a set that is
    /// gone has woken everybody, and undone what it had to.
    pub(super) fn unless_gone(&self, done: Result<(), Refusal>) -> Result<(), Fault> {
        match done {
            Ok(()) => Ok(()),
            Err(refusal) => match self.mapped.refused(refusal) {
                Fault::Closed => Ok(()),
                fault => Err(fault),
            },
        }
    }

    /// Sleeps until the next stroke after `heard`, or the deadline.
    pub(crate) fn park(&self, heard: u16, until: Option<Instant>) -> Result<(), Fault> {
        let kernel = Interruptible::new(&self.mapped.semaphores, false);
        wake_all::park(&kernel, heard, until).map_err(|r| self.mapped.refused(r))
    }

    /// Waits until nobody joins any more, or the deadline, and closes what
    /// those were writing who died over it.
    pub(crate) fn close_leaseholders_records(&self, until: Option<Instant>) -> Result<(), Fault> {
        let semaphores = &self.mapped.semaphores;
        let refused = |refusal| self.mapped.refused(refusal);
        match lease::acquire(semaphores, until) {
            Err(Refusal::TimedOut) => return Ok(()),
            taken => taken.map_err(refused)?,
        }
        let closed = self.mapped.close_leaseholders_records();
        let struck = if closed { wake_all::strike(semaphores) } else { Ok(()) };
        lease::release(semaphores).and(struck).map_err(refused)
    }

    /// Whether the set is still the one that was joined, and this process in
    /// it: it may have been removed, or this process may have left its IPC
    /// namespace, where the same id is somebody else's.
    ///
    /// # Errors
    /// The kernel does not say, to a process that has lost the right to read the
    /// set.
    fn known(&self) -> Result<bool, Fault> {
        let map = self.mapped.plan.map;
        let mut values = vec![0; usize::from(map.count())];
        match self.mapped.semaphores.values(&mut values) {
            Ok(()) => Ok(SetMap::generation(&values) == Some(self.mapped.generation)
                && values.get(usize::from(map.liveness(self.me.id))) == Some(&1)),
            Err(refusal) => self.unless_gone(Err(refusal)).map(|()| false),
        }
    }

    /// Whether this process is [known](Self::known), and for sure; or, where the
    /// kernel does not say, whether nobody has found it dead.
    pub(super) fn is_there(&self) -> Presence {
        match self.known() {
            Ok(true) => Presence::Sure,
            Err(_) if self.me.is_live(&self.mapped) => Presence::Unsaid,
            _ => Presence::Gone,
        }
    }

    pub(crate) fn is_known(&self) -> bool {
        self.is_there() != Presence::Gone
    }

    /// Why nothing can be done in this segment any more, if so.
    pub(crate) fn barred(&self) -> Option<Fault> {
        if self.guard.in_child() { Some(Fault::Forked) } else { self.mapped.over() }
    }

    /// Does something that only one may do at a time.
    pub(crate) fn leased<R>(&self, work: impl FnOnce(&Mapped) -> R) -> Result<R, Unleased> {
        let semaphores = &self.mapped.semaphores;
        match lease::acquire(semaphores, Instant::now().checked_add(self.timeout)) {
            Ok(()) => {}
            Err(Refusal::TimedOut) => {
                let pid = semaphores.set().last_pid(SetMap::LEASE).unwrap_or(0);
                return Err(Unleased::Busy { pid, waited: self.timeout });
            }
            Err(refusal) => return Err(Unleased::Fault(self.mapped.refused(refusal))),
        }
        let done = work(&self.mapped);
        // If this fails, others wait for the lease until this process ends.
        self.unless_gone(lease::release(semaphores)).map_err(Unleased::Fault)?;
        Ok(done)
    }

    /// Lets go of the participant. With the last one that does, the process
    /// leaves, and says what the kernel refuses of that.
    pub(crate) fn let_go(this: Arc<Self>) -> Result<(), Fault> {
        if this.guard.in_child() {
            return Err(Fault::Forked);
        }
        Arc::into_inner(this).map_or(Ok(()), |last| last.leave())
    }

    /// Leaves, once; the last one out of a transient segment removes it. Does as
    /// much of it as it can, and returns the first thing that it cannot.
    fn leave(&self) -> Result<(), Fault> {
        if self.left.set(()).is_err() {
            return Ok(());
        }
        let presence = self.is_there();
        if presence == Presence::Gone {
            return Ok(());
        }
        trace::note(|| Note::of(&self.mapped, self.me, What::Left));
        let left = self.leave_at_last(presence);
        trace::tell();
        left
    }

    fn leave_at_last(&self, presence: Presence) -> Result<(), Fault> {
        let semaphores = &self.mapped.semaphores;
        // Where nobody says whose the set is, it is not to be removed.
        let transient = presence == Presence::Sure && self.mapped.flags & flags::TRANSIENT != 0;
        let (mut told, mut leased) = (Ok(()), false);
        if transient {
            match lease::acquire(semaphores, Instant::now().checked_add(self.timeout)) {
                Ok(()) => leased = true,
                Err(Refusal::TimedOut) => {}
                refused => told = self.unless_gone(refused),
            }
        }
        if leased {
            told = told.and(self.scan().map(drop));
            if self.mapped.living().all(|member| member == self.me) {
                match self.mapped.remove() {
                    Ok(()) => return Ok(()),
                    Err(error) => told = told.and(Err(error.into())),
                }
            }
        }
        self.mapped.record_left(self.me);
        let left = self.unless_gone(table::leave(semaphores, &self.mapped, self.me));
        let given_back = if leased { self.unless_gone(lease::release(semaphores)) } else { Ok(()) };
        told.and(left).and(given_back)
    }
}

/// Whether this process is a participant, as far as it can be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    Sure,
    /// The kernel does not say, and nobody has found that it is not.
    Unsaid,
    Gone,
}

impl Drop for Participant {
    fn drop(&mut self) {
        if !self.guard.in_child() {
            // Nobody is there to be told: see `Segment::leave`.
            let _ = self.leave();
        }
    }
}
