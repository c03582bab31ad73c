//! This process's endpoints: what is needed to have one, and to give it up.

use std::sync::Arc;

use super::endpoints::{Busy, Counts};
use super::participant::{Participant, lock};
use crate::error::{ChannelError, Done, Fault, Unwoken};
use crate::kinds::block::Block;
use crate::ring::event::{self, Event, Memo};
use crate::ring::kernel::Refusal;
use crate::ring::{credit, gate, role, wake_all};
use crate::storage::Side;
use crate::storage::layout::Row;
use crate::sync::{AtomicU64, Ordering, fence};

fn too_many(name: &str, side: Side) -> ChannelError {
    ChannelError::TooMany { channel: name.to_owned(), side, limit: u16::MAX }
}

impl Participant {
    /// Makes this process an endpoint of the channel, once more. What it takes for that of
    /// the channel, it takes when a sweep already knows of it, and before it counts for the
    /// others. Also returns the word in which a sender says that it sends.
    pub(crate) fn enlist<R>(
        &self,
        block: &Block,
        side: Side,
        name: &str,
        take: impl FnOnce() -> Result<R, ChannelError>,
    ) -> Result<(Arc<Busy>, R), ChannelError> {
        if let Some(fault) = self.barred() {
            return Err(fault.into());
        }
        let mut all = lock(&self.endpoints);
        if all.overlaps(block) {
            let what = "its block overlaps one that this process uses".to_owned();
            return Err(ChannelError::Damaged { channel: name.to_owned(), what });
        }
        let Some(&counts) = all.counts.get(usize::from(block.index)) else {
            return Err(Fault::Closed.into());
        };
        let more = counts.and_one(side).ok_or_else(|| too_many(name, side))?;
        let first = counts == Counts::default();
        if first {
            self.arm(block)?;
        }
        // A process that sweeps this one meanwhile would take the pledge that a predecessor has
        // left for one of its own, if it had committed by that ticket.
        let producer = block.kind.is_single() && side == Side::Sender;
        let _uncommitted = producer.then(|| self.tickets.take_all());
        let role = if block.kind.is_single() { self.claim_role(block, side, name) } else { Ok(()) };
        let taken = match role.and_then(|()| take()) {
            Ok(taken) => taken,
            Err(error) => {
                if first {
                    // What is in the way is told already.
                    let _ = self.disarm(block);
                }
                return Err(error);
            }
        };
        if let Some(counts) = all.counts.get_mut(usize::from(block.index)) {
            *counts = more;
        }
        if first {
            all.blocks.push(*block);
        }
        let control = self.mapped.control(block);
        self.show(block, more);
        // After the row: who counts this one also finds it there.
        control.joined(side).fetch_add(1, Ordering::Release);
        control.changes.fetch_add(1, Ordering::Release);
        // With that of an announcement: either it finds the row, or the handle
        // finds the state before its first message.
        fence(Ordering::SeqCst);
        self.tell_publishers(block, side);
        Ok((all.sending.enter(side), taken))
    }

    /// Makes this process an endpoint of the channel once more, while it is one of this
    /// side. That changes nothing for its peers: it has the credits, a row that counts this
    /// side, and peers that have met it. Only publishers may wait for so many. `None` where it has been taken for dead, and
    /// where its row says anything else, because it has been written over.
    pub(crate) fn enlist_another(
        &self,
        block: &Block,
        side: Side,
        name: &str,
    ) -> Result<Option<Arc<Busy>>, ChannelError> {
        if let Some(fault) = self.barred() {
            return Err(fault.into());
        }
        let mut all = lock(&self.endpoints);
        let Some(counts) = all.counts.get_mut(usize::from(block.index)) else {
            return Err(Fault::Closed.into());
        };
        let more = counts.and_one(side).ok_or_else(|| too_many(name, side))?;
        let one = *counts.of(side) != 0 && self.me.is_live(&self.mapped);
        if !one || !self.recount(block, *counts, more) {
            return Ok(None);
        }
        *counts = more;
        // As in `enlist`.
        self.joined(block, side).fetch_add(1, Ordering::Release);
        if block.kind.is_broadcast() && side == Side::Receiver {
            // A publisher's task may wait for so many, and is told of changes alone.
            self.mapped.control(block).changes.fetch_add(1, Ordering::Release);
        }
        self.tell_publishers(block, side);
        Ok(Some(all.sending.enter(side)))
    }

    /// Keeps the credits of a channel of which this process has an endpoint, until
    /// [`end_hold`](Self::end_hold), also if that endpoint goes before. What may wake somebody
    /// who sleeps there is in the hands of the holder: its death has to wake them.
    pub(crate) fn hold(&self, block: &Block) {
        let mut all = lock(&self.endpoints);
        if let Some(counts) = all.counts.get_mut(usize::from(block.index)) {
            counts.holds = counts.holds.saturating_add(1);
        }
    }

