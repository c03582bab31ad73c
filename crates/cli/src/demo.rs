//! `tombolo demo`: processes send a file to each other, and every message is
//! accounted for.
//!
//! This process only organizes the demo. It starts the workers, lets one of them
//! create the segment, waits until all have opened it, lets them go, and adds up
//! their reports, which come over pipes. The messages themselves go from worker to
//! worker.
//!
//! A worker creates the segment, and this process watches the worker. If this
//! process created it and was killed, no other process would know of the segment.

mod crew;
mod ledger;
mod orders;
mod piece;
mod summary;
pub(crate) mod worker;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::value_parser;
use indicatif::ProgressBar;
use tombolo::{Segment, sys::limits};

use crate::beside;
use crate::failure::Failure;
use crate::signals::Signals;
use crate::terms::{self, millis, now};
use crew::Crew;
use orders::{Form, Limit, Orders, Report, Role};
use summary::{Summary, Tally};

/// More processes of a kind than any machine has use for.
const MOST_WORKERS: i64 = 1_000;

/// Processes carry a file to each other as numbered and checksummed messages;
/// then every message is accounted for.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tombolo demo --producers 3 --consumers 1 --messages 100000 --size 256
  tombolo demo --broadcast --subscribers 5 --seconds 0.5

With --broadcast, one process publishes, and every subscriber gets every message:
counted are those of all subscribers together. The publisher waits for all but
one of them. That one may miss messages, and is told how many: they are counted
as lagged.

With --bridge, a queue and a broadcast channel go from one IPC namespace to
another by way of two bridges, which are killed and started again meanwhile. What
comes twice is marked, and what subscribers miss they are told.

Exits with 0 only if no message was lost, duplicated, reordered or corrupt.")]
pub(crate) struct Args {
    /// The file whose bytes are carried, over and over [default: this program]
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// How many processes send [default: 2, with --spsc 1]
    #[arg(long, value_name = "P", value_parser = value_parser!(u16).range(1..=MOST_WORKERS))]
    producers: Option<u16>,
    /// How many processes receive [default: 2, with --spsc 1]
    #[arg(long, value_name = "C", value_parser = value_parser!(u16).range(1..=MOST_WORKERS))]
    consumers: Option<u16>,
    /// How long to send [default: 5]
    #[arg(long, value_name = "S", conflicts_with = "messages", value_parser = terms::seconds)]
    seconds: Option<Duration>,
    /// How many messages to send, all producers together
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..))]
    messages: Option<u64>,
    /// How many bytes of the file a message carries, up to 65536
    #[arg(long, value_name = "BYTES", default_value_t = 64)]
    #[arg(value_parser = value_parser!(u32).range(1..=piece::MOST_BYTES as i64))]
    size: u32,
    /// One producer and one consumer, and the faster kind of channel
    #[arg(long)]
    spsc: bool,
    /// One process publishes to all others
    #[arg(long, conflicts_with_all = ["spsc", "producers", "consumers"])]
    broadcast: bool,
    /// With --broadcast: for how many subscribers the publisher waits; there is one more
    #[arg(long, value_name = "N", default_value_t = 3, requires = "broadcast")]
    #[arg(value_parser = value_parser!(u16).range(0..MOST_WORKERS))]
    subscribers: u16,
    /// Two hosts on this machine, with a bridge between them; needs tombolo-bridge
    #[arg(long, conflicts_with_all = ["input", "spsc", "producers", "consumers", "broadcast", "subscribers"])]
    bridge: bool,
    /// With --bridge: how many bridges are killed a second [default: 1]
    #[arg(long, value_name = "HZ", requires = "bridge", value_parser = value_parser!(u16).range(0..=20))]
    kill_rate: Option<u16>,
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
    /// Show no progress
    #[arg(long)]
    quiet: bool,
}

impl Args {
    /// The same for the program that has bridges.
    fn of_bridges(&self) -> Vec<OsString> {
        let mut arguments = vec![format!("--size={}", self.size)];
        arguments.extend(self.seconds.map(|span| format!("--seconds={}", span.as_secs_f64())));
        arguments.extend(self.messages.map(|messages| format!("--messages={messages}")));
        arguments.extend(self.kill_rate.map(|rate| format!("--kill-rate={rate}")));
        arguments.extend(self.json.then(|| "--json".to_owned()));
        arguments.extend(self.quiet.then(|| "--quiet".to_owned()));
        arguments.into_iter().map(OsString::from).collect()
    }
}

