//! One thread waits for any of many handles.
//!
//! The algorithm is [`ring::wait::set`](crate::ring::wait::set). Here stands what it asks of the
//! handles, and what a program sees of it.
//!
//! **A look** does not consume anything, and needs the handle itself, which knows its position.
//! So a set and its members belong to one thread. A handle is lent to the set, by reference or
//! counted reference, and goes on being used.
//!
//! **The waker** says in this process's memory that it has called, and strikes the bell of this
//! participant, which ends the sleep. Both words of its state are one, so at least one of the
//! two sees the other: the set says that it sleeps before it reads the bell.

use core::cell::{Cell, RefCell};
use core::fmt;
use core::iter::once;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::calls::{CallPayload, Client, PendingCall, Server};
use super::changes::count;
use super::debts::Whom;
use super::endpoint::Endpoint;
use super::queues;
use super::receiver::Receiver;
use super::sender::Sender;
use crate::error::{Done, Fault, WaitSetError};
use crate::kinds::block::Block;
use crate::kinds::ring::Ring;
use crate::kinds::table::{Kind, Payload};
use crate::ring::kernel::{Kernel as _, Refusal};
use crate::ring::wait::Found;
use crate::ring::wait::rounds::Rounds;
use crate::ring::wait::set::{self, Kept, Mark, Members, Place, Prospect, Vigil};
use crate::ring::watch::{Calls, Topic};
use crate::segment::{Ear, Participant, Segment, Side};
use crate::sync::Ordering;
use crate::sync::unstepped::AtomicU8;
use crate::wait::{Interruptible, Spin, WaitStrategy};

/// What can be a member.
pub trait Member {
    fn part(&self) -> Part<'_>;

    /// Whether the handle is lent for each wait. Then nothing else is asked of it but between
    /// the two that follow.
    fn is_lent(&self) -> bool {
        false
    }

    fn begin(&self) -> Result<(), Fault> {
        Ok(())
    }

    fn done(&self) {}
}

/// What a set asks of one end of a channel.
pub trait EndOf {
    fn end(&self) -> &Endpoint;
    /// Whether an attempt may come to something.
    fn may_go_on(&self) -> bool;
    /// Whether a message is in another reader's hands and may come back.
    fn in_flight(&self) -> bool;
}

/// What a set asks of a call.
trait Called {
    fn participant(&self) -> &Arc<Participant>;
    /// The service's.
    fn name(&self) -> &str;
    /// For a set that `sleeps` if that is nothing, or not yet.
    fn prospect(&self, sleeps: bool) -> Prospect;
    /// A number that is another once something has happened to it.
    fn moved(&self) -> u64;
}

/// A member, as its set sees it.
pub struct Part<'a>(Sort<'a>);

#[derive(Clone, Copy)]
enum Sort<'a> {
    End(&'a dyn EndOf),
    Call(&'a dyn Called),
}

impl fmt::Debug for Part<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Part").field(&self.name()).field(&self.side()).finish()
    }
}

impl<'a> Part<'a> {
    /// One end of a channel.
    pub(super) const fn of_end(end: &'a dyn EndOf) -> Self {
        Self(Sort::End(end))
    }

    fn participant(&self) -> &'a Arc<Participant> {
        match self.0 {
            Sort::End(member) => member.end().participant(),
            Sort::Call(call) => call.participant(),
        }
    }

    fn name(&self) -> &'a str {
        match self.0 {
            Sort::End(member) => member.end().name(),
            Sort::Call(call) => call.name(),
        }
    }

    fn side(&self) -> Side {
        match self.0 {
            Sort::End(member) => member.end().side,
            Sort::Call(_) => Side::Sender,
        }
    }

    /// The channel in which it is counted; a call is not.
    fn block(&self) -> Option<Block> {
        match self.0 {
            Sort::End(member) => Some(*member.end().block()),
            Sort::Call(_) => None,
        }
    }

    /// What its next call would come to; for a set that `sleeps` if that is nothing, or not yet.
    fn prospect(&self, sleeps: bool) -> Prospect {
        match self.0 {
            Sort::End(member) => member.end().prospect(member),
            Sort::Call(call) => call.prospect(sleeps),
        }
    }

    /// Grows with what goes through it.
    fn moved(&self) -> u64 {
        match self.0 {
            Sort::End(member) => member.end().cells().moved(),
            Sort::Call(call) => call.moved(),
        }
    }

    /// A token that the set had to pass on could not be. No call has any.
    fn owe(&self, refusal: Refusal) {
        if let Sort::End(member) = self.0 {
            let end = member.end();
            end.owe(Whom::on(end.side), Done::GivenUp, refusal);
        }
    }
}

