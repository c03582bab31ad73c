//! The thread of a process that waits for all of its handles that nobody waits with.
//!
//! A handle that is polled by an event loop, or awaited by a task, needs somebody who sleeps
//! for it. All such handles of a process in a segment share one thread, the reactor. It is
//! started for the first of them and ends with the last.
//!
//! ```text
//!  a handle                                            the reactor
//!
//!  a try finds nothing: says what it    ── ask ──▶  listens: looks for deaths, reads all values
//!  lacked, strikes if the reactor sleeps            announces the sides that are asked for
//!                                                   looks at every ask ── there ─▶ tells its handle
//!  event loop, task: tries once more ◀── told ───┐  sleeps over all of them, and over the strike
//!                                                └──────┘
//! ```
//!
//! The thread waits as a wait set does ([`set`](crate::ring::wait::set)): by one call that
//! sleeps while nothing changes.
//!
//! **No readiness is lost.** The reactor looks for the very thing that the try lacked, as the
//! try saw it, behind the fence of its announcement. So it finds what has come since, and is
//! woken for what comes later like any waiter. It looks at a call as a client does that is going
//! to sleep ([`calls`](crate::ring::calls)): the call's word says *asleep*, and whoever ends it
//! strikes the bell of this participant, which was read before.
//!
//! **No ask is overlooked.** Asks are written under a lock. The reactor reads them under the
//! lock after it has read the semaphore that is struck, and says under the lock that it is
//! going to sleep. An ask before that is part of the round. An ask after that sees that the
//! reactor sleeps, and strikes: the semaphore is not what was read, so the sleep ends, or does
//! not begin. If the reactor already sleeps over that side of the channel, no strike is
//! needed: the handle looks once more, under the lock, and what comes later ends the sleep.
//! Tasks mostly ask again soon. So the reactor goes on sleeping over a side that was asked for
//! by a task, until something comes there that nobody asked for.
//!
//! **It keeps nothing from others.** The reactor consumes nothing. It passes each token on that
//! it has taken, as soon as it has told a handle. So it does not matter whether that handle
//! comes round, or whether its task still exists. All handles of the process for which the
//! change may be are told.
//!
//! **Many handles.** Over more than some thirty sides of channels the reactor does not sleep in
//! this way: it [watches](crate::ring::watch) them. Then a round looks at those that have called,
//! and at new asks. A side that is armed and for which nobody asks is left armed: an ask looks
//! once more, as above. Where the segment has no bells for watchers, each further 490 sides or so
//! get a thread of their own.

use std::any::Any;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use super::{changes, queues};
use crate::error::Fault;
use crate::kinds::block::Block;
use crate::ring::bell;
use crate::ring::kernel::{Kernel, Op, Refusal};
use crate::ring::set::SetMap;
use crate::ring::wait::Want;
use crate::ring::wait::rounds::Rounds;
use crate::ring::wait::set::{self, Mark, Place, Prospect, Slept};
use crate::ring::watch::Topic;
use crate::segment::{Ear, Participant, Peer, Side};
use crate::storage::Cells;
use crate::sync::{Ordering, fence};
use crate::sys;
use crate::sys::event_fd::EventFd;
use crate::wait::Semaphores;

/// More sides of channels than this are watched.
const COUNTED: usize = 30;

/// What a handle waits for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    pub(super) want: Want,
    /// `changes` when the handle last looked.
    pub(super) changes: u64,
    /// A receiver found no sender left, and a message in the hands of a
    /// reader: it also waits for that one to have let go of it.
    pub(super) alone: bool,
    /// The participant whose end it waits for, unless it is alone.
    pub(super) peer: Option<Peer>,
}

/// How a handle is told.
pub(super) enum Tell {
    /// By a descriptor, which is set if nothing is asked.
    Descriptor(Arc<EventFd>),
    /// By waking the task that asked last.
    #[cfg_attr(not(feature = "async"), expect(dead_code, reason = "only tasks ask so"))]
    Task(Option<Waker>),
}

