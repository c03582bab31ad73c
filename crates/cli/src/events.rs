//! `tombolo events`: prints joins, leaves and deaths as they happen, and what bridges say.

mod bridged;

use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use serde::Serialize;
use tombolo::{Death, Event, Events, Fault, Member};

use crate::failure::Failure;
use crate::place::Trust;
use crate::plain::{json, plain};
use crate::signals::Signals;
use crate::standard;
use crate::target::Target;
use crate::terms::print;
use bridged::{Happening, Paper};

/// How often to ask the bridges.
const PAUSE: Duration = Duration::from_secs(1);

/// Shows participants that join, leave and die, as it happens.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  tombolo events market --json | jq 'select(.event == \"died\") | .pid'

Ends when the segment is removed. The watcher is a participant, too. With
--remembered, what the segment remembers comes first: its last 128 events.

Bridges that carry channels of the segment to other hosts tell what happens to
them: far ends that come and go, messages that were missed, sent again or refused.")]
pub(crate) struct Args {
    /// The segment, or @ID
    #[arg(value_name = "NAME")]
    segment: Target,
    /// Begin with what the segment remembers
    #[arg(long)]
    remembered: bool,
    #[command(flatten)]
    trust: Trust,
    /// Print a JSON object for each event
    #[arg(long)]
    json: bool,
}

/// An event, as the JSON object has it.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Row {
    Joined(MemberRow),
    Left(MemberRow),
    Died(DeathRow),
    Missed { events: u64 },
    Bridge(Happening),
}

#[derive(Debug, Serialize)]
struct MemberRow {
    pid: u32,
    uid: u32,
    slot: u16,
    life: u64,
    start_time_ticks: u64,
    pid_namespace: u64,
    monotonic_ns: u64,
}

#[derive(Debug, Serialize)]
struct DeathRow {
    #[serde(flatten)]
    member: MemberRow,
    senders: u64,
    receivers: u64,
    unsent: u64,
    redelivered: u64,
    dropped: u64,
    buffers: u64,
    channel: Option<String>,
}

impl MemberRow {
    fn of(member: &Member) -> Self {
        Self {
            pid: member.pid,
            uid: member.uid,
            slot: member.slot,
            life: member.life,
            start_time_ticks: member.start_time,
            pid_namespace: member.pid_namespace,
            monotonic_ns: member.recorded_ns,
        }
    }
}

impl DeathRow {
    fn of(death: Death) -> Self {
        Self {
            member: MemberRow {
                pid: death.pid,
                uid: death.uid,
                slot: death.slot,
                life: death.life,
                start_time_ticks: death.start_time,
                pid_namespace: death.pid_namespace,
                monotonic_ns: death.found_ns,
            },
            senders: death.senders,
            receivers: death.receivers,
            unsent: death.unsent,
            redelivered: death.redelivered,
            dropped: death.dropped,
            buffers: death.buffers,
            channel: death.channel,
        }
    }
}

/// The line that an event makes; none for one that this build does not know.
fn line(event: Event, as_json: bool) -> Option<Result<String, serde_json::Error>> {
    if !as_json {
        return Some(Ok(plain(&event.to_string())));
    }
    let row = match event {
        Event::Joined(member) => Row::Joined(MemberRow::of(&member)),
        Event::Left(member) => Row::Left(MemberRow::of(&member)),
        Event::Died(death) => Row::Died(DeathRow::of(death)),
        Event::Missed(events) => Row::Missed { events },
        _ => return None,
    };
    Some(json(&row))
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    standard::check_output().map_err(|error| Failure::broken("cannot write an event", error))?;
    let held = |error| Failure::broken("cannot handle signals", error);
    let signals = Signals::hold().map_err(held)?;
    // Before it joins: a process that sees it there knows that it misses nothing.
    let paper = Paper::of(&args.segment, args.remembered);
    let paper = paper.map_err(|error| Failure::Unusable(error.to_string()))?;
    let telling = Telling { paper, json: args.json };
    let segment = args
        .segment
        .open(&args.trust.options())
        .map_err(|error| Failure::Unusable(error.to_string()))?;
    let mut events = segment.events();
    if args.remembered {
        events = events.remembered();
    }
    let stop = events.clone();
    let ended = Arc::new(OnceLock::new());
    let told = Arc::clone(&ended);
    // Ends with the process, unless it ends the subscription before.
    let watch = thread::Builder::new()
        .spawn(move || watch(&signals, &stop, &told, telling))
        .map_err(|error| Failure::unusable("cannot start a thread", error))?;
    let shown = show(&events, args.json);
    let Some(why) = ended.get() else {
        return shown;
    };
    // So that its handle is gone, and this process leaves.
    let _ = watch.join();
    match why {
        Some(signal) => Err(Failure::Signalled(*signal)),
        None => shown.and(Err(Failure::broken("cannot write an event", Errno::EPIPE.desc()))),
    }
}

/// What bridges say, and how to print it.
struct Telling {
    paper: Paper,
    json: bool,
}

impl Telling {
    /// Prints what is new.
    fn tell(&mut self) {
        for happening in self.paper.news() {
            let line = if self.json {
                json(&Row::Bridge(happening))
            } else {
                Ok(plain(&happening.to_string()))
            };
            // If it cannot be written, the end of output is noticed next.
            let _ = line.map(|line| print(&line));
        }
    }
}

/// Tells what bridges say, until there is a signal, or the one who reads has gone (`None`).
/// Ends the subscription then.
fn watch(
    signals: &Signals,
    events: &Events,
    ended: &OnceLock<Option<Signal>>,
    mut telling: Telling,
) {
    let out = io::stdout();
    let mut files = [
        PollFd::new(signals.as_fd(), PollFlags::POLLIN),
        PollFd::new(out.as_fd(), PollFlags::empty()),
    ];
    let pause = PollTimeout::try_from(PAUSE).unwrap_or(PollTimeout::MAX);
    let why = loop {
        telling.tell();
        match poll(&mut files, pause) {
            Ok(_) => match signals.caught() {
                Some(signal) => break Some(signal),
                None if files[1].any() == Some(true) => break None,
                None => {}
            },
            Err(Errno::EINTR) => {}
            Err(_) => return,
        }
    };
    let _ = ended.set(why);
    // Refused, it ends with the next event.
    let _ = events.stop();
}

fn show(events: &Events, json: bool) -> Result<(), Failure> {
    loop {
        match events.recv() {
            Ok(event) => {
                if let Some(line) = line(event, json) {
                    print(&line.map_err(|e| Failure::broken("cannot write an event", e))?)?;
                }
            }
            Err(Fault::Closed) => return Ok(()),
            Err(fault) => return Err(Failure::broken("cannot go on", fault)),
        }
    }
}