/// What can be a member of a [`WaitSet`]: a sender or a receiver of any kind, a client, a server,
/// or a call that is under way; by `&` or by [`Rc`]. Or a [`Shared`](crate::Shared) handle, which is
/// lent to the set during each wait.
pub trait Waitable: Member {}

impl<H: Member> Waitable for H {}

impl<P: Payload, K: Kind> Member for Receiver<P, K> {
    fn part(&self) -> Part<'_> {
        Part::of_end(self)
    }
}

impl<P: Payload, K: Kind> Member for Sender<P, K> {
    fn part(&self) -> Part<'_> {
        Part::of_end(self)
    }
}

impl<Q: CallPayload, R: CallPayload> Member for Client<Q, R> {
    fn part(&self) -> Part<'_> {
        Part::of_end(self)
    }
}

impl<Q: CallPayload, R: CallPayload> Member for Server<Q, R> {
    fn part(&self) -> Part<'_> {
        Part::of_end(self)
    }
}

impl<Q: CallPayload, R: CallPayload> Member for PendingCall<Q, R> {
    fn part(&self) -> Part<'_> {
        Part(Sort::Call(self))
    }
}

impl<Q: CallPayload, R: CallPayload> Called for PendingCall<Q, R> {
    fn participant(&self) -> &Arc<Participant> {
        self.participant()
    }

    fn name(&self) -> &str {
        self.name()
    }

    fn prospect(&self, sleeps: bool) -> Prospect {
        self.prospect(sleeps)
    }

    fn moved(&self) -> u64 {
        self.moved()
    }
}

impl<Q: CallPayload, R: CallPayload> EndOf for Client<Q, R> {
    fn end(&self) -> &Endpoint {
        self.end()
    }

    fn may_go_on(&self) -> bool {
        self.has_room()
    }

    fn in_flight(&self) -> bool {
        false
    }
}

impl<Q: CallPayload, R: CallPayload> EndOf for Server<Q, R> {
    fn end(&self) -> &Endpoint {
        self.end()
    }

    fn may_go_on(&self) -> bool {
        self.has_calls()
    }

    fn in_flight(&self) -> bool {
        false
    }
}

impl<P: Payload, K: Kind> EndOf for Receiver<P, K> {
    fn end(&self) -> &Endpoint {
        &self.end
    }

    fn may_go_on(&self) -> bool {
        self.ring.may_pop(&self.at)
    }

    fn in_flight(&self) -> bool {
        self.held.get() == 0 && self.ring.in_flight()
    }
}

impl<P: Payload, K: Kind> EndOf for Sender<P, K> {
    fn end(&self) -> &Endpoint {
        &self.end
    }

    fn may_go_on(&self) -> bool {
        self.ring.may_push(&self.at)
    }

    fn in_flight(&self) -> bool {
        false
    }
}

/// What is lent.
macro_rules! member_lent_by {
    ($($lender:ty),*) => {$(
        impl<H: Member + ?Sized> Member for $lender {
            fn part(&self) -> Part<'_> {
                (**self).part()
            }

            fn is_lent(&self) -> bool {
                (**self).is_lent()
            }

            fn begin(&self) -> Result<(), Fault> {
                (**self).begin()
            }

            fn done(&self) {
                (**self).done();
            }
        }
    )*};
}

member_lent_by! { &H, Rc<H> }

impl Endpoint {
    /// What the next call of this handle would come to, which `member` is.
    fn prospect(&self, member: &dyn EndOf) -> Prospect {
        let known = count(self.cells()) == self.changes.looked() && !self.owes();
        let found = if known { Ok(self.changes.last_found()) } else { self.find_out() };
        let receives = self.side == Side::Receiver;
        match found {
            Err(_) => Prospect::Over,
            // The end of the pause wakes everybody.
            Ok(Found::Paused) => Prospect::Nothing,
            Ok(Found::PeersGone) if !receives => Prospect::Over,
            Ok(_) if member.may_go_on() => Prospect::Ready,
            Ok(Found::PeersGone) if !member.in_flight() => Prospect::Over,
            Ok(_) if self.bereft().is_some() => Prospect::Over,
            Ok(_) => Prospect::Nothing,
        }
    }
}

