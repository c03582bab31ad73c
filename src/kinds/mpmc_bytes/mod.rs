//! MPMC of bytes: any number of senders and receivers.
//!
//! A short message is in its slot. A sender that gives it by value copies it there, as an
//! element; one that writes it in place writes it in memory of its own first. A longer
//! message is written into a block, and then takes its place in the order. So nobody waits
//! for a slow writer.
//!
//! There are as many blocks as slots: they take `capacity × longest` bytes of addresses,
//! and of memory what is used.

mod audit;
mod joint;
pub(super) mod layout;
mod recover;
mod storage;

use core::cell::Cell;

use super::any::AnyKind;
use super::mpmc::Position;
use super::passed::Passed;
use super::payload::Bytes;
use super::peek::{Copied, Peek};
use super::ring::Ring;
use crate::ring::table::Member;
use crate::ring::wait::{NotNow, Want};
use crate::ring::{blocks, mpmc};
use crate::storage::layout::{Measures, Parts};
use crate::storage::{ByteSpan, Cells, View};

pub(crate) use storage::BlockSlots;
use storage::{Draft, HERE};

/// The kind, to the segment.
pub(crate) struct OfBlocks;

impl AnyKind for OfBlocks {
    fn parts(&self, of: &Measures) -> Option<Parts> {
        layout::parts(of.messages, of.size)
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
        let Some(slots) = BlockSlots::of(cells) else { return Peek::Nothing };
        super::mpmc::peek(&slots, position, |index| {
            let (block, length) = slots.named(index)?;
            let span = match block {
                HERE => slots.in_slot(index, length),
                block => slots.bytes(block, length),
            };
            Some(Copied::of_span(span, most))
        })
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
    /// Whether its last reservation found a slot and no block.
    lacks_a_block: Cell<bool>,
    draft: Draft,
}

/// A receiver's position in the order, and how much memory it leaves to blocks.
#[derive(Debug)]
pub struct Reader {
    order: Position,
    /// See [`retained`](Self::retained).
    budget: Cell<usize>,
}

impl Reader {
    const fn new(order: Position, budget: usize) -> Self {
        Self { order, budget: Cell::new(budget) }
    }

    /// How many bytes of a block keep their memory when the block is freed. The blocks are
    /// used from the first on, so the first ones keep more.
    fn retained(&self, block: u64) -> usize {
        self.budget.get() / (block as usize).saturating_add(1)
    }

    /// Sets what the first block keeps.
    pub(crate) fn set_budget(&self, bytes: usize) {
        self.budget.set(bytes);
    }
}

/// A message that is being written: in a block, or in the handle's own memory.
#[derive(Clone, Copy, Debug)]
pub struct Writing {
    block: u64,
    length: usize,
}

/// A taken slot, and the block that it names, if the message is not in the slot.
#[derive(Debug)]
pub struct Reading {
    slot: mpmc::Taken,
    block: u64,
    length: u64,
}

impl BlockSlots {
    /// Whether messages of this length are in their slots.
    #[inline(always)]
    fn is_short(&self, length: usize) -> bool {
        length as u64 <= self.room()
    }

    /// The message of a slot that was taken.
    #[inline(always)]
    fn reading(&self, slot: mpmc::Taken, owner: u16) -> Result<Reading, NotNow> {
        match self.named(slot.index) {
            Some((block, length)) if block == HERE || blocks::adopt(self, block, owner) => {
                Ok(Reading { slot, block, length })
            }
            named => Err(self.broken(slot, named)),
        }
    }

    /// A slot that names what it cannot.
    #[cold]
    fn broken(&self, slot: mpmc::Taken, named: Option<(u64, u64)>) -> NotNow {
        // Out of the way with it.
        mpmc::release(self, slot);
        NotNow::Word(named.map_or(u64::MAX, |(block, _)| block))
    }

    /// Puts a short message into a slot that was claimed.
    #[inline(always)]
    fn put(&self, slot: mpmc::Claim, message: &[u8]) {
        self.write_short(slot, message);
        mpmc::publish(self, slot);
    }

