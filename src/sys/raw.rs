//! The System V calls themselves, with the kernel's own numbers and structures. This
//! module declares what libc lacks, and what nix lacks for pipes.
//!
//! It explains no failure, so that [`diagnose`](super::diagnose) can use it to find
//! the cause of one.

#![allow(unsafe_code)]

use std::ffi::{c_int, c_long, c_ulong, c_ushort};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{self, NonNull};

use libc::{semid_ds, seminfo, shmid_ds};
use nix::errno::Errno;

use super::sem::Op;

mod msg;

pub(super) use msg::{
    Message, msg_copy, msg_info, msg_remove, msg_set, msg_stat, msg_stat_any, msgget, msgrcv,
    msgsnd,
};

const SHM_INFO: c_int = 14;
/// Takes an index. The kernel uses its low bits only, so an id is its own index.
/// Needs no permission.
const SHM_STAT_ANY: c_int = 15;

pub(super) const SHM_DEST: u32 = 0o1000;
pub(super) const SHM_LOCKED: u32 = 0o2000;
pub(super) const SHM_HUGETLB: c_int = 0o4000;
pub(super) const SHM_NORESERVE: c_int = 0o10000;
/// The bit of the flags where the binary logarithm of the huge page size begins.
pub(super) const SHM_HUGE_SHIFT: c_int = 26;

/// `struct shm_info` of <linux/shm.h>.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct ShmInfo {
    pub(super) used_ids: c_int,
    pub(super) shm_tot: c_ulong,
    pub(super) shm_rss: c_ulong,
    pub(super) shm_swp: c_ulong,
    swap_attempts: c_ulong,
    swap_successes: c_ulong,
}

/// `struct shminfo64` of <asm-generic/shmbuf.h>.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct ShmLimits {
    pub(super) shmmax: c_ulong,
    shmmin: c_ulong,
    pub(super) shmmni: c_ulong,
    shmseg: c_ulong,
    pub(super) shmall: c_ulong,
    unused: [c_ulong; 4],
}

const _: () = assert!(size_of::<ShmInfo>() == 48);
const _: () = assert!(size_of::<ShmLimits>() == 72);
const _: () = assert!(size_of::<shmid_ds>() == 112);
const _: () = assert!(size_of::<seminfo>() == 40);
const _: () = assert!(size_of::<libc::sembuf>() == 6);
#[cfg(target_arch = "x86_64")]
const _: () = assert!(size_of::<semid_ds>() == 104);
#[cfg(not(target_arch = "x86_64"))]
const _: () = assert!(size_of::<semid_ds>() == 88);

pub(super) fn shmget(key: i32, size: usize, flags: c_int) -> Result<i32, Errno> {
    // SAFETY: shmget takes numbers only and touches no memory of ours.
    Errno::result(unsafe { libc::shmget(key, size, flags) })
}

/// # Safety
///
/// `command` must fill exactly one `T`.
unsafe fn shmctl<T: Copy>(id: i32, command: c_int) -> Result<(i32, T), Errno> {
    let mut out = MaybeUninit::<T>::uninit();
    // SAFETY: `out` has room for the `T` that `command` fills, by this
    // function's contract.
    let result = unsafe { libc::shmctl(id, command, out.as_mut_ptr().cast()) };
    let result = Errno::result(result)?;
    // SAFETY: the call succeeded, so the kernel filled all of `out`; a `T` is
    // made of integers, for which any bits are valid.
    Ok((result, unsafe { out.assume_init() }))
}

pub(super) fn shm_stat(id: i32) -> Result<shmid_ds, Errno> {
    // SAFETY: IPC_STAT fills one shmid_ds.
    unsafe { shmctl(id, libc::IPC_STAT) }.map(|(_, stat)| stat)
}

/// The id found at `index` (the low bits of an id suffice) and its state.
pub(super) fn shm_stat_any(index: i32) -> Result<(i32, shmid_ds), Errno> {
    // SAFETY: SHM_STAT_ANY fills one shmid_ds.
    unsafe { shmctl(index, SHM_STAT_ANY) }
}

