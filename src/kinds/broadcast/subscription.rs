//! A subscriber's place in a broadcast ring, and whether publishers wait for it.

use core::cell::Cell;
use core::convert::Infallible;
use core::fmt::Debug;

use super::words::Board;
use crate::kinds::keep_back::KeepBack;
use crate::ring::broadcast::{self, Found, Words as _};
use crate::ring::cursor::Cursor;
use crate::ring::table::Member;
use crate::storage::View;

/// With which message a subscriber begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Start {
    /// With the next one that is published.
    #[default]
    Newest,
    /// With the oldest one that is retained. At least as many as the channel's capacity
    /// are, and for a reliable subscriber exactly so many, if so many have been published.
    Oldest,
    /// With so many of the last messages, or as many as the capacity at most. A lossy
    /// subscriber may find that publishers have written over some of them meanwhile, and is
    /// told so.
    Last(u64),
}

/// Whether publishers wait for a subscriber.
pub trait Mode: Debug + 'static {
    /// What it keeps for that.
    type Seat: Debug + Send;
    /// A message that it reads in place.
    type Taken: Debug + Send;
    const MAKES_ROOM: bool;

    /// Takes a seat, and finds the first position.
    fn sit(board: &Board, me: Member, start: Start) -> Option<(Self::Seat, u64)>;
    /// Everything before `position` has been read.
    fn read_up_to(seat: &Self::Seat, board: &Board, position: u64);
    /// `None` where publishers may write over the message meanwhile.
    fn take(found: Found) -> Option<Self::Taken>;
    fn found(taken: &Self::Taken) -> Found;
}

/// Each subscriber gets every message, and publishers wait for nobody: a subscriber that is
/// too slow loses messages, and is told how many. The kind of a
/// [`Publisher`](crate::Publisher) and of a [`Subscriber`](crate::Subscriber).
#[derive(Clone, Copy, Debug)]
pub enum Broadcast {}

/// The same, and publishers wait for this subscriber: the kind of a
/// [`ReliableSubscriber`](crate::ReliableSubscriber) of a broadcast channel.
#[derive(Clone, Copy, Debug)]
pub enum Reliable {}

/// A reliable subscriber's entry, which is given up when this is dropped.
#[derive(Debug)]
pub struct Seat {
    entry: broadcast::Reliable,
    board: Board,
    me: Member,
}

impl Drop for Seat {
    fn drop(&mut self) {
        // In a forked child, it belongs to the parent.
        if !self.board.cells().in_child() {
            broadcast::leave(&self.board, &self.entry, self.me);
        }
    }
}

impl Mode for Broadcast {
    type Seat = ();
    type Taken = Infallible;
    const MAKES_ROOM: bool = false;

    fn sit(board: &Board, _: Member, start: Start) -> Option<((), u64)> {
        // The end first: in the other order, what is the oldest then may be gone by the time
        // when the end is found.
        let next = broadcast::first_unpublished(board).position();
        let back = match start {
            Start::Newest => 0,
            Start::Oldest => u64::MAX,
            Start::Last(count) => count.min(board.cells().messages()),
        };
        Some(((), next.saturating_sub(back).max(broadcast::oldest(board)).min(next)))
    }

    #[inline(always)]
    fn read_up_to((): &(), _: &Board, _: u64) {}

    #[inline(always)]
    fn take(_: Found) -> Option<Infallible> {
        None
    }

    fn found(taken: &Infallible) -> Found {
        match *taken {}
    }
}

impl Mode for Reliable {
    type Seat = Seat;
    type Taken = Found;
    const MAKES_ROOM: bool = true;

    fn sit(board: &Board, me: Member, start: Start) -> Option<(Seat, u64)> {
        let back = match start {
            Start::Newest => 0,
            Start::Oldest => u64::MAX,
            Start::Last(count) => count,
        };
        let (entry, position) = broadcast::join(board, board.cells(), me, back)?;
        Some((Seat { entry, board: board.clone(), me }, position))
    }

    #[inline(always)]
    fn read_up_to(seat: &Seat, board: &Board, position: u64) {
        seat.entry.read_up_to(board, position);
    }

    #[inline(always)]
    fn take(found: Found) -> Option<Found> {
        Some(found)
    }

    #[inline(always)]
    fn found(taken: &Found) -> Found {
        *taken
    }
}

impl Subscription<Broadcast> {
    /// Another one at the same position.
    pub(crate) fn another(&self, board: &Board) -> Self {
        Self::at(board, (), self.cursor.get())
    }
}

/// Where a subscriber is.
#[derive(Debug)]
pub struct Subscription<M: Mode> {
    pub(super) cursor: Cell<Cursor>,
    pub(super) seat: M::Seat,
    /// From the publishers.
    pub(super) keep_back: KeepBack,
    /// How many messages it has missed.
    missed: Cell<u64>,
}

impl<M: Mode> Subscription<M> {
    /// `None` if there are as many reliable subscribers as there may be.
    pub(super) fn new(board: &Board, me: Member, start: Start) -> Option<Self> {
        let (seat, position) = M::sit(board, me, start)?;
        Some(Self::at(board, seat, Cursor::at(position, board.shape().slots)))
    }

    fn at(board: &Board, seat: M::Seat, cursor: Cursor) -> Self {
        let keep_back = KeepBack::new(board.shape().reach, cursor.position());
        Self { cursor: Cell::new(cursor), seat, keep_back, missed: Cell::new(0) }
    }

    /// The position of the next message to read.
    #[inline(always)]
    pub(crate) fn position(&self) -> u64 {
        self.cursor.get().position()
    }

    pub(crate) const fn missed(&self) -> u64 {
        self.missed.get()
    }

    /// Has missed these, too.
    pub(super) fn has_missed(&self, messages: u64) {
        self.missed.set(self.missed.get().saturating_add(messages));
    }

    /// Has not missed these, which it would have passed over.
    pub(crate) fn has_passed_over(&self, messages: u64) {
        self.missed.set(self.missed.get().saturating_sub(messages));
    }

    /// Goes on at this position.
    pub(super) fn go_to(&self, board: &Board, position: u64) {
        self.cursor.set(Cursor::at(position, board.shape().slots));
        M::read_up_to(&self.seat, board, position);
    }

    /// Goes on at the oldest message that is retained. Returns how many it passes, or a
    /// limit that cannot be.
    pub(super) fn skip(&self, board: &Board) -> Result<u64, u64> {
        let passed = broadcast::skip(board, &self.cursor)?;
        self.has_missed(passed);
        Ok(passed)
    }
}
