//! Messages of one size: how a ring of them lies in memory, and how one is copied.

#![allow(unsafe_code)]

use core::ptr::NonNull;

use bytemuck::{CheckedBitPattern, NoUninit};

use super::message::Message;
use super::payload::{Form, Untyped};
use crate::storage::{Cells, CopyOut, ElementBytes, Elements, Shape, append};

/// A payload whose messages are elements of one size.
pub trait Element: Form {
    /// The elements from `first` on.
    ///
    /// # Safety
    /// `first` is an element in these cells, whose [shape](shape_of) is this
    /// payload's, and it is followed by the rest of `count` of them, each a stride behind
    /// the one before.
    unsafe fn place<'a>(cells: &'a Cells, first: NonNull<u8>, count: usize) -> Self::Place<'a>;

    /// Copies a message in. Only the owner of the place may.
    fn write(place: Self::Place<'_>, message: &Self::Sent<'_>)
    where
        Self: NoUninit;

    /// Copies messages in, as many as there are places for.
    fn write_slice(place: Self::Place<'_>, messages: &[Self::Sent<'_>])
    where
        Self: NoUninit;

    /// Copies a message out, whatever it is: a peer may be writing it.
    fn read(place: Self::Place<'_>, into: &mut Self::Out)
    where
        Self: CheckedBitPattern;

    /// Copies the messages out, to the end of `into`, up to the first that is not
    /// valid, or whose check panics.
    fn read_slice(place: Self::Place<'_>, into: &mut Vec<Self::Owned>)
    where
        Self: CheckedBitPattern;
}

/// The shape of slots with elements of this payload: that `of_type`, or what the cells
/// have, where the payload leaves its size to them.
#[inline(always)]
pub(super) const fn shape_of<E: Form>(of_type: Option<Shape>, cells: &Cells) -> Option<Shape> {
    if E::SIZE.is_some() { of_type } else { Some(cells.shape()) }
}

impl<T: Message> Element for T {
    #[inline(always)]
    unsafe fn place<'a>(_: &'a Cells, first: NonNull<u8>, count: usize) -> Elements<'a, T> {
        // SAFETY: by the caller; the memory is attached as long as the cells are there.
        unsafe { Elements::new(first.cast(), count) }
    }

    #[inline(always)]
    fn write(place: Elements<'_, T>, message: &T)
    where
        T: NoUninit,
    {
        place.write(0, core::slice::from_ref(message));
    }

    #[inline(always)]
    fn write_slice(place: Elements<'_, T>, messages: &[T])
    where
        T: NoUninit,
    {
        place.write(0, messages);
    }

    #[inline(always)]
    fn read(place: Elements<'_, T>, into: &mut CopyOut<T>)
    where
        T: CheckedBitPattern,
    {
        into.land(place);
    }

    #[inline(always)]
    fn read_slice(place: Elements<'_, T>, into: &mut Vec<T>)
    where
        T: CheckedBitPattern,
    {
        append(place, into);
    }
}

impl Element for Untyped {
    unsafe fn place<'a>(cells: &'a Cells, first: NonNull<u8>, count: usize) -> ElementBytes<'a> {
        let size_and_stride = (cells.longest(), cells.shape().stride);
        // SAFETY: by the caller; the memory is attached as long as the cells are there.
        unsafe { ElementBytes::new(first, size_and_stride, count) }
    }

    fn write(place: ElementBytes<'_>, message: &&[u8]) {
        place.write(0, message);
    }

    fn write_slice(place: ElementBytes<'_>, messages: &[&[u8]]) {
        for (index, message) in messages.iter().enumerate() {
            place.write(index, message);
        }
    }

    fn read(place: ElementBytes<'_>, into: &mut Vec<u8>) {
        place.append_to(into);
    }

    fn read_slice(place: ElementBytes<'_>, into: &mut Vec<Vec<u8>>) {
        into.extend(place.each().map(|element| {
            let mut message = Vec::new();
            element.append_to(&mut message);
            message
        }));
    }
}
