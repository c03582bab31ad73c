//! The two kinds of ring behind one interface.

use core::cell::Cell;
use core::fmt::Debug;

use bytemuck::{CheckedBitPattern, NoUninit};

use super::endpoint::Endpoint;
use super::ready::Want;
use crate::error::Done;
use crate::ring::backoff::Backoff;
use crate::ring::in_flight::{InFlight, Reader};
use crate::ring::mpmc::{self, Cursor, Refused};
use crate::ring::spsc::{Indices, Producer, Torn};
use crate::segment::{Cells, CopyOut, Elements, Packed, RingKind, Side, Tagged};
use crate::wait;

/// One sender and one receiver: wait-free, and the fastest.
#[derive(Clone, Copy, Debug)]
pub enum Spsc {}

/// Any number of senders and receivers, in any processes and threads.
#[derive(Clone, Copy, Debug)]
pub enum Mpmc {}

/// The kind of a channel: [`Spsc`] or [`Mpmc`].
///
/// A parameter of the handles' types, because it decides what they can do:
/// only handles of an MPMC channel can be cloned.
pub trait Kind: sealed::Kind {}
impl Kind for Spsc {}
impl Kind for Mpmc {}

/// Why nothing was pushed or popped. Small, because it is on the hot path.
#[derive(Clone, Copy, Debug)]
pub enum Stuck {
    /// Full, or empty.
    None,
    /// Another's unfinished operation is in the way.
    Pending,
    /// It takes more than the shortest way to tell.
    Unsure,
    /// There is a block, and no place to queue it.
    NoPlace,
    /// Something has changed since this handle last looked.
    Changed,
    /// The other side has gone, and to a receiver: nothing is left.
    Alone,
    /// It is done, but the kernel has refused to wake a peer.
    Unwoken,
    /// An SPSC ring's indices cannot be.
    Torn(Torn),
    /// No slot continues the order of the others.
    Disorder,
    /// A slot's word is none of ours.
    Word(u64),
}

impl Stuck {
    /// What cannot be, in words; `None` if it is nothing of the kind.
    pub(crate) fn corruption(self) -> Option<String> {
        match self {
            Self::None
            | Self::Pending
            | Self::Unsure
            | Self::NoPlace
            | Self::Changed
            | Self::Alone
            | Self::Unwoken => None,
            Self::Torn(torn) => {
                Some(format!("its head is at {} and its tail at {}", torn.head, torn.tail))
            }
            Self::Disorder => Some("no slot continues the order of the others".to_owned()),
            Self::Word(word) => Some(format!("a slot's word is {word:#018x}")),
        }
    }
}

pub(crate) mod sealed {
    use super::*;

    /// What the handles need of a ring.
    pub trait Kind: Sized + 'static {
        const RING: RingKind;
        /// The ring with elements of `T`, as fast as it can be reached.
        type Slots<T>: Send;
        type Producer: Debug + Send;
        type Consumer: Debug + Send;

        /// `None` if the elements are of another size or alignment.
        fn slots<T>(cells: &Cells) -> Option<Self::Slots<T>>;
        fn producer(cells: &Cells) -> Result<Self::Producer, Stuck>;
        fn consumer(end: &Endpoint) -> Result<Self::Consumer, Stuck>;

        /// Pushes one message, if that takes nothing but to do it; may be
        /// unsure.
        fn push_next<T: NoUninit>(
            slots: &Self::Slots<T>,
            at: &Self::Producer,
            owner: u16,
            message: &T,
        ) -> Result<(), Stuck>;

        /// Pops one message, if that takes nothing but to do it; may be
        /// unsure.
        fn pop_next<T: CheckedBitPattern>(
            slots: &Self::Slots<T>,
            at: &Self::Consumer,
            owner: u16,
            into: &mut CopyOut<T>,
        ) -> Result<(), Stuck>;

        /// Pushes one message.
        fn push<T: NoUninit>(
            slots: &Self::Slots<T>,
            at: &Self::Producer,
            owner: u16,
            message: &T,
        ) -> Result<(), Stuck>;

        /// Pushes the first of `messages`, as many as fit; says how many.
        fn push_many<T: NoUninit>(
            slots: &Self::Slots<T>,
            at: &Self::Producer,
            owner: u16,
            messages: &[T],
        ) -> Result<usize, Stuck>;

        /// Pops one message.
        fn pop<T: CheckedBitPattern>(
            slots: &Self::Slots<T>,
            at: &Self::Consumer,
            owner: u16,
            into: &mut CopyOut<T>,
        ) -> Result<(), Stuck>;

