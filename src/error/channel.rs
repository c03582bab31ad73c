//! Why a channel cannot be opened.

use core::fmt;
use std::time::Duration;

use super::{BadName, Fault, debug_as_display};
use crate::storage::Side;

/// Why a channel could not be opened.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// The name cannot be used.
    #[error(transparent)]
    BadName(#[from] BadName),
    /// The channel does not exist, and there was no capacity to create it with.
    #[error("segment {segment} has no channel {channel}; give a capacity to create it")]
    NotFound {
        /// The channel's name.
        channel: String,
        /// The segment's name.
        segment: String,
    },
    /// The channel has another kind, capacity or type. An earlier build of the
    /// program may have created it.
    #[error(
        "channel {channel} of segment {segment} has {what} {theirs}, and {ours} was asked for; \
         ask for what it was created with, or remove the segment (`tombolo rm {segment}`) to \
         create it anew"
    )]
    Mismatch {
        /// The channel's name.
        channel: String,
        /// The segment's name, or `@` and its id.
        segment: String,
        /// The property in which they differ.
        what: ChannelProperty,
        /// What the channel has.
        theirs: String,
        /// What the caller asked for.
        ours: String,
    },
    /// The capacity, or the element, is out of range.
    #[error("cannot create channel {channel}: {what}")]
    BadCapacity {
        /// The channel's name.
        channel: String,
        /// What is wrong, and the range.
        what: String,
    },
    /// The directory has no entry left.
    #[error(
        "segment {segment} has all of its {channels} channels; create it with \
         `Options::channels` for more"
    )]
    DirectoryFull {
        /// The segment's name.
        segment: String,
        /// How many channels it was created for.
        channels: u16,
    },
    /// The segment has no room left for the channel.
    #[error(
        "channel {channel} needs {needed} bytes, and segment {segment} has {available} left; \
         create the segment with `Options::size({size})`, or more for further channels"
    )]
    SegmentFull {
        /// The channel's name.
        channel: String,
        /// The segment's name.
        segment: String,
        /// What it needs.
        needed: usize,
        /// What is left.
        available: usize,
        /// The [size](crate::Options::size) of a segment that also has room for
        /// this channel.
        size: usize,
    },
    /// The SPSC channel already has its one sender, or its one receiver.
    #[error(
        "channel {channel} is SPSC and has its {side} already, in process {pid}; drop that one, \
         or use an MPMC channel"
    )]
    RoleTaken {
        /// The channel's name.
        channel: String,
        /// The side that is taken.
        side: Side,
        /// The process that has it; 0 if it is not known.
        pid: u64,
    },
    /// This process has as many ends of the channel as it can have.
    #[error(
        "channel {channel} has {limit} {side}s in this process, and that is the limit; drop some"
    )]
    TooMany {
        /// The channel's name.
        channel: String,
        /// The side of these ends.
        side: Side,
        /// The limit.
        limit: u16,
    },
    /// The broadcast channel has as many publishers as it can have.
    #[error(
        "channel {channel} has {limit} publishers, and that is the limit; drop some, or create it \
         with more (`publishers`)"
    )]
    TooManyPublishers {
        /// The channel's name.
        channel: String,
        /// The limit.
        limit: u16,
    },
    /// The broadcast channel has as many reliable subscribers as it can have.
    #[error(
        "channel {channel} has {limit} reliable subscribers, and that is the limit; drop some, \
         subscribe without being reliable, or create it with more (`reliable`)"
    )]
    TooManyReliable {
        /// The channel's name.
        channel: String,
        /// The limit.
        limit: u16,
    },
    /// A participant's build of the library does not know this kind of channel, and could not
    /// sweep it.
    #[error(
        "channel {channel} cannot be created: process {pid} takes part in the segment with an \
         earlier build that does not know {kind} channels; end it, or create the channel in a \
         segment of its own"
    )]
    UnknownKind {
        /// The channel's name.
        channel: String,
        /// The kind.
        kind: &'static str,
        /// The process.
        pid: u64,
    },
    /// The segment was created without the semaphores that calls need: one more for each
    /// participant. `kernel.sem` did not allow as many in one set.
    #[error(
        "segment {segment} has no calls: it was created with a set of {semaphores} semaphores, \
         where calls need {needed}; allow more (`sysctl kernel.sem`, the first and the second \
         number), or ask for fewer participants or channels, and create it anew"
    )]
    NoCalls {
        /// The segment's name.
        segment: String,
        /// How many semaphores its set has.
        semaphores: u16,
        /// How many it would have with those for calls.
        needed: u16,
    },
    /// The channel stands twice among those of a [`SendAll`](crate::SendAll), which sends one
    /// message to each.
    #[error("channel {channel} stands twice among those that are sent to together; leave one out")]
    Twice {
        /// The channel's name.
        channel: String,
    },
    /// The channel is of another segment than the others of a [`SendAll`](crate::SendAll), or
    /// this process has opened the segment a second time for it.
    #[error(
        "channel {channel} was opened in segment {segment}, and others that are sent to together \
         in segment {first}; open all of them in one `Segment`"
    )]
    OtherSegment {
        /// The channel's name.
        channel: String,
        /// Its segment's name.
        segment: String,
        /// The segment of the first one.
        first: String,
    },
    /// A participant's build of the library does not know joint sends
    /// ([`SendAll`](crate::SendAll)), and could not sweep a process that dies over one.
    #[error(
        "process {pid} takes part in segment {segment} with an earlier build that cannot \
         complete what is sent to several channels together; end it"
    )]
    EarlierBuild {
        /// The segment's name.
        segment: String,
        /// The process.
        pid: u64,
    },
    /// The channel's entry contradicts itself.
    #[error(
        "channel {channel} is damaged: {what}; remove the segment (`tombolo rm`) and create it anew"
    )]
    Damaged {
        /// The channel's name.
        channel: String,
        /// The contradiction.
        what: String,
    },
    /// Another process has held the segment's lease for too long.
    #[error(
        "segment {segment} is busy: process {pid} has been creating, joining or leaving it for \
         {waited:?}; continue or end that process"
    )]
    Busy {
        /// The segment's name.
        segment: String,
        /// The process that holds the lease; 0 if it is not visible from here.
        pid: i32,
        /// How long this process waited.
        waited: Duration,
    },
    /// The segment itself can no longer be used.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// A property in which a channel differs from what was asked for: see
/// [`ChannelError::Mismatch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ChannelProperty {
    /// How many senders and receivers it has, and whether its messages are of
    /// one size or bytes of any length.
    Kind,
    /// The type of its messages, or the length of the longest.
    Elements,
    /// How many messages it holds.
    Capacity,
    /// Calls: the type of its replies, or the length of the longest.
    Replies,
    /// Broadcast: how many publishers it may have.
    Publishers,
    /// Broadcast: how many reliable subscribers it may have.
    Reliable,
}

impl fmt::Display for ChannelProperty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kind => "kind",
            Self::Elements => "elements",
            Self::Capacity => "capacity",
            Self::Replies => "replies",
            Self::Publishers => "the number of publishers",
            Self::Reliable => "the number of reliable subscribers",
        })
    }
}

debug_as_display! {
    ChannelError {
        NotFound Mismatch BadCapacity DirectoryFull SegmentFull RoleTaken TooMany
        TooManyPublishers TooManyReliable UnknownKind NoCalls Twice OtherSegment EarlierBuild Damaged
        Busy;
        BadName Fault
    }
}
