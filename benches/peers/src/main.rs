//! Compares Tombolo with other libraries, between threads of one process and
//! between processes, in the harness of `tombolo bench`.

// The harness and Tombolo's own subjects, as `tombolo bench` has them. It needs
// some of what is not used here.
#[allow(dead_code, unused_imports)]
#[path = "../../../crates/bench/src/harness/mod.rs"]
mod harness;
#[allow(dead_code, unused_imports)]
#[path = "../../../crates/bench/src/subjects"]
mod ours {
    pub(crate) mod bare;
    pub(crate) mod queues;
    pub(crate) mod raw;
    pub(crate) mod raw_broadcast;
    pub(crate) mod raw_mpmc;
    pub(crate) mod raw_numbered;
    pub(crate) mod stream;
    pub(crate) mod threads;
    pub(crate) mod tombolo;
    pub(crate) mod wake;

    pub(crate) use bare::{BEST_EXCHANGE, EXCHANGES};
    pub(crate) use raw::{BEST_RING, RINGS, RINGS_ALONE};
    pub(crate) use raw_broadcast::{BEST_SEQLOCK, RELIABLE_RING, SEQLOCKS};
    pub(crate) use wake::{BEST_WAKE, WAKES};

    /// Tombolo, and what it is measured against.
    pub(crate) fn all() -> Vec<Box<dyn crate::harness::Subject>> {
        let all = [
            bare::all(),
            raw::all(),
            raw_broadcast::all(),
            raw_mpmc::all(),
            raw_numbered::all(),
            tombolo::all(),
            wake::all(),
            stream::all(),
            queues::all(),
        ];
        all.into_iter().flatten().collect()
    }
}

mod groups;
mod publish;
mod standing;
mod subjects;
mod versions;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use tombolo_cli::{failure, signals, terms, words};

use failure::Failure;
use groups::Which;
use harness::{Scale, driver, worker};

/// Measures Tombolo beside other libraries' channels, between threads and
/// between processes.
#[derive(Debug, Parser)]
#[command(
    name = "peers",
    after_help = "Each case names its limit; the last table says how often \
as good as each peer Tombolo is. Leave the machine alone meanwhile."
)]
struct Args {
    /// What to measure [default: everything]
    #[arg(value_name = "GROUP")]
    groups: Vec<Which>,
    #[command(flatten)]
    options: driver::Options,
    /// Measure nothing: write the figures of earlier reports, of this program and of
    /// `tombolo bench` on the same machine, into docs/figures, and those of all makes
    /// of processor there into the README and docs/benchmarks.md
    #[arg(
        long,
        value_name = "REPORT",
        num_args = 0..,
        conflicts_with_all = ["groups", "quick", "json", "report"],
    )]
    publish: Option<Vec<PathBuf>>,
}

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let done = match (args.next().as_deref(), args.next()) {
        (Some("bench-worker"), Some(orders)) => worker::run(&orders, &subjects::all()),
        _ => run(&Args::parse()),
    };
    let Err(failure) = done else {
        return ExitCode::SUCCESS;
    };
    if let Some(message) = failure.message() {
        terms::remark(message);
    }
    ExitCode::from(failure.status())
}

fn run(args: &Args) -> Result<(), Failure> {
    if let Some(reports) = &args.publish {
        return publish::publish(&publish::project(), reports);
    }
    subjects::sweep();
    if let Some(missing) = subjects::missing() {
        terms::remark(missing);
    }
    let wanted = |group: &&Which| args.groups.is_empty() || args.groups.contains(group);
    let groups = |scale: &Scale| {
        let all = Which::value_variants().iter().filter(wanted);
        all.map(|&group| groups::of(group, scale)).collect()
    };
    let outcomes = driver::run(&args.options, &subjects::all(), groups, versions::all())?;
    terms::print(&if args.options.json {
        driver::json(standing::records(&outcomes))?
    } else {
        standing::table(&outcomes)
    })
}
