//! Measures subjects in turns, and prints the results.

/// Something to measure: each call is a sample.
pub(crate) struct Subject<'a> {
    name: String,
    sample: Box<dyn FnMut() -> f64 + 'a>,
    figures: Vec<f64>,
}

impl<'a> Subject<'a> {
    pub(crate) fn new(name: impl Into<String>, sample: impl FnMut() -> f64 + 'a) -> Self {
        Self { name: name.into(), sample: Box::new(sample), figures: Vec::new() }
    }
}

pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// How a program's figures are printed.
pub(crate) struct Table {
    pub(crate) rounds: usize,
}

impl Table {
    /// Lets the subjects take turns, each round beginning with another. Each
    /// one's ratio is to the first, the limit, in the same round.
    pub(crate) fn measure(&self, title: &str, unit: &str, mut subjects: Vec<Subject<'_>>) {
        for round in 0..self.rounds {
            let count = subjects.len();
            for turn in 0..count {
                let subject = &mut subjects[(round + turn) % count];
                let figure = (subject.sample)();
                subject.figures.push(figure);
            }
        }
        println!("\n{title} ({unit})");
        println!("  {:54} {:>8}  {:>16}  {:>5}", "", "median", "range", "ratio");
        let limit = subjects[0].figures.clone();
        for subject in subjects {
            let ratios = subject.figures.iter().zip(&limit).map(|(figure, limit)| figure / limit);
            let low = subject.figures.iter().copied().fold(f64::MAX, f64::min);
            let high = subject.figures.iter().copied().fold(0.0, f64::max);
            println!(
                "  {:54} {:>8.1}  {:>16}  {:>5.2}",
                subject.name,
                median(subject.figures.clone()),
                format!("{low:.1} to {high:.1}"),
                median(ratios.collect()),
            );
        }
    }
}
