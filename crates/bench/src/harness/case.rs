//! Cases: the subjects that are compared.

use super::limit::Limit;
use super::orders::Setting;

/// How a case is drawn.
#[derive(Clone, Debug)]
pub(crate) enum Plot {
    /// As a point of each subject's line, together with the other cases along
    /// this row.
    Line { along: String, at: f64, label: String },
    /// As curves of how long which part took.
    Distribution,
    /// As a bar for each subject.
    Bars,
}

/// Subjects side by side. The first one is the limit of the others, unless another
/// limit is named.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) plot: Plot,
    pub(crate) setting: Setting,
    pub(crate) subjects: Vec<String>,
    /// The limit, where it is not the first subject alone.
    pub(crate) limit: Option<Limit>,
}

impl Case {
    pub(crate) fn new(name: &str, plot: Plot, setting: &Setting, subjects: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            plot,
            setting: setting.clone(),
            subjects: subjects.iter().map(ToString::to_string).collect(),
            limit: None,
        }
    }

    /// The same with the best of these as the limit; they are added to the subjects.
    pub(crate) fn limited(mut self, name: &str, of: &[&str]) -> Self {
        let of: Vec<String> = of.iter().map(ToString::to_string).collect();
        self.subjects.splice(0..0, of.iter().cloned());
        self.limit = Some(Limit { name: name.to_owned(), of });
        self
    }

    /// Messages of so many bytes in one direction, in such a ring.
    pub(crate) fn carry(size: usize, ring: &str, setting: &Setting, subjects: &[&str]) -> Self {
        let (how, row) = match setting.batch {
            1 => ("one at a time".to_owned(), "one at a time"),
            batch => (format!("{batch} at once"), "batches"),
        };
        let plot = Plot::Line {
            along: format!("{ring}, {row}"),
            at: (size as f64).log10(),
            label: if size < 1_024 { format!("{size} B") } else { format!("{} KiB", size >> 10) },
        };
        Self::new(&format!("{size} B, {ring}, {how}"), plot, setting, subjects)
    }

    /// Several at each end, the nth case of its kind.
    pub(crate) fn crowd(nth: usize, name: &str, setting: &Setting, subjects: &[&str]) -> Self {
        let label = format!("{}×{}", setting.producers, setting.consumers);
        let along = "producers × consumers".to_owned();
        let plot = Plot::Line { along, at: nth as f64 / 2.0, label: label.clone() };
        Self::new(&format!("{label}{name}"), plot, setting, subjects)
    }
}

/// Cases that answer one question.
pub(crate) struct Group {
    pub(crate) name: &'static str,
    pub(crate) cases: Vec<Case>,
}
