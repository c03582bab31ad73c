//! The identity of processes: pid namespaces, reused pids, threads that end, slow deaths.
//! Only the kernel decides, and living processes are never taken for dead.

#![allow(unsafe_code)]

use crate::common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, sigaction};
use nix::unistd::Pid;
use tombolo::sys::{proc, sem::Set, shm::Shm};
use tombolo::{ParticipantInfo, Segment};

use common::{
    Brief, CAPACITY, Holder, Name, Peer, RINGS, TAKEN, channel_of, hold, key_of, receiver, room,
    sender, wait_until,
};

fn market() -> (Name, Segment) {
    crate::common::market(16, 32)
}

/// Runs what follows as the first process of a pid namespace of its own, which
/// ends with it; `None`, loudly, if that is not permitted.
fn own_pids() -> Option<Command> {
    let privileged: &[&str] = &["--pid", "--fork", "--kill-child=KILL"];
    let user: &[&str] = &["--user", "--map-root-user", "--pid", "--fork", "--kill-child=KILL"];
    let permitted = [privileged, user].into_iter().find(|options| {
        let tried = Command::new("unshare").args(*options).arg("true").output();
        tried.is_ok_and(|tried| tried.status.success())
    });
    let Some(options) = permitted else {
        eprintln!(
            "SKIPPED {}: a pid namespace is not permitted",
            thread::current().name().unwrap_or("?")
        );
        return None;
    };
    let mut command = Command::new("unshare");
    command.args(options);
    Some(command)
}

#[test]
fn equal_pids_in_two_namespaces_are_two_processes() {
    for ring in ["mpmc", "bytes-mpmc"] {
        let (name, segment) = market();
        let start = |role: &str, held| {
            let peer = Peer::start_under(own_pids()?, role, &[&name, &ring, &held]);
            Some(Holder::of(peer, &segment, ring, held))
        };
        let Some(victim) = start("hold", "delivery") else { return };
        let [same, looker] =
            ["grant", "receiver"].map(|held| start("hold and look", held).unwrap());
        // This one is out here, and sees the others' processes.
        let outside = Holder::start(&name, &segment, ring, "recv");
        let pids: Vec<u32> = segment.participants().iter().map(|found| found.pid).collect();
        assert_eq!(pids.iter().filter(|pid| **pid == 1).count(), 3, "{pids:?}");
        // Whose pids mean nothing here, nothing is said of.
        let attached = |found: &ParticipantInfo| found.attached == (found.pid != 1).then_some(true);
        assert!(segment.participants().iter().all(attached), "{:?}", segment.participants());
        victim.dies(&segment, Peer::kill);
        for holder in [&same, &looker, &outside] {
            holder.is_unharmed(&segment);
        }
        assert_eq!(segment.participants().len(), 4);
        // And found dead by one in there.
        same.peer.kill();
        let set = Set::open(key_of(&name, 0)).unwrap();
        let living = || (0..16).filter(|slot| set.value(8 + slot).unwrap() == 1).count();
        wait_until(|| living() == 3);
        let second = start("hold and look", "sender").unwrap();
        assert_eq!(segment.participants().len(), 4);
        assert!(!segment.sweep().unwrap(), "it has been swept");
        assert!(room(&segment, ring, &same.channel()) >= CAPACITY);
        [looker, outside, second].into_iter().for_each(|holder| holder.conclude(&segment));
        assert_eq!(segment.participants().len(), 1);
    }
}

#[test]
fn a_pid_that_is_used_again_is_not_the_dead_one() {
    let Some(unshare) = own_pids() else { return };
    let (name, segment) = market();
    let init = Peer::start_under(unshare, "use pids again", &[&name]);
    let said = init.said();
    if said.starts_with("not permitted") {
        return eprintln!("SKIPPED: a pid that is used again: {said}");
    }
    assert_eq!(said, "done");
    assert_eq!(init.join(), 0);
    assert!(!segment.sweep().unwrap());
}

