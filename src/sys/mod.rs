//! System V IPC, pipes and FIFOs as safe Rust: the only module of the library that
//! makes system calls.
//!
//! The module is thin. Each function below is one system call, whose manual page is
//! named, and takes and returns safe types. It fails with an [`Error`] that names the
//! object. If a system limit or a permission was the cause, the error names it and
//! says what to do. Decisions (which process creates, which one waits, what a token
//! means) belong to the modules above.
//!
//! | here | kernel | manual page |
//! |---|---|---|
//! | [`Key::from_path`] | `stat` | [ftok(3)] |
//! | [`shm::Options::create`], [`Shm::open`] | `shmget` | [shmget(2)] |
//! | [`Shm::attach`], [`shm::Attachment`] | `shmat`, `shmdt`, `madvise` | [shmop(2)] |
//! | [`Shm::stat`], [`Shm::stat_any`], [`Shm::remove`], [`shm::all`] | `shmctl` | [shmctl(2)] |
//! | [`sem::Options::create`], [`Set::open`] | `semget` | [semget(2)] |
//! | [`Set::perform`] and its timed forms | `semop`, `semtimedop` | [semop(2)] |
//! | [`Set::value`], [`Set::values`], [`Set::stat`], [`Set::remove`], … | `semctl` | [semctl(2)] |
//! | [`msg::Options::create`], [`Queue::open`] | `msgget` | [msgget(2)] |
//! | [`Queue::send`], [`Queue::receive`], [`Queue::receive_truncated`] | `msgsnd`, `msgrcv` | [msgop(2)] |
//! | [`Queue::stat`], [`Queue::stat_any`], [`Queue::set_max_bytes`], [`Queue::remove`], [`msg::all`] | `msgctl` | [msgctl(2)] |
//! | [`pipe::pair`], [`pipe::hand_over`] | `pipe2`, `fcntl` | [pipe(2)] |
//! | [`pipe::Writer::write_record`], [`pipe::Reader::read_record`] | `write`, `read` | [pipe(7)] |
//! | [`pipe::End`] | `fcntl`, `ioctl` | [fcntl(2)] |
//! | [`fifo::create`], [`fifo::options`], [`fifo::stat`], [`fifo::remove`] | `mkfifo`, `open`, `stat`, `unlink` | [fifo(7)] |
//! | [`limits`] | `shmctl`, `semctl`, `msgctl` | [sysvipc(7)] |
//! | [`Shm::set_permissions`], and of sets and queues | `shmctl`, `semctl`, `msgctl` | [shmctl(2)] |
//! | [`proc`] | `membarrier`, `madvise`, `getrandom`, … | |
//!
//! # A tour
//!
//! ```
//! use tombolo::sys::{ErrorKind, Key, sem::{Op, Set}, shm::Shm};
//!
//! // A segment, and a set of two semaphores. The kernel zeroes both.
//! let segment = Shm::options().create(Key::PRIVATE, 4096)?;
//! let set = Set::options().create(Key::PRIVATE, 2)?;
//!
//! // Two operations in one atomic call. When this process ends, in whatever
//! // way, the kernel undoes the first one.
//! set.perform(&[Op::add(0, 1).undo(), Op::add(1, 5)])?;
//! assert_eq!((set.value(0)?, set.value(1)?), (1, 5));
//!
//! // An operation that would wait fails instead.
//! let error = set.perform(&[Op::zero(0).no_wait()]).unwrap_err();
//! assert_eq!(error.kind(), ErrorKind::WouldBlock);
//!
//! let memory = segment.attach()?;
//! assert_eq!(memory.len(), 4096);
//!
//! // Objects outlive their creator: only `remove` (or a reboot) frees them.
//! segment.remove()?;
//! set.remove()?;
//! # Ok::<(), tombolo::sys::Error>(())
//! ```
//!
//! # Kernel
//!
//! 64-bit Linux. [`Shm::stat_any`] and the listings need 4.17; prefaulting needs
//! 5.14.
//!
//! [ftok(3)]: https://man7.org/linux/man-pages/man3/ftok.3.html
//! [shmget(2)]: https://man7.org/linux/man-pages/man2/shmget.2.html
//! [shmop(2)]: https://man7.org/linux/man-pages/man2/shmop.2.html
//! [shmctl(2)]: https://man7.org/linux/man-pages/man2/shmctl.2.html
//! [semget(2)]: https://man7.org/linux/man-pages/man2/semget.2.html
//! [semop(2)]: https://man7.org/linux/man-pages/man2/semop.2.html
//! [semctl(2)]: https://man7.org/linux/man-pages/man2/semctl.2.html
//! [msgget(2)]: https://man7.org/linux/man-pages/man2/msgget.2.html
//! [msgop(2)]: https://man7.org/linux/man-pages/man2/msgop.2.html
//! [msgctl(2)]: https://man7.org/linux/man-pages/man2/msgctl.2.html
//! [pipe(2)]: https://man7.org/linux/man-pages/man2/pipe.2.html
//! [pipe(7)]: https://man7.org/linux/man-pages/man7/pipe.7.html
//! [fcntl(2)]: https://man7.org/linux/man-pages/man2/fcntl.2.html
//! [fifo(7)]: https://man7.org/linux/man-pages/man7/fifo.7.html
//! [`Queue::open`]: msg::Queue::open
//! [`Queue::send`]: msg::Queue::send
//! [`Queue::receive`]: msg::Queue::receive
//! [`Queue::receive_truncated`]: msg::Queue::receive_truncated
//! [`Queue::stat`]: msg::Queue::stat
//! [`Queue::stat_any`]: msg::Queue::stat_any
//! [`Queue::set_max_bytes`]: msg::Queue::set_max_bytes
//! [`Queue::remove`]: msg::Queue::remove
//! [sysvipc(7)]: https://man7.org/linux/man-pages/man7/sysvipc.7.html
//! [`Shm::open`]: shm::Shm::open
//! [`Shm::attach`]: shm::Shm::attach
//! [`Shm::set_permissions`]: shm::Shm::set_permissions
//! [`Shm::stat`]: shm::Shm::stat
//! [`Shm::stat_any`]: shm::Shm::stat_any
//! [`Shm::remove`]: shm::Shm::remove
//! [`Set::open`]: sem::Set::open
//! [`Set::perform`]: sem::Set::perform
//! [`Set::value`]: sem::Set::value
//! [`Set::values`]: sem::Set::values
//! [`Set::stat`]: sem::Set::stat
//! [`Set::remove`]: sem::Set::remove

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!("tombolo needs 64-bit Linux");

mod backoff;
pub(crate) mod child;
#[cfg(feature = "crash-points")]
pub mod crash;
#[cfg(not(feature = "crash-points"))]
#[path = "no_crash.rs"]
pub(crate) mod crash;
mod diagnose;
pub(crate) mod directory;
mod error;
pub(crate) mod event_fd;
pub mod fifo;
mod fork;
mod key;
pub mod limits;
pub mod msg;
mod object;
mod permissions;
pub mod pipe;
pub(crate) mod poll;
pub mod proc;
mod raw;
pub mod sem;
pub mod shm;
mod table;
pub(crate) mod thread;

pub use error::{Error, ErrorKind, Result};
pub use key::Key;
pub use object::Object;
pub use permissions::Permissions;
pub(crate) use table::{InUse, Round, Turn, Using};
