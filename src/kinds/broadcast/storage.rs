//! What is in the buffers: an element, or the length of a message and its bytes.

#![allow(unsafe_code)]

use bytemuck::{CheckedBitPattern, NoUninit};

use super::layout::{LENGTH, OF_BYTES, OF_ELEMENTS, apart};
use super::words::Board;
use crate::kinds::element::Element;
use crate::kinds::payload::{Bytes, Form};
use crate::storage::{ByteSpan, Cells, View};
use crate::sync::{AtomicU64, Ordering};

/// A payload as the buffers hold it.
///
/// All copies are made of relaxed accesses: a subscriber that publishers do not wait for
/// may copy a buffer out while a publisher writes there. It discards such a copy.
pub trait Buffered: Form {
    /// Whether the buffers are of this payload.
    fn fits(cells: &Cells) -> bool;

    /// Room for a message of up to `length` bytes.
    fn room(board: &Board, buffer: u64, length: usize) -> Self::Place<'_>;

    /// The message that is there.
    fn message(board: &Board, buffer: u64) -> Self::Place<'_>;

    /// Notes how long the message is.
    fn seal(board: &Board, buffer: u64, length: usize);

    /// Copies a message in.
    fn write(board: &Board, buffer: u64, message: &Self::Sent<'_>)
    where
        Self: NoUninit;

    /// Copies the message out, whatever it is.
    fn read(board: &Board, buffer: u64, into: &mut Self::Out)
    where
        Self: CheckedBitPattern;
}

/// From one buffer of an element to the next: by the type, or by the channel.
#[inline(always)]
const fn distance<E: Element>(cells: &Cells) -> usize {
    let of_type = const {
        match E::SIZE {
            Some(size) => apart(size, E::ALIGN),
            None => None,
        }
    };
    match of_type {
        Some(apart) => apart,
        None => cells.apart(),
    }
}

impl<E: Element> Buffered for E {
    fn fits(cells: &Cells) -> bool {
        cells.kind() == OF_ELEMENTS.code
            && E::SIZE.is_none_or(|size| size == cells.longest())
            && distance::<E>(cells) == cells.apart()
    }

    #[inline(always)]
    fn room(board: &Board, buffer: u64, _: usize) -> E::Place<'_> {
        Self::message(board, buffer)
    }

    #[inline(always)]
    fn message(board: &Board, buffer: u64) -> E::Place<'_> {
        // SAFETY: `fits` has compared the distances.
        let first = unsafe { board.buffer(buffer, distance::<E>(board.cells())) };
        // SAFETY: a buffer is as large as an element, and aligned to it and to its unit.
        unsafe { E::place(board.cells(), first, 1) }
    }

    #[inline(always)]
    fn seal(_: &Board, _: u64, _: usize) {}

    #[inline(always)]
    fn write(board: &Board, buffer: u64, message: &E::Sent<'_>)
    where
        E: NoUninit,
    {
        <E as Element>::write(<E as Buffered>::message(board, buffer), message);
    }

    #[inline(always)]
    fn read(board: &Board, buffer: u64, into: &mut E::Out)
    where
        E: CheckedBitPattern,
    {
        <E as Element>::read(<E as Buffered>::message(board, buffer), into);
    }
}

impl Bytes {
    /// The length of the message in a buffer.
    #[inline(always)]
    fn length(board: &Board, buffer: u64) -> &AtomicU64 {
        // SAFETY: the distance is that of the cells.
        let first = unsafe { board.buffer(buffer, board.cells().apart()) };
        // SAFETY: a buffer of bytes begins with a word, which is only ever one.
        unsafe { first.cast::<AtomicU64>().as_ref() }
    }
}

impl Buffered for Bytes {
    fn fits(cells: &Cells) -> bool {
        cells.kind() == OF_BYTES.code
    }

    #[inline(always)]
    fn room(board: &Board, buffer: u64, length: usize) -> ByteSpan<'_> {
        let length = length.min(board.cells().longest());
        // SAFETY: the distance is that of the cells.
        let first = unsafe { board.buffer(buffer, board.cells().apart()) };
        // SAFETY: a buffer of bytes begins with a word.
        let first = unsafe { first.add(LENGTH) };
        // SAFETY: the buffer has room for the longest message, made up to words.
        unsafe { ByteSpan::new(first, length) }
    }

    #[inline(always)]
    fn message(board: &Board, buffer: u64) -> ByteSpan<'_> {
        let length = Self::length(board, buffer).load(Ordering::Relaxed);
        Self::room(board, buffer, usize::try_from(length).unwrap_or(usize::MAX))
    }

    #[inline(always)]
    fn seal(board: &Board, buffer: u64, length: usize) {
        // Relaxed: as the bytes of the message.
        Self::length(board, buffer).store(length as u64, Ordering::Relaxed);
    }

    #[inline(always)]
    fn write(board: &Board, buffer: u64, message: &&[u8]) {
        Self::room(board, buffer, message.len()).fill(message);
        Self::seal(board, buffer, message.len());
    }

    #[inline(always)]
    fn read(board: &Board, buffer: u64, into: &mut Vec<u8>) {
        Self::message(board, buffer).append_to(into);
    }
}
