//! A segment in use: its memory and its set.

use std::sync::{Arc, OnceLock};

use super::directory::{Described, Directory};
use crate::error::Fault;
use crate::kinds::block::Block;
use crate::ring::event::{Event, Wakes};
use crate::ring::kernel::Refusal;
use crate::ring::set::SetMap;
use crate::ring::slot_waiters;
use crate::ring::table::{self, Blind, INCARNATION_SHIFT, Member, MemberState, Table};
use crate::ring::watch::{Topic, Watch, Watchers};
use crate::storage::layout::{Control, Info, Plan, Row, VERSION, flags, gate};
use crate::storage::{Memory, OperatingState, Peer, Side};
use crate::sync::{AtomicU64, Ordering};
use crate::sys::sem::Set;
use crate::sys::shm::Shm;
use crate::wait::Semaphores;

/// What every participant of one segment has in common.
#[derive(Debug)]
pub(crate) struct Mapped {
    pub(crate) shm: Shm,
    pub(crate) memory: Arc<Memory>,
    pub(crate) semaphores: Semaphores,
    pub(crate) plan: Plan,
    pub(crate) generation: u64,
    pub(crate) flags: u64,
    pub(crate) name: String,
    /// Whether the kernel has told this process that it is over, and how.
    pub(super) end: OnceLock<Fault>,
}

/// Stands in for a word that a broken plan would put outside: none is.
pub(super) fn inside<T>(found: Option<&T>) -> &T {
    found.unwrap_or_else(|| unreachable!("the plan was checked against the size when joining"))
}

impl Table for Mapped {
    fn map(&self) -> SetMap {
        self.plan.map
    }

    fn word(&self, id: u16) -> &AtomicU64 {
        inside(self.memory.at(self.plan.words + 8 * usize::from(id)))
    }
}

impl Watchers for Mapped {
    fn watches(&self, rows: usize, id: u16) -> &AtomicU64 {
        &self.row_at(rows, id).watches
    }

    fn calls(&self, id: u16, part: usize) -> &AtomicU64 {
        let called = &self.info(id).called;
        &called[part % called.len()]
    }
}

impl Mapped {
    /// A segment whose memory alone is at hand; `None` if its header makes no
    /// sense. Whether it has its set, nobody has asked.
    pub(crate) fn of_memory(shm: Shm, memory: Memory) -> Option<Self> {
        let header = memory.header();
        let read = |word: &AtomicU64| word.load(Ordering::Relaxed);
        let set = i32::try_from(read(&header.set)).ok()?;
        let (map, name) = (header.shape()?, header.name.load()?);
        let plan = Plan::new(map);
        if read(&header.version) != VERSION
            || read(&header.size) != memory.len() as u64
            || plan.heap > memory.len()
        {
            return None;
        }
        Some(Self::laid_out(shm, Set::from_id(set), memory, plan, name))
    }

    /// A segment of these parts. The rest is in its header, and nothing is verified.
    pub(crate) fn laid_out(shm: Shm, set: Set, memory: Memory, plan: Plan, name: String) -> Self {
        let header = memory.header();
        let generation = header.generation.load(Ordering::Relaxed);
        let flags = header.flags.load(Ordering::Relaxed);
        let semaphores = Semaphores::new(set, false);
        let memory = Arc::new(memory);
        Self { shm, semaphores, plan, generation, flags, name, memory, end: OnceLock::new() }
    }

    pub(crate) fn info(&self, id: u16) -> &Info {
        inside(self.memory.at(self.plan.infos + size_of::<Info>() * usize::from(id)))
    }

    /// What the block at `offset` knows of participant `id`.
    pub(crate) fn row<'a>(&'a self, block: &'a Block, id: u16) -> &'a Row {
        self.row_at(block.offset + block.plan.rows, id)
    }

    fn row_at(&self, rows: usize, id: u16) -> &Row {
        inside(self.memory.at(rows + size_of::<Row>() * usize::from(id)))
    }

