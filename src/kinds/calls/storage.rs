//! What is beside the word of a call slot: the request and the reply.

#![allow(unsafe_code)]

use core::marker::PhantomData;
use core::ptr::NonNull;

use bytemuck::{CheckedBitPattern, NoUninit};

use super::layout::OF_BYTES;
use super::words::Slots;
use crate::kinds::element::Element;
use crate::kinds::message::Message;
use crate::kinds::payload::{AnyMessage, AnyPlace, Bytes, Form};
use crate::storage::{ByteSpan, Cells, ElementBytes, View};
use crate::sync::{AtomicU64, Ordering};

/// The two messages of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    Request,
    Reply,
}

/// The place of one message in a slot.
#[derive(Clone, Copy, Debug)]
pub struct Spot<'a> {
    cells: &'a Cells,
    /// Of bytes, the word with the length.
    length: &'a AtomicU64,
    first: NonNull<u8>,
    longest: usize,
}

impl Spot<'_> {
    fn is_of_bytes(&self) -> bool {
        self.cells.kind() == OF_BYTES.code
    }
}

/// A payload as call slots hold it.
///
/// All copies are made of relaxed accesses: a peer that does not keep to the protocol may write
/// there meanwhile.
pub trait Sheet: Form {
    /// Whether messages of up to so many bytes, that begin so far from the start of a slot, can
    /// be of this payload.
    fn fits(slots: &Slots, at: usize, longest: usize) -> bool;

