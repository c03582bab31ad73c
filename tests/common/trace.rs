//! The system calls of a process, as strace sees them.

use std::fmt::Display;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tombolo::sys::proc;

use super::{Peer, wait_until};

/// For how long nothing is to be asked.
const STILL: Duration = Duration::from_secs(2);

/// The calls of a process, in a file that goes with this.
#[derive(Debug)]
pub(crate) struct Trace(PathBuf);

impl Trace {
    /// Starts a peer under strace. `None`, with a note, if there is none.
    #[track_caller]
    pub(crate) fn start(role: &str, args: &[&dyn Display]) -> Option<(Peer, Trace)> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if Command::new("strace").arg("-V").output().is_err() {
            eprintln!("SKIPPED: what is asked of the kernel: strace is not installed");
            return None;
        }
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let file = std::env::temp_dir().join(format!("tombolo-trace-{}-{n}", proc::pid()));
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-o"]).arg(&file);
        Some((Peer::start_under(strace, role, args), Trace(file)))
    }

    fn read(&self) -> String {
        fs::read_to_string(&self.0).unwrap()
    }

    /// Returns once nothing has been asked for a while.
    #[track_caller]
    pub(crate) fn wait_until_still(&self) {
        let (mut before, mut since) = (self.read(), Instant::now());
        wait_until(|| {
            let now = self.read();
            if now != before {
                (before, since) = (now, Instant::now());
            }
            since.elapsed() > STILL
        });
    }

    /// The calls between two things that it said.
    #[track_caller]
    pub(crate) fn between(&self, first: &str, last: &str) -> String {
        let trace = self.read();
        let from = trace.find(&format!("@{first}")).expect(first);
        trace[from..trace.rfind(&format!("@{last}")).expect(last)].to_owned()
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
