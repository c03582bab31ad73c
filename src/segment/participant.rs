//! This process in a segment: joining, looking, leaving.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::debris;
use super::directory::{self, Spec};
use super::enlist::{Busy, Counts};
use super::layout::flags;
use super::mapped::Mapped;
use super::serve::Desk;
use super::view::Block;
use crate::error::{ChannelError, Fault, OpenError};
use crate::ring::kernel::{Kernel, Refusal};
use crate::ring::set::SetMap;
use crate::ring::table::{self, Member, Scratch};
use crate::ring::{credit, gong, lease, obituary};
use crate::sync::Ordering;
use crate::sys;
use crate::sys::proc::ForkGuard;

/// So many sleepers the kernel asks in less time than a look takes.
const FEW: usize = 32;

/// Which end of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Sender,
    Receiver,
}

impl Side {
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::Sender => Self::Receiver,
            Self::Receiver => Self::Sender,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sender => "sender",
            Self::Receiver => "receiver",
        }
    }
}

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
pub(crate) struct Participant {
    pub(super) mapped: Mapped,
    pub(super) me: Member,
    pub(super) guard: ForkGuard,
    /// How long to wait for the lease.
    timeout: Duration,
    /// By channel. The lock covers the counts and the credits behind them.
    pub(super) counts: Mutex<Vec<Counts>>,
    scratch: Mutex<Scratch>,
    /// Which senders of this process are sending just now.
    pub(super) busy: Mutex<Vec<Arc<Busy>>>,
    pub(crate) desk: Desk,
    /// Until it has left.
    _own: sys::Using,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Participant {
    /// Joins. The caller holds the lease, and gives it back.
    pub(crate) fn join(mapped: Mapped, timeout: Duration) -> Result<Arc<Self>, OpenError> {
        let guard = ForkGuard::new()?;
        let own = debris::OWN.enter(mapped.generation);
        let mut scratch = Scratch::new(mapped.plan.map);
        let unusable = |fault| match fault {
            Fault::System(error) => OpenError::System(error),
            Fault::Closed => OpenError::Unstable { name: mapped.name.clone() },
            fault => OpenError::Damaged { name: mapped.name.clone(), what: fault.to_string() },
        };
        // Before the look, which may write of the dead and be killed over it.
        credit::arm(&mapped.bells, SetMap::GONG)
            .map_err(|refusal| unusable(mapped.refused(refusal)))?;
        let me = Self::take_slot(&mapped, &mut scratch).map_err(unusable).and_then(|taken| {
            taken.ok_or_else(|| OpenError::TableFull {
                name: mapped.name.clone(),
                participants: mapped.plan.map.participants,
            })
        });
        let me = me.inspect_err(|_| {
            // If the set is gone, so is the credit.
            let _ = mapped.bells.semop(&[gong::LEAVE], None);
        })?;
        let counts = vec![Counts::default(); usize::from(mapped.plan.map.channels)];
        // Before anybody can have asked this life for anything it is too early
        // to look, and later is not too late: who asks calls again.
        let desk = Desk::new(mapped.memory.header().calls.load(Ordering::Acquire));
        Ok(Arc::new(Self {
            mapped,
            me,
            guard,
            timeout,
            counts: Mutex::new(counts),
            scratch: Mutex::new(scratch),
            busy: Mutex::default(),
            desk,
            _own: own,
        }))
    }

    /// Takes a slot, if there is a free one when the dead have been swept, and
    /// tells everybody.
    fn take_slot(mapped: &Mapped, scratch: &mut Scratch) -> Result<Option<Member>, Fault> {
        mapped.look(SetMap::LEASE, scratch)?;
        let introduce = |member: Member| {
            let pid = sys::proc::pid();
            let info = mapped.info(member.id);
            info.pid.store(u64::from(pid), Ordering::Relaxed);
            let start = sys::proc::start_time(pid).unwrap_or(0);
            info.start_time.store(start, Ordering::Relaxed);
            let namespace = sys::proc::pid_namespace().unwrap_or(0);
            info.pid_namespace.store(namespace, Ordering::Relaxed);
            info.uid.store(u64::from(sys::proc::uid()), Ordering::Relaxed);
            obituary::begin(&info.end, member);
        };
        let refused = |refusal| mapped.refused(refusal);
        let joined = table::join(&mapped.bells, mapped, introduce).map_err(refused)?;
        if let Some(me) = joined {
            mapped.record_joined(me);
            gong::strike(&mapped.bells).map_err(refused)?;
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

    /// Looks for the dead and sweeps them; says whether there were any.
    pub(crate) fn look(&self) -> Result<bool, Fault> {
        self.mapped.look(self.mapped.plan.map.liveness(self.me.id), &mut lock(&self.scratch))
    }

    /// Looks, and says up to which stroke of the gong everything that is
    /// known is in the journal.
    pub(crate) fn listen(&self) -> Result<u16, Fault> {
        let mut scratch = lock(&self.scratch);
        self.mapped.look(self.mapped.plan.map.liveness(self.me.id), &mut scratch)?;
        Ok(scratch.heard())
    }

    /// The same, if so few live that a sleeper who compares it costs the others
    /// nothing.
    pub(crate) fn overhear(&self) -> Result<Option<u16>, Fault> {
        let mut scratch = lock(&self.scratch);
        self.mapped.look(self.mapped.plan.map.liveness(self.me.id), &mut scratch)?;
        let few = scratch.living(self.mapped.plan.map) <= FEW;
        Ok(few.then(|| scratch.heard()))
    }

    /// Wakes everybody who listens.
    pub(crate) fn strike(&self) {
        if self.barred().is_none() {
            // If the set is gone, nobody sleeps on it.
            let _ = gong::strike(&self.mapped.bells);
        }
    }

    /// Sleeps until the next stroke after `heard`, or the deadline.
    pub(crate) fn park(&self, heard: u16, until: Option<Instant>) -> Result<(), Fault> {
        gong::park(&self.mapped.bells, heard, until).map_err(|r| self.mapped.refused(r))
    }

    /// Waits until nobody joins any more, or the deadline, and closes what
    /// those were writing who died over it.
    pub(crate) fn close_leaseholders_records(&self, until: Option<Instant>) -> Result<(), Fault> {
        let bells = &self.mapped.bells;
        let refused = |refusal| self.mapped.refused(refusal);
        match lease::acquire(bells, until) {
            Err(Refusal::TimedOut) => return Ok(()),
            taken => taken.map_err(refused)?,
        }
        let closed = self.mapped.close_leaseholders_records();
        let struck = if closed { gong::strike(bells) } else { Ok(()) };
        lease::release(bells).and(struck).map_err(refused)
    }

    /// Whether the set is still the one that was joined, and this process in
    /// it: it may have been removed, or this process may have left its IPC
    /// namespace, where the same id is somebody else's.
    pub(crate) fn is_known(&self) -> bool {
        let map = self.mapped.plan.map;
        let mut values = vec![0; usize::from(map.count())];
        self.mapped.bells.values(&mut values).is_ok()
            && SetMap::generation(&values) == Some(self.mapped.generation)
            && values.get(usize::from(map.liveness(self.me.id))) == Some(&1)
    }

    /// Why nothing can be done in this segment any more, if so.
    pub(crate) fn barred(&self) -> Option<Fault> {
        if self.guard.in_child() {
            Some(Fault::Forked)
        } else if self.mapped.closed() {
            Some(Fault::Closed)
        } else {
            None
        }
    }

    /// Opens a channel, or makes it.
    pub(crate) fn channel(&self, spec: &Spec) -> Result<Block, ChannelError> {
        if let Some(fault) = self.barred() {
            return Err(fault.into());
        }
        self.leased(|mapped| directory::open_or_make(mapped, spec)).map_err(
            |refused| match refused {
                Unleased::Fault(fault) => fault.into(),
                Unleased::Busy { pid, waited } => {
                    ChannelError::Busy { segment: self.mapped.name.clone(), pid, waited }
                }
            },
        )?
    }

    /// Does something that only one may do at a time.
    pub(crate) fn leased<R>(&self, work: impl FnOnce(&Mapped) -> R) -> Result<R, Unleased> {
        let bells = &self.mapped.bells;
        match lease::acquire(bells, Some(Instant::now() + self.timeout)) {
            Ok(()) => {}
            Err(Refusal::TimedOut) => {
                let pid = bells.set().last_pid(SetMap::LEASE).unwrap_or(0);
                return Err(Unleased::Busy { pid, waited: self.timeout });
            }
            Err(refusal) => return Err(Unleased::Fault(self.mapped.refused(refusal))),
        }
        let done = work(&self.mapped);
        let _ = lease::release(bells);
        Ok(done)
    }

    /// Leaves; the last one out of a transient segment removes it.
    fn leave(&self) {
        if !self.is_known() {
            return;
        }
        let bells = &self.mapped.bells;
        let transient = self.mapped.flags & flags::TRANSIENT != 0;
        if transient && lease::acquire(bells, Some(Instant::now() + self.timeout)).is_ok() {
            let _ = self.look();
            if self.mapped.living().all(|member| member == self.me) {
                let _ = self.mapped.remove();
                return;
            }
            self.mapped.record_left(self.me);
            let _ = table::leave(bells, &self.mapped, self.me);
            let _ = lease::release(bells);
        } else {
            self.mapped.record_left(self.me);
            let _ = table::leave(bells, &self.mapped, self.me);
        }
    }
}

impl Drop for Participant {
    fn drop(&mut self) {
        if self.guard.in_child() {
            self.mapped.memory.keep();
        } else {
            self.leave();
        }
    }
}
