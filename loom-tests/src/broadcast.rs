//! A broadcast ring, its participants' table, and what a model itself knows of both.
//!
//! There is no kernel here: a death is known to whoever reads the table's word, which the
//! dying thread itself changes once it has ended.
//!
//! The words are handed out here, so most mutants are a wrong word for one function of the
//! ring.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::panic::Location;
use std::rc::Rc;

use crate::checker;
use crate::checker::thread::{self, ThreadId};
use crate::mutant;
use crate::ring::broadcast::{
    self as ring, Look, Publisher, PublisherEntry, Refused, Reliable, ReliableEntry, Shape, Words,
};
use crate::ring::cursor::Cursor;
use crate::ring::set::SetMap;
use crate::ring::table::{Member, MemberState, MemberWord, Table};
use crate::sync::AtomicU64;
use crate::sync::Ordering::{AcqRel, Acquire, Relaxed, Release};

const FIRST: u64 = 1;
/// More than any model publishes.
pub(crate) const FAR: u64 = 1_000;
/// Set in a reliable subscriber's word as long as it has no position.
const JOINING: u64 = 1 << 31;

/// A ring of so many slots, without reliable subscribers.
pub(crate) fn lossy(slots: u64, step: u64, publishers: u64) -> Shape {
    Shape::exact(FAR, step, slots, publishers, 0)
}

pub(crate) struct Scene {
    pub(crate) shape: Shape,
    slots: Vec<AtomicU64>,
    publishers: Vec<[AtomicU64; 5]>,
    reliable: Vec<[AtomicU64; 2]>,
    limit: AtomicU64,
    publishers_used: AtomicU64,
    reliable_used: AtomicU64,
    /// Two words each, so that a torn message shows.
    buffers: Vec<[AtomicU64; 2]>,
    /// The same as plain memory, where the protocol orders each access.
    cells: Vec<checker::Cell<u64>>,
    words: Vec<AtomicU64>,
    /// What was published, by position.
    pub(crate) published: RefCell<Vec<(u64, u64)>>,
    /// Which threads are taking an entry up, for mutants.
    attaching: RefCell<Vec<ThreadId>>,
    /// Of which publisher's entry each thread asked last, for mutants.
    asked: RefCell<Vec<(ThreadId, u64)>>,
}

impl Table for Scene {
    fn map(&self) -> SetMap {
        SetMap { participants: self.words.len() as u16, channels: 1, own_bells: false }
    }

    fn word(&self, id: u16) -> &AtomicU64 {
        if mutant::has("the dead are waited for") {
            return decoy(word(MemberState::Live));
        }
        &self.words[usize::from(id)]
    }
}

impl Words for Scene {
    #[track_caller]
    fn shape(&self) -> Shape {
        let Shape { reach, slots, publishers, reliable, .. } = self.shape;
        if mutant::has_in("no margin for a raise on its way", Location::caller(), "join") {
            return Shape::exact(reach, 0, slots, publishers, reliable);
        }
        if mutant::has_in("a joiner gives up too much", Location::caller(), "join") {
            return Shape::exact(reach, self.shape.step, self.shape.step, publishers, reliable);
        }
        if mutant::has_in("asks for more room than one needs", Location::caller(), "has_room") {
            return Shape::exact(reach - 1, self.shape.step, slots, publishers, reliable);
        }
        self.shape
    }

    #[track_caller]
    fn slot(&self, index: u64) -> &AtomicU64 {
        let place = Location::caller();
        let slot = &self.slots[index as usize];
        if mutant::has_in("help does not look at the slot", place, "help") {
            let n = self.asked_last();
            let [_, word, _, at, _] = &self.publishers[n as usize];
            let spare = self.shape.buffer(self.shape.slots + n, word.load(Relaxed));
            let lap = at.load(Relaxed) / self.shape.slots;
            return decoy(self.word_of(index, lap + 1, spare));
        }
        let of_gap = slot_of_gap(self.bits());
        if mutant::has_in("help does not know gaps", place, "help")
            && slot.load(Acquire) & of_gap != 0
        {
            return decoy(0);
        }
        if mutant::has_in("the entry before the slot", place, "attempt") {
            let (n, over) = (self.asked_last(), self.shape.buffer(index, slot.load(Acquire)));
            let word = &self.publishers[n as usize][1];
            let turn = word.load(Relaxed) >> self.bits();
            word.store(self.word_of(self.shape.slots + n, turn + 1, over), Relaxed);
        }
        if mutant::has_in("does not look for a position that is left", place, "has_room") {
            let last = self.limit.load(Relaxed) - 1;
            return decoy(self.word_of(index, last / self.shape.slots + 1, 0));
        }
        slot
    }

