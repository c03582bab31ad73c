//! `tombolo chaos`: the storm. It kills, stops and restarts processes on one
//! segment several times a second, and then accounts for every message.
//!
//! This process is the conductor, and no participant. The workers note what they
//! are about to do and what they have done in a [`ledger`] outside the segment.
//! The [`judge`] draws its conclusions from the ledger alone. In the
//! [`aftermath`], a last participant uses everything that is left, and removes it.

mod aftermath;
mod clerk;
mod client;
mod consumer;
mod explain;
mod judge;
mod ledger;
mod marks;
mod message;
mod orders;
mod points;
mod producer;
mod seat;
mod server;
mod side;
mod stall;
mod storm;
mod subscriber;
mod summary;
mod windows;
pub(crate) mod worker;

use std::time::{Duration, Instant};

use clap::{ValueEnum, value_parser};
use tombolo::sys::proc;
use tombolo::{Mpmc, Spsc};

use crate::failure::Failure;
use crate::signals::Signals;
use crate::terms::{self, millis, remark};
use aftermath::Aftermath;
use judge::Judge;
use ledger::Ledger;
use orders::{Setting, Shape};
use storm::Storm;
use summary::Summary;

/// More processes of a kind than any machine has use for.
const MOST_WORKERS: i64 = 64;
/// Bytes that a message can carry.
const MOST_BYTES: i64 = 1 << 16;
/// How often a message is delivered again.
const ATTEMPTS: u8 = 8;
/// How many messages the channel holds: one of these, as the seed says.
const CAPACITIES: [usize; 4] = [2, 7, 32, 256];

/// Processes that send and receive are killed and stopped all the time; then
/// every message is accounted for.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tombolo chaos --seconds 60 --producers 3 --consumers 3 --kill-rate 200
  tombolo chaos --spsc --size 4096 --json
  tombolo chaos --broadcast --consumers 5
  tombolo chaos --calls --producers 3

A message has 24 bytes of its own beside those of --size. The seed also decides
for how many messages there is room.

With --broadcast each message goes to all who receive. Every other one of them is
reliable, from the first on, which is never killed and notes the whole sequence.
Everybody's messages, what each has missed, and all sequence numbers must agree
with that.

With --calls the producers are clients of a service, the consumers its servers, and
a message is a call that was replied to. Each call is served once, or once more
after each server that has died over it, as its client allows; and its client gets
the reply, or the error that tells what has become of it. A call without its reply
or a true error counts as lost, one that was served too often as duplicated, and
another call's reply as reordered.

Exits with 0 only if nothing was lost beyond what the dead held, duplicated
beyond the policy, torn, reordered or leaked.")]
pub(crate) struct Args {
    /// How long workers are killed and stopped
    #[arg(long, value_name = "S", default_value = "10", value_parser = terms::seconds)]
    seconds: Duration,
    /// How many processes send [default: 2; with --spsc 1]
    #[arg(long, value_name = "P", value_parser = value_parser!(u16).range(1..=MOST_WORKERS))]
    producers: Option<u16>,
    /// How many processes receive [default: 2; with --spsc 1, with --broadcast 3]
    #[arg(long, value_name = "C", value_parser = value_parser!(u16).range(1..=MOST_WORKERS))]
    consumers: Option<u16>,
    /// One producer and one consumer, and the faster kind of channel
    #[arg(long)]
    spsc: bool,
    /// A broadcast channel: every receiver gets every message
    #[arg(long, conflicts_with_all = ["spsc", "policy"])]
    broadcast: bool,
    /// A service: clients call, servers reply
    #[arg(long, conflicts_with_all = ["spsc", "policy", "broadcast"])]
    calls: bool,
    /// How many kills a second, of all processes together
    #[arg(long, value_name = "HZ", default_value_t = 50.0, value_parser = rate)]
    kill_rate: f64,
    /// The fate of a message whose receiver was killed
    #[arg(long, value_enum, default_value_t = Policy::Redeliver)]
    policy: Policy,
    /// How many bytes a message carries, up to 65536
    #[arg(long, value_name = "BYTES", default_value_t = 64)]
    #[arg(value_parser = value_parser!(u32).range(1..=MOST_BYTES))]
    size: u32,
    /// The seed of the random numbers [default: a random one]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    #[command(flatten)]
    points: points::Args,
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
    /// Show no progress
    #[arg(long)]
    quiet: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Policy {
    /// It is delivered again, up to 8 times
    Redeliver,
    /// It is dropped
    Drop,
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.01..=10_000.0).contains(&rate) => Ok(rate),
        _ => Err("not a number from 0.01 to 10000".to_owned()),
    }
}

