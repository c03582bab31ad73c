//! The words of an MPMC ring, for whoever has one.

use crate::ring::mpmc::Words;
use crate::sync::AtomicU64;

pub(crate) struct Slots {
    slots: Vec<AtomicU64>,
    tail: AtomicU64,
    head: AtomicU64,
    orphans: AtomicU64,
    scanned: AtomicU64,
}

impl Slots {
    /// An empty ring that has been round `lap` times.
    pub(crate) fn from_lap(capacity: usize, lap: u64) -> Self {
        let position = lap * capacity as u64;
        Self {
            slots: (0..capacity).map(|_| AtomicU64::new(lap << 20)).collect(),
            tail: AtomicU64::new(position),
            head: AtomicU64::new(position),
            orphans: AtomicU64::new(0),
            scanned: AtomicU64::new(0),
        }
    }
}

/// A ring that has its words so.
pub(crate) trait HasSlots {
    fn slots(&self) -> &Slots;
}

impl HasSlots for Slots {
    fn slots(&self) -> &Slots {
        self
    }
}

impl<R: HasSlots> Words for R {
    fn capacity(&self) -> u64 {
        self.slots().slots.len() as u64
    }

    fn slot(&self, index: u64) -> &AtomicU64 {
        &self.slots().slots[index as usize]
    }

    fn tail(&self) -> &AtomicU64 {
        &self.slots().tail
    }

    fn head(&self) -> &AtomicU64 {
        &self.slots().head
    }

    fn orphans(&self) -> &AtomicU64 {
        &self.slots().orphans
    }

    fn scanned(&self) -> &AtomicU64 {
        &self.slots().scanned
    }
}