    #[track_caller]
    fn publisher(&self, n: u64) -> PublisherEntry<'_> {
        let place = Location::caller();
        let [holder, word, helped, at, over] = &self.publishers[n as usize];
        let mut entry = PublisherEntry { holder, word, helped, at, over };
        if mutant::active() {
            let me = thread::current().id();
            let mut asked = self.asked.borrow_mut();
            asked.retain(|(thread, _)| *thread != me);
            asked.push((me, n));
            drop(asked);
            if self.attaching.borrow().contains(&me)
                && mutant::has_in("a takeover does not help", place, "help")
            {
                entry.at = decoy(FAR);
            }
        }
        if mutant::has_in("no intents", place, "attempt") {
            (entry.at, entry.over) = (decoy(0), decoy(0));
        }
        if mutant::has_in("help is thrown away", place, "help")
            || mutant::has_in("a takeover does not look at help", place, "attach")
        {
            entry.helped = decoy(0);
        }
        if mutant::has_in("help wins a tie", place, "attach") {
            entry.helped = decoy(helped.load(Acquire) + (1 << self.bits()));
        }
        entry
    }

    #[track_caller]
    fn reliable(&self, n: u64) -> ReliableEntry<'_> {
        let place = Location::caller();
        let [holder, position] = &self.reliable[n as usize];
        if mutant::has_in("it counts before it has a position", place, "join") {
            holder.store(holder.load(Relaxed) & !JOINING, Release);
        }
        if mutant::has_in("who joins counts", place, "slowest") {
            let holder = decoy(holder.load(Acquire) & !JOINING);
            return ReliableEntry { holder, position };
        }
        ReliableEntry { holder, position }
    }

    #[track_caller]
    fn limit(&self) -> &AtomicU64 {
        let place = Location::caller();
        if mutant::has_in("a joiner does not look again", place, "join") {
            return decoy(0);
        }
        if mutant::has_in("begins beyond the limit", place, "first_unpublished") {
            return decoy(self.limit.load(Acquire) + self.shape.step);
        }
        &self.limit
    }

    #[track_caller]
    fn publishers_used(&self) -> &AtomicU64 {
        if mutant::has_in("nobody helps", Location::caller(), "raise") {
            return decoy(0);
        }
        &self.publishers_used
    }

    #[track_caller]
    fn reliable_used(&self) -> &AtomicU64 {
        if mutant::has_in("reliable ones are not asked", Location::caller(), "slowest") {
            return decoy(0);
        }
        &self.reliable_used
    }
}

const fn word(state: MemberState) -> u64 {
    MemberWord { state, incarnation: FIRST }.word()
}

pub(crate) const fn member(id: u16) -> Member {
    Member { id, incarnation: FIRST }
}

/// An array of words that are zero, as in a new segment.
fn zeros<const N: usize>() -> [AtomicU64; N] {
    core::array::from_fn(|_| AtomicU64::new(0))
}

/// Messages from here on are gaps: so many messages are missing.
pub(crate) const GAP: u64 = 1_000;

/// The bit of a slot's word that says that its buffer is of a gap.
const fn slot_of_gap(bits: u32) -> u64 {
    1 << (bits - 1)
}

/// A word that nobody else has, for a mutant. These are few.
fn decoy(word: u64) -> &'static AtomicU64 {
    Box::leak(Box::new(AtomicU64::new(word)))
}

/// What a subscriber got.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Got {
    Message(u64, u64),
    Missed(u64),
}

impl Scene {
    pub(crate) fn new(shape: Shape, participants: usize) -> Rc<Self> {
        let count = |n: u64| 0..n as usize;
        Rc::new(Self {
            shape,
            slots: count(shape.slots).map(|_| AtomicU64::new(0)).collect(),
            publishers: count(shape.publishers).map(|_| zeros()).collect(),
            reliable: count(shape.reliable).map(|_| zeros()).collect(),
            limit: AtomicU64::new(0),
            publishers_used: AtomicU64::new(0),
            reliable_used: AtomicU64::new(0),
            buffers: count(shape.buffers()).map(|_| zeros()).collect(),
            cells: count(shape.buffers()).map(|_| checker::Cell::new(0)).collect(),
            words: (0..participants).map(|_| AtomicU64::new(word(MemberState::Live))).collect(),
            published: RefCell::default(),
            attaching: RefCell::default(),
            asked: RefCell::default(),
        })
    }

