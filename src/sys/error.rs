//! What went wrong, with which object, and what to do about it.

use std::fmt;

use nix::errno::Errno;

use super::diagnose::diagnose;
use super::object::Object;

/// The result of a call into the kernel.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failed call: what it was to do, to which object, and why it did not.
///
/// [`kind`](Error::kind) is for programs. Displayed, it is one line for
/// people, which names the limit in force (with its value when the call
/// failed) or the permission that stood in the way, and the remedy:
///
/// ```
/// use tombolo::sys::{ErrorKind, Key, shm::Shm};
///
/// let error = Shm::options().create(Key::PRIVATE, usize::MAX).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Invalid);
/// assert!(error.to_string().contains("kernel.shmmax"), "{error}");
/// ```
///
/// The outcomes of everyday waiting ([`WouldBlock`](ErrorKind::WouldBlock),
/// [`TimedOut`](ErrorKind::TimedOut), [`Interrupted`](ErrorKind::Interrupted))
/// are made without allocating or asking the kernel anything, but for a full
/// message queue.
#[derive(Clone, PartialEq, Eq)]
pub struct Error {
    object: Object,
    detail: Option<Box<Detail>>,
    errno: Errno,
    kind: ErrorKind,
    call: Call,
}

const _: () = assert!(size_of::<Error>() <= 40, "an error is cheap to hand up");

/// The classes of failure a caller may want to tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An exclusive creation found the key, or the path, taken (`EEXIST`).
    Exists,
    /// Nothing has this key, or no file this path (`ENOENT`).
    NotFound,
    /// The caller may not (`EACCES`, `EPERM`).
    PermissionDenied,
    /// The object is gone: removed while the call slept (`EIDRM`) or earlier,
    /// if it ever was (`EINVAL` for an id that no object has).
    Removed,
    /// An operation marked [`no_wait`](super::sem::Op::no_wait), or another
    /// that was not to wait, would (`EAGAIN`, `ENOMSG`).
    WouldBlock,
    /// The time given ran out (`EAGAIN` too).
    TimedOut,
    /// A signal arrived while the call slept (`EINTR`).
    Interrupted,
    /// A semaphore, or the sum of what is to be undone, would leave its range
    /// (`ERANGE`).
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
    /// Nobody has the pipe or the FIFO open for reading (`EPIPE`, `ENXIO`).
    NoReader,
    /// What has this path, or this descriptor, is no FIFO or pipe; symbolic
    /// links are not followed.
    NotFifo,
    /// The FIFO, or the directory that such are to be in, has another owner,
    /// or lets others in, than was asked for.
    Untrusted,
    /// The object holds more than it would have room for (`EBUSY`).
    Busy,
    /// An argument is out of bounds (`EINVAL`).
    Invalid,
    /// This kernel, or a sandbox around the process, does not offer the call
    /// (`ENOSYS`).
    Unsupported,
    /// None of the above; see [`Error::errno`].
    Other,
}

/// What was found out about a failure when it happened.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Detail {
    pub(super) cause: String,
    pub(super) remedy: String,
    /// How many bytes a buffer should have had.
    pub(super) needed: Option<usize>,
    /// What of the caller's the object belongs to.
    about: Option<Box<str>>,
}

/// What the module was doing, and by which function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    ShmCreate,
    ShmOpen,
    ShmAttach,
    ShmDetach,
    ShmStat,
    ShmChange,
    ShmRemove,
    ShmPrefault,
    ShmDontDump,
    SemCreate,
    SemOpen,
    SemOp,
    SemTimedOp,
    SemRead,
    SemSet,
    SemStat,
    SemChange,
    SemRemove,
    MsgCreate,
    MsgOpen,
    MsgSend,
    MsgReceive,
    MsgStat,
    MsgSet,
    MsgChange,
    MsgRemove,
    PipeCreate,
    PipeRead,
    PipeWrite,
    PipeCapacity,
    PipeWaiting,
    PipeInherit,
    PipeBlocking,
    FifoCreate,
    FifoOpen,
    FifoStat,
    FifoRemove,
    Poll,
    Lock,
    DirectoryCreate,
    DirectoryOpen,
    DirectoryList,
    KeyFromPath,
    List,
    ListSets,
    ListQueues,
    ForkGuard,
    Membarrier,
    Random,
    Scratch,
    ThreadStart,
}

