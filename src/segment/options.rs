//! What a segment is created with, and how it is opened.

use std::time::Duration;

use super::layout::{Plan, flags};
use super::{Segment, open};
use crate::error::OpenError;
use crate::ring::mpmc::MAX_OWNERS;
use crate::ring::set::SetMap;
use crate::sys::shm::{AttachOptions, HugePages, Shm};

/// How to create or open a segment: see [`Segment::options`].
///
/// Size, participants, channels, mode and the like are the creator's; who
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
pub struct Options {
    pub(crate) mode: u32,
    size: usize,
    participants: u16,
    channels: u16,
    transient: bool,
    symmetric: bool,
    huge_pages: Option<HugePages>,
    no_reserve: bool,
    prefault: bool,
    core_dumps: bool,
    pub(crate) timeout: Duration,
}

/// As many channels as fit a set beside the participants.
const MAX_CHANNELS: u16 = 4_096;

impl Options {
    pub(crate) const fn new() -> Self {
        Self {
            mode: 0o600,
            size: 64 << 20,
            participants: 64,
            channels: 16,
            transient: false,
            symmetric: false,
            huge_pages: None,
            no_reserve: false,
            prefault: false,
            core_dumps: true,
            timeout: Duration::from_secs(10),
        }
    }

    /// Bytes for the blocks of all channels together (64 MiB). Memory is
    /// taken page by page as it is first touched, so what no channel uses
    /// costs nothing.
    pub const fn size(mut self, bytes: usize) -> Self {
        self.size = bytes;
        self
    }

    /// How many processes can be attached at a time (64; 1 to 8,192). Each
    /// costs 72 bytes, 32 for each channel, and a semaphore.
    pub const fn participants(mut self, participants: u16) -> Self {
        self.participants = participants;
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

    /// Whether the last participant to leave removes the segment (no). If
    /// the last is killed instead, the segment stays until the next one
    /// leaves, or until it is removed.
    pub const fn transient(mut self, transient: bool) -> Self {
        self.transient = transient;
        self
    }

    /// Whether notifiers fence fully instead of relying on `membarrier` (no).
    /// Costs some nanoseconds on every send and receive; for sandboxes that
    /// forbid `membarrier`.
    pub const fn symmetric_fences(mut self, symmetric: bool) -> Self {
        self.symmetric = symmetric;
        self
    }

    /// Takes the memory from the pool of huge pages.
    pub const fn huge_pages(mut self, pages: Option<HugePages>) -> Self {
        self.huge_pages = pages;
        self
    }

    /// Whether to leave memory unreserved until it is touched (no). If there
    /// is none then, the kernel kills who touches it.
    pub const fn no_reserve(mut self, no_reserve: bool) -> Self {
        self.no_reserve = no_reserve;
        self
    }

    /// Whether to map every page when attaching (no), so that no first touch
    /// is slow later. Costs about 3 µs a page for the first process that
    /// does, half of that for the others.
    pub const fn prefault(mut self, prefault: bool) -> Self {
        self.prefault = prefault;
        self
    }

    /// Whether this process's core dumps contain the segment (yes).
    pub const fn core_dumps(mut self, core_dumps: bool) -> Self {
        self.core_dumps = core_dumps;
        self
    }

    /// How long to wait for somebody else who is creating, joining or leaving
    /// (10 s). That takes microseconds, unless the other is stopped over it.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Creates a segment; there must be none of this name.
    ///
    /// # Errors
    /// [`OpenError::Exists`], [`OpenError::BadName`], and every limit.
    pub fn create(&self, name: &str) -> Result<Segment, OpenError> {
        open::named(self, name, open::Wish::Create)
    }

    /// Opens a segment that exists.
    ///
    /// # Errors
    /// [`OpenError::NotFound`], and those of joining.
    pub fn open(&self, name: &str) -> Result<Segment, OpenError> {
        open::named(self, name, open::Wish::Open)
    }

    /// Opens the segment, or creates it: whoever comes first.
    ///
    /// # Errors
    /// Those of [`create`](Self::create) and [`open`](Self::open), but for
    /// one existing or not existing.
    pub fn open_or_create(&self, name: &str) -> Result<Segment, OpenError> {
        open::named(self, name, open::Wish::Either)
    }

    /// Creates a segment without a name, to be opened by its
    /// [`id`](Segment::id). Its memory goes with the last process attached,
    /// however that ends; its semaphore set goes with the last participant to
    /// leave, and stays if that one is killed instead.
    ///
    /// # Errors
    /// Every limit.
    pub fn anonymous(&self) -> Result<Segment, OpenError> {
        open::anonymous(self)
    }

    /// Opens an anonymous segment.
    ///
    /// # Errors
    /// [`OpenError::NotFound`], [`OpenError::NotOurs`], and those of joining.
    pub fn open_id(&self, id: i32) -> Result<Segment, OpenError> {
        open::by_id(self, Shm::from_id(id))
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
        Plan::new(SetMap { participants: self.participants, channels: self.channels })
    }

    /// The segment's size, once every option is in its range.
    pub(crate) fn total(&self, name: &str) -> Result<usize, OpenError> {
        let bad = |what: String| OpenError::BadOption { name: name.to_owned(), what };
        if !shape_allowed(self.participants, self.channels) {
            return Err(bad(format!(
                "{} participants and {} channels; from 1 to {MAX_OWNERS} and from 1 to \
                 {MAX_CHANNELS} are possible",
                self.participants, self.channels
            )));
        }
        self.plan()
            .size(self.size)
            .ok_or_else(|| bad(format!("{} bytes are more than can be addressed", self.size)))
    }
}

/// Whether a segment can be of this shape.
pub(crate) const fn shape_allowed(participants: u16, channels: u16) -> bool {
    participants >= 1 && participants <= MAX_OWNERS && channels >= 1 && channels <= MAX_CHANNELS
}
