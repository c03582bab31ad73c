//! Why a subcommand failed, as the shell is told.

use std::fmt::Display;

use nix::sys::signal::Signal;

/// The reasons for a subcommand to end early.
#[derive(Debug)]
pub enum Failure {
    /// Verification, input and output, or a peer failed.
    Broken(String),
    /// Usage, bad input, or an IPC object that cannot be had.
    Unusable(String),
    /// No process or thread can be had, so nothing else will work either.
    Stuck(String),
    /// A signal asked to end.
    Signalled(Signal),
    /// This exit status, with nothing left to say.
    Told(u8),
}

impl Failure {
    /// An [`Unusable`](Self::Unusable) thing, and why.
    pub fn unusable(what: impl Display, why: impl Display) -> Self {
        Self::Unusable(format!("{what}: {why}"))
    }

    /// Something [`Broken`](Self::Broken), and why.
    pub fn broken(what: impl Display, why: impl Display) -> Self {
        Self::Broken(format!("{what}: {why}"))
    }

    /// The message for the user.
    pub fn message(&self) -> Option<&str> {
        match self {
            Self::Broken(message) | Self::Unusable(message) | Self::Stuck(message) => Some(message),
            Self::Signalled(_) | Self::Told(_) => None,
        }
    }

    /// The exit status.
    pub fn status(&self) -> u8 {
        match *self {
            Self::Broken(_) => 1,
            Self::Unusable(_) | Self::Stuck(_) => 2,
            Self::Signalled(signal) => 128 + signal as u8,
            Self::Told(status) => status,
        }
    }
}