impl Call {
    /// The function of the C library.
    pub(super) const fn function(self) -> &'static str {
        self.names().1
    }

    const fn names(self) -> (&'static str, &'static str) {
        match self {
            Call::ShmCreate => ("create", "shmget"),
            Call::ShmOpen => ("open", "shmget"),
            Call::ShmAttach => ("attach", "shmat"),
            Call::ShmDetach => ("detach", "shmdt"),
            Call::ShmStat => ("examine", "shmctl"),
            Call::ShmChange => ("change the owner or mode of", "shmctl"),
            Call::ShmRemove => ("remove", "shmctl"),
            Call::ShmPrefault => ("prefault", "madvise"),
            Call::ShmDontDump => ("keep out of core dumps", "madvise"),
            Call::SemCreate => ("create", "semget"),
            Call::SemOpen => ("open", "semget"),
            Call::SemOp => ("operate on", "semop"),
            Call::SemTimedOp => ("operate on", "semtimedop"),
            Call::SemRead => ("read", "semctl"),
            Call::SemSet => ("set", "semctl"),
            Call::SemStat => ("examine", "semctl"),
            Call::SemChange => ("change the owner or mode of", "semctl"),
            Call::SemRemove => ("remove", "semctl"),
            Call::MsgCreate => ("create", "msgget"),
            Call::MsgOpen => ("open", "msgget"),
            Call::MsgSend => ("send", "msgsnd"),
            Call::MsgReceive => ("receive from", "msgrcv"),
            Call::MsgStat => ("examine", "msgctl"),
            Call::MsgSet => ("limit", "msgctl"),
            Call::MsgChange => ("change the owner or mode of", "msgctl"),
            Call::MsgRemove => ("remove", "msgctl"),
            Call::PipeCreate => ("create", "pipe2"),
            Call::PipeRead => ("read from", "read"),
            Call::PipeWrite => ("write to", "write"),
            Call::PipeCapacity => ("size", "fcntl"),
            Call::PipeWaiting => ("examine", "ioctl"),
            Call::PipeInherit => ("inherit", "fcntl"),
            Call::PipeBlocking => ("set up", "fcntl"),
            Call::FifoCreate => ("create", "mkfifo"),
            Call::FifoOpen => ("open", "open"),
            Call::FifoStat => ("examine", "stat"),
            Call::FifoRemove => ("remove", "unlink"),
            Call::Poll => ("wait for", "poll"),
            Call::Lock => ("lock", "flock"),
            Call::DirectoryCreate => ("create", "mkdir"),
            Call::DirectoryOpen => ("use", "open"),
            Call::DirectoryList => ("list", "getdents"),
            Call::KeyFromPath => ("derive a key from", "stat"),
            Call::List => ("list", "shmctl"),
            Call::ListSets => ("list", "semctl"),
            Call::ListQueues => ("list", "msgctl"),
            Call::ForkGuard | Call::Scratch => ("set up", "mmap"),
            Call::Membarrier => ("use", "membarrier"),
            Call::Random => ("draw from", "getrandom"),
            Call::ThreadStart => ("start", "pthread_create"),
        }
    }
}

impl Error {
    /// Explains `errno`, asking the kernel for more if it is one of those that
    /// limits and permissions are behind.
    #[cold]
    pub(super) fn new(call: Call, object: Object, errno: Errno) -> Error {
        let (kind, detail) = match errno {
            // What would have to be locked in memory, and may not be.
            Errno::EAGAIN if call == Call::ShmAttach => diagnose(call, &object, errno),
            // What is in its way is worth saying, or asking.
            Errno::EAGAIN if matches!(object, Object::Message { .. }) => {
                diagnose(call, &object, errno)
            }
            Errno::EEXIST | Errno::ENOENT if matches!(object, Object::Fifo(_)) => {
                diagnose(call, &object, errno)
            }
            Errno::EAGAIN | Errno::ENOMSG => (ErrorKind::WouldBlock, None),
            Errno::EINTR => (ErrorKind::Interrupted, None),
            Errno::EIDRM => (ErrorKind::Removed, None),
            Errno::EEXIST => (ErrorKind::Exists, None),
            Errno::ENOENT => (ErrorKind::NotFound, None),
            _ => diagnose(call, &object, errno),
        };
        Error { object, detail, errno, kind, call }
    }

