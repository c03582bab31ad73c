//! The channels to which a recording goes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tombolo::{AnySender, Segment, SendTimeoutError};

use crate::ending::Ending;
use crate::failure::Failure;
use crate::target::Target;
use crate::topic::Topic;

/// How long a send waits before signals are looked at.
const SLICE: Duration = Duration::from_millis(50);

/// The channels, by their numbers in the file.
pub(crate) struct Screen {
    /// The segment for all of them, if it is not that of each.
    segment: Option<Target>,
    any_owner: bool,
    segments: BTreeMap<String, Segment>,
    senders: BTreeMap<u16, (Topic, AnySender)>,
    /// The messages of each topic.
    pub(crate) sent: BTreeMap<String, u64>,
}

impl Screen {
    pub(crate) fn new(segment: Option<Target>, any_owner: bool) -> Self {
        let (segments, senders) = (BTreeMap::new(), BTreeMap::new());
        Self { segment, any_owner, segments, senders, sent: BTreeMap::new() }
    }

    /// Opens or creates the channel of a topic.
    pub(crate) fn open(&mut self, number: u16, topic: Topic) -> Result<(), Failure> {
        let target = self.segment.clone().map_or_else(|| topic.segment.parse(), Ok);
        let target: Target = target
            .map_err(|why| Failure::unusable(format!("cannot replay {}", topic.name()), why))?;
        let name = target.to_string();
        let cannot = |error: &dyn std::fmt::Display| {
            Failure::unusable(format!("cannot replay into {name}/{}", topic.channel), error)
        };
        if !self.segments.contains_key(&name) {
            let options = Segment::options().any_owner(self.any_owner);
            // Room for this channel beside the usual room for others.
            let room = topic.size.saturating_mul(2).saturating_mul(topic.capacity);
            let options = options.size_up_to(room.saturating_add(64 << 20));
            let opened = target.open_or_create(&options);
            self.segments.insert(name.clone(), opened.map_err(|error| cannot(&error))?);
        }
        let Some(segment) = self.segments.get(&name) else { return Ok(()) };
        let spec = segment.any_channel(&topic.channel, topic.kind).capacity(topic.capacity);
        let spec = if topic.kind.is_bytes() {
            spec.longest(topic.size)
        } else {
            spec.element(topic.size, topic.align, &topic.schema)
        };
        let spec = if topic.lasting { spec.lasting() } else { spec };
        let channel = spec.open().map_err(|error| cannot(&error))?;
        let sender = channel.sender().map_err(|error| cannot(&error))?;
        self.senders.insert(number, (topic, sender));
        Ok(())
    }

    /// Whether a channel is one of these.
    pub(crate) fn has(&self, number: u16) -> bool {
        self.senders.contains_key(&number)
    }

    /// Sends a message, and waits for room, until a signal comes. Whether it was sent.
    pub(crate) fn send(
        &mut self,
        number: u16,
        message: &[u8],
        ending: &Ending,
    ) -> Result<bool, Failure> {
        let Some((topic, sender)) = self.senders.get(&number) else { return Ok(true) };
        loop {
            match sender.send_deadline(message, Instant::now() + SLICE) {
                Ok(()) => break,
                Err(SendTimeoutError::Timeout(..)) => {
                    if ending.has_come() {
                        return Ok(false);
                    }
                }
                Err(error) => {
                    return Err(Failure::broken(format!("cannot send to {}", topic.name()), error));
                }
            }
        }
        *self.sent.entry(topic.name()).or_default() += 1;
        Ok(true)
    }
}
