//! Subcommands that are programs of their own, so that only users who need them have to
//! build what they need: `tombolo bench` is `tombolo-bench`, `tombolo record` and
//! `tombolo replay` are `tombolo-record`, and `tombolo bridge` and `tombolo demo --bridge` are
//! `tombolo-bridge`.
//!
//! Such a program is looked for beside this one, then in `PATH`, and then, if this program is
//! in the target directory of a checkout, where a build in the checkout puts it.

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::Failure;

/// Measures Tombolo beside the other ways between processes.
#[derive(Debug, clap::Args)]
#[command(
    disable_help_flag = true,
    after_help = "Example:
  tombolo bench --quick"
)]
pub(crate) struct Bench {
    /// Arguments for tombolo-bench; --help lists them
    #[arg(value_name = "ARGUMENT", trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Records channels into MCAP files.
#[derive(Debug, clap::Args)]
#[command(
    disable_help_flag = true,
    after_help = "Example:
  tombolo record market -o market.mcap"
)]
pub(crate) struct Record {
    /// Arguments for tombolo-record; --help lists them
    #[arg(value_name = "ARGUMENT", trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Sends what was recorded.
#[derive(Debug, clap::Args)]
#[command(
    disable_help_flag = true,
    after_help = "Example:
  tombolo replay market.mcap --speed max --as rehearsal"
)]
pub(crate) struct Replay {
    /// Arguments for tombolo-record; --help lists them
    #[arg(value_name = "ARGUMENT", trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Carries channels between hosts.
#[derive(Debug, clap::Args)]
#[command(
    disable_help_flag = true,
    after_help = "Example:
  tombolo bridge market --export prices --listen tcp/0.0.0.0:7447"
)]
pub(crate) struct Bridge {
    /// Arguments for tombolo-bridge; --help lists them
    #[arg(value_name = "ARGUMENT", trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// A program of its own, and how to have it.
struct Program {
    name: &'static str,
    /// Where its own build puts it, in a checkout.
    built: Option<&'static str>,
    remedy: &'static str,
}

const BENCH: Program = Program {
    name: "tombolo-bench",
    built: None,
    remedy: "`cargo build --release -p tombolo-bench` builds it",
};

const RECORD: Program = Program {
    name: "tombolo-record",
    built: None,
    remedy: "`cargo build --release -p tombolo-record` builds it",
};

/// It has a workspace of its own, and so a target directory.
const BRIDGE: Program = Program {
    name: "tombolo-bridge",
    built: Some("crates/bridge/target"),
    remedy: "`cargo install --path crates/bridge` in a checkout installs it",
};

/// Becomes `tombolo-bench`.
pub(crate) fn bench(args: &Bench) -> Result<(), Failure> {
    become_one(&BENCH, None, &args.arguments)
}

/// Becomes `tombolo-record`.
pub(crate) fn record(args: &Record) -> Result<(), Failure> {
    become_one(&RECORD, Some("record"), &args.arguments)
}

/// Becomes `tombolo-record`.
pub(crate) fn replay(args: &Replay) -> Result<(), Failure> {
    become_one(&RECORD, Some("replay"), &args.arguments)
}

/// Becomes `tombolo-bridge`.
pub(crate) fn bridge(args: &Bridge) -> Result<(), Failure> {
    become_one(&BRIDGE, Some("bridge"), &args.arguments)
}

/// Becomes `tombolo-bridge`, for its demo.
pub(crate) fn demo_of_bridges(arguments: &[OsString]) -> Result<(), Failure> {
    become_one(&BRIDGE, Some("demo"), arguments)
}

/// Becomes another program.
fn become_one(
    program: &Program,
    verb: Option<&str>,
    arguments: &[OsString],
) -> Result<(), Failure> {
    let Program { name, built, remedy } = *program;
    let own = env::current_exe().ok();
    let beside = own.as_ref().map(|own| own.with_file_name(name));
    let path = beside
        .filter(|path| path.is_file())
        .or_else(|| in_path(name))
        .or_else(|| in_checkout(&own?, built?, name))
        .ok_or_else(|| {
            Failure::Unusable(format!(
                "{name} is neither beside this program nor in PATH; {remedy}"
            ))
        })?;
    let arguments =
        verb.map(OsStr::new).into_iter().chain(arguments.iter().map(OsString::as_os_str));
    let error = Command::new(&path).args(arguments).exec();
    Err(Failure::unusable(format!("cannot run {}", path.display()), error))
}

fn in_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// Where a build in a checkout puts it, if this program is in `target/PROFILE` of the
/// checkout: of the same profile, or of the other.
fn in_checkout(own: &Path, built: &str, name: &str) -> Option<PathBuf> {
    let profile = own.parent()?;
    let root = profile.parent()?.parent()?;
    let profiles = [profile.file_name()?, OsStr::new("release"), OsStr::new("debug")];
    let path = |profile: &OsStr| root.join(built).join(profile).join(name);
    profiles.into_iter().map(path).find(|path| path.is_file())
}
