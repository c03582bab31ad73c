//! `tombolo top`: what goes on in the segments, again and again.
//!
//! ```text
//!  rows      what a look has found, with rates since the one before
//!  table     the same as lines of 80 columns
//!  screen    the live view: what is shown, and what keys do
//!  terminal  a terminal that is put back as it was
//! ```

mod rows;
mod screen;
mod table;
mod terminal;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use tombolo::{Observer, OpenError};

use crate::bridges::Bridges;
use crate::failure::Failure;
use crate::plain::json;
use crate::signals::Signals;
use crate::standard;
use crate::target::Target;
use crate::terms::{seconds, wait_for_a_signal};
use rows::{Before, View};
use table::Shown;

/// Shows what goes on in the segments: rates, depths, who waits, who is stopped.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tombolo top
  tombolo top market --once
  tombolo top --json --interval 0.5 | jq -c '.segments[].channels[] | [.name, .rate_per_second]'

A row for each segment: how many processes are in it, how much of its memory has
been touched, how many have died in it. Then one for each channel: what goes in per
second (of SPSC bytes: bytes), how many messages are in it, how many it holds, its
senders and receivers, and how many threads sleep, as the kernel says it: 2s in a
send, 1r in a receive. Below that: the subscribers that publishers wait for and how
many messages each has not read, servers with calls in hand, processes that wait, those that are
stopped (by a signal or a debugger), what was redelivered or lost with the dead, and the
bridges that carry the channel between hosts.

Keys: q ends, space pauses, s sorts by the next column, d hides the details,
/ filters by name, arrows and page keys move, ? says so. Where TERM is dumb or unset, a
table follows the other. --once takes two looks, an interval apart. Looking changes nothing in a segment.
What it may change of the kernel's own account: see `tombolo ls --help`; nothing
where it runs as root.")]
pub(crate) struct Args {
    /// The segment, or @ID; all of them if it is left out
    #[arg(value_name = "NAME")]
    segment: Option<Target>,
    /// Print one table, and end
    #[arg(long)]
    once: bool,
    /// Print a JSON object for each look
    #[arg(long)]
    json: bool,
    /// How often to look
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    interval: Duration,
}

/// Looks, and knows what it has seen before.
#[derive(Debug)]
struct Looking {
    observer: Observer,
    bridges: Bridges,
    before: Before,
    at: Instant,
    /// That of the one segment that is looked at.
    name: Option<String>,
}

impl Looking {
    fn new(segment: Option<&Target>) -> Result<Self, OpenError> {
        let mut observer = match segment {
            Some(segment) => segment.observer()?,
            None => Observer::all(),
        };
        let before = Before::of(&observer.look()?);
        let name = segment.map(Target::to_string);
        let bridges = Bridges::default();
        Ok(Self { observer, bridges, before, at: Instant::now(), name })
    }

    /// What there is, and what has happened since the last look.
    fn look(&mut self) -> Result<View, OpenError> {
        let found = self.observer.look()?;
        let now = Instant::now();
        let bridges = self.bridges.of(&found, self.name.is_none());
        let view = View::of(&found, &bridges, &self.before, now.duration_since(self.at));
        (self.before, self.at) = (Before::of(&found), now);
        Ok(view)
    }
}

fn unreadable(error: OpenError) -> Failure {
    Failure::unusable("cannot look at the segments", error)
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let unwritable = |error| Failure::broken("cannot write what was seen", error);
    standard::check_output().map_err(unwritable)?;
    let mut looking = Looking::new(args.segment.as_ref()).map_err(unreadable)?;
    let live = !args.once && !args.json && terminal::can_move_its_cursor();
    if live {
        return screen::run(&mut looking, args.interval);
    }
    let held = |error| Failure::broken("cannot handle signals", error);
    let signals = Signals::hold().map_err(held)?;
    loop {
        if let Some(signal) = wait_for_a_signal(&signals, args.interval) {
            return Err(Failure::Signalled(signal));
        }
        let view = looking.look().map_err(unreadable)?;
        if let (Some(name), true) = (&looking.name, args.once && view.segments.is_empty()) {
            return Err(Failure::Unusable(format!("there is no segment {name} that may be read")));
        }
        let text = if args.json {
            json(&view).map_err(|error| Failure::broken("cannot write what was seen", error))?
        } else {
            table::text(&view, &Shown::default())
        };
        standard::print(&text).map_err(unwritable)?;
        if args.once {
            return Ok(());
        }
    }
}
