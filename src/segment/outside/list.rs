//! What a segment has, for people: of this process's own, and of all that it may read.

use super::broadcast::BroadcastInfo;
use super::calls::CallsInfo;
use super::examine::{Examined, Found, Glance, ours};
use super::holders::attached_for_good;
use super::people::{self, PersonInfo};
use crate::error::OpenError;
use crate::kinds::block::Block;
use crate::kinds::passed::Passed;
use crate::kinds::table::RingKind as ChannelKind;
use crate::ring::event;
use crate::ring::table::Member;
use crate::segment::deaths::{Deaths, deaths};
use crate::segment::directory::Described;
use crate::segment::handle::Segment;
use crate::segment::mapped::Mapped;
use crate::segment::members::alive_or_joined;
use crate::storage::layout::flags;
use crate::storage::{Cells, OperatingState, Side};
use crate::sync::Ordering;

/// A segment, as [`Segment::list`](Segment::list) finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
// More fields than 12: they are what a listing shows of a segment.
pub struct SegmentInfo {
    /// Tells it from every other segment that has had or will have its id.
    pub identity: u64,
    /// Its name; empty for an anonymous one. Like all texts here, it comes from the
    /// segment: a process with write access may have written text that moves a terminal's
    /// cursor.
    pub name: String,
    /// Its key; 0 for an anonymous one.
    pub key: i32,
    /// The id of its shared-memory object.
    pub id: i32,
    /// The id of its semaphore set.
    pub set: i32,
    /// Its size in bytes.
    pub size: usize,
    /// Its owner.
    pub uid: u32,
    /// The user that has created it: see
    /// [`Options::any_owner`](crate::Options::any_owner).
    pub creator_uid: u32,
    /// Its permissions, as nine bits.
    pub mode: u32,
    /// How many attachments there are, in all processes. Processes that only look, as
    /// this list does, are attached for some microseconds, and left out as far as
    /// possible.
    pub attached: u64,
    /// How many of its bytes are in memory: those that have been touched, and are not swapped
    /// out. Only an [`Observer`](crate::Observer) asks; `None` where the kernel does not tell.
    pub resident: Option<u64>,
    /// How many participants live.
    pub participants: usize,
    /// Whether it is known which participants live. It is not if the semaphore set is
    /// gone or may not be read. Then `participants`, and the senders and receivers of the
    /// channels, count all participants that have joined and not left, including dead
    /// ones that have not been swept.
    pub living_known: bool,
    /// Whether it is open for messages.
    pub state: OperatingState,
    /// The deaths in it.
    pub deaths: Deaths,
    /// The participants that live, and what each of them has. Only an
    /// [`Observer`](crate::Observer) asks; otherwise it is empty.
    pub people: Vec<PersonInfo>,
    /// Its channels.
    pub channels: Vec<ChannelInfo>,
}

/// A channel, as [`Segment::channels`] lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
// More fields than 12: they are what a listing shows of a channel.
pub struct ChannelInfo {
    /// Its name, as the segment contains it: see [`SegmentInfo::name`].
    pub name: String,
    /// Its kind, and whether it is for messages of any length.
    pub kind: ChannelKind,
    /// The schema of its elements.
    pub element: String,
    /// Bytes of an element.
    pub element_size: usize,
    /// How many messages it holds; for a service, how many calls there can be at once.
    pub capacity: usize,
    /// How many messages can be received now, including those that a dead receiver had
    /// taken and that are delivered again. For SPSC bytes, how many of the longest
    /// messages take as much room. For broadcast, how many the slowest reliable subscriber has
    /// not read. For a service, how many calls wait for a server.
    pub depth: u64,
    /// Senders of living participants; if [`SegmentInfo::living_known`] is false, also of
    /// dead ones that have not been swept.
    pub senders: u64,
    /// Receivers, in the same way.
    pub receivers: u64,
    /// How much has gone into it since it was made.
    pub passed: Passed,
    /// How many threads sleep in it until there is room, as the kernel says it. `None` if the
    /// semaphores may not be read. A thread that waits for several channels at once sleeps
    /// elsewhere: see [`PersonInfo::asleep`].
    pub senders_asleep: Option<u32>,
    /// How many threads sleep in it until there is a message.
    pub receivers_asleep: Option<u32>,
    /// Messages that were lost with the process that was writing them, ever. This and the
    /// next two count recoveries in MPMC channels. They may lack what a sweeper had done
    /// that was itself killed.
    pub unsent: u64,
    /// Messages delivered again because their receiver died, ever.
    pub redelivered: u64,
    /// Messages not delivered again although their receiver died, ever.
    pub dropped: u64,
    /// What a broadcast channel has besides; `None` of another kind of channel.
    pub broadcast: Option<BroadcastInfo>,
    /// What a [service](Segment::service) has besides; `None` of another kind of channel.
    pub calls: Option<CallsInfo>,
}

