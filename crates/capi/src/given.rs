//! What callers give: text, bytes, structs of some size, times; and where they want results.

use std::ffi::{CStr, c_char, c_void};
use std::mem::MaybeUninit;
use std::ptr;
use std::slice;
use std::time::Duration;

use crate::failure::Failure;

/// A time-out without end: the call waits until it is done, or cannot go on.
pub const TOMBOLO_FOREVER: i64 = -1;
/// A time-out of nothing: the call does not wait, and returns −EAGAIN instead.
pub const TOMBOLO_NOW: i64 = 0;

/// Where a handle is given out.
pub(crate) type Out<'a, T> = Option<&'a mut MaybeUninit<Option<Box<T>>>>;
/// A handle that is given back.
pub(crate) type Back<'a, T> = Option<&'a mut Option<Box<T>>>;

/// How long a call may wait.
#[derive(Clone, Copy)]
pub(crate) enum Wait {
    Now,
    For(Duration),
    Forever,
}

impl Wait {
    pub(crate) const fn of(timeout_ns: i64) -> Self {
        match timeout_ns {
            TOMBOLO_NOW => Self::Now,
            ..0 => Self::Forever,
            1.. => Self::For(Duration::from_nanos(timeout_ns.unsigned_abs())),
        }
    }

    /// As a time-out that may be none.
    pub(crate) const fn most(self) -> Option<Duration> {
        match self {
            Self::Now => Some(Duration::ZERO),
            Self::For(time) => Some(time),
            Self::Forever => None,
        }
    }
}

/// Does what fits the time that there is.
macro_rules! by_time {
    ($wait:expr, $now:expr, $time:ident => $for:expr, $forever:expr) => {
        match $wait {
            $crate::given::Wait::Now => $now.map_err($crate::failure::Failure::from),
            $crate::given::Wait::For($time) => $for.map_err($crate::failure::Failure::from),
            $crate::given::Wait::Forever => $forever.map_err($crate::failure::Failure::from),
        }
    };
}
pub(crate) use by_time;

const NULL: Failure = Failure::bad(c"a pointer is null that must not be");

/// What must not be null.
pub(crate) fn given<T>(pointer: Option<T>) -> Result<T, Failure> {
    pointer.ok_or(NULL)
}

/// The handle behind a pointer to it.
pub(crate) fn taken<T>(back: Back<'_, T>) -> Result<Box<T>, Failure> {
    given(given(back)?.take())
}

/// Closes what is there; nothing if there is nothing, as `free` does.
pub(crate) fn closed<T>(back: Back<'_, T>) -> Result<Option<Box<T>>, Failure> {
    Ok(given(back)?.take())
}

/// Gives a handle out; null after a failure.
pub(crate) fn give_out<T>(
    out: Out<'_, T>,
    make: impl FnOnce() -> Result<T, Failure>,
) -> Result<i32, Failure> {
    let out = given(out)?.write(None);
    *out = Some(Box::new(make()?));
    Ok(0)
}

/// A text of the caller's.
pub(crate) fn text<'a>(text: *const c_char) -> Result<&'a str, Failure> {
    if text.is_null() {
        return Err(NULL);
    }
    // SAFETY: the caller says that this is a text with a zero at its end, which stays as it is
    // during the call.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().map_err(|_| Failure::bad(c"a text is not UTF-8"))
}

/// Some items of the caller's. A null pointer is for none.
pub(crate) fn items<'a, T>(items: *const T, count: usize) -> Result<&'a [T], Failure> {
    if count == 0 {
        return Ok(&[]);
    }
    if items.is_null() || !items.is_aligned() || too_many::<T>(count) {
        return Err(Failure::bad(c"bytes or items are null, not aligned, or too many"));
    }
    // SAFETY: the caller says that so many are there, and stay as they are during the call.
    Ok(unsafe { slice::from_raw_parts(items, count) })
}

