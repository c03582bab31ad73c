//! Calls: a request to whichever server takes it, and its reply. Typed, or of bytes: only what
//! is beside the word of a slot differs.

mod audit;
mod inspect;
pub(crate) mod layout;
mod recover;
mod storage;
mod words;

use super::any::AnyKind;
use super::passed::Passed;
use crate::ring::calls::{self, Phase};
use crate::storage::Cells;
use crate::storage::layout::{Measures, Parts};

pub(crate) use inspect::Inspection;
pub(crate) use layout::MAX_CALLS;
pub(crate) use storage::{Sheet, Sheets, Which};
pub(crate) use words::Slots;

/// The kind of typed calls, to the segment.
pub(crate) struct OfElements;

/// The kind of calls of bytes, to the segment.
pub(crate) struct OfBytes;

fn len(cells: &Cells) -> u64 {
    Slots::of(cells).map_or(0, |slots| calls::count(&slots, Phase::Open))
}

/// While a request is written it counts too: [`AnyKind::len`] has only those that a server
/// can take.
fn in_flight(cells: &Cells) -> bool {
    let under_way = |slots: Slots| {
        [Phase::Claimed, Phase::Taken].iter().any(|&phase| calls::count(&slots, phase) > 0)
    };
    Slots::of(cells).is_some_and(under_way)
}

fn made(cells: &Cells) -> Passed {
    Passed::Calls(Inspection::of(cells).map_or(0, |found| found.made))
}

impl AnyKind for OfElements {
    fn parts(&self, of: &Measures) -> Option<Parts> {
        layout::parts_of_elements(of)
    }

    fn len(&self, cells: &Cells) -> u64 {
        len(cells)
    }

    fn passed(&self, cells: &Cells) -> Passed {
        made(cells)
    }

    fn in_flight(&self, cells: &Cells) -> bool {
        in_flight(cells)
    }
}

impl AnyKind for OfBytes {
    fn parts(&self, of: &Measures) -> Option<Parts> {
        layout::parts_of_bytes(of)
    }

    fn len(&self, cells: &Cells) -> u64 {
        len(cells)
    }

    fn passed(&self, cells: &Cells) -> Passed {
        made(cells)
    }

    fn in_flight(&self, cells: &Cells) -> bool {
        in_flight(cells)
    }
}
