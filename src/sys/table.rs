//! Walks through one of the kernel's tables of objects.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use nix::errno::Errno;

use super::proc;

/// A round visits so many places even if it finds nothing.
const LEAST: u32 = 3;
/// It visits so many more for each thing that it finds, because debris is seldom
/// alone.
const MORE: u32 = 16;
/// It visits at most so many.
const MOST: u32 = 256;

/// All objects of a table whose last place is `last`. An object that is created
/// or removed during the walk may be missed.
pub(super) fn walk<S, T>(
    last: i32,
    stat: impl Fn(i32) -> Result<(i32, S), Errno>,
    make: impl Fn(i32, &S) -> T,
) -> Result<Vec<T>, Errno> {
    let mut found = Vec::new();
    for index in 0..=last {
        match stat(index) {
            Ok((id, stat)) => found.push(make(id, &stat)),
            // The place is empty.
            Err(Errno::EINVAL | Errno::EIDRM) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(found)
}

/// A number that differs between processes.
fn scattered() -> u32 {
    (proc::monotonic() as u32 ^ proc::pid()).wrapping_mul(0x9E37_79B9)
}

/// A number that this process keeps. A forked child starts without it; otherwise
/// many children of one process would all continue from the same number.
#[derive(Debug)]
struct Own {
    /// The process that set the number; 0, which no process has, if none did.
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
        // Relaxed: if two threads set it at once, either number is good.
        self.number.store(number, Ordering::Relaxed);
        self.pid.store(proc::pid(), Ordering::Relaxed);
    }
}

/// For something to be done only every [`SELDOM`](Turn::SELDOM)th time. Processes
/// start at different counts, so it holds over processes too.
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

/// Where this process is on its way around a table, of which it visits a few
/// places at a time.
#[derive(Debug)]
pub(crate) struct Round(Own);

impl Round {
    pub(crate) const fn new() -> Round {
        Round(Own::none())
    }

    /// Visits the next few places, or all. `find` says whether a place held what
    /// the caller searches for. Returns how many did.
    pub(crate) fn walk(
        &self,
        last: Option<u32>,
        all: bool,
        mut find: impl FnMut(u32) -> bool,
    ) -> usize {
        let Some(last) = last else { return 0 };
        let places = last.saturating_add(1);
        let (mut left, most) = if all { (places, places) } else { (LEAST, MOST.min(places)) };
        // Processes that make one round each begin at different places.
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
        // Only a hint where to continue.
        self.0.set(place);
        found
    }
}

/// The things that this process uses, each by a number of its own, and as often as
/// the process uses it. There is no lock, because a forked child might find it
/// locked for ever.
#[derive(Debug)]
pub(crate) struct InUse {
    /// Numbers plus one; 0 is an empty entry.
    numbers: [AtomicUsize; InUse::MOST],
    /// Whether there were ever more uses than entries.
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
        // SeqCst: one thread may ask while another begins to use.
        let swap = |used: &AtomicUsize| {
            used.load(Ordering::Relaxed) == from
                && used.compare_exchange(from, to, Ordering::SeqCst, Ordering::Relaxed).is_ok()
        };
        self.numbers.iter().any(swap)
    }

    /// Notes a use that is about to begin. It lasts until the returned value is
    /// dropped.
    pub(crate) fn enter(&'static self, number: u64) -> Using {
        let number = (number as usize).wrapping_add(1);
        if !self.swap(0, number) {
            self.full.store(true, Ordering::SeqCst);
        }
        Using { all: self, number }
    }

    /// Whether this process uses it. The answer is yes if that is not known.
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
    /// The number plus one.
    number: usize,
}

impl Drop for Using {
    fn drop(&mut self) {
        self.all.swap(self.number, 0);
    }
}
