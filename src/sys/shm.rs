//! Shared memory segments.

use nix::errno::Errno;

use super::crash;
use super::error::{Call, Error, Result};
use super::key::Key;
use super::object::Object;
use super::raw;

mod attach;
mod by_file;
mod huge_pages;
mod inspect;

pub use attach::{AttachOptions, Attachment};
pub(crate) use by_file::NoWay;
pub use huge_pages::HugePages;
pub use inspect::{Stat, all};
pub(crate) use inspect::{at, last_place, resident};

/// A shared memory segment, by its id.
///
/// An id is a number, not a handle. It outlives the segment, and after some four
/// million creations the kernel gives it to another segment. A program that
/// keeps ids needs a mark of its own in the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shm {
    id: i32,
}

/// How to create a segment: see [`Shm::options`].
#[derive(Clone, Copy, Debug)]
#[must_use = "options do nothing until `create`"]
pub struct Options {
    mode: u32,
    exclusive: bool,
    huge_pages: Option<HugePages>,
    no_reserve: bool,
}

impl Options {
    /// The nine permission bits of a new segment (by default 0600).
    /// Attaching needs read permission, or read and write permission.
    pub const fn mode(mut self, mode: u32) -> Options {
        self.mode = mode & 0o777;
        self
    }

    /// Whether to fail if the key is taken (by default, the existing segment
    /// is opened).
    #[doc(alias = "IPC_EXCL")]
    pub const fn exclusive(mut self, exclusive: bool) -> Options {
        self.exclusive = exclusive;
        self
    }

    /// Takes the memory from the pool of huge pages. The administrator must have
    /// filled the pool, and must have given the user access to it.
    pub const fn huge_pages(mut self, pages: Option<HugePages>) -> Options {
        self.huge_pages = pages;
        self
    }

    /// Does not reserve memory (or huge pages) for the whole segment now. If
    /// memory runs out later, the process that touches a page dies: by `SIGBUS`
    /// for huge pages, by the OOM killer otherwise. Prefaulting reports missing
    /// huge pages as an error instead.
    #[doc(alias = "SHM_NORESERVE")]
    pub const fn no_reserve(mut self, no_reserve: bool) -> Options {
        self.no_reserve = no_reserve;
        self
    }

    /// Creates a segment of `size` zero bytes, or opens the one under `key` if
    /// there is one at least as large and [`exclusive`](Options::exclusive)
    /// was not asked for.
    ///
    /// See [shmget(2)](https://man7.org/linux/man-pages/man2/shmget.2.html).
    ///
    /// # Errors
    ///
    /// [`Exists`](super::ErrorKind::Exists) if the key is taken and the creation is
    /// exclusive. For a new segment: [`Invalid`](super::ErrorKind::Invalid) if no
    /// segment can have this size, [`NoSpace`](super::ErrorKind::NoSpace) and
    /// [`NoMemory`](super::ErrorKind::NoMemory) if there is no room for it now. For
    /// an existing one: [`PermissionDenied`](super::ErrorKind::PermissionDenied) if
    /// its mode does not grant the caller everything that the requested mode would,
    /// or `Invalid` if it is smaller.
    #[doc(alias = "shmget")]
    #[track_caller]
    pub fn create(self, key: Key, size: usize) -> Result<Shm> {
        let mut flags = libc::IPC_CREAT | self.mode.cast_signed();
        if self.exclusive {
            flags |= libc::IPC_EXCL;
        }
        if let Some(pages) = self.huge_pages {
            flags |= raw::SHM_HUGETLB | pages.log2() << raw::SHM_HUGE_SHIFT;
        }
        if self.no_reserve {
            flags |= raw::SHM_NORESERVE;
        }
        crash::point("shmget");
        match raw::shmget(key.raw(), size, flags) {
            Ok(id) => Ok(Shm { id }),
            Err(errno) => {
                let object = Object::NewSegment { key, size, huge_pages: self.huge_pages };
                Err(Error::new(Call::ShmCreate, object, errno))
            }
        }
    }
}

impl Shm {
    /// Starts to describe a segment to create: mode 0600, not exclusive,
    /// ordinary pages, reserved.
    pub const fn options() -> Options {
        Options { mode: 0o600, exclusive: false, huge_pages: None, no_reserve: false }
    }

    /// Finds the segment under `key`. This needs no permission on it.
    ///
    /// See [shmget(2)](https://man7.org/linux/man-pages/man2/shmget.2.html).
    ///
    /// # Errors
    ///
    /// [`NotFound`](super::ErrorKind::NotFound), always so for [`Key::PRIVATE`].
    #[doc(alias = "shmget")]
    pub fn open(key: Key) -> Result<Shm> {
        // For the kernel, the private key would mean a creation.
        let found =
            if key.is_private() { Err(Errno::ENOENT) } else { raw::shmget(key.raw(), 0, 0) };
        let id = found.map_err(|e| Error::new(Call::ShmOpen, Object::SegmentKey { key }, e))?;
        Ok(Shm { id })
    }

    /// The segment with this id. Does not check whether there is one.
    pub const fn from_id(id: i32) -> Shm {
        Shm { id }
    }

    /// The id.
    pub const fn id(self) -> i32 {
        self.id
    }

    pub(super) fn error(self, call: Call, errno: Errno) -> Error {
        Error::new(call, Object::Segment { id: self.id }, errno)
    }

    /// Removes the segment. Its key is free at once. Its memory is freed when the
    /// last process detaches; until then, a process that knows the id can still
    /// attach it.
    ///
    /// See [shmctl(2)](https://man7.org/linux/man-pages/man2/shmctl.2.html).
    ///
    /// # Errors
    ///
    /// [`PermissionDenied`](super::ErrorKind::PermissionDenied) unless the caller is
    /// its owner, its creator or privileged; [`Removed`](super::ErrorKind::Removed).
    #[doc(alias = "shmctl")]
    #[doc(alias = "IPC_RMID")]
    #[track_caller]
    pub fn remove(&self) -> Result<()> {
        crash::point("shmctl IPC_RMID");
        raw::shm_remove(self.id).map_err(|e| self.error(Call::ShmRemove, e))
    }
}
