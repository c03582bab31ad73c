//! Writes the figures in the documents from the samples of earlier runs: the
//! README's plot and table, and the section of `docs/benchmarks.md`.

mod demands;
mod libraries;
mod pages;
mod plot;
mod samples;
mod section;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::records::Outcome;
use crate::harness::report::{FAILURES, MACHINE, SAMPLES};
use crate::failure::Failure;

const README: &str = "README.md";
const PAGE: &str = "docs/benchmarks.md";
const PLOT: &str = "docs/figures/throughput.svg";

/// The measurements of a run, and its machine.
struct Run {
    machine: Vec<(String, String)>,
    outcomes: Vec<Outcome>,
}

impl Run {
    fn read(folder: &Path) -> Result<Self, Failure> {
        let read = |name: &str| {
            let path = folder.join(name);
            let cannot =
                |error| Failure::unusable(format!("cannot read {}", path.display()), error);
            fs::read_to_string(&path).map_err(cannot)
        };
        let machine = samples::read_machine(&read(MACHINE)?);
        let mut outcomes = samples::read(&read(SAMPLES)?)?;
        samples::read_failures(&read(FAILURES)?, &mut outcomes);
        Ok(Self { machine, outcomes })
    }

    /// Date, machine and version, in a line.
    fn provenance(&self) -> String {
        let named = |name: &str| {
            let found = self.machine.iter().find(|(what, _)| what == name);
            found.map_or("unknown", |(_, how)| how.as_str())
        };
        let version = match named("tombolo") {
            "unknown" => named("version"),
            version => version,
        };
        format!(
            "Measured {}: tombolo {version}; {}; processors: {}; Linux {}.",
            named("date"),
            named("processor"),
            named("processors"),
            named("kernel"),
        )
    }
}

/// A case, in each run that has it.
fn cases<'a>(runs: &'a [Run], group: &str, case: &str) -> impl Iterator<Item = &'a Outcome> {
    let outcomes = runs.iter().flat_map(|run| &run.outcomes);
    outcomes.filter(move |outcome| outcome.group == group && outcome.case == case)
}

/// The project whose documents they are.
pub(crate) fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Writes the figures that reports in these folders have into the documents of
/// a project. Nothing is written before all of it can be.
pub(crate) fn publish(project: &Path, reports: &[PathBuf]) -> Result<(), Failure> {
    let runs: Vec<Run> =
        reports.iter().map(|folder| Run::read(folder)).collect::<Result<_, _>>()?;
    let provenance: Vec<String> = runs.iter().map(Run::provenance).collect();
    let readme = format!(
        "![{}]({PLOT})\n\n{}\n\n{}",
        plot::TITLE,
        libraries::table(&runs),
        provenance.first().map_or("", String::as_str)
    );
    let texts = [
        (README, pages::replaced(project, README, &readme)?),
        (PAGE, pages::replaced(project, PAGE, &section::of(&runs, &provenance))?),
        (PLOT, plot::of(&runs)?),
    ];
    for (name, text) in texts {
        pages::write(&project.join(name), &text)?;
    }
    Ok(())
}
