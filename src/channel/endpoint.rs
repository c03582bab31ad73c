//! What a sender and a receiver have in common: being one end of a channel.

use core::cell::{Cell, OnceCell, RefCell};
use std::sync::Arc;
use std::time::Instant;

use super::cancel::{self, Over};
use super::debts::{Debts, Whom};
use super::ready::{Ask, Readiness};
use crate::error::{ChannelError, Done, Fault};
use crate::ring::event::{self, Event, Memo, Parked};
use crate::ring::kernel::LightFence;
use crate::ring::registration::Registration;
use crate::ring::table::{Blind, Member};
use crate::ring::wait::{Need, NotNow, Want};
use crate::ring::{gate, slot_waiters};
use crate::segment::{Busy, Membership, Participant, Peer, Side, State, TrustedPeers};
use crate::storage::{Block, Cells};
use crate::sync::{AtomicU64, Ordering};
use crate::sys::proc::ForkGuard;
use crate::wait::{Asymmetric, Spin};

/// After how many fruitless tries in a row a polling handle looks for the
/// dead: a sleeping one is told, a polling one has to ask.
const TRIES_PER_LOOK: u32 = 256;

/// One end of a channel. Belongs to one thread at a time.
// More fields than 12: to be split by what changes together: lifetime, change detection, notifying, waiting.
pub struct Endpoint {
    /// Declared before the participant, so that the memory is detached when
    /// that goes.
    cells: Cells,
    participant: Arc<Participant>,
    /// The participant's.
    membership: Membership,
    guard: ForkGuard,
    pub(crate) block: Block,
    pub(crate) name: Arc<str>,
    pub(crate) side: Side,
    /// `changes` when this handle last looked.
    looked: Cell<u64>,
    /// The same, while there is nothing in the way of an operation; sealed by
    /// the guard.
    changes: Cell<u64>,
    /// The same, where the segment's light fence costs nothing.
    fast: Cell<u64>,
    /// Whether there was somebody on the other side when this one came: a
    /// message counts for its sender. And how many had ever been.
    met: bool,
    joined: u64,
    /// `changes` when the other side was found to have gone.
    alone: Cell<Option<u64>>,
    /// Whether the segment was paused when this handle last looked, and what
    /// the gate was.
    paused: Cell<bool>,
    gate: Cell<u64>,
    /// Not 0 while this handle sends.
    busy: Arc<Busy>,
    /// Whether what has changed was found out just now.
    pub(crate) informed: Cell<bool>,
    fruitless: Cell<u32>,
    spin: Spin,
    pub(super) registration: Registration<Instant>,
    /// Until whose end it waits, at most.
    pub(super) peer: Cell<Option<Peer>>,
    /// Wakes that were refused.
    pub(super) debts: Debts,
    /// Whether this end has been given up.
    left: Cell<bool>,
    /// Made when it is asked for.
    pub(super) cancel: OnceCell<Arc<cancel::Shared>>,
    /// Whether it is about to sleep, sleeps, or has just been woken.
    parking: Cell<bool>,
    memo: Cell<Memo>,
    /// The first look's failure, kept to be told: see [`look`](Self::look).
    fault: RefCell<Option<Fault>>,
    /// Made when it is asked for. Dropped first.
    pub(super) readiness: OnceCell<Readiness>,
}

/// Where one waits on a side of a channel.
pub(super) fn event<'a>(
    participant: &Participant,
    cells: &'a Cells,
    block: &Block,
    side: Side,
) -> Event<'a> {
    let (control, mapped) = (cells.control(), participant.mapped());
    match side {
        Side::Sender => Event { waiting: &control.space_waiting, sem: block.space(mapped) },
        Side::Receiver => Event { waiting: &control.items_waiting, sem: block.items(mapped) },
    }
}

