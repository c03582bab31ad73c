//! One name, one segment: a shared-memory object and a semaphore set that
//! belong together, with everything inside found by offset.

mod block;
mod check;
mod deaths;
mod debris;
mod directory;
mod enlist;
mod inspect;
pub(crate) mod journal;
pub(crate) mod mail;
mod mapped;
mod name;
mod open;
mod options;
mod owner;
mod participant;
mod peer;
mod queue;
mod removal;
mod sending;
mod serve;
mod site;
mod state;
mod trust;

use core::fmt;
use std::sync::Arc;

use crate::error::{Fault, OpenError};
use crate::ring::table::Member;
use crate::storage::{RingKind as ChannelKind, layout};
use crate::sync::Ordering;
use crate::sys;

pub use check::{Audit, Finding};
pub use deaths::{Death, Deaths};
pub(crate) use directory::{Described, Spec};
pub use inspect::{Orphan, SegmentInfo};
use mapped::Mapped;
pub(crate) use name::Name;
pub use options::Options;
pub use owner::Owner;
pub use participant::Side;
pub(crate) use participant::{Participant, Unleased};
pub use peer::Peer;
pub(crate) use queue::received;
pub use removal::RemoveOnDrop;
pub(crate) use sending::Busy;
pub use serve::{Stats, UserCommand};
pub use state::State;
pub(crate) use trust::Membership;
pub use trust::TrustedPeers;

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

/// A participant, as [`Segment::participants`] lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParticipantInfo {
    /// Its slot in the table.
    pub slot: u16,
    /// Its process, as it is numbered in its own pid namespace.
    pub pid: u32,
    /// Which participant it is, for waits that end with it: see
    /// [`Receiver::bind_to_peer`](crate::Receiver::bind_to_peer).
    pub peer: Peer,
    /// Its user.
    pub uid: u32,
    /// Whether it is this handle's own.
    pub own: bool,
    /// Whether its process still has the segment in its memory. `Some(false)` means that
    /// the process has called `exec`, or has detached the segment without the library. It
    /// no longer takes part. What it holds is recovered when it ends, so killing it
    /// recovers that.
    ///
    /// `None` if this is not visible: in another pid namespace, without the right to
    /// inspect that process, or if the process has just ended. This information is for
    /// people, and as old as this list. The library never takes anything from a
    /// participant because of it.
    pub attached: Option<bool>,
}

