//! `tombolo rm`: segments that are no longer wanted, or no longer used.

use std::io::{self, Write};

use tombolo::Segment;

use crate::failure::Failure;
use crate::plain::plain;
use crate::target::Target;
use crate::terms::remark;

/// Removes segments by name, or what no living process holds.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tombolo rm market
  tombolo rm --orphans --dry-run

Whoever still uses a segment that is removed by its name is told so. Orphans
are what killed processes have left, and segments that nobody has open.")]
pub(crate) struct Args {
    /// The segments to remove, or @ID
    #[arg(required_unless_present = "orphans", conflicts_with = "orphans", value_name = "NAME")]
    names: Vec<Target>,
    /// Remove everything of Tombolo's that no living process holds
    #[arg(long)]
    orphans: bool,
    /// Only say what would be removed
    #[arg(long, requires = "orphans")]
    dry_run: bool,
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let failed = if args.orphans { orphans(args.dry_run)? } else { named(&args.names) };
    if failed { Err(Failure::Told(2)) } else { Ok(()) }
}

/// Removes segments by name; whether one could not be.
fn named(names: &[Target]) -> bool {
    let mut failed = false;
    for name in names {
        if let Err(error) = name.remove() {
            remark(&plain(&format!("cannot remove {name}: {error}")));
            failed = true;
        }
    }
    failed
}

/// Removes what nobody holds; whether some of it could not be.
fn orphans(dry_run: bool) -> Result<bool, Failure> {
    let found =
        Segment::orphans().map_err(|error| Failure::unusable("cannot look for orphans", error))?;
    if found.is_empty() {
        remark("there are no orphans");
    }
    let mut failed = false;
    let mut out = io::stdout().lock();
    for orphan in found {
        let what = plain(&orphan.what);
        let said = if dry_run {
            writeln!(out, "would remove {what}")
        } else {
            match orphan.remove() {
                Ok(true) => writeln!(out, "removed {what}"),
                Ok(false) => {
                    remark(&format!("{what} is in use by now"));
                    Ok(())
                }
                Err(error) => {
                    remark(&plain(&format!("cannot remove {what}: {error}")));
                    failed = true;
                    Ok(())
                }
            }
        };
        said.map_err(|error| Failure::broken("cannot write what was removed", error))?;
    }
    out.flush().map_err(|error| Failure::broken("cannot write what was removed", error))?;
    Ok(failed)
}
