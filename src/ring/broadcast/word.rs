//! Sizes, and the word of a slot and of a publisher's entry:
//! `turn : 63 − b | gap : 1 | buffer : b`, where b bits can number all buffers.
//!
//! A slot's word has *gap* if its buffer has no message, but says how many are missing there. An
//! entry's word never has it.
//!
//! The turn of a slot is the number of laps that have published there: position p is there
//! if the turn is p / slots + 1. The turn of a publisher's entry is the number of messages
//! that this entry has published; the larger the ring, the sooner it wraps. Turns are compared as
//! signed differences.
//!
//! The buffer is named relative to its place: field f in place i means buffer
//! (f + i) mod buffers. Slot i is place i, publisher's entry n is place `slots + n`. So a
//! ring of zeros has each buffer in one place.

/// The step of the limit is at least this, or the reach if that is less.
const LEAST_STEP: u64 = 8;
/// Otherwise it is this part of the reach.
const STEPS: u64 = 8;

/// The sizes of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// A publisher is at most so many messages ahead of a reliable subscriber, and at least
    /// so many are retained.
    pub(crate) reach: u64,
    /// By so many positions the limit is raised at once.
    pub(crate) step: u64,
    pub(crate) slots: u64,
    pub(crate) publishers: u64,
    pub(crate) reliable: u64,
    /// Of the buffer and of *gap*.
    bits: u32,
    /// What one turn adds to a word.
    one_turn: u64,
}

impl Shape {
    /// A ring that retains `reach` messages. The first two are at least 1, and all three are
    /// at most 2^30.
    pub(crate) const fn new(reach: u64, publishers: u64, reliable: u64) -> Self {
        let least = if reach < LEAST_STEP { reach } else { LEAST_STEP };
        let step = if reach / STEPS > least { reach / STEPS } else { least };
        Self::exact(reach, step, reach + 2 * step, publishers, reliable)
    }

    /// The same with a step, at least 1, and a number of slots of one's own, for models that
    /// are smaller than a ring may be.
    pub(crate) const fn exact(
        reach: u64,
        step: u64,
        slots: u64,
        publishers: u64,
        reliable: u64,
    ) -> Self {
        let bits = 1 + u64::BITS - (slots + publishers - 1).leading_zeros();
        Self { reach, step, slots, publishers, reliable, bits, one_turn: 1 << bits }
    }

    #[inline(always)]
    pub(crate) const fn buffers(self) -> u64 {
        self.slots + self.publishers
    }

    /// The place of a publisher's entry.
    #[inline(always)]
    pub(super) const fn entry(self, n: u64) -> u64 {
        self.slots + n
    }

    /// The bit *gap*.
    #[inline(always)]
    const fn gap(self) -> u64 {
        self.one_turn >> 1
    }

    /// The same word of a slot, of a buffer that says how many messages are missing.
    #[inline(always)]
    pub(super) const fn with_gap(self, word: u64) -> u64 {
        word | self.gap()
    }

    /// The same word without *gap*.
    #[inline(always)]
    pub(super) const fn without_gap(self, word: u64) -> u64 {
        word & !self.gap()
    }

    #[inline(always)]
    pub(super) const fn has_gap(self, word: u64) -> bool {
        word & self.gap() != 0
    }

    /// The word of a place whose buffer is `buffer`.
    #[inline(always)]
    pub(super) const fn word(self, place: u64, turn: u64, buffer: u64) -> u64 {
        let field = if buffer >= place { buffer - place } else { buffer + self.buffers() - place };
        turn.wrapping_mul(self.one_turn) | field
    }

    /// The buffer that a place's word names, if the word has this turn. One multiplication takes
    /// the place of three shifts by a number that is not constant, which are slow.
    #[inline(always)]
    pub(super) const fn buffer_in(self, place: u64, word: u64, turn: u64) -> Option<u64> {
        let rest = word.wrapping_sub(turn.wrapping_mul(self.one_turn));
        if rest < self.one_turn {
            Some(self.within((rest & (self.gap() - 1)) + place))
        } else {
            None
        }
    }

    /// The same, if the word does not have *gap* either.
    #[inline(always)]
    pub(super) const fn message_in(self, place: u64, word: u64, turn: u64) -> Option<u64> {
        let rest = word.wrapping_sub(turn.wrapping_mul(self.one_turn));
        if rest < self.gap() { Some(self.within(rest + place)) } else { None }
    }

    /// The buffer that a place's word names. Whatever the word is, it is one of the ring's.
    #[inline(always)]
    pub(crate) const fn buffer(self, place: u64, word: u64) -> u64 {
        self.within((word & (self.gap() - 1)) + place)
    }

    /// Takes a number for a buffer.
    #[inline(always)]
    pub(super) const fn within(self, number: u64) -> u64 {
        let buffers = self.buffers();
        if number < buffers {
            number
        } else if number - buffers < buffers {
            number - buffers
        } else {
            number % buffers
        }
    }

    /// A quarter of all turns.
    pub(super) const fn quarter(self) -> i64 {
        1 << (u64::BITS - 2 - self.bits)
    }

    #[inline(always)]
    pub(super) const fn turn(self, word: u64) -> u64 {
        word >> self.bits
    }

    /// How many turns a word is after `turn`; negative if it is before.
    #[inline(always)]
    pub(super) const fn turns_after(self, word: u64, turn: u64) -> i64 {
        (self.turn(word).wrapping_sub(turn) << self.bits).cast_signed() >> self.bits
    }
}