/// Room for some items of the caller's.
pub(crate) fn room<'a, T>(
    items: *mut T,
    count: usize,
) -> Result<&'a mut [MaybeUninit<T>], Failure> {
    if count == 0 {
        return Ok(&mut []);
    }
    if items.is_null() || !items.is_aligned() || too_many::<T>(count) {
        return Err(Failure::bad(c"the room is null, not aligned, or too large"));
    }
    // SAFETY: the caller says that there is room for so many, which nobody else uses during the
    // call.
    Ok(unsafe { slice::from_raw_parts_mut(items.cast(), count) })
}

fn too_many<T>(count: usize) -> bool {
    count.checked_mul(size_of::<T>()).is_none_or(|bytes| bytes > isize::MAX as usize)
}

/// The bytes of a message.
pub(crate) fn bytes<'a>(data: *const c_void, length: usize) -> Result<&'a [u8], Failure> {
    items(data.cast(), length)
}

/// Copies a message to the caller, and says how long it is. The caller has checked that there is
/// room.
pub(crate) fn copy_out(
    message: &[u8],
    room: &mut [MaybeUninit<u8>],
    length: Option<&mut MaybeUninit<usize>>,
) {
    let count = message.len().min(room.len());
    room[..count].write_copy_of_slice(&message[..count]);
    if let Some(length) = length {
        length.write(message.len());
    }
}

/// A struct that begins with its size, and of which a caller may have an earlier or a later form.
///
/// # Safety
/// Its first field is a `usize`, and its bytes may all be 0 or anything else.
pub(crate) unsafe trait Extensible: Copy {}

/// How large the caller says that its struct is.
fn declared<T: Extensible>(theirs: *const T) -> Result<usize, Failure> {
    if theirs.is_null() {
        return Err(NULL);
    }
    // SAFETY: the size is the first field, and the caller has set it.
    let size = unsafe { theirs.cast::<usize>().read_unaligned() };
    if (size_of::<usize>()..=MOST).contains(&size) {
        Ok(size)
    } else {
        Err(Failure::bad(c"struct_size is not the size of the struct; set it to sizeof"))
    }
}

/// No struct will ever be as large.
const MOST: usize = 4_096;

/// The caller's struct, as this build knows it: fields that the caller's form lacks are 0.
pub(crate) fn filled<T: Extensible>(theirs: *const T) -> Result<T, Failure> {
    let size = declared(theirs)?;
    let known = size_of::<T>();
    // SAFETY: the caller says that the struct has this size.
    let bytes = unsafe { slice::from_raw_parts(theirs.cast::<u8>(), size) };
    if bytes.get(known..).is_some_and(|rest| rest.iter().any(|byte| *byte != 0)) {
        let what = "the struct has fields that this build of libtombolo does not know";
        return Err(Failure::new(libc::E2BIG, what));
    }
    let mut own = MaybeUninit::<T>::zeroed();
    let (from, to) = (theirs.cast::<u8>(), own.as_mut_ptr().cast::<u8>());
    // SAFETY: both have so many bytes, and `own` is this function's.
    unsafe { ptr::copy_nonoverlapping(from, to, size.min(known)) };
    // SAFETY: all of its bytes are set, and any are values of its fields.
    Ok(unsafe { own.assume_init() })
}

/// Writes as much of `ours` as the caller's struct has room for, behind its size.
pub(crate) fn fill_in<T: Extensible>(theirs: *mut T, ours: &T) -> Result<(), Failure> {
    let size = declared(theirs)?.min(size_of::<T>());
    let head = size_of::<usize>();
    let (from, to) = (ptr::from_ref(ours).cast::<u8>(), theirs.cast::<u8>());
    let (from, to) = (from.wrapping_add(head), to.wrapping_add(head));
    // SAFETY: the caller says that its struct has this size; the other one is as large.
    unsafe { ptr::copy_nonoverlapping(from, to, size - head) };
    Ok(())
}