    /// Undoes one [`hold`](Self::hold). Does nothing in a forked child.
    pub(crate) fn end_hold(&self, block: &Block) {
        if self.guard.in_child() {
            return;
        }
        let mut all = lock(&self.endpoints);
        let Some(counts) = all.counts.get_mut(usize::from(block.index)) else { return };
        counts.holds = counts.holds.saturating_sub(1);
        if *counts == Counts::default() {
            all.blocks.retain(|other| other.index != block.index);
            if self.is_known() {
                // Nobody is there to be told.
                let _ = self.disarm(block);
            }
        }
    }

    /// Wakes publishers if this side's ends are subscribers: they may wait for so many, or for a
    /// reliable one to be where it begins.
    fn tell_publishers(&self, block: &Block, side: Side) {
        if block.kind.is_broadcast() && side == Side::Receiver {
            // The subscriber has come, whether or not they are woken.
            let _ = self.notify_side(block, side.other());
        }
    }

    /// Undoes one [`enlist`](Self::enlist). Does nothing in a forked child,
    /// nor where the kernel has undone it already. Does as much of it as it can,
    /// and returns the first thing that it cannot.
    pub(crate) fn withdraw(
        &self,
        block: &Block,
        side: Side,
        name: &str,
        busy: &Arc<Busy>,
    ) -> Result<(), Fault> {
        if self.guard.in_child() {
            return Ok(());
        }
        let mut all = lock(&self.endpoints);
        all.sending.leave(side, busy);
        let Some(counts) = all.counts.get_mut(usize::from(block.index)) else {
            return Ok(());
        };
        let before = *counts;
        let mine = counts.of(side);
        *mine = mine.saturating_sub(1);
        let last = *mine == 0;
        let counts = *counts;
        // A reliable subscriber may have been in the way of publishers.
        let makes_room = block.kind.is_broadcast() && side == Side::Receiver;
        // One of several: as for `enlist_another`.
        if !last && self.recount(block, before, counts) {
            return if makes_room { self.tell(block, side, name) } else { Ok(()) };
        }
        if counts == Counts::default() {
            all.blocks.retain(|other| other.index != block.index);
        }
        if !self.is_known() {
            return Ok(());
        }
        let control = self.mapped.control(block);
        self.show(block, counts);
        if block.kind.is_single() {
            role::release(control.role(side), self.me);
        }
        control.changes.fetch_add(1, Ordering::Release);
        let mut told = Ok(());
        if last {
            let event = self.mapped.event(block, side.other());
            // With that of another who leaves: one of the two finds that nobody is left.
            fence(Ordering::SeqCst);
            told = if self.has_peer(block, side) {
                self.notify_side(block, side.other())
            } else {
                // This concerns all who wait, and not all of them know: a single token
                // could go to one that was opened just now and expects others to come.
                let roused = event::rouse(&self.mapped.semaphores, event, || false);
                // Clients that wait for a reply sleep over other semaphores.
                let calls = block.kind.is_calls() && side == Side::Receiver;
                roused.and(if calls { wake_all::strike(&self.mapped.semaphores) } else { Ok(()) })
            };
            if side == Side::Receiver {
                told = told.and(self.mapped.tell_slot_waiters(block));
            }
        }
        let told = self.unwoken_by(told, side, name);
        let told = if makes_room && !last { told.and(self.tell(block, side, name)) } else { told };
        if counts == Counts::default() {
            return told.and(self.disarm(block));
        }
        told
    }

    /// Wakes those of a side for whom a change is.
    fn notify_side(&self, block: &Block, side: Side) -> Result<(), Refusal> {
        let event = self.mapped.event(block, side);
        event::notify(&self.mapped.semaphores, event, &mut Memo::default())
    }

    /// Wakes the other side, because an end of this one has been given up.
    fn tell(&self, block: &Block, side: Side, name: &str) -> Result<(), Fault> {
        let told = self.notify_side(block, side.other());
        self.unwoken_by(told, side, name)
    }

    /// What it means that the other side could not be woken when an end of this one was
    /// given up.
    fn unwoken_by(&self, told: Result<(), Refusal>, side: Side, name: &str) -> Result<(), Fault> {
        self.unless_gone(told).map_err(|fault| match fault {
            Fault::System(source) => Unwoken::new(Done::Closed, name, side.other(), source).into(),
            fault => fault,
        })
    }

    /// Whether the others count this process among the living. They do not if it has
    /// left its IPC namespace and they have found that. In a forked child, that is
    /// another one's question.
    pub(crate) fn is_counted_alive(&self) -> Result<(), Fault> {
        let alive = self.guard.in_child() || self.me.is_live(&self.mapped);
        if alive { Ok(()) } else { Err(Fault::NotMember) }
    }

    /// Whether no sender of this process sends, nor will before it has seen
    /// the gate as the caller has.
    pub(crate) fn idle(&self) -> bool {
        // The process that changed the gate may not have come to say so.
        self.mapped.change_all();
        gate::idle(&self.mapped.semaphores, lock(&self.endpoints).sending.words())
    }

