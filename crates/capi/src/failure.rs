//! Errors as numbers, with a message for each.

use std::any::Any;
use std::borrow::Cow;
use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};

use tombolo::{
    CallError, CallTimeoutError, ChannelError, CommandError, Fault, InheritError, OpenError,
    RecvError, RecvTimeoutError, ReplyError, SendBatchError, SendError, SendTimeoutError,
    TryRecvError, TrySendError, WaitSetError,
};

/// Why a function failed.
pub(crate) struct Failure {
    errno: c_int,
    message: Cow<'static, CStr>,
}

thread_local! {
    static LAST: RefCell<Cow<'static, CStr>> = const { RefCell::new(Cow::Borrowed(c"")) };
}

impl Failure {
    pub(crate) fn new(errno: c_int, message: impl ToString) -> Self {
        let mut bytes = message.to_string().into_bytes();
        bytes.retain(|byte| *byte != 0);
        Self { errno, message: Cow::Owned(CString::new(bytes).unwrap_or_default()) }
    }

    const fn fixed(errno: c_int, message: &'static CStr) -> Self {
        Self { errno, message: Cow::Borrowed(message) }
    }

    /// What was given is not what the function takes.
    pub(crate) const fn bad(message: &'static CStr) -> Self {
        Self::fixed(libc::EINVAL, message)
    }

    /// A handle that may be used by one thread at a time is used by another one.
    pub(crate) const fn busy() -> Self {
        Self::fixed(libc::EBUSY, c"another thread is in a call with this handle; use one for each")
    }

    /// Of a call that does not wait.
    pub(crate) const fn again(message: &'static CStr) -> Self {
        Self::fixed(libc::EAGAIN, message)
    }

    pub(crate) const fn timed_out(message: &'static CStr) -> Self {
        Self::fixed(libc::ETIMEDOUT, message)
    }

    /// Keeps the message for `tombolo_last_error`; returns the number.
    fn tell(self) -> c_int {
        // A thread that ends keeps none.
        let _ = LAST.try_with(|last| {
            if let Ok(mut last) = last.try_borrow_mut() {
                *last = self.message;
            }
        });
        -self.errno
    }
}

fn panicked(panic: &(dyn Any + Send)) -> Failure {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let text = text.unwrap_or("no message");
    Failure::new(
        libc::ENOTRECOVERABLE,
        format!("tombolo panicked, which is a mistake in it: {text}; please report it"),
    )
}

/// What every function does: returns a count, or 0, or a failure's number.
pub(crate) fn door(act: impl FnOnce() -> Result<c_int, Failure>) -> c_int {
    match catch_unwind(AssertUnwindSafe(act)) {
        Ok(Ok(done)) => done,
        Ok(Err(failure)) => failure.tell(),
        Err(panic) => panicked(&*panic).tell(),
    }
}

/// The same for a function that returns a pointer: null after a failure.
pub(crate) fn pointer<T>(act: impl FnOnce() -> Result<*const T, Failure>) -> *const T {
    let mut found = std::ptr::null();
    door(|| {
        found = act()?;
        Ok(0)
    });
    found
}

/// A count, as a function returns it.
pub(crate) fn count(count: usize) -> c_int {
    c_int::try_from(count).unwrap_or(c_int::MAX)
}

const EMPTY: &CStr = c"the channel is empty";
const FULL: &CStr = c"the channel is full";
const PAUSED: &CStr = c"the segment is paused; `tombolo ctl NAME resume` lets senders go on";
const NOTHING_CAME: &CStr = c"nothing was received until the time-out";
const STAYED_FULL: &CStr = c"the channel stayed full, or paused, until the time-out";

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        let errno = match &fault {
            Fault::Disconnected { .. } => libc::EPIPE,
            Fault::Closed => libc::EIDRM,
            Fault::Drained | Fault::Shutdown => libc::ESHUTDOWN,
            Fault::Forked => libc::ECHILD,
            Fault::Corrupt { .. } => libc::EUCLEAN,
            Fault::PeerGone { .. } => libc::EOWNERDEAD,
            Fault::Cancelled => libc::ECANCELED,
            Fault::Interrupted => libc::EINTR,
            Fault::InUse { .. } => libc::EBUSY,
            Fault::NoHandle { .. } => libc::EUSERS,
            Fault::Unwoken(_) => libc::ECOMM,
            Fault::NotMember => libc::ENOTCONN,
            Fault::System(error) => error.errno(),
            _ => libc::EIO,
        };
        Self::new(errno, fault)
    }
}