/// What an ask comes to at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// The handle will be told.
    Waits,
    /// It is worth trying again.
    There,
}

/// A handle's share of a reactor.
pub(super) struct Interest {
    /// Until it has ended.
    reactor: Option<Arc<Reactor>>,
    entry: usize,
}

/// One side of a channel, as long as handles of it have a share.
struct Spot {
    block: Block,
    side: Side,
    mark: Mark,
    /// Which.
    users: Vec<usize>,
    /// How many of them ask. Where the spots are counted: in the round that goes on.
    asking: usize,
    /// What the round has found for them.
    found: Prospect,
    /// Whether it stays counted while none of them asks.
    stays: bool,
}

/// A handle.
struct Entry {
    /// Of a call there is none: what wakes it is the bell of this participant, over which the
    /// thread always sleeps.
    spot: Option<usize>,
    cells: Cells,
    /// What it waits for. If nothing, it has been told.
    ask: Option<Ask>,
    tell: Tell,
    /// A token that was to be passed on, and could not.
    owed: Option<Refusal>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing is asked.
    Idle,
    /// It will read what is asked before it sleeps.
    Round,
    /// It sleeps, or is about to.
    Asleep { struck: bool },
}

struct State {
    phase: Phase,
    entries: Vec<Option<Entry>>,
    /// Those without a spot.
    calls: Vec<usize>,
    spots: Vec<Option<Spot>>,
    /// How many operations a sleep over all spots takes.
    ops: usize,
    /// If there are many spots: which of them are to be looked at. Then they are
    /// [watched](crate::ring::watch).
    rounds: Option<Rounds<Instant>>,
    /// How many asks there are, and whether tasks are expected to ask again.
    asks: usize,
    expects: bool,
    /// When everybody is sure to have seen what was announced, if not yet.
    unseen: Option<Instant>,
    /// Why nobody can wait here any more.
    gone: Option<Fault>,
    stop: bool,
}

/// What the thread and the handles share.
struct Core {
    participant: Arc<Participant>,
    state: Mutex<State>,
    changed: Condvar,
}

/// The thread, as its handles have it.
pub(super) struct Reactor {
    core: Arc<Core>,
    thread: Option<JoinHandle<()>>,
}

/// One side of a channel, in this process.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) participant: &'a Arc<Participant>,
    pub(super) block: &'a Block,
    /// Of a call there is none.
    pub(super) side: Option<Side>,
    /// The channel's.
    pub(super) cells: &'a Cells,
}

impl Spot {
    fn new(block: &Block, side: Side) -> Self {
        let (mark, found, users) = (Mark::default(), Prospect::Nothing, Vec::new());
        Self { block: *block, side, mark, users, asking: 0, found, stays: false }
    }

    fn topic(&self) -> Topic {
        queues::topic(&self.block, self.side)
    }

    fn watched_place<'a>(&'a self, participant: &'a Participant) -> Place<'a> {
        queues::watched_place(participant, &self.block, self.side, &self.mark)
    }

    /// Whether the thread hears of what comes here, while it sleeps.
    fn is_heard(&self) -> bool {
        self.mark.is_counted() || self.mark.is_armed()
    }

    fn place<'a>(&'a self, participant: &'a Participant) -> Place<'a> {
        queues::place(participant, &self.block, self.side, &self.mark)
    }

    /// One round is over for it: takes it out of the count if there is no use in that, passes
    /// on what token was taken, and says what the sleep has to compare.
    fn settle(&self, participant: &Participant, ops: &mut Vec<Op>) -> Result<(), Refusal> {
        let place = self.place(participant);
        if self.asking == 0 && !self.stays {
            place.let_go();
        }
        let answered = place.answer(&participant.mapped().semaphores, self.found);
        if self.mark.is_counted() {
            place.compare(ops);
        }
        answered
    }
}