/// The first process of a namespace chooses its children's pids.
fn use_pids_again(brief: &Brief, name: &Name, segment: &Segment) {
    let participants = || segment.participants().iter().map(|found| found.pid).collect::<Vec<_>>();
    for ring in RINGS {
        let dead = Holder::start(name, segment, ring, "delivery");
        let pid = dead.peer.pid();
        // No thread of this process looks: the dead one's slot says LIVE.
        dead.peer.finish();
        let mut next = None;
        for _ in 0..100 {
            if let Err(error) = fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()) {
                return brief.say(format!("not permitted: {error}"));
            }
            let peer = Peer::start("hold", &[name, &ring, &"sender"]);
            if peer.pid() == pid {
                next = Some(peer);
                break;
            }
        }
        let peer = next.expect("the pid");
        let again = Holder::of(peer, segment, ring, "sender");
        segment.sweep().unwrap();
        let living = participants();
        assert_eq!(living.iter().filter(|found| **found == pid as u32).count(), 1, "{living:?}");
        again.is_unharmed(segment);
        let channel = channel_of(ring, "delivery");
        let rx = receiver(segment, ring, &channel);
        assert_eq!(rx.try_recv().unwrap(), Some(TAKEN), "what the dead one held is there");
        drop(rx);
        assert!(room(segment, ring, &channel) >= CAPACITY);
        again.conclude(segment);
    }
    brief.say("done");
}

#[test]
fn a_thread_that_ends_over_a_message_keeps_it_until_its_process_ends() {
    for ring in RINGS {
        for held in ["grant", "delivery"] {
            let (name, segment) = market();
            let peer = Peer::start("thread", &[&name, &ring, &held]);
            let holder = Holder::of(peer, &segment, ring, held);
            holder.is_unharmed(&segment);
            holder.dies(&segment, Peer::kill);
        }
    }
}

#[test]
fn a_process_whose_first_thread_has_ended_is_alive() {
    for ring in RINGS {
        let (name, segment) = market();
        let peer = Peer::start("headless", &[&name, &ring, &"delivery"]);
        let holder = Holder::of(peer, &segment, ring, "delivery");
        let stat = format!("/proc/{}/stat", holder.peer.pid());
        wait_until(|| fs::read_to_string(&stat).unwrap().contains(") Z "));
        let other = segment.participants().into_iter().find(|found| !found.own).unwrap();
        assert_eq!(other.attached, None, "its first thread has no memory any more");
        holder.is_unharmed(&segment);
        holder.dies(&segment, Peer::kill);
    }
}

