//! The processes of a trial, forked from its director.
//!
//! The director is a process of its own with no other thread than the harness's sleeping
//! one, so its children may do anything.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};

use crate::common::parked;

/// Longer than any of them needs, on any machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// A forked process, killed with its director's interest in it.
#[derive(Debug)]
pub(crate) struct Actor {
    pid: Pid,
    name: &'static str,
    ended: Option<i32>,
    /// Whether it has been seen stopped since it was last continued.
    stopped: bool,
}

/// The state of an actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scene {
    /// Exited with this, or minus the signal that ended it.
    Ended(i32),
    Parked,
    Stopped,
}

impl Actor {
    pub(crate) fn fork(name: &'static str, play: impl FnOnce()) -> Actor {
        // SAFETY: nobody else in this process is doing anything.
        match unsafe { fork() }.unwrap() {
            ForkResult::Parent { child } => Actor { pid: child, name, ended: None, stopped: false },
            ForkResult::Child => {
                let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(play));
                // SAFETY: ends the child without running what the director
                // would run at its end.
                unsafe { libc::_exit(i32::from(played.is_err())) }
            }
        }
    }

    pub(crate) fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    fn look(&mut self) -> Option<i32> {
        if self.ended.is_none() {
            let flags = WaitPidFlag::WNOHANG | WaitPidFlag::WUNTRACED;
            match waitpid(self.pid, Some(flags)).unwrap() {
                WaitStatus::Exited(_, code) => self.ended = Some(code),
                WaitStatus::Signaled(_, signal, _) => self.ended = Some(-(signal as i32)),
                WaitStatus::Stopped(..) => self.stopped = true,
                _ => {}
            }
        }
        self.ended
    }

    /// Waits until it sleeps on a semaphore, has stopped or has ended.
    pub(crate) fn scene(&mut self) -> Result<Scene, String> {
        self.wait(true)
    }

    /// Waits until it has ended or stopped.
    pub(crate) fn end(&mut self) -> Result<Scene, String> {
        self.wait(false)
    }

    /// Waits until it has exited by itself and all is well with it.
    pub(crate) fn exit(&mut self) -> Result<(), String> {
        match self.wait(false)? {
            Scene::Ended(0) => Ok(()),
            scene => Err(format!("{}: {scene:?}", self.name)),
        }
    }

    fn wait(&mut self, sleeping: bool) -> Result<Scene, String> {
        let deadline = Instant::now() + PATIENCE;
        let mut rounds = 0_u32;
        loop {
            if let Some(code) = self.look() {
                return Ok(Scene::Ended(code));
            }
            if self.stopped {
                return Ok(Scene::Stopped);
            }
            if sleeping && parked(self.pid.as_raw()) {
                return Ok(Scene::Parked);
            }
            if Instant::now() > deadline {
                let what = if parked(self.pid.as_raw()) { "asleep" } else { "busy" };
                return Err(format!("{} stalls, {what}", self.name));
            }
            rounds += 1;
            if rounds > 50 {
                std::thread::park_timeout(Duration::from_micros(50));
            } else {
                std::thread::yield_now();
            }
        }
    }

    /// Stops it, and returns once it has.
    pub(crate) fn stop(&mut self) -> Result<(), String> {
        kill(self.pid, Signal::SIGSTOP).unwrap();
        self.wait(false).map(drop)
    }

    pub(crate) fn resume(&mut self) {
        self.stopped = false;
        if self.ended.is_none() {
            kill(self.pid, Signal::SIGCONT).unwrap();
        }
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        if self.ended.is_none() {
            let _ = kill(self.pid, Signal::SIGKILL);
            let _ = waitpid(self.pid, None);
        }
    }
}
