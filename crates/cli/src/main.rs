//! The `tombolo` command: the library's first user, through its public interface
//! only. Each subcommand has a file.

mod beside;
mod chaos;
mod check;
mod ctl;
mod demo;
mod doctor;
mod events;
mod ls;
mod metrics;
mod pages;
mod place;
mod recv;
mod rm;
mod run;
mod send;
mod stream;
mod tap;
mod top;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use tombolo_cli::{bridges, failure, flags, plain, shell, signals, standard, target, terms, words};

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
    Bench(beside::Bench),
    Send(send::Args),
    Recv(recv::Args),
    Ctl(ctl::Args),
    Events(events::Args),
    Ls(ls::Args),
    Top(top::Args),
    Metrics(metrics::Args),
    Tap(tap::Args),
    Check(check::Args),
    Rm(rm::Args),
    Doctor(doctor::Args),
    Run(run::Args),
    Record(beside::Record),
    Replay(beside::Replay),
    Bridge(beside::Bridge),
    Man(pages::Man),
    Completions(pages::Completions),
    /// One process of a demo, started by it.
    #[command(hide = true)]
    DemoWorker(demo::worker::Args),
    /// One life of a storm's worker, started by it.
    #[command(hide = true)]
    ChaosWorker(chaos::worker::Args),
}

fn main() -> ExitCode {
    signals::heed_children();
    let done = match shell::parse() {
        Ok(Cli { command: Command::Demo(args) }) => demo::run(&args),
        Ok(Cli { command: Command::Chaos(args) }) => chaos::run(&args),
        Ok(Cli { command: Command::Bench(args) }) => beside::bench(&args),
        Ok(Cli { command: Command::Send(args) }) => send::run(&args),
        Ok(Cli { command: Command::Recv(args) }) => recv::run(&args),
        Ok(Cli { command: Command::Ctl(args) }) => ctl::run(&args),
        Ok(Cli { command: Command::Events(args) }) => events::run(&args),
        Ok(Cli { command: Command::Ls(args) }) => ls::run(&args),
        Ok(Cli { command: Command::Top(args) }) => top::run(&args),
        Ok(Cli { command: Command::Metrics(args) }) => metrics::run(&args),
        Ok(Cli { command: Command::Tap(args) }) => tap::run(&args),
        Ok(Cli { command: Command::Check(args) }) => check::run(&args),
        Ok(Cli { command: Command::Rm(args) }) => rm::run(&args),
        Ok(Cli { command: Command::Doctor(args) }) => doctor::run(&args),
        Ok(Cli { command: Command::Run(args) }) => run::run(&args),
        Ok(Cli { command: Command::Record(args) }) => beside::record(&args),
        Ok(Cli { command: Command::Replay(args) }) => beside::replay(&args),
        Ok(Cli { command: Command::Bridge(args) }) => beside::bridge(&args),
        Ok(Cli { command: Command::Man(args) }) => pages::man(&args, Cli::command()),
        Ok(Cli { command: Command::Completions(args) }) => {
            pages::completions(&args, Cli::command())
        }
        Ok(Cli { command: Command::DemoWorker(args) }) => demo::worker::run(&args),
        Ok(Cli { command: Command::ChaosWorker(args) }) => chaos::worker::run(&args),
        Err(error) => shell::misused(&error),
    };
    shell::end(done)
}
