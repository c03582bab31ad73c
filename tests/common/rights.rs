//! Other rights, and tables of one's own, for a thread of a test.

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
