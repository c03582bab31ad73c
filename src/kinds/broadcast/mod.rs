//! Broadcast: any number of publishers and subscribers; each subscriber gets every message.
//!
//! Elements and bytes differ in what is in the buffers (`storage`). A subscriber that
//! publishers wait for differs from one that they do not in what it keeps and stores
//! (`subscription`).

mod audit;
mod inspect;
pub(super) mod layout;
mod peek;
mod publication;
mod recover;
mod ring;
mod storage;
mod subscription;
pub(super) mod words;

use core::marker::PhantomData;

use bytemuck::{CheckedBitPattern, NoUninit};

use super::any::AnyKind;
use super::batch::ByteBatch;
use super::passed::Passed;
use super::payload::{Bytes, Form, Untyped};
use super::peek::{Copied, Peek};
use super::ring::Ring;
use crate::ring::broadcast::{self, Found, Look, Words as _};
use crate::ring::cursor::Cursor;
use crate::ring::table::Member;
use crate::ring::wait::{NotNow, Want};
use crate::storage::layout::{Measures, Parts};
use crate::storage::{Cells, View};

pub(crate) use inspect::Inspection;
pub(crate) use layout::MAX_MESSAGES;
use publication::Publication;
pub use ring::Broadcasts;
use storage::Buffered;
use subscription::Subscription;
pub use subscription::{Broadcast, Mode, Reliable, Start};
pub(crate) use words::Board;

/// The kinds, to the segment.
pub(crate) struct OfElements;
pub(crate) struct OfBytes;

/// How many messages the slowest reliable subscriber has not read.
fn unread(cells: &Cells) -> u64 {
    Board::of(cells).and_then(|board| board.slowest()).map_or(0, |(behind, _)| behind)
}

fn there(cells: &Cells) -> (u64, u64) {
    Board::of(cells).map_or((0, 0), |board| {
        let published = board.published();
        (broadcast::oldest(&board).min(published), published)
    })
}

fn published(cells: &Cells) -> Passed {
    Passed::Messages(Board::of(cells).map_or(0, |board| board.published()))
}

impl AnyKind for OfElements {
    fn parts(&self, of: &Measures) -> Option<Parts> {
        layout::parts_of_elements(of)
    }

    fn len(&self, cells: &Cells) -> u64 {
        unread(cells)
    }

    fn passed(&self, cells: &Cells) -> Passed {
        published(cells)
    }

    fn there(&self, cells: &Cells) -> (u64, u64) {
        there(cells)
    }

    fn peek(&self, cells: &Cells, position: u64, most: usize) -> Peek {
        let Some(board) = Board::of(cells) else { return Peek::Nothing };
        peek::peek(&board, position, |buffer| {
            Copied::of_element(Untyped::message(&board, buffer), most)
        })
    }

    fn in_flight(&self, _: &Cells) -> bool {
        false
    }
}

impl AnyKind for OfBytes {
    fn parts(&self, of: &Measures) -> Option<Parts> {
        layout::parts_of_bytes(of)
    }

    fn len(&self, cells: &Cells) -> u64 {
        unread(cells)
    }

    fn passed(&self, cells: &Cells) -> Passed {
        published(cells)
    }

    fn there(&self, cells: &Cells) -> (u64, u64) {
        there(cells)
    }

    fn peek(&self, cells: &Cells, position: u64, most: usize) -> Peek {
        let Some(board) = Board::of(cells) else { return Peek::Nothing };
        peek::peek(&board, position, |buffer| Copied::of_span(Bytes::message(&board, buffer), most))
    }

    fn in_flight(&self, _: &Cells) -> bool {
        false
    }
}

/// A ring whose slots name buffers of a payload, for subscribers of one mode.
#[derive(Debug)]
pub struct BufferRing<F, M>(Board, PhantomData<fn(F) -> (F, M)>);

/// A buffer that is written.
#[derive(Clone, Copy, Debug)]
pub struct Writing {
    buffer: u64,
    length: usize,
}

