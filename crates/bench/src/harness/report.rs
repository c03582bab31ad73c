//! The report: one self-contained page, its plots as files, and the samples.

mod chart;
mod plots;
pub(crate) mod samples;

use std::fmt::Write;
use std::fs;
use std::path::Path;

use super::records::Outcome;
use super::table::{amount, heading, metrics, ranked};
use crate::failure::Failure;

/// The files to calculate with.
pub(crate) const SAMPLES: &str = "samples.csv";
pub(crate) const FAILURES: &str = "failures.csv";
pub(crate) const MACHINE: &str = "machine.csv";

/// How to read a group, in a sentence or two.
fn explanation(group: &str) -> &'static str {
    match group {
        "limits" => {
            "What the machine itself can do: nothing built on it is faster. Ratios are to the \
             first row's limit where one thing is made of the other, as system calls are of an \
             empty one."
        }
        "latency" => {
            "How long a message of 8 bytes takes there and another one back. A curve shows \
             which part of the exchanges took at most how long: further to the right is \
             rarer, lower is better. Exchanges that began late because those before them \
             took too long count from when they were due."
        }
        "throughput" => {
            "One process sends, one receives, and every byte is written and checked. Higher \
             is better; both axes are logarithmic. Whiskers show the worst and the best round."
        }
        "contention" => {
            "Several processes send and several receive through one channel, each message \
             once. With more processes than processors, the scheduler is measured too."
        }
        "broadcast" => {
            "Each subscriber gets every message. Publishers wait for reliable subscribers; lossy \
             ones miss what they are too slow for. The rate is of what a subscriber received; \
             the share that it missed is beside it. With more processes than processors, the scheduler is measured too."
        }
        "recovery" => {
            "From SIGKILL until a process that slept has what the dead one held up. Lower is \
             better. The limit is what the kernel needs to undo a semaphore operation and to \
             wake somebody."
        }
        "attach" => "What it costs to make a segment, and to join one. Lower is better.",
        _ => "",
    }
}

/// Makes the folder, before anything is measured for it.
pub(crate) fn make(folder: &Path) -> Result<(), Failure> {
    fs::create_dir_all(folder).map_err(|error| {
        Failure::unusable(format!("cannot make the folder {}", folder.display()), error)
    })
}

/// Writes the report into its folder.
pub(crate) fn write(
    folder: &Path,
    machine: &[(&'static str, String)],
    outcomes: &[Outcome],
) -> Result<(), Failure> {
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text)
            .map_err(|error| Failure::unusable(format!("cannot write {}", path.display()), error))
    };
    let plots = plots::all(outcomes)?;
    for plot in &plots {
        write(&format!("{}.svg", plot.name), &plot.svg)?;
    }
    write(SAMPLES, &samples::text(outcomes))?;
    write(FAILURES, &samples::failures(outcomes))?;
    write(MACHINE, &samples::machine(machine))?;
    write("index.html", &page(machine, outcomes, &plots))
}

const STYLE: &str = "body{font:15px/1.5 sans-serif;max-width:1060px;margin:2em auto;padding:0 1em;\
color:#222}table{border-collapse:collapse;margin:1em 0 2em}td,th{padding:.15em .8em;text-align:right;\
border-bottom:1px solid #8884}td:first-child,th:first-child{text-align:left}\
tr.limit{font-style:italic}tr.ours{font-weight:bold}tr.ours td:first-child{color:#1464dc}\
p.method{color:#777;font-size:13px}svg{max-width:100%;height:auto}\
@media (prefers-color-scheme:dark){body{background:#16181c;color:#ddd}\
tr.ours td:first-child{color:#6aa5ff}}";

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn page(machine: &[(&'static str, String)], outcomes: &[Outcome], plots: &[plots::Plot]) -> String {
    let mut page = String::new();
    let _ = write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"color-scheme\" content=\"light dark\"><title>Tombolo, measured\
         </title><style>{STYLE}</style></head><body>\n<h1>Tombolo, measured</h1>\n<table>\n"
    );
    for (what, how) in machine {
        let _ = writeln!(page, "<tr><td>{what}</td><td>{}</td></tr>", escaped(how));
    }
    page.push_str(
        "</table>\n<p>Figures are medians over rounds in which all subjects of a case took turns, \
         in one placement of the processors; a ratio is to the limit (in italics) of the same round; ours are in bold. \
         Where the ranges of two subjects overlap, neither is faster.</p>\n",
    );
    let mut group = "";
    for outcome in outcomes {
        if outcome.group != group {
            group = &outcome.group;
            let _ = writeln!(page, "<h2>{group}</h2>\n<p>{}</p>", explanation(group));
            for plot in plots.iter().filter(|plot| plot.group == group) {
                // Only a file of its own needs the namespace.
                let svg = plot.svg.replace(" xmlns=\"http://www.w3.org/2000/svg\"", "");
                let _ = writeln!(page, "<figure>{svg}</figure>");
            }
        }
        table(&mut page, outcome);
    }
    page.push_str("</body></html>\n");
    page
}

fn table(page: &mut String, outcome: &Outcome) {
    let records = outcome.records();
    let metrics = metrics(&records);
    let _ = write!(page, "<h3>{}</h3>\n<table><tr><th></th>", escaped(&outcome.case));
    for metric in &metrics {
        let _ = write!(page, "<th>{}</th>", heading(metric));
        if Some(metric) == metrics.first() {
            page.push_str("<th>range</th><th>ratio</th>");
        }
    }
    page.push_str("</tr>\n");
    let Some(main) = metrics.first() else {
        page.push_str("</table>\n");
        return;
    };
    for record in ranked(&records, main) {
        let limit = Some(&record.subject) == outcome.subjects.first();
        let class = match (limit, chart::is_ours(&record.subject)) {
            (true, _) => " class=\"limit\"",
            (_, true) => " class=\"ours\"",
            _ => "",
        };
        let _ = write!(
            page,
            "<tr{class}><td>{}</td><td>{}</td><td>{} to {}</td><td>{:.2}</td>",
            escaped(&record.subject),
            amount(record.median, &record.unit),
            amount(record.min, &record.unit),
            amount(record.max, &record.unit),
            record.ratio_to_limit,
        );
        for metric in metrics.iter().skip(1) {
            let same = records
                .iter()
                .find(|other| other.subject == record.subject && other.metric == *metric);
            let value = same.map(|same| amount(same.median, &same.unit)).unwrap_or_default();
            let _ = write!(page, "<td>{value}</td>");
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table>\n<p class=\"method\">");
    let _ = write!(page, "{} rounds", outcome.rounds.len());
    for record in outcome.method() {
        let _ = write!(
            page,
            "; {} {}, at most {}",
            heading(&record.metric),
            amount(record.median, &record.unit),
            amount(record.max, &record.unit)
        );
    }
    if let Some(verdict) = outcome.verdict() {
        let _ = write!(page, ". {}", escaped(&verdict));
    }
    for (subject, why) in &outcome.failed {
        let _ = write!(page, ". {} was left out: {}", escaped(subject), escaped(why));
    }
    page.push_str("</p>\n");
}
