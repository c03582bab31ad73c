//! Whether an operation may be done at once, and finding out what is in the way.

use core::cell::Cell;

use super::changes::count;
use super::endpoint::Endpoint;
use crate::error::Fault;
use crate::ring::gate;
use crate::ring::wait::{Found, NotNow};
use crate::segment::{OperatingState, Side};
use crate::sync::Ordering;
use crate::wait::Asymmetric;

impl Endpoint {
    /// Whether nothing has changed since this handle last found that nothing is in
    /// the way: not the process, not who is at the other end, not the gate. Never
    /// true while the other side has gone.
    #[inline]
    pub(crate) fn quiet(&self) -> bool {
        count(self.cells()) == self.changes.open()
    }

    /// The same, and the light fence costs nothing.
    #[inline(always)]
    pub(crate) fn quiet_fast(&self) -> bool {
        count(self.cells()) == self.seen_fast()
    }

    /// The count with which nothing is in the way, if the light fence costs nothing.
    #[inline(always)]
    pub(crate) fn seen_fast(&self) -> u64 {
        self.changes.open_fast()
    }

    /// Begins to send, if nothing has changed; ends with [`leave`](Self::leave).
    pub(crate) fn enter(&self) -> bool {
        let changes = &self.cells().control().changes;
        gate::enter(self.semaphores(), self.busy(), changes, self.changes.open())
            || self.enter_informed()
    }

    /// The same, if the light fence costs nothing.
    #[inline(always)]
    pub(crate) fn enter_fast(&self) -> bool {
        let seen = self.changes.open_fast();
        gate::enter(&Asymmetric, self.busy(), &self.cells().control().changes, seen)
    }

    /// Where it was just found out what has changed: whatever else has changed
    /// since, the gate must not have.
    fn enter_informed(&self) -> bool {
        let mapped = self.participant().mapped();
        let gate = &mapped.memory.header().gate;
        self.changes.informed.get()
            && !self.in_child()
            && gate::enter(&mapped.semaphores, self.busy(), gate, self.changes.gate.get())
    }

    /// Does `attempt`, if nothing has changed.
    #[inline]
    pub(crate) fn guarded<R>(
        &self,
        attempt: impl FnOnce() -> Result<R, NotNow>,
    ) -> Result<R, NotNow> {
        if !self.quiet() && !self.changes.informed.get() {
            return Err(NotNow::Changed);
        }
        attempt().inspect(|_| self.let_go())
    }

    /// Does `attempt` right after it was found out what has changed: it is let
    /// through whatever has changed since.
    pub(super) fn informed<R>(&self, attempt: impl FnOnce() -> R) -> R {
        let informed = Informed(&self.changes.informed);
        informed.0.set(true);
        attempt()
    }

    /// Finds out what has changed.
    pub(super) fn find_out(&self) -> Result<Found, Fault> {
        let now = count(self.cells());
        let participant = self.participant();
        if let Some(fault) = participant.barred() {
            return Err(fault);
        }
        self.make_good()?;
        if self.changes.peers_gone() && self.changes.looked() == now {
            return Ok(Found::PeersGone);
        }
        participant.serve();
        let gate = participant.mapped().gate();
        self.changes.gate.set(gate);
        let state = OperatingState::of(gate);
        match (self.side, state) {
            (_, OperatingState::Shutdown) => return Err(Fault::Shutdown),
            (Side::Sender, OperatingState::Draining | OperatingState::Drained) => {
                return Err(Fault::Drained);
            }
            _ => {}
        }
        let found = match (self.side, state) {
            _ if self.has_lost_its_peers() => {
                self.complete_pledge()?;
                Found::PeersGone
            }
            (Side::Receiver, OperatingState::Drained) => Found::PeersGone,
            (Side::Sender, OperatingState::Paused) => Found::Paused,
            _ => Found::Open,
        };
        self.changes.found(now, found);
        self.changes.set_open(now, found == Found::Open && self.not_cancelled().is_ok());
        self.set_fast();
        Ok(found)
    }

    /// Whether the last peer that this handle has met has gone.
    fn has_lost_its_peers(&self) -> bool {
        let (participant, other) = (self.participant(), self.side.other());
        if self.block().kind.is_broadcast() && self.side == Side::Sender {
            // What it publishes is there for subscribers who are still to come.
            return false;
        }
        // Acquire: whoever it counts is in a row by now.
        let joined = participant.joined(self.block(), other).load(Ordering::Acquire);
        !self.block().lasting
            && (self.changes.met || joined != self.changes.joined)
            && !participant.has_peer(self.block(), other)
    }

    /// Has what the last producer had committed in a joint send published, before its receiver
    /// is told that it has gone: its sweep may be under way.
    fn complete_pledge(&self) -> Result<(), Fault> {
        // Acquire: whoever finds it dead has seen all that it stored.
        let pledged = self.side == Side::Receiver
            && self.block().kind.is_single()
            && self.cells().control().sending.pledge.load(Ordering::Acquire) != 0;
        if pledged { self.participant().scan().map(drop) } else { Ok(()) }
    }

    /// Has the next call find out first what there is to be done.
    pub(super) fn spoil(&self) {
        self.changes.set_open(count(self.cells()), false);
        self.set_fast();
    }

    /// Decides anew whether this handle may take the fast path: not while it is
    /// registered, because each operation ends that.
    pub(super) fn set_fast(&self) {
        self.changes.set_open_fast(self.semaphores().asymmetric() && !self.is_counted());
    }
}

/// Whether it was just found out what has changed: not any more when this is dropped, also
/// by a panic.
struct Informed<'a>(&'a Cell<bool>);

impl Drop for Informed<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}