    /// How a channel is watched, if the set has a bell for each participant.
    pub(crate) fn watch(&self, block: &Block, topic: Topic) -> Option<Watch<'_>> {
        self.plan.map.own_bells.then(|| Watch {
            all: self,
            channel: block.index,
            rows: block.offset + block.plan.rows,
            watchers: &self.control(block).watchers,
            topic,
        })
    }

    /// Its name as the command takes it.
    pub(crate) fn called(&self) -> String {
        if self.flags & flags::ANONYMOUS == 0 {
            self.name.clone()
        } else {
            format!("@{}", self.shm.id())
        }
    }

    /// The name of a participant.
    pub(crate) fn peer(&self, member: Member) -> Peer {
        // A peer may have written the id.
        let known = member.id < self.plan.map.participants;
        let pid = if known { self.info(member.id).pid.load(Ordering::Relaxed) } else { 0 };
        Peer::new(self.generation, member, u32::try_from(pid).unwrap_or(0))
    }

    pub(crate) fn control(&self, block: &Block) -> &Control {
        inside(self.memory.at(block.offset))
    }

    /// How those of one side of a channel are woken.
    pub(crate) fn event(&self, block: &Block, side: Side) -> Event<'_> {
        let (sem, topic) = match side {
            Side::Sender => (block.space(self), Topic::Space),
            Side::Receiver => (block.items(self), Topic::Items),
        };
        let control = self.control(block);
        let wakes = if block.kind.is_broadcast() {
            Wakes::All { struck: control.struck(side) }
        } else {
            Wakes::One
        };
        Event { waiting: control.waiting(side), sem, wakes, watch: self.watch(block, topic) }
    }

    /// Wakes all who wait for a slot, or watch for one.
    pub(crate) fn tell_slot_waiters(&self, block: &Block) -> Result<(), Refusal> {
        let waiting = &self.control(block).waiting.slots;
        slot_waiters::freed(&self.semaphores, waiting, self.watch(block, Topic::Slots))
    }

    pub(crate) fn fault(&self, blind: Blind) -> Fault {
        match blind {
            Blind::Refused(refusal) => self.refused(refusal),
            Blind::NotMember => self.ended(Fault::NotMember),
        }
    }

    /// What a refusal of the set's means. Nobody else is told: a set that is
    /// gone for this process may be there for the others, if it is this
    /// process that has left their IPC namespace.
    pub(crate) fn refused(&self, refusal: Refusal) -> Fault {
        match refusal {
            Refusal::Removed => self.ended(Fault::Closed),
            Refusal::Interrupted => Fault::Interrupted,
            refusal => Fault::System(self.semaphores.explain(refusal)).of_segment(&self.name),
        }
    }

    /// What is over for this process stays so, for all of its handles.
    fn ended(&self, fault: Fault) -> Fault {
        if self.end.set(fault.clone()).is_ok() {
            // Its other handles may find nothing changed, and go on.
            self.change_all();
        }
        fault
    }

    pub(crate) fn gate(&self) -> u64 {
        self.memory.header().gate.load(Ordering::Acquire)
    }

    /// Whether it is open for messages.
    pub(crate) fn state(&self) -> OperatingState {
        OperatingState::of(self.gate())
    }

    /// Why this process can do nothing here any more, if that is known.
    pub(crate) fn over(&self) -> Option<Fault> {
        let closed = self.gate() & gate::CLOSED != 0;
        if closed { Some(Fault::Closed) } else { self.end.get().cloned() }
    }

    /// Makes every handle's next operation return `Closed`.
    pub(crate) fn close(&self) {
        self.memory.header().gate.fetch_or(gate::CLOSED, Ordering::Release);
        self.change_all();
    }

    /// Has every handle find out what has changed before its next operation.
    pub(crate) fn change_all(&self) {
        for block in self.blocks() {
            self.control(&block).changes.fetch_add(1, Ordering::Release);
        }
    }

    /// Everybody who has joined and is not known to be dead.
    pub(crate) fn living(&self) -> impl Iterator<Item = Member> + '_ {
        (0..self.plan.map.participants).filter_map(|id| {
            let word = table::MemberWord::read(self.word(id).load(Ordering::Acquire))?;
            (word.state == MemberState::Live)
                .then_some(Member { id, incarnation: word.incarnation })
        })
    }

    /// How many senders and receivers the living have.
    pub(crate) fn endpoints(&self, block: &Block) -> (u64, u64) {
        self.endpoints_of(block, self.living())
    }

    /// How many these have.
    pub(super) fn endpoints_of(
        &self,
        block: &Block,
        members: impl Iterator<Item = Member>,
    ) -> (u64, u64) {
        members.fold((0, 0), |sum, member| {
            let (senders, receivers) = self.row(block, member.id).endpoints(member);
            (sum.0 + u64::from(senders), sum.1 + u64::from(receivers))
        })
    }

    /// Everybody who has joined and lives, by the kernel's word: without those
    /// who have died and have not been swept. `None` where the set cannot be read,
    /// or is not this segment's any more.
    pub(super) fn alive(&self) -> Option<Vec<Member>> {
        // The words first: who leaves or dies meanwhile is left out.
        let joined: Vec<Member> = self.living().collect();
        let mut values = vec![0; usize::from(self.plan.map.count())];
        self.semaphores.set().values(&mut values).ok()?;
        let up = |member: &Member| {
            let liveness = self.plan.map.liveness(member.id);
            values.get(usize::from(liveness)).is_some_and(|&value| value > 0)
        };
        (SetMap::generation(&values) == Some(self.generation))
            .then(|| joined.into_iter().filter(up).collect())
    }

    /// Whether a participant has a sender or a receiver.
    pub(crate) fn has_endpoints(&self, member: Member) -> bool {
        self.blocks().any(|block| self.row(&block, member.id).endpoints(member) != (0, 0))
    }

    /// The directory of its channels.
    pub(crate) fn directory(&self) -> Directory<'_> {
        Directory { memory: &self.memory, plan: &self.plan }
    }

    /// The channels that are not empty, and how many messages each has: those
    /// that somebody reads just now as well.
    pub(crate) fn undelivered(&self) -> Vec<(String, u64)> {
        let left = |found: Described| {
            let cells = found.block.cells_in(&self.memory)?;
            let left = cells.len().max(u64::from(cells.in_flight()));
            (left > 0).then_some((found.name, left))
        };
        self.directory().channels().filter_map(left).collect()
    }

    /// The blocks of every channel in the directory that makes sense.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = Block> + '_ {
        self.directory().channels().map(|found| found.block)
    }
}

impl Row {
    pub(crate) const fn pack(member: Member, senders: u16, receivers: u16) -> u64 {
        member.incarnation << INCARNATION_SHIFT | (senders as u64) << 16 | receivers as u64
    }

    /// Senders and receivers, if they are of this life.
    pub(crate) fn endpoints(&self, member: Member) -> (u16, u16) {
        let word = self.endpoints.load(Ordering::Acquire);
        if word >> INCARNATION_SHIFT == member.incarnation {
            ((word >> 16) as u16, word as u16)
        } else {
            (0, 0)
        }
    }

    pub(super) fn belongs_to(&self, member: Member) -> bool {
        self.endpoints.load(Ordering::Acquire) >> INCARNATION_SHIFT == member.incarnation
    }
}

impl Peer {
    /// Whether it still participates, as far as is known. A participant of another
    /// segment does not.
    pub(crate) fn is_live(&self, mapped: &Mapped) -> bool {
        self.generation == mapped.generation && self.member.is_live(mapped)
    }
}
