//! Finds out, right after a call failed, why it failed.
//!
//! Error numbers are few and causes many: `ENOSPC` from `shmget` is the number
//! of segments or their total size. The limits and the use made of them can be
//! read by anyone, so this compares them, in the kernel's order. It reads the
//! state a moment after the failure, so a use that it quotes may be below its limit again.

mod file;
mod lookup;
mod memory;
mod permission;
mod queue;

use nix::errno::Errno;

use super::error::{Call, Detail, ErrorKind, Found};
use super::key::Key;
use super::object::Object;
use super::raw;
use super::shm::HugePages;

/// The kind of a failure and what is behind it.
///
/// Uses [`raw`] only: a call failing in here must not be diagnosed in turn.
#[cold]
pub(super) fn diagnose(call: Call, object: &Object, errno: Errno) -> Found {
    match (errno, object) {
        (Errno::EPERM, Object::NewSegment { huge_pages: Some(_), .. }) => {
            (ErrorKind::PermissionDenied, Some(memory::huge_page_permission()))
        }
        (_, Object::Fifo(path)) => file::fifo(call, path, errno),
        (_, Object::Pipe) | (Errno::EMFILE | Errno::ENFILE, Object::System(_)) => {
            file::pipe(call, errno)
        }
        // How sandboxes refuse a call they don't know.
        (Errno::EPERM, Object::System(_)) => (ErrorKind::Unsupported, None),
        (Errno::EACCES | Errno::EPERM, _) => {
            (ErrorKind::PermissionDenied, permission::refused(call, object, errno))
        }
        (Errno::ENOSYS | Errno::EOPNOTSUPP, _) => (ErrorKind::Unsupported, None),
        (Errno::EINVAL, Object::System(_)) => (ErrorKind::Unsupported, None),
        (Errno::ERANGE, _) => (ErrorKind::OutOfRange, Some(range(call, object))),
        (_, &Object::Message { queue, kind, len }) => queue::message(errno, queue, kind, len),
        (_, &Object::Queue { id }) => queue::queue(errno, id),
        (_, Object::NewQueue { .. }) => queue::new_queue(errno),
        (Errno::E2BIG, _) => (ErrorKind::TooBig, operations()),
        (Errno::EFBIG, Object::Set { id } | Object::Semaphore { id, .. }) => {
            (ErrorKind::TooBig, Some(past_the_end(*id)))
        }
        (_, &Object::NewSegment { key, size, huge_pages }) => {
            new_segment(errno, key, size, huge_pages)
        }
        (_, &Object::NewSet { key, count }) => new_set(errno, key, count),
        (_, &Object::Segment { id }) => segment(call, errno, id),
        (Errno::EINVAL, &(Object::Set { id } | Object::Semaphore { id, .. })) => set(call, id),
        // A call on a set maps nothing: the kernel lacks memory for its own account.
        (Errno::ENOMEM, Object::Set { .. } | Object::Semaphore { .. }) => {
            (ErrorKind::NoMemory, Some(memory::short()))
        }
        (Errno::ENOMEM, _) => (ErrorKind::NoMemory, Some(memory::unmapped(0))),
        (Errno::EINVAL, _) => (ErrorKind::Invalid, None),
        _ => (ErrorKind::Other, None),
    }
}

fn new_segment(errno: Errno, key: Key, size: usize, huge_pages: Option<HugePages>) -> Found {
    match errno {
        Errno::EINVAL => (ErrorKind::Invalid, segment_size(key, size, huge_pages)),
        Errno::ENOSPC => (ErrorKind::NoSpace, segment_space(size)),
        Errno::ENOMEM if huge_pages.is_some() => {
            (ErrorKind::NoMemory, Some(memory::huge_page_pool()))
        }
        Errno::ENOMEM => (ErrorKind::NoMemory, Some(memory::short())),
        // The file system behind huge pages has none of this size.
        Errno::ENODEV if huge_pages.is_some() => {
            (ErrorKind::Unsupported, Some(memory::huge_page_sizes()))
        }
        _ => (ErrorKind::Other, None),
    }
}

