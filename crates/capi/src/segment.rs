//! Segments.

use std::ffi::{CString, c_char, c_int};
use std::mem::MaybeUninit;
use std::time::Duration;

use tombolo::{OperatingState, Options, Segment};

use crate::failure::{Failure, count, door, pointer};
use crate::given::{Extensible, Wait, closed, filled, give_out, given, text};

/// How a segment is found: `tombolo_options.how`. It is opened, or created if there is none.
pub const TOMBOLO_OPEN_OR_CREATE: u32 = 0;
/// It must exist: otherwise −ENOENT.
pub const TOMBOLO_OPEN: u32 = 1;
/// It must not exist: otherwise −EEXIST.
pub const TOMBOLO_CREATE: u32 = 2;

/// The last participant to leave removes the segment: a flag of `tombolo_options.flags`.
pub const TOMBOLO_TRANSIENT: u32 = 1;
/// Memory is not reserved until it is touched.
pub const TOMBOLO_NO_RESERVE: u32 = 2;
/// Every page is mapped when the segment is opened.
pub const TOMBOLO_PREFAULT: u32 = 4;
/// Notifiers make full fences: for sandboxes without membarrier(2).
pub const TOMBOLO_SYMMETRIC_FENCES: u32 = 8;
/// Core dumps of this process leave the segment out.
pub const TOMBOLO_NO_CORE_DUMPS: u32 = 16;
/// A segment of any user is opened, and not only one of this user or of root.
pub const TOMBOLO_ANY_OWNER: u32 = 32;

/// The state of a segment, as `tombolo_segment_state` returns it: open for messages.
pub const TOMBOLO_STATE_OPEN: c_int = 0;
/// Senders wait.
pub const TOMBOLO_STATE_PAUSED: c_int = 1;
/// No new messages are taken, and some senders have not stopped yet.
pub const TOMBOLO_STATE_DRAINING: c_int = 2;
/// No new messages are taken.
pub const TOMBOLO_STATE_DRAINED: c_int = 3;
/// Nothing is sent or received.
pub const TOMBOLO_STATE_SHUTDOWN: c_int = 4;

/// A command for `tombolo_segment_command`: makes all senders wait.
pub const TOMBOLO_PAUSE: u32 = 1;
/// Opens the segment again, from any other state.
pub const TOMBOLO_RESUME: u32 = 2;
/// Takes no new messages, and waits until the channels are empty.
pub const TOMBOLO_DRAIN: u32 = 3;
/// Ends every send and receive.
pub const TOMBOLO_SHUTDOWN: u32 = 4;
/// Asks all participants for a sign of life.
pub const TOMBOLO_PING: u32 = 5;

/// How to open or create a segment. A null pointer, or 0 in a field, is for what is usual.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct tombolo_options {
    /// sizeof(tombolo_options)
    pub struct_size: usize,
    /// TOMBOLO_OPEN_OR_CREATE, TOMBOLO_OPEN or TOMBOLO_CREATE.
    pub how: u32,
    /// TOMBOLO_TRANSIENT and the others, or-ed.
    pub flags: u32,
    /// Bytes for all channels together (64 MiB, or what the limits allow). Pages are taken as they
    /// are touched.
    pub size: usize,
    /// How many processes can be attached at a time (64, or what the limits allow).
    pub participants: u16,
    /// How many channels there can be (16).
    pub channels: u16,
    /// The permissions of a new segment (0600).
    pub mode: u32,
    /// How long to wait for another process that is creating, joining or leaving (10 s).
    pub busy_timeout_ns: i64,
}

// SAFETY: numbers, the first of which is its size.
unsafe impl Extensible for tombolo_options {}

/// A segment that is open: a share of it. Its ends of channels, and what they hold, have shares
/// of their own, so it may be closed first.
#[derive(Debug)]
pub struct tombolo_segment {
    pub(crate) segment: Segment,
    name: CString,
}

