//! Computes figures from samples.

use serde::Serialize;

use super::board::Place;
use super::case::Plot;
use super::limit::Limit;
use super::orders::{Figure, Report, Setting, Shape};
use crate::failure::Failure;

/// The result of one sample.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    pub(crate) figures: Vec<Figure>,
    /// Times, and how often each was measured.
    pub(crate) times: Vec<(u64, u64)>,
    /// Where its processors were before and after.
    pub(crate) probes: Option<(Place, Place)>,
    /// The part of its time that a worker was ready to run, and was not; of
    /// the worker that it was worst for.
    pub(crate) noise: f64,
    /// Whether the processors moved, so that this sample and others of its case were
    /// taken in different placements.
    pub(crate) moved: bool,
}

/// A figure of a subject over all rounds: a line of the output.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Record {
    pub(crate) group: String,
    pub(crate) case: String,
    pub(crate) subject: String,
    pub(crate) metric: String,
    pub(crate) unit: String,
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    pub(crate) ratio_to_limit: f64,
    pub(crate) rounds: usize,
}

const QUANTILES: [(f64, &str); 4] =
    [(0.5, "p50_ns"), (0.9, "p90_ns"), (0.99, "p99_ns"), (0.999, "p999_ns")];

/// The time that so great a part does not exceed. The times are in order.
pub(crate) fn quantile(times: &[(u64, u64)], part: f64) -> u64 {
    let all: u64 = times.iter().map(|&(_, count)| count).sum();
    let mut left = ((all as f64 * part).ceil() as u64).max(1);
    for &(time, count) in times {
        if left <= count {
            return time;
        }
        left -= count;
    }
    times.last().map_or(0, |&(time, _)| time)
}

impl Sample {
    /// Makes one of what its workers report.
    pub(crate) fn of(setting: &Setting, reports: &[Report]) -> Result<Self, Failure> {
        let (balance, sum) = reports.iter().fold((0_i64, 0_u64), |(balance, sum), report| {
            (balance + report.balance, sum.wrapping_add(report.sum))
        });
        if (balance, sum) != (0, 0) {
            let what = "messages were lost, or came twice, or damaged";
            return Err(Failure::Broken(format!("{what}: {balance} more were sent than came")));
        }
        let began = reports.iter().map(|report| report.began).min().unwrap_or(0);
        let ended = reports.iter().map(|report| report.ended).max().unwrap_or(0);
        let span = (ended - began).max(1) as f64;
        let mut figures: Vec<Figure> =
            reports.iter().flat_map(|report| report.figures.clone()).collect();
        let times = reports.iter().flat_map(|report| report.times.clone()).collect::<Vec<_>>();
        let counted = [Shape::Carry, Shape::Share, Shape::Alone, Shape::Publish, Shape::Lossy];
        let missed: Vec<f64> = reports.iter().filter_map(|report| report.missed).collect();
        let missed = (!missed.is_empty()).then(|| missed.iter().sum::<f64>() / missed.len() as f64);
        if counted.contains(&setting.shape) {
            let messages = reports.first().map_or(0, |report| report.messages) as f64;
            let sent = messages / (span / 1e9);
            // What is missed is not carried.
            let rate = sent * (1.0 - missed.unwrap_or(0.0));
            figures.push(Figure::new("messages_per_second", "1/s", rate));
            figures.push(Figure::new("bytes_per_second", "B/s", rate * 8.0 * setting.words as f64));
            if let Some(part) = missed {
                figures.push(Figure::new("published_per_second", "1/s", sent));
                // A figure is greater than nothing, so that there is a ratio.
                figures.push(Figure::new("missed", "part", part.max(1e-6)));
            }
        }
        if let Some(&(longest, _)) = times.last() {
            for (part, metric) in QUANTILES {
                figures.push(Figure::new(metric, "ns", quantile(&times, part) as f64));
            }
            figures.push(Figure::new("max_ns", "ns", longest as f64));
        }
        let noise = |report: &Report| report.delay as f64 / span;
        Ok(Self {
            figures,
            times,
            probes: reports.iter().find_map(|report| report.probes),
            noise: reports.iter().map(noise).fold(0.0, f64::max),
            moved: false,
        })
    }
}

/// The middle one, or between the two in the middle. Of nothing, 0.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.len() % 2, values.get(middle)) {
        (_, None) => 0.0,
        (1, Some(&value)) => value,
        (_, Some(&upper)) => f64::midpoint(values[middle - 1], upper),
    }
}

