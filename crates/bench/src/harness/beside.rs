//! Compares one subject with another of the same case, round by round.

use super::records::{Outcome, Record, median};
use super::table::more_is_better;

/// How often as good one subject is as another: ratios within rounds, by the
/// first thing that was measured; more than 1 where it is better.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beside {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
    pub(crate) rounds: usize,
}

impl Outcome {
    /// Compares two of its subjects, as far as they were measured together.
    pub(crate) fn beside(&self, one: &str, other: &str) -> Option<Beside> {
        let at = |name: &str| self.subjects.iter().position(|subject| subject == name);
        let (one, other) = (at(one)?, at(other)?);
        let metric = &self.samples(one).next()?.figures.first()?.metric;
        let ratio = |(one, other): (Option<f64>, Option<f64>)| {
            let (better, worse) =
                if more_is_better(metric) { (one?, other?) } else { (other?, one?) };
            (worse > 0.0).then(|| better / worse)
        };
        let rounds = self.values(one, metric).into_iter().zip(self.values(other, metric));
        let mut ratios: Vec<f64> = rounds.filter_map(ratio).collect();
        let median = (!ratios.is_empty()).then(|| median(&mut ratios))?;
        Some(Beside {
            median,
            least: *ratios.first()?,
            most: *ratios.last()?,
            rounds: ratios.len(),
        })
    }

    /// A comparison as a line of the output.
    pub(crate) fn compared(&self, subject: &str, metric: &str, beside: &Beside) -> Record {
        Record {
            group: self.group.clone(),
            case: self.case.clone(),
            subject: subject.to_owned(),
            metric: metric.to_owned(),
            unit: "1".to_owned(),
            median: beside.median,
            min: beside.least,
            max: beside.most,
            ratio_to_limit: 1.0,
            rounds: beside.rounds,
        }
    }
}
