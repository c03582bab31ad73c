//! The plots of a report, and their content.

use super::super::case::Plot as Kind;
use super::super::records::{Outcome, Record};
use super::super::table::{heading, metrics};
use super::chart::{self, Axis, Palette, Series};
use crate::failure::Failure;

/// A plot as a picture.
pub(super) struct Plot {
    pub(super) group: String,
    /// Of its file.
    pub(super) name: String,
    pub(super) svg: String,
}

/// All plots of these outcomes, in their order.
pub(super) fn all(outcomes: &[Outcome]) -> Result<Vec<Plot>, Failure> {
    let mut plots: Vec<Plot> = Vec::new();
    let palette = &Palette::new(outcomes.iter().flat_map(|outcome| &outcome.subjects));
    let mut lines_done: Vec<(&str, &str)> = Vec::new();
    for outcome in outcomes {
        let group = outcome.group.as_str();
        let (title, svg) = match &outcome.plot {
            Kind::Line { along, .. } => {
                if lines_done.contains(&(group, along)) {
                    continue;
                }
                lines_done.push((group, along));
                (along.clone(), lines(outcomes, group, along, palette))
            }
            Kind::Distribution => (outcome.case.clone(), distribution(outcome, palette)),
            Kind::Bars => (outcome.case.clone(), bars(outcome, palette)),
        };
        let svg = svg.map_err(|error| Failure::Broken(format!("cannot draw {title}: {error}")))?;
        plots.push(Plot { group: group.to_owned(), name: file(group, &title), svg });
    }
    Ok(plots)
}

/// A name for a file.
fn file(group: &str, title: &str) -> String {
    let plain = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '-' };
    let words: String = format!("{group} {title}").to_lowercase().chars().map(plain).collect();
    words.split('-').filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-")
}

/// Whether it is drawn: of what makes up a limit, only the best is, as the limit.
fn drawn(outcome: &Outcome, record: &Record, metric: &str) -> bool {
    record.metric == metric && !outcome.makes_up_the_limit(&record.subject)
}

/// The main figure of each case along a row of cases.
fn lines(outcomes: &[Outcome], group: &str, row: &str, palette: &Palette) -> chart::Drawn {
    let mut series: Vec<Series> = Vec::new();
    let mut ticks = Vec::new();
    let mut unit = String::new();
    for outcome in outcomes {
        let Kind::Line { along, at, label } = &outcome.plot else {
            continue;
        };
        if outcome.group != group || along != row {
            continue;
        }
        ticks.push((*at, label.clone()));
        let records = outcome.records();
        let Some(main) = metrics(&records).first().map(ToString::to_string) else {
            continue;
        };
        for Record { subject, median, min, max, .. } in
            records.iter().filter(|record| drawn(outcome, record, &main))
        {
            let known = series.iter().position(|one| one.name == *subject);
            let index = known.unwrap_or_else(|| {
                series.push(Series::new(subject, series.is_empty()));
                series.len() - 1
            });
            series[index].points.push((*at, *median, *min, *max));
        }
        unit = format!("{} a second", heading(&main));
    }
    chart::lines(
        &format!("{group}: {row}"),
        &format!("{unit}; whiskers: the worst and the best round"),
        &Axis { ticks },
        &mut series,
        palette,
    )
}

/// How long which part of the exchanges took, of all rounds together.
fn distribution(outcome: &Outcome, palette: &Palette) -> chart::Drawn {
    let mut series = Vec::new();
    let subjects = outcome.subjects.iter().enumerate();
    for (index, subject) in subjects.filter(|(_, name)| !outcome.makes_up_the_limit(name)) {
        let mut times: Vec<(u64, u64)> =
            outcome.samples(index).flat_map(|sample| sample.times.clone()).collect();
        times.sort_unstable();
        let all: u64 = times.iter().map(|&(_, count)| count).sum();
        let mut one = Series::new(subject, index == 0);
        let mut seen = 0;
        for (time, count) in times {
            let rarer = 1.0 - seen as f64 / all.max(1) as f64;
            let nines = -rarer.log10();
            one.points.push((nines, time as f64, time as f64, time as f64));
            seen += count;
        }
        if !one.points.is_empty() {
            series.push(one);
        }
    }
    let parts = ["the least", "90 %", "99 %", "99.9 %", "99.99 %", "99.999 %"];
    let most = series.iter().filter_map(|one| one.points.last()).map(|point| point.0);
    let most = most.fold(2.0, f64::max);
    let ticks = parts.iter().enumerate().map(|(nines, part)| (nines as f64, (*part).to_owned()));
    let ticks = ticks.filter(|(nines, _)| *nines <= most.ceil()).collect();
    chart::curves(
        &format!("{}: {}", outcome.group, outcome.case),
        "what this part of the exchanges did not exceed",
        &Axis { ticks },
        &mut series,
        palette,
    )
}

/// The main figure of each subject.
fn bars(outcome: &Outcome, palette: &Palette) -> chart::Drawn {
    let records = outcome.records();
    let main = metrics(&records).first().map(ToString::to_string).unwrap_or_default();
    let unit = records.iter().find(|record| record.metric == main).map(|found| found.unit.clone());
    let mut series = Vec::new();
    for record in records.iter().filter(|record| drawn(outcome, record, &main)) {
        let mut one =
            Series::new(&record.subject, Some(&record.subject) == outcome.subjects.first());
        one.points.push((0.0, record.median, record.min, record.max));
        series.push(one);
    }
    chart::bars(
        &format!("{}: {}", outcome.group, outcome.case),
        &format!("{}; whiskers: the least and the greatest of all rounds", heading(&main)),
        unit.as_deref().unwrap_or_default(),
        &series,
        palette,
    )
}
