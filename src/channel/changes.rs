//! What a handle knows of its channel, and whether that is still so.
//!
//! The word `changes` of a channel grows whenever something changes for its ends: a
//! participant comes, goes or dies; the segment is paused or shut down; a handle is
//! cancelled. A handle compares the word with the value for which nothing was in its way,
//! and finds out what has changed only if they differ.

use core::cell::Cell;

use crate::ring::wait::Found;
use crate::storage::Cells;
use crate::storage::layout::Control;
use crate::sync::Ordering;
use crate::sys::proc::ForkGuard;

/// The count of everything that changes.
#[inline]
pub(super) fn count(cells: &Cells) -> u64 {
    // Acquire: whoever changed something did so before this count.
    cells.control().changes.load(Ordering::Acquire)
}

/// Whether nothing has changed since that count.
#[inline(always)]
pub(super) fn is_still(control: &Control, seen: u64) -> bool {
    // Acquire: as above.
    control.changes.load(Ordering::Acquire) == seen
}

/// Another count than any that will be read for long.
const fn unlike(count: u64) -> u64 {
    count.wrapping_sub(1)
}

/// What one handle has found out.
pub(super) struct Changes {
    guard: ForkGuard,
    /// The count when nothing was in the way of an operation; sealed by the
    /// guard, so that no count is like it in a forked child.
    open: Cell<u64>,
    /// The same, where besides the segment's light fence costs nothing.
    open_fast: Cell<u64>,
    /// The count when this handle last found out.
    looked: Cell<u64>,
    found: Cell<Found>,
    /// What the gate was then.
    pub(super) gate: Cell<u64>,
    /// Whether that was just now.
    pub(super) informed: Cell<bool>,
    /// Whether this handle has met a peer before it counted: one was there when it
    /// was opened, or had left a message.
    pub(super) met: bool,
    /// How many peers had ever joined by then.
    pub(super) joined: u64,
}

impl Changes {
    /// Of a handle that is to find out before its first operation.
    pub(super) fn new(guard: ForkGuard, cells: &Cells, met: bool, joined: u64) -> Self {
        let before = unlike(count(cells));
        Self {
            guard,
            open: Cell::new(guard.sealed(before)),
            open_fast: Cell::new(guard.sealed(before)),
            looked: Cell::new(before),
            found: Cell::new(Found::Open),
            gate: Cell::new(0),
            informed: Cell::new(false),
            met,
            joined,
        }
    }

    /// Of a clone of the handle, which has met the same peers: it knows what this one has
    /// found out. `fast`: whether the light fence costs nothing.
    pub(super) fn another(&self, fast: bool) -> Self {
        let other = Self {
            guard: self.guard,
            open: self.open.clone(),
            open_fast: self.open.clone(),
            looked: self.looked.clone(),
            found: self.found.clone(),
            gate: self.gate.clone(),
            informed: Cell::new(false),
            met: self.met,
            joined: self.joined,
        };
        other.set_open_fast(fast);
        other
    }

    #[inline]
    pub(super) fn open(&self) -> u64 {
        self.guard.unsealed(self.open.get())
    }

    #[inline(always)]
    pub(super) fn open_fast(&self) -> u64 {
        self.guard.unsealed(self.open_fast.get())
    }

    /// Nothing was in the way when the count was this, if it was `free`.
    pub(super) fn set_open(&self, count: u64, free: bool) {
        self.open.set(self.guard.sealed(if free { count } else { unlike(count) }));
    }

    pub(super) fn set_open_fast(&self, fast: bool) {
        let open = self.open();
        self.open_fast.set(self.guard.sealed(if fast { open } else { unlike(open) }));
    }

    /// The count is this, and the channel so.
    pub(super) fn found(&self, count: u64, found: Found) {
        self.looked.set(count);
        self.found.set(found);
    }

    /// The count when this handle last found out.
    pub(super) const fn looked(&self) -> u64 {
        self.looked.get()
    }

    /// What this handle last found out.
    pub(super) const fn last_found(&self) -> Found {
        self.found.get()
    }

    /// Whether the peers had gone when this handle last found out.
    pub(super) fn peers_gone(&self) -> bool {
        self.found.get() == Found::PeersGone
    }

    #[inline]
    pub(super) fn in_child(&self) -> bool {
        self.guard.in_child()
    }
}
