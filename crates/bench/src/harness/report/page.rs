//! The page: at a glance what was measured and what came of it, and below that everything.

use std::fmt::Write;

use super::super::records::Outcome;
use super::super::table::{amount, heading, metrics, ranked};
use super::{chart, glance, plots};

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

/// In the look of the documents' site.
const STYLE: &str = "\
:root{--bg:#fff;--fg:#1f2328;--dim:#57606a;--line:#d0d7de;--card:#f6f8fa;--ours:#1464dc;--other:#8c959f;--limit:#bf8700}\
@media (prefers-color-scheme:dark){:root{--bg:#161923;--fg:#bcbdd0;--dim:#8b8fa8;--line:#2d334f;--card:#1c2030;\
--ours:#6aa5ff;--other:#6e7681;--limit:#d29922}}\
*{box-sizing:border-box}\
body{font:16px/1.5 'Open Sans',sans-serif;max-width:1060px;margin:0 auto;padding:1em;background:var(--bg);color:var(--fg)}\
h1{margin:.2em 0}h2{margin-top:2em;border-top:1px solid var(--line);padding-top:.6em}h3{margin-bottom:.3em}\
p.machine,p.method,p.key{color:var(--dim);font-size:14px}p.method{overflow-wrap:anywhere}\
nav a{color:var(--ours);margin-right:1em}\
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr));gap:1em}\
.card{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:.8em 1em}\
.card h3{margin:0;font-size:16px}.card p{margin:.4em 0 .8em}\
.bar{display:grid;grid-template-columns:38% 1fr 6em;gap:.6em;align-items:center;font-size:14px;line-height:1.6}\
.bar b{font-weight:inherit;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}\
.bar i{display:block;height:12px;min-width:2px;border-radius:2px;background:var(--other)}\
.bar span{text-align:right;white-space:nowrap}\
.bar.ours{font-weight:600}.bar.ours i{background:var(--ours)}.bar.limit i{background:var(--limit)}\
.wide,figure{overflow-x:auto}figure{margin:1em 0}figure svg{min-width:780px;max-width:100%;height:auto}\
table{border-collapse:collapse;margin:.5em 0;font-size:14px}\
td,th{padding:.15em .8em;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}\
td:first-child,th:first-child{text-align:left}\
tr.limit{font-style:italic}tr.ours{font-weight:bold}tr.ours td:first-child{color:var(--ours)}";

pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

pub(super) fn page(
    machine: &[(&'static str, String)],
    outcomes: &[Outcome],
    plots: &[plots::Plot],
) -> String {
    let mut page = String::new();
    let _ = write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><title>Tombolo, measured\
         </title><style>{STYLE}</style></head><body>\n<h1>Tombolo, measured</h1>\n"
    );
    let said = |what| machine.iter().find(|(key, _)| *key == what).map_or("?", |(_, how)| how);
    let _ = writeln!(
        page,
        "<p>Channels between processes, beside the other ways that Linux has, and beside what \
         the same machine does without any guarantee (the limit). All took turns, so that each had the \
         same machine.</p>\n<p class=\"machine\">{}; Linux {}; {}.</p>",
        escaped(said("processor")),
        escaped(said("kernel")),
        escaped(said("date")),
    );
    glance::write(&mut page, outcomes);
    let mut groups: Vec<&str> = outcomes.iter().map(|outcome| outcome.group.as_str()).collect();
    groups.dedup();
    page.push_str("<h2>Everything</h2>\n<nav>");
    for group in &groups {
        let _ = write!(page, "<a href=\"#{group}\">{group}</a> ");
    }
    page.push_str(
        "<a href=\"#machine\">machine</a></nav>\n<p>Figures are medians over rounds in which all subjects of \
         a case took turns, in one placement of the processors; a ratio is to the limit (in italics) of the same \
         round; ours are in bold. Where the ranges of two subjects overlap, neither is faster.</p>\n",
    );
    for group in groups {
        let _ = writeln!(page, "<h2 id=\"{group}\">{group}</h2>\n<p>{}</p>", explanation(group));
        for plot in plots.iter().filter(|plot| plot.group == group) {
            // Only a file of its own needs the namespace.
            let svg = plot.svg.replace(" xmlns=\"http://www.w3.org/2000/svg\"", "");
            let _ = writeln!(page, "<figure>{svg}</figure>");
        }
        for outcome in outcomes.iter().filter(|outcome| outcome.group == group) {
            table(&mut page, outcome);
        }
    }
    page.push_str("<h2 id=\"machine\">The machine</h2>\n<div class=\"wide\"><table>\n");
    for (what, how) in machine {
        let _ = writeln!(page, "<tr><td>{what}</td><td>{}</td></tr>", escaped(how));
    }
    page.push_str("</table></div>\n</body></html>\n");
    page
}

fn table(page: &mut String, outcome: &Outcome) {
    let records = outcome.records();
    let metrics = metrics(&records);
    let _ = write!(
        page,
        "<h3>{}</h3>\n<div class=\"wide\"><table><tr><th></th>",
        escaped(&outcome.case)
    );
    for metric in &metrics {
        let _ = write!(page, "<th>{}</th>", heading(metric));
        if Some(metric) == metrics.first() {
            page.push_str("<th>range</th><th>ratio</th>");
        }
    }
    page.push_str("</tr>\n");
    let Some(main) = metrics.first() else {
        page.push_str("</table></div>\n");
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
    page.push_str("</table></div>\n<p class=\"method\">");
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
