//! `tombolo-record`: what `tombolo record` and `tombolo replay` run. It is a program of its
//! own, so that only those who record have to build what a container of files needs.
//!
//! ```text
//!  record ── source ── track      segments, and each channel of them
//!     └───── tape                 the files: their size, their rotation, what was missed
//!  replay ── reel                 reads a file, also one that ends in the middle
//!     └───── screen               the channels that it goes to
//!  topic                          what a file says of a channel
//!  container                      what its library says when it fails
//!  ending                         the signal that asked to end
//! ```

mod container;
mod ending;
mod record;
mod reel;
mod replay;
mod screen;
mod source;
mod tape;
mod topic;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tombolo_cli::{failure, plain, shell, signals, target, terms};

/// Records channels into MCAP files, and sends what was recorded.
#[derive(Debug, Parser)]
#[command(name = "tombolo", bin_name = "tombolo", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Record(record::Args),
    Replay(replay::Args),
}

fn main() -> ExitCode {
    signals::heed_children();
    let done = match shell::parse() {
        Ok(Cli { command: Command::Record(args) }) => record::run(&args),
        Ok(Cli { command: Command::Replay(args) }) => replay::run(&args),
        Err(error) => shell::misused(&error),
    };
    shell::end(done)
}
