//! Which semaphore of the set does which job.
//!
//! ```text
//! 0          LEASE       1 while somebody builds, joins or leaves (undo)
//! 1          BUILT       1 from just before the magic is stored
//! 2..6       GENERATION  four digits, each 1 + 14 bits
//! 6          CHECK       1 + 14 bits mixed from the generation
//! 7          WAKE_ALL    counts what happens to participants
//! 8..8+P     LIVENESS    1 while participant i lives (undo)
//! then 2 × C             items and space of each channel: 0 or 1 token, or a bell
//! then P, or 0           OWN: a bell that wakes participant i alone
//! then 0..15             reserved, so that the count is 13 modulo 16
//! ```
//!
//! Everything is in one set because the kernel applies a dying process's
//! undo to a set at one instant: whoever is woken by a death also sees it.

use super::kernel::Op;

const GENERATION: u16 = 2;
const DIGITS: u16 = 4;
const DIGIT_BITS: u32 = 14;
const CHECK: u16 = GENERATION + DIGITS;
const LIVENESS: u16 = SetMap::WAKE_ALL + 1;
const RESIDUE: u16 = 13;

/// The map of one set: its shape follows from two numbers, and from whether each
/// participant has a bell of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SetMap {
    pub(crate) participants: u16,
    pub(crate) channels: u16,
    /// Where semaphores are few, a set is made without.
    pub(crate) own_bells: bool,
}

impl SetMap {
    pub(crate) const LEASE: u16 = 0;
    pub(crate) const BUILT: u16 = 1;
    pub(crate) const WAKE_ALL: u16 = CHECK + 1;
    /// Bits of a generation.
    pub(crate) const GENERATION_BITS: u32 = DIGITS as u32 * DIGIT_BITS;

    pub(crate) const fn liveness(self, participant: u16) -> u16 {
        LIVENESS + participant
    }

    pub(crate) const fn items(self, channel: u16) -> u16 {
        LIVENESS + self.participants + 2 * channel
    }

    pub(crate) const fn space(self, channel: u16) -> u16 {
        self.items(channel) + 1
    }

    /// The [`bell`](super::bell) that wakes this participant and nobody else, if the set
    /// has such. Its value may be anything when a life begins, and is wound back by the
    /// participant when it listens. Nobody holds a credit on it: a death strikes
    /// [`WAKE_ALL`](Self::WAKE_ALL), which everybody compares who sleeps over this.
    pub(crate) const fn own_bell(self, participant: u16) -> Option<u16> {
        if self.own_bells && participant < self.participants {
            Some(self.items(self.channels) + participant)
        } else {
            None
        }
    }

    /// How many semaphores have a use.
    pub(crate) const fn used(self) -> u16 {
        let own = if self.own_bells { self.participants } else { 0 };
        self.items(self.channels) + own
    }

    /// How many semaphores the set has.
    pub(crate) const fn count(self) -> u16 {
        let used = self.used();
        used + (16 + RESIDUE - used % 16) % 16
    }

    /// Whether a set of `count` semaphores could be one of ours.
    pub(crate) const fn plausible(count: usize) -> bool {
        count % 16 == RESIDUE as usize
    }

    /// Whether these values are of a set of ours: one that is branded, or one
    /// that nothing but the lease was ever done to.
    pub(crate) fn ours(values: &[u16]) -> bool {
        let untouched = |(sem, &value): (usize, &u16)| {
            value == 0 || sem == usize::from(Self::LEASE) && value == 1
        };
        Self::plausible(values.len())
            && (Self::generation(values).is_some() || values.iter().enumerate().all(untouched))
    }

    /// The one call that marks a set as built and gives it its generation.
    pub(crate) fn brand(generation: u64) -> [Op; DIGITS as usize + 2] {
        core::array::from_fn(|i| {
            let i = i as u16;
            match i {
                0..DIGITS => Op::add(GENERATION + i, digit(generation, i)),
                DIGITS => Op::add(CHECK, check(generation)),
                _ => Op::add(Self::BUILT, 1),
            }
        })
    }

    /// The generation that a set's values spell, if it was built by us.
    pub(crate) fn generation(values: &[u16]) -> Option<u64> {
        if *values.get(usize::from(Self::BUILT))? != 1 {
            return None;
        }
        let mut generation = 0;
        for i in 0..DIGITS {
            let value = u64::from(*values.get(usize::from(GENERATION + i))?);
            let digit = value.checked_sub(1).filter(|d| d >> DIGIT_BITS == 0)?;
            generation |= digit << (u32::from(i) * DIGIT_BITS);
        }
        let expected = u16::try_from(check(generation)).ok()?;
        (*values.get(usize::from(CHECK))? == expected).then_some(generation)
    }
}

const fn digit(generation: u64, i: u16) -> i16 {
    1 + (generation >> (i as u32 * DIGIT_BITS) & ((1 << DIGIT_BITS) - 1)) as i16
}

/// Tells a set of ours from one whose values happen to look like digits.
const fn check(generation: u64) -> i16 {
    let mixed = generation.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - DIGIT_BITS);
    1 + mixed as i16
}
