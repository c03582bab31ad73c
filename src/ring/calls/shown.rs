//! Which slots may be open, so that a server need not look at all of them.
//!
//! Each slot has a bit in the word of its group. A participant that opens a call sets the bit before. Only
//! a server clears it, while it has the call. So the bit of an open call is set, always:
//! between the setting and the opening nobody has the call TAKEN. A bit of a slot that is not
//! open costs a look at the slot. Nothing is lost if its bit stays.
//!
//! Everything here is Relaxed: the slots decide. A server that is about to sleep sees the bit
//! and the open slot behind it by edge W, like anything that is published
//! ([`event`](super::super::event)). A clearing comes before the next setting, because the
//! changes of the slot between them do (edges A and F).

use super::{GROUP, Words};
use crate::sync::Ordering;

/// Where the bit of a slot is: its group's word, and the bit there.
const fn bit(index: u64) -> (u64, u64) {
    (index / GROUP, 1 << (index % GROUP))
}

/// The bit of this slot is about to be set or cleared.
#[inline]
pub(super) fn fetch(words: &impl Words, index: u64) {
    words.fetch_shown(bit(index).0);
}

/// To be called before the slot is opened.
#[inline]
pub(super) fn show(words: &impl Words, index: u64) {
    let (group, bit) = bit(index);
    // Also if it is set: another one may be about to clear it, and would not see the slot.
    words.shown(group).fetch_or(bit, Ordering::Relaxed);
}

/// To be called while the caller has the slot TAKEN.
#[inline]
pub(super) fn hide(words: &impl Words, index: u64) {
    let (group, bit) = bit(index);
    words.shown(group).fetch_and(!bit, Ordering::Relaxed);
}

/// The slots that may be open, from `first` on and round.
#[inline]
pub(super) fn shown(words: &impl Words, first: u64) -> impl Iterator<Item = u64> {
    let slots = words.slots();
    let groups = slots.div_ceil(GROUP);
    let before = (1 << (first % GROUP)) - 1;
    (0..=groups).flat_map(move |nth| {
        let group = (first / GROUP + nth) % groups;
        let shown = words.shown(group).load(Ordering::Relaxed);
        let here = match nth {
            0 => shown & !before,
            nth if nth == groups => shown & before,
            _ => shown,
        };
        // A peer may have set bits behind the last slot.
        Bits(here).map(move |bit| group * GROUP + bit).filter(move |&index| index < slots)
    })
}

/// The numbers of the bits that are set, from the lowest on.
struct Bits(u64);

impl Iterator for Bits {
    type Item = u64;

    #[inline]
    fn next(&mut self) -> Option<u64> {
        let left = self.0;
        self.0 &= left.wrapping_sub(1);
        (left != 0).then(|| left.trailing_zeros().into())
    }
}
