//! Shared by the subcommands: what arguments mean, how many workers for how long, the progress bar, the
//! result, and remarks.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::time::{ClockId, clock_gettime};
use tombolo::Start;

use crate::failure::Failure;
use crate::signals::Signals;
use crate::standard;

/// A positive span of time, as an argument.
pub fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>().map(Duration::try_from_secs_f64) {
        Ok(Ok(span)) if !span.is_zero() => Ok(span),
        _ => Err("not a positive number of seconds".to_owned()),
    }
}

/// A positive span of time to wait for, as an argument: one that is too long to be
/// said is for ever.
pub fn timeout(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(span) if span < 0.0 => Err("a time-out is not negative".to_owned()),
        Ok(span) if span > 0.0 && Duration::try_from_secs_f64(span).is_err() => Ok(Duration::MAX),
        _ => seconds(text),
    }
}

/// Where a subscriber begins, as an argument.
pub fn start(text: &str) -> Result<Start, String> {
    let last = || text.strip_prefix("last:").and_then(|count| count.parse().ok());
    match text {
        "newest" => Ok(Start::Newest),
        "oldest" => Ok(Start::Oldest),
        _ => last().map(Start::Last).ok_or_else(|| "newest, oldest or last:K".to_owned()),
    }
}

/// How many producers and consumers there are to be: with `--spsc` one of
/// each, otherwise two unless it is said.
pub fn crew(
    spsc: bool,
    producers: Option<u16>,
    consumers: Option<u16>,
) -> Result<(u16, u16), Failure> {
    let default = if spsc { 1 } else { 2 };
    let crew = (producers.unwrap_or(default), consumers.unwrap_or(default));
    if spsc && crew != (1, 1) {
        let (producers, consumers) = crew;
        return Err(Failure::Unusable(format!(
            "--spsc means one producer and one consumer, not {producers} and {consumers}"
        )));
    }
    Ok(crew)
}

/// A bar, hidden where standard error is not a terminal.
pub fn progress(length: u64, quiet: bool) -> ProgressBar {
    let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(Some(length), target);
    match ProgressStyle::with_template("{wide_bar} {msg}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Milliseconds, for a bar.
pub fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// Nanoseconds on the clock that all processes have in common.
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// How a worker ended that was not expected to.
pub fn fate(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("was killed by signal {signal}"),
        (None, Some(code)) => format!("ended with status {code} before its work was done"),
        (None, None) => "ended before its work was done".to_owned(),
    }
}

/// Waits so long, or until a signal that asks to end.
pub fn wait_for_a_signal(signals: &Signals, span: Duration) -> Option<Signal> {
    let until = Instant::now().checked_add(span);
    loop {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let millis = left.map_or(i32::MAX, |left| {
            i32::try_from(left.as_micros().div_ceil(1000)).unwrap_or(i32::MAX)
        });
        let mut files = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        let _ = poll(&mut files, PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX));
        if let Some(signal) = signals.caught() {
            return Some(signal);
        }
        if left.is_some_and(|left| left.is_zero()) {
            return None;
        }
    }
}

/// Prints a result. The reader may have gone by now.
pub fn print(text: &str) -> Result<(), Failure> {
    standard::print(text).map_err(|error| Failure::broken("cannot write the result", error))
}

/// Says something that is no result. The reader may have gone.
pub fn remark(what: &str) {
    let _ = writeln!(io::stderr(), "tombolo: {what}");
}
