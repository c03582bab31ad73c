//! The audit of broadcast.

use core::mem::offset_of;

use super::{OfBytes, OfElements};
use crate::kinds::audit::{Audit, Audited};
use crate::storage::layout::Control;
use crate::storage::report::reserved;

/// Checks that the words of SPSC and MPMC are not used.
fn unused(channel: &mut Audited<'_>) {
    let Some(control) = channel.control() else { return };
    let (sending, receiving, orphans) = (&control.sending, &control.receiving, &control.orphans);
    channel.unused(&[
        ("orphans", &orphans.left, offset_of!(Control, orphans.left)),
        ("scanned", &orphans.scanned, offset_of!(Control, orphans.scanned)),
        ("producer", &sending.producer, offset_of!(Control, sending.producer)),
        ("head", &receiving.head, offset_of!(Control, receiving.head)),
        ("consumer", &receiving.consumer, offset_of!(Control, receiving.consumer)),
        ("taker", &receiving.taker, offset_of!(Control, receiving.taker)),
    ]);
    let marks = channel.offset + offset_of!(Control, receiving.in_flight);
    reserved(channel.report, &channel.whose, &receiving.in_flight, marks);
}

impl Audit for OfElements {
    fn unused(&self, channel: &mut Audited<'_>) {
        unused(channel);
    }

    fn audit(&self, _: &mut Audited<'_>) {}
}

impl Audit for OfBytes {
    fn unused(&self, channel: &mut Audited<'_>) {
        unused(channel);
    }

    fn audit(&self, _: &mut Audited<'_>) {}
}
