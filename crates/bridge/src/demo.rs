//! `tombolo demo --bridge`: two hosts on this machine, a queue and a broadcast channel between
//! them, and bridges that are killed meanwhile. Every message is accounted for.
//!
//! ```text
//!  host      one of the two: a process in an IPC namespace of its own, with a bridge
//!  orders    what a host is told
//!  source    sends, on one host
//!  sink      receives on the other, and accounts
//!  piece     a message: its number, when it was sent, and a checksum
//!  words     what this process and the hosts say to each other
//! ```
//!
//! Where no namespace can be had, the two hosts are two segments.

pub(crate) mod host;
pub(crate) mod orders;
mod piece;
mod sink;
mod source;
mod words;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};
use std::{env, thread};

use clap::value_parser;
use serde::Serialize;
use tombolo_cli::terms::{millis, progress, seconds};

use crate::failure::Failure;
use crate::plain::json;
use crate::scratch::{Folder, free_port};
use crate::signals::Signals;
use crate::terms::print;
use words::{Report, Sent, Side, Tally};

/// How long nothing may happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// Two hosts on this machine, with a bridge between them.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  tombolo demo --bridge --seconds 5

Exits with 0 only if no message was lost, duplicated without a mark, reordered or corrupt.")]
pub(crate) struct Args {
    /// How long to send [default: 5]
    #[arg(long, value_name = "S", conflicts_with = "messages", value_parser = seconds)]
    seconds: Option<Duration>,
    /// How many messages to send in each channel
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..))]
    messages: Option<u64>,
    /// How many bytes a message has
    #[arg(long, value_name = "BYTES", default_value_t = 64)]
    #[arg(value_parser = value_parser!(u32).range(piece::LEAST as i64..=65536))]
    size: u32,
    /// How many bridges are killed a second
    #[arg(long, value_name = "HZ", default_value_t = 1, value_parser = value_parser!(u16).range(0..=20))]
    kill_rate: u16,
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
    /// Show no progress
    #[arg(long)]
    quiet: bool,
}

/// The result. Its fields are those of the JSON object.
#[derive(Debug, Serialize)]
// More fields than 12: they are those of every demo, and what bridges add.
struct Summary {
    messages: u64,
    bytes: u64,
    seconds: f64,
    messages_per_second: f64,
    bytes_per_second: f64,
    latency_ns: words::Latency,
    lost: u64,
    duplicated: u64,
    reordered: u64,
    corrupt: u64,
    /// Messages of the queue that came again, and were marked.
    repeated: u64,
    /// Messages of the broadcast channel that its subscriber was told it has missed.
    lagged: u64,
    /// How many bridges were killed.
    kills: u64,
    /// Whether each host was an IPC namespace.
    namespaces: bool,
    queue: Tally,
    broadcast: Tally,
}

/// A host's process.
struct Host {
    side: Side,
    child: Child,
    over: bool,
}

/// Both hosts, and what they say.
struct Hosts {
    all: Vec<Host>,
    heard: Receiver<(Side, Report)>,
    signals: Signals,
}

/// Runs the demo.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let unusable = |error: std::io::Error| Failure::unusable("cannot set up two hosts", error);
    let signals =
        Signals::hold().map_err(|error| Failure::broken("cannot hold signals back", error))?;
    let folder = Folder::new("demo").map_err(unusable)?;
    let port = free_port().map_err(unusable)?;
    let mut hosts = Hosts::start(args, folder.path(), port, signals)?;
    let summary = hosts.carry(args);
    let ended = hosts.end();
    let summary = summary?;
    ended?;
    let text = if args.json {
        json(&summary).map_err(|error| Failure::broken("cannot show the result", error))?
    } else {
        summary.text()
    };
    print(&text)?;
    summary.verdict().map_or(Ok(()), |what| Err(Failure::Broken(what)))
}

impl Hosts {
    fn start(args: &Args, folder: &Path, port: u16, signals: Signals) -> Result<Self, Failure> {
        let program = env::current_exe()
            .map_err(|error| Failure::unusable("cannot find this program's own file", error))?;
        let (tell, heard) = channel();
        let mut hosts = Self { all: Vec::new(), heard, signals };
        for side in [Side::Source, Side::Sink] {
            let mut command = Command::new(&program);
            command.arg("demo-host").arg(side.name()).arg(folder);
            command.args([format!("--port={port}"), format!("--size={}", args.size)]);
            command.arg(format!("--kill-rate={}", args.kill_rate));
            if let Some(messages) = args.messages {
                command.arg(format!("--messages={messages}"));
            }
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child =
                command.spawn().map_err(|error| Failure::unusable("cannot start a host", error))?;
            let said = child.stdout.take();
            hosts.all.push(Host { side, child, over: false });
            let tell = tell.clone();
            // Ends with the host.
            thread::spawn(move || said.map(|said| listen(side, BufReader::new(said), &tell)));
        }
        Ok(hosts)
    }

    fn tell(&mut self, side: Side, word: &str) {
        for host in self.all.iter_mut().filter(|host| host.side == side) {
            if let Some(stdin) = &mut host.child.stdin {
                // One that has gone is noticed by its silence.
                let _ = writeln!(stdin, "{word}");
            }
        }
    }