    /// The same failure, of another kind.
    pub(super) fn with_kind(mut self, kind: ErrorKind) -> Error {
        self.kind = kind;
        self
    }

    /// The same failure, explained.
    pub(super) fn because(mut self, cause: &str, remedy: &str) -> Error {
        self.detail = Some(Detail::new(cause, remedy));
        self
    }

    /// The same failure, with the number of bytes that would do. Only after
    /// [`because`](Error::because).
    pub(super) fn needing(mut self, bytes: usize) -> Error {
        if let Some(detail) = &mut self.detail {
            detail.needed = Some(bytes);
        }
        self
    }

    /// The same failure, of something of the caller's: a segment by its name.
    pub(crate) fn about(mut self, what: &str) -> Error {
        let detail = self.detail.get_or_insert_with(|| Detail::new("", ""));
        // The innermost knows best.
        detail.about.get_or_insert_with(|| what.into());
        self
    }

    /// The same failure, where what it says to ask for less of is said in the
    /// caller's terms.
    pub(crate) fn advise(mut self, remedy: &str) -> Error {
        if let Some(detail) = &mut self.detail {
            let asking = |text| detail.remedy.strip_prefix(text);
            if let Some(rest) = asking("ask for less").or_else(|| asking("ask for fewer")) {
                detail.remedy = format!("{remedy}{rest}");
            }
        }
        self
    }

    /// The class of failure.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The error number the kernel gave, as in [errno(3)].
    ///
    /// [errno(3)]: https://man7.org/linux/man-pages/man3/errno.3.html
    pub fn errno(&self) -> i32 {
        self.errno as i32
    }

    /// How many bytes the message has that did not fit into the buffer
    /// ([`TooBig`](ErrorKind::TooBig) from
    /// [`Queue::receive`](super::msg::Queue::receive)), if that could be found
    /// out: it needs a kernel built with `CONFIG_CHECKPOINT_RESTORE`, as those
    /// of distributions are.
    pub fn needed(&self) -> Option<usize> {
        self.detail.as_ref().and_then(|detail| detail.needed)
    }

    /// What the call was about.
    pub fn object(&self) -> &Object {
        &self.object
    }

    /// The name of the kernel's function that failed.
    pub fn call(&self) -> &'static str {
        self.call.function()
    }

    /// Why, in words.
    fn reason(&self) -> &'static str {
        match self.kind {
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
            ErrorKind::Other => self.errno.desc(),
        }
    }
}

impl Detail {
    pub(super) fn new(cause: impl Into<String>, remedy: impl Into<String>) -> Box<Detail> {
        Box::new(Detail { cause: cause.into(), remedy: remedy.into(), needed: None, about: None })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verb, function) = self.call.names();
        let (object, reason, errno) = (&self.object, self.reason(), self.errno);
        if let Some(about) = self.detail.as_ref().and_then(|detail| detail.about.as_ref()) {
            write!(f, "{about}: ")?;
        }
        write!(f, "cannot {verb} {object}: {reason} ({function}: {errno:?})")?;
        if let Some(detail) = self.detail.as_ref().filter(|detail| !detail.cause.is_empty()) {
            write!(f, "; {}; {}", detail.cause, detail.remedy)
        } else {
            match (self.kind, object) {
                (ErrorKind::Exists, Object::NewSegment { key, .. }) => {
                    write!(f, "; open it, or remove it: ipcrm -M {key}")
                }
                (ErrorKind::Exists, Object::NewSet { key, .. }) => {
                    write!(f, "; open it, or remove it: ipcrm -S {key}")
                }
                (ErrorKind::Exists, Object::NewQueue { key }) => {
                    write!(f, "; open it, or remove it: ipcrm -Q {key}")
                }
                (ErrorKind::NotFound, Object::QueueKey { .. }) => {
                    f.write_str("; has its creator run? ipcs -q lists what there is")
                }
                (ErrorKind::NotFound, Object::SegmentKey { .. }) => {
                    f.write_str("; has its creator run? ipcs -m lists what there is")
                }
                (ErrorKind::NotFound, Object::SetKey { .. }) => {
                    f.write_str("; has its creator run? ipcs -s lists what there is")
                }
                _ => Ok(()),
            }
        }
    }
}

/// The kind, and all that is displayed: it is what `main` and `unwrap` show.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.kind)
    }
}

impl std::error::Error for Error {}
