//! One error for each kind of operation. A message that was not sent comes
//! back in it.

use core::fmt;
use std::time::Duration;

use crate::segment::{Peer, Side};
use crate::sys;

/// A name that cannot be used for a segment or a channel.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} cannot be a name: {reason}")]
pub struct BadName {
    /// The name, or its beginning.
    pub name: String,
    /// What is wrong with it.
    pub reason: String,
}

/// Why a segment could not be created, opened or removed.
#[derive(Clone, thiserror::Error)]
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
    /// A segment of this name exists, and was to be created.
    #[error(
        "segment {name} exists already (id {id}); open it, or remove it first: `tombolo rm {name}`"
    )]
    Exists {
        /// The name.
        name: String,
        /// The id of its shared-memory object.
        id: i32,
    },
    /// Another user has created what is on a key of the name: see
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
        /// The user that has created it.
        uid: u32,
        /// What that user is called, if that is known.
        user_name: Option<String>,
        /// The user that was to open it.
        own_uid: u32,
        /// The id of the shared-memory object, if it is that one.
        shm: Option<i32>,
        /// The id of the semaphore set, if it is that one.
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
        /// How one can tell.
        reason: &'static str,
    },
    /// The segment's layout is of another version.
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
    /// What the segment says of itself cannot be.
    #[error("segment {name} is damaged: {what}; remove it (`tombolo rm`) and create it anew")]
    Damaged {
        /// The name.
        name: String,
        /// What contradicts what.
        what: String,
    },
    /// Somebody has held the creation lease for too long: being stopped,
    /// most likely, for a dead holder loses it.
    #[error(
        "segment {name} is busy: process {pid} has been creating, joining or leaving it for \
         {waited:?}; continue or end that process"
    )]
    Busy {
        /// The name.
        name: String,
        /// Who holds the lease; 0 if not visible from here.
        pid: i32,
        /// How long was waited.
        waited: Duration,
    },
    /// Every participant's slot is taken by a living process.
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
    /// The other participants rely on `membarrier`, which this process may
    /// not use.
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
    /// The same error; a refusal of the kernel's is of this segment.
    pub(crate) fn of_segment(self, name: &str) -> Self {
        match self {
            Self::System(error) => Self::System(error.about(&format!("segment {name}"))),
            error => error,
        }
    }
}

impl Fault {
    /// The same fault; a refusal of the kernel's is of this segment.
    pub(crate) fn of_segment(self, name: &str) -> Self {
        match self {
            Self::System(error) => Self::System(error.about(&format!("segment {name}"))),
            fault => fault,
        }
    }
}

/// Why a channel could not be opened.
#[derive(Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// The name cannot be used.
    #[error(transparent)]
    BadName(#[from] BadName),
    /// The channel does not exist and no capacity to create it with was
    /// given.
    #[error("segment {segment} has no channel {channel}; give a capacity to create it")]
    NotFound {
        /// The channel's name.
        channel: String,
        /// The segment's name.
        segment: String,
    },
    /// The channel is of another kind, capacity or type: one that an earlier
    /// build of the program has created, for example.
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
        /// In what they differ.
        what: &'static str,
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
    /// The channel does not fit.
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
        /// The [size](crate::Options::size) with which this channel, too, has
        /// room.
        size: usize,
    },
    /// An SPSC channel has its one sender, or its one receiver.
    #[error(
        "channel {channel} is SPSC and has its {role} already, in process {pid}; drop that one, \
         or use an MPMC channel"
    )]
    RoleTaken {
        /// The channel's name.
        channel: String,
        /// `sender` or `receiver`.
        role: &'static str,
        /// The process that has it; 0 if it did not say.
        pid: u64,
    },
    /// This process has too many endpoints of one channel.
    #[error(
        "channel {channel} has {limit} {role}s in this process, and that is the limit; drop some"
    )]
    TooMany {
        /// The channel's name.
        channel: String,
        /// `sender` or `receiver`.
        role: &'static str,
        /// The limit.
        limit: u16,
    },
    /// What the channel says of itself cannot be.
    #[error(
        "channel {channel} is damaged: {what}; remove the segment (`tombolo rm`) and create it anew"
    )]
    Damaged {
        /// The channel's name.
        channel: String,
        /// What contradicts what.
        what: String,
    },
    /// Somebody has held the segment's lease for too long.
    #[error(
        "segment {segment} is busy: process {pid} has been creating, joining or leaving it for \
         {waited:?}; continue or end that process"
    )]
    Busy {
        /// The segment's name.
        segment: String,
        /// Who holds the lease; 0 if not visible from here.
        pid: i32,
        /// How long was waited.
        waited: Duration,
    },
    /// The segment itself can no longer be used.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// What ends a handle's use of its channel.
