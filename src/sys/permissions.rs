//! The owner of an object, and the rights of other users.

use super::error::{Call, Result};
use super::msg::Queue;
use super::raw;
use super::sem::Set;
use super::shm::Shm;

/// The owner and the mode of a System V object. The creator never changes, and
/// keeps the owner's rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[doc(alias = "ipc_perm")]
pub struct Permissions {
    /// The owner.
    pub uid: u32,
    /// The owner's group.
    pub gid: u32,
    /// The nine permission bits.
    pub mode: u32,
}

impl Permissions {
    fn write(self, perm: &mut libc::ipc_perm) {
        perm.uid = self.uid;
        perm.gid = self.gid;
        // The width of a mode differs from one architecture to the next.
        perm.mode = (self.mode & 0o777) as _;
    }
}

impl Shm {
    /// Gives the segment another owner, or another mode. Processes that have
    /// attached it keep their access.
    ///
    /// See [shmctl(2)](https://man7.org/linux/man-pages/man2/shmctl.2.html).
    ///
    /// # Errors
    ///
    /// [`PermissionDenied`](super::ErrorKind::PermissionDenied) unless the caller is
    /// its owner, its creator or privileged; [`Invalid`](super::ErrorKind::Invalid)
    /// for a user or group that this user namespace does not have;
    /// [`Removed`](super::ErrorKind::Removed).
    #[doc(alias = "shmctl")]
    #[doc(alias = "IPC_SET")]
    pub fn set_permissions(&self, to: Permissions) -> Result<()> {
        // The kernel reads nothing but the permissions.
        let error = |errno| self.error(Call::ShmChange, errno);
        let (_, mut stat) = raw::shm_stat_any(self.id()).map_err(error)?;
        to.write(&mut stat.shm_perm);
        raw::shm_set(self.id(), &mut stat).map_err(error)
    }
}

impl Set {
    /// Gives the set another owner, or another mode.
    ///
    /// See [semctl(2)](https://man7.org/linux/man-pages/man2/semctl.2.html).
    ///
    /// # Errors
    ///
    /// Those of [`Shm::set_permissions`].
    #[doc(alias = "semctl")]
    #[doc(alias = "IPC_SET")]
    pub fn set_permissions(&self, to: Permissions) -> Result<()> {
        let error = |errno| self.error(Call::SemChange, errno);
        let (_, mut stat) = raw::sem_stat_any(self.id()).map_err(error)?;
        to.write(&mut stat.sem_perm);
        raw::sem_set_owner(self.id(), &mut stat).map_err(error)
    }
}

impl Queue {
    /// Gives the queue another owner, or another mode.
    ///
    /// The kernel sets this together with [`max_bytes`](super::msg::Stat::max_bytes),
    /// which this call reads before. So a change of that at the same moment may be
    /// lost.
    ///
    /// See [msgctl(2)](https://man7.org/linux/man-pages/man2/msgctl.2.html).
    ///
    /// # Errors
    ///
    /// Those of [`Shm::set_permissions`].
    #[doc(alias = "msgctl")]
    #[doc(alias = "IPC_SET")]
    pub fn set_permissions(&self, to: Permissions) -> Result<()> {
        let error = |errno| self.error(Call::MsgChange, errno);
        let (_, mut stat) = raw::msg_stat_any(self.id()).map_err(error)?;
        to.write(&mut stat.msg_perm);
        raw::msg_set(self.id(), &mut stat).map_err(error)
    }
}
