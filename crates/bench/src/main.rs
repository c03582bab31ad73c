//! `tombolo bench`: compares Tombolo's speed with every other way between
//! processes that Linux has, and with what the hardware allows.
//!
//! The [`harness`] decides how to measure, [`subjects`] has the things that are
//! measured, and [`groups`] decides which of them are compared.

mod groups;
mod harness;
mod subjects;

use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use tombolo_cli::{failure, shell, signals, terms, words};

use failure::Failure;
use harness::{Scale, driver, worker};

/// Measures Tombolo beside the other ways between processes.
#[derive(Debug, Parser)]
#[command(
    name = "tombolo-bench",
    bin_name = "tombolo bench",
    version,
    after_help = "Examples:
  tombolo bench --quick
  tombolo bench throughput latency --quick --json
  tombolo bench --report figures

Each case names its limit, what the same machine does at the same time without
any of the guarantees; the other figures are also given as ratios to it. Leave
the machine alone meanwhile."
)]
struct Args {
    /// The groups to measure [default: all]
    #[arg(value_name = "GROUP")]
    groups: Vec<Which>,
    #[command(flatten)]
    options: driver::Options,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Which {
    /// The machine's own limits
    Limits,
    /// How long an exchange takes
    Latency,
    /// How long a call takes, beside two messages and two wake-ups
    Calls,
    /// Messages and bytes a second
    Throughput,
    /// Several processes at each end
    Contention,
    /// One or several to all of several
    Broadcast,
    /// Both ends in one thread, and the cost of handles
    Alone,
    /// What it costs to wait for messages with gaps
    Idle,
    /// Waiting for any of many handles
    Sets,
    /// How long a death holds the living up
    Recovery,
    /// Making a segment, and joining one
    Attach,
}

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    if let (Some("bench-worker"), Some(orders)) = (args.next().as_deref(), args.next()) {
        return shell::end(worker::run(&orders, &subjects::all()));
    }
    signals::heed_children();
    shell::end(match shell::parse() {
        Ok(args) => run(&args),
        Err(error) => shell::misused(&error),
    })
}

/// Measures.
fn run(args: &Args) -> Result<(), Failure> {
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