/// A member that could go on: see [`WaitSet::wait`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Ready {
    /// The key that the member was added with.
    pub key: u64,
    /// Which end it is: a [`Receiver`](Side::Receiver) may receive, a [`Sender`](Side::Sender)
    /// may send. Of a call, it is the side that has made it.
    pub side: Side,
}

/// So many messages are a good part of what the channels hold, at least.
const MUCH: u64 = 2;

/// One member.
struct Entry<'a> {
    key: u64,
    handle: Box<dyn Member + 'a>,
    /// Of a call there is none.
    block: Option<Block>,
    side: Side,
    mark: Mark,
}

impl Entry<'_> {
    fn place<'p>(&'p self, participant: &'p Participant) -> Option<Place<'p>> {
        Some(queues::place(participant, self.block.as_ref()?, self.side, &self.mark))
    }

    fn watched_place<'p>(&'p self, participant: &'p Participant) -> Option<Place<'p>> {
        Some(queues::watched_place(participant, self.block.as_ref()?, self.side, &self.mark))
    }

    fn topic(&self) -> Option<(&Block, Topic)> {
        let block = self.block.as_ref()?;
        Some((block, queues::topic(block, self.side)))
    }

    /// Adds it if it is ready. The set `sleeps` if nothing is, or not yet.
    fn look(&self, ready: &mut Vec<Ready>, sleeps: bool) -> Prospect {
        let found = self.handle.part().prospect(sleeps);
        self.mark.found(found);
        if found != Prospect::Nothing {
            ready.push(Ready { key: self.key, side: self.side });
        }
        found
    }
}

/// Waits for any of many senders and receivers of one segment, in one thread.
///
/// The members may be of all kinds and types, and of both directions. A set needs no thread and
/// no descriptor. It makes no system call while a member is busy, and sleeps in a single one
/// when none is. Members keep all their guarantees: the set takes no message, no place and no
/// wake-up from anybody.
///
/// ```
/// use std::time::Duration;
/// use tombolo::{Segment, Side, WaitSet};
///
/// let segment = Segment::anonymous()?;
/// let jobs = segment.channel::<u64>("jobs").capacity(8);
/// let news = segment.broadcast_bytes("news").capacity(8, 100);
/// let (sender, job) = (jobs.sender()?, jobs.receiver()?);
/// let (_publisher, line) = (news.publisher()?, news.subscriber()?);
///
/// let mut set = WaitSet::new(&segment);
/// set.add(&job, 1)?;
/// set.add(&line, 2)?;
/// let mut ready = Vec::new();
/// assert_eq!(set.wait(&mut ready, Duration::from_millis(1))?, 0);
///
/// sender.send(7)?;
/// set.wait(&mut ready, None)?;
/// assert_eq!((ready[0].key, ready[0].side), (1, Side::Receiver));
/// assert_eq!(job.try_recv()?, 7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// **When a member is ready.** A receiver is ready while there is a message for it, a sender
/// while there is room: for the longest message, where messages are bytes. A handle is also ready
/// while its next call has an error to report: the last peer has gone, the segment is drained,
/// shut down or removed, or the participant to which the handle is
/// [bound](Receiver::bind_to_peer) has gone. That is *level-triggered*: a member that is left as
/// it is, is ready again at the next wait. A member may be ready although nothing is there,
/// because another receiver was faster; so use calls that do not wait, as `try_recv`. If
/// something is there, the member is always ready, whichever process dies.
///
/// **Members are lent.** `add` takes a reference or an [`Rc`], and a member can be used all the
/// time. Where handles come and go, add them as `Rc`, so that the set is not bound to a borrow:
///
/// ```
/// use std::rc::Rc;
/// use tombolo::{Bytes, Receiver, Segment, WaitSet};
///
/// struct Server {
///     set: WaitSet<'static>,
///     clients: Vec<Rc<Receiver<Bytes>>>,
/// }
/// # let _ = |server: Server| server.clients.len() + server.set.len();
/// ```
///
/// A [`Shared`](crate::Shared) handle is lent to the set during each wait. If another thread uses
/// it then, or if it does one thing at a time and a message of it is held, the wait ends with
/// [`Fault::InUse`].
///
/// **How many.** There may be thousands of members. Up to 30 of them are compared in the call that
/// sleeps; each operation on the segment's semaphores takes longer meanwhile, by some 10 ns for a
/// member. More are *watched*: whoever sends there strikes a semaphore of this process, and a
/// wait asks only those that have called. In a segment without such semaphores, because `kernel.sem`
/// allows too few, the most are what it allows in one call ([`WaitSetError::TooMany`]).
///
/// **Signals** do not end a wait, as they end no other call of this library, unless
/// [`end_on_signals`](Self::end_on_signals) says so. A thread that waits for signals uses a
/// [`WaitSetWaker`].
pub struct WaitSet<'a> {
    crew: Crew<'a>,
    spin: Spin,
    ends_on_signals: bool,
    /// How many operations a wait takes, and how many there may be.
    ops: usize,
    limit: u64,
}

