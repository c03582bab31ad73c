//! A client on its way in.

use crate::control::{Event, Events};
use crate::segment::Segment;
use crate::sys::pipe::Writer;

/// A client that has been told of its segment.
pub(super) struct Pending {
    pub(super) segment: Segment,
    /// Since before the client knew.
    pub(super) events: Events,
    /// Its reader is the client, until the client has joined.
    pub(super) line: Writer,
}

impl Pending {
    /// Whether the client has joined, and is there or has left messages.
    pub(super) fn is_of_use(&self) -> bool {
        let others = || self.segment.participants().iter().any(|member| !member.own);
        self.has_been_joined()
            && (others() || self.segment.channels().iter().any(|channel| channel.depth > 0))
    }

    fn has_been_joined(&self) -> bool {
        // Each scans for deaths first.
        while let Ok(Some(event)) = self.events.try_recv() {
            if matches!(event, Event::Joined(_) | Event::Missed(_)) {
                let _ = self.segment.sweep();
                return true;
            }
        }
        false
    }
}
