//! The options with which a segment is created and opened.

use std::time::{Duration, Instant};

use super::{Segment, open};
use crate::error::OpenError;
use crate::ring::mpmc::MAX_OWNERS;
use crate::ring::set::SetMap;
use crate::storage::layout::{BlockPlan, PAGE, Plan, RingKind, SIGNATURE, flags};
use crate::sys::shm::{AttachOptions, HugePages, Shm};
use crate::sys::{limits, proc};

/// How to create or open a segment: see [`Segment::options`].
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
    size: Amount<usize>,
    /// Channels for which there must be room.
    rooms: Vec<Room>,
    participants: Amount<u16>,
    channels: u16,
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
enum Amount<T> {
    /// Exactly this much, or an error.
    Exactly(T),
    /// This much, or less where a limit is lower.
    UpTo(T),
}

impl<T: Copy> Amount<T> {
    const fn wanted(self) -> T {
        match self {
            Self::Exactly(amount) | Self::UpTo(amount) => amount,
        }
    }
}

/// A channel for which there must be room.
#[derive(Clone, Copy, Debug)]
struct Room {
    kinds: [RingKind; 2],
    capacity: usize,
    size: usize,
    align: usize,
}

/// Fewer participants than this are useless to a caller that did not ask for a number.
const FEWEST: u16 = 8;
/// Fewer bytes than this are useless too.
const SMALLEST: usize = 64 << 10;

/// As many channels as fit a set beside the participants.
const MAX_CHANNELS: u16 = 4_096;

