//! The classes of failure.

/// The classes of failure a caller may want to tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The key or the path of an exclusive creation is taken (`EEXIST`).
    Exists,
    /// No object has this key, or no file has this path (`ENOENT`).
    NotFound,
    /// The caller has no permission (`EACCES`, `EPERM`).
    PermissionDenied,
    /// The object is gone: another process removed it while the call slept
    /// (`EIDRM`) or before, or no object ever had this id (`EINVAL`).
    Removed,
    /// An operation marked [`no_wait`](crate::sys::sem::Op::no_wait), or another
    /// that was not to wait, would (`EAGAIN`, `ENOMSG`).
    WouldBlock,
    /// The given time ran out (`EAGAIN` too).
    TimedOut,
    /// A signal arrived while the call slept (`EINTR`).
    Interrupted,
    /// A semaphore's value, or the sum that the kernel has to undo on it, would
    /// leave its range (`ERANGE`).
    OutOfRange,
    /// A limit on the number of objects or on their total size is reached
    /// (`ENOSPC`; for descriptors `EMFILE`, `ENFILE`; for threads `EAGAIN`).
    NoSpace,
    /// Memory is short (`ENOMEM`).
    NoMemory,
    /// Too many operations in one call (`E2BIG`), or one on a semaphore past
    /// the end of the set (`EFBIG`); a message or a record longer than its
    /// limit, or than the buffer to receive it.
    TooBig,
    /// No process has the pipe or the FIFO open for reading (`EPIPE`, `ENXIO`).
    NoReader,
    /// The file at this path, or behind this descriptor, is no FIFO or pipe.
    /// Symbolic links are not followed.
    NotFifo,
    /// The FIFO, or the directory for FIFOs, has another owner than the caller
    /// asked for, or gives other users access.
    Untrusted,
    /// The object holds more than the new size has room for (`EBUSY`).
    Busy,
    /// An argument is out of bounds (`EINVAL`).
    Invalid,
    /// This kernel, or a sandbox around the process, does not offer the call
    /// (`ENOSYS`).
    Unsupported,
    /// None of the above; see [`Error::errno`](crate::sys::Error::errno).
    Other,
}

impl ErrorKind {
    /// Why, in words; `None` if the kind says nothing.
    pub(super) const fn words(self) -> Option<&'static str> {
        Some(match self {
            ErrorKind::Exists => "there is one already",
            ErrorKind::NotFound => "there is none",
            ErrorKind::PermissionDenied => "permission denied",
            ErrorKind::Removed => "it has been removed",
            ErrorKind::WouldBlock => "it would have to wait",
            ErrorKind::TimedOut => "time ran out",
            ErrorKind::Interrupted => "a signal came in between",
            ErrorKind::OutOfRange => "the value would leave its range",
            ErrorKind::NoSpace => "a limit is reached",
            ErrorKind::NoMemory => "out of memory",
            ErrorKind::TooBig => "too much at once",
            ErrorKind::NoReader => "nobody reads it",
            ErrorKind::NotFifo => "it is no FIFO",
            ErrorKind::Untrusted => "it is not to be trusted",
            ErrorKind::Busy => "it is in use",
            ErrorKind::Invalid => "the request is out of bounds",
            ErrorKind::Unsupported => "not available here",
            ErrorKind::Other => return None,
        })
    }
}
