//! What the micro-benchmarks share: how they are told, whose processes and
//! objects they use, and the ways through a queue that they compare.

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

/// What follows the program's name, if it was started by itself as a `role`;
/// objects are kept in between.
pub(crate) fn orders(role: &str) -> Option<Vec<String>> {
    let mut arguments = std::env::args().skip(1);
    let first = arguments.next()?;
    let rest: Vec<String> = arguments.collect();
    if first == kept::ROLE {
        kept::keep(&rest);
        std::process::exit(0);
    }
    (first == role).then_some(rest)
}
