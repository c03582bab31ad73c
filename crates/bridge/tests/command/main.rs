//! `tombolo bridge` as a shell sees it: its configuration, what it says of itself, and its demo.

#![allow(missing_docs, reason = "these are tests")]

mod bench;
mod config;
mod demo;
mod status;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Much more than anything takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("tombolo-test-{}-{n}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A command under way, killed with the test.
struct Running(Child);

impl Running {
    fn bridge(config: &Path) -> Self {
        let mut command = command(&["bridge", "--quiet", "--config", config.to_str().unwrap()]);
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id().cast_signed()), signal).unwrap();
    }

    /// Its exit status; -1 if a signal ended it.
    #[track_caller]
    fn ended(&mut self) -> i32 {
        let mut status = None;
        wait_until(|| {
            status = self.0.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap().code().unwrap_or(-1)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tombolo-bridge"));
    command.args(args).stdin(Stdio::null());
    command
}

fn run(args: &[&str]) -> Output {
    command(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Fails with status 2 and one line, which has this in it.
#[track_caller]
fn assert_refused(args: &[&str], saying: &str) {
    let output = run(args);
    let said = text(&output.stderr);
    assert!(said.contains(saying), "{said:?} instead of {saying:?}");
    assert_eq!((output.status.code(), said.lines().count()), (Some(2), 1), "{said}");
}

#[track_caller]
fn wait_until(mut there: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !there() {
        assert!(Instant::now() < until, "it has not come in {PATIENCE:?}");
        sleep(Duration::from_millis(5));
    }
}

/// Runs `body` in a thread with an IPC namespace of its own, which its processes share; or where
/// there can be none, in that of all.
fn in_own_namespace(body: impl FnOnce() + Send) {
    thread::scope(|scope| {
        let body = scope.spawn(|| {
            if unshare(CloneFlags::CLONE_NEWIPC).is_err() {
                eprintln!("there can be no IPC namespace: this runs in that of all");
            }
            body();
        });
        if let Err(panicked) = body.join() {
            std::panic::resume_unwind(panicked);
        }
    });
}

/// A port that nobody uses.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