impl Entry {
    /// Whether a try could come to something, or to another answer.
    fn look(&self, participant: &Participant) -> Prospect {
        let Some(ask) = self.ask else { return Prospect::Nothing };
        let is_over = || {
            changes::count(&self.cells) != ask.changes
                || if ask.alone {
                    !self.cells.in_flight()
                } else {
                    ask.peer.is_some_and(|peer| !peer.is_live(participant.mapped()))
                }
        };
        match self.cells.has(ask.want) {
            true => Prospect::Ready,
            false if is_over() => Prospect::Over,
            false => Prospect::Nothing,
        }
    }

    /// Tells the handle, if it asks: sets its descriptor, or returns what its task is to be
    /// woken by.
    fn told(&mut self) -> Option<Waker> {
        self.ask.take()?;
        match &mut self.tell {
            Tell::Descriptor(fd) => {
                fd.set();
                None
            }
            Tell::Task(waker) => waker.take(),
        }
    }
}

impl State {
    fn new() -> Self {
        Self {
            phase: Phase::Round,
            entries: Vec::new(),
            calls: Vec::new(),
            spots: Vec::new(),
            ops: 0,
            rounds: None,
            asks: 0,
            expects: false,
            unseen: None,
            gone: None,
            stop: false,
        }
    }

    fn is_idle(&self) -> bool {
        if self.stop || self.asks > 0 {
            return false;
        }
        match self.rounds {
            Some(_) => !self.expects,
            None => !self.spots.iter().flatten().any(|spot| spot.mark.is_counted()),
        }
    }

    /// From here on, the spots are watched.
    fn watch(&mut self, participant: &Participant) {
        let mut rounds = Rounds::new();
        for (at, spot) in self.spots.iter_mut().enumerate() {
            let channel = spot.as_ref().map_or(0, |spot| spot.block.index);
            rounds.put(at, channel);
            let Some(spot) = spot else {
                rounds.vacate(at);
                continue;
            };
            spot.place(participant).let_go();
            participant.watch(&spot.block, spot.topic());
            spot.asking = 0;
            for &user in &spot.users {
                let asks = self
                    .entries
                    .get(user)
                    .is_some_and(|entry| entry.as_ref().is_some_and(|entry| entry.ask.is_some()));
                spot.asking += usize::from(asks);
            }
        }
        self.rounds = Some(rounds);
    }

    /// A share for a handle, if a sleep over that takes no more operations than a call may have.
    /// Also says whether the thread has to be told.
    fn admit(&mut self, at: &At<'_>, tell: Tell, most: u64) -> Option<(usize, bool)> {
        if self.gone.is_some() || self.stop {
            return None;
        }
        let &At { participant, block, side, cells } = at;
        let Some(side) = side else {
            let entry = Entry { spot: None, cells: cells.clone(), ask: None, tell, owed: None };
            let entry = put(&mut self.entries, entry);
            self.calls.push(entry);
            return Some((entry, false));
        };
        let is_it = |spot: &Option<Spot>| {
            spot.as_ref().is_some_and(|spot| spot.side == side && spot.block == *block)
        };
        let mut others = false;
        let spot = match self.spots.iter().position(is_it) {
            Some(known) => known,
            None => {
                let spot = Spot::new(block, side);
                let ops = self.ops + spot.place(participant).ops();
                let fits = ops as u64 <= most;
                if self.rounds.is_none() && (!fits || self.spots.len() >= COUNTED) {
                    if participant.own_bell().is_some() {
                        self.watch(participant);
                        others = true;
                    } else if !fits {
                        return None;
                    }
                }
                self.ops = ops;
                let topic = spot.topic();
                let at = put(&mut self.spots, spot);
                if let Some(rounds) = &mut self.rounds {
                    participant.watch(block, topic);
                    rounds.put(at, block.index);
                }
                at
            }
        };
        let entry = Entry { spot: Some(spot), cells: cells.clone(), ask: None, tell, owed: None };
        let entry = put(&mut self.entries, entry);
        if let Some(Some(spot)) = self.spots.get_mut(spot) {
            spot.users.push(entry);
        }
        Some((entry, others))
    }

