//! A thread of the library, which leaves signals to the application.

use std::io;
use std::thread::{self, JoinHandle};

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};

use super::error::{Call, Error, ErrorKind, Result};
use super::object::Object;

/// Bytes of stack: enough for a sweep, and for explaining an error. The kernel
/// allocates only what the thread uses.
const STACK: usize = 256 << 10;

/// Signals that a thread causes itself. If they were blocked, they would end the
/// process without running its handlers.
const ITS_OWN: [Signal; 6] = [
    Signal::SIGSEGV,
    Signal::SIGBUS,
    Signal::SIGFPE,
    Signal::SIGILL,
    Signal::SIGTRAP,
    Signal::SIGSYS,
];

/// Starts a thread that handles no signal that another thread could handle.
///
/// See [pthread_create(3)](https://man7.org/linux/man-pages/man3/pthread_create.3.html).
///
/// # Errors
///
/// [`NoSpace`](ErrorKind::NoSpace) if the user, the machine or the control
/// group has too many threads.
pub(crate) fn start(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    let mut blocked = SigSet::all();
    ITS_OWN.iter().for_each(|&signal| blocked.remove(signal));
    // A new thread inherits the mask of the thread that starts it. So no signal
    // reaches it before it could block them.
    let before = blocked.thread_swap_mask(SigmaskHow::SIG_BLOCK).map_err(refused)?;
    let started = thread::Builder::new().name(name.to_owned()).stack_size(STACK).spawn(body);
    // This cannot fail: it was the mask a moment ago.
    let _ = before.thread_set_mask();
    started.map_err(|error| unstarted(&error))
}

fn refused(errno: Errno) -> Error {
    Error::new(Call::ThreadStart, Object::System("a thread"), errno)
}

fn unstarted(error: &io::Error) -> Error {
    let errno = error.raw_os_error().map_or(Errno::EAGAIN, Errno::from_raw);
    if errno != Errno::EAGAIN {
        return refused(errno);
    }
    let user = match getrlimit(Resource::RLIMIT_NPROC) {
        Ok((limit, _)) if limit != libc::RLIM_INFINITY => {
            format!("RLIMIT_NPROC allows the user {limit} threads")
        }
        _ => "RLIMIT_NPROC does not limit the user's threads".to_owned(),
    };
    let cause =
        format!("{user}; kernel.threads-max and the control group's pids.max limit them too");
    refused(errno).with_kind(ErrorKind::NoSpace).because(&cause, "end some, or raise the limit")
}