    /// The same, without publishing it.
    #[inline(always)]
    fn write_short(&self, slot: mpmc::Claim, message: &[u8]) {
        let length = message.len() as u64;
        self.in_slot(slot.index, length).fill(message);
        self.name(slot.index, HERE, length);
    }

    /// Whether there is a block to write into, just now.
    fn any_block(&self) -> bool {
        blocks::any_free(self)
    }

    /// Claims a slot for what was written.
    #[inline]
    fn slot_for(&self, at: &Writer, owner: u16) -> Result<mpmc::Claim, NotNow> {
        match mpmc::claim_next(self, &at.order.cursor, owner) {
            Some(slot) => Ok(slot),
            None => at.order.claim(self, owner).map_err(|why| match why {
                NotNow::Nothing | NotNow::Pending => NotNow::NoSlot,
                why => why,
            }),
        }
    }

    /// Queues what was written, in a slot that was claimed.
    #[inline]
    fn queue(&self, at: &Writer, slot: mpmc::Claim, claim: Writing, length: usize) {
        let length = length.min(claim.length);
        if claim.block == HERE {
            at.draft.read(length, |message| self.put(slot, message));
        } else {
            self.name(slot.index, claim.block, length as u64);
            mpmc::publish(self, slot);
        }
    }
}

impl Ring for BlockSlots {
    type Of = Bytes;
    type Producer = Writer;
    type Consumer = Reader;
    type Claim = Writing;
    type Taken = Reading;

    const CLAIM_IS_PLACE: bool = false;
    const SLOT_WAITERS: bool = true;

    fn of(cells: &Cells) -> Option<Self> {
        Self::of(cells)
    }

    fn producer(&self, _: Member) -> Result<Writer, NotNow> {
        let order = Position::producer(self);
        let (block, lacks_a_block) = (Cell::new(0), Cell::new(false));
        Ok(Writer { order, block, lacks_a_block, draft: Draft::default() })
    }

    fn consumer(&self, _: Member, _: u8) -> Result<(Reader, bool), NotNow> {
        Ok((Reader::new(Position::consumer(self), usize::MAX), false))
    }

    fn another_consumer(&self, at: &Reader, _: Member, _: u8) -> Result<Reader, NotNow> {
        Ok(Reader::new(at.order.another(self), at.budget.get()))
    }

    #[inline(always)]
    fn push_next(&self, at: &Writer, owner: u16, message: &&[u8]) -> Result<(), NotNow> {
        if !self.is_short(message.len()) {
            return Err(NotNow::Unsure);
        }
        let slot = mpmc::claim_next(self, &at.order.cursor, owner).ok_or(NotNow::Unsure)?;
        self.put(slot, message);
        Ok(())
    }

    fn push(&self, at: &Writer, owner: u16, message: &&[u8]) -> Result<(), NotNow> {
        self.push_redelivered(at, owner, message, 0)
    }

    fn push_redelivered(
        &self,
        at: &Writer,
        owner: u16,
        message: &&[u8],
        attempts: u8,
    ) -> Result<(), NotNow> {
        if self.is_short(message.len()) {
            at.lacks_a_block.set(false);
            self.put(at.order.claim(self, owner)?.redelivered(attempts), message);
            return Ok(());
        }
        let claim = self.reserve(at, owner, message.len())?;
        self.claimed(at, &claim).fill(message);
        let slot = self.slot_for(at, owner).inspect_err(|_| {
            self.abort(&claim);
        })?;
        self.queue(at, slot.redelivered(attempts), claim, message.len());
        Ok(())
    }

    #[inline(always)]
    fn pop_next(&self, at: &Reader, owner: u16, into: &mut Vec<u8>) -> Result<(), NotNow> {
        let taken = self.take_next(at, owner)?;
        self.taken(&taken).append_to(into);
        self.release(at, taken);
        Ok(())
    }

    fn pop(&self, at: &Reader, owner: u16, into: &mut Vec<u8>) -> Result<(), NotNow> {
        let taken = self.take(at, owner)?;
        self.taken(&taken).append_to(into);
        self.release(at, taken);
        Ok(())
    }

