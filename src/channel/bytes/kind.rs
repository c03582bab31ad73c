//! The two kinds of ring for bytes behind one interface.

use core::cell::Cell;
use core::fmt::Debug;

use crate::channel::endpoint::Endpoint;
use crate::channel::kind::{Mpmc, Spsc, Stuck, reader, settled};
use crate::channel::ready::Want;
use crate::ring::blocks;
use crate::ring::in_flight::Reader;
use crate::ring::mpmc::{self, Cursor};
use crate::ring::records::{self, Broken, Record, Reserved};
use crate::ring::spsc::Producer;
use crate::segment::{BlockSlots, Bytes, Cells, RecordRing, RingKind};

/// A kind of channel that can carry bytes.
pub trait ByteKind: sealed::ByteKind {}
impl ByteKind for Spsc {}
impl ByteKind for Mpmc {}

pub(crate) mod sealed {
    use super::*;

    /// What the handles need of a ring of bytes.
    pub trait ByteKind: Sized + 'static {
        const RING: RingKind;
        type Ring: Debug + Send;
        type Producer: Debug + Send;
        type Consumer: Debug + Send;
        /// Room for a message.
        type Claim: Copy + Debug;
        /// A message in this reader's hands.
        type Taken: Debug;

        fn ring(cells: &Cells) -> Option<Self::Ring>;
        fn producer(ring: &Self::Ring) -> Result<Self::Producer, Stuck>;
        fn consumer(ring: &Self::Ring, end: &Endpoint) -> Result<Self::Consumer, Stuck>;

        /// Makes room for a message of up to `length` bytes.
        fn reserve(
            ring: &Self::Ring,
            at: &Self::Producer,
            owner: u16,
            length: usize,
        ) -> Result<Self::Claim, Stuck>;

        /// The reserved bytes.
        fn room<'b>(ring: &'b Self::Ring, claim: &Self::Claim) -> Bytes<'b>;

        /// Publishes the first `length` bytes. When refused, the claim is
        /// still held.
        fn commit(
            ring: &Self::Ring,
            at: &Self::Producer,
            owner: u16,
            claim: &Self::Claim,
            length: usize,
        ) -> Result<(), Stuck>;

        /// Sends the first of `messages`, as many as fit, by one publication;
        /// says how many. `None` where each is published by itself.
        fn push_together(
            _ring: &Self::Ring,
            _at: &Self::Producer,
            _messages: &[&[u8]],
        ) -> Option<Result<usize, Stuck>> {
            None
        }

        /// Receives up to `most` messages to the end of `into`; says how many.
        fn pop_many(
            ring: &Self::Ring,
            at: &Self::Consumer,
            owner: u16,
            most: usize,
            into: &mut Vec<Vec<u8>>,
        ) -> Result<usize, Stuck>;

        /// Gives the room back. Whether another sender may want it.
        fn abort(ring: &Self::Ring, claim: &Self::Claim) -> bool;

        /// Takes the next message.
        fn take(ring: &Self::Ring, at: &Self::Consumer, owner: u16) -> Result<Self::Taken, Stuck>;

        /// Keeps it beyond the call that took it.
        fn hold(_ring: &Self::Ring, _at: &Self::Consumer, _taken: &Self::Taken) {}

        /// Its bytes.
        fn message<'b>(ring: &'b Self::Ring, taken: &Self::Taken) -> Bytes<'b>;

        /// How often a reader has died over it.
        fn attempts(ring: &Self::Ring, at: &Self::Consumer, taken: &Self::Taken) -> u8;
        fn release(ring: &Self::Ring, at: &Self::Consumer, taken: Self::Taken);
        /// Leaves it for another reader. Whether one may be waiting.
        fn give_back(ring: &Self::Ring, at: &Self::Consumer, taken: Self::Taken) -> bool;

        /// Whether senders may find room for a message and no place for it.
        const PLACES: bool = false;
        /// Whether another sender that waits for room could go on.
        fn may_reserve(ring: &Self::Ring, at: &Self::Producer) -> bool;
        /// What a sender lacks that holds nothing.
        fn lacks(_ring: &Self::Ring, _at: &Self::Producer) -> Option<Stuck> {
            None
        }
        fn may_take(ring: &Self::Ring, at: &Self::Consumer) -> bool;
        fn in_hand(ring: &Self::Ring) -> bool;
        /// What has just refused a push, or a reservation.
        fn wanted_by_producer(at: &Self::Producer) -> Want;
        /// What has just refused a take.
        fn wanted_by_consumer(at: &Self::Consumer) -> Want;
    }
}

fn broken(broken: Broken) -> Stuck {
    match broken {
        Broken::Torn(torn) => Stuck::Torn(torn),
        Broken::Header(header) => Stuck::Word(header),
    }
}

impl sealed::ByteKind for Spsc {
    const RING: RingKind = RingKind::SpscBytes;
    type Ring = RecordRing;
    type Producer = Producer;
    type Consumer = Reader;
    type Claim = Reserved;
    type Taken = Record;

