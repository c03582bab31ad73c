//! A whole run: takes cases, and writes text, JSON and a report.

use std::path::PathBuf;

use clap::value_parser;
use serde::Serialize;

use super::case::Group;
use super::conductor::Conductor;
use super::records::{Outcome, Record};
use super::scale::Scale;
use super::subject::Subject;
use super::{machine, report, table, terminal};
use crate::failure::Failure;

/// How a run is wanted.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Fewer cases, rounds and messages: less than three minutes
    #[arg(long)]
    pub(crate) quick: bool,
    /// Print a JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
    /// Write a page with plots, the plots as SVG and the samples as CSV
    #[arg(long, value_name = "DIR")]
    pub(crate) report: Option<PathBuf>,
    /// Only the cases whose names contain this
    #[arg(long, value_name = "TEXT")]
    pub(crate) case: Option<String>,
    /// Show no progress
    #[arg(long)]
    pub(crate) quiet: bool,
    /// How many rounds
    #[arg(long, hide = true, value_parser = value_parser!(u16).range(1..=1_000))]
    pub(crate) rounds: Option<u16>,
    /// How many milliseconds a sample is to take
    #[arg(long, hide = true, value_parser = value_parser!(u16).range(1..=10_000))]
    pub(crate) span: Option<u16>,
}

/// A name and a version that belong to the figures.
pub(crate) type Version = (&'static str, String);

/// Measures, and shows each case as soon as it is done.
pub(crate) fn run(
    options: &Options,
    subjects: &[Box<dyn Subject>],
    groups: impl FnOnce(&Scale) -> Vec<Group>,
    versions: Vec<Version>,
) -> Result<Vec<Outcome>, Failure> {
    options.report.as_deref().map_or(Ok(()), report::make)?;
    let scale = Scale::new(options);
    let mut groups = groups(&scale);
    if let Some(part) = &options.case {
        groups.iter_mut().for_each(|group| group.cases.retain(|case| case.name.contains(part)));
        if groups.iter().all(|group| group.cases.is_empty()) {
            return Err(Failure::unusable(part, "no case of these groups has that in its name"));
        }
    }
    let conductor = Conductor::new(subjects, &groups, scale.care, options.quiet)?;
    let mut outcomes: Vec<Outcome> = Vec::new();
    for group in &groups {
        for case in &group.cases {
            let outcome = conductor.measure(group, case)?;
            conductor.print(&if options.json {
                json(outcome.records().into_iter().chain(outcome.method()).chain(outcome.beyond()))?
            } else {
                table::table(&outcome, terminal::width())
            })?;
            outcomes.push(outcome);
        }
    }
    conductor.end();
    if let Some(folder) = &options.report {
        let machine: Vec<_> =
            machine::description(&scale.cpus).into_iter().chain(versions).collect();
        report::write(folder, &machine, &outcomes)?;
    }
    Ok(outcomes)
}

/// A record, which belongs to a machine.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    record: Record,
    processor: &'a str,
}

/// Records, one a line.
pub(crate) fn json(records: impl IntoIterator<Item = Record>) -> Result<String, Failure> {
    let processor = &machine::processor();
    let lines = records.into_iter().map(|record| Line { record, processor });
    let lines: Result<Vec<String>, _> = lines.map(|line| serde_json::to_string(&line)).collect();
    Ok(lines.map_err(|error| Failure::broken("cannot print the result", error))?.join("\n"))
}
