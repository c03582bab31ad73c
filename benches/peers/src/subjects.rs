//! The peers, each used as its own documentation says.

mod array_queue;
mod between_threads;
mod rtrb;

use crate::bench::harness::Subject;

pub(crate) use array_queue::{ARRAY_QUEUE, ARRAY_QUEUE_YIELDING};
pub(crate) use rtrb::{RTRB, RTRB_CHUNKS};

/// Everything that can be measured here.
pub(crate) fn all() -> Vec<Box<dyn Subject>> {
    let all = [crate::bench::subjects::all(), array_queue::all(), rtrb::all()];
    all.into_iter().flatten().collect()
}

/// What cannot, and why.
pub(crate) fn missing() -> Vec<String> {
    Vec::new()
}
