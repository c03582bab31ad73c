//! MPMC: any number of senders and receivers; elements of one size, each behind
//! the word of its slot.

pub(super) mod audit;
mod joint;
pub(super) mod layout;
mod peek;
mod position;
mod recover;
mod storage;
pub(super) mod words;

use bytemuck::{CheckedBitPattern, NoUninit};

use super::any::AnyKind;
use super::element::Element;
use super::passed::Passed;
use super::payload::Untyped;
use super::peek::{Copied, Peek};
use super::ring::Ring;
use crate::ring::mpmc::{self, Claim, Taken};
use crate::ring::table::Member;
use crate::ring::wait::{NotNow, Want};
use crate::storage::Cells;
use crate::storage::layout::{Measures, Parts};

pub(super) use peek::peek;
pub(crate) use position::Position;
pub(crate) use storage::Tagged;

/// The kind, to the segment.
pub(crate) struct OfElements;

impl AnyKind for OfElements {
    fn parts(&self, of: &Measures) -> Option<Parts> {
        layout::parts(of.messages, of.size, of.align)
    }

    fn len(&self, cells: &Cells) -> u64 {
        mpmc::len(cells)
    }

    fn passed(&self, cells: &Cells) -> Passed {
        Passed::Messages(mpmc::ends(cells).1)
    }

    fn there(&self, cells: &Cells) -> (u64, u64) {
        mpmc::ends(cells)
    }

    fn peek(&self, cells: &Cells, position: u64, most: usize) -> Peek {
        let Some(slots) = Tagged::<Untyped>::of(cells) else { return Peek::Nothing };
        peek(&slots, position, |index| Some(Copied::of_element(slots.element(index), most)))
    }

    fn in_flight(&self, cells: &Cells) -> bool {
        mpmc::in_flight(cells)
    }
}

impl<E: Element> Ring for Tagged<E> {
    type Of = E;
    type Producer = Position;
    type Consumer = Position;
    type Claim = Claim;
    type Taken = Taken;

    const CLAIM_IS_PLACE: bool = true;

    fn of(cells: &Cells) -> Option<Self> {
        Self::of(cells)
    }

    fn producer(&self, _: Member) -> Result<Position, NotNow> {
        Ok(Position::producer(self))
    }

    fn consumer(&self, _: Member, _: u8) -> Result<(Position, bool), NotNow> {
        Ok((Position::consumer(self), false))
    }

    fn another_producer(&self, at: &Position, _: Member) -> Result<Position, NotNow> {
        Ok(at.another(self))
    }

    fn another_consumer(&self, at: &Position, _: Member, _: u8) -> Result<Position, NotNow> {
        Ok(at.another(self))
    }

    #[inline(always)]
    fn push_next(&self, at: &Position, owner: u16, message: &E::Sent<'_>) -> Result<(), NotNow>
    where
        E: NoUninit,
    {
        let claim = mpmc::claim_next(self, &at.cursor, owner).ok_or(NotNow::Unsure)?;
        E::write(self.element(claim.index), message);
        mpmc::publish(self, claim);
        Ok(())
    }

    fn push(&self, at: &Position, owner: u16, message: &E::Sent<'_>) -> Result<(), NotNow>
    where
        E: NoUninit,
    {
        self.push_redelivered(at, owner, message, 0)
    }

    fn push_redelivered(
        &self,
        at: &Position,
        owner: u16,
        message: &E::Sent<'_>,
        attempts: u8,
    ) -> Result<(), NotNow>
    where
        E: NoUninit,
    {
        let claim = at.claim(self, owner)?.redelivered(attempts);
        E::write(self.element(claim.index), message);
        mpmc::publish(self, claim);
        Ok(())
    }

    #[inline(always)]
    fn pop_next(&self, at: &Position, owner: u16, into: &mut E::Out) -> Result<(), NotNow>
    where
        E: CheckedBitPattern,
    {
        let taken = mpmc::take_next(self, &at.cursor, owner).ok_or(NotNow::Unsure)?;
        E::read(self.element(taken.index), into);
        mpmc::release(self, taken);
        Ok(())
    }

    fn pop(&self, at: &Position, owner: u16, into: &mut E::Out) -> Result<(), NotNow>
    where
        E: CheckedBitPattern,
    {
        let taken = at.take(self, owner)?;
        E::read(self.element(taken.index), into);
        mpmc::release(self, taken);
        Ok(())
    }

    #[inline(always)]
    fn reserve_next(&self, at: &Position, owner: u16, _: usize) -> Result<Claim, NotNow> {
        mpmc::claim_next(self, &at.cursor, owner).ok_or(NotNow::Unsure)
    }

    fn reserve(&self, at: &Position, owner: u16, _: usize) -> Result<Claim, NotNow> {
        at.claim(self, owner)
    }

    #[inline(always)]
    fn claimed<'a>(&'a self, _: &'a Position, claim: &Claim) -> E::Place<'a> {
        self.element(claim.index)
    }

    #[inline(always)]
    fn commit(&self, _: &Position, _: u16, claim: Claim, _: usize) -> Result<(), NotNow> {
        mpmc::publish(self, claim);
        Ok(())
    }

    fn abort(&self, claim: &Claim) -> bool {
        mpmc::abort(self, *claim);
        true
    }

    #[inline(always)]
    fn take_next(&self, at: &Position, owner: u16) -> Result<Taken, NotNow> {
        mpmc::take_next(self, &at.cursor, owner).ok_or(NotNow::Unsure)
    }

    fn take(&self, at: &Position, owner: u16) -> Result<Taken, NotNow> {
        at.take(self, owner)
    }

    #[inline(always)]
    fn taken(&self, taken: &Taken) -> E::Place<'_> {
        self.element(taken.index)
    }

    fn attempts(&self, _: &Position, taken: &Taken) -> u8 {
        u8::try_from(taken.attempts).unwrap_or(u8::MAX)
    }

    #[inline(always)]
    fn release(&self, _: &Position, taken: Taken) {
        mpmc::release(self, taken);
    }

    fn give_back(&self, _: &Position, taken: Taken, counted: bool) -> bool {
        let give_back = if counted { mpmc::give_back_counted } else { mpmc::give_back };
        give_back(self, taken);
        true
    }

    fn may_reserve(&self, at: &Position) -> bool {
        mpmc::room(self, at.cursor.get())
    }

    fn may_take(&self, at: &Position) -> bool {
        mpmc::available(self, at.cursor.get())
    }

    fn in_flight(&self) -> bool {
        mpmc::in_flight(self)
    }

    fn may_push(&self, at: &Position) -> bool {
        at.may_claim(self)
    }

    fn may_pop(&self, at: &Position) -> bool {
        at.may_take(self)
    }

    fn wanted_by_producer(at: &Position) -> Want {
        Want::Slot(at.cursor.get())
    }

    fn wanted_by_consumer(at: &Position) -> Want {
        Want::Message(at.cursor.get())
    }
}
