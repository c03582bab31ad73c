//! Inspects segments without attaching them.

use std::collections::HashMap;
use std::fs;

use nix::errno::Errno;

use super::Shm;
use crate::sys::error::{Call, Error, Result};
use crate::sys::key::Key;
use crate::sys::object::Object;
use crate::sys::{raw, table};

/// The state of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[doc(alias = "shmid_ds")]
// More fields than 12: they are those of the kernel's `shmid_ds`.
pub struct Stat {
    /// Its id.
    pub id: i32,
    /// Its key; [`Key::PRIVATE`] also once it is marked for removal.
    pub key: Key,
    /// Its size in bytes, as asked for at its creation.
    pub size: usize,
    /// The number of its mappings in all processes. A mapping that was split, for
    /// example by a partial `mprotect`, counts more than once.
    pub attached: u64,
    /// The process that created it; 0 if that is in a pid namespace that this
    /// process cannot see.
    pub creator_pid: i32,
    /// The process that last attached or detached it; 0 if none did, or if it
    /// cannot be seen.
    pub last_pid: i32,
    /// The owner.
    pub uid: u32,
    /// The owner's group.
    pub gid: u32,
    /// The user who created it.
    pub creator_uid: u32,
    /// That user's group at the creation.
    pub creator_gid: u32,
    /// The nine permission bits.
    pub mode: u32,
    /// Whether the kernel frees it when the last process detaches.
    pub marked_for_removal: bool,
    /// Whether it is locked in memory.
    pub locked: bool,
    /// When it was last attached, in seconds since 1970; 0 if never.
    pub attach_time: i64,
    /// When it was last detached, in seconds since 1970; 0 if never.
    pub detach_time: i64,
    /// When it was created, or its owner or mode last changed, in seconds
    /// since 1970.
    pub change_time: i64,
}

impl Shm {
    /// The state of the segment. Needs read permission.
    ///
    /// See [shmctl(2)](https://man7.org/linux/man-pages/man2/shmctl.2.html).
    ///
    /// # Errors
    ///
    /// [`PermissionDenied`](crate::sys::ErrorKind::PermissionDenied) and
    /// [`Removed`](crate::sys::ErrorKind::Removed).
    #[doc(alias = "shmctl")]
    #[doc(alias = "IPC_STAT")]
    pub fn stat(&self) -> Result<Stat> {
        let stat = raw::shm_stat(self.id()).map_err(|e| self.error(Call::ShmStat, e))?;
        Ok(Stat::new(self.id(), &stat))
    }

    /// The state of the segment. Needs no permission.
    ///
    /// See [shmctl(2)](https://man7.org/linux/man-pages/man2/shmctl.2.html).
    ///
    /// # Errors
    ///
    /// [`Removed`](crate::sys::ErrorKind::Removed).
    #[doc(alias = "SHM_STAT_ANY")]
    pub fn stat_any(&self) -> Result<Stat> {
        match raw::shm_stat_any(self.id()) {
            Ok((id, stat)) if id == self.id() => Ok(Stat::new(id, &stat)),
            // Another segment has this place of the table now.
            Ok(_) => Err(self.error(Call::ShmStat, Errno::EIDRM)),
            Err(errno) => Err(self.error(Call::ShmStat, errno)),
        }
    }
}

impl Stat {
    fn new(id: i32, stat: &libc::shmid_ds) -> Stat {
        let mode = u32::from(stat.shm_perm.mode);
        Stat {
            id,
            key: Key::new(stat.shm_perm.__key),
            size: stat.shm_segsz,
            attached: stat.shm_nattch,
            creator_pid: stat.shm_cpid,
            last_pid: stat.shm_lpid,
            uid: stat.shm_perm.uid,
            gid: stat.shm_perm.gid,
            creator_uid: stat.shm_perm.cuid,
            creator_gid: stat.shm_perm.cgid,
            mode: mode & 0o777,
            marked_for_removal: mode & raw::SHM_DEST != 0,
            locked: mode & raw::SHM_LOCKED != 0,
            attach_time: stat.shm_atime,
            detach_time: stat.shm_dtime,
            change_time: stat.shm_ctime,
        }
    }
}

/// The state of every segment in this IPC namespace. Needs no permission on
/// them. A segment that is created or removed during the call may be missed.
///
/// # Errors
///
/// [`Unsupported`](crate::sys::ErrorKind::Unsupported) without System V IPC.
#[doc(alias = "SHM_INFO")]
#[doc(alias = "ipcs")]
pub fn all() -> Result<Vec<Stat>> {
    let error = |errno| Error::new(Call::List, Object::System("segments"), errno);
    let (last, _) = raw::shm_info().map_err(error)?;
    table::walk(last, raw::shm_stat_any, Stat::new).map_err(error)
}

/// How many bytes of each segment are in memory, by its id; of what is swapped out, nothing
/// is said. Empty where the kernel does not tell.
///
/// See [sysvipc(7)](https://man7.org/linux/man-pages/man7/sysvipc.7.html).
pub(crate) fn resident() -> HashMap<i32, u64> {
    let table = fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default();
    let mut lines = table.lines();
    let titles = lines.next().unwrap_or_default();
    let column = |title| titles.split_ascii_whitespace().position(|column| column == title);
    let (Some(id), Some(rss)) = (column("shmid"), column("rss")) else {
        return HashMap::new();
    };
    let row = |line: &str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        Some((fields.get(id)?.parse().ok()?, fields.get(rss)?.parse().ok()?))
    };
    lines.filter_map(row).collect()
}

/// The last place in use of the kernel's table; `None` if there is no table.
pub(crate) fn last_place() -> Option<u32> {
    raw::shm_last().ok().and_then(|(last, _)| u32::try_from(last).ok())
}

/// The state of the segment at a place of the table, if there is one.
pub(crate) fn at(place: u32) -> Option<Stat> {
    let (id, stat) = raw::shm_stat_any(place.cast_signed()).ok()?;
    Some(Stat::new(id, &stat))
}
