//! What refused a call: the object's owner and mode, or something besides them.
//!
//! The kernel asks an object's mode and answers `EACCES`; `EPERM` is its answer
//! only where a call is the owner's to make. A seccomp filter answers whatever it
//! was told to, mostly `EPERM`, and a security module mostly `EACCES`. Where owner
//! and mode allow the call, no advice about them helps.

use libc::ipc_perm;
use nix::errno::Errno;
use nix::unistd::{getegid, geteuid, getgroups};

use super::{lookup, queue};
use crate::sys::error::{Call, Detail};
use crate::sys::object::Object;
use crate::sys::raw;

/// What an id of another user namespace is shown as: it compares with nobody's.
const OVERFLOW: u32 = 65_534;

pub(super) fn refused(call: Call, object: &Object, errno: Errno) -> Option<Box<Detail>> {
    let found = owner(object);
    let owners_only = owners_only(call);
    let allowed = match &found {
        // The kernel has no such answer to these calls.
        _ if errno == Errno::EPERM && !owners_only => is_ipc(object),
        Some((_, perm)) if owners_only => is_owner(perm),
        Some((_, perm)) => granted(perm) & 0o6 == 0o6,
        None => false,
    };
    match found {
        _ if allowed => Some(by_something_else(call, errno)),
        Some((id, perm)) => Some(by_owner(id, &perm)),
        None => None,
    }
}

/// Whether only the owner or the creator may make a call.
const fn owners_only(call: Call) -> bool {
    matches!(
        call,
        Call::ShmChange
            | Call::ShmRemove
            | Call::SemChange
            | Call::SemRemove
            | Call::MsgChange
            | Call::MsgRemove
            | Call::MsgSet
    )
}

const fn is_ipc(object: &Object) -> bool {
    !matches!(object, Object::Path(_) | Object::Fifo(_) | Object::Pipe | Object::System(_))
}

fn is_owner(perm: &ipc_perm) -> bool {
    let me = geteuid().as_raw();
    me != OVERFLOW && (me == perm.uid || me == perm.cuid)
}

/// What the mode grants this process, as the three bits of its class.
fn granted(perm: &ipc_perm) -> u32 {
    let mode = u32::from(perm.mode);
    if is_owner(perm) {
        return mode >> 6;
    }
    let mut groups = getgroups().unwrap_or_default();
    groups.push(getegid());
    let is_member = groups.iter().any(|group| [perm.gid, perm.cgid].contains(&group.as_raw()));
    if is_member { mode >> 3 } else { mode }
}

fn by_something_else(call: Call, errno: Errno) -> Box<Detail> {
    let function = call.function();
    if errno == Errno::EACCES {
        return Detail::new(
            format!(
                "the object's owner and mode allow it: a security module (SELinux, AppArmor) \
                 refuses this process {function}"
            ),
            "see the kernel's log (dmesg) or the audit log, and allow it in that module's policy",
        );
    }
    Detail::new(
        format!(
            "no owner or mode stands in the way: a sandbox around this process (seccomp, a \
             container's profile) refuses it {function}"
        ),
        "allow the System V calls in the sandbox's profile (systemd: SystemCallFilter=@ipc), or \
         run outside of it",
    )
}

fn by_owner(id: i32, owner: &ipc_perm) -> Box<Detail> {
    let mode = owner.mode & 0o777;
    Detail::new(
        format!(
            "{id} belongs to uid {} gid {} (created by uid {}) with mode {mode:04o}, and this process runs as uid {} gid {}",
            owner.uid,
            owner.gid,
            owner.cuid,
            geteuid(),
            getegid(),
        ),
        format!(
            "run as uid {}, or have the creator allow more (removal is the owner's)",
            owner.uid
        ),
    )
}

/// The object that a call was about, if there is one: its id, and whose it is.
fn owner(object: &Object) -> Option<(i32, ipc_perm)> {
    match *object {
        Object::Segment { id } => raw::shm_stat_any(id)
            .ok()
            .filter(|&(found, _)| found == id)
            .map(|(id, stat)| (id, stat.shm_perm)),
        Object::SegmentKey { key } | Object::NewSegment { key, .. } => {
            lookup::segment(key).map(|(id, stat)| (id, stat.shm_perm))
        }
        Object::Set { id } | Object::Semaphore { id, .. } => raw::sem_stat_any(id)
            .ok()
            .filter(|&(found, _)| found == id)
            .map(|(id, stat)| (id, stat.sem_perm)),
        Object::SetKey { key } | Object::NewSet { key, .. } => {
            lookup::set(key).map(|(id, stat)| (id, stat.sem_perm))
        }
        Object::Queue { id } | Object::Message { queue: id, .. } => {
            queue::found(id).map(|stat| (id, stat.msg_perm))
        }
        Object::QueueKey { key } | Object::NewQueue { key } => lookup::queue(key),
        _ => None,
    }
}
