//! A segment with one channel, and the processes that are attached to it.
//!
//! What `src/segment/{mapped,participant}.rs` and `src/channel/{endpoint,
//! sender,receiver}.rs` do around the rings is repeated here as they do it;
//! when they change, this changes.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::checker;
use crate::death::{self, Fate};
use crate::kernel::{Deadline, Process, System};
use crate::mutant;
use crate::ring::credit;
use crate::ring::event::{self, Event, Memo, Parked};
use crate::ring::kernel::{Kernel, LightFence, Op, Refusal};
use crate::ring::mpmc::{self, Cursor, Refused};
use crate::ring::recovery::Repairing;
use crate::ring::registration::Registration;
use crate::ring::set::SetMap;
use crate::ring::table::{self, Blind, Member, MemberState, MemberWord, Scratch, Table};
use crate::slots::{HasSlots, Slots};
use crate::sync::{AtomicU64, Ordering};

pub(crate) const GENERATION: u64 = 7;
/// The life that everybody is in who is there from the beginning.
const FIRST: u64 = 1;

/// The words and cells of an MPMC ring.
pub(crate) struct Ring {
    slots: Slots,
    cells: Vec<checker::Cell<u64>>,
}

impl Ring {
    pub(crate) fn new(capacity: usize) -> Self {
        Self::from_lap(capacity, 0)
    }

    /// An empty ring that has been round `lap` times.
    pub(crate) fn from_lap(capacity: usize, lap: u64) -> Self {
        let cells = (0..capacity).map(|_| checker::Cell::new(0)).collect();
        Self { slots: Slots::from_lap(capacity, lap), cells }
    }

    /// As `push` in `src/channel/kind.rs`, of one message.
    pub(crate) fn push(&self, at: &Cell<Cursor>, owner: u16, message: u64) -> Result<(), Refused> {
        let claim = settled(|| mpmc::claim(self, at, owner))?;
        self.cells[claim.index as usize].set(message);
        mpmc::publish(self, claim);
        Ok(())
    }

    /// As `pop` there; `released` hears of the message when it is consumed.
    pub(crate) fn pop(&self, at: &Cell<Cursor>, owner: u16) -> Result<u64, Refused> {
        let taken = settled(|| mpmc::take(self, at, owner))?;
        let message = self.cells[taken.index as usize].get();
        mpmc::release(self, taken);
        Ok(message)
    }

    pub(crate) fn cell(&self, index: u64) -> &checker::Cell<u64> {
        &self.cells[index as usize]
    }
}

/// Tries until the answer is not *contended*.
pub(crate) fn settled<R>(mut attempt: impl FnMut() -> Result<R, Refused>) -> Result<R, Refused> {
    loop {
        match attempt() {
            Err(Refused::Contended(_)) => checker::thread::yield_now(),
            Err(Refused::Corrupt(state)) => panic!("corrupt: {state:?}"),
            answer => return answer,
        }
    }
}

impl HasSlots for Ring {
    fn slots(&self) -> &Slots {
        &self.slots
    }
}

/// What the channel knows of one participant.
struct Row {
    endpoints: AtomicU64,
    items_record: AtomicU64,
    space_record: AtomicU64,
}

/// Which end of the channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Sender,
    Receiver,
}

/// The segment.
pub(crate) struct World {
    pub(crate) system: Rc<System>,
    pub(crate) map: SetMap,
    pub(crate) words: Vec<AtomicU64>,
    rows: Vec<Row>,
    changes: AtomicU64,
    pub(crate) items_waiting: AtomicU64,
    space_waiting: AtomicU64,
    pub(crate) ring: Ring,
    attempts: u8,
    /// What has been consumed, by whom: the model's own knowledge.
    pub(crate) consumed: RefCell<Vec<u64>>,
    /// What has been published.
    pub(crate) published: RefCell<Vec<u64>>,
}

impl Table for World {
    fn map(&self) -> SetMap {
        self.map
    }

    fn word(&self, id: u16) -> &AtomicU64 {
        &self.words[usize::from(id)]
    }
}