        /// Pops up to `most` messages to the end of `into`. Says how many
        /// were taken, and whether all of them were valid.
        fn pop_many<T: CheckedBitPattern>(
            slots: &Self::Slots<T>,
            at: &Self::Consumer,
            owner: u16,
            most: usize,
            into: &mut Vec<T>,
        ) -> Result<bool, Stuck>;

        /// A cell to be written.
        type Claim: Copy + Debug;
        /// A message in this reader's hands.
        type Taken: Debug;

        /// Claims the next cell, if that takes nothing but to do it.
        fn reserve_next<T>(
            slots: &Self::Slots<T>,
            at: &Self::Producer,
            owner: u16,
        ) -> Option<Self::Claim>;
        /// Takes the next message, if that takes nothing but to do it.
        fn take_next<T>(
            slots: &Self::Slots<T>,
            at: &Self::Consumer,
            owner: u16,
        ) -> Option<Self::Taken>;

        /// Claims the next cell.
        fn reserve<T>(
            slots: &Self::Slots<T>,
            at: &Self::Producer,
            owner: u16,
        ) -> Result<Self::Claim, Stuck>;
        fn claimed<'a, T>(slots: &'a Self::Slots<T>, claim: &Self::Claim) -> Elements<'a, T>;
        fn commit<T>(slots: &Self::Slots<T>, at: &Self::Producer, claim: Self::Claim);
        /// Gives the cell back. Whether somebody may be waiting for that.
        fn abort<T>(slots: &Self::Slots<T>, claim: Self::Claim) -> bool;

        /// Takes the next message.
        fn take<T>(
            slots: &Self::Slots<T>,
            at: &Self::Consumer,
            owner: u16,
        ) -> Result<Self::Taken, Stuck>;
        fn taken<'a, T>(slots: &'a Self::Slots<T>, taken: &Self::Taken) -> Elements<'a, T>;
        /// How often a reader has died over it.
        fn attempts<T>(slots: &Self::Slots<T>, at: &Self::Consumer, taken: &Self::Taken) -> u8;
        fn release<T>(slots: &Self::Slots<T>, at: &Self::Consumer, taken: Self::Taken);
        /// Leaves it for another reader. Whether one may be waiting.
        fn give_back<T>(slots: &Self::Slots<T>, at: &Self::Consumer, taken: Self::Taken) -> bool;

        /// Whether another sender could go on.
        fn room(cells: &Cells, at: &Self::Producer) -> bool;
        /// Whether another receiver could go on.
        fn available(cells: &Cells, at: &Self::Consumer) -> bool;
        /// Whether a message is in a reader's hands and may come back.
        fn in_hand(cells: &Cells) -> bool;
        /// What has just refused a push, or a reservation.
        fn wanted_by_producer(at: &Self::Producer) -> Want;
        /// What has just refused a pop, or a take.
        fn wanted_by_consumer(at: &Self::Consumer) -> Want;
    }
}

impl sealed::Kind for Spsc {
    const RING: RingKind = RingKind::Spsc;
    type Slots<T> = Packed<T>;
    type Producer = Producer;
    type Consumer = Reader;

    fn slots<T>(cells: &Cells) -> Option<Packed<T>> {
        cells.packed()
    }

    fn producer(cells: &Cells) -> Result<Producer, Stuck> {
        let mut producer = Producer::attach(cells).map_err(Stuck::Torn)?;
        producer.with_backoff(backoff(cells));
        Ok(producer)
    }

    fn consumer(end: &Endpoint) -> Result<Reader, Stuck> {
        let mut reader = reader(end.cells(), end)?;
        reader.with_backoff(backoff(end.cells()));
        Ok(reader)
    }

    #[inline(always)]
    fn push_next<T: NoUninit>(
        slots: &Self::Slots<T>,
        at: &Producer,
        _owner: u16,
        message: &T,
    ) -> Result<(), Stuck> {
        match at.room(slots, 1) {
            Ok(1..) => {
                slots.write(at.index(), message);
                at.publish(slots, 1);
                Ok(())
            }
            Ok(_) => Err(Stuck::None),
            Err(torn) => Err(Stuck::Torn(torn)),
        }
    }

    #[inline(always)]
    fn pop_next<T: CheckedBitPattern>(
        slots: &Self::Slots<T>,
        at: &Reader,
        _owner: u16,
        into: &mut CopyOut<T>,
    ) -> Result<(), Stuck> {
        match at.filled(slots, 1) {
            Ok(1..) => {
                slots.read(at.index(), into);
                at.release(slots, 1);
                Ok(())
            }
            Ok(_) => Err(Stuck::None),
            Err(torn) => Err(Stuck::Torn(torn)),
        }
    }

