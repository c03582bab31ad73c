//! How a wait ends, and what is told of it.

#![allow(unsafe_code)]

#[path = "../common/mod.rs"]
mod common;

mod bound;
mod cancelled;
mod known;
mod refused;

use tombolo::Segment;

use common::Brief;

#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    let segment = Segment::open(brief.text(0)).unwrap();
    let known = bound::acts(&brief, &segment) || refused::acts(&brief, segment);
    assert!(known, "{}", brief.role);
}
