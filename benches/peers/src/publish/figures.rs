//! The figures of one make of processor, as they are kept in its folder; and what the
//! documents say of all makes, side by side.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use super::samples::{fields, quoted};
use super::{FIGURES, MISSING, Run, demands, libraries, plot, section};
use crate::failure::Failure;

/// The files of a folder.
const TABLE: &str = "table.csv";
const GOALS: &str = "goals.csv";
const PROVENANCE: &str = "measured.txt";
const CASES: &str = "cases.md";
const PLOT: &str = "throughput.svg";

/// Rows of cells.
type Rows = Vec<Vec<String>>;

/// What the documents say of a make.
pub(super) struct Figures {
    /// Its name for people.
    pub(super) make: String,
    /// When and on what each run was.
    provenance: Vec<String>,
    table: Rows,
    goals: Rows,
    /// Kept, and not read again.
    pages: Vec<(&'static str, String)>,
}

/// The make that a description of a processor begins with: `Intel(R) Xeon(R) Processor,
/// family 6` is an Intel Xeon.
pub(super) fn make(processor: &str) -> String {
    let name = processor.split([',', '@']).next().unwrap_or_default();
    let name = name.replace("(R)", "").replace("(TM)", "").replace('"', "");
    let plain = |word: &&str| !["CPU", "Processor"].contains(word);
    name.split_whitespace().filter(plain).collect::<Vec<_>>().join(" ")
}

/// A make as the name of a folder.
fn folder(make: &str) -> String {
    let plain = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '-' };
    make.to_lowercase().chars().map(plain).collect()
}

fn written(rows: &Rows) -> String {
    let line = |row: &Vec<String>| {
        let cells: Vec<String> = row.iter().map(|cell| quoted(cell)).collect();
        cells.join(",") + "\n"
    };
    rows.iter().map(line).collect()
}

impl Figures {
    /// Those of runs on one machine.
    pub(super) fn of(runs: &[Run]) -> Result<Self, Failure> {
        let make = runs.first().map(Run::make).unwrap_or_default();
        if let Some(other) = runs.iter().map(Run::make).find(|other| *other != make) {
            let what = format!("the reports are of two makes, {make} and {other}");
            return Err(Failure::Unusable(what));
        }
        let provenance: Vec<String> = runs.iter().map(Run::provenance).collect();
        let pages = vec![(PLOT, plot::of(runs)?), (CASES, section::of(&make, runs, &provenance))];
        let (table, goals) = (libraries::table(runs), demands::table(runs));
        Ok(Self { make, provenance, table, goals, pages })
    }

    /// Those that are kept in the folders within this one.
    pub(super) fn all(within: &Path) -> Result<Vec<Self>, Failure> {
        let mut all = Vec::new();
        for entry in fs::read_dir(within).into_iter().flatten().flatten() {
            if entry.path().join(PROVENANCE).is_file() {
                all.push(Self::kept(&entry.path())?);
            }
        }
        Ok(all)
    }

    fn kept(folder: &Path) -> Result<Self, Failure> {
        let read = |name: &str| {
            let path = folder.join(name);
            let cannot =
                |error| Failure::unusable(format!("cannot read {}", path.display()), error);
            fs::read_to_string(&path).map_err(cannot)
        };
        let rows = |name| Ok(read(name)?.lines().map(fields).collect::<Rows>());
        let provenance = read(PROVENANCE)?;
        let mut provenance = provenance.lines().map(str::to_owned);
        let make = provenance.next().unwrap_or_default();
        let (table, goals) = (rows(TABLE)?, rows(GOALS)?);
        Ok(Self { make, provenance: provenance.collect(), table, goals, pages: Vec::new() })
    }

    /// The name of its folder.
    pub(super) fn folder(&self) -> String {
        folder(&self.make)
    }

    /// The files of its folder.
    pub(super) fn files(&self) -> Vec<(&'static str, String)> {
        let provenance = format!("{}\n{}\n", self.make, self.provenance.join("\n"));
        let mut files = self.pages.clone();
        files.push((TABLE, written(&self.table)));
        files.push((GOALS, written(&self.goals)));
        files.push((PROVENANCE, provenance));
        files
    }

    fn path(&self, name: &str) -> String {
        format!("{FIGURES}/{}/{name}", self.folder())
    }

