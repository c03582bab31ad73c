//! What was seen, as lines of 80 columns.

use super::rows::{ChannelRow, SegmentRow, View};
use crate::plain::plain;

/// By what channels are sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sort {
    #[default]
    Name,
    Rate,
    Depth,
    Asleep,
}

/// What is shown of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Shown {
    pub(super) sort: Sort,
    /// Only segments and channels whose names contain this.
    pub(super) filter: String,
    /// Without what is below the channels' rows.
    pub(super) bare: bool,
}

/// A line, and whether it is a segment's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) text: String,
    pub(super) segment: bool,
}

pub(super) const WIDTH: usize = 80;

impl Sort {
    pub(super) const fn next(self) -> Self {
        match self {
            Self::Name => Self::Rate,
            Self::Rate => Self::Depth,
            Self::Depth => Self::Asleep,
            Self::Asleep => Self::Name,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Rate => "rate",
            Self::Depth => "depth",
            Self::Asleep => "asleep",
        }
    }
}

pub(super) fn heading() -> String {
    row(["CHANNEL", "KIND", "RATE/s", "DEPTH", "CAP", "SEND", "RECV", "ASLEEP"].map(str::to_owned))
}

fn row([name, kind, rate, depth, capacity, senders, receivers, asleep]: [String; 8]) -> String {
    let name = shortened(&name, 22);
    format!(
        "{name:22} {kind:15} {rate:>7} {depth:>6} {capacity:>6} {senders:>4} {receivers:>4} \
         {asleep:>9}"
    )
}

/// All of it as a text.
pub(super) fn text(view: &View, shown: &Shown) -> String {
    let lines = lines(view, shown);
    if lines.is_empty() {
        return "there are no segments".to_owned();
    }
    let lines = lines.into_iter().map(|line| line.text);
    [heading()].into_iter().chain(lines).collect::<Vec<_>>().join("\n")
}

pub(super) fn lines(view: &View, shown: &Shown) -> Vec<Line> {
    let mut lines = Vec::new();
    for segment in &view.segments {
        let named = |name: &str| plain(name).contains(&shown.filter);
        let all = named(&segment.name);
        let mut channels: Vec<&ChannelRow> =
            segment.channels.iter().filter(|channel| all || named(&channel.name)).collect();
        if channels.is_empty() && !all {
            continue;
        }
        sort(&mut channels, shown.sort);
        lines.push(Line { text: heading_of(segment), segment: true });
        let mut line = |text: String| lines.push(Line { text, segment: false });
        if !shown.bare {
            let bridge = segment.bridge.iter();
            bridge.map(|it| shortened(&format!("  {}", it.words()), WIDTH)).for_each(&mut line);
            stopped(segment).into_iter().for_each(&mut line);
        }
        for channel in channels {
            line(row_of(channel));
            if !shown.bare {
                details(channel, segment).into_iter().for_each(&mut line);
            }
        }
    }
    lines
}

fn sort(channels: &mut [&ChannelRow], by: Sort) {
    match by {
        Sort::Name => {}
        Sort::Rate => {
            let rate = |row: &ChannelRow| row.rate_per_second.unwrap_or(0.0);
            channels.sort_by(|a, b| rate(b).total_cmp(&rate(a)));
        }
        Sort::Depth => channels.sort_by_key(|row| std::cmp::Reverse(row.backlog())),
        Sort::Asleep => channels.sort_by_key(|row| std::cmp::Reverse(row.asleep())),
    }
}

fn heading_of(segment: &SegmentRow) -> String {
    let anonymous = format!("@{} (anonymous)", segment.id);
    let name = if segment.name.is_empty() { anonymous } else { plain(&segment.name) };
    let touched = match segment.resident {
        Some(resident) => format!("{} of {}", bytes(resident as f64), bytes(segment.size as f64)),
        None => bytes(segment.size as f64),
    };
    let unsure = if segment.living_known { "" } else { "?" };
    let deaths = match segment.deaths {
        0 => String::new(),
        deaths => format!(", {deaths} died"),
    };
    let state =
        if segment.state == "open" { String::new() } else { format!(", {}", segment.state) };
    let rest =
        format!(": {} in it{unsure}, {touched} touched{deaths}{state}", segment.participants);
    format!("{}{rest}", shortened(&name, WIDTH.saturating_sub(rest.chars().count())))
}

