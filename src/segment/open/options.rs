//! The options with which a segment is created and opened.

use std::time::{Duration, Instant};

use crate::kinds::table::RingKind;
use crate::storage::layout::{Reply, flags};
use crate::sys::proc;
use crate::sys::shm::{AttachOptions, HugePages, Shm};

/// How to create or open a segment: see
/// [`Segment::options`](crate::Segment::options).
///
/// The creator decides size, participants, channels, mode and the like. A process that
/// opens an existing segment takes it as it is.
///
/// ```
/// use tombolo::Segment;
///
/// let segment = Segment::options().size(1 << 20).participants(8).anonymous()?;
/// assert!(segment.size() > 1 << 20);
/// # Ok::<(), tombolo::OpenError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "options do nothing until a segment is created or opened with them"]
// More fields than 12: one for each option.
pub struct Options {
    pub(crate) mode: u32,
    pub(super) size: Amount<usize>,
    /// Channels for which there must be room.
    pub(super) rooms: Vec<Room>,
    pub(super) participants: Amount<u16>,
    pub(super) channels: u16,
    /// Whether each participant gets a bell of its own: where the limits allow it.
    pub(super) own_bells: bool,
    transient: bool,
    symmetric: bool,
    huge_pages: Option<HugePages>,
    no_reserve: bool,
    prefault: bool,
    core_dumps: bool,
    any_owner: bool,
    pub(crate) timeout: Duration,
}

/// How much of something to create.
#[derive(Clone, Copy, Debug)]
pub(super) enum Amount<T> {
    /// Exactly this much, or an error.
    Exactly(T),
    /// This much, or less where a limit is lower.
    UpTo(T),
}

impl<T: Copy> Amount<T> {
    pub(super) const fn wanted(self) -> T {
        match self {
            Self::Exactly(amount) | Self::UpTo(amount) => amount,
        }
    }
}

/// A channel for which there must be room.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// One of the kinds that it may be of.
    pub(super) kind: RingKind,
    pub(super) capacity: usize,
    pub(super) size: usize,
    pub(super) align: usize,
    pub(super) reply: Reply,
}

impl Room {
    const fn of<T>(capacity: usize) -> Self {
        let (size, align) = (size_of::<T>(), align_of::<T>());
        Self { kind: RingKind::Mpmc, capacity, size, align, reply: Reply { size: 0, align: 0 } }
    }

    const fn of_bytes(messages: usize, longest: usize) -> Self {
        let reply = Reply { size: 0, align: 0 };
        Self { kind: RingKind::MpmcBytes, capacity: messages, size: longest, align: 1, reply }
    }
}

impl Options {
    pub(crate) const fn new() -> Self {
        Self {
            mode: 0o600,
            size: Amount::UpTo(64 << 20),
            rooms: Vec::new(),
            participants: Amount::UpTo(64),
            channels: 16,
            own_bells: true,
            transient: false,
            symmetric: false,
            huge_pages: None,
            no_reserve: false,
            prefault: false,
            core_dumps: true,
            any_owner: false,
            timeout: Duration::from_secs(10),
        }
    }

    /// Bytes for the blocks of all channels together (64 MiB, or less where
    /// `kernel.shmmax`, or a quarter of `kernel.shmall`, is less). Memory is taken page
    /// by page as it is first touched, so unused bytes cost nothing.
    pub const fn size(mut self, bytes: usize) -> Self {
        self.size = Amount::Exactly(bytes);
        self
    }

    /// Like [`size`](Self::size), but takes less where a limit on one segment is lower.
    pub const fn size_up_to(mut self, bytes: usize) -> Self {
        self.size = Amount::UpTo(bytes);
        self
    }

