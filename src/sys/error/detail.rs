//! What explains a failure: the limit or the permission that stood in the way,
//! and the remedy.

use super::kind::ErrorKind;

/// What the library found out about a failure when it happened.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::sys) struct Detail {
    pub(in crate::sys) cause: String,
    pub(in crate::sys) remedy: String,
    /// How many bytes a buffer should have had.
    pub(in crate::sys) needed: Option<usize>,
    /// The caller's thing that the object belongs to.
    pub(super) about: Option<Box<str>>,
}

impl Detail {
    pub(in crate::sys) fn new(cause: impl Into<String>, remedy: impl Into<String>) -> Box<Detail> {
        Box::new(Detail { cause: cause.into(), remedy: remedy.into(), needed: None, about: None })
    }
}

/// What is found out about a failure: its kind, and its explanation.
pub(in crate::sys) type Found = (ErrorKind, Option<Box<Detail>>);
