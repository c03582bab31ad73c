//! The limit of a case that several subjects make up together: in each round, the best
//! of them. What is best differs between makes of processors, so one subject alone
//! would be a limit on some machines, and slower than what it limits on others.

use super::records::{Outcome, Record, Sample};
use super::table::{more_is_better, short};

/// How much faster than the limit a subject may be before it says something: two
/// samples of the same thing differ as much.
const NOISE: f64 = 1.05;

/// A limit, and the subjects of which it is the best.
#[derive(Clone, Debug)]
pub(crate) struct Limit {
    pub(crate) name: String,
    pub(crate) of: Vec<String>,
}

/// The better of two samples, by the first thing that was measured.
fn better<'a>(one: &'a Sample, other: &'a Sample) -> &'a Sample {
    let (Some(first), Some(second)) = (one.figures.first(), other.figures.first()) else {
        return one;
    };
    let other_is = match more_is_better(&first.metric) {
        true => second.value > first.value,
        false => second.value < first.value,
    };
    if other_is { other } else { one }
}

impl Outcome {
    /// Puts the limit before all other subjects.
    pub(crate) fn limited(mut self, limit: Option<Limit>) -> Self {
        let Some(limit) = limit else {
            return self;
        };
        let at: Vec<usize> = (0..self.subjects.len())
            .filter(|&index| limit.of.contains(&self.subjects[index]))
            .collect();
        for round in &mut self.rounds {
            let candidates = at.iter().filter_map(|&index| round.get(index)?.as_ref());
            let best = candidates.reduce(better).cloned();
            round.insert(0, best);
        }
        self.subjects.insert(0, limit.name.clone());
        self.limit = Some(limit);
        self
    }

    /// Whether a subject is one of those that make up the limit.
    pub(crate) fn makes_up_the_limit(&self, subject: &str) -> bool {
        let of = self.limit.iter().flat_map(|limit| &limit.of);
        of.into_iter().any(|one| one == subject)
    }

    /// The subjects that were faster than the limit in every round, by more than noise.
    pub(crate) fn beyond(&self) -> Vec<Record> {
        let Some(limit) = &self.limit else {
            return Vec::new();
        };
        let beyond = |subject: &String| {
            let beside = self.beside(subject, &limit.name)?;
            (beside.least > NOISE)
                .then(|| self.compared(subject, "times_as_fast_as_the_limit", &beside))
        };
        self.subjects.iter().filter_map(beyond).collect()
    }

    /// That the limit is none, if so.
    pub(crate) fn verdict(&self) -> Option<String> {
        let limit = self.limit.as_ref()?;
        let beyond: Vec<String> = self
            .beyond()
            .iter()
            .map(|record| {
                let [median, min, max] = [record.median, record.min, record.max].map(short);
                format!("{} {median} ({min} to {max}) times as fast", record.subject)
            })
            .collect();
        (!beyond.is_empty()).then(|| {
            format!("the {} is no limit here: it was exceeded by {}", limit.name, beyond.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::case::Plot;
    use super::super::orders::Figure;
    use super::*;

    fn outcome(rounds: &[[f64; 3]], metric: &str) -> Outcome {
        let sample = |&value: &f64| {
            Some(Sample { figures: vec![Figure::new(metric, "1", value)], ..Sample::default() })
        };
        let rounds = rounds.iter().map(|round| round.iter().map(sample).collect()).collect();
        let of = ["one", "two"].map(str::to_owned).to_vec();
        let subjects = [of.clone(), vec!["ours".to_owned()]].concat();
        let outcome = Outcome { subjects, rounds, ..Outcome::of("group", "case", Plot::Bars) };
        outcome.limited(Some(Limit { name: "the best".to_owned(), of }))
    }

    fn values(outcome: &Outcome) -> Vec<f64> {
        outcome.samples(0).map(|sample| sample.figures[0].value).collect()
    }

    #[test]
    fn the_limit_is_the_best_of_each_round() {
        let rounds = [[10.0, 20.0, 15.0], [30.0, 20.0, 15.0]];
        assert_eq!(values(&outcome(&rounds, "messages_per_second")), [20.0, 30.0]);
        let times = outcome(&rounds, "p50_ns");
        assert_eq!(values(&times), [10.0, 20.0]);
        assert_eq!(times.subjects, ["the best", "one", "two", "ours"]);
        assert!(times.makes_up_the_limit("one") && !times.makes_up_the_limit("ours"));
    }

    #[test]
    fn a_subject_that_is_faster_in_every_round_is_told() {
        let rate = "messages_per_second";
        let told = outcome(&[[10.0, 20.0, 30.0], [10.0, 20.0, 22.0]], rate).verdict().unwrap();
        assert!(told.contains("ours 1.30 (1.10 to 1.50) times as fast"), "{told}");
        for ours in [20.9, 19.0] {
            assert_eq!(outcome(&[[10.0, 20.0, 30.0], [10.0, 20.0, ours]], rate).verdict(), None);
        }
    }
}
