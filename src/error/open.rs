//! Why a segment cannot be opened.

use std::time::Duration;

use super::debug_as_display;
use crate::sys;

/// A name that cannot be used for a segment or a channel.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} cannot be a name: {reason}")]
#[non_exhaustive]
pub struct BadName {
    /// The name, or its beginning.
    pub name: String,
    /// What is wrong with it.
    pub reason: String,
}

/// Why a segment could not be created, opened or removed.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The name cannot be used.
    #[error(transparent)]
    BadName(#[from] BadName),
    /// No segment has this name, or this id.
    #[error("there is no segment {name}; has its creator run? `tombolo ls` shows what there is")]
    NotFound {
        /// The name, or `with id …`.
        name: String,
    },
    /// The segment was to be created, and one of this name exists.
    #[error(
        "segment {name} exists already (id {id}); open it, or remove it first: `tombolo rm {name}`"
    )]
    Exists {
        /// The name.
        name: String,
        /// The id of its shared-memory object.
        id: i32,
    },
    /// Another user created what is on a key of the name: see
    /// [`Options::any_owner`](crate::Options::any_owner).
    #[error(
        "segment {name} was created by another user, {}, and this process runs as uid {own_uid}: \
         the creator can read, change and remove what is in it; choose another name, have it \
         removed, or accept any creator with `Options::any_owner` ({})",
        user(*uid, user_name.as_deref()), objects(*shm, *set)
    )]
    Stranger {
        /// The name.
        name: String,
        /// The user that created it.
        uid: u32,
        /// That user's name, if it is known.
        user_name: Option<String>,
        /// The user of this process.
        own_uid: u32,
        /// The id of the shared-memory object, if that user created it.
        shm: Option<i32>,
        /// The id of the semaphore set, if that user created it.
        set: Option<i32>,
    },
    /// Other programs hold every key that the name hashes to.
    #[error(
        "segment {name} has no key left: other programs hold all {keys} keys that the name \
         hashes to (ipcs shows them); choose another name"
    )]
    NoKey {
        /// The name.
        name: String,
        /// How many keys were tried.
        keys: u8,
    },
    /// The object with this id is not one of Tombolo's segments.
    #[error(
        "the shared-memory object with id {id} is not a segment of Tombolo: {reason}; \
         `tombolo ls` shows those that are"
    )]
    NotOurs {
        /// The id.
        id: i32,
        /// What shows it.
        reason: &'static str,
    },
    /// The segment's format is of another version.
    #[error(
        "segment {name} has format version {found}, and this build uses version {supported} only: \
         use programs of one build, or end those that use the segment and remove it \
         (`tombolo rm`)"
    )]
    Version {
        /// The name.
        name: String,
        /// The segment's version.
        found: u64,
        /// The only version that this build uses.
        supported: u64,
    },
    /// The segment has something of a later build that each participant has to know.
    #[error(
        "segment {name} is used by a later build for something that this build does not know; \
         use programs of that build"
    )]
    Newer {
        /// The name.
        name: String,
    },
    /// The segment's header contradicts itself.
    #[error("segment {name} is damaged: {what}; remove it (`tombolo rm`) and create it anew")]
    Damaged {
        /// The name.
        name: String,
        /// The contradiction.
        what: String,
    },
    /// Another process has held the creation lease for too long. It is probably
    /// stopped: a holder that dies loses the lease.
    #[error(
        "segment {name} is busy: process {pid} has been creating, joining or leaving it for \
         {waited:?}; continue or end that process"
    )]
    Busy {
        /// The name.
        name: String,
        /// The process that holds the lease; 0 if it is not visible from here.
        pid: i32,
        /// How long this process waited.
        waited: Duration,
    },
    /// A living process has each of the participants' slots.
    #[error(
        "segment {name} is full: all {participants} participants are living processes; \
         create it with `Options::participants` for more"
    )]
    TableFull {
        /// The name.
        name: String,
        /// How many participants it was created for.
        participants: u16,
    },
    /// The segment was removed over and over while it was being opened.
    #[error("segment {name} is removed as fast as it is created; who else removes it?")]
    Unstable {
        /// The name.
        name: String,
    },
    /// An option is out of its range.
    #[error("cannot create segment {name}: {what}")]
    BadOption {
        /// The name.
        name: String,
        /// Which option, and its range.
        what: String,
    },
    /// The other participants rely on `membarrier`, which this process is not
    /// allowed to use.
    #[error(
        "segment {name} relies on membarrier(2), which this process cannot use (a sandbox?); \
         create it with `Options::symmetric_fences`"
    )]
    NoBarrier {
        /// The name.
        name: String,
    },
    /// The kernel refused.
    #[error(transparent)]
    System(#[from] sys::Error),
}

fn user(uid: u32, name: Option<&str>) -> String {
    name.map_or_else(|| format!("uid {uid}"), |name| format!("{name} (uid {uid})"))
}

fn objects(shm: Option<i32>, set: Option<i32>) -> String {
    let shm = shm.map(|id| format!("shared-memory object {id}: ipcs -m -i {id}"));
    let set = set.map(|id| format!("semaphore set {id}: ipcs -s -i {id}"));
    shm.into_iter().chain(set).collect::<Vec<_>>().join(", ")
}

impl OpenError {
    /// The same error; a refusal of the kernel's names this segment.
    pub(crate) fn of_segment(self, name: &str) -> Self {
        match self {
            Self::System(error) => Self::System(error.about(&format!("segment {name}"))),
            error => error,
        }
    }
}

debug_as_display! {
    BadName
    OpenError {
        NotFound Exists NoKey NotOurs Version Newer Damaged Busy TableFull Unstable BadOption
        NoBarrier Stranger;
        BadName System
    }
}
