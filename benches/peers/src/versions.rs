//! Which version of each peer this is, by the lockfile.

use crate::bench::harness::driver::Version;

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
        ("shaq", version!("shaq")),
        ("ringfire", version!("ringfire")),
        ("iceoryx2", version!("iceoryx2")),
        ("ipc-channel", version!("ipc_channel")),
    ];
    known.map(|(name, version)| (name, version.to_owned())).into()
}
