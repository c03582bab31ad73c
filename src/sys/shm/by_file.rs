//! Maps a segment as the file that it is to the kernel, by way of a process that has
//! attached it.
//!
//! `shmat` leaves its mark: the kernel counts the attachment, and keeps the process and the
//! time of the last one. A mapping of the file does not. The file has no name of its own, but
//! each process that has it mapped has a link to it, which the kernel lets those follow who
//! may checkpoint processes.

#![allow(unsafe_code)]

use std::fs::{self, File};
use std::num::NonZeroUsize;
use std::os::unix::fs::MetadataExt;

use nix::sys::mman::{MapFlags, ProtFlags, mmap};

use super::Shm;
use super::attach::Attachment;
use crate::sys::limits::page_size;

/// Why a segment cannot be mapped by way of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoWay {
    /// This process may not, by way of whichever process: it lacks the capability
    /// `CAP_CHECKPOINT_RESTORE` or `CAP_SYS_ADMIN` outside of all user namespaces.
    Refused,
    /// Not by way of that one: it has not attached the whole of it, or cannot be looked into.
    Elsewhere,
}

impl Shm {
    /// Maps the segment for reading, as a file of this process, which has it attached.
    /// Nothing that the kernel tells of the segment changes by it.
    ///
    /// See [proc_pid_map_files(5)](https://man7.org/linux/man-pages/man5/proc_pid_map_files.5.html).
    pub(crate) fn map_by(self, pid: u32) -> Result<Attachment, NoWay> {
        let place = attached_at(pid, self.id()).filter(|_| sees_the_same(pid));
        let (start, end) = place.ok_or(NoWay::Elsewhere)?;
        let file = File::open(format!("/proc/{pid}/map_files/{start:x}-{end:x}"));
        let file = file.map_err(|error| match error.raw_os_error() {
            Some(libc::EPERM) => NoWay::Refused,
            _ => NoWay::Elsewhere,
        })?;
        self.map_file(&file, end.saturating_sub(start)).ok_or(NoWay::Elsewhere)
    }

    fn map_file(self, file: &File, attached: usize) -> Option<Attachment> {
        let found = file.metadata().ok()?;
        let len = usize::try_from(found.len()).ok()?;
        // Another mapping may be there by now; and with huge pages, the mapping is longer.
        let is_it = found.ino() == u64::try_from(self.id()).ok()?
            && attached == len.checked_next_multiple_of(page_size() as usize)?;
        let length = NonZeroUsize::new(len).filter(|_| is_it)?;
        // SAFETY: a new mapping, where nothing else is. The file is not truncated: it is a
        // segment, whose size never changes.
        let address =
            unsafe { mmap(None, length, ProtFlags::PROT_READ, MapFlags::MAP_SHARED, file, 0) };
        Some(Attachment::of_file(self, address.ok()?.cast(), len))
    }
}

/// Whether a process is in this thread's IPC namespace. One that is not may have another
/// segment with the same id; this process itself, if the thread has left its namespace.
fn sees_the_same(pid: u32) -> bool {
    let namespace = |process: &str| fs::metadata(format!("/proc/{process}/ns/ipc")).ok();
    let own = namespace("thread-self").map(|namespace| namespace.ino());
    own.is_some() && namespace(&pid.to_string()).map(|namespace| namespace.ino()) == own
}

/// Where in its memory a process has the beginning of this segment.
fn attached_at(pid: u32, id: i32) -> Option<(usize, usize)> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
    maps.lines().find_map(|line| {
        // addresses perms offset device inode name; the inode is the id.
        let mut fields = line.split_ascii_whitespace();
        let (range, offset) = (fields.next()?, fields.nth(1)?);
        let is_it = fields.nth(1)?.parse() == Ok(id)
            && fields.next()?.starts_with("/SYSV")
            && usize::from_str_radix(offset, 16) == Ok(0);
        let (start, end) = range.split_once('-').filter(|_| is_it)?;
        let address = |text| usize::from_str_radix(text, 16).ok();
        Some((address(start)?, address(end)?))
    })
}
