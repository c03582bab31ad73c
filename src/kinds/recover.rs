//! What a participant that died held in a channel of any kind.

use crate::ring::mpmc::{Dead, Recovered};
use crate::ring::recovery::{Finished, Recovery};
use crate::ring::table::Member;
use crate::storage::Cells;

/// A participant that died, in one channel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Victim {
    pub(crate) member: Member,
    /// How often a message of the channel may be taken again.
    pub(crate) attempts: u8,
    /// Which of its joint sends it had committed.
    pub(crate) committed: u64,
}

impl Victim {
    /// As an MPMC ring needs to know it.
    pub(super) const fn of_slots(self) -> Dead {
        Dead { owner: self.member.id, attempts: self.attempts, committed: self.committed }
    }
}

/// What it held, and what becomes of that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) messages: Recovered,
    /// Message blocks that no slot names.
    pub(crate) blocks: u64,
}

/// The walk over what a participant that died held. The journal uses it to tell
/// what that was, and the sweep to repair it: the [`Recovery`] says which.
pub(crate) trait Recover {
    fn recover(
        &self,
        cells: &Cells,
        victim: Victim,
        recovery: &dyn Recovery,
    ) -> Result<Held, Finished>;
}
