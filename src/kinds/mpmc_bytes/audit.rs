//! The audit of MPMC bytes: that of MPMC, and the message blocks.

use super::OfBlocks;
use super::layout::{FACTS, HEAD};
use super::storage::HERE;
use crate::kinds::audit::{Audit, Audited};
use crate::kinds::mpmc::audit::{audit, may_own, slot_at};
use crate::ring::mpmc::{SlotState, SlotWord};
use crate::storage::report::place;

const HELD: u64 = 1 << 13;
const OWNER: u64 = HELD - 1;

impl Audit for OfBlocks {
    fn unused(&self, channel: &mut Audited<'_>) {
        channel.has_no_roles();
    }

    fn audit(&self, channel: &mut Audited<'_>) {
        let mut named = vec![0_u64; channel.plan.messages.div_ceil(64)];
        audit(channel, FACTS.code, |channel, index, state| {
            if in_channel(state.state()) {
                label(channel, index, state, &mut named);
            }
        });
        message_blocks(channel, &named);
    }
}

/// Whether a slot has a message that the channel answers for.
const fn in_channel(phase: Option<SlotState>) -> bool {
    matches!(phase, Some(SlotState::Full | SlotState::Reading | SlotState::Orphan))
}

fn block_at(channel: &Audited<'_>, index: u64) -> usize {
    channel.offset + channel.plan.words + 8 * index as usize
}

/// Checks which block a slot names, and notes it in `named`.
fn label(channel: &mut Audited<'_>, index: u64, state: SlotWord, named: &mut [u64]) {
    let at = slot_at(channel, index) + channel.plan.cell;
    let label = channel.word(at);
    let here = || place(format!("{}, slot {index}", channel.whose), at);
    let (block, length) = (label & u64::from(u32::MAX), label >> 32);
    let (blocks, longest) = (channel.plan.messages as u64, channel.longest as u64);
    if block == HERE && length <= (channel.plan.stride - HEAD) as u64 {
        return;
    }
    if block >= blocks || length > longest {
        let found = format!("{length} bytes in message block {block}");
        let expected = format!("{longest} bytes at most, and a block below {blocks}");
        channel.report.fault("label", here(), found, expected);
        return;
    }
    let Some(word) = named.get_mut(block as usize / 64) else { return };
    let bit = 1 << (block % 64);
    if *word & bit != 0 {
        let found = format!("message block {block}, which another slot names");
        channel.report.fault("label", here(), found, "a message block that no other slot names");
    }
    *word |= bit;
    let word = channel.word(block_at(channel, block));
    let at = || of_block(channel, block);
    if word & HELD == 0 {
        let expected = format!("held, as slot {index} names it");
        channel.report.fault("message block word", at(), "free", expected);
    } else if state.state() == Some(SlotState::Reading)
        && word & OWNER != u64::from(state.owner())
        && channel.person(state.owner().into()).is_some_and(|person| person.is_alive())
    {
        let found = format!("held by participant {}", word & OWNER);
        let expected = format!("held by {}, who reads slot {index}", state.owner());
        channel.report.fault("message block word", at(), found, expected);
    }
}

fn of_block(channel: &Audited<'_>, index: u64) -> String {
    place(format!("{}, message block {index}", channel.whose), block_at(channel, index))
}

fn message_blocks(channel: &mut Audited<'_>, named: &[u64]) {
    for index in 0..channel.plan.messages as u64 {
        let word = channel.word(block_at(channel, index));
        let owner = word & OWNER;
        let is_named = named.get(index as usize / 64).is_some_and(|n| n >> (index % 64) & 1 == 1);
        if word & HELD == 0 {
            if owner != 0 {
                let found = format!("free, of participant {owner}");
                channel.report.fault(
                    "message block word",
                    of_block(channel, index),
                    found,
                    "owner 0",
                );
            }
        } else if owner >= channel.people.len() as u64 || !is_named && !may_own(channel, owner) {
            let found = format!("held by participant {owner}");
            let expected = "a holder that lives, or is to be swept, or a slot that names it";
            channel.report.fault("message block word", of_block(channel, index), found, expected);
        }
    }
}