/// The members, and what is kept of their waits.
struct Crew<'a> {
    entries: Vec<Entry<'a>>,
    kept: Kept<Instant>,
    shared: Arc<Shared>,
    participant: Arc<Participant>,
    /// The member that was ready last, and the one to be looked at next.
    turn: Turn,
    /// Of a set of many: what it keeps to watch them.
    watching: Option<Watching>,
    /// How many of the members are lent for each wait.
    lent: usize,
}

/// What a set of many members keeps, which it watches.
struct Watching {
    ear: Ear,
    rounds: Rounds<Instant>,
}

/// Which members a glance is for: the one that was ready last, and some of the others in turn.
#[derive(Debug, Default)]
struct Turn {
    last: Cell<usize>,
    next: Cell<usize>,
}

/// A way to look at members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// At those that are likely to be ready.
    Likely,
    All,
}

/// In turn, so many at a glance; fewer members than this are all looked at.
const IN_TURN: usize = 2;
const FEW: usize = 4;
/// So many members a set counts itself at; if it has more, it watches them.
const COUNTED: usize = 30;

impl Turn {
    /// Looks at some.
    fn glance(&self, entries: &[Entry<'_>], ready: &mut Vec<Ready>) -> bool {
        if entries.len() < FEW {
            return self.look(entries, ready);
        }
        let last = self.last.get();
        let others = self.others(entries.len()).filter(|at| *at != last);
        for entry in once(last).chain(others).filter_map(|at| entries.get(at)) {
            entry.look(ready, false);
        }
        self.note(entries, ready)
    }

    /// Those of `count` members whose turn it is.
    fn others(&self, count: usize) -> impl Iterator<Item = usize> + use<> {
        let (next, count) = (self.next.get(), count.max(1));
        self.next.set((next + IN_TURN) % count);
        (next..next + IN_TURN).map(move |at| at % count)
    }

    /// Looks at all.
    fn look(&self, entries: &[Entry<'_>], ready: &mut Vec<Ready>) -> bool {
        for entry in entries {
            entry.look(ready, false);
        }
        self.note(entries, ready)
    }

    /// Notes which was ready; whether one was.
    fn note(&self, entries: &[Entry<'_>], ready: &[Ready]) -> bool {
        let Some(Ready { key, .. }) = ready.last() else { return false };
        // Mostly, it is the one that was ready last.
        if entries.get(self.last.get()).is_none_or(|entry| entry.key != *key) {
            self.last.set(entries.iter().position(|entry| entry.key == *key).unwrap_or(0));
        }
        true
    }
}

impl Watching {
    /// A member comes, behind all others.
    fn add(&mut self, participant: &Participant, entry: &Entry<'_>) {
        match entry.topic() {
            Some((block, topic)) => {
                participant.watch(block, topic);
                self.rounds.add(block.index);
            }
            // It is never armed, and so always in the list.
            None => self.rounds.add(0),
        }
    }

    /// Those that have called are to be looked at, too.
    fn called(&mut self, calls: &Calls, entries: &[Entry<'_>]) {
        self.rounds.called(calls, |at| &entries[at].mark);
    }

    /// Looks at those that have called, or had something when they were last looked at, and at
    /// some others in turn; whether one is ready.
    fn glance(&mut self, turn: &Turn, entries: &[Entry<'_>], ready: &mut Vec<Ready>) -> bool {
        let calls = self.ear.glance();
        self.called(&calls, entries);
        for &at in self.rounds.listed() {
            if entries[at].look(ready, false) != Prospect::Nothing {
                turn.last.set(at);
            }
        }
        for at in turn.others(entries.len()) {
            // The others in the list have just been looked at.
            if let Some(entry) = entries.get(at).filter(|entry| entry.mark.is_armed())
                && entry.look(ready, false) != Prospect::Nothing
            {
                self.rounds.list(at);
                turn.last.set(at);
            }
        }
        !ready.is_empty()
    }

    /// Looks at all.
    fn look(&mut self, entries: &[Entry<'_>], ready: &mut Vec<Ready>) -> bool {
        for (at, entry) in entries.iter().enumerate() {
            if entry.look(ready, false) != Prospect::Nothing {
                self.rounds.list(at);
            }
        }
        !ready.is_empty()
    }
}

impl<'a> WaitSet<'a> {
    /// A set for handles of this segment, without members.
    pub fn new(segment: &Segment) -> Self {
        let participant = Arc::clone(segment.participant());
        let weak = Arc::downgrade(&participant);
        let shared = Arc::new(Shared { state: AtomicU8::new(0), participant: weak });
        let limit = participant.mapped().semaphores.most_ops();
        let kept = Kept::new(participant.own_bell());
        let (entries, turn) = (Vec::new(), Turn::default());
        let (lent, watching) = (0, None);
        let crew = Crew { entries, kept, shared, participant, turn, watching, lent };
        Self { crew, spin: Spin::new(), ends_on_signals: false, ops: set::OWN_OPS, limit }
    }

    /// Adds a handle, under a key that no other member has.
    ///
    /// # Errors
    /// [`WaitSetError::KeyTaken`], [`WaitSetError::OtherSegment`], [`WaitSetError::TooMany`]; or
    /// the fault that ends the use of the segment.
    pub fn add<H: Waitable + 'a>(&mut self, handle: H, key: u64) -> Result<(), WaitSetError> {
        if let Some(fault) = self.crew.participant.barred() {
            return Err(fault.into());
        }
        if self.find(key).is_some() {
            return Err(WaitSetError::KeyTaken { key });
        }
        handle.begin()?;
        let admitted = self.admit(&handle.part());
        handle.done();
        let (block, side) = admitted?;
        self.crew.lent += usize::from(handle.is_lent());
        let (handle, mark) = (Box::new(handle), Mark::default());
        self.crew.push(Entry { key, handle, block, side, mark });
        Ok(())
    }

    /// What a handle is an end of, if it may be a member.
    fn admit(&mut self, part: &Part<'_>) -> Result<(Option<Block>, Side), WaitSetError> {
        let (participant, side, block) = (part.participant(), part.side(), part.block());
        let channel = || part.name().to_owned();
        if !Arc::ptr_eq(participant, &self.crew.participant) {
            return Err(WaitSetError::OtherSegment { channel: channel() });
        }
        let place = |block| queues::place(participant, block, side, &Mark::default()).ops();
        let ops = block.as_ref().map_or(0, place);
        let (operations, limit) = ((self.ops + ops) as u64, self.limit);
        let many = operations > limit || self.len() >= COUNTED;
        if many && self.crew.watching.is_none() {
            if self.crew.participant.own_bell().is_some() {
                self.crew.watch();
            } else if operations > limit {
                return Err(WaitSetError::TooMany { channel: channel(), operations, limit });
            }
        }
        self.ops += ops;
        Ok((block, side))
    }

    /// Removes the member with this key; whether there was one. The order of the others stays.
    pub fn remove(&mut self, key: u64) -> bool {
        let Some(at) = self.find(key) else { return false };
        let entry = self.crew.remove(at);
        self.ops -= entry.place(&self.crew.participant).map_or(0, |place| place.ops());
        true
    }

    fn find(&self, key: u64) -> Option<usize> {
        self.crew.entries.iter().position(|entry| entry.key == key)
    }

    /// How many members there are.
    pub const fn len(&self) -> usize {
        self.crew.entries.len()
    }

    /// Whether there are no members. A wait then ends by its time or by its waker.
    pub const fn is_empty(&self) -> bool {
        self.crew.entries.is_empty()
    }

    /// Waits until members are ready, for `timeout` at most; without one, for as long as it takes.
    /// Writes those that it finds ready into `ready`, in place of what was there, and returns how
    /// many. In a set of four or more, it asks the members that are likely to be ready and two others in
    /// turn before it asks all: so idle members cost a busy one little, and a member that is ready
    /// is found after half as many waits as there are members, at the latest. 0 means that the time is up, that a
    /// [waker](Self::waker) has called, or that a signal was to [end](Self::end_on_signals) it.
    ///
    /// # Errors
    /// [`Fault::Closed`] if the segment is removed, also during the wait, and the other faults
    /// that end its use. What ends the use of one channel makes its handle ready instead.
    pub fn wait(
        &mut self,
        ready: &mut Vec<Ready>,
        timeout: impl Into<Option<Duration>>,
    ) -> Result<usize, Fault> {
        // A timeout beyond what the clock can represent never expires.
        self.wait_by(ready, || timeout.into().and_then(|time| Instant::now().checked_add(time)))
    }

    /// Like [`wait`](Self::wait), but until `deadline`.
    ///
    /// # Errors
    /// As for [`wait`](Self::wait).
    pub fn wait_deadline(
        &mut self,
        ready: &mut Vec<Ready>,
        deadline: Instant,
    ) -> Result<usize, Fault> {
        self.wait_by(ready, || Some(deadline))
    }

    /// Says which members are ready: all of them, in the order in which they were added. Does not
    /// wait.
    ///
    /// # Errors
    /// As for [`wait`](Self::wait).
    pub fn try_wait(&mut self, ready: &mut Vec<Ready>) -> Result<usize, Fault> {
        ready.clear();
        if let Some(fault) = self.crew.participant.barred() {
            return Err(fault);
        }
        self.begin()?.0.crew.is_over(ready, Look::All);
        Ok(ready.len())
    }

    fn wait_by(
        &mut self,
        ready: &mut Vec<Ready>,
        until: impl FnOnce() -> Option<Instant>,
    ) -> Result<usize, Fault> {
        ready.clear();
        if let Some(fault) = self.crew.participant.barred() {
            return Err(fault);
        }
        self.begin()?.0.wait_begun(ready, until)
    }

    /// Has the members lent that are, for one wait.
    #[inline]
    fn begin(&mut self) -> Result<Begun<'_, 'a>, Fault> {
        self.crew.begin()?;
        Ok(Begun(self))
    }

    fn wait_begun(
        &mut self,
        ready: &mut Vec<Ready>,
        until: impl FnOnce() -> Option<Instant>,
    ) -> Result<usize, Fault> {
        let Self { crew, spin, ends_on_signals, .. } = self;
        if crew.is_over(ready, Look::Likely) {
            return Ok(ready.len());
        }
        let until = until();
        let participant = Arc::clone(&crew.participant);
        let kernel = Interruptible::new(&participant.mapped().semaphores, *ends_on_signals);
        loop {
            let (crew, ready) = (RefCell::new(&mut *crew), &mut *ready);
            let spun = spin.until(
                until,
                || crew.borrow().moved(),
                MUCH,
                || crew.borrow_mut().is_over(ready, Look::Likely).then_some(()),
            );
            if spun.is_some() {
                return Ok(ready.len());
            }
            if !spin.never_sleeps() {
                break;
            }
            // A sleeper is told of the dead; one that spins asks.
            participant.scan()?;
            if kernel.watch.ends_at(|| kernel.now()) {
                return Err(Fault::Interrupted);
            }
            if until.is_some_and(|until| until <= kernel.now()) {
                crew.borrow_mut().is_over(ready, Look::All);
                return Ok(ready.len());
            }
        }
        participant.desk.sleeps.fetch_add(1, Ordering::Relaxed);
        let Crew { entries, kept, shared, turn, watching, .. } = crew;
        let _sleeping = Sleeping::new(shared);
        let mut all = Looking { entries, shared, participant: &participant, turn, ready };
        let mut vigil = Vigil::new(&kernel, kept, until);
        let waited = match watching {
            Some(watching) => vigil.block(&mut Patrol { all, watching }),
            None => vigil.block(&mut all),
        };
        spin.slept();
        match waited {
            Err(Fault::Interrupted) if *ends_on_signals => Ok(0),
            waited => waited.map(|_| ready.len()),
        }
    }

    /// Ends waits of this set, from any thread of this process.
    pub fn waker(&self) -> WaitSetWaker {
        WaitSetWaker { shared: Arc::clone(&self.crew.shared) }
    }

    /// Whether a signal ends a wait of this set, with 0: one that a handler of this process has
    /// handled while the set slept. Otherwise, as at first, only a [waker](Self::waker) does.
    ///
    /// A signal that comes just before the sleep does not end it, and stopping and continuing
    /// the process does. So a program looks after each wait for what its handler has noted, and
    /// gives its waits a time-out.
    pub const fn end_on_signals(&mut self, ends: bool) {
        self.ends_on_signals = ends;
    }

    /// How the set waits: as a handle does, see
    /// [`Receiver::set_wait_strategy`](Receiver::set_wait_strategy).
    pub fn set_wait_strategy(&mut self, strategy: WaitStrategy) {
        self.spin.set_strategy(strategy);
    }

    /// How the set waits.
    pub fn wait_strategy(&self) -> WaitStrategy {
        self.spin.strategy()
    }
}

/// A wait for which the members are lent: they are given back when this is dropped, also by a
/// panic of a check.
struct Begun<'s, 'a>(&'s mut WaitSet<'a>);

impl Drop for Begun<'_, '_> {
    fn drop(&mut self) {
        self.0.crew.done();
    }
}

impl<'a> Crew<'a> {
    /// From here on, it watches its members.
    fn watch(&mut self) {
        self.let_go();
        let mut watching = Watching { ear: Ear::new(&self.participant), rounds: Rounds::new() };
        for entry in &self.entries {
            watching.add(&self.participant, entry);
        }
        self.watching = Some(watching);
    }

    fn push(&mut self, entry: Entry<'a>) {
        if let Some(watching) = &mut self.watching {
            watching.add(&self.participant, &entry);
        }
        self.entries.push(entry);
    }

    fn remove(&mut self, at: usize) -> Entry<'a> {
        let entry = self.entries.remove(at);
        self.lent -= usize::from(entry.handle.is_lent());
        if let Some(watching) = &mut self.watching {
            watching.rounds.remove(at);
        }
        self.leave(&entry);
        entry
    }

    /// One that is a member no more.
    fn leave(&self, entry: &Entry<'_>) {
        if self.participant.guard().in_child() {
            return;
        }
        if self.watching.is_some() {
            if let Some((block, topic)) = entry.topic() {
                self.participant.unwatch(block, topic);
            }
        } else if let Some(place) = entry.place(&self.participant) {
            place.let_go();
        }
    }

    /// What goes through the channel of the member that was ready last.
    fn moved(&self) -> u64 {
        let last = self.entries.get(self.turn.last.get());
        last.map_or(0, |entry| entry.handle.part().moved())
    }

    /// Looks; whether the wait is over.
    fn is_over(&mut self, ready: &mut Vec<Ready>, look: Look) -> bool {
        let Self { entries, turn, watching, .. } = self;
        let found = match (watching, look) {
            (Some(watching), Look::Likely) => watching.glance(turn, entries, ready),
            (Some(watching), Look::All) => watching.look(entries, ready),
            (None, Look::Likely) => turn.glance(entries, ready),
            (None, Look::All) => turn.look(entries, ready),
        };
        let over = self.shared.take_call() || found;
        if over {
            // Without a sleep: no member is to be counted as if it slept.
            self.let_go();
        }
        over
    }

    fn let_go(&mut self) {
        let Self { entries, kept, participant, .. } = self;
        kept.let_go(entries.iter().filter_map(|entry| entry.place(participant)));
    }

    #[inline]
    fn begin(&self) -> Result<(), Fault> {
        if self.lent == 0 {
            return Ok(());
        }
        for (at, entry) in self.entries.iter().enumerate() {
            if let Err(fault) = entry.handle.begin() {
                self.entries[..at].iter().for_each(|entry| entry.handle.done());
                return Err(fault);
            }
        }
        Ok(())
    }

    #[inline]
    fn done(&self) {
        if self.lent > 0 {
            self.entries.iter().for_each(|entry| entry.handle.done());
        }
    }
}

impl Drop for Crew<'_> {
    fn drop(&mut self) {
        self.entries.iter().for_each(|entry| self.leave(entry));
    }
}

impl fmt::Debug for WaitSet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitSet").field("members", &self.len()).finish_non_exhaustive()
    }
}

/// The members during one sleep.
struct Looking<'s, 'a> {
    entries: &'s [Entry<'a>],
    shared: &'s Shared,
    participant: &'s Participant,
    turn: &'s Turn,
    ready: &'s mut Vec<Ready>,
}