/// How many threads of this process wait there.
pub(super) fn record<'a>(
    participant: &'a Participant,
    block: &'a Block,
    side: Side,
) -> &'a AtomicU64 {
    let row = participant.mapped().row(block, participant.me().id);
    match side {
        Side::Sender => &row.space_record,
        Side::Receiver => &row.items_record,
    }
}

/// The same two words for who waits for a place.
pub(super) fn slot_waiters<'a>(
    participant: &'a Participant,
    cells: &'a Cells,
    block: &'a Block,
) -> (&'a AtomicU64, &'a AtomicU64) {
    let row = participant.mapped().row(block, participant.me().id);
    (&cells.control().slots_waiting, &row.slots_record)
}

/// Counts who comes, goes and dies, and what the gate does.
#[inline]
pub(super) fn changes(cells: &Cells) -> u64 {
    // Acquire: whoever changed something did so before this count.
    cells.control().changes.load(Ordering::Acquire)
}

/// Another count than any that will be read for long.
const fn unlike(changes: u64) -> u64 {
    changes.wrapping_sub(1)
}

impl Endpoint {
    pub(crate) fn new(
        participant: &Arc<Participant>,
        block: Block,
        name: Arc<str>,
        side: Side,
    ) -> Result<Self, ChannelError> {
        // The dead are nobody's peers.
        let heard = participant.scan_if_cheap()?;
        let joined = participant.joined(&block, side.other()).load(Ordering::Acquire);
        let has_peer = participant.has_peer(&block, side.other());
        participant.enlist(&block, side, &name)?;
        let Some(cells) = Cells::new(&participant.mapped().memory, &block) else {
            // What is in the way is told already.
            let _ = participant.withdraw(&block, side, &name);
            let what = "its block is outside the segment".to_owned();
            return Err(ChannelError::Damaged { channel: name.to_string(), what });
        };
        let before = unlike(changes(&cells));
        let found = side == Side::Receiver && cells.len() > 0;
        Ok(Self {
            cells,
            participant: Arc::clone(participant),
            membership: participant.membership(),
            guard: *participant.guard(),
            block,
            name,
            side,
            // Never the current one, so that the first use finds out.
            changes: Cell::new(participant.guard().sealed(before)),
            fast: Cell::new(participant.guard().sealed(before)),
            looked: Cell::new(before),
            met: has_peer || found,
            joined,
            alone: Cell::new(None),
            paused: Cell::new(false),
            gate: Cell::new(0),
            busy: if side == Side::Sender { participant.enter_busy() } else { Arc::default() },
            informed: Cell::new(false),
            fruitless: Cell::new(0),
            spin: Spin::new(),
            registration: Registration::new(heard),
            peer: Cell::new(None),
            debts: Debts::default(),
            left: Cell::new(false),
            cancel: OnceCell::new(),
            parking: Cell::new(false),
            memo: Cell::new(Memo::default()),
            fault: RefCell::new(None),
            readiness: OnceCell::new(),
        })
    }

    /// Another endpoint of the same kind in this process. It knows what this one
    /// does: whom it has met, until whose end it waits, whom it owes a wake.
    pub(crate) fn another(&self) -> Result<Self, ChannelError> {
        let mut other =
            Self::new(&self.participant, self.block, Arc::clone(&self.name), self.side)?;
        other.met = self.met;
        other.joined = self.joined;
        other.peer = self.peer.clone();
        other.registration.be_strict(self.peer.get().is_some());
        other.debts = self.debts.clone();
        Ok(other)
    }

    pub(crate) const fn cells(&self) -> &Cells {
        &self.cells
    }

    /// A view of the cells for the handle around this endpoint.
    pub(crate) fn typed<S>(
        &self,
        view: impl FnOnce(&Cells) -> Option<S>,
    ) -> Result<S, ChannelError> {
        view(&self.cells).ok_or_else(|| ChannelError::Damaged {
            channel: self.name.to_string(),
            what: "its elements are not as large as its type says".to_owned(),
        })
    }

    pub(crate) fn me(&self) -> Member {
        self.participant.me()
    }

