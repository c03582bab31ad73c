//! The `tombolo` command: the library's first customer, through its public
//! interface only. One file a subcommand.

mod bench;
mod chaos;
mod ctl;
mod demo;
mod events;
mod failure;
mod ls;
mod plain;
mod recv;
mod rm;
mod run;
mod send;
mod signals;
mod stream;
mod target;
mod terms;
mod words;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use failure::Failure;

/// Channels between processes, in System V shared memory, that survive
/// kill -9.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Args),
    Chaos(chaos::Args),
    Bench(bench::Args),
    Send(send::Args),
    Recv(recv::Args),
    Ctl(ctl::Args),
    Events(events::Args),
    Ls(ls::Args),
    Rm(rm::Args),
    Run(run::Args),
    /// One process of a demo, started by it.
    #[command(hide = true)]
    DemoWorker(demo::worker::Args),
    /// One life of a storm's worker, started by it.
    #[command(hide = true)]
    ChaosWorker(chaos::worker::Args),
    /// One process of a measurement, started by it.
    #[command(hide = true)]
    BenchWorker(bench::worker::Args),
}

fn main() -> ExitCode {
    let done = match Cli::try_parse() {
        Ok(Cli { command: Command::Demo(args) }) => demo::run(&args),
        Ok(Cli { command: Command::Chaos(args) }) => chaos::run(&args),
        Ok(Cli { command: Command::Bench(args) }) => bench::run(&args),
        Ok(Cli { command: Command::Send(args) }) => send::run(&args),
        Ok(Cli { command: Command::Recv(args) }) => recv::run(&args),
        Ok(Cli { command: Command::Ctl(args) }) => ctl::run(&args),
        Ok(Cli { command: Command::Events(args) }) => events::run(&args),
        Ok(Cli { command: Command::Ls(args) }) => ls::run(&args),
        Ok(Cli { command: Command::Rm(args) }) => rm::run(&args),
        Ok(Cli { command: Command::Run(args) }) => run::run(&args),
        Ok(Cli { command: Command::DemoWorker(args) }) => demo::worker::run(&args),
        Ok(Cli { command: Command::ChaosWorker(args) }) => chaos::worker::run(&args),
        Ok(Cli { command: Command::BenchWorker(args) }) => bench::worker::run(&args),
        Err(error) => misused(&error),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(message) = failure.message() {
                // If nobody listens there is nothing more to do about it.
                let _ = writeln!(std::io::stderr(), "tombolo: {}", plain::plain(message));
            }
            ExitCode::from(failure.status())
        }
    }
}

/// Shows the help that was asked for, or what is wrong in a single line.
fn misused(error: &clap::Error) -> Result<(), Failure> {
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
