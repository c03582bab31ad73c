//! Inspects a queue, and limits it.

use nix::errno::Errno;

use super::{Queue, Received, Selector};
use crate::sys::error::{Call, Error, Result};
use crate::sys::key::Key;
use crate::sys::object::Object;
use crate::sys::{proc, raw, table};

/// In how many messages a failed receive searches for the one that did not fit.
const LOOKED_AT: i64 = 1_000;

/// The state of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[doc(alias = "msqid_ds")]
// More fields than 12: they are those of the kernel's `msqid_ds`.
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
    /// How many messages are in it.
    pub messages: u64,
    /// How many bytes they have together.
    pub bytes: u64,
    /// The limit on the bytes of all messages together, and on the number of
    /// messages; `kernel.msgmnb` in a new queue.
    #[doc(alias = "msg_qbytes")]
    pub max_bytes: u64,
    /// The process that last sent; 0 if none did, or if it cannot be seen.
    pub last_send_pid: i32,
    /// The process that last received; 0 if none did, or if it cannot be seen.
    pub last_receive_pid: i32,
    /// When a message was last sent, in seconds since 1970; 0 if never.
    pub send_time: i64,
    /// When a message was last received, in seconds since 1970; 0 if never.
    pub receive_time: i64,
    /// When it was created, or its owner, mode or limit last changed, in
    /// seconds since 1970.
    pub change_time: i64,
}

impl Queue {
    /// The state of the queue. Needs read permission.
    ///
    /// See [msgctl(2)](https://man7.org/linux/man-pages/man2/msgctl.2.html).
    ///
    /// # Errors
    ///
    /// [`PermissionDenied`](crate::sys::ErrorKind::PermissionDenied) and
    /// [`Removed`](crate::sys::ErrorKind::Removed).
    #[doc(alias = "msgctl")]
    #[doc(alias = "IPC_STAT")]
    pub fn stat(&self) -> Result<Stat> {
        let stat = raw::msg_stat(self.id()).map_err(|e| self.error(Call::MsgStat, e))?;
        Ok(Stat::new(self.id(), &stat))
    }

    /// The state of the queue. Needs no permission.
    ///
    /// See [msgctl(2)](https://man7.org/linux/man-pages/man2/msgctl.2.html).
    ///
    /// # Errors
    ///
    /// [`Removed`](crate::sys::ErrorKind::Removed).
    #[doc(alias = "MSG_STAT_ANY")]
    pub fn stat_any(&self) -> Result<Stat> {
        match raw::msg_stat_any(self.id()) {
            Ok((id, stat)) if id == self.id() => Ok(Stat::new(id, &stat)),
            // Another queue has this place of the table now.
            Ok(_) => Err(self.error(Call::MsgStat, Errno::EIDRM)),
            Err(errno) => Err(self.error(Call::MsgStat, errno)),
        }
    }

    /// Sets [`max_bytes`](Stat::max_bytes). The messages in the queue stay, even if
    /// they are more.
    ///
    /// The kernel sets this together with the owner and the mode, which this call
    /// reads before. So a change of those at the same moment may be lost.
    ///
    /// See [msgctl(2)](https://man7.org/linux/man-pages/man2/msgctl.2.html).
    ///
    /// # Errors
    ///
    /// [`PermissionDenied`](crate::sys::ErrorKind::PermissionDenied) unless the
    /// caller is its owner, its creator or privileged, may read it, and does
    /// not ask for more than `kernel.msgmnb` (which takes `CAP_SYS_RESOURCE`);
    /// [`Removed`](crate::sys::ErrorKind::Removed).
    #[doc(alias = "IPC_SET")]
    #[doc(alias = "msg_qbytes")]
    pub fn set_max_bytes(&self, bytes: u64) -> Result<()> {
        let error = |errno| self.error(Call::MsgSet, errno);
        let mut stat = raw::msg_stat(self.id()).map_err(error)?;
        stat.msg_qbytes = bytes;
        raw::msg_set(self.id(), &mut stat).map_err(|errno| {
            let most = raw::msg_info().map_or(u64::MAX, |(_, info)| info.msgmnb as u64);
            let owners = [0, stat.msg_perm.uid, stat.msg_perm.cuid];
            if errno == Errno::EPERM && bytes > most && owners.contains(&proc::uid()) {
                error(errno).because(
                    &format!("kernel.msgmnb allows {most} bytes, and this is {bytes}"),
                    "ask for less, raise kernel.msgmnb, or have CAP_SYS_RESOURCE",
                )
            } else {
                error(errno)
            }
        })
    }

