//! The kernel's message queues, with the limits that the system has set.

#![allow(unsafe_code)]

use std::ffi::c_long;
use std::fs;
use std::hint::spin_loop;
use std::ops::Range;
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};

use nix::errno::Errno;
use nix::mqueue::{MQ_OFlag, MqAttr, MqdT, mq_open, mq_receive, mq_send, mq_unlink};
use nix::sys::stat::Mode;
use tombolo::sys::msg::Queue;
use tombolo::sys::{Key, proc};

use super::stream::{end, failed};
use crate::failure::Failure;
use crate::harness::{Mechanism, Message, Object, Rx, Setting, Shared, Subject, Tx};

pub(super) fn all() -> Vec<Box<dyn Subject>> {
    vec![Box::new(SystemV), Box::new(Posix)]
}

struct SystemV;

impl Mechanism for SystemV {
    type Tx<const W: usize> = SystemVEnd<W>;
    type Rx<const W: usize> = SystemVEnd<W>;

    fn name(&self) -> String {
        "System V message queue".to_owned()
    }

    fn prepare(&self, setting: &Setting) -> Result<Shared, Failure> {
        let mut shared = Shared::default();
        for _ in 0..setting.channels() {
            let queue = Queue::options().create(Key::PRIVATE);
            let queue = queue.map_err(|error| Failure::unusable("cannot make it", error))?;
            shared.objects.push(Object::Queue(queue.id()));
            shared.numbers.push(i64::from(queue.id()));
        }
        Ok(shared)
    }

    fn tx<const W: usize>(
        &self,
        shared: &Shared,
        setting: &Setting,
        channel: usize,
    ) -> Result<SystemVEnd<W>, Failure> {
        let id = shared.numbers.get(channel).and_then(|&id| i32::try_from(id).ok());
        let flags = if setting.polled() { libc::IPC_NOWAIT } else { 0 };
        let letter = Letter { kind: 1, message: [0; W] };
        Ok(SystemVEnd { id: id.unwrap_or(-1), flags, letter })
    }

    fn rx<const W: usize>(
        &self,
        shared: &Shared,
        setting: &Setting,
        channel: usize,
    ) -> Result<SystemVEnd<W>, Failure> {
        self.tx(shared, setting, channel)
    }
}

/// A message as msgsnd(2) takes it and msgrcv(2) gives it.
#[repr(C)]
struct Letter<const W: usize> {
    kind: c_long,
    message: Message<W>,
}

struct SystemVEnd<const W: usize> {
    id: i32,
    flags: i32,
    letter: Letter<W>,
}

impl<const W: usize> Tx<W> for SystemVEnd<W> {
    fn send(&mut self, numbers: Range<u64>) -> Result<(), Failure> {
        for number in numbers {
            self.letter.message = [number; W];
            loop {
                let letter = (&raw const self.letter).cast();
                // SAFETY: leads to a type and as many bytes as are told.
                let sent = unsafe { libc::msgsnd(self.id, letter, W * 8, self.flags) };
                match Errno::result(sent) {
                    Ok(_) => break,
                    Err(Errno::EAGAIN) => spin_loop(),
                    Err(error) => return Err(failed(error)),
                }
            }
        }
        Ok(())
    }
}

impl<const W: usize> Rx<W> for SystemVEnd<W> {
    fn receive(&mut self, _: u64, mut see: impl FnMut(&Message<W>)) -> Result<u64, Failure> {
        loop {
            let letter = (&raw mut self.letter).cast();
            // SAFETY: leads to room for a type and as many bytes as are told.
            let received = unsafe { libc::msgrcv(self.id, letter, W * 8, 0, self.flags) };
            match Errno::result(received) {
                Ok(bytes) if bytes as usize == W * 8 => break,
                Ok(_) => return Err(Failure::Broken("it came shortened".to_owned())),
                Err(Errno::ENOMSG) => spin_loop(),
                Err(error) => return Err(failed(error)),
            }
        }
        see(&self.letter.message);
        Ok(1)
    }
}

struct Posix;

impl Posix {
    /// A queue without a name, as long as the system allows anybody.
    fn create(setting: &Setting) -> nix::Result<OwnedFd> {
        let most = fs::read_to_string("/proc/sys/fs/mqueue/msg_max").unwrap_or_default();
        let most = most.trim().parse().unwrap_or(10);
        let name = format!("/tombolo-bench-{:016x}", proc::random_u64().unwrap_or(0));
        let mut flags = MQ_OFlag::O_RDWR | MQ_OFlag::O_CREAT | MQ_OFlag::O_EXCL;
        if setting.polled() {
            flags |= MQ_OFlag::O_NONBLOCK;
        }
        let attributes = MqAttr::new(0, most, setting.words as c_long * 8, 0);
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        let queue = mq_open(name.as_str(), flags, mode, Some(&attributes))?;
        mq_unlink(name.as_str())?;
        // SAFETY: on Linux it is a descriptor, and nobody else's any more.
        Ok(unsafe { OwnedFd::from_raw_fd(queue.into_raw_fd()) })
    }
}

impl Mechanism for Posix {
    type Tx<const W: usize> = PosixEnd<W>;
    type Rx<const W: usize> = PosixEnd<W>;

    fn name(&self) -> String {
        "POSIX message queue".to_owned()
    }

    fn prepare(&self, setting: &Setting) -> Result<Shared, Failure> {
        let mut shared = Shared::default();
        for _ in 0..setting.channels() {
            let queue = Self::create(setting);
            shared.fds.push(queue.map_err(|error| Failure::unusable("cannot make it", error))?);
        }
        Ok(shared)
    }

    fn tx<const W: usize>(
        &self,
        shared: &Shared,
        _: &Setting,
        channel: usize,
    ) -> Result<PosixEnd<W>, Failure> {
        // SAFETY: a queue's descriptor, which stays open as long as the end.
        let queue = unsafe { MqdT::from_raw_fd(end(shared, channel)?.into_raw_fd()) };
        Ok(PosixEnd { queue, message: [0; W] })
    }

    fn rx<const W: usize>(
        &self,
        shared: &Shared,
        setting: &Setting,
        channel: usize,
    ) -> Result<PosixEnd<W>, Failure> {
        self.tx(shared, setting, channel)
    }
}

/// Open until the process ends.
struct PosixEnd<const W: usize> {
    queue: MqdT,
    message: Message<W>,
}

impl<const W: usize> Tx<W> for PosixEnd<W> {
    fn send(&mut self, numbers: Range<u64>) -> Result<(), Failure> {
        for number in numbers {
            self.message = [number; W];
            loop {
                match mq_send(&self.queue, bytemuck::cast_slice(&self.message), 0) {
                    Ok(()) => break,
                    Err(Errno::EAGAIN) => spin_loop(),
                    Err(error) => return Err(failed(error)),
                }
            }
        }
        Ok(())
    }
}

impl<const W: usize> Rx<W> for PosixEnd<W> {
    fn receive(&mut self, _: u64, mut see: impl FnMut(&Message<W>)) -> Result<u64, Failure> {
        let mut priority = 0;
        loop {
            let room = bytemuck::cast_slice_mut(&mut self.message);
            match mq_receive(&self.queue, room, &mut priority) {
                Ok(bytes) if bytes == W * 8 => break,
                Ok(_) => return Err(Failure::Broken("it came shortened".to_owned())),
                Err(Errno::EAGAIN) => spin_loop(),
                Err(error) => return Err(failed(error)),
            }
        }
        see(&self.message);
        Ok(1)
    }
}