/// One process with one endpoint, and one thread.
pub(crate) struct Peer {
    pub(crate) world: Rc<World>,
    pub(crate) process: Process,
    pub(crate) me: Member,
    side: Side,
    scratch: RefCell<Scratch>,
    changes: Cell<u64>,
    alone: Cell<bool>,
    informed: Cell<bool>,
    memo: Cell<Memo>,
    pub(crate) registration: Registration<Deadline>,
    cursor: Cell<Cursor>,
    /// For a mutant: the word at which it last rang.
    rung: Cell<Option<u64>>,
}

/// Why an attempt came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stuck {
    Nothing,
    Pending,
    /// Who is at the ends has changed.
    Changed,
    /// Nobody is at the other end, and there is nothing left.
    Alone,
}

/// What a receiver is told besides a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Disconnected,
    TimedOut,
}

impl World {
    /// A channel of `capacity` slots between `sides`, all of whom are
    /// attached, by one process each. Nobody is in sight yet but them.
    pub(crate) fn new(capacity: usize, sides: &[Side]) -> (Rc<Self>, Vec<Peer>) {
        let map = SetMap { participants: sides.len() as u16, channels: 1 };
        let system = Rc::new(System::new(map.count(), sides.len()));
        let row = |side: &Side| {
            let endpoints = match side {
                Side::Sender => 1 << 16,
                Side::Receiver => 1,
            };
            Row {
                endpoints: AtomicU64::new((FIRST + 1) << 32 | endpoints),
                items_record: AtomicU64::new(event::record(FIRST)),
                space_record: AtomicU64::new(event::record(FIRST)),
            }
        };
        let live = MemberWord { state: MemberState::Live, incarnation: FIRST };
        let world = Rc::new(Self {
            system: Rc::clone(&system),
            map,
            words: sides.iter().map(|_| AtomicU64::new(live.word())).collect(),
            rows: sides.iter().map(row).collect(),
            changes: AtomicU64::new(1),
            items_waiting: AtomicU64::new(0),
            space_waiting: AtomicU64::new(0),
            ring: Ring::new(capacity),
            attempts: 3,
            consumed: RefCell::default(),
            published: RefCell::default(),
        });
        let peers: Vec<_> = sides
            .iter()
            .enumerate()
            .map(|(id, &side)| {
                let process = Process { system: Rc::clone(&system), id };
                let me = Member { id: id as u16, incarnation: FIRST };
                let cursor = Cursor::at(0, capacity as u64);
                Peer {
                    world: Rc::clone(&world),
                    process,
                    me,
                    side,
                    scratch: RefCell::new(Scratch::new(map)),
                    changes: Cell::new(1),
                    alone: Cell::new(false),
                    informed: Cell::new(false),
                    memo: Cell::default(),
                    registration: Registration::new(Some(0)),
                    cursor: Cell::new(cursor),
                    rung: Cell::new(None),
                }
            })
            .collect();
        peers[0].process.semop(&SetMap::brand(GENERATION), None).unwrap();
        for peer in &peers {
            let liveness = map.liveness(peer.me.id);
            peer.process.semop(&[Op::add(liveness, 1).undo()], None).unwrap();
            if !mutant::has("no credit") {
                credit::arm(&peer.process, SetMap::WAKE_ALL).unwrap();
                credit::arm(&peer.process, map.items(0)).unwrap();
                credit::arm(&peer.process, map.space(0)).unwrap();
            }
        }
        (world, peers)
    }

    /// `Mapped::recorded`.
    fn recorded(&self, record: impl Fn(&Row) -> &AtomicU64) -> u64 {
        (0..self.map.participants)
            .filter_map(|id| {
                let entry = MemberWord::read(self.word(id).load(Ordering::Acquire))?;
                let record = record(&self.rows[usize::from(id)]).load(Ordering::Acquire);
                (entry.state == MemberState::Live)
                    .then(|| event::recorded(record, entry.incarnation))
            })
            .sum()
    }

