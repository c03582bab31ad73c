//! Mappings of segments into this process.

#![allow(unsafe_code)]

use std::mem::ManuallyDrop;
use std::ptr::NonNull;

use nix::errno::Errno;
use nix::sys::mman::{MmapAdvise, madvise, munmap};

use super::Shm;
use crate::sys::crash;
use crate::sys::error::{Call, Result};
use crate::sys::limits::page_size;
use crate::sys::raw;

/// How to map a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttachOptions {
    /// Map it without the right to write. This needs read permission only.
    #[doc(alias = "SHM_RDONLY")]
    pub read_only: bool,
    /// Touch every page now rather than at first use. Missing memory is an error
    /// then. But beyond a memory control group's limit the kernel kills the
    /// process.
    #[doc(alias = "MADV_POPULATE_WRITE")]
    pub prefault: bool,
    /// Leave the memory out of this process's core dumps.
    #[doc(alias = "MADV_DONTDUMP")]
    pub keep_out_of_core_dumps: bool,
}

/// A mapping of a segment. Dropping it unmaps the segment.
///
/// Other processes share the memory, and may change it at any moment. So this
/// type gives a raw pointer only; the modules above decide what may be done
/// through it.
#[derive(Debug)]
pub struct Attachment {
    address: NonNull<u8>,
    len: usize,
    shm: Shm,
    read_only: bool,
    /// Whether it is a mapping of the file, of which the kernel keeps no account.
    of_file: bool,
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
        // From here on, an error detaches it again.
        let read_only = options.read_only;
        let mut attachment = Attachment { address, len: 0, shm, read_only, of_file: false };
        // Only now this is the size of the attached segment: as long as it is
        // attached, no other segment can get its id.
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

    /// A mapping of the segment's file, for reading.
    pub(super) const fn of_file(shm: Shm, address: NonNull<u8>, len: usize) -> Attachment {
        Attachment { address, len, shm, read_only: true, of_file: true }
    }

    /// The start of the mapping, page-aligned. Writing through the pointer is
    /// not allowed if the mapping is read-only.
    pub const fn as_ptr(&self) -> *mut u8 {
        self.address.as_ptr()
    }

    /// The start of the mapping, as a pointer that is not null.
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

    /// Unmaps the segment, as dropping does, and returns an error if that fails.
    ///
    /// See [shmop(2)](https://man7.org/linux/man-pages/man2/shmop.2.html).
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::sys::ErrorKind::Invalid), only if something else in this
    /// process has unmapped the memory.
    #[doc(alias = "shmdt")]
    pub fn detach(self) -> Result<()> {
        let this = ManuallyDrop::new(self);
        this.unmap().map_err(|e| this.shm.error(Call::ShmDetach, e))
    }

    /// Unmaps it. Nobody uses it after that.
    fn unmap(&self) -> Result<(), Errno> {
        if self.of_file {
            // SAFETY: as below; the mapping has this length.
            return unsafe { munmap(self.address.cast(), self.len) };
        }
        // SAFETY: the address came from shmat, and unsafe code that used the
        // memory has promised to stop before the attachment goes.
        unsafe { raw::shmdt(self.address) }
    }

    /// Leaves the segment mapped as long as the process runs, and returns the
    /// start of the mapping.
    pub fn leak(self) -> NonNull<u8> {
        ManuallyDrop::new(self).address
    }

    fn dont_dump(&self) -> Result<(), Errno> {
        // Advice on a mapping of huge pages must cover the whole of it, and the
        // segment does not tell its page size. So this tries each power of two.
        // None reaches beyond the mapping, because the first one that fits the
        // page size is the whole of it.
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
        if !self.of_file {
            crash::point("shmdt");
        }
        // A failure means that it is not mapped any more: nothing is left to do.
        let _ = self.unmap();
    }
}
