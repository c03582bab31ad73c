//! `tombolo doctor`: what on this machine will get in the way, and how to mend it.
//!
//! ```text
//!  kernel        the limits on System V objects, against what is asked for
//!  surroundings  containers, control groups, log-outs, sandboxes, processors
//!  trial         a segment, a message and a wake-up
//!  bridged       the bridges that there are
//!  host          the files that the kernel and the system answer with
//! ```

mod bridged;
mod host;
mod kernel;
mod surroundings;
#[cfg(test)]
mod tests;
mod trial;

use serde::Serialize;

use crate::failure::Failure;
use crate::plain::{json, plain};
use crate::standard;
use host::Host;

/// Looks for what will get in the way on this machine.
///
/// Compares the limits of the kernel with what a segment needs, looks at the
/// surroundings, tries a segment, a message and a wake-up, and asks the bridges between
/// hosts how they are. Changes nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tombolo doctor
  tombolo doctor --participants 500 --channels 200 --size 1073741824
  tombolo doctor --json | jq -r '.[] | select(.ok | not) | .remedy'

Exit status: 0 if nothing will get in the way, 1 if something will, 2 if this
machine cannot be asked. Each remedy is one command. Those that change the kernel
need root, and hold until the next start; a file in /etc/sysctl.d makes them last.")]
pub(crate) struct Args {
    /// Processes that shall be in the segment at a time
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=8192))]
    participants: u16,
    /// Channels that it shall have
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=4096))]
    channels: u16,
    /// Bytes for all of its channels
    #[arg(long, default_value_t = 64 << 20)]
    size: usize,
    /// Print one JSON array
    #[arg(long)]
    json: bool,
}

/// What was found in one matter. Its fields are those of the JSON object.
#[derive(Debug, Serialize)]
struct Row {
    check: String,
    ok: bool,
    found: String,
    wanted: String,
    /// One command, or what to do where there is none; empty if nothing is to be done.
    remedy: String,
}

impl Row {
    /// Something to know, which is in nobody's way.
    fn fine(check: impl Into<String>, found: impl Into<String>, wanted: impl Into<String>) -> Self {
        let (check, found, wanted) = (check.into(), found.into(), wanted.into());
        Self { check, ok: true, found, wanted, remedy: String::new() }
    }

    /// Fine if `ok`, otherwise something that the remedy mends.
    fn judged(
        ok: bool,
        check: impl Into<String>,
        found: impl Into<String>,
        wanted: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let row = Self::fine(check, found, wanted);
        if ok { row } else { Self { ok, remedy: remedy.into(), ..row } }
    }
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let mut rows = kernel::rows(args)
        .map_err(|error| Failure::unusable("cannot ask for the kernel's limits", error))?;
    rows.extend(surroundings::rows(&Host::this(), args));
    rows.extend(trial::rows(args));
    rows.extend(bridged::rows());
    let written = if args.json { as_json(&rows) } else { as_table(&rows) };
    written.map_err(|error| Failure::broken("cannot write what was found", error))?;
    if rows.iter().all(|row| row.ok) { Ok(()) } else { Err(Failure::Told(1)) }
}

fn as_json(rows: &[Row]) -> std::io::Result<()> {
    standard::print(&json(&rows)?)
}

fn as_table(rows: &[Row]) -> std::io::Result<()> {
    let width = rows.iter().map(|row| row.check.len()).max().unwrap_or(0);
    for Row { check, ok, found, wanted, remedy } in rows {
        let mark = if *ok { "ok  " } else { "BITE" };
        standard::print(&format!("{mark}  {:width$}  {}", plain(check), plain(found)))?;
        if !ok {
            let indent = " ".repeat(width + 8);
            standard::print(&format!("{indent}wanted: {}", plain(wanted)))?;
            standard::print(&format!("{indent}remedy: {}", plain(remedy)))?;
        }
    }
    Ok(())
}
