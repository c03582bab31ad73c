//! `tombolo-bridge bench`: what two bridges add to Zenoh, in one run.
//!
//! ```text
//!  worker   one process: it sends or receives, through Zenoh alone or through a channel
//! ```
//!
//! With Zenoh alone, one process puts and the other subscribes. With bridges, one process sends
//! into a segment, the other receives from another segment, and two bridges are between them.
//! Rounds of the two take turns.

pub(crate) mod worker;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::value_parser;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Serialize;
use tombolo_cli::terms::seconds;

use crate::failure::Failure;
use crate::plain::json;
use crate::scratch::{Folder, free_port};
use crate::terms::{print, remark};
use worker::{Pass, Said, Way, said};

/// Measures what two bridges add to Zenoh.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  tombolo-bridge bench --seconds 1 --rounds 3

Each round takes some seconds for each case. Messages go through the loopback interface.")]
pub(crate) struct Args {
    /// How long to send in each case of a round
    #[arg(long, value_name = "S", default_value = "1", value_parser = seconds)]
    seconds: Duration,
    /// How many rounds
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// How many bytes a message has
    #[arg(long, value_name = "BYTES", default_value_t = 1024)]
    #[arg(value_parser = value_parser!(u32).range(16..=1 << 20))]
    size: u32,
    /// How many messages a second are sent where latency is measured
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = value_parser!(u32).range(1..))]
    rate: u32,
    /// Print a JSON object for each line
    #[arg(long)]
    json: bool,
    /// Do not say on standard error which round it is
    #[arg(long)]
    quiet: bool,
}

/// A line of the result.
#[derive(Debug, Serialize)]
struct Line {
    case: &'static str,
    subject: &'static str,
    metric: &'static str,
    unit: &'static str,
    median: f64,
    min: f64,
    max: f64,
    rounds: usize,
}

/// What a round has measured.
#[derive(Default)]
struct Samples(Vec<(&'static str, &'static str, &'static str, &'static str, f64)>);

/// A process of the bench.
struct Worker {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A bridge that carries both channels.
struct Bridge(Child);

impl Drop for Bridge {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.0.id().cast_signed()), Signal::SIGTERM);
        let until = Instant::now() + Duration::from_secs(3);
        while Instant::now() < until {
            if let Ok(Some(_)) = self.0.try_wait() {
                return;
            }
            sleep(Duration::from_millis(10));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where everything is.
struct Stage<'a> {
    args: &'a Args,
    folder: &'a Path,
    /// The segments of the two sides.
    segments: [String; 2],
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let id = std::process::id();
    let folder = Folder::new("bench").map_err(|error| Failure::unusable("cannot begin", error))?;
    let segments = [format!("bridge-bench-a-{id}"), format!("bridge-bench-b-{id}")];
    let stage = Stage { args, folder: folder.path(), segments };
    let samples = stage.measure();
    for name in &stage.segments {
        // One that was not made need not be removed.
        let _ = tombolo::Segment::remove_named(name);
    }
    let lines = samples.map_err(Failure::Broken)?.lines();
    for line in &lines {
        let text = if args.json {
            json(line).map_err(|error| Failure::broken("cannot show the result", error))?
        } else {
            line.text()
        };
        print(&text)?;
    }
    Ok(())
}

