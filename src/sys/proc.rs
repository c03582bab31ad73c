//! This process and its machine: what the modules above need from the kernel
//! besides System V IPC.

#![allow(unsafe_code)]

use std::ffi::{c_int, c_long, c_uint};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::sched::{CpuSet, sched_getaffinity};
use nix::sys::signal::kill;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{Pid, Uid, User, geteuid};

use super::error::{Call, Error, Result};
use super::object::Object;

pub use super::fork::ForkGuard;

/// From <sched.h>: a flag that the kernel returns together with the policy.
const SCHED_RESET_ON_FORK: c_int = 0x4000_0000;

// From <linux/membarrier.h>.
const MEMBARRIER_CMD_GLOBAL_EXPEDITED: c_int = 1 << 1;
const MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED: c_int = 1 << 2;
const MEMBARRIER_CMD_PRIVATE_EXPEDITED: c_int = 1 << 3;
const MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED: c_int = 1 << 4;

/// How many CPUs this process may run on, as it was at the first call.
///
/// With one CPU, spinning for another process only keeps that process from
/// running.
///
/// See
/// [sched_setaffinity(2)](https://man7.org/linux/man-pages/man2/sched_setaffinity.2.html).
#[doc(alias = "sched_getaffinity")]
pub fn cpus() -> usize {
    static CPUS: AtomicUsize = AtomicUsize::new(0);
    let mut cpus = CPUS.load(Ordering::Relaxed);
    if cpus == 0 {
        cpus = match sched_getaffinity(Pid::from_raw(0)) {
            Ok(set) => (0..CpuSet::count()).filter(|&cpu| set.is_set(cpu) == Ok(true)).count(),
            // The machine has more CPUs than fit into the set.
            Err(_) => thread::available_parallelism().map_or(1, Into::into),
        };
        cpus = cpus.max(1);
        CPUS.store(cpus, Ordering::Relaxed);
    }
    cpus
}

/// A number that this process gives out only once.
pub(crate) fn unlike_any() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn membarrier(command: c_int) -> Result<(), Errno> {
    let flags: c_uint = 0;
    // SAFETY: membarrier takes numbers only and touches no memory.
    let result = unsafe {
        libc::syscall(libc::SYS_membarrier, c_long::from(command), c_long::from(flags), 0_i64)
    };
    Errno::result(result).map(drop)
}

/// Makes the [`global_barrier`]s of all processes reach this one. Returns whether
/// they will.
///
/// Registers once per process. A forked child must call it again.
///
/// See [membarrier(2)](https://man7.org/linux/man-pages/man2/membarrier.2.html).
#[doc(alias = "membarrier")]
pub fn register_global_barrier() -> bool {
    /// The epoch of the process that has registered.
    static REGISTERED: AtomicUsize = AtomicUsize::new(0);
    // Without a guard, this registers again each time, which does no harm.
    let epoch = ForkGuard::new().map_or(0, |guard| guard.epoch());
    if epoch != 0 && REGISTERED.load(Ordering::Relaxed) == epoch {
        return true;
    }
    let registered = membarrier(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED).is_ok();
    if registered {
        // Relaxed: a thread that misses it registers once more.
        REGISTERED.store(epoch, Ordering::Relaxed);
    }
    registered
}

/// Whether the calling thread has the ordinary scheduling policy or one below it,
/// and no real-time policy.
///
/// See [sched_getscheduler(2)](https://man7.org/linux/man-pages/man2/sched_getscheduler.2.html).
#[doc(alias = "sched_getscheduler")]
pub fn scheduled_fairly() -> bool {
    // SAFETY: it takes a number only and touches no memory.
    let policy = unsafe { libc::sched_getscheduler(0) };
    // Where a sandbox forbids to ask, the policy has hardly been changed.
    !matches!(
        policy & !SCHED_RESET_ON_FORK,
        libc::SCHED_FIFO | libc::SCHED_RR | libc::SCHED_DEADLINE
    ) || policy < 0
}

/// A full memory barrier in every running thread of every process that has
/// called [`register_global_barrier`], and in the caller.
///
/// If one side of a store-then-load handshake calls it, the other side needs only
/// a compiler fence.
///
/// Linux leaves out a processor on which a thread of the same process has ended,
/// until another process has run there. A store made there just before is then
/// seen a moment later, not at once. A caller that cannot tolerate this checks
/// once more after some time. [`process_barrier`] leaves no processor out.
///
/// See [membarrier(2)](https://man7.org/linux/man-pages/man2/membarrier.2.html).
///
/// # Errors
///
/// [`Unsupported`](super::ErrorKind::Unsupported) before Linux 4.16, in some
/// sandboxes, and with `nohz_full` CPUs.
#[doc(alias = "membarrier")]
pub fn global_barrier() -> Result<()> {
    membarrier(MEMBARRIER_CMD_GLOBAL_EXPEDITED)
        .map_err(|e| Error::new(Call::Membarrier, Object::System("the global barrier"), e))
}

