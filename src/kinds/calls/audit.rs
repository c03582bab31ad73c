//! The audit of calls: each slot by itself, and the bits.

use core::mem::offset_of;

use super::layout::{OF_BYTES, OF_ELEMENTS};
use super::words::Slots;
use super::{OfBytes, OfElements};
use crate::kinds::audit::{Audit, Audited};
use crate::kinds::mpmc::audit::may_own;
use crate::ring::calls::{self, CallWord, GROUP, Phase, Words};
use crate::storage::layout::{Control, LINE};
use crate::storage::report::{hex, place, read};
use crate::storage::{Cells, KindCode};

impl Audit for OfElements {
    fn unused(&self, channel: &mut Audited<'_>) {
        unused(channel);
    }

    fn audit(&self, channel: &mut Audited<'_>) {
        audit(channel, OF_ELEMENTS.code);
    }
}

impl Audit for OfBytes {
    fn unused(&self, channel: &mut Audited<'_>) {
        unused(channel);
    }

    fn audit(&self, channel: &mut Audited<'_>) {
        audit(channel, OF_BYTES.code);
    }
}

/// Checks that the words of the other kinds are not used.
fn unused(channel: &mut Audited<'_>) {
    let Some(control) = channel.control() else { return };
    let (sending, receiving, orphans) = (&control.sending, &control.receiving, &control.orphans);
    channel.has_no_roles();
    channel.unused(&[
        ("orphans", &orphans.left, offset_of!(Control, orphans.left)),
        ("scanned", &orphans.scanned, offset_of!(Control, orphans.scanned)),
        ("tail", &sending.tail, offset_of!(Control, sending.tail)),
        ("head", &receiving.head, offset_of!(Control, receiving.head)),
        (
            "publishers used",
            &receiving.publishers_used,
            offset_of!(Control, receiving.publishers_used),
        ),
        ("reliable used", &receiving.reliable_used, offset_of!(Control, receiving.reliable_used)),
    ]);
}

fn audit(channel: &mut Audited<'_>, kind: KindCode) {
    let plan = channel.plan;
    let cells = Cells::new(channel.memory, kind, channel.offset, &plan, channel.longest);
    let Some(slots) = cells.as_ref().and_then(Slots::of) else { return };
    for (index, word) in (0..).zip(calls::views(&slots)) {
        slot(channel, &slots, index, word);
    }
    for group in 0..slots.slots().div_ceil(GROUP) {
        let bits = read(slots.shown(group));
        let here = slots.slots() - GROUP * group;
        if here < GROUP && bits >> here != 0 {
            let at = channel.offset + channel.plan.words + LINE * group as usize;
            let whose = format!("{}, bits of group {group}", channel.whose);
            let expected = format!("no bits but the first {here}: so many slots are there");
            channel.report.fault("bits", place(whose, at), hex(bits), expected);
        }
    }
}

/// Checks that a slot's word agrees with itself, with the participants, and with its bit.
fn slot(channel: &mut Audited<'_>, slots: &Slots, index: u64, word: CallWord) {
    let at = channel.offset + channel.plan.slots + channel.plan.stride * index as usize;
    let whose = format!("{}, slot {index}", channel.whose);
    let CallWord { again, asleep, phase, server, client, .. } = word;
    let of_client = !matches!(phase, Phase::Free | Phase::Abandoned);
    let of_server = matches!(phase, Phase::Taken | Phase::Abandoned);
    let fault = |channel: &mut Audited<'_>, found: String, expected: &str| {
        channel.report.fault("call word", place(&whose, at), found, expected);
    };
    if of_client && !may_own(channel, client.into()) {
        let found = format!("{phase:?} of client {client}");
        fault(channel, found, "a client that lives, or is to be swept, and is known here");
    } else if !of_client && client != 0 {
        fault(channel, format!("{phase:?} of client {client}"), "client 0");
    }
    let had_server = of_server || matches!(phase, Phase::Answered | Phase::Failed | Phase::Refused);
    if of_server && !may_own(channel, server.into()) {
        let found = format!("{phase:?} in the hands of participant {server}");
        fault(channel, found, "a server that lives, or is to be swept, and is known here");
    } else if !had_server && server != 0 {
        fault(channel, format!("{phase:?} of server {server}"), "server 0");
    }
    if asleep && !matches!(phase, Phase::Open | Phase::Taken) {
        fault(channel, format!("{phase:?}, asleep"), "a client that sleeps for a reply");
    }
    if again > 0 && matches!(phase, Phase::Free | Phase::Claimed | Phase::Abandoned) {
        fault(channel, format!("{phase:?}, {again} times again"), "a call to be done again");
    }
    let shown = read(slots.shown(index / GROUP)) >> (index % GROUP) & 1 != 0;
    if phase == Phase::Open && !shown {
        fault(channel, "Open, and its bit is 0".to_owned(), "a bit that shows it to servers");
    }
}
