//! Where the words of an SPSC ring are.

use crate::ring::{in_flight, joint, spsc};
use crate::storage::{Cells, View};
use crate::sync::AtomicU64;

/// A view of a ring with one consumer, who keeps an account of what it holds.
pub(crate) trait Positions: View {
    /// Whether the consumer holds one message at a time, of however many cells.
    const ONE_BY_ONE: bool = false;
}

impl Positions for Cells {}

impl<V: View> spsc::Indices for V {
    #[inline]
    fn capacity(&self) -> u64 {
        self.cells().capacity()
    }

    #[inline]
    fn head(&self) -> &AtomicU64 {
        &self.cells().control().receiving.head
    }

    #[inline]
    fn tail(&self) -> &AtomicU64 {
        &self.cells().control().sending.tail
    }
}

impl<V: View> joint::Pledges for V {
    #[inline]
    fn pledge(&self) -> &AtomicU64 {
        &self.cells().control().sending.pledge
    }
}

impl<V: Positions> in_flight::InFlight for V {
    #[inline]
    fn marks(&self) -> usize {
        in_flight::IN_FLIGHT
    }

    #[inline]
    fn mark(&self, n: usize) -> &AtomicU64 {
        let [first, ..] = &self.cells().control().receiving.in_flight;
        self.cells().control().receiving.in_flight.get(n).unwrap_or(first)
    }

    #[inline]
    fn taker(&self) -> &AtomicU64 {
        &self.cells().control().receiving.taker
    }

    fn messages(&self, cells: u64) -> u64 {
        if V::ONE_BY_ONE { 1 } else { cells }
    }
}
