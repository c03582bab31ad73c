//! One of the two hosts: a process in an IPC namespace of its own, with a bridge.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tombolo::Segment;

use super::orders::{Args, BROADCAST, CAPACITY, Orders, PAUSE, QUEUE};
use super::words::{Report, Side};
use super::{sink, source};
use crate::failure::Failure;
use crate::signals::Signals;

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    // The organizing process decides when this one ends.
    let signals =
        Signals::hold().map_err(|error| Failure::broken("cannot hold signals back", error))?;
    let namespace = unshare(CloneFlags::CLONE_NEWIPC).is_ok();
    Report::Alone { namespace }.say();
    let done = host(args, namespace, &signals);
    if let Err(what) = &done {
        Report::Failed { what: what.clone() }.say();
    }
    done.map_err(Failure::Broken)
}

fn host(args: &Args, namespace: bool, signals: &Signals) -> Result<(), String> {
    let name = match args.folder.file_name() {
        Some(folder) if !namespace => {
            format!("{}-{}", folder.to_string_lossy(), args.side.name())
        }
        _ => "demo".to_owned(),
    };
    let room = 4 * CAPACITY * (args.size + 64) + (8 << 20);
    let options = Segment::options().size_up_to(room.max(64 << 20)).transient(true);
    let segment = options.create(&name).map_err(|error| error.to_string())?;
    let config = args.folder.join(format!("{}.json5", args.side.name()));
    fs::write(&config, configured(args, &name)).map_err(|error| error.to_string())?;
    let orders = Orders::default();
    thread::scope(|scope| {
        scope.spawn(|| orders.listen());
        let keeper = scope.spawn(|| {
            let kept = Keeper::start(args, &config, signals).and_then(|it| it.keep(&orders));
            if kept.is_err() {
                orders.end();
            }
            kept
        });
        let worked = match args.side {
            Side::Source => source::run(args, &segment, &orders),
            Side::Sink => sink::run(args, &segment, &orders),
        };
        if let Err(what) = &worked {
            Report::Failed { what: what.clone() }.say();
        }
        let kept = keeper.join().unwrap_or_else(|_| Err("its bridge's keeper panicked".to_owned()));
        worked.and(kept)
    })
}

/// The configuration of a host's bridge.
fn configured(args: &Args, segment: &str) -> String {
    let (direction, meets, mode) = match args.side {
        Side::Source => ("export", "listen", r#", mode: "reliable""#),
        Side::Sink => ("import", "connect", ""),
    };
    let entry = |channel: &str, more: &str| {
        format!(
            "    {{ segment: {segment:?}, channel: {channel:?}, direction: {direction:?}, \
             key: \"tombolo/demo/{channel}\"{more} }},\n"
        )
    };
    format!(
        "{{\n  name: \"demo-{}\",\n  engine: {{ {meets}: \"tcp/127.0.0.1:{}\" }},\n  \
         channels: [\n{}{}  ],\n}}\n",
        args.side.name(),
        args.port,
        entry(QUEUE, ""),
        entry(BROADCAST, mode)
    )
}

/// Keeps a bridge, and kills it again and again.
struct Keeper<'a> {
    child: Child,
    config: &'a Path,
    log: PathBuf,
    signals: &'a Signals,
    /// How long a life lasts.
    span: Option<Duration>,
    /// So much less for the first one, so that the two hosts' bridges do not die together.
    early: Duration,
}

impl<'a> Keeper<'a> {
    fn start(args: &Args, config: &'a Path, signals: &'a Signals) -> Result<Self, String> {
        let span =
            (args.kill_rate > 0).then(|| Duration::from_secs_f64(2.0 / f64::from(args.kill_rate)));
        let early = span.filter(|_| args.side == Side::Sink).unwrap_or_default() / 2;
        let log = config.with_extension("log");
        let child = bridge(config, &log, signals)?;
        Ok(Self { child, config, log, signals, span, early })
    }

    fn keep(mut self, orders: &Orders) -> Result<(), String> {
        let mut next = None;
        while !orders.over() {
            thread::sleep(PAUSE);
            if let Ok(Some(status)) = self.child.try_wait() {
                let said = fs::read_to_string(&self.log).unwrap_or_default();
                let said = said.lines().next_back().unwrap_or("it said nothing").to_owned();
                return Err(format!("its bridge ended ({status}): {said}"));
            }
            let Some(span) = self.span else { continue };
            if !orders.go() || orders.stop() || orders.sent().is_some() {
                continue;
            }
            let due = *next.get_or_insert_with(|| Instant::now() + span - self.early);
            if Instant::now() >= due {
                next = Some(due + span);
                self.child.kill().and_then(|()| self.child.wait()).map_err(|it| it.to_string())?;
                self.child = bridge(self.config, &self.log, self.signals)?;
                Report::Killed.say();
            }
        }
        self.end()
    }

    /// Has it drain, and waits for that.
    fn end(&mut self) -> Result<(), String> {
        let pid = Pid::from_raw(self.child.id().cast_signed());
        let _ = kill(pid, Signal::SIGTERM);
        let until = Instant::now() + Duration::from_secs(10);
        while Instant::now() < until {
            match self.child.try_wait().map_err(|error| error.to_string())? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(format!("its bridge ended with {status}")),
                None => thread::sleep(PAUSE),
            }
        }
        Err("its bridge did not end when it was asked to".to_owned())
    }
}

impl Drop for Keeper<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn bridge(config: &Path, log: &Path, signals: &Signals) -> Result<Child, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let log = File::options().create(true).append(true).open(log);
    let log = log.map_err(|error| error.to_string())?;
    let mut command = Command::new(own);
    command.args(["bridge", "--config"]).arg(config);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    signals.release_in(&mut command);
    command.spawn().map_err(|error| format!("cannot start a bridge: {error}"))
}