    /// The cell of a table in the row and the column of these names.
    fn cell(&self, row: &str, title: &str) -> &str {
        let column = self.table.first().and_then(|head| head.iter().position(|one| one == title));
        let row = self.table.iter().find(|cells| cells.first().is_some_and(|name| name == row));
        let cell = row.zip(column).and_then(|(row, column)| row.get(column));
        cell.map_or(MISSING, String::as_str)
    }

    /// What was measured for a goal, and whether it was reached.
    fn goal(&self, goal: &[String]) -> String {
        match self.goals.iter().find(|row| row.starts_with(goal)).map(Vec::as_slice) {
            Some([_, _, measured, holds]) if measured != MISSING => format!("{measured}: {holds}"),
            _ => MISSING.to_owned(),
        }
    }
}

fn row(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

/// The README's part: a plot for each make, and one table.
pub(super) fn readme(all: &[Figures]) -> String {
    let mut text = String::new();
    for one in all {
        let _ = writeln!(text, "![{} ({})]({})\n", plot::TITLE, one.make, one.path(PLOT));
    }
    let makes: Vec<&str> = all.iter().map(|one| one.make.as_str()).collect();
    if makes.len() > 1 {
        let _ = writeln!(text, "In each cell: {}.\n", makes.join(" / "));
    }
    // Names of rows and columns: those of the first that has any.
    let shape = all.iter().map(|one| &one.table).max_by_key(|table| table.len());
    let head = shape.and_then(|table| table.first()).cloned().unwrap_or_default();
    text += &row(&head);
    let rule = head.iter().enumerate().map(|(nth, _)| if nth == 0 { "---" } else { "---:" });
    text += &row(&rule.map(str::to_owned).collect::<Vec<_>>());
    for name in shape.iter().flat_map(|table| &table[1..]).filter_map(|cells| cells.first()) {
        let cells = head.iter().skip(1).map(|title| {
            let cells: Vec<&str> = all.iter().map(|one| one.cell(name, title)).collect();
            if cells.iter().all(|cell| *cell == MISSING) {
                MISSING.to_owned()
            } else {
                cells.join(" / ")
            }
        });
        let cells: Vec<String> = [name.clone()].into_iter().chain(cells).collect();
        text += &row(&cells);
    }
    let _ = write!(text, "\n{}\n", libraries::LEGEND);
    for one in all {
        let _ = writeln!(text, "\n{}", one.provenance.first().map_or("", String::as_str));
    }
    text
}

/// The goals, with a column for each make; and where all cases are.
pub(super) fn goals(all: &[Figures]) -> String {
    let mut text = String::from("### Goals\n\n");
    let makes = all.iter().map(|one| one.make.clone());
    let head = ["case", "to reach"].map(str::to_owned).into_iter().chain(makes);
    let head: Vec<String> = head.collect();
    text += &row(&head);
    text += &row(&vec!["---".to_owned(); head.len()]);
    for goal in demands::table(&[]).iter().map(|row| &row[..2]) {
        let measured = all.iter().map(|one| one.goal(goal));
        let cells: Vec<String> = goal.iter().cloned().chain(measured).collect();
        text += &row(&cells);
    }
    text += "\nMedians and ranges are of the ratios within rounds. Between two cases, they are of \
             the ratio of the medians, with the widest range that the two ranges allow. For times, \
             2 means twice as long; for rates, twice as many. `–`: not measured.\n\n\
             ### All cases\n";
    for one in all {
        let path = one.path(CASES);
        let path = path.trim_start_matches("docs/");
        let _ = writeln!(text, "\n**[{}]({path})**\n", one.make);
        one.provenance.iter().for_each(|line| text += &format!("- {line}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_make_is_what_a_description_begins_with() {
        for (processor, name, path) in [
            ("Intel(R) Xeon(R) Processor, family 6 model 207", "Intel Xeon", "intel-xeon"),
            ("AMD EPYC, in a virtual machine", "AMD EPYC", "amd-epyc"),
            (
                "Intel(R) Xeon(R) Gold 6226R CPU @ 2.90GHz",
                "Intel Xeon Gold 6226R",
                "intel-xeon-gold-6226r",
            ),
            ("Some \"Processor\", in a virtual machine", "Some", "some"),
        ] {
            assert_eq!((make(processor).as_str(), folder(name).as_str()), (name, path));
        }
    }
}
