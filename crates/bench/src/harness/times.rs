//! A histogram of measured times.

use hdrhistogram::Histogram;

use crate::failure::Failure;

/// Times of up to ten seconds, in nanoseconds to three digits.
pub(crate) struct Times(Histogram<u64>);

impl Times {
    pub(crate) fn new() -> Result<Self, Failure> {
        let histogram = Histogram::new_with_bounds(1, 10_000_000_000, 3);
        Ok(Self(histogram.map_err(|error| Failure::broken("cannot keep times", error))?))
    }

    #[inline]
    pub(crate) fn record(&mut self, nanoseconds: u64) {
        self.0.saturating_record(nanoseconds.max(1));
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    /// Each time that came, and how often it did.
    pub(crate) fn listed(&self) -> Vec<(u64, u64)> {
        let steps = self.0.iter_recorded();
        steps.map(|step| (step.value_iterated_to(), step.count_since_last_iteration())).collect()
    }
}
