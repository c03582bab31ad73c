//! Both ends in one thread: what messages and handles cost where no cache line moves and
//! nothing waits.

use super::{Scale, bars};
use crate::harness::carry::batch;
use crate::harness::{Case, Group, Setting, Shape};
use crate::subjects::{BEST_RING, RINGS_ALONE};

const ONE_AT_A_TIME: &[&str] = &[
    "tombolo SPSC",
    "tombolo SPSC, in place",
    "tombolo SPSC bytes",
    "tombolo SPSC bytes, in place",
    "tombolo MPMC",
    "tombolo MPMC, in place",
    "tombolo MPMC bytes",
    "tombolo MPMC bytes, in place",
    "sync_channel of std, between threads",
];

const BATCHED: &[&str] =
    &["tombolo SPSC, batches", "tombolo SPSC, slices in place", "tombolo MPMC, batches"];

const CLONES: &[&str] = &[
    "Arc, clone",
    "SyncSender of std, clone",
    "tombolo MPMC sender, try_clone",
    "tombolo MPMC receiver, try_clone",
];

const VISITS: &[&str] = &[
    "tombolo MPMC, one handle",
    "tombolo MPMC, handles in turns",
    "tombolo MPMC, a fresh handle each",
];

pub(super) fn group(scale: &Scale) -> Group {
    let alone = Setting { shape: Shape::Alone, ..scale.alone() };
    let mut cases = Vec::new();
    for size in [8, 64] {
        let single = Setting { words: size / 8, ..alone.clone() };
        let batched = Setting { batch: batch(single.slots), ..single.clone() };
        for (setting, subjects) in [(single, ONE_AT_A_TIME), (batched, BATCHED)] {
            let case = Case::carry(size, "one thread", &setting, subjects);
            cases.push(case.limited(BEST_RING, RINGS_ALONE));
        }
    }
    cases.push(bars("clone a handle and drop it", &scale.alone(), CLONES));
    cases.push(bars("receive by the handles of a pool", &scale.alone(), VISITS));
    Group { name: "alone", cases }
}