fn segment_size(key: Key, size: usize, huge_pages: Option<HugePages>) -> Option<Box<Detail>> {
    if let Some((id, stat)) = lookup::segment(key) {
        return Some(Detail::new(
            format!("segment {id} has this key and is smaller ({} bytes)", stat.shm_segsz),
            format!("ask for no more than that, or remove it: ipcrm -m {id}"),
        ));
    }
    let limits = raw::shm_limits().ok()?;
    if size == 0 {
        return Some(Detail::new("a segment has at least one byte", "ask for more"));
    }
    if size as u64 > limits.shmmax {
        return Some(Detail::new(
            format!("kernel.shmmax allows {} bytes per segment", limits.shmmax),
            format!("ask for less, or raise it: sysctl kernel.shmmax={size}"),
        ));
    }
    if huge_pages.is_some() {
        return Some(memory::huge_page_sizes());
    }
    Some(Detail::new(
        "the kernel holds no file of this size (at most 2^63-1 bytes)",
        "ask for less",
    ))
}

fn segment_space(size: usize) -> Option<Box<Detail>> {
    let limits = raw::shm_limits().ok()?;
    let (_, used) = raw::shm_info().ok()?;
    let pages = (size as u64).div_ceil(super::limits::page_size());
    // The kernel looks at the total size first.
    if used.shm_tot.saturating_add(pages) > limits.shmall {
        return Some(Detail::new(
            format!(
                "kernel.shmall allows {} pages in all segments, {} are in use and this takes {pages}",
                limits.shmall, used.shm_tot
            ),
            format!(
                "ask for less, remove unused segments (ipcs -m, ipcrm -m ID), or raise it: sysctl \
                 kernel.shmall={}",
                used.shm_tot.saturating_add(pages)
            ),
        ));
    }
    Some(Detail::new(
        format!("kernel.shmmni allows {} segments, {} exist", limits.shmmni, used.used_ids),
        format!(
            "remove unused segments (ipcs -m, ipcrm -m ID), or raise it: sysctl kernel.shmmni={}",
            limits.shmmni.saturating_mul(2).max(1)
        ),
    ))
}

fn new_set(errno: Errno, key: Key, count: usize) -> Found {
    match errno {
        Errno::EINVAL => (ErrorKind::Invalid, set_size(key, count)),
        Errno::ENOSPC => (ErrorKind::NoSpace, set_space(count)),
        Errno::ENOMEM => (ErrorKind::NoMemory, Some(memory::short())),
        _ => (ErrorKind::Other, None),
    }
}

fn set_size(key: Key, count: usize) -> Option<Box<Detail>> {
    if let Some((id, stat)) = lookup::set(key) {
        return Some(Detail::new(
            format!("set {id} has this key and fewer semaphores ({})", stat.sem_nsems),
            format!("ask for no more than that, or remove it: ipcrm -s {id}"),
        ));
    }
    if count == 0 {
        return Some(Detail::new("a set has at least one semaphore", "ask for more"));
    }
    let limits = raw::sem_info().map(|(_, info)| info).ok()?;
    let raised = [count as u64, positive(limits.semmns), positive(limits.semopm)];
    Some(Detail::new(
        format!("kernel.sem allows {} semaphores per set (its 1st number, SEMMSL)", limits.semmsl),
        format!("ask for fewer, or raise it: {}", sem_setting(raised, limits.semmni)),
    ))
}

fn set_space(count: usize) -> Option<Box<Detail>> {
    let (_, limits) = raw::sem_info().ok()?;
    let used = limits;
    // SEM_INFO reports use in these two fields.
    let (sets, semaphores) = (used.semusz, used.semaem);
    let room = i64::from(limits.semmns) - i64::from(semaphores);
    // The kernel looks at the number of semaphores first.
    if i64::try_from(count).is_ok_and(|count| count <= room) {
        return Some(Detail::new(
            format!(
                "kernel.sem allows {} sets (its 4th number), {sets} exist (SEMMNI)",
                limits.semmni
            ),
            format!(
                "remove unused sets (ipcs -s, ipcrm -s ID), or raise it: {}",
                sem_setting(
                    [limits.semmsl, limits.semmns, limits.semopm].map(positive),
                    limits.semmni.saturating_mul(2).max(128),
                )
            ),
        ));
    }
    Some(Detail::new(
        format!(
            "kernel.sem allows {} semaphores in all sets (its 2nd number, SEMMNS), {semaphores} \
             exist and this takes {count}",
            limits.semmns
        ),
        format!(
            "ask for fewer, remove unused sets (ipcs -s, ipcrm -s ID), or raise it: {}",
            sem_setting(
                [
                    positive(limits.semmsl),
                    positive(semaphores).saturating_add(count as u64),
                    positive(limits.semopm),
                ],
                limits.semmni,
            )
        ),
    ))
}

