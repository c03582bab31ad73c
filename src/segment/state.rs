//! The state of a segment (open, paused, drained, shut down), and changing it for all
//! participants.

use core::fmt;

use super::mail::Verb;
use super::mapped::Mapped;
use super::participant::{Participant, Unleased};
use crate::error::Fault;
use crate::ring::event::{self, Event, Memo};
use crate::ring::kernel::Kernel;
use crate::storage::layout::gate;
use crate::sync::Ordering;

/// Whether a segment is open for messages, as the last
/// [command](crate::Commander) left it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// It is.
    #[default]
    Open,
    /// Senders wait.
    Paused,
    /// No new messages are taken, and it is not yet certain that every sender
    /// has stopped.
    Draining,
    /// No new messages are taken. Receivers get what there is, and then are
    /// disconnected.
    Drained,
    /// Nothing is sent or received.
    Shutdown,
}

impl State {
    /// All bits of the gate that commands change.
    pub(crate) const ALL: u64 = gate::PAUSED | gate::DRAINING | gate::DRAINED | gate::SHUTDOWN;

    pub(crate) const fn of(gate: u64) -> Self {
        if gate & gate::SHUTDOWN != 0 {
            Self::Shutdown
        } else if gate & gate::DRAINED != 0 {
            Self::Drained
        } else if gate & gate::DRAINING != 0 {
            Self::Draining
        } else if gate & gate::PAUSED != 0 {
            Self::Paused
        } else {
            Self::Open
        }
    }

    /// The bits of the gate that a command sets.
    pub(crate) const fn bits(self) -> u64 {
        match self {
            Self::Open => 0,
            Self::Paused => gate::PAUSED,
            Self::Draining => gate::DRAINING,
            Self::Drained => gate::DRAINING | gate::DRAINED,
            Self::Shutdown => gate::SHUTDOWN,
        }
    }

    /// Whether a command may make it another. Only [`Open`](Self::Open) undoes
    /// what is more.
    pub(crate) const fn may_become(self, other: Self) -> bool {
        match other {
            Self::Open | Self::Shutdown => true,
            Self::Paused => matches!(self, Self::Open | Self::Paused),
            Self::Draining => !matches!(self, Self::Shutdown),
            Self::Drained => matches!(self, Self::Draining | Self::Drained),
        }
    }

    /// Its name, in one word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Paused => "paused",
            Self::Draining => "draining",
            Self::Drained => "drained",
            Self::Shutdown => "shutdown",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Mapped {
    pub(crate) fn gate(&self) -> u64 {
        self.memory.header().gate.load(Ordering::Acquire)
    }

    pub(crate) fn state(&self) -> State {
        State::of(self.gate())
    }

    /// Whether the state is what was asked for.
    pub(crate) fn obeys(&self, verb: Verb) -> bool {
        let state = self.state();
        match verb {
            Verb::Pause => state == State::Paused,
            Verb::Drain => matches!(state, State::Draining | State::Drained),
            Verb::Resume => state == State::Open,
            Verb::Shutdown => state == State::Shutdown,
            Verb::Ping | Verb::Stats | Verb::User => true,
        }
    }
}

impl Participant {
    /// Changes what everybody obeys, by `change`, and has everybody look, also
    /// if this process is killed over it: it holds a credit on each semaphore
    /// meanwhile, and its sweep is a change for each channel. It holds the
    /// lease, too, so that there is no channel without.
    ///
    /// A handle that has not become an endpoint by the end of this finds the state
    /// that this leaves.
    pub(crate) fn announce(&self, change: impl FnOnce()) -> Result<(), Unleased> {
        self.leased(|_| {
            self.with_all_credits(|| {
                change();
                self.call()
            })
        })?
        .map_err(Unleased::Fault)?;
        // With the fence of whoever becomes an endpoint: see `enlist`. What is
        // being sent is asked of the sender's own process: see `gate`.
        self.mapped.semaphores.heavy_fence();
        Ok(())
    }

    /// Has everybody who uses a channel look at the gate and for commands, and
    /// everybody who listens.
    pub(crate) fn call(&self) -> Result<(), Fault> {
        let mut told = Ok(());
        let semaphores = &self.mapped.semaphores;
        self.mapped.memory.header().calls.fetch_add(1, Ordering::Release);
        for block in self.mapped.blocks() {
            let control = self.mapped.control(&block);
            control.changes.fetch_add(1, Ordering::Release);
            let items = (&control.items_waiting, block.items(&self.mapped));
            let space = (&control.space_waiting, block.space(&self.mapped));
            for (waiting, sem) in [items, space] {
                let event = Event { waiting, sem };
                told = told.and(event::notify(semaphores, event, &mut Memo::default()));
            }
        }
        self.unless_gone(told).and(self.strike())
    }
}
