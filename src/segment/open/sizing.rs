//! How large a segment becomes: what was asked for, and what the limits allow.

use super::options::{Amount, Options, Room};
use crate::error::OpenError;
use crate::kinds::table::RingKind;
use crate::ring::mpmc::MAX_OWNERS;
use crate::ring::set::SetMap;
use crate::storage::layout::{MAX_CHANNELS, Measures, PAGE, Plan, SIGNATURE, Seats, shape_allowed};
use crate::sys::limits;

/// Fewer participants than this are useless to a caller that did not ask for a number.
const FEWEST: u16 = 8;
/// Fewer bytes than this are useless too.
const SMALLEST: usize = 64 << 10;

impl Options {
    const fn map(&self, participants: u16) -> SetMap {
        SetMap { participants, channels: self.channels, own_bells: self.own_bells }
    }

    pub(crate) const fn plan(&self) -> Plan {
        let participants = self.participants.wanted();
        Plan::new(self.map(participants))
    }

    /// Reduces what need not be exact to what the limits allow. If that is too little to
    /// be useful, asks for more, which the kernel refuses.
    pub(crate) fn settled(&self) -> Self {
        let mut options = self.clone();
        if let Ok(limit) = limits::sem() {
            let fits = |map: SetMap| u64::from(map.count()) <= limit.per_set.min(limit.system_wide);
            if let Amount::UpTo(most) = self.participants {
                let most = most.min(MAX_OWNERS);
                // Bells of their own are less than participants.
                let fits = |few: &u16| fits(SetMap { own_bells: false, ..self.map(*few) });
                let fewest = FEWEST.min(most);
                if shape_allowed(most, self.channels) {
                    let fitting = (fewest..=most).rev().find(fits).unwrap_or(fewest);
                    options.participants = Amount::UpTo(fitting);
                }
            }
            let participants = options.participants.wanted();
            if shape_allowed(participants, self.channels) {
                options.own_bells = fits(self.map(participants));
            }
        }
        if let Amount::UpTo(most) = self.size
            && let Ok(limit) = limits::shm()
        {
            // The limit on all segments together is not a limit on one.
            let total = (limit.max_pages_total / 4).saturating_mul(limits::page_size());
            let total = usize::try_from(limit.max_size.min(total)).unwrap_or(usize::MAX);
            let around = options.plan().heap + SIGNATURE;
            let fitting = total.saturating_sub(around) / PAGE * PAGE;
            options.size = Amount::UpTo(most.min(fitting.max(SMALLEST)));
        }
        options
    }

    /// Bytes for the blocks of all channels, or the one that is out of range.
    fn heap(&self) -> Result<usize, Room> {
        self.rooms.iter().try_fold(self.size.wanted(), |sum, room| {
            let participants = self.participants.wanted();
            let length = |kind: RingKind| {
                let Room { capacity: messages, size, align, reply, .. } = *room;
                let broadcast = room.kind.is_broadcast();
                let seats = if broadcast { Seats::USUAL } else { Seats::default() };
                let of = Measures { messages, size, align, seats, reply };
                Some(kind.plan(&of, participants)?.length)
            };
            // Of whichever kind it will be.
            let longest = room
                .kind
                .like()
                .try_fold(0, |longest: usize, kind| Some(longest.max(length(kind)?)));
            longest.and_then(|longest| sum.checked_add(longest)).ok_or(*room)
        })
    }

    /// The segment's size, once every option is in its range.
    pub(crate) fn total(&self, name: &str) -> Result<usize, OpenError> {
        let bad = |what: String| OpenError::BadOption { name: name.to_owned(), what };
        let participants = self.participants.wanted();
        if !shape_allowed(participants, self.channels) {
            return Err(bad(format!(
                "{participants} participants and {} channels; from 1 to {MAX_OWNERS} and from 1 to \
                 {MAX_CHANNELS} are possible",
                self.channels
            )));
        }
        let heap = self.heap().map_err(|Room { capacity, size, .. }| {
            bad(format!("there can be no room for {capacity} messages of {size} bytes"))
        })?;
        self.plan()
            .size(heap)
            .ok_or_else(|| bad(format!("{heap} bytes are more than can be addressed")))
    }
}
