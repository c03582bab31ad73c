//! Mechanisms that only wake: semaphores, futexes, event descriptors. They carry
//! nothing; the nth wake-up counts as the nth message.

#![allow(unsafe_code)]

use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Release};

use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::unistd::{read, write};
use tombolo::sys::Key;
use tombolo::sys::sem::{Op, Set};

use super::raw;
use super::stream::{end, failed};
use crate::failure::Failure;
use crate::harness::{Mechanism, Message, Object, Rx, Setting, Shared, Subject, Tx};

pub(super) fn all() -> Vec<Box<dyn Subject>> {
    vec![
        Box::new(Semop),
        Box::new(Futex),
        Box::new(Event),
        Box::new(SemopEach),
        Box::new(SemopZero),
    ]
}

/// The best of these is the limit of waking all who sleep: each does it with one call.
pub(crate) const BEST_WAKE: &str = "best semop to all";
pub(crate) const WAKES: &[&str] = &["semop, a semaphore each", "semop, all wait for zero"];

/// How often it was woken.
pub(super) struct Count(u64);

impl Count {
    fn see<const W: usize>(&mut self, mut see: impl FnMut(&Message<W>)) -> Result<u64, Failure> {
        see(&[self.0; W]);
        self.0 += 1;
        Ok(1)
    }
}

/// One semaphore for each direction, in one set.
pub(super) struct Semop;

impl Mechanism for Semop {
    type Tx<const W: usize> = Poster;
    type Rx<const W: usize> = Taker;

    fn name(&self) -> String {
        "semop".to_owned()
    }

    fn prepare(&self, setting: &Setting) -> Result<Shared, Failure> {
        semaphores(setting.channels())
    }

    fn tx<const W: usize>(
        &self,
        shared: &Shared,
        _: &Setting,
        n: usize,
    ) -> Result<Poster, Failure> {
        Ok(Poster(set(shared), Op::add(n as u16, 1)))
    }

    fn rx<const W: usize>(&self, shared: &Shared, _: &Setting, n: usize) -> Result<Taker, Failure> {
        Ok(Taker(set(shared), Op::take(n as u16, 1), Count(0)))
    }
}

/// The set that the workers share.
pub(super) fn set(shared: &Shared) -> Set {
    let id = shared.numbers.first().and_then(|&id| i32::try_from(id).ok());
    Set::from_id(id.unwrap_or(-1))
}

pub(super) struct Poster(Set, Op);

impl<const W: usize> Tx<W> for Poster {
    fn send(&mut self, numbers: Range<u64>) -> Result<(), Failure> {
        for _ in numbers {
            self.0.perform(&[self.1]).map_err(|error| Failure::broken("cannot post", error))?;
        }
        Ok(())
    }
}

pub(super) struct Taker(Set, Op, Count);

impl<const W: usize> Rx<W> for Taker {
    fn receive(&mut self, _: u64, see: impl FnMut(&Message<W>)) -> Result<u64, Failure> {
        self.0.perform(&[self.1]).map_err(|error| Failure::broken("cannot take", error))?;
        self.2.see(see)
    }
}

/// A semaphore for each receiver, in one set: one call adds to all of them.
struct SemopEach;

impl Mechanism for SemopEach {
    type Tx<const W: usize> = PosterToEach;
    type Rx<const W: usize> = Taker;
    const PUBLISHES: bool = true;

    fn name(&self) -> String {
        WAKES[0].to_owned()
    }

    fn prepare(&self, setting: &Setting) -> Result<Shared, Failure> {
        // Each receiver takes one of the ones.
        let shared = semaphores(setting.consumers)?;
        let raised = set(&shared).perform(&PosterToEach::all(setting));
        raised.map(|()| shared).map_err(|error| Failure::unusable("cannot raise them", error))
    }

    fn tx<const W: usize>(
        &self,
        shared: &Shared,
        setting: &Setting,
        _: usize,
    ) -> Result<PosterToEach, Failure> {
        Ok(PosterToEach(set(shared), PosterToEach::all(setting)))
    }

