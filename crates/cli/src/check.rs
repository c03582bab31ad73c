//! `tombolo check`: compares a segment at rest with the format.

use std::io::{self, Write};

use serde::Serialize;
use tombolo::{Audit, Finding, Segment};

use crate::failure::Failure;
use crate::plain::{json, plain};
use crate::standard;
use crate::target::Target;

/// Audits a segment at rest.
///
/// Holds every word to which the format gives a meaning against it, without
/// joining; not the messages themselves. Prints a line for each fault. A fault
/// counts only if several readings find it, so a segment that is in use may be
/// checked, too.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tombolo check market && echo sound
  tombolo check @4711 --json | jq -r '.where + \": \" + .found'

Exit status: 0 sound, 1 with a line for each fault, 2 if there is no such
segment, or if it may not be read. A participant that has died and is not swept
yet is no fault; standard error says how many there are. Nothing repairs a
fault: remove the segment with `tombolo rm`.")]
pub(crate) struct Args {
    /// The segment's name, or @ and its id
    #[arg(value_name = "NAME")]
    segment: Target,
    /// Print a JSON object for each fault
    #[arg(long)]
    json: bool,
    /// Do not say on standard error what is no fault
    #[arg(long)]
    quiet: bool,
}

/// A fault. Its fields are those of the JSON object.
#[derive(Debug, Serialize)]
struct Row<'a> {
    what: &'a str,
    #[serde(rename = "where")]
    place: &'a str,
    found: &'a str,
    expected: &'a str,
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let audit = match &args.segment {
        Target::Name(name) => Segment::check(name),
        Target::Id(id) => Segment::check_id(*id),
    };
    let audit = audit
        .map_err(|error| Failure::unusable(format!("cannot check {}", args.segment), error))?;
    for fault in &audit.faults {
        let line = line(fault, args.json);
        let line = line.map_err(|error| Failure::broken("cannot write a fault", error))?;
        standard::print(&line).map_err(|error| Failure::broken("cannot write a fault", error))?;
    }
    if !args.quiet {
        remarks(&audit, &args.segment.to_string());
    }
    if audit.is_sound() { Ok(()) } else { Err(Failure::Told(1)) }
}

fn line(fault: &Finding, as_json: bool) -> Result<String, serde_json::Error> {
    let Finding { what, place, found, expected, .. } = fault;
    if as_json {
        json(&Row { what, place, found, expected })
    } else {
        Ok(plain(&fault.to_string()))
    }
}

fn remarks(audit: &Audit, name: &str) {
    let mut remarks = audit.remarks.clone();
    if audit.more > 0 {
        remarks.push(format!("and {} more faults", audit.more));
    }
    if audit.busy {
        remarks.push("the segment was in use: only faults that stayed are told".to_owned());
    }
    if audit.is_sound() {
        remarks.push("sound".to_owned());
    }
    for remark in remarks {
        // Also where nobody reads it.
        let _ = writeln!(io::stderr(), "tombolo: {}: {}", plain(name), plain(&remark));
    }
}
