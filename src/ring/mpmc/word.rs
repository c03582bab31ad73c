//! A slot's word: which lap the slot is in, what is happening to it, and who
//! owns it.

const OWNER_BITS: u32 = 13;
const STATE_SHIFT: u32 = OWNER_BITS;
const STATE_BITS: u32 = 3;
const ATTEMPTS_SHIFT: u32 = STATE_SHIFT + STATE_BITS;
const ATTEMPTS_BITS: u32 = 4;
const LAP_SHIFT: u32 = ATTEMPTS_SHIFT + ATTEMPTS_BITS;
const LAP_BITS: u32 = u64::BITS - LAP_SHIFT;
const LAP_MASK: u64 = (1 << LAP_BITS) - 1;

/// Owners are below this.
pub(crate) const MAX_OWNERS: u16 = 1 << OWNER_BITS;
/// How many attempts a word can count.
pub(crate) const MAX_ATTEMPTS: u8 = (1 << ATTEMPTS_BITS) - 1;

/// What is happening to a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SlotState {
    Free = 0,
    Writing = 1,
    Full = 2,
    Reading = 3,
    Orphan = 4,
}

/// A slot's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlotWord(pub(crate) u64);

impl SlotWord {
    #[inline]
    pub(super) const fn new(lap: u64, attempts: u8, state: SlotState, owner: u16) -> Self {
        Self(
            (lap & LAP_MASK) << LAP_SHIFT
                | (attempts as u64) << ATTEMPTS_SHIFT
                | (state as u64) << STATE_SHIFT
                | owner as u64,
        )
    }

    #[inline]
    pub(crate) const fn lap(self) -> u64 {
        self.0 >> LAP_SHIFT
    }

    /// How many laps this word is after `lap`; negative if it is before.
    #[inline]
    pub(crate) const fn laps_after(self, lap: u64) -> i64 {
        (self.lap().wrapping_sub(lap) << LAP_SHIFT).cast_signed() >> LAP_SHIFT
    }

    #[inline]
    pub(crate) const fn attempts(self) -> u8 {
        (self.0 >> ATTEMPTS_SHIFT) as u8 & MAX_ATTEMPTS
    }

    /// `None` for a state that this algorithm never writes.
    #[inline]
    pub(crate) const fn state(self) -> Option<SlotState> {
        match self.0 >> STATE_SHIFT & ((1 << STATE_BITS) - 1) {
            0 => Some(SlotState::Free),
            1 => Some(SlotState::Writing),
            2 => Some(SlotState::Full),
            3 => Some(SlotState::Reading),
            4 => Some(SlotState::Orphan),
            _ => None,
        }
    }

    #[inline]
    pub(crate) const fn owner(self) -> u16 {
        self.0 as u16 & (MAX_OWNERS - 1)
    }
}