    fn rx<const W: usize>(
        &self,
        shared: &Shared,
        setting: &Setting,
        _: usize,
    ) -> Result<Taker, Failure> {
        let set = set(shared);
        let mut all = (0..setting.consumers).map(|n| Op::take(n as u16, 1));
        let own = all.find(|take| set.perform(&[take.no_wait()]).is_ok());
        let own = own.ok_or_else(|| Failure::Broken("no semaphore is left".to_owned()))?;
        Ok(Taker(set, own, Count(0)))
    }
}

/// A set of so many semaphores.
fn semaphores(count: usize) -> Result<Shared, Failure> {
    let mut shared = Shared::default();
    let set = Set::options().create(Key::PRIVATE, count);
    let set = set.map_err(|error| Failure::unusable("cannot make the set", error))?;
    shared.numbers.push(i64::from(set.id()));
    shared.objects.push(Object::Set(set.id()));
    Ok(shared)
}

struct PosterToEach(Set, Vec<Op>);

impl PosterToEach {
    fn all(setting: &Setting) -> Vec<Op> {
        (0..setting.consumers).map(|n| Op::add(n as u16, 1)).collect()
    }
}

impl<const W: usize> Tx<W> for PosterToEach {
    fn send(&mut self, numbers: Range<u64>) -> Result<(), Failure> {
        for _ in numbers {
            self.0.perform(&self.1).map_err(|error| Failure::broken("cannot post", error))?;
        }
        Ok(())
    }
}

/// Two semaphores, one of which is one: all wait until it is zero. One call makes it zero,
/// and the other one one, for the next time.
struct SemopZero;

impl Mechanism for SemopZero {
    type Tx<const W: usize> = Opener;
    type Rx<const W: usize> = Opener;
    const PUBLISHES: bool = true;

    fn name(&self) -> String {
        WAKES[1].to_owned()
    }

    fn prepare(&self, _: &Setting) -> Result<Shared, Failure> {
        let shared = semaphores(2)?;
        let raised = set(&shared).perform(&[Op::add(0, 1)]);
        raised.map(|()| shared).map_err(|error| Failure::unusable("cannot raise it", error))
    }

    fn tx<const W: usize>(
        &self,
        shared: &Shared,
        _: &Setting,
        _: usize,
    ) -> Result<Opener, Failure> {
        Ok(Opener(set(shared), Count(0)))
    }

    fn rx<const W: usize>(
        &self,
        shared: &Shared,
        _: &Setting,
        _: usize,
    ) -> Result<Opener, Failure> {
        Ok(Opener(set(shared), Count(0)))
    }
}

/// Either end; it counts how often all were woken.
struct Opener(Set, Count);

impl<const W: usize> Tx<W> for Opener {
    fn send(&mut self, numbers: Range<u64>) -> Result<(), Failure> {
        for number in numbers {
            let (one, other) = ((number % 2) as u16, ((number + 1) % 2) as u16);
            let opened = self.0.perform(&[Op::take(one, 1), Op::add(other, 1)]);
            opened.map_err(|error| Failure::broken("cannot post", error))?;
        }
        Ok(())
    }
}

impl<const W: usize> Rx<W> for Opener {
    fn receive(&mut self, _: u64, see: impl FnMut(&Message<W>)) -> Result<u64, Failure> {
        let zero = Op::zero((self.1.0 % 2) as u16);
        self.0.perform(&[zero]).map_err(|error| Failure::broken("cannot wait", error))?;
        self.1.see(see)
    }
}

/// A word for each direction, on a line of its own. It counts, and a reader that has
/// seen the count sleeps until it is another.
struct Futex;

impl Mechanism for Futex {
    type Tx<const W: usize> = FutexEnd;
    type Rx<const W: usize> = FutexEnd;

    fn name(&self) -> String {
        "futex".to_owned()
    }