impl Segment {
    /// All channels. Their senders and receivers are those of
    /// [`participants`](Self::participants).
    pub fn channels(&self) -> Vec<ChannelInfo> {
        let mapped = self.participant().mapped();
        let members = alive_or_joined(mapped).0;
        let channels = mapped.directory().channels();
        channels.map(|found| describe(mapped, found, &members)).collect()
    }

    /// Every Tombolo segment that the caller may read. Joins none of them.
    ///
    /// # Errors
    /// The kernel's refusal to list its objects.
    pub fn list() -> Result<Vec<SegmentInfo>, OpenError> {
        list()
    }
}

/// Every segment of ours that the caller may read.
fn list() -> Result<Vec<SegmentInfo>, OpenError> {
    let mut glance = Glance::default();
    let found = ours()?.into_iter().filter_map(|stat| match glance.examine(stat, None) {
        Ok(Examined::Complete(found)) => Some(*found).filter(is_there),
        _ => None,
    });
    Ok(found
        .map(|found| {
            let mut info = describe_segment(&found, Shown::Usual);
            let (stat, shm) = (found.stat, found.mapped.shm);
            // This look's own is none.
            drop(found);
            // Nor is another's, which is soon gone.
            let most = u64::try_from(info.participants).unwrap_or(u64::MAX);
            info.attached = attached_for_good(shm, stat.attached, most);
            info
        })
        .collect())
}

/// A removed segment exists until its last process is gone, but no new process can
/// find it. An anonymous one is removed from the start.
pub(super) fn is_there(found: &Found) -> bool {
    !found.stat.marked_for_removal || found.mapped.flags & flags::ANONYMOUS != 0
}

/// How much to find out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// What a list has.
    Usual,
    /// And who the participants are.
    All,
}

pub(super) fn describe_segment(found: &Found, shown: Shown) -> SegmentInfo {
    let Found { stat, mapped } = found;
    let (members, living_known) = alive_or_joined(mapped);
    let channels: Vec<Described> = mapped.directory().channels().collect();
    let blocks: Vec<Block> = channels.iter().map(|found| found.block).collect();
    let people = match shown {
        Shown::Usual => Vec::new(),
        Shown::All => {
            members.iter().map(|&member| PersonInfo::of(mapped, member, &blocks)).collect()
        }
    };
    SegmentInfo {
        identity: mapped.generation,
        name: mapped.name.clone(),
        key: stat.key.raw(),
        id: stat.id,
        set: mapped.semaphores.set().id(),
        size: stat.size,
        uid: stat.uid,
        creator_uid: stat.creator_uid,
        mode: stat.mode,
        attached: stat.attached,
        resident: None,
        participants: members.len(),
        living_known,
        state: mapped.state(),
        deaths: deaths(mapped),
        people,
        channels: channels.into_iter().map(|found| describe(mapped, found, &members)).collect(),
    }
}

/// A channel, with the endpoints that these participants have.
fn describe(mapped: &Mapped, found: Described, members: &[Member]) -> ChannelInfo {
    let (senders, receivers) = mapped.endpoints_of(&found.block, members.iter().copied());
    let control = mapped.control(&found.block);
    let sleepers = |side, sem| {
        // The kernel is asked only where somebody has said that he waits.
        let waits = event::waits(control.waiting(side));
        if waits { people::sleepers(mapped, sem) } else { Some(0) }
    };
    let cells = found.block.cells(mapped);
    ChannelInfo {
        unsent: control.recovered.tombstones.load(Ordering::Relaxed),
        redelivered: control.recovered.orphaned.load(Ordering::Relaxed),
        dropped: control.recovered.dropped.load(Ordering::Relaxed),
        broadcast: BroadcastInfo::of(mapped, &found.block, members),
        calls: CallsInfo::of(mapped, &found.block, members),
        depth: cells.as_ref().map_or(0, Cells::len),
        passed: cells.as_ref().map_or(Passed::Messages(0), Cells::passed),
        senders_asleep: sleepers(Side::Sender, found.block.space(mapped)),
        receivers_asleep: sleepers(Side::Receiver, found.block.items(mapped)),
        name: found.name,
        kind: found.block.kind,
        element: found.schema,
        element_size: found.size,
        capacity: found.block.plan.messages,
        senders,
        receivers,
    }
}
