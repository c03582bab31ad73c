//! The table of kinds: to the handles a type, to the segment a number.

use super::any::{AnyKind, Facts};
use super::broadcast::{self, Board, Broadcasts, BufferRing};
pub use super::broadcast::{Broadcast, Reliable};
use super::calls::{self, Slots};
use super::element::Element;
use super::message::Message;
use super::passed::Passed;
use super::payload::{Bytes, Form, Untyped};
use super::ring::Ring;
use super::{mpmc, mpmc_bytes, spsc, spsc_bytes};
use crate::ring;
use crate::ring::wait::Want;
use crate::storage::layout::{BlockPlan, Measures, Reply, Seats, capacity_allowed};
use crate::storage::{Cells, KindCode};

/// One sender and one receiver at a time: wait-free, and the fastest.
#[derive(Clone, Copy, Debug)]
pub enum Spsc {}

/// Any number of senders and receivers, in any processes and threads.
#[derive(Clone, Copy, Debug)]
pub enum Mpmc {}

/// The kind of a channel: [`Spsc`], [`Mpmc`] or [`Broadcast`]; or [`Reliable`], of a
/// broadcast channel's subscriber for which the publishers wait.
///
/// A parameter of the handles' types, because it decides what they can do:
/// handles of an SPSC channel cannot be cloned, and a subscriber for which nobody waits reads
/// nothing in place.
pub trait Kind: sealed::Kind {}
impl Kind for Spsc {}
impl Kind for Mpmc {}
impl Kind for Broadcast {}
impl Kind for Reliable {}

/// A kind of channel whose receivers read messages in place. A [`Broadcast`] subscriber does
/// not: publishers may write over a message while it reads.
#[diagnostic::on_unimplemented(
    message = "nothing is read or written by reference in a channel of the kind `{Self}`",
    note = "publishers may write over a message while a subscriber reads it: `recv` copies it \
            out; a `reliable_subscriber` can `take` it in place"
)]
pub trait InPlace: Kind {}
impl InPlace for Spsc {}
impl InPlace for Mpmc {}
impl InPlace for Reliable {}

/// What a channel carries: values of a type that is a [`Message`], or [`Bytes`].
///
/// A parameter of the handles' types. It decides in which form a message is given
/// to them and comes out of them:
///
/// | | messages of a type `T` | [`Bytes`] |
/// |---|---|---|
/// | sent | as a `T` | as a `&[u8]` |
/// | returned by the error of a send | the `T` | nothing, `()`: the caller has it |
/// | received | as a `T` | into a `Vec<u8>` |
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a message of a channel",
    label = "this type is no `tombolo::Message`",
    note = "a struct of yours becomes one by `#[derive(Clone, Copy, tombolo::Message)] #[repr(C)]`",
    note = "what has pointers (String, Vec, references) cannot: use arrays such as [u8; 32], or \
            serialize into a channel of bytes, `Segment::bytes`"
)]
pub trait Payload: sealed::Payload {}
impl<P: sealed::Payload> Payload for P {}

/// A payload of a broadcast channel: each is one.
pub trait Broadcastable:
    Payload<Ring<Broadcast>: Broadcasts<Broadcast>, Ring<Reliable>: Broadcasts<Reliable>>
{
}
impl<P> Broadcastable for P where
    P: Payload<Ring<Broadcast>: Broadcasts<Broadcast>, Ring<Reliable>: Broadcasts<Reliable>>
{
}

pub(crate) mod sealed {
    use super::*;

    pub trait Kind: Sized + 'static {
        /// The ring of elements, and what it is to the segment.
        type Elements<E: Element>: Ring<Of = E>;
        const RING_OF_ELEMENTS: RingKind;
        /// The ring of bytes.
        type Bytes: Ring<Of = Bytes>;
        const RING_OF_BYTES: RingKind;
    }

    pub trait Payload: Form {
        /// Its ring of a kind, and what that is to the segment.
        type Ring<K: Kind>: Ring<Of = Self>;
        fn ring_kind<K: Kind>() -> RingKind;
    }
}

impl sealed::Kind for Spsc {
    type Elements<E: Element> = spsc::Packed<E>;
    const RING_OF_ELEMENTS: RingKind = RingKind::Spsc;
    type Bytes = spsc_bytes::RecordRing;
    const RING_OF_BYTES: RingKind = RingKind::SpscBytes;
}

impl sealed::Kind for Mpmc {
    type Elements<E: Element> = mpmc::Tagged<E>;
    const RING_OF_ELEMENTS: RingKind = RingKind::Mpmc;
    type Bytes = mpmc_bytes::BlockSlots;
    const RING_OF_BYTES: RingKind = RingKind::MpmcBytes;
}

