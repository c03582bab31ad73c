//! How a wait ends, and what is told of it.

#![allow(unsafe_code)]

#[path = "../common/mod.rs"]
mod common;

mod bound;
mod cancelled;
mod known;
mod refused;

use tombolo::Segment;

use common::{Brief, Name};

/// A segment of this user's alone.
fn market() -> (Name, Segment) {
    let name = Name::new();
    let options = Segment::options().size(1 << 20).participants(8).channels(64);
    let segment = options.create(&name).unwrap();
    (name, segment)
}

#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    let segment = Segment::open(brief.text(0)).unwrap();
    let known = bound::acts(&brief, &segment) || refused::acts(&brief, segment);
    assert!(known, "{}", brief.role);
}
