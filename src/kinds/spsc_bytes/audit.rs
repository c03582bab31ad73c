//! The audit of SPSC bytes: that of SPSC, and the records.

use super::OfRecords;
use crate::kinds::audit::{Audit, Audited};
use crate::kinds::spsc::audit::{audit, unused};
use crate::ring::records::units;
use crate::storage::report::{hex, place};

impl Audit for OfRecords {
    fn unused(&self, channel: &mut Audited<'_>) {
        unused(channel);
    }

    fn audit(&self, channel: &mut Audited<'_>) {
        audit(channel, record_ring);
    }
}

/// Walks from record to record: no more of them than units.
fn record_ring(channel: &mut Audited<'_>, head: u64, filled: u64) {
    let plan = channel.plan;
    let slots = plan.capacity as u64;
    let mut passed = 0;
    while passed < filled {
        let unit = head.wrapping_add(passed) % slots;
        let at = channel.offset + plan.slots + plan.stride * unit as usize;
        let header = channel.word(at);
        let (what, length) = (header >> 32, header & u64::from(u32::MAX));
        let (left, to_end) = (filled - passed, slots - unit);
        let size = match what {
            1 if length <= channel.longest as u64 => Some(units(length)),
            2 if length == to_end && to_end < left => Some(to_end),
            _ => None,
        };
        let Some(size) = size.filter(|&size| size <= left.min(to_end)) else {
            let at = place(format!("{}, unit {unit}", channel.whose), at);
            let expected = format!(
                "a message of up to {} bytes, or padding of {to_end} units with more behind it, \
                 within {left} units",
                channel.longest
            );
            return channel.report.fault("record header", at, hex(header), expected);
        };
        passed += size;
    }
}
