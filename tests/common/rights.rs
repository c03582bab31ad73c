//! Other rights, and kernel tables of its own, for a thread of a test.

use std::fs;
use std::thread;

use nix::sched::{CloneFlags, unshare};
use tombolo::sys::proc;

pub(crate) const NOBODY: u32 = 65534;

/// Runs `body` in a thread that has another user's rights: credentials are per
/// thread to the kernel, and only the C library keeps them equal. `false`, with
/// a note, if this process may not do that.
pub(crate) fn as_nobody(body: impl FnOnce() + Send) {
    as_user(NOBODY, body);
}

/// As [`as_nobody`], of any user, who need not have a name.
pub(crate) fn as_user(id: u32, body: impl FnOnce() + Send) {
    let become_another = move || {
        let was_root = proc::uid() == 0;
        let id = libc::c_long::from(id);
        // SAFETY: changes this thread's rights only, and it ends soon.
        let group = unsafe { libc::syscall(libc::SYS_setresgid, id, id, id) };
        // SAFETY: as above.
        let user = unsafe { libc::syscall(libc::SYS_setresuid, id, id, id) };
        was_root && group == 0 && user == 0
    };
    run_with("another user", become_another, body)
}

/// Runs `body` in a thread that has an IPC namespace of its own, empty and
/// with limits that can be lowered. Skipped as above.
pub(crate) fn in_own_namespace(body: impl FnOnce() + Send) {
    let separate = || unshare(CloneFlags::CLONE_NEWIPC).is_ok();
    run_with("an IPC namespace of its own", separate, body)
}

/// Runs `body` in a thread whose sandbox refuses these system calls with an error.
/// Skipped where filters of system calls are not to be had.
pub(crate) fn in_sandbox(refused: &[i64], error: i32, body: impl FnOnce() + Send) {
    let statement = |code: u32, (yes, no): (u8, u8), k: u32| libc::sock_filter {
        code: code as u16,
        jt: yes,
        jf: no,
        k,
    };
    // The number of the call is the first word of what a filter sees.
    let mut filter = vec![statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, (0, 0), 0)];
    for call in refused {
        let is_it = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
        filter.push(statement(is_it, (0, 1), *call as u32));
        let refuse = libc::SECCOMP_RET_ERRNO | error as u32;
        filter.push(statement(libc::BPF_RET | libc::BPF_K, (0, 0), refuse));
    }
    filter.push(statement(libc::BPF_RET | libc::BPF_K, (0, 0), libc::SECCOMP_RET_ALLOW));
    let install = move || {
        let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
        // SAFETY: takes numbers only; it is for this thread, which ends soon.
        let alone = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
        let filter = libc::SECCOMP_MODE_FILTER;
        // SAFETY: the program is there, as many statements as it says.
        let installed = unsafe { libc::prctl(libc::PR_SET_SECCOMP, filter, &raw const program) };
        alone == 0 && installed == 0
    };
    run_with("filters of system calls", install, body)
}

fn run_with(what: &str, prepare: impl FnOnce() -> bool + Send, body: impl FnOnce() + Send) {
    let test = thread::current().name().unwrap_or("?").to_owned();
    // So that what it makes bears the test's name.
    let builder = thread::Builder::new().name(test.clone());
    let run = || {
        if prepare() {
            body();
        } else {
            eprintln!("SKIPPED {test}: needs {what}, run it as root");
        }
    };
    thread::scope(|scope| {
        if let Err(panic) = builder.spawn_scoped(scope, run).unwrap().join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// Sets a limit of this thread's IPC namespace.
pub(crate) fn set_limit(name: &str, value: &str) {
    fs::write(format!("/proc/sys/kernel/{name}"), value).unwrap();
}