#[derive(Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The last living peer on the other side has gone.
    #[error("the channel is disconnected: its last {peers} has gone")]
    Disconnected {
        /// `sender` or `receiver`.
        peers: &'static str,
    },
    /// The segment, or its semaphore set, has been removed.
    #[error("the segment has been removed")]
    Closed,
    /// The segment is being [drained](crate::Commander::drain), or has been: it
    /// takes no new messages.
    #[error(
        "the segment is drained: it takes no new messages; `tombolo ctl NAME resume` opens it again"
    )]
    Drained,
    /// The segment has been [shut down](crate::Commander::shutdown).
    #[error("the segment has been shut down; `tombolo ctl NAME resume` opens it again")]
    Shutdown,
    /// The handle belongs to the process that this one was forked from.
    #[error("this handle belongs to the parent process; open the segment again after fork")]
    Forked,
    /// Another process has written what none of ours writes.
    #[error("the channel is corrupt: {what}; another process has written over it")]
    Corrupt {
        /// Which word, and what it says.
        what: String,
    },
    /// The participant that this handle's waits were [bound
    /// to](crate::Receiver::until_gone) has left or died, and there is nothing
    /// to be had without waiting.
    #[error("{peer} has left or died, and this handle waits no longer than that")]
    PeerGone {
        /// Which participant.
        peer: Peer,
    },
    /// This handle's [`Canceller`](crate::Canceller) has ended its waits.
    #[error("the wait was cancelled; `Canceller::reset` lets the handle wait again")]
    Cancelled,
    /// What was to be done is done, but the kernel has refused to wake who
    /// sleeps over it.
    #[error(transparent)]
    Unwoken(Box<Unwoken>),
    /// This process no longer counts as a participant: it has left the IPC
    /// namespace in which it attached.
    #[error("this process is no longer a participant; has it left its IPC namespace?")]
    NotMember,
    /// The kernel refused.
    #[error(transparent)]
    System(#[from] sys::Error),
}

/// A peer that sleeps and that the kernel refuses to wake, because this process
/// has lost the right to operate on the segment's semaphores, or has no memory.
///
/// A send that is told so has sent its message all the same:
/// [`SendError::message`] is absent then. A receive never is: it returns its
/// message, and the handle remembers. The next call of the
/// handle, whichever it is, first tries again to wake the peer. If that is refused
/// again, the call fails with this and has done nothing.
#[derive(Clone, thiserror::Error)]
#[error(
    "{} {channel}, but {peers} sleep there and could not be woken: {source}; open the segment \
     with the rights that this process keeps, or hand it over before giving them up", done.words()
)]
#[non_exhaustive]
pub struct Unwoken {
    /// What was done before.
    pub done: Done,
    /// The channel.
    pub channel: String,
    /// Which peers sleep: `senders` or `receivers`.
    pub peers: &'static str,
    /// The kernel's refusal, which names the semaphore set.
    pub source: sys::Error,
}

impl Unwoken {
    pub(crate) fn fault(done: Done, channel: &str, peers: Side, source: sys::Error) -> Fault {
        let peers = match peers {
            Side::Sender => "senders",
            Side::Receiver => "receivers",
        };
        Fault::Unwoken(Box::new(Self { done, channel: channel.to_owned(), peers, source }))
    }
}

/// What was done for which a peer was to be woken: see [`Unwoken`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Done {
    /// Messages are in the channel.
    Sent,
    /// Messages were taken.
    Taken,
    /// What was held, or owed to others, was given up: a grant, a delivery, a
    /// wake that another had better get.
    GivenUp,
    /// The handle is closed.
    Closed,
    /// The handle's waits are [cancelled](crate::Canceller::cancel).
    Cancelled,
}

impl Done {
    const fn words(self) -> &'static str {
        match self {
            Self::Sent => "the message is in channel",
            Self::Taken => "the message was taken from channel",
            Self::GivenUp => "what was held was given back to channel",
            Self::Closed => "the handle is closed that was an end of channel",
            Self::Cancelled => "the wait is cancelled in channel",
        }
    }
}

