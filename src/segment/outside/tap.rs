//! Looking at the messages of a channel from outside, without taking them.

use super::observer::Observer;
use crate::error::OpenError;
use crate::kinds::peek::{Copied, Peek};
use crate::kinds::table::RingKind as ChannelKind;
use crate::segment::directory::Described;
use crate::storage::Cells;

/// Looks at the messages of a channel without taking them, and without joining its segment: see
/// [`Observer`], which says what a look changes: nothing in the segment.
///
/// Of a queue, a look sees the messages that are in it. One that is taken, or written over, while it is
/// copied is left out, and counted. On processors that reorder stores (not on x86), a copy may
/// instead be of two messages, if one replaces the other at that moment. Of a broadcast channel it sees
/// what is retained, as a subscriber that publishers do not wait for. The messages of a
/// [service](crate::Segment::service) are not shown.
///
/// ```
/// use tombolo::{Segment, Tap};
///
/// let name = format!("doc:tap:{}", std::process::id());
/// let segment = Segment::options().transient(true).create(&name)?;
/// let numbers = segment.channel::<u32>("numbers").capacity(8);
/// let (sender, receiver) = (numbers.sender()?, numbers.receiver()?);
/// sender.send_batch(&[5, 6])?;
///
/// let mut tap = Tap::of(&name, "numbers")?;
/// let seen = tap.look(10, 64)?.ok_or("gone")?;
/// assert_eq!(seen.messages[1].bytes, 6_u32.to_ne_bytes());
/// assert_eq!(receiver.recv()?, 5);
/// // It goes on behind what it has seen.
/// assert!(tap.look(10, 64)?.ok_or("gone")?.messages.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Tap {
    observer: Observer,
    channel: String,
    /// Which segment it was, and where to go on.
    at: Option<(u64, u64)>,
}

/// What a [`Tap`] has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tapped {
    /// The channel's kind.
    pub kind: ChannelKind,
    /// The schema of its elements.
    pub element: String,
    /// Bytes of an element; of bytes, the most.
    pub element_size: usize,
    /// The messages, the oldest first.
    pub messages: Vec<TappedMessage>,
    /// How far the tap has moved on without seeing what was there: so many messages, or of an SPSC
    /// channel of bytes, units of 8 bytes.
    pub missed: u64,
}

/// A message that was there: see [`Tapped::messages`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TappedMessage {
    /// Where in the channel it is, counted from its beginning: in messages, or of an SPSC channel of
    /// bytes, in units of 8 bytes.
    pub position: u64,
    /// How many bytes it has.
    pub length: usize,
    /// Its first bytes.
    pub bytes: Vec<u8>,
}

impl Tap {
    /// Of a channel of the segment with this name.
    ///
    /// # Errors
    /// [`OpenError::BadName`].
    pub fn of(segment: &str, channel: &str) -> Result<Self, OpenError> {
        Ok(Self { observer: Observer::of(segment)?, channel: channel.to_owned(), at: None })
    }

    /// Of a channel of the segment with this [`id`](crate::Segment::id).
    pub fn of_id(id: i32, channel: &str) -> Self {
        Self { observer: Observer::of_id(id), channel: channel.to_owned(), at: None }
    }

    /// What is there that it has not seen yet: so many messages at most, and so many bytes of
    /// each. `None` if there is no such segment or channel.
    ///
    /// # Errors
    /// Those of [`Observer::look`].
    pub fn look(&mut self, messages: usize, bytes: usize) -> Result<Option<Tapped>, OpenError> {
        let Some(found) = self.observer.find_first()? else { return Ok(None) };
        let mapped = found.mapped;
        let mut channels = mapped.directory().channels();
        let Some(channel) = channels.find(|found| found.name == self.channel) else {
            return Ok(None);
        };
        let Some(cells) = channel.block.cells(&mapped) else { return Ok(None) };
        let known = self.at.filter(|(segment, _)| *segment == mapped.generation);
        let mut at = known.map(|(_, at)| at);
        let seen = see(&channel, &cells, &mut at, (messages, bytes));
        self.at = at.map(|at| (mapped.generation, at));
        Ok(Some(seen))
    }
}

fn see(
    channel: &Described,
    cells: &Cells,
    at: &mut Option<u64>,
    (most, bytes): (usize, usize),
) -> Tapped {
    let kind = channel.block.kind.any();
    let (first, end) = kind.there(cells);
    let begin = at.unwrap_or(first);
    let mut position = begin.max(first);
    let mut seen = Tapped {
        kind: channel.block.kind,
        element: channel.schema.clone(),
        element_size: channel.size,
        messages: Vec::new(),
        missed: position - begin,
    };
    // What comes meanwhile is for the next look; and a hostile peer's positions end it, too.
    let mut steps = cells.capacity().saturating_mul(2);
    while seen.messages.len() < most && position < end && steps > 0 {
        steps -= 1;
        match kind.peek(cells, position, bytes) {
            Peek::Nothing => break,
            Peek::Found { message: Copied { bytes, length }, next } => {
                seen.messages.push(TappedMessage { position, length, bytes });
                position = next;
            }
            Peek::Missing { count, next } => {
                seen.missed = seen.missed.saturating_add(count);
                position = next;
            }
            Peek::Gone(to) => {
                seen.missed = seen.missed.saturating_add(to.saturating_sub(position));
                position = to.max(position.saturating_add(1));
            }
        }
    }
    *at = Some(position);
    seen
}
