//! The figures for people: each case from the best subject to the worst.

use std::fmt::Write;

use super::records::{Outcome, Record};

/// Whether more of it is better.
pub(crate) fn more_is_better(metric: &str) -> bool {
    metric.ends_with("per_second")
}

/// A value with a unit that suits its size.
pub(crate) fn amount(value: f64, unit: &str) -> String {
    let (value, unit) = match unit {
        "ns" if value >= 1e9 => (value / 1e9, "s"),
        "ns" if value >= 1e6 => (value / 1e6, "ms"),
        "ns" if value >= 1e4 => (value / 1e3, "µs"),
        "ns" => (value, "ns"),
        "1/s" | "B/s" => {
            let (value, scale) = match value {
                1e9.. => (value / 1e9, " G"),
                1e6.. => (value / 1e6, " M"),
                1e3.. => (value / 1e3, " k"),
                _ => (value, " "),
            };
            let unit = if unit == "B/s" { "B/s" } else { " msg/s" };
            return format!("{}{}", short(value), format!("{scale}{unit}").replace("  ", " "));
        }
        "part" => (value * 100.0, "%"),
        _ => (value, ""),
    };
    format!("{} {unit}", short(value)).trim_end().to_owned()
}

/// Three digits that matter, or two of what is small.
pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        ..0.1 if value != 0.0 => format!("{value:.4}"),
        _ => format!("{value:.2}"),
    }
}

/// The metrics of a case, in the order in which they first come.
pub(crate) fn metrics(records: &[Record]) -> Vec<&str> {
    let mut metrics: Vec<&str> = Vec::new();
    for record in records {
        if !metrics.contains(&record.metric.as_str()) {
            metrics.push(&record.metric);
        }
    }
    metrics
}

/// Those of a metric, the best first.
pub(crate) fn ranked<'a>(records: &'a [Record], metric: &str) -> Vec<&'a Record> {
    let mut ranked: Vec<&Record> =
        records.iter().filter(|record| record.metric == metric).collect();
    ranked.sort_by(|one, other| one.median.total_cmp(&other.median));
    if more_is_better(metric) {
        ranked.reverse();
    }
    ranked
}

/// A case as a table: a row for each subject, the best first, with the ratio
/// to the limit; for times, a column for each quantile.
pub(crate) fn table(outcome: &Outcome) -> String {
    let records = outcome.records();
    let metrics = metrics(&records);
    let mut text = format!("{}: {}\n", outcome.group, outcome.case);
    let Some(main) = metrics.first() else {
        return text + "  nothing was measured\n";
    };
    let limit = outcome.subjects.first().map_or("", String::as_str);
    let names = records.iter().map(|record| record.subject.chars().count() + 2);
    let width = names.max().unwrap_or(0);
    let _ = write!(text, "  {:width$} {:>12} {:>27} {:>7}", "", heading(main), "range", "ratio");
    for metric in &metrics[1..] {
        let _ = write!(text, " {:>12}", heading(metric));
    }
    text.push('\n');
    for record in ranked(&records, main) {
        let mark = if record.subject == limit { " *" } else { "" };
        let range =
            format!("{} to {}", amount(record.min, &record.unit), amount(record.max, &record.unit));
        let median = amount(record.median, &record.unit);
        let name = format!("{}{mark}", record.subject);
        let ratio = short(record.ratio_to_limit);
        let _ = write!(text, "  {name:width$} {median:>12} {range:>27} {ratio:>7}");
        for metric in &metrics[1..] {
            let other = records
                .iter()
                .find(|other| other.subject == record.subject && other.metric == *metric);
            let other = other.map(|other| amount(other.median, &other.unit));
            let _ = write!(text, " {:>12}", other.unwrap_or_default());
        }
        text.push('\n');
    }
    let method: Vec<String> = outcome
        .method()
        .iter()
        .map(|record| {
            let most = amount(record.max, &record.unit);
            format!(
                "{} {} (at most {most})",
                heading(&record.metric),
                amount(record.median, &record.unit)
            )
        })
        .collect();
    let _ = writeln!(
        text,
        "  * the limit of its round. Rounds: {}; {}",
        outcome.rounds.len(),
        method.join("; ")
    );
    if let Some(verdict) = outcome.verdict() {
        let _ = writeln!(text, "  {verdict}");
    }
    for (subject, why) in &outcome.failed {
        let _ = writeln!(text, "  {subject} was left out: {why}");
    }
    text
}

/// A metric's name without its unit.
pub(crate) fn heading(metric: &str) -> String {
    match metric {
        "messages_per_second" => "messages".to_owned(),
        "bytes_per_second" => "bytes".to_owned(),
        "p999_ns" => "p99.9".to_owned(),
        _ => metric.trim_end_matches("_ns").replace('_', " "),
    }
}
