//! The memory of a segment: its format, references to its words, and copies of
//! the messages in it.
//!
//! A reference into shared memory is made here and in the storage of a
//! [kind](crate::kinds), nowhere else.

mod cells;
mod copy;
mod copy_out;
pub(crate) mod fetch;
pub(crate) mod layout;
mod memory;
mod region;
mod shared;

pub(crate) use cells::{Block, Cells, Slotted, View};
pub(crate) use copy_out::{CopyOut, append};
pub(crate) use layout::{RingKind, Shape};
pub(crate) use memory::Memory;
pub(crate) use region::{ByteSpan, ElementBytes, Elements};
