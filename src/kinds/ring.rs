//! The interface that the handles use for every kind of ring.

use core::fmt::Debug;

use bytemuck::{CheckedBitPattern, NoUninit};

use super::batch::ByteBatch;
use super::payload::Form;
use crate::ring::table::Member;
use crate::ring::wait::{NotNow, Want};
use crate::storage::{Cells, View};

pub type Sent<'m, R> = <<R as Ring>::Of as Form>::Sent<'m>;
pub type Owned<R> = <<R as Ring>::Of as Form>::Owned;
pub type Out<R> = <<R as Ring>::Of as Form>::Out;
pub type Place<'a, R> = <<R as Ring>::Of as Form>::Place<'a>;

/// A ring in memory, with the storage of its messages.
///
/// The `_next` operations do what takes nothing but to do it, and become part of
/// their caller. They may answer [`NotNow::Unsure`]: then the same without `_next`
/// finds out.
///
/// `owner` is the participant that a claim is noted for. `length` is how many bytes
/// a message may have; elements of one size ignore it.
pub trait Ring: View + Sized + Send {
    /// The payload.
    type Of: Form;
    /// A sender's position.
    type Producer: Debug + Send;
    /// A receiver's position.
    type Consumer: Debug + Send;
    /// A place for a message that is this sender's to write.
    type Claim: Copy + Debug + Send;
    /// A message in this receiver's hands.
    type Taken: Debug + Send;

    /// Whether a claim is a place in the order of messages: what comes after it is
    /// seen after it, and to commit it is nothing but to publish. Otherwise the place
    /// is found when it is committed, which may have to wait.
    const CLAIM_IS_PLACE: bool;
    /// Whether a sender may find a slot and no block to write into, so that there are
    /// waiters for blocks to be told.
    const SLOT_WAITERS: bool = false;

    /// `None` if the channel is of another kind, or of elements of another shape.
    fn of(cells: &Cells) -> Option<Self>;

    /// Whether what a receiver does makes room for senders, so that they are told.
    const MAKES_ROOM: bool = true;

    /// Takes up a sender's position. [`NotNow::Nothing`] if the channel has as many senders
    /// as it may have.
    fn producer(&self, me: Member) -> Result<Self::Producer, NotNow>;

    /// Takes up a receiver's position. Says whether messages were dropped for it over
    /// which more than `attempts` receivers have died.
    fn consumer(&self, me: Member, attempts: u8) -> Result<(Self::Consumer, bool), NotNow>;

    /// Takes up the position of another sender beside the one at this.
    fn another_producer(&self, _at: &Self::Producer, me: Member) -> Result<Self::Producer, NotNow> {
        self.producer(me)
    }

    /// Takes up the position of another receiver beside the one at this.
    fn another_consumer(
        &self,
        _at: &Self::Consumer,
        me: Member,
        attempts: u8,
    ) -> Result<Self::Consumer, NotNow> {
        Ok(self.consumer(me, attempts)?.0)
    }

    fn push_next(
        &self,
        at: &Self::Producer,
        owner: u16,
        message: &Sent<'_, Self>,
    ) -> Result<(), NotNow>
    where
        Self::Of: NoUninit;

