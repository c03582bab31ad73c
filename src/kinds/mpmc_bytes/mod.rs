//! MPMC of bytes: any number of senders and receivers; a message is written
//! into a block of its own and then takes its place in the order.
//!
//! So nobody waits for a slow writer. The blocks take `capacity × longest`
//! bytes, however short the messages are.

mod audit;
pub(super) mod layout;
mod recover;
mod storage;

use core::cell::Cell;

use super::any::AnyKind;
use super::mpmc::Position;
use super::payload::Bytes;
use super::ring::Ring;
use crate::ring::table::Member;
use crate::ring::wait::{NotNow, Want};
use crate::ring::{blocks, mpmc};
use crate::storage::layout::{Measures, Parts};
use crate::storage::{ByteSpan, Cells};

pub(crate) use storage::BlockSlots;

/// The kind, to the segment.
pub(crate) struct OfBlocks;

impl AnyKind for OfBlocks {
    fn parts(&self, of: &Measures) -> Option<Parts> {
        layout::parts(of.messages, of.size)
    }

    fn len(&self, cells: &Cells) -> u64 {
        mpmc::len(cells)
    }

    fn in_flight(&self, cells: &Cells) -> bool {
        mpmc::in_flight(cells)
    }
}

/// A sender's position in the order, and in the blocks.
#[derive(Debug)]
pub struct Writer {
    order: Position,
    block: Cell<u64>,
    /// Whether its last reservation found a block.
    has_a_block: Cell<bool>,
}

/// A block that is being written.
#[derive(Clone, Copy, Debug)]
pub struct Writing {
    block: u64,
    length: usize,
}

/// A taken slot and the block that it names.
#[derive(Debug)]
pub struct Reading {
    slot: mpmc::Taken,
    block: u64,
    length: u64,
}

impl BlockSlots {
    /// The block of a slot that was taken.
    #[inline]
    fn reading(&self, slot: mpmc::Taken, owner: u16) -> Result<Reading, NotNow> {
        match self.named(slot.index) {
            Some((block, length)) if blocks::adopt(self, block, owner) => {
                Ok(Reading { slot, block, length })
            }
            named => {
                // Out of the way with it.
                mpmc::release(self, slot);
                Err(NotNow::Word(named.map_or(u64::MAX, |(block, _)| block)))
            }
        }
    }

    /// Queues a block in a slot that was claimed.
    #[inline]
    fn queue(&self, slot: mpmc::Claim, claim: &Writing, length: usize) {
        self.name(slot.index, claim.block, length.min(claim.length) as u64);
        mpmc::publish(self, slot);
    }
}

impl Ring for BlockSlots {
    type Of = Bytes;
    type Producer = Writer;
    type Consumer = Position;
    type Claim = Writing;
    type Taken = Reading;

    const CLAIM_IS_PLACE: bool = false;
    const SLOT_WAITERS: bool = true;

    fn of(cells: &Cells) -> Option<Self> {
        Self::of(cells)
    }

    fn producer(&self, _: Member) -> Result<Writer, NotNow> {
        let order = Position::producer(self);
        Ok(Writer { order, block: Cell::new(0), has_a_block: Cell::new(false) })
    }

    fn consumer(&self, _: Member, _: u8) -> Result<(Position, bool), NotNow> {
        Ok((Position::consumer(self), false))
    }

    #[inline(always)]
    fn push_next(&self, at: &Writer, owner: u16, message: &&[u8]) -> Result<(), NotNow> {
        self.push(at, owner, message)
    }

    fn push(&self, at: &Writer, owner: u16, message: &&[u8]) -> Result<(), NotNow> {
        let claim = self.reserve(at, owner, message.len())?;
        self.claimed(&claim).fill(message);
        self.commit(at, owner, claim, message.len()).inspect_err(|_| {
            self.abort(&claim);
        })
    }

