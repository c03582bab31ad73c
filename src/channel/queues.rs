//! Where the waiters of a channel are counted, and what wakes them.

use std::time::Instant;

use crate::kinds::block::Block;
use crate::kinds::table::RingKind;
use crate::ring::event::Life;
use crate::ring::table::Table as _;
use crate::ring::wait::set::{Mark, Place};
use crate::ring::wait::{Need, Queue, Registration, Seat};
use crate::ring::watch::Topic;
use crate::segment::{Participant, Side};
use crate::sync::AtomicU64;

/// Where the waiters of one side are counted who need this.
pub(super) fn queue<'a>(
    participant: &'a Participant,
    block: &Block,
    side: Side,
    need: Need,
) -> Queue<'a> {
    let mapped = participant.mapped();
    if side == Side::Sender && need.is_for_all() {
        Queue::All(&mapped.control(block).waiting.slots)
    } else {
        Queue::Side(mapped.event(block, side))
    }
}

/// What a waiter of this process there has to do with.
fn counted<'a>(
    participant: &'a Participant,
    block: &'a Block,
    side: Side,
    need: Need,
) -> (Queue<'a>, &'a AtomicU64, Life<'a>) {
    let (mapped, me) = (participant.mapped(), participant.me());
    let row = mapped.row(block, me.id);
    let record = match (side, need) {
        (Side::Sender, need) if need.is_for_all() => &row.slots_record,
        (Side::Sender, _) => &row.space_record,
        (Side::Receiver, _) => &row.items_record,
    };
    let life = Life::new(mapped.word(me.id), me.incarnation);
    (queue(participant, block, side, need), record, life)
}

/// What one needs who waits for whatever an end may lack: a sender of MPMC bytes, for a block
/// or a slot.
pub(super) const fn need_of_either(block: &Block, side: Side) -> Need {
    let either = matches!((side, block.kind), (Side::Sender, RingKind::MpmcBytes));
    if either { Need::Block } else { Need::Progress }
}

/// The place of a member of a set.
pub(super) fn place<'a>(
    participant: &'a Participant,
    block: &'a Block,
    side: Side,
    mark: &'a Mark,
) -> Place<'a> {
    let need = need_of_either(block, side);
    let (queue, record, life) = counted(participant, block, side, need);
    Place { queue, record, life, mark, watch: None }
}

/// What a member of a set waits for, as one who watches says it.
pub(super) const fn topic(block: &Block, side: Side) -> Topic {
    match (side, need_of_either(block, side)) {
        (Side::Receiver, _) => Topic::Items,
        (Side::Sender, Need::Block) => Topic::Slots,
        (Side::Sender, _) => Topic::Space,
    }
}

/// The place of a member of a set that watches.
pub(super) fn watched_place<'a>(
    participant: &'a Participant,
    block: &'a Block,
    side: Side,
    mark: &'a Mark,
) -> Place<'a> {
    let watch = participant.mapped().watch(block, topic(block, side));
    Place { watch, ..place(participant, block, side, mark) }
}

/// A place among them.
pub(super) fn seat<'a>(
    participant: &'a Participant,
    block: &'a Block,
    side: Side,
    need: Need,
    registration: &'a Registration<Instant>,
) -> Seat<'a, Instant> {
    let (queue, record, life) = counted(participant, block, side, need);
    Seat { queue, record, life, registration }
}