fn channel_errno(error: &ChannelError) -> c_int {
    match error {
        ChannelError::BadName(_) | ChannelError::BadCapacity { .. } => libc::EINVAL,
        ChannelError::NotFound { .. } => libc::ENOENT,
        ChannelError::Mismatch { .. } => libc::EPROTOTYPE,
        ChannelError::DirectoryFull { .. } | ChannelError::SegmentFull { .. } => libc::ENOSPC,
        ChannelError::RoleTaken { .. } => libc::EADDRINUSE,
        ChannelError::TooMany { .. }
        | ChannelError::TooManyPublishers { .. }
        | ChannelError::TooManyReliable { .. } => libc::EUSERS,
        ChannelError::UnknownKind { .. }
        | ChannelError::EarlierBuild { .. }
        | ChannelError::NoCalls { .. } => libc::EOPNOTSUPP,
        ChannelError::Damaged { .. } => libc::EUCLEAN,
        ChannelError::Busy { .. } => libc::EBUSY,
        ChannelError::Fault(fault) => Failure::from(fault.clone()).errno,
        _ => libc::EIO,
    }
}

impl From<ChannelError> for Failure {
    fn from(error: ChannelError) -> Self {
        Self::new(channel_errno(&error), error)
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        let errno = match &error {
            OpenError::BadName(_) | OpenError::BadOption { .. } => libc::EINVAL,
            OpenError::NotFound { .. } => libc::ENOENT,
            OpenError::Exists { .. } => libc::EEXIST,
            OpenError::Stranger { .. } => libc::EPERM,
            OpenError::Version { .. } | OpenError::Newer { .. } => libc::EPROTONOSUPPORT,
            OpenError::NotOurs { .. } | OpenError::Damaged { .. } => libc::EUCLEAN,
            OpenError::Busy { .. } | OpenError::Unstable { .. } => libc::EBUSY,
            OpenError::TableFull { .. } => libc::EUSERS,
            OpenError::NoKey { .. } => libc::ENOSPC,
            OpenError::NoBarrier { .. } => libc::EOPNOTSUPP,
            OpenError::System(error) => error.errno(),
            _ => libc::EIO,
        };
        Self::new(errno, error)
    }
}

impl From<InheritError> for Failure {
    fn from(error: InheritError) -> Self {
        match error {
            InheritError::Segment(error) => error.into(),
            InheritError::System(error) => Self::new(error.errno(), error),
            InheritError::NotHandedOver => Self::new(libc::ENOENT, error),
            InheritError::Taken => Self::new(libc::EALREADY, error),
            InheritError::Gone { .. } => Self::new(libc::EIDRM, error),
            error => Self::new(libc::EPERM, error),
        }
    }
}

impl From<CommandError> for Failure {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Fault(fault) => fault.into(),
            CommandError::Busy { .. } => Self::new(libc::EBUSY, error),
            CommandError::State { .. } => Self::new(libc::ESHUTDOWN, error),
            CommandError::TooLong { .. } => Self::new(libc::EMSGSIZE, error),
            error => Self::new(libc::EPERM, error),
        }
    }
}

impl From<WaitSetError> for Failure {
    fn from(error: WaitSetError) -> Self {
        match error {
            WaitSetError::Fault(fault) => fault.into(),
            WaitSetError::KeyTaken { .. } => Self::new(libc::EEXIST, error),
            WaitSetError::TooMany { .. } => Self::new(libc::E2BIG, error),
            error => Self::new(libc::EXDEV, error),
        }
    }
}

impl From<SendError> for Failure {
    fn from(error: SendError) -> Self {
        match error {
            SendError::TooLong { .. } | SendError::TooShort { .. } => {
                Self::new(libc::EMSGSIZE, error)
            }
            error => {
                let text = error.to_string();
                error.into_fault().map_or_else(|| Self::new(libc::EIO, text), Self::from)
            }
        }
    }
}

impl From<TrySendError> for Failure {
    fn from(error: TrySendError) -> Self {
        match error {
            TrySendError::Full(()) => Self::again(FULL),
            TrySendError::Paused(()) => Self::again(PAUSED),
            TrySendError::TooLong { message, length, longest } => {
                SendError::TooLong { message, length, longest }.into()
            }
            TrySendError::TooShort { message, length, size } => {
                SendError::TooShort { message, length, size }.into()
            }
            error => {
                let text = error.to_string();
                error.into_fault().map_or_else(|| Self::new(libc::EIO, text), Self::from)
            }
        }
    }
}

