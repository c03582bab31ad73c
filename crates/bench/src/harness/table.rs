//! Prints the figures: each case from the best subject to the worst.

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
/// to the limit; for times, a column for each quantile. Where that is wider than
/// the screen, the last columns are left out.
pub(crate) fn table(outcome: &Outcome, screen: usize) -> String {
    let records = outcome.records();
    let metrics = metrics(&records);
    let mut text = format!("{}: {}\n", outcome.group, outcome.case);
    let Some(main) = metrics.first() else {
        return text + "  nothing was measured\n";
    };
    let limit = outcome.subjects.first().map_or("", String::as_str);
    let mut heads = vec![String::new(), heading(main), "ratio".to_owned(), "range".to_owned()];
    heads.extend(metrics[1..].iter().map(|metric| heading(metric)));
    let mut rows = vec![heads];
    for record in ranked(&records, main) {
        let mark = if record.subject == limit { " *" } else { "" };
        let mut row = vec![
            format!("{}{mark}", record.subject),
            amount(record.median, &record.unit),
            short(record.ratio_to_limit),
            format!("{} to {}", amount(record.min, &record.unit), amount(record.max, &record.unit)),
        ];
        for metric in &metrics[1..] {
            let other = records
                .iter()
                .find(|other| other.subject == record.subject && other.metric == *metric);
            let other = other.map(|other| amount(other.median, &other.unit));
            row.push(other.unwrap_or_default());
        }
        rows.push(row);
    }
    let left_out = columns(&mut text, &rows, screen);
    if left_out > 0 {
        let what = rows[0][rows[0].len() - left_out..].join(", ");
        let _ = writeln!(text, "  (no room for: {what}; a wider screen or --json has it)");
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
    let mut notes =
        vec!["* the limit of its round".to_owned(), format!("rounds: {}", outcome.rounds.len())];
    notes.extend(method);
    // Each on the line of those before it, if there is room.
    let mut used = 0;
    for (index, note) in notes.iter().enumerate() {
        let length = note.chars().count() + 2;
        if index > 0 && used + length <= screen {
            text.push_str("; ");
        } else {
            text.push_str(if index > 0 { ";\n  " } else { "  " });
            used = 0;
        }
        used += length;
        text.push_str(note);
    }
    text.push('\n');
    if let Some(verdict) = outcome.verdict() {
        let _ = writeln!(text, "  {verdict}");
    }
    for (subject, why) in &outcome.failed {
        let _ = writeln!(text, "  {subject} was left out: {why}");
    }
    text
}

/// Writes rows, each column as wide as its widest cell and the first one to the
/// left; says for how many columns the screen has no room.
fn columns(text: &mut String, rows: &[Vec<String>], screen: usize) -> usize {
    let cells = |column: usize| rows.iter().filter_map(move |row| row.get(column));
    let width = |column| cells(column).map(|cell| cell.chars().count() + 2).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows.first().map_or(0, Vec::len)).map(width).collect();
    let mut shown = widths.len();
    // The name of a row and its figure are always shown.
    while shown > 2 && widths[..shown].iter().sum::<usize>() > screen {
        shown -= 1;
    }
    for row in rows {
        for (column, (cell, &width)) in row.iter().zip(&widths[..shown]).enumerate() {
            let _ = match column {
                0 => write!(text, "  {cell:<width$}", width = width - 2),
                _ => write!(text, "{cell:>width$}"),
            };
        }
        text.push('\n');
    }
    widths.len() - shown
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

#[cfg(test)]
mod tests {
    use super::columns;

    #[test]
    fn no_row_is_wider_than_the_screen() {
        let row = |cells: [&str; 5]| cells.map(str::to_owned).to_vec();
        let rows = [
            row(["", "p50", "ratio", "range", "p99"]),
            row(["a subject *", "12.3 µs", "1.00", "12.0 µs to 13.0 µs", "25 µs"]),
        ];
        for (screen, left_out) in
            [(usize::MAX, 0), (56, 0), (55, 1), (40, 2), (30, 2), (28, 3), (3, 3)]
        {
            let mut text = String::new();
            assert_eq!(columns(&mut text, &rows, screen), left_out, "{screen}: {text}");
            let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(widest <= screen.max(22), "{screen}: {text}");
        }
    }
}
