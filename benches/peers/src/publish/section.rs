//! The section of figures: the goals, and for every case each way to use Tombolo
//! beside each other subject.

use std::fmt::Write;

use super::{Run, demands};
use crate::harness::beside::Beside;
use crate::harness::records::Outcome;
use crate::harness::table::{amount, heading, short};
use crate::standing::{mark, others, ways};

pub(super) fn of(runs: &[Run], provenance: &[String]) -> String {
    let mut text = String::from("### Goals\n\n");
    text += &demands::table(runs);
    text += "\nMedians and ranges are of the ratios within rounds. Between two cases, they are of \
             the ratio of the medians, with the widest range that the two ranges allow. For times, \
             2 means twice as long; for rates, twice as many. `–`: not measured.\n";
    for (run, provenance) in runs.iter().zip(provenance) {
        let _ = writeln!(text, "\n### All cases\n\n{provenance}");
        for outcome in &run.outcomes {
            case(&mut text, outcome);
        }
    }
    text
}

/// A case, if Tombolo is in it.
fn case(text: &mut String, outcome: &Outcome) {
    let (ways, others) = (ways(outcome), others(outcome));
    if ways.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n**{}: {}**\n", outcome.group, outcome.case);
    let heads: String = ways.iter().map(|way| format!(" {way} |")).collect();
    let _ = writeln!(text, "| |{heads}\n|---|{}", "---:|".repeat(ways.len()));
    for other in others {
        let cells: String = ways.iter().map(|way| cell(outcome.beside(way, other))).collect();
        let _ = writeln!(text, "| {other} |{cells}");
    }
    // How often samples were taken again is not among them.
    let method: Vec<String> = outcome
        .method()
        .iter()
        .filter(|record| record.metric != "samples_taken_again")
        .map(|record| {
            let [median, most] =
                [record.median, record.max].map(|value| amount(value, &record.unit));
            format!("{} {median}, at most {most}", heading(&record.metric))
        })
        .collect();
    let _ = writeln!(text, "\nRounds: {}; {}.", outcome.rounds.len(), method.join("; "));
    for (subject, why) in &outcome.failed {
        let _ = writeln!(text, "\n{subject} was left out: {why}.");
    }
}

fn cell(beside: Option<Beside>) -> String {
    beside.map_or(" – |".to_owned(), |beside| {
        let [median, least, most] = [beside.median, beside.least, beside.most].map(short);
        format!(" {median} ({least}–{most}) {} |", mark(&beside))
    })
}