impl Stage<'_> {
    fn measure(&self) -> Result<Samples, String> {
        let mut samples = Samples::default();
        let port = free_port().map_err(said)?;
        let bridges = self.bridges(port)?;
        let rate = self.args.rate;
        for round in 1..=self.args.rounds {
            if !self.args.quiet {
                remark(&format!("round {round} of {}", self.args.rounds));
            }
            for (subject, way) in [("zenoh alone", Way::Zenoh), ("two bridges", Way::Broadcast)] {
                let before = used(&bridges);
                let full = self.pass(way, 0)?;
                let cpu = used(&bridges) - before;
                samples.add(("rate", subject, "messages", "1/s"), full.rate());
                if way == Way::Broadcast {
                    let each = cpu.as_secs_f64() * 1e6 / (full.received.max(1)) as f64;
                    samples.add(("rate", subject, "bridges' processor time", "µs/message"), each);
                    samples.add(("rate", subject, "missed", "messages"), full.missed as f64);
                }
                let paced = self.pass(way, rate)?;
                samples.add(("latency", subject, "p50", "µs"), paced.p50 as f64 / 1e3);
                samples.add(("latency", subject, "p99", "µs"), paced.p99 as f64 / 1e3);
            }
            let queue = self.pass(Way::Queue, 0)?;
            samples.add(("queue", "two bridges", "messages", "1/s"), queue.rate());
            let paced = self.pass(Way::Queue, rate)?;
            samples.add(("queue", "two bridges", "p50", "µs"), paced.p50 as f64 / 1e3);
            samples.add(("queue", "two bridges", "p99", "µs"), paced.p99 as f64 / 1e3);
            sleep(Duration::from_millis(200));
            let (before, began) = (used(&bridges), Instant::now());
            sleep(Duration::from_secs(2));
            let share = (used(&bridges) - before).as_secs_f64() / began.elapsed().as_secs_f64();
            samples.add(("idle", "two bridges", "each, of a processor", "%"), share * 100.0 / 2.0);
        }
        Ok(samples)
    }

    /// Starts both bridges.
    fn bridges(&self, port: u16) -> Result<Vec<Bridge>, String> {
        let side = |n: usize, meets: &str, direction: &str| {
            let entry = |way: Way, more: &str| {
                format!(
                    "{{ segment: {:?}, channel: {:?}, direction: {direction:?}, key: {:?}{more} }}",
                    self.segments[n],
                    way.channel(),
                    format!("bench/{}", way.channel())
                )
            };
            let reliable = if n == 0 { r#", mode: "reliable""# } else { "" };
            let text = format!(
                "{{ name: \"bench-{n}-{}\", engine: {{ {meets}: \"tcp/127.0.0.1:{port}\" }}, \
                 channels: [ {}, {} ] }}",
                std::process::id(),
                entry(Way::Broadcast, reliable),
                entry(Way::Queue, "")
            );
            bridge(&self.folder.join(format!("{n}.json5")), &text)
        };
        Ok(vec![side(0, "listen", "export")?, side(1, "connect", "import")?])
    }

    /// Sends for a while, at a rate or as fast as it goes (0).
    fn pass(&self, way: Way, rate: u32) -> Result<Pass, String> {
        let endpoint = format!("tcp/127.0.0.1:{}", free_port().map_err(said)?);
        let start = |role: &str, segment: &str| {
            let mut arguments = vec![role.to_owned(), way.name().to_owned()];
            arguments.push(format!("--size={}", self.args.size));
            arguments.push(format!("--rate={rate}"));
            arguments.push(format!("--seconds={}", self.args.seconds.as_secs_f64()));
            arguments.push(format!("--endpoint={endpoint}"));
            arguments.push(format!("--segment={segment}"));
            Worker::start(&arguments)
        };
        let mut sender = start("send", &self.segments[0])?;
        let mut receiver = start("receive", &self.segments[1])?;
        match receiver.hear()? {
            Said::Linked => {}
            other => return Err(format!("the receiver said {other:?}")),
        }
        sender.tell("go")?;
        let sent = match sender.hear()? {
            Said::Sent { messages } => messages,
            other => return Err(format!("the sender said {other:?}")),
        };
        receiver.tell(&format!("sent {sent}"))?;
        match receiver.hear()? {
            Said::Received(pass) => Ok(pass),
            other => Err(format!("the receiver said {other:?}")),
        }
    }
}

impl Worker {
    fn start(arguments: &[String]) -> Result<Self, String> {
        let own = std::env::current_exe().map_err(said)?;
        let mut command = Command::new(own);
        command.arg("bench-worker").args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(said)?;
        let input = child.stdin.take();
        let output = child.stdout.take().ok_or("a worker has no output")?;
        Ok(Self { child, input, output: BufReader::new(output) })
    }

