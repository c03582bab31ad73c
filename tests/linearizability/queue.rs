//! The specification: what a queue is, and which answers it may give.
//!
//! A call is not one event but a few, each at one instant between the call
//! and its return:
//!
//! | call | events |
//! |---|---|
//! | send | a place is *claimed*; its message is *published* |
//! | receive | the next message is *taken*; its place is *released* |
//! | grant, delivery | the same, each half in a call of its own; or the place is given up, or the message given back |
//! | batch | those of its messages, one after the other |
//!
//! In an SPSC queue a send is its publication alone, and a receive its
//! release: what is being written or read changes nothing for the other side.
//!
//! The places are claimed in turn, round and round, and one can be claimed
//! when it is free; they are taken in that order, those passed over that were
//! given up. Messages given back, or whose reader was killed, come before
//! all others, in any order.
//!
//! **Full** may be said at an instant at which the next place is not free: it
//! holds a message, or one that is being written or read, even if another
//! place is free. In MPMC queues of bytes there are also blocks, one for each
//! place, looked at one after the other: it may be said as well if at each
//! one's instant it was in use, and a sender has one from its call on, perhaps
//! another one after being refused a place. SPSC queues of bytes hold one
//! message more than their capacity of the longest, and may do so or not.
//!
//! **Empty** may be said at an instant at which everything claimed has been
//! taken; **pending** at one at which the next to be taken is claimed and not
//! published. Neither, nor a message in its turn, may pass over one that was
//! given back before the call and is there all the time since. **Timed out**
//! is one or the other.
//!
//! A batch that stops short says that at some instant there was no more than
//! what was still to come of it.
//!
//! **Death.** A killed process has done any first part of what it was in.
//! Some time after, until a sweep has returned at the latest, each place that
//! it was writing is given up, and each message that it was reading comes
//! back, once more often delivered, or is dropped if that was the last time.
//! In an SPSC queue what was not released is just there; none of these drops
//! (`tests/in_hand.rs` has those that do). Nothing else is ever lost, and
//! nothing comes twice.

use crate::common::queues::Ring;
use crate::history::Spec;

/// A place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    Free,
    Writing(usize),
    Full(u64),
    Reading {
        who: usize,
        id: u64,
        deaths: u8,
    },
    /// Given back; `sure` if a receiver must find it.
    Orphan {
        id: u64,
        deaths: u8,
        sure: bool,
    },
}

/// The places: in an MPMC queue as many as its capacity, that to be claimed
/// next at the front; in an SPSC queue those with a message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Queue(pub(crate) Vec<Place>);

/// What a receiver comes to next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Nothing,
    Unpublished,
    Message(usize, u64),
}

impl Queue {
    pub(crate) fn new(spec: Spec) -> Self {
        let places = if spec.ring.single() { 0 } else { spec.capacity };
        Self(vec![Place::Free; places])
    }

    /// Claims the next place, if it is free.
    pub(crate) fn claim(&mut self, spec: Spec, place: Place) -> bool {
        if spec.ring.single() {
            let most = spec.capacity + usize::from(spec.ring.bytes());
            if self.0.len() == most {
                return false;
            }
        } else if self.0[0] == Place::Free {
            self.0.remove(0);
        } else {
            return false;
        }
        self.0.push(place);
        true
    }

    /// Whether there may be said to be room for exactly so many.
    pub(crate) fn has_room_for(&self, spec: Spec, count: usize) -> bool {
        let certain = if spec.ring.single() {
            spec.capacity.saturating_sub(self.0.len())
        } else {
            self.0.iter().take_while(|place| **place == Place::Free).count()
        };
        certain == count
    }

    pub(crate) fn used(&self) -> usize {
        self.0.iter().filter(|place| **place != Place::Free).count()
    }

    pub(crate) fn next(&self) -> Next {
        let ahead = self.0.iter().enumerate().find_map(|(at, place)| match place {
            Place::Full(id) => Some(Next::Message(at, *id)),
            Place::Writing(_) => Some(Next::Unpublished),
            _ => None,
        });
        ahead.unwrap_or(Next::Nothing)
    }

    /// How many could be taken in turn.
    pub(crate) fn available(&self) -> usize {
        let ahead = self.0.iter().take_while(|place| !matches!(place, Place::Writing(_)));
        ahead.filter(|place| matches!(place, Place::Full(_))).count()
    }

    /// The place that a process is writing.
    pub(crate) fn written_by(&mut self, who: usize) -> Option<&mut Place> {
        self.0.iter_mut().find(|place| **place == Place::Writing(who))
    }

    /// The place that a process is reading.
    pub(crate) fn read_by(&mut self, who: usize) -> Option<&mut Place> {
        let reads = |place: &&mut Place| matches!(place, Place::Reading { who: reader, .. } if *reader == who);
        self.0.iter_mut().find(reads)
    }

    /// What becomes of a place when its dead owner is swept.
    pub(crate) fn swept(place: Place, times: u8) -> Place {
        match place {
            Place::Reading { id, deaths, .. } if deaths < times => {
                Place::Orphan { id, deaths: deaths + 1, sure: false }
            }
            _ => Place::Free,
        }
    }

    /// The messages that every receiver must find.
    pub(crate) fn overdue(&self) -> Vec<u64> {
        let sure = self.0.iter().filter_map(|place| match place {
            Place::Orphan { id, sure: true, .. } => Some(*id),
            _ => None,
        });
        sure.collect()
    }

    /// From now on they must find all that have come back.
    pub(crate) fn announce(&mut self, which: impl Fn(u64) -> bool) {
        for place in &mut self.0 {
            if let Place::Orphan { id, sure, .. } = place
                && which(*id)
            {
                *sure = true;
            }
        }
    }
}

/// Whether messages are written to blocks first.
pub(crate) const fn has_blocks(spec: Spec) -> bool {
    matches!(spec.ring, Ring::MpmcBytes)
}
