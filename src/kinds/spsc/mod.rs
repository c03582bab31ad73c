//! SPSC: one sender and one receiver; elements of one size, side by side.

pub(super) mod audit;
mod joint;
pub(super) mod layout;
pub(super) mod recover;
mod storage;
pub(super) mod words;

use bytemuck::{CheckedBitPattern, NoUninit};

use super::any::AnyKind;
use super::element::Element;
use super::passed::Passed;
use super::ring::Ring;
use crate::ring::backoff::Backoff;
use crate::ring::in_flight::{InFlight, Reader};
use crate::ring::joint::{Pledges, unpledge};
use crate::ring::spsc::{self, Indices, Producer};
use crate::ring::table::Member;
use crate::ring::wait::{NotNow, Want};
use crate::storage::Cells;
use crate::storage::layout::{Measures, Parts};
use crate::wait;

pub(crate) use storage::Packed;

/// The kind, to the segment.
pub(crate) struct OfElements;

impl AnyKind for OfElements {
    fn parts(&self, of: &Measures) -> Option<Parts> {
        layout::parts(of.messages, of.size, of.align)
    }

    fn len(&self, cells: &Cells) -> u64 {
        spsc::len(cells)
    }

    fn passed(&self, cells: &Cells) -> Passed {
        Passed::Messages(spsc::published(cells))
    }

    fn in_flight(&self, _: &Cells) -> bool {
        false
    }
}

/// How a handle of this process keeps back on such a ring.
pub(super) fn backoff(ring: &impl Indices) -> Backoff {
    Backoff::new(wait::costs(), ring.capacity())
}

/// Takes up the producer's role.
pub(super) fn producer(ring: &impl Pledges) -> Result<Producer, NotNow> {
    let mut producer = Producer::attach(ring).map_err(NotNow::Torn)?;
    unpledge(ring);
    producer.with_backoff(backoff(ring));
    Ok(producer)
}

/// Takes up the consumer's role. Whether messages were dropped for it.
pub(super) fn consumer(
    ring: &impl InFlight,
    me: Member,
    attempts: u8,
) -> Result<(Reader, bool), NotNow> {
    let (mut reader, dropped) = Reader::attach(ring, me, attempts).map_err(NotNow::Torn)?;
    reader.with_backoff(backoff(ring));
    Ok((reader, dropped))
}

impl<E: Element> Packed<E> {
    /// Copies messages in, side by side from `index` on.
    #[inline]
    fn write(&self, index: u64, messages: &[E::Sent<'_>])
    where
        E: NoUninit,
    {
        if !messages.is_empty() {
            self.fetch_all_to_write(index, messages.len());
            E::write_slice(self.at(index, messages.len()), messages);
        }
    }

    /// Copies messages out, side by side from `index` on, to the end of `into`, up to
    /// the first that is not valid.
    #[inline]
    fn read(&self, index: u64, count: u64, into: &mut Vec<E::Owned>)
    where
        E: CheckedBitPattern,
    {
        if count != 0 {
            E::read_slice(self.at(index, count as usize), into);
        }
    }
}

/// Messages that are being copied out. Those that are there are released when this is
/// dropped, also by a panic, and with them the one that was not valid, or whose check has
/// panicked.
struct Popping<'a, E: Element> {
    ring: &'a Packed<E>,
    at: &'a Reader,
    filled: u64,
    into: &'a mut Vec<E::Owned>,
    before: usize,
}

impl<E: Element> Popping<'_, E> {
    fn valid(&self) -> u64 {
        (self.into.len() - self.before) as u64
    }
}

impl<E: Element> Drop for Popping<'_, E> {
    fn drop(&mut self) {
        self.at.release(self.ring, (self.valid() + 1).min(self.filled));
    }
}

impl<E: Element> Ring for Packed<E> {
    type Of = E;
    type Producer = Producer;
    type Consumer = Reader;
    /// The index of the element.
    type Claim = u64;
    type Taken = u64;

    const CLAIM_IS_PLACE: bool = true;

    fn of(cells: &Cells) -> Option<Self> {
        Self::of(cells)
    }

    fn producer(&self, _: Member) -> Result<Producer, NotNow> {
        producer(self)
    }

    fn consumer(&self, me: Member, attempts: u8) -> Result<(Reader, bool), NotNow> {
        consumer(self, me, attempts)
    }

