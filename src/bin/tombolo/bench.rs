//! `tombolo bench`: how fast it is, beside every other way between processes
//! that Linux has, and beside what the hardware allows.
//!
//! What is measured how is in the [`harness`]; what there is to measure in
//! [`subjects`]; what is put side by side in [`groups`].

mod groups;
pub(crate) mod harness;
mod subjects;

use std::path::PathBuf;

use clap::{ValueEnum, value_parser};

use crate::failure::Failure;
use harness::Group;
use harness::conductor::Conductor;
use harness::records::Outcome;

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
    /// Fewer cases, rounds and messages: less than three minutes
    #[arg(long)]
    quick: bool,
    /// Print a JSON object a line
    #[arg(long)]
    json: bool,
    /// Write a page with plots, the plots as SVG and the samples as CSV
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Show no progress
    #[arg(long)]
    quiet: bool,
    /// How many rounds
    #[arg(long, hide = true, value_parser = value_parser!(u16).range(1..=1_000))]
    rounds: Option<u16>,
    /// How many milliseconds a sample is to take
    #[arg(long, hide = true, value_parser = value_parser!(u16).range(1..=10_000))]
    span: Option<u16>,
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
    args.report.as_deref().map_or(Ok(()), harness::report::make)?;
    let scale = groups::Scale::new(args.quick, args.rounds, args.span);
    let groups: Vec<Group> = Which::value_variants()
        .iter()
        .filter(|group| args.groups.is_empty() || args.groups.contains(group))
        .map(|&group| groups::of(group, &scale))
        .collect();
    let subjects = subjects::all();
    let conductor = Conductor::new(&subjects, &groups, scale.care, args.quiet)?;
    let mut outcomes: Vec<Outcome> = Vec::new();
    for group in &groups {
        for case in &group.cases {
            let outcome = conductor.measure(group, case)?;
            conductor.print(&if args.json {
                json(&outcome)?
            } else {
                harness::table::table(&outcome)
            })?;
            outcomes.push(outcome);
        }
    }
    conductor.end();
    let machine = harness::machine::description(&scale.cpus);
    match &args.report {
        Some(folder) => harness::report::write(folder, &machine, &outcomes),
        None => Ok(()),
    }
}

/// The lines of a case.
fn json(outcome: &Outcome) -> Result<String, Failure> {
    let records = outcome.records().into_iter().chain(outcome.method());
    let lines: Result<Vec<String>, _> =
        records.map(|record| serde_json::to_string(&record)).collect();
    Ok(lines.map_err(|error| Failure::broken("cannot print the result", error))?.join("\n"))
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