impl<F: Buffered, M: Mode> BufferRing<F, M> {
    /// Moves the subscription on from the message that it has read.
    #[inline(always)]
    fn pass(&self, at: &Subscription<M>) {
        broadcast::pass(&self.0, &at.cursor);
        M::read_up_to(&at.seat, &self.0, at.position());
    }

    /// How many messages have been published that it has not read, also those that have been
    /// written over.
    fn behind(&self, at: &Subscription<M>) -> u64 {
        let behind = self.0.published().wrapping_sub(at.position());
        u64::try_from(behind.cast_signed()).unwrap_or(0)
    }

    /// Copies the message out that was found; `false` if a publisher has written over it
    /// meanwhile.
    #[inline(always)]
    fn copy(&self, found: Found, into: &mut F::Out) -> bool
    where
        F: CheckedBitPattern,
    {
        let before = F::filled(into);
        F::read(&self.0, found.buffer, into);
        let is_whole = broadcast::unchanged(&self.0, found);
        if !is_whole {
            F::cut(into, before);
        }
        is_whole
    }

    /// Why there is nothing at the subscription's position, where this look was the last one. After
    /// a missed message, it goes on at the oldest one that is retained.
    #[cold]
    #[inline(never)]
    fn nothing(&self, at: &Subscription<M>, last: Look) -> NotNow {
        let look = match last {
            // A publisher has written over what was found.
            Look::Found(_) => broadcast::look(&self.0, at.cursor.get()),
            last => last,
        };
        match look {
            Look::Nothing => NotNow::Nothing,
            Look::Corrupt(word) => NotNow::Word(word),
            // Publishers wait for this subscriber.
            Look::Missed if M::MAKES_ROOM => NotNow::Disorder,
            Look::Gap(gap) => self.told(at, gap),
            Look::Missed => match at.skip(&self.0) {
                Ok(missed) => NotNow::Lagged(missed),
                Err(limit) => NotNow::Word(limit),
            },
            // A slot that changes goes on to a later lap.
            Look::Found(_) => NotNow::Disorder,
        }
    }

    /// What a gap tells. The subscription goes on behind it.
    fn told(&self, at: &Subscription<M>, gap: Found) -> NotNow {
        let missed = self.0.missing(gap.buffer);
        if !broadcast::unchanged(&self.0, gap) {
            // Written over, as messages are: the next call tells.
            return NotNow::Unsure;
        }
        self.pass(at);
        at.has_missed(missed);
        NotNow::Lagged(missed)
    }

    /// Copies the next message out, without a word about missed ones.
    #[inline(always)]
    fn next(&self, at: &Subscription<M>, into: &mut F::Out) -> Result<(), Look>
    where
        F: CheckedBitPattern,
    {
        match broadcast::look(&self.0, at.cursor.get()) {
            Look::Found(found) if self.copy(found, into) => {
                self.pass(at);
                Ok(())
            }
            look => Err(look),
        }
    }

    /// The same after this look: once more if there was nothing and the subscription has kept
    /// back.
    #[cold]
    #[inline(never)]
    fn again(&self, at: &Subscription<M>, look: Look, into: &mut F::Out) -> Result<(), Look>
    where
        F: CheckedBitPattern,
    {
        match look {
            Look::Nothing if at.keep_back.retries(at.position()) => self.next(at, into),
            look => Err(look),
        }
    }

    /// What the fast paths say after a look that found no message. Keeping back is left to the
    /// others.
    #[inline(always)]
    fn refused(at: &Subscription<M>, look: Look) -> NotNow {
        match look {
            Look::Nothing if at.keep_back.is_idle(at.position()) => NotNow::Nothing,
            _ => NotNow::Unsure,
        }
    }
}

impl<F: Buffered, M: Mode> View for BufferRing<F, M> {
    #[inline(always)]
    fn cells(&self) -> &Cells {
        self.0.cells()
    }
}