    /// As the ring's own, for mutants.
    fn bits(&self) -> u32 {
        1 + u64::BITS - (self.shape.buffers() - 1).leading_zeros()
    }

    fn word_of(&self, place: u64, turn: u64, buffer: u64) -> u64 {
        let buffers = self.shape.buffers();
        (turn << self.bits()) | ((buffer + buffers - place) % buffers)
    }

    fn asked_last(&self) -> u64 {
        let me = thread::current().id();
        self.asked.borrow().iter().find(|(thread, _)| *thread == me).unwrap().1
    }

    /// What a look and a sweep do for one that the kernel says has ended.
    pub(crate) fn bury(&self, id: u16) {
        let states = [MemberState::Live, MemberState::Dead, MemberState::Free].map(word);
        for (from, to) in [(states[0], states[1]), (states[1], states[2])] {
            self.words[usize::from(id)].compare_exchange(from, to, AcqRel, Acquire).unwrap();
        }
    }

    fn attach(&self, number: u64) -> Publisher {
        let me = thread::current().id();
        self.attaching.borrow_mut().push(me);
        let publisher = Publisher::attach(self, number);
        self.attaching.borrow_mut().retain(|thread| *thread != me);
        publisher
    }

    pub(crate) fn publisher(&self, id: u16) -> Publisher {
        let number = ring::claim(self, self, member(id)).expect("an entry is vacant");
        self.attach(number)
    }

    /// Whether a reliable subscriber's entry counts as far as its word goes; and its position.
    pub(crate) fn reliable_words(&self, n: u64) -> (bool, u64) {
        let [holder, position] = &self.reliable[n as usize];
        let holder = holder.load(Relaxed);
        (holder != 0 && holder & JOINING == 0, position.load(Relaxed))
    }

    /// Gives an entry up, as a handle does that is closed.
    pub(crate) fn close(&self, publisher: Publisher, id: u16) {
        let holder = &self.publishers[publisher.number() as usize][0];
        crate::ring::role::release(holder, member(id));
    }

    /// As if a publisher's entry had published for more than half of all turns, and raises had
    /// renewed its `helped` meanwhile.
    pub(crate) fn age(&self, n: u64) {
        let [_, word, helped, ..] = &self.publishers[n as usize];
        let aged = word.load(Relaxed).wrapping_add(5 << (u64::BITS - 3));
        word.store(aged, Release);
        let renewed = helped.fetch_update(AcqRel, Acquire, |_| Some(aged));
        assert!(renewed.is_ok());
    }

    /// Publishes one message, unless a reliable subscriber is too far behind.
    pub(crate) fn publish(&self, at: &Publisher, message: u64) -> Result<u64, Refused> {
        self.publish_as(at, message, || {
            let halves = &self.buffers[at.spare() as usize];
            halves.iter().for_each(|half| half.store(message, Relaxed));
        })
    }

    /// The same with a message in plain memory.
    pub(crate) fn publish_cell(&self, at: &Publisher, message: u64) -> Result<u64, Refused> {
        self.publish_as(at, message, || self.cells[at.spare() as usize].set(message))
    }

    fn publish_as(&self, at: &Publisher, message: u64, write: impl Fn()) -> Result<u64, Refused> {
        let mut tries = (0..).map(|_| {
            at.ready(self, self)?;
            write();
            self.publish_written(at, message)
        });
        // Others move on meanwhile: in a ring as small as this, faster than one can follow.
        let position = tries.find(|tried| *tried != Err(Refused::Contended)).unwrap()?;
        self.published.borrow_mut().push((position, message));
        Ok(position)
    }

    /// Publishes what [`Self::write_cell`] has written, however often that was refused before.
    pub(crate) fn publish_again(&self, at: &Publisher, message: u64) -> Result<u64, Refused> {
        let position = self.publish_written(at, message)?;
        self.published.borrow_mut().push((position, message));
        Ok(position)
    }

    fn publish_written(&self, at: &Publisher, message: u64) -> Result<u64, Refused> {
        if message >= GAP { at.publish_gap(self, self) } else { at.publish(self, self) }
    }

    pub(crate) fn write_cell(&self, at: &Publisher, message: u64) {
        self.cells[at.spare() as usize].set(message);
    }

    pub(crate) fn first_unpublished(&self) -> u64 {
        ring::first_unpublished(self).position()
    }

