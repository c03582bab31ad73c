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
        let mut looks = 0;
        loop {
            for index in (preferred..).take(TICKETS) {
                let word = &*self.words[index % TICKETS];
                // Acquire: the last one to have it has retired it.
                if word.load(Ordering::Relaxed) == 0
                    && word.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_ok()
                {
                    return Held { ticket: Ticket::nth(index), word };
                }
            }
            looks += 1;
            if looks < LOOKS { spin_loop() } else { std::thread::yield_now() }
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.word.store(0, Ordering::Release);
    }
}
