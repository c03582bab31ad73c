//! Creating or opening a channel whose type is described when the program runs.

use super::AnyChannel;
use crate::channel::derive::Schema;
use crate::channel::{ATTEMPTS, MAX_ATTEMPTS};
use crate::error::ChannelError;
use crate::kinds::table::RingKind as ChannelKind;
use crate::segment::{Name, Segment, Spec};
use crate::storage::layout::CHANNEL_NAME_BYTES;

/// A channel to open, or to create if a capacity is given, of a type that is described when the
/// program runs: see [`Segment::any_channel`].
#[derive(Clone, Debug)]
#[must_use = "a channel does nothing until it is opened"]
pub struct AnyChannelSpec<'a> {
    segment: &'a Segment,
    name: &'a str,
    kind: ChannelKind,
    /// Its size and alignment, and its schema.
    element: Option<(usize, usize, &'a str)>,
    longest: Option<usize>,
    capacity: Option<usize>,
    publishers: Option<u16>,
    reliable: Option<u16>,
    attempts: u8,
    lasting: bool,
}

impl Segment {
    /// The channel of this name and kind, of a type that is described by its size, alignment and
    /// schema: for bindings to other languages. [`open_channel`](Self::open_channel) finds what
    /// there is, whatever it is.
    ///
    /// It is the same channel as one that is opened with a Rust type of this
    /// [schema](crate::Message::SCHEMA), size and alignment:
    ///
    /// ```
    /// use tombolo::{ChannelKind, Segment};
    ///
    /// let segment = Segment::anonymous()?;
    /// let numbers = segment.any_channel("numbers", ChannelKind::Mpmc);
    /// let numbers = numbers.element(4, 4, "u32").capacity(8).open()?;
    /// let receiver = segment.channel::<u32>("numbers").receiver()?;
    /// numbers.sender()?.send(&7_u32.to_ne_bytes())?;
    /// assert_eq!(receiver.recv()?, 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn any_channel<'a>(&'a self, name: &'a str, kind: ChannelKind) -> AnyChannelSpec<'a> {
        AnyChannelSpec {
            segment: self,
            name,
            kind,
            element: None,
            longest: None,
            capacity: None,
            publishers: None,
            reliable: None,
            attempts: ATTEMPTS,
            lasting: false,
        }
    }
}

impl<'a> AnyChannelSpec<'a> {
    /// What an element is, in a channel of elements: its size and alignment in bytes, and the
    /// schema of its type, which `docs/format.md` defines, in whole. A schema is compared, and
    /// not interpreted.
    pub const fn element(mut self, size: usize, align: usize, schema: &'a str) -> Self {
        self.element = Some((size, align, schema));
        self
    }

    /// How long a message may be, in a channel of bytes. Without this, the channel must exist.
    pub const fn longest(mut self, bytes: usize) -> Self {
        self.longest = Some(bytes);
        self
    }

    /// Creates the channel if it does not exist, for this many messages: see
    /// [`Channel::capacity`](crate::Channel::capacity) and
    /// [`BroadcastChannel::capacity`](crate::BroadcastChannel::capacity). Without a capacity,
    /// the channel must exist.
    pub const fn capacity(mut self, messages: usize) -> Self {
        self.capacity = Some(messages);
        self
    }

    /// As for [`Channel::redeliver`](crate::Channel::redeliver).
    pub const fn redeliver(mut self, times: u8) -> Self {
        self.attempts = if times < MAX_ATTEMPTS { times } else { MAX_ATTEMPTS };
        self
    }

    /// As for [`Channel::lasting`](crate::Channel::lasting).
    pub const fn lasting(mut self) -> Self {
        self.lasting = true;
        self
    }

    /// As for [`BroadcastChannel::publishers`](crate::BroadcastChannel::publishers).
    pub const fn publishers(mut self, most: u16) -> Self {
        self.publishers = Some(most);
        self
    }

    /// As for [`BroadcastChannel::reliable`](crate::BroadcastChannel::reliable).
    pub const fn reliable(mut self, most: u16) -> Self {
        self.reliable = Some(most);
        self
    }

    /// Opens the channel, or creates it.
    ///
    /// # Errors
    /// [`ChannelError::NotFound`], [`ChannelError::Mismatch`]; [`ChannelError::BadCapacity`],
    /// also if the element is not described, or cannot be one; and every limit.
    pub fn open(&self) -> Result<AnyChannel<'a>, ChannelError> {
        let refused = |what: &str| ChannelError::BadCapacity {
            channel: self.name.to_owned(),
            what: what.to_owned(),
        };
        if self.kind.is_calls() {
            return Err(refused("calls have a service, and not a channel of messages"));
        }
        let (size, align, schema) = match self.element {
            _ if self.kind.is_bytes() => (self.longest, 1, "bytes"),
            None => return Err(refused("the size, alignment and schema of its elements lack")),
            Some((size, align, schema)) => {
                // Those of no type.
                if size == 0 || !align.is_power_of_two() || !size.is_multiple_of(align) {
                    return Err(refused(
                        "the size of an element is a multiple of its alignment, which is a \
                         power of two, and not 0",
                    ));
                }
                (Some(size), align, schema)
            }
        };
        let is_broadcast = self.kind.is_broadcast();
        let spec = Spec {
            name: Name::new(self.name, CHANNEL_NAME_BYTES)?,
            kind: self.kind,
            size,
            align,
            schema: shortened(schema),
            capacity: self.capacity,
            publishers: self.publishers.filter(|_| is_broadcast),
            reliable: self.reliable.filter(|_| is_broadcast),
            reply: None,
            attempts: if is_broadcast { 0 } else { self.attempts },
            lasting: self.lasting,
        };
        self.segment.participant().channel(&spec)?;
        self.segment.open_channel(self.name)
    }
}

/// A schema as the directory has it, and the derive makes it: one that is too long ends with the
/// hash of all of it.
fn shortened(schema: &str) -> String {
    // The derive makes those of structs.
    let whole = schema.strip_suffix('}').map(|fields| Schema::new(fields).end());
    whole.map_or_else(|| Spec::schema(schema), |schema| schema.as_str().to_owned())
}