    pub(crate) fn owner(&self) -> u16 {
        self.me().id
    }

    /// Whether nothing has changed since this handle last looked: not the
    /// process, not who is at the other end, not the gate. Never true while
    /// the other side has gone.
    #[inline]
    pub(crate) fn quiet(&self) -> bool {
        changes(&self.cells) == self.guard.unsealed(self.changes.get())
    }

    /// The same, and the light fence costs nothing.
    #[inline(always)]
    pub(crate) fn quiet_fast(&self) -> bool {
        changes(&self.cells) == self.guard.unsealed(self.fast.get())
    }

    /// Begins to send, if nothing has changed; ends with [`leave`](Self::leave).
    pub(crate) fn enter(&self) -> bool {
        let seen = self.guard.unsealed(self.changes.get());
        let changes = &self.cells.control().changes;
        gate::enter(&self.participant.mapped().semaphores, &self.busy, changes, seen)
            || self.enter_informed()
    }

    /// The same, if the light fence costs nothing.
    #[inline(always)]
    pub(crate) fn enter_fast(&self) -> bool {
        let seen = self.guard.unsealed(self.fast.get());
        gate::enter(&Asymmetric, &self.busy, &self.cells.control().changes, seen)
    }

    /// Where it was just found out what has changed: whatever else has changed
    /// since, the gate must not have.
    fn enter_informed(&self) -> bool {
        let mapped = self.participant.mapped();
        let gate = &mapped.memory.header().gate;
        self.informed.get()
            && !self.guard.in_child()
            && gate::enter(&mapped.semaphores, &self.busy, gate, self.gate.get())
    }

    /// Whether this handle is sending, which its process's memory says.
    #[inline(always)]
    pub(super) fn busy(&self) -> &AtomicU64 {
        &self.busy
    }

    #[inline]
    pub(crate) fn leave(&self) {
        gate::leave(&self.busy);
    }

    /// Whether this is a forked child of the process that made the handle.
    #[inline]
    pub(crate) fn in_child(&self) -> bool {
        self.guard.in_child()
    }

    /// Whether the other side had gone when this handle last looked.
    pub(crate) const fn alone(&self) -> bool {
        self.alone.get().is_some()
    }

    /// Finds out what has changed.
    fn find_out(&self) -> Result<(), Fault> {
        let changes = changes(&self.cells);
        if let Some(fault) = self.participant.barred() {
            return Err(fault);
        }
        self.make_good()?;
        self.looked.set(changes);
        if self.alone.get() == Some(changes) {
            return Ok(());
        }
        self.participant.serve();
        let gate = self.participant.mapped().gate();
        self.gate.set(gate);
        let state = State::of(gate);
        match (self.side, state) {
            (_, State::Shutdown) => return Err(Fault::Shutdown),
            (Side::Sender, State::Draining | State::Drained) => return Err(Fault::Drained),
            _ => {}
        }
        let other = self.side.other();
        // Acquire: whoever it counts is in a row by now.
        let joined = self.participant.joined(&self.block, other).load(Ordering::Acquire);
        let left = !self.block.lasting
            && (self.met || joined != self.joined)
            && !self.participant.has_peer(&self.block, other);
        let alone = left || self.side == Side::Receiver && state == State::Drained;
        let paused = self.side == Side::Sender && state == State::Paused;
        self.alone.set(alone.then_some(changes));
        self.paused.set(paused);
        let free = !alone && !paused && self.not_cancelled().is_ok();
        self.changes.set(self.guard.sealed(if free { changes } else { unlike(changes) }));
        self.set_fast();
        Ok(())
    }

    /// Has the next call find out what there is to be done first.
    pub(super) fn spoil(&self) {
        self.changes.set(self.guard.sealed(unlike(changes(&self.cells))));
        self.set_fast();
    }