/// Runs the storm.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    // No two of them are given together.
    let shape = match args {
        Args { broadcast: true, .. } => Shape::Broadcast,
        Args { calls: true, .. } => Shape::Calls,
        Args { spsc: true, .. } => Shape::Spsc,
        _ => Shape::Mpmc,
    };
    let consumers = args.consumers.or_else(|| args.broadcast.then_some(3));
    let (producers, consumers) = terms::crew(args.spsc, args.producers, consumers)?;
    let unusable = |error| Failure::unusable("cannot make the ledger", error);
    let ledger = Ledger::create(Storm::books(producers, consumers)).map_err(unusable)?;
    let random = || proc::random_u64().map_err(unusable);
    // Short enough to be typed again.
    let seed = args.seed.map_or_else(|| random().map(|random| random >> 40), Ok)?;
    let setting = Setting {
        name: format!("chaos.{}.{:08x}", proc::pid(), random()? >> 32),
        ledger: ledger.id(),
        producers,
        consumers,
        shape,
        size: args.size as usize,
        capacity: CAPACITIES[fastrand::Rng::with_seed(seed).usize(..CAPACITIES.len())],
        attempts: if args.policy == Policy::Drop { 0 } else { ATTEMPTS },
        recovery: args.points.recovery(),
        seed,
    };
    let signals =
        Signals::hold().map_err(|error| Failure::broken("cannot hold signals back", error))?;
    // All workers have ended when it returns, whatever came of it.
    let stormed = storm(args, &setting, ledger, signals);
    let (summary, evidence) = stormed.inspect_err(|_| {
        // The first error is the one to report.
        let _ = aftermath::clear(&setting);
    })?;
    evidence.iter().for_each(|finding| remark(finding));
    terms::print(&if args.json { summary.json() } else { summary.table(&setting) })?;
    match summary.verdict() {
        None => Ok(()),
        Some(verdict) => Err(Failure::Broken(verdict)),
    }
}

/// The storm itself, and what it comes to.
fn storm(
    args: &Args,
    setting: &Setting,
    ledger: Ledger,
    signals: Signals,
) -> Result<(Summary, Vec<String>), Failure> {
    let program = std::env::current_exe()
        .map_err(|error| Failure::unusable("cannot find this program's own file", error))?;
    let Setting { producers, consumers, .. } = *setting;
    let judge = match setting.shape {
        Shape::Broadcast => Judge::of_broadcast(producers, consumers),
        Shape::Calls => Judge::of_calls(producers, consumers),
        _ => Judge::new(Some(setting.attempts), producers, consumers),
    };
    let start = Instant::now();
    let mut storm = Storm::muster(program, setting, ledger, judge, signals)?;
    let progress = terms::progress(millis(args.seconds), args.quiet);
    let blown = storm.blow(args.seconds, args.kill_rate, |storm| {
        if !progress.is_hidden() {
            progress.set_position(millis(start.elapsed().min(args.seconds)));
            let messages = indicatif::HumanCount(storm.messages());
            progress.set_message(format!("{} kills, {messages} messages", storm.kills));
        }
    });
    progress.finish_and_clear();
    blown?;
    let mut summary = Summary {
        seconds: start.elapsed().as_secs_f64(),
        messages: 0,
        kills: 0,
        recovered: 0,
        held_by_dead: 0,
        lost_beyond_held: 0,
        duplicated_beyond_policy: 0,
        torn: 0,
        reordered: 0,
        longest_stall_ms: millis(storm.longest_stall()),
        leaked_objects: 0,
        seed: setting.seed,
    };
    let (findings, kills) = storm.calm()?;
    summary.kills = kills;
    let after = match setting.shape {
        Shape::Mpmc => Aftermath::of(setting, aftermath::queue::<Mpmc>)?,
        Shape::Spsc => Aftermath::of(setting, aftermath::queue::<Spsc>)?,
        Shape::Broadcast => Aftermath::of(setting, aftermath::board)?,
        Shape::Calls => Aftermath::of(setting, aftermath::service)?,
    };
    summary.enter(&findings, &after);
    let mut evidence = findings.evidence;
    evidence.extend(after.leaks.into_iter().map(|leak| format!("leaked: {leak}")));
    Ok((summary, evidence))
}
