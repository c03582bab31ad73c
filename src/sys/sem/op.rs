//! One semaphore operation, as the kernel takes it.

use std::fmt;

/// One operation of an atomic [`Set::perform`](super::Set::perform): the kernel
/// does all operations of a call, or none.
///
/// It has the layout of the kernel's `struct sembuf`, and arrays of it can be
/// constants.
///
/// ```
/// use tombolo::sys::sem::Op;
///
/// // Take a mutex (wait for zero, then make it one). If this process dies, the
/// // kernel gives it back.
/// const LOCK: [Op; 2] = [Op::zero(0), Op::add(0, 1).undo()];
/// # let _ = LOCK;
/// ```
#[derive(Clone, Copy)]
#[repr(transparent)]
#[doc(alias = "sembuf")]
pub struct Op(libc::sembuf);

impl Op {
    const fn new(index: u16, op: i16) -> Op {
        Op(libc::sembuf { sem_num: index, sem_op: op, sem_flg: 0 })
    }

    /// Adds `by`, which never waits.
    ///
    /// No semaphore holds more than 32767, so a larger `by` is lowered to it.
    /// A `by` of 0 is, to the kernel, [`zero`](Op::zero).
    pub const fn add(index: u16, by: u16) -> Op {
        Op::new(index, if by > 32767 { i16::MAX } else { by as i16 })
    }

    /// Takes `by` away; waits until the semaphore has as many.
    ///
    /// A semaphore never has more than 32767, so a larger `by` is lowered to
    /// 32768, for which the call waits in vain as well. A `by` of 0 is, to the kernel,
    /// [`zero`](Op::zero).
    pub const fn take(index: u16, by: u16) -> Op {
        Op::new(index, if by > 32767 { i16::MIN } else { -(by as i16) })
    }

    /// Waits until the semaphore is zero.
    pub const fn zero(index: u16) -> Op {
        Op::new(index, 0)
    }

    /// The same, but the kernel reverses it when this process ends, even by
    /// `kill -9`.
    ///
    /// The kernel keeps one sum for each process and semaphore, over all threads.
    /// A forked child starts with none.
    #[doc(alias = "SEM_UNDO")]
    #[must_use]
    pub const fn undo(mut self) -> Op {
        self.0.sem_flg |= libc::SEM_UNDO as i16;
        self
    }

    /// The same, but where the call would wait it fails with
    /// [`WouldBlock`](crate::sys::ErrorKind::WouldBlock).
    #[doc(alias = "IPC_NOWAIT")]
    #[must_use]
    pub const fn no_wait(mut self) -> Op {
        self.0.sem_flg |= libc::IPC_NOWAIT as i16;
        self
    }

    /// The semaphore it works on.
    pub const fn index(self) -> u16 {
        self.0.sem_num
    }

    pub(super) const fn is_no_wait(self) -> bool {
        self.0.sem_flg & libc::IPC_NOWAIT as i16 != 0
    }
}

impl fmt::Debug for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} {:+}", self.0.sem_num, self.0.sem_op)?;
        if self.0.sem_flg & libc::SEM_UNDO as i16 != 0 {
            f.write_str(" undo")?;
        }
        if self.is_no_wait() {
            f.write_str(" no_wait")?;
        }
        f.write_str("]")
    }
}