    /// Room for a message of up to `length` bytes.
    ///
    /// # Safety
    /// The spot [fits](Self::fits).
    unsafe fn room(spot: Spot<'_>, length: usize) -> Self::Place<'_>;

    /// The message that is there.
    ///
    /// # Safety
    /// The spot [fits](Self::fits).
    unsafe fn message(spot: Spot<'_>) -> Self::Place<'_>;

    /// Notes how long the message is.
    fn seal(spot: Spot<'_>, length: usize);

    /// Copies a message in.
    fn write(place: Self::Place<'_>, message: &Self::Sent<'_>)
    where
        Self: NoUninit;

    /// Copies a message out, whatever it is.
    fn read(place: Self::Place<'_>, into: &mut Self::Out)
    where
        Self: CheckedBitPattern;
}

impl<T: Message> Sheet for T {
    fn fits(slots: &Slots, at: usize, longest: usize) -> bool {
        !slots.are_bytes() && size_of::<T>() == longest && at.is_multiple_of(align_of::<T>().max(8))
    }

    #[inline(always)]
    unsafe fn room(spot: Spot<'_>, _: usize) -> Self::Place<'_> {
        // SAFETY: by the caller: an element of this size is there, aligned to it and to its unit.
        unsafe { <T as Element>::place(spot.cells, spot.first, 1) }
    }

    #[inline(always)]
    unsafe fn message(spot: Spot<'_>) -> Self::Place<'_> {
        // SAFETY: by the caller.
        unsafe { <T as Sheet>::room(spot, 0) }
    }

    #[inline(always)]
    fn seal(_: Spot<'_>, _: usize) {}

    #[inline(always)]
    fn write(place: Self::Place<'_>, message: &T)
    where
        T: NoUninit,
    {
        <T as Element>::write(place, message);
    }

    #[inline(always)]
    fn read(place: Self::Place<'_>, into: &mut Self::Out)
    where
        T: CheckedBitPattern,
    {
        <T as Element>::read(place, into);
    }
}

impl Sheet for Bytes {
    fn fits(slots: &Slots, _: usize, _: usize) -> bool {
        slots.are_bytes()
    }

    #[inline(always)]
    unsafe fn room(spot: Spot<'_>, length: usize) -> ByteSpan<'_> {
        // SAFETY: the slot has room for the longest, made up to words, from here on.
        unsafe { ByteSpan::new(spot.first, length.min(spot.longest)) }
    }

    #[inline(always)]
    unsafe fn message(spot: Spot<'_>) -> ByteSpan<'_> {
        let length = spot.length.load(Ordering::Relaxed);
        // SAFETY: by the caller.
        unsafe { <Self as Sheet>::room(spot, usize::try_from(length).unwrap_or(usize::MAX)) }
    }

    #[inline(always)]
    fn seal(spot: Spot<'_>, length: usize) {
        // Relaxed: as the bytes of the message.
        spot.length.store(length.min(spot.longest) as u64, Ordering::Relaxed);
    }

    #[inline(always)]
    fn write(place: ByteSpan<'_>, message: &&[u8]) {
        place.fill(message);
    }

    #[inline(always)]
    fn read(place: ByteSpan<'_>, into: &mut Vec<u8>) {
        place.append_to(into);
    }
}

impl Sheet for AnyMessage {
    fn fits(_: &Slots, at: usize, _: usize) -> bool {
        at.is_multiple_of(8)
    }

    unsafe fn room(spot: Spot<'_>, length: usize) -> AnyPlace<'_> {
        if spot.is_of_bytes() {
            // SAFETY: by the caller; the slots are of bytes.
            return AnyPlace::Bytes(unsafe { <Bytes as Sheet>::room(spot, length) });
        }
        let size_and_stride = (spot.longest, spot.longest);
        // SAFETY: by the caller: an element of this size is there, aligned to 8 and so to its
        // unit.
        AnyPlace::Element(unsafe { ElementBytes::new(spot.first, size_and_stride, 1) })
    }

    unsafe fn message(spot: Spot<'_>) -> AnyPlace<'_> {
        if spot.is_of_bytes() {
            // SAFETY: by the caller; the slots are of bytes.
            return AnyPlace::Bytes(unsafe { <Bytes as Sheet>::message(spot) });
        }
        // SAFETY: by the caller.
        unsafe { <Self as Sheet>::room(spot, 0) }
    }

    fn seal(spot: Spot<'_>, length: usize) {
        if spot.is_of_bytes() {
            <Bytes as Sheet>::seal(spot, length);
        }
    }

    fn write(place: AnyPlace<'_>, message: &&[u8]) {
        match place {
            AnyPlace::Element(element) => {
                element.write(0, message);
            }
            AnyPlace::Bytes(bytes) => bytes.fill(message),
        }
    }

    fn read(place: AnyPlace<'_>, into: &mut Vec<u8>) {
        match place {
            AnyPlace::Element(element) => element.append_to(into),
            AnyPlace::Bytes(bytes) => bytes.append_to(into),
        }
    }
}

/// Call slots with requests `Q` and replies `R`.
#[derive(Debug)]
pub struct Sheets<Q, R> {
    slots: Slots,
    payloads: PhantomData<fn(Q, R)>,
}

impl<Q: Sheet, R: Sheet> Sheets<Q, R> {
    /// `None` if the channel is of another kind, or of messages of another shape.
    pub(crate) fn of(cells: &Cells) -> Option<Self> {
        let slots = Slots::of(cells)?;
        let reply = cells.reply();
        (Q::fits(&slots, cells.cell(), cells.longest()) && R::fits(&slots, reply.at, reply.size))
            .then_some(Self { slots, payloads: PhantomData })
    }

    #[inline(always)]
    pub(crate) const fn slots(&self) -> &Slots {
        &self.slots
    }

    /// How many bytes such a message has; of bytes, the longest.
    #[inline(always)]
    pub(crate) fn longest(&self, which: Which) -> usize {
        let cells = self.slots.cells();
        match which {
            Which::Request => cells.longest(),
            Which::Reply => cells.reply().size,
        }
    }

    /// Whether a message of so many bytes can be such a one.
    #[inline(always)]
    pub(crate) fn takes(&self, which: Which, length: usize) -> bool {
        let longest = self.longest(which);
        if self.slots.are_bytes() { length <= longest } else { length == longest }
    }

    #[inline(always)]
    fn spot(&self, index: u64, which: Which) -> Spot<'_> {
        let cells = self.slots.cells();
        let longest = self.longest(which);
        let (at, word) = match which {
            Which::Request => (cells.cell(), 1),
            Which::Reply => (cells.reply().at, 2),
        };
        // SAFETY: both are in each slot: `layout` has planned them.
        let first = unsafe { self.slots.start(index).add(at) };
        Spot { cells, length: self.slots.word(index, word), first, longest }
    }

    /// The request in a slot.
    #[inline(always)]
    pub(crate) fn request(&self, index: u64) -> Q::Place<'_> {
        // SAFETY: `of` has asked whether it fits.
        unsafe { Q::message(self.spot(index, Which::Request)) }
    }

    /// Copies a request into a slot.
    #[inline(always)]
    pub(crate) fn write_request(&self, index: u64, request: &Q::Sent<'_>)
    where
        Q: NoUninit,
    {
        let length = Q::length(request).unwrap_or(0);
        Q::write(self.request_room(index, length), request);
        self.seal_request(index, length);
    }

    /// Room for a request of up to `length` bytes.
    #[inline(always)]
    pub(crate) fn request_room(&self, index: u64, length: usize) -> Q::Place<'_> {
        // SAFETY: `of` has asked whether it fits.
        unsafe { Q::room(self.spot(index, Which::Request), length) }
    }

    /// Notes how long the request is.
    #[inline(always)]
    pub(crate) fn seal_request(&self, index: u64, length: usize) {
        Q::seal(self.spot(index, Which::Request), length);
    }

    /// The reply in a slot.
    #[inline(always)]
    pub(crate) fn reply(&self, index: u64) -> R::Place<'_> {
        // SAFETY: `of` has asked whether it fits.
        unsafe { R::message(self.spot(index, Which::Reply)) }
    }

    /// Room for a reply of up to `length` bytes.
    #[inline(always)]
    pub(crate) fn reply_room(&self, index: u64, length: usize) -> R::Place<'_> {
        // SAFETY: `of` has asked whether it fits.
        unsafe { R::room(self.spot(index, Which::Reply), length) }
    }

    /// Notes how long the reply is.
    #[inline(always)]
    pub(crate) fn seal_reply(&self, index: u64, length: usize) {
        R::seal(self.spot(index, Which::Reply), length);
    }

    /// Copies a reply into a slot.
    #[inline(always)]
    pub(crate) fn write_reply(&self, index: u64, reply: &R::Sent<'_>)
    where
        R: NoUninit,
    {
        let length = R::length(reply).unwrap_or(0);
        R::write(self.reply_room(index, length), reply);
        self.seal_reply(index, length);
    }
}
