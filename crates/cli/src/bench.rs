//! `tombolo bench`: starts `tombolo-bench`, a separate program, so that only users
//! who measure have to build what measuring needs.

use std::env;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use crate::failure::Failure;

/// Its name, beside this program or in `PATH`.
const PROGRAM: &str = "tombolo-bench";

/// Measures Tombolo beside the other ways between processes.
#[derive(Debug, clap::Args)]
#[command(
    disable_help_flag = true,
    after_help = "Example:
  tombolo bench throughput --quick"
)]
pub(crate) struct Args {
    /// Arguments for tombolo-bench; --help lists them
    #[arg(value_name = "ARGUMENT", trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Becomes the other program.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let beside = env::current_exe().ok().map(|own| own.with_file_name(PROGRAM));
    let program = beside.filter(|path| path.is_file()).unwrap_or_else(|| PathBuf::from(PROGRAM));
    let error = Command::new(&program).args(&args.arguments).exec();
    Err(Failure::Unusable(match error.kind() {
        ErrorKind::NotFound => format!(
            "{PROGRAM} is neither beside this program nor in PATH; \
             `cargo build --release -p {PROGRAM}` builds it"
        ),
        _ => format!("cannot run {}: {error}", program.display()),
    }))
}
