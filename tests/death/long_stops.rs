//! Processes that are stopped for a while, in the middle of something. None is taken for dead
//! or robbed, and afterwards everything continues.

#![allow(unsafe_code)]

use crate::common;

use std::fs;
use std::path::{Path, PathBuf};
use std::ptr;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tombolo::Segment;

use common::{Brief, HELD, Holder, Name, RINGS, effort, hold, wait_until};

/// One holder of each kind.
struct Company {
    holders: Vec<Holder>,
    segment: Segment,
    _name: Name,
}

impl Company {
    fn new() -> Company {
        let name = Name::new();
        let options = Segment::options().size(1 << 20).participants(32).channels(32);
        let segment = options.create(&name).unwrap();
        let holders = RINGS
            .iter()
            .flat_map(|ring| HELD.iter().map(move |held| (ring, held)))
            .map(|(ring, held)| Holder::start(&name, &segment, ring, held))
            .collect();
        Company { holders, segment, _name: name }
    }

    /// Looks at everybody as long as it lasts, and more than once.
    fn stands_still_for(&self, time: Duration) {
        let until = Instant::now() + time;
        let mut looks = 0;
        while looks < 3 || Instant::now() < until {
            self.holders.iter().for_each(|holder| holder.is_unharmed(&self.segment));
            assert_eq!(self.segment.participants().len(), 1 + self.holders.len());
            looks += 1;
            // Only how often it looks: nothing is expected to happen.
            thread::sleep(time / 50);
        }
        assert!(self.holders.iter().all(|holder| holder.peer.silent()));
    }

    fn goes_on(self) {
        for holder in self.holders {
            holder.conclude(&self.segment);
        }
        assert_eq!(self.segment.participants().len(), 1);
        assert!(!self.segment.sweep().unwrap(), "they left by themselves");
    }
}

#[test]
fn seconds_of_sigstop_harm_nobody() {
    effort::say_how_to_repeat();
    let company = Company::new();
    company.holders.iter().for_each(|holder| holder.peer.stop());
    company.stands_still_for(Duration::from_secs(effort::rounds(3, 12)));
    company.holders.iter().for_each(|holder| holder.peer.resume());
    company.goes_on();
}

/// A cgroup of one's own, with a freezer of version 1 or 2; gone with the test.
struct Freezer {
    folder: PathBuf,
    /// Where its processes came from.
    home: PathBuf,
    version: u8,
}

impl Freezer {
    fn new(version: u8) -> Result<Freezer, String> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").map_err(|e| e.to_string())?;
        let mount = mounts
            .lines()
            .filter_map(|line| line.split_once(" - "))
            .find(|(_, end)| match version {
                1 => end.starts_with("cgroup ") && end.contains("freezer"),
                _ => end.starts_with("cgroup2 "),
            })
            .and_then(|(start, _)| start.split(' ').nth(4))
            .ok_or("it is not mounted")?;
        let own = fs::read_to_string("/proc/self/cgroup").map_err(|e| e.to_string())?;
        let path = own
            .lines()
            .filter_map(|line| line.split_once(':')?.1.split_once(':'))
            .find(|(what, _)| match version {
                1 => what.split(',').any(|controller| controller == "freezer"),
                _ => what.is_empty(),
            })
            .map(|(_, path)| path.trim_start_matches('/'))
            .ok_or("this process is in none")?;
        let home = Path::new(mount).join(path);
        let folder = home.join(format!("tombolo-test-{}", std::process::id()));
        fs::create_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        let freezer = Freezer { folder, home, version };
        let file = if version == 1 { "freezer.state" } else { "cgroup.freeze" };
        if !freezer.folder.join(file).exists() {
            return Err(format!("it has no {file}"));
        }
        Ok(freezer)
    }

    fn hold(&self, pid: i32) -> Result<(), String> {
        fs::write(self.folder.join("cgroup.procs"), pid.to_string()).map_err(|e| e.to_string())
    }

    fn set(&self, frozen: bool) {
        let (file, word) = match (self.version, frozen) {
            (1, true) => ("freezer.state", "FROZEN"),
            (1, false) => ("freezer.state", "THAWED"),
            (_, true) => ("cgroup.freeze", "1"),
            (_, false) => ("cgroup.freeze", "0"),
        };
        let _ = fs::write(self.folder.join(file), word);
        let (file, line) = match (self.version, frozen) {
            (1, true) => ("freezer.state", "FROZEN"),
            (1, false) => ("freezer.state", "THAWED"),
            (_, true) => ("cgroup.events", "frozen 1"),
            (_, false) => ("cgroup.events", "frozen 0"),
        };
        let state = || fs::read_to_string(self.folder.join(file)).unwrap_or_default();
        wait_until(|| state().lines().any(|found| found == line));
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        self.set(false);
        let inside = fs::read_to_string(self.folder.join("cgroup.procs")).unwrap_or_default();
        for pid in inside.lines() {
            let _ = fs::write(self.home.join("cgroup.procs"), pid);
        }
        wait_until(|| fs::remove_dir(&self.folder).is_ok());
    }
}