    /// Makes room for a channel of elements of this type, SPSC or MPMC. The segment
    /// then has room for all channels named in this way, in addition to the
    /// [`size`](Self::size), if one was given.
    ///
    /// ```
    /// use tombolo::Segment;
    ///
    /// type Frame = [u8; 4 << 20];
    /// let options = Segment::options().room_for::<Frame>(16).no_reserve(true);
    /// let segment = options.anonymous()?;
    /// let frames = segment.channel::<Frame>("frames").capacity(16).sender()?;
    /// # assert_eq!(frames.capacity(), 16);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn room_for<T>(self, capacity: usize) -> Self {
        self.room(Room::of::<T>(capacity))
    }

    /// Makes room for a channel of bytes with this
    /// [`capacity`](crate::ByteChannel::capacity), SPSC or MPMC, as
    /// [`room_for`](Self::room_for) does.
    pub fn room_for_bytes(self, messages: usize, longest: usize) -> Self {
        self.room(Room::of_bytes(messages, longest))
    }

    /// Makes room for a broadcast channel of elements of this type, with as many publishers
    /// and reliable subscribers as are usual, as [`room_for`](Self::room_for) does.
    pub fn room_for_broadcast<T>(self, capacity: usize) -> Self {
        self.room(Room { kind: RingKind::Broadcast, ..Room::of::<T>(capacity) })
    }

    /// Makes room for a broadcast channel of bytes, in the same way.
    pub fn room_for_broadcast_bytes(self, messages: usize, longest: usize) -> Self {
        self.room(Room { kind: RingKind::BroadcastBytes, ..Room::of_bytes(messages, longest) })
    }

    /// Makes room for a service with this [`capacity`](crate::Service::capacity), as
    /// [`room_for`](Self::room_for) does.
    pub fn room_for_service<Q, R>(self, calls: usize) -> Self {
        let reply = Reply { size: size_of::<R>(), align: align_of::<R>() };
        self.room(Room { kind: RingKind::Calls, reply, ..Room::of::<Q>(calls) })
    }

    /// Makes room for a service of bytes with this
    /// [`capacity`](crate::ByteService::capacity), in the same way.
    pub fn room_for_service_bytes(
        self,
        calls: usize,
        longest_request: usize,
        longest_reply: usize,
    ) -> Self {
        let reply = Reply { size: longest_reply, align: 1 };
        self.room(Room {
            kind: RingKind::CallsBytes,
            reply,
            ..Room::of_bytes(calls, longest_request)
        })
    }

    fn room(mut self, room: Room) -> Self {
        if self.rooms.is_empty()
            && let Amount::UpTo(_) = self.size
        {
            self.size = Amount::Exactly(0);
        }
        self.rooms.push(room);
        self
    }

    /// How many processes can be attached at a time (64, or fewer where
    /// `kernel.sem` allows no set of 109 semaphores; 1 to 8,192). Each costs 136
    /// bytes, 64 for each channel, and two semaphores: one where `kernel.sem` does not allow
    /// more, and then the segment has no calls.
    pub const fn participants(mut self, participants: u16) -> Self {
        self.participants = Amount::Exactly(participants);
        self
    }

    /// Like [`participants`](Self::participants), but takes fewer where the limit on one
    /// semaphore set is lower.
    pub const fn participants_up_to(mut self, participants: u16) -> Self {
        self.participants = Amount::UpTo(participants);
        self
    }

    /// How many channels the segment can have (16; 1 to 4,096). Each costs
    /// two semaphores, and 512 bytes before it is used.
    pub const fn channels(mut self, channels: u16) -> Self {
        self.channels = channels;
        self
    }

    /// The permissions of the segment and its set, as nine bits (0600). A
    /// participant needs to read and write.
    pub const fn mode(mut self, mode: u32) -> Self {
        self.mode = mode & 0o777;
        self
    }

    /// Whether the last participant to leave removes the segment (no). If the last
    /// participant is killed instead, the segment stays until another one leaves, or
    /// until it is removed.
    pub const fn transient(mut self, transient: bool) -> Self {
        self.transient = transient;
        self
    }

    /// Whether notifiers make full fences instead of relying on `membarrier` (no). This
    /// costs some nanoseconds on every send and receive, and is for sandboxes that forbid
    /// `membarrier`.
    pub const fn symmetric_fences(mut self, symmetric: bool) -> Self {
        self.symmetric = symmetric;
        self
    }

    /// Takes the memory from the pool of huge pages.
    pub const fn huge_pages(mut self, pages: Option<HugePages>) -> Self {
        self.huge_pages = pages;
        self
    }

    /// Whether to leave memory unreserved until it is touched (no). If there is none
    /// then, the kernel kills the process that touches it.
    pub const fn no_reserve(mut self, no_reserve: bool) -> Self {
        self.no_reserve = no_reserve;
        self
    }

    /// Whether to map every page when attaching (no), so that no first touch is slow
    /// later. This costs about 3 µs a page for the first process that maps it, and half
    /// of that for the others.
    pub const fn prefault(mut self, prefault: bool) -> Self {
        self.prefault = prefault;
        self
    }

    /// Whether this process's core dumps contain the segment (yes).
    pub const fn core_dumps(mut self, core_dumps: bool) -> Self {
        self.core_dumps = core_dumps;
        self
    }

    /// Whether opening by name accepts a segment of any creator (no). By default, the
    /// creator must be this user or root; otherwise opening fails with
    /// [`OpenError::Stranger`](crate::OpenError::Stranger).
    ///
    /// Any user can be the first to use a name. The creator of a segment can always read
    /// and write it, and can remove it. So the check concerns the creator, and not the
    /// owner, which can be [changed](crate::Segment::set_owner). It compares with the effective
    /// user of the opening thread. A segment that is opened by its id, or inherited, is
    /// not checked, because the process that passed it on has chosen it.
    pub const fn any_owner(mut self, any_owner: bool) -> Self {
        self.any_owner = any_owner;
        self
    }

    /// How long to wait for another process that is creating, joining or leaving (10 s).
    /// This takes microseconds, unless that process is stopped in the middle. A timeout
    /// beyond what the clock can represent never expires.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    pub(crate) const fn attach_options(&self) -> AttachOptions {
        AttachOptions {
            read_only: false,
            prefault: self.prefault,
            keep_out_of_core_dumps: !self.core_dumps,
        }
    }

    pub(crate) fn segment_options(&self) -> crate::sys::shm::Options {
        Shm::options()
            .mode(self.mode)
            .exclusive(true)
            .huge_pages(self.huge_pages)
            .no_reserve(self.no_reserve)
    }

    pub(crate) const fn flags(&self, anonymous: bool) -> u64 {
        let mut flags = 0;
        if self.symmetric {
            flags |= flags::SYMMETRIC;
        }
        if self.transient || anonymous {
            flags |= flags::TRANSIENT;
        }
        if anonymous {
            flags |= flags::ANONYMOUS;
        }
        if self.own_bells {
            flags |= flags::OWN_BELLS;
        }
        flags
    }

    /// Whether to use an object that this user has created.
    pub(crate) fn trusts(&self, creator: u32) -> bool {
        self.any_owner || creator == ROOT || creator == proc::uid()
    }

    /// The deadline of a wait.
    pub(crate) fn until(&self) -> Option<Instant> {
        Instant::now().checked_add(self.timeout)
    }
}

/// The user that everybody must trust.
const ROOT: u32 = 0;