impl Members for Looking<'_, '_> {
    type Fault = Fault;

    fn count(&self) -> usize {
        self.entries.len()
    }

    fn place(&self, at: usize) -> Option<Place<'_>> {
        self.entries[at].place(self.participant)
    }

    fn look(&mut self, at: usize) -> Prospect {
        self.entries[at].look(self.ready, true)
    }

    fn glance(&mut self) -> bool {
        self.entries.len() >= FEW && self.turn.glance(self.entries, self.ready)
    }

    fn is_called(&mut self) -> bool {
        self.shared.take_call()
    }

    fn listen(&mut self, values: &mut Vec<u16>) -> Result<(), Fault> {
        self.participant.listen_to_all(values)?;
        self.participant.is_counted_alive()
    }

    fn owes(&mut self, at: usize, refusal: Refusal) {
        self.entries[at].handle.part().owe(refusal);
    }

    fn fault(&self, refusal: Refusal) -> Fault {
        self.participant.mapped().refused(refusal)
    }
}

/// Those of many members that are to be looked at, during one sleep.
struct Patrol<'s, 'a> {
    all: Looking<'s, 'a>,
    watching: &'s mut Watching,
}

impl<'a> Patrol<'_, 'a> {
    fn entry(&self, at: usize) -> (usize, &Entry<'a>) {
        let at = self.watching.rounds.listed()[at];
        (at, &self.all.entries[at])
    }
}

