//! Walks through one of the kernel's tables of objects.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use nix::errno::Errno;

use super::proc;

/// So many places are looked at for nothing.
const LOOKS: u32 = 3;
/// So many more for each thing that was found: they are seldom alone.
const MORE: u32 = 16;
/// And so many at most.
const MOST: u32 = 256;

/// What there is in a table with this last place. Objects that come and go
/// meanwhile may be missed.
pub(super) fn walk<S, T>(
    last: i32,
    stat: impl Fn(i32) -> Result<(i32, S), Errno>,
    make: impl Fn(i32, &S) -> T,
) -> Result<Vec<T>, Errno> {
    let mut found = Vec::new();
    for index in 0..=last {
        match stat(index) {
            Ok((id, stat)) => found.push(make(id, &stat)),
            // Nothing there.
            Err(Errno::EINVAL | Errno::EIDRM) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(found)
}

/// Another number in each process.
fn scattered() -> u32 {
    (proc::monotonic() as u32 ^ proc::pid()).wrapping_mul(0x9E37_79B9)
}

/// A number of this process's. To a forked child it is as if there were none: many
/// children of one process would all go on from the same one.
#[derive(Debug)]
struct Own {
    /// 0, which no process has, for none.
    pid: AtomicU32,
    number: AtomicU32,
}

impl Own {
    const fn none() -> Own {
        Own { pid: AtomicU32::new(0), number: AtomicU32::new(0) }
    }

    fn get(&self) -> Option<u32> {
        let own = self.pid.load(Ordering::Relaxed) == proc::pid();
        own.then(|| self.number.load(Ordering::Relaxed))
    }

    fn set(&self, number: u32) {
        // Relaxed: whichever of two threads' numbers there is, either will do.
        self.number.store(number, Ordering::Relaxed);
        self.pid.store(proc::pid(), Ordering::Relaxed);
    }
}

/// Whether it is the turn of something that is done now and then: each
/// [`SELDOM`](Turn::SELDOM)th time, counted over processes as well.
#[derive(Debug)]
pub(crate) struct Turn(Own);

impl Turn {
    const SELDOM: u32 = 8;

    pub(crate) const fn new() -> Turn {
        Turn(Own::none())
    }

    pub(crate) fn has_come(&self) -> bool {
        let turn = self.0.get().unwrap_or_else(scattered);
        self.0.set(turn.wrapping_add(1));
        turn.is_multiple_of(Turn::SELDOM)
    }
}

/// Where this process is on its way around a table, a few places at a time.
#[derive(Debug)]
pub(crate) struct Round(Own);

impl Round {
    pub(crate) const fn new() -> Round {
        Round(Own::none())
    }

    /// Goes on, past a few places, or all; `find` says whether there was what is
    /// looked for. How often there was.
    pub(crate) fn walk(
        &self,
        last: Option<u32>,
        all: bool,
        mut find: impl FnMut(u32) -> bool,
    ) -> usize {
        let Some(last) = last else { return 0 };
        let places = last.saturating_add(1);
        let (mut left, most) = if all { (places, places) } else { (LOOKS, MOST.min(places)) };
        // Processes that come by once each begin at different places.
        let mut place = self.0.get().unwrap_or_else(|| scattered() % places);
        let (mut looked, mut found) = (0, 0);
        while left > 0 && looked < most {
            place = if place >= last { 0 } else { place + 1 };
            if find(place) {
                found += 1;
                left = left.saturating_add(MORE);
            }
            left -= 1;
            looked += 1;
        }
        // Where to go on is a suggestion.
        self.0.set(place);
        found
    }
}

/// What this process uses, by numbers that no two things have; each as often as it
/// does. Without a lock, which a forked child might find taken for good.
#[derive(Debug)]
pub(crate) struct InUse {
    /// Numbers plus one, and 0.
    numbers: [AtomicUsize; InUse::MOST],
    /// Whether there have been more.
    full: AtomicBool,
}

impl InUse {
    const MOST: usize = 256;

    pub(crate) const fn new() -> InUse {
        InUse {
            numbers: [const { AtomicUsize::new(0) }; InUse::MOST],
            full: AtomicBool::new(false),
        }
    }

    fn swap(&self, from: usize, to: usize) -> bool {
        // SeqCst: who looks and who uses may be two threads.
        let swap = |used: &AtomicUsize| {
            used.load(Ordering::Relaxed) == from
                && used.compare_exchange(from, to, Ordering::SeqCst, Ordering::Relaxed).is_ok()
        };
        self.numbers.iter().any(swap)
    }

    /// Notes a use that is about to begin, until what is returned is dropped.
    pub(crate) fn enter(&'static self, number: u64) -> Using {
        let number = (number as usize).wrapping_add(1);
        if !self.swap(0, number) {
            self.full.store(true, Ordering::SeqCst);
        }
        Using { all: self, number }
    }

    /// Whether this process uses it; it is said to where that is not known.
    pub(crate) fn contains(&self, number: u64) -> bool {
        let number = (number as usize).wrapping_add(1);
        self.full.load(Ordering::SeqCst)
            || self.numbers.iter().any(|used| used.load(Ordering::SeqCst) == number)
    }
}

/// One use by this process.
#[derive(Debug)]
pub(crate) struct Using {
    all: &'static InUse,
    /// Plus one.
    number: usize,
}

impl Drop for Using {
    fn drop(&mut self) {
        self.all.swap(self.number, 0);
    }
}
