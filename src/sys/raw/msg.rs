//! The system calls of message queues.

use std::ffi::{c_int, c_long};
use std::mem::MaybeUninit;
use std::ptr;

use libc::{msginfo, msqid_ds};
use nix::errno::Errno;

/// Copies the message at a position, and leaves it where it is.
const MSG_COPY: c_int = 0o40000;
/// Takes an index, as `SHM_STAT_ANY` does.
const MSG_STAT_ANY: c_int = 13;

const _: () = assert!(size_of::<msqid_ds>() == 120);
const _: () = assert!(size_of::<msginfo>() == 32);

/// A message as the kernel takes and gives it: its type, then its bytes.
pub(in crate::sys) struct Message {
    /// The type, then as many words as the bytes need.
    words: Vec<c_long>,
    len: usize,
}

impl Message {
    /// Room for `len` bytes.
    pub(in crate::sys) fn with_room(len: usize) -> Message {
        Message { words: vec![0; 1 + len.div_ceil(size_of::<c_long>())], len }
    }

    pub(in crate::sys) fn new(kind: i64, bytes: &[u8]) -> Message {
        let mut message = Message::with_room(bytes.len());
        message.words[0] = kind;
        bytemuck::cast_slice_mut(&mut message.words[1..])[..bytes.len()].copy_from_slice(bytes);
        message
    }

    pub(in crate::sys) fn kind(&self) -> i64 {
        self.words[0]
    }

    pub(in crate::sys) fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words[1..])[..self.len]
    }
}

pub(in crate::sys) fn msgget(key: i32, flags: c_int) -> Result<i32, Errno> {
    // SAFETY: msgget takes numbers only.
    Errno::result(unsafe { libc::msgget(key, flags) })
}

pub(in crate::sys) fn msgsnd(id: i32, message: &Message, flags: c_int) -> Result<(), Errno> {
    let words = message.words.as_ptr();
    // SAFETY: `words` leads to a type and at least `len` bytes after it, which
    // the kernel only reads.
    Errno::result(unsafe { libc::msgsnd(id, words.cast(), message.len, flags) }).map(drop)
}

/// How many bytes were received.
pub(in crate::sys) fn msgrcv(
    id: i32,
    into: &mut Message,
    selector: i64,
    flags: c_int,
) -> Result<usize, Errno> {
    let words = into.words.as_mut_ptr();
    // SAFETY: `words` leads to room for a type and at least `len` bytes.
    let got = unsafe { libc::msgrcv(id, words.cast(), into.len, selector, flags) };
    Errno::result(got).map(isize::cast_unsigned)
}

/// Copies the message at `position`, counted from 0 and whatever its type.
/// `ENOMSG` past the last; `ENOSYS` from a kernel without checkpoints.
pub(in crate::sys) fn msg_copy(id: i32, into: &mut Message, position: i64) -> Result<usize, Errno> {
    msgrcv(id, into, position, MSG_COPY | libc::IPC_NOWAIT)
}

/// The system call msgctl, without the C library's function: some versions of
/// glibc refuse a command that they do not know.
///
/// # Safety
///
/// `argument` must lead to what `command` reads or fills, if anything.
unsafe fn msgctl<T>(id: i32, command: c_int, argument: *mut T) -> Result<i32, Errno> {
    // SAFETY: `argument` fits `command` by this function's contract.
    let result = unsafe {
        libc::syscall(libc::SYS_msgctl, c_long::from(id), c_long::from(command), argument)
    };
    // Truncates nothing: msgctl returns an int.
    Errno::result(result as i32)
}

/// # Safety
///
/// `command` must fill exactly one `T`, for which any bits are valid.
unsafe fn msgctl_out<T: Copy>(id: i32, command: c_int) -> Result<(i32, T), Errno> {
    let mut out = MaybeUninit::<T>::uninit();
    // SAFETY: `out` has room for the `T` that `command` fills.
    let result = unsafe { msgctl(id, command, out.as_mut_ptr()) }?;
    // SAFETY: the call succeeded, so the kernel filled all of `out`.
    Ok((result, unsafe { out.assume_init() }))
}

pub(in crate::sys) fn msg_stat(id: i32) -> Result<msqid_ds, Errno> {
    // SAFETY: IPC_STAT fills one msqid_ds, made of integers.
    unsafe { msgctl_out(id, libc::IPC_STAT) }.map(|(_, stat)| stat)
}

/// The id found at `index` (the low bits of an id suffice) and its state.
pub(in crate::sys) fn msg_stat_any(index: i32) -> Result<(i32, msqid_ds), Errno> {
    // SAFETY: MSG_STAT_ANY fills one msqid_ds, made of integers.
    unsafe { msgctl_out(index, MSG_STAT_ANY) }
}

/// The highest index in use, and the totals (in place of three limits).
pub(in crate::sys) fn msg_info() -> Result<(i32, msginfo), Errno> {
    // SAFETY: MSG_INFO fills one msginfo, made of integers.
    unsafe { msgctl_out(0, libc::MSG_INFO) }
}

/// Sets owner, mode and most bytes to what `stat` says.
pub(in crate::sys) fn msg_set(id: i32, stat: &mut msqid_ds) -> Result<(), Errno> {
    // SAFETY: IPC_SET reads one msqid_ds.
    unsafe { msgctl(id, libc::IPC_SET, ptr::from_mut(stat)) }.map(drop)
}

pub(in crate::sys) fn msg_remove(id: i32) -> Result<(), Errno> {
    // SAFETY: IPC_RMID ignores the buffer.
    unsafe { msgctl(id, libc::IPC_RMID, ptr::null_mut::<msqid_ds>()) }.map(drop)
}