fn segment(call: Call, errno: Errno, id: i32) -> Found {
    let found = raw::shm_stat_any(id).ok().filter(|&(found, _)| found == id);
    let exists = found.is_some();
    let size = found.map_or(0, |(_, stat)| stat.shm_segsz as u64);
    match errno {
        Errno::EINVAL if call == Call::ShmPrefault && exists => (
            ErrorKind::Unsupported,
            Some(Detail::new("prefaulting needs Linux 5.14", "attach without")),
        ),
        Errno::EINVAL if exists => (ErrorKind::Invalid, None),
        Errno::EINVAL => (ErrorKind::Removed, None),
        // Populating a segment beyond the pool of huge pages.
        Errno::EFAULT if call == Call::ShmPrefault => {
            (ErrorKind::NoMemory, Some(memory::huge_page_pool()))
        }
        // What a mapping takes was set aside when the segment was created.
        Errno::ENOMEM if call == Call::ShmAttach => {
            (ErrorKind::NoMemory, Some(memory::unmapped(size)))
        }
        Errno::EAGAIN if call == Call::ShmAttach => {
            (ErrorKind::NoMemory, Some(memory::unlocked(size)))
        }
        Errno::ENOMEM => (ErrorKind::NoMemory, Some(memory::short())),
        _ => (ErrorKind::Other, None),
    }
}

fn set(call: Call, id: i32) -> Found {
    match raw::sem_stat_any(id) {
        Ok((found, stat)) if found == id => {
            let detail = if matches!(call, Call::SemOp | Call::SemTimedOp) {
                Detail::new("there was no operation in the call", "pass at least one")
            } else {
                Detail::new(format!("the set has {} semaphores", stat.sem_nsems), "count from 0")
            };
            (ErrorKind::Invalid, Some(detail))
        }
        _ => (ErrorKind::Removed, None),
    }
}

fn past_the_end(id: i32) -> Box<Detail> {
    let cause = match raw::sem_stat_any(id) {
        Ok((found, stat)) if found == id => format!("the set has {} semaphores", stat.sem_nsems),
        _ => "the set has fewer semaphores".into(),
    };
    Detail::new(cause, "count from 0")
}

fn range(call: Call, object: &Object) -> Box<Detail> {
    let mut cause = String::from("a semaphore holds 0 to 32767");
    if call != Call::SemSet {
        cause += ", and so does what one process has to undo on it";
    }
    if let &Object::Semaphore { id, index } = object
        && let Ok(value) = raw::sem_read(id, index, raw::Read::Value)
    {
        cause += &format!("; this one holds {value}");
    }
    Detail::new(cause, "add less, or take more often")
}

fn operations() -> Option<Box<Detail>> {
    let limits = raw::sem_info().map(|(_, info)| info).ok()?;
    Some(Detail::new(
        format!("kernel.sem allows {} operations per call (its 3rd number, SEMOPM)", limits.semopm),
        format!(
            "pass fewer, or raise it: {}",
            sem_setting(
                [positive(limits.semmsl), positive(limits.semmns), positive(limits.semopm).max(32)],
                limits.semmni,
            )
        ),
    ))
}

/// The command that sets all four numbers of `kernel.sem`, of which none can be
/// set alone.
fn sem_setting([per_set, in_all, per_call]: [u64; 3], sets: i32) -> String {
    format!("sysctl kernel.sem='{per_set} {in_all} {per_call} {sets}'")
}

fn positive(count: i32) -> u64 {
    u64::try_from(count).unwrap_or(0)
}
