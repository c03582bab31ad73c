//! Compares Tombolo with its peers: for every case, each way to use Tombolo
//! against each peer, as ratios within rounds.

use std::fmt::Write;

use crate::harness::beside::Beside;
use crate::harness::records::{Outcome, Record};
use crate::harness::table::short;

fn ours(subject: &str) -> bool {
    subject.starts_with("tombolo ")
}

pub(crate) fn ways(outcome: &Outcome) -> Vec<&str> {
    outcome.subjects.iter().map(String::as_str).filter(|subject| ours(subject)).collect()
}

pub(crate) fn others(outcome: &Outcome) -> Vec<&str> {
    outcome.subjects.iter().map(String::as_str).filter(|subject| !ours(subject)).collect()
}

/// The same as lines of the output.
pub(crate) fn records(outcomes: &[Outcome]) -> Vec<Record> {
    let mut records = Vec::new();
    for outcome in outcomes {
        for (way, other) in ways(outcome)
            .iter()
            .flat_map(|way| others(outcome).into_iter().map(move |other| (way, other)))
        {
            if let Some(beside) = outcome.beside(way, other) {
                records.push(outcome.compared(way, &format!("beside {other}"), &beside));
            }
        }
    }
    records
}

/// A mark for what all rounds agree on.
pub(crate) fn mark(beside: &Beside) -> char {
    match (beside.rounds, beside.least > 1.0, beside.most < 1.0) {
        (0 | 1, ..) => '?',
        (_, true, _) => '+',
        (_, _, true) => '-',
        _ => '~',
    }
}

/// The least width of a cell.
const CELL: usize = 8;

/// The same for people.
pub(crate) fn table(outcomes: &[Outcome]) -> String {
    let mut text = String::from(
        "How often as good Tombolo is as the others (median of the ratios within rounds;\n\
         + better in every round, - worse in every round, ~ neither, ? one round only)\n",
    );
    for outcome in outcomes {
        let _ = writeln!(text, "\n{}: {}", outcome.group, outcome.case);
        let (ways, others) = (ways(outcome), others(outcome));
        let width = others.iter().map(|other| other.chars().count()).max().unwrap_or(0);
        let heads: Vec<&str> = ways.iter().map(|way| way.trim_start_matches("tombolo ")).collect();
        let _ = write!(text, "  {:width$}", "");
        heads.iter().for_each(|head| text += &format!("  {head:>CELL$}"));
        for other in others {
            let _ = write!(text, "\n  {other:width$}");
            for (way, head) in ways.iter().zip(&heads) {
                let cell = outcome.beside(way, other);
                let cell = cell.map(|beside| format!("{} {}", short(beside.median), mark(&beside)));
                let wide = head.chars().count().max(CELL);
                let _ = write!(text, "  {:>wide$}", cell.unwrap_or_default());
            }
        }
        text.push('\n');
    }
    text
}