    fn prepare(&self, setting: &Setting) -> Result<Shared, Failure> {
        raw::each(setting, 4096)
    }

    fn tx<const W: usize>(
        &self,
        shared: &Shared,
        _: &Setting,
        channel: usize,
    ) -> Result<FutexEnd, Failure> {
        Ok(FutexEnd { memory: raw::open(shared, channel)?, count: Count(0) })
    }

    fn rx<const W: usize>(
        &self,
        shared: &Shared,
        setting: &Setting,
        channel: usize,
    ) -> Result<FutexEnd, Failure> {
        self.tx::<W>(shared, setting, channel)
    }
}

struct FutexEnd {
    memory: Arc<tombolo::sys::shm::Attachment>,
    count: Count,
}

/// futex(2) on the low half of a word, which other processes use too.
pub(super) fn futex(
    word: &std::sync::atomic::AtomicU64,
    operation: i32,
    value: u32,
) -> Result<(), Errno> {
    // The kernel wants 32 bits, the low ones of which come first here.
    const { assert!(cfg!(target_endian = "little")) };
    let timeout = std::ptr::null::<libc::timespec>();
    let word = word.as_ptr();
    // SAFETY: the word is there and aligned; without a time-out the others
    // are numbers.
    let done = unsafe { libc::syscall(libc::SYS_futex, word, operation, value, timeout) };
    Errno::result(done).map(drop)
}

impl<const W: usize> Tx<W> for FutexEnd {
    fn send(&mut self, numbers: Range<u64>) -> Result<(), Failure> {
        for _ in numbers {
            let word = raw::word(&self.memory, 0);
            word.fetch_add(1, Release);
            futex(word, libc::FUTEX_WAKE, 1).map_err(failed)?;
        }
        Ok(())
    }
}

impl<const W: usize> Rx<W> for FutexEnd {
    fn receive(&mut self, _: u64, see: impl FnMut(&Message<W>)) -> Result<u64, Failure> {
        let word = raw::word(&self.memory, 0);
        while word.load(Acquire) == self.count.0 {
            match futex(word, libc::FUTEX_WAIT, self.count.0 as u32) {
                Ok(()) | Err(Errno::EAGAIN | Errno::EINTR) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        self.count.see(see)
    }
}

/// An eventfd(2) for each direction.
struct Event;

impl Mechanism for Event {
    type Tx<const W: usize> = EventEnd;
    type Rx<const W: usize> = EventEnd;

    fn name(&self) -> String {
        "eventfd".to_owned()
    }

    fn prepare(&self, setting: &Setting) -> Result<Shared, Failure> {
        let mut shared = Shared::default();
        for _ in 0..setting.channels() {
            let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC);
            let event = event.map_err(|error| Failure::unusable("cannot make it", error))?;
            shared.fds.push(event.into());
        }
        Ok(shared)
    }

    fn tx<const W: usize>(
        &self,
        shared: &Shared,
        _: &Setting,
        channel: usize,
    ) -> Result<EventEnd, Failure> {
        Ok(EventEnd { fd: end(shared, channel)?, count: Count(0) })
    }

    fn rx<const W: usize>(
        &self,
        shared: &Shared,
        setting: &Setting,
        channel: usize,
    ) -> Result<EventEnd, Failure> {
        self.tx::<W>(shared, setting, channel)
    }
}

struct EventEnd {
    fd: OwnedFd,
    count: Count,
}

impl<const W: usize> Tx<W> for EventEnd {
    fn send(&mut self, numbers: Range<u64>) -> Result<(), Failure> {
        for _ in numbers {
            write(&self.fd, &1_u64.to_ne_bytes()).map_err(failed)?;
        }
        Ok(())
    }
}

impl<const W: usize> Rx<W> for EventEnd {
    fn receive(&mut self, _: u64, see: impl FnMut(&Message<W>)) -> Result<u64, Failure> {
        read(&self.fd, &mut [0; 8]).map_err(failed)?;
        self.count.see(see)
    }
}
