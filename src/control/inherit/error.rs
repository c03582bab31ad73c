//! Why a segment was not handed over, or not inherited.

use std::io;

use crate::error::{Fault, OpenError, debug_as_display};
use crate::sys;
use crate::sys::child::VARIABLE;

/// Why a child was not started with a segment, or did not join it.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// The program could not be started.
    #[error("cannot start {program}: {error}")]
    Start {
        /// The program.
        program: String,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// The child ended, or became another program, without having joined.
    #[error(
        "the child, process {pid}, ended without joining the segment; does it call `Segment::inherited`?"
    )]
    NeverJoined {
        /// The child.
        pid: u32,
    },
    /// The segment can no longer be used.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The kernel refused.
    #[error(transparent)]
    System(#[from] sys::Error),
}

/// Why there is no segment to inherit.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InheritError {
    /// The parent has handed nothing over.
    #[error(
        "this process was not started with a segment ({VARIABLE} is not set); start it by \
         `Segment::spawn`, or by `tombolo run`"
    )]
    NotHandedOver,
    /// The segment was handed over to another process.
    #[error(
        "the segment was handed over to a child of process {parent}, and the parent of this one \
         is process {actual}: it is a grandchild, or its parent has ended; have the child pass \
         the segment on (`Segment::spawn`, or its id)"
    )]
    NotForThis {
        /// The process whose child may take it.
        parent: u32,
        /// The parent of this process.
        actual: u32,
    },
    /// This process has taken it already.
    #[error("this process has taken its inheritance already; clone that segment")]
    Taken,
    /// The things that the parent handed over are not there any more.
    #[error(
        "what was handed over is not there any more: {what}; was it taken by an earlier program of this process?"
    )]
    Spent {
        /// What is there instead.
        what: String,
    },
    /// The segment was removed before this process had joined it.
    #[error(
        "the segment with id {id} has gone before this process joined it; the parent has to \
         keep it until then (`SpawnedChild::joined`)"
    )]
    Gone {
        /// The id of its shared-memory object.
        id: i32,
    },
    /// The parent is of another version.
    #[error(
        "the parent hands over in version {found}, and this build reads {supported}; use one \
         build on both sides"
    )]
    Version {
        /// The parent's version.
        found: u64,
        /// The only version that this build reads.
        supported: u64,
    },
    /// The segment could not be joined.
    #[error(transparent)]
    Segment(#[from] OpenError),
    /// The kernel refused.
    #[error(transparent)]
    System(#[from] sys::Error),
}

debug_as_display! {
    SpawnError { Start NeverJoined; Fault System }
    InheritError { NotHandedOver NotForThis Taken Spent Gone Version; Segment System }
}