    #[inline(always)]
    fn pop_next(&self, at: &Position, owner: u16, into: &mut Vec<u8>) -> Result<(), NotNow> {
        let taken = self.take_next(at, owner)?;
        self.taken(&taken).append_to(into);
        self.release(at, taken);
        Ok(())
    }

    fn pop(&self, at: &Position, owner: u16, into: &mut Vec<u8>) -> Result<(), NotNow> {
        let taken = self.take(at, owner)?;
        self.taken(&taken).append_to(into);
        self.release(at, taken);
        Ok(())
    }

    #[inline(always)]
    fn reserve_next(&self, at: &Writer, owner: u16, length: usize) -> Result<Writing, NotNow> {
        self.reserve(at, owner, length)
    }

    #[inline]
    fn reserve(&self, at: &Writer, owner: u16, length: usize) -> Result<Writing, NotNow> {
        let mut hint = at.block.get();
        let block = blocks::allocate(self, &mut hint, owner);
        at.block.set(hint);
        at.has_a_block.set(block.is_some());
        block.map(|block| Writing { block, length }).ok_or(NotNow::Nothing)
    }

    #[inline(always)]
    fn claimed(&self, claim: &Writing) -> ByteSpan<'_> {
        self.bytes(claim.block, claim.length as u64)
    }

    #[inline]
    fn commit(&self, at: &Writer, owner: u16, claim: Writing, length: usize) -> Result<(), NotNow> {
        let slot = match mpmc::claim_next(self, &at.order.cursor, owner) {
            Some(slot) => slot,
            None => at.order.claim(self, owner).map_err(|why| match why {
                NotNow::Nothing | NotNow::Pending => NotNow::NoSlot,
                why => why,
            })?,
        };
        self.queue(slot, &claim, length);
        Ok(())
    }

    fn abort(&self, claim: &Writing) -> bool {
        blocks::free(self, claim.block);
        true
    }

    #[inline(always)]
    fn take_next(&self, at: &Position, owner: u16) -> Result<Reading, NotNow> {
        self.reading(mpmc::take_next(self, &at.cursor, owner).ok_or(NotNow::Unsure)?, owner)
    }

    fn take(&self, at: &Position, owner: u16) -> Result<Reading, NotNow> {
        self.reading(at.take(self, owner)?, owner)
    }

    #[inline(always)]
    fn taken(&self, taken: &Reading) -> ByteSpan<'_> {
        self.bytes(taken.block, taken.length)
    }

    fn attempts(&self, _: &Position, taken: &Reading) -> u8 {
        u8::try_from(taken.slot.attempts).unwrap_or(u8::MAX)
    }

    #[inline]
    fn release(&self, _: &Position, taken: Reading) {
        // The slot first: a block that is free and still named could be
        // somebody else's message by the time it is delivered again.
        mpmc::release(self, taken.slot);
        blocks::free(self, taken.block);
    }

    fn give_back(&self, _: &Position, taken: Reading, counted: bool) -> bool {
        let give_back = if counted { mpmc::give_back_counted } else { mpmc::give_back };
        give_back(self, taken.slot);
        true
    }

    fn may_reserve(&self, _: &Writer) -> bool {
        blocks::any_free(self)
    }

    fn lacks(&self, at: &Writer) -> Option<NotNow> {
        if !blocks::any_free(self) {
            Some(NotNow::Nothing)
        } else if !mpmc::room(self, at.order.cursor.get()) {
            Some(NotNow::NoSlot)
        } else {
            None
        }
    }

    fn may_take(&self, at: &Position) -> bool {
        mpmc::available(self, at.cursor.get())
    }

    fn in_flight(&self) -> bool {
        mpmc::in_flight(self)
    }

    fn wanted_by_producer(at: &Writer) -> Want {
        if at.has_a_block.get() { Want::Slot(at.order.cursor.get()) } else { Want::Block }
    }

    fn wanted_by_consumer(at: &Position) -> Want {
        Want::Message(at.cursor.get())
    }
}
