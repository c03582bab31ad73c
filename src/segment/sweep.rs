//! Finding the dead, and sweeping what they held.

use super::mapped::Mapped;
use super::trace::{self, Note, What};
use crate::error::Fault;
use crate::kinds::block::Block;
use crate::ring::event;
use crate::ring::kernel::Refusal;
use crate::ring::mpmc::Recovered;
use crate::ring::recovery::Repairing;
use crate::ring::set::SetMap;
use crate::ring::table::{self, Member, Scratch};
use crate::ring::wake_all;
use crate::storage::Side;
use crate::storage::layout::Row;
use crate::sync::{AtomicU64, Ordering};
use crate::sys::crash;

impl Mapped {
    /// Finds and sweeps the dead; `witness` is a semaphore that this process
    /// holds up. Returns whether there were any.
    pub(crate) fn scan(&self, witness: u16, scratch: &mut Scratch) -> Result<bool, Fault> {
        if crash::recovery_is_off() {
            return Ok(false);
        }
        let closed = witness == SetMap::LEASE && self.close_leaseholders_records();
        let bury = |dead: Member, values: &[u16]| self.sweep(dead, values, witness);
        let swept = table::scan(&self.semaphores, self, self.generation, witness, scratch, bury)
            .map_err(|blind| self.fault(blind))?;
        let refused = |refusal| self.refused(refusal);
        wake_all::wind(&self.semaphores, scratch.value(SetMap::WAKE_ALL)).map_err(refused)?;
        if swept || closed {
            // Readers may wait for a record that was given up for this one's.
            wake_all::strike(&self.semaphores).map_err(refused)?;
        }
        Ok(swept)
    }

    /// How many of the living wait in one direction of a channel.
    fn recorded(&self, block: &Block, record: impl Fn(&Row) -> &AtomicU64) -> u64 {
        self.living()
            .map(|member| {
                // Edge S.
                let record = record(self.row(block, member.id)).load(Ordering::Acquire);
                event::recorded(record, member.incarnation)
            })
            .sum()
    }

    /// Puts right whatever a dead participant held, and rings for everybody
    /// whom its death concerns.
    fn sweep(&self, dead: Member, values: &[u16], witness: u16) -> Result<(), Refusal> {
        self.close_records(dead);
        self.record_death(dead, witness);
        for block in self.blocks() {
            let value = |event: event::Event<'_>| values.get(usize::from(event.sem)).copied();
            if !self.row(&block, dead.id).belongs_to(dead) {
                // It may have held credits, and not yet been an end.
                for side in [Side::Receiver, Side::Sender] {
                    let event = self.event(&block, side);
                    event::merge_tokens(&self.semaphores, event, value(event).unwrap_or(0))?;
                }
                continue;
            }
            let control = self.control(&block);
            let Ok(held) = block.recover(self, dead, &Repairing(|| dead.is_dead(self))) else {
                return Ok(());
            };
            if held.messages != Recovered::default() {
                trace::note(|| Note::recovered(self, dead, &block, held.messages));
            }
            control.recovered.tombstones.fetch_add(held.messages.tombstones, Ordering::Relaxed);
            control.recovered.orphaned.fetch_add(held.messages.orphans, Ordering::Relaxed);
            control.recovered.dropped.fetch_add(held.messages.dropped, Ordering::Relaxed);
            // Release: who sees the change also sees the word say DEAD.
            control.changes.fetch_add(1, Ordering::Release);
            event::settle(&control.waiting.items, || self.recorded(&block, |r| &r.items_record));
            event::settle(&control.waiting.space, || self.recorded(&block, |r| &r.space_record));
            event::settle(&control.waiting.slots, || self.recorded(&block, |r| &r.slots_record));
            for side in [Side::Receiver, Side::Sender] {
                let event = self.event(&block, side);
                event::tell_of_death(&self.semaphores, event, value(event).unwrap_or(0))?;
            }
        }
        trace::note(|| Note::of(self, dead, What::Swept));
        Ok(())
    }
}
