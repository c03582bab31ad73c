//! The report: one self-contained page, its plots as files, and the samples.

mod chart;
mod glance;
mod page;
mod plots;
pub(crate) mod samples;

use std::fs;
use std::path::Path;

use super::records::Outcome;
use crate::failure::Failure;

/// The files to calculate with.
pub(crate) const SAMPLES: &str = "samples.csv";
pub(crate) const FAILURES: &str = "failures.csv";
pub(crate) const MACHINE: &str = "machine.csv";

/// Makes the folder, before anything is measured for it.
pub(crate) fn make(folder: &Path) -> Result<(), Failure> {
    fs::create_dir_all(folder).map_err(|error| {
        Failure::unusable(format!("cannot make the folder {}", folder.display()), error)
    })
}

/// Writes the report into its folder.
pub(crate) fn write(
    folder: &Path,
    machine: &[(&'static str, String)],
    outcomes: &[Outcome],
) -> Result<(), Failure> {
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text)
            .map_err(|error| Failure::unusable(format!("cannot write {}", path.display()), error))
    };
    let plots = plots::all(outcomes)?;
    for plot in &plots {
        write(&format!("{}.svg", plot.name), &plot.svg)?;
    }
    write(SAMPLES, &samples::text(outcomes))?;
    write(FAILURES, &samples::failures(outcomes))?;
    write(MACHINE, &samples::machine(machine))?;
    write("index.html", &page::page(machine, outcomes, &plots))
}
