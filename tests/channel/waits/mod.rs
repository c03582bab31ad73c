//! How a wait ends, and what its caller is told.

#![allow(unsafe_code)]

mod bound;
mod cancelled;
mod interrupted;
mod known;
mod one_processor;
mod refused;
mod told;

use tombolo::Segment;

use crate::common::Name;

/// A segment of this user's alone.
fn market() -> (Name, Segment) {
    crate::common::market(8, 64)
}
