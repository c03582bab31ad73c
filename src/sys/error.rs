//! What went wrong, with which object, and what to do about it.

use std::fmt;

use nix::errno::Errno;

use super::diagnose::diagnose;
use super::object::Object;

mod call;
mod detail;
mod kind;

pub(super) use call::Call;
pub(super) use detail::{Detail, Found};
pub use kind::ErrorKind;

/// The result of a call into the kernel.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failed call: what it should have done, to which object, and why it failed.
///
/// Programs use [`kind`](Error::kind). People read the displayed error, one
/// line: it names the limit that was hit (with its value when the call failed)
/// or the permission that is missing, and the remedy:
///
/// ```
/// use tombolo::sys::{ErrorKind, Key, shm::Shm};
///
/// let error = Shm::options().create(Key::PRIVATE, usize::MAX).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Invalid);
/// assert!(error.to_string().contains("kernel.shmmax"), "{error}");
/// ```
///
/// The library makes the outcomes of everyday waiting
/// ([`WouldBlock`](ErrorKind::WouldBlock), [`TimedOut`](ErrorKind::TimedOut),
/// [`Interrupted`](ErrorKind::Interrupted)) without allocating and without
/// asking the kernel anything, except for a full message queue.
#[derive(Clone, PartialEq, Eq)]
pub struct Error {
    object: Object,
    detail: Option<Box<Detail>>,
    errno: Errno,
    kind: ErrorKind,
    call: Call,
}

const _: () = assert!(size_of::<Error>() <= 40, "an error is cheap to return");

impl Error {
    /// Explains `errno`. Asks the kernel for more if a limit or a permission may
    /// be the cause.
    #[cold]
    pub(super) fn new(call: Call, object: Object, errno: Errno) -> Error {
        let (kind, detail) = match errno {
            // The process locks its memory, and may not lock this much.
            Errno::EAGAIN if call == Call::ShmAttach => diagnose(call, &object, errno),
            // The cause is worth naming, and may need asking for.
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

    /// The same failure, with the number of bytes that the buffer needs. To be
    /// called after [`because`](Error::because).
    pub(super) fn needing(mut self, bytes: usize) -> Error {
        if let Some(detail) = &mut self.detail {
            detail.needed = Some(bytes);
        }
        self
    }

    /// The same failure, with what of the caller's it is about: a segment, by its
    /// name.
    pub(crate) fn about(mut self, what: &str) -> Error {
        let detail = self.detail.get_or_insert_with(|| Detail::new("", ""));
        // The innermost caller knows best.
        detail.about.get_or_insert_with(|| what.into());
        self
    }

    /// The same failure, with the advice to ask for less in the caller's terms.
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
    /// [`Queue::receive`](super::msg::Queue::receive)). `None` if the library
    /// could not find out: that takes a kernel built with
    /// `CONFIG_CHECKPOINT_RESTORE`, as the kernels of distributions are.
    pub fn needed(&self) -> Option<usize> {
        self.detail.as_ref().and_then(|detail| detail.needed)
    }

    /// The object that the call was about.
    pub fn object(&self) -> &Object {
        &self.object
    }

    /// The name of the kernel's function that failed.
    pub fn call(&self) -> &'static str {
        self.call.function()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verb, function) = self.call.names();
        let (object, reason, errno) = (&self.object, self.kind.words(), self.errno);
        let reason = reason.unwrap_or_else(|| errno.desc());
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
