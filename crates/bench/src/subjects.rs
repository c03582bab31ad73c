//! The subjects: each mechanism, used as its own manual says.

mod attach;
mod bare;
mod calls;
mod handles;
mod queues;
mod raw;
mod raw_broadcast;
mod raw_mpmc;
mod raw_numbered;
mod recovery;
mod stream;
mod succession;
mod threads;
mod tombolo;
mod wake;

use super::harness::Subject;

pub(crate) use bare::{BEST_EXCHANGE, EXCHANGES};
pub(crate) use raw::{BEST_RING, RINGS, RINGS_ALONE};
pub(crate) use raw_broadcast::{BEST_SEQLOCK, RELIABLE_RING, SEQLOCKS};
pub(crate) use wake::{BEST_WAKE, WAKES};

/// All of them.
pub(crate) fn all() -> Vec<Box<dyn Subject>> {
    let all = [
        bare::all(),
        calls::all(),
        raw::all(),
        raw_broadcast::all(),
        raw_mpmc::all(),
        raw_numbered::all(),
        tombolo::all(),
        stream::all(),
        queues::all(),
        wake::all(),
        threads::all(),
        recovery::all(),
        succession::all(),
        attach::all(),
        handles::all(),
    ];
    all.into_iter().flatten().collect()
}
