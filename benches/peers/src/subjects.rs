//! The peers, each used as its own documentation says.

mod array_queue;
mod between_threads;
mod files;
mod iceoryx2;
mod ipc_channel;
mod ringfire;
mod rtrb;
mod shaq;

use crate::bench::harness::Subject;

pub(crate) use array_queue::{ARRAY_QUEUE, ARRAY_QUEUE_YIELDING};
pub(crate) use iceoryx2::{ICEORYX2, ICEORYX2_EVENTS};
pub(crate) use ipc_channel::IPC_CHANNEL;
pub(crate) use ringfire::{RINGFIRE, RINGFIRE_BATCHES, RINGFIRE_WAITING};
pub(crate) use rtrb::{RTRB, RTRB_CHUNKS};
pub(crate) use shaq::{
    SHAQ, SHAQ_BATCHES, SHAQ_MPMC, SHAQ_MPMC_BATCHES, SHAQ_MPMC_WAITING, SHAQ_WAITING,
};

/// Everything that can be measured here.
pub(crate) fn all() -> Vec<Box<dyn Subject>> {
    let all = [
        crate::bench::subjects::all(),
        rtrb::all(),
        array_queue::all(),
        shaq::all(),
        ringfire::all(),
        iceoryx2::all(),
        ipc_channel::all(),
    ];
    all.into_iter().flatten().collect()
}

/// What cannot, and why.
pub(crate) fn missing() -> Vec<String> {
    Vec::new()
}
