//! The specification: what a queue is, and which answers it may give.
//!
//! A call has several events, each at one instant between the call and its return:
//!
//! | call | events |
//! |---|---|
//! | send | a place is *claimed*; its message is *published* |
//! | receive | the next message is *taken*; its place is *released* |
//! | grant, delivery | the same, each half in a call of its own; or the place is given up, or the message given back |
//! | batch | the events of its messages, one after the other |
//!
//! In an SPSC queue, a send is only its publication, and a receive only its release: a
//! message that is being written or read changes nothing for the other side.
//!
//! Places are claimed in turn, round and round; a place can be claimed when it is free.
//! They are taken in the same order, and places that were given up are skipped. Messages
//! that were given back, or whose reader was killed, come before all others, in any
//! order.
//!
//! A queue may answer **full** at an instant at which the next place is not free: it
//! holds a message, or one that is being written or read, even if another place is free.
//! MPMC queues of bytes also have blocks, one for each place, which a sender looks at one
//! after the other. They may answer *full* if each block was in use at the instant at
//! which it was looked at. A sender has a block from its call on, and perhaps another one
//! after it was refused a place. The specification allows, but does not require, that an
//! SPSC queue of bytes holds one message more than its capacity.
//!
//! A queue may answer **empty** at an instant at which all claimed places have been
//! taken, and **pending** at an instant at which the next place to be taken is claimed
//! and not published. Neither answer, nor a message in its turn, may pass over a message
//! that was given back before the call and has been there since. **Timed out** is one of
//! the two.
//!
//! A batch that stops short says that at some instant there was no more.
//!
//! **Death.** A killed process has done some first part of its call. Later, at the latest
//! when a sweep has returned, each place that it was writing is given up. Each message
//! that it was reading comes back with one more delivery counted, or is dropped if that
//! was the last one. In an SPSC queue, a message that was not released is still there;
//! none is dropped here (`tests/death/in_hand.rs` tests the drops). Nothing else is ever
//! lost, and nothing is delivered twice.

use crate::common::ends::Ring;
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

/// The next place that a receiver comes to.
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

    /// The fate of a place when its dead owner is swept.
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
