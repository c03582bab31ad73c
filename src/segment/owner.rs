//! The owner of a segment, and handing it over.

use super::handle::Segment;
use super::mapped::Mapped;
use super::queue::{of_queue, of_set};
use crate::error::Fault;
use crate::sys::{self, ErrorKind, Permissions};

/// The owner and the mode of a segment, from [`Segment::owner`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Owner {
    /// The user that has created it. It always keeps the owner's rights.
    pub creator_uid: u32,
    /// The creator's group.
    pub creator_gid: u32,
    /// The owner.
    pub uid: u32,
    /// The owner's group.
    pub gid: u32,
    /// The permissions, as nine bits.
    pub mode: u32,
}

impl Segment {
    /// The owner of the segment, and the rights of other users.
    ///
    /// # Errors
    /// [`Fault::Forked`], [`Fault::Closed`], and the kernel's.
    pub fn owner(&self) -> Result<Owner, Fault> {
        self.as_owner(|mapped| {
            let stat = mapped.semaphores.set().stat_any()?;
            Ok(Owner {
                creator_uid: stat.creator_uid,
                creator_gid: stat.creator_gid,
                uid: stat.uid,
                gid: stat.gid,
                mode: stat.mode,
            })
        })
    }

    /// Hands the segment over to another user and group. A daemon does this before it
    /// drops the privileges with which it created the segment.
    ///
    /// After that, the process can use the segment only if its new user may write to the
    /// semaphore set. The memory stays attached, but without the set the process can
    /// neither wake another process nor wait.
    ///
    /// ```
    /// use tombolo::Segment;
    ///
    /// let segment = Segment::options().mode(0o600).anonymous()?;
    /// let owner = segment.owner()?;
    /// // To whom the process will belong; here to whom it does.
    /// segment.set_owner(owner.uid, owner.gid)?;
    /// segment.set_mode(0o660)?;
    /// assert_eq!(segment.owner()?.mode, 0o660);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// The creator does not change, and neither does the set of users that can open the
    /// segment by name without [`Options::any_owner`](crate::Options::any_owner). So all
    /// users can still open a segment that root has handed over.
    ///
    /// This changes the semaphore set first, then the memory, then the queue for
    /// commands, if there is one; a queue that is created later has the same owner. If
    /// one of them cannot be changed, those before it are changed back, and the error
    /// names it. A process that opens the segment meanwhile may be refused once.
    ///
    /// # Errors
    /// [`Fault::Forked`], [`Fault::Closed`], and the kernel's refusal unless the
    /// caller is the owner, the creator or root, or if there is no such user or
    /// group in its user namespace.
    #[doc(alias = "chown")]
    #[doc(alias = "IPC_SET")]
    pub fn set_owner(&self, uid: u32, gid: u32) -> Result<(), Fault> {
        self.as_owner(|mapped| mapped.permit(|now| Permissions { uid, gid, ..now }))
    }

    /// Changes the permissions, nine bits as of [`Options::mode`](crate::Options::mode),
    /// in the manner of [`set_owner`](Self::set_owner). A participant needs the right to
    /// read and write. An existing participant that loses it stays one, but can neither
    /// wake another process nor wait.
    ///
    /// # Errors
    /// Those of [`set_owner`](Self::set_owner).
    #[doc(alias = "chmod")]
    #[doc(alias = "IPC_SET")]
    pub fn set_mode(&self, mode: u32) -> Result<(), Fault> {
        let mode = mode & 0o777;
        self.as_owner(|mapped| mapped.permit(|now| Permissions { mode, ..now }))
    }

    fn as_owner<R>(&self, work: impl FnOnce(&Mapped) -> sys::Result<R>) -> Result<R, Fault> {
        let participant = self.participant();
        if let Some(fault) = participant.barred() {
            return Err(fault);
        }
        // Elsewhere, the same ids belong to other objects.
        if !participant.is_known() {
            participant.scan()?;
        }
        work(participant.mapped()).map_err(|error| match error.kind() {
            ErrorKind::Removed => Fault::Closed,
            _ => Fault::System(error).of_segment(self.name()),
        })
    }
}

impl Mapped {
    /// Changes the permissions of everything, or of nothing.
    fn permit(&self, change: impl FnOnce(Permissions) -> Permissions) -> sys::Result<()> {
        let set = self.semaphores.set();
        let old = of_set(&set.stat_any()?);
        let stat = self.shm.stat_any()?;
        let old_memory = Permissions { uid: stat.uid, gid: stat.gid, mode: stat.mode };
        let new = change(old);
        // The set first: a process that creates the queue looks at the set again
        // afterwards.
        set.set_permissions(new)?;
        let rest = || {
            self.shm.set_permissions(new)?;
            match self.queue() {
                Some(queue) => queue.set_permissions(of_queue(new)),
                None => Ok(()),
            }
        };
        rest().inspect_err(|_| {
            // A process that could change them can change them back, unless they
            // have gone by now.
            let _ = self.shm.set_permissions(old_memory);
            let _ = set.set_permissions(old);
        })
    }
}
