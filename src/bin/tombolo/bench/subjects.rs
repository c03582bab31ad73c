//! What is measured: each mechanism, used as its own manual says.

mod raw;
mod stream;
mod tombolo;

use super::harness::Subject;

/// All of them.
pub(crate) fn all() -> Vec<Box<dyn Subject>> {
    let mut all = Vec::new();
    all.extend(raw::all());
    all.extend(tombolo::all());
    all.extend(stream::all());
    all
}
