//! `tombolo bench`: how fast it is, beside every other way between processes
//! that Linux has, and beside what the hardware allows.
//!
//! What is measured how is in the [`harness`]; what there is to measure in
//! [`subjects`]; what is put side by side in [`groups`].

mod groups;
pub(crate) mod harness;
mod subjects;

use clap::ValueEnum;

use crate::failure::Failure;
use harness::{Scale, driver};

/// Measures Tombolo beside the other ways between processes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tombolo bench --quick
  tombolo bench throughput latency --quick --json
  tombolo bench --report figures

Each case names its limit, what the same machine does at the same time without
any of the guarantees; the other figures are also given as ratios to it. Leave
the machine alone meanwhile.")]
pub(crate) struct Args {
    /// What to measure [default: everything]
    #[arg(value_name = "GROUP")]
    groups: Vec<Which>,
    #[command(flatten)]
    options: driver::Options,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Which {
    /// What the machine itself can do
    Limits,
    /// How long an exchange takes
    Latency,
    /// Messages and bytes a second
    Throughput,
    /// Several processes at each end
    Contention,
    /// How long a death holds the living up
    Recovery,
    /// Making a segment, and joining one
    Attach,
}

/// Measures.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let wanted = |group: &&Which| args.groups.is_empty() || args.groups.contains(group);
    let groups = |scale: &Scale| {
        Which::value_variants()
            .iter()
            .filter(wanted)
            .map(|&group| groups::of(group, scale))
            .collect()
    };
    let version = ("version", env!("CARGO_PKG_VERSION").to_owned());
    driver::run(&args.options, &subjects::all(), groups, vec![version]).map(drop)
}

/// A worker of a sample.
pub(crate) mod worker {
    use super::{harness, subjects};
    use crate::failure::Failure;

    #[derive(Debug, clap::Args)]
    pub(crate) struct Args {
        orders: String,
    }

    pub(crate) fn run(args: &Args) -> Result<(), Failure> {
        harness::worker::run(&args.orders, &subjects::all())
    }
}