fn a_frozen_cgroup_harms_nobody(version: u8) {
    let company = Company::new();
    // Dropped before those that are frozen in it: they could not be killed.
    let freezer = Freezer::new(version).and_then(|freezer| {
        company.holders.iter().try_for_each(|holder| freezer.hold(holder.peer.pid()))?;
        Ok(freezer)
    });
    let freezer = match freezer {
        Ok(freezer) => freezer,
        Err(why) => return eprintln!("SKIPPED: a frozen cgroup of version {version}: {why}"),
    };
    freezer.set(true);
    company.stands_still_for(Duration::from_millis(500));
    drop(freezer);
    company.goes_on();
}

#[test]
fn a_frozen_cgroup_of_version_1_harms_nobody() {
    a_frozen_cgroup_harms_nobody(1);
}

#[test]
fn a_frozen_cgroup_of_version_2_harms_nobody() {
    a_frozen_cgroup_harms_nobody(2);
}

/// A debugger's hold on all threads of a process; lets go at the end.
struct Debugged(Vec<i32>);

fn ptrace(request: libc::c_uint, thread: i32) -> bool {
    let none = ptr::null_mut::<libc::c_void>();
    // SAFETY: these requests take no address and no data.
    unsafe { libc::ptrace(request, thread, none, none) == 0 }
}

impl Debugged {
    fn new(pid: i32) -> Option<Debugged> {
        let mut debugged = Debugged(Vec::new());
        for thread in fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
            let thread = thread.unwrap().file_name().into_string().unwrap().parse().unwrap();
            if !ptrace(libc::PTRACE_SEIZE, thread) {
                return None;
            }
            debugged.0.push(thread);
            assert!(ptrace(libc::PTRACE_INTERRUPT, thread));
            let stopped = waitpid(Pid::from_raw(thread), Some(WaitPidFlag::__WALL)).unwrap();
            assert!(matches!(stopped, WaitStatus::PtraceEvent(..)), "{stopped:?}");
        }
        Some(debugged)
    }
}

impl Drop for Debugged {
    fn drop(&mut self) {
        for thread in &self.0 {
            ptrace(libc::PTRACE_DETACH, *thread);
        }
    }
}

#[test]
fn a_debugger_that_stops_a_process_harms_nobody() {
    let company = Company::new();
    let stopped: Option<Vec<Debugged>> =
        company.holders.iter().map(|holder| Debugged::new(holder.peer.pid())).collect();
    let Some(stopped) = stopped else {
        return eprintln!("SKIPPED: a debugger's stop: ptrace is not permitted");
    };
    company.stands_still_for(Duration::from_millis(500));
    drop(stopped);
    company.goes_on();
}

#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    let segment = Segment::open(brief.text(0)).unwrap();
    hold(&brief, &segment, &mut || ());
}
