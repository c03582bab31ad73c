//! Writes every sample, the failures and the machine as files for further
//! calculation.

use std::fmt::Write;

use super::super::board::Place;
use super::super::records::Outcome;

const COLUMNS: &str = "group,case,subject,round,metric,unit,value,line_before_ns,line_after_ns,\
                       stream_before_ns,stream_after_ns,run_queue_delay,moved";

/// A field, in one line.
pub(crate) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\"").replace('\n', " "))
}

pub(crate) fn text(outcomes: &[Outcome]) -> String {
    let mut text = format!("{COLUMNS}\n");
    for outcome in outcomes {
        for (round, samples) in outcome.rounds.iter().enumerate() {
            for (subject, sample) in outcome.subjects.iter().zip(samples) {
                let Some(sample) = sample else {
                    continue;
                };
                let place = |what: fn(&(Place, Place)) -> f64| {
                    sample.probes.as_ref().map(what).map_or(String::new(), |ns| ns.to_string())
                };
                for figure in &sample.figures {
                    let _ = writeln!(
                        text,
                        "{},{},{},{round},{},{},{},{},{},{},{},{},{}",
                        outcome.group,
                        quoted(&outcome.case),
                        quoted(subject),
                        figure.metric,
                        figure.unit,
                        figure.value,
                        place(|(before, _)| before.trip),
                        place(|(_, after)| after.trip),
                        place(|(before, _)| before.streamed),
                        place(|(_, after)| after.streamed),
                        sample.noise,
                        u8::from(sample.moved),
                    );
                }
            }
        }
    }
    text
}

/// The subjects that were left out, each with the reason, a line each.
pub(crate) fn failures(outcomes: &[Outcome]) -> String {
    let mut text = String::from("group,case,subject,why\n");
    for outcome in outcomes {
        for (subject, why) in &outcome.failed {
            let [case, subject, why] = [&outcome.case, subject, why].map(|text| quoted(text));
            let _ = writeln!(text, "{},{case},{subject},{why}", outcome.group);
        }
    }
    text
}

/// The machine, a property a line.
pub(crate) fn machine(machine: &[(&'static str, String)]) -> String {
    let line = |(what, how): &(&str, String)| format!("{},{}\n", quoted(what), quoted(how));
    machine.iter().map(line).collect()
}
