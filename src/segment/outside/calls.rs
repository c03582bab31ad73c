//! What a service has, for people.

use crate::kinds::block::Block;
use crate::kinds::calls::Inspection;
use crate::ring::table::Member;
use crate::segment::mapped::Mapped;
use crate::storage::Peer;

/// What a service has beyond what each channel has: see
/// [`ChannelInfo::calls`](crate::ChannelInfo::calls). It was so a moment ago.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallsInfo {
    /// How many calls have a slot: being made, waiting, in hand, or replied to and not yet
    /// taken note of.
    pub under_way: u64,
    /// How many wait for a server.
    pub waiting: u64,
    /// The participants that have calls in hand, and how many. A server that has many, and
    /// replies to none, may have forgotten them.
    pub in_hand: Vec<(Peer, u64)>,
    /// How many calls in hand no client waits for any more.
    pub abandoned: u64,
    /// How many bytes a reply has; of bytes, the longest.
    pub reply_size: usize,
}

impl CallsInfo {
    /// `None` of another kind of channel. What others than these participants have in hand is
    /// left out.
    pub(super) fn of(mapped: &Mapped, block: &Block, members: &[Member]) -> Option<Self> {
        let Inspection { under_way, open, in_hand, abandoned, made: _ } =
            Inspection::of(&block.cells(mapped)?)?;
        let count = |id: u16| in_hand.iter().filter(|&&hand| hand == id).count() as u64;
        let in_hand = members.iter().map(|&member| (mapped.peer(member), count(member.id)));
        Some(Self {
            under_way,
            waiting: open,
            in_hand: in_hand.filter(|&(_, count)| count > 0).collect(),
            abandoned,
            reply_size: block.plan.reply.size,
        })
    }
}