    fn push<T: NoUninit>(
        slots: &Self::Slots<T>,
        at: &Producer,
        owner: u16,
        message: &T,
    ) -> Result<(), Stuck> {
        Self::push_next(slots, at, owner, message)
    }

    fn push_many<T: NoUninit>(
        slots: &Self::Slots<T>,
        at: &Producer,
        _owner: u16,
        messages: &[T],
    ) -> Result<usize, Stuck> {
        let room = at.room(slots, messages.len() as u64).map_err(Stuck::Torn)?;
        if room == 0 {
            return Err(Stuck::None);
        }
        let span = at.span(slots, room);
        let (first, rest) = messages.split_at(span.first as usize);
        slots.write_slice(span.index, first);
        slots.write_slice(0, &rest[..span.second as usize]);
        at.publish(slots, room);
        Ok(room as usize)
    }

    fn pop<T: CheckedBitPattern>(
        slots: &Self::Slots<T>,
        at: &Reader,
        owner: u16,
        into: &mut CopyOut<T>,
    ) -> Result<(), Stuck> {
        Self::pop_next(slots, at, owner, into)
    }

    fn pop_many<T: CheckedBitPattern>(
        slots: &Self::Slots<T>,
        at: &Reader,
        _owner: u16,
        most: usize,
        into: &mut Vec<T>,
    ) -> Result<bool, Stuck> {
        let filled = at.filled(slots, most as u64).map_err(Stuck::Torn)?;
        if filled == 0 {
            return Err(Stuck::None);
        }
        let span = at.span(slots, filled);
        let mut valid = slots.read_slice(span.index, span.first, into);
        if valid == span.first {
            valid += slots.read_slice(0, span.second, into);
        }
        // One that is not valid is taken too, or it would be in the way.
        at.release(slots, (valid + 1).min(filled));
        Ok(valid == filled)
    }

    type Claim = u64;
    type Taken = u64;

    #[inline(always)]
    fn reserve_next<T>(slots: &Packed<T>, at: &Producer, _owner: u16) -> Option<u64> {
        matches!(at.room(slots, 1), Ok(1..)).then(|| at.index())
    }

    #[inline(always)]
    fn take_next<T>(slots: &Packed<T>, at: &Reader, _owner: u16) -> Option<u64> {
        matches!(at.filled(slots, 1), Ok(1..)).then(|| {
            at.hold(slots, 1);
            at.index()
        })
    }

    fn reserve<T>(slots: &Packed<T>, at: &Producer, _owner: u16) -> Result<u64, Stuck> {
        match at.room(slots, 1).map_err(Stuck::Torn)? {
            0 => Err(Stuck::None),
            _ => Ok(at.index()),
        }
    }

    fn claimed<'a, T>(slots: &'a Packed<T>, claim: &u64) -> Elements<'a, T> {
        slots.one(*claim)
    }

    fn commit<T>(slots: &Packed<T>, at: &Producer, _claim: u64) {
        at.publish(slots, 1);
    }

    fn abort<T>(_: &Packed<T>, _: u64) -> bool {
        false
    }

    fn take<T>(slots: &Packed<T>, at: &Reader, _owner: u16) -> Result<u64, Stuck> {
        match at.filled(slots, 1).map_err(Stuck::Torn)? {
            0 => Err(Stuck::None),
            _ => {
                at.hold(slots, 1);
                Ok(at.index())
            }
        }
    }

    fn taken<'a, T>(slots: &'a Packed<T>, taken: &u64) -> Elements<'a, T> {
        slots.one(*taken)
    }

    fn attempts<T>(slots: &Packed<T>, at: &Reader, _: &u64) -> u8 {
        at.attempts(slots)
    }

    fn release<T>(slots: &Packed<T>, at: &Reader, _: u64) {
        at.release(slots, 1);
    }

    fn give_back<T>(slots: &Packed<T>, at: &Reader, _: u64) -> bool {
        at.hold(slots, 0);
        false
    }

    fn room(_: &Cells, _: &Producer) -> bool {
        false
    }

    fn available(_: &Cells, _: &Reader) -> bool {
        false
    }

    fn in_hand(_: &Cells) -> bool {
        false
    }

    fn wanted_by_producer(at: &Producer) -> Want {
        Want::Room(at.limit())
    }

    fn wanted_by_consumer(_: &Reader) -> Want {
        Want::Anything
    }
}

/// How this process keeps back on such a ring.
fn backoff(ring: &impl Indices) -> Backoff {
    Backoff::new(wait::longest_backoff(), ring.capacity())
}

