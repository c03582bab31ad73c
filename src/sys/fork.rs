//! Distinguishes a forked child from its parent by one load.

#![allow(unsafe_code)]

use std::num::NonZeroUsize;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering};

use nix::errno::Errno;
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous, munmap};

use super::error::{Call, Error, Result};
use super::limits::page_size;
use super::object::Object;

/// The word in the process's one page that `fork` wipes: the epoch of this
/// process, 0 until a caller asks for it. Never unmapped.
static PAGE: AtomicPtr<AtomicUsize> = AtomicPtr::new(ptr::null_mut());

/// The low half of the next epoch. An ordinary variable: a child continues to
/// count where the parent was.
static NEXT: AtomicU32 = AtomicU32::new(1);

/// Knows in which process it was made.
///
/// A thing that a forked child must not use carries a guard, for example a
/// registration, or a semaphore undo that only the parent has. Asking costs a
/// load and a comparison, while `getpid` is a system call.
///
/// ```
/// use tombolo::sys::proc::ForkGuard;
///
/// let guard = ForkGuard::new()?;
/// assert!(!guard.in_child());
/// # Ok::<(), tombolo::sys::Error>(())
/// ```
///
/// A guard does not distinguish a process made by `vfork`, or by `clone` with
/// shared memory, from its parent.
#[derive(Clone, Copy, Debug)]
#[doc(alias = "MADV_WIPEONFORK")]
pub struct ForkGuard {
    word: &'static AtomicUsize,
    epoch: usize,
}

impl ForkGuard {
    /// A guard for this process.
    ///
    /// See [madvise(2)](https://man7.org/linux/man-pages/man2/madvise.2.html).
    ///
    /// # Errors
    ///
    /// The first guard of a program takes a page of memory:
    /// [`NoMemory`](super::ErrorKind::NoMemory), or
    /// [`Unsupported`](super::ErrorKind::Unsupported) before Linux 4.14.
    pub fn new() -> Result<ForkGuard> {
        let word = page().map_err(|e| {
            Error::new(Call::ForkGuard, Object::System("a page that fork wipes"), e)
        })?;
        let mut epoch = word.load(Ordering::Relaxed);
        if epoch == 0 {
            let fresh = fresh_epoch();
            epoch = match word.compare_exchange(0, fresh, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => fresh,
                Err(of_another_thread) => of_another_thread,
            };
        }
        Ok(ForkGuard { word, epoch })
    }

    /// Whether this process is a forked child of the one that made the guard.
    #[inline]
    pub fn in_child(&self) -> bool {
        // Relaxed: the word changes once in a process, from 0, before the process
        // has a guard of its own. Fork itself orders the child after the parent.
        self.word.load(Ordering::Relaxed) != self.epoch
    }

    /// Encodes a number for [`unsealed`](Self::unsealed).
    #[inline]
    pub(crate) const fn sealed(&self, number: u64) -> u64 {
        number.wrapping_add(self.epoch as u64)
    }

    /// The number that was sealed; in a forked child another number, billions
    /// away. If the caller compares the number anyway, this detects a child without
    /// a comparison of its own.
    #[inline]
    pub(crate) fn unsealed(&self, sealed: u64) -> u64 {
        // Relaxed: as above.
        sealed.wrapping_sub(self.word.load(Ordering::Relaxed) as u64)
    }

    /// A number that differs between a process and its forked descendants.
    pub(super) fn epoch(&self) -> usize {
        self.epoch
    }
}

/// An epoch that is not 0, and not that of any ancestor.
///
/// The count alone would do, except in one case: another thread was making the
/// parent's first guard while this process was forked. Then the child may have
/// the guard but not the count. But then the parent is alive, and has another
/// pid.
fn fresh_epoch() -> usize {
    let count = NEXT.fetch_add(1, Ordering::Relaxed);
    (std::process::id() as usize) << 32 | count as usize
}

fn page() -> Result<&'static AtomicUsize, Errno> {
    let mut word = PAGE.load(Ordering::Acquire);
    if word.is_null() {
        let length = page_size() as usize;
        let fresh = new_page(length)?;
        word = fresh.cast().as_ptr();
        // Release: a thread that acquires the page also sees the advice on it.
        let published =
            PAGE.compare_exchange(ptr::null_mut(), word, Ordering::AcqRel, Ordering::Acquire);
        if let Err(of_another_thread) = published {
            word = of_another_thread;
            // SAFETY: nobody else has seen this page.
            let _ = unsafe { munmap(fresh, length) };
        }
    }
    // SAFETY: `word` starts a zeroed, page-aligned mapping that is never
    // unmapped, and is only ever used as this atomic.
    Ok(unsafe { &*word })
}

fn new_page(length: usize) -> Result<NonNull<std::ffi::c_void>, Errno> {
    let size = NonZeroUsize::new(length).ok_or(Errno::EINVAL)?;
    // SAFETY: a new private mapping, where nothing else is.
    let page = unsafe {
        mmap_anonymous(
            None,
            size,
            ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
            MapFlags::MAP_PRIVATE,
        )
    }?;
    // SAFETY: the advice concerns the new page only, and only children.
    if let Err(errno) = unsafe { madvise(page, length, MmapAdvise::MADV_WIPEONFORK) } {
        // SAFETY: nobody else has seen this page.
        let _ = unsafe { munmap(page, length) };
        return Err(errno);
    }
    Ok(page)
}
