//! The object that has a key.

use super::queue::found;
use crate::sys::key::Key;
use crate::sys::raw;

pub(super) fn segment(key: Key) -> Option<(i32, libc::shmid_ds)> {
    if key.is_private() {
        return None;
    }
    let id = raw::shmget(key.raw(), 0, 0).ok()?;
    raw::shm_stat_any(id).ok().filter(|&(found, _)| found == id)
}

pub(super) fn set(key: Key) -> Option<(i32, libc::semid_ds)> {
    if key.is_private() {
        return None;
    }
    let id = raw::semget(key.raw(), 0, 0).ok()?;
    raw::sem_stat_any(id).ok().filter(|&(found, _)| found == id)
}

pub(super) fn queue(key: Key) -> Option<(i32, libc::ipc_perm)> {
    if key.is_private() {
        return None;
    }
    let id = raw::msgget(key.raw(), 0).ok()?;
    found(id).map(|stat| (id, stat.msg_perm))
}
