//! What the handles of a service and its calls have in common.
//!
//! A call may outlive its handle and be in the hands of another thread, so it has a share in
//! this, and not in the handle's [`Endpoint`].

use std::sync::Arc;

use super::company::Company;
use crate::channel::endpoint::Endpoint;
use crate::channel::reactor::At;
use crate::error::{ChannelError, Done, Fault, Unwoken};
use crate::kinds::block::Block;
use crate::kinds::calls::{Sheet, Sheets, Slots};
use crate::ring::calls;
use crate::ring::event::{self, Memo};
use crate::ring::kernel::Refusal;
use crate::segment::{Participant, Side};
use crate::storage::View;
use crate::sync::{AtomicU64, Ordering};
use crate::wait::Semaphores;

/// A service, as one process has it.
#[derive(Debug)]
pub(super) struct Site<Q, R> {
    /// Declared before the participant, so that the memory is detached when that goes.
    pub(super) sheets: Sheets<Q, R>,
    pub(super) participant: Arc<Participant>,
    pub(super) block: Block,
    pub(super) name: Arc<str>,
    /// The threads of this process that wait for replies.
    pub(super) company: Arc<Company>,
    /// Whether the handle had met a peer when it was opened, and how many had ever joined.
    met: bool,
    joined: u64,
}

impl<Q: Sheet, R: Sheet> Site<Q, R> {
    pub(super) fn of(end: &Endpoint) -> Result<Arc<Self>, ChannelError> {
        let sheets = end.typed(Sheets::of)?;
        // Until it is dropped.
        end.participant().hold(end.block());
        Ok(Arc::new(Self {
            sheets,
            participant: Arc::clone(end.participant()),
            block: *end.block(),
            name: Arc::clone(end.name()),
            company: Company::of(end.participant()),
            met: end.changes.met,
            joined: end.changes.joined,
        }))
    }

    pub(super) const fn slots(&self) -> &Slots {
        self.sheets.slots()
    }

    /// Where others wait for the end of a call in a thread's place.
    pub(super) fn at(&self) -> At<'_> {
        let Self { participant, block, .. } = self;
        At { participant, block, side: None, cells: self.slots().cells() }
    }

    pub(super) fn semaphores(&self) -> &Semaphores {
        &self.participant.mapped().semaphores
    }

    /// Grows with everything that changes who is there, or the gate.
    pub(super) fn changes(&self) -> &AtomicU64 {
        &self.slots().cells().control().changes
    }

    pub(super) fn in_child(&self) -> bool {
        self.participant.guard().in_child()
    }

    /// That this process is the one that opened the service.
    #[inline]
    pub(super) fn not_in_child(&self) -> Result<(), Fault> {
        if self.in_child() { Err(Fault::Forked) } else { Ok(()) }
    }

    /// Whether the last server that the client has met has gone.
    pub(super) fn has_lost_its_servers(&self) -> bool {
        let (participant, side) = (&self.participant, Side::Receiver);
        // Acquire: a server that it counts is in a row by now.
        let joined = participant.joined(&self.block, side).load(Ordering::Acquire);
        !self.block.lasting
            && (self.met || joined != self.joined)
            && !participant.has_peer(&self.block, side)
    }

    /// Wakes one that waits on this side: a server for a call, or a client for a slot.
    pub(super) fn notify(&self, side: Side, done: Done) -> Result<(), Fault> {
        // Mostly, nobody waits.
        let waiting = self.slots().cells().control().waiting(side);
        if event::waited_for(self.semaphores(), waiting).is_none() {
            return Ok(());
        }
        self.notify_those(side, done)
    }

    #[cold]
    fn notify_those(&self, side: Side, done: Done) -> Result<(), Fault> {
        let event = self.participant.mapped().event(&self.block, side);
        let woken = event::notify(self.semaphores(), event, &mut Memo::default());
        self.told(woken, side, done)
    }

    /// Wakes the client of a call that has ended.
    pub(super) fn wake(&self, client: u16) -> Result<(), Fault> {
        // A peer may have written the number.
        let own = self.participant.mapped().plan.map.own_bell(client);
        let struck = own.map_or(Ok(()), |own| calls::wake(self.semaphores(), own));
        self.told(struck, Side::Sender, Done::Sent)
    }

    /// Wakes a server for a call that was given back, and its client: the server may have been
    /// the last one, and have gone before.
    pub(super) fn given_back(&self, client: u16) -> Result<(), Fault> {
        // Release: who sees the change also sees that the call is open.
        self.changes().fetch_add(1, Ordering::Release);
        let told = self.notify(Side::Receiver, Done::GivenUp);
        told.and(self.wake(client))
    }

    /// What it means that somebody could not be woken. A set that is gone has woken everybody.
    fn told(&self, woken: Result<(), Refusal>, side: Side, done: Done) -> Result<(), Fault> {
        let Err(refusal) = woken else { return Ok(()) };
        match self.participant.mapped().refused(refusal) {
            Fault::Closed => Ok(()),
            Fault::System(source) => Err(Unwoken::new(done, &self.name, side, source).into()),
            fault => Err(fault),
        }
    }

    /// Why a slot is not in the hands that had it.
    pub(super) fn lost(&self, word: u64) -> Fault {
        let counted = self.participant.is_counted_alive();
        counted.err().unwrap_or_else(|| Fault::Corrupt {
            what: format!("{}: a call's word is {word:#018x}", self.name),
        })
    }
}

impl<Q, R> Drop for Site<Q, R> {
    fn drop(&mut self) {
        // Its calls have all been let go: no slot depends on this process any more.
        self.participant.end_hold(&self.block);
    }
}