/// A full memory barrier in every running thread of this process.
///
/// Registers the process for it at the first call, which takes some
/// milliseconds if it has several threads.
///
/// See [membarrier(2)](https://man7.org/linux/man-pages/man2/membarrier.2.html).
///
/// # Errors
///
/// [`Unsupported`](super::ErrorKind::Unsupported) before Linux 4.14 and in some
/// sandboxes.
#[doc(alias = "membarrier")]
pub fn process_barrier() -> Result<()> {
    let barrier = || membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
    let done = match barrier() {
        // The process is not registered. Only the kernel knows, because the
        // registration belongs to the memory of the process.
        Err(Errno::EPERM) => {
            membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED).and_then(|()| barrier())
        }
        done => done,
    };
    done.map_err(|e| Error::new(Call::Membarrier, Object::System("the process's barrier"), e))
}

/// A number nobody can guess.
///
/// See [getrandom(2)](https://man7.org/linux/man-pages/man2/getrandom.2.html).
///
/// # Errors
///
/// [`Unsupported`](super::ErrorKind::Unsupported) before Linux 3.17.
#[doc(alias = "getrandom")]
pub fn random_u64() -> Result<u64> {
    let mut bytes = [0_u8; 8];
    loop {
        // SAFETY: `bytes` has the room the kernel is told of.
        let got = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
        match Errno::result(got) {
            // The kernel gives so few bytes all at once, or none.
            Ok(8) => return Ok(u64::from_ne_bytes(bytes)),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => {
                let source = Object::System("the kernel's random numbers");
                return Err(Error::new(Call::Random, source, errno));
            }
        }
    }
}

/// The time in nanoseconds since some moment at the machine's start. It is the
/// same for all processes of a time namespace, and nobody can set it.
///
/// See [clock_gettime(2)](https://man7.org/linux/man-pages/man2/clock_gettime.2.html).
#[doc(alias = "CLOCK_MONOTONIC")]
pub fn monotonic() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The id of this process, in its PID namespace.
#[doc(alias = "getpid")]
pub fn pid() -> u32 {
    std::process::id()
}

/// The effective user id, by which the kernel decides on permissions.
#[doc(alias = "geteuid")]
pub fn uid() -> u32 {
    geteuid().as_raw()
}

/// The name of a user, if this machine knows it.
#[doc(alias = "getpwuid")]
pub fn user_name(uid: u32) -> Option<String> {
    User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name)
}

/// Whether no process has this id: the process that had it has ended, and its
/// parent has waited for it. `false` if this process may not know.
///
/// See [kill(2)](https://man7.org/linux/man-pages/man2/kill.2.html).
pub(crate) fn has_ended(pid: u32) -> bool {
    let pid = Pid::from_raw(pid.cast_signed());
    // This sends no signal. An id of 0 or less would mean a group.
    pid.as_raw() > 0 && kill(pid, None) == Err(Errno::ESRCH)
}

/// When a process was started, in clock ticks since the boot; `None` if there is
/// no such process, or if it cannot be seen.
///
/// When the call returns, the process may be gone, and another may have its id.
/// Together with the id and the [`pid_namespace`], the start time identifies a
/// process for ever.
///
/// See [proc_pid_stat(5)](https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html).
pub fn start_time(pid: u32) -> Option<u64> {
    field(&stat(pid)?, 22)?.parse().ok()
}

/// Whether a process is stopped by a signal or a debugger; `None` if there is no
/// such process, or if it cannot be seen.
///
/// The answer may be out of date when the call returns.
///
/// See [proc_pid_stat(5)](https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html).
pub fn is_stopped(pid: u32) -> Option<bool> {
    field(&stat(pid)?, 3).map(says_stopped)
}

/// Whether the process with this id that was [started](start_time) then is stopped; `None`
/// if it has ended, or cannot be seen.
pub(crate) fn is_stopped_since(pid: u32, start: u64) -> Option<bool> {
    let stat = stat(pid)?;
    let is_it = field(&stat, 22)?.parse() == Ok(start);
    is_it.then(|| field(&stat, 3).is_some_and(says_stopped))
}

fn says_stopped(state: &str) -> bool {
    matches!(state, "T" | "t")
}

fn stat(pid: u32) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/stat")).ok()
}

/// A field of `/proc/PID/stat`, from 3 on.
fn field(stat: &str, number: usize) -> Option<&str> {
    // The second field is the command in parentheses, with anything in it.
    let (_, rest) = stat.rsplit_once(')')?;
    // The first of the rest is field 3.
    rest.split_ascii_whitespace().nth(number - 3)
}

/// Whether a process has attached the shared-memory segment with this id; `None`
/// if the process has no memory any more, or if this process may not see it.
///
/// The answer may be out of date when the call returns.
///
/// See [proc_pid_maps(5)](https://man7.org/linux/man-pages/man5/proc_pid_maps.5.html).
pub fn has_attached(pid: u32, id: i32) -> Option<bool> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
    let id = id.to_string();
    let of_it = |line: &str| {
        // addresses perms offset device inode name; the inode is the id.
        let mut fields = line.split_ascii_whitespace().skip(4);
        fields.next() == Some(&id) && fields.next().is_some_and(|name| name.starts_with("/SYSV"))
    };
    // An ending process has no memory already before the kernel undoes its
    // semaphore operations.
    (!maps.is_empty()).then(|| maps.lines().any(of_it))
}

/// The inode number of this process's PID namespace. Processes with the same one
/// mean the same process by an id.
///
/// See [pid_namespaces(7)](https://man7.org/linux/man-pages/man7/pid_namespaces.7.html).
pub fn pid_namespace() -> Option<u64> {
    fs::metadata("/proc/self/ns/pid").ok().map(|namespace| namespace.ino())
}
