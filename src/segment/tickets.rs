//! The tickets of this process's joint sends that are under way.

use crossbeam_utils::CachePadded;

use crate::ring::joint::{TICKETS, Ticket};
use crate::sync::{AtomicU64, Ordering, spin_loop};

/// So many times a thread looks for a ticket before it lets others run.
const LOOKS: u32 = 16;

/// A word for each ticket, which is not 0 while a thread has it; and how many handles there
/// have been.
#[derive(Debug, Default)]
pub(crate) struct Tickets {
    words: [CachePadded<AtomicU64>; TICKETS],
    handles: AtomicU64,
}

/// A ticket, until it is dropped.
pub(crate) struct Held<'a> {
    pub(crate) ticket: Ticket,
    word: &'a AtomicU64,
}

impl Tickets {
    /// Which ticket a new handle prefers: threads have one each, as long as there are enough.
    pub(crate) fn preferred(&self) -> usize {
        self.handles.fetch_add(1, Ordering::Relaxed) as usize % TICKETS
    }

    /// Takes a ticket, the `preferred` one if it is free. If other threads have them all, waits
    /// until one of them has published what it has claimed.
    pub(crate) fn take(&self, preferred: usize) -> Held<'_> {
        patiently(|| (preferred..).take(TICKETS).find_map(|index| self.try_take(index)))
    }

    /// Takes all of them: as long as this thread has them, nothing of this process is committed.
    /// Two threads that do so at the same time would wait for each other.
    pub(crate) fn take_all(&self) -> [Held<'_>; TICKETS] {
        core::array::from_fn(|index| patiently(|| self.try_take(index)))
    }

    fn try_take(&self, index: usize) -> Option<Held<'_>> {
        let word = &*self.words[index % TICKETS];
        // Acquire: the last one to have it has retired it.
        let taken = word.load(Ordering::Relaxed) == 0
            && word.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_ok();
        taken.then(|| Held { ticket: Ticket::nth(index), word })
    }
}

/// Tries until it is done, which takes others as long as it takes to copy their messages.
fn patiently<R>(mut attempt: impl FnMut() -> Option<R>) -> R {
    let mut looks = 0;
    loop {
        if let Some(done) = attempt() {
            return done;
        }
        looks += 1;
        if looks < LOOKS { spin_loop() } else { std::thread::yield_now() }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.word.store(0, Ordering::Release);
    }
}
