//! All cases of a make: each way to use Tombolo beside each other subject.

use std::fmt::Write;

use super::Run;
use crate::harness::beside::Beside;
use crate::harness::records::Outcome;
use crate::harness::table::{amount, heading, short};
use crate::standing::{mark, others, ways};

/// The page of a make.
pub(super) fn of(make: &str, runs: &[Run], provenance: &[String]) -> String {
    let mut text = format!(
        "# All cases on {make}\n\nHow often as good each way to use Tombolo is as each other \
         subject: medians, and ranges, of the ratios within rounds. `+`: better in every round; \
         `-`: worse in every round; `~`: neither; `?`: one round. [How it was \
         measured](../../benchmarks.md#how-it-is-measured).\n"
    );
    for (run, provenance) in runs.iter().zip(provenance) {
        let _ = writeln!(text, "\n{provenance}");
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
    // Counts of samples and rounds are not among them.
    let method: Vec<String> = outcome
        .method()
        .iter()
        .filter(|record| record.unit != "1")
        .map(|record| {
            let [median, most] =
                [record.median, record.max].map(|value| amount(value, &record.unit));
            format!("{} {median}, at most {most}", heading(&record.metric))
        })
        .collect();
    let _ = writeln!(text, "\nRounds: {}; {}.", outcome.rounds.len(), method.join("; "));
    if outcome.moved() > 0 {
        text.push_str("\nThe processors moved in each round: the ratios are less certain.\n");
    }
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
