//! The conductor's orders to a worker, which it gets as its argument when it
//! starts. Everything later is in the ledger's phase.

use serde::{Deserialize, Serialize};
use tombolo::{
    Broadcast, ByteBroadcastChannel, ByteChannel, ByteSender, ByteService, ChannelError, Mpmc,
    OpenError, Segment, Spsc,
};

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

/// The shape of the storm's channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Shape {
    Mpmc,
    Spsc,
    Broadcast,
    Calls,
}

impl Shape {
    /// For people.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Mpmc => "MPMC",
            Self::Spsc => "SPSC",
            Self::Broadcast => "broadcast",
            Self::Calls => "service",
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
    pub(crate) shape: Shape,
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
    /// Whether nobody kills it: the subscriber that has every message of a broadcast storm.
    pub(crate) fn is_witness(&self) -> bool {
        self.setting.shape == Shape::Broadcast && self.role == Role::Consumer && self.index == 0
    }

    /// Whether others wait for it while it stands still.
    pub(crate) fn holds_up(&self) -> bool {
        match self.setting.shape {
            // A server that stands still keeps the calls that it has.
            Shape::Mpmc | Shape::Spsc | Shape::Calls => true,
            Shape::Broadcast => self.role == Role::Consumer && is_reliable(self.index),
        }
    }

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

    /// Bytes of a reply: its request's, and the name of who has given it.
    pub(crate) const fn reply_length(&self) -> usize {
        self.length() + message::HEAD
    }

    /// How many can take part at a time: the workers, and the one that inspects
    /// the segment at the end. No place is spare, so one that leaks shows.
    pub(crate) const fn participants(&self) -> u16 {
        self.producers + self.consumers + 1
    }

    pub(crate) fn open(&self) -> Result<Segment, OpenError> {
        let options = Segment::options();
        let options = match self.shape {
            Shape::Mpmc | Shape::Spsc => options.room_for_bytes(self.capacity, self.length()),
            Shape::Broadcast => {
                // More than what each publisher and subscriber takes.
                let room = self.capacity + 4 * usize::from(self.participants());
                options.room_for_broadcast_bytes(room, self.length())
            }
            Shape::Calls => {
                options.room_for_service_bytes(self.capacity, self.length(), self.reply_length())
            }
        };
        options.participants(self.participants()).channels(1).open_or_create(&self.name)
    }

    /// The channel. The first worker to open it creates it.
    pub(crate) fn channel<'a, K: Kind>(&self, segment: &'a Segment) -> ByteChannel<'a, K> {
        let channel = segment.bytes("storm").capacity(self.capacity, self.length());
        K::of(channel.redeliver(self.attempts))
    }

    /// The broadcast channel. No place is spare here either.
    pub(crate) fn board<'a>(&self, segment: &'a Segment) -> ByteBroadcastChannel<'a> {
        let channel = segment.broadcast_bytes("storm").capacity(self.capacity, self.length());
        channel.publishers(self.producers).reliable(self.reliable())
    }

    /// The service.
    pub(crate) fn service<'a>(&self, segment: &'a Segment) -> ByteService<'a> {
        let service = segment.service_bytes("storm");
        service.capacity(self.capacity, self.length(), self.reply_length())
    }

    /// How many of the subscribers are reliable.
    pub(crate) fn reliable(&self) -> u16 {
        (0..self.consumers).filter(|&index| is_reliable(index)).count() as u16
    }

    /// The name of the segment that the side workers fight over.
    pub(crate) fn side(&self) -> String {
        format!("{}.side", self.name)
    }
}

/// Whether publishers wait for the subscriber of this index: every other one, from the
/// first on.
pub(crate) const fn is_reliable(index: u16) -> bool {
    index.is_multiple_of(2)
}

/// The storm's channel as one into which producers send.
pub(crate) trait Sends: tombolo::Kind {
    fn sender(setting: &Setting, segment: &Segment) -> Result<ByteSender<Self>, ChannelError>;

    /// The sequence number of what this sender has sent last, in a channel that has any.
    fn sequence(sender: &ByteSender<Self>) -> Option<u64>;
}

impl<K: Kind> Sends for K {
    fn sender(setting: &Setting, segment: &Segment) -> Result<ByteSender<Self>, ChannelError> {
        setting.channel::<K>(segment).sender()
    }

    fn sequence(_sender: &ByteSender<Self>) -> Option<u64> {
        None
    }
}

impl Sends for Broadcast {
    fn sender(setting: &Setting, segment: &Segment) -> Result<ByteSender<Self>, ChannelError> {
        setting.board(segment).publisher()
    }

    fn sequence(sender: &ByteSender<Self>) -> Option<u64> {
        sender.sequence()
    }
}

/// The storm's channel as one of a kind whose messages each go to one consumer.
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
