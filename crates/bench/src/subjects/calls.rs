//! The cost of single calls while no process waits, and of copying.

use std::hint::black_box;
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicU64;

use nix::errno::Errno;
use nix::mqueue::{MQ_OFlag, MqAttr, MqdT, mq_open, mq_receive, mq_send, mq_unlink};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::stat::Mode;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{getppid, pipe2, read, write};
use tombolo::sys::msg::{Queue, Selector, Wait};
use tombolo::sys::sem::{Op, Set};
use tombolo::sys::{self, Key, proc};

use super::wake::{futex, set};
use crate::failure::Failure;
use crate::harness::{Figure, Object, Report, Setting, Shared, Subject, Task};

pub(super) fn all() -> Vec<Box<dyn Subject>> {
    let calls: [(&str, Make); 19] = [
        ("an empty call", |_, _| Ok(Box::new(|| Ok(())))),
        ("getppid", |_, _| Ok(Box::new(|| done(getppid())))),
        ("clock_gettime", |_, _| Ok(Box::new(|| done(clock_gettime(ClockId::CLOCK_MONOTONIC)?)))),
        ("the cycle counter", |task, _| {
            let clock = task.clock;
            Ok(Box::new(move || done(clock.ticks())))
        }),
        ("semctl, a value", |_, set| Ok(Box::new(move || done(set.value(0)?)))),
        ("semop, in vain", |_, set| {
            Ok(Box::new(move || done(set.perform(&[Op::take(1, 1).no_wait()]).is_err())))
        }),
        ("semop +1, semop -1", |_, set| {
            Ok(Box::new(move || {
                set.perform(&[Op::add(0, 1)])?;
                Ok(set.perform(&[Op::take(0, 1)])?)
            }))
        }),
        ("semop +1, semop -1, to be undone", |_, set| {
            Ok(Box::new(move || {
                set.perform(&[Op::add(0, 1).undo()])?;
                Ok(set.perform(&[Op::take(0, 1).undo()])?)
            }))
        }),
        ("semop, two operations", |_, set| {
            Ok(Box::new(move || Ok(set.perform(&[Op::add(0, 1), Op::take(0, 1)])?)))
        }),
        ("semtimedop, two operations", |_, set| {
            let second = std::time::Duration::from_secs(1);
            Ok(Box::new(move || Ok(set.perform_timeout(&[Op::add(0, 1), Op::take(0, 1)], second)?)))
        }),
        ("msgsnd, msgrcv", |task, _| {
            let id = task.shared.numbers.get(1).and_then(|&id| i32::try_from(id).ok());
            let queue = Queue::from_id(id.unwrap_or(-1));
            let mut room = [0; 8];
            Ok(Box::new(move || {
                queue.send(1, &[7; 8], Wait::No)?;
                done(queue.receive(Selector::Any, &mut room, Wait::No)?)
            }))
        }),
        ("mq_send, mq_receive", |_, _| posix()),
        ("pipe, write and read", |_, _| Ok(through(pipe2(nix::fcntl::OFlag::O_CLOEXEC)?))),
        ("Unix stream, write and read", |_, _| {
            let (one, other) = std::os::unix::net::UnixStream::pair()?;
            Ok(through((one.into(), other.into())))
        }),
        ("eventfd, write and read", |_, _| {
            let event: OwnedFd = EventFd::from_flags(EfdFlags::EFD_CLOEXEC)?.into();
            Ok(through((event.try_clone()?, event)))
        }),
        ("futex wake, nobody waits", |_, _| {
            let word = AtomicU64::new(0);
            Ok(Box::new(move || Ok(futex(&word, libc::FUTEX_WAKE, 1)?)))
        }),
        ("futex wait, in vain", |_, _| {
            let word = AtomicU64::new(0);
            Ok(Box::new(move || done(futex(&word, libc::FUTEX_WAIT, 1))))
        }),
        ("membarrier, of all that registered", |_, _| {
            proc::register_global_barrier();
            Ok(Box::new(|| Ok(proc::global_barrier()?)))
        }),
        ("sched_yield", |_, _| {
            Ok(Box::new(|| {
                std::thread::yield_now();
                Ok(())
            }))
        }),
    ];
    let calls = calls.into_iter().map(|(name, make)| Call { name, make });
    let copies = [("copy 64 KiB", 64 << 10), ("copy 8 MiB", 8 << 20)];
    let copies = copies.map(|(name, bytes)| Box::new(Copy { name, bytes }) as Box<dyn Subject>);
    calls.map(|call| Box::new(call) as Box<dyn Subject>).chain(copies).collect()
}

