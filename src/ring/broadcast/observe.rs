//! Looking at a ring without changing it: for an audit, and for people.

use super::super::role;
use super::super::table::Member;
use super::Words;
use super::reliable::JOINING;
// Relaxed throughout: each word is an answer by itself, and nothing is read by it.
use crate::sync::Ordering;

/// What a slot's word says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlotView {
    /// How many laps have published there.
    pub(crate) turn: u64,
    pub(crate) buffer: u64,
    /// Whether the buffer says how many messages are missing.
    pub(crate) gap: bool,
}

/// What a publisher's entry says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PublisherView {
    pub(crate) holder: Option<Member>,
    /// The spare buffer, as if the last publication were complete.
    pub(crate) buffer: u64,
    /// Whether it is incomplete.
    pub(crate) incomplete: bool,
    /// By how many turns `helped` is ahead of `word`.
    pub(crate) ahead: i64,
    /// The least that it may be.
    pub(crate) least_ahead: i64,
    pub(crate) at: u64,
    pub(crate) over: u64,
}

/// What a reliable subscriber's entry says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReliableView {
    pub(crate) holder: Option<Member>,
    /// Whether it is still joining: publishers do not wait for it yet.
    pub(crate) joining: bool,
    pub(crate) position: u64,
}

pub(crate) fn view_of_slot(words: &impl Words, index: u64) -> SlotView {
    let shape = words.shape();
    let word = words.slot(index).load(Ordering::Relaxed);
    SlotView { turn: shape.turn(word), buffer: shape.buffer(index, word), gap: shape.has_gap(word) }
}

pub(crate) fn view_of_publisher(words: &impl Words, n: u64) -> PublisherView {
    let (shape, entry) = (words.shape(), words.publisher(n));
    let word = entry.word.load(Ordering::Relaxed);
    let helped = entry.helped.load(Ordering::Relaxed);
    let ahead = shape.turns_after(helped, shape.turn(word));
    let (at, over) = (entry.at.load(Ordering::Relaxed), entry.over.load(Ordering::Relaxed));
    let spare = shape.buffer(shape.entry(n), word);
    // As in `help`.
    let there = words.slot(at % shape.slots).load(Ordering::Relaxed);
    let published = shape.word(at % shape.slots, (at / shape.slots).wrapping_add(1), spare);
    let incomplete = ahead < 1 && shape.without_gap(there) == published;
    let buffer = match ahead {
        1.. => shape.buffer(shape.entry(n), helped),
        _ if incomplete => shape.within(over),
        _ => spare,
    };
    PublisherView {
        holder: role::holder(entry.holder.load(Ordering::Relaxed)),
        buffer,
        incomplete,
        ahead,
        least_ahead: -shape.quarter(),
        at,
        over,
    }
}

pub(crate) fn view_of_reliable(words: &impl Words, n: u64) -> ReliableView {
    let entry = words.reliable(n);
    let holder = entry.holder.load(Ordering::Relaxed);
    ReliableView {
        holder: role::holder(holder),
        joining: holder & JOINING != 0,
        position: entry.position.load(Ordering::Relaxed),
    }
}

/// How many publishers' entries, and how many reliable subscribers' entries, have ever been in
/// use.
pub(crate) fn entries_used(words: &impl Words) -> (u64, u64) {
    let publishers = words.publishers_used().load(Ordering::Relaxed);
    (publishers, words.reliable_used().load(Ordering::Relaxed))
}
