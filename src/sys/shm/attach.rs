//! A mapping of a segment into this process.

#![allow(unsafe_code)]

use std::mem::ManuallyDrop;
use std::ptr::NonNull;

use nix::errno::Errno;
use nix::sys::mman::{MmapAdvise, madvise};

use super::Shm;
use crate::sys::crash;
use crate::sys::error::{Call, Result};
use crate::sys::limits::page_size;
use crate::sys::raw;

/// How to map a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttachOptions {
    /// Map it without the right to write; only read permission is needed.
    #[doc(alias = "SHM_RDONLY")]
    pub read_only: bool,
    /// Touch every page now rather than at first use. What memory there is not
    /// is an error then; beyond a memory control group's limit, though, the
    /// kernel kills.
    #[doc(alias = "MADV_POPULATE_WRITE")]
    pub prefault: bool,
    /// Leave the memory out of this process's core dumps.
    #[doc(alias = "MADV_DONTDUMP")]
    pub keep_out_of_core_dumps: bool,
}

/// A mapping of a segment, undone on drop.
///
/// The memory is shared with other processes, which may change it at any
/// moment: it is reached by raw pointer, and what may be done through that is
/// for the modules above to settle.
#[derive(Debug)]
pub struct Attachment {
    address: NonNull<u8>,
    len: usize,
    shm: Shm,
    read_only: bool,
}

// SAFETY: a mapping belongs to the process, not to the thread that made it,
// and any thread may unmap it.
unsafe impl Send for Attachment {}
// SAFETY: its methods on a shared reference only copy out its fields; access
// to the memory itself takes unsafe code, which has to bring its own argument.
unsafe impl Sync for Attachment {}

impl Shm {
    /// Maps the segment for reading and writing.
    ///
    /// # Errors
    ///
    /// As of [`attach_with`](Shm::attach_with).
    #[doc(alias = "shmat")]
    pub fn attach(&self) -> Result<Attachment> {
        self.attach_with(AttachOptions::default())
    }

    /// Maps the segment.
    ///
    /// See [shmop(2)](https://man7.org/linux/man-pages/man2/shmop.2.html) and
    /// [madvise(2)](https://man7.org/linux/man-pages/man2/madvise.2.html).
    ///
    /// # Errors
    ///
    /// [`PermissionDenied`](crate::sys::ErrorKind::PermissionDenied),
    /// [`Removed`](crate::sys::ErrorKind::Removed), [`NoMemory`](crate::sys::ErrorKind::NoMemory) and,
    /// if an option asks for more than the kernel has,
    /// [`Unsupported`](crate::sys::ErrorKind::Unsupported).
    #[doc(alias = "shmat")]
    #[track_caller]
    pub fn attach_with(&self, options: AttachOptions) -> Result<Attachment> {
        crash::point("shmat");
        Attachment::new(*self, options)
    }
}

impl Attachment {
    fn new(shm: Shm, options: AttachOptions) -> Result<Attachment> {
        let flags = if options.read_only { libc::SHM_RDONLY } else { 0 };
        let address = raw::shmat(shm.id(), flags).map_err(|e| shm.error(Call::ShmAttach, e))?;
        // From here on, errors detach.
        let mut attachment = Attachment { address, len: 0, shm, read_only: options.read_only };
        // Only now is the size known to be that of the segment attached: while
        // it is, its id cannot go to another.
        attachment.len = shm.stat()?.size;
        if options.keep_out_of_core_dumps {
            attachment.dont_dump().map_err(|e| shm.error(Call::ShmDontDump, e))?;
        }
        if options.prefault {
            let advice = if options.read_only {
                MmapAdvise::MADV_POPULATE_READ
            } else {
                MmapAdvise::MADV_POPULATE_WRITE
            };
            attachment
                .advise(attachment.len, advice)
                .map_err(|e| shm.error(Call::ShmPrefault, e))?;
        }
        Ok(attachment)
    }

    /// Where it starts; page-aligned. A read-only mapping must not be written
    /// through it.
    pub const fn as_ptr(&self) -> *mut u8 {
        self.address.as_ptr()
    }

    /// Where it starts, known not to be null.
    pub const fn as_non_null(&self) -> NonNull<u8> {
        self.address
    }

    /// The size of the segment in bytes.
    #[expect(clippy::len_without_is_empty, reason = "no segment is empty")]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether it was mapped without the right to write.
    pub const fn read_only(&self) -> bool {
        self.read_only
    }

    /// The segment it maps.
    pub const fn shm(&self) -> Shm {
        self.shm
    }

    /// Unmaps it, as dropping does, and tells how that went.
    ///
    /// See [shmop(2)](https://man7.org/linux/man-pages/man2/shmop.2.html).
    ///
    /// # Errors
    ///
    /// Only if something else has unmapped it meanwhile.
    #[doc(alias = "shmdt")]
    pub fn detach(self) -> Result<()> {
        let this = ManuallyDrop::new(self);
        // SAFETY: the address came from shmat, and whoever used the memory by
        // unsafe code has vouched to stop before the attachment goes.
        unsafe { raw::shmdt(this.address) }.map_err(|e| this.shm.error(Call::ShmDetach, e))
    }

    /// Leaves it mapped for as long as the process runs, and returns where.
    pub fn leak(self) -> NonNull<u8> {
        ManuallyDrop::new(self).address
    }

    fn dont_dump(&self) -> Result<(), Errno> {
        // A mapping of huge pages can only be advised as a whole, and its page
        // size is not to be had from the segment: try each power of two. None
        // reaches beyond the mapping, for the first that fits the page size is
        // the whole of it.
        let mut step = page_size() as usize;
        loop {
            match self.advise(self.len.next_multiple_of(step), MmapAdvise::MADV_DONTDUMP) {
                Err(Errno::EINVAL) if step < 1 << 34 => step *= 2,
                result => return result,
            }
        }
    }

    fn advise(&self, len: usize, advice: MmapAdvise) -> Result<(), Errno> {
        // SAFETY: the advices given here (populate, don't dump) change neither
        // the contents nor the extent of the mapping.
        unsafe { madvise(self.address.cast(), len, advice) }
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        crash::point("shmdt");
        // A failure means that it is not mapped any more: nothing is left to do.
        // SAFETY: as in `detach`.
        let _ = unsafe { raw::shmdt(self.address) };
    }
}