impl Options {
    pub(crate) const fn new() -> Self {
        Self {
            mode: 0o600,
            size: Amount::UpTo(64 << 20),
            rooms: Vec::new(),
            participants: Amount::UpTo(64),
            channels: 16,
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

    /// Makes room for a channel of elements of this type, of either kind. The segment
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
        let kinds = [RingKind::Mpmc, RingKind::Spsc];
        self.room(Room { kinds, capacity, size: size_of::<T>(), align: align_of::<T>() })
    }

    /// Makes room for a channel of bytes with this
    /// [`capacity`](crate::ByteChannel::capacity), of either kind, as
    /// [`room_for`](Self::room_for) does.
    pub fn room_for_bytes(self, messages: usize, longest: usize) -> Self {
        let kinds = [RingKind::MpmcBytes, RingKind::SpscBytes];
        self.room(Room { kinds, capacity: messages, size: longest, align: 1 })
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
    /// bytes, 64 for each channel, and a semaphore.
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
    /// [`OpenError::Stranger`].
    ///
    /// Any user can be the first to use a name. The creator of a segment can always read
    /// and write it, and can remove it. So the check concerns the creator, and not the
    /// owner, which can be [changed](Segment::set_owner). It compares with the effective
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

    /// Creates a segment. No segment of this name may exist.
    ///
    /// # Errors
    /// [`OpenError::Exists`], [`OpenError::BadName`], [`OpenError::Stranger`],
    /// and every limit.
    pub fn create(&self, name: &str) -> Result<Segment, OpenError> {
        open::named(self, name, open::Wish::Create).map_err(|error| error.of_segment(name))
    }

    /// Opens an existing segment.
    ///
    /// # Errors
    /// [`OpenError::NotFound`], [`OpenError::Stranger`], and those of joining.
    pub fn open(&self, name: &str) -> Result<Segment, OpenError> {
        open::named(self, name, open::Wish::Open).map_err(|error| error.of_segment(name))
    }

    /// Opens the segment, or creates it if it does not exist.
    ///
    /// # Errors
    /// Those of [`create`](Self::create) and [`open`](Self::open), except for `Exists`
    /// and `NotFound`.
    pub fn open_or_create(&self, name: &str) -> Result<Segment, OpenError> {
        open::named(self, name, open::Wish::Either).map_err(|error| error.of_segment(name))
    }

    /// Creates a segment without a name. Other processes open it by its
    /// [`id`](Segment::id). Its memory is freed with the last process attached, however
    /// that ends. The last participant to leave removes its semaphore set; if that
    /// participant is killed instead, the set stays.
    ///
    /// # Errors
    /// Every limit.
    pub fn anonymous(&self) -> Result<Segment, OpenError> {
        open::anonymous(self).map_err(|error| error.of_segment("(anonymous)"))
    }

    /// Opens an anonymous segment.
    ///
    /// # Errors
    /// [`OpenError::NotFound`], [`OpenError::NotOurs`], and those of joining.
    pub fn open_id(&self, id: i32) -> Result<Segment, OpenError> {
        open::by_id(self, Shm::from_id(id))
            .map_err(|error| error.of_segment(&format!("with id {id}")))
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
        flags
    }

    pub(crate) const fn plan(&self) -> Plan {
        let participants = self.participants.wanted();
        Plan::new(SetMap { participants, channels: self.channels })
    }

    /// Whether to use an object that this user has created.
    pub(crate) fn trusts(&self, creator: u32) -> bool {
        self.any_owner || creator == ROOT || creator == proc::uid()
    }

    /// The deadline of a wait.
    pub(crate) fn until(&self) -> Option<Instant> {
        Instant::now().checked_add(self.timeout)
    }

    /// Reduces what need not be exact to what the limits allow. If that is too little to
    /// be useful, asks for more, which the kernel refuses.
    pub(crate) fn settled(&self) -> Self {
        let mut options = self.clone();
        if let Amount::UpTo(most) = self.participants
            && let Ok(limit) = limits::sem()
        {
            let most = most.min(MAX_OWNERS);
            let fits = |participants: &u16| {
                let count = SetMap { participants: *participants, channels: self.channels }.count();
                u64::from(count) <= limit.per_set.min(limit.system_wide)
            };
            let fewest = FEWEST.min(most);
            if shape_allowed(most, self.channels) {
                let fitting = (fewest..=most).rev().find(fits).unwrap_or(fewest);
                options.participants = Amount::UpTo(fitting);
            }
        }
        if let Amount::UpTo(most) = self.size
            && let Ok(limit) = limits::shm()
        {
            // The limit on all segments together is not a limit on one.
            let total = (limit.max_pages_total / 4).saturating_mul(limits::page_size());
            let total = usize::try_from(limit.max_size.min(total)).unwrap_or(usize::MAX);
            let around = options.plan().heap + SIGNATURE;
            let fitting = total.saturating_sub(around) / PAGE * PAGE;
            options.size = Amount::UpTo(most.min(fitting.max(SMALLEST)));
        }
        options
    }

    /// Bytes for the blocks of all channels, or the one that is out of range.
    fn heap(&self) -> Result<usize, Room> {
        self.rooms.iter().try_fold(self.size.wanted(), |sum, room| {
            let length = |kind| {
                let participants = self.participants.wanted();
                BlockPlan::new(kind, room.capacity, room.size, room.align, participants)
                    .map(|plan| plan.length)
            };
            let longer = || {
                let [one, other] = room.kinds.map(length);
                sum.checked_add(one?.max(other?))
            };
            longer().ok_or(*room)
        })
    }

    /// The segment's size, once every option is in its range.
    pub(crate) fn total(&self, name: &str) -> Result<usize, OpenError> {
        let bad = |what: String| OpenError::BadOption { name: name.to_owned(), what };
        let participants = self.participants.wanted();
        if !shape_allowed(participants, self.channels) {
            return Err(bad(format!(
                "{participants} participants and {} channels; from 1 to {MAX_OWNERS} and from 1 to \
                 {MAX_CHANNELS} are possible",
                self.channels
            )));
        }
        let heap = self.heap().map_err(|Room { capacity, size, .. }| {
            bad(format!("there can be no room for {capacity} messages of {size} bytes"))
        })?;
        self.plan()
            .size(heap)
            .ok_or_else(|| bad(format!("{heap} bytes are more than can be addressed")))
    }
}

/// The user that everybody must trust.
const ROOT: u32 = 0;

/// Whether a segment can be of this shape.
pub(crate) const fn shape_allowed(participants: u16, channels: u16) -> bool {
    participants >= 1 && participants <= MAX_OWNERS && channels >= 1 && channels <= MAX_CHANNELS
}
