//! The limits on System V objects in this IPC namespace, and how much of them
//! is in use.
//!
//! A new namespace, such as a container's, starts with the kernel's defaults, not
//! with the host's settings.
//!
//! ```
//! use tombolo::sys::limits;
//!
//! let sem = limits::sem()?;
//! println!("{} of {} sets", sem.used_sets, sem.sets);
//! # Ok::<(), tombolo::sys::Error>(())
//! ```

use super::error::{Call, Error, Result};
use super::object::Object;
use super::raw;

mod page;

pub use page::page_size;

/// Limits on shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shm {
    /// Bytes in one segment (`kernel.shmmax`).
    pub max_size: u64,
    /// Segments (`kernel.shmmni`).
    pub max_segments: u64,
    /// Pages of [`page_size`] in all segments together (`kernel.shmall`).
    pub max_pages_total: u64,
    /// Segments that exist.
    pub used_segments: u64,
    /// Pages of their sizes together.
    pub used_pages: u64,
    /// Pages of them that are in memory.
    pub resident_pages: u64,
    /// Pages of them that are swapped out.
    pub swapped_pages: u64,
}

/// Limits on semaphores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sem {
    /// Semaphores in one set (`SEMMSL`, the 1st number of `kernel.sem`).
    pub per_set: u64,
    /// Semaphores in all sets together (`SEMMNS`, the 2nd).
    pub system_wide: u64,
    /// Operations in one call (`SEMOPM`, the 3rd).
    pub ops_per_call: u64,
    /// Sets (`SEMMNI`, the 4th).
    pub sets: u64,
    /// Sets that exist.
    pub used_sets: u64,
    /// Semaphores in them together.
    pub used_sems: u64,
    /// What one semaphore can hold (`SEMVMX`): 32767.
    pub max_value: u16,
}

/// Limits on message queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Msg {
    /// Queues (`kernel.msgmni`).
    pub max_queues: u64,
    /// Bytes in one queue, when it is created (`kernel.msgmnb`).
    pub max_bytes: u64,
    /// Bytes in one message (`kernel.msgmax`).
    pub max_message: u64,
    /// Queues that exist.
    pub used_queues: u64,
    /// Messages in all of them together.
    pub used_messages: u64,
    /// Bytes of those.
    pub used_bytes: u64,
}

/// The limits on shared memory, now.
///
/// See [sysvipc(7)](https://man7.org/linux/man-pages/man7/sysvipc.7.html).
///
/// # Errors
///
/// [`Unsupported`](super::ErrorKind::Unsupported) without System V IPC.
#[doc(alias = "shmmax")]
#[doc(alias = "shmall")]
#[doc(alias = "shmmni")]
pub fn shm() -> Result<Shm> {
    let error = |errno| Error::new(Call::List, Object::System("segments"), errno);
    let limits = raw::shm_limits().map_err(error)?;
    let (_, used) = raw::shm_info().map_err(error)?;
    Ok(Shm {
        max_size: limits.shmmax,
        max_segments: limits.shmmni,
        max_pages_total: limits.shmall,
        used_segments: unsigned(used.used_ids),
        used_pages: used.shm_tot,
        resident_pages: used.shm_rss,
        swapped_pages: used.shm_swp,
    })
}

/// The limits on semaphores, now.
///
/// See [sysvipc(7)](https://man7.org/linux/man-pages/man7/sysvipc.7.html).
///
/// # Errors
///
/// [`Unsupported`](super::ErrorKind::Unsupported) without System V IPC.
#[doc(alias = "semmsl")]
#[doc(alias = "semmns")]
#[doc(alias = "semopm")]
#[doc(alias = "semmni")]
pub fn sem() -> Result<Sem> {
    let error = |errno| Error::new(Call::ListSets, Object::System("semaphore sets"), errno);
    // SEM_INFO is IPC_INFO with the use in place of two constants.
    let (_, info) = raw::sem_info().map_err(error)?;
    Ok(Sem {
        per_set: unsigned(info.semmsl),
        system_wide: unsigned(info.semmns),
        ops_per_call: unsigned(info.semopm),
        sets: unsigned(info.semmni),
        used_sets: unsigned(info.semusz),
        used_sems: unsigned(info.semaem),
        max_value: u16::try_from(info.semvmx).unwrap_or(32767),
    })
}

/// The limits on message queues, now.
///
/// See [sysvipc(7)](https://man7.org/linux/man-pages/man7/sysvipc.7.html).
///
/// # Errors
///
/// [`Unsupported`](super::ErrorKind::Unsupported) without System V IPC.
#[doc(alias = "msgmni")]
#[doc(alias = "msgmnb")]
#[doc(alias = "msgmax")]
pub fn msg() -> Result<Msg> {
    let error = |errno| Error::new(Call::ListQueues, Object::System("message queues"), errno);
    // MSG_INFO is IPC_INFO with the use in place of three constants.
    let (_, info) = raw::msg_info().map_err(error)?;
    Ok(Msg {
        max_queues: unsigned(info.msgmni),
        max_bytes: unsigned(info.msgmnb),
        max_message: unsigned(info.msgmax),
        used_queues: unsigned(info.msgpool),
        used_messages: unsigned(info.msgmap),
        used_bytes: unsigned(info.msgtql),
    })
}

/// The kernel's counts are ints that are not negative.
fn unsigned(count: i32) -> u64 {
    u64::try_from(count).unwrap_or(0)
}
