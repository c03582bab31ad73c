//! The two kinds of ring behind one interface.

use core::cell::Cell;
use core::fmt::Debug;
use core::ptr::NonNull;

use bytemuck::{CheckedBitPattern, NoUninit};

use super::endpoint::Endpoint;
use super::ready::Want;
use crate::ring::hand::{Hands, Reader};
use crate::ring::mpmc::{self, Cursor, Refused};
use crate::ring::spsc::{Producer, Torn};
use crate::segment::{Cells, Landing, Packed, RingKind, Side, Tagged};

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
    /// There is a block, and no place to queue it.
    NoPlace,
    /// Something has changed since this handle last looked.
    Changed,
    /// The other side has gone, and to a receiver: nothing is left.
    Alone,
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
            Self::None | Self::Pending | Self::NoPlace | Self::Changed | Self::Alone => None,
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
        fn slots<T>(cells: Cells<'static>) -> Option<Self::Slots<T>>;
        fn producer(cells: &Cells<'_>) -> Result<Self::Producer, Stuck>;
        fn consumer(end: &Endpoint) -> Result<Self::Consumer, Stuck>;

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
            into: &mut Landing<T>,
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

        /// Claims the next cell.
        fn reserve<T>(
            slots: &Self::Slots<T>,
            at: &Self::Producer,
            owner: u16,
        ) -> Result<Self::Claim, Stuck>;
        fn claimed<T>(slots: &Self::Slots<T>, claim: &Self::Claim) -> NonNull<T>;
        fn commit<T>(slots: &Self::Slots<T>, at: &Self::Producer, claim: Self::Claim);
        /// Gives the cell back. Whether somebody may be waiting for that.
        fn abort<T>(slots: &Self::Slots<T>, claim: Self::Claim) -> bool;

        /// Takes the next message.
        fn take<T>(
            slots: &Self::Slots<T>,
            at: &Self::Consumer,
            owner: u16,
        ) -> Result<Self::Taken, Stuck>;
        fn taken<T>(slots: &Self::Slots<T>, taken: &Self::Taken) -> NonNull<T>;
        /// How often a reader has died over it.
        fn attempts<T>(slots: &Self::Slots<T>, at: &Self::Consumer, taken: &Self::Taken) -> u8;
        fn release<T>(slots: &Self::Slots<T>, at: &Self::Consumer, taken: Self::Taken);
        /// Leaves it for another reader. Whether one may be waiting.
        fn give_back<T>(slots: &Self::Slots<T>, at: &Self::Consumer, taken: Self::Taken) -> bool;

        /// Whether another sender could go on.
        fn room(cells: &Cells<'_>, at: &Self::Producer) -> bool;
        /// Whether another receiver could go on.
        fn available(cells: &Cells<'_>, at: &Self::Consumer) -> bool;
        /// Whether a message is in a reader's hands and may come back.
        fn in_hand(cells: &Cells<'_>) -> bool;
        /// What has just refused a push, or a reservation.
        fn wanted_by_producer(at: &Self::Producer) -> Want;
        /// What has just refused a pop, or a take.
        fn wanted_by_consumer(at: &Self::Consumer) -> Want;
    }
}

impl sealed::Kind for Spsc {
    const RING: RingKind = RingKind::Spsc;
    type Slots<T> = Packed<'static, T>;
    type Producer = Producer;
    type Consumer = Reader;

    fn slots<T>(cells: Cells<'static>) -> Option<Packed<'static, T>> {
        cells.packed()
    }

    fn producer(cells: &Cells<'_>) -> Result<Producer, Stuck> {
        Producer::attach(cells).map_err(Stuck::Torn)
    }

    fn consumer(end: &Endpoint) -> Result<Reader, Stuck> {
        reader(end.cells(), end)
    }

    #[inline]
    fn push<T: NoUninit>(
        slots: &Self::Slots<T>,
        at: &Producer,
        _owner: u16,
        message: &T,
    ) -> Result<(), Stuck> {
        match at.room(slots, 1) {
            Ok(1..) => {}
            Ok(_) => return Err(Stuck::None),
            Err(torn) => return Err(Stuck::Torn(torn)),
        }
        slots.write(at.span(slots, 1).index, message);
        at.publish(slots, 1);
        Ok(())
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

    #[inline]
    fn pop<T: CheckedBitPattern>(
        slots: &Self::Slots<T>,
        at: &Reader,
        _owner: u16,
        into: &mut Landing<T>,
    ) -> Result<(), Stuck> {
        match at.filled(slots, 1) {
            Ok(1..) => {}
            Ok(_) => return Err(Stuck::None),
            Err(torn) => return Err(Stuck::Torn(torn)),
        }
        slots.read(at.span(slots, 1).index, into);
        at.release(slots, 1);
        Ok(())
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

    fn reserve<T>(slots: &Packed<'static, T>, at: &Producer, _owner: u16) -> Result<u64, Stuck> {
        match at.room(slots, 1).map_err(Stuck::Torn)? {
            0 => Err(Stuck::None),
            _ => Ok(at.index()),
        }
    }

    fn claimed<T>(slots: &Packed<'static, T>, claim: &u64) -> NonNull<T> {
        slots.at(*claim, 1)
    }

    fn commit<T>(slots: &Packed<'static, T>, at: &Producer, _claim: u64) {
        at.publish(slots, 1);
    }

    fn abort<T>(_: &Packed<'static, T>, _: u64) -> bool {
        false
    }

    fn take<T>(slots: &Packed<'static, T>, at: &Reader, _owner: u16) -> Result<u64, Stuck> {
        match at.filled(slots, 1).map_err(Stuck::Torn)? {
            0 => Err(Stuck::None),
            _ => {
                at.hold(slots, 1);
                Ok(at.index())
            }
        }
    }

    fn taken<T>(slots: &Packed<'static, T>, taken: &u64) -> NonNull<T> {
        slots.at(*taken, 1)
    }

    fn attempts<T>(slots: &Packed<'static, T>, at: &Reader, _: &u64) -> u8 {
        at.attempts(slots)
    }

    fn release<T>(slots: &Packed<'static, T>, at: &Reader, _: u64) {
        at.release(slots, 1);
    }

    fn give_back<T>(slots: &Packed<'static, T>, at: &Reader, _: u64) -> bool {
        at.hold(slots, 0);
        false
    }

    fn room(_: &Cells<'_>, _: &Producer) -> bool {
        false
    }

    fn available(_: &Cells<'_>, _: &Reader) -> bool {
        false
    }

    fn in_hand(_: &Cells<'_>) -> bool {
        false
    }

    fn wanted_by_producer(at: &Producer) -> Want {
        Want::Room(at.limit())
    }

    fn wanted_by_consumer(_: &Reader) -> Want {
        Want::Anything
    }
}

/// Takes up the consumer's role.
pub(crate) fn reader(ring: &impl Hands, end: &Endpoint) -> Result<Reader, Stuck> {
    let (reader, dropped) =
        Reader::attach(ring, end.me(), end.block.attempts).map_err(Stuck::Torn)?;
    if dropped {
        end.notify(Side::Sender);
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

impl sealed::Kind for Mpmc {
    const RING: RingKind = RingKind::Mpmc;
    type Slots<T> = Tagged<'static, T>;
    type Producer = Cell<Cursor>;
    type Consumer = Cell<Cursor>;

    fn slots<T>(cells: Cells<'static>) -> Option<Tagged<'static, T>> {
        cells.tagged()
    }

    fn producer(cells: &Cells<'_>) -> Result<Cell<Cursor>, Stuck> {
        Ok(Cell::new(Cursor::producer(cells)))
    }

    fn consumer(end: &Endpoint) -> Result<Cell<Cursor>, Stuck> {
        Ok(Cell::new(Cursor::consumer(end.cells())))
    }

    #[inline]
    fn push<T: NoUninit>(
        slots: &Self::Slots<T>,
        at: &Cell<Cursor>,
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
        at: &Cell<Cursor>,
        owner: u16,
        messages: &[T],
    ) -> Result<usize, Stuck> {
        for (pushed, message) in messages.iter().enumerate() {
            match Self::push(slots, at, owner, message) {
                Ok(()) => {}
                Err(stuck) if pushed == 0 => return Err(stuck),
                Err(_) => return Ok(pushed),
            }
        }
        Ok(messages.len())
    }

    #[inline]
    fn pop<T: CheckedBitPattern>(
        slots: &Self::Slots<T>,
        at: &Cell<Cursor>,
        owner: u16,
        into: &mut Landing<T>,
    ) -> Result<(), Stuck> {
        let taken = Self::take(slots, at, owner)?;
        slots.read(taken.index, into);
        mpmc::release(slots, taken);
        Ok(())
    }

    fn pop_many<T: CheckedBitPattern>(
        slots: &Self::Slots<T>,
        at: &Cell<Cursor>,
        owner: u16,
        most: usize,
        into: &mut Vec<T>,
    ) -> Result<bool, Stuck> {
        for n in 0..most {
            let mut landing = Landing::new();
            match Self::pop(slots, at, owner, &mut landing) {
                Ok(()) => {
                    if !landing.hand_on(
                        |message| {
                            into.push(message);
                            true
                        },
                        || false,
                    ) {
                        return Ok(false);
                    }
                }
                Err(stuck) if n == 0 => return Err(stuck),
                Err(_) => break,
            }
        }
        Ok(true)
    }

    type Claim = mpmc::Claim;
    type Taken = mpmc::Taken;

    #[inline]
    fn reserve<T>(
        slots: &Tagged<'static, T>,
        at: &Cell<Cursor>,
        owner: u16,
    ) -> Result<mpmc::Claim, Stuck> {
        match mpmc::claim(slots, at, owner) {
            Ok(claim) => Ok(claim),
            Err(refused) => settled(refused, || mpmc::claim(slots, at, owner)),
        }
    }

    fn claimed<T>(slots: &Tagged<'static, T>, claim: &mpmc::Claim) -> NonNull<T> {
        slots.element(claim.index)
    }

    fn commit<T>(slots: &Tagged<'static, T>, _: &Cell<Cursor>, claim: mpmc::Claim) {
        mpmc::publish(slots, claim);
    }

    fn abort<T>(slots: &Tagged<'static, T>, claim: mpmc::Claim) -> bool {
        mpmc::abort(slots, claim);
        true
    }

    #[inline]
    fn take<T>(
        slots: &Tagged<'static, T>,
        at: &Cell<Cursor>,
        owner: u16,
    ) -> Result<mpmc::Taken, Stuck> {
        match mpmc::take(slots, at, owner) {
            Ok(taken) => Ok(taken),
            Err(refused) => settled(refused, || mpmc::take(slots, at, owner)),
        }
    }

    fn taken<T>(slots: &Tagged<'static, T>, taken: &mpmc::Taken) -> NonNull<T> {
        slots.element(taken.index)
    }

    fn attempts<T>(_: &Tagged<'static, T>, _: &Cell<Cursor>, taken: &mpmc::Taken) -> u8 {
        u8::try_from(taken.attempts).unwrap_or(u8::MAX)
    }

    fn release<T>(slots: &Tagged<'static, T>, _: &Cell<Cursor>, taken: mpmc::Taken) {
        mpmc::release(slots, taken);
    }

    fn give_back<T>(slots: &Tagged<'static, T>, _: &Cell<Cursor>, taken: mpmc::Taken) -> bool {
        mpmc::give_back(slots, taken);
        true
    }

    fn room(cells: &Cells<'_>, at: &Cell<Cursor>) -> bool {
        mpmc::room(cells, at.get())
    }

    fn available(cells: &Cells<'_>, at: &Cell<Cursor>) -> bool {
        mpmc::available(cells, at.get())
    }

    fn in_hand(cells: &Cells<'_>) -> bool {
        mpmc::in_hand(cells)
    }

    fn wanted_by_producer(at: &Cell<Cursor>) -> Want {
        Want::Place(at.get())
    }

    fn wanted_by_consumer(at: &Cell<Cursor>) -> Want {
        Want::Message(at.get())
    }
}
