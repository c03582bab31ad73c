//! What is rare, small or urgent, beside the channels.

mod commander;
mod events;
mod inbox;

pub use commander::{Answer, Commander, Drain, Outcome};
pub use events::{Event, Events, EventsIter, Member};
pub use inbox::Inbox;