    /// Copies the message at `position`, counted from 0 over all types, into
    /// `buffer`, and leaves it in the queue. Cuts off the bytes that do not fit.
    /// Returns `None` past the last message.
    ///
    /// When the call returns, the message may be at another position, or gone.
    ///
    /// See [msgrcv(2)](https://man7.org/linux/man-pages/man2/msgrcv.2.html).
    ///
    /// # Errors
    ///
    /// [`Unsupported`](crate::sys::ErrorKind::Unsupported) from a kernel without
    /// checkpoints (`CONFIG_CHECKPOINT_RESTORE`);
    /// [`PermissionDenied`](crate::sys::ErrorKind::PermissionDenied);
    /// [`Removed`](crate::sys::ErrorKind::Removed).
    #[doc(alias = "MSG_COPY")]
    pub fn peek(&self, position: u32, buffer: &mut [u8]) -> Result<Option<Received>> {
        // The kernel does not cut copies off, so there must be room for the longest
        // possible message.
        let held = self.stat_any()?.bytes;
        let mut message = raw::Message::with_room(usize::try_from(held).unwrap_or(0));
        match raw::msg_copy(self.id(), &mut message, position.into()) {
            Ok(got) => {
                let len = got.min(buffer.len());
                buffer[..len].copy_from_slice(&message.bytes()[..len]);
                Ok(Some(Received { kind: message.kind(), len, truncated: got > len }))
            }
            Err(Errno::ENOMSG) => Ok(None),
            Err(errno) => Err(self.error(Call::MsgReceive, errno)),
        }
    }

    /// The length of the message that `selector` chooses now, if the kernel shows
    /// messages and this one is among the first [`LOOKED_AT`].
    pub(super) fn next_len(self, selector: Selector) -> Option<usize> {
        let (_, stat) = raw::msg_stat_any(self.id()).ok()?;
        let mut message = raw::Message::with_room(usize::try_from(stat.__msg_cbytes).ok()?);
        let mut best = None;
        for position in 0..=LOOKED_AT {
            match raw::msg_copy(self.id(), &mut message, position) {
                Ok(_) if position == LOOKED_AT => return None,
                Ok(len) if selector.prefers(message.kind(), best.map(|(kind, _)| kind)) => {
                    best = Some((message.kind(), len));
                }
                Ok(_) => {}
                Err(Errno::ENOMSG) => break,
                Err(_) => return None,
            }
        }
        best.map(|(_, len)| len)
    }
}

impl Stat {
    fn new(id: i32, stat: &libc::msqid_ds) -> Stat {
        Stat {
            id,
            key: Key::new(stat.msg_perm.__key),
            uid: stat.msg_perm.uid,
            gid: stat.msg_perm.gid,
            creator_uid: stat.msg_perm.cuid,
            creator_gid: stat.msg_perm.cgid,
            mode: u32::from(stat.msg_perm.mode) & 0o777,
            messages: stat.msg_qnum,
            bytes: stat.__msg_cbytes,
            max_bytes: stat.msg_qbytes,
            last_send_pid: stat.msg_lspid,
            last_receive_pid: stat.msg_lrpid,
            send_time: stat.msg_stime,
            receive_time: stat.msg_rtime,
            change_time: stat.msg_ctime,
        }
    }
}

/// The state of every queue in this IPC namespace. Needs no permission on them.
/// A queue that is created or removed during the call may be missed.
///
/// # Errors
///
/// [`Unsupported`](crate::sys::ErrorKind::Unsupported) without System V IPC.
#[doc(alias = "MSG_INFO")]
#[doc(alias = "ipcs")]
pub fn all() -> Result<Vec<Stat>> {
    let error = |errno| Error::new(Call::ListQueues, Object::System("message queues"), errno);
    let (last, _) = raw::msg_info().map_err(error)?;
    table::walk(last, raw::msg_stat_any, Stat::new).map_err(error)
}

/// The last place in use of the kernel's table; `None` if there is no table.
pub(crate) fn last_place() -> Option<u32> {
    raw::msg_info().ok().and_then(|(last, _)| u32::try_from(last).ok())
}

/// The state of the queue at a place of the table, if there is one.
pub(crate) fn at(place: u32) -> Option<Stat> {
    let (id, stat) = raw::msg_stat_any(place.cast_signed()).ok()?;
    Some(Stat::new(id, &stat))
}
