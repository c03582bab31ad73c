//! The version of each peer, from the lockfile.

use crate::harness::driver::Version;

/// The version of a package, as the lockfile has it.
macro_rules! version {
    ($package:literal) => {
        env!(concat!("VERSION_", $package))
    };
}
pub(crate) use version;

/// All of them, for the report.
pub(crate) fn all() -> Vec<Version> {
    let known = [
        ("tombolo", version!("tombolo")),
        ("std", version!("std")),
        ("rtrb", version!("rtrb")),
        ("crossbeam-queue", version!("crossbeam_queue")),
        ("crossbeam-channel", version!("crossbeam_channel")),
        ("kanal", version!("kanal")),
        ("flume", version!("flume")),
        ("shaq", version!("shaq_4")),
        ("shaq 3", version!("shaq_3")),
        ("ringfire", version!("ringfire")),
        ("tokio", version!("tokio")),
        ("bus", version!("bus")),
        ("disruptor", version!("disruptor")),
        ("iceoryx2", version!("iceoryx2")),
        ("ipc-channel", version!("ipc_channel")),
    ];
    let boost = option_env!("VERSION_boost").unwrap_or("not found");
    let known = known.map(|(name, version)| (name, version.to_owned()));
    known.into_iter().chain([("boost", boost.to_owned())]).collect()
}