    pub(super) fn event(&self, side: Side) -> Event<'_> {
        event(&self.participant, &self.cells, &self.block, side)
    }

    /// Tells one that waits on `side` that there is something for it, because
    /// this was `done`. What is refused is kept.
    #[inline]
    pub(crate) fn notify(&self, side: Side, done: Done) {
        self.notify_over(&self.participant.mapped().semaphores, side, done);
    }

    /// The same after [`enter_fast`](Self::enter_swiftly), or
    /// [`quiet_fast`](Self::quiet_and_swift). `false` if it is refused.
    #[inline(always)]
    pub(crate) fn notify_fast(&self, side: Side, done: Done) -> bool {
        self.notify_over(&Asymmetric, side, done)
    }

    #[inline(always)]
    fn notify_over(&self, fence: &impl LightFence, side: Side, done: Done) -> bool {
        match event::waited_for(fence, self.waiting(side)) {
            None => true,
            Some(word) => self.ring(side, word, done),
        }
    }

    /// Whether nobody waits on `side`, if the light fence costs nothing.
    #[inline(always)]
    pub(super) fn nobody_waits(&self, side: Side) -> bool {
        event::waited_for(&Asymmetric, self.waiting(side)).is_none()
    }

    /// Counts those who wait on a side.
    #[inline(always)]
    pub(super) fn waiting(&self, side: Side) -> &AtomicU64 {
        let control = self.cells.control();
        match side {
            Side::Sender => &control.space_waiting,
            Side::Receiver => &control.items_waiting,
        }
    }

    #[cold]
    fn ring(&self, side: Side, word: u64, done: Done) -> bool {
        let semaphores = &self.participant.mapped().semaphores;
        let mut memo = if side == self.side { Memo::default() } else { self.memo.get() };
        let rung = event::ring(semaphores, self.event(side), word, &mut memo);
        if side != self.side {
            self.memo.set(memo);
        }
        if let Err(refusal) = rung {
            self.owe(Whom::on(side), done, refusal);
        }
        !self.owes()
    }

    /// This handle has got something, or nothing, without sleeping: it is not
    /// to be counted as if it slept. While it is, nothing goes the swift way.
    #[inline]
    pub(crate) fn let_go(&self) {
        if self.registration.is_counted() && !self.parking.get() && !self.in_child() {
            let record = record(&self.participant, &self.block, self.side);
            self.registration.let_go(self.event(self.side), record);
            self.set_fast();
        }
    }

    fn set_fast(&self) {
        let fast =
            self.participant.mapped().semaphores.asymmetric() && !self.registration.is_counted();
        let changes = self.guard.unsealed(self.changes.get());
        self.fast.set(self.guard.sealed(if fast { changes } else { unlike(changes) }));
    }

    /// Whether a try that was refused like this needs no more than to be
    /// counted, and its caller told.
    #[inline]
    pub(crate) fn fail_fast(&self, stuck: NotNow) -> bool {
        self.let_go();
        let fruitless = self.fruitless.get() + 1;
        let fail_fast = matches!(stuck, NotNow::Nothing)
            && fruitless < TRIES_PER_LOOK
            && self.readiness.get().is_none()
            && self.bound().is_none();
        if fail_fast {
            self.fruitless.set(fruitless);
        }
        fail_fast
    }

    /// Counts a try that came to nothing; now and then, looks for the dead.
    /// Whether it is worth trying again at once.
    pub(crate) fn in_vain(&self) -> Result<bool, Fault> {
        let fruitless = self.fruitless.get() + 1;
        self.fruitless.set(fruitless % TRIES_PER_LOOK);
        if fruitless < TRIES_PER_LOOK {
            return Ok(false);
        }
        self.participant.look()
    }

    pub(crate) fn corrupt(&self, what: &str) -> Fault {
        Fault::Corrupt { what: format!("{}: {what}", self.name) }
    }

    /// What an operation needs that was not done, or `None` if it is to be
    /// tried again.
    #[cold]
    pub(crate) fn resolve(&self, stuck: NotNow) -> Result<Option<Need>, Fault> {
        match stuck {
            NotNow::Nothing => Ok(Some(Need::Progress)),
            NotNow::Pending => Ok(Some(Need::Pending)),
            NotNow::NoSlot => Ok(Some(Need::Slot)),
            NotNow::Changed | NotNow::Unsure => {
                self.find_out()?;
                match (self.side, self.alone()) {
                    (Side::Sender, true) => self.resolve(NotNow::PeersGone),
                    _ if self.paused.get() => Ok(Some(Need::Resumption)),
                    _ => Ok(None),
                }
            }
            NotNow::PeersGone => Err(Fault::Disconnected { side: self.side.other() }),
            NotNow::Unwoken => Ok(self.unwoken().map(|()| None)?),
            stuck => Err(self.corrupt(&stuck.corruption().unwrap_or_default())),
        }
    }

    /// Repeats `attempt` for as long as this handle has the patience.
    fn spin<R>(&self, until: Option<Instant>, attempt: impl FnMut() -> Option<R>) -> Option<R> {
        let much = (self.cells.capacity() / 4).max(2);
        self.spin.until(until, || self.cells.moved(), much, attempt)
    }

    /// Repeats `attempt` until it gives something or the deadline passes
    /// (`None`): spins for a while, then sleeps.
    pub(crate) fn wait<R>(
        &self,
        until: Option<Instant>,
        mut attempt: impl FnMut() -> Option<Result<R, Fault>>,
        more: impl Fn() -> bool,
    ) -> Option<Result<R, Fault>> {
        let _waiting = self.going_to_wait(Over::Bell);
        if let Some(done) = self.spin(until, &mut attempt) {
            return Some(done);
        }
        let mapped = self.participant.mapped();
        let event = self.event(self.side);
        let record = record(&self.participant, &self.block, self.side);
        let registration = &self.registration;
        let strict = self.bound().is_some();
        let listen = || {
            let heard = if strict {
                self.participant.listen().map(Some)
            } else {
                self.participant.scan_if_cheap()
            };
            self.keeping_fault(heard)
        };
        // What ends this handle's waiting ends that of the others too.
        let more = |done: &Result<R, Fault>| done.is_err() || more();
        self.participant.desk.sleeps.fetch_add(1, Ordering::Relaxed);
        self.parking.set(true);
        let parked = event::park(
            &mapped.semaphores,
            event,
            record,
            registration,
            until,
            attempt,
            more,
            listen,
        );
        self.parking.set(false);
        self.set_fast();
        if let Some(refusal) = registration.take_owed() {
            self.owe(Whom::on(self.side), Done::GivenUp, refusal);
        }
        match parked {
            Parked::Ready(done) => Some(done),
            Parked::TimedOut => None,
            Parked::Gone(blind) => Some(Err(self.kept_fault(blind))),
        }
    }

    /// The same for who waits for a place: sleeps over the wake-all semaphore.
    pub(crate) fn wait_for_place<R>(
        &self,
        until: Option<Instant>,
        mut attempt: impl FnMut() -> Option<Result<R, Fault>>,
    ) -> Option<Result<R, Fault>> {
        self.let_go();
        let _waiting = self.going_to_wait(Over::WakeAll);
        if let Some(done) = self.spin(until, &mut attempt) {
            return Some(done);
        }
        let semaphores = &self.participant.mapped().semaphores;
        let (waiting, record) = slot_waiters(&self.participant, &self.cells, &self.block);
        let late = || until.is_some_and(|deadline| Instant::now() >= deadline);
        let attempt = || attempt().map(Some).or_else(|| late().then_some(None));
        let listen = || self.keeping_fault(self.participant.listen());
        self.participant.desk.sleeps.fetch_add(1, Ordering::Relaxed);
        match slot_waiters::park(semaphores, waiting, record, until, attempt, listen) {
            Parked::Ready(done) => done,
            Parked::TimedOut => None,
            Parked::Gone(blind) => Some(Err(self.kept_fault(blind))),
        }
    }

    /// Tells all who wait for a place, or for a block without taking it, that
    /// one has become free.
    #[inline]
    pub(crate) fn notify_slot_waiters(&self, done: Done) {
        let waiting = &self.cells.control().slots_waiting;
        if let Err(refusal) = slot_waiters::freed(&self.participant.mapped().semaphores, waiting) {
            self.owe(Whom::SlotWaiters, done, refusal);
        }
    }

    fn keeping_fault<T>(&self, seen: Result<T, Fault>) -> Result<T, Blind> {
        seen.map_err(|fault| {
            *self.fault.borrow_mut() = Some(fault);
            Blind::NotMember
        })
    }

    fn kept_fault(&self, blind: Blind) -> Fault {
        let told = self.fault.borrow_mut().take();
        told.unwrap_or_else(|| self.participant.mapped().fault(blind))
    }

    pub(super) const fn participant(&self) -> &Arc<Participant> {
        &self.participant
    }

    /// The pollable descriptor.
    pub(crate) fn readiness(&self) -> Result<&Readiness, Fault> {
        if let Some(fault) = self.participant.barred() {
            return Err(fault);
        }
        if let Some(made) = self.readiness.get() {
            return Ok(made);
        }
        let made = Readiness::new(&self.participant, self.cells.clone(), self.block, self.side);
        let made = made.map_err(Fault::System)?;
        Ok(self.readiness.get_or_init(|| made))
    }

    /// Makes sure that the promise is one about this segment.
    ///
    /// # Panics
    /// If it was made of another segment: two have been mixed up in the
    /// caller's program.
    #[inline(always)]
    #[track_caller]
    pub(super) fn check(&self, trust: TrustedPeers) {
        trust.check(self.membership);
    }

    /// What to wait for if a try was refused for want of this.
    pub(super) fn ask(&self, want: Want) -> Ask {
        Ask { want, changes: self.looked.get(), alone: self.alone(), peer: self.bound() }
    }

    /// Whether both are ends of one channel of one segment.
    pub(crate) fn same_channel(&self, other: &Self) -> bool {
        let generation = |end: &Self| end.participant.mapped().generation;
        generation(self) == generation(other) && self.block.index == other.block.index
    }

    pub(crate) fn len(&self) -> usize {
        usize::try_from(self.cells.len()).unwrap_or(usize::MAX)
    }

    /// How many messages were asked for.
    pub(crate) const fn messages(&self) -> usize {
        self.block.plan.messages
    }
}

