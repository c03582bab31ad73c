//! Whether a segment is open, paused, drained or shut down, as the bits of its gate say.

use core::fmt;

use super::layout::gate;

/// Whether a segment is open for messages, as the last
/// [command](crate::Commander) left it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OperatingState {
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

impl OperatingState {
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

impl fmt::Display for OperatingState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
