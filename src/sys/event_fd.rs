//! A descriptor that is readable while it is set.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd as Raw};

use super::error::{Call, Error, Result};
use super::object::Object;

/// A counter in the kernel, for `poll`. Programs that this process starts do not inherit it.
#[derive(Debug)]
pub(crate) struct EventFd(Raw);

impl EventFd {
    /// One that is not set.
    ///
    /// See [eventfd(2)](https://man7.org/linux/man-pages/man2/eventfd.2.html).
    ///
    /// # Errors
    ///
    /// [`NoSpace`](super::ErrorKind::NoSpace) if this process or the machine has too many
    /// descriptors.
    pub(crate) fn new() -> Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Raw::from_value_and_flags(0, flags).map(Self).map_err(refused)
    }

    /// Makes it readable.
    pub(crate) fn set(&self) {
        // It does not wait: at its highest value, it is readable.
        let _ = self.0.write(1);
    }

    /// Makes it unreadable. It may be so: the application has read it.
    pub(crate) fn clear(&self) {
        let _ = self.0.read();
    }
}

fn refused(errno: Errno) -> Error {
    Error::new(Call::EventFdCreate, Object::System("an event descriptor"), errno)
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