/// The highest index in use, and the totals.
pub(super) fn shm_info() -> Result<(i32, ShmInfo), Errno> {
    // SAFETY: SHM_INFO fills one shm_info.
    unsafe { shmctl(0, SHM_INFO) }
}

pub(super) fn shm_limits() -> Result<ShmLimits, Errno> {
    shm_last().map(|(_, limits)| limits)
}

/// The highest index in use. Without the totals, for which the kernel visits
/// each segment.
pub(super) fn shm_last() -> Result<(i32, ShmLimits), Errno> {
    // SAFETY: IPC_INFO fills one shminfo64.
    unsafe { shmctl(0, libc::IPC_INFO) }
}

pub(super) fn shm_remove(id: i32) -> Result<(), Errno> {
    // SAFETY: IPC_RMID ignores the buffer.
    Errno::result(unsafe { libc::shmctl(id, libc::IPC_RMID, ptr::null_mut()) }).map(drop)
}

/// Sets owner and mode to what `stat` says.
pub(super) fn shm_set(id: i32, stat: &mut shmid_ds) -> Result<(), Errno> {
    // SAFETY: IPC_SET reads one shmid_ds.
    Errno::result(unsafe { libc::shmctl(id, libc::IPC_SET, ptr::from_mut(stat)) }).map(drop)
}

pub(super) fn shmat(id: i32, flags: c_int) -> Result<NonNull<u8>, Errno> {
    debug_assert_eq!(flags & !libc::SHM_RDONLY, 0);
    // SAFETY: with no address given and no SHM_REMAP, the kernel maps the
    // segment where nothing else is.
    let address = unsafe { libc::shmat(id, ptr::null(), flags) };
    match NonNull::new(address.cast::<u8>()) {
        Some(address) if address.as_ptr().addr() != usize::MAX => Ok(address),
        _ => Err(Errno::last()),
    }
}

/// # Safety
///
/// `address` must have come from [`shmat`], and the memory must not be used
/// any more.
pub(super) unsafe fn shmdt(address: NonNull<u8>) -> Result<(), Errno> {
    // SAFETY: unmaps only the memory the caller gives up.
    Errno::result(unsafe { libc::shmdt(address.as_ptr().cast()) }).map(drop)
}

pub(super) fn semget(key: i32, count: c_int, flags: c_int) -> Result<i32, Errno> {
    // SAFETY: semget takes numbers only.
    Errno::result(unsafe { libc::semget(key, count, flags) })
}

#[inline]
pub(super) fn semop(id: i32, ops: &[Op]) -> Result<(), Errno> {
    // Op is a transparent sembuf, and the kernel only reads it: semop's
    // pointer is mutable by tradition.
    let sops = ops.as_ptr().cast::<libc::sembuf>().cast_mut();
    // SAFETY: `sops` points to `ops.len()` sembufs.
    Errno::result(unsafe { libc::semop(id, sops, ops.len()) }).map(drop)
}

#[inline]
pub(super) fn semtimedop(id: i32, ops: &[Op], timeout: &libc::timespec) -> Result<(), Errno> {
    // SAFETY: the pointers lead to `ops.len()` sembufs and to one timespec,
    // all of which the kernel only reads.
    let result = unsafe {
        libc::syscall(
            libc::SYS_semtimedop,
            c_long::from(id),
            ops.as_ptr(),
            ops.len(),
            ptr::from_ref(timeout),
        )
    };
    Errno::result(result).map(drop)
}

/// The system call semctl, without the C library's function: glibc before 2.35
/// passes garbage as the argument of SEM_STAT_ANY. A `union semun` by value is
/// one register.
///
/// # Safety
///
/// `argument` must be what `command` takes: if a pointer, one to as much
/// memory as the kernel fills.
unsafe fn semctl(id: i32, index: c_int, command: c_int, argument: usize) -> Result<i32, Errno> {
    // SAFETY: `argument` fits `command` by this function's contract.
    let result = unsafe {
        libc::syscall(
            libc::SYS_semctl,
            c_long::from(id),
            c_long::from(index),
            c_long::from(command),
            argument,
        )
    };
    // Truncates nothing: semctl returns an int.
    Errno::result(result as i32)
}

