//! What the shell is told: the exit status, and why in a single line.

use std::io::Write;
use std::process::ExitCode;

use crate::failure::Failure;
use crate::plain::plain;

/// Tells the user and the shell how it went.
pub fn end(done: Result<(), Failure>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(message) = failure.message() {
                // If nobody listens there is nothing more to do about it.
                let _ = writeln!(std::io::stderr(), "tombolo: {}", plain(message));
            }
            ExitCode::from(failure.status())
        }
    }
}

/// Shows the help that was asked for, or what is wrong in a single line.
pub fn misused(error: &clap::Error) -> Result<(), Failure> {
    use clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand as Nothing;
    if !error.use_stderr() || error.kind() == Nothing {
        return match error.print() {
            Ok(()) if error.use_stderr() => Err(Failure::Told(2)),
            Ok(()) => Ok(()),
            Err(error) => Err(Failure::Broken(format!("cannot write the help: {error}"))),
        };
    }
    let text = error.to_string();
    let said = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"))
        .filter(|line| !line.is_empty());
    let said = said.collect::<Vec<_>>().join(" ").replace(" tip: ", "; ");
    Err(Failure::Unusable(said.strip_prefix("error: ").unwrap_or(&said).to_owned()))
}