impl Endpoint {
    /// Gives this end up, once, as well as it can; returns the first thing that
    /// is refused.
    fn give_up(&mut self) -> Result<(), Fault> {
        if self.left.replace(true) {
            return Ok(());
        }
        if self.in_child() {
            // Nothing of it is this process's.
            drop(self.readiness.take());
            return Err(Fault::Forked);
        }
        let owed = self.make_good();
        // While its thread has the credits of this channel.
        let ended = self.readiness.take().map_or(Ok(()), |readiness| readiness.end());
        let ended = ended.map_err(|refusal| self.participant.mapped().refused(refusal));
        self.let_go();
        let told = self.participant.withdraw(&self.block, self.side, &self.name);
        self.participant.leave_busy(&self.busy);
        match owed.and(told).and(ended) {
            // It has told everybody who waited.
            Err(Fault::Closed) => Ok(()),
            told => told,
        }
    }

    /// The same, and leaves the segment if nothing else of it is left here.
    pub(crate) fn close(mut self) -> Result<(), Fault> {
        let participant = Arc::clone(&self.participant);
        let given_up = self.give_up();
        drop(self);
        given_up.and(Participant::let_go(participant))
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        // Nobody is there to be told: see `close`.
        let _ = self.give_up();
    }
}

impl core::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Endpoint")
            .field("channel", &self.name)
            .field("side", &self.side)
            .field("capacity", &self.messages())
            .finish_non_exhaustive()
    }
}
