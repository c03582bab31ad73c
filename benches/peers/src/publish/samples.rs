//! Reads the samples of an earlier run from its report.

use std::collections::HashMap;

use crate::failure::Failure;
use crate::harness::board::Place;
use crate::harness::case::Plot;
use crate::harness::orders::Figure;
use crate::harness::records::{Outcome, Sample};
pub(super) use crate::harness::report::samples::quoted;

/// A line's fields.
pub(super) fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                fields.last_mut().into_iter().for_each(|field| field.push('"'));
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            _ => fields.last_mut().into_iter().for_each(|field| field.push(letter)),
        }
    }
    fields
}

/// The source of such a file, as far as it says.
pub(super) fn read(text: &str) -> Result<Vec<Outcome>, Failure> {
    let mut lines = text.lines();
    let columns = fields(lines.next().unwrap_or_default());
    let mut outcomes: Vec<Outcome> = Vec::new();
    for (number, line) in (2..).zip(lines) {
        let bad = |what: &str| Failure::Unusable(format!("line {number} of the samples: {what}"));
        let fields: HashMap<&str, String> =
            columns.iter().map(String::as_str).zip(fields(line)).collect();
        let field =
            |name: &str| fields.get(name).ok_or_else(|| bad(&format!("there is no {name}")));
        let figure = |name: &str| {
            let number = field(name)?.parse::<f64>();
            number.map_err(|_| bad(&format!("its {name} is no number")))
        };
        let round: usize = field("round")?.parse().map_err(|_| bad("its round is no number"))?;
        let outcome = case(&mut outcomes, field("group")?, field("case")?);
        let subject = field("subject")?;
        let index = outcome.subjects.iter().position(|known| known == subject);
        let index = index.unwrap_or_else(|| {
            outcome.subjects.push(subject.clone());
            outcome.subjects.len() - 1
        });
        // No more rounds than lines: what is far out is not from such a file.
        if round > number {
            return Err(bad("there are not so many rounds"));
        }
        grow(&mut outcome.rounds, round, Vec::new);
        let samples = &mut outcome.rounds[round];
        grow(samples, index, || None);
        let place = |when: &str| -> Option<Place> {
            let trip = figure(&format!("line_{when}_ns")).ok()?;
            Some(Place { trip, streamed: figure(&format!("stream_{when}_ns")).ok()? })
        };
        let sample = samples[index].get_or_insert(Sample {
            figures: Vec::new(),
            times: Vec::new(),
            probes: place("before").zip(place("after")),
            noise: figure("run_queue_delay")?,
            // Samples of other versions do not say.
            moved: fields.get("moved").is_some_and(|moved| moved == "1"),
        });
        sample.figures.push(Figure::new(field("metric")?, field("unit")?, figure("value")?));
    }
    Ok(outcomes)
}

/// The outcome of a case, made when it comes first.
fn case<'a>(outcomes: &'a mut Vec<Outcome>, group: &str, case: &str) -> &'a mut Outcome {
    let known = outcomes.iter().position(|known| known.group == group && known.case == case);
    let index = known.unwrap_or_else(|| {
        outcomes.push(Outcome::of(group, case, Plot::Bars));
        outcomes.len() - 1
    });
    &mut outcomes[index]
}

/// Makes a list long enough to have this index.
fn grow<T>(list: &mut Vec<T>, index: usize, with: impl FnMut() -> T) {
    list.resize_with(list.len().max(index + 1), with);
}

/// Adds what failed to cases in which something else did not.
pub(super) fn read_failures(text: &str, outcomes: &mut [Outcome]) {
    for line in text.lines().skip(1) {
        if let Ok([group, case, subject, why]) = <[String; 4]>::try_from(fields(line))
            && let Some(outcome) =
                outcomes.iter_mut().find(|known| known.group == group && known.case == case)
        {
            outcome.failed.push((subject, why));
        }
    }
}

/// A machine as it was written.
pub(super) fn read_machine(text: &str) -> Vec<(String, String)> {
    let pair = |line: &str| {
        let mut fields = fields(line).into_iter();
        Some((fields.next()?, fields.next()?))
    };
    text.lines().filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::report::samples::{failures, machine, text};

    fn sample(value: f64) -> Sample {
        let place = Place { trip: 60.5, streamed: 9.25 };
        Sample {
            figures: vec![Figure::new("p50_ns", "ns", value), Figure::new("max_ns", "ns", 9e3)],
            times: Vec::new(),
            probes: Some((place, place)),
            noise: 0.125,
            moved: value == 2.0,
        }
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let bare = Sample { probes: None, ..sample(7.0) };
        let mut all = Vec::new();
        case(&mut all, "latency", "a, \"b\"").subjects = vec!["x, y".into(), "z".into()];
        all[0].rounds = vec![vec![Some(sample(1.5)), None], vec![Some(sample(2.0)), Some(bare)]];
        case(&mut all, "attach", "a, \"b\"").subjects = vec!["only".into()];
        all[1].rounds = vec![vec![Some(sample(3.0))]];
        let written = text(&all);
        let read = read(&written).unwrap();
        assert_eq!(text(&read), written);
        assert_eq!(read.len(), 2);
        assert_eq!(read[0].subjects, all[0].subjects);
        let first = read[0].samples(1).map(|sample| sample.figures[0].value);
        assert_eq!(first.collect::<Vec<_>>(), [7.0]);
        let mut read = read;
        all[1].failed.push(("late, \"one\"".into(), "no end, at all".into()));
        read_failures(&failures(&all), &mut read);
        assert_eq!(read[1].failed, all[1].failed);
        assert!(read[0].failed.is_empty());
        let said = [("processor", "one, \"two\"".to_owned())];
        let pair = ("processor".to_owned(), said[0].1.clone());
        assert_eq!(read_machine(&machine(&said)), [pair]);
    }

    #[test]
    fn what_is_no_such_file_is_told_by_its_line() {
        let columns = text(&[]);
        let good = format!("{columns}g,c,s,0,m,1,2.5,,,,,0\n");
        assert_eq!(read(&good).unwrap().len(), 1);
        for bad in [good.replace("2.5", "much"), good.replace(",0,m", ",999999999999,m")] {
            let failure = read(&bad).unwrap_err();
            assert!(failure.message().unwrap().contains("line 2"), "{failure:?}");
        }
        assert!(read("a,b\n1,2\n").is_err());
    }
}