impl sealed::Kind for Broadcast {
    type Elements<E: Element> = BufferRing<E, Self>;
    const RING_OF_ELEMENTS: RingKind = RingKind::Broadcast;
    type Bytes = BufferRing<Bytes, Self>;
    const RING_OF_BYTES: RingKind = RingKind::BroadcastBytes;
}

impl sealed::Kind for Reliable {
    type Elements<E: Element> = BufferRing<E, Self>;
    const RING_OF_ELEMENTS: RingKind = RingKind::Broadcast;
    type Bytes = BufferRing<Bytes, Self>;
    const RING_OF_BYTES: RingKind = RingKind::BroadcastBytes;
}

impl<T: Message> sealed::Payload for T {
    type Ring<K: sealed::Kind> = K::Elements<T>;

    fn ring_kind<K: sealed::Kind>() -> RingKind {
        K::RING_OF_ELEMENTS
    }
}

impl sealed::Payload for Untyped {
    type Ring<K: sealed::Kind> = K::Elements<Self>;

    fn ring_kind<K: sealed::Kind>() -> RingKind {
        K::RING_OF_ELEMENTS
    }
}

impl sealed::Payload for Bytes {
    type Ring<K: sealed::Kind> = K::Bytes;

    fn ring_kind<K: sealed::Kind>() -> RingKind {
        K::RING_OF_BYTES
    }
}

/// The kind of a channel, and what it carries.
///
/// As a text, it is `SPSC`, `MPMC`, `SPSC bytes`, `MPMC bytes`, `broadcast`,
/// `broadcast bytes`, `calls` or `calls bytes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RingKind {
    /// One sender and one receiver; elements of one size.
    Spsc,
    /// Any number of each; elements of one size.
    Mpmc,
    /// One sender and one receiver; bytes of any length.
    SpscBytes,
    /// Any number of each; bytes of any length.
    MpmcBytes,
    /// Any number of each, and each receiver gets every message; elements of one size.
    Broadcast,
    /// Any number of each, and each receiver gets every message; bytes of any length.
    BroadcastBytes,
    /// Any number of clients and servers; requests and replies of one size.
    Calls,
    /// Any number of clients and servers; requests and replies of bytes, of any length.
    CallsBytes,
}

impl core::fmt::Display for RingKind {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(self.name())
    }
}

impl RingKind {
    const ALL: [Self; 8] = [
        Self::Spsc,
        Self::Mpmc,
        Self::SpscBytes,
        Self::MpmcBytes,
        Self::Broadcast,
        Self::BroadcastBytes,
        Self::Calls,
        Self::CallsBytes,
    ];
    /// A bit for each kind beyond the first four: see [`bit`](Self::bit).
    pub(crate) const LATER: u64 = Self::Broadcast.bit()
        | Self::BroadcastBytes.bit()
        | Self::Calls.bit()
        | Self::CallsBytes.bit();

    /// What is always the same of a kind.
    const fn facts(self) -> &'static Facts {
        match self {
            Self::Spsc => &spsc::layout::FACTS,
            Self::Mpmc => &mpmc::layout::FACTS,
            Self::SpscBytes => &spsc_bytes::layout::FACTS,
            Self::MpmcBytes => &mpmc_bytes::layout::FACTS,
            Self::Broadcast => &broadcast::layout::OF_ELEMENTS,
            Self::BroadcastBytes => &broadcast::layout::OF_BYTES,
            Self::Calls => &calls::layout::OF_ELEMENTS,
            Self::CallsBytes => &calls::layout::OF_BYTES,
        }
    }

    /// What a segment asks of a kind.
    pub(crate) const fn any(self) -> &'static dyn AnyKind {
        match self {
            Self::Spsc => &spsc::OfElements,
            Self::Mpmc => &mpmc::OfElements,
            Self::SpscBytes => &spsc_bytes::OfRecords,
            Self::MpmcBytes => &mpmc_bytes::OfBlocks,
            Self::Broadcast => &broadcast::OfElements,
            Self::BroadcastBytes => &broadcast::OfBytes,
            Self::Calls => &calls::OfElements,
            Self::CallsBytes => &calls::OfBytes,
        }
    }

    /// Its number in the directory.
    pub(crate) const fn code(self) -> KindCode {
        self.facts().code
    }

    pub(crate) fn read(code: KindCode) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// Whether the channel has one sender and one receiver.
    pub(crate) const fn is_single(self) -> bool {
        self.facts().single
    }

    /// Its bit in the words that say which kinds there have been, or who knows which. The
    /// first four kinds have none: every participant knows them.
    pub(crate) const fn bit(self) -> u64 {
        let KindCode(code) = self.code();
        if code > 4 { 1 << code } else { 0 }
    }

    /// Whether each receiver gets every message.
    pub const fn is_broadcast(self) -> bool {
        self.facts().broadcast
    }

    /// Whether messages are requests that are replied to.
    pub const fn is_calls(self) -> bool {
        self.facts().calls
    }

    /// Whether messages are bytes of any length.
    pub const fn is_bytes(self) -> bool {
        self.facts().bytes
    }

    pub(crate) const fn name(self) -> &'static str {
        self.facts().name
    }

    /// All kinds for elements, or all for bytes, that are alike in the rest.
    pub(crate) fn like(self) -> impl Iterator<Item = Self> {
        let traits = |kind: Self| (kind.is_bytes(), kind.is_broadcast(), kind.is_calls());
        Self::ALL.into_iter().filter(move |&kind| traits(kind) == traits(self))
    }

    /// The plan of a channel's block; `None` if it cannot be addressed at all.
    pub(crate) fn plan(self, of: &Measures, participants: u16) -> Option<BlockPlan> {
        if !capacity_allowed(of.messages, of.align) {
            return None;
        }
        let seats = of.seats == Seats::default() || self.is_broadcast();
        let reply = self.is_calls() == (of.reply != Reply::default());
        (seats && reply && (of.reply.align == 0 || capacity_allowed(1, of.reply.align)))
            .then(|| BlockPlan::new(of, &self.any().parts(of)?, participants))
            .flatten()
    }
}