impl tombolo_segment {
    fn new(segment: Segment) -> Result<Self, Failure> {
        let name = CString::new(segment.name()).map_err(|error| Failure::new(libc::EIO, error))?;
        Ok(Self { segment, name })
    }
}

fn options(options: *const tombolo_options) -> Result<(Options, u32), Failure> {
    let mut wanted = Segment::options();
    if options.is_null() {
        return Ok((wanted, TOMBOLO_OPEN_OR_CREATE));
    }
    let given = filled(options)?;
    let is_set = |flag| given.flags & flag != 0;
    if given.flags >= TOMBOLO_ANY_OWNER << 1 || given.how > TOMBOLO_CREATE {
        return Err(Failure::bad(c"the options have a value that this build does not know"));
    }
    if given.size != 0 {
        wanted = wanted.size(given.size);
    }
    if given.participants != 0 {
        wanted = wanted.participants(given.participants);
    }
    if given.channels != 0 {
        wanted = wanted.channels(given.channels);
    }
    if given.mode != 0 {
        wanted = wanted.mode(given.mode);
    }
    if let Ok(timeout @ 1..) = u64::try_from(given.busy_timeout_ns) {
        wanted = wanted.timeout(Duration::from_nanos(timeout));
    }
    let wanted = wanted
        .transient(is_set(TOMBOLO_TRANSIENT))
        .no_reserve(is_set(TOMBOLO_NO_RESERVE))
        .prefault(is_set(TOMBOLO_PREFAULT))
        .symmetric_fences(is_set(TOMBOLO_SYMMETRIC_FENCES))
        .core_dumps(!is_set(TOMBOLO_NO_CORE_DUMPS))
        .any_owner(is_set(TOMBOLO_ANY_OWNER));
    Ok((wanted, given.how))
}

/// Opens the segment of this name, or creates it, as the options say (null: what is usual).
/// `tombolo_segment_close` closes it.
///
/// Threads: any. Waits: for another process that is joining or leaving, at most
/// `busy_timeout_ns`. Fork: a child opens the segment anew. Crash: the kernel lets go of what a
/// killed process had.
#[unsafe(no_mangle)]
pub extern "C" fn tombolo_segment_open(
    name: *const c_char,
    options: *const tombolo_options,
    segment: Option<&mut MaybeUninit<Option<Box<tombolo_segment>>>>,
) -> c_int {
    door(|| {
        give_out(segment, || {
            let name = text(name)?;
            let (options, how) = self::options(options)?;
            tombolo_segment::new(match how {
                TOMBOLO_OPEN => options.open(name)?,
                TOMBOLO_CREATE => options.create(name)?,
                _ => options.open_or_create(name)?,
            })
        })
    })
}

/// Creates a segment without a name, for this process's threads and for the children that it is
/// handed over to. It goes with the last process that has it.
///
/// Threads: any. Waits: never. Fork: as for `tombolo_segment_open`. Crash: likewise.
#[unsafe(no_mangle)]
pub extern "C" fn tombolo_segment_anonymous(
    options: *const tombolo_options,
    segment: Option<&mut MaybeUninit<Option<Box<tombolo_segment>>>>,
) -> c_int {
    door(|| give_out(segment, || tombolo_segment::new(self::options(options)?.0.anonymous()?)))
}

/// Opens the segment that the process's parent has started it with (`Segment::spawn` of the Rust
/// library). A process can do so once.
///
/// Threads: any. Waits: as for `tombolo_segment_open`. Fork: a grandchild gets −EPERM. Crash:
/// likewise.
#[unsafe(no_mangle)]
pub extern "C" fn tombolo_segment_inherit(
    segment: Option<&mut MaybeUninit<Option<Box<tombolo_segment>>>>,
) -> c_int {
    door(|| give_out(segment, || tombolo_segment::new(Segment::inherited()?)))
}