    /// An entry asks; whether it did not before. Its spot is looked at.
    fn ask(&mut self, at: usize, ask: Ask) -> Option<bool> {
        let entry = self.entries.get_mut(at)?.as_mut()?;
        let first = entry.ask.replace(ask).is_none();
        let spot = entry.spot;
        self.asks += usize::from(first);
        if let (Some(rounds), Some(at)) = (&mut self.rounds, spot)
            && let Some(Some(spot)) = self.spots.get_mut(at)
        {
            spot.asking += usize::from(first);
            if !spot.mark.is_armed() {
                rounds.list(at);
            }
        }
        Some(first)
    }

    /// Tells an entry, if it asks.
    fn told(&mut self, at: usize) -> Option<Waker> {
        let entry = self.entries.get_mut(at)?.as_mut()?;
        entry.ask?;
        self.asks -= 1;
        if let (Some(_), Some(spot)) = (&self.rounds, spot_of(&mut self.spots, entry.spot)) {
            spot.asking -= 1;
        }
        entry.told()
    }

    fn entry(&mut self, at: usize) -> Option<&mut Entry> {
        self.entries.get_mut(at)?.as_mut()
    }

    /// The handle has gone. Returns its waker, which is to be dropped without the lock.
    fn remove(&mut self, at: usize, participant: &Participant) -> Option<Entry> {
        let entry = self.entries.get_mut(at)?.take()?;
        let asks = usize::from(entry.ask.is_some());
        self.asks -= asks;
        let Some(at_spot) = entry.spot else {
            self.calls.retain(|&call| call != at);
            return Some(entry);
        };
        let place = self.spots.get_mut(at_spot)?;
        let spot = place.as_mut()?;
        if self.rounds.is_some() {
            spot.asking -= asks;
        }
        spot.users.retain(|&user| user != at);
        if spot.users.is_empty() {
            // While this process has its credits. A token that was meant for it is there for
            // others.
            spot.place(participant).let_go();
            self.ops -= spot.place(participant).ops();
            if let Some(rounds) = &mut self.rounds {
                participant.unwatch(&spot.block, spot.topic());
                rounds.vacate(at_spot);
            }
            *place = None;
        }
        Some(entry)
    }

    /// Tells every handle that asks.
    fn tell_all(&mut self, wakers: &mut Vec<Waker>) {
        wakers.extend((0..self.entries.len()).filter_map(|at| self.told(at)));
    }

    /// Leaves all queues.
    fn leave(&self, participant: &Participant) {
        self.spots.iter().flatten().for_each(|spot| spot.place(participant).let_go());
    }
}

fn spot_of(spots: &mut [Option<Spot>], spot: Option<usize>) -> Option<&mut Spot> {
    spots.get_mut(spot?)?.as_mut()
}

/// Puts something into the first vacant place.
fn put<T>(all: &mut Vec<Option<T>>, one: T) -> usize {
    match all.iter().position(Option::is_none) {
        Some(vacant) => {
            all[vacant] = Some(one);
            vacant
        }
        None => {
            all.push(Some(one));
            all.len() - 1
        }
    }
}

/// What the thread keeps from round to round.
#[derive(Default)]
struct Buffers {
    /// What it watches with, where the set has bells for that.
    ear: Option<Ear>,
    values: Vec<u16>,
    ops: Vec<Op>,
    wakers: Vec<Waker>,
}

/// How a round has ended.
enum Next {
    Sleep(Option<Instant>),
    Again,
}

