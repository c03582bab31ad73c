//! `tombolo-bridge`: what `tombolo bridge` and `tombolo demo --bridge` run.
//!
//! ```text
//!  command    a bridge, as the command line or a file asks for it
//!  demo       two hosts on this machine, with bridges that are killed
//!  bench      what a bridge adds to Zenoh
//!  scratch    what these two need for the processes that they start
//! ```

mod bench;
mod command;
mod demo;
mod scratch;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tombolo_cli::{failure, plain, shell, signals, terms};

/// Carries channels between hosts, over Zenoh.
#[derive(Debug, Parser)]
#[command(name = "tombolo", bin_name = "tombolo", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Bridge(tombolo_bridge::flags::Args),
    Demo(demo::Args),
    Bench(bench::Args),
    /// One of the two hosts of a demo, started by it.
    #[command(hide = true)]
    DemoHost(demo::orders::Args),
    /// One process of the bench, started by it.
    #[command(hide = true)]
    BenchWorker(bench::worker::Args),
}

fn main() -> ExitCode {
    signals::heed_children();
    let done = match shell::parse() {
        Ok(Cli { command: Command::Bridge(args) }) => command::run(&args),
        Ok(Cli { command: Command::Demo(args) }) => demo::run(&args),
        Ok(Cli { command: Command::Bench(args) }) => bench::run(&args),
        Ok(Cli { command: Command::DemoHost(args) }) => demo::host::run(&args),
        Ok(Cli { command: Command::BenchWorker(args) }) => bench::worker::run(&args),
        Err(error) => shell::misused(&error),
    };
    shell::end(done)
}
