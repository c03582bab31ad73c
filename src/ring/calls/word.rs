//! The word of a call slot: `turn:30 | again:4 | asleep:1 | phase:3 | server:13 | client:13`.
//!
//! Zero is FREE of turn 0. Every word can be read: what a hostile peer may write differs from
//! what is expected, and is not illegal in itself.

use super::super::mpmc::MAX_OWNERS;
use crate::sync::{AtomicU64, Ordering};

const OWNER_BITS: u32 = MAX_OWNERS.trailing_zeros();
const SERVER_SHIFT: u32 = OWNER_BITS;
const PHASE_SHIFT: u32 = SERVER_SHIFT + OWNER_BITS;
const PHASE_BITS: u32 = 3;
const ASLEEP_SHIFT: u32 = PHASE_SHIFT + PHASE_BITS;
const AGAIN_SHIFT: u32 = ASLEEP_SHIFT + 1;
const AGAIN_BITS: u32 = 4;
const TURN_SHIFT: u32 = AGAIN_SHIFT + AGAIN_BITS;
const TURN_MASK: u64 = TURNS - 1;

/// A slot counts its calls modulo this.
pub(crate) const TURNS: u64 = 1 << (u64::BITS - TURN_SHIFT);

/// A call can be repeated so often.
pub(crate) const MAX_AGAIN: u8 = (1 << AGAIN_BITS) - 1;

/// What is happening to a call slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nobody has it.
    Free = 0,
    /// A client writes its request.
    Claimed = 1,
    /// The request waits for a server.
    Open = 2,
    /// A server has it.
    Taken = 3,
    /// The answer waits for the client.
    Answered = 4,
    /// The server has died over it.
    Failed = 5,
    /// The server has let it go without an answer.
    Refused = 6,
    /// The client has gone, and the server has not let go yet.
    Abandoned = 7,
}

impl Phase {
    const ALL: [Self; 1 << PHASE_BITS] = [
        Self::Free,
        Self::Claimed,
        Self::Open,
        Self::Taken,
        Self::Answered,
        Self::Failed,
        Self::Refused,
        Self::Abandoned,
    ];

    /// Whether the call has ended, and its client has to take note of that.
    pub(super) const fn is_over(self) -> bool {
        matches!(self, Self::Answered | Self::Failed | Self::Refused)
    }
}

/// A call slot's word, unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CallWord {
    /// How many calls this slot has had, modulo 2^30.
    pub(crate) turn: u64,
    /// How many servers may still die over this call before it fails.
    pub(crate) again: u8,
    /// Whether the client sleeps, or is about to.
    pub(crate) asleep: bool,
    pub(crate) phase: Phase,
    /// The participant that serves the call, or was the last one to; 0 where there is none.
    pub(crate) server: u16,
    /// The participant that calls; 0 where there is none any more.
    pub(crate) client: u16,
}

impl CallWord {
    pub(crate) const fn word(self) -> u64 {
        (self.turn & TURN_MASK) << TURN_SHIFT
            | (self.again as u64) << AGAIN_SHIFT
            | (self.asleep as u64) << ASLEEP_SHIFT
            | (self.phase as u64) << PHASE_SHIFT
            | (self.server as u64) << SERVER_SHIFT
            | self.client as u64
    }

    pub(crate) const fn read(word: u64) -> Self {
        Self {
            turn: word >> TURN_SHIFT,
            again: (word >> AGAIN_SHIFT) as u8 & MAX_AGAIN,
            asleep: word >> ASLEEP_SHIFT & 1 != 0,
            phase: Phase::ALL[(word >> PHASE_SHIFT) as usize % Phase::ALL.len()],
            server: (word >> SERVER_SHIFT) as u16 & (MAX_OWNERS - 1),
            client: word as u16 & (MAX_OWNERS - 1),
        }
    }

    /// FREE of a turn.
    const fn free(turn: u64) -> Self {
        Self { turn, again: 0, asleep: false, phase: Phase::Free, server: 0, client: 0 }
    }

    /// The slot's word after this call.
    pub(super) const fn freed(self) -> Self {
        Self::free(self.turn.wrapping_add(1) & TURN_MASK)
    }

    /// The word of a call that its client no longer waits for, and that a server still has.
    pub(super) const fn abandoned(self) -> Self {
        Self { phase: Phase::Abandoned, server: self.server, ..Self::free(self.turn) }
    }

    /// The word of a call that waits for a server once more.
    pub(super) const fn reopened(self, again: u8) -> Self {
        Self { phase: Phase::Open, server: 0, again, ..self }
    }

    /// The word of a call that has ended. Whether the client slept is known to whoever ends it.
    pub(super) const fn over(self, phase: Phase) -> Self {
        Self { phase, asleep: false, ..self }
    }
}

/// Reads a call slot's word.
#[inline]
pub(super) fn load(word: &AtomicU64) -> CallWord {
    // Edges Q, A, F and C.
    CallWord::read(word.load(Ordering::Acquire))
}

/// Changes a call slot's word if it is `from`. All changes are made here, by a swap and never
/// by a store: a participant that others have taken for dead changes nothing any more.
#[inline]
pub(super) fn swap(word: &AtomicU64, from: CallWord, to: CallWord) -> bool {
    // Edges Q, A, F and C.
    word.compare_exchange(from.word(), to.word(), Ordering::AcqRel, Ordering::Relaxed).is_ok()
}