    /// How many endpoints this process has: senders and receivers.
    pub(super) fn endpoints(&self) -> (u64, u64) {
        lock(&self.endpoints).counts.iter().fold((0, 0), |(senders, receivers), counts| {
            (senders + u64::from(counts.senders), receivers + u64::from(counts.receivers))
        })
    }

    /// Does something while this process has a credit on every semaphore, so that its
    /// death over it would ring them, and a row in every channel, so that whoever
    /// sweeps it would have everybody look.
    pub(super) fn with_all_credits(
        &self,
        work: impl FnOnce() -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let all = lock(&self.endpoints);
        let has = |block: &Block| {
            all.counts.get(usize::from(block.index)).is_some_and(|own| *own != Counts::default())
        };
        let mut armed = Vec::new();
        for block in self.mapped.blocks().filter(|block| !has(block)) {
            if let Err(fault) = self.arm(&block) {
                let _ = self.disarm_all(&armed);
                return Err(fault);
            }
            armed.push(block);
        }
        work()?;
        // Leaves a token on each.
        self.disarm_all(&armed)
    }

    fn disarm_all(&self, armed: &[Block]) -> Result<(), Fault> {
        let mut told = Ok(());
        for block in armed {
            told = told.and(self.disarm(block));
        }
        told
    }

    fn arm(&self, block: &Block) -> Result<(), Fault> {
        let [items, space] = self.events(block);
        let semaphores = &self.mapped.semaphores;
        let row = self.mapped.row(block, self.me.id);
        let record = event::record(self.me.incarnation);
        row.items_record.store(record, Ordering::Release);
        row.space_record.store(record, Ordering::Release);
        row.slots_record.store(record, Ordering::Release);
        for word in core::iter::once(&row.watches).chain(&row.reserved) {
            word.store(0, Ordering::Release);
        }
        // Before the first credit: the token that it leaves at a death is
        // taken care of by a sweep, which goes by the row.
        self.show(block, Counts::default());
        credit::arm(semaphores, items.sem)
            .and_then(|()| {
                credit::arm(semaphores, space.sem).inspect_err(|_| {
                    let _ = event::give_credit_back(semaphores, items);
                })
            })
            .map_err(|refusal| self.mapped.refused(refusal))
    }

    /// Gives the credits back, as many as it can.
    fn disarm(&self, block: &Block) -> Result<(), Fault> {
        let semaphores = &self.mapped.semaphores;
        let [items, space] = self
            .events(block)
            .map(|event| self.unless_gone(event::give_credit_back(semaphores, event)));
        items.and(space)
    }

    /// Those of the receivers and of the senders.
    fn events(&self, block: &Block) -> [Event<'_>; 2] {
        [Side::Receiver, Side::Sender].map(|side| self.mapped.event(block, side))
    }

    fn show(&self, block: &Block, counts: Counts) {
        // Release: who finds an endpoint there, finds its credits taken.
        self.mapped.row(block, self.me.id).endpoints.store(self.word(counts), Ordering::Release);
    }

    /// Shows other counts of a side that stays, if the row still shows those before. In
    /// the row of another life nothing is changed.
    fn recount(&self, block: &Block, before: Counts, after: Counts) -> bool {
        let row = &self.mapped.row(block, self.me.id).endpoints;
        let (before, after) = (self.word(before), self.word(after));
        // As for `show`.
        row.compare_exchange(before, after, Ordering::Release, Ordering::Relaxed).is_ok()
    }

    const fn word(&self, counts: Counts) -> u64 {
        Row::pack(self.me, counts.senders, counts.receivers)
    }

    fn claim_role(&self, block: &Block, side: Side, name: &str) -> Result<(), ChannelError> {
        let word = self.mapped.control(block).role(side);
        let claim = || role::claim(word, &self.mapped, self.me);
        let holder = match claim() {
            Ok(()) => return Ok(()),
            Err(holder) => holder,
        };
        // It may have died without anybody having noticed or swept it yet.
        self.scan()?;
        if claim().is_ok() {
            return Ok(());
        }
        Err(ChannelError::RoleTaken {
            channel: name.to_owned(),
            side,
            pid: self.mapped.info(holder.id).pid.load(Ordering::Relaxed),
        })
    }

    /// How many endpoints of one side there have ever been.
    pub(crate) fn joined(&self, block: &Block, side: Side) -> &AtomicU64 {
        self.mapped.control(block).joined(side)
    }

    /// Whether a living participant has an endpoint of this side.
    pub(crate) fn has_peer(&self, block: &Block, side: Side) -> bool {
        let (senders, receivers) = self.mapped.endpoints(block);
        match side {
            Side::Sender => senders > 0,
            Side::Receiver => receivers > 0,
        }
    }
}
