//! The peers, each used as its own documentation says.

mod array_queue;
#[cfg(boost)]
mod boost;
mod channels;
mod files;
mod hubs;
mod iceoryx2;
mod ipc_channel;
mod ringfire;
mod rtrb;
mod shaq;
mod shaq3;

use crate::harness::Subject;

// For the cases that `tombolo bench` has, too.
pub(crate) use crate::ours::{BEST_SEQLOCK, BEST_WAKE, RELIABLE_RING, SEQLOCKS, WAKES};

pub(crate) use array_queue::{ARRAY_QUEUE, ARRAY_QUEUE_YIELDING};
pub(crate) use channels::{
    CROSSBEAM, CROSSBEAM_TRYING, FLUME, FLUME_TRYING, KANAL, KANAL_TRYING, STD, STD_TRYING,
};
pub(crate) use files::sweep;
pub(crate) use hubs::{BUS, BUS_TRYING, DISRUPTOR, TOKIO, TOKIO_TRYING};
pub(crate) use iceoryx2::{ICEORYX2, ICEORYX2_EVENTS};
pub(crate) use ipc_channel::IPC_CHANNEL;
pub(crate) use ringfire::{RINGFIRE, RINGFIRE_BATCHES, RINGFIRE_WAITING};
pub(crate) use rtrb::{RTRB, RTRB_CHUNKS};
pub(crate) use shaq::{
    SHAQ, SHAQ_BATCHES, SHAQ_MPMC, SHAQ_MPMC_BATCHES, SHAQ_MPMC_WAITING, SHAQ_WAITING,
};
pub(crate) use shaq3::{SHAQ_3, SHAQ_3_BATCHES};

/// Boost's, where it was found.
#[cfg(boost)]
pub(crate) const BOOST: &[&str] = &[boost::BOOST];
#[cfg(boost)]
pub(crate) const BOOST_TRYING: &[&str] = &[boost::BOOST_TRYING];
#[cfg(not(boost))]
pub(crate) const BOOST: &[&str] = &[];
#[cfg(not(boost))]
pub(crate) const BOOST_TRYING: &[&str] = &[];

/// Everything that can be measured here.
pub(crate) fn all() -> Vec<Box<dyn Subject>> {
    let all = [
        crate::ours::all(),
        rtrb::all(),
        array_queue::all(),
        shaq::all(),
        shaq3::all(),
        ringfire::all(),
        iceoryx2::all(),
        ipc_channel::all(),
        channels::all(),
        hubs::all(),
        #[cfg(boost)]
        boost::all(),
    ];
    all.into_iter().flatten().collect()
}

/// The subjects that cannot, and why.
pub(crate) fn missing() -> Option<&'static str> {
    (!cfg!(boost)).then_some(
        "skipped: boost::interprocess::message_queue: c++ or Boost's headers (libboost-dev) were \
         not found when this was built",
    )
}