/// # Safety
///
/// `command` must fill exactly one `T`.
unsafe fn semctl_out<T: Copy>(id: i32, command: c_int) -> Result<(i32, T), Errno> {
    let mut out = MaybeUninit::<T>::uninit();
    // SAFETY: `out` has room for the `T` that `command` fills.
    let result = unsafe { semctl(id, 0, command, out.as_mut_ptr().expose_provenance()) }?;
    // SAFETY: the call succeeded, so the kernel filled all of `out`; a `T` is
    // made of integers, for which any bits are valid.
    Ok((result, unsafe { out.assume_init() }))
}

pub(super) fn sem_stat(id: i32) -> Result<semid_ds, Errno> {
    // SAFETY: IPC_STAT fills one semid_ds.
    unsafe { semctl_out(id, libc::IPC_STAT) }.map(|(_, stat)| stat)
}

/// The id found at `index` (the low bits of an id suffice) and its state.
pub(super) fn sem_stat_any(index: i32) -> Result<(i32, semid_ds), Errno> {
    // SAFETY: SEM_STAT_ANY fills one semid_ds.
    unsafe { semctl_out(index, libc::SEM_STAT_ANY) }
}

/// The highest index in use, and the totals (in place of two limits).
pub(super) fn sem_info() -> Result<(i32, seminfo), Errno> {
    // SAFETY: SEM_INFO fills one seminfo.
    unsafe { semctl_out(0, libc::SEM_INFO) }
}

/// The numbers that can be read of one semaphore. Each is a command that takes no
/// argument and returns the number.
#[derive(Clone, Copy)]
pub(super) enum Read {
    Value = libc::GETVAL as isize,
    LastPid = libc::GETPID as isize,
    WaitingForIncrease = libc::GETNCNT as isize,
    WaitingForZero = libc::GETZCNT as isize,
}

pub(super) fn sem_read(id: i32, index: u16, what: Read) -> Result<i32, Errno> {
    // SAFETY: these commands ignore the argument.
    unsafe { semctl(id, index.into(), what as c_int, 0) }
}

pub(super) fn sem_set(id: i32, index: u16, value: u16) -> Result<(), Errno> {
    // SAFETY: SETVAL takes a number.
    unsafe { semctl(id, index.into(), libc::SETVAL, value.into()) }.map(drop)
}

/// Sets owner and mode to what `stat` says.
pub(super) fn sem_set_owner(id: i32, stat: &mut semid_ds) -> Result<(), Errno> {
    // SAFETY: IPC_SET reads one semid_ds.
    unsafe { semctl(id, 0, libc::IPC_SET, ptr::from_mut(stat).expose_provenance()) }.map(drop)
}

/// Reads every value of the set into `out`.
///
/// # Safety
///
/// The kernel writes as many values as the set has, whatever room there is. So
/// the caller must own all memory from `out` up to the first inaccessible page.
pub(super) unsafe fn sem_read_all(id: i32, out: *mut c_ushort) -> Result<(), Errno> {
    // SAFETY: the kernel writes to `out` and stops at the first page it may
    // not touch, by this function's contract still the caller's memory.
    unsafe { semctl(id, 0, libc::GETALL, out.expose_provenance()) }.map(drop)
}

pub(super) fn sem_remove(id: i32) -> Result<(), Errno> {
    // SAFETY: IPC_RMID ignores the argument.
    unsafe { semctl(id, 0, libc::IPC_RMID, 0) }.map(drop)
}

/// How many bytes wait in a pipe.
pub(super) fn bytes_waiting(pipe: BorrowedFd<'_>) -> Result<usize, Errno> {
    let mut waiting: c_int = 0;
    // SAFETY: FIONREAD fills one int.
    let done =
        unsafe { libc::ioctl(pipe.as_raw_fd(), libc::FIONREAD, ptr::from_mut(&mut waiting)) };
    Errno::result(done).map(|_| usize::try_from(waiting).unwrap_or(0))
}