impl<F: Buffered, M: Mode> Ring for BufferRing<F, M> {
    type Of = F;
    type Producer = Publication;
    type Consumer = Subscription<M>;
    type Claim = Writing;
    type Taken = M::Taken;

    const CLAIM_IS_PLACE: bool = false;
    const MAKES_ROOM: bool = M::MAKES_ROOM;

    fn of(cells: &Cells) -> Option<Self> {
        F::fits(cells).then(|| Board::of(cells)).flatten().map(|board| Self(board, PhantomData))
    }

    fn producer(&self, me: Member) -> Result<Publication, NotNow> {
        Publication::claim(&self.0, me).ok_or(NotNow::Nothing)
    }

    fn consumer(&self, me: Member, _: u8) -> Result<(Subscription<M>, bool), NotNow> {
        self.subscribe(me, Start::Newest).map(|at| (at, false))
    }

    #[inline(always)]
    fn push_next(&self, at: &Publication, _: u16, message: &F::Sent<'_>) -> Result<(), NotNow>
    where
        F: NoUninit,
    {
        if !at.is_ready() {
            return Err(NotNow::Unsure);
        }
        at.fetch_ahead(&self.0);
        F::write(&self.0, at.spare(), message);
        at.publish_next(&self.0)
    }

    fn push(&self, at: &Publication, _: u16, message: &F::Sent<'_>) -> Result<(), NotNow>
    where
        F: NoUninit,
    {
        at.ready(&self.0)?;
        F::write(&self.0, at.spare(), message);
        at.publish_next(&self.0)
    }

    #[inline(always)]
    fn pop_next(&self, at: &Subscription<M>, _: u16, into: &mut F::Out) -> Result<(), NotNow>
    where
        F: CheckedBitPattern,
    {
        self.next(at, into).map_err(|look| Self::refused(at, look))
    }

    fn pop(&self, at: &Subscription<M>, _: u16, into: &mut F::Out) -> Result<(), NotNow>
    where
        F: CheckedBitPattern,
    {
        self.next(at, into)
            .or_else(|look| self.again(at, look, into))
            .map_err(|look| self.nothing(at, look))
    }

    fn pop_many(
        &self,
        at: &Subscription<M>,
        _: u16,
        most: usize,
        into: &mut Vec<F::Owned>,
    ) -> Result<bool, NotNow>
    where
        F: CheckedBitPattern,
    {
        let most = self.cells().messages().min(most as u64);
        for popped in 0..most {
            let mut out = F::out();
            match self.next(at, &mut out) {
                Ok(()) => {}
                Err(look) if popped == 0 => {
                    let again = self.again(at, look, &mut out);
                    again.map_err(|look| self.nothing(at, look))?;
                }
                // The next call tells.
                Err(_) => break,
            }
            let Some(message) = F::owned(out) else { return Ok(false) };
            into.push(message);
        }
        Ok(true)
    }

    fn pop_flat(
        &self,
        at: &Subscription<M>,
        _: u16,
        most: usize,
        into: &mut ByteBatch,
    ) -> Result<(), NotNow>
    where
        F: CheckedBitPattern + Form<Out = Vec<u8>>,
    {
        let most = self.cells().messages().min(most as u64);
        for popped in 0..most {
            let next = |bytes: &mut Vec<u8>| match self.next(at, bytes) {
                Err(look) if popped == 0 => self.again(at, look, bytes),
                next => next,
            };
            match into.append(next) {
                Ok(()) => {}
                Err(look) if popped == 0 => return Err(self.nothing(at, look)),
                // The next call tells.
                Err(_) => break,
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn reserve_next(&self, at: &Publication, _: u16, length: usize) -> Result<Writing, NotNow> {
        if !at.is_ready() {
            return Err(NotNow::Unsure);
        }
        Ok(Writing { buffer: at.spare(), length })
    }

    fn reserve(&self, at: &Publication, _: u16, length: usize) -> Result<Writing, NotNow> {
        at.ready(&self.0)?;
        Ok(Writing { buffer: at.spare(), length })
    }

    #[inline(always)]
    fn claimed<'a>(&'a self, _: &'a Self::Producer, claim: &Writing) -> F::Place<'a> {
        F::room(&self.0, claim.buffer, claim.length)
    }

    #[inline(always)]
    fn commit(
        &self,
        at: &Publication,
        _: u16,
        claim: Writing,
        length: usize,
    ) -> Result<(), NotNow> {
        F::seal(&self.0, claim.buffer, length.min(claim.length));
        at.publish(&self.0)
    }

    fn abort(&self, _: &Writing) -> bool {
        false
    }

    #[inline(always)]
    fn take_next(&self, at: &Subscription<M>, _: u16) -> Result<M::Taken, NotNow> {
        match broadcast::look(&self.0, at.cursor.get()) {
            Look::Found(found) => M::take(found).ok_or(NotNow::Disorder),
            look => Err(Self::refused(at, look)),
        }
    }

    fn take(&self, at: &Subscription<M>, _: u16) -> Result<M::Taken, NotNow> {
        let look = || broadcast::look(&self.0, at.cursor.get());
        let found = match look() {
            Look::Nothing if at.keep_back.retries(at.position()) => look(),
            found => found,
        };
        match found {
            Look::Found(found) => M::take(found).ok_or(NotNow::Disorder),
            none => Err(self.nothing(at, none)),
        }
    }

    #[inline(always)]
    fn taken(&self, taken: &M::Taken) -> F::Place<'_> {
        F::message(&self.0, M::found(taken).buffer)
    }

    fn attempts(&self, _: &Subscription<M>, _: &M::Taken) -> u8 {
        0
    }

    #[inline(always)]
    fn release(&self, at: &Subscription<M>, _: M::Taken) {
        self.pass(at);
    }

    fn give_back(&self, _: &Subscription<M>, _: M::Taken, _: bool) -> bool {
        false
    }

    fn may_reserve(&self, at: &Publication) -> bool {
        broadcast::room(&self.0, self.cells(), at.position())
    }

    fn may_take(&self, _: &Subscription<M>) -> bool {
        // What this one has got, the others have not.
        true
    }

    fn left(&self, at: &Subscription<M>) -> u64 {
        let most = if M::MAKES_ROOM { self.0.shape().reach } else { self.0.shape().slots };
        self.behind(at).min(most)
    }

    fn wanted_by_producer(at: &Publication) -> Want {
        Want::Limit(at.position())
    }

    fn wanted_by_consumer(at: &Subscription<M>) -> Want {
        Want::Published(at.cursor.get())
    }
}

impl<F: Buffered, M: Mode> Broadcasts<M> for BufferRing<F, M> {
    fn board(&self) -> &Board {
        &self.0
    }

    fn subscribe(&self, me: Member, start: Start) -> Result<Subscription<M>, NotNow> {
        Subscription::new(&self.0, me, start).ok_or(NotNow::Nothing)
    }

    fn publish_gap(&self, at: &Publication, missed: u64) -> Result<(), NotNow> {
        at.publish_gap(&self.0, missed)
    }

    fn skip_to_newest(&self, at: &Subscription<M>) -> u64 {
        let (slots, newest) = (self.0.shape().slots, self.behind(at).saturating_sub(1));
        // A gap is no message: the newest one is before it.
        let is_gap = |passed: u64| {
            let position = at.position().wrapping_add(passed);
            matches!(broadcast::look(&self.0, Cursor::at(position, slots)), Look::Gap(_))
        };
        let few = usize::try_from(slots).unwrap_or(usize::MAX);
        let passed = (0..=newest).rev().take(few).find(|&n| !is_gap(n)).unwrap_or(newest);
        if passed > 0 {
            self.go_to(at, at.position().wrapping_add(passed));
        }
        passed
    }

    fn go_to(&self, at: &Subscription<M>, position: u64) {
        at.go_to(&self.0, position);
    }
}
