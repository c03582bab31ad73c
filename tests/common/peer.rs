//! Other processes: this test program run again, with a role.

use std::env;
use std::fmt::Display;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::panic::Location;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::str::FromStr;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{PATIENCE, parked, wait_until};

const ROLE: &str = "TOMBOLO_TEST_ROLE";
const SEPARATOR: char = '\x1f';

/// A child's role and arguments, and its line to the parent.
#[derive(Debug)]
pub(crate) struct Brief {
    pub(crate) role: String,
    args: Vec<String>,
}

impl Brief {
    /// The brief of this process; `None` if it is not a child.
    ///
    /// Every test file that starts children has an ignored test `child_entry` that
    /// calls this: `cargo test -- --ignored` runs it too, without a brief.
    pub(crate) fn take() -> Option<Brief> {
        let text = env::var(ROLE).ok()?;
        let mut parts = text.split(SEPARATOR).map(str::to_owned);
        let role = parts.next().unwrap();
        Some(Brief { role, args: parts.collect() })
    }

    pub(crate) fn text(&self, n: usize) -> &str {
        &self.args[n]
    }

    pub(crate) fn number<N: FromStr>(&self, n: usize) -> N {
        self.args[n].parse().unwrap_or_else(|_| panic!("argument {n}: {:?}", self.args[n]))
    }

    /// Tells the parent something.
    pub(crate) fn say(&self, what: impl Display) {
        let mut out = io::stdout().lock();
        writeln!(out, "@{what}").unwrap();
        out.flush().unwrap();
    }

    /// Waits for the parent's next line; ends the process when it is gone.
    pub(crate) fn hear(&self) -> String {
        let mut line = String::new();
        if io::stdin().read_line(&mut line).unwrap() == 0 {
            std::process::exit(3);
        }
        line.trim_end().to_owned()
    }
}

/// The `child_entry` of the calling file, as the test harness names it:
/// `tests/death/descent.rs` is the module `descent` of the program `death`.
#[track_caller]
pub(crate) fn entry() -> String {
    let file = Location::caller().file();
    let (_, module) = file.rsplit_once("tests/").unwrap();
    let (_, module) = module.split_once('/').unwrap();
    let module = module.strip_suffix(".rs").unwrap();
    let path = module.split('/').filter(|part| !matches!(*part, "main" | "mod"));
    path.chain(["child_entry"]).collect::<Vec<_>>().join("::")
}

/// A child process with a role, killed with the test.
#[derive(Debug)]
pub(crate) struct Peer {
    child: Child,
    said: Receiver<String>,
    ears: Option<ChildStdin>,
    name: String,
    done: bool,
}

impl Peer {
    /// Runs the `child_entry` of the calling file in another process.
    #[track_caller]
    pub(crate) fn start(role: &str, args: &[&dyn Display]) -> Peer {
        Self::run(Command::new(env::current_exe().unwrap()), role, args)
    }

    /// As [`start`](Self::start), by a command to which the path of this
    /// program is added first.
    #[track_caller]
    pub(crate) fn start_under(mut wrapper: Command, role: &str, args: &[&dyn Display]) -> Peer {
        wrapper.arg(env::current_exe().unwrap());
        Self::run(wrapper, role, args)
    }

    #[track_caller]
    fn run(mut command: Command, role: &str, args: &[&dyn Display]) -> Peer {
        let mut brief = role.to_owned();
        for arg in args {
            brief.push(SEPARATOR);
            brief.push_str(&arg.to_string());
        }
        command
            .args([&entry(), "--exact", "--ignored", "--nocapture", "--test-threads=1"])
            .env(ROLE, &brief)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (tell, said) = mpsc::channel();
        thread::spawn(move || {
            for line in out.lines() {
                let Ok(line) = line else { return };
                // The harness writes its own lines, some without an end.
                if let Some((_, what)) = line.split_once('@')
                    && tell.send(what.to_owned()).is_err()
                {
                    return;
                }
            }
        });
        let ears = child.stdin.take();
        Peer { child, said, ears, name: brief.replace(SEPARATOR, " "), done: false }
    }

    pub(crate) fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    pub(crate) fn tell(&mut self, what: &str) {
        // A child that has ended does not read.
        let _ = writeln!(self.ears.as_mut().unwrap(), "{what}");
    }

    /// The next thing that it says.
    #[track_caller]
    pub(crate) fn said(&self) -> String {
        self.said_within(PATIENCE).unwrap_or_else(|| panic!("{}: says nothing", self.name))
    }

    /// The next thing that it says in time; `None` if nothing.
    #[track_caller]
    pub(crate) fn said_within(&self, time: Duration) -> Option<String> {
        match self.said.recv_timeout(time) {
            Ok(what) => Some(what),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => panic!("{}: has ended", self.name),
        }
    }

    /// Whether it has said nothing that was not asked for yet.
    pub(crate) fn silent(&self) -> bool {
        matches!(self.said.try_recv(), Err(mpsc::TryRecvError::Empty))
    }

    #[track_caller]
    pub(crate) fn expect(&self, what: &str) {
        assert_eq!(self.said(), what, "{}", self.name);
    }

    /// Waits until it sleeps in a semaphore operation.
    #[track_caller]
    pub(crate) fn wait_until_parked(&self) {
        wait_until(|| parked(self.pid()));
    }

    /// Kills it with `SIGKILL`; it is a zombie until it is dropped.
    pub(crate) fn kill(&self) {
        self.signal(Signal::SIGKILL);
    }

    /// Kills and reaps it.
    pub(crate) fn finish(mut self) {
        self.end();
    }

    /// Stops it, and returns once all of it has stopped.
    #[track_caller]
    pub(crate) fn stop(&self) {
        self.signal(Signal::SIGSTOP);
        let stat = format!("/proc/{}/stat", self.pid());
        wait_until(|| {
            let stat = std::fs::read_to_string(&stat).unwrap();
            stat.rsplit(')').next().unwrap().trim_start().starts_with('T')
        });
    }

    pub(crate) fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Waits for its end by itself: its exit code, or minus its signal.
    #[track_caller]
    pub(crate) fn join(mut self) -> i32 {
        drop(self.ears.take());
        let mut ended = None;
        wait_until(|| {
            ended = self.child.try_wait().unwrap();
            ended.is_some()
        });
        self.done = true;
        let status = ended.unwrap();
        status.code().unwrap_or_else(|| -status.signal().unwrap())
    }

    fn end(&mut self) {
        if !self.done {
            self.done = true;
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.end();
    }
}
