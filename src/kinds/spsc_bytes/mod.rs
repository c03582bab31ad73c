//! SPSC of bytes: one sender and one receiver; records of any length side by
//! side in one ring.
//!
//! Each record is contiguous, and the ring's end is padded where one does not
//! fit. A second mapping behind the first would save the padding, and double
//! the pages.

mod audit;
mod joint;
pub(super) mod layout;
mod recover;
mod storage;

use super::any::AnyKind;
use super::batch::ByteBatch;
use super::passed::Passed;
use super::payload::Bytes;
use super::ring::Ring;
use super::spsc;
use crate::ring::in_flight::Reader;
use crate::ring::records::{self, Broken, Record, Reserved};
use crate::ring::spsc::Producer;
use crate::ring::table::Member;
use crate::ring::wait::{NotNow, Want};
use crate::storage::layout::{Measures, Parts};
use crate::storage::{ByteSpan, Cells};

pub(crate) use storage::RecordRing;

/// The kind, to the segment.
pub(crate) struct OfRecords;

impl AnyKind for OfRecords {
    fn parts(&self, of: &Measures) -> Option<Parts> {
        layout::parts(of.messages, of.size)
    }

    fn len(&self, cells: &Cells) -> u64 {
        let longest = records::units(cells.longest() as u64);
        // Padding is not of a message.
        crate::ring::spsc::len(cells)
            .div_ceil(longest)
            .min((cells.capacity() / longest).saturating_sub(1))
    }

    fn passed(&self, cells: &Cells) -> Passed {
        let units = crate::ring::spsc::published(cells);
        Passed::Bytes(units.saturating_mul(records::UNIT as u64))
    }

    fn in_flight(&self, _: &Cells) -> bool {
        false
    }
}

fn broken(broken: Broken) -> NotNow {
    match broken {
        Broken::Torn(torn) => NotNow::Torn(torn),
        Broken::Header(header) => NotNow::Word(header),
    }
}

impl RecordRing {
    /// Has `read` copy up to `most` messages, and releases them together.
    #[inline(always)]
    fn pop_each(
        &self,
        at: &Reader,
        most: usize,
        mut read: impl FnMut(ByteSpan<'_>),
    ) -> Result<(), NotNow> {
        let (mut ahead, mut popped) = (0, 0);
        while popped < most {
            let record = match records::next_behind(self, at, ahead) {
                Ok(Some(record)) => record,
                Ok(None) => break,
                Err(why) if popped == 0 => return Err(broken(why)),
                Err(_) => break,
            };
            read(self.bytes(record.bytes, record.length));
            ahead += record.units;
            popped += 1;
        }
        if popped == 0 {
            return Err(NotNow::Nothing);
        }
        at.release(self, ahead);
        Ok(())
    }
}

impl Ring for RecordRing {
    type Of = Bytes;
    type Producer = Producer;
    type Consumer = Reader;
    type Claim = Reserved;
    type Taken = Record;

    const CLAIM_IS_PLACE: bool = true;

    fn of(cells: &Cells) -> Option<Self> {
        Self::of(cells)
    }

    fn producer(&self, _: Member) -> Result<Producer, NotNow> {
        spsc::producer(self)
    }

    fn consumer(&self, me: Member, attempts: u8) -> Result<(Reader, bool), NotNow> {
        spsc::consumer(self, me, attempts)
    }

    #[inline(always)]
    fn push_next(&self, at: &Producer, _: u16, message: &&[u8]) -> Result<(), NotNow> {
        let length = message.len() as u64;
        match records::reserve(self, at, length) {
            Ok(Some(reserved)) => {
                self.fetch_to_write(at, length);
                self.bytes(reserved.bytes(), length).fill(message);
                records::commit(self, at, reserved, length);
                Ok(())
            }
            Ok(None) => Err(NotNow::Nothing),
            Err(torn) => Err(NotNow::Torn(torn)),
        }
    }

    fn push(&self, at: &Producer, owner: u16, message: &&[u8]) -> Result<(), NotNow> {
        self.push_next(at, owner, message)
    }

