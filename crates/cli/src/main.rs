//! The `tombolo` command: the library's first customer, through its public
//! interface only. One file a subcommand.

mod bench;
mod chaos;
mod ctl;
mod demo;
mod events;
mod ls;
mod recv;
mod rm;
mod run;
mod send;
mod stream;
mod target;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tombolo_cli::{failure, plain, shell, signals, terms, words};

/// Channels between processes, in System V shared memory, that survive
/// kill -9.
#[derive(Debug, Parser)]
#[command(name = "tombolo", version, arg_required_else_help = true)]
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
}

fn main() -> ExitCode {
    shell::main(|cli: Cli| match cli.command {
        Command::Demo(args) => demo::run(&args),
        Command::Chaos(args) => chaos::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Send(args) => send::run(&args),
        Command::Recv(args) => recv::run(&args),
        Command::Ctl(args) => ctl::run(&args),
        Command::Events(args) => events::run(&args),
        Command::Ls(args) => ls::run(&args),
        Command::Rm(args) => rm::run(&args),
        Command::Run(args) => run::run(&args),
        Command::DemoWorker(args) => demo::worker::run(&args),
        Command::ChaosWorker(args) => chaos::worker::run(&args),
    })
}
