//! Inspects a semaphore set, and sets a value.

use nix::errno::Errno;

use super::Set;
use super::values::{self, Failure};
use crate::sys::error::{Call, Error, Result};
use crate::sys::key::Key;
use crate::sys::object::Object;
use crate::sys::raw::{self, Read};
use crate::sys::table;

/// The state of a set, without the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[doc(alias = "semid_ds")]
pub struct Stat {
    /// Its id.
    pub id: i32,
    /// Its key.
    pub key: Key,
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
    /// The number of semaphores.
    pub count: usize,
    /// When an operation was last done, in seconds since 1970; 0 if never.
    pub last_op_time: i64,
    /// When it was created, its owner or mode last changed, or a value set, in
    /// seconds since 1970.
    pub change_time: i64,
}

impl Set {
    fn read(self, index: u16, what: Read) -> Result<i32> {
        raw::sem_read(self.id(), index, what).map_err(|errno| {
            Error::new(Call::SemRead, Object::Semaphore { id: self.id(), index }, errno)
        })
    }

    /// The value of one semaphore.
    ///
    /// See [semctl(2)](https://man7.org/linux/man-pages/man2/semctl.2.html).
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::sys::ErrorKind::Invalid) for an index past the end,
    /// [`PermissionDenied`](crate::sys::ErrorKind::PermissionDenied) without read
    /// permission, and [`Removed`](crate::sys::ErrorKind::Removed).
    #[doc(alias = "semctl")]
    #[doc(alias = "GETVAL")]
    pub fn value(&self, index: u16) -> Result<u16> {
        // Always in range: no value is above 32767.
        self.read(index, Read::Value).map(|value| value as u16)
    }

    /// The values of all semaphores at one moment. `values` must be as long as the
    /// set.
    ///
    /// See [semctl(2)](https://man7.org/linux/man-pages/man2/semctl.2.html).
    ///
    /// # Errors
    ///
    /// Those of [`value`](Set::value), where [`Invalid`](crate::sys::ErrorKind::Invalid)
    /// means that the set has another length.
    #[doc(alias = "semctl")]
    #[doc(alias = "GETALL")]
    pub fn values(&self, values: &mut [u16]) -> Result<()> {
        values::read(self.id(), values).map_err(|failure| match failure {
            Failure::Errno(errno) => self.error(Call::SemRead, errno),
            Failure::Length => {
                let count = self.stat().map_or(0, |stat| stat.count);
                self.error(Call::SemRead, Errno::EINVAL).because(
                    &format!("it has {count} semaphores, the buffer is for {}", values.len()),
                    "pass a buffer as long as the set",
                )
            }
            Failure::Buffer(errno) => {
                Error::new(Call::Scratch, Object::System("a buffer for semaphore values"), errno)
            }
        })
    }

    /// How many threads sleep until one semaphore grows.
    ///
    /// See [semctl(2)](https://man7.org/linux/man-pages/man2/semctl.2.html).
    ///
    /// # Errors
    ///
    /// Those of [`value`](Set::value).
    #[doc(alias = "semctl")]
    #[doc(alias = "GETNCNT")]
    pub fn waiting_for_increase(&self, index: u16) -> Result<u32> {
        self.read(index, Read::WaitingForIncrease).map(i32::cast_unsigned)
    }

    /// How many threads sleep until one semaphore is zero.
    ///
    /// See [semctl(2)](https://man7.org/linux/man-pages/man2/semctl.2.html).
    ///
    /// # Errors
    ///
    /// Those of [`value`](Set::value).
    #[doc(alias = "semctl")]
    #[doc(alias = "GETZCNT")]
    pub fn waiting_for_zero(&self, index: u16) -> Result<u32> {
        self.read(index, Read::WaitingForZero).map(i32::cast_unsigned)
    }

    /// The process that last operated on one semaphore, or whose death changed it;
    /// 0 if none did, or if it cannot be seen.
    ///
    /// See [semctl(2)](https://man7.org/linux/man-pages/man2/semctl.2.html).
    ///
    /// # Errors
    ///
    /// Those of [`value`](Set::value).
    #[doc(alias = "semctl")]
    #[doc(alias = "GETPID")]
    pub fn last_pid(&self, index: u16) -> Result<i32> {
        self.read(index, Read::LastPid)
    }

    /// Sets one semaphore to `value`.
    ///
    /// **This erases what the kernel would undo on the semaphore for every
    /// process.** A death after it takes back no earlier operation. Use it only on
    /// sets that no other process knows yet. The semaphores of a new set are zero.
    ///
    /// See [semctl(2)](https://man7.org/linux/man-pages/man2/semctl.2.html).
    ///
    /// # Errors
    ///
    /// [`OutOfRange`](crate::sys::ErrorKind::OutOfRange) above 32767, and those of
    /// [`value`](Set::value), for write permission.
    #[doc(alias = "semctl")]
    #[doc(alias = "SETVAL")]
    pub fn set_value(&self, index: u16, value: u16) -> Result<()> {
        raw::sem_set(self.id(), index, value).map_err(|errno| {
            Error::new(Call::SemSet, Object::Semaphore { id: self.id(), index }, errno)
        })
    }

    /// The state of the set. Needs read permission.
    ///
    /// See [semctl(2)](https://man7.org/linux/man-pages/man2/semctl.2.html).
    ///
    /// # Errors
    ///
    /// [`PermissionDenied`](crate::sys::ErrorKind::PermissionDenied) and
    /// [`Removed`](crate::sys::ErrorKind::Removed).
    #[doc(alias = "semctl")]
    #[doc(alias = "IPC_STAT")]
    pub fn stat(&self) -> Result<Stat> {
        let stat = raw::sem_stat(self.id()).map_err(|e| self.error(Call::SemStat, e))?;
        Ok(Stat::new(self.id(), &stat))
    }

    /// The state of the set. Needs no permission.
    ///
    /// See [semctl(2)](https://man7.org/linux/man-pages/man2/semctl.2.html).
    ///
    /// # Errors
    ///
    /// [`Removed`](crate::sys::ErrorKind::Removed).
    #[doc(alias = "SEM_STAT_ANY")]
    pub fn stat_any(&self) -> Result<Stat> {
        match raw::sem_stat_any(self.id()) {
            Ok((id, stat)) if id == self.id() => Ok(Stat::new(id, &stat)),
            // Another set has this place of the table now.
            Ok(_) => Err(self.error(Call::SemStat, Errno::EIDRM)),
            Err(errno) => Err(self.error(Call::SemStat, errno)),
        }
    }
}

