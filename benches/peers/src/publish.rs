//! Writes the figures in the documents from the samples of earlier runs: a folder for
//! each make of processor, and from these folders the README's plots and table, and the
//! goals in `docs/benchmarks.md`, with the makes side by side.

mod demands;
mod figures;
mod libraries;
mod pages;
mod plot;
mod samples;
mod section;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::harness::records::Outcome;
use crate::harness::report::{FAILURES, MACHINE, SAMPLES};
use figures::Figures;

const README: &str = "README.md";
const PAGE: &str = "docs/benchmarks.md";
/// Has a folder for each make.
const FIGURES: &str = "docs/figures";
/// Not measured.
const MISSING: &str = "–";

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

    /// The make of its processor.
    fn make(&self) -> String {
        let found = self.machine.iter().find(|(what, _)| what == "processor");
        figures::make(found.map_or("unknown", |(_, how)| how))
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

/// Writes the figures that reports in these folders, all of one machine, have into the
/// documents of a project, beside those of other makes; without a report, only those.
/// Nothing is written before all of it can be.
pub(crate) fn publish(project: &Path, reports: &[PathBuf]) -> Result<(), Failure> {
    let runs: Vec<Run> =
        reports.iter().map(|folder| Run::read(folder)).collect::<Result<_, _>>()?;
    let folder = Path::new(FIGURES);
    let mut all = Figures::all(&project.join(folder))?;
    let mut texts: Vec<(PathBuf, String)> = Vec::new();
    if !runs.is_empty() {
        let figures = Figures::of(&runs)?;
        all.retain(|other| other.make != figures.make);
        let own = folder.join(figures.folder());
        texts.extend(figures.files().into_iter().map(|(name, text)| (own.join(name), text)));
        all.push(figures);
    }
    all.sort_by(|one, other| one.make.cmp(&other.make));
    for (name, text) in [(README, figures::readme(&all)), (PAGE, figures::goals(&all))] {
        texts.push((name.into(), pages::replaced(project, name, &text)?));
    }
    for (name, text) in texts {
        pages::write(&project.join(name), &text)?;
    }
    Ok(())
}
