//! The command under test: runs it, reads its output, and kills it with the test.

// Each package's tests use some of it.
#![allow(dead_code)]

use std::fs;
use std::io::Read;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::thread::{self, JoinHandle};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::common::{heed_signals, own_tables, tables, wait_until};

/// The program of the package that the test belongs to.
pub(crate) const PROGRAM: &str = match (
    option_env!("CARGO_BIN_EXE_tombolo"),
    option_env!("CARGO_BIN_EXE_tombolo-bench"),
    option_env!("CARGO_BIN_EXE_tombolo-record"),
) {
    (Some(program), ..) | (_, Some(program), _) | (.., Some(program)) => program,
    (None, None, None) => panic!("this package has no program to test"),
};

/// The kernel's tables as far as they are this test's own.
#[derive(Debug)]
pub(crate) struct Tables {
    pub(crate) own: bool,
}

impl Tables {
    pub(crate) fn new() -> Self {
        Self { own: own_tables() }
    }

    /// Soon: a child of another test, forked and not yet executed, has attached what this one
    /// has removed.
    #[track_caller]
    pub(crate) fn assert_empty(&self) {
        wait_until(|| !self.own || tables() == (0, 0));
    }
}

pub(crate) fn tombolo(args: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    heed_signals(&mut command);
    command
}

/// Runs the command to its end.
pub(crate) fn run(args: &[&str]) -> Output {
    Running::start(args).end()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A command under way, killed with the test.
#[derive(Debug)]
pub(crate) struct Running(pub(crate) Child);

impl Running {
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::spawn(&mut tombolo(args))
    }

    pub(crate) fn spawn(command: &mut Command) -> Self {
        Self(command.spawn().unwrap())
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).unwrap()
    }

    /// Its child processes.
    pub(crate) fn workers(&self) -> Vec<i32> {
        let pid = self.pid();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        children.unwrap_or_default().split_whitespace().map(|pid| pid.parse().unwrap()).collect()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    /// Kills and reaps it.
    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    pub(crate) fn stdin(&mut self) -> ChildStdin {
        self.0.stdin.take().unwrap()
    }

    pub(crate) fn stdout(&mut self) -> ChildStdout {
        self.0.stdout.take().unwrap()
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until(|| {
            status = self.0.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// Waits until it ends, and reads meanwhile: `recv --lines` goes on only as
    /// it is read.
    #[track_caller]
    pub(crate) fn end(mut self) -> Output {
        let stdout = all_of(self.0.stdout.take());
        let stderr = all_of(self.0.stderr.take());
        let status = self.wait();
        Output { status, stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() }
    }

    /// Its exit status, -1 if a signal ended it, and its messages.
    #[track_caller]
    pub(crate) fn ended(self) -> (i32, String) {
        let output = self.end();
        (output.status.code().unwrap_or(-1), text(&output.stderr))
    }

    /// Ends with this status, and one message that has this in it; or, if it says
    /// nothing, none.
    #[track_caller]
    pub(crate) fn ends(self, status: i32, saying: &str) {
        let (ended, said) = self.ended();
        assert_eq!(ended, status, "{said}");
        assert!(said.contains(saying), "{said:?} instead of {saying:?}");
        assert_eq!(said.lines().count(), usize::from(!saying.is_empty()), "{said}");
    }
}

fn all_of(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut all = Vec::new();
        if let Some(mut pipe) = pipe {
            pipe.read_to_end(&mut all).unwrap();
        }
        all
    })
}

impl Drop for Running {
    fn drop(&mut self) {
        // With all that it started, if it has a group of its own.
        let _ = killpg(Pid::from_raw(self.pid()), Signal::SIGKILL);
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn lives(pid: i32) -> bool {
    stat(pid, 3).is_some_and(|state| state != "Z")
}

/// A field of what the kernel says of a process, from the third on; `None` if there is no such
/// process. See [proc(5)](https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html).
pub(crate) fn stat(pid: i32, field: usize) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, field 2, may hold anything.
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split(' ').nth(field - 3).map(str::to_owned)
}

#[track_caller]
pub(crate) fn assert_refused(args: &[&str], why: &str) {
    let output = run(args);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
    assert_eq!(text(&output.stdout), "", "{args:?}");
    assert_eq!(said.lines().count(), 1, "{args:?}: {said}");
    assert!(said.starts_with("tombolo: ") && said.contains(why), "{args:?}: {said}");
}
