//! Broadcast channels: each subscriber gets every message.

mod coming;
mod delivery;
mod handles;
mod missed;
mod processes;
mod reliable;
mod waking;

use tombolo::{BroadcastChannel, Segment};

use crate::common::Name;

fn channel(segment: &Segment) -> BroadcastChannel<'_, u64> {
    segment.broadcast("prices").capacity(16)
}

fn segment(name: &Name) -> Segment {
    Segment::options().size(1 << 20).participants(16).channels(4).open_or_create(name).unwrap()
}