/// Takes up the consumer's role.
pub(crate) fn reader(ring: &impl InFlight, end: &Endpoint) -> Result<Reader, Stuck> {
    let (reader, dropped) =
        Reader::attach(ring, end.me(), end.block.attempts).map_err(Stuck::Torn)?;
    if dropped {
        end.notify(Side::Sender, Done::GivenUp);
    }
    Ok(reader)
}

/// So many times in a row nobody is beaten by others who keep to the protocol.
const MOST_PASSES: u32 = 1_000;

/// Tries again as long as the answer is *contended*: others were faster. If
/// what is seen repeats itself, nothing moves, and the ring is corrupt.
#[cold]
pub(crate) fn settled<R>(
    mut refused: Refused,
    mut attempt: impl FnMut() -> Result<R, Refused>,
) -> Result<R, Stuck> {
    let backoff = crossbeam_utils::Backoff::new();
    // Brent's way to find a cycle of any length: compare with what was seen
    // at the last power of two.
    let mut landmark = None;
    for pass in 1..=MOST_PASSES {
        match refused {
            Refused::None => return Err(Stuck::None),
            Refused::Pending(_) => return Err(Stuck::Pending),
            Refused::Corrupt(state) => return Err(Stuck::Word(state.0)),
            Refused::Contended(digest) if landmark == Some(digest) => break,
            Refused::Contended(digest) => {
                if pass.is_power_of_two() {
                    landmark = Some(digest);
                }
                backoff.spin();
            }
        }
        match attempt() {
            Ok(done) => return Ok(done),
            Err(again) => refused = again,
        }
    }
    Err(Stuck::Disorder)
}

/// A handle's place in an MPMC ring, and its pace.
#[derive(Debug)]
pub struct Place {
    cursor: Cell<Cursor>,
    backoff: Backoff,
    /// The position at which there was last nothing to be had.
    ended: Cell<u64>,
}

impl Place {
    fn at(cursor: Cursor, backoff: Backoff) -> Self {
        Self { ended: Cell::new(cursor.position()), cursor: Cell::new(cursor), backoff }
    }

    /// Goes on after a refusal: has it settled, and where there is nothing to
    /// be had just now, keeps back and tries once more.
    #[cold]
    #[inline(never)]
    fn go_on<R>(
        &self,
        refused: Refused,
        mut attempt: impl FnMut() -> Result<R, Refused>,
    ) -> Result<R, Stuck> {
        let stuck = match settled(refused, &mut attempt) {
            Err(stuck @ (Stuck::None | Stuck::Pending)) => stuck,
            done => return done,
        };
        let position = self.cursor.get().position();
        self.backoff.found(position.wrapping_sub(self.ended.replace(position)));
        if !self.backoff.keeps_back() {
            return Err(stuck);
        }
        self.backoff.back_off();
        attempt().or_else(|refused| settled(refused, attempt))
    }
}

impl sealed::Kind for Mpmc {
    const RING: RingKind = RingKind::Mpmc;
    type Slots<T> = Tagged<T>;
    type Producer = Place;
    type Consumer = Place;

    fn slots<T>(cells: &Cells) -> Option<Tagged<T>> {
        cells.tagged()
    }

    fn producer(cells: &Cells) -> Result<Place, Stuck> {
        Ok(Place::at(Cursor::producer(cells), backoff(cells)))
    }

    fn consumer(end: &Endpoint) -> Result<Place, Stuck> {
        Ok(Place::at(Cursor::consumer(end.cells()), backoff(end.cells())))
    }

    #[inline(always)]
    fn push_next<T: NoUninit>(
        slots: &Self::Slots<T>,
        at: &Place,
        owner: u16,
        message: &T,
    ) -> Result<(), Stuck> {
        let claim = Self::reserve_next(slots, at, owner).ok_or(Stuck::Unsure)?;
        slots.write(claim.index, message);
        mpmc::publish(slots, claim);
        Ok(())
    }

    #[inline(always)]
    fn pop_next<T: CheckedBitPattern>(
        slots: &Self::Slots<T>,
        at: &Place,
        owner: u16,
        into: &mut CopyOut<T>,
    ) -> Result<(), Stuck> {
        let taken = Self::take_next(slots, at, owner).ok_or(Stuck::Unsure)?;
        slots.read(taken.index, into);
        mpmc::release(slots, taken);
        Ok(())
    }

    fn push<T: NoUninit>(
        slots: &Self::Slots<T>,
        at: &Place,
        owner: u16,
        message: &T,
    ) -> Result<(), Stuck> {
        let claim = Self::reserve(slots, at, owner)?;
        slots.write(claim.index, message);
        mpmc::publish(slots, claim);
        Ok(())
    }