/// Any error of a call.
struct Oops(String);

impl From<Errno> for Oops {
    fn from(error: Errno) -> Self {
        Self(error.to_string())
    }
}

impl From<sys::Error> for Oops {
    fn from(error: sys::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<std::io::Error> for Oops {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<Oops> for Failure {
    fn from(error: Oops) -> Self {
        Self::Broken(error.0)
    }
}

type Body = Box<dyn FnMut() -> Result<(), Oops>>;
type Make = fn(&Task<'_>, Set) -> Result<Body, Oops>;

fn done<T>(value: T) -> Result<(), Oops> {
    black_box(value);
    Ok(())
}

/// Eight bytes in at one end and out at the other.
fn through((reader, writer): (OwnedFd, OwnedFd)) -> Body {
    let mut room = [0; 8];
    Box::new(move || {
        write(&writer, &1_u64.to_ne_bytes())?;
        done(read(&reader, &mut room)?)
    })
}

fn posix() -> Result<Body, Oops> {
    let name = format!("/tombolo-bench-{:016x}", proc::random_u64()?);
    let flags = MQ_OFlag::O_RDWR | MQ_OFlag::O_CREAT | MQ_OFlag::O_EXCL;
    let attributes = MqAttr::new(0, 1, 8, 0);
    let mode = Mode::S_IRUSR | Mode::S_IWUSR;
    let queue: MqdT = mq_open(name.as_str(), flags, mode, Some(&attributes))?;
    mq_unlink(name.as_str())?;
    let (mut room, mut priority) = ([0; 8], 0);
    Ok(Box::new(move || {
        mq_send(&queue, &[7; 8], 0)?;
        done(mq_receive(&queue, &mut room, &mut priority)?)
    }))
}

/// Calls that are made one after the other.
struct Call {
    name: &'static str,
    make: Make,
}

impl Subject for Call {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn prepare(&self, _: &Setting) -> Result<Shared, Failure> {
        let unusable = |error| Failure::unusable("cannot make the objects", error);
        let mut shared = Shared::default();
        let set = Set::options().create(Key::PRIVATE, 2).map_err(unusable)?;
        shared.objects.push(Object::Set(set.id()));
        let queue = Queue::options().create(Key::PRIVATE).map_err(unusable)?;
        shared.objects.push(Object::Queue(queue.id()));
        shared.numbers.extend([i64::from(set.id()), i64::from(queue.id())]);
        Ok(shared)
    }

    fn work(&self, task: &Task<'_>) -> Result<Report, Failure> {
        let mut body = (self.make)(task, set(task.shared))?;
        let mut report = task.parts(64, |_, plan| {
            (0..plan.messages).try_for_each(|_| body())?;
            Ok(())
        })?;
        let each = (report.ended - report.began) as f64 / report.messages as f64;
        report.figures.push(Figure::new("each_ns", "ns", each));
        Ok(report)
    }
}

/// Bytes from one place to another, by one process.
struct Copy {
    name: &'static str,
    bytes: usize,
}

impl Subject for Copy {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn prepare(&self, _: &Setting) -> Result<Shared, Failure> {
        Ok(Shared::default())
    }

    fn work(&self, task: &Task<'_>) -> Result<Report, Failure> {
        let from = vec![1_u8; self.bytes];
        let mut to = vec![0_u8; self.bytes];
        let mut report = task.parts(4, |_, plan| {
            for _ in 0..plan.messages {
                to.copy_from_slice(black_box(&from));
                black_box(&mut to);
            }
            Ok(())
        })?;
        let seconds = (report.ended - report.began) as f64 / 1e9;
        let bytes = (report.messages * self.bytes as u64) as f64;
        report.figures.push(Figure::new("bytes_per_second", "B/s", bytes / seconds));
        Ok(report)
    }
}