fn available() -> u64 {
    let memory = fs::read_to_string("/proc/meminfo").unwrap();
    let line = memory.lines().find_map(|line| line.strip_prefix("MemAvailable:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// Has a process die that takes its time over it, and checks that all that it
/// held stays its own until the kernel says that it is dead.
fn dies_slowly(bytes: u64, folder: &Path, end: impl Fn(&Peer)) {
    for ring in ["mpmc", "bytes-mpmc"] {
        let (name, segment) = market();
        let peer = Peer::start("large", &[&name, &ring, &"delivery", &bytes, &folder.display()]);
        let holder = Holder::of(peer, &segment, ring, "delivery");
        let set = Set::open(key_of(&name, 0)).unwrap();
        let slot = segment.participants().into_iter().find(|found| !found.own).unwrap().slot;
        let alive = || set.value(8 + slot).unwrap() == 1;
        let shm = Shm::from_id(segment.id());
        let rx = receiver(&segment, ring, &holder.channel());
        let began = std::time::Instant::now();
        end(&holder.peer);
        let mut looks = 0_u64;
        let got = loop {
            let lives = alive();
            segment.sweep().unwrap();
            let got = rx.try_recv().unwrap();
            looks += u64::from(lives);
            if got.is_some() {
                break got;
            }
            assert!(began.elapsed() < 2 * common::PATIENCE, "never recovered");
            // A participant that is not known to be dead is not gone.
            assert!(!lives || segment.participants().len() == 2 || !alive());
        };
        assert!(!alive(), "robbed while it was dying");
        assert_eq!(shm.stat().unwrap().attached, 1, "robbed while it could still write");
        assert_eq!(got, Some(TAKEN));
        eprintln!(
            "{ring}: {} MiB, recovered after {:?}, looked at {looks} times while it died",
            bytes >> 20,
            began.elapsed()
        );
        drop(rx);
        assert!(room(&segment, ring, &holder.channel()) >= CAPACITY);
    }
}

#[test]
fn a_participant_of_gibibytes_is_not_robbed_while_it_dies() {
    common::effort::say_how_to_repeat();
    let full = common::effort::rounds(1, 4) << 30;
    let bytes = if available() >= 2 * full { full } else { available() / 4 };
    if bytes < full {
        eprintln!("REDUCED: {} MiB, for want of memory", bytes >> 20);
    }
    dies_slowly(bytes, &std::env::temp_dir(), Peer::kill);
}

#[test]
fn a_participant_is_not_robbed_while_its_core_is_dumped() {
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    if pattern.starts_with(['|', '@', '/']) {
        return eprintln!("SKIPPED: a core dump: they go to {pattern}");
    }
    let folder = Folder(std::env::temp_dir().join(format!("tombolo-core-{}", proc::pid())));
    fs::create_dir(&folder.0).unwrap();
    let bytes = (available() / 8).min(128 << 20);
    dies_slowly(bytes, &folder.0, |peer| {
        kill(Pid::from_raw(peer.pid()), Signal::SIGABRT).unwrap();
    });
    let cores = fs::read_dir(&folder.0).unwrap();
    let size: u64 = cores.map(|core| core.unwrap().metadata().unwrap().len()).sum();
    assert!(size > bytes, "no core was dumped");
}

/// Gone with the test, with what is in it.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Has a lot of memory, page by page, and may dump it where it is told to.
fn large(brief: &Brief, segment: &Segment) {
    let bytes: usize = brief.number(3);
    std::env::set_current_dir(brief.text(4)).unwrap();
    let _ = setrlimit(Resource::RLIMIT_CORE, 1 << 30, 1 << 30);
    hold(brief, segment, &mut || {
        let layout = std::alloc::Layout::from_size_align(bytes, 1 << 21).unwrap();
        // SAFETY: not of size zero.
        let memory = unsafe { std::alloc::alloc(layout) };
        assert!(!memory.is_null());
        // Page by page: huge ones are given back in no time.
        // SAFETY: this memory is this process's, and of this size.
        unsafe { libc::madvise(memory.cast(), bytes, libc::MADV_NOHUGEPAGE) };
        for page in (0..bytes).step_by(4096) {
            // SAFETY: within what was allocated.
            let byte = unsafe { memory.add(page) };
            // SAFETY: nobody else knows of it.
            unsafe { byte.write_volatile(1) };
        }
    });
}

extern "C" fn end_this_thread(_: libc::c_int) {
    // SAFETY: ends the thread that runs the signal's handler, and no other.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
}

/// Ends the first thread of this process, which waits for this one, and which
/// owns nothing of the segment.
fn end_the_first_thread() {
    let action =
        SigAction::new(SigHandler::Handler(end_this_thread), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler makes one system call.
    unsafe { sigaction(Signal::SIGUSR1, &action) }.unwrap();
    let pid = proc::pid();
    // SAFETY: sends a signal to a thread of this process.
    let sent = unsafe { libc::syscall(libc::SYS_tgkill, pid, pid, libc::SIGUSR1) };
    assert_eq!(sent, 0);
}

/// Has a thread end over what it holds, with its handles forgotten.
fn thread_ends(brief: &Brief, segment: &Segment) {
    let (ring, held) = (brief.text(1), brief.text(2));
    let channel = channel_of(ring, held);
    brief.say("open");
    brief.hear();
    let ended = AtomicU64::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            // The thread ends in the middle, by itself.
            let mut meanwhile = || {
                ended.store(1, Ordering::Release);
                // SAFETY: ends this thread alone; what it has borrowed lives
                // as long as the process, which never comes to its scope's end.
                unsafe { libc::syscall(libc::SYS_exit, 0) };
            };
            if held == "grant" {
                let _ = sender(segment, ring, &channel).grant(1, &mut meanwhile);
            } else {
                let _ = receiver(segment, ring, &channel).delivery(&mut meanwhile);
            }
        });
        wait_until(|| ended.load(Ordering::Acquire) == 1);
        wait_until(|| fs::read_dir("/proc/self/task").unwrap().count() <= 2);
        brief.say("held");
        brief.hear();
    });
}

#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    let segment = Segment::open(brief.text(0)).unwrap();
    match &*brief.role {
        "hold" => hold(&brief, &segment, &mut || ()),
        "hold and look" => hold(&brief, &segment, &mut || assert!(!segment.sweep().unwrap())),
        "use pids again" => {
            let name = Name::of(brief.text(0));
            use_pids_again(&brief, &name, &segment);
        }
        "thread" => thread_ends(&brief, &segment),
        "headless" => hold(&brief, &segment, &mut end_the_first_thread),
        "large" => large(&brief, &segment),
        role => panic!("{role}"),
    }
}