    fn push_many<T: NoUninit>(
        slots: &Self::Slots<T>,
        at: &Place,
        owner: u16,
        messages: &[T],
    ) -> Result<usize, Stuck> {
        for (pushed, message) in messages.iter().enumerate() {
            if Self::push_next(slots, at, owner, message).is_ok() {
                continue;
            }
            match Self::push(slots, at, owner, message) {
                Ok(()) => {}
                Err(stuck) if pushed == 0 => return Err(stuck),
                Err(_) => return Ok(pushed),
            }
        }
        Ok(messages.len())
    }

    fn pop<T: CheckedBitPattern>(
        slots: &Self::Slots<T>,
        at: &Place,
        owner: u16,
        into: &mut CopyOut<T>,
    ) -> Result<(), Stuck> {
        let taken = Self::take(slots, at, owner)?;
        slots.read(taken.index, into);
        mpmc::release(slots, taken);
        Ok(())
    }

    fn pop_many<T: CheckedBitPattern>(
        slots: &Self::Slots<T>,
        at: &Place,
        owner: u16,
        most: usize,
        into: &mut Vec<T>,
    ) -> Result<bool, Stuck> {
        for n in 0..most {
            let mut copy_out = CopyOut::new();
            if Self::pop_next(slots, at, owner, &mut copy_out).is_err() {
                match Self::pop(slots, at, owner, &mut copy_out) {
                    Ok(()) => {}
                    Err(stuck) if n == 0 => return Err(stuck),
                    Err(_) => break,
                }
            }
            let Some(message) = copy_out.hand_on(Some, || None) else { return Ok(false) };
            into.push(message);
        }
        Ok(true)
    }

    type Claim = mpmc::Claim;
    type Taken = mpmc::Taken;

    #[inline(always)]
    fn reserve_next<T>(slots: &Tagged<T>, at: &Place, owner: u16) -> Option<mpmc::Claim> {
        mpmc::claim_next(slots, &at.cursor, owner)
    }

    #[inline(always)]
    fn take_next<T>(slots: &Tagged<T>, at: &Place, owner: u16) -> Option<mpmc::Taken> {
        mpmc::take_next(slots, &at.cursor, owner)
    }

    fn reserve<T>(slots: &Tagged<T>, at: &Place, owner: u16) -> Result<mpmc::Claim, Stuck> {
        match mpmc::claim(slots, &at.cursor, owner) {
            Ok(claim) => Ok(claim),
            Err(refused) => at.go_on(refused, || mpmc::claim(slots, &at.cursor, owner)),
        }
    }

    fn claimed<'a, T>(slots: &'a Tagged<T>, claim: &mpmc::Claim) -> Elements<'a, T> {
        slots.element(claim.index)
    }

    fn commit<T>(slots: &Tagged<T>, _: &Place, claim: mpmc::Claim) {
        mpmc::publish(slots, claim);
    }

    fn abort<T>(slots: &Tagged<T>, claim: mpmc::Claim) -> bool {
        mpmc::abort(slots, claim);
        true
    }

    fn take<T>(slots: &Tagged<T>, at: &Place, owner: u16) -> Result<mpmc::Taken, Stuck> {
        match mpmc::take(slots, &at.cursor, owner) {
            Ok(taken) => Ok(taken),
            Err(refused) => at.go_on(refused, || mpmc::take(slots, &at.cursor, owner)),
        }
    }

    fn taken<'a, T>(slots: &'a Tagged<T>, taken: &mpmc::Taken) -> Elements<'a, T> {
        slots.element(taken.index)
    }

    fn attempts<T>(_: &Tagged<T>, _: &Place, taken: &mpmc::Taken) -> u8 {
        u8::try_from(taken.attempts).unwrap_or(u8::MAX)
    }

    fn release<T>(slots: &Tagged<T>, _: &Place, taken: mpmc::Taken) {
        mpmc::release(slots, taken);
    }

    fn give_back<T>(slots: &Tagged<T>, _: &Place, taken: mpmc::Taken) -> bool {
        mpmc::give_back(slots, taken);
        true
    }

    fn room(cells: &Cells, at: &Place) -> bool {
        mpmc::room(cells, at.cursor.get())
    }

    fn available(cells: &Cells, at: &Place) -> bool {
        mpmc::available(cells, at.cursor.get())
    }

    fn in_hand(cells: &Cells) -> bool {
        mpmc::in_flight(cells)
    }

    fn wanted_by_producer(at: &Place) -> Want {
        Want::Place(at.cursor.get())
    }

    fn wanted_by_consumer(at: &Place) -> Want {
        Want::Message(at.cursor.get())
    }
}
