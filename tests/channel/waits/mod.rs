//! How a wait ends, and what its caller is told.

#![allow(unsafe_code)]

mod bound;
mod cancelled;
mod known;
mod refused;
mod told;

use tombolo::Segment;

use crate::common::Name;

/// A segment of this user's alone.
fn market() -> (Name, Segment) {
    let name = Name::new();
    let options = Segment::options().size(1 << 20).participants(8).channels(64);
    let segment = options.create(&name).unwrap();
    (name, segment)
}