    /// Pushes one message. [`NotNow::NoSlot`] says that a block was found and given back,
    /// which another sender may have missed.
    fn push(&self, at: &Self::Producer, owner: u16, message: &Sent<'_, Self>) -> Result<(), NotNow>
    where
        Self::Of: NoUninit;

    /// Pushes the first of `messages`, as many as fit, and one at least; says how
    /// many. The answers are those of [`push`](Self::push).
    fn push_many(
        &self,
        at: &Self::Producer,
        owner: u16,
        messages: &[Sent<'_, Self>],
    ) -> Result<usize, NotNow>
    where
        Self::Of: NoUninit,
    {
        for (pushed, message) in messages.iter().enumerate() {
            let sent = match self.push_next(at, owner, message) {
                Err(NotNow::Unsure) => self.push(at, owner, message),
                sent => sent,
            };
            match sent {
                Ok(()) => {}
                Err(why) if pushed == 0 => return Err(why),
                Err(_) => return Ok(pushed),
            }
        }
        Ok(messages.len())
    }

    fn pop_next(&self, at: &Self::Consumer, owner: u16, into: &mut Out<Self>) -> Result<(), NotNow>
    where
        Self::Of: CheckedBitPattern;

    fn pop(&self, at: &Self::Consumer, owner: u16, into: &mut Out<Self>) -> Result<(), NotNow>
    where
        Self::Of: CheckedBitPattern;

    /// Pops up to `most` messages to the end of `into`, one at least, and no more than
    /// the ring holds: otherwise the call would not end while a sender keeps up. Says
    /// whether all that were taken were valid; the first that is not is taken too, or it
    /// would be in the way.
    fn pop_many(
        &self,
        at: &Self::Consumer,
        owner: u16,
        most: usize,
        into: &mut Vec<Owned<Self>>,
    ) -> Result<bool, NotNow>
    where
        Self::Of: CheckedBitPattern,
    {
        let most = self.cells().capacity().min(most as u64);
        for popped in 0..most {
            let mut out = Self::Of::out();
            let taken = match self.pop_next(at, owner, &mut out) {
                Err(NotNow::Unsure) => self.pop(at, owner, &mut out),
                taken => taken,
            };
            match taken {
                Ok(()) => {}
                Err(why) if popped == 0 => return Err(why),
                Err(_) => break,
            }
            let Some(message) = Self::Of::owned(out) else { return Ok(false) };
            into.push(message);
        }
        Ok(true)
    }

    /// Pops up to `most` messages of bytes to the end of `into`, as
    /// [`pop_many`](Self::pop_many).
    fn pop_flat(
        &self,
        at: &Self::Consumer,
        owner: u16,
        most: usize,
        into: &mut ByteBatch,
    ) -> Result<(), NotNow>
    where
        Self::Of: CheckedBitPattern + Form<Out = Vec<u8>>,
    {
        let most = self.cells().capacity().min(most as u64);
        for popped in 0..most {
            let taken = into.append(|bytes| match self.pop_next(at, owner, bytes) {
                Err(NotNow::Unsure) => self.pop(at, owner, bytes),
                taken => taken,
            });
            match taken {
                Ok(()) => {}
                Err(why) if popped == 0 => return Err(why),
                Err(_) => break,
            }
        }
        Ok(())
    }

    /// As [`push`](Self::push), of a message that so many receivers have died over, where the ring
    /// can count that.
    fn push_redelivered(
        &self,
        at: &Self::Producer,
        owner: u16,
        message: &Sent<'_, Self>,
        _attempts: u8,
    ) -> Result<(), NotNow>
    where
        Self::Of: NoUninit,
    {
        self.push(at, owner, message)
    }

    /// Claims a place for a message of up to `length` bytes.
    fn reserve_next(
        &self,
        at: &Self::Producer,
        owner: u16,
        length: usize,
    ) -> Result<Self::Claim, NotNow>;
    fn reserve(
        &self,
        at: &Self::Producer,
        owner: u16,
        length: usize,
    ) -> Result<Self::Claim, NotNow>;
    fn claimed<'a>(&'a self, at: &'a Self::Producer, claim: &Self::Claim) -> Place<'a, Self>;
    /// Publishes the first `length` bytes. When this is refused, the claim is still
    /// held; it is never refused where the claim [is a place](Self::CLAIM_IS_PLACE).
    fn commit(
        &self,
        at: &Self::Producer,
        owner: u16,
        claim: Self::Claim,
        length: usize,
    ) -> Result<(), NotNow>;
    /// Gives the claim back. Whether somebody may be waiting for that.
    fn abort(&self, claim: &Self::Claim) -> bool;

    /// Takes the next message.
    fn take_next(&self, at: &Self::Consumer, owner: u16) -> Result<Self::Taken, NotNow>;
    fn take(&self, at: &Self::Consumer, owner: u16) -> Result<Self::Taken, NotNow>;
    fn taken(&self, taken: &Self::Taken) -> Place<'_, Self>;
    /// How many receivers have died over it.
    fn attempts(&self, at: &Self::Consumer, taken: &Self::Taken) -> u8;
    fn release(&self, at: &Self::Consumer, taken: Self::Taken);
    /// Leaves it for another receiver; `counted` as if this one had died over it, where
    /// the ring can count that. Whether a receiver may be waiting for it.
    fn give_back(&self, at: &Self::Consumer, taken: Self::Taken, counted: bool) -> bool;

    /// Whether another sender that waits for room could go on. Where there is one sender,
    /// there is no other.
    fn may_reserve(&self, _at: &Self::Producer) -> bool {
        false
    }
    /// Whether another receiver could go on.
    fn may_take(&self, _at: &Self::Consumer) -> bool {
        false
    }
    /// How many messages a receiver could get.
    fn left(&self, _at: &Self::Consumer) -> u64 {
        self.cells().len()
    }
    /// Whether another receiver holds a message that may come back.
    fn in_flight(&self) -> bool {
        false
    }
    /// Whether a push may come to something. Looks, and changes nothing.
    fn may_push(&self, at: &Self::Producer) -> bool {
        self.cells().has(Self::wanted_by_producer(at))
    }
    /// Whether a pop may come to something. Looks, and changes nothing.
    fn may_pop(&self, at: &Self::Consumer) -> bool {
        self.cells().has(Self::wanted_by_consumer(at))
    }
    /// What has just refused a push, or a reservation.
    fn wanted_by_producer(at: &Self::Producer) -> Want;
    /// What has just refused a pop, or a take.
    fn wanted_by_consumer(at: &Self::Consumer) -> Want;
}
