//! One of this process that watches channels.

use std::sync::Arc;
use std::time::Instant;

use super::ears::Handed;
use super::participant::Participant;
use crate::error::Fault;
use crate::kinds::block::Block;
use crate::ring::kernel::Kernel as _;
use crate::ring::watch::{Calls, Topic};

/// One who watches: see [`watch`](crate::ring::watch).
#[derive(Debug)]
pub(crate) struct Ear {
    participant: Arc<Participant>,
    handed: Arc<Handed>,
    /// The participants that had joined, and the state of the segment, when it last listened.
    known: Vec<u64>,
}

impl Ear {
    pub(crate) fn new(participant: &Arc<Participant>) -> Self {
        let handed = participant.ears.enter();
        Self { participant: Arc::clone(participant), handed, known: Vec::new() }
    }

    /// Looks for the dead, and reads what all semaphores are. Whether somebody has come, gone
    /// or died since the last time, or the state has been changed: then all that it watches is
    /// to be looked at.
    pub(crate) fn listen(&mut self, values: &mut Vec<u16>) -> Result<bool, Fault> {
        self.participant.listen_for_changes(values, &mut self.known)
    }

    /// Which channels have called since the last time. To be asked after listening, and before a
    /// sleep over what was heard.
    pub(crate) fn collect(&self) -> Calls {
        let Participant { ears, mapped, me, .. } = &*self.participant;
        ears.collect(mapped, *me, &self.handed)
    }

    /// The same for one who is awake: may leave out what another one is just collecting.
    pub(crate) fn glance(&self) -> Calls {
        let Participant { ears, mapped, me, .. } = &*self.participant;
        ears.glance(mapped, *me, &self.handed)
    }

    /// When everybody is sure to have seen what has been armed by now.
    pub(crate) fn soon(&self) -> Option<Instant> {
        self.participant.mapped.semaphores.soon()
    }
}

impl Participant {
    /// Watches a topic of a channel of which this process has an end.
    pub(crate) fn watch(&self, block: &Block, topic: Topic) {
        let Self { ears, mapped, me, .. } = self;
        ears.change(mapped, *me, (block, topic), |users| users.saturating_add(1));
    }

    /// Does so no more.
    pub(crate) fn unwatch(&self, block: &Block, topic: Topic) {
        let Self { ears, mapped, me, .. } = self;
        ears.change(mapped, *me, (block, topic), |users| users.saturating_sub(1));
    }
}
