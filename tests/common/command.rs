//! The command under test: runs it, reads its output, and kills it with the test.

use std::fs;
use std::io::Read;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread::{self, JoinHandle};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::{heed_signals, own_tables, tables, wait_until};

/// The program of the package that the test belongs to.
pub(crate) const PROGRAM: &str =
    match (option_env!("CARGO_BIN_EXE_tombolo"), option_env!("CARGO_BIN_EXE_tombolo-bench")) {
        (Some(program), _) | (None, Some(program)) => program,
        (None, None) => panic!("this package has no program to test"),
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

    #[track_caller]
    pub(crate) fn assert_empty(&self) {
        if self.own {
            assert_eq!(tables(), (0, 0), "segments and sets are left");
        }
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
        Self(tombolo(args).spawn().unwrap())
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
    pub(crate) fn end(mut self) -> Output {
        let stdout = all_of(self.0.stdout.take());
        let stderr = all_of(self.0.stderr.take());
        let status = self.wait();
        Output { status, stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() }
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
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn lives(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
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
