//! What a segment has, for people: of this process's own, and of all that it may read.

use super::broadcast::BroadcastInfo;
use super::calls::CallsInfo;
use super::examine::{Found, find, ours};
use super::holders::attached_for_good;
use crate::error::OpenError;
use crate::kinds::table::RingKind as ChannelKind;
use crate::ring::table::Member;
use crate::segment::deaths::{Deaths, deaths};
use crate::segment::handle::Segment;
use crate::segment::mapped::Mapped;
use crate::segment::members::alive_or_joined;
use crate::storage::OperatingState;
use crate::storage::layout::flags;
use crate::sync::Ordering;

/// A segment, as [`Segment::list`](Segment::list) finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
// More fields than 12: they are what a listing shows of a segment.
pub struct SegmentInfo {
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
        describe(mapped, &alive_or_joined(mapped).0)
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
    // A removed segment exists until its last process is gone, but no new process can
    // find it. An anonymous one is removed from the start.
    let found = ours()?.into_iter().filter_map(find).filter(|found| {
        !found.stat.marked_for_removal || found.mapped.flags & flags::ANONYMOUS != 0
    });
    Ok(found
        .map(|Found { stat, mapped }| {
            let (members, living_known) = alive_or_joined(&mapped);
            let mut info = SegmentInfo {
                name: mapped.name.clone(),
                key: stat.key.raw(),
                id: stat.id,
                set: mapped.semaphores.set().id(),
                size: stat.size,
                uid: stat.uid,
                creator_uid: stat.creator_uid,
                mode: stat.mode,
                attached: stat.attached,
                participants: members.len(),
                living_known,
                state: mapped.state(),
                deaths: deaths(&mapped),
                channels: describe(&mapped, &members),
            };
            let shm = mapped.shm;
            // This look's own is none.
            drop(mapped);
            // Nor is another's, which is soon gone.
            let most = u64::try_from(members.len()).unwrap_or(u64::MAX);
            info.attached = attached_for_good(shm, stat.attached, most);
            info
        })
        .collect())
}

/// The channels, with the endpoints that these participants have.
fn describe(mapped: &Mapped, members: &[Member]) -> Vec<ChannelInfo> {
    let channels = mapped.directory().channels();
    channels
        .map(|found| {
            let (senders, receivers) = mapped.endpoints_of(&found.block, members.iter().copied());
            let control = mapped.control(&found.block);
            ChannelInfo {
                unsent: control.recovered.tombstones.load(Ordering::Relaxed),
                redelivered: control.recovered.orphaned.load(Ordering::Relaxed),
                dropped: control.recovered.dropped.load(Ordering::Relaxed),
                broadcast: BroadcastInfo::of(mapped, &found.block, members),
                calls: CallsInfo::of(mapped, &found.block, members),
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
