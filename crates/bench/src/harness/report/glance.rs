//! What somebody sees who has not read how it was measured: a few questions, each with its answer in a
//! sentence and some bars.

use std::fmt::Write;

use super::super::records::{Outcome, Record};
use super::super::table::{amount, metrics, more_is_better, ranked, short};
use super::chart::is_ours;
use super::page::escaped;

/// What is asked, of the first case of a group that begins so.
const QUESTIONS: [(&str, &str, &str); 8] = [
    ("throughput", "8 B, 4 MiB, one at a time", "From one process to another, 8 bytes at a time"),
    ("throughput", "65536 B, 4 MiB, one at a time", "From one to another, frames of 64 KiB"),
    ("latency", "both busy, two processors", "A message there and one back, both awake"),
    ("latency", "both parked, two processors", "There and back, both asleep before"),
    ("contention", "4×4", "Four processes send, four receive, each message once"),
    ("broadcast", "1 to 4, reliable, 64 B", "One process publishes, four get everything, 64 bytes"),
    (
        "recovery",
        "from SIGKILL",
        "After kill -9, until another process has what the dead one held up",
    ),
    ("attach", "open, 1 MiB", "A process joins a segment"),
];

/// So many of the others are shown.
const OTHERS: usize = 4;

/// Writes the questions that were measured, and their answers.
pub(super) fn write(page: &mut String, outcomes: &[Outcome]) {
    let mut cards = String::new();
    for (group, case, question) in QUESTIONS {
        let asked = |it: &&Outcome| it.group == group && it.case.starts_with(case);
        if let Some(outcome) = outcomes.iter().find(asked) {
            card(&mut cards, outcome, question);
        }
    }
    if cards.is_empty() {
        return;
    }
    let _ = writeln!(
        page,
        "<h2>At a glance</h2>\n<div class=\"cards\">\n{cards}</div>\n<p class=\"key\">Each bar is the middle of all \
         rounds. Where the bars are rates, longer is better; where they are times, shorter is.</p>"
    );
}

/// A figure of a card.
struct Bar<'a> {
    name: &'a str,
    record: &'a Record,
    class: &'static str,
}

fn card(cards: &mut String, outcome: &Outcome, question: &str) {
    let records = outcome.records();
    let Some(main) = metrics(&records).first().copied() else { return };
    let ranked = ranked(&records, main);
    let limit = outcome.subjects.first().map_or("", String::as_str);
    // The quickest of each kind of ours.
    let mut kinds: Vec<String> = Vec::new();
    let mut others = 0;
    let bars = ranked.iter().filter_map(|record| {
        let name = record.subject.as_str();
        let class = if name == limit {
            "limit"
        } else if is_ours(name) {
            let kind: String = name.split([',', ' ']).take(2).collect();
            if kinds.contains(&kind) {
                return None;
            }
            kinds.push(kind);
            "ours"
        } else if outcome.makes_up_the_limit(name) || is_bare(name) || others == OTHERS {
            return None;
        } else {
            others += 1;
            "other"
        };
        Some(Bar { name, record, class })
    });
    let bars: Vec<Bar<'_>> = bars.collect();
    let most = bars.iter().map(|bar| bar.record.median).fold(f64::MIN_POSITIVE, f64::max);
    let _ = write!(
        cards,
        "<div class=\"card\"><h3>{question}</h3>\n<p>{}</p>\n",
        escaped(&answer(&bars, main))
    );
    for Bar { name, record, class } in &bars {
        let shown = if *class == "limit" { format!("{name} (limit)") } else { (*name).to_owned() };
        let _ = writeln!(
            cards,
            "<div class=\"bar {class}\"><b title=\"{0}\">{0}</b><i style=\"width:{1:.1}%\"></i><span>{2}</span></div>",
            escaped(&shown),
            100.0 * record.median / most,
            amount(record.median, &record.unit),
        );
    }
    cards.push_str("</div>\n");
}

/// Whether it is the same work written by hand, as the limit is.
fn is_bare(name: &str) -> bool {
    ["raw ", "best ", "one cache line"].iter().any(|begin| name.starts_with(begin))
}

/// What a card comes to, in words.
fn answer(bars: &[Bar<'_>], metric: &str) -> String {
    let first = |class| bars.iter().find(|bar| bar.class == class);
    let Some(ours) = first("ours") else { return String::new() };
    let value = ours.record.median;
    let of = |bar: &Bar<'_>| amount(bar.record.median, &bar.record.unit);
    // The one that everybody knows, or the quickest.
    let other = bars.iter().find(|bar| bar.name == "pipe").or_else(|| first("other"));
    let limit = first("limit");
    if more_is_better(metric) {
        let times = |bar: &Bar<'_>| short(value / bar.record.median);
        let mut text = format!("Tombolo moves {}", of(ours));
        if let Some(other) = other {
            let _ = write!(text, ", {} times as much as {}", times(other), a(other.name));
        }
        if let Some(limit) = limit {
            let _ = write!(text, ", and {} times the limit", times(limit));
        }
        return text + ".";
    }
    let mut text = format!("Tombolo takes {}", of(ours));
    if let Some(other) = other {
        let _ = write!(text, ", {} {}", a(other.name), of(other));
    }
    if let Some(limit) = limit {
        let _ = write!(text, "; the limit is {}", of(limit));
    }
    text + "."
}

fn a(name: &str) -> String {
    if name == "pipe" { "a pipe".to_owned() } else { name.to_owned() }
}