/// A channel, as [`Segment::channels`] lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelInfo {
    /// Its name, as the segment contains it: see [`SegmentInfo::name`].
    pub name: String,
    /// Its kind, and whether it is for messages of any length.
    pub kind: ChannelKind,
    /// The schema of its elements.
    pub element: String,
    /// Bytes of an element.
    pub element_size: usize,
    /// How many messages it holds.
    pub capacity: usize,
    /// How many messages can be received now, including those that a dead receiver had
    /// taken and that are delivered again. For SPSC bytes, how many of the longest
    /// messages take as much room.
    pub depth: u64,
    /// Senders of living participants; if [`SegmentInfo::living_known`] is false, also of
    /// dead ones that have not been swept.
    pub senders: u64,
    /// Receivers, in the same way.
    pub receivers: u64,
    /// Messages that were lost with the process that was writing them, ever. This and the
    /// next two count recoveries in MPMC channels. They may lack what a sweeper had done
    /// that was itself killed.
    pub unsent: u64,
    /// Messages delivered again because their receiver died, ever.
    pub redelivered: u64,
    /// Messages not delivered again although their receiver died, ever.
    pub dropped: u64,
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

    pub(crate) fn new(participant: Arc<Participant>) -> Self {
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
            None => self.participant.look(),
        }
    }

    /// The living participants. Dead ones are not listed, whether or not they have been
    /// [swept](Self::sweep). This reads a few files of each process.
    ///
    /// Once the segment's semaphore set is gone, deaths are unknown, and the list
    /// contains all participants that have joined and not left.
    pub fn participants(&self) -> Vec<ParticipantInfo> {
        let mapped = self.participant.mapped();
        let number = |word: u64| u32::try_from(word).unwrap_or(0);
        alive_or_joined(mapped)
            .0
            .into_iter()
            .map(|member| {
                let info = mapped.info(member.id);
                let pid = number(info.pid.load(Ordering::Relaxed));
                ParticipantInfo {
                    slot: member.id,
                    pid,
                    peer: Peer::new(mapped.generation, member, pid),
                    uid: number(info.uid.load(Ordering::Relaxed)),
                    own: member == self.participant.me(),
                    attached: attached(info, self.id()),
                }
            })
            .collect()
    }

    /// Which participants have died, when, what they held, and what became of it, as far
    /// as is known without a [sweep](Self::sweep). This reads some 20 KiB, and delays
    /// nobody.
    ///
    /// ```
    /// let segment = tombolo::Segment::anonymous()?;
    /// segment.sweep()?;
    /// let deaths = segment.deaths();
    /// for death in &deaths.recent {
    ///     // process 4711 died 2.5s ago, in channel jobs: 1 to be redelivered
    ///     println!("{death}");
    /// }
    /// if let Some(last) = deaths.recent.last() {
    ///     println!("the last of {} deaths: {:?} ago", deaths.total, last.ago);
    /// }
    /// # assert_eq!(deaths.total, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn deaths(&self) -> Deaths {
        deaths::deaths(self.participant.mapped())
    }

    /// All channels. Their senders and receivers are those of
    /// [`participants`](Self::participants).
    pub fn channels(&self) -> Vec<ChannelInfo> {
        let mapped = self.participant.mapped();
        describe(mapped, &alive_or_joined(mapped).0)
    }

    /// Every Tombolo segment that the caller may read. Joins none of them.
    ///
    /// # Errors
    /// The kernel's refusal to list its objects.
    pub fn list() -> Result<Vec<SegmentInfo>, OpenError> {
        inspect::list()
    }

    /// Audits the segment of this name at rest: every word against
    /// `docs/format.md`, without joining and without the right to write.
    ///
    /// A fault counts only if several readings find it, so a word that is wrong only for
    /// a moment is not reported for a segment in use. A participant that is stopped in
    /// the middle of an operation may appear as a fault.
    ///
    /// ```
    /// let name = format!("doc:check:{}", std::process::id());
    /// let segment = tombolo::Segment::options().transient(true).create(&name)?;
    /// let audit = tombolo::Segment::check(&name)?;
    /// assert!(audit.is_sound(), "{:?}", audit.faults);
    /// # drop(segment);
    /// # Ok::<(), tombolo::OpenError>(())
    /// ```
    ///
    /// # Errors
    /// [`OpenError::NotFound`], and the kernel's if the caller may not read it.
    pub fn check(name: &str) -> Result<Audit, OpenError> {
        check::named(name)
    }

    /// Audits the segment with this [`id`](Self::id): see
    /// [`check`](Self::check).
    ///
    /// # Errors
    /// Those of [`check`](Self::check), and [`OpenError::NotOurs`].
    pub fn check_id(id: i32) -> Result<Audit, OpenError> {
        check::by_id(id)
    }

    /// Every segment, and every semaphore set that has lost its segment, that no living
    /// process holds: the remains of killed processes, and segments that wait for the
    /// next process, with or without messages.
    ///
    /// This attaches segments for some microseconds. If another process has attached a
    /// segment without taking part, this waits for it, 20 ms at most, so that two
    /// processes that look at once both find the orphan.
    ///
    /// # Errors
    /// The kernel's refusal to list its objects.
    pub fn orphans() -> Result<Vec<Orphan>, OpenError> {
        inspect::orphans()
    }
}

/// Whether the process in `info` has the object with this id attached.
fn attached(info: &layout::Info, id: i32) -> Option<bool> {
    let pid = u32::try_from(info.pid.load(Ordering::Relaxed)).ok()?;
    let start_time = info.start_time.load(Ordering::Relaxed);
    let pid_namespace = info.pid_namespace.load(Ordering::Relaxed);
    if sys::proc::pid_namespace() != Some(pid_namespace) {
        return None;
    }
    let attached = sys::proc::has_attached(pid, id);
    // Afterwards: the inspected process is still the same one.
    attached.filter(|_| sys::proc::start_time(pid) == Some(start_time))
}

/// The living participants, and that they are known; otherwise all that have joined.
fn alive_or_joined(mapped: &Mapped) -> (Vec<Member>, bool) {
    match mapped.alive() {
        Some(alive) => (alive, true),
        None => (mapped.living().collect(), false),
    }
}

fn describe(mapped: &Mapped, members: &[Member]) -> Vec<ChannelInfo> {
    directory::sound(mapped)
        .map(|found| {
            let (senders, receivers) = mapped.endpoints_of(&found.block, members.iter().copied());
            let control = mapped.control(&found.block);
            ChannelInfo {
                unsent: control.tombstones.load(Ordering::Relaxed),
                redelivered: control.orphaned.load(Ordering::Relaxed),
                dropped: control.dropped.load(Ordering::Relaxed),
                depth: found.block.cells(mapped).map_or(0, |cells| cells.len()),
                name: found.name,
                kind: found.block.kind,
                element: found.schema,
                element_size: found.size,
                capacity: found.block.plan.messages,
                senders,
                receivers,
            }
        })
        .collect()
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