    fn tell(&mut self, word: &str) -> Result<(), String> {
        let input = self.input.as_mut().ok_or("a worker has no input")?;
        writeln!(input, "{word}").map_err(said)
    }

    /// The next that it says.
    fn hear(&mut self) -> Result<Said, String> {
        let mut line = String::new();
        self.output.read_line(&mut line).map_err(said)?;
        match serde_json::from_str(&line) {
            Ok(Said::Failed { what }) => Err(what),
            Ok(said) => Ok(said),
            Err(_) => Err("a worker ended before its work was done".to_owned()),
        }
    }
}

/// Starts a bridge with this configuration.
fn bridge(file: &Path, config: &str) -> Result<Bridge, String> {
    fs::write(file, config).map_err(said)?;
    let own = std::env::current_exe().map_err(said)?;
    let mut command = Command::new(own);
    command.args(["bridge", "--quiet", "--config"]).arg(file).stdin(Stdio::null());
    command.stdout(Stdio::null()).spawn().map(Bridge).map_err(said)
}

/// The processor time that bridges have used.
fn used(bridges: &[Bridge]) -> Duration {
    let of = |bridge: &Bridge| {
        // The fields after the name, which is in brackets: user and system time are the 12th
        // and 13th of these, in hundredths of a second.
        let stat = fs::read_to_string(format!("/proc/{}/stat", bridge.0.id())).ok()?;
        let (_, fields) = stat.rsplit_once(") ")?;
        let ticks = fields.split(' ').skip(11).take(2).filter_map(|it| it.parse::<u64>().ok());
        Some(Duration::from_millis(10 * ticks.sum::<u64>()))
    };
    bridges.iter().filter_map(of).sum()
}

impl Samples {
    fn add(&mut self, what: (&'static str, &'static str, &'static str, &'static str), value: f64) {
        let (case, subject, metric, unit) = what;
        self.0.push((case, subject, metric, unit, value));
    }

    /// A line for each metric, and what the bridges have against Zenoh alone, round by round.
    fn lines(&self) -> Vec<Line> {
        let mut lines: Vec<Line> = Vec::new();
        for &(case, subject, metric, unit, _) in &self.0 {
            let known =
                |line: &Line| (line.case, line.subject, line.metric) == (case, subject, metric);
            if !lines.iter().any(known) {
                let all = self.of(case, subject, metric);
                lines.push(Line::of((case, subject, metric, unit), all));
            }
        }
        let pairs = |case, metric| {
            let alone = self.of(case, "zenoh alone", metric).into_iter();
            alone.zip(self.of(case, "two bridges", metric))
        };
        let ratio = pairs("rate", "messages").map(|(alone, with)| with / alone).collect();
        lines.push(Line::of(("rate", "two bridges", "of zenoh alone", ""), ratio));
        for metric in ["p50", "p99"] {
            let added =
                pairs("latency", metric).map(|(alone, with)| (with - alone) / 2.0).collect();
            let what =
                if metric == "p50" { "added to p50, each side" } else { "added to p99, each side" };
            lines.push(Line::of(("latency", "two bridges", what, "µs"), added));
        }
        lines
    }

    fn of(&self, case: &str, subject: &str, metric: &str) -> Vec<f64> {
        let all = self.0.iter().filter(|it| (it.0, it.1, it.2) == (case, subject, metric));
        all.map(|it| it.4).collect()
    }
}

impl Line {
    fn of(
        (case, subject, metric, unit): (&'static str, &'static str, &'static str, &'static str),
        mut all: Vec<f64>,
    ) -> Self {
        all.sort_by(f64::total_cmp);
        let at = |index: usize| all.get(index).copied().unwrap_or(f64::NAN);
        let (middle, last) = (all.len() / 2, all.len().saturating_sub(1));
        let (median, min, max) = (at(middle), at(0), at(last));
        Self { case, subject, metric, unit, median, min, max, rounds: all.len() }
    }

    fn text(&self) -> String {
        let Self { case, subject, metric, unit, median, min, max, .. } = self;
        format!("{case:8} {subject:12} {metric:26} {median:>12.2} ({min:.2} to {max:.2}) {unit}")
    }
}