    /// Reads the next message, as a lossy subscriber does.
    pub(crate) fn read(&self, at: &Cell<Cursor>, got: &mut Vec<Got>) -> bool {
        loop {
            let look = ring::look(self, at.get());
            match look {
                Look::Nothing => return false,
                Look::Corrupt(word) => panic!("corrupt: {word:x}"),
                Look::Missed => got.push(Got::Missed(ring::skip(self, at).expect("a true limit"))),
                Look::Gap(found) | Look::Found(found) => {
                    let halves = &self.buffers[found.buffer as usize];
                    let [first, second] = [0, 1].map(|n| halves[n].load(Relaxed));
                    if !mutant::has("does not look again") && !ring::unchanged(self, found) {
                        continue;
                    }
                    assert_eq!(first, second, "torn");
                    let gap = matches!(look, Look::Gap(_));
                    assert_eq!(gap, first >= GAP, "a gap for a message, or the other way round");
                    got.push(Got::Message(at.get().position(), first));
                    ring::pass(self, at);
                    return true;
                }
            }
        }
    }

    /// What is in plain memory at a position, for one that publishers wait for.
    pub(crate) fn cell(&self, at: Cursor) -> Option<u64> {
        match ring::look(self, at) {
            Look::Nothing => None,
            Look::Found(found) => {
                let message = self.cells[found.buffer as usize].get();
                assert!(ring::unchanged(self, found), "overrun");
                Some(message)
            }
            other => panic!("overrun: {other:?}"),
        }
    }

    /// Reads the next message, as a reliable subscriber does.
    pub(crate) fn read_cell(
        &self,
        reliable: &Reliable,
        at: &Cell<Cursor>,
        got: &mut Vec<Got>,
    ) -> bool {
        let Some(message) = self.cell(at.get()) else { return false };
        got.push(Got::Message(at.get().position(), message));
        ring::pass(self, at);
        reliable.read_up_to(self, at.get().position());
        true
    }

    pub(crate) fn join(&self, id: u16, back: u64) -> (Reliable, Cell<Cursor>) {
        let (reliable, first) = ring::join(self, self, member(id), back).expect("one is vacant");
        (reliable, Cell::new(Cursor::at(first, self.shape.slots)))
    }

    /// Whether one that wanted the last `back` messages, when `before` had been published
    /// before, has got what it may have, now that everybody has gone.
    pub(crate) fn check_join(&self, first: u64, back: u64, before: u64) {
        let back = back.min(self.shape.reach);
        assert!(first >= before.saturating_sub(back), "more than was asked for");
        assert!(first + back <= self.first_unpublished().max(back), "less than may be had");
    }

    /// What a subscriber got from `first` to the end is what was published, and what it was
    /// told to have missed.
    pub(crate) fn check(&self, first: u64, got: &[Got]) {
        let published = self.published.borrow();
        let mut next = first;
        for got in got {
            match *got {
                Got::Missed(n) => next += n,
                Got::Message(position, message) => {
                    assert_eq!(position, next, "out of order");
                    let known = published.iter().find(|(at, _)| *at == position);
                    if let Some((_, known)) = known {
                        assert_eq!(message, *known, "another message");
                    }
                    next += 1;
                }
            }
        }
        assert_eq!(next, self.first_unpublished(), "got and missed are not all");
    }

    /// When everybody has gone: each position was published once, there is no gap, and each
    /// buffer is in one place. So many messages are published of which nobody knows.
    pub(crate) fn settle(&self, unknown: usize) {
        let end = self.first_unpublished();
        let positions: BTreeSet<_> = self.published.borrow().iter().map(|(at, _)| *at).collect();
        assert_eq!(positions.len(), self.published.borrow().len(), "a position twice");
        assert!(positions.iter().all(|&at| at < end), "published beyond the end");
        assert!(end as usize <= positions.len() + unknown, "a gap");
        let limit = self.limit.load(Relaxed);
        assert!((end..=end + self.shape.step).contains(&limit), "limit {limit}, end {end}");
        // Taking up an entry completes what is incomplete there.
        let spares = (0..self.shape.publishers).map(|n| self.attach(n).spare());
        let mut places: BTreeSet<_> = spares.collect();
        for (index, slot) in (0..).zip(&self.slots) {
            places.insert(self.shape.buffer(index, slot.load(Relaxed)));
        }
        assert_eq!(places.len() as u64, self.shape.buffers(), "a buffer is in two places");
    }
}
