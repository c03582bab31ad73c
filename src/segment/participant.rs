//! This process in a segment: its slot, its credits, its endpoints.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::directory::{self, Spec};
use super::layout::flags;
use super::mapped::Mapped;
use super::view::Block;
use crate::error::{ChannelError, Fault, OpenError};
use crate::ring::event::{Event, Memo};
use crate::ring::kernel::{Kernel, Refusal};
use crate::ring::set::SetMap;
use crate::ring::table::{self, Member, Scratch};
use crate::ring::{credit, event, gong, lease, obituary, role};
use crate::sync::Ordering;
use crate::sys;
use crate::sys::proc::ForkGuard;

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

/// How many endpoints this process has of one channel.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    senders: u16,
    receivers: u16,
}

/// One process's membership of one segment.
///
/// ```text
///  join ──▶ enlist, per channel: credits, role, row ──▶ withdraw: row, ring,
///                                                       role, credits ──▶ leave
/// ```
#[derive(Debug)]
pub(crate) struct Participant {
    mapped: Mapped,
    me: Member,
    guard: ForkGuard,
    /// How long to wait for the lease.
    timeout: Duration,
    /// By channel. The lock covers the counts and the credits behind them.
    counts: Mutex<Vec<Counts>>,
    scratch: Mutex<Scratch>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Participant {
    /// Joins. The caller holds the lease, and gives it back.
    pub(crate) fn join(mapped: Mapped, timeout: Duration) -> Result<Arc<Self>, OpenError> {
        let guard = ForkGuard::new()?;
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
        Ok(Arc::new(Self {
            mapped,
            me,
            guard,
            timeout,
            counts: Mutex::new(counts),
            scratch: Mutex::new(scratch),
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
        Ok(scratch.value(SetMap::GONG))
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
        match lease::acquire(&self.mapped.bells, Some(Instant::now() + self.timeout)) {
            Ok(()) => {}
            Err(Refusal::TimedOut) => {
                return Err(ChannelError::Busy {
                    segment: self.mapped.name.clone(),
                    pid: self.mapped.bells.set().last_pid(SetMap::LEASE).unwrap_or(0),
                    waited: self.timeout,
                });
            }
            Err(refusal) => return Err(self.mapped.refused(refusal).into()),
        }
        let opened = directory::open_or_make(&self.mapped, spec);
        let _ = lease::release(&self.mapped.bells);
        opened
    }

    /// Makes this process an endpoint of the channel, once more.
    pub(crate) fn enlist(&self, block: &Block, side: Side, name: &str) -> Result<(), ChannelError> {
        if let Some(fault) = self.barred() {
            return Err(fault.into());
        }
        let mut all = lock(&self.counts);
        let Some(counts) = all.get_mut(usize::from(block.index)) else {
            return Err(Fault::Closed.into());
        };
        let (mine, most) = match side {
            Side::Sender => (counts.senders, u16::MAX),
            Side::Receiver => (counts.receivers, u16::MAX),
        };
        if mine == most {
            let (channel, role) = (name.to_owned(), side.name());
            return Err(ChannelError::TooMany { channel, role, limit: most });
        }
        let first = counts.senders == 0 && counts.receivers == 0;
        if first {
            self.arm(block)?;
        }
        if block.kind.is_single()
            && let Err(error) = self.claim_role(block, side, name)
        {
            if first {
                self.disarm(block);
            }
            return Err(error);
        }
        match side {
            Side::Sender => counts.senders += 1,
            Side::Receiver => counts.receivers += 1,
        }
        let control = self.mapped.control(block);
        self.show(block, *counts);
        // After the row: who counts this one also finds it there.
        self.joined(block, side).fetch_add(1, Ordering::Release);
        control.changes.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Undoes one [`enlist`](Self::enlist). Does nothing in a forked child,
    /// nor where the kernel has undone it already.
    pub(crate) fn withdraw(&self, block: &Block, side: Side) {
        if self.guard.in_child() || !self.is_known() {
            return;
        }
        let mut all = lock(&self.counts);
        let Some(counts) = all.get_mut(usize::from(block.index)) else {
            return;
        };
        let (mine, other) = match side {
            Side::Sender => (&mut counts.senders, block.items(&self.mapped)),
            Side::Receiver => (&mut counts.receivers, block.space(&self.mapped)),
        };
        *mine = mine.saturating_sub(1);
        let last = *mine == 0;
        let counts = *counts;
        let control = self.mapped.control(block);
        self.show(block, counts);
        if block.kind.is_single() {
            role::release(self.role(block, side), self.me);
        }
        control.changes.fetch_add(1, Ordering::Release);
        if last {
            let waiting = match side {
                Side::Sender => &control.items_waiting,
                Side::Receiver => &control.space_waiting,
            };
            let event = Event { waiting, sem: other };
            // If the set is gone, so is everybody who could be told.
            let _ = event::notify(&self.mapped.bells, event, &mut Memo::default());
        }
        if counts.senders == 0 && counts.receivers == 0 {
            self.disarm(block);
        }
    }

    fn arm(&self, block: &Block) -> Result<(), Fault> {
        let (items, space) = (block.items(&self.mapped), block.space(&self.mapped));
        let bells = &self.mapped.bells;
        let row = self.mapped.row(block, self.me.id);
        let record = event::record(self.me.incarnation);
        row.items_record.store(record, Ordering::Release);
        row.space_record.store(record, Ordering::Release);
        // Before the first credit: the token that it leaves at a death is
        // taken care of by a sweep, which goes by the row.
        self.show(block, Counts::default());
        credit::arm(bells, items)
            .and_then(|()| {
                credit::arm(bells, space).inspect_err(|_| {
                    let _ = credit::disarm(bells, items);
                })
            })
            .map_err(|refusal| self.mapped.refused(refusal))
    }

    fn disarm(&self, block: &Block) {
        for sem in [block.items(&self.mapped), block.space(&self.mapped)] {
            // If the set is gone, so is the credit.
            let _ = credit::disarm(&self.mapped.bells, sem);
        }
    }

    fn show(&self, block: &Block, counts: Counts) {
        let word = super::layout::Row::pack(self.me, counts.senders, counts.receivers);
        // Release: who finds an endpoint there, finds its credits taken.
        self.mapped.row(block, self.me.id).endpoints.store(word, Ordering::Release);
    }

    fn role(&self, block: &Block, side: Side) -> &crate::sync::AtomicU64 {
        let control = self.mapped.control(block);
        match side {
            Side::Sender => &control.producer,
            Side::Receiver => &control.consumer,
        }
    }

    fn claim_role(&self, block: &Block, side: Side, name: &str) -> Result<(), ChannelError> {
        let word = self.role(block, side);
        let claim = || role::claim(word, &self.mapped, self.me);
        let holder = match claim() {
            Ok(()) => return Ok(()),
            Err(holder) => holder,
        };
        // It may have died without anybody having noticed or swept it yet.
        self.look()?;
        if claim().is_ok() {
            return Ok(());
        }
        Err(ChannelError::RoleTaken {
            channel: name.to_owned(),
            role: side.name(),
            pid: self.mapped.info(holder.id).pid.load(Ordering::Relaxed),
        })
    }

    /// How many endpoints of one side there have ever been.
    pub(crate) fn joined(&self, block: &Block, side: Side) -> &crate::sync::AtomicU64 {
        let control = self.mapped.control(block);
        match side {
            Side::Sender => &control.senders_joined,
            Side::Receiver => &control.receivers_joined,
        }
    }

    /// Whether a living participant has an endpoint of this side.
    pub(crate) fn peopled(&self, block: &Block, side: Side) -> bool {
        let (senders, receivers) = self.mapped.endpoints(block);
        match side {
            Side::Sender => senders > 0,
            Side::Receiver => receivers > 0,
        }
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
