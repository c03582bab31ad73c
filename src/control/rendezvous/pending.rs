//! A client that is connecting.

use crate::control::{Event, Events};
use crate::segment::Segment;
use crate::sys::pipe::Writer;

/// A client that knows its segment, and has not joined it as far as the server
/// knows.
pub(super) struct Pending {
    pub(super) segment: Segment,
    /// The segment's events since before the client knew it.
    pub(super) events: Events,
    /// The client's FIFO. The client reads it until it has joined.
    pub(super) reply: Writer,
}

impl Pending {
    /// Whether the client has joined, and is still there or has left messages.
    pub(super) fn is_of_use(&self) -> bool {
        let others = || self.segment.participants().iter().any(|member| !member.own);
        self.has_been_joined()
            && (others() || self.segment.channels().iter().any(|channel| channel.depth > 0))
    }

    fn has_been_joined(&self) -> bool {
        // Each call scans for the dead first.
        while let Ok(Some(event)) = self.events.try_recv() {
            if matches!(event, Event::Joined(_) | Event::Missed(_)) {
                let _ = self.segment.sweep();
                return true;
            }
        }
        false
    }
}
