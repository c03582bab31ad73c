//! Why a bridge ends other than by request.

use std::fmt;

/// Why a bridge ends other than by request.
#[derive(Clone, PartialEq, Eq)]
pub enum Failure {
    /// What was asked for cannot be: exit status 2.
    Usage(String),
    /// It went wrong: exit status 1.
    Failed(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(what) | Self::Failed(what) => f.write_str(what),
        }
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl std::error::Error for Failure {}
