//! The demo's workers: starts them together, reads their reports, and ends them
//! with the demo.

use std::fmt::Display;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::orders::{Orders, Report, Role};
use crate::failure::Failure;
use crate::signals::Signals;
use crate::terms::fate;

/// A worker as the demo sees it.
#[derive(Debug)]
struct Worker {
    name: String,
    child: Child,
    /// The next report, as far as it has come.
    heard: Vec<u8>,
    /// It has said what there is to say.
    done: bool,
    ended: bool,
}

/// All workers, and the signals that end them early. They are killed when it
/// is dropped: those whose work is done wait for it, and the others hold
/// nothing that matters any more.
#[derive(Debug)]
pub(crate) struct Crew {
    /// The first is the founder: the one that creates the segment.
    workers: Vec<Worker>,
    signals: Signals,
    /// The demo has the segment.
    founded: bool,
}

impl Crew {
    /// Starts the workers.
    pub(crate) fn muster(
        program: &Path,
        input: &Path,
        orders: &Orders,
        signals: Signals,
    ) -> Result<Self, Failure> {
        let mut crew = Self { workers: Vec::new(), signals, founded: false };
        for (role, count) in
            [(Role::Consumer, orders.consumers), (Role::Producer, orders.producers)]
        {
            for index in 0..count {
                let worker =
                    Worker::start(program, input, Orders { role, index, ..orders.clone() })
                        .map_err(|error| Failure::unusable("cannot start a worker", error))?;
                crew.workers.push(worker);
            }
        }
        Ok(crew)
    }

    pub(crate) fn len(&self) -> usize {
        self.workers.len()
    }

    /// Whether any worker is still to report.
    pub(crate) fn working(&self) -> bool {
        self.workers.iter().any(|worker| !worker.done)
    }

    /// From here on the demo removes the segment, and not the worker that created it.
    pub(crate) const fn founded(&mut self) {
        self.founded = true;
    }

    /// Tells the founder something. It is short enough never to wait.
    pub(crate) fn tell_founder(&mut self, what: impl Display) {
        if let Some(founder) = self.workers.first_mut() {
            founder.tell(what);
        }
    }

    /// Tells all the others.
    pub(crate) fn tell_others(&mut self, what: impl Display) {
        for worker in self.workers.iter_mut().skip(1) {
            worker.tell(&what);
        }
    }

    /// Waits for reports and returns them.
    pub(crate) fn listen(&mut self, most: Option<Duration>) -> Result<Vec<Report>, Failure> {
        let ready = self.wait(most)?;
        let mut reports = Vec::new();
        for index in ready {
            let Some(worker) = self.workers.get_mut(index) else {
                continue;
            };
            let heard = worker.listen(&mut reports);
            if let Err(failure) = heard {
                // A signal for the whole group came here, too.
                return Err(self.signals.caught().map_or(failure, Failure::Signalled));
            }
        }
        Ok(reports)
    }

    /// Waits for the first that have something to say.
    fn wait(&mut self, most: Option<Duration>) -> Result<Vec<usize>, Failure> {
        let timeout =
            most.map_or(Ok(PollTimeout::NONE), PollTimeout::try_from).unwrap_or(PollTimeout::MAX);
        let mut indices = Vec::new();
        let mut fds = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        for (index, worker) in self.workers.iter().enumerate() {
            if let (false, Some(stdout)) = (worker.ended, &worker.child.stdout) {
                indices.push(index);
                fds.push(PollFd::new(stdout.as_fd(), PollFlags::POLLIN));
            }
        }
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(Failure::broken("cannot wait for the workers", error)),
        }
        if let Some(signal) = self.signals.caught() {
            return Err(Failure::Signalled(signal));
        }
        let speaks = |fd: &PollFd<'_>| fd.any().unwrap_or(false);
        let ready = indices.into_iter().zip(&fds[1..]);
        Ok(ready.filter(|(_, fd)| speaks(fd)).map(|(index, _)| index).collect())
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        if let (false, Some(founder)) = (self.founded, self.workers.first_mut()) {
            // It may be creating the segment just now, and nobody else knows
            // which that is. Without its input it puts it away and ends.
            drop(founder.child.stdin.take());
            let _ = founder.child.wait();
        }
        for worker in &mut self.workers {
            if !worker.ended {
                let _ = worker.child.kill();
            }
        }
        for worker in &mut self.workers {
            let _ = worker.child.wait();
        }
    }
}

impl Worker {
    fn start(program: &Path, input: &Path, orders: Orders) -> io::Result<Self> {
        let child = Command::new(program)
            .arg("demo-worker")
            .arg(serde_json::to_string(&orders)?)
            .arg(input)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A group of its own: what the terminal says to the demo is not
            // said to its workers, which it ends in its own way.
            .process_group(0)
            .spawn()?;
        Ok(Self {
            name: format!("{} {} (pid {})", orders.role.name(), orders.index, child.id()),
            child,
            heard: Vec::new(),
            done: false,
            ended: false,
        })
    }

    fn tell(&mut self, what: impl Display) {
        if let Some(stdin) = &mut self.child.stdin {
            // One that has died will be heard of.
            let _ = writeln!(stdin, "{what}");
        }
    }

    /// Reads what there is. Its end without a last word is a failure.
    fn listen(&mut self, reports: &mut Vec<Report>) -> Result<(), Failure> {
        let mut buffer = [0; 1 << 16];
        let read = match self.child.stdout.as_mut().map(|stdout| stdout.read(&mut buffer)) {
            Some(Ok(read)) => read,
            Some(Err(error)) => return Err(Failure::broken(&self.name, error)),
            None => 0,
        };
        if read == 0 {
            let status = self.child.wait().map_err(|error| Failure::broken(&self.name, error))?;
            self.ended = true;
            return if self.done {
                Ok(())
            } else {
                Err(Failure::Broken(format!("{} {}", self.name, fate(status))))
            };
        }
        self.heard.extend_from_slice(&buffer[..read]);
        while let Some(end) = self.heard.iter().position(|&byte| byte == b'\n') {
            let line = self.heard.drain(..=end).collect::<Vec<_>>();
            match serde_json::from_slice(&line) {
                Ok(Report::Failed { unusable: true, why }) => {
                    return Err(Failure::unusable(&self.name, why));
                }
                Ok(Report::Failed { unusable: false, why }) => {
                    return Err(Failure::broken(&self.name, why));
                }
                Ok(report) => {
                    self.done = matches!(report, Report::Sent { .. } | Report::Drained { .. });
                    reports.push(report);
                }
                Err(error) => return Err(Failure::broken(&self.name, error)),
            }
        }
        Ok(())
    }
}