/// Why a command could not be given.
#[derive(Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// Another program has a message queue on the segment's key.
    #[error(
        "segment {segment} can have no commands: another program has a message queue on its key \
         (ipcs -q shows it); use another name"
    )]
    Foreign {
        /// The segment's name.
        segment: String,
    },
    /// Somebody has held the segment's lease for too long.
    #[error(
        "segment {segment} is busy: process {pid} has been creating, joining or leaving it for \
         {waited:?}; continue or end that process"
    )]
    Busy {
        /// The segment's name.
        segment: String,
        /// Who holds the lease; 0 if not visible from here.
        pid: i32,
        /// How long was waited.
        waited: Duration,
    },
    /// Somebody has removed the segment's message queue.
    #[error(
        "the message queue of segment {segment} has been removed; another commander makes a new \
         one"
    )]
    QueueRemoved {
        /// The segment's name.
        segment: String,
    },
    /// What the segment is in the way of the command.
    #[error("segment {segment} is {state}; `tombolo ctl {segment} resume` opens it again")]
    State {
        /// The segment's name.
        segment: String,
        /// What it is.
        state: crate::State,
    },
    /// The command for the application is too long.
    #[error("the command has {length} bytes, and at most {longest} are possible")]
    TooLong {
        /// Its length.
        length: usize,
        /// The longest.
        longest: usize,
    },
    /// The segment can no longer be used, or the kernel has refused.
    #[error(transparent)]
    Fault(#[from] Fault),
}

macro_rules! hide_message {
    ($($name:ident)*) => {$(
        impl<T> fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }
        impl<T> std::error::Error for $name<T> {}
    )*};
}

hide_message! { SendError TrySendError SendTimeoutError }

/// Why [`send`](crate::Sender::send) failed, with the message if it was not
/// sent.
#[derive(Clone)]
pub struct SendError<T> {
    /// The message. `None` if it is in the channel, and what failed is waking a
    /// receiver: [`Fault::Unwoken`].
    pub message: Option<T>,
    /// Why.
    pub fault: Fault,
}

impl<T> SendError<T> {
    /// The message, if it was not sent.
    pub fn into_message(self) -> Option<T> {
        self.message
    }

    /// Whether the message is in the channel all the same.
    pub const fn is_sent(&self) -> bool {
        self.message.is_none()
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fault.fmt(f)
    }
}

const PAUSED: &str = "the segment is paused; `tombolo ctl NAME resume` lets senders go on";

/// Why [`try_send`](crate::Sender::try_send) failed, with the message if it was
/// not sent.
#[derive(Clone)]
#[non_exhaustive]
pub enum TrySendError<T> {
    /// The channel is full. A slot counts as occupied from when a sender
    /// claims it until its receiver has finished reading.
    Full(T),
    /// The segment is [paused](crate::Commander::pause).
    Paused(T),
    /// The channel can no longer be used.
    Failed(SendError<T>),
}

impl<T> TrySendError<T> {
    /// The message, if it was not sent: see [`SendError::message`].
    pub fn into_message(self) -> Option<T> {
        match self {
            Self::Full(message) | Self::Paused(message) => Some(message),
            Self::Failed(error) => error.message,
        }
    }
}

impl<T> fmt::Display for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(_) => f.write_str("the channel is full"),
            Self::Paused(_) => f.write_str(PAUSED),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

/// A message that was not sent in time, and why.
#[derive(Clone)]
pub enum SendTimeoutError<T> {
    /// The channel stayed full, or the segment paused.
    Timeout(T),
    /// The channel can no longer be used.
    Failed(SendError<T>),
}

impl<T> SendTimeoutError<T> {
    /// The message, if it was not sent: see [`SendError::message`].
    pub fn into_message(self) -> Option<T> {
        match self {
            Self::Timeout(message) => Some(message),
            Self::Failed(error) => error.message,
        }
    }
}

impl<T> fmt::Display for SendTimeoutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout(_) => {
                f.write_str("the channel stayed full, or paused, until the time-out")
            }
            Self::Failed(error) => error.fmt(f),
        }
    }
}

/// Why a message of bytes was not sent.
#[derive(Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SendBytesError {
    /// The channel is full, or stayed so until the time-out.
    #[error("the channel is full")]
    Full,
    /// The segment is [paused](crate::Commander::pause), and this call does not
    /// wait.
    #[error("{}", PAUSED)]
    Paused,
    /// The message is longer than the channel's longest.
    #[error("the message has {length} bytes, and this channel's longest has {longest}")]
    TooLong {
        /// Its length.
        length: usize,
        /// The longest that is possible.
        longest: usize,
    },
    /// The channel can no longer be used; the message was not sent.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The message is in the channel, but the kernel has refused to wake a
    /// receiver that sleeps.
    #[error(transparent)]
    Unwoken(Box<Unwoken>),
}

/// A batch of which only the first part was sent.
#[derive(Clone, thiserror::Error)]
#[error("after {sent} messages: {fault}")]
pub struct SendBatchError {
    /// How many messages, from the first on, are in the channel.
    pub sent: usize,
    /// Why not the others; with [`Fault::Unwoken`] it may be that all are.
    pub fault: Fault,
}

