//! Subcommands that are programs of their own, so that only users who need them have to
//! build what they need: `tombolo bench` is `tombolo-bench`, and `tombolo record` and
//! `tombolo replay` are `tombolo-record`.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
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

/// Becomes `tombolo-bench`.
pub(crate) fn bench(args: &Bench) -> Result<(), Failure> {
    become_one("tombolo-bench", None, &args.arguments)
}

/// Becomes `tombolo-record`.
pub(crate) fn record(args: &Record) -> Result<(), Failure> {
    become_one("tombolo-record", Some("record"), &args.arguments)
}

/// Becomes `tombolo-record`.
pub(crate) fn replay(args: &Replay) -> Result<(), Failure> {
    become_one("tombolo-record", Some("replay"), &args.arguments)
}

/// Becomes a program that is beside this one, or in `PATH`.
fn become_one(name: &str, verb: Option<&str>, arguments: &[OsString]) -> Result<(), Failure> {
    let beside = env::current_exe().ok().map(|own| own.with_file_name(name));
    let program = beside.filter(|path| path.is_file()).unwrap_or_else(|| PathBuf::from(name));
    let arguments =
        verb.map(OsStr::new).into_iter().chain(arguments.iter().map(OsString::as_os_str));
    let error = Command::new(&program).args(arguments).exec();
    Err(Failure::Unusable(match error.kind() {
        ErrorKind::NotFound => format!(
            "{name} is neither beside this program nor in PATH; \
             `cargo build --release -p {name}` builds it"
        ),
        _ => format!("cannot run {}: {error}", program.display()),
    }))
}