impl Cells {
    /// How many messages there are: see [`AnyKind::len`].
    pub(crate) fn len(&self) -> u64 {
        RingKind::read(self.kind()).map_or(0, |kind| kind.any().len(self))
    }

    /// How much has gone in: see [`AnyKind::passed`].
    pub(crate) fn passed(&self) -> Passed {
        RingKind::read(self.kind()).map_or(Passed::Messages(0), |kind| kind.any().passed(self))
    }

    /// Whether a reader has a message in hand that may come back: see
    /// [`AnyKind::in_flight`].
    pub(crate) fn in_flight(&self) -> bool {
        RingKind::read(self.kind()).is_some_and(|kind| kind.any().in_flight(self))
    }

    /// Whether a change on the side of the receivers is for senders that wait: not where
    /// publishers still wait for another reliable subscriber.
    pub(crate) fn frees_senders(&self) -> bool {
        Board::of(self).is_none_or(|board| ring::broadcast::has_room(&board, self))
    }

    /// Whether what an attempt lacked is there now.
    pub(crate) fn has(&self, want: Want) -> bool {
        match want {
            Want::Change => false,
            Want::Published(cursor) => Board::of(self).is_some_and(|board| {
                !matches!(ring::broadcast::look(&board, cursor), ring::broadcast::Look::Nothing)
            }),
            Want::Limit(position) => {
                Board::of(self).is_some_and(|board| ring::broadcast::room(&board, self, position))
            }
            Want::Request => Slots::of(self).is_some_and(|slots| ring::calls::available(&slots)),
            Want::CallSlot => Slots::of(self).is_some_and(|slots| ring::calls::room(&slots)),
            Want::Reply(call) => {
                Slots::of(self).is_some_and(|slots| !ring::calls::doze_over(&slots, call))
            }
            Want::Anything => ring::spsc::len(self) > 0,
            Want::Room(limit) => ring::spsc::freed(self, limit),
            Want::Message(cursor) => ring::mpmc::available(self, cursor),
            Want::Slot(cursor) => ring::mpmc::room(self, cursor),
            Want::Block => mpmc_bytes::BlockSlots::of(self)
                .is_some_and(|block_slots| ring::blocks::any_free(&block_slots)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::layout::MAX_CAPACITY;

    #[test]
    fn a_block_that_cannot_be_addressed_is_refused() {
        let block = |messages, size, align| {
            let seats = Seats::default();
            let reply = Reply::default();
            RingKind::Mpmc.plan(&Measures { messages, size, align, seats, reply }, 64)
        };
        assert!(block(0, 8, 8).is_none());
        assert!(block(MAX_CAPACITY + 1, 8, 8).is_none());
        assert!(block(1, usize::MAX, 8).is_none());
        assert!(block(MAX_CAPACITY, usize::MAX / 4, 8).is_none());
        assert!(block(1, 8, 3).is_none());
        assert!(block(1, 8, 256).is_none());
        assert_eq!(block(3, 8, 8).map(|plan| (plan.cell, plan.stride)), Some((8, 16)));
        assert_eq!(block(3, 100, 64).map(|plan| (plan.cell, plan.stride)), Some((64, 192)));
    }
}