/// Closes the segment, and sets `*segment` to null. Does nothing if it is null already. The
/// process leaves when its last end of a channel is closed, and the last message that it holds.
///
/// Threads: no other call may be using it. Waits: as for `tombolo_segment_open`. Fork: in a
/// child, frees the handle alone. Crash: as if it had been closed.
#[unsafe(no_mangle)]
pub extern "C" fn tombolo_segment_close(
    segment: Option<&mut Option<Box<tombolo_segment>>>,
) -> c_int {
    door(|| match closed(segment)? {
        Some(segment) => Ok(segment.segment.leave().map(|()| 0)?),
        None => Ok(0),
    })
}

/// Removes the segment: every process that uses it gets −EIDRM. What is held of it can still be
/// read.
///
/// Threads: any. Waits: never. Fork: −ECHILD in a child. Crash: a process that dies over it
/// leaves it removed or not; remove it again.
#[unsafe(no_mangle)]
pub extern "C" fn tombolo_segment_remove(segment: Option<&tombolo_segment>) -> c_int {
    door(|| Ok(given(segment)?.segment.remove().map(|()| 0)?))
}

/// The same by its name, without opening it; −ENOENT if there is none.
///
/// Threads: any. Waits: never. Fork: may be called. Crash: as for `tombolo_segment_remove`.
#[unsafe(no_mangle)]
pub extern "C" fn tombolo_segment_remove_named(name: *const c_char) -> c_int {
    door(|| Ok(Segment::remove_named(text(name)?).map(|()| 0)?))
}

/// The segment's name; empty if it has none; null after a failure. Valid until the segment is
/// closed.
///
/// Threads: any. Waits: never. Fork: may be called. Crash: holds nothing.
#[unsafe(no_mangle)]
pub extern "C" fn tombolo_segment_name(segment: Option<&tombolo_segment>) -> *const c_char {
    pointer(|| Ok(given(segment)?.name.as_ptr()))
}

/// Whether the segment is open for messages: TOMBOLO_STATE_OPEN and the others.
///
/// Threads: any. Waits: never. Fork: may be called. Crash: holds nothing.
#[unsafe(no_mangle)]
pub extern "C" fn tombolo_segment_state(segment: Option<&tombolo_segment>) -> c_int {
    door(|| {
        Ok(match given(segment)?.segment.state() {
            OperatingState::Open => TOMBOLO_STATE_OPEN,
            OperatingState::Paused => TOMBOLO_STATE_PAUSED,
            OperatingState::Draining => TOMBOLO_STATE_DRAINING,
            OperatingState::Drained => TOMBOLO_STATE_DRAINED,
            _ => TOMBOLO_STATE_SHUTDOWN,
        })
    })
}

/// Gives a command to all participants: TOMBOLO_PAUSE and the others. Returns how many of them
/// have answered that they obey; those that have not are slower, stopped, or gone, and obey all
/// the same. A drain answers −ETIMEDOUT if messages are left by then.
///
/// Threads: any. Waits: for their answers, at most `timeout_ns`. Fork: −ECHILD in a child.
/// Crash: the command stands.
#[unsafe(no_mangle)]
pub extern "C" fn tombolo_segment_command(
    segment: Option<&tombolo_segment>,
    command: u32,
    timeout_ns: i64,
) -> c_int {
    door(|| {
        let commander = given(segment)?.segment.commander()?;
        let timeout = Wait::of(timeout_ns).most().unwrap_or(Duration::MAX);
        let answers = match command {
            TOMBOLO_PAUSE => commander.pause(timeout)?,
            TOMBOLO_RESUME => commander.resume(timeout)?,
            TOMBOLO_SHUTDOWN => commander.shutdown(timeout)?,
            TOMBOLO_PING => commander.ping(timeout)?,
            TOMBOLO_DRAIN => {
                let drain = commander.drain(timeout)?;
                if !drain.left.is_empty() {
                    return Err(Failure::timed_out(c"messages are left in drained channels"));
                }
                drain.answers
            }
            _ => return Err(Failure::bad(c"there is no such command")),
        };
        Ok(count(answers.iter().filter(|answer| answer.ok).count()))
    })
}