impl From<SendTimeoutError> for Failure {
    fn from(error: SendTimeoutError) -> Self {
        match error {
            SendTimeoutError::Timeout(()) => Self::timed_out(STAYED_FULL),
            SendTimeoutError::TooLong { message, length, longest } => {
                SendError::TooLong { message, length, longest }.into()
            }
            SendTimeoutError::TooShort { message, length, size } => {
                SendError::TooShort { message, length, size }.into()
            }
            error => {
                let text = error.to_string();
                error.into_fault().map_or_else(|| Self::new(libc::EIO, text), Self::from)
            }
        }
    }
}

impl<E: Into<Failure>> From<SendBatchError<E>> for Failure {
    fn from(error: SendBatchError<E>) -> Self {
        error.reason.into()
    }
}

impl From<RecvError> for Failure {
    fn from(error: RecvError) -> Self {
        match error {
            RecvError::Lagged(_) => Self::new(libc::EOVERFLOW, error),
            RecvError::Invalid { .. } => Self::new(libc::EBADMSG, error),
            error => {
                let text = error.to_string();
                error.into_fault().map_or_else(|| Self::new(libc::EIO, text), Self::from)
            }
        }
    }
}

impl From<TryRecvError> for Failure {
    fn from(error: TryRecvError) -> Self {
        match error {
            TryRecvError::Empty | TryRecvError::Pending => Self::again(EMPTY),
            TryRecvError::Lagged(missed) => RecvError::Lagged(missed).into(),
            TryRecvError::Invalid { type_name } => RecvError::Invalid { type_name }.into(),
            error => {
                let text = error.to_string();
                error.into_fault().map_or_else(|| Self::new(libc::EIO, text), Self::from)
            }
        }
    }
}

impl From<RecvTimeoutError> for Failure {
    fn from(error: RecvTimeoutError) -> Self {
        match error {
            RecvTimeoutError::Timeout => Self::timed_out(NOTHING_CAME),
            RecvTimeoutError::Lagged(missed) => RecvError::Lagged(missed).into(),
            RecvTimeoutError::Invalid { type_name } => RecvError::Invalid { type_name }.into(),
            error => {
                let text = error.to_string();
                error.into_fault().map_or_else(|| Self::new(libc::EIO, text), Self::from)
            }
        }
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        match error {
            CallError::ServerDied => Self::new(libc::EOWNERDEAD, error),
            CallError::NoServer => Self::new(libc::EPIPE, error),
            CallError::Refused => Self::new(libc::ECONNREFUSED, error),
            CallError::Invalid { .. } => Self::new(libc::EBADMSG, error),
            CallError::TooLong { .. } | CallError::TooShort { .. } => {
                Self::new(libc::EMSGSIZE, error)
            }
            CallError::Fault(fault) => fault.into(),
            error => Self::new(libc::EIO, error),
        }
    }
}

impl From<CallTimeoutError> for Failure {
    fn from(error: CallTimeoutError) -> Self {
        match error {
            CallTimeoutError::TimedOut => Self::new(libc::ETIMEDOUT, error),
            CallTimeoutError::ServerDied => CallError::ServerDied.into(),
            CallTimeoutError::NoServer => CallError::NoServer.into(),
            CallTimeoutError::Refused => CallError::Refused.into(),
            CallTimeoutError::Fault(fault) => fault.into(),
            CallTimeoutError::TooLong { .. } | CallTimeoutError::TooShort { .. } => {
                Self::new(libc::EMSGSIZE, error)
            }
            CallTimeoutError::Invalid { .. } => Self::new(libc::EBADMSG, error),
            error => Self::new(libc::EIO, error),
        }
    }
}

impl From<ReplyError> for Failure {
    fn from(error: ReplyError) -> Self {
        match error {
            ReplyError::Fault(fault) => fault.into(),
            error => Self::new(libc::EMSGSIZE, error),
        }
    }
}

/// What went wrong in the last call of this thread that failed, and what to do about it. Never
/// null; empty if no call has failed. Valid until this thread's next call that fails.
///
/// Threads: any, each has its own. Waits: never. Fork: a child has its parent's. Crash: holds
/// nothing.
#[unsafe(no_mangle)]
pub extern "C" fn tombolo_last_error() -> *const c_char {
    LAST.try_with(|last| last.try_borrow().map_or(c"".as_ptr(), |last| last.as_ptr()))
        .unwrap_or(c"".as_ptr())
}

/// The library's version, as `0.1.0`.
///
/// Threads: any. Waits: never. Fork: may be called. Crash: holds nothing.
#[unsafe(no_mangle)]
pub extern "C" fn tombolo_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}
