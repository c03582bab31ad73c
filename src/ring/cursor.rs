//! A position in a ring, with its lap and its index, so that a step needs no division.

/// A handle's position in one direction: a lower bound, private to the handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub(super) position: u64,
    pub(super) lap: u64,
    pub(super) index: u64,
}

impl Cursor {
    pub(crate) const fn at(position: u64, capacity: u64) -> Self {
        Self { position, lap: position / capacity, index: position % capacity }
    }

    #[inline(always)]
    pub(crate) const fn position(self) -> u64 {
        self.position
    }

    #[inline(always)]
    pub(super) const fn next(self, capacity: u64) -> Self {
        let position = self.position.wrapping_add(1);
        if self.index + 1 == capacity {
            Self { position, lap: self.lap.wrapping_add(1), index: 0 }
        } else {
            Self { position, lap: self.lap, index: self.index + 1 }
        }
    }

    /// The same index, some laps further on or back.
    pub(super) const fn turned(self, laps: i64, capacity: u64) -> Self {
        Self {
            position: self.position.wrapping_add_signed(laps.wrapping_mul(capacity as i64)),
            lap: self.lap.wrapping_add_signed(laps),
            index: self.index,
        }
    }
}
