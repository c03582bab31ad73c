//! The owner of a segment, and handing it over.

use super::Segment;
use super::mapped::Mapped;
use super::queue::MARK;
use crate::error::Fault;
use crate::sync::Ordering;
use crate::sys::{self, ErrorKind, Permissions};

/// The owner and the mode of a segment, from [`Segment::owner`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Owner {
    /// The user that has created it, who keeps the owner's rights whatever
    /// becomes of it.
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
    /// The owner of the segment, and what others may do.
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

    /// Hands the segment over to another user and group: what a daemon does
    /// before it drops the privileges with which it has created it.
    ///
    /// A process that has dropped them can go on using a segment only if its new
    /// user may write to the semaphore set as well: the memory that it has
    /// attached stays its own, but without the set it cannot wake, or wait for,
    /// anybody.
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
    /// The creator stays who it was, and with it who opens the segment by its
    /// name without [`Options::any_owner`](crate::Options::any_owner): so
    /// everybody goes on opening what root has handed over.
    ///
    /// The semaphore set is changed first, then the memory, then the queue for
    /// commands if there is one; one that is made later follows. If one of them
    /// cannot be changed, those before it are changed back, and the error names
    /// it. Somebody who opens the segment meanwhile may be refused once.
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
    /// in the manner of [`set_owner`](Self::set_owner). A participant needs to
    /// read and write; who is one already is not asked again, but cannot wake
    /// or wait for anybody without that right.
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
        // Elsewhere, the same ids are somebody else's.
        if !participant.is_known() {
            participant.look()?;
        }
        work(participant.mapped()).map_err(|error| match error.kind() {
            ErrorKind::Removed => Fault::Closed,
            _ => Fault::System(error).of_segment(self.name()),
        })
    }
}

/// The permissions that a set has, and with it its segment.
pub(super) const fn of_set(stat: &sys::sem::Stat) -> Permissions {
    Permissions { uid: stat.uid, gid: stat.gid, mode: stat.mode }
}

/// What a queue has where its set has these.
pub(super) const fn of_queue(set: Permissions) -> Permissions {
    Permissions { mode: set.mode & 0o666 | MARK, ..set }
}

impl Mapped {
    /// Changes the permissions of everything, or of nothing.
    fn permit(&self, change: impl FnOnce(Permissions) -> Permissions) -> sys::Result<()> {
        let set = self.semaphores.set();
        let old = of_set(&set.stat_any()?);
        let stat = self.shm.stat_any()?;
        let old_memory = Permissions { uid: stat.uid, gid: stat.gid, mode: stat.mode };
        let new = change(old);
        // The set first: who makes the queue looks at it again afterwards.
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

    /// Whether this user, who has made something on the segment's key, is one
    /// who may take part, or has: the creator or owner of the set, who runs this
    /// process, root, or a participant that is still remembered. Only who may
    /// write to the segment can have put its user there.
    pub(super) fn is_known_user(&self, uid: u32, set: &sys::sem::Stat) -> bool {
        let participant = |id| self.info(id).uid.load(Ordering::Relaxed) == u64::from(uid);
        [0, sys::proc::uid(), set.creator_uid, set.uid].contains(&uid)
            || (0..self.plan.map.participants).any(participant)
    }
}