impl Core {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let ear = self.participant.own_bell().map(|_| Ear::new(&self.participant));
        let mut buffers = Buffers { ear, ..Buffers::default() };
        let ended = loop {
            if self.rest() {
                break None;
            }
            let next = match self.round(&mut buffers) {
                Ok(next) => next,
                Err(fault) => break Some(fault),
            };
            wake(&mut buffers.wakers);
            let Next::Sleep(until) = next else { continue };
            let semaphores = &self.participant.mapped().semaphores;
            let wake_all = reading(&buffers.values, SetMap::WAKE_ALL);
            match set::rest(semaphores, &mut buffers.ops, wake_all, until) {
                Slept::Changed | Slept::Seen | Slept::Late => {}
                Slept::Refused(refusal) => break Some(self.participant.mapped().refused(refusal)),
            }
        };
        let mut state = self.state();
        state.leave(&self.participant);
        state.gone = ended;
        state.tell_all(&mut buffers.wakers);
        drop(state);
        wake(&mut buffers.wakers);
    }

    /// Waits until something is asked; says whether it is the end.
    fn rest(&self) -> bool {
        let mut state = self.state();
        if state.is_idle() {
            state.phase = Phase::Idle;
            let idle = |state: &mut State| state.is_idle();
            let woken = self.changed.wait_while(state, idle);
            state = woken.unwrap_or_else(PoisonError::into_inner);
        }
        state.phase = Phase::Round;
        state.stop
    }

    /// Listens, announces what is asked for, looks at all of it, tells.
    fn round(&self, buffers: &mut Buffers) -> Result<Next, Fault> {
        let changed = match &mut buffers.ear {
            Some(ear) => ear.listen(&mut buffers.values)?,
            None => self.participant.listen_to_all(&mut buffers.values).map(|()| false)?,
        };
        let mut state = self.state();
        if state.stop {
            return Ok(Next::Again);
        }
        if state.rounds.is_some() {
            return self.patrol(&mut state, buffers, changed);
        }
        let (participant, Buffers { values, ops, wakers, .. }) = (&*self.participant, buffers);
        let kernel = &participant.mapped().semaphores;
        let State { entries, calls, spots, unseen, phase, asks, .. } = &mut *state;
        for spot in spots.iter_mut().flatten() {
            (spot.asking, spot.found) = (0, Prospect::Nothing);
        }
        for entry in entries.iter().flatten().filter(|entry| entry.ask.is_some()) {
            if let Some(spot) = spot_of(spots, entry.spot) {
                spot.asking += 1;
            }
        }
        announce(participant, spots, values, unseen);
        // Only now: a process that was found dead is counted for nothing.
        participant.is_counted_alive()?;
        for entry in entries.iter_mut().flatten() {
            let found = entry.look(participant);
            if found == Prospect::Nothing {
                continue;
            }
            *asks -= 1;
            wakers.extend(entry.told());
            if let Some(spot) = spot_of(spots, entry.spot) {
                spot.asking -= 1;
                spot.stays = matches!(entry.tell, Tell::Task(_));
                // What is over for one may be over for all.
                spot.found = if spot.found == Prospect::Over { spot.found } else { found };
            }
        }
        compare_own(participant, values, ops);
        let waits = |call: &usize| {
            entries.get(*call).and_then(Option::as_ref).is_some_and(|entry| entry.ask.is_some())
        };
        let (mut asking, mut again) = (calls.iter().any(waits), false);
        for (at, spot) in spots.iter().enumerate() {
            let Some(spot) = spot else { continue };
            if let Err(refusal) = spot.settle(participant, ops)
                && refusal != Refusal::Removed
            {
                wakers.extend(owe(entries, at, asks, refusal));
            }
            asking |= spot.asking > 0 || spot.mark.is_counted();
            // It was taken out of the count because another's wait is over there.
            again |= spot.asking > 0 && !spot.mark.is_counted();
        }
        if again || !asking {
            return Ok(Next::Again);
        }
        *phase = Phase::Asleep { struck: false };
        let until = unseen.filter(|unseen| *unseen > kernel.now());
        *unseen = until;
        Ok(Next::Sleep(until))
    }

    /// The same where there are many spots: arms those that are asked for and have called, looks
    /// at what is asked of these, tells. `changed`: it looks at all.
    fn patrol(
        &self,
        state: &mut State,
        buffers: &mut Buffers,
        changed: bool,
    ) -> Result<Next, Fault> {
        let (participant, Buffers { ear, values, ops, wakers }) = (&*self.participant, buffers);
        let kernel = &participant.mapped().semaphores;
        let State { entries, calls, spots, rounds, unseen, phase, asks, expects, .. } = state;
        let Some(rounds) = rounds else { return Ok(Next::Again) };
        let nobody = Mark::default();
        let spot = |at: usize| spots.get(at).and_then(Option::as_ref);
        let mark = |at: usize| spot(at).map_or(&nobody, |spot| &spot.mark);
        rounds.begin(kernel.now(), mark);
        // After the bell has been read.
        if let Some(ear) = ear {
            rounds.called(&ear.collect(), mark);
        }
        if changed {
            rounds.list_all();
        }
        rounds.keep(|at| spot(at).is_some_and(|spot| spot.asking > 0), mark);
        let mut raised = false;
        for spot in rounds.listed().iter().filter_map(|at| spot(*at)) {
            raised |= spot.watched_place(participant).announce(kernel);
        }
        fence_after(kernel, raised, unseen);
        // Only now: a process that was found dead is counted for nothing.
        participant.is_counted_alive()?;
        let (mut again, mut tasks) = (false, false);
        for &call in &*calls {
            let Some(Some(entry)) = entries.get_mut(call) else { continue };
            if entry.look(participant) != Prospect::Nothing {
                *asks -= 1;
                tasks |= matches!(entry.tell, Tell::Task(_));
                wakers.extend(entry.told());
            }
        }
        for n in 0..rounds.listed().len() {
            let at = rounds.listed()[n];
            let Some(Some(spot)) = spots.get_mut(at) else { continue };
            let mut all = Prospect::Nothing;
            for &user in &spot.users {
                let Some(Some(entry)) = entries.get_mut(user) else { continue };
                let found = entry.look(participant);
                if found == Prospect::Nothing {
                    continue;
                }
                all = found;
                *asks -= 1;
                spot.asking -= 1;
                tasks |= matches!(entry.tell, Tell::Task(_));
                wakers.extend(entry.told());
            }
            spot.mark.found(all);
            rounds.looked(at, &spot.mark, || kernel.soon());
            // It is to be armed anew for those who are left.
            again |= spot.asking > 0 && !spot.mark.is_armed();
        }
        if tasks || *asks == 0 {
            // Tasks mostly ask again soon.
            *expects = tasks;
        }
        if again || *asks == 0 && !*expects {
            return Ok(Next::Again);
        }
        compare_own(participant, values, ops);
        *phase = Phase::Asleep { struck: false };
        *unseen = unseen.filter(|unseen| *unseen > kernel.now());
        Ok(Next::Sleep(*unseen))
    }

    /// Ends the sleep, if there is one, which `state` says.
    fn strike(&self, mut state: MutexGuard<'_, State>) -> Result<(), Fault> {
        match &mut state.phase {
            Phase::Idle => self.changed.notify_all(),
            Phase::Round | Phase::Asleep { struck: true } => {}
            Phase::Asleep { struck } => {
                *struck = true;
                drop(state);
                return self.participant.call_own();
            }
        }
        Ok(())
    }
}