/// Why nothing was received.
#[derive(Clone, thiserror::Error)]
#[non_exhaustive]
pub enum RecvError {
    /// The bytes of the message taken are not a value of the type. The
    /// message is gone; the next may be fine.
    #[error("a message was received whose bytes are not a valid {type_name}")]
    Invalid {
        /// The type.
        type_name: &'static str,
    },
    /// The channel can no longer be used.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Why [`try_recv`](crate::Receiver::try_recv) received nothing.
#[derive(Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TryRecvError {
    /// The channel is empty.
    #[error("the channel is empty")]
    Empty,
    /// The next message is being written; what is behind it has to wait.
    #[error("the next message is still being written")]
    Pending,
    /// Nothing can be received.
    #[error(transparent)]
    Failed(#[from] RecvError),
}

/// Why nothing was received in time.
#[derive(Clone, thiserror::Error)]
#[non_exhaustive]
pub enum RecvTimeoutError {
    /// Nothing came until the time-out.
    #[error("nothing was received until the time-out")]
    Timeout,
    /// Nothing can be received.
    #[error(transparent)]
    Failed(#[from] RecvError),
}

macro_rules! from_fault {
    ($($name:ident)*) => {$(
        impl From<Fault> for $name {
            fn from(fault: Fault) -> Self {
                Self::Failed(RecvError::Fault(fault))
            }
        }
    )*};
}

from_fault! { TryRecvError RecvTimeoutError }

/// `{:?}` says what `{}` says, after the kind of error: it is what `main` and
/// `unwrap` show, where the remedy is needed most. What stands after a `;` is
/// another error, whose kind says more.
macro_rules! debug_as_display {
    ($($name:ident $({ $($variant:ident)* $(; $($within:ident)*)? })?)*) => {$(
        impl ::core::fmt::Debug for $name {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                let [kind, ..] = [
                    $(match self {
                        $(Self::$variant { .. } => stringify!($variant),)*
                        $($(Self::$within(error) => return ::core::fmt::Debug::fmt(error, f),)*)?
                    },)?
                    stringify!($name),
                ];
                write!(f, "{kind}: {self}")
            }
        }
    )*};
}

pub(crate) use debug_as_display;

debug_as_display! {
    BadName
    OpenError {
        NotFound Exists NoKey NotOurs Version Newer Damaged Busy TableFull Unstable BadOption NoBarrier
        Stranger;
        BadName System
    }
    ChannelError {
        NotFound Mismatch BadCapacity DirectoryFull SegmentFull RoleTaken TooMany Damaged Busy;
        BadName Fault
    }
    Fault {
        Disconnected Closed Drained Shutdown Forked Corrupt NotMember PeerGone Cancelled;
        System Unwoken
    }
    Unwoken
    CommandError { Foreign Busy QueueRemoved State TooLong; Fault }
    SendBytesError { Full Paused TooLong; Fault Unwoken }
    SendBatchError
    RecvError { Invalid; Fault }
    TryRecvError { Empty Pending; Failed }
    RecvTimeoutError { Timeout; Failed }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    #[test]
    fn debug_says_the_kind_and_all_that_display_says() {
        let full = ChannelError::SegmentFull {
            channel: "frames".to_owned(),
            segment: "market".to_owned(),
            needed: 64,
            size: 4096,
            available: 8,
        };
        let mismatch = ChannelError::Mismatch {
            channel: "ticks".to_owned(),
            segment: "market".to_owned(),
            what: "elements",
            theirs: "Tick{id:u32}".to_owned(),
            ours: "Tick{id:u64}".to_owned(),
        };
        let exists = || OpenError::Exists { name: "market".to_owned(), id: 7 };
        let name = BadName { name: "a/b".to_owned(), reason: "it has a /".to_owned() };
        let batch = SendBatchError { sent: 3, fault: Fault::Shutdown };
        let paused = TrySendError::Paused(());
        let errors: [(Box<dyn Error>, &str, &str); 9] = [
            (full.into(), "SegmentFull: channel frames", "`Options::size(4096)`"),
            (mismatch.into(), "Mismatch: channel ticks", "`tombolo rm market`"),
            (exists().into(), "Exists: segment market", "`tombolo rm market`"),
            (name.into(), "BadName: \"a/b\"", "a /"),
            (batch.into(), "SendBatchError: after 3", "`tombolo ctl NAME resume`"),
            (Box::new(paused), "TrySendError(", "`tombolo ctl NAME resume`"),
            (Box::new(RecvError::Fault(Fault::Forked)), "Forked: this", "open the segment again"),
            (Box::new(TryRecvError::Pending), "Pending: the next", "being written"),
            (Box::new(RecvTimeoutError::Timeout), "Timeout: nothing", "time-out"),
        ];
        for (error, begin, remedy) in errors {
            // As `main` shows it, and as `unwrap` does.
            let shown = format!("{error:?}");
            assert!(shown.starts_with(begin) && shown.contains(remedy), "{shown}");
            assert!(shown.contains(&error.to_string()), "{shown}");
        }
    }
}
