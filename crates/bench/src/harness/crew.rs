//! The workers of one sample: starts them together, reads their reports, and ends
//! them with the sample.

use std::fs;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tombolo::sys::pipe::hand_over;

use super::board::Board;
use super::clock::Clock;
use super::orders::{Orders, Report, Setting, Shared};
use super::subject::Subject;
use crate::failure::Failure;
use crate::signals::Signals;
use crate::terms::fate;

/// The word by which this program knows that it is a worker.
const WORKER: &str = "bench-worker";

/// All samples of a run have these in common.
pub(crate) struct Tools {
    /// This program's own file, which the workers run.
    pub(crate) program: PathBuf,
    pub(crate) clock: Clock,
    pub(crate) signals: Signals,
}

/// A worker, killed when it is dropped.
struct Worker {
    child: Child,
    said: Vec<u8>,
    ended: bool,
}

impl Drop for Worker {
    fn drop(&mut self) {
        if !self.ended {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// Why there is nothing to report.
pub(crate) enum Vain {
    Failed(Failure),
    /// The workers have not ended, and did not even try.
    Hung(Duration),
    /// They have not ended, and waited for a processor instead.
    Starved(Duration),
}

impl From<Failure> for Vain {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Workers that had to wait for their processor for more than this part of the
/// time are given more of it, and not said to hang.
const STARVED: f64 = 0.3;
/// How many times as long that can be.
const GRACE: u32 = 3;

/// Has the workers of a sample do their parts, and returns what they report. If
/// they have not ended after so long, they hang, unless the machine was busy
/// with other things.
pub(crate) fn work(
    tools: &Tools,
    subject: &dyn Subject,
    setting: &Setting,
    silence: Duration,
) -> Result<Vec<Report>, Vain> {
    let board =
        Board::create().map_err(|error| Failure::unusable("cannot make the board", error))?;
    // Declared before the workers: they go first.
    let shared = if subject.threads() { Shared::default() } else { subject.prepare(setting)? };
    let orders = Orders {
        subject: subject.name(),
        setting: setting.clone(),
        place: 0,
        board: board.id(),
        numbers: shared.numbers.clone(),
        fds: Vec::new(),
        objects: shared.objects.clone(),
        clock: tools.clock,
    };
    let places = if subject.threads() { 1 } else { setting.workers() };
    let mut workers = Vec::new();
    for place in 0..places {
        let started = start(&tools.program, Orders { place, ..orders.clone() }, &shared);
        workers.push(
            started.map_err(|error| Failure::Stuck(format!("cannot start a worker: {error}")))?,
        );
    }
    let began = Instant::now();
    // Looked at twice: what they waited for when they began is over.
    let half = silence / 2;
    let (mut deadline, mut before) = (began + half, Duration::ZERO);
    while workers.iter().any(|worker| !worker.ended) {
        if Instant::now() >= deadline {
            let (given, waited) = (deadline - began, waited(&workers));
            let starved = waited.saturating_sub(before) >= half.mul_f64(STARVED);
            if given > half && !starved {
                return Err(Vain::Hung(given));
            }
            if given >= GRACE * silence {
                return Err(Vain::Starved(given));
            }
            before = waited;
            deadline += half;
        }
        listen(&mut workers, &tools.signals, deadline)?;
    }
    let mut reports = Vec::new();
    for worker in &workers {
        for line in worker.said.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            reports.push(parse(line)?);
        }
    }
    Ok(reports)
}

/// How long the worker that had to wait most has waited for its processor.
fn waited(workers: &[Worker]) -> Duration {
    let of_thread = |thread: fs::DirEntry| {
        let schedstat = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
        schedstat.split(' ').nth(1).and_then(|delay| delay.parse().ok()).unwrap_or(0)
    };
    let of_worker = |worker: &Worker| {
        let threads = fs::read_dir(format!("/proc/{}/task", worker.child.id()));
        threads.into_iter().flatten().flatten().map(of_thread).max().unwrap_or(0)
    };
    let living = workers.iter().filter(|worker| !worker.ended);
    Duration::from_nanos(living.map(of_worker).max().unwrap_or(0))
}

/// Starts a process for a part of a sample.
pub(crate) fn command(program: &Path, orders: &Orders) -> io::Result<Command> {
    let mut command = Command::new(program);
    command.arg(WORKER).arg(serde_json::to_string(orders)?);
    // A group of its own: what the terminal says to the conductor is not said
    // to its workers, which it ends in its own way.
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
    Ok(command)
}

fn start(program: &Path, mut orders: Orders, shared: &Shared) -> io::Result<Worker> {
    let mut given = Vec::new();
    for fd in &shared.fds {
        given.push(fd.try_clone()?);
    }
    // The number that a descriptor has here is the one that it has there.
    orders.fds = given.iter().map(std::os::fd::AsRawFd::as_raw_fd).collect();
    let mut command = command(program, &orders)?;
    for fd in given {
        hand_over(fd, &mut command).map_err(io::Error::other)?;
    }
    Ok(Worker { child: command.spawn()?, said: Vec::new(), ended: false })
}

/// Waits for what workers have to say, or for their end.
fn listen(workers: &mut [Worker], signals: &Signals, deadline: Instant) -> Result<(), Failure> {
    let left = deadline.saturating_duration_since(Instant::now());
    let mut fds = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
    let mut places = Vec::new();
    for (place, worker) in workers.iter().enumerate() {
        if let (false, Some(stdout)) = (worker.ended, &worker.child.stdout) {
            places.push(place);
            fds.push(PollFd::new(stdout.as_fd(), PollFlags::POLLIN));
        }
    }
    match poll(&mut fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(error) => return Err(Failure::broken("cannot wait for the workers", error)),
    }
    if let Some(signal) = signals.caught() {
        return Err(Failure::Signalled(signal));
    }
    let speak: Vec<bool> = fds[1..].iter().map(|fd| fd.any().unwrap_or(false)).collect();
    drop(fds);
    for (place, _) in places.into_iter().zip(speak).filter(|(_, speaks)| *speaks) {
        if let Some(worker) = workers.get_mut(place) {
            hear(worker)?;
        }
    }
    Ok(())
}

fn hear(worker: &mut Worker) -> Result<(), Failure> {
    let mut buffer = [0; 1 << 16];
    let read = worker.child.stdout.as_mut().map_or(Ok(0), |stdout| stdout.read(&mut buffer));
    let read = read.map_err(|error| Failure::broken("cannot hear a worker", error))?;
    worker.said.extend_from_slice(&buffer[..read]);
    if read > 0 {
        // One that has failed leaves the others waiting for it.
        let lines = worker.said.split(|&byte| byte == b'\n');
        let complete = worker.said.last() == Some(&b'\n');
        return lines
            .filter(|line| complete && !line.is_empty())
            .try_for_each(|line| parse(line).map(drop));
    }
    let status = worker.child.wait().map_err(|error| Failure::broken("a worker", error))?;
    worker.ended = true;
    if status.success() { Ok(()) } else { Err(Failure::Broken(format!("it {}", fate(status)))) }
}

fn parse(line: &[u8]) -> Result<Report, Failure> {
    let report: Report =
        serde_json::from_slice(line).map_err(|error| Failure::broken("a report", error))?;
    match report.failed {
        Some(why) => Err(Failure::Broken(why)),
        None => Ok(report),
    }
}