fn reading(values: &[u16], sem: u16) -> u16 {
    values.get(usize::from(sem)).copied().unwrap_or_default()
}

/// Announces the spots for which somebody asks, behind one fence.
fn announce(
    participant: &Participant,
    spots: &mut [Option<Spot>],
    values: &[u16],
    unseen: &mut Option<Instant>,
) {
    let kernel = &participant.mapped().semaphores;
    let mut raised = false;
    for spot in spots.iter_mut().flatten() {
        let place = spot.place(participant);
        let changed = place.hear(kernel, values);
        if spot.asking > 0 {
            raised |= place.is_due(changed) && place.announce(kernel);
        } else if place.is_due(changed) {
            // It is for others.
            spot.stays = false;
        }
    }
    fence_after(kernel, raised, unseen);
}

/// The fence behind announcements; `raised`: the heavy one.
fn fence_after(kernel: &Semaphores, raised: bool, unseen: &mut Option<Instant>) {
    if raised {
        // Edge W.
        kernel.heavy_fence();
        *unseen = kernel.soon();
    } else {
        // Edge V.
        fence(Ordering::SeqCst);
    }
}

/// Begins what a sleep compares with the bell of this participant, as it was heard.
fn compare_own(participant: &Participant, values: &[u16], ops: &mut Vec<Op>) {
    ops.clear();
    if let Some(own) = participant.own_bell() {
        let heard = reading(values, own);
        // Refused, the sleep will say so.
        let _ = bell::wind(&participant.mapped().semaphores, own, heard);
        set::is_still(ops, own, heard);
    }
}

