//! The memory of a segment: its format, references to its words, and copies of
//! the messages in it; and the names of what is in it, which the errors use too.
//!
//! A reference into shared memory is made here and in the storage of a
//! [kind](crate::kinds), nowhere else.

mod cells;
pub(crate) mod copy;
mod copy_out;
pub(crate) mod fetch;
pub(crate) mod layout;
mod memory;
mod operating_state;
mod peer;
mod region;
pub(crate) mod report;
mod shared;
mod side;

pub(crate) use cells::{Cells, KindCode, View};
pub(crate) use copy_out::{CopyOut, append};
pub(crate) use layout::Shape;
pub(crate) use memory::Memory;
pub use operating_state::OperatingState;
pub use peer::Peer;
pub(crate) use region::{ByteSpan, ElementBytes, Elements};
pub use report::Finding;
pub use side::Side;