    /// `Mapped::sweep`, but for the journal, which has models of its own.
    fn sweep(&self, process: &Process, dead: Member, values: &[u16]) -> Result<(), Refusal> {
        let row = &self.rows[usize::from(dead.id)];
        if row.endpoints.load(Ordering::Acquire) >> 32 == dead.incarnation {
            let still_dead = || dead.is_dead(self);
            if mpmc::recover(&self.ring, dead.id, self.attempts, &Repairing(still_dead), |_, _| {})
                .is_err()
            {
                return Ok(());
            }
            self.changes.fetch_add(1, Ordering::Release);
            event::settle(&self.items_waiting, || self.recorded(|row| &row.items_record));
            event::settle(&self.space_waiting, || self.recorded(|row| &row.space_record));
            if mutant::has("a sweep does not ring") {
                return Ok(());
            }
            for sem in [self.map.items(0), self.map.space(0)] {
                event::drain_and_ring(process, sem, values[usize::from(sem)])?;
            }
        }
        Ok(())
    }

    /// Nobody waits any more, so nobody is recorded; and no slot is held.
    pub(crate) fn at_rest(&self) {
        let consumed = self.consumed.borrow();
        let mut once = consumed.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), consumed.len(), "a message twice: {consumed:?}");
    }
}

impl Peer {
    /// Runs `life` in a thread of its own, up to its end.
    pub(crate) fn spawn<R: 'static>(
        self,
        fate: Option<Fate>,
        life: impl FnOnce(&Self) -> R + 'static,
    ) -> checker::thread::JoinHandle<Option<R>> {
        checker::thread::spawn(move || death::mortal(&self.process, fate, || life(&self)))
    }

    pub(crate) fn look(&self) -> Result<bool, Blind> {
        let witness = self.world.map.liveness(self.me.id);
        let bury = |dead: Member, values: &[u16]| self.world.sweep(&self.process, dead, values);
        let mut scratch = self.scratch.borrow_mut();
        table::scan(&self.process, &*self.world, GENERATION, witness, &mut scratch, bury)
    }

    /// `Participant::scan_if_cheap`.
    fn listen(&self) -> Result<Option<u16>, Blind> {
        if mutant::has("no look after a wake") {
            return Ok(Some(self.process.system.value(SetMap::WAKE_ALL)));
        }
        self.look().map(|_| Some(self.scratch.borrow().heard()))
    }

    /// `Endpoint::quiet`.
    fn quiet(&self) -> bool {
        self.world.changes.load(Ordering::Acquire) == self.changes.get()
    }

    /// `Endpoint::find_out`.
    fn find_out(&self) {
        let changes = self.world.changes.load(Ordering::Acquire);
        let others = (0..self.world.map.participants).map(|id| {
            let word = self.world.word(id).load(Ordering::Acquire);
            let Some(entry) = MemberWord::read(word) else { return 0 };
            if entry.state != MemberState::Live {
                return 0;
            }
            let row = self.world.rows[usize::from(id)].endpoints.load(Ordering::Acquire);
            if row >> 32 != entry.incarnation {
                return 0;
            }
            match self.side {
                Side::Sender => row & 0xFFFF,
                Side::Receiver => row >> 16 & 0xFFFF,
            }
        });
        self.alone.set(others.sum::<u64>() == 0);
        self.changes.set(changes);
    }

    fn items(&self) -> Event<'_> {
        Event { waiting: &self.world.items_waiting, sem: self.world.map.items(0) }
    }

    fn space(&self) -> Event<'_> {
        Event { waiting: &self.world.space_waiting, sem: self.world.map.space(0) }
    }

    /// `Endpoint::notify_other`.
    fn notify_other(&self) {
        let event = match self.side {
            Side::Sender => self.items(),
            Side::Receiver => self.space(),
        };
        if mutant::has("skip if the word is unchanged") {
            self.process.light_fence();
            let word = event.waiting.load(Ordering::Relaxed);
            if word as u32 == 0 || self.rung.replace(Some(word)) == Some(word) {
                return;
            }
            let _ = event::post(&self.process, event.sem);
            return;
        }
        let mut memo = self.memo.get();
        let _ = event::notify(&self.process, event, &mut memo);
        self.memo.set(memo);
    }

    /// `Endpoint::notify_own`.
    fn notify_own(&self) {
        let event = match self.side {
            Side::Sender => self.space(),
            Side::Receiver => self.items(),
        };
        let _ = event::notify(&self.process, event, &mut Memo::default());
    }

    /// `Sender::push`.
    fn push(&self, message: u64) -> Result<(), Stuck> {
        if !self.quiet() && !self.informed.get() {
            return Err(Stuck::Changed);
        }
        if self.alone.get() {
            return Err(Stuck::Alone);
        }
        let early = mutant::has("told before it is published");
        if early {
            self.notify_other();
        }
        let pushed = self.world.ring.push(&self.cursor, self.me.id, message);
        pushed.map_err(|_| Stuck::Nothing)?;
        self.world.published.borrow_mut().push(message);
        if !early {
            self.notify_other();
        }
        Ok(())
    }

    /// `Receiver::pop`.
    fn pop(&self) -> Result<u64, Stuck> {
        let popped = self.world.ring.pop(&self.cursor, self.me.id);
        let message = popped.map_err(|refused| match refused {
            Refused::None => Stuck::Nothing,
            _ => Stuck::Pending,
        })?;
        self.world.consumed.borrow_mut().push(message);
        Ok(message)
    }

    /// `Receiver::get`.
    fn get(&self) -> Result<u64, Stuck> {
        if !self.quiet() && !self.informed.get() {
            return Err(Stuck::Changed);
        }
        let alone = self.alone.get();
        match self.pop() {
            Ok(message) => {
                self.notify_other();
                // Asked once more, after the release and the fence within
                // the call above.
                let before = mutant::has("alone is known before the release");
                if alone || !before && !self.quiet() {
                    self.notify_own();
                }
                Ok(message)
            }
            Err(Stuck::Nothing) if alone => Err(Stuck::Alone),
            Err(stuck) => Err(stuck),
        }
    }

    /// `insist` of both.
    fn insist<R>(
        &self,
        mut stuck: Stuck,
        attempt: impl Fn() -> Result<R, Stuck>,
    ) -> Option<Result<R, Told>> {
        loop {
            match stuck {
                Stuck::Nothing | Stuck::Pending => return None,
                Stuck::Alone
                    if self.side == Side::Receiver && mpmc::in_flight(&self.world.ring) =>
                {
                    return None;
                }
                Stuck::Alone => return Some(Err(Told::Disconnected)),
                Stuck::Changed => self.find_out(),
            }
            self.informed.set(true);
            let result = attempt();
            self.informed.set(false);
            match result {
                Ok(done) => return Some(Ok(done)),
                Err(why) => stuck = why,
            }
        }
    }

    /// `Sender::send`.
    pub(crate) fn send(&self, message: u64) -> Result<(), Told> {
        let record = &self.world.rows[usize::from(self.me.id)].space_record;
        let more = || mpmc::room(&self.world.ring, self.cursor.get());
        self.by(self.space(), record, None, || self.push(message), more)
    }

    /// These have waited before and are still counted. `self` has woken all of
    /// them since, and owes none a token.
    pub(crate) fn has_woken<const N: usize>(&self, waiters: [&Self; N]) {
        self.world.system.returns();
        for waiter in waiters {
            let record = &self.world.rows[usize::from(waiter.me.id)].items_record;
            waiter.registration.announce(&waiter.process, &self.world.items_waiting, record);
            waiter.registration.woken(&waiter.process);
        }
        for waiter in waiters {
            self.notify_other();
            waiter.process.semop(&[Op::take(self.items().sem, 1)], None).unwrap();
        }
    }

    /// `Endpoint::let_go`.
    pub(crate) fn let_go(&self) {
        let record = &self.world.rows[usize::from(self.me.id)].items_record;
        self.registration.let_go(self.items(), record);
    }

    /// `Receiver::recv_by`.
    pub(crate) fn receive(&self, until: Option<Deadline>) -> Result<u64, Told> {
        let record = &self.world.rows[usize::from(self.me.id)].items_record;
        let more = || mpmc::available(&self.world.ring, self.cursor.get());
        self.by(self.items(), record, until, || self.get(), more)
    }

    fn by<R>(
        &self,
        event: Event<'_>,
        record: &AtomicU64,
        until: Option<Deadline>,
        attempt: impl Fn() -> Result<R, Stuck>,
        more: impl Fn() -> bool,
    ) -> Result<R, Told> {
        let insist = || match attempt() {
            Ok(done) => Some(Ok(done)),
            Err(stuck) => self.insist(stuck, &attempt),
        };
        match insist() {
            Some(done) => done,
            None => self.wait(event, record, until, insist, more),
        }
    }

    /// `Endpoint::wait`.
    fn wait<R>(
        &self,
        event: Event<'_>,
        record: &AtomicU64,
        until: Option<Deadline>,
        mut attempt: impl FnMut() -> Option<Result<R, Told>>,
        more: impl Fn() -> bool,
    ) -> Result<R, Told> {
        let mut hasty = mutant::has("not tried again before it sleeps");
        let attempt = || if core::mem::take(&mut hasty) { None } else { attempt() };
        let more = |done: &Result<R, Told>| !mutant::has("no baton") && (done.is_err() || more());
        let registration = &self.registration;
        let listen = || self.listen();
        match event::park(&self.process, event, record, registration, until, attempt, more, listen)
        {
            Parked::Ready(done) => done,
            Parked::TimedOut => Err(Told::TimedOut),
            Parked::Gone(blind) => panic!("the set is still there: {blind:?}"),
        }
    }

    /// One round of `Watcher::run` in `src/channel/ready.rs`: waits until a
    /// receive could come to something, or another answer; `false` if it is to
    /// stop.
    pub(crate) fn watch(&self, stop: &AtomicU64) -> bool {
        let record = &self.world.rows[usize::from(self.me.id)].items_record;
        let asked = self.changes.get();
        let mut hasty = mutant::has("not looked before it sleeps");
        let attempt = || {
            if core::mem::take(&mut hasty) {
                return None;
            }
            if stop.load(Ordering::Acquire) != 0 {
                return Some(false);
            }
            let changed = self.world.changes.load(Ordering::Acquire) != asked;
            (changed || mpmc::available(&self.world.ring, self.cursor.get())).then_some(true)
        };
        let more = |_: &bool| !mutant::has("the watcher keeps its token");
        let (items, registration) = (self.items(), &self.registration);
        let listen = || self.listen();
        let parked =
            event::park(&self.process, items, record, registration, None, attempt, more, listen);
        registration.let_go(items, record);
        match parked {
            Parked::Ready(progress) => progress,
            other => panic!("there is no deadline, and the set is still there: {other:?}"),
        }
    }

    /// One round of `Readiness::drop`, from another process than the watcher's:
    /// enough where nobody else takes a token.
    pub(crate) fn end(&self, stop: &AtomicU64) {
        stop.store(1, Ordering::Release);
        if !mutant::has("nobody is roused") {
            event::rouse(&self.process, self.items(), || false).unwrap();
        }
    }

    /// `Participant::withdraw`, of the only endpoint.
    pub(crate) fn withdraw(&self) {
        let row = &self.world.rows[usize::from(self.me.id)];
        row.endpoints.store(self.me.incarnation << 32, Ordering::Release);
        self.world.changes.fetch_add(1, Ordering::Release);
        let event = match self.side {
            Side::Sender => self.items(),
            Side::Receiver => self.space(),
        };
        let _ = event::notify(&self.process, event, &mut Memo::default());
        if mutant::has("no credit") {
            return;
        }
        for sem in [self.world.map.items(0), self.world.map.space(0)] {
            credit::disarm(&self.process, sem).unwrap();
        }
    }

    /// Begins to read a message, and never ends.
    pub(crate) fn take_and_keep(&self) {
        let _ = settled(|| mpmc::take(&self.world.ring, &self.cursor, self.me.id)).unwrap();
    }

    /// Receives until there is nobody to receive from.
    pub(crate) fn drain(&self) -> Vec<u64> {
        let mut all = Vec::new();
        loop {
            match self.receive(None) {
                Ok(message) => all.push(message),
                Err(told) => {
                    assert_eq!(told, Told::Disconnected);
                    return all;
                }
            }
        }
    }
}