impl Stat {
    fn new(id: i32, stat: &libc::semid_ds) -> Stat {
        Stat {
            id,
            key: Key::new(stat.sem_perm.__key),
            uid: stat.sem_perm.uid,
            gid: stat.sem_perm.gid,
            creator_uid: stat.sem_perm.cuid,
            creator_gid: stat.sem_perm.cgid,
            mode: u32::from(stat.sem_perm.mode) & 0o777,
            count: stat.sem_nsems as usize,
            last_op_time: stat.sem_otime,
            change_time: stat.sem_ctime,
        }
    }
}

/// The state of every set in this IPC namespace. Needs no permission on them. A
/// set that is created or removed during the call may be missed.
///
/// # Errors
///
/// [`Unsupported`](crate::sys::ErrorKind::Unsupported) without System V IPC.
#[doc(alias = "SEM_INFO")]
#[doc(alias = "ipcs")]
pub fn all() -> Result<Vec<Stat>> {
    let error = |errno| Error::new(Call::ListSets, Object::System("semaphore sets"), errno);
    let (last, _) = raw::sem_info().map_err(error)?;
    table::walk(last, raw::sem_stat_any, Stat::new).map_err(error)
}

/// The last place in use of the kernel's table; `None` if there is no table.
pub(crate) fn last_place() -> Option<u32> {
    raw::sem_info().ok().and_then(|(last, _)| u32::try_from(last).ok())
}

/// The state of the set at a place of the table, if there is one.
pub(crate) fn at(place: u32) -> Option<Stat> {
    let (id, stat) = raw::sem_stat_any(place.cast_signed()).ok()?;
    Some(Stat::new(id, &stat))
}