/// Runs the demo.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    if args.bridge {
        return beside::demo_of_bridges(&args.of_bridges());
    }
    let (producers, consumers) = if args.broadcast {
        (1, args.subscribers + 1)
    } else {
        terms::crew(args.spsc, args.producers, args.consumers)?
    };
    let form = match (args.broadcast, args.spsc) {
        (true, _) => Form::Broadcast,
        (false, true) => Form::Spsc,
        (false, false) => Form::Mpmc,
    };
    let program = std::env::current_exe()
        .map_err(|error| Failure::unusable("cannot find this program's own file", error))?;
    let input = args.input.as_deref().unwrap_or(&program);
    let orders = Orders {
        role: Role::Producer,
        index: 0,
        producers,
        consumers,
        limit: match (args.messages, args.seconds) {
            (Some(messages), _) => Limit::Messages(messages),
            (None, span) => Limit::Time(span.unwrap_or(Duration::from_secs(5))),
        },
        size: args.size as usize,
        capacity: capacity(piece::bytes(args.size as usize), producers + consumers, form),
        form,
        input_crc: fingerprint(input)?,
    };
    let signals =
        Signals::hold().map_err(|error| Failure::broken("cannot hold signals back", error))?;

    let mut crew = Crew::muster(&program, input, &orders, signals)?;
    let segment = found(&mut crew)?;
    let carried = carry(&mut crew, &orders, args.quiet);
    // Nobody sleeps on when the segment is gone, whatever became of the rest.
    let removed = segment.remove();
    drop(crew);
    let tally = carried?;
    removed.map_err(|error| Failure::broken("cannot remove the segment", error))?;

    let summary = Summary::of(&tally, &orders)?;
    let printed = if args.json { summary.json() } else { summary.table(&orders, input) };
    terms::print(&printed)?;
    match summary.verdict() {
        None => Ok(()),
        Some(verdict) => Err(Failure::Broken(verdict)),
    }
}

/// A checksum by which the workers know that they read the same bytes.
fn fingerprint(input: &Path) -> Result<u32, Failure> {
    let unusable = |why: &str| Failure::unusable(format!("cannot carry {}", input.display()), why);
    let metadata = fs::metadata(input).map_err(|error| unusable(&error.to_string()))?;
    if !metadata.is_file() {
        return Err(unusable("it is not a regular file"));
    }
    let bytes = fs::read(input).map_err(|error| unusable(&error.to_string()))?;
    if bytes.is_empty() {
        return Err(unusable("it is empty"));
    }
    Ok(crc32fast::hash(&bytes))
}

/// How many messages of so many bytes the channel holds: enough for a worker
/// to go on while its peer is not running, and so few that they stay in the
/// cache, and within `kernel.shmmax`.
fn capacity(bytes: usize, workers: u16, form: Form) -> usize {
    // The rest of the segment: its tables, with a row or two for each worker.
    let tables = (24 << 10) + 256 * usize::from(workers);
    let most = limits::shm().map_or(u64::MAX, |limits| limits.max_size);
    let most = usize::try_from(most).unwrap_or(usize::MAX).saturating_sub(tables);
    // A slot is its message and a word. Broadcast has up to three for each that it retains,
    // and one for each of the usual number of publishers.
    let (slots, more) = if form == Form::Broadcast { (3, 8) } else { (1, 0) };
    (most.min(1 << 20) / (bytes + 8)).saturating_sub(more).div_euclid(slots).clamp(1, 256)
}

/// Has the segment created, and joins it.
fn found(crew: &mut Crew) -> Result<Segment, Failure> {
    crew.tell_founder("create");
    let id = loop {
        if let Some(&Report::Ready { segment }) = crew.listen(None)?.first() {
            break segment;
        }
    };
    let segment = Segment::open_id(id)
        .map_err(|error| Failure::unusable("cannot open the segment", error))?;
    crew.founded();
    crew.tell_others(id);
    Ok(segment)
}

/// Lets the crew carry everything, and adds up what it reports.
fn carry(crew: &mut Crew, orders: &Orders, quiet: bool) -> Result<Tally, Failure> {
    // The founder has been ready since there is a segment.
    let mut ready = 1;
    while ready < crew.len() {
        for report in crew.listen(None)? {
            ready += usize::from(matches!(report, Report::Ready { .. }));
        }
    }
    let mut tally = Tally::new(orders, now());
    crew.tell_founder("go");
    crew.tell_others("go");

    let progress = progress(orders, quiet);
    while crew.working() {
        for report in crew.listen(Some(Duration::from_millis(100)))? {
            tally.add(report);
        }
        show(&progress, &orders.limit, &tally);
    }
    progress.finish_and_clear();
    Ok(tally)
}

fn progress(orders: &Orders, quiet: bool) -> ProgressBar {
    let length = match orders.limit {
        Limit::Messages(messages) => messages.saturating_mul(orders.groups().into()),
        Limit::Time(span) => millis(span),
    };
    terms::progress(length, quiet)
}

fn show(progress: &ProgressBar, limit: &Limit, tally: &Tally) {
    if progress.is_hidden() {
        return;
    }
    let messages = tally.messages();
    progress.set_position(match *limit {
        Limit::Messages(_) => messages,
        Limit::Time(span) => millis(span).min(millis(progress.elapsed())),
    });
    progress.set_message(format!("{} messages", indicatif::HumanCount(messages)));
}
