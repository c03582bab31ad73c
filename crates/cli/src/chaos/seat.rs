//! A worker's seat: one process after another.

use std::fs;
use std::io::{self, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::judge;
use super::orders::{Orders, Role};
use crate::failure::Failure;
use crate::terms::{fate, now};

/// A place in the storm, and the process that has it now.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) orders: Orders,
    child: Option<Child>,
    /// It has noted something: from then on it would go on if the conductor
    /// died while it is stopped.
    pub(crate) begun: bool,
    /// It has its end of the channel.
    pub(crate) up: bool,
    /// A producer sends nothing more.
    pub(crate) idle: bool,
    /// Stopped until then.
    pub(crate) stopped: Option<Instant>,
    /// When it was certainly alive for the last time.
    pub(crate) alive_at: u64,
}

/// The state of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Living,
    /// By itself.
    Ended,
    /// As its orders said.
    Killed,
}

impl Seat {
    pub(crate) const fn new(orders: Orders) -> Self {
        let (begun, up, idle) = (false, false, false);
        Self { orders, child: None, begun, up, idle, stopped: None, alive_at: 0 }
    }

    /// The name that the judge has for it.
    pub(crate) const fn judged(&self) -> judge::Seat {
        match self.orders.role {
            Role::Producer => judge::Seat::Producer(self.orders.index),
            Role::Consumer => judge::Seat::Consumer(self.orders.index),
            Role::Side => judge::Seat::Side,
        }
    }

    /// Its worker, if there is one.
    pub(crate) fn pid(&self) -> Option<i32> {
        self.child.as_ref().and_then(|child| i32::try_from(child.id()).ok())
    }

    pub(crate) fn name(&self) -> String {
        let Orders { role, index, .. } = self.orders;
        format!("{} {index}", role.name())
    }

    pub(crate) fn start(&mut self, program: &Path) -> io::Result<()> {
        // After it, a whole life may pass before this process runs again.
        let before = now();
        let child = Command::new(program)
            .arg("chaos-worker")
            .arg(serde_json::to_string(&self.orders)?)
            // Its end is the conductor's.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // The signals of the terminal are for the conductor only.
            .process_group(0)
            .spawn()?;
        (self.begun, self.up, self.idle, self.stopped) = (false, false, false, None);
        self.alive_at = before;
        self.child = Some(child);
        Ok(())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid() {
            // Not yet reaped, so it is still this process or nobody.
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }

    /// Waits for the end of a worker that was killed.
    pub(crate) fn reap(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Open until it has gone: it must not take this for the
            // conductor's death.
            let told = child.stdin.take();
            let _ = child.wait();
            drop(told);
        }
    }

    /// After a death: the next worker here is another one.
    pub(crate) const fn next_life(&mut self) {
        self.orders.life += 1;
        self.up = false;
        self.stopped = None;
    }

    /// The state of the worker, which should not end before it is told to.
    pub(crate) fn state(&mut self) -> Result<State, Failure> {
        let Some(child) = &mut self.child else {
            return Ok(State::Ended);
        };
        let asked_at = now();
        let status = match child.try_wait() {
            Ok(None) => {
                // One that ends from within may be dead to the others some
                // time before it can be waited for.
                if self.orders.steps > 0 && !is_ending(child.id()) {
                    self.alive_at = asked_at;
                }
                return Ok(State::Living);
            }
            Ok(Some(status)) => status,
            Err(error) => return Err(Failure::broken(self.name(), error)),
        };
        let mut said = String::new();
        if let Some(stdout) = &mut child.stdout {
            let _ = stdout.read_to_string(&mut said);
        }
        let pid = child.id();
        self.child = None;
        if status.success() {
            return Ok(State::Ended);
        }
        if self.orders.steps > 0 && status.signal() == Some(Signal::SIGKILL as i32) {
            return Ok(State::Killed);
        }
        let said = if said.is_empty() { fate(status) } else { said.trim_end().to_owned() };
        let who = format!("{} (pid {pid})", self.name());
        match status.code() {
            Some(2) => Err(Failure::unusable(who, said)),
            _ => Err(Failure::broken(who, said)),
        }
    }
}

/// Whether a process has begun to end. From then on the kernel undoes its semaphore
/// operations. Yes, where that cannot be seen.
fn is_ending(pid: u32) -> bool {
    const EXITING: u64 = 4;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The flags are field 9; the name in field 2 may hold anything.
    let flags = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(9 - 3));
    flags.and_then(|flags| flags.parse::<u64>().ok()).is_none_or(|flags| flags & EXITING != 0)
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
        if self.child.is_some() {
            self.reap();
        }
    }
}
