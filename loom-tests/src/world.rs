//! A segment with one channel, and the processes that are attached to it.
//!
//! Waits are the shipping [`wait`](crate::ring::wait): here stands only what that asks
//! of an end of a channel ([`Operation`]). The steps of
//! `src/segment/{sweep,participant,enlist}.rs` around the rings (a sweep, an
//! endpoint's row) are repeated; when they change, this changes.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::checker;
use crate::death::{self, Fate};
use crate::kernel::{Deadline, Process, System};
use crate::mutant;
use crate::operation::Plain;
use crate::ring::credit;
use crate::ring::event::{self, Event, Life, Memo, Wakes};
use crate::ring::kernel::{Kernel, LightFence, Op, Refusal};
use crate::ring::mpmc::{self, Cursor, Dead, Refused};
use crate::ring::recovery::Repairing;
use crate::ring::set::SetMap;
use crate::ring::table::{self, Blind, Member, MemberState, MemberWord, Scratch, Table};
use crate::ring::wait::set::{self, Mark, Place, Prospect, Slept};
use crate::ring::wait::{
    Cause, Found, Heard, NotNow, Operation, Polled, Queue, Registration, Seat, Session, Waited,
    poll,
};
use crate::ring::wake_all;
use crate::slots::{HasSlots, Slots};
use crate::sync::{AtomicU64, Ordering, fence};

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

    /// As `push` in `src/kinds/mpmc/mod.rs`, of one message.
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

/// One participant's row in the channel.
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

impl Side {
    const fn other(self) -> Self {
        match self {
            Self::Sender => Self::Receiver,
            Self::Receiver => Self::Sender,
        }
    }
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
    /// The messages consumed: the model's own knowledge.
    pub(crate) consumed: RefCell<Vec<u64>>,
    /// The messages published.
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
    /// Whether it has met a peer, so that their end is one for it.
    pub(crate) met: Cell<bool>,
    memo: Cell<Memo>,
    pub(crate) registration: Registration<Deadline>,
    cursor: Cell<Cursor>,
    /// For a mutant: the word at which it last rang.
    rung: Cell<Option<u64>>,
}

/// What an end lacked when it found nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    cursor: Cursor,
    changes: u64,
    alone: bool,
}

/// Answers to a receiver that are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Disconnected,
    TimedOut,
}

impl World {
    /// [`new`](Self::new), and one peer for each side.
    pub(crate) fn between<const N: usize>(
        capacity: usize,
        sides: [Side; N],
    ) -> (Rc<Self>, [Peer; N]) {
        let (world, peers) = Self::new(capacity, &sides);
        (world, peers.try_into().unwrap_or_else(|_| unreachable!("one peer for each side")))
    }

    /// A channel of `capacity` slots between `sides`, all of whom are
    /// attached, by one process each. Nobody is in sight yet but them.
    pub(crate) fn new(capacity: usize, sides: &[Side]) -> (Rc<Self>, Vec<Peer>) {
        let map = SetMap { participants: sides.len() as u16, channels: 1, own_bells: false };
        let system = Rc::new(System::new(map.count(), sides.len()));
        let row = |side: &Side| {
            let endpoints = match side {
                Side::Sender => 1 << 16,
                Side::Receiver => 1,
            };
            Row {
                endpoints: AtomicU64::new(FIRST << 32 | endpoints),
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
                    met: Cell::new(true),
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
            if mpmc::recover(
                &self.ring,
                Dead { owner: dead.id, attempts: self.attempts, committed: 0 },
                &Repairing(still_dead),
                |_, _| {},
            )
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
            for event in [self.items(), self.space()] {
                let value = values[usize::from(event.sem)];
                if mutant::has("a sweep rouses nobody") {
                    event::post(process, event.sem)?;
                } else {
                    event::tell_of_death(process, event, value)?;
                }
            }
        }
        Ok(())
    }

    fn items(&self) -> Event<'_> {
        Event {
            waiting: &self.items_waiting,
            sem: self.map.items(0),
            wakes: Wakes::One,
            watch: None,
        }
    }

