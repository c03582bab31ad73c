//! Creating or opening a channel whose type is described when the program runs.

use super::AnyChannel;
use crate::channel::calls::{has_bells, schema_of};
use crate::channel::derive::Schema;
use crate::channel::{ATTEMPTS, MAX_ATTEMPTS};
use crate::error::ChannelError;
use crate::kinds::table::RingKind as ChannelKind;
use crate::segment::{Name, ReplySpec, Segment, Spec};
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
    /// As `element` and `longest`, of replies.
    reply: Option<(usize, usize, &'a str)>,
    longest_reply: Option<usize>,
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
            reply: None,
            longest_reply: None,
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

    /// What a reply is, in a service of elements; [`element`](Self::element) says what a request
    /// is.
    ///
    /// ```
    /// use tombolo::{ChannelKind, Segment};
    ///
    /// let segment = Segment::anonymous()?;
    /// let squares = segment.any_channel("squares", ChannelKind::Calls);
    /// let squares = squares.element(4, 4, "u32").reply(8, 8, "u64").capacity(8).open()?;
    /// let client = segment.service::<u32, u64>("squares").client()?;
    /// let server = squares.server()?;
    /// let pending = client.start(12)?;
    /// let call = server.recv()?;
    /// assert_eq!(call.request()?, 12_u32.to_ne_bytes());
    /// call.reply(&144_u64.to_ne_bytes())?;
    /// assert_eq!(pending.wait()?, 144);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn reply(mut self, size: usize, align: usize, schema: &'a str) -> Self {
        self.reply = Some((size, align, schema));
        self
    }

    /// How long a reply may be, in a service of bytes; [`longest`](Self::longest) says how long a
    /// request may be.
    pub const fn longest_reply(mut self, bytes: usize) -> Self {
        self.longest_reply = Some(bytes);
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
        let request = self.described(self.element, self.longest, "its elements")?;
        let reply = match self.kind.is_calls() {
            true => Some(self.described(self.reply, self.longest_reply, "its replies")?),
            false => None,
        };
        let schema = match &reply {
            Some(reply) => schema_of(&request.schema, &reply.schema),
            None => request.schema,
        };
        let is_broadcast = self.kind.is_broadcast();
        let is_redelivered = !is_broadcast && !self.kind.is_calls();
        let spec = Spec {
            name: Name::new(self.name, CHANNEL_NAME_BYTES)?,
            kind: self.kind,
            size: request.size,
            align: request.align,
            schema,
            capacity: self.capacity,
            publishers: self.publishers.filter(|_| is_broadcast),
            reliable: self.reliable.filter(|_| is_broadcast),
            reply,
            attempts: if is_redelivered { self.attempts } else { 0 },
            lasting: self.lasting,
        };
        let participant = self.segment.participant();
        if self.kind.is_calls() {
            has_bells(participant)?;
        }
        participant.channel(&spec)?;
        self.segment.open_channel(self.name)
    }

    /// What messages are, of this channel's kind, as a caller has described them.
    fn described(
        &self,
        element: Option<(usize, usize, &str)>,
        longest: Option<usize>,
        what: &str,
    ) -> Result<ReplySpec, ChannelError> {
        let refused =
            |what: String| ChannelError::BadCapacity { channel: self.name.to_owned(), what };
        if self.kind.is_bytes() {
            return Ok(ReplySpec { size: longest, align: 1, schema: "bytes".to_owned() });
        }
        let Some((size, align, schema)) = element else {
            return Err(refused(format!("the size, alignment and schema of {what} lack")));
        };
        // Those of no type.
        if size == 0 || !align.is_power_of_two() || !size.is_multiple_of(align) {
            return Err(refused(
                "the size of an element is a multiple of its alignment, which is a power of two, \
                 and not 0"
                    .to_owned(),
            ));
        }
        Ok(ReplySpec { size: Some(size), align, schema: shortened(schema) })
    }
}

/// A schema as the directory has it, and the derive makes it: one that is too long ends with the
/// hash of all of it.
fn shortened(schema: &str) -> String {
    // The derive makes those of structs.
    let whole = schema.strip_suffix('}').map(|fields| Schema::new(fields).end());
    whole.map_or_else(|| Spec::schema(schema), |schema| schema.as_str().to_owned())
}