    #[inline(always)]
    fn reserve_next(&self, at: &Writer, _: u16, length: usize) -> Result<Writing, NotNow> {
        let now = self.is_short(length) && mpmc::is_next_free(self, &at.order.cursor);
        if now { Ok(Writing { block: HERE, length }) } else { Err(NotNow::Unsure) }
    }

    fn reserve(&self, at: &Writer, owner: u16, length: usize) -> Result<Writing, NotNow> {
        at.lacks_a_block.set(false);
        // The slot is found now, and claimed when the message is written.
        at.order.find_free(self)?;
        if self.is_short(length) {
            return Ok(Writing { block: HERE, length });
        }
        let mut hint = blocks::search_from(self, at.block.get());
        let block = blocks::allocate(self, &mut hint, owner);
        at.block.set(hint);
        at.lacks_a_block.set(block.is_none());
        block.map(|block| Writing { block, length }).ok_or(NotNow::NoBlock)
    }

    #[inline(always)]
    fn claimed<'a>(&'a self, at: &'a Writer, claim: &Writing) -> ByteSpan<'a> {
        if claim.block == HERE {
            at.draft.bytes(claim.length)
        } else {
            self.bytes(claim.block, claim.length as u64)
        }
    }

    #[inline]
    fn commit(&self, at: &Writer, owner: u16, claim: Writing, length: usize) -> Result<(), NotNow> {
        let slot = self.slot_for(at, owner)?;
        self.queue(at, slot, claim, length);
        Ok(())
    }

    fn abort(&self, claim: &Writing) -> bool {
        if claim.block == HERE {
            return false;
        }
        blocks::free(self, claim.block);
        true
    }

    #[inline(always)]
    fn take_next(&self, at: &Reader, owner: u16) -> Result<Reading, NotNow> {
        self.reading(mpmc::take_next(self, &at.order.cursor, owner).ok_or(NotNow::Unsure)?, owner)
    }

    fn take(&self, at: &Reader, owner: u16) -> Result<Reading, NotNow> {
        self.reading(at.order.take(self, owner)?, owner)
    }

    #[inline(always)]
    fn taken(&self, taken: &Reading) -> ByteSpan<'_> {
        if taken.block == HERE {
            self.in_slot(taken.slot.index, taken.length)
        } else {
            self.bytes(taken.block, taken.length)
        }
    }

    fn attempts(&self, _: &Reader, taken: &Reading) -> u8 {
        u8::try_from(taken.slot.attempts).unwrap_or(u8::MAX)
    }

    #[inline]
    fn release(&self, at: &Reader, taken: Reading) {
        // The slot first: a block that is free and still named could be
        // somebody else's message by the time it is delivered again.
        mpmc::release(self, taken.slot);
        if taken.block != HERE {
            let retained = at.retained(taken.block);
            // As long as the block is this receiver's.
            if taken.length as usize > retained {
                self.cells().give_back(taken.block, retained);
            }
            blocks::free(self, taken.block);
        }
    }

    fn give_back(&self, _: &Reader, taken: Reading, counted: bool) -> bool {
        let give_back = if counted { mpmc::give_back_counted } else { mpmc::give_back };
        give_back(self, taken.slot);
        true
    }

    fn may_reserve(&self, at: &Writer) -> bool {
        mpmc::room(self, at.order.cursor.get())
    }

    fn may_take(&self, at: &Reader) -> bool {
        mpmc::available(self, at.order.cursor.get())
    }

    fn in_flight(&self) -> bool {
        mpmc::in_flight(self)
    }

    fn may_push(&self, at: &Writer) -> bool {
        if at.lacks_a_block.get() {
            self.cells().has(Want::Block)
        } else {
            at.order.may_claim(self)
        }
    }

    fn may_pop(&self, at: &Reader) -> bool {
        at.order.may_take(self)
    }

    fn wanted_by_producer(at: &Writer) -> Want {
        if at.lacks_a_block.get() { Want::Block } else { Want::Slot(at.order.cursor.get()) }
    }

    fn wanted_by_consumer(at: &Reader) -> Want {
        Want::Message(at.order.cursor.get())
    }
}