    fn space(&self) -> Event<'_> {
        Event {
            waiting: &self.space_waiting,
            sem: self.map.space(0),
            wakes: Wakes::One,
            watch: None,
        }
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

    /// `Participant::scan_for_sleeper`.
    fn listen(&self, sem: u16) -> Heard {
        if mutant::has("no look after a wake") {
            let wake_all = Some(self.process.system.value(SetMap::WAKE_ALL));
            return Heard { own: self.process.system.value(sem), wake_all };
        }
        self.look().expect("the set is still there");
        let scratch = self.scratch.borrow();
        Heard { own: scratch.heard(sem), wake_all: Some(scratch.heard(SetMap::WAKE_ALL)) }
    }

    /// `Endpoint::quiet`: never while the other side has gone.
    fn quiet(&self) -> bool {
        self.world.changes.load(Ordering::Acquire) == self.changes.get() && !self.alone.get()
    }

    /// `Endpoint::find_out`.
    fn find_out(&self) -> Found {
        let changes = self.world.changes.load(Ordering::Acquire);
        if self.alone.get() && changes == self.changes.get() {
            return Found::PeersGone;
        }
        self.alone.set(self.met.get() && self.peers(self.side) == 0);
        self.changes.set(changes);
        if self.alone.get() { Found::PeersGone } else { Found::Open }
    }

