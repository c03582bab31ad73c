//! The table of kinds: to the handles a type, to the segment a number.

use super::any::AnyKind;
use super::element::Element;
use super::message::Message;
use super::payload::{Bytes, Form, Untyped};
use super::recover::{Held, Victim};
use super::ring::Ring;
use super::{mpmc, mpmc_bytes, spsc, spsc_bytes};
use crate::ring;
use crate::ring::recovery::{Finished, Recovery};
use crate::ring::wait::Want;
use crate::storage::{Cells, RingKind};

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

/// What a segment asks of a kind.
const fn of(kind: RingKind) -> &'static dyn AnyKind {
    match kind {
        RingKind::Spsc => &spsc::OfElements,
        RingKind::Mpmc => &mpmc::OfElements,
        RingKind::SpscBytes => &spsc_bytes::OfRecords,
        RingKind::MpmcBytes => &mpmc_bytes::OfBlocks,
    }
}

impl Cells {
    /// How many messages there are: see [`AnyKind::len`].
    pub(crate) fn len(&self) -> u64 {
        of(self.kind()).len(self)
    }

    /// Whether a reader has a message in hand that may come back: see
    /// [`AnyKind::in_flight`].
    pub(crate) fn in_flight(&self) -> bool {
        of(self.kind()).in_flight(self)
    }

    /// Walks over what a participant that died held: see [`Recover`](super::recover::Recover).
    pub(crate) fn recover(
        &self,
        victim: Victim,
        recovery: &dyn Recovery,
    ) -> Result<Held, Finished> {
        of(self.kind()).recover(self, victim, recovery)
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