    fn push_many(&self, at: &Producer, _: u16, messages: &[&[u8]]) -> Result<usize, NotNow> {
        let (mut ahead, mut pushed) = (0, 0);
        for message in messages {
            let length = message.len() as u64;
            let Some(reserved) =
                records::reserve_behind(self, at, ahead, length).map_err(NotNow::Torn)?
            else {
                break;
            };
            self.bytes(reserved.bytes(), length).fill(message);
            ahead += records::seal(self, reserved, length);
            pushed += 1;
        }
        if pushed == 0 {
            return Err(NotNow::Nothing);
        }
        at.publish(self, ahead);
        Ok(pushed)
    }

    #[inline(always)]
    fn pop_next(&self, at: &Reader, _: u16, into: &mut Vec<u8>) -> Result<(), NotNow> {
        match records::next(self, at) {
            Ok(Some(record)) => {
                self.fetch_to_read(at, &record);
                self.bytes(record.bytes, record.length).append_to(into);
                records::release(self, at, record);
                Ok(())
            }
            Ok(None) => Err(NotNow::Nothing),
            Err(why) => Err(broken(why)),
        }
    }

    fn pop(&self, at: &Reader, owner: u16, into: &mut Vec<u8>) -> Result<(), NotNow> {
        self.pop_next(at, owner, into)
    }

    fn pop_many(
        &self,
        at: &Reader,
        _: u16,
        most: usize,
        into: &mut Vec<Vec<u8>>,
    ) -> Result<bool, NotNow> {
        self.pop_each(at, most, |bytes| into.push(bytes.to_vec()))?;
        Ok(true)
    }

    fn pop_flat(
        &self,
        at: &Reader,
        _: u16,
        most: usize,
        into: &mut ByteBatch,
    ) -> Result<(), NotNow> {
        self.pop_each(at, most, |bytes| {
            into.append(|end| {
                bytes.append_to(end);
                Ok::<_, NotNow>(())
            })
            .unwrap_or_default();
        })
    }

    #[inline(always)]
    fn reserve_next(&self, at: &Producer, _: u16, length: usize) -> Result<Reserved, NotNow> {
        let reserved = records::reserve(self, at, length as u64).ok().flatten();
        self.fetch_to_write(at, length as u64);
        reserved.ok_or(NotNow::Unsure)
    }

    fn reserve(&self, at: &Producer, _: u16, length: usize) -> Result<Reserved, NotNow> {
        records::reserve(self, at, length as u64).map_err(NotNow::Torn)?.ok_or(NotNow::Nothing)
    }

    #[inline(always)]
    fn claimed<'a>(&'a self, _: &'a Producer, claim: &Reserved) -> ByteSpan<'a> {
        self.bytes(claim.bytes(), claim.length())
    }

    #[inline(always)]
    fn commit(&self, at: &Producer, _: u16, claim: Reserved, length: usize) -> Result<(), NotNow> {
        records::commit(self, at, claim, length as u64);
        Ok(())
    }

    fn abort(&self, _: &Reserved) -> bool {
        false
    }

    #[inline(always)]
    fn take_next(&self, at: &Reader, _: u16) -> Result<Record, NotNow> {
        let record = records::next(self, at).ok().flatten().ok_or(NotNow::Unsure)?;
        self.fetch_to_read(at, &record);
        at.hold(self, record.units);
        Ok(record)
    }

    fn take(&self, at: &Reader, _: u16) -> Result<Record, NotNow> {
        let record = records::next(self, at).map_err(broken)?.ok_or(NotNow::Nothing)?;
        at.hold(self, record.units);
        Ok(record)
    }

    #[inline(always)]
    fn taken(&self, taken: &Record) -> ByteSpan<'_> {
        self.bytes(taken.bytes, taken.length)
    }

    fn attempts(&self, at: &Reader, _: &Record) -> u8 {
        at.attempts(self)
    }

    #[inline(always)]
    fn release(&self, at: &Reader, taken: Record) {
        records::release(self, at, taken);
    }

    fn give_back(&self, at: &Reader, _: Record, _: bool) -> bool {
        at.hold(self, 0);
        false
    }

    fn may_push(&self, at: &Producer) -> bool {
        records::may_fit(self, at)
    }

    fn wanted_by_producer(at: &Producer) -> Want {
        Want::Room(at.limit())
    }

    fn wanted_by_consumer(_: &Reader) -> Want {
        Want::Anything
    }
}