    /// How many peers an end of this side has: `Participant::has_peer`.
    fn peers(&self, of: Side) -> u64 {
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
            match of {
                Side::Sender => row & 0xFFFF,
                Side::Receiver => row >> 16 & 0xFFFF,
            }
        });
        others.sum()
    }

    fn items(&self) -> Event<'_> {
        self.world.items()
    }

    fn space(&self) -> Event<'_> {
        self.world.space()
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

    /// `Endpoint::tell_receivers`.
    fn tell_receivers(&self) {
        let _ = event::rouse(&self.process, self.items(), || false);
    }

    /// `Endpoint::publish`.
    fn push(&self, informed: bool, message: u64) -> Result<u64, NotNow> {
        if !self.quiet() && !informed {
            return Err(NotNow::Changed);
        }
        let early = mutant::has("told before it is published");
        if early {
            self.notify_other();
        }
        let pushed = self.world.ring.push(&self.cursor, self.me.id, message);
        pushed.map_err(not_now)?;
        self.world.published.borrow_mut().push(message);
        if !early {
            self.notify_other();
        }
        Ok(message)
    }

    /// `Endpoint::consume`.
    fn pop(&self, informed: bool) -> Result<u64, NotNow> {
        if !self.quiet() && !informed {
            return Err(NotNow::Changed);
        }
        let early = mutant::has("alone is known before the release").then(|| self.quiet());
        let message = self.world.ring.pop(&self.cursor, self.me.id).map_err(not_now)?;
        self.world.consumed.borrow_mut().push(message);
        self.notify_other();
        // Asked once more, after the release and the fence within the call
        // above.
        if !early.unwrap_or_else(|| self.quiet()) {
            self.tell_receivers();
        }
        Ok(message)
    }

    pub(crate) fn send(&self, message: u64) -> Result<(), Told> {
        self.by(Act::Send(message), None).map(drop)
    }

    pub(crate) fn receive(&self, until: Option<Deadline>) -> Result<u64, Told> {
        self.by(Act::Receive, until)
    }

    /// `Endpoint::wait_on`, without spinning.
    fn by(&self, act: Act, until: Option<Deadline>) -> Result<u64, Told> {
        let mut trying = Trying { peer: self, act, hasty: false };
        if let Polled::Done(done) = poll(&mut trying)? {
            return Ok(done);
        }
        trying.hasty = mutant::has("not tried again before it sleeps");
        match Session::new(&self.process, self.seat(), until).block(&mut trying)? {
            Waited::Done(done) => Ok(done),
            Waited::TimedOut => Err(Told::TimedOut),
            Waited::Needs(need) => panic!("nobody needs {need:?} here"),
        }
    }

    fn seat(&self) -> Seat<'_, Deadline> {
        let row = &self.world.rows[usize::from(self.me.id)];
        let (event, record) = match self.side {
            Side::Sender => (self.space(), &row.space_record),
            Side::Receiver => (self.items(), &row.items_record),
        };
        let queue = Queue::Side(event);
        let life = Life::new(self.world.word(self.me.id), self.me.incarnation);
        Seat { queue, record, life, registration: &self.registration }
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
        self.seat().let_go();
    }

    /// Begins to wait for a message without taking it, and gives that up once it is
    /// woken.
    pub(crate) fn gives_up(&self, until: Deadline) {
        let there = || mpmc::available(&self.world.ring, self.cursor.get());
        let attempt = || if there() { Ok(()) } else { Err(NotNow::Nothing) };
        let look = |sem| self.listen(sem);
        let mut watch = Plain { attempt, more: || true, look, owed: None };
        let mut session = Session::new(&self.process, self.seat(), Some(until));
        session.register();
        if session.poll(&mut watch).is_none() {
            session.sleep();
            if mutant::has("given up with the token") {
                self.let_go();
            } else {
                session.deregister(&mut watch);
            }
        }
    }

    /// The place of this end in a set.
    pub(crate) fn place<'a>(&'a self, mark: &'a Mark) -> Place<'a> {
        let Seat { queue, record, life, .. } = self.seat();
        Place { queue, record, life, mark, watch: None }
    }

    /// `Participant::listen_to`.
    pub(crate) fn listen_to(&self, values: &mut Vec<u16>) {
        self.look().expect("the set is still there");
        self.scratch.borrow().copy_into(values);
    }

    /// What has refused its last try: `Endpoint::ask`.
    pub(crate) fn asks(&self) -> Ask {
        Ask { cursor: self.cursor.get(), changes: self.changes.get(), alone: self.alone.get() }
    }

    /// Whether a receive could come to something, or to another answer: `Entry::look` in
    /// `src/channel/reactor.rs`.
    pub(crate) fn prospect(&self, ask: Ask) -> Prospect {
        let ring = &self.world.ring;
        if mpmc::available(ring, ask.cursor) {
            Prospect::Ready
        } else if self.world.changes.load(Ordering::Acquire) != ask.changes
            || ask.alone && !mpmc::in_flight(ring)
        {
            Prospect::Over
        } else {
            Prospect::Nothing
        }
    }

    /// Receives without waiting; `None` if nothing is there.
    pub(crate) fn try_receive(&self) -> Option<Result<u64, Told>> {
        match poll(&mut Trying { peer: self, act: Act::Receive, hasty: false }) {
            Ok(Polled::Done(message)) => Some(Ok(message)),
            Ok(Polled::Needs(_)) => None,
            Err(told) => Some(Err(told)),
        }
    }

    /// Ends a sleep of the thread behind this process's handles: `Participant::call_own`.
    pub(crate) fn call_own(&self) {
        wake_all::strike(&self.process).unwrap();
    }

    /// The rounds of `Core::run` in `src/channel/reactor.rs` for one ask: waits until a receive
    /// could come to something, or another answer; `false` if it is to stop.
    pub(crate) fn watch(&self, stop: &AtomicU64) -> bool {
        let (asked, mark) = (self.asks(), Mark::default());
        let place = self.place(&mark);
        let (mut values, mut ops, mut unseen) = (Vec::new(), Vec::new(), None);
        let mut hasty = mutant::has("not looked before it sleeps");
        let stops = || stop.load(Ordering::Acquire) != 0;
        loop {
            let early = mutant::has("asks are read before the values").then(stops);
            self.listen_to(&mut values);
            if early.unwrap_or_else(stops) {
                place.let_go();
                return false;
            }
            let changed = place.hear(&self.process, &values);
            if place.is_due(changed) && place.announce(&self.process) {
                self.process.heavy_fence();
                unseen = self.process.soon();
            } else {
                fence(Ordering::SeqCst);
            }
            let found = match core::mem::take(&mut hasty) {
                true => Prospect::Nothing,
                false => self.prospect(asked),
            };
            let told = found != Prospect::Nothing;
            if told {
                place.let_go();
            }
            if !mutant::has("the watcher keeps its token") {
                place.answer(&self.process, found).unwrap();
            }
            if told {
                return true;
            }
            ops.clear();
            place.compare(&mut ops);
            unseen = unseen.filter(|unseen| *unseen > self.process.now());
            let wake_all = values[usize::from(SetMap::WAKE_ALL)];
            match set::rest(&self.process, &mut ops, wake_all, unseen) {
                Slept::Refused(refusal) => panic!("the set is still there: {refusal:?}"),
                Slept::Changed | Slept::Seen | Slept::Late => {}
            }
        }
    }

    /// The end of a reactor's last handle.
    pub(crate) fn end(&self, stop: &AtomicU64) {
        stop.store(1, Ordering::Release);
        if !mutant::has("nobody is roused") {
            self.call_own();
        }
    }

    /// `Participant::withdraw`, of the only endpoint.
    pub(crate) fn withdraw(&self) {
        self.close();
        if mutant::has("no credit") {
            return;
        }
        for sem in [self.world.map.items(0), self.world.map.space(0)] {
            credit::disarm(&self.process, sem).unwrap();
        }
    }

    /// The same of the only one of its side, where the process keeps others.
    pub(crate) fn close(&self) {
        let row = &self.world.rows[usize::from(self.me.id)];
        row.endpoints.store(self.me.incarnation << 32, Ordering::Release);
        self.world.changes.fetch_add(1, Ordering::Release);
        let event = match self.side {
            Side::Sender => self.items(),
            Side::Receiver => self.space(),
        };
        fence(Ordering::SeqCst);
        let others = self.peers(self.side.other()) > 0;
        let _ = if others || mutant::has("one token for all") {
            event::notify(&self.process, event, &mut Memo::default())
        } else {
            event::rouse(&self.process, event, || false)
        };
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

fn not_now(refused: Refused) -> NotNow {
    match refused {
        Refused::None => NotNow::Nothing,
        _ => NotNow::Pending,
    }
}

/// The steps of a peer.
#[derive(Clone, Copy, Debug)]
enum Act {
    Send(u64),
    Receive,
}

/// `Try` in `src/channel/blocking.rs`.
struct Trying<'a> {
    peer: &'a Peer,
    act: Act,
    /// For a mutant: the next attempt does nothing.
    hasty: bool,
}