impl Members for Patrol<'_, '_> {
    type Fault = Fault;

    fn count(&self) -> usize {
        self.watching.rounds.listed().len()
    }

    fn place(&self, at: usize) -> Option<Place<'_>> {
        self.entry(at).1.watched_place(self.all.participant)
    }

    fn look(&mut self, at: usize) -> Prospect {
        let (at, _) = self.entry(at);
        let entry = &self.all.entries[at];
        let found = entry.look(self.all.ready, true);
        let Watching { ear, rounds } = &mut *self.watching;
        rounds.looked(at, &entry.mark, || ear.soon());
        found
    }

    fn glance(&mut self) -> bool {
        self.watching.glance(self.all.turn, self.all.entries, self.all.ready)
    }

    fn is_called(&mut self) -> bool {
        self.all.is_called()
    }

    fn listen(&mut self, values: &mut Vec<u16>) -> Result<(), Fault> {
        let changed = self.watching.ear.listen(values)?;
        self.all.participant.is_counted_alive()?;
        let now = self.all.participant.mapped().semaphores.now();
        self.watching.rounds.begin(now, |at| &self.all.entries[at].mark);
        // After the bell has been read.
        let calls = self.watching.ear.collect();
        self.watching.called(&calls, self.all.entries);
        if changed {
            self.watching.rounds.list_all();
        }
        Ok(())
    }

    fn owes(&mut self, at: usize, refusal: Refusal) {
        self.entry(at).1.handle.part().owe(refusal);
    }

    fn fault(&self, refusal: Refusal) -> Fault {
        self.all.fault(refusal)
    }
}

