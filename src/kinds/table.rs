//! The table of kinds: to the handles a type, to the segment a number.

use super::any::{AnyKind, Facts};
use super::element::Element;
use super::message::Message;
use super::payload::{Bytes, Form, Untyped};
use super::ring::Ring;
use super::{mpmc, mpmc_bytes, spsc, spsc_bytes};
use crate::ring;
use crate::ring::wait::Want;
use crate::storage::layout::{BlockPlan, capacity_allowed};
use crate::storage::{Cells, KindCode};

/// One sender and one receiver at a time: wait-free, and the fastest.
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
/// As a text, it is `SPSC`, `MPMC`, `SPSC bytes` or `MPMC bytes`.
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
}

impl core::fmt::Display for RingKind {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(self.name())
    }
}

impl RingKind {
    const ALL: [Self; 4] = [Self::Spsc, Self::Mpmc, Self::SpscBytes, Self::MpmcBytes];

    /// What is always the same of a kind.
    const fn facts(self) -> &'static Facts {
        match self {
            Self::Spsc => &spsc::layout::FACTS,
            Self::Mpmc => &mpmc::layout::FACTS,
            Self::SpscBytes => &spsc_bytes::layout::FACTS,
            Self::MpmcBytes => &mpmc_bytes::layout::FACTS,
        }
    }

    /// What a segment asks of a kind.
    pub(crate) const fn any(self) -> &'static dyn AnyKind {
        match self {
            Self::Spsc => &spsc::OfElements,
            Self::Mpmc => &mpmc::OfElements,
            Self::SpscBytes => &spsc_bytes::OfRecords,
            Self::MpmcBytes => &mpmc_bytes::OfBlocks,
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

    /// Whether each receiver gets every message.
    pub(crate) const fn is_broadcast(self) -> bool {
        self.facts().broadcast
    }

    /// Whether messages are bytes of any length.
    pub(crate) const fn is_bytes(self) -> bool {
        self.facts().bytes
    }

    pub(crate) const fn name(self) -> &'static str {
        self.facts().name
    }

    /// All kinds for elements, or all for bytes.
    pub(crate) fn all_of(bytes: bool) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(move |kind| kind.is_bytes() == bytes)
    }

    /// The plan of a channel's block; `None` if it cannot be addressed at all. For
    /// bytes, `size` is the longest message.
    pub(crate) fn plan(
        self,
        messages: usize,
        size: usize,
        align: usize,
        participants: u16,
    ) -> Option<BlockPlan> {
        if !capacity_allowed(messages, align) {
            return None;
        }
        BlockPlan::new(messages, &self.any().parts(messages, size, align)?, participants)
    }
}

impl Cells {
    /// How many messages there are: see [`AnyKind::len`].
    pub(crate) fn len(&self) -> u64 {
        RingKind::read(self.kind()).map_or(0, |kind| kind.any().len(self))
    }

    /// Whether a reader has a message in hand that may come back: see
    /// [`AnyKind::in_flight`].
    pub(crate) fn in_flight(&self) -> bool {
        RingKind::read(self.kind()).is_some_and(|kind| kind.any().in_flight(self))
    }

    /// Whether what an attempt lacked is there now.
    pub(crate) fn has(&self, want: Want) -> bool {
        match want {
            Want::Change => false,
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
        let block = |capacity, size, align| RingKind::Mpmc.plan(capacity, size, align, 64);
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