    #[inline(always)]
    fn push_next(&self, at: &Producer, _: u16, message: &E::Sent<'_>) -> Result<(), NotNow>
    where
        E: NoUninit,
    {
        match self.next_to_write(at) {
            Ok(Some(index)) => {
                E::write(self.one(index), message);
                at.publish_next(self);
                Ok(())
            }
            Ok(None) => Err(NotNow::Nothing),
            Err(torn) => Err(NotNow::Torn(torn)),
        }
    }

    fn push(&self, at: &Producer, owner: u16, message: &E::Sent<'_>) -> Result<(), NotNow>
    where
        E: NoUninit,
    {
        self.push_next(at, owner, message)
    }

    fn push_many(&self, at: &Producer, _: u16, messages: &[E::Sent<'_>]) -> Result<usize, NotNow>
    where
        E: NoUninit,
    {
        let room = at.room(self, messages.len() as u64).map_err(NotNow::Torn)?;
        if room == 0 {
            return Err(NotNow::Nothing);
        }
        let span = at.span(self, room);
        let (first, rest) = messages.split_at(span.first as usize);
        self.write(span.index, first);
        self.write(0, &rest[..span.second as usize]);
        at.publish(self, room);
        Ok(room as usize)
    }

    #[inline(always)]
    fn pop_next(&self, at: &Reader, _: u16, into: &mut E::Out) -> Result<(), NotNow>
    where
        E: CheckedBitPattern,
    {
        match self.next_to_read(at) {
            Ok(Some(index)) => {
                E::read(self.one(index), into);
                at.release_next(self);
                Ok(())
            }
            Ok(None) => Err(NotNow::Nothing),
            Err(torn) => Err(NotNow::Torn(torn)),
        }
    }

    fn pop(&self, at: &Reader, owner: u16, into: &mut E::Out) -> Result<(), NotNow>
    where
        E: CheckedBitPattern,
    {
        self.pop_next(at, owner, into)
    }

    fn pop_many(
        &self,
        at: &Reader,
        _: u16,
        most: usize,
        into: &mut Vec<E::Owned>,
    ) -> Result<bool, NotNow>
    where
        E: CheckedBitPattern,
    {
        let filled = at.filled(self, most as u64).map_err(NotNow::Torn)?;
        if filled == 0 {
            return Err(NotNow::Nothing);
        }
        let span = at.span(self, filled);
        let before = into.len();
        let popping = Popping { ring: self, at, filled, into, before };
        self.read(span.index, span.first, popping.into);
        if popping.valid() == span.first {
            self.read(0, span.second, popping.into);
        }
        Ok(popping.valid() == filled)
    }

    #[inline(always)]
    fn reserve_next(&self, at: &Producer, _: u16, _: usize) -> Result<u64, NotNow> {
        match self.next_to_write(at) {
            Ok(Some(index)) => Ok(index),
            _ => Err(NotNow::Unsure),
        }
    }

    fn reserve(&self, at: &Producer, _: u16, _: usize) -> Result<u64, NotNow> {
        self.next_to_write(at).map_err(NotNow::Torn)?.ok_or(NotNow::Nothing)
    }

    #[inline(always)]
    fn claimed<'a>(&'a self, _: &'a Producer, claim: &u64) -> E::Place<'a> {
        self.one(*claim)
    }

    #[inline(always)]
    fn commit(&self, at: &Producer, _: u16, _: u64, _: usize) -> Result<(), NotNow> {
        at.publish_next(self);
        Ok(())
    }

    fn abort(&self, _: &u64) -> bool {
        false
    }

    #[inline(always)]
    fn take_next(&self, at: &Reader, _: u16) -> Result<u64, NotNow> {
        let Ok(Some(index)) = self.next_to_read(at) else {
            return Err(NotNow::Unsure);
        };
        at.hold(self, 1);
        Ok(index)
    }

    fn take(&self, at: &Reader, _: u16) -> Result<u64, NotNow> {
        let index = self.next_to_read(at).map_err(NotNow::Torn)?.ok_or(NotNow::Nothing)?;
        at.hold(self, 1);
        Ok(index)
    }

    #[inline(always)]
    fn taken(&self, taken: &u64) -> E::Place<'_> {
        self.one(*taken)
    }

    fn attempts(&self, at: &Reader, _: &u64) -> u8 {
        at.attempts(self)
    }

    #[inline(always)]
    fn release(&self, at: &Reader, _: u64) {
        at.release_next(self);
    }

    fn give_back(&self, at: &Reader, _: u64, _: bool) -> bool {
        at.hold(self, 0);
        false
    }

    fn may_push(&self, at: &Producer) -> bool {
        at.may_write(self, 1)
    }

    fn wanted_by_producer(at: &Producer) -> Want {
        Want::Room(at.limit())
    }

    fn wanted_by_consumer(_: &Reader) -> Want {
        Want::Anything
    }
}
