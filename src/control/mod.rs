//! What is rare, small or urgent, beside the channels.

mod answer;
mod commander;
mod events;
mod inbox;

pub use answer::{Answer, Drain, Outcome};
pub use commander::Commander;
pub use events::{Event, Events, EventsIter, Member};
pub use inbox::Inbox;