    fn ring(cells: &Cells) -> Option<RecordRing> {
        cells.record_ring()
    }

    fn producer(ring: &RecordRing) -> Result<Producer, Stuck> {
        Producer::attach(ring).map_err(Stuck::Torn)
    }

    fn consumer(ring: &RecordRing, end: &Endpoint) -> Result<Reader, Stuck> {
        reader(ring, end)
    }

    fn reserve(
        ring: &RecordRing,
        at: &Producer,
        _owner: u16,
        length: usize,
    ) -> Result<Reserved, Stuck> {
        records::reserve(ring, at, length as u64).map_err(Stuck::Torn)?.ok_or(Stuck::None)
    }

    fn room<'b>(ring: &'b RecordRing, claim: &Reserved) -> Bytes<'b> {
        ring.bytes(claim.bytes(), claim.length())
    }

    fn commit(
        ring: &RecordRing,
        at: &Producer,
        _owner: u16,
        claim: &Reserved,
        length: usize,
    ) -> Result<(), Stuck> {
        records::commit(ring, at, *claim, length as u64);
        Ok(())
    }

    fn push_together(
        ring: &RecordRing,
        at: &Producer,
        messages: &[&[u8]],
    ) -> Option<Result<usize, Stuck>> {
        let (mut ahead, mut sent) = (0, 0);
        for message in messages {
            let length = message.len() as u64;
            let reserved = match records::reserve_behind(ring, at, ahead, length) {
                Ok(Some(reserved)) => reserved,
                Ok(None) => break,
                Err(torn) => return Some(Err(Stuck::Torn(torn))),
            };
            ring.bytes(reserved.bytes(), length).write(0, message);
            ahead += records::seal(ring, reserved, length);
            sent += 1;
        }
        if sent == 0 {
            return Some(Err(Stuck::None));
        }
        at.publish(ring, ahead);
        Some(Ok(sent))
    }

    fn pop_many(
        ring: &RecordRing,
        at: &Reader,
        _owner: u16,
        most: usize,
        into: &mut Vec<Vec<u8>>,
    ) -> Result<usize, Stuck> {
        let (mut ahead, mut received) = (0, 0);
        while received < most {
            let record = match records::next_behind(ring, at, ahead) {
                Ok(Some(record)) => record,
                Ok(None) => break,
                Err(why) if received == 0 => return Err(broken(why)),
                Err(_) => break,
            };
            into.push(ring.bytes(record.bytes, record.length).to_vec());
            ahead += record.units;
            received += 1;
        }
        if received == 0 {
            return Err(Stuck::None);
        }
        at.release(ring, ahead);
        Ok(received)
    }

    fn abort(_: &RecordRing, _: &Reserved) -> bool {
        false
    }

    fn take(ring: &RecordRing, at: &Reader, _owner: u16) -> Result<Record, Stuck> {
        records::next(ring, at).map_err(broken)?.ok_or(Stuck::None)
    }

    fn hold(ring: &RecordRing, at: &Reader, taken: &Record) {
        at.hold(ring, taken.units);
    }

    fn message<'b>(ring: &'b RecordRing, taken: &Record) -> Bytes<'b> {
        ring.bytes(taken.bytes, taken.length)
    }

    fn attempts(ring: &RecordRing, at: &Reader, _: &Record) -> u8 {
        at.attempts(ring)
    }

    fn release(ring: &RecordRing, at: &Reader, taken: Record) {
        records::release(ring, at, taken);
    }

    fn give_back(ring: &RecordRing, at: &Reader, _: Record) -> bool {
        at.hold(ring, 0);
        false
    }

    fn may_reserve(_: &RecordRing, _: &Producer) -> bool {
        false
    }

    fn may_take(_: &RecordRing, _: &Reader) -> bool {
        false
    }

    fn in_hand(_: &RecordRing) -> bool {
        false
    }

    fn wanted_by_producer(at: &Producer) -> Want {
        Want::Room(at.limit())
    }

    fn wanted_by_consumer(_: &Reader) -> Want {
        Want::Anything
    }
}

/// A sender's place in the order, and in the blocks.
#[derive(Debug)]
pub struct Writer {
    cursor: Cell<Cursor>,
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

/// Leaves a message for another reader, as one over which a reader has failed.
pub(super) fn give_back_counted(ring: &BlockSlots, taken: Reading) {
    mpmc::give_back_counted(ring, taken.slot);
}

impl sealed::ByteKind for Mpmc {
    const RING: RingKind = RingKind::MpmcBytes;
    const PLACES: bool = true;
    type Ring = BlockSlots;
    type Producer = Writer;
    type Consumer = Cell<Cursor>;
    type Claim = Writing;
    type Taken = Reading;

    fn ring(cells: &Cells) -> Option<BlockSlots> {
        cells.block_slots()
    }

