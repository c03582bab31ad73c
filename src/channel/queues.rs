//! Where the waiters of a channel are counted, and what wakes them.

use std::time::Instant;

use crate::kinds::block::Block;
use crate::ring::event::Life;
use crate::ring::table::Table as _;
use crate::ring::wait::{Need, Queue, Registration, Seat};
use crate::segment::{Participant, Side};

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

/// A place among them.
pub(super) fn seat<'a>(
    participant: &'a Participant,
    block: &'a Block,
    side: Side,
    need: Need,
    registration: &'a Registration<Instant>,
) -> Seat<'a, Instant> {
    let (mapped, me) = (participant.mapped(), participant.me());
    let row = mapped.row(block, me.id);
    let record = match (side, need) {
        (Side::Sender, need) if need.is_for_all() => &row.slots_record,
        (Side::Sender, _) => &row.space_record,
        (Side::Receiver, _) => &row.items_record,
    };
    let queue = queue(participant, block, side, need);
    let life = Life::new(mapped.word(me.id), me.incarnation);
    Seat { queue, record, life, registration }
}
