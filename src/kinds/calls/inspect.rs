//! Which calls are under way, and whose they are, for people.

use super::words::Slots;
use crate::ring::calls::{Phase, TURNS, views};
use crate::storage::Cells;

/// The calls of a service, a moment ago.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Inspection {
    /// How many have slots: in any phase but FREE.
    pub(crate) under_way: u64,
    /// How many wait for a server.
    pub(crate) open: u64,
    /// Whose hands the others are in, a participant's number for each, also of those whose
    /// clients have gone.
    pub(crate) in_hand: Vec<u16>,
    /// How many calls have ever been made, modulo 2^30.
    pub(crate) made: u64,
    /// How many of them have no client any more.
    pub(crate) abandoned: u64,
}

impl Inspection {
    /// `None` of another kind of channel.
    pub(crate) fn of(cells: &Cells) -> Option<Self> {
        let slots = Slots::of(cells)?;
        let mut found = Self::default();
        for word in views(&slots) {
            let ever_open = !matches!(word.phase, Phase::Free | Phase::Claimed);
            found.made = (found.made + word.turn + u64::from(ever_open)) % TURNS;
            if word.phase == Phase::Free {
                continue;
            }
            found.under_way += 1;
            match word.phase {
                Phase::Open => found.open += 1,
                Phase::Taken => found.in_hand.push(word.server),
                Phase::Abandoned => {
                    found.in_hand.push(word.server);
                    found.abandoned += 1;
                }
                _ => {}
            }
        }
        Some(found)
    }
}
