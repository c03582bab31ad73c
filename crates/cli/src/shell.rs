//! The exit status, and the reason for it in a single line.

use std::io::Write;
use std::process::ExitCode;

use clap::{Arg, CommandFactory, FromArgMatches};

use crate::failure::Failure;
use crate::flags::in_terms;
use crate::plain::plain;
use crate::standard;

/// Tells the user and the shell how it went.
pub fn end(done: Result<(), Failure>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(message) = failure.message() {
                // If nobody listens there is nothing more to do about it.
                let _ = writeln!(std::io::stderr(), "tombolo: {}", plain(&in_terms(message)));
            }
            ExitCode::from(failure.status())
        }
    }
}

/// The command line. The word after an option that takes a number is its value, even
/// a bad one such as -1 or -inf, and never an option.
///
/// # Errors
/// For [`misused`] to show.
pub fn parse<T: CommandFactory + FromArgMatches>() -> Result<T, clap::Error> {
    let numbers = |arg: Arg| {
        let named = arg.get_value_names().and_then(|names| names.first());
        let text = named.is_some_and(|name| matches!(name.as_str(), "COMMAND" | "FILE" | "DIR"));
        let takes = arg.get_long().is_some() && arg.get_action().takes_values();
        if takes && !text { arg.allow_hyphen_values(true) } else { arg }
    };
    let command = T::command().mut_args(numbers);
    let command = command.mut_subcommands(|command| command.mut_args(numbers));
    T::from_arg_matches(&command.try_get_matches()?)
}

/// Shows the help that was asked for, or what is wrong in a single line.
pub fn misused(error: &clap::Error) -> Result<(), Failure> {
    use clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand as Nothing;
    if !error.use_stderr() || error.kind() == Nothing {
        let printed = if error.use_stderr() {
            error.print()
        } else {
            standard::print(error.to_string().trim_end())
        };
        return match printed {
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
