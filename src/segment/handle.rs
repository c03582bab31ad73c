//! The public handle of a segment: opening, removing, leaving.

use core::fmt;
use std::sync::Arc;

use super::open::{self, Options, Wish};
use super::participant::Participant;
use crate::error::{Fault, OpenError};
use crate::sys::shm::Shm;

/// A segment that this process participates in.
///
/// Cloning it is cheap and gives another handle of the same participant. The process
/// leaves when its last handle, sender and receiver is dropped, or when it ends in any
/// way. The segment stays until it is [removed](Self::remove), unless it is
/// [transient](Options::transient).
///
/// A process that opens a segment twice counts as two participants.
#[derive(Clone)]
pub struct Segment {
    participant: Arc<Participant>,
}

impl Segment {
    /// Creates a segment with the default [`Options`].
    ///
    /// # Errors
    /// See [`Options::create`].
    pub fn create(name: &str) -> Result<Self, OpenError> {
        Self::options().create(name)
    }

    /// Opens a segment that exists.
    ///
    /// # Errors
    /// See [`Options::open`].
    pub fn open(name: &str) -> Result<Self, OpenError> {
        Self::options().open(name)
    }

    /// Opens a segment, or creates it with the default [`Options`].
    ///
    /// # Errors
    /// See [`Options::open_or_create`].
    pub fn open_or_create(name: &str) -> Result<Self, OpenError> {
        Self::options().open_or_create(name)
    }

    /// Creates a segment without a name, with the default [`Options`].
    ///
    /// # Errors
    /// See [`Options::anonymous`].
    pub fn anonymous() -> Result<Self, OpenError> {
        Self::options().anonymous()
    }

    /// Opens a segment by its [`id`](Self::id).
    ///
    /// # Errors
    /// See [`Options::open_id`].
    pub fn open_id(id: i32) -> Result<Self, OpenError> {
        Self::options().open_id(id)
    }

    /// The options to create or open a segment with.
    pub const fn options() -> Options {
        Options::new()
    }

    /// Removes the segment of this name, whichever user has created it. Every call in it,
    /// blocked or new, in any process, returns [`Fault::Closed`]. The kernel allows this
    /// to its creator, its owner and root.
    ///
    /// # Errors
    /// [`OpenError::NotFound`], and the kernel's.
    pub fn remove_named(name: &str) -> Result<(), OpenError> {
        open::remove(&Self::options(), name).map_err(|error| error.of_segment(name))
    }

    fn new(participant: Arc<Participant>) -> Self {
        Self { participant }
    }

    pub(crate) const fn participant(&self) -> &Arc<Participant> {
        &self.participant
    }

    /// Removes this segment. Every call in it, blocked or new, in any process, returns
    /// [`Fault::Closed`]. Its memory is freed when the last process has detached. Its
    /// name is free at once.
    ///
    /// # Errors
    /// [`Fault::Forked`], or the kernel's refusal if the caller is neither
    /// the owner nor privileged.
    pub fn remove(&self) -> Result<(), Fault> {
        if self.participant.guard().in_child() {
            return Err(Fault::Forked);
        }
        let removed = self.participant.mapped().remove();
        removed.map_err(|error| Fault::System(error).of_segment(self.name()))
    }

    /// Releases this handle, as dropping it does, and reports a failure. The process
    /// leaves the segment with the last handle of this participant, including senders and
    /// receivers. The last handle tells the other participants, or reports why they could
    /// not be told.
    ///
    /// # Errors
    /// [`Fault::System`] if the kernel refuses the operations of leaving; waiting
    /// processes may then not be woken before this process ends. [`Fault::Forked`]. A
    /// removed segment counts as left.
    pub fn leave(self) -> Result<(), Fault> {
        Participant::let_go(self.participant)
    }

    /// Its name; `(anonymous)` if it has none.
    pub fn name(&self) -> &str {
        &self.participant.mapped().name
    }

    /// The id of its shared-memory object, as `ipcs -m` shows it.
    pub fn id(&self) -> i32 {
        self.participant.mapped().shm.id()
    }

    /// Distinguishes it from every other segment that has had or will have this id.
    pub(crate) fn generation(&self) -> u64 {
        self.participant.mapped().generation
    }

    /// Its size in bytes.
    pub fn size(&self) -> usize {
        self.participant.mapped().memory.len()
    }

    /// Looks for participants that have died, and recovers what they held. Returns
    /// whether there were any. No program needs to call this, because a process that
    /// waits for a dead one does it.
    ///
    /// # Errors
    /// Those of every operation.
    pub fn sweep(&self) -> Result<bool, Fault> {
        match self.participant.barred() {
            Some(fault) => Err(fault),
            None => self.participant.scan(),
        }
    }
}

impl Options {
    /// Creates a segment. No segment of this name may exist.
    ///
    /// # Errors
    /// [`OpenError::Exists`], [`OpenError::BadName`], [`OpenError::Stranger`],
    /// and every limit.
    pub fn create(&self, name: &str) -> Result<Segment, OpenError> {
        open::named(self, name, Wish::Create)
            .map(Segment::new)
            .map_err(|error| error.of_segment(name))
    }

    /// Opens an existing segment.
    ///
    /// # Errors
    /// [`OpenError::NotFound`], [`OpenError::Stranger`], and those of joining.
    pub fn open(&self, name: &str) -> Result<Segment, OpenError> {
        open::named(self, name, Wish::Open)
            .map(Segment::new)
            .map_err(|error| error.of_segment(name))
    }

    /// Opens the segment, or creates it if it does not exist.
    ///
    /// # Errors
    /// Those of [`create`](Self::create) and [`open`](Self::open), except for `Exists`
    /// and `NotFound`.
    pub fn open_or_create(&self, name: &str) -> Result<Segment, OpenError> {
        open::named(self, name, Wish::Either)
            .map(Segment::new)
            .map_err(|error| error.of_segment(name))
    }

    /// Creates a segment without a name. Other processes open it by its
    /// [`id`](Segment::id). Its memory is freed with the last process attached, however
    /// that ends. The last participant to leave removes its semaphore set; if that
    /// participant is killed instead, the set stays.
    ///
    /// # Errors
    /// Every limit.
    pub fn anonymous(&self) -> Result<Segment, OpenError> {
        open::anonymous(self).map(Segment::new).map_err(|error| error.of_segment("(anonymous)"))
    }

    /// Opens an anonymous segment.
    ///
    /// # Errors
    /// [`OpenError::NotFound`], [`OpenError::NotOurs`], and those of joining.
    pub fn open_id(&self, id: i32) -> Result<Segment, OpenError> {
        open::by_id(self, Shm::from_id(id))
            .map(Segment::new)
            .map_err(|error| error.of_segment(&format!("with id {id}")))
    }
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Segment")
            .field("name", &self.name())
            .field("id", &self.id())
            .field("size", &self.size())
            .finish_non_exhaustive()
    }
}
