//! `tombolo rm`: removes segments that are not wanted or not used any more.

use std::io;

use nix::unistd::geteuid;
use tombolo::{Segment, SegmentInfo};

use crate::failure::Failure;
use crate::flags::in_terms;
use crate::plain::plain;
use crate::standard;
use crate::target::Target;
use crate::terms::{self, remark};

/// Removes segments by name, or what no living process holds.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tombolo rm market
  tombolo rm market @4711 --dry-run
  tombolo rm --orphans

Processes that still use a segment are told when it is removed by its name. The
kernel lets the creator of a segment, its owner and root remove it. Orphans are what killed processes have left, and segments that nobody has open.")]
pub(crate) struct Args {
    /// The segments to remove, or @ID
    #[arg(required_unless_present = "orphans", conflicts_with = "orphans", value_name = "NAME")]
    names: Vec<Target>,
    /// Remove everything of Tombolo's that no living process holds
    #[arg(long)]
    orphans: bool,
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let failed = match args {
        Args { orphans: true, dry_run, .. } => orphans(*dry_run)?,
        Args { names, dry_run: true, .. } => tell(names)?,
        Args { names, .. } => named(names),
    };
    if failed { Err(Failure::Told(2)) } else { Ok(()) }
}

/// Removes segments by name; whether one could not be.
fn named(names: &[Target]) -> bool {
    let mut failed = false;
    for name in names {
        if let Err(error) = name.remove() {
            remark(&plain(&in_terms(&format!("cannot remove {name}: {error}"))));
            failed = true;
        }
    }
    failed
}

/// Says what removing segments by name would remove; whether one could not be.
fn tell(names: &[Target]) -> Result<bool, Failure> {
    let segments =
        Segment::list().map_err(|error| Failure::unusable("cannot list the segments", error))?;
    let mut failed = false;
    for target in names {
        let found = segments.iter().find(|info| match target {
            // Without a key, the name is no longer its own.
            Target::Name(name) => info.key != 0 && info.name == *name,
            Target::Id(id) => info.id == *id,
        });
        match found {
            None => {
                remark(&plain(&format!(
                    "would not remove {target}: there is no such segment that this user may read"
                )));
                failed = true;
            }
            Some(info) if !may_remove(info) => {
                let owner = info.uid;
                remark(&plain(&format!("would not remove {target}: it belongs to user {owner}")));
                failed = true;
            }
            Some(SegmentInfo { id, size, attached, .. }) => terms::print(&plain(&format!(
                "would remove segment {target} (id {id}, {size} bytes, attached {attached} times)"
            )))?,
        }
    }
    Ok(failed)
}

/// Whether the kernel lets this user remove it.
fn may_remove(info: &SegmentInfo) -> bool {
    let user = geteuid();
    user.is_root() || user.as_raw() == info.uid
}

/// Removes what nobody holds; whether some of it could not be.
fn orphans(dry_run: bool) -> Result<bool, Failure> {
    let found =
        Segment::orphans().map_err(|error| Failure::unusable("cannot look for orphans", error))?;
    if found.is_empty() {
        remark("there are no orphans");
    }
    let mut failed = false;
    for orphan in found {
        let what = plain(&orphan.what);
        let said = if dry_run {
            standard::print(&format!("would remove {what}"))
        } else {
            match orphan.remove() {
                Ok(true) => standard::print(&format!("removed {what}")),
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
        said.map_err(|error: io::Error| Failure::broken("cannot write what was removed", error))?;
    }
    Ok(failed)
}