/// What a set and its wakers share.
struct Shared {
    /// Whether it was called, and whether the set sleeps or is about to.
    state: AtomicU8,
    participant: Weak<Participant>,
}

const CALLED: u8 = 1;
const SLEEPS: u8 = 2;

impl Shared {
    fn take_call(&self) -> bool {
        // Relaxed: nobody has called, as mostly. Acquire: what was done before the call.
        self.state.load(Ordering::Relaxed) & CALLED != 0
            && self.state.fetch_and(!CALLED, Ordering::Acquire) & CALLED != 0
    }
}

/// While a set sleeps.
struct Sleeping<'a>(&'a Shared);

impl<'a> Sleeping<'a> {
    fn new(shared: &'a Shared) -> Self {
        // With the waker's `fetch_or`: one of the two sees the other.
        shared.state.fetch_or(SLEEPS, Ordering::AcqRel);
        Self(shared)
    }
}

impl Drop for Sleeping<'_> {
    fn drop(&mut self) {
        self.0.state.fetch_and(!SLEEPS, Ordering::Relaxed);
    }
}

/// Ends the waits of one [`WaitSet`], from any thread of its process: see [`WaitSet::waker`].
///
/// It may outlive the set, and then does nothing. It keeps neither the set nor the segment.
#[derive(Clone)]
pub struct WaitSetWaker {
    shared: Arc<Shared>,
}

impl WaitSetWaker {
    /// Ends the wait that goes on, or the next one. Several calls before a wait end one wait.
    ///
    /// It makes a system call only while the set sleeps. Takes a lock nowhere.
    ///
    /// # Errors
    /// [`Fault::System`] if the kernel refuses to end the sleep; [`Fault::Forked`].
    pub fn wake(&self) -> Result<(), Fault> {
        let Some(participant) = self.shared.participant.upgrade() else { return Ok(()) };
        if participant.guard().in_child() {
            return Err(Fault::Forked);
        }
        // Release: the set sees what was done before this. Acquire: with `Sleeping`.
        if self.shared.state.fetch_or(CALLED, Ordering::AcqRel) & SLEEPS != 0 {
            return participant.call_own();
        }
        Ok(())
    }
}

impl fmt::Debug for WaitSetWaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitSetWaker").finish_non_exhaustive()
    }
}
