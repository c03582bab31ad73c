//! The README's plot: small messages a second, for each library.

use std::fmt::Write;

use super::Run;
use super::libraries::{LIBRARIES, LINE, Question, SMALL};
use crate::failure::Failure;
use crate::harness::records::Record;
use crate::harness::table::amount;

pub(super) const TITLE: &str = "Messages a second from one sender to one receiver";

const WIDTH: usize = 860;
const ROW: usize = 26;
/// Where the rows begin, and from where to where the axis goes.
const TOP: usize = 112;
const AXIS: (f64, f64) = (230.0, 715.0);

/// A row: whose, in which colour, and of messages of 8 B and of 64 B.
struct Row {
    name: String,
    colour: &'static str,
    figures: [Option<Record>; 2],
}

fn rows(runs: &[Run]) -> Vec<Row> {
    let figures = |names: &dyn Fn(&Question) -> Vec<&'static str>| {
        [SMALL, LINE].map(|question| question.figure(runs, &names(&question)))
    };
    let mut rows = vec![
        Row {
            name: "Tombolo".to_owned(),
            colour: "#0a58ca",
            figures: figures(&|question| question.ours.to_vec()),
        },
        Row {
            name: "by hand, no promises".to_owned(),
            colour: "#333333",
            figures: figures(&|question| vec![question.limit]),
        },
    ];
    rows.extend(LIBRARIES.iter().map(|library| Row {
        name: format!("{}{}", library.name, if library.threads { " †" } else { "" }),
        colour: if library.threads { "#8a6d3b" } else { "#c2410c" },
        figures: figures(&|_| vec![library.named]),
    }));
    rows.retain(|row| row.figures.iter().any(Option::is_some));
    let rate = |row: &Row| row.figures.iter().flatten().next().map_or(0.0, |one| one.median);
    rows.sort_by(|one, other| rate(other).total_cmp(&rate(one)));
    rows
}

/// The picture. It brings its own background: it is as readable on a dark page.
pub(super) fn of(runs: &[Run]) -> Result<String, Failure> {
    let rows = rows(runs);
    let figures = || rows.iter().flat_map(|row| row.figures.iter().flatten());
    let least = figures().map(|one| one.min).fold(f64::INFINITY, f64::min);
    let most = figures().map(|one| one.max).fold(0.0, f64::max);
    if !(least > 0.0 && least.is_finite() && most.is_finite()) {
        let what = "the reports have no throughput of 8 B or 64 B in 1024 slots, one at a time";
        return Err(Failure::Unusable(what.to_owned()));
    }
    // Whole powers of ten.
    let (from, to) = (least.log10().floor(), most.log10().ceil().max(least.log10().floor() + 1.0));
    let at = |value: f64| AXIS.0 + (AXIS.1 - AXIS.0) * (value.log10() - from) / (to - from);
    let bottom = TOP + ROW * rows.len();
    let height = bottom + 66;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         width=\"{WIDTH}\" height=\"{height}\" role=\"img\" font-family=\"sans-serif\" \
         font-size=\"14\" fill=\"#222222\">\n<title>{TITLE}</title>\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" rx=\"8\" fill=\"#ffffff\"/>\n"
    );
    text(&mut svg, (20.0, 32.0), "start", "font-size=\"19\" font-weight=\"bold\"", TITLE);
    let what = "One at a time, through 1,024 slots; every word written and checked. \
                Further to the right is better.";
    text(&mut svg, (20.0, 56.0), "start", "fill=\"#555555\"", what);
    for (x, filled, size) in [(236.0, true, "8 B a message"), (386.0, false, "64 B a message")] {
        dot(&mut svg, (x, 80.0), "#222222", filled);
        text(&mut svg, (x + 14.0, 85.0), "start", "", size);
    }
    text(&mut svg, (536.0, 85.0), "start", "", "line: from the worst to the best round");
    for power in from as i32..=to as i32 {
        let x = at(10_f64.powi(power));
        let _ = writeln!(
            svg,
            "<line x1=\"{x:.1}\" y1=\"{}\" x2=\"{x:.1}\" y2=\"{bottom}\" stroke=\"#dddddd\"/>",
            TOP - 6
        );
        let label = rate(10_f64.powi(power)).replace(".00", "").replace(".0 ", " ");
        text(&mut svg, (x, bottom as f64 + 18.0), "middle", "", &label);
    }
    let notes = "messages a second (logarithmic) · † between threads of one process; \
                 all others between processes";
    text(&mut svg, (20.0, bottom as f64 + 46.0), "start", "fill=\"#555555\"", notes);
    for (index, row) in rows.iter().enumerate() {
        let y = (TOP + ROW * index) as f64 + 10.0;
        let weight = if row.name == "Tombolo" { "font-weight=\"bold\"" } else { "" };
        let style = format!("{weight} fill=\"{}\"", row.colour);
        text(&mut svg, (AXIS.0 - 14.0, y + 5.0), "end", style.trim_start(), &row.name);
        for (one, filled) in row.figures.iter().zip([true, false]) {
            let Some(one) = one else {
                continue;
            };
            let y = if filled { y - 3.0 } else { y + 4.0 };
            let _ = writeln!(
                svg,
                "<line x1=\"{:.1}\" y1=\"{y}\" x2=\"{:.1}\" y2=\"{y}\" stroke=\"{}\" \
                 stroke-width=\"2\"/>",
                at(one.min),
                at(one.max),
                row.colour
            );
            dot(&mut svg, (at(one.median), y), row.colour, filled);
        }
        let told =
            |one: &Option<Record>| one.as_ref().map_or("–".to_owned(), |one| rate(one.median));
        let rates = row.figures.each_ref().map(told).join(" / ");
        text(&mut svg, (WIDTH as f64 - 12.0, y + 5.0), "end", &style, &rates);
    }
    Ok(svg + "</svg>\n")
}

/// Messages a second, without saying so.
fn rate(value: f64) -> String {
    amount(value, "1/s").replace(" msg/s", "")
}

fn text(svg: &mut String, (x, y): (f64, f64), anchor: &str, style: &str, what: &str) {
    let what = what.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" {style}>{what}</text>"
    );
}

/// Filled, or a ring.
fn dot(svg: &mut String, (x, y): (f64, f64), colour: &str, filled: bool) {
    let fill = if filled { colour } else { "#ffffff" };
    let _ = writeln!(
        svg,
        "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4.5\" fill=\"{fill}\" stroke=\"{colour}\" \
         stroke-width=\"2\"/>"
    );
}
