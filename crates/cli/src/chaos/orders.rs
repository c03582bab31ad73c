//! The conductor's orders to a worker, which it gets as its argument when it
//! starts. Everything later is in the ledger's phase.

use serde::{Deserialize, Serialize};
use tombolo::{ByteChannel, Mpmc, OpenError, Segment, Spsc};

use super::message;

/// A worker's role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Role {
    Producer,
    Consumer,
    /// Creates, opens, uses and removes another segment over and over.
    Side,
}

impl Role {
    /// For people.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Producer => "producer",
            Self::Consumer => "consumer",
            Self::Side => "creator",
        }
    }
}

/// Settings that all workers have in common.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Setting {
    /// The segment's name.
    pub(crate) name: String,
    /// The ledger's id.
    pub(crate) ledger: i32,
    pub(crate) producers: u16,
    pub(crate) consumers: u16,
    pub(crate) spsc: bool,
    /// Bytes of a message beside its head.
    pub(crate) size: usize,
    /// Messages in the channel.
    pub(crate) capacity: usize,
    /// How often a message is delivered again.
    pub(crate) attempts: u8,
    /// Whether the dead are swept.
    pub(crate) recovery: bool,
    pub(crate) seed: u64,
}

/// The orders for one life of a worker, with the step of the library before which it
/// is to be killed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Orders {
    pub(crate) role: Role,
    /// Counts the workers of a role.
    pub(crate) index: u16,
    /// Its book in the ledger.
    pub(crate) seat: usize,
    /// How many processes have had this seat before.
    pub(crate) life: u32,
    /// Before which step of the library's it is killed; 0: before none.
    pub(crate) steps: u64,
    pub(crate) setting: Setting,
}

impl Orders {
    /// This life's own random numbers.
    pub(crate) fn chance(&self) -> fastrand::Rng {
        let life = (self.seat as u64) << 32 | u64::from(self.life);
        fastrand::Rng::with_seed(self.setting.seed ^ life.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }
}

impl Setting {
    /// Bytes of a message.
    pub(crate) const fn length(&self) -> usize {
        message::HEAD + self.size
    }

    /// How many can take part at a time: the workers, and the one that inspects
    /// the segment at the end. No place is spare, so one that leaks shows.
    pub(crate) const fn participants(&self) -> u16 {
        self.producers + self.consumers + 1
    }

    pub(crate) fn open(&self) -> Result<Segment, OpenError> {
        Segment::options()
            .room_for_bytes(self.capacity, self.length())
            .participants(self.participants())
            .channels(1)
            .open_or_create(&self.name)
    }

    /// The channel. The first worker to open it creates it.
    pub(crate) fn channel<'a, K: Kind>(&self, segment: &'a Segment) -> ByteChannel<'a, K> {
        let channel = segment.bytes("storm").capacity(self.capacity, self.length());
        K::of(channel.redeliver(self.attempts))
    }

    /// The name of the segment that the side workers fight over.
    pub(crate) fn side(&self) -> String {
        format!("{}.side", self.name)
    }
}

/// The storm's channel as one of a kind.
pub(crate) trait Kind: tombolo::InPlace {
    fn of(channel: ByteChannel<'_>) -> ByteChannel<'_, Self>;
}

impl Kind for Spsc {
    fn of(channel: ByteChannel<'_>) -> ByteChannel<'_, Self> {
        channel.spsc()
    }
}

impl Kind for Mpmc {
    fn of(channel: ByteChannel<'_>) -> ByteChannel<'_, Self> {
        channel.mpmc()
    }
}
