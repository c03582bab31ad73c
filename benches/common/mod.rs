//! Shared by the micro-benchmarks: their arguments, their processes and kernel
//! objects, and the ways through a queue that they compare.

// Each of them uses some of it.
#![allow(dead_code, unused_imports)]

mod crew;
mod kept;
mod rounds;
mod ways;

pub(crate) use crew::{Worker, ready, say, settle};
pub(crate) use kept::{Kept, Plan};
pub(crate) use rounds::{Subject, Table, median};
pub(crate) use ways::{BATCH, Group, LAP, Ring, Way, groups, raw, trying};

/// The arguments behind the name of a `role`, if this program started itself as that.
/// As a keeper it does not return.
pub(crate) fn orders(role: &str) -> Option<Vec<String>> {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let first = words.first()?;
    if first == kept::ROLE {
        kept::keep(&words[1..]);
        std::process::exit(0);
    }
    (first == role).then(|| words.split_off(1))
}