    /// What is said next, if something is said within so long.
    fn hear(&self, most: Duration) -> Result<Option<(Side, Report)>, Failure> {
        if let Some(signal) = self.signals.caught() {
            return Err(Failure::Signalled(signal));
        }
        match self.heard.recv_timeout(most) {
            Ok((side, Report::Failed { what })) => {
                Err(Failure::Broken(format!("the {} host: {what}", side.name())))
            }
            Ok(said) => Ok(Some(said)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => {
                Err(Failure::Broken("the hosts ended before their work was done".to_owned()))
            }
        }
    }

    fn carry(&mut self, args: &Args) -> Result<Summary, Failure> {
        let span = args.seconds.unwrap_or(Duration::from_secs(5));
        let length = args.messages.map_or(millis(span), |messages| messages.saturating_mul(2));
        let bar = progress(length, args.quiet);
        bar.set_message("the bridges look for each other");
        let (mut began, mut stopping, mut sent) = (None, false, Sent::default());
        let (mut namespaces, mut kills, mut last) = (true, 0, Instant::now());
        let result = loop {
            let said = self.hear(Duration::from_millis(50))?;
            if said.is_some() {
                last = Instant::now();
            } else if last.elapsed() > PATIENCE {
                return Err(Failure::Broken("nothing has happened for a minute".to_owned()));
            }
            match said {
                Some((_, Report::Alone { namespace })) => namespaces &= namespace,
                Some((_, Report::Linked)) => {
                    began = Some(Instant::now());
                    bar.reset_elapsed();
                    self.tell(Side::Source, "go");
                    self.tell(Side::Sink, "go");
                }
                Some((_, Report::Received { messages })) => {
                    bar.set_message(format!("{messages} messages"));
                    if args.messages.is_some() {
                        bar.set_position(messages);
                    }
                }
                Some((_, Report::Killed)) => kills += 1,
                Some((_, Report::Sent(all))) => {
                    sent = all;
                    bar.set_message("the last messages come");
                    self.tell(Side::Sink, &format!("sent {} {}", all.queue, all.broadcast));
                }
                Some((_, Report::Done(done))) => break done,
                Some((_, Report::Failed { .. })) | None => {}
            }
            if let (Some(began), None) = (began, args.messages) {
                bar.set_position(millis(began.elapsed().min(span)));
                if began.elapsed() >= span && !stopping {
                    stopping = true;
                    self.tell(Side::Source, "stop");
                }
            }
        };
        bar.finish_and_clear();
        let seconds = result.seconds;
        let messages = result.queue.received + result.broadcast.received;
        let bytes = messages * u64::from(args.size);
        let both = |of: fn(&Tally) -> u64| of(&result.queue) + of(&result.broadcast);
        debug_assert!(sent.queue >= result.queue.received.saturating_sub(result.queue.repeated));
        Ok(Summary {
            messages,
            bytes,
            seconds,
            messages_per_second: messages as f64 / seconds.max(1e-9),
            bytes_per_second: bytes as f64 / seconds.max(1e-9),
            latency_ns: result.latency,
            lost: both(|tally| tally.lost),
            duplicated: both(|tally| tally.duplicated),
            reordered: both(|tally| tally.reordered),
            corrupt: both(|tally| tally.corrupt),
            repeated: both(|tally| tally.repeated),
            lagged: both(|tally| tally.lagged),
            kills,
            namespaces,
            queue: result.queue,
            broadcast: result.broadcast,
        })
    }

    /// Has both clean up, and waits for that.
    fn end(&mut self) -> Result<(), Failure> {
        let until = Instant::now() + Duration::from_secs(20);
        let mut failed = Ok(());
        for host in &mut self.all {
            // The end of its input.
            drop(host.child.stdin.take());
        }
        for host in &mut self.all {
            let status = loop {
                match host.child.try_wait() {
                    Ok(None) if Instant::now() < until => thread::sleep(Duration::from_millis(10)),
                    Ok(status) => break status,
                    Err(_) => break None,
                }
            };
            host.over = status.is_some();
            if !status.is_some_and(|status| status.success()) {
                let side = host.side.name();
                failed = Err(Failure::Broken(format!("the {side} host did not end as it should")));
            }
        }
        failed
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for host in self.all.iter_mut().filter(|host| !host.over) {
            let _ = host.child.kill();
            let _ = host.child.wait();
        }
    }
}

/// Passes on what a host says.
fn listen(side: Side, said: impl BufRead, tell: &Sender<(Side, Report)>) {
    for line in said.lines().map_while(Result::ok) {
        let report = serde_json::from_str(&line).unwrap_or(Report::Failed { what: line });
        if tell.send((side, report)).is_err() {
            return;
        }
    }
}

impl Summary {
    fn text(&self) -> String {
        let hosts = if self.namespaces { "two IPC namespaces" } else { "two segments" };
        let row = |name: &str, tally: &Tally| {
            format!(
                "  {name:10} {:>10} received, {} repeated, {} lagged, {} lost",
                tally.received, tally.repeated, tally.lagged, tally.lost
            )
        };
        let latency = &self.latency_ns;
        let us = |ns: u64| ns as f64 / 1e3;
        [
            format!(
                "between {hosts}, with {} bridges killed, in {:.1} s",
                self.kills, self.seconds
            ),
            row("queue", &self.queue),
            row("broadcast", &self.broadcast),
            format!(
                "  {:.0} messages/s, {:.1} MB/s, latency {:.0} µs (p50), {:.0} µs (p99)",
                self.messages_per_second,
                self.bytes_per_second / 1e6,
                us(latency.p50),
                us(latency.p99)
            ),
            format!(
                "  lost {}, duplicated without a mark {}, reordered {}, corrupt {}",
                self.lost, self.duplicated, self.reordered, self.corrupt
            ),
        ]
        .join("\n")
    }

    fn verdict(&self) -> Option<String> {
        let wrong = [
            (self.lost, "lost"),
            (self.duplicated, "duplicated without a mark"),
            (self.reordered, "reordered"),
            (self.corrupt, "corrupt"),
        ];
        let wrong: Vec<String> = wrong
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        (!wrong.is_empty()).then(|| format!("messages were {}", wrong.join(", ")))
    }
}