/// A case's subjects, and the samples of each round.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) group: String,
    pub(crate) case: String,
    pub(crate) plot: Plot,
    pub(crate) subjects: Vec<String>,
    /// What its limit was made of, if that was not the first subject alone.
    pub(crate) limit: Option<Limit>,
    /// For each round, a sample of each subject that works.
    pub(crate) rounds: Vec<Vec<Option<Sample>>>,
    /// Samples that were taken again because the placement had changed.
    pub(crate) again: usize,
    /// Subjects that were left out, and why.
    pub(crate) failed: Vec<(String, String)>,
}

impl Outcome {
    /// That of a case before anything is measured.
    pub(crate) fn of(group: &str, case: &str, plot: Plot) -> Self {
        Self {
            group: group.to_owned(),
            case: case.to_owned(),
            plot,
            subjects: Vec::new(),
            limit: None,
            rounds: Vec::new(),
            again: 0,
            failed: Vec::new(),
        }
    }

    /// In how many rounds the processors moved, so that ratios are less certain.
    pub(crate) fn moved(&self) -> usize {
        let moved = |round: &&Vec<Option<Sample>>| round.iter().flatten().any(|one| one.moved);
        self.rounds.iter().filter(moved).count()
    }

    /// The samples of a subject.
    pub(crate) fn samples(&self, subject: usize) -> impl Iterator<Item = &Sample> {
        self.rounds.iter().filter_map(move |round| round.get(subject)?.as_ref())
    }

    /// A figure of each subject in each round, where there is one.
    pub(crate) fn values(&self, subject: usize, metric: &str) -> Vec<Option<f64>> {
        let value = |sample: &Sample| {
            sample.figures.iter().find(|figure| figure.metric == metric).map(|found| found.value)
        };
        self.rounds.iter().map(|round| round.get(subject)?.as_ref().and_then(value)).collect()
    }

    /// The figures of all subjects, each as a ratio to the first subject's of
    /// the same round.
    pub(crate) fn records(&self) -> Vec<Record> {
        let mut records = Vec::new();
        for (index, subject) in self.subjects.iter().enumerate() {
            let Some(sample) = self.samples(index).next() else {
                continue;
            };
            for Figure { metric, unit, .. } in &sample.figures {
                let (values, limits) = (self.values(index, metric), self.values(0, metric));
                let ratio = |(value, limit): (&Option<f64>, &Option<f64>)| {
                    let (value, limit) = (*value.as_ref()?, *limit.as_ref()?);
                    (limit > 0.0).then(|| value / limit)
                };
                let mut ratios: Vec<f64> = values.iter().zip(&limits).filter_map(ratio).collect();
                let mut values: Vec<f64> = values.into_iter().flatten().collect();
                records.push(Record {
                    group: self.group.clone(),
                    case: self.case.clone(),
                    subject: subject.clone(),
                    metric: metric.clone(),
                    unit: unit.clone(),
                    min: values.iter().copied().fold(f64::INFINITY, f64::min),
                    max: values.iter().copied().fold(0.0, f64::max),
                    rounds: values.len(),
                    median: median(&mut values),
                    ratio_to_limit: median(&mut ratios),
                });
            }
        }
        records
    }

    /// Figures about the measuring itself.
    pub(crate) fn method(&self) -> Vec<Record> {
        let samples = || self.rounds.iter().flatten().flatten();
        let record = |metric: &str, unit: &str, mut values: Vec<f64>| {
            (!values.is_empty()).then(|| Record {
                group: self.group.clone(),
                case: self.case.clone(),
                subject: "(the measuring)".to_owned(),
                metric: metric.to_owned(),
                unit: unit.to_owned(),
                min: values.iter().copied().fold(f64::INFINITY, f64::min),
                max: values.iter().copied().fold(0.0, f64::max),
                rounds: self.rounds.len(),
                median: median(&mut values),
                ratio_to_limit: 1.0,
            })
        };
        let probes = samples().filter_map(|sample| sample.probes);
        let places: Vec<Place> = probes.flat_map(|(before, after)| [before, after]).collect();
        let lines = |line: fn(&Place) -> f64| places.iter().map(line).collect();
        [
            record("line_round_trip_ns", "ns", lines(|place| place.trip)),
            record("line_of_a_stream_ns", "ns", lines(|place| place.streamed)),
            record("run_queue_delay", "part", samples().map(|sample| sample.noise).collect()),
            record("samples_taken_again", "1", vec![self.again as f64]),
            record("rounds_between_placements", "1", vec![self.moved() as f64]),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}
