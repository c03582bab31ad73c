//! Hosts, and the bridges on them.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Longer than anything waited for takes, on any machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Hosts by these names, or the end of the test where there can be none.
macro_rules! hosts {
    ($($host:ident),*) => {
        let ($(Some($host),)*) = ($($crate::hosts::hosts!(@ $host),)*) else { return };
    };
    (@ $host:ident) => { $crate::hosts::Host::new() };
}
pub(crate) use hosts;

/// Returns once `condition` holds, and panics if it never does.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "it never came about: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// What is found once it is there.
#[track_caller]
pub(crate) fn eventually<R>(what: &str, mut found: impl FnMut() -> Option<R>) -> R {
    let mut result = None;
    wait_until(what, || {
        result = found();
        result.is_some()
    });
    result.unwrap()
}

/// A port of the loopback interface that nobody has.
pub(crate) fn endpoint() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("tcp/127.0.0.1:{}", listener.local_addr().unwrap().port())
}

type Job = Box<dyn FnOnce() + Send>;

/// A host: a thread with System V objects of its own. What it starts is there too.
pub(crate) struct Host {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Host {
    /// `None`, loudly, where namespaces are not permitted.
    pub(crate) fn new() -> Option<Self> {
        Self::with(CloneFlags::CLONE_NEWIPC)
    }

    /// The same, with a network of its own too.
    pub(crate) fn with_network() -> Option<Self> {
        Self::with(CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWNET)
    }

    fn with(flags: CloneFlags) -> Option<Self> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let (told, permitted) = mpsc::channel();
        let thread = thread::spawn(move || {
            let done = unshare(flags);
            told.send(done).unwrap();
            if done.is_ok() {
                queue.into_iter().for_each(|job| job());
            }
        });
        if let Err(why) = permitted.recv().unwrap() {
            eprintln!("SKIPPED: namespaces are not permitted: {why}");
            return None;
        }
        Some(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Does it there.
    pub(crate) fn run<R: Send + 'static>(&self, job: impl FnOnce() -> R + Send + 'static) -> R {
        let (done, result) = mpsc::channel();
        let job = Box::new(move || {
            let _ = done.send(std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)));
        });
        self.jobs.as_ref().unwrap().send(job).unwrap();
        match result.recv().unwrap() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Does it there, in a thread of its own.
    pub(crate) fn spawn<R: Send + 'static>(
        &self,
        job: impl FnOnce() -> R + Send + 'static,
    ) -> thread::JoinHandle<R> {
        self.run(move || thread::spawn(job))
    }

    /// Starts a bridge there.
    pub(crate) fn bridge(&self, arguments: &[&str]) -> Bridge {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tombolo-bridge"));
        command.arg("bridge").args(arguments);
        self.run(move || Bridge::start(&mut command))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A bridge, which is killed with the test.
pub(crate) struct Bridge {
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
}

impl Bridge {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let said = Arc::<Mutex<Vec<String>>>::default();
        let (lines, heard) = (BufReader::new(child.stderr.take().unwrap()), Arc::clone(&said));
        thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                heard.lock().unwrap().push(line);
            }
        });
        Self { child, said }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether its process has not ended.
    pub(crate) fn lives(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid()));
        stat.is_ok_and(|stat| !stat.contains(") Z "))
    }

    /// Kills it.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end, and waits for that.
    pub(crate) fn terminate(mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.child.wait().unwrap()
    }

    /// What it has said on standard error.
    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap().join("\n")
    }

    #[track_caller]
    pub(crate) fn wait_for(&self, what: &str) {
        let begin = Instant::now();
        while !self.said().contains(what) {
            assert!(begin.elapsed() < PATIENCE, "it never said {what:?}, but:\n{}", self.said());
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// How much memory it has of its own, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("-- a bridge said:\n{}", self.said());
        }
    }
}