fn stopped(segment: &SegmentRow) -> Option<String> {
    let stopped = segment.people.iter().filter(|person| person.stopped == Some(true));
    listed("  stopped: ", stopped.map(|person| format!("pid {}", person.pid)))
}

fn row_of(channel: &ChannelRow) -> String {
    let rate = match channel.rate_per_second {
        Some(rate) if channel.unit == "bytes" => format!("{}B", number(rate)),
        Some(rate) => number(rate),
        None => "new".to_owned(),
    };
    let count = |count: Option<u64>| count.map_or_else(|| "?".to_owned(), |n| number(n as f64));
    let asleep = |count: Option<u32>, whose: &str| match count {
        Some(0) => None,
        Some(count) => Some(format!("{}{whose}", number(f64::from(count)))),
        None => Some("?".to_owned()),
    };
    let sleepers = [asleep(channel.senders_asleep, "s"), asleep(channel.receivers_asleep, "r")];
    row([
        format!("  {}", plain(&channel.name)),
        channel.kind.clone(),
        rate,
        number(channel.depth as f64),
        number(channel.capacity as f64),
        count(channel.senders),
        count(channel.receivers),
        sleepers.into_iter().flatten().collect::<Vec<_>>().join(" "),
    ])
}

/// What is below a channel's row.
fn details(channel: &ChannelRow, segment: &SegmentRow) -> Vec<String> {
    let is_stopped = |pid| {
        let stopped = segment.people.iter().any(|it| it.pid == pid && it.stopped == Some(true));
        if stopped { " stopped" } else { "" }
    };
    let reliable = channel.reliable.iter();
    let reliable =
        reliable.map(|row| format!("pid {} {} behind{}", row.pid, row.lag, is_stopped(row.pid)));
    let serving = channel.in_hand.iter();
    let serving =
        serving.map(|row| format!("pid {} {} calls{}", row.pid, row.calls, is_stopped(row.pid)));
    // Those who have said so; nobody takes it back at once.
    let asleep = channel.waiting.iter().filter(|row| {
        row.senders > 0 && channel.senders_asleep != Some(0)
            || row.receivers > 0 && channel.receivers_asleep != Some(0)
    });
    let asleep = asleep.map(|row| format!("pid {}", row.pid));
    let lost = [
        (channel.redelivered, "redelivered"),
        (channel.unsent, "unsent"),
        (channel.dropped, "dropped"),
    ];
    let lost = lost.into_iter().filter(|(count, _)| *count > 0);
    [
        listed("    reliable: ", reliable),
        listed("    serving: ", serving),
        listed("    asleep: ", asleep),
        listed("    with the dead: ", lost.map(|(count, what)| format!("{count} {what}"))),
    ]
    .into_iter()
    .flatten()
    .chain(channel.bridged.iter().map(|it| shortened(&format!("    {}", it.words()), WIDTH)))
    .collect()
}

/// Items side by side, as many as there is room for; `None` if there are none.
fn listed(what: &str, items: impl Iterator<Item = String>) -> Option<String> {
    let items: Vec<String> = items.collect();
    let mut line = format!("{what}{}", items.first()?);
    for (n, item) in items.iter().enumerate().skip(1) {
        let left = items.len() - n;
        if line.len() + item.len() + 2 + ", and 1000 more".len() > WIDTH && left > 1 {
            line.push_str(&format!(", and {left} more"));
            break;
        }
        line.push_str(", ");
        line.push_str(item);
    }
    Some(shortened(&line, WIDTH))
}

/// A text of so many characters at most.
fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let start: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{start}~")
}

/// A number in at most six characters.
pub(super) fn number(value: f64) -> String {
    scaled(value, 1000.0, &["", "k", "M", "G", "T", "P", "E"])
}

fn bytes(value: f64) -> String {
    scaled(value, 1024.0, &["", "K", "M", "G", "T", "P", "E"])
}

fn scaled(value: f64, step: f64, units: &[&str]) -> String {
    let mut value = value;
    let mut unit = 0;
    // As it is shown, with the rounding.
    while value >= 9999.5 && unit + 1 < units.len() {
        value /= step;
        unit += 1;
    }
    let name = units.get(unit).copied().unwrap_or_default();
    let digits =
        if value > 0.0 && value < 9.95 && (unit > 0 || value.fract() > 0.0) { 1 } else { 0 };
    format!("{value:.digits$}{name}")
}
