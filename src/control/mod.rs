//! What is rare, small or urgent, beside the channels.

mod events;

pub use events::{Event, Events, EventsIter, Member};