/// Has a handle of this spot give a wake that was refused here. Returns what its task is to be
/// woken by.
fn owe(
    entries: &mut [Option<Entry>],
    spot: usize,
    asks: &mut usize,
    refusal: Refusal,
) -> Option<Waker> {
    let entry = entries.iter_mut().flatten().find(|entry| entry.spot == Some(spot))?;
    *asks -= usize::from(entry.ask.is_some());
    entry.owed = Some(refusal);
    // It is to find out, whatever it does next.
    entry.cells.control().changes.fetch_add(1, Ordering::Release);
    entry.told()
}

/// Runs code of the program's, which may panic: that is not to end the thread of all handles.
fn wake(wakers: &mut Vec<Waker>) {
    for waker in wakers.drain(..) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| waker.wake())) {
            // To drop what it says is code of the program's, too.
            mem::forget(panic);
        }
    }
}

impl Reactor {
    fn start(participant: &Arc<Participant>) -> sys::Result<Self> {
        let state = Mutex::new(State::new());
        let participant = Arc::clone(participant);
        let core = Arc::new(Core { participant, state, changed: Condvar::new() });
        let theirs = Arc::clone(&core);
        let thread = Some(sys::thread::start("tombolo-reactor", move || theirs.run())?);
        Ok(Self { core, thread })
    }

    /// Ends the thread.
    fn stop(&mut self) -> Result<(), Fault> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        let participant = &self.core.participant;
        if participant.guard().in_child() {
            // There is no such thread here, and whoever held the lock is not
            // here either.
            mem::forget(thread);
            return Ok(());
        }
        let mut state = self.core.state();
        state.stop = true;
        if !participant.is_known() {
            // Either the set is gone and the thread with it, or it is out of
            // reach, in another IPC namespace.
            self.core.changed.notify_all();
            return Ok(());
        }
        // Refused, it is left to itself: it ends when something else wakes it,
        // and keeps what it needs until then.
        self.core.strike(state)?;
        // A task that it has woken may have been the last to use it.
        if thread.thread().id() != thread::current().id() {
            // It ended without a panic, or is not worth one.
            let _ = thread.join();
        }
        Ok(())
    }
}

impl Drop for Reactor {
    fn drop(&mut self) {
        // A handle that is closed is told: see `Endpoint::close`.
        let _ = self.stop();
    }
}

type Known = Vec<Weak<dyn Any + Send + Sync>>;

/// What the participant knows of its reactors.
fn known(participant: &Participant) -> MutexGuard<'_, Known> {
    participant.shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Those that are there. To be dropped without the lock: it may be the last to use one of them.
fn there(known: &mut Known) -> Vec<Arc<Reactor>> {
    known.retain(|one| one.strong_count() > 0);
    known.iter().filter_map(|one| one.upgrade()?.downcast().ok()).collect()
}

/// Has every handle of this process that waits here find out what has changed.
pub(super) fn stir(participant: &Participant) -> Result<(), Fault> {
    let all = there(&mut known(participant));
    all.iter().try_for_each(|reactor| reactor.core.strike(reactor.core.state()))
}

