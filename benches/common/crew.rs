//! The processes of a sample, each on a processor of its own.

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

/// A process of this program, which dies with whoever started it.
pub(crate) struct Worker {
    child: Child,
    says: Lines<BufReader<ChildStdout>>,
}

impl Worker {
    /// Starts this program with `orders`: see [`orders`](super::orders).
    pub(crate) fn start(orders: &[&str]) -> Self {
        Self::start_under(&[], orders)
    }

    /// The same under another program.
    pub(crate) fn start_under(above: &[&str], orders: &[&str]) -> Self {
        let this = std::env::current_exe().expect("this program");
        let mut command = match above {
            [] => Command::new(&this),
            [program, rest @ ..] => {
                let mut command = Command::new(program);
                command.args(rest).arg(&this);
                command
            }
        };
        command.args(orders).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("a worker");
        let says = BufReader::new(child.stdout.take().expect("its output")).lines();
        Self { child, says }
    }

    /// Its next line, if any.
    pub(crate) fn says(&mut self) -> Option<String> {
        self.says.next().map(|line| line.expect("text"))
    }

    /// Waits until it says this.
    #[track_caller]
    pub(crate) fn expect(&mut self, what: &str) {
        assert_eq!(self.says().as_deref(), Some(what));
    }

    /// A number that it says.
    #[track_caller]
    pub(crate) fn number(&mut self) -> u64 {
        self.says().expect("a number").parse().expect("a number")
    }

    pub(crate) fn tell(&mut self, what: &str) {
        let input = self.child.stdin.as_mut().expect("its input");
        writeln!(input, "{what}").expect("a reader");
    }

    /// Lets it go on.
    pub(crate) fn go(&mut self) {
        self.tell("go");
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("a process");
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn join(mut self) {
        assert!(self.child.wait().expect("its end").success());
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The processors that the calling thread may use.
fn processors() -> Vec<usize> {
    let allowed = sched_getaffinity(Pid::from_raw(0)).expect("the processors");
    (0..CpuSet::count()).filter(|&cpu| allowed.is_set(cpu) == Ok(true)).collect()
}

/// Puts the calling thread on the nth of its processors, counted around, and
/// its process at the mercy of whoever started it.
pub(crate) fn settle(n: usize) {
    let _ = set_pdeathsig(Signal::SIGKILL);
    let allowed = processors();
    let mut set = CpuSet::new();
    set.set(allowed[n % allowed.len()]).expect("a processor");
    sched_setaffinity(Pid::from_raw(0), &set).expect("a processor of one's own");
}

/// Tells whoever started this process.
pub(crate) fn say(what: impl std::fmt::Display) {
    println!("{what}");
}

/// Says that this worker is ready, and waits for the start.
pub(crate) fn ready() {
    say("ready");
    std::io::stdin().read_line(&mut String::new()).expect("the start");
}
