//! What a broadcast channel has, for people.

use crate::kinds::block::Block;
use crate::kinds::broadcast::Inspection;
use crate::ring::table::Member;
use crate::segment::mapped::Mapped;
use crate::storage::Peer;

/// What a broadcast channel has beyond what each channel has: see
/// [`ChannelInfo::broadcast`](crate::ChannelInfo::broadcast). It was so a moment ago.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BroadcastInfo {
    /// How many messages have been published, ever: the sequence number of the next one.
    pub published: u64,
    /// The sequence number of the oldest message that is retained. So many as `published` is
    /// greater are retained.
    pub oldest: u64,
    /// Up to which sequence number publishers may publish without asking the reliable
    /// subscribers again.
    pub limit: u64,
    /// The participants that have a publisher, once for each.
    pub publishers: Vec<Peer>,
    /// How many publishers there may be.
    pub most_publishers: u16,
    /// The reliable subscribers.
    pub reliable: Vec<ReliableInfo>,
    /// How many reliable subscribers there may be.
    pub most_reliable: u16,
}

/// A reliable subscriber: see [`BroadcastInfo::reliable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReliableInfo {
    /// The participant that has it.
    pub peer: Peer,
    /// The sequence number of the next message that it reads.
    pub position: u64,
    /// How many messages it has not read.
    pub behind: u64,
}

impl BroadcastInfo {
    /// `None` of another kind of channel. Ends of others than these participants are left out.
    pub(super) fn of(mapped: &Mapped, block: &Block, members: &[Member]) -> Option<Self> {
        let Inspection { limit, published, oldest, publishers, reliable } =
            Inspection::of(&block.cells(mapped)?)?;
        let publishers = publishers.into_iter().filter(|member| members.contains(member));
        let reliable = reliable.into_iter().filter(|(member, _)| members.contains(member));
        let reliable = reliable.map(|(member, position)| ReliableInfo {
            peer: mapped.peer(member),
            position,
            behind: published.saturating_sub(position),
        });
        Some(Self {
            published,
            oldest,
            limit,
            publishers: publishers.map(|member| mapped.peer(member)).collect(),
            most_publishers: block.plan.seats.publishers,
            reliable: reliable.collect(),
            most_reliable: block.plan.seats.reliable,
        })
    }
}