impl Interest {
    /// A share for one side of a channel.
    pub(super) fn new(at: &At<'_>, tell: impl Fn() -> Tell) -> sys::Result<Self> {
        let participant = at.participant;
        let most = participant.mapped().semaphores.most_ops().saturating_sub(set::OWN_OPS as u64);
        let found;
        // One at a time. A lock of this participant: a forked child may have others.
        let mut known = known(participant);
        found = there(&mut known);
        for reactor in &found {
            let mut state = reactor.core.state();
            let Some((entry, others)) = state.admit(at, tell(), most) else { continue };
            if others {
                // What it sleeps over is not what the others are told by any more. Refused, the
                // next ask says so.
                let _ = reactor.core.strike(state);
            }
            return Ok(Self { reactor: Some(Arc::clone(reactor)), entry });
        }
        let reactor = Arc::new(Reactor::start(participant)?);
        // What a call cannot hold at all is refused by the kernel, with a reason.
        let entry = reactor.core.state().admit(at, tell(), u64::MAX).map(|(entry, _)| entry);
        let shared: Arc<dyn Any + Send + Sync> = Arc::<Reactor>::clone(&reactor);
        known.push(Arc::downgrade(&shared));
        drop(known);
        Ok(Self { reactor: Some(reactor), entry: entry.unwrap_or(usize::MAX) })
    }

    fn core(&self) -> Result<&Core, Fault> {
        self.reactor.as_ref().map(|reactor| &*reactor.core).ok_or(Fault::Closed)
    }

    /// Has the handle told when this is there; or says why nobody can wait there any more.
    pub(super) fn ask(&self, ask: Ask, waker: Option<&Waker>) -> Result<Asked, Fault> {
        let core = self.core()?;
        // Made and dropped without the lock: that is code of the program's.
        let mut waker = waker.cloned();
        let _told;
        let mut state = core.state();
        if let Some(fault) = &state.gone {
            return Err(fault.clone());
        }
        let Some(told) = state.ask(self.entry, ask) else { return Err(Fault::Closed) };
        let State { phase, entries, spots, .. } = &mut *state;
        let Some(Some(entry)) = entries.get_mut(self.entry) else { return Err(Fault::Closed) };
        match &mut entry.tell {
            Tell::Descriptor(fd) if told => fd.clear(),
            Tell::Descriptor(_) => {}
            Tell::Task(known) => mem::swap(known, &mut waker),
        }
        // The thread sleeps over what would wake it. To look at a call says so in its word.
        let heard =
            entry.spot.is_none() || spot_of(spots, entry.spot).is_some_and(|spot| spot.is_heard());
        if matches!(phase, Phase::Asleep { .. }) && heard {
            if entry.look(&core.participant) == Prospect::Nothing {
                return Ok(Asked::Waits);
            }
            _told = state.told(self.entry);
            drop(state);
            return Ok(Asked::There);
        }
        core.strike(state).map(|()| Asked::Waits)
    }

    /// Tells the handle at once, if it asks.
    pub(super) fn tell(&self) {
        if let Ok(core) = self.core() {
            let told = core.state().told(self.entry);
            told.into_iter().for_each(Waker::wake);
        }
    }

    /// The handle does not want to be told any more.
    #[cfg(feature = "async")]
    pub(super) fn withdraw(&self) {
        if let Ok(core) = self.core()
            && !core.participant.guard().in_child()
        {
            let _told = core.state().told(self.entry);
        }
    }

    /// Why a token that was to be passed on could not be, if so. It is the
    /// handle's from here on.
    pub(super) fn take_owed(&self) -> Option<Refusal> {
        // In a forked child, whoever held the lock is not there.
        let core = self.core().ok().filter(|core| !core.participant.guard().in_child())?;
        core.state().entry(self.entry)?.owed.take()
    }

    /// Gives the share back.
    pub(super) fn end(mut self) -> Result<(), Fault> {
        self.let_go()
    }

    fn let_go(&mut self) -> Result<(), Fault> {
        let Some(reactor) = self.reactor.take() else { return Ok(()) };
        let participant = &reactor.core.participant;
        if !participant.guard().in_child() {
            let _entry = reactor.core.state().remove(self.entry, participant);
        }
        Arc::into_inner(reactor).map_or(Ok(()), |mut last| last.stop())
    }
}

impl Drop for Interest {
    fn drop(&mut self) {
        // A handle that is closed is told: see `Endpoint::close`.
        let _ = self.let_go();
    }
}
