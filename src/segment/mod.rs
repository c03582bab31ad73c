//! One name, one segment: a shared-memory object and a semaphore set that
//! belong together, with everything inside found by offset.

mod block;
mod channels;
mod check;
mod commands;
mod deaths;
mod directory;
mod ear;
mod ears;
mod endpoints;
mod enlist;
mod handle;
mod joint_sends;
pub(crate) mod journal;
mod mapped;
mod members;
mod name;
mod open;
mod outside;
mod owner;
mod participant;
mod queue;
mod removal;
mod remove_on_drop;
mod sweep;
mod tickets;
mod trace;
mod trust;

pub use crate::storage::{OperatingState, Peer, Side};
pub(crate) use channels::{ReplySpec, Spec};
pub use check::Audit;
pub use commands::{Answer, Commander, Drain, Inbox, Outcome, Stats, UserCommand};
pub use deaths::{Death, Deaths};
pub(crate) use directory::Described;
pub(crate) use ear::Ear;
pub(crate) use endpoints::Busy;
pub use handle::Segment;
pub use members::ParticipantInfo;
pub(crate) use name::Name;
pub use open::Options;
pub use outside::{
    BroadcastInfo, CallsInfo, ChannelInfo, EndsInfo, Observer, Orphan, PersonInfo, ReliableInfo,
    SegmentInfo, Tap, Tapped, TappedMessage,
};
pub use owner::Owner;
pub(crate) use participant::Participant;
pub use remove_on_drop::RemoveOnDrop;
pub(crate) use trust::Membership;
pub use trust::TrustedPeers;
