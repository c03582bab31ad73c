//! Reads all values of a set with a buffer of any length.
//!
//! `GETALL` writes as many values as the set has, without knowing how many fit.
//! Asking for the number first is not enough: between the two calls, the set may be
//! removed and its id given to a larger one. So the kernel writes into a
//! mapping of this thread that ends in an inaccessible page, where it stops
//! with `EFAULT` ("all data past to + size - N must be left unmodified", says
//! its uaccess.h). The buffer is first filled with a number that no semaphore
//! holds, which shows afterwards how many values there were. This costs one
//! system call, a fill and a copy; the mapping is kept for the next time.

#![allow(unsafe_code)]

use std::cell::Cell;
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::slice;

use nix::errno::Errno;
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, mprotect, munmap};

use crate::sys::limits::page_size;
use crate::sys::raw;

/// More than any semaphore holds.
const UNWRITTEN: u16 = u16::MAX;

/// Why the values could not be read.
pub(super) enum Failure {
    /// The kernel refused.
    Errno(Errno),
    /// The set has more semaphores than the buffer, or fewer.
    Length,
    /// There is no memory for the mapping.
    Buffer(Errno),
}

/// Memory for values, followed by an inaccessible page.
struct Scratch {
    start: NonNull<u16>,
    /// How many values fit before that page.
    slots: usize,
    /// All of the mapping, in bytes.
    mapped: usize,
}

thread_local! {
    // A call takes it out while it uses it, so that a signal handler that gets
    // here finds none and makes its own.
    static KEPT: Cell<Option<Scratch>> = const { Cell::new(None) };
}

/// Reads all values of set `id` into `values`, which must have its length.
pub(super) fn read(id: i32, values: &mut [u16]) -> Result<(), Failure> {
    // While the thread ends, its kept mapping is gone: make one for this call.
    let kept = KEPT.try_with(Cell::take).ok().flatten();
    // One slot more than asked for shows whether the set is longer.
    let mut scratch = match kept {
        Some(scratch) if scratch.slots > values.len() => scratch,
        _ => Scratch::new(values.len() + 1).map_err(Failure::Buffer)?,
    };
    let result = scratch.read(id, values);
    let _ = KEPT.try_with(|kept| kept.set(Some(scratch)));
    result
}

impl Scratch {
    fn new(slots: usize) -> Result<Scratch, Errno> {
        let page = page_size() as usize;
        let usable = (slots * size_of::<u16>()).next_multiple_of(page);
        let mapped = usable + page;
        let length = NonZeroUsize::new(mapped).ok_or(Errno::EINVAL)?;
        // SAFETY: a new private mapping, where nothing else is.
        let start = unsafe {
            mmap_anonymous(
                None,
                length,
                ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
                MapFlags::MAP_PRIVATE,
            )
        }?;
        let scratch = Scratch { start: start.cast(), slots: usable / size_of::<u16>(), mapped };
        // SAFETY: the last page of the new mapping lies `usable` bytes in.
        let guard = unsafe { start.byte_add(usable) };
        // SAFETY: nothing has been put into that page, nor will be.
        unsafe { mprotect(guard, page, ProtFlags::PROT_NONE) }?;
        Ok(scratch)
    }

    fn read(&mut self, id: i32, values: &mut [u16]) -> Result<(), Failure> {
        // SAFETY: the mapping has `self.slots` initialised slots (the kernel
        // zeroes new memory), and `&mut self` alone leads to them.
        let slots = unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.slots) };
        // Callers made room for one more.
        let Some(used) = slots.get_mut(..=values.len()) else {
            return Err(Failure::Length);
        };
        used.fill(UNWRITTEN);
        // SAFETY: from its start up to the inaccessible page, the mapping is
        // this scratch's own.
        match unsafe { raw::sem_read_all(id, slots.as_mut_ptr()) } {
            Ok(()) => {}
            Err(Errno::EFAULT) => return Err(Failure::Length),
            Err(errno) => return Err(Failure::Errno(errno)),
        }
        match &slots[..=values.len()] {
            [.., last, UNWRITTEN] if *last == UNWRITTEN => Err(Failure::Length),
            [all @ .., UNWRITTEN] => {
                values.copy_from_slice(all);
                Ok(())
            }
            _ => Err(Failure::Length),
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // SAFETY: the mapping is this scratch's own, and no reference into it
        // outlives a call.
        let _ = unsafe { munmap(self.start.cast(), self.mapped) };
    }
}