    fn producer(ring: &BlockSlots) -> Result<Writer, Stuck> {
        let cursor = Cell::new(Cursor::producer(ring));
        Ok(Writer { cursor, block: Cell::new(0), has_a_block: Cell::new(false) })
    }

    fn consumer(ring: &BlockSlots, _: &Endpoint) -> Result<Cell<Cursor>, Stuck> {
        Ok(Cell::new(Cursor::consumer(ring)))
    }

    fn reserve(
        ring: &BlockSlots,
        at: &Writer,
        owner: u16,
        length: usize,
    ) -> Result<Writing, Stuck> {
        let mut hint = at.block.get();
        let block = blocks::allocate(ring, &mut hint, owner);
        at.block.set(hint);
        at.has_a_block.set(block.is_some());
        block.map(|block| Writing { block, length }).ok_or(Stuck::None)
    }

    fn room<'b>(ring: &'b BlockSlots, claim: &Writing) -> Bytes<'b> {
        ring.bytes(claim.block, claim.length as u64)
    }

    fn commit(
        ring: &BlockSlots,
        at: &Writer,
        owner: u16,
        claim: &Writing,
        length: usize,
    ) -> Result<(), Stuck> {
        let slot = match mpmc::claim(ring, &at.cursor, owner) {
            Ok(slot) => slot,
            Err(refused) => {
                settled(refused, || mpmc::claim(ring, &at.cursor, owner)).map_err(|stuck| {
                    match stuck {
                        Stuck::None | Stuck::Pending => Stuck::NoPlace,
                        stuck => stuck,
                    }
                })?
            }
        };
        ring.name(slot.index, claim.block, length.min(claim.length) as u64);
        mpmc::publish(ring, slot);
        Ok(())
    }

    fn pop_many(
        ring: &BlockSlots,
        at: &Cell<Cursor>,
        owner: u16,
        most: usize,
        into: &mut Vec<Vec<u8>>,
    ) -> Result<usize, Stuck> {
        for received in 0..most {
            match Self::take(ring, at, owner) {
                Ok(taken) => {
                    into.push(Self::message(ring, &taken).to_vec());
                    Self::release(ring, at, taken);
                }
                Err(stuck) if received == 0 => return Err(stuck),
                Err(_) => return Ok(received),
            }
        }
        Ok(most)
    }

    fn abort(ring: &BlockSlots, claim: &Writing) -> bool {
        blocks::free(ring, claim.block);
        true
    }

    fn take(ring: &BlockSlots, at: &Cell<Cursor>, owner: u16) -> Result<Reading, Stuck> {
        let slot = match mpmc::take(ring, at, owner) {
            Ok(slot) => slot,
            Err(refused) => settled(refused, || mpmc::take(ring, at, owner))?,
        };
        match ring.named(slot.index) {
            Some((block, length)) if blocks::adopt(ring, block, owner) => {
                Ok(Reading { slot, block, length })
            }
            named => {
                // Out of the way with it.
                mpmc::release(ring, slot);
                Err(Stuck::Word(named.map_or(u64::MAX, |(block, _)| block)))
            }
        }
    }

    fn message<'b>(ring: &'b BlockSlots, taken: &Reading) -> Bytes<'b> {
        ring.bytes(taken.block, taken.length)
    }

    fn attempts(_: &BlockSlots, _: &Cell<Cursor>, taken: &Reading) -> u8 {
        u8::try_from(taken.slot.attempts).unwrap_or(u8::MAX)
    }

    fn release(ring: &BlockSlots, _: &Cell<Cursor>, taken: Reading) {
        // The slot first: a block that is free and still named could be
        // somebody else's message by the time it is delivered again.
        mpmc::release(ring, taken.slot);
        blocks::free(ring, taken.block);
    }

    fn give_back(ring: &BlockSlots, _: &Cell<Cursor>, taken: Reading) -> bool {
        mpmc::give_back(ring, taken.slot);
        true
    }

    fn may_reserve(ring: &BlockSlots, _: &Writer) -> bool {
        blocks::any_free(ring)
    }

    fn lacks(ring: &BlockSlots, at: &Writer) -> Option<Stuck> {
        if !blocks::any_free(ring) {
            Some(Stuck::None)
        } else if !mpmc::room(ring, at.cursor.get()) {
            Some(Stuck::NoPlace)
        } else {
            None
        }
    }

    fn may_take(ring: &BlockSlots, at: &Cell<Cursor>) -> bool {
        mpmc::available(ring, at.get())
    }

    fn in_hand(ring: &BlockSlots) -> bool {
        mpmc::in_flight(ring)
    }

    fn wanted_by_producer(at: &Writer) -> Want {
        if at.has_a_block.get() { Want::Place(at.cursor.get()) } else { Want::Block }
    }

    fn wanted_by_consumer(at: &Cell<Cursor>) -> Want {
        Want::Message(at.get())
    }
}