impl Operation for Trying<'_> {
    type Done = u64;
    type Fault = Told;

    fn attempt(&mut self, informed: bool) -> Result<u64, NotNow> {
        if core::mem::take(&mut self.hasty) {
            return Err(NotNow::Nothing);
        }
        match self.act {
            Act::Send(message) => self.peer.push(informed, message),
            Act::Receive => self.peer.pop(informed),
        }
    }

    fn find_out(&mut self) -> Result<Found, Told> {
        Ok(self.peer.find_out())
    }

    fn receives(&self) -> bool {
        self.peer.side == Side::Receiver
    }

    fn in_flight(&self) -> bool {
        mpmc::in_flight(&self.peer.world.ring)
    }

    fn more(&self) -> bool {
        let (ring, cursor) = (&self.peer.world.ring, self.peer.cursor.get());
        !mutant::has("no baton")
            && match self.act {
                Act::Send(_) => mpmc::room(ring, cursor),
                Act::Receive => mpmc::available(ring, cursor),
            }
    }

    fn scan(&mut self, sem: u16, _: bool) -> Result<Heard, Told> {
        Ok(self.peer.listen(sem))
    }

    fn owes(&mut self, refusal: Refusal) {
        panic!("nothing is refused here: {refusal:?}");
    }

    fn fault(&self, cause: Cause) -> Told {
        assert_eq!(cause, Cause::Attempt(NotNow::PeersGone));
        Told::Disconnected
    }
}
